"""Appending to a journal from the middle of somebody's training.

Guarantees, each with a test of the same name in tests/unit/test_journal.py or
tests/faults/test_journal_crash.py:

* acknowledged_records_survive: once ``append`` returns and ``n_held`` is 0, the record outlives
  the killed process; once ``sync`` returns, it outlives a power cut as well.
* append_never_raises_for_the_disk: no space, quota, I/O error. Records then wait in memory, in
  order; what goes beyond the limit is dropped, counted and said. Nothing before is lost by it.
* a_torn_write_is_cut: what a failed write left behind is cut off, or a new segment begun, before
  anything else is written.
* the_child_of_a_fork_is_kept_out: it neither writes into the journal nor unlocks it.

One process writes a journal: any number of its threads, and signal handlers in the middle of an
``append``. An ``append`` makes one system call and waits for nothing but another thread's.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from struct import Struct
from types import FrameType
from typing import Any
from zlib import crc32

from mlflow_weir import settings
from mlflow_weir.errors import JournalCorrupt, JournalError, JournalFull, WeirError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin.journal import format as layout
from mlflow_weir.plugin.journal.building import RESERVE, SEGMENT_FLAGS, Last, build, is_in_place
from mlflow_weir.plugin.journal.header import header_of_this_process
from mlflow_weir.plugin.journal.owner import above_standard, release_lock, take_lock
from mlflow_weir.plugin.journal.spool import Credentials, JournalFolder, Spool, Target

_log = logging.getLogger(__name__)

_RETRY_S = 1.0
_LONGEST_APPEND_S = 0.05  # for writing what waited before the caller gets on
_CHUNK_FRAMES = 1024
_GRANT_BYTES = 1 << 20
_NO_ROOM = -(1 << 62)
_KEEP_OUT = -1
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_pack = Struct("<I").pack
# The seam at which tests put a disk that fails.
_write = os.write
_truncate = os.ftruncate
_open = os.open

_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


class Journal:
    """The journal of this process for one target.

    Attributes:
        journal_id: 32 hex digits.
        folder: Where it is.
        end: Position after the last record that is written.
        is_ours: Whether this process may append; False in the child of a fork.
        n_dropped: Records for which there was neither disk nor memory.
        private: What lies beside the records, by the names of files; it is put back with them.
        on_dropped: Called with each such payload, on the thread that appended it; it must not
            append.
    """

    def __init__(self, folder: Path, journal_id: str, spool: Spool | None, lock_file: int) -> None:
        """Use ``create`` or ``adopt``."""
        self.folder, self.journal_id, self.end = folder, journal_id, 0
        self.n_dropped = 0
        self.on_dropped: Callable[[bytes], object] | None = None
        self._spool, self._lock_file = spool, lock_file
        self._lock = threading.RLock()
        self.private: dict[str, dict[str, Any]] = {}
        self.is_ours, self._is_closed = True, False
        self._file, self._start = -1, 0
        # Bytes that append may write without a look at anything else; 0 or less: look.
        self._room = 0
        # Bytes that a call further up this thread's stack is writing, or _KEEP_OUT while it
        # repairs; see _append_amid.
        self._writing = 0
        self._granted_end = 0
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._fault: OSError | None = None
        self._retry_at = 0.0
        self._said: set[str] = set()
        self._synced_start = 0
        self._max_spool_bytes = settings.SPOOL_MAX_BYTES.get()
        self._max_held_bytes = settings.SPOOL_MEMORY_BYTES.get()
        _journals.add(self)

    @classmethod
    def create(
        cls,
        spool: Spool,
        target: Target,
        credentials: Credentials | None,
        *,
        node: str = "",
        program: str = "",
        max_held_bytes: int | None = None,
    ) -> Journal:
        """Make a journal that this process owns until it closes it or ends.

        Args:
            spool: Holds it.
            target: Goes into the header as it is: without secrets.
            credentials: Go into a file of their own.
            node: Label of this machine among several; its host name when "".
            program: Who writes it, for ``weir status``; the script when "".
            max_held_bytes: Of records that wait for the disk; WEIR_SPOOL_MEMORY_BYTES when None.

        Raises:
            JournalFull: There is no room even for that.
            JournalError: The spool cannot be written.
        """
        journal_id = secrets.token_hex(16)
        private = {"header.json": header_of_this_process(journal_id, target, node, program)}
        if credentials is not None:
            private["credentials.json"] = asdict(credentials)
        try:
            built = build(spool, journal_id, private)
        except OSError as exc:
            kind = JournalFull if exc.errno in _FULL else JournalError
            raise kind(f"no journal in {spool.root}: {exc.strerror}") from exc
        journal = cls(built.folder, journal_id, spool, built.lock_file)
        journal._file, journal.private = built.file, private
        if max_held_bytes is not None:
            journal._max_held_bytes = max_held_bytes
        return journal

    @classmethod
    def adopt(cls, folder: JournalFolder, spool: Spool | None = None) -> Journal:
        """Go on writing a journal whose owner is gone; a torn tail is cut off.

        Args:
            folder: The journal.
            spool: The one whose limit counts; none when None.

        Raises:
            LeaseLost: Its owner lives, or another process took its place.
            JournalCorrupt: Behind a bad record there are good ones.
            JournalError: It cannot be read or written.
        """
        header = folder.header()
        try:
            lock_file = take_lock(folder.path)
        except OSError as exc:
            raise JournalError(f"{folder.path}: {exc.strerror}") from exc
        journal = cls(folder.path, header.journal_id, spool, lock_file)
        try:
            journal._open_last_segment()
        except OSError as exc:
            journal._release()
            raise JournalError(f"{folder.path}: {exc.strerror}") from exc
        except JournalError:
            journal._release()
            raise
        return journal

    @property
    def n_held(self) -> int:
        """How many records wait in memory for the disk."""
        return len(self._held)

    @property
    def fault(self) -> OSError | None:
        """Why records wait; None while the disk takes them."""
        return self._fault

    def append(self, payload: bytes) -> int:
        """Log a record.

        Never waits, and never raises for what the disk does: what cannot be written is kept in
        memory and written by a later call, or dropped and counted when that is full.

        Returns:
            The position after the record; where it waits in memory, the one it will have.

        Raises:
            JournalError: The journal is closed or another process's, or the payload is larger
                than 256 MiB.
        """
        size = len(payload)
        length = _pack(size)
        data = length + _pack(crc32(payload, crc32(length))) + payload
        size += 8
        with self._lock:
            room = self._room
            if size > room:
                return self._append_with_care(data)
            self._room, self._writing = 0, size
            try:
                if _write(self._file, data) == size:
                    if self._writing:  # else a signal handler has counted it (_append_amid)
                        self._writing = 0
                        self.end += size
                        self._room += room - size
                    return self.end
                error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as exc:
                error = exc
            except BaseException:  # out of a signal handler, such as KeyboardInterrupt
                self._account_for_one()
                raise
            return self._after_failed_write(data, error)

    def flush(self) -> bool:
        """Write what waits in memory, now; say whether nothing waits any more."""
        with self._lock:
            if self._held and self.is_ours and not self._is_closed and not self._is_amid():
                self._write_held(longest_s=None)
            return not self._held

    def put_back(self, *, is_said: bool = True) -> bool:
        """Put the journal back where somebody has removed it; say whether that was done.

        Of what came before the last segment the target has all but what the agent was behind.

        Args:
            is_said: Tell the user, once.
        """
        with self._lock:
            if not self.private or self._is_closed or not self.is_ours or self._is_amid():
                return False
            file, lock_file, start = self._file, self._lock_file, self._start
            if self._spool is None or is_in_place(self.folder, start, file, lock_file):
                return False
            # A signal handler that logs meanwhile has its record wait in memory.
            self._room, self._writing = 0, _KEEP_OUT
            try:
                spool = Spool.open(self._spool.root)
                last = Last(file, start, self.end - start)
                built = build(spool, self.journal_id, self.private, last)
            except (OSError, WeirError) as exc:
                if is_said:
                    self._say("was removed, and cannot be put back yet", str(exc))
                return False
            finally:
                self._writing = 0
            self.folder, self._lock_file, self._file = built
            os.close(file)
            release_lock(lock_file)
            if is_said:
                lost = f", but what was not delivered before byte {start:,}" if start else ""
                self._say(f"was removed, and is put back with all that was logged{lost}")
            return True

    def open_reserve(self) -> None:
        """Let the records that come now have the room that was kept for the last ones."""
        with contextlib.suppress(OSError):
            os.unlink(self.folder / RESERVE)

    def take_held(self) -> list[bytes]:
        """Give what waits in memory to the caller, in order, who answers for it from here on."""
        with self._lock:
            if self._is_amid() or not self.is_ours:
                return []
            payloads = [data[layout.FRAME_HEADER_BYTES :] for data in self._held]
            self._held.clear()
            self._held_bytes = 0
            return payloads

    def sync(self) -> None:
        """Make all that was appended survive a power cut.

        Raises:
            JournalFull: Some of it waits in memory still: there is no room.
            JournalError: The disk failed, or the journal is closed or another process's.
        """
        with self._lock:
            self._require_open()
            if not self.flush() and self._fault is not None:
                kind = JournalFull if self._fault.errno in _FULL else JournalError
                waiting = f"{len(self._held):,} records wait in memory"
                raise kind(f"{self.folder}: {waiting}: {self._fault.strerror}")
            first, last = self._synced_start, self._start
        JournalFolder(self.folder).sync(first)  # without the lock: other threads append
        with self._lock:
            self._synced_start = max(self._synced_start, last)

    def close(self) -> None:
        """Write what can be written and give the journal up; others may deliver its rest.

        From a signal handler in the middle of an ``append`` it does nothing: the process is about
        to end, and the kernel gives it up.
        """
        with self._lock:
            if self._is_closed or not self.is_ours or self._is_amid():
                return
            if not self.flush():
                while self._held:
                    self._drop(self._held.popleft())
                self._held_bytes = 0
            self._release()

    def _append_with_care(self, data: bytes) -> int:
        """Append where there is no room, something waits, or this call came amid another."""
        self._require_open()
        if len(data) > layout.MAX_PAYLOAD_BYTES:
            limit = f"at most {layout.MAX_PAYLOAD_BYTES:,}"
            raise JournalError(f"a record of {len(data):,} bytes: {limit}")
        if self._is_amid(n_frames=3):
            return self._append_amid(data)
        self._hold(data)
        if self._fault is None or time.monotonic() >= self._retry_at:
            self._write_held(_LONGEST_APPEND_S)
        return self.end + self._held_bytes

    def _is_amid(self, n_frames: int = 2) -> bool:
        """Say whether this is a signal handler that interrupted a write of this thread.

        An exception out of one handler during the repairs after another's leaves ``_writing`` as
        it was; whether that write is still going on, the stack tells.

        Args:
            n_frames: Of the stack, from here up, that are no such write.
        """
        if not self._writing:
            return False
        frame: FrameType | None = sys._getframe(n_frames)
        while frame is not None:
            if frame.f_code in _WRITES and frame.f_locals.get("self") is self:
                return True
            frame = frame.f_back
        self._writing = 0
        return False

    def _append_amid(self, data: bytes) -> int:
        """Append from a signal handler that interrupted another append of this thread.

        Where that one has written its frame and not counted it yet, this one does, so that ``end``
        is right whatever becomes of that one. Where it failed, repairs or writes what waited, this
        one waits.
        """
        outer, self._writing = self._writing, _KEEP_OUT
        try:
            size = os.fstat(self._file).st_size
            written = size - (self.end - self._start)
            if written == outer:
                outer = 0
                self.end += written
            if not self._held and outer >= 0 and self._start + size == self.end:
                is_whole = False
                try:
                    is_whole = _write(self._file, data) == len(data)
                finally:
                    if is_whole:
                        self.end += len(data)
                    else:
                        _truncate(self._file, size)
                if is_whole:
                    return self.end
        except OSError:
            pass
        finally:
            self._writing, self._room = outer, _NO_ROOM
        self._hold(data)
        return self.end + max(outer, 0) + self._held_bytes

    def _after_failed_write(self, data: bytes, error: OSError) -> int:
        """Keep the record whose write failed; it comes before those that wait already."""
        self._room = self._writing = 0
        self._held.appendleft(data)
        self._held_bytes += len(data)
        end = self.end + len(data)
        self._note_fault(error)
        with contextlib.suppress(OSError):  # tried again before the next write
            self._cut()
        return end

    def _account_for_one(self) -> None:
        """Find out what became of the frame whose ``append`` was interrupted."""
        size, self._writing = self._writing, _KEEP_OUT
        try:
            if size and os.fstat(self._file).st_size - (self.end - self._start) == size:
                self.end += size
            self._cut()
        except OSError:
            pass  # cut before the next write, then
        finally:
            self._room = self._writing = 0

    def _hold(self, data: bytes) -> None:
        if self._held and self._held_bytes + len(data) > self._max_held_bytes:
            self._drop(data)
        else:
            self._held.append(data)
            self._held_bytes += len(data)

    def _drop(self, data: bytes) -> None:
        self.n_dropped += 1
        self._say("records are dropped, there is neither disk nor memory for them")
        if self.on_dropped is not None:
            _call(self.on_dropped, data[layout.FRAME_HEADER_BYTES :])

    def _write_held(self, longest_s: float | None) -> None:
        """Write what waits, in order, until all is written, time is up or the disk fails."""
        give_up = None if longest_s is None else time.monotonic() + longest_s
        self._room, self._writing = 0, _KEEP_OUT
        try:
            self._cut()
            while self._held and (give_up is None or time.monotonic() < give_up):
                frames = self._next_chunk()
                try:
                    if _write(self._file, b"".join(frames)) != sum(map(len, frames)):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                finally:
                    self._account_for_held()
            self._fault = None
            if not self._held:
                self._held_bytes = 0
                self._room = min(self._left_in_segment(), self._granted_end - self.end)
        except OSError as exc:
            self._note_fault(exc)
            if exc.errno in _FULL:
                self._seal()
        finally:
            self._writing = 0
            if self._held:  # by a signal handler, perhaps, since the last look
                self._room = 0

    def _next_chunk(self) -> list[bytes]:
        """Return the frames to write in one call, into a segment that has room for them.

        Raises:
            OSError: The spool's limit is reached, or no new segment can be begun.
        """
        first = len(self._held[0])
        if first > self._left_in_segment() and self.end > self._start:
            self._begin_segment()
        if self.end + first > self._granted_end:
            self._granted_end = self.end + self._grant(first)
        left = max(first, min(self._left_in_segment(), self._granted_end - self.end))
        frames: list[bytes] = []
        for data in islice(self._held, _CHUNK_FRAMES):
            left -= len(data)
            if left < 0:
                break
            frames.append(data)
        return frames

    def _account_for_held(self) -> None:
        """Count the whole frames that a write of what waits has left, and cut off the rest."""
        with contextlib.suppress(OSError):  # cut before the next write, then
            written = os.fstat(self._file).st_size - (self.end - self._start)
            while self._held and len(self._held[0]) <= written:
                size = len(self._held[0])
                written -= size
                self._held_bytes -= size
                self.end += size
                self._held.popleft()
            self._cut()

    def _left_in_segment(self) -> int:
        return self._start + layout.SEGMENT_BYTES - self.end

    def _begin_segment(self) -> None:
        path = self.folder / layout.segment_name(self.end)
        try:
            file = above_standard(_open(path, SEGMENT_FLAGS, 0o600))
        except BaseException:
            # Were it there while the one before is written on, readers would look for the next
            # record in it.
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        self._file, before, self._start = file, self._file, self.end
        os.close(before)

    def _seal(self) -> None:
        """Begin a new segment where the disk is full: what is delivered of this one makes room."""
        if self.end > self._start:
            with contextlib.suppress(OSError):  # not even an empty file: with the next try, then
                self._begin_segment()

    def _cut(self) -> None:
        """Cut off what lies behind the last whole record; begin a new segment if that fails.

        Readers take the name of the next segment for the end of this one.

        Raises:
            OSError: Neither works.
        """
        offset = self.end - self._start
        try:
            if os.fstat(self._file).st_size > offset:
                _truncate(self._file, offset)
        except OSError:
            if not offset:
                raise
            self._begin_segment()

    def _grant(self, size: int) -> int:
        """Return how many bytes may be written before the spool is measured again.

        Raises:
            OSError: Not even ``size``.
        """
        if self._spool is None:
            return max(size, layout.SEGMENT_BYTES)
        usage = self._spool.usage.bytes()
        if usage is None:  # it takes a while: a little meanwhile
            return max(size, _GRANT_BYTES)
        left = self._max_spool_bytes - usage
        if left < size:
            raise OSError(errno.EDQUOT, f"WEIR_SPOOL_MAX_BYTES={self._max_spool_bytes} is reached")
        # Coarse while there is plenty: to measure is to look at every file.
        return max(size, min(left, max(_GRANT_BYTES, left // 16)))

    def _note_fault(self, error: OSError) -> None:
        self._fault, self._retry_at = error, time.monotonic() + _RETRY_S
        limit = f"up to {self._max_held_bytes:,} bytes"
        self._say(f"cannot be written, what is logged waits in memory, {limit}", error.strerror)

    def _say(self, text: str, reason: str | None = None) -> None:
        """Write a line to stderr, each once in the life of the journal."""
        if text in self._said:
            return
        self._said.add(text)
        line = f"weir: {self.folder}: {text}{f': {reason}' if reason else ''}"
        try:
            if sys.stderr is not None:  # `print` would take stdout
                print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError, RuntimeError, AttributeError):
            _log.debug("stderr does not take: %s", line)

    def _require_open(self) -> None:
        if not self.is_ours:
            raise JournalError(f"{self.folder}: the journal of the process that forked this one")
        if self._is_closed:
            raise JournalError(f"{self.folder}: closed")

    def _open_last_segment(self) -> None:
        """Find the end of a journal that somebody else wrote, and cut off a torn tail."""
        starts = layout.list_segments(self.folder)
        self._start = starts[-1] if starts else 0
        path = self.folder / layout.segment_name(self._start)
        self._file = above_standard(os.open(path, SEGMENT_FLAGS, 0o600))
        with os.fdopen(os.dup(self._file), "rb") as file:
            data = file.read()
        good = layout.parse(data).end
        if good < len(data):
            if layout.next_frame(data[good:]) is not None:
                raise JournalCorrupt(str(path), good)
            _log.warning("%s: a torn tail of %d bytes is cut off", path, len(data) - good)
        self.end = self._start + good
        self._cut()

    def _release(self) -> None:
        self._is_closed, self._room = True, _NO_ROOM
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        release_lock(self._lock_file)

    def disown(self) -> None:
        """Keep the hands off a journal that belongs to the parent of this process."""
        self._lock = threading.RLock()  # the old one may be held by a thread that is not here
        self.is_ours, self._room = False, _NO_ROOM
        self._held.clear()  # the parent has them
        self._held_bytes = 0
        if not self._is_closed:
            os.close(self._lock_file)  # the parent's lock does not mind
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


_WRITES = frozenset(
    {Journal.append.__code__, Journal._write_held.__code__, Journal.put_back.__code__}
)


@never_raises(None)
def _call(callback: Callable[[bytes], object], payload: bytes) -> None:
    callback(payload)


def _disown_after_fork() -> None:
    for journal in list(_journals):
        journal.disown()


os.register_at_fork(after_in_child=_disown_after_fork)
