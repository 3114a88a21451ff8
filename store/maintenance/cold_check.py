"""What ``weir db check`` looks at of chunks that have moved to objects, and of the objects."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import schema
from mlflow_weir.store.cold import reading
from mlflow_weir.store.cold.places import ObjectMissing, open_place
from mlflow_weir.store.maintenance.cold import LIVE, MARKER
from mlflow_weir.store.metrics.points import Series


def content_of(
    session: Session, chunk_id: int, run_id: str
) -> tuple[Series, list[tuple[str, int]]]:
    """Return the points of a cold chunk, and its keys with how many rows each has.

    Raises:
        ChunkCorrupt: They are not there, or not as they were written.
    """
    what = f"weir_chunk {chunk_id}"
    one = reading.locate(session.connection(), [chunk_id]).get(chunk_id)
    if one is None:
        raise ChunkCorrupt(what, "it has no payload, and weir_cold does not say where that is")
    try:
        points, run_ids, keys = reading.read_again(session.connection(), one)
    except ObjectMissing as exc:
        raise ChunkCorrupt(what, str(exc)) from exc
    if set(run_ids) != {run_id}:
        raise ChunkCorrupt(what, f"its rows in {one.root}/{one.name} are another run's")
    return points, [(key, len(list(rows))) for key, rows in groupby(keys)]


def problems(session: Session, notes: list[str]) -> Iterator[str]:
    """Say which objects are missing or changed, and which nobody knows.

    Args:
        session: Reading.
        notes: Gets what the next ``weir db archive`` sets right by itself.
    """
    of, cold = schema.cold_object.c, schema.cold.c
    in_it: dict[str, int] = {
        object_id: n
        for object_id, n in session.execute(
            sa.select(cold.object_id, sa.func.count()).group_by(cold.object_id)
        )
    }
    known: dict[str, set[str]] = defaultdict(set)
    rows = session.execute(
        sa.select(of.object_id, of.root, of.name, of.state, of.n_chunks, of.sha256).order_by(
            of.root, of.name
        )
    ).all()
    for row in rows:
        known[row.root].add(row.name)
        yield from _object_problems(row, in_it.pop(row.object_id, 0), notes)
    for object_id, n in in_it.items():
        yield f"weir_cold_object {object_id}: the row is missing; {n} chunks were in it"
    for root, names in known.items():
        for name in open_place(root).iter_names():
            if name.endswith(".parquet") and name not in names and name != MARKER:
                yield (
                    f"{root}/{name}: no row of the database knows it (written after the "
                    "back-up that this database was restored from? unless another copy of the "
                    "database is in use, remove it: who reads the data set counts it twice)"
                )


def _object_problems(row: Any, n_in_it: int, notes: list[str]) -> Iterator[str]:
    where = f"{row.root}/{row.name}"
    if row.state != LIVE:
        notes.append(f"{where}: left by a command that was stopped; `weir db archive` removes it")
        return
    if n_in_it != row.n_chunks:
        notes.append(
            f"{where}: {row.n_chunks - n_in_it} of its {row.n_chunks} chunks are not its own any "
            "more; `weir db archive` writes it anew"
        )
    try:
        body = open_place(row.root).read(row.name)
    except ObjectMissing as exc:
        yield str(exc)
        return
    if hashlib.sha256(body).hexdigest() != row.sha256:
        yield f"{where}: its checksum does not hold"
