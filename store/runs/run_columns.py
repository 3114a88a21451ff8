"""Columns of the run list: their names, and their values for many runs at once.

    attributes.NAME     one of ``ATTRIBUTES``
    params.KEY          text
    tags.KEY            text
    metrics.KEY:latest  number; ``:min`` and ``:max`` likewise, without a suffix the latest

A metric's key that itself ends in one of these suffixes is written with one more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun, SqlTag
from mlflow.utils.search_utils import SearchUtils
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.runs import extremes, plain_rows
from mlflow_weir.store.runs.conditions import Scope, unindexed
from mlflow_weir.store.runs.filter_language import AGGREGATES, KINDS

ATTRIBUTES = {
    "run_id": "run_uuid",
    "run_name": "name",
    "user_id": "user_id",
    "status": "status",
    "start_time": "start_time",
    "end_time": "end_time",
    "experiment_id": "experiment_id",
    "duration": None,
}
"""Of a run, with the column of MLflow's that holds each; a duration is computed, in ms."""

MAX_CELL_CHARACTERS = 1_000

FEW_RUNS = 2_000
"""Up to so many, runs are asked for one by one; of more, all rows of a key are read."""

MODELS: Mapping[str, Any] = {"params": SqlParam, "tags": SqlTag, "metrics": SqlLatestMetric}
"""MLflow's tables of keys and values."""

_IDS_A_STATEMENT = 500
_SCAN_FACTOR = 6
_ROWS_A_LOOK_UP = 20  # that SQLite passes in the time of one: 50 ns against 1.6 µs, and the tree
_ID_CHARACTERS = 32
_BETWEEN = "\x1e"  # the record separator
_JOINED: Mapping[str, Any] = {"sqlite": sa.func.group_concat, "postgresql": sa.func.string_agg}
"""What puts texts of many rows into one; MySQL's cuts it after 1,024 characters."""

_COUNTS: Mapping[str, str] = {
    "sqlite": "SELECT max(rowid) FROM runs",
    # As of its last VACUUM or ANALYZE; -1 before.
    "postgresql": "SELECT reltuples FROM pg_class WHERE oid = to_regclass('runs')",
}
"""What says at no cost how many runs there are about."""

_runs = SqlRun.__table__

Cell = float | int | str | None


class Column(NamedTuple):
    """One column.

    Attributes:
        kind: ``attributes``, ``params``, ``tags`` or ``metrics``.
        key: Its key, or the attribute's name.
        aggregate: For metrics ``latest``, ``min`` or ``max``; else empty.
    """

    kind: str
    key: str
    aggregate: str

    @property
    def is_numeric(self) -> bool:
        """Say whether its values are numbers."""
        return self.kind == "metrics" or self.key in {"start_time", "end_time", "duration"}

    def name(self) -> str:
        """Write it as ``parse`` reads it."""
        name = f"{self.kind}.{self.key}"
        return f"{name}:{self.aggregate}" if self.kind == "metrics" else name


def parse(name: str) -> Column:
    """Read a column's name.

    Raises:
        ConfigError: It is none.
    """
    word, _, key = name.partition(".")
    kind = KINDS.get(word, "")
    if not key or kind in {"", "datasets"}:
        raise ConfigError(f"no such column: {name!r:.60}")
    if kind == "attributes":
        if key not in ATTRIBUTES:
            raise ConfigError(f"no such attribute of a run: {key!r:.60}")
        return Column(kind, key, "")
    if kind != "metrics":
        return Column(kind, key, "")
    stem, mark, suffix = key.rpartition(":")
    if mark and stem and suffix in AGGREGATES:
        return Column(kind, stem, suffix)
    return Column(kind, key, "latest")


class Reader(Protocol):
    """What reads columns of runs."""

    def read(self, column: Column, run_ids: Sequence[str]) -> Mapping[str, Cell]:
        """Return the value of each of these runs that has one; others may be in the answer."""
        ...


class ColumnReader:
    """Reads columns of runs of one scope."""

    def __init__(self, session: Session, scope: Scope, dialect: str) -> None:
        """Take a reading session, what the runs are in, and the dialect as MLflow names it."""
        self._session = session
        self._scope = scope
        self._dialect = dialect

    def read(self, column: Column, run_ids: Sequence[str]) -> dict[str, Cell]:
        """Return the value of each of these runs that has one; infinite ones as MLflow has them.

        NaN is returned as such, as the latest value of a metric. Where the runs are many, others
        may be in the answer: leaving them out would cost more.
        """
        if column.aggregate in {"min", "max"}:
            return self._extremes(column, run_ids)
        if len(run_ids) <= FEW_RUNS:
            rows: list[Any] = []
            query, run_id = self._query(column)
            for start in range(0, len(run_ids), _IDS_A_STATEMENT):
                ids = run_ids[start : start + _IDS_A_STATEMENT]
                rows += plain_rows.read(self._session, query.where(run_id.in_(ids)))
            return self._values(column, rows)
        return self._read_many(column, len(run_ids))

    def read_scope(self, column: Column, n_runs: int) -> dict[str, Cell]:
        """Return the value of each run of the scope that has one; runs outside it may be among.

        Args:
            column: Which.
            n_runs: How many runs there are in scope.
        """
        if column.aggregate in {"min", "max"}:
            return self._extremes(column, None)
        return self._read_many(column, n_runs)

    def ids_by_text(self, column: Column, n_runs: int) -> dict[str, str]:
        """Return the texts of a param or tag, each with the ids of the runs that have it, joined.

        Reading a row a run would take longer than all else where the texts are few. Runs outside
        the scope may be among them; ``split_ids`` takes the ids apart.

        Args:
            column: Which.
            n_runs: How many runs there are in scope.
        """
        query = self._many(column, n_runs)
        run_id, value = query.selected_columns
        joined = _JOINED.get(self._dialect)
        if joined is not None:
            grouped: sa.Select[Any] = query.with_only_columns(value, joined(run_id, ""))
            found = dict(plain_rows.read(self._session, grouped.group_by(value)))
        else:
            ids = defaultdict(list)
            for one, text in plain_rows.read(self._session, query):
                ids[text].append(one)
            found = {text: "".join(of_text) for text, of_text in ids.items()}
        found.pop(None, None)
        return found

    def _read_many(self, column: Column, n_runs: int) -> dict[str, Cell]:
        query = self._many(column, n_runs)
        if column.kind in {"params", "tags"} and self._dialect in _JOINED:
            found = self._read_joined(query)
            if found is not None:
                return found
        return self._values(column, plain_rows.read(self._session, query))

    def _read_joined(self, query: sa.Select[Any]) -> dict[str, Cell] | None:
        """Read ids and texts as one text; None where a text has what stands between them."""
        run_id, value = query.selected_columns
        joined = _JOINED[self._dialect](run_id.concat(value), _BETWEEN)
        one: sa.Select[Any] = query.with_only_columns(joined, sa.func.count(value))
        ((text, n_rows),) = plain_rows.read(self._session, one)
        parts = text.split(_BETWEEN) if n_rows else []
        if len(parts) != n_rows:
            return None
        return {part[:_ID_CHARACTERS]: part[_ID_CHARACTERS:] for part in parts}

    def _many(self, column: Column, n_runs: int) -> sa.Select[Any]:
        """Return the query of a column of the scope."""
        if column.kind == "attributes":
            return self._query(column)[0].where(*self._scope.clauses())
        is_read = column.kind != "metrics" and self._is_table_read(column)
        return self.of_many(*self._query(column, is_indexed=not is_read), n_runs)

    def _is_table_read(self, column: Column) -> bool:
        """Say whether SQLite reads all params or tags faster than one key's by its index."""
        if self._dialect != "sqlite":
            return False
        table = MODELS[column.kind].__table__
        row_id: sa.ColumnElement[int] = sa.literal_column("rowid")
        last = sa.select(sa.func.max(row_id)).select_from(table)
        most = (self._session.execute(last).scalar() or 0) // _ROWS_A_LOOK_UP
        entries = sa.select(table.c.key).where(table.c.key == column.key).limit(most + 1)
        counted = sa.select(sa.func.count()).select_from(entries.subquery())
        return self._session.execute(counted).scalar_one() > most

    def of_many(
        self, query: sa.Select[Any], run_id: sa.ColumnElement[str], n_runs: int
    ) -> sa.Select[Any]:
        """Narrow rows of a key to the scope, or not where reading more of them is cheaper.

        Args:
            query: Of rows of MLflow's that have a run id.
            run_id: That column.
            n_runs: How many runs are wanted.
        """
        count = _COUNTS.get(self._dialect)
        if count is not None:
            n_all = self._session.execute(sa.text(count)).scalar() or 0
            if 0 <= n_all < _SCAN_FACTOR * n_runs:
                return query  # along the key's index: a sixth of the time of as many look-ups
        return query.join(_runs, _runs.c.run_uuid == run_id).where(*self._scope.clauses())

    def _values(self, column: Column, rows: Sequence[Any]) -> dict[str, Cell]:
        if column.key == "duration" and column.kind == "attributes":
            return {run_id: end - start for run_id, start, end in rows if start and end}
        values: dict[str, Cell] = dict(rows)
        if None in values.values():
            if column.kind == "metrics":
                nan = float("nan")
                return {run_id: nan if cell is None else cell for run_id, cell in values.items()}
            values = {run_id: value for run_id, value in values.items() if value is not None}
        return values

    def _extremes(self, column: Column, run_ids: Sequence[str] | None) -> dict[str, Cell]:
        if run_ids is not None and len(run_ids) <= FEW_RUNS:
            found = extremes.read(self._session, run_ids, column.key)
        else:
            found = extremes.read_all(self._session, self._scope, column.key)
        at = 0 if column.aggregate == "min" else 1
        return {run_id: pair[at] for run_id, pair in found.items()}

    def _query(
        self, column: Column, *, is_indexed: bool = True
    ) -> tuple[sa.Select[Any], sa.ColumnElement[str]]:
        if column.kind == "attributes":
            if column.key == "duration":
                values = [_runs.c.start_time, _runs.c.end_time]
            else:
                values = [_runs.c[ATTRIBUTES[column.key] or ""]]
            return sa.select(_runs.c.run_uuid, *values), _runs.c.run_uuid
        model = MODELS[column.kind]
        value = model.value
        if column.kind == "metrics":
            value = sa.case((model.is_nan, sa.null()), else_=value)  # which no value is
        query = sa.select(model.run_uuid, value)
        if not is_indexed:
            return query.where(unindexed(model.key) == column.key), model.run_uuid
        return query.where(is_key(model, column.key, self._dialect)), model.run_uuid


def split_ids(joined: str) -> list[str]:
    """Return the ids of runs that follow one another in a text."""
    return [joined[at : at + _ID_CHARACTERS] for at in range(0, len(joined), _ID_CHARACTERS)]


def is_key(model: Any, key: str, dialect: str) -> sa.ColumnElement[bool]:
    """Compare the key of one of ``MODELS``, as MLflow compares it."""
    found: sa.ColumnElement[bool]
    found = SearchUtils.get_sql_comparison_func("=", dialect)(model.key, key)
    return found


def read_cells(
    reader: Reader, columns: Sequence[Column], run_ids: Sequence[str]
) -> Mapping[str, list[Cell]]:
    """Return the cells of each run, in the order of the columns; None where it has no value."""
    cells: dict[str, list[Cell]] = {run_id: [None] * len(columns) for run_id in run_ids}
    for at, column in enumerate(columns):
        found = reader.read(column, run_ids)  # which may hold more runs
        for run_id, row in cells.items():
            row[at] = shortened(found.get(run_id))
    return cells


def shortened(value: Cell) -> Cell:
    """Cut a text to what a cell shows."""
    if isinstance(value, str) and len(value) > MAX_CELL_CHARACTERS:
        return value[:MAX_CELL_CHARACTERS] + "…"
    return value
