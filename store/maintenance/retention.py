"""Runs that a policy has outlived go: ``weir db retain``, and a server that is told to.

A run that goes is marked as deleted the way MLflow does it, and in the same transaction all that
Weir keeps of it is removed: points (those in MLflow's ``metrics`` too), rollups, histograms, what
it printed, alerts. An entry of the audit log tells who did it, and what went. What is left is a
deleted run as MLflow knows it, with its params, tags, latest metrics and artifacts; ``mlflow gc``
removes those. Its ordinal stays as well, so that no later run gets its colour.

Runs go some dozen a transaction, each looked at again under a lock: one that was resumed, shared,
pinned or registered since the plan was made stays. A command that was killed has done whole
transactions, and the next one does the rest.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.maintenance import kept_runs
from mlflow_weir.store.maintenance.database import in_transaction, require_current_schema
from mlflow_weir.store.maintenance.progress import Progress
from mlflow_weir.store.metrics import chunks
from mlflow_weir.store.sharing import audit
from mlflow_weir.store.sharing.audit import Entry

RUNS_AT_ONCE = 20
"""Of one transaction: on SQLite everybody else waits meanwhile."""

ENDED = ("FINISHED", "FAILED", "KILLED")
ACTION = "run.retention"
_DELETED = "deleted"
_IN_LIST = 500


class Policy(NamedTuple):
    """Which runs go; all of the conditions hold for one that does.

    Attributes:
        older_than_ms: Since the end, or since the start of a run without one; None for any age.
        statuses: Any of these; those of ended runs when left out.
        tags: Each a key and the value it has; None for any value.
        experiments: Names or ids, any of these; empty for all.
    """

    older_than_ms: int | None = None
    statuses: Sequence[str] = ENDED
    tags: Sequence[tuple[str, str | None]] = ()
    experiments: Sequence[str] = ()


@dataclass
class Outlived:
    """A run that the policy applies to.

    Attributes:
        n_points: In batches, chunks and MLflow's own rows.
        size_bytes: What Weir's tables hold of it; rows of MLflow's are counted, not weighed.
        n_files: Artifacts, where they were asked for; as ``artifact_bytes``.
        kept_because: Why it stays; empty for one that goes.
    """

    run_id: str
    name: str
    experiment_id: str
    status: str
    ended_ms: int | None
    n_points: int = 0
    n_metric_rows: int = 0
    size_bytes: int = 0
    n_logged_models: int = 0
    n_files: int | None = None
    artifact_bytes: int | None = None
    kept_because: list[str] = field(default_factory=list)


@dataclass
class RetainReport:
    """What was done, or with ``dry_run`` what would be."""

    dry_run: bool
    mark_only: bool
    gone: list[Outlived] = field(default_factory=list)
    kept: list[Outlived] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def retain(
    engine: sa.Engine,
    policy: Policy,
    progress: Progress,
    *,
    who: str,
    dry_run: bool = True,
    mark_only: bool = False,
    with_models: bool = False,
    with_artifacts: bool = False,
    begun: Callable[[sa.Connection], None] | None = None,
    told: Callable[[Sequence[Outlived]], None] | None = None,
) -> RetainReport:
    """Remove the runs that a policy applies to, but for those that somebody relies on.

    Args:
        engine: Of the database.
        policy: Which runs.
        progress: Told of each run that is done.
        who: What the audit log names.
        dry_run: Only say what would go.
        mark_only: Mark them as deleted and remove nothing.
        with_models: Mark the models that they logged as deleted, too.
        with_artifacts: Count the files that ``mlflow gc`` will find, which asks their store.
        begun: Called first in each transaction that removes; what it raises ends the work.
        told: Given the runs that have gone, after each such transaction.

    Raises:
        ConfigError: A policy without any condition, or of an experiment that is not there.
        SchemaMismatch: The ``weir_*`` tables are not this version's.
    """
    if policy == Policy():
        raise ConfigError(
            "nothing says which runs are to go",
            hint="give at least one of --older-than, --status, --tag and --experiment",
        )
    require_current_schema(engine)
    report = RetainReport(dry_run, mark_only)
    with engine.connect() as connection:
        now_ms = time.time_ns() // 1_000_000
        found = _outlived(connection, policy, now_ms)
        _weigh(connection, found)
        if with_artifacts:
            _count_artifacts(connection, [run for run in found if not run.kept_because], report)
    report.kept = [run for run in found if run.kept_because]
    going = [run for run in found if not run.kept_because]
    if dry_run:
        report.gone = going
        return report
    progress.start("runs", len(going))
    for start in range(0, len(going), RUNS_AT_ONCE):
        part = going[start : start + RUNS_AT_ONCE]
        again = in_transaction(
            engine,
            partial(
                _remove,
                policy=policy,
                runs=part,
                who=who,
                mark_only=mark_only,
                with_models=with_models,
                begun=begun,
            ),
        )
        gone = [run for run in part if run.run_id in again and not again[run.run_id]]
        if told is not None:
            told(gone)
        report.gone += gone
        for run in part:
            run.kept_because = again.get(run.run_id, ["changed meanwhile"])
        report.kept += [run for run in part if run.kept_because]
        progress.advance(len(part))
    return report


def _outlived(
    connection: sa.Connection,
    policy: Policy,
    now_ms: int,
    among: Sequence[str] | None = None,
) -> list[Outlived]:
    """Return the runs that the policy applies to, oldest first, with the reasons to keep them.

    Args:
        connection: Reading; in a transaction that writes where ``among`` is given.
        policy: Which runs.
        now_ms: What ages are counted from.
        among: Look at these alone, and lock them; None for all.
    """
    columns = tables.runs.c
    ended = sa.func.coalesce(columns.end_time, columns.start_time)
    query = (
        sa.select(columns.run_uuid, columns.name, columns.experiment_id, columns.status, ended)
        .where(columns.lifecycle_stage == tables.ACTIVE, columns.status.in_(list(policy.statuses)))
        .order_by(ended, columns.run_uuid)
    )
    if policy.older_than_ms is not None:
        query = query.where(ended < now_ms - policy.older_than_ms)
    if policy.experiments:
        query = query.where(columns.experiment_id.in_(_experiments(connection, policy)))
    for key, value in policy.tags:
        tag = tables.tags.c
        holds = [tag.run_uuid == columns.run_uuid, tag.key == key]
        if value is not None:
            holds.append(tag.value == value)
        query = query.where(sa.exists().where(*holds))
    if among is not None:
        query = query.where(columns.run_uuid.in_(among)).with_for_update()
    found = [
        Outlived(run_id, name or "", str(experiment_id), status, at)
        for run_id, name, experiment_id, status, at in connection.execute(query)
    ]
    found = _having_exactly(connection, found, policy.tags)
    why = kept_runs.reasons(connection, {run.run_id: run.experiment_id for run in found}, now_ms)
    for run in found:
        run.kept_because = why.get(run.run_id, [])
    return found


def _experiments(connection: sa.Connection, policy: Policy) -> list[int]:
    columns = tables.experiments.c
    ids = []
    for wanted in policy.experiments:
        found = [
            experiment_id
            for experiment_id, name in connection.execute(
                sa.select(columns.experiment_id, columns.name)
            )
            if wanted in (name, str(experiment_id))
        ]
        if not found:
            raise ConfigError(f"no experiment has the name or id {wanted!r:.200}")
        ids += found
    return ids


def _having_exactly(
    connection: sa.Connection,
    found: list[Outlived],
    wanted: Sequence[tuple[str, str | None]],
) -> list[Outlived]:
    """Leave out runs whose tags only MySQL's collation takes for those that were asked for."""
    if not wanted or connection.dialect.name not in {"mysql", "mariadb"}:
        return found
    tags: dict[str, dict[str, str]] = defaultdict(dict)
    columns = tables.tags.c
    for ids in _slices([run.run_id for run in found]):
        for run_id, key, value in connection.execute(
            sa.select(columns.run_uuid, columns.key, columns.value).where(
                columns.run_uuid.in_(ids)
            )
        ):
            tags[run_id][key] = value
    return [
        run
        for run in found
        if all(
            key in tags[run.run_id] and value in (None, tags[run.run_id][key])
            for key, value in wanted
        )
    ]


def _slices(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(run_ids), _IN_LIST):
        yield run_ids[start : start + _IN_LIST]


def _weigh(connection: sa.Connection, runs: Sequence[Outlived]) -> None:
    """Count what there is of runs, in place."""
    of_run = {run.run_id: run for run in runs}
    for ids in _slices(list(of_run)):
        for table, points in (
            (schema.batch, schema.batch.c.n_points),
            (schema.chunk, schema.chunk.c.n_points),
            (schema.cold, sa.literal(0)),
            (schema.histogram, sa.literal(0)),
            (schema.console, sa.literal(0)),
        ):
            for run_id, n_points, size in connection.execute(
                sa.select(table.c.run_uuid, sa.func.sum(points), sa.func.sum(table.c.size_bytes))
                .where(table.c.run_uuid.in_(ids))
                .group_by(table.c.run_uuid)
            ):
                of_run[run_id].n_points += int(n_points)
                of_run[run_id].size_bytes += int(size)
        for run_id, size in connection.execute(
            sa.select(
                schema.chunk.c.run_uuid, sa.func.sum(sa.func.length(schema.rollup.c.payload))
            )
            .join_from(
                schema.rollup, schema.chunk, schema.chunk.c.chunk_id == schema.rollup.c.chunk_id
            )
            .where(schema.chunk.c.run_uuid.in_(ids))
            .group_by(schema.chunk.c.run_uuid)
        ):
            of_run[run_id].size_bytes += int(size)
        rows = schema.mlflow_metrics.c.run_uuid
        for run_id, n in connection.execute(
            sa.select(rows, sa.func.count()).where(rows.in_(ids)).group_by(rows)
        ):
            of_run[run_id].n_points += n
            of_run[run_id].n_metric_rows = n
        models = tables.logged_models.c
        for run_id, n in connection.execute(
            sa.select(models.source_run_id, sa.func.count())
            .where(models.source_run_id.in_(ids), models.lifecycle_stage == tables.ACTIVE)
            .group_by(models.source_run_id)
        ):
            of_run[run_id].n_logged_models = n


def _remove(
    session: Session,
    policy: Policy,
    runs: Sequence[Outlived],
    who: str,
    mark_only: bool,
    with_models: bool,
    begun: Callable[[sa.Connection], None] | None,
) -> dict[str, list[str]]:
    """Let runs go that still may; return those the policy still applies to, and why they stay."""
    connection = session.connection()
    if begun is not None:
        begun(connection)
    now_ms = time.time_ns() // 1_000_000
    among = [run.run_id for run in runs]
    found = {run.run_id: run.kept_because for run in _outlived(connection, policy, now_ms, among)}
    going = [run for run in runs if found.get(run.run_id) == []]
    ids = [run.run_id for run in going]
    if not ids:
        return found
    columns, models = tables.runs.c, tables.logged_models.c
    connection.execute(
        sa.update(tables.runs)
        .where(columns.run_uuid.in_(ids))
        .values(lifecycle_stage=_DELETED, deleted_time=now_ms)
    )
    if with_models:
        connection.execute(
            sa.update(tables.logged_models)
            .where(models.source_run_id.in_(ids), models.lifecycle_stage == tables.ACTIVE)
            .values(lifecycle_stage=_DELETED, last_updated_timestamp_ms=now_ms)
        )
    if not mark_only:
        chunks.delete_history(session, ids)
    spaces = _workspaces(connection, {int(run.experiment_id) for run in going})
    for run in going:
        audit.add_in(
            connection,
            Entry(
                0,
                now_ms,
                who,
                "",
                ACTION,
                run.experiment_id,
                spaces.get(int(run.experiment_id)),
                run.run_id,
                {
                    "name": run.name,
                    "status": run.status,
                    "points": 0 if mark_only else run.n_points,
                    "bytes": 0 if mark_only else run.size_bytes,
                    "policy": _in_words(policy),
                },
            ),
        )
    return found


def _workspaces(connection: sa.Connection, experiment_ids: set[int]) -> Mapping[int, str | None]:
    columns = tables.experiments.c
    rows = connection.execute(
        sa.select(columns.experiment_id, columns.workspace).where(
            columns.experiment_id.in_(experiment_ids)
        )
    )
    return {experiment_id: workspace for experiment_id, workspace in rows}


def _in_words(policy: Policy) -> dict[str, Any]:
    return {
        "older_than_ms": policy.older_than_ms,
        "statuses": list(policy.statuses),
        "tags": [key if value is None else f"{key}={value}" for key, value in policy.tags][:20],
        "experiments": list(policy.experiments)[:20],
    }


def _count_artifacts(
    connection: sa.Connection, runs: Sequence[Outlived], report: RetainReport
) -> None:
    """Ask each run's artifact store for its files; a store that does not answer is noted."""
    of_run = {run.run_id: run for run in runs}
    columns = tables.runs.c
    for ids in _slices(list(of_run)):
        for run_id, address in connection.execute(
            sa.select(columns.run_uuid, columns.artifact_uri).where(columns.run_uuid.in_(ids))
        ).all():
            try:
                n_files, size = _files_at(address)
            except (MlflowException, OSError, ImportError) as exc:
                reason = " ".join(str(exc).split())[:200]
                report.notes.append(f"artifacts of run {run_id} were not counted: {reason}")
                continue
            of_run[run_id].n_files, of_run[run_id].artifact_bytes = n_files, size


def _files_at(address: str) -> tuple[int, int]:
    repository = get_artifact_repository(address)
    n_files = size = 0
    folders: list[str | None] = [None]
    while folders:
        for one in repository.list_artifacts(folders.pop()):
            if one.is_dir:
                folders.append(os.fspath(one.path))
            else:
                n_files += 1
                size += one.file_size or 0
    return n_files, size
