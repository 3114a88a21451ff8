"""Runs as they were when a link to them was frozen.

``take`` writes down of each run what the link shows and what can change later: names, status,
params, tags, notes, the metrics' last, smallest and largest values, how far the console had got.
Points of metrics stay where they are; they are cut by time (``until_ms``). A run that panels of a
report show as of several moments is written down as of the last one, with what was otherwise at
the others (``moments``, by the moment; ``at`` reads it). ``FrozenRuns`` finds,
orders and groups runs by what was written down alone, so that no filter, sort or group tells
anything of what came later, or of what is not shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.store import schema
from mlflow_weir.store.console.reading import ConsoleSource, list_sources
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.runs import (
    changes,
    comparison,
    extremes,
    grouping,
    in_memory,
    listing,
    metric_keys,
    moment,
    ordinals,
)
from mlflow_weir.store.runs.filter_language import Tree
from mlflow_weir.store.runs.run_columns import Cell, Column, read_cells
from mlflow_weir.store.sharing.shown import Shown

Facts = Mapping[str, Any]
MAX_KEYS = 5_000
_IDS_A_STATEMENT = 500
_MAX_NOTE_CHARACTERS = 200


def take(
    session: Session, engine: sa.Engine, run_ids: Sequence[str], shown: Shown, as_of_ms: int
) -> dict[str, dict[str, Any]]:
    """Write down runs as they are now, only what is shown of them.

    Args:
        session: Reads.
        engine: Of the same database, that may write (runs get their numbers).
        run_ids: Runs that exist, in order.
        shown: Which fields.
        as_of_ms: Now; no later point of a run in progress is ever shown.

    Returns:
        JSON by run, in the same order.
    """
    runs = tables.runs.c
    found: dict[str, dict[str, Any]] = {}
    for ids in _slices(run_ids):
        params = _pairs(session, tables.params, ids)
        tags = _pairs(session, tables.tags, ids)
        metrics, last_ms = _metrics(session, ids, shown)
        query = sa.select(
            runs.run_uuid,
            runs.name,
            runs.experiment_id,
            runs.user_id,
            runs.status,
            runs.start_time,
            runs.end_time,
        ).where(runs.run_uuid.in_(ids))
        for row in session.execute(query):
            run_id = row.run_uuid
            kept_tags = {k: v for k, v in tags.get(run_id, {}).items() if shown.has_tag(k)}
            kept_params = {k: v for k, v in params.get(run_id, {}).items() if shown.has_param(k)}
            has_ended = row.end_time is not None and row.status != "RUNNING"
            found[run_id] = {
                "name": (row.name or "") if shown.names else "",
                "experiment": int(row.experiment_id),
                "user": (row.user_id or "") if shown.host else "",
                "status": row.status or "",
                "start_ms": row.start_time,
                "end_ms": row.end_time,
                "params": kept_params,
                "tags": kept_tags,
                "metrics": metrics.get(run_id, {}),
                # Of a run that had ended all points, whatever the training's clock said.
                "until_ms": max(as_of_ms, last_ms.get(run_id, 0)) if has_ended else as_of_ms,
                "has_ended": has_ended,
            }
    numbers = ordinals.read(engine, {run: facts["experiment"] for run, facts in found.items()})
    for run_id, facts in found.items():
        facts["number"] = numbers.get(run_id, 0)
        if shown.console:
            facts["console"] = [list(one) for one in list_sources(session.connection(), run_id)]
    return {run_id: found[run_id] for run_id in run_ids if run_id in found}


def take_back(
    session: Session, facts: Mapping[str, Facts], run_ids: Sequence[str], at_ms: int
) -> dict[str, dict[str, Any]]:
    """Return what was otherwise at an earlier moment of runs: their metrics, and their state.

    Args:
        session: Reads.
        facts: Of ``take``.
        run_ids: Some of its runs.
        at_ms: The moment.

    Returns:
        By run, to be laid over its facts.
    """
    keys = sorted({key for run_id in run_ids for key in facts[run_id]["metrics"]})
    values = moment.values_at(session, run_ids, keys, at_ms)
    limits = moment.last_ms(session, run_ids, at_ms)
    otherwise: dict[str, dict[str, Any]] = {}
    for run_id, limit_ms in zip(run_ids, limits, strict=True):
        found = {key: values[key].get(run_id) for key in facts[run_id]["metrics"]}
        metrics = {
            key: [
                *(value.latest, value.step, value.timestamp_ms),
                *(None if math.isnan(end) else end for end in (value.low, value.high)),
            ]
            for key, value in found.items()
            if value is not None
        }
        otherwise[run_id] = {"metrics": metrics}
        if limit_ms == at_ms:
            state = {"status": "RUNNING", "end_ms": None, "has_ended": False, "until_ms": at_ms}
            otherwise[run_id] |= state
    return otherwise


def at(facts: Facts, at_ms: int | None) -> Facts:
    """Return a run as it was at one of the moments of its facts; as they are for any other."""
    otherwise = facts.get("moments", {}).get(str(at_ms))
    return facts if otherwise is None else {**facts, **otherwise}


def console_sources(facts: Facts) -> list[ConsoleSource]:
    """Return who had printed by then, and how much."""
    return [ConsoleSource(*one) for one in facts.get("console", ())]


class FrozenRuns:
    """Runs of a link as they were."""

    def __init__(self, facts: Mapping[str, Facts]) -> None:
        """Take what ``take`` wrote down, without runs that are gone or deleted since."""
        self._facts = facts

    def read(self, column: Column, run_ids: Sequence[str]) -> dict[str, Cell]:
        """Return the value of each of these runs that has one."""
        among = self._among(run_ids)
        if column.kind == "attributes" and column.key == "run_id":
            return {run_id: run_id for run_id in among}
        found = {run_id: _value(self._facts[run_id], column) for run_id in among}
        return {run_id: value for run_id, value in found.items() if value is not None}

    def find(
        self,
        *,
        now_ms: int,
        tree: Tree | None = None,
        search: str = "",
        is_regex: bool = False,
        order: Sequence[listing.OrderTerm] = (),
    ) -> listing.Found:
        """Find those that match, as ``listing.find`` does."""
        run_ids = sorted(
            self._facts, key=lambda run_id: (-(self._facts[run_id]["start_ms"] or 0), run_id)
        )
        selected = in_memory.select(tree, run_ids, self, now_ms)
        searched = in_memory.search(search, selected, self, is_regex=is_regex)
        return listing.Found(listing.in_order(searched, self, order), len(self._facts))

    def rows(
        self, run_ids: Sequence[str], columns: Sequence[Column], at_ms: int | None = None
    ) -> list[listing.Row]:
        """Return rows of those that are among these runs, as of the moment that the facts are."""
        among = self._among(run_ids)
        cells = read_cells(self, columns, among)
        return [
            listing.Row(
                run_id,
                facts["name"],
                facts["experiment"],
                facts["user"],
                facts["status"],
                facts["start_ms"],
                facts["end_ms"],
                tables.ACTIVE,
                {
                    name: facts["tags"][tag][:_MAX_NOTE_CHARACTERS]
                    for tag, name in listing.INFO_TAGS.items()
                    if tag in facts["tags"]
                },
                cells[run_id],
            )
            for run_id in among
            for facts in [self._facts[run_id]]
        ]

    def group(
        self, run_ids: Sequence[str], keys: Sequence[Column], columns: Sequence[Column]
    ) -> grouping.Grouped:
        """Group runs that have been found."""
        return grouping.group_by(self, run_ids, keys, columns)

    def known_keys(self) -> dict[str, list[grouping.KnownKey]]:
        """Say which params, tags and metrics they have."""
        all_facts = self._facts.values()
        pairs = {
            kind: [pair for facts in all_facts for pair in facts[kind].items()]
            for kind in ("params", "tags")
        }
        return grouping.count_keys(pairs, [key for facts in all_facts for key in facts["metrics"]])

    def metric_keys(self) -> metric_keys.KeyCounts:
        """Count their metrics."""
        counts: dict[str, int] = {}
        for facts in self._facts.values():
            for key in facts["metrics"]:
                counts[key] = counts.get(key, 0) + 1
        return metric_keys.KeyCounts(dict(sorted(counts.items())), len(self._facts), False)

    def standing(self) -> changes.Standing:
        """Say how they stood; nothing of it ever changes."""
        all_facts = self._facts.values()
        return changes.Standing(
            len(all_facts),
            sum(facts["status"] == "RUNNING" for facts in all_facts),
            max((facts["start_ms"] or 0 for facts in all_facts), default=0),
            max((facts["end_ms"] or 0 for facts in all_facts), default=0),
        )

    def contents(
        self, run_ids: Sequence[str], at_ms: int | None = None
    ) -> dict[str, comparison.Contents]:
        """Return all that was written down of runs among them, whatever moment is asked for."""
        return {
            run_id: comparison.Contents(
                sorted(facts["params"].items()),
                sorted(facts["tags"].items()),
                [
                    comparison.LoggedMetric(key, latest, step, low, high)
                    for key, (latest, step, _, low, high) in sorted(facts["metrics"].items())
                ],
                0,
            )
            for run_id in self._among(run_ids)
            for facts in [self._facts[run_id]]
        }

    def numbers(self, rows: Sequence[listing.Row]) -> dict[str, int]:
        """Return each run's number in its experiment."""
        return {row.run_id: self._facts[row.run_id]["number"] for row in rows}

    def _among(self, run_ids: Sequence[str]) -> list[str]:
        return [run_id for run_id in run_ids if run_id in self._facts]


def _value(facts: Facts, column: Column) -> Cell:
    """Return a cell of a run; None where it has none."""
    if column.kind in {"params", "tags"}:
        text: str | None = facts[column.kind].get(column.key)
        return text
    if column.kind == "metrics":
        found = facts["metrics"].get(column.key)
        if found is None:
            return None
        latest, _, _, low, high = found
        number: float | None = {"min": low, "max": high}.get(column.aggregate, latest)
        return number
    start, end = facts["start_ms"], facts["end_ms"]
    values: dict[str, Cell] = {
        "run_name": facts["name"],
        "user_id": facts["user"],
        "status": facts["status"],
        "start_time": start,
        "end_time": end,
        "duration": end - start if start and end else None,
    }
    return values.get(column.key)


def _metrics(
    session: Session, run_ids: Sequence[str], shown: Shown
) -> tuple[dict[str, dict[str, list[Any]]], dict[str, int]]:
    """Return the shown metrics of runs, and each run's last timestamp as far as MLflow has it."""
    latest = schema.mlflow_latest_metrics.c
    found: dict[str, dict[str, list[Any]]] = {}
    last_ms: dict[str, int] = {}
    query = sa.select(
        latest.run_uuid, latest.key, latest.value, latest.is_nan, latest.step, latest.timestamp
    ).where(latest.run_uuid.in_(run_ids))
    for run_id, key, value, is_nan, step, at_ms in session.execute(query):
        last_ms[run_id] = max(last_ms.get(run_id, 0), at_ms)
        if shown.has_metric(key):
            number = math.nan if is_nan else value
            found.setdefault(run_id, {})[key] = [number, step, at_ms, None, None]
    for run_id, metrics in found.items():
        for key, pair in extremes.read_run(session, run_id).items():
            if key in metrics:
                metrics[key][3:] = [pair.low, pair.high]
    return {
        run_id: dict(sorted(metrics.items())[:MAX_KEYS]) for run_id, metrics in found.items()
    }, last_ms


def _pairs(
    session: Session, table: sa.TableClause, run_ids: Sequence[str]
) -> dict[str, dict[str, str]]:
    columns = table.c
    found: dict[str, dict[str, str]] = {}
    query = sa.select(columns.run_uuid, columns.key, columns.value).where(
        columns.run_uuid.in_(run_ids)
    )
    for run_id, key, value in session.execute(query):
        found.setdefault(run_id, {})[key] = value
    return found


def _slices(run_ids: Sequence[str]) -> list[Sequence[str]]:
    return [
        run_ids[start : start + _IDS_A_STATEMENT]
        for start in range(0, len(run_ids), _IDS_A_STATEMENT)
    ]
