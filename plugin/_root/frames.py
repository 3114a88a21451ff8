"""Frames: how records follow one another in a journal's segments, and on the way to a server.

    length  u32 LE   bytes of payload
    crc32   u32 LE   over length and payload
    payload          one record, opaque here

A *void* is a frame whose checksum starts from another seed. ``weir journal salvage`` puts one in
the place of bytes that are no record any more, so that all positions stay; readers pass over it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

FRAME_HEADER_BYTES = 8
VOID_SEED = 0x766F6964  # "void" in ASCII

LENGTH_AND_CRC = struct.Struct("<II")
_U32 = struct.Struct("<I")


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
    return length + _U32.pack(crc32(nothing, crc32(length, VOID_SEED))) + nothing


def parse(buffer: bytes) -> Parsed:
    """Read frames from the start of ``buffer`` until one is incomplete or bad."""
    payloads: list[bytes] = []
    unpack, at, stop = LENGTH_AND_CRC.unpack_from, 0, len(buffer) - FRAME_HEADER_BYTES
    while at <= stop:
        length, checksum = unpack(buffer, at)
        if length > stop - at:
            break
        end = at + FRAME_HEADER_BYTES + length
        payload = buffer[at + FRAME_HEADER_BYTES : end]
        if crc32(payload, crc32(buffer[at : at + 4])) == checksum:
            payloads.append(payload)
        elif crc32(payload, crc32(buffer[at : at + 4], VOID_SEED)) != checksum:
            break
        at = end
    return Parsed(payloads, at)
