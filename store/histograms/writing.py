"""Storing histograms, in the caller's transaction, and taking them away again.

What arrives is all series of one step: a *slice*, one row of ``weir_histogram``. Every
``MAX_SLICES`` of them a run's slices of a kind are turned about: one row a series with its
histograms of all those steps (*block*), and one row with the norms of all series (*summary*). So a
write is one row, one series over 10,000 steps is 80 rows, and so is a picture of all norms.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import schema
from mlflow_weir.store.histograms.encoding import Table, TableError, joined, pack, unpack
from mlflow_weir.store.histograms.norms import Norms
from mlflow_weir.store.metrics.batch_encoding import key_bytes, key_hash, verified

if TYPE_CHECKING:  # 6 MB that a delivery does without
    from sqlalchemy.orm import Session

MAX_SLICES = 128
"""Steps of a run and kind that wait as slices."""

MAX_WAITING_BYTES = 8 << 20
"""Of them, packed; a reader unpacks them all."""

SLICE, SUMMARY, BLOCK = 0, 1, 2
"""Values of ``weir_histogram.form``."""


def what(histogram_id: int) -> str:
    """Name a row."""
    return f"weir_histogram {histogram_id}"


def append(session: Session | sa.Connection, run_id: str, table: Table) -> None:
    """Add histograms to a run, which the caller has found to exist and to be active.

    Args:
        session: In a transaction; the caller commits.
        run_id: 32 hex digits.
        table: Of few steps.
    """
    _insert(session, run_id, table.kind, SLICE, None, table.step, pack(table))
    columns = schema.histogram.c
    waiting = session.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(columns.size_bytes), 0)).where(
            columns.run_uuid == run_id, columns.kind == table.kind, columns.form == SLICE
        )
    ).one()
    if waiting[0] >= MAX_SLICES or waiting[1] >= MAX_WAITING_BYTES:
        _turn(session, run_id, table.kind)


def _insert(
    session: Session | sa.Connection,
    run_id: str,
    kind: str,
    form: int,
    key: str | None,
    steps: Any,
    payload: bytes,
) -> None:
    session.execute(
        sa.insert(schema.histogram).values(
            run_uuid=run_id,
            kind=kind,
            form=form,
            key_hash=0 if key is None else key_hash(key),
            key=b"" if key is None else key_bytes(key),
            first_step=int(steps.min()),
            last_step=int(steps.max()),
            n_steps=len(np.unique(steps)),
            size_bytes=len(payload),
            crc32=zlib.crc32(payload),
            payload=payload,
        )
    )


def rows(
    session: Session | sa.Connection, *conditions: Any, is_locking: bool = False
) -> list[tuple[int, int, int, bytes]]:
    """Return (id, form, checksum, payload) of rows, in the order they were written."""
    columns = schema.histogram.c
    query = (
        sa.select(columns.histogram_id, columns.form, columns.crc32, columns.payload)
        .where(*conditions)
        .order_by(columns.histogram_id)
    )
    found = session.execute(query.with_for_update() if is_locking else query).all()
    return [(row[0], row[1], row[2], row[3]) for row in found]


def table_of(histogram_id: int, crc32: int, payload: bytes) -> Table:
    """Read the table in a row.

    Raises:
        ChunkCorrupt: It is damaged.
    """
    name = what(histogram_id)
    try:
        return unpack(verified(payload, crc32, name))
    except TableError as exc:
        raise ChunkCorrupt(name, str(exc)) from exc


def norms_of(histogram_id: int, crc32: int, payload: bytes) -> Norms:
    """Read the norms in a row that is a summary.

    Raises:
        ChunkCorrupt: It is damaged.
    """
    name = what(histogram_id)
    try:
        return Norms.unpack(verified(payload, crc32, name))
    except TableError as exc:
        raise ChunkCorrupt(name, str(exc)) from exc


def _turn(session: Session | sa.Connection, run_id: str, kind: str) -> None:
    """Turn a run's slices into blocks and a summary; those that are damaged stay."""
    columns = schema.histogram.c
    found = rows(
        session,
        columns.run_uuid == run_id,
        columns.kind == kind,
        columns.form == SLICE,
        is_locking=True,
    )
    tables, ids = [], []
    for histogram_id, _, crc32, payload in found:
        try:
            tables.append(table_of(histogram_id, crc32, payload))
        except ChunkCorrupt:
            continue  # for `weir db check` to name
        ids.append(histogram_id)
    if len(tables) < 2:
        return  # another delivery has just done it
    _write_blocks(session, run_id, joined(tables))
    _delete(session, ids)


def _write_blocks(session: Session | sa.Connection, run_id: str, table: Table) -> None:
    norms = Norms.of(table)
    _insert(session, run_id, table.kind, SUMMARY, None, table.step, norms.pack())
    order = np.argsort(table.series, kind="stable")
    ends = np.cumsum(np.bincount(table.series, minlength=len(table.keys)))
    for key, of_key in zip(table.keys, np.split(order, ends[:-1]), strict=True):
        part = table.take(of_key)
        _insert(session, run_id, table.kind, BLOCK, key, part.step, pack(part))


def _delete(session: Session | sa.Connection, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), 500):
        session.execute(
            sa.delete(schema.histogram).where(
                schema.histogram.c.histogram_id.in_(ids[start : start + 500])
            )
        )


def rewind(session: Session | sa.Connection, run_id: str, step: int) -> None:
    """Take away the histograms of a run whose step is greater.

    What is damaged stays where it is, unless all of it is later.
    """
    columns = schema.histogram.c
    mine = columns.run_uuid == run_id
    # Locked first, so that nobody turns them about meanwhile.
    later = rows(session, mine, columns.last_step > step, is_locking=True)
    session.execute(sa.delete(schema.histogram).where(mine, columns.first_step > step))
    left = set(
        session.execute(sa.select(columns.histogram_id).where(mine, columns.last_step > step))
        .scalars()
        .all()
    )
    for histogram_id, form, crc32, payload in later:
        if histogram_id not in left:
            continue
        try:
            if form == SUMMARY:
                norms = norms_of(histogram_id, crc32, payload).until(step)
                kind, key, steps, packed = norms.kind, None, norms.step, norms.pack()
            else:
                table = table_of(histogram_id, crc32, payload)
                table = table.take(table.step <= step)
                kind, steps, packed = table.kind, table.step, pack(table)
                key = table.keys[0] if form == BLOCK else None
        except ChunkCorrupt:
            continue
        session.execute(sa.delete(schema.histogram).where(columns.histogram_id == histogram_id))
        _insert(session, run_id, kind, form, key, steps, packed)
