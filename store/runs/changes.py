"""What has changed since a moment: which runs have new points, and how experiments stand.

A watermark is how far the ids of batches and chunks had got. Ids are given out before their
transaction commits, so a smaller one may appear after a larger: the last ``SLACK`` ids are looked
at again each time, and a run's *version* tells whether anything came since. A version says nothing
by itself; another version means that there may be other points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables

SLACK = 500
_IN_LIST = 500


class Watermark(NamedTuple):
    """How far ids had got; what a request carries back as it was given."""

    batch: int
    chunk: int


class Standing(NamedTuple):
    """Runs of an experiment: how many there are, and what tells when that changes.

    Attributes:
        n_runs: Active runs.
        n_running: Those that have not ended.
        last_start_ms: When the newest began; 0 for none.
        last_end_ms: When the last one ended; 0 for none.
    """

    n_runs: int
    n_running: int
    last_start_ms: int
    last_end_ms: int


def current(session: Session) -> Watermark:
    """Return the watermark of this moment."""
    found = [
        session.execute(sa.select(sa.func.max(column))).scalar() or 0
        for column in (schema.batch.c.batch_id, schema.chunk.c.chunk_id)
    ]
    return Watermark(*map(int, found))


def runs_with_news(session: Session, since: Watermark, experiment_ids: Sequence[int]) -> list[str]:
    """Return runs of some experiments to which points may have come since a watermark."""
    runs = tables.runs.c
    found: set[str] = set()
    for table, column, number in (
        (schema.batch, schema.batch.c.batch_id, since.batch),
        (schema.chunk, schema.chunk.c.chunk_id, since.chunk),
    ):
        recent = sa.select(table.c.run_uuid).where(column > number - SLACK).distinct().subquery()
        found.update(
            session.execute(
                sa.select(runs.run_uuid)
                .join_from(recent, tables.runs, runs.run_uuid == recent.c.run_uuid)
                .where(runs.experiment_id.in_(experiment_ids))
            ).scalars()
        )
    return sorted(found)


def versions(session: Session, run_ids: Sequence[str]) -> dict[str, str]:
    """Return what changes whenever points of a run may have come, been moved or been removed."""
    numbers: dict[str, list[int]] = {run_id: [0] * 4 for run_id in run_ids}
    for at, (table, column) in enumerate(
        ((schema.batch, schema.batch.c.batch_id), (schema.chunk, schema.chunk.c.chunk_id))
    ):
        for start in range(0, len(run_ids), _IN_LIST):
            for run_id, n, last in session.execute(
                sa.select(table.c.run_uuid, sa.func.count(), sa.func.max(column))
                .where(table.c.run_uuid.in_(run_ids[start : start + _IN_LIST]))
                .group_by(table.c.run_uuid)
            ):
                numbers[run_id][2 * at : 2 * at + 2] = [n, last]
    return {run_id: "-".join(map(str, found)) for run_id, found in numbers.items()}


def statuses(session: Session, run_ids: Sequence[str]) -> dict[str, tuple[str, int | None]]:
    """Return the status and end of runs, in ms; those that are not there are absent."""
    columns = tables.runs.c
    found: dict[str, tuple[str, int | None]] = {}
    for start in range(0, len(run_ids), _IN_LIST):
        for run_id, status, end in session.execute(
            sa.select(columns.run_uuid, columns.status, columns.end_time).where(
                columns.run_uuid.in_(run_ids[start : start + _IN_LIST])
            )
        ):
            found[run_id] = (status, end)
    return found


def running(session: Session, run_ids: Sequence[str]) -> list[str]:
    """Return those of some runs that have not ended."""
    columns = tables.runs.c
    found: list[str] = []
    for start in range(0, len(run_ids), _IN_LIST):
        query = sa.select(columns.run_uuid).where(
            columns.run_uuid.in_(run_ids[start : start + _IN_LIST]), columns.status == "RUNNING"
        )
        found += session.execute(query).scalars()
    return found


def standing(session: Session, experiment_ids: Sequence[int]) -> Standing:
    """Return how the active runs of some experiments stand."""
    columns = tables.runs.c
    row = session.execute(
        sa.select(
            sa.func.count(),
            sa.func.sum(sa.case((columns.status == "RUNNING", 1), else_=0)),
            sa.func.max(columns.start_time),
            sa.func.max(columns.end_time),
        ).where(
            columns.experiment_id.in_(experiment_ids), columns.lifecycle_stage == tables.ACTIVE
        )
    ).one()
    return Standing(*(int(number or 0) for number in row))


def standing_of(session: Session, run_ids: Sequence[str]) -> Standing:
    """Return the same of runs that are named, all of them active."""
    columns = tables.runs.c
    found: list[tuple[str, int | None, int | None]] = []
    for start in range(0, len(run_ids), _IN_LIST):
        query = sa.select(columns.status, columns.start_time, columns.end_time).where(
            columns.run_uuid.in_(run_ids[start : start + _IN_LIST])
        )
        found += session.execute(query).tuples()
    return Standing(
        len(found),
        sum(status == "RUNNING" for status, _, _ in found),
        max((start or 0 for _, start, _ in found), default=0),
        max((end or 0 for _, _, end in found), default=0),
    )
