"""Looking for damage in a journal, and making a damaged one readable again.

Salvage puts a void (``format.py``) in the place of bytes that are no record any more. All other
records keep their positions, so what is delivered of them already is not delivered twice. The
damaged segment stays beside the new one as ``….seg.bad``.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.format import (
    FRAME_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    SEGMENT_BYTES,
    list_segments,
    next_frame,
    parse,
    segment_name,
    void,
)
from mlflow_weir.plugin.journal.owner import release_lock, take_lock

_MAX_SEGMENT_BYTES = SEGMENT_BYTES + MAX_PAYLOAD_BYTES + FRAME_HEADER_BYTES


@dataclass(frozen=True)
class Damage:
    """Bytes that are no record and no torn tail.

    Attributes:
        file: Name of the segment.
        offset: Where in it they begin.
        size_bytes: How many there are, or should be where some are missing.
    """

    file: str
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class Findings:
    """What a journal holds.

    Attributes:
        path: Its folder.
        n_records: Good ones.
        start: Position of the first byte that is still here.
        end: Position after the last good record.
        n_torn_bytes: What a crash left at the end.
    """

    path: str
    n_records: int
    start: int
    end: int
    n_torn_bytes: int
    damages: list[Damage] = field(default_factory=list)


def check(folder: Path) -> Findings:
    """Read every byte of a journal, which may be in use.

    Raises:
        JournalError: It cannot be read, or no journal is that large.
    """
    try:
        starts = list_segments(folder)
        n_records, end, n_torn, damages = 0, starts[0] if starts else 0, 0, []
        for start, following in pairwise([*starts, None]):
            assert start is not None
            name = segment_name(start)
            try:
                data = _read(folder / name)
            except FileNotFoundError:  # delivered and removed meanwhile
                continue
            size = len(data) if following is None else following - start
            if size > _MAX_SEGMENT_BYTES:
                raise JournalError(f"{folder / name}: {size:,} bytes, segments are missing")
            for offset, good_bytes, n_good, bad_bytes in _regions(data[:size], size):
                n_records += n_good
                end = start + offset + good_bytes
                if bad_bytes and following is None and end + bad_bytes == start + size:
                    n_torn = bad_bytes
                elif bad_bytes:
                    damages.append(Damage(name, offset + good_bytes, bad_bytes))
                    end += bad_bytes
    except OSError as exc:
        raise JournalError(f"{folder}: {exc.strerror}") from exc
    return Findings(str(folder), n_records, starts[0] if starts else 0, end, n_torn, damages)


def salvage(folder: Path) -> Findings:
    """Make a journal readable whose owner is gone; return what was found before.

    Nothing is changed where there is no damage; a torn tail is nobody's trouble.

    Raises:
        LeaseLost: Its owner lives.
        JournalError: It cannot be read or written.
    """
    try:
        lock_file = take_lock(folder)
    except OSError as exc:
        raise JournalError(f"{folder}: {exc.strerror}") from exc
    try:
        found = check(folder)
        for name in sorted({damage.file for damage in found.damages}):
            _rewrite(folder / name, [d for d in found.damages if d.file == name])
    except OSError as exc:
        raise JournalError(f"{folder}: {exc.strerror}") from exc
    finally:
        release_lock(lock_file)
    return found


def _regions(data: bytes, size: int) -> Iterator[tuple[int, int, int, int]]:
    """Give offset, bytes of good frames, their number, and bad bytes behind them, in turn."""
    at = 0
    while at < size:
        payloads, good = parse(data[at:])
        bad = 0
        if at + good < size:
            found = next_frame(data[at + good :])
            bad = size - at - good if found is None else found
        yield at, good, len(payloads), bad
        at += good + bad


def _rewrite(path: Path, damages: list[Damage]) -> None:
    data = bytearray(_read(path))
    for damage in damages:
        if damage.size_bytes < FRAME_HEADER_BYTES:
            raise JournalError(f"{path}: {damage.size_bytes} bytes at {damage.offset} are missing")
        data[damage.offset : damage.offset + damage.size_bytes] = void(damage.size_bytes)
    bad, new = path.with_name(f"{path.name}.bad"), path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):  # an earlier salvage kept the first state
        os.link(path, bad)
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_SEGMENT_BYTES:
            raise JournalError(f"{path}: not a segment")
        return file.read()
