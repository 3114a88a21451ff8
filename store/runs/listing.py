"""The run list of a workspace: which runs match, in which order, and what the rows show.

One request gives the ids of *all* matching runs in order (16 bytes each) and the rows of a page,
so that a list of 100,000 runs scrolls by asking for rows of ids it knows, and nothing moves under
the reader while runs come and go. The default order follows an index; every other order reads the
one column it sorts by and sorts it here, the same way on every database: numbers before text,
what is missing last, ties by start and id as in MLflow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from mlflow.store.tracking.dbmodels.models import SqlRun
from sqlalchemy.orm import Session

from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.runs.filter_language import Tree
from mlflow_weir.store.runs.run_columns import (
    Cell,
    Column,
    ColumnReader,
    Reader,
    read_cells,
)
from mlflow_weir.store.runs.selection import Selector, try_number

INFO_TAGS = {
    "mlflow.runColor": "colour",
    "weir.exit_cause": "cause",
    "mlflow.note.content": "note",
    "mlflow.parentRunId": "parent",
}
"""Tags that every row shows, with the names they have there."""

_MAX_NOTE_CHARACTERS = 200
_IDS_A_STATEMENT = 500
_runs = SqlRun.__table__


class OrderTerm(NamedTuple):
    """One term of an order."""

    column: Column
    is_descending: bool


class Found(NamedTuple):
    """The runs that match.

    Attributes:
        run_ids: In order.
        total: How many runs there are without any filter.
    """

    run_ids: list[str]
    total: int

    def digest(self) -> str:
        """Return what changes when the ids or their order do."""
        joined = "".join(self.run_ids).encode()
        return hashlib.blake2b(joined, digest_size=8).hexdigest()


class Row(NamedTuple):
    """What the list knows of a run beside the columns that were asked for.

    Attributes:
        info: ``INFO_TAGS``' values by their names here; absent where there is none.
        cells: One a column.
    """

    run_id: str
    name: str
    experiment_id: int
    user: str
    status: str
    start_ms: int | None
    end_ms: int | None
    stage: str
    info: Mapping[str, str]
    cells: list[Cell]


def find(
    session: Session,
    scope: Scope,
    dialect: str,
    *,
    now_ms: int,
    tree: Tree | None = None,
    search: str = "",
    is_regex: bool = False,
    order: Sequence[OrderTerm] = (),
) -> Found:
    """Find the runs of a scope that match, in order.

    Args:
        session: Reading.
        scope: Experiments that the caller may read, and the stages that are shown.
        dialect: As MLflow's store names it.
        now_ms: The server's clock.
        tree: Filter, or None.
        search: Part of a name or of an id, or a regular expression on the name.
        is_regex: Which of them.
        order: By what; newest first where it is empty or leaves a tie.

    Raises:
        ConfigError: A regular expression or a date that is none.
    """
    if not scope.experiment_ids:
        return Found([], 0)
    selector = Selector(session, scope, dialect, now_ms)
    selected, searched = selector.select(tree), selector.search(search, is_regex=is_regex)
    clauses = [*selected.clauses, *searched.clauses]
    run_ids = selector.newest_first(clauses) if clauses else selector.all_newest_first
    run_ids = searched.keeps(selected.keeps(run_ids))
    run_ids = in_order(run_ids, ColumnReader(session, scope, dialect), order)
    return Found(run_ids, selector.n_runs)


def in_order(run_ids: list[str], reader: Reader, order: Sequence[OrderTerm]) -> list[str]:
    """Sort runs that are newest first; what leaves a tie keeps its order."""
    # Sorting keeps ties as they are, so the last term goes first.
    for term in reversed(order):
        run_ids = _sorted(run_ids, reader.read(term.column, run_ids), term)
    return run_ids


def read_rows(
    session: Session,
    scope: Scope,
    dialect: str,
    run_ids: Sequence[str],
    columns: Sequence[Column],
) -> list[Row]:
    """Read the rows of runs, in their order; one that is not there any more is left out."""
    rows: dict[str, Any] = {}
    info: dict[str, dict[str, str]] = {run_id: {} for run_id in run_ids}
    table = _runs.c
    tags = sa.table("tags", sa.column("run_uuid"), sa.column("key"), sa.column("value"))
    for start in range(0, len(run_ids), _IDS_A_STATEMENT):
        ids = run_ids[start : start + _IDS_A_STATEMENT]
        query = sa.select(
            table.run_uuid,
            table.name,
            table.experiment_id,
            table.user_id,
            table.status,
            table.start_time,
            table.end_time,
            table.lifecycle_stage,
        ).where(table.run_uuid.in_(ids), *scope.clauses(by_index=dialect != "sqlite"))
        rows |= {row[0]: row for row in session.execute(query)}
        of_runs = sa.select(tags.c.run_uuid, tags.c.key, tags.c.value).where(
            tags.c.run_uuid.in_(ids), tags.c.key.in_([*INFO_TAGS])
        )
        for run_id, key, value in session.execute(of_runs):
            if key in INFO_TAGS:  # MySQL's collation matches more than the same text
                info[run_id][INFO_TAGS[key]] = value[:_MAX_NOTE_CHARACTERS]
    cells = read_cells(ColumnReader(session, scope, dialect), columns, run_ids)
    return [
        Row(
            run_id,
            row.name or "",
            row.experiment_id,
            row.user_id or "",
            row.status or "",
            row.start_time,
            row.end_time,
            row.lifecycle_stage,
            info[run_id],
            cells[run_id],
        )
        for run_id in run_ids
        if (row := rows.get(run_id)) is not None
    ]


_NUMBER, _TEXT, _NAN, _MISSING = range(4)


def _sorted(run_ids: Sequence[str], values: Mapping[str, Cell], term: OrderTerm) -> list[str]:
    """Sort by one column, keeping ties; NaN comes behind all values, then what has none."""
    cells = [values.get(run_id) for run_id in run_ids]
    if term.column.is_numeric:
        keys = np.array([0.0 if cell is None else cell for cell in cells], dtype=np.float64)
        kinds = np.array([_MISSING if cell is None else _NUMBER for cell in cells], dtype=np.int8)
        is_nan = np.isnan(keys)
        kinds[is_nan], keys[is_nan] = _NAN, 0.0
    else:
        # A sweep has few different values: each is understood once.
        places = _places({str(cell) for cell in cells if cell is not None})
        found = [_NOWHERE if cell is None else places[str(cell)] for cell in cells]
        kinds = np.array([place.kind for place in found], dtype=np.int8)
        keys = np.array([place.key for place in found], dtype=np.float64)
    if term.is_descending:
        keys = -keys
        kinds[kinds == _TEXT] = -1  # before the numbers
    # Stable, by kind and then by value.
    return [run_ids[at] for at in np.lexsort((keys, kinds)).tolist()]


class _Place(NamedTuple):
    kind: int
    key: float


_NOWHERE = _Place(_MISSING, 0.0)


def _places(texts: set[str]) -> dict[str, _Place]:
    """Return where each text stands: by its number, or by its place among those that have none."""
    numbers = {text: try_number(text) for text in texts}
    rest = sorted(text for text, number in numbers.items() if number is None)
    found = {text: _Place(_TEXT, float(at)) for at, text in enumerate(rest)}
    found |= {text: _Place(_NUMBER, n) for text, n in numbers.items() if n is not None}
    return found
