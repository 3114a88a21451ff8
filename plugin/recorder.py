"""A process's journal for one tracking target: opened on first need, delivered by the agent.

``append`` never raises for the world's faults and never waits. A forked child gets a journal of
its own with its first record, so that what its parent was in the middle of writing stays whole.
Nothing here imports MLflow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from mlflow_weir import settings
from mlflow_weir.errors import JournalFull, WeirError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.format import (
    FRAME_HEADER_BYTES,
    list_segments,
    segment_name,
)
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import (
    Credentials,
    JournalFolder,
    Spool,
    Target,
    replace_private,
)
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery import records
from mlflow_weir.threads import start_soon

_AGENT_CHECK_S = 1.0
_TRY_AGAIN_S = 1.0
_RENEWAL_S = 30.0  # between two looks at what delivery needs, while the target refuses it
_QUOTA_S = 5.0  # between two looks at how much the whole spool holds
_ROOM_S, _ROOM_LOOK_S = 2.0, 0.05  # for the agent to remove what is delivered
_MAX_DIRECT = 20_000  # records of one transaction
_LOST_TRACES = 4096  # whose further parts are not counted again
_RESERVE_BYTES = 64 << 20  # of the disk, which artifacts leave to records and to others

_log = logging.getLogger(__name__)

recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()
"""Every recorder of this process, for its end."""


def _start_afresh() -> None:
    for recorder in recorders:
        recorder.free_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


Renewal = Callable[[], tuple[Credentials, Mapping[str, str]]]


class Recorder:
    """The journal of this process for one target.

    Args:
        target: Where the records are to go; without secrets.
        credentials: What delivery needs beside it, or None.
        when_opened: Called, in the logging thread, each time a journal has been begun.
        renew: Finds out anew, in a thread of its own, what delivery needs, and with which
            variables artifacts are uploaded.

    Attributes:
        target: The same.
        n_lost: Records that neither a journal nor the memory had room for.
        n_lost_traces: Traces of which a part is lost, for want of room with the store away.
        n_lost_files: Files that no disk had room for, with the store away.
        left_bytes: Room for files that ``room_for`` has found and not given away, 0 before.
        own_roots: Artifact roots of what this process began, and the run each belongs to, if any.
        beside: Writes again what lies beside the journal, into its folder, by what it is for.

    Threads share one recorder.
    """

    def __init__(
        self,
        target: Target,
        credentials: Credentials | None,
        when_opened: Callable[[Recorder], None] | None = None,
        renew: Renewal | None = None,
    ) -> None:
        self.target = target
        self._renew, self._next_renewal_s = renew, 0.0
        self._credentials = credentials
        self._when_opened = when_opened
        self._journal: Journal | None = None
        self._spool: Spool | None = None
        self._lock = threading.Lock()
        self._next_agent_check_s = 0.0
        self._targets: dict[str, Target] = {}  # of the machine's journals, by id
        self.own_roots: dict[str, str | None] = {}
        self.beside: dict[str, Callable[[Path], None]] = {}
        self._usage_bytes, self._next_usage_s = 0, 0.0
        self.left_bytes = 0
        self._pid = os.getpid()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._dropped: dict[str, int] = {}
        self._next_try_s = 0.0
        self._has_said = False
        self.n_lost = self.n_lost_traces = self.n_lost_files = 0
        self._lost_traces: dict[str, bool] = {}  # the last ones; whether their run knows
        recorders.add(self)

    @property
    def credentials(self) -> Credentials | None:
        """What delivery needs beside the target, for a process that logs in this one's name."""
        return self._credentials

    def free_locks(self) -> None:
        """In a forked child, let go of what another thread of the parent held."""
        self._lock = threading.Lock()

    def append(self, payload: bytes) -> None:
        """Write one record; when this returns, it outlives a killed process.

        Where no folder of the machine takes a journal, records wait in memory, up to
        WEIR_SPOOL_MEMORY_BYTES, and the journal is tried again each second.
        """
        journal = self._journal
        if journal is None or not journal.is_ours:
            journal = self._try_open()
            if journal is None:
                self._hold(payload)
                return
        journal.append(payload)
        if self._dropped and not journal.n_held:
            self._note_dropped(journal)
        now = time.monotonic()
        if now >= self._next_agent_check_s:
            self._next_agent_check_s = now + _AGENT_CHECK_S
            client.ensure_agent(journal.folder.parent.parent)
            self.look_after(journal)  # last: it may start a thread, with which each call competes

    def look_after(self, journal: Journal) -> None:
        """Put the journal back, with what lies beside it, where somebody has removed it."""
        if journal.put_back():
            for write in list(self.beside.values()):
                with contextlib.suppress(OSError):
                    write(journal.folder)
        self._look_at_refusal(journal)

    def _look_at_refusal(self, journal: Journal) -> None:
        """Find out anew what delivery needs where the target does not take what it is given."""
        if self._renew is None or time.monotonic() < self._next_renewal_s:
            return
        is_refused = _is_refused(journal.folder)
        self._next_renewal_s = time.monotonic() + (_RENEWAL_S if is_refused else _AGENT_CHECK_S)
        if is_refused:
            with contextlib.suppress(RuntimeError):  # the interpreter is shutting down
                renewing = threading.Thread(
                    target=self._renew_credentials,
                    args=(self._renew, journal),
                    name="weir-renew",
                    daemon=True,
                )
                start_soon(renewing)

    @never_raises(None)
    def _renew_credentials(self, renew: Renewal, journal: Journal) -> None:
        """Give the agent what requests of this process would carry now, if that has changed.

        A token that was good for an hour, for one. It finds the change by itself.
        """
        credentials, environment = renew()
        for waiting in files.list_waiting(journal.folder / "files"):
            with contextlib.suppress(OSError, WeirError):  # it is uploaded at this moment
                if waiting.read().environment != environment:
                    files.renew(waiting, environment)
        if credentials != self._credentials:
            journal.private["credentials.json"] = asdict(credentials)
            replace_private(journal.folder / "credentials.json", asdict(credentials))
            self._credentials = credentials
        client.nudge(journal.folder.parent.parent, client.DRAIN)

    def prepare(self) -> None:
        """Begin the journal and see that an agent watches this process, ahead of the first."""
        journal = self.journal or self._try_open()
        if journal is not None:
            self.look_after(journal)
            client.ensure_agent(journal.folder.parent.parent)

    def hurry(self) -> None:
        """Tell the agent that there is something new, which it would find by itself in 0.2 s."""
        if self._spool is not None:
            client.nudge(self._spool.root)

    def _try_open(self) -> Journal | None:
        """Return this process's journal, begun if need be; None where it cannot be now."""
        with self._lock:
            journal = self._journal
            if journal is not None and journal.is_ours:
                return journal
            if self._pid != os.getpid():  # what a parent could not write is the parent's to write
                self._pid, self._held, self._held_bytes = os.getpid(), [], 0
            if time.monotonic() < self._next_try_s:
                return None
            try:
                self._spool = Spool.open_any()
                node = settings.NODE.get()
                journal = Journal.create(self._spool, self.target, self._credentials, node=node)
            except (OSError, WeirError) as exc:  # no folder that a relative path is of, for one
                self._next_try_s = time.monotonic() + _TRY_AGAIN_S
                if not self._has_said:
                    self._has_said = True
                    _log.warning("what is logged waits in memory: %s", exc)
                return None
            journal.on_dropped = self._count_dropped
            for payload in self._held:
                journal.append(payload)
            self._held, self._held_bytes = [], 0
            self._journal = journal
            self._next_agent_check_s = 0.0
        if self._when_opened is not None:
            self._when_opened(self)
        return journal

    def _count_dropped(self, payload: bytes) -> None:
        if records.is_points(payload):
            found = records.decode(payload)
            if isinstance(found, records.Points):
                run_id = found.run_id
                self._dropped[run_id] = self._dropped.get(run_id, 0) + len(found.keys)

    def _note_dropped(self, journal: Journal) -> None:
        """Say on the runs how many points there was no room for, now that there is some."""
        for payload in self._dropped_notes():
            journal.append(payload)

    def note_lost_trace(self, trace_id: str, run_id: str | None) -> None:
        """Count a trace of which a part is lost, once for all its parts, and once on its run."""
        with self._lock:
            is_new = trace_id not in self._lost_traces
            is_for_run = run_id is not None and not self._lost_traces.get(trace_id)
            self._lost_traces[trace_id] = self._lost_traces.get(trace_id, False) or is_for_run
            self.n_lost_traces += is_new
            if len(self._lost_traces) > _LOST_TRACES:
                del self._lost_traces[next(iter(self._lost_traces))]
        if is_new:
            self.append(records.encode_operation("traces_dropped", {"run_id": None, "n": 1}))
        if is_for_run:
            self.append(records.encode_operation("traces_dropped", {"run_id": run_id, "n": 1}))

    def note_lost_files(self, n_files: int, run_id: str | None) -> None:
        """Count files that are lost, and on their run where it is known."""
        self.n_lost_files += n_files
        fields = {"run_id": run_id, "n": n_files}
        self.append(records.encode_operation("artifacts_dropped", fields))

    def has_lost_trace(self, trace_id: str) -> bool:
        """Say whether a part of a trace was lost, of one of the last few thousand."""
        return trace_id in self._lost_traces

    def _dropped_notes(self) -> list[bytes]:
        dropped, self._dropped = self._dropped, {}
        return [
            records.encode_operation("points_dropped", {"run_id": run_id, "n": n})
            for run_id, n in dropped.items()
        ]

    def _hold(self, payload: bytes) -> None:
        with self._lock:
            if self._held_bytes + len(payload) > settings.SPOOL_MEMORY_BYTES.get():
                self.n_lost += 1
                return
            self._held.append(payload)
            self._held_bytes += len(payload)

    @property
    def spool_root(self) -> Path | None:
        """The folder of the journals, where it is known."""
        return None if self._spool is None else self._spool.root

    @property
    def journal(self) -> Journal | None:
        """This process's journal; None until its first record, and in a new child of fork."""
        journal = self._journal
        return journal if journal is not None and journal.is_ours else None

    @property
    def end(self) -> int:
        """The position after the last record of this process; 0 while it has no journal."""
        journal = self.journal
        return 0 if journal is None else journal.end

    def n_refused(self) -> int:
        """Count the records of this process that the store has refused so far."""
        journal = self.journal
        if journal is None:
            return 0
        try:
            return JournalFolder(journal.folder).delivered().n_rejected
        except WeirError:
            return 0  # a copy that is being replaced

    @property
    def n_held(self) -> int:
        """Records that wait in memory for a journal to be begun."""
        return len(self._held) if self._pid == os.getpid() else 0

    def is_delivered(self) -> bool:
        """Say whether every record of this process is in the store."""
        journal = self.journal
        if journal is None:
            return not self.n_held
        return not journal.n_held and self.is_file_delivered()

    def is_file_delivered(self) -> bool:
        """Say whether what the disk has taken of this process's records is in the store."""
        journal = self.journal
        if journal is None:
            return True
        self.look_after(journal)  # a folder that is gone would be one that is delivered
        return journal.folder.is_dir() and client.wait_delivered(journal.folder, journal.end, 0)

    def n_files(self) -> int:
        """Return of how many calls the files wait beside the journal."""
        journal = self.journal
        return 0 if journal is None else len(files.list_waiting(journal.folder / "files"))

    def deliver(
        self,
        timeout_s: float,
        progress: Callable[[client.DeliveryState], bool | None] | None = None,
    ) -> bool:
        """Wait until what this process wrote so far is in the store, artifacts too.

        Returns:
            Whether it is.
        """
        journal = self.journal or (self._try_open() if self.n_held else None)
        if journal is None:
            return not self.n_held
        found = journal

        def goes_on(state: client.DeliveryState) -> bool | None:
            self._look_at_refusal(found)
            return None if progress is None else progress(state)

        waiting = files.list_waiting(journal.folder / "files")
        give_up_s = time.monotonic() + timeout_s
        while True:
            self.look_after(journal)
            journal.flush()
            left_s = max(give_up_s - time.monotonic(), 0.0)
            if not client.wait_delivered(journal.folder, journal.end, left_s, goes_on):
                return False
            if not journal.folder.is_dir():  # removed meanwhile
                if time.monotonic() > give_up_s:
                    return False
                time.sleep(_ROOM_LOOK_S)
                continue
            if not journal.n_held:
                break
            if not _gets_room(journal, give_up_s):
                return False
        if self._dropped:
            self._note_dropped(journal)
            journal.flush()
        left_s = max(give_up_s - time.monotonic(), 0.0)
        return client.wait_uploaded(journal.folder, waiting, left_s, goes_on)

    def room_for(self, size_bytes: int) -> tuple[Path, int]:
        """Return the folder for files of the journal, begun where there is none, and its end.

        Raises:
            JournalFull: The disk or the quota has no room for so many bytes, or no folder of the
                machine takes a journal.
        """
        self.prepare()
        journal, spool = self.journal, self._spool
        if journal is None or spool is None:
            raise JournalFull("no folder takes a journal")
        try:
            disk = os.statvfs(journal.folder)
        except OSError as exc:
            raise JournalFull(f"{journal.folder}: {exc.strerror}") from exc
        on_disk = disk.f_bavail * disk.f_frsize - _RESERVE_BYTES
        if time.monotonic() >= self._next_usage_s:
            usage = spool.usage.bytes()
            if usage is not None and spool.usage.is_settled():
                self._usage_bytes, self._next_usage_s = usage, time.monotonic() + _QUOTA_S
        of_quota = settings.SPOOL_MAX_BYTES.get() - self._usage_bytes
        self.left_bytes = min(on_disk, of_quota)
        if on_disk < size_bytes:
            raise JournalFull(f"{spool.root}: the disk is full")
        if of_quota < size_bytes:
            raise JournalFull(f"{spool.root}: holds as much as WEIR_SPOOL_MAX_BYTES allows")
        self._usage_bytes += size_bytes
        self.left_bytes -= size_bytes
        return journal.folder / "files", journal.end

    def give_back(self, size_bytes: int) -> None:
        """Count files as gone that ``room_for`` was asked for."""
        self._usage_bytes -= size_bytes

    def folders(self) -> list[JournalFolder]:
        """Return the journals of this machine's processes for the same target."""
        try:
            spool = self._spool or Spool.open_any()
        except (OSError, WeirError):
            return []
        self._spool = spool
        return [folder for folder in spool.journals() if self._is_ours(folder)]

    def deliver_held(self) -> bool:
        """Bring what waits in memory into the store from this process: the last way out.

        Returns:
            Whether nothing was lost before.

        Raises:
            WeirError: The store does not take it.
        """
        with self._lock:
            journal = self.journal
            if journal is not None:
                self.take_held()
                self._held += self._dropped_notes()
            if self._held:
                self._apply_directly(self._held)
            self._held_bytes = 0
            return not self.n_lost and (journal is None or not journal.n_dropped)

    def _apply_directly(self, payloads: list[bytes]) -> None:
        from mlflow_weir.plugin.agent.targets import address_with, open_target

        address = address_with(self.target, self._credentials)
        target = open_target(address, Path(os.devnull))  # nothing of it can be remembered
        journal_id, position = secrets.token_hex(16), 0
        try:
            while payloads:
                part = payloads[:_MAX_DIRECT]
                end = position + sum(FRAME_HEADER_BYTES + len(payload) for payload in part)
                target.apply(journal_id, None, position, end, part, is_patient=False)
                position = end
                del payloads[: len(part)]
        finally:
            target.close()

    def take_held(self) -> None:
        """Take what waits in memory for the disk out of the journal, for ``save_what_fits``."""
        journal = self.journal
        if journal is not None and not journal.flush():
            self._held += journal.take_held()

    def save_what_fits(self) -> int:
        """Write what is no numbers of what ``deliver_held`` could not deliver, and how many were.

        A run's end and its params are small: there may be room for them where there is none for
        its points and histograms.

        Returns:
            How many records of this process are lost.
        """
        journal = self.journal
        if journal is None:
            return self.n_lost + len(self._held)
        left, self._held, self._held_bytes = self._held, [], 0
        bulk = [payload for payload in left if records.is_bulk(payload)]
        for payload in bulk:
            self._count_dropped(payload)
        journal.open_reserve()
        for payload in left:
            if not records.is_bulk(payload):
                journal.append(payload)
        self._note_dropped(journal)
        journal.flush()
        return journal.n_dropped + journal.n_held + len(bulk)

    def settle(
        self,
        timeout_s: float,
        goes_on: Callable[[client.DeliveryState], bool] | None = None,
    ) -> bool:
        """Wait until every process of this machine has its records for this target in the store.

        Returns at once where nothing waits, and as soon as the agent says that the target is
        away.

        Args:
            timeout_s: For so long at most.
            goes_on: Says whether to wait on, in place of what the agent says.

        Returns:
            Whether they are.
        """
        try:
            spool = self._spool or Spool.open_any()
        except (OSError, WeirError):
            return True  # nobody can have written anything
        self._spool = spool
        deadline_s = time.monotonic() + timeout_s
        for folder in spool.journals():
            left_s = max(deadline_s - time.monotonic(), 0.0)
            if self._is_ours(folder) and not client.wait_delivered(
                folder.path, _end_of(folder.path), left_s, goes_on or _while_it_moves
            ):
                return False
        return True

    def _is_ours(self, folder: JournalFolder) -> bool:
        """Say whether a journal, of any process, is for the same target."""
        target = self._targets.get(folder.path.name)
        if target is None:
            try:
                target = folder.header().target
            except (OSError, WeirError):  # gone, or set aside as corrupt
                return False
            self._targets[folder.path.name] = target
        return target == self.target

    def waiting(self) -> Iterator[records.Points | records.Operation]:
        """Give points and operations of this process that are not in the store yet, in order."""
        journal = self.journal
        if journal is None:
            return
        delivered = JournalFolder(journal.folder).delivered()
        reader = JournalReader(journal.folder, delivered.position)
        while True:
            found = reader.read()
            if not found.payloads:
                return
            for payload in found.payloads:
                record = records.decode(payload)
                if not isinstance(record, records.Histograms):
                    yield record


def _is_refused(folder: Path) -> bool:
    """Say whether the target of a journal does not take what it is given, for any reason."""
    try:
        error = JournalFolder(folder).delivered().error
    except WeirError:
        return False  # a copy that is being replaced
    return bool(error or files.read_problem(folder / "files").error)


def _gets_room(journal: Journal, give_up_s: float) -> bool:
    """Wait a while until some of what waits in memory is written, as the agent makes room."""
    end, soon_s = journal.end, time.monotonic() + _ROOM_S
    while not journal.flush() and journal.end == end:
        if time.monotonic() > min(soon_s, give_up_s):
            return False
        client.nudge(journal.folder.parent.parent)
        time.sleep(_ROOM_LOOK_S)
    return True


def _end_of(folder: Path) -> int:
    """Return the position after what is in a journal's files; 0 where there is none any more."""
    try:
        segments = list_segments(folder)
        return segments[-1] + (folder / segment_name(segments[-1])).stat().st_size
    except (OSError, IndexError):
        return 0


def _while_it_moves(state: client.DeliveryState) -> bool:
    return not state.error
