"""Bytes of a journal: frames, the names of its segments, and what is left after damage.

    length  u32 LE   bytes of payload
    crc32   u32 LE   over length and payload
    payload          one record, opaque here

A journal is a folder of segments ``NNNNNNNNNNNNNNNNNNNN.seg``, each named by its position: the
bytes of all frames before its first. A segment has no header, so position minus name is the offset
in the file. Only the last one is written; the end of any other is the name of the next.

A *void* is a frame whose checksum starts from another seed. ``weir journal salvage`` puts one in
the place of bytes that are no record any more, so that all positions stay; readers pass over it.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

FRAME_HEADER_BYTES = 8
MAX_PAYLOAD_BYTES = 256 << 20
SEGMENT_BYTES = 8 << 20

_LENGTH_AND_CRC = struct.Struct("<II")
_U32 = struct.Struct("<I")
_SEGMENT_NAME = re.compile(r"([0-9]{20})\.seg")
_MAX_SEARCHED_BYTES = 1 << 20
_VOID_SEED = 0x766F6964  # "void" in ASCII


class Parsed(NamedTuple):
    """What a buffer begins with.

    Attributes:
        payloads: Of the whole and good frames, voids left out.
        end: Offset in the buffer after the last of them.
    """

    payloads: list[bytes]
    end: int


def frame(payload: bytes) -> bytes:
    """Return the bytes that ``payload`` takes in a segment."""
    length = _U32.pack(len(payload))
    return length + _U32.pack(crc32(payload, crc32(length))) + payload


def void(size: int) -> bytes:
    """Return a frame without a record that takes ``size`` bytes, at least 8."""
    length = _U32.pack(size - FRAME_HEADER_BYTES)
    nothing = bytes(size - FRAME_HEADER_BYTES)
    return length + _U32.pack(crc32(nothing, crc32(length, _VOID_SEED))) + nothing


def parse(buffer: bytes) -> Parsed:
    """Read frames from the start of ``buffer`` until one is incomplete or bad."""
    payloads: list[bytes] = []
    unpack, at, stop = _LENGTH_AND_CRC.unpack_from, 0, len(buffer) - FRAME_HEADER_BYTES
    while at <= stop:
        length, checksum = unpack(buffer, at)
        if length > stop - at:
            break
        end = at + FRAME_HEADER_BYTES + length
        payload = buffer[at + FRAME_HEADER_BYTES : end]
        if crc32(payload, crc32(buffer[at : at + 4])) == checksum:
            payloads.append(payload)
        elif crc32(payload, crc32(buffer[at : at + 4], _VOID_SEED)) != checksum:
            break
        at = end
    return Parsed(payloads, at)


def size_of_frame_at(header: bytes) -> int | None:
    """Return the size that a frame's first eight bytes claim; None if no frame is that large."""
    length: int = _LENGTH_AND_CRC.unpack_from(header)[0]
    return FRAME_HEADER_BYTES + length if length <= MAX_PAYLOAD_BYTES else None


def next_frame(buffer: bytes) -> int | None:
    """Look for a good frame behind the bad one that ``buffer`` begins with.

    First where the bad one claims to end, then at every byte, for frames of up to 1 MiB: numbers
    read from the middle of a record would have gigabytes checked.

    Returns:
        The offset where a good frame begins, None where none was found.
    """
    unpack, stop = _LENGTH_AND_CRC.unpack_from, len(buffer) - FRAME_HEADER_BYTES
    if stop >= 0:
        claimed = int(FRAME_HEADER_BYTES + unpack(buffer)[0])
        if claimed <= stop and parse(buffer[claimed:]).end:
            return claimed
    for at in range(FRAME_HEADER_BYTES, stop + 1):
        length, checksum = unpack(buffer, at)
        if length <= stop - at and length <= _MAX_SEARCHED_BYTES and (length or checksum):
            payload = buffer[at + FRAME_HEADER_BYTES : at + FRAME_HEADER_BYTES + length]
            for seed in (0, _VOID_SEED):
                if crc32(payload, crc32(buffer[at : at + 4], seed)) == checksum:
                    return at
    return None


def segment_name(position: int) -> str:
    """Return the file name of the segment whose first byte is at ``position``."""
    return f"{position:020}.seg"


def list_segments(folder: Path) -> list[int]:
    """Return the positions of a journal's segments in order; other files are not looked at."""
    with os.scandir(folder) as entries:
        matches = [_SEGMENT_NAME.fullmatch(entry.name) for entry in entries]
    return sorted(int(match[1]) for match in matches if match is not None)
