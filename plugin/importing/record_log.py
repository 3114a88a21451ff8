"""The files that other trackers append records to: wandb's and TensorBoard's.

Both are read from the beginning to the last whole record: what follows is still being written, or
its writer was killed.

* wandb (``run-ID.wandb``) is a log of LevelDB (its ``log_format.md``) after a header of seven
  bytes, with plain CRC-32 of kind and data.
* TensorBoard (``events.out.tfevents…``) is TFRecord: length u64 LE, its checksum, data, checksum.
  The checksums are CRC-32C, which nothing at hand computes fast; a length that is none ends it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from mlflow_weir.errors import ConfigError

_WANDB = b":W&B\xe1\xbe\x00"
_BLOCK_BYTES = 32 << 10
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_LENGTH = struct.Struct("<Q4x")
_MAX_RECORD_BYTES = 1 << 30


class DamagedLog(ValueError):
    """What follows in the file cannot be read."""


def read_wandb(path: Path) -> Iterator[bytes]:
    """Give the records of a file of wandb's.

    Raises:
        ConfigError: It is no such file.
        DamagedLog: It is damaged from here on.
    """
    with path.open("rb") as file:
        if file.read(len(_WANDB)) != _WANDB:
            raise ConfigError(f"{path} is no file of wandb's records", hint="check the path")
        yield from _leveldb(file, path)


def _leveldb(file: BinaryIO, path: Path) -> Iterator[bytes]:
    at, parts = len(_WANDB), list[bytes]()
    while True:
        left = _BLOCK_BYTES - at % _BLOCK_BYTES
        if left < _HEADER.size:
            file.seek(left, 1)
            at += left
            continue
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return
        checksum, size, kind = _HEADER.unpack(header)
        if size > left - _HEADER.size or kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
            raise DamagedLog(f"{path}: damaged from byte {at:,} on")
        data = file.read(size)
        if len(data) < size:
            return
        if crc32(data, crc32(header[-1:])) != checksum:
            raise DamagedLog(f"{path}: damaged from byte {at:,} on")
        at += _HEADER.size + size
        if kind in (_FULL, _FIRST):
            parts = []
        parts.append(data)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)


def read_tensorboard(path: Path) -> Iterator[bytes]:
    """Give the records of a file of TensorBoard's.

    Raises:
        DamagedLog: It is damaged from here on.
    """
    with path.open("rb") as file:
        at = 0
        while len(header := file.read(_LENGTH.size)) == _LENGTH.size:
            (size,) = _LENGTH.unpack(header)
            if size > _MAX_RECORD_BYTES:
                raise DamagedLog(f"{path}: damaged from byte {at:,} on")
            data = file.read(size + 4)
            if len(data) < size + 4:
                return
            at += _LENGTH.size + size + 4
            yield data[:size]
