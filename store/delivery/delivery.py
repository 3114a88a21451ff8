"""One delivery: a transaction, and what it has found out so far.

Operations read a run or an experiment through here, so that each is looked up once a transaction,
and leave what the caller wants to know. An operation checks everything before it writes and notes
what it has done after: one that raises has changed neither the database nor this object, given a
savepoint.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from mlflow_weir.errors import RunNotThereYet
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.fields import Refused
from mlflow_weir.store.delivery.positions import JournalState

_MAX_IN = 500
_FACTS = sa.select(
    *(
        tables.runs.c[name]
        for name in ("run_uuid", "experiment_id", "lifecycle_stage", "status", "end_time")
    )
).where(tables.runs.c.run_uuid.in_(sa.bindparam("ids", expanding=True)))
PENDING_ARTIFACTS = "weir-pending:"
"""What an artifact root begins with that its process did not know."""

TERMINAL = frozenset({"FINISHED", "FAILED", "KILLED"})
"""MLflow's states of a run that has ended."""


@dataclass
class RunFacts:
    """What operations need to know of a run; kept as they change it."""

    run_id: str
    experiment_id: int
    lifecycle_stage: str
    status: str
    end_time: int | None


@dataclass
class ExperimentFacts:
    """What operations need to know of an experiment."""

    experiment_id: int
    name: str
    lifecycle_stage: str
    artifact_location: str


@dataclass
class Delivery:
    """A transaction on the tracking database.

    Attributes:
        connection: In the transaction.
        journal_id: Whose records are applied.
        state: The journal's; operations change it.
        is_locking: Read what is about to be written with locks: after another writer was met.
        is_patient: Raise ``RunNotThereYet`` rather than refuse a run that does not exist.
        now_ms: Wall time of the delivery.
        ended_runs: Runs that a record of this delivery ended.
        let_go: Runs that its process answered for until now; points are written after the rest.
    """

    connection: sa.Connection
    journal_id: str
    state: JournalState
    is_locking: bool = False
    is_patient: bool = False
    now_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    ended_runs: dict[str, None] = field(default_factory=dict)
    let_go: set[str] = field(default_factory=set)
    _runs: dict[str, RunFacts | None] = field(default_factory=dict)
    _experiments: dict[int, ExperimentFacts | None] = field(default_factory=dict)

    def load_runs(self, run_ids: Collection[str]) -> None:
        """Look up runs, all at once."""
        wanted = sorted(set(run_ids).difference(self._runs))
        self._runs.update(dict.fromkeys(wanted))
        for start in range(0, len(wanted), _MAX_IN):
            part = wanted[start : start + _MAX_IN]
            for row in self.connection.execute(_FACTS, {"ids": part}):
                if row.run_uuid in self._runs:  # and not one that a collation takes for it
                    self._runs[row.run_uuid] = RunFacts(*row)

    def find_run(self, run_id: str) -> RunFacts | None:
        """Return a run, deleted ones too, or None."""
        if run_id not in self._runs:
            self.load_runs([run_id])
        return self._runs[run_id]

    def active_run(self, run_id: str) -> RunFacts:
        """Return a run; a deleted one too, while it is the journal's process that it goes on in.

        So nothing is lost of a run that somebody deletes under its training, and restores.

        Raises:
            Refused: There is none, or it is deleted.
        """
        run = self.find_run(run_id)
        if run is None:
            if self.is_patient:
                raise RunNotThereYet(run_id)
            raise Refused(f"run {run_id} does not exist")
        if not self.takes(run):
            raise Refused(f"run {run_id} is deleted; restore it to log to it")
        return run

    def takes(self, run: RunFacts) -> bool:
        """Say whether the run takes what this journal's process logs."""
        is_ours = run.run_id in self.state.open_runs or run.run_id in self.let_go
        return run.lifecycle_stage == tables.ACTIVE or is_ours

    def lock_run(self, run: RunFacts) -> None:
        """Keep others from ending a run until this transaction is over; look at it once more."""
        columns = tables.runs.c
        row = self.connection.execute(
            sa.select(columns.status, columns.end_time)
            .where(columns.run_uuid == run.run_id)
            .with_for_update(key_share=True)  # PostgreSQL: others may write rows that name it
        ).one()
        run.status, run.end_time = row

    def add_run(self, run: RunFacts) -> None:
        """Note a run that has just been created."""
        self._runs[run.run_id] = run

    def find_experiment(self, experiment_id: str) -> ExperimentFacts | None:
        """Return an experiment by its id or an alias of it, deleted ones too, or None."""
        real = self.state.aliases.get(experiment_id, experiment_id)
        if not (real.isascii() and real.isdigit()) or len(real) > 10:
            return None
        number = int(real)
        if number not in self._experiments:
            columns = tables.experiments.c
            row = self.connection.execute(
                sa.select(
                    columns.experiment_id,
                    columns.name,
                    columns.lifecycle_stage,
                    columns.artifact_location,
                ).where(columns.experiment_id == number)
            ).one_or_none()
            self._experiments[number] = None if row is None else ExperimentFacts(*row)
        return self._experiments[number]

    def active_experiment(self, experiment_id: str) -> ExperimentFacts:
        """Return an experiment by its id or an alias of it.

        Raises:
            Refused: There is none, or it is deleted.
        """
        found = self.find_experiment(experiment_id)
        if found is None:
            raise Refused(f"experiment {experiment_id} does not exist")
        return require_active(found)

    def note_location(self, named: str, experiment: ExperimentFacts) -> None:
        """Note where an experiment has its artifacts, for a process that does not know it yet.

        Args:
            named: Its id or alias, as the process names it.
            experiment: What it is.
        """
        self.state.aliases[f"{PENDING_ARTIFACTS}{named}"] = experiment.artifact_location

    def forget_experiment(self, experiment_id: int) -> None:
        """Look an experiment up again: it has just been created."""
        self._experiments.pop(experiment_id, None)

    def read_pairs(
        self,
        table: sa.TableClause,
        key: str,
        value: str,
        owner: Mapping[str, Any],
        keys: Collection[str],
        *,
        is_locked: bool = False,
    ) -> dict[str, str]:
        """Return the values that some keys of an owner have.

        Args:
            table: Of rows with a key and a value, such as ``tags``.
            key: Its column of keys.
            value: Its column of values.
            owner: The columns that say whose they are.
            keys: Which to read.
            is_locked: What is written back depends on what is read.
        """
        found: dict[str, str] = {}
        wanted = sorted(set(keys))
        for start in range(0, len(wanted), _MAX_IN):
            query = sa.select(table.c[key], table.c[value]).where(
                *(table.c[name] == owned for name, owned in owner.items()),
                table.c[key].in_(wanted[start : start + _MAX_IN]),
            )
            if self.is_locking or is_locked:
                query = query.with_for_update()
            found.update((row[0], row[1]) for row in self.connection.execute(query))
        return found

    def upsert_pairs(
        self,
        table: sa.TableClause,
        key: str,
        value: str,
        owner: Mapping[str, Any],
        pairs: Sequence[tuple[str, str]],
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        """Write keys with their values; the last of a key stays.

        Not by one statement that inserts or updates: MySQL would overwrite a key with another
        that its collation takes for it, where MLflow refuses.

        Args:
            table: As in ``read_pairs``, and so are the next three.
            key: Its column of keys.
            value: Its column of values.
            owner: The columns that say whose they are.
            pairs: What to write.
            shared: Further columns of new rows.
        """
        wanted = dict(pairs)
        there = self.read_pairs(table, key, value, owner, wanted)
        # In one order, so that two deliveries that share keys lock them alike.
        for name in sorted(wanted.keys() & there.keys()):
            if wanted[name] != there[name]:
                self.connection.execute(
                    sa.update(table)
                    .where(
                        *(table.c[column] == owned for column, owned in owner.items()),
                        table.c[key] == name,
                    )
                    .values({value: wanted[name]})
                )
        rows = [
            {**owner, **(shared or {}), key: name, value: wanted[name]}
            for name in sorted(wanted.keys() - there.keys())
        ]
        if rows:
            self.connection.execute(sa.insert(table), rows)


def require_active(experiment: ExperimentFacts) -> ExperimentFacts:
    """Return the experiment.

    Raises:
        Refused: It is deleted.
    """
    if experiment.lifecycle_stage != tables.ACTIVE:
        raise Refused(
            f"experiment {experiment.name!r} ({experiment.experiment_id}) is deleted; restore it "
            "to log to it"
        )
    return experiment
