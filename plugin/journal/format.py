"""Bytes of a journal: frames, the names of its segments, and what is left after damage.

A journal is a folder of segments ``NNNNNNNNNNNNNNNNNNNN.seg``, each named by its position: the
bytes of all frames before its first. A segment has no header, so position minus name is the offset
in the file. Only the last one is written; the end of any other is the name of the next. Frames are
those of ``mlflow_weir.frames``, in which they also travel to a server.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from zlib import crc32

from mlflow_weir.frames import FRAME_HEADER_BYTES as FRAME_HEADER_BYTES
from mlflow_weir.frames import LENGTH_AND_CRC, VOID_SEED
from mlflow_weir.frames import Parsed as Parsed
from mlflow_weir.frames import frame as frame
from mlflow_weir.frames import parse as parse
from mlflow_weir.frames import void as void

MAX_PAYLOAD_BYTES = 256 << 20
SEGMENT_BYTES = 8 << 20

_SEGMENT_NAME = re.compile(r"([0-9]{20})\.seg")
_MAX_SEARCHED_BYTES = 1 << 20


def size_of_frame_at(header: bytes) -> int | None:
    """Return the size that a frame's first eight bytes claim; None if no frame is that large."""
    length: int = LENGTH_AND_CRC.unpack_from(header)[0]
    return FRAME_HEADER_BYTES + length if length <= MAX_PAYLOAD_BYTES else None


def next_frame(buffer: bytes) -> int | None:
    """Look for a good frame behind the bad one that ``buffer`` begins with.

    First where the bad one claims to end, then at every byte, for frames of up to 1 MiB: numbers
    read from the middle of a record would have gigabytes checked.

    Returns:
        The offset where a good frame begins, None where none was found.
    """
    unpack, stop = LENGTH_AND_CRC.unpack_from, len(buffer) - FRAME_HEADER_BYTES
    if stop >= 0:
        claimed = int(FRAME_HEADER_BYTES + unpack(buffer)[0])
        if claimed <= stop and parse(buffer[claimed:]).end:
            return claimed
    for at in range(FRAME_HEADER_BYTES, stop + 1):
        length, checksum = unpack(buffer, at)
        if length <= stop - at and length <= _MAX_SEARCHED_BYTES and (length or checksum):
            payload = buffer[at + FRAME_HEADER_BYTES : at + FRAME_HEADER_BYTES + length]
            for seed in (0, VOID_SEED):
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
