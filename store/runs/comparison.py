"""Everything that runs were given and logged, for laying a few of them side by side."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.store.metrics.points import INFINITY
from mlflow_weir.store.runs import extremes, moment

MAX_RUNS = 50
MAX_KEYS = 5_000
"""Of params, of tags and of metrics of one run; what goes beyond is counted."""

Number = float | str | None


class LoggedMetric(NamedTuple):
    """One metric of one run.

    Attributes:
        latest: As MLflow has it.
        low: Smallest ever logged; None of one that was never a number.
        high: Largest.
    """

    key: str
    latest: float
    step: int
    low: float | None
    high: float | None


class Contents(NamedTuple):
    """What one run holds; each by key.

    Attributes:
        n_left_out: Keys beyond ``MAX_KEYS``.
    """

    params: list[tuple[str, str]]
    tags: list[tuple[str, str]]
    metrics: list[LoggedMetric]
    n_left_out: int


def read_contents(session: Session, run_ids: Sequence[str]) -> dict[str, Contents]:
    """Read params, tags and metrics of up to ``MAX_RUNS`` runs that exist."""
    params = _by_run(session, "params", ("key", "value"), run_ids)
    tags = _by_run(session, "tags", ("key", "value"), run_ids)
    latest = _by_run(session, "latest_metrics", ("key", "value", "is_nan", "step"), run_ids)
    found = {}
    for run_id in run_ids:
        pairs = extremes.read_run(session, run_id)
        metrics = [
            LoggedMetric(
                key,
                math.nan if is_nan else value,
                step,
                *pairs.get(key, (None, None)),
            )
            for key, value, is_nan, step in latest[run_id][:MAX_KEYS]
        ]
        n_left_out = sum(max(0, len(rows[run_id]) - MAX_KEYS) for rows in (params, tags, latest))
        found[run_id] = Contents(
            [(key, value) for key, value in params[run_id][:MAX_KEYS]],
            [(key, value) for key, value in tags[run_id][:MAX_KEYS]],
            metrics,
            n_left_out,
        )
    return found


def as_of(session: Session, contents: Mapping[str, Contents], at_ms: int) -> dict[str, Contents]:
    """Return the contents of runs with their metrics as of a moment; params and tags as they are.

    Args:
        session: Reading.
        contents: Of ``read_contents``.
        at_ms: The moment.

    Raises:
        ChunkCorrupt: A stored row fails its checksum; the message names it.
        TooMuchAsked: More points would have to be read than ``curves.MAX_RAW_POINTS``.
    """
    run_ids = list(contents)
    limits = zip(run_ids, moment.last_ms(session, run_ids, at_ms), strict=True)
    running = [run_id for run_id, last_ms in limits if last_ms == at_ms]
    keys = sorted({one.key for run_id in running for one in contents[run_id].metrics})
    values = moment.values_at(session, running, keys, at_ms) if keys else {}

    def metrics_of(run_id: str) -> list[LoggedMetric]:
        found = ((key, values[key].get(run_id)) for key in keys)
        return [
            LoggedMetric(
                key,
                one.latest,
                one.step,
                *(None if math.isnan(end) else end for end in (one.low, one.high)),
            )
            for key, one in found
            if one is not None
        ]

    return {
        **contents,
        **{run_id: contents[run_id]._replace(metrics=metrics_of(run_id)) for run_id in running},
    }


def as_json_number(value: float | None) -> Number:
    """Return a metric's value as JSON can hold it."""
    if value is None:
        return None
    if math.isnan(value):
        return "NaN"
    if abs(value) >= INFINITY:
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _by_run(
    session: Session, table: str, names: Sequence[str], run_ids: Sequence[str]
) -> dict[str, list[Any]]:
    source = sa.table(table, sa.column("run_uuid"), *map(sa.column, names))
    columns = [source.c[name] for name in names]
    found: dict[str, list[Any]] = defaultdict(list)
    query = sa.select(source.c.run_uuid, *columns).where(source.c.run_uuid.in_(list(run_ids)))
    for run_id, *row in session.execute(query):
        found[run_id].append(row)
    for rows in found.values():
        rows.sort(key=lambda row: row[0])
    return found
