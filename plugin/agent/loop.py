"""The agent's main thread: which journals there are, whose processes live, when to end.

Five times a second, or when nudged, it looks at the spool; a worker thread a target delivers, and
one more brings what was written to the disk. Durations are measured on the monotonic clock, so
that a clock that jumps changes nothing but the times shown.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import select
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mlflow_weir import settings
from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.agent import client, compactor, ends, lease, liveness
from mlflow_weir.plugin.agent.drain import tail_of
from mlflow_weir.plugin.agent.exit_states import Evidence, Ownership
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.agent.targets import Address, address_of
from mlflow_weir.plugin.agent.worker import Tracked, Worker
from mlflow_weir.plugin.capture import wishes
from mlflow_weir.plugin.journal.format import list_segments, segment_name
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool, replace_private

if TYPE_CHECKING:
    from mlflow_weir.plugin.agent.sampling import Sampling

_log = logging.getLogger(__name__)

LOOK_S = 0.2
_OWNER_S = 1.0  # between two looks at the lock of an owner that is watched otherwise
_OOM_S = 10.0
_UNREADABLE_S = 10.0
_STOP_S = 10.0


class Agent:
    """One spool's agent, from the lease to the end."""

    def __init__(self, spool: Spool, held: lease.Lease) -> None:
        self._spool, self._lease = spool, held
        self._files = AgentFiles(spool.root)
        self._tracked: dict[str, Tracked] = {}
        self._watches: dict[str, liveness.Watch] = {}
        self._unreadable: dict[str, float] = {}
        self._workers: dict[Address, Worker] = {}
        self._boot_id = liveness.boot_id()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._must_stop = False
        self._is_first = True
        self._sampling: Sampling | None = None
        self._next_owner_s = self._next_oom_s = 0.0
        self._syncer = Syncer()

    def run(self) -> None:
        """Serve until there has been nothing to do for long, or somebody asks to stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        listener = listen(self._files)
        bound = os.stat(listener.getsockname())
        self._spool.sweep()
        self._syncer.start()
        idle_s = settings.AGENT_IDLE_SECONDS.get()
        busy_s = time.monotonic()
        try:
            while not self._must_stop:
                self._look()
                now = time.monotonic()
                if self._is_busy():
                    busy_s = now
                elif now - busy_s > idle_s:
                    _log.info("nothing to do for %.0f s: ending", idle_s)
                    break
                if not self._lease.is_held():
                    _log.warning("the spool was removed: ending")
                    break
                if not _is_bound(listener, bound):
                    break  # whoever needs an agent starts one that can be reached
                self._wait(listener)
        finally:
            _unbind(listener, self._files)
            self._stop()

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._must_stop = True
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"!")

    def _wait(self, listener: socket.socket) -> None:
        """Wait for the next look, or for a nudge or an end, which make it the next moment."""
        awake, there = self._wake_read, listener.fileno()
        living = {
            watch.fileno(): watch
            for name, watch in self._watches.items()
            if (one := self._tracked.get(name)) is not None and one.evidence is None
        }
        poll = select.poll()
        for descriptor in (there, awake, *living):
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(LOOK_S * 1000)}
        for descriptor in living.keys() & ready:
            living[descriptor].how()  # at once: its parent is about to have it forgotten
        if awake in ready:
            os.read(awake, 512)
        if there in ready:
            is_urgent = False
            with contextlib.suppress(BlockingIOError):
                while message := listener.recv(64):
                    is_urgent |= message == client.DRAIN.encode()
                    self._must_stop |= message == client.STOP.encode()
            if is_urgent:
                for worker in self._workers.values():
                    worker.urge()

    def _is_busy(self) -> bool:
        """Say whether anything lives, or is left that waiting may help."""
        return any(one.evidence is None or not one.is_stuck for one in self._tracked.values()) or (
            any(not worker.is_idle() and not self._tracked for worker in self._workers.values())
        )

    def _look(self) -> None:
        now = time.monotonic()
        found = {folder.path.name: folder for folder in self._spool.journals()}
        for name in [name for name in self._tracked if name not in found]:
            self._drop(name)
        for name, folder in found.items():
            if name not in self._tracked and self._unreadable.get(name, 0.0) <= now:
                self._add(name, folder)
        is_owner_due, is_oom_due = now >= self._next_owner_s, now >= self._next_oom_s
        if is_owner_due:
            self._next_owner_s = now + _OWNER_S
            compactor.reap()
            self._look_at_credentials(found)
        if is_oom_due:
            self._next_oom_s = now + _OOM_S
        for name, one in self._tracked.items():
            if one.evidence is None:
                self._look_at_owner(name, one, is_due=is_owner_due, is_oom_due=is_oom_due)
            tail = tail_of(one.folder)
            if tail != (one.start, one.end):  # what was begun anew makes room for what was before
                one.start, one.end = tail
                self._worker_of(one).wake()
                self._syncer.written(one)
        self._is_first = False
        self._look_at_wishes()

    def _look_at_wishes(self) -> None:
        """Have the machine sampled for the runs that want it."""
        if self._sampling is None:
            if not any(wishes.changed_ns(one.folder.path) for one in self._tracked.values()):
                return
            from mlflow_weir.plugin.agent.sampling import Sampling  # with what it needs

            self._sampling = Sampling(self._spool)
        self._sampling.look(self._tracked.values())

    def _add(self, name: str, folder: JournalFolder) -> None:
        try:
            header, credentials_ns = folder.header(), folder.credentials_ns()
            address = address_of(folder)
        except JournalError as exc:
            if name not in self._unreadable:
                _log.error("journal %s is set aside: %s", name, exc)
            self._unreadable[name] = time.monotonic() + _UNREADABLE_S
            return
        self._unreadable.pop(name, None)
        one = self._tracked[name] = Tracked(folder, header, address, credentials_ns)
        one.evidence = ends.read_evidence(folder.path)
        is_ours = header.pid == os.getpid()  # what is sampled; the lock says whether it is open
        is_new = name not in self._watches  # else it is with another worker
        if (
            one.evidence is None
            and not is_ours
            and is_new
            and header.boot_id in ("", self._boot_id)
        ):
            watch = liveness.try_watch(header.pid, header.pid_start_ticks)
            if watch is not None:
                self._watches[name] = watch
        self._worker_of(one).add(one)

    def _look_at_credentials(self, found: Mapping[str, JournalFolder]) -> None:
        """Deliver on with what processes have renewed, such as a token that ran out."""
        for name, one in list(self._tracked.items()):
            if one.is_moved and one.is_done:  # the worker has let go of it
                del self._tracked[name]
                if name in found:
                    self._add(name, found[name])
                self._end_worker_of(one.address)
            elif not one.is_moved and one.folder.credentials_ns() != one.credentials_ns:
                one.credentials_ns = one.folder.credentials_ns()
                with contextlib.suppress(JournalError):
                    if address_of(one.folder) != one.address:
                        self._pass_on(one)
                        one.is_moved = True
                        self._worker_of(one).wake()

    def _pass_on(self, renewed: Tracked) -> None:
        """Give what a process has renewed to the journals that began with the same as its own.

        What it prints and what is sampled for it is in others, whose writers cannot ask MLflow.
        """
        credentials = renewed.folder.credentials()
        for other in self._tracked.values():
            if other is renewed or other.address != renewed.address or credentials is None:
                continue
            with contextlib.suppress(JournalError, OSError):
                if address_of(other.folder) == renewed.address:
                    path = other.folder.path / "credentials.json"
                    replace_private(path, dataclasses.asdict(credentials))

    def _end_worker_of(self, address: Address) -> None:
        worker = self._workers[address]
        is_used = any(one.address == address for one in self._tracked.values())
        if not is_used and worker.is_idle():
            self._workers.pop(address).ask_to_stop()

    def _worker_of(self, one: Tracked) -> Worker:
        worker = self._workers.get(one.address)
        if worker is None:
            worker = Worker(
                one.address, lambda: lease.next_fencing(self._files), self._is_open_elsewhere
            )
            self._workers[one.address] = worker
            worker.start()
        return worker

    def _is_open_elsewhere(self, run_id: str, how: Ownership, asking: Tracked) -> bool:
        return any(
            one is not asking and one.keeps(run_id, how) for one in list(self._tracked.values())
        )

    def _drop(self, name: str) -> None:
        self._tracked.pop(name, None)
        watch = self._watches.pop(name, None)
        if watch is not None:
            watch.close()

    def _look_at_owner(self, name: str, one: Tracked, *, is_due: bool, is_oom_due: bool) -> None:
        """Find out whether a journal's process has ended, and how."""
        watch = self._watches.get(name)
        if watch is not None:
            if watch.has_ended():
                how = watch.how() or ends.noted(one.folder.path)
                may_be_killed = how is None or how.signal == signal.SIGKILL
                oom = watch.oom_evidence() if may_be_killed else None
                self._end(one, Evidence(how, oom, at_ms=time.time_ns() // 1_000_000))
                return
            if is_oom_due:
                watch.refresh()
        if not is_due and not self._is_first:
            return
        is_gone = one.folder.owner_is_gone()
        if watch is not None:
            # The lock is free, but the process is there: it closed the journal, or became
            # another program by exec. How it ends is known when it does.
            if is_gone != one.is_released:
                one.is_released = is_gone
                self._worker_of(one).wake()
        elif is_gone:
            is_restart = one.header.boot_id not in ("", self._boot_id)
            how = ends.noted(one.folder.path)
            self._end(one, Evidence(how, None, is_restart, last_sign_ms(one.folder)))

    def _end(self, one: Tracked, evidence: Evidence) -> None:
        try:
            ends.write_evidence(one.folder.path, evidence)
        except OSError as exc:
            _log.warning("journal %s: %s", one.header.journal_id, exc)
        one.evidence = evidence
        self._worker_of(one).wake()

    def _stop(self) -> None:
        if self._sampling is not None:
            self._sampling.stop()
        for worker in self._workers.values():
            worker.ask_to_stop()
        give_up = time.monotonic() + _STOP_S
        for worker in self._workers.values():
            worker.join(max(give_up - time.monotonic(), 0.0))


class Syncer(threading.Thread):
    """Brings what is written to the disk, at short intervals while there is something."""

    def __init__(self) -> None:
        super().__init__(name="weir-sync", daemon=True)
        self._written: dict[str, Tracked] = {}
        self._synced: dict[str, int] = {}
        self._is_new = threading.Event()
        self._pause_s = settings.JOURNAL_SYNC_SECONDS.get()

    def written(self, journal: Tracked) -> None:
        """Sync this journal, which has grown; any thread."""
        self._written[journal.header.journal_id] = journal
        self._is_new.set()

    def run(self) -> None:
        """Sync until the process ends."""
        while True:
            self._is_new.wait()
            self._is_new.clear()
            began = time.monotonic()
            while self._written:
                name, journal = self._written.popitem()
                end = journal.end
                try:
                    journal.folder.sync(self._synced.get(name, 0))
                except JournalError as exc:
                    _log.warning("%s", exc)
                    continue
                self._synced[name] = end
                if journal.is_done:
                    self._synced.pop(name, None)
            time.sleep(max(self._pause_s - (time.monotonic() - began), 0.0))


def last_sign_ms(folder: JournalFolder) -> int | None:
    """Return when a journal's process wrote last, wall time; None if it never did."""
    try:
        start = max(list_segments(folder.path), default=0)
        return os.stat(folder.path / segment_name(start)).st_mtime_ns // 1_000_000
    except OSError:
        return None


def listen(files: AgentFiles) -> socket.socket:
    """Bind the spool's socket, in place of one that an agent left which is no more."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if files.has_short_socket():
        address = files.socket
    else:
        _remove_folder(files)
        address = Path(tempfile.mkdtemp(prefix="weir-", dir="/tmp"), "agent.sock")
        files.socket_path.write_bytes(os.fsencode(address))
    with contextlib.suppress(FileNotFoundError):
        address.unlink()
    before = os.umask(0o177)  # 0600 from its first moment; no thread makes files yet
    try:
        listener.bind(str(address))
    finally:
        os.umask(before)
    return listener


def _is_bound(listener: socket.socket, bound: os.stat_result) -> bool:
    try:
        there = os.stat(listener.getsockname())
    except OSError:
        _log.warning("the socket was removed: ending")
        return False
    return (there.st_dev, there.st_ino) == (bound.st_dev, bound.st_ino)


def _unbind(listener: socket.socket, files: AgentFiles) -> None:
    with contextlib.suppress(OSError):
        os.unlink(listener.getsockname())
    listener.close()
    _remove_folder(files)


def _remove_folder(files: AgentFiles) -> None:
    """Remove the private folder that an agent of this spool had its socket in."""
    address = None if files.has_short_socket() else files.address()
    if address is None or not Path(address).parent.name.startswith("weir-"):
        return
    with contextlib.suppress(OSError):
        if os.lstat(Path(address).parent).st_uid == os.geteuid():
            shutil.rmtree(Path(address).parent)
        files.socket_path.unlink()
