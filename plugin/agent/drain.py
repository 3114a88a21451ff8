"""One journal on its way to its target: read, applied, noted, discarded, at last removed.

The target holds the truth about how far a journal is applied, and what its process answers for;
``delivered.json`` is a copy for whoever waits or looks, which a kill may leave behind.

Used by the agent's workers and by ``weir sync``, each journal by one thread at a time. Two
processes may deliver one journal; the fencing number and the position in the target let one of
them through (``LeaseLost``, ``PositionMismatch``), and the other catches up.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlflow_weir.errors import JournalError, JournalFull, PositionMismatch
from mlflow_weir.plugin.agent import refusals
from mlflow_weir.plugin.agent.exit_states import Evidence, Ownership, verdict
from mlflow_weir.plugin.agent.targets import DeliveryTarget
from mlflow_weir.plugin.journal import building
from mlflow_weir.plugin.journal.format import FRAME_HEADER_BYTES, list_segments, segment_name
from mlflow_weir.plugin.journal.reader import JournalReader, Records, discard_before
from mlflow_weir.plugin.journal.spool import MAX_REJECTED, Delivered, JournalFolder
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.records import (
    Operation,
    RecordError,
    decode,
    encode_operation,
)

if TYPE_CHECKING:
    from mlflow_weir.store.delivery.apply import Outcome

_log = logging.getLogger(__name__)

_MAX_LOGGED = 10
STEP_BYTES = 3 << 19
"""Frames of one transaction: some 20,000 records of one point, or one larger record."""

_MAX_REASON = 500
_NO_END = "RUNNING"  # as it was, without this process
_DROPPED = b'O["points_dropped"'
_TRACES_DROPPED = b'O["traces_dropped"'
_ARTIFACTS_DROPPED = b'O["artifacts_dropped"'


class JournalDelivery:
    """The delivery of one journal.

    Attributes:
        folder: The journal.
        open_runs: Runs that its process answers for, up to ``position``, and how.
        due: Runs to compact, and whether for good; for the caller to take out.
        noted: What ``delivered.json`` says, or would say.
    """

    def __init__(self, folder: JournalFolder, fencing: int | None) -> None:
        """Look at a journal; where to begin, the target says in the first step.

        Args:
            folder: The journal.
            fencing: Number that its transactions carry; None for a copy from elsewhere, into
                which nothing is written either.

        Raises:
            JournalError: The journal cannot be read.
        """
        self.folder = folder
        self.open_runs: dict[str, Ownership] = {}
        self.due: dict[str, bool] = {}
        self.noted = Delivered() if fencing is None else _noted(folder)
        self._fencing = fencing
        self._journal_id = folder.header().journal_id
        self._reader = JournalReader(folder.path, self.noted.position)
        self._has_begun = False
        self._closing: Journal | None = None
        self._settled: set[str] = set()
        self._is_saved = True

    @property
    def position(self) -> int:
        """Everything before it is applied."""
        return self._reader.position

    def owner_is_gone(self) -> None:
        """Take note that nobody writes any more: what is half there will stay so."""
        self._reader.is_final = True

    def step(self, target: DeliveryTarget, *, is_patient: bool = False) -> bool:
        """Deliver the next records, in one transaction; False when there are none now.

        Raises:
            RunNotThereYet: They name a run that does not exist, and ``is_patient``.
            StoreUnavailable: The target did not take them; they are as they were.
            LeaseLost: Somebody else delivers this journal.
            JournalError: It cannot be read; ``JournalCorrupt`` for what never will be.
        """
        if not self._has_begun:
            self._begin(target)
        records = self._reader.read(STEP_BYTES)
        if records.end == records.start:
            self._make_room()
            return False
        try:
            outcome = target.apply(
                self._journal_id,
                self._fencing,
                records.start,
                records.end,
                records.payloads,
                is_patient=is_patient,
            )
        except PositionMismatch:
            self._has_begun = False  # somebody else was at it: look where the target is
            return True
        except BaseException:
            self._reader.position = records.start
            raise
        self._take(records, outcome)
        self._make_room()
        return True

    def _make_room(self) -> None:
        """Remove what is delivered; then there may be room to note how far that is."""
        if self._fencing is not None:
            discard_before(self.folder.path, self.position)
            if not self._is_saved:
                self.note()

    def _begin(self, target: DeliveryTarget) -> None:
        """Go to where the target is."""
        state = target.state(self._journal_id)
        position = 0 if state is None else state.position
        first = min(list_segments(self.folder.path), default=0)
        passed_over: list[dict[str, str]] = []
        if position < first:
            put_back_from = building.put_back_from(self.folder.path)
            if put_back_from is None or put_back_from > first:
                raise JournalError(
                    f"{self.folder.path}: the target has it up to byte {position}, and what "
                    f"follows was delivered up to byte {first} and removed",
                    hint="was the database replaced by an older copy?",
                )
            passed_over = self._pass_over(target, position, first)
            state = target.state(self._journal_id)
            position = first
        self._reader.position = position
        if state is not None:
            self._take_runs(state.open_runs, state.provisional)
            rejected = [_shortened(one.what, one.reason) for one in state.rejected] + passed_over
            self.note(
                position=position,
                n_records=state.n_records,
                n_points=state.n_points,
                n_rejected=state.n_rejected + len(passed_over),
                rejected=rejected[-MAX_REJECTED:],
                aliases=state.aliases,
                open_runs=state.open_runs,
            )
        self._has_begun = True

    def _pass_over(
        self, target: DeliveryTarget, position: int, first: int
    ) -> list[dict[str, str]]:
        """Bring the target behind what was removed with the spool before it was delivered.

        Returns:
            What is to be told of it.
        """
        what = {
            "what": f"{first - position:,} bytes of records",
            "reason": "the spool was removed before they were delivered",
        }
        _log.warning("journal %s: lost: %s: %s", self._journal_id, *what.values())
        while position < first:
            end = min(position + STEP_BYTES, first)
            if first - end < FRAME_HEADER_BYTES:
                end = first  # no void is smaller
            target.apply(self._journal_id, self._fencing, position, end, [], is_patient=False)
            position = end
        return [what]

    def _take_runs(self, open_runs: dict[str, str], provisional: dict[str, str]) -> None:
        self.open_runs = {
            run_id: Ownership.PROVISIONAL if run_id in provisional else Ownership(how)
            for run_id, how in open_runs.items()
        }

    def _take(self, records: Records, outcome: Outcome) -> None:
        self._take_runs(outcome.open_runs, outcome.provisional)
        self.due.update(dict.fromkeys(outcome.due_runs, False))
        self.due.update(dict.fromkeys(outcome.ended_runs, True))
        rejected = [_shortened(one.what, one.reason) for one in outcome.rejected]
        for one in rejected[:_MAX_LOGGED]:
            _log.warning("refused: %s: %s", one["what"], one["reason"])
        self.note(
            position=records.end,
            at_ms=time.time_ns() // 1_000_000,
            n_records=self.noted.n_records + outcome.n_records,
            n_points=self.noted.n_points + outcome.n_points,
            n_rejected=self.noted.n_rejected + len(rejected),
            n_dropped=self.noted.n_dropped + sum(map(dropped_points, records.payloads)),
            n_traces_dropped=self.noted.n_traces_dropped
            + sum(map(dropped_traces, records.payloads)),
            n_artifacts_dropped=self.noted.n_artifacts_dropped
            + sum(map(dropped_artifacts, records.payloads)),
            rejected=[*self.noted.rejected, *rejected][-MAX_REJECTED:],
            error="",
            aliases=outcome.aliases,
            open_runs=outcome.open_runs,
        )

    def note(self, **changes: Any) -> None:
        """Change what ``delivered.json`` says; a full disk is tried again with the next change."""
        self.noted = dataclasses.replace(self.noted, **changes)
        if self._fencing is None:
            return
        try:
            self.folder.write_delivered(self.noted)
            self._is_saved = True
        except JournalError as exc:
            if self._is_saved:
                _log.warning("delivered, but not noted: %s", exc)
            self._is_saved = False

    def fail(self, reason: str) -> None:
        """Note why delivery does not go on."""
        if reason != self.noted.error:
            self.note(error=reason, error_at_ms=time.time_ns() // 1_000_000)

    def active_runs(self) -> list[str]:
        """Return the runs that are going on as far as is known: those to send heartbeats for."""
        return [run for run, how in self.open_runs.items() if how is not Ownership.PROVISIONAL]

    def close_runs(
        self, evidence: Evidence, is_open_elsewhere: Callable[[str, Ownership], bool]
    ) -> dict[str, str]:
        """Write into the journal what became of the runs that its process left open.

        To be called once everything is delivered and the owner is gone. From here on this process
        owns the journal; records that were written are delivered by further steps.

        Args:
            evidence: How the process ended.
            is_open_elsewhere: Says whether a run that belongs to the process in this way goes on
                with another one of this machine.

        Returns:
            Causes by run.

        Raises:
            LeaseLost: Another process owns it: it lives after all, or somebody else does this.
            JournalError: It cannot be written.
        """
        journal = self._closing = self._closing or Journal.adopt(self.folder)
        causes = {}
        for run_id, how in self.open_runs.items():
            if run_id in self._settled:
                continue
            found = None if is_open_elsewhere(run_id, how) else verdict(how, evidence)
            if found is None and how is Ownership.PROVISIONAL:
                continue  # the end is written, and as it should be
            status, cause = found or (_NO_END, None)
            if cause is not None:
                causes[run_id] = cause
            details = {} if evidence.at_ms is None else {"end_time": evidence.at_ms}
            fields = {"run_id": run_id, "status": status, "cause": cause, "details": details}
            journal.append(encode_operation("exit", fields))
            self._settled.add(run_id)
        if not journal.flush():
            raise JournalFull(f"{self.folder.path}: no room to say how its runs ended")
        if causes:
            journal.sync()
        return causes

    def remove(self) -> None:
        """Remove the journal, delivered to its end, with all that belongs to it.

        What was refused or dropped is kept elsewhere, for ``weir status``.
        """
        self._reader.close()
        if self.noted.n_rejected or self.noted.has_dropped():
            try:
                refusals.keep(self.folder.path.parent.parent, self.folder.header(), self.noted)
            except OSError as exc:
                _log.warning("what was refused cannot be kept: %s", exc)
        self.folder.remove()
        if self._closing is not None:
            self._closing.close()

    def close(self) -> None:
        """Give back files and locks; the journal stays."""
        self._reader.close()
        if self._closing is not None:
            self._closing.close()
            self._closing = None


def end_of(folder: JournalFolder) -> int:
    """Return the size of a journal, in bytes from its beginning."""
    return tail_of(folder)[1]


def tail_of(folder: JournalFolder) -> tuple[int, int]:
    """Return where the last segment of a journal begins and ends, in bytes from its beginning."""
    try:
        start = max(list_segments(folder.path), default=0)
        return start, start + (folder.path / segment_name(start)).stat().st_size
    except OSError:  # none yet, or gone meanwhile
        return 0, 0


def dropped_points(payload: bytes) -> int:
    """Return how many points a record says were dropped; 0 for one about something else."""
    return _counted(payload) if payload.startswith(_DROPPED) else 0


def dropped_traces(payload: bytes) -> int:
    """Return how many traces a record says were dropped; 0 for one about something else."""
    is_of_run = b'"run_id":null' not in payload
    return 0 if is_of_run or not payload.startswith(_TRACES_DROPPED) else _counted(payload)


def dropped_artifacts(payload: bytes) -> int:
    """Return how many files a record says were dropped; 0 for one about something else."""
    return _counted(payload) if payload.startswith(_ARTIFACTS_DROPPED) else 0


def _counted(payload: bytes) -> int:
    try:
        record = decode(payload)
    except RecordError:
        return 0
    n = record.fields.get("n") if isinstance(record, Operation) else None
    return n if isinstance(n, int) else 0


def _noted(folder: JournalFolder) -> Delivered:
    try:
        return folder.delivered()
    except JournalError as exc:  # a copy of what the target knows
        _log.warning("%s", exc)
        return Delivered()


def _shortened(what: str, reason: str) -> dict[str, str]:
    return {"what": what[:_MAX_REASON], "reason": reason[:_MAX_REASON]}
