"""Reading histograms: the norms of all series of a run, or one series step by step.

What a write has at several places at once, because it is being turned about, is read once: by its
step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.histograms import writing
from mlflow_weir.store.histograms.encoding import Table, joined
from mlflow_weir.store.histograms.norms import Norms, evenly, side_by_side
from mlflow_weir.store.metrics.batch_encoding import key_bytes, key_hash

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def read_norms(
    session: Session | sa.Connection, run_id: str, kind: str, max_steps: int
) -> Norms | None:
    """Return the norms of all series of a run, by step; None where there is none.

    Args:
        session: Reads.
        run_id: 32 hex digits.
        kind: One of ``KINDS``.
        max_steps: At most so many columns. Of neighbours that one stands for it has the norm of
            its own step, and all that they have of NaN and infinite values: those are what one
            looks for.

    Raises:
        ChunkCorrupt: A row is damaged.
    """
    columns = schema.histogram.c
    found = writing.rows(
        session,
        columns.run_uuid == run_id,
        columns.kind == kind,
        columns.form != writing.BLOCK,
    )
    parts = []
    for histogram_id, form, crc32, payload in found:
        if form == writing.SUMMARY:
            parts.append(writing.norms_of(histogram_id, crc32, payload))
        else:
            parts.append(Norms.of(writing.table_of(histogram_id, crc32, payload)))
    if not parts:
        return None
    whole = side_by_side(parts)
    kept = evenly(whole.step, max_steps)
    if len(kept) == len(whole.step):
        return whole
    starts = np.concatenate([[0], kept[:-1] + 1])
    bad = np.add.reduceat(whole.n_bad.astype(np.int64), starts, axis=1)
    return Norms(
        whole.kind,
        whole.keys,
        whole.step[kept],
        whole.timestamp[kept],
        whole.norm[:, kept],
        np.minimum(bad, 0xFFFF_FFFF).astype(np.uint32),
    )


def read_series(
    session: Session | sa.Connection,
    run_id: str,
    kind: str,
    key: str,
    max_steps: int,
    after: int | None = None,
) -> Table | None:
    """Return the histograms of one series, ascending by step; None where there is none.

    Args:
        session: Reads.
        run_id: 32 hex digits.
        kind: One of ``KINDS``.
        key: The series.
        max_steps: At most so many of them, evenly.
        after: The first ones of greater steps than this, in place of an even choice.

    Raises:
        ChunkCorrupt: A row is damaged.
    """
    columns = schema.histogram.c
    mine = (columns.run_uuid == run_id, columns.kind == kind)
    blocks = writing.rows(
        session,
        *mine,
        columns.form == writing.BLOCK,
        columns.key_hash == key_hash(key),
        columns.key == key_bytes(key),
    )
    slices = writing.rows(session, *mine, columns.form == writing.SLICE)
    tables = []
    for histogram_id, _, crc32, payload in [*blocks, *slices]:
        table = writing.table_of(histogram_id, crc32, payload)
        if key in table.keys:
            tables.append(table.take(table.series == table.keys.index(key)))
    if not tables:
        return None
    whole = joined(tables)
    # The last of each step: np.unique names the first, so from behind.
    _, last = np.unique(whole.step[::-1], return_index=True)
    rows = len(whole) - 1 - last
    if after is not None:
        return whole.take(rows[whole.step[rows] > after][:max_steps])
    return whole.take(rows[evenly(whole.step[rows], max_steps)])
