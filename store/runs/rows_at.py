"""Rows of the run list as they were at a moment, for pages and links that are frozen.

A run that had not ended then was running: it has no end and no cause, and its metrics are those of
its points by then. Names, params, tags and notes are kept as they are now, once only.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from mlflow_weir.store.runs import moment
from mlflow_weir.store.runs.listing import Row
from mlflow_weir.store.runs.run_columns import Cell, Column

_OPEN: dict[str, Cell] = {"status": "RUNNING", "end_time": None, "duration": None}


def rows_at(
    session: Session, rows: Sequence[Row], columns: Sequence[Column], at_ms: int
) -> list[Row]:
    """Return the rows as of ``at_ms``, in their order.

    Args:
        session: Reading.
        rows: As ``listing.read_rows`` gives them.
        columns: Whose cells the rows have.
        at_ms: The moment.

    Raises:
        ChunkCorrupt: A stored row fails its checksum; the message names it.
        TooMuchAsked: More points would have to be read than ``curves.MAX_RAW_POINTS``.
    """
    limits = moment.last_ms(session, [row.run_id for row in rows], at_ms)
    running = {row.run_id for row, last_ms in zip(rows, limits, strict=True) if last_ms == at_ms}
    keys = [column.key for column in columns if column.kind == "metrics"]
    values = moment.values_at(session, sorted(running), keys, at_ms) if running and keys else {}

    def cell(run_id: str, column: Column, now: Cell) -> Cell:
        if column.kind == "attributes":
            return _OPEN.get(column.key, now)
        if column.kind != "metrics":
            return now
        value = values[column.key].get(run_id)
        if value is None:
            return None
        if column.aggregate == "latest":
            return value.latest
        number = value.low if column.aggregate == "min" else value.high
        return None if number != number else number

    return [
        row
        if row.run_id not in running
        else row._replace(
            status="RUNNING",
            end_ms=None,
            info={name: text for name, text in row.info.items() if name != "cause"},
            cells=[
                cell(row.run_id, column, now)
                for column, now in zip(columns, row.cells, strict=True)
            ],
        )
        for row in rows
    ]
