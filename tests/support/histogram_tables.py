"""Tables of histograms as ``mlflow_weir.watch`` makes them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlflow_weir.store.delivery.records import encode_histograms
from mlflow_weir.store.histograms.encoding import BINS, Table, encode

KEYS = ("conv.weight", "conv.bias", "fc.weight")


def table_of(step: int, keys: Sequence[str] = KEYS, kind: str = "gradients") -> Table:
    """Return histograms of one step, different for each step and series."""
    n = len(keys)
    rng = np.random.default_rng([step % (1 << 32), n])
    zeros = np.zeros(n, dtype=np.int64)
    return Table(
        kind=kind,
        keys=tuple(keys),
        series=np.arange(n, dtype=np.int64),
        step=zeros + step,
        timestamp=zeros + 1_700_000_000_000 + step,
        norm=rng.random(n) * 10,
        first=-rng.random(n),
        last=rng.random(n),
        n_nan=rng.integers(0, 2, n),
        n_inf=rng.integers(0, 2, n),
        counts=rng.integers(0, 1 << 17, (n, BINS)),
    )


def record_of(run_id: str, step: int, keys: Sequence[str] = KEYS) -> bytes:
    """Return the journal's record of one step."""
    return encode_histograms(run_id, encode(table_of(step, keys)))


def rows_of(table: Table) -> list[tuple[object, ...]]:
    """Return what a table holds, as values that can be compared."""
    columns: list[npt.NDArray[Any]] = [table.step, table.timestamp, table.norm, table.first]
    columns += [table.last, table.n_nan, table.n_inf]
    return [
        (table.keys[table.series[i]], *(c[i].item() for c in columns), table.counts[i].tolist())
        for i in range(len(table))
    ]
