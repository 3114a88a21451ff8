"""Runs put into groups by the values of up to four columns, and what the groups have in common.

A param or tag groups by its text, a number column by value where there are few and by ranges of
equal width where there are many. What has no value is a group of its own, the last. A group's
cell says of a number column mean, standard deviation (n - 1), extremes and count, of a text column
how many different values there are.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from mlflow.store.tracking.dbmodels.models import SqlRun
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.runs.run_columns import Cell, Column, ColumnReader, Reader, shortened
from mlflow_weir.store.runs.selection import try_number

MAX_KEYS = 4
MAX_GROUPS = 200
MAX_SUMMARIES = 50
_MAX_DISTINCT_NUMBERS = 12
_N_RANGES = 8
_runs = SqlRun.__table__


class RunGroup(NamedTuple):
    """Runs with the same values.

    Attributes:
        values: One a key: text, a number, the two ends of a range, or None where there is none.
        run_ids: In the order of the list.
        summaries: One a column: ``{"n", "mean", "sd", "min", "max"}`` or ``{"n", "distinct"}``,
            with ``value`` where all are the same; None where no run has a value.
    """

    values: tuple[Any, ...]
    run_ids: list[str]
    summaries: list[dict[str, Any] | None]


class Grouped(NamedTuple):
    """The first groups in order of their values, and how many there are."""

    groups: list[RunGroup]
    n_groups: int


def group(
    session: Session,
    scope: Scope,
    dialect: str,
    run_ids: Sequence[str],
    keys: Sequence[Column],
    columns: Sequence[Column],
    max_groups: int = MAX_GROUPS,
) -> Grouped:
    """Group runs that have been found, as ``group_by`` does, by what the database has."""
    return group_by(ColumnReader(session, scope, dialect), run_ids, keys, columns, max_groups)


def group_by(
    reader: Reader,
    run_ids: Sequence[str],
    keys: Sequence[Column],
    columns: Sequence[Column],
    max_groups: int = MAX_GROUPS,
) -> Grouped:
    """Group runs that have been found.

    Raises:
        ConfigError: No key, more than ``MAX_KEYS``, or more than ``MAX_SUMMARIES`` columns.
    """
    if not 1 <= len(keys) <= MAX_KEYS:
        raise ConfigError(f"{len(keys)} keys to group by: expected 1 to {MAX_KEYS}")
    if len(columns) > MAX_SUMMARIES:
        raise ConfigError(f"{len(columns)} columns of groups: at most {MAX_SUMMARIES}")
    values, members = _members([_labels(key, reader.read(key, run_ids)) for key in keys], run_ids)
    shown = sorted(range(len(values)), key=lambda at: tuple(map(_rank, values[at])))[:max_groups]
    summaries = [
        _summaries(column, reader.read(column, run_ids), run_ids, [members[at] for at in shown])
        for column in columns
    ]
    return Grouped(
        [
            RunGroup(
                tuple(shortened(v) if isinstance(v, str) else v for v in values[at]),
                [run_ids[place] for place in members[at].tolist()],
                [of_groups[n] for of_groups in summaries],
            )
            for n, at in enumerate(shown)
        ],
        len(values),
    )


def _members(
    by_key: Sequence[Mapping[str, Any]], run_ids: Sequence[str]
) -> tuple[list[tuple[Any, ...]], list[NDArray[np.intp]]]:
    """Return the different values that runs have, one a key, and the places of those runs."""
    if not run_ids:
        return [], []
    numbers = np.zeros(len(run_ids), np.int64)  # of combinations
    values: list[tuple[Any, ...]] = [()]
    for of_runs in by_key:
        cells = [*map(of_runs.get, run_ids)]
        at_of = {value: at for at, value in enumerate(dict.fromkeys(cells))}
        n_values = len(at_of)
        places = np.fromiter(map(at_of.__getitem__, cells), np.int64, len(cells))
        different, numbers = np.unique(numbers * n_values + places, return_inverse=True)
        own = [*at_of]
        values = [(*values[n // n_values], own[n % n_values]) for n in different.tolist()]
    ordered = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[ordered])) + 1
    return values, np.split(ordered, ends)


def _labels(key: Column, values: Mapping[str, Cell]) -> Mapping[str, Any]:
    """Return what each run is grouped by under one key."""
    if not key.is_numeric:
        return values
    numbers = {
        run_id: float(value)
        for run_id, value in values.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }
    if len(set(numbers.values())) <= _MAX_DISTINCT_NUMBERS:
        return numbers
    low, high = min(numbers.values()), max(numbers.values())
    # Halved first: the whole width of the floats is no float.
    width = high / _N_RANGES - low / _N_RANGES
    edges = [low + width * n for n in range(_N_RANGES)] + [high]
    return {
        run_id: (edges[at], edges[at + 1])
        for run_id, number in numbers.items()
        for at in [min(_N_RANGES - 1, int((number - low) / width))]
    }


def _rank(value: Any) -> tuple[int, float, str]:
    """Order numbers before text before what is missing."""
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, tuple):
        return 0, float(value[0]), ""
    number = try_number(value) if isinstance(value, str) else float(value)
    return (1, 0.0, str(value)) if number is None else (0, number, str(value))


def _summaries(
    column: Column,
    values: Mapping[str, Cell],
    run_ids: Sequence[str],
    groups: Sequence[NDArray[np.intp]],
) -> list[dict[str, Any] | None]:
    """Return what each group, given by places in ``run_ids``, has in one column."""
    cells = [*map(values.get, run_ids)]
    if not column.is_numeric:
        return [_text_summary([cells[place] for place in places.tolist()]) for places in groups]
    numbers = np.array(cells, np.float64)  # NaN where there is none
    return [
        _number_summary(numbers[places])
        or ({"n": 0} if any(cells[place] is not None for place in places.tolist()) else None)
        for places in groups
    ]


def _text_summary(cells: Sequence[Cell]) -> dict[str, Any] | None:
    found = [cell for cell in cells if cell is not None]
    numbers = [try_number(cell) if isinstance(cell, str) else cell for cell in found]
    if all(number is not None and math.isfinite(number) for number in numbers):
        return _number_summary(np.array(numbers, np.float64))
    counts = Counter(map(str, found))
    summary: dict[str, Any] = {"n": len(found), "distinct": len(counts)}
    if len(counts) == 1:
        summary["value"] = shortened(str(found[0]))
    return summary


def _number_summary(numbers: NDArray[np.float64]) -> dict[str, Any] | None:
    """Say what the finite of some numbers have in common; None where there is none."""
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return None
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:  # which a sum of them, divided, may miss by a little
        mean, deviation = low, 0.0 if len(numbers) > 1 else math.nan
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # sums that are too large for a float
            mean, deviation = float(numbers.mean()), float(numbers.std(ddof=1))
    return {
        "n": len(numbers),
        "mean": mean if math.isfinite(mean) else None,
        "sd": deviation if math.isfinite(deviation) else None,
        "min": low,
        "max": high,
    }


class KnownKey(NamedTuple):
    """A key that runs have.

    Attributes:
        n_runs: How many of the sampled runs have it.
        is_number: Every value seen is one.
        values: The most frequent values, the most frequent first; none of metrics.
    """

    key: str
    n_runs: int
    is_number: bool
    values: list[str]


_SAMPLED_RUNS = 1_000
_SAMPLED_FOR_METRICS = 100
_MAX_KEYS_SHOWN = 5_000
_N_TOP_VALUES = 20


def known_keys(session: Session, scope: Scope) -> dict[str, list[KnownKey]]:
    """Say which params, tags and metrics the newest runs of a scope have, for choosing one.

    Returns:
        ``params``, ``tags`` and ``metrics``, each by key.
    """
    newest = session.execute(
        sa.select(_runs.c.run_uuid)
        .where(*scope.clauses())
        .order_by(_runs.c.start_time.desc())
        .limit(_SAMPLED_RUNS)
    )
    return keys_of(session, list(newest.scalars()))


def keys_of(session: Session, run_ids: Sequence[str]) -> dict[str, list[KnownKey]]:
    """Say of runs, the newest first, what ``known_keys`` says of a scope; of the first of many."""
    run_ids = run_ids[:_SAMPLED_RUNS]
    pairs = {
        kind: [(key, value) for key, value in _rows(session, kind, ("key", "value"), run_ids)]
        for kind in ("params", "tags")
    }
    of_metrics = _rows(session, "latest_metrics", ("key",), run_ids[:_SAMPLED_FOR_METRICS])
    return count_keys(pairs, [key for (key,) in of_metrics])


def count_keys(
    pairs: Mapping[str, Sequence[tuple[str, str]]], metrics: Sequence[str]
) -> dict[str, list[KnownKey]]:
    """Count what runs have.

    Args:
        pairs: ``params`` and ``tags``: keys and values of all runs.
        metrics: Keys of all runs.
    """
    found: dict[str, list[KnownKey]] = {}
    for kind in ("params", "tags"):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for key, value in pairs[kind]:
            counts[key][value[:100]] += 1
        found[kind] = [
            KnownKey(
                key,
                values.total(),
                all(try_number(value) is not None for value in values),
                [value for value, _ in values.most_common(_N_TOP_VALUES)],
            )
            for key, values in sorted(counts.items())[:_MAX_KEYS_SHOWN]
        ]
    found["metrics"] = [
        KnownKey(key, n, True, []) for key, n in sorted(Counter(metrics).items())[:_MAX_KEYS_SHOWN]
    ]
    return found


def _rows(
    session: Session, table: str, names: Sequence[str], run_ids: Sequence[str]
) -> list[Sequence[Any]]:
    source = sa.table(table, sa.column("run_uuid"), *map(sa.column, names))
    columns = [source.c[name] for name in names]
    rows: list[Sequence[Any]] = []
    for start in range(0, len(run_ids), 500):
        ids = run_ids[start : start + 500]
        rows += session.execute(sa.select(*columns).where(source.c.run_uuid.in_(ids))).all()
    return rows
