"""Delivery by hand: ``weir sync``, with or without an agent beside it.

A journal of this user's spool is delivered as the agent would, under a fencing number of its own,
which makes a running agent yield; what both try, one of them does. Its process's runs are settled
and the journal is removed, if it has ended.

A journal from elsewhere is a copy and untrusted: it is read and never written, it goes where the
caller says and nowhere else, its credentials are not looked at, and its runs keep the state that
its records give them. Delivering it again changes nothing.

What goes where the caller says goes with the caller's credentials, artifacts and traces included;
in another place than its own, to where that keeps them (``relocation.py``, ``copied_files.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_weir.errors import (
    ConfigError,
    JournalError,
    LeaseLost,
    RunNotThereYet,
    StoreUnavailable,
    WeirError,
)
from mlflow_weir.plugin.agent import ends, lease, liveness, uploads
from mlflow_weir.plugin.agent.copied_files import upload_copies
from mlflow_weir.plugin.agent.drain import JournalDelivery, end_of
from mlflow_weir.plugin.agent.exit_states import Evidence, Ownership
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.agent.relocation import RelocatedTarget
from mlflow_weir.plugin.agent.targets import Address, DeliveryTarget, address_of, open_target
from mlflow_weir.plugin.journal.format import list_segments
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import Header, JournalFolder, Spool, Target
from mlflow_weir.plugin.uri import without_secrets

_GIVE_UP_S = 15.0  # without any progress
_BEGINS = b'O["create_run"'
_YIELDED_S = 0.5  # to an agent that takes the delivery back

Progress = Callable[["Synced"], None]


@dataclass
class Synced:
    """What became of one journal.

    Attributes:
        target: Without user, password and query; "" where it was not known.
        position: Delivered up to here, of ``end`` bytes.
        n_records: Of all its deliveries, as are the next two.
        n_files: Calls whose artifacts, or parts of traces, went to where ``--to`` says.
        is_removed: It was delivered to its end, its process has ended, and it is gone.
        causes: Why its open runs ended, by run, for those that were settled now.
        error: Why it is not delivered; "" when it is.
    """

    path: str
    journal_id: str = ""
    target: str = ""
    position: int = 0
    end: int = 0
    n_records: int = 0
    n_points: int = 0
    n_rejected: int = 0
    n_files: int = 0
    rejected: list[dict[str, str]] = field(default_factory=list)
    is_removed: bool = False
    causes: dict[str, str] = field(default_factory=dict)
    error: str = ""


def find_journals(path: Path) -> list[JournalFolder]:
    """Return the journals at a path: one, a spool's, or those in a folder.

    Raises:
        ConfigError: There is none.
    """
    if _is_journal(path):
        return [JournalFolder(path)]
    for folder in (path / "journals", path):
        if folder.is_dir():
            found = [JournalFolder(one) for one in sorted(folder.iterdir()) if _is_journal(one)]
            if found or folder != path:
                return found
    raise ConfigError(f"{path}: neither a journal nor a spool", hint="check the path")


def _is_journal(path: Path) -> bool:
    return (path / "header.json").is_file() or (path.is_dir() and bool(list_segments(path)))


class Syncer:
    """Delivers journals, one after the other."""

    def __init__(self, spool: Spool, to: Address | None, progress: Progress) -> None:
        """Prepare to deliver.

        Args:
            spool: This user's own.
            to: Where everything goes; where each journal says, if None.
            progress: Called after each transaction.
        """
        self._spool, self._to, self._progress = spool, to, progress
        self._targets: dict[Address, DeliveryTarget] = {}

    def deliver_all(
        self, folders: Sequence[JournalFolder], begin: Callable[[], None]
    ) -> list[Synced]:
        """Deliver what journals hold now, and say what became of each; ``begin`` is told of each.

        One that names a run which is not in the store comes after the others, for one of them may
        begin it: samples of the machine and what a run printed have journals of their own.
        """
        found: dict[int, Synced] = {}
        waiting = []
        for number, folder in enumerate(folders):
            begin()
            try:
                found[number] = self.deliver(folder, is_patient=True)
            except RunNotThereYet:
                waiting.append(number)
        for number in waiting:
            found[number] = self._deliver_last(folders[number])
        return [synced for _, synced in sorted(found.items())]

    def _deliver_last(self, folder: JournalFolder) -> Synced:
        """Deliver a journal that names a run which none of the others has begun.

        A copy that begins no run itself was copied without the journal that it belongs beside:
        it is left as it is, for what a store has refused once it never takes.
        """
        try:
            return self.deliver(folder, is_patient=not self._is_own(folder) and _adds(folder))
        except RunNotThereYet as exc:
            header = folder.header()
            return Synced(
                str(folder.path),
                header.journal_id,
                end=end_of(folder),
                error=f"run {exc.run_id} is not there, and this journal does not begin it: it "
                "holds what was sampled or printed meanwhile. Deliver the training's journal "
                "first, or the folder that both are in: weir sync FOLDER --to URI",
            )

    def deliver(self, folder: JournalFolder, *, is_patient: bool = False) -> Synced:
        """Deliver what a journal holds now; whatever goes wrong is in ``error``.

        Raises:
            RunNotThereYet: It names a run that does not exist, and ``is_patient``.
        """
        synced = Synced(str(folder.path), end=end_of(folder))
        try:
            header = folder.header()
            synced.journal_id = header.journal_id
            is_own = self._is_own(folder)
            address = self._address(folder, header, is_own=is_own)
            synced.target = address.shown
            self._target(address)
        except WeirError as exc:
            synced.error = str(exc)
            return synced
        try:
            self._deliver(folder, header, address, synced, is_own=is_own, is_patient=is_patient)
        except RunNotThereYet:
            raise
        except (WeirError, OSError, ValueError) as exc:
            synced.error = address.redacted(str(exc)) or type(exc).__name__
        return synced

    def close(self) -> None:
        """Close the connections."""
        for target in self._targets.values():
            target.close()

    def _is_own(self, folder: JournalFolder) -> bool:
        journals = (self._spool.root / "journals").resolve()
        return folder.path.resolve().parent == journals and not folder.path.is_symlink()

    def _address(self, folder: JournalFolder, header: Header, *, is_own: bool) -> Address:
        if self._to is not None:
            return self._to
        if is_own:
            return address_of(folder)
        raise ConfigError(
            f"{folder.path} is not of this user's spool",
            hint=f"say where it goes: --to URI (its own machine would have sent it to "
            f"{Address(header.target.kind, header.target.uri).shown})",
        )

    def _target(self, address: Address) -> DeliveryTarget:
        if address not in self._targets:
            self._targets[address] = open_target(address, self._spool.root)
        return self._targets[address]

    def _fencing(self, *, is_own: bool) -> int | None:
        return lease.next_fencing(AgentFiles(self._spool.root)) if is_own else None

    def _deliver(
        self,
        folder: JournalFolder,
        header: Header,
        address: Address,
        synced: Synced,
        *,
        is_own: bool,
        is_patient: bool,
    ) -> None:
        target: DeliveryTarget = self._target(address)
        is_elsewhere = self._is_elsewhere(header)
        if is_elsewhere or not is_own:
            target = RelocatedTarget(target, is_elsewhere=is_elsewhere)
        evidence = self._evidence(folder, header) if is_own else None
        delivery: JournalDelivery | None = None
        due: dict[str, bool] = {}
        is_settled = False
        try:
            for _ in _tries(lambda: synced.position):
                if not folder.path.is_dir():  # the agent was faster
                    synced.position, synced.is_removed = synced.end, True
                    break
                try:
                    if delivery is None:
                        delivery = JournalDelivery(folder, self._fencing(is_own=is_own))
                        if evidence is not None or not is_own:
                            delivery.owner_is_gone()
                    while delivery.position < synced.end or evidence is not None:
                        if not delivery.step(target, is_patient=is_patient):
                            break
                        due.update(delivery.due)
                        _note(synced, delivery)
                        self._progress(synced)
                    _note(synced, delivery)
                    if evidence is not None and not is_settled:
                        synced.causes = delivery.close_runs(
                            evidence,
                            lambda run_id, how: self._is_open_elsewhere(run_id, how, folder),
                        )
                        synced.end, is_settled = end_of(folder), True
                        while delivery.step(target):
                            due.update(delivery.due)
                        _note(synced, delivery)
                    if self._to is not None:
                        self._upload_copies(folder, address, delivery, synced, is_own=is_own)
                    else:
                        synced.error = uploads.upload_now(address, folder, delivery.position)
                    if is_settled and not synced.error:
                        delivery.remove()
                        synced.is_removed = True
                    break
                except LeaseLost:
                    if delivery is not None:
                        delivery.close()
                    delivery, is_settled = None, False
                    time.sleep(_YIELDED_S)
        finally:
            if delivery is not None:
                delivery.close()
        for run_id, is_final in due.items():
            while target.compact(run_id, is_final=is_final):
                time.sleep(0.01)  # a child may be at it

    def _is_elsewhere(self, header: Header) -> bool:
        """Say whether a journal goes to another place than it was written for."""
        if self._to is None:
            return False
        return Target(self._to.kind, without_secrets(self._to.uri)) != header.target

    def _upload_copies(
        self,
        folder: JournalFolder,
        address: Address,
        delivery: JournalDelivery,
        synced: Synced,
        *,
        is_own: bool,
    ) -> None:
        def progress(n_files: int) -> None:
            synced.n_files = n_files
            self._progress(synced)

        copied = upload_copies(
            address,
            folder,
            delivery.noted.aliases,
            self._spool,
            is_own=is_own,
            progress=progress,
        )
        synced.n_files, synced.error = copied.n_files, copied.error

    def _evidence(self, folder: JournalFolder, header: Header) -> Evidence | None:
        """Return how the process of one of our journals ended; None while it lives."""
        if not folder.owner_is_gone():
            return None
        known = ends.read_evidence(folder.path)
        if known is not None:
            return known
        noted = ends.noted(folder.path)
        if header.boot_id not in ("", liveness.boot_id()):
            return Evidence(noted, is_restart=True)
        watch = liveness.try_watch(header.pid, header.pid_start_ticks)
        if watch is None:
            return Evidence(noted)
        try:
            return Evidence(watch.how() or noted) if watch.has_ended() else None
        finally:
            watch.close()

    def _is_open_elsewhere(self, run_id: str, how: Ownership, asking: JournalFolder) -> bool:
        for folder in self._spool.journals():
            if folder.path.name == asking.path.name:
                continue
            try:
                mine = folder.delivered().open_runs.get(run_id)
                if mine is None or folder.owner_is_gone():
                    continue
                if how.yields_to(Ownership(mine)):
                    return True
            except JournalError:
                continue
        return False


def _adds(folder: JournalFolder) -> bool:
    """Say whether a journal begins no run, so that all of it is of runs that others begin."""
    try:
        with JournalReader(folder.path, min(list_segments(folder.path), default=0)) as reader:
            while payloads := reader.read().payloads:
                if any(payload.startswith(_BEGINS) for payload in payloads):
                    return False
    except JournalError:
        return False  # whoever delivers it says what is wrong
    return True


def _note(synced: Synced, delivery: JournalDelivery) -> None:
    synced.position = delivery.position
    noted = delivery.noted
    synced.n_records, synced.n_points = noted.n_records, noted.n_points
    synced.n_rejected, synced.rejected = noted.n_rejected, noted.rejected


def _tries(position: Callable[[], int]) -> Iterator[None]:
    """Try again for as long as it gets on, and a while longer.

    Raises:
        StoreUnavailable: It got no further for long.
    """
    last, since_s = -1, time.monotonic()
    while True:
        yield
        if position() != last:
            last, since_s = position(), time.monotonic()
        elif time.monotonic() - since_s > _GIVE_UP_S:
            raise StoreUnavailable("another process delivers this journal and gets no further")
