"""A chunk is a Parquet file that other programs read as it is."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from mlflow_weir.store.metrics.encoding import encode_chunk, place
from mlflow_weir.store.metrics.points import Series


def test_duckdb_reads_a_chunk(tmp_path: Path) -> None:
    steps = np.arange(3, dtype=np.int64)
    series = Series(steps + 1_000, steps, np.array([0.5, np.nan, 2.5]))
    path = tmp_path / "chunk.parquet"
    path.write_bytes(encode_chunk(place({"loss": series, "é": series.rows(0, 1)})))
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT key, timestamp, step, value FROM read_parquet(?) WHERE NOT isnan(value)",
            [str(path)],
        ).fetchall()
    assert rows == [("loss", 1_000, 0, 0.5), ("loss", 1_002, 2, 2.5), ("é", 1_000, 0, 0.5)]
