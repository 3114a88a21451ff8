"""How batches are written as bytes, and the keys and checksums of batches and chunks.

It is small and short-lived, so its form is made for one cheap write::

    magic     4 bytes  b"WB01"
    n_keys    u32 LE
    n_points  u32 LE
    lengths   u16 LE   (n_keys,) bytes of each key in UTF-8
    keys      bytes
    key       u32 LE   (n_points,) index of the point's key
    timestamp i64 LE   (n_points,) ms
    step      i64 LE   (n_points,)
    value     f64 LE   (n_points,)

Checksums are kept beside the bytes, in the row that holds them; ``verified`` compares. Who only
writes points needs this and not ``encoding``, whose pyarrow takes 27 MB.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store.metrics.points import Columns, Point, Series, columns_of

_MAGIC = b"WB01"
_HEADER = struct.Struct("<4sII")


def key_bytes(key: str) -> bytes:
    """Return the key as stored; any ``str`` Python can hold comes back as it was."""
    return key.encode("utf-8", "surrogatepass")


def key_text(data: bytes) -> str:
    """Return the key that ``key_bytes`` gave these bytes for."""
    return bytes(data).decode("utf-8", "surrogatepass")


def key_hash(key: str) -> int:
    """Return the signed 64-bit BLAKE2b digest under which a key is looked up.

    Only a short cut to the rows: readers compare the key itself too, so that a collision costs a
    comparison and nothing else.
    """
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def verified(payload: bytes, crc32: int, what: str) -> bytes:
    """Return the payload if its checksum holds.

    Raises:
        ChunkCorrupt: It does not; ``what`` names the row.
    """
    found = zlib.crc32(payload)
    if found != crc32:
        raise ChunkCorrupt(what, f"checksum is {found:#010x}, expected {crc32:#010x}")
    return payload


def encode_batch(points: Sequence[Point]) -> bytes:
    """Write points as a batch, keeping their order.

    Raises:
        OverflowError: A step or timestamp does not fit 64 bits.
    """
    return encode_columns(columns_of(points))


def encode_columns(points: Columns) -> bytes:
    """Write points that are columns already as a batch, keeping their order."""
    names = [key_bytes(key) for key in points.keys]
    return b"".join(
        (
            _HEADER.pack(_MAGIC, len(names), len(points)),
            np.array([len(name) for name in names], dtype="<u2").tobytes(),
            *names,
            points.index.astype("<u4", copy=False).tobytes(),
            points.series.timestamp.astype("<i8", copy=False).tobytes(),
            points.series.step.astype("<i8", copy=False).tobytes(),
            points.series.value.astype("<f8", copy=False).tobytes(),
        )
    )


def decode_batch(payload: bytes, what: str, only: str | None = None) -> dict[str, Series]:
    """Read a batch: each key's points in log order, keys in order of first appearance.

    Args:
        payload: What ``encode_batch`` wrote, already verified.
        what: The row, for the message of an error.
        only: Return this key alone (an empty dict where the batch does not hold it).

    Raises:
        ChunkCorrupt: The bytes are not a batch of this version.
    """
    try:
        magic, n_keys, n = _HEADER.unpack_from(payload)
        if magic != _MAGIC:
            raise ValueError(f"unknown format {magic!r}")
        at = _HEADER.size
        lengths = np.frombuffer(payload, "<u2", n_keys, at).tolist()
        at += 2 * n_keys
        size = at + sum(lengths) + 28 * n
        if size != len(payload):
            raise ValueError(f"{len(payload)} bytes, its header says {size}")
        keys = []
        for length in lengths:
            keys.append(key_text(payload[at : at + length]))
            at += length
        if only is not None and only not in keys:
            return {}
        index = np.frombuffer(payload, "<u4", n, at)
        at += 4 * n
        timestamp = np.frombuffer(payload, "<i8", n, at)
        step = np.frombuffer(payload, "<i8", n, at + 8 * n)
        value = np.frombuffer(payload, "<f8", n, at + 16 * n)
        if n == 0 or int(index.max()) >= n_keys:
            raise ValueError("a point of no key")
    except (struct.error, ValueError) as exc:
        raise ChunkCorrupt(what, str(exc)) from exc
    whole = Series(timestamp, step, value)
    if n_keys == 1:
        return {keys[0]: whole}
    if only is not None:
        return {only: whole.take(index == keys.index(only))}
    order = np.argsort(index, kind="stable")
    ends = np.cumsum(np.bincount(index, minlength=n_keys))
    grouped = whole.take(order)
    starts = [0, *ends[:-1].tolist()]
    return {
        key: grouped.rows(start, end)
        for key, start, end in zip(keys, starts, ends.tolist(), strict=True)
    }
