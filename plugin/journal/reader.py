"""Reading a journal, beside the process that writes it or after its end.

Guarantees, each with a test of the same name in tests/unit/test_journal.py or
tests/faults/test_journal_crash.py:

* prefix_only: what is read is a prefix of what was appended; never a gap, never a record that was
  not appended.
* beside_a_writer: a record that ``append`` wrote is there for who reads until nothing comes; one
  that is being written is "not yet".
* damage_is_told: bytes that do not match their checksum and are no torn tail raise
  ``JournalCorrupt`` with file and offset.

A reader belongs to one thread; any number of them may read one journal.
"""

from __future__ import annotations

import logging
import os
import stat
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from mlflow_weir.errors import JournalCorrupt, JournalError
from mlflow_weir.plugin.journal.format import (
    FRAME_HEADER_BYTES,
    list_segments,
    next_frame,
    parse,
    segment_name,
    size_of_frame_at,
)

_log = logging.getLogger(__name__)


class Records(NamedTuple):
    """Consecutive records.

    Attributes:
        start: Position of the first one's frame.
        end: Position after the last one's frame; ``start`` if there are none.
        payloads: As they were appended.
    """

    start: int
    end: int
    payloads: list[bytes]


class JournalReader:
    """Reads the records of one journal in order.

    Attributes:
        position: Of the next record; may be set back, to any position that was an ``end``.
        is_final: Nobody writes any more, so that what is bad will not become good.
    """

    def __init__(self, folder: Path, position: int = 0, *, is_final: bool = False) -> None:
        self.folder = Path(folder)
        self.position = position
        self.is_final = is_final
        self._file = -1
        self._start = 0

    def read(self, max_bytes: int = 4 << 20) -> Records:
        """Return the records from ``position`` on, and move it behind them.

        Args:
            max_bytes: Of frames; a first record that alone is larger comes alone.

        Returns:
            Whole records of one segment, as many as fit; none where nothing new is whole.

        Raises:
            JournalCorrupt: What is at ``position`` is no record, and more follows: a further
                segment, or a good record while ``is_final``.
            JournalError: The journal does not reach back to ``position``, or cannot be read.
        """
        try:
            return self._read(max_bytes)
        except OSError as exc:
            raise JournalError(f"{self.folder}: {exc.strerror}") from exc

    def is_at_end(self) -> bool:
        """Say whether a ``read`` would return nothing.

        Raises:
            JournalCorrupt, JournalError: As ``read`` does.
        """
        position = self.position
        try:
            return not self.read(FRAME_HEADER_BYTES).payloads
        finally:
            self.position = position

    def close(self) -> None:
        """Close the segment that is open; a later ``read`` opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, max_bytes: int) -> Records:
        start = self.position
        payloads: list[bytes] = []
        suspect: tuple[int, int] | None = None
        while True:
            if self._file >= 0 or self._open():
                payloads = self._read_frames(max_bytes)
                if payloads:
                    return Records(start, self.position, payloads)
            if self.position > self._start and self._open_segment(self.position):
                continue  # the next one, found without a look at all of them
            segments = list_segments(self.folder)
            current = max((s for s in segments if s <= self.position), default=None)
            if current is None:
                if segments or self.position:
                    raise JournalError(
                        f"{self.folder}: the records from position {self.position} on are not "
                        f"here, it begins at {segments[0] if segments else 0}"
                    )
                return Records(start, start, [])
            if self._file < 0 or current != self._start:
                self.close()  # the next segment, or the first one
                continue
            following = next((s for s in segments if s > current), None)
            if following is None:
                if self.is_final:
                    self._judge_tail()
                return Records(start, self.position, [])
            # A segment that is followed by another is whole, and was when this list was made. But
            # it may have been written since it was read, and a list made while the folder changes
            # may lack the segment in between: look at both once more.
            if suspect == (self.position, following):
                raise JournalCorrupt(str(self._path()), self.position - self._start)
            suspect = (self.position, following)

    def _path(self) -> Path:
        return self.folder / segment_name(self._start)

    def _open(self) -> bool:
        """Open the segment that holds ``position``, if there is one."""
        starts = [s for s in list_segments(self.folder) if s <= self.position]
        return bool(starts) and self._open_segment(starts[-1])

    def _open_segment(self, start: int) -> bool:
        """Open a segment in place of the one that is open; False if there is none of that name."""
        path = self.folder / segment_name(start)
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        self.close()
        self._file, self._start = file, start
        if not stat.S_ISREG(os.fstat(file).st_mode):
            self.close()
            raise JournalError(f"{path}: not a regular file")
        return True

    def _read_frames(self, max_bytes: int) -> list[bytes]:
        """Parse what is at ``position`` and move it; voids are passed over."""
        while True:
            offset = self.position - self._start
            buffer: bytes = os.pread(self._file, max(max_bytes, FRAME_HEADER_BYTES), offset)
            payloads, end = parse(buffer)
            if not end and len(buffer) >= FRAME_HEADER_BYTES:
                size = size_of_frame_at(buffer)
                there = os.fstat(self._file).st_size - offset
                if size is not None and len(buffer) < size <= there:
                    payloads, end = parse(os.pread(self._file, size, offset))
            self.position += end
            if payloads or not end:
                return payloads

    def _judge_tail(self) -> None:
        """Tell a torn tail, which is cut off, from a bad record with good ones behind it."""
        offset = self.position - self._start
        size = os.fstat(self._file).st_size
        if size <= offset:
            return
        tail = os.pread(self._file, size - offset, offset)
        if next_frame(tail) is not None:
            raise JournalCorrupt(str(self._path()), offset)
        _log.debug("%s: %d bytes of a torn tail at %d", self._path(), len(tail), offset)


def discard_before(folder: Path, position: int) -> int:
    """Remove the whole sealed segments below ``position`` and return how many bytes that were.

    The last segment stays, whatever the position.
    """
    starts = list_segments(folder)
    n_bytes = 0
    for start, end in pairwise(starts):
        if end > position:
            break
        path = folder / segment_name(start)
        path.unlink(missing_ok=True)
        n_bytes += end - start
    return n_bytes
