"""Which chunks ``weir db archive`` moves: those of runs that ended long enough ago."""

from __future__ import annotations

import datetime
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.maintenance.database import in_transaction
from mlflow_weir.store.metrics import chunks, compaction

ENDED = ("FINISHED", "FAILED", "KILLED")
_IN_LIST = 500


class Run(NamedTuple):
    """A run whose chunks move; ``month`` is that of its start."""

    run_id: str
    experiment_id: int
    month: str


class Row(NamedTuple):
    """A chunk that is to move."""

    run: Run
    chunk_id: int
    level: int
    n_points: int
    size_bytes: int
    crc32: int


def ended_runs(connection: sa.Connection, older_than_ms: int) -> list[Run]:
    """Return runs that ended so long ago and that no process answers for, by experiment."""
    columns = tables.runs.c
    before = time.time_ns() // 1_000_000 - older_than_ms
    found = connection.execute(
        sa.select(columns.run_uuid, columns.experiment_id, columns.start_time)
        .where(
            columns.status.in_(ENDED),
            columns.lifecycle_stage == tables.ACTIVE,
            sa.func.coalesce(columns.end_time, columns.start_time) <= before,
            ~sa.exists().where(schema.owner.c.run_uuid == columns.run_uuid),
        )
        .order_by(columns.experiment_id, columns.start_time, columns.run_uuid)
    )
    return [Run(run_id, int(experiment), _month(start)) for run_id, experiment, start in found]


def _month(at_ms: int | None) -> str:
    """Return the month of a moment, UTC, as the data set has it."""
    try:
        moment = datetime.datetime.fromtimestamp((at_ms or 0) / 1000, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):  # no time a calendar has
        return "1970-01"
    return f"{moment:%Y-%m}"


def merge(engine: sa.Engine, runs: Sequence[Run]) -> None:
    """Make each run's loose batches and packs into as few chunks as can be."""
    batch, chunk = schema.batch.c, schema.chunk.c
    many = (
        sa.select(chunk.run_uuid)
        .where(chunk.level < chunks.SEALED_LEVEL)
        .group_by(chunk.run_uuid)
        .having(sa.func.count(chunk.pack.distinct()) > 1)
    )
    with engine.connect() as connection:
        loose = set(connection.execute(sa.select(batch.run_uuid).distinct()).scalars())
        loose |= set(connection.execute(many).scalars())
    for run in runs:
        if run.run_id in loose:
            in_transaction(engine, partial(compaction.compact_batches, run_id=run.run_id))
            in_transaction(engine, partial(compaction.merge_all, run_id=run.run_id))


def iter_rows(connection: sa.Connection, runs: Sequence[Run]) -> Iterator[Row]:
    """Yield the chunks of runs that are in the database, in the order of the runs."""
    columns = schema.chunk.c
    for start in range(0, len(runs), _IN_LIST):
        part = runs[start : start + _IN_LIST]
        of_run: dict[str, list[Any]] = defaultdict(list)
        for run_id, *rest in connection.execute(
            sa.select(
                columns.run_uuid,
                columns.chunk_id,
                columns.level,
                columns.n_points,
                columns.size_bytes,
                columns.crc32,
            )
            .where(
                columns.run_uuid.in_([run.run_id for run in part]),
                columns.level < chunks.COLD_LEVEL,
            )
            .order_by(columns.chunk_id)
        ):
            of_run[run_id].append(rest)
        for run in part:
            for rest in of_run[run.run_id]:
                yield Row(run, *rest)
