"""Application of a journal's records to the tracking database, each exactly once.

One call is one transaction: the journal's position, the operations in their order, then the points
of each run as one ``weir_batch`` row, so that a run that the same records create has them too. (Of
points before a rewind among the same records, those are left out that it takes back.) Histograms
come last. The
rows in MLflow's tables are those that MLflow's own store writes for the same calls.

Guarantees, each with a test of the same name in tests/host/test_delivery.py:

* applied_exactly_once: whatever is asked again, by however many at once, after whatever crash.
* a_refused_record_is_refused_alone: what MLflow's rules or the database do not allow is named with
  a reason; every other record is applied.
* nothing_is_applied_in_part: with the database gone the error is ``StoreUnavailable``, and the
  same call may be repeated.

Nothing here imports MLflow. An engine may be shared by threads; each call takes a connection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import sqlalchemy as sa

from mlflow_weir.errors import KeyCollision
from mlflow_weir.store.delivery import (
    alerts,
    console,
    experiments,
    inputs,
    logged_models,
    positions,
    runs,
)
from mlflow_weir.store.delivery.connection import is_refusal, refusal_reason, transaction
from mlflow_weir.store.delivery.delivery import Delivery
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.delivery.gathering import Gathered, RunPoints, gather, records_of
from mlflow_weir.store.delivery.positions import LastDelivery, Rejected
from mlflow_weir.store.delivery.records import Histograms, Operation
from mlflow_weir.store.delivery.rewinding import without_later
from mlflow_weir.store.histograms import writing as histograms
from mlflow_weir.store.histograms.encoding import Table, TableError
from mlflow_weir.store.histograms.encoding import decode as decode_table
from mlflow_weir.store.metrics import batches
from mlflow_weir.store.metrics.points import Columns

_MAX_BATCH_POINTS = 1 << 17
_COLLISION = (
    "the database takes this name for that of another metric of the run, because its collation "
    "ignores case and accents; log it under another name"
)

_OPERATIONS: dict[str, Callable[[Delivery, Fields], None]] = {
    "create_experiment": experiments.create_experiment,
    "create_run": runs.create_run,
    "update_run": runs.update_run,
    "log_params": runs.log_params,
    "set_tags": runs.set_tags,
    "delete_tag": runs.delete_tag,
    "set_experiment_tag": experiments.set_experiment_tag,
    "log_inputs": inputs.log_inputs,
    "log_outputs": inputs.log_outputs,
    "model_metrics": logged_models.log_model_metrics,
    "create_logged_model": logged_models.create_logged_model,
    "finalize_logged_model": logged_models.finalize_logged_model,
    "set_logged_model_tags": logged_models.set_logged_model_tags,
    "delete_logged_model_tag": logged_models.delete_logged_model_tag,
    "log_logged_model_params": logged_models.log_logged_model_params,
    "log_artifact": lambda delivery, fields: None,  # its files go another way
    "own_run": runs.own_run,
    "exit": runs.exit_run,
    "points_dropped": runs.points_dropped,
    "traces_dropped": runs.traces_dropped,
    "artifacts_dropped": runs.artifacts_dropped,
    "rewind": runs.rewind_run,
    "redacted": runs.redacted,
    "console": console.add_lines,
    "alert": alerts.add_alert,
}


@dataclass
class Outcome:
    """What became of the records.

    Attributes:
        was_applied: They had been applied before and nothing was done. What is said below of
            these records is what was said then if they were the last, and empty if not;
            ``ended_runs`` and ``due_runs`` are empty.
        position: Of the journal in the database.
        n_records: Records that these were, rejected ones included.
        n_points: Points of them that are in the database.
        rejected: What is not.
        ended_runs: Runs that they ended, provisionally or not: to be compacted for good.
        due_runs: Other runs with so many batches that they are to be compacted.
        aliases: Experiment ids that the journal has used so far, with what they became.
        open_runs: Runs that the journal's process answers for, "fluent" or "client".
        provisional: Those of them that were ended provisionally, with the status.
    """

    was_applied: bool
    position: int
    n_records: int = 0
    n_points: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    ended_runs: list[str] = field(default_factory=list)
    due_runs: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    open_runs: dict[str, str] = field(default_factory=dict)
    provisional: dict[str, str] = field(default_factory=dict)


class Review(Protocol):
    """What stands between a journal from outside and the database, asked in the transaction."""

    def operation(self, delivery: Delivery, operation: Operation) -> Operation:
        """Return the operation as it may be performed.

        Raises:
            Refused: It may not.
        """

    def points(self, delivery: Delivery, run_id: str, keys: Iterable[str]) -> Mapping[str, str]:
        """Return the metrics of a run that are not taken, with the reason.

        Raises:
            Refused: The run may not be logged to.
        """


class _Again(Exception):
    """The database refused something: roll back, and find out what."""


def apply(
    engine: sa.Engine,
    journal_id: str,
    fencing: int | None,
    start: int,
    end: int,
    payloads: Sequence[bytes],
    *,
    principal: str | None = None,
    review: Review | None = None,
    is_patient: bool = False,
) -> Outcome:
    """Apply the records of a journal between two positions, in one transaction.

    Args:
        engine: Of the tracking database, whose ``weir_*`` tables are there.
        journal_id: 32 hex digits.
        fencing: Number of the caller's lease; None for a copy of a journal, whose numbers are
            another machine's.
        start: Position of the first record, in bytes.
        end: Position after the last.
        payloads: The records.
        principal: Who delivers, where that is to be the same for all of a journal.
        review: Looks at every record first; None takes them all, as from a machine whose user
            has the database's password.
        is_patient: Apply nothing rather than refuse a run that does not exist: another journal
            may be about to create it.

    Raises:
        NotPermitted: Somebody else delivers this journal.
        StoreUnavailable: The database cannot be reached or written; ask again.
        PositionMismatch: It is at a position in between, or before; read from there.
        LeaseLost: Somebody with a higher fencing number delivers this journal.
        RunNotThereYet: A run does not exist, and ``is_patient``.
    """
    if not 0 <= start < end:
        raise ValueError(f"journal {journal_id}: from position {start} to {end}")
    gathered = gather(payloads)
    attempt = _Attempt(
        journal_id, fencing, start, end, payloads, gathered, principal, review, is_patient
    )
    try:
        with transaction(engine) as connection:
            return attempt.run(connection, is_careful=False)
    except _Again:
        with transaction(engine) as connection:
            return attempt.run(connection, is_careful=True)


@dataclass(frozen=True)
class _Attempt:
    """One call's arguments.

    The first attempt goes without savepoints, which would cost two round trips a record; if the
    database refuses anything, the second goes with one for each.
    """

    journal_id: str
    fencing: int | None
    start: int
    end: int
    payloads: Sequence[bytes]
    gathered: Gathered
    principal: str | None
    review: Review | None
    is_patient: bool

    def run(self, connection: sa.Connection, *, is_careful: bool) -> Outcome:
        state = positions.claim(
            connection, self.journal_id, self.fencing, self.start, self.end, self.principal
        )
        delivery = Delivery(connection, self.journal_id, state, is_patient=self.is_patient)
        if state.position >= self.end:
            return self._said_before(delivery)
        outcome = Outcome(was_applied=False, position=self.end, n_records=len(self.payloads))
        for number, reason in self.gathered.unreadable.items():
            outcome.rejected.append(Rejected("a record", reason, (number,)))
        delivery.load_runs(self.gathered.run_ids())
        cuts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        rewound: list[tuple[int, str, int]] = []
        for number, operation in self.gathered.operations:
            action = partial(_perform, delivery, operation, self.review)
            refused = self._refusal(delivery, action, is_careful)
            if refused is not None:
                outcome.rejected.append(Rejected(_describe(operation), refused, (number,)))
            elif number in self.gathered.rewinds:
                run_id, step = operation.fields["run_id"], operation.fields["step"]
                cuts[run_id].append((self.gathered.rewinds[number], step))
                rewound.append((number, run_id, step))
        # In one order, so that deliveries that share runs lock them alike.
        for run_id in sorted(self.gathered.points):
            points = self.gathered.points[run_id]
            self._write_points(delivery, points, cuts[run_id], outcome, is_careful)
        for number, of_step in self.gathered.histograms:
            later = [
                step for at, run_id, step in rewound if run_id == of_step.run_id and at > number
            ]
            last_step = min(later, default=None)
            refused = self._write_histograms(delivery, of_step, last_step, is_careful)
            if refused is not None:
                what = f"histograms of run {of_step.run_id:.200}"
                outcome.rejected.append(Rejected(what, refused, (number,)))
        state.position = self.end
        state.fencing = max(state.fencing, self.fencing or 0)
        state.n_records += outcome.n_records
        state.n_points += outcome.n_points
        state.n_rejected += len(outcome.rejected)
        state.rejected += outcome.rejected
        state.last = LastDelivery(
            self.start, self.end, outcome.n_records, outcome.n_points, len(outcome.rejected)
        )
        positions.save(connection, self.journal_id, state, delivery.now_ms)
        return replace(
            _outcome(delivery, was_applied=False),
            n_records=outcome.n_records,
            n_points=outcome.n_points,
            rejected=outcome.rejected,
            due_runs=[run for run in outcome.due_runs if run not in delivery.ended_runs],
        )

    def _said_before(self, delivery: Delivery) -> Outcome:
        outcome, last = _outcome(delivery, was_applied=True), delivery.state.last
        if last is None or (last.start, last.end) != (self.start, self.end):
            return outcome
        rejected = delivery.state.rejected[-last.n_rejected :] if last.n_rejected else []
        return replace(
            outcome, n_records=last.n_records, n_points=last.n_points, rejected=rejected
        )

    def _refusal(
        self, delivery: Delivery, action: Callable[[], None], is_careful: bool
    ) -> str | None:
        """Do something; return why it was refused, or None where it was done."""
        if not is_careful:
            try:
                action()
            except Refused as exc:
                return str(exc)
            except Exception as exc:
                if is_refusal(exc):
                    raise _Again from exc
                raise
            return None
        reason = None
        # Another writer may have written the same row since it was looked for: look again.
        for is_locking in (False, True):
            delivery.is_locking = is_locking
            try:
                with delivery.connection.begin_nested():
                    action()
            except Refused as exc:
                return str(exc)
            except Exception as exc:
                if not is_refusal(exc):
                    raise
                reason = refusal_reason(exc)
            else:
                return None
        return reason

    def _write_points(
        self,
        delivery: Delivery,
        points: RunPoints,
        cuts: Sequence[tuple[int, int]],
        outcome: Outcome,
        is_careful: bool,
    ) -> None:
        run_id = points.run_id
        unwanted: Mapping[str, str] = {}
        try:
            if self.review is not None:
                unwanted = self.review.points(delivery, run_id, points.keys)
            delivery.active_run(run_id)
        except Refused as exc:
            self._reject_points(outcome, f"{len(points)} points of run {run_id}", str(exc), run_id)
            return
        columns = without_later(
            points.columns(), [(points.n_points_before(n), step) for n, step in cuts]
        )
        if unwanted:
            columns = columns.without(unwanted)
            for key, fault in unwanted.items():
                self._reject_points(outcome, _metric(key, run_id), fault, run_id)
        pieces = [
            columns.rows(first, first + _MAX_BATCH_POINTS)
            for first in range(0, len(columns), _MAX_BATCH_POINTS)
        ]
        while pieces:
            piece = pieces.pop(0)
            waiting: list[batches.Waiting] = []
            try:
                reason = self._refusal(
                    delivery, partial(_append, delivery, run_id, piece, waiting), is_careful
                )
            except KeyCollision as exc:
                if not is_careful:
                    raise _Again from exc
                rest = piece.without(exc.keys)
                if len(rest):
                    pieces.insert(0, rest)
                for key in exc.keys:
                    self._reject_points(outcome, _metric(key, run_id), _COLLISION, run_id)
                continue
            if reason is None:
                outcome.n_points += len(piece)
                if waiting[-1].is_due and run_id not in outcome.due_runs:
                    outcome.due_runs.append(run_id)
            elif len(piece.keys) == 1:
                self._reject_points(outcome, _metric(piece.keys[0], run_id), reason, run_id)
            else:
                # One metric's name may be to blame: halve until it is alone.
                half = len(piece.keys) // 2
                pieces[:0] = [piece.without(piece.keys[half:]), piece.without(piece.keys[:half])]

    def _write_histograms(
        self, delivery: Delivery, record: Histograms, last_step: int | None, is_careful: bool
    ) -> str | None:
        """Store those of a record up to a step; return why some were refused, or None."""
        run_id, reason = record.run_id, None
        try:
            table = decode_table(record.table)
            names = {f"{table.kind}/{key}": key for key in table.keys}
            unwanted: Mapping[str, str] = {}
            if self.review is not None:
                unwanted = self.review.points(delivery, run_id, names)
            delivery.active_run(run_id)
        except (Refused, TableError) as exc:
            return str(exc)
        if last_step is not None:
            table = table.take(table.step <= last_step)
        if unwanted:
            reason = next(iter(unwanted.values()))
            bad = [table.keys.index(names[name]) for name in unwanted if names[name] in table.keys]
            table = table.take(~np.isin(table.series, bad))
        if not len(table):
            return reason
        action = partial(_append_histograms, delivery, run_id, table)
        return self._refusal(delivery, action, is_careful) or reason

    def _reject_points(self, outcome: Outcome, what: str, reason: str, run_id: str) -> None:
        outcome.rejected.append(Rejected(what, reason, records_of(self.payloads, run_id)))


def _append(
    delivery: Delivery, run_id: str, points: Columns, waiting: list[batches.Waiting]
) -> None:
    waiting.append(batches.append_columns(delivery.connection, run_id, points))


def _append_histograms(delivery: Delivery, run_id: str, table: Table) -> None:
    histograms.append(delivery.connection, run_id, table)


def _metric(key: str, run_id: str) -> str:
    return f"points of metric {key!r} of run {run_id}"


def _perform(delivery: Delivery, operation: Operation, review: Review | None) -> None:
    perform = _OPERATIONS.get(operation.name)
    if perform is None:
        raise Refused("this version does not know the operation; a newer one has written it")
    if review is not None:
        operation = review.operation(delivery, operation)
    perform(delivery, Fields(operation.fields))


def _describe(operation: Operation) -> str:
    """Name an operation to a person, by what it is about."""
    for name in ("run_id", "model_id", "name", "experiment_id"):
        about = operation.fields.get(name)
        if isinstance(about, str):
            kind = {"run_id": "run", "model_id": "logged model"}.get(name, "experiment")
            return f"{operation.name} of {kind} {about:.200}"
    return operation.name


def _outcome(delivery: Delivery, *, was_applied: bool) -> Outcome:
    state = delivery.state
    return Outcome(
        was_applied=was_applied,
        position=state.position,
        ended_runs=list(delivery.ended_runs),
        aliases=dict(state.aliases),
        open_runs=dict(state.open_runs),
        provisional=dict(state.provisional),
    )
