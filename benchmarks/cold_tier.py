"""Reading history hot and cold: bytes in the database and outside, and how long a read takes.

    python benchmarks/run.py --only cold
    python -m cold_tier [--runs 200] [--to s3://bucket/prefix]      in this folder

Runs of 4 metrics × 20,000 points (float32 noise with loop timestamps) are filled into a new SQLite
file, read, moved with ``weir db archive`` and read again. Nothing of the reader is kept between
reads; the operating system's cache is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from measuring import Row, Sizes, say
from mlflow.entities import RunStatus
from places import Place, SqlitePlace
from workloads import loop_timestamps

from mlflow_weir.store.cold import reading
from mlflow_weir.store.maintenance.cold import archive, bring_back
from mlflow_weir.store.maintenance.compact import compact
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.metrics import chunks
from mlflow_weir.store.metrics.points import Series
from mlflow_weir.store.tracking_store import WeirStore

TITLE = "Cold history"
ABOUT = """\
Ended runs of 4 metrics × 20,000 points (float32 noise with loop timestamps) in an SQLite file,
read there, moved to a folder on the same disk by what `weir db archive` does, and read again.
Nothing of the reader is kept between two reads; the operating system's cache is. With S3 each
range of an object is a request, side by side with the others.
"""
COLUMNS = ("In the database", "In the folder")

N_METRICS, N_POINTS = 4, 20_000
_REPEATS = 15


def versions() -> dict[str, str]:
    """Nothing takes part that is not named for all sections."""
    return {}


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Measure on SQLite only."""
    if not isinstance(place, SqlitePlace):
        return []
    file = Path(str(sa.make_url(place.new_database()).database))
    found = moved(file, sizes.cold_runs, None)
    say(f"{place.name}: {found['points']:,} points moved in {found['archive_s']} s")
    hot, cold = COLUMNS

    def row(what: str, unit: str, before: float, after: float, note: str = "") -> Row:
        beside = {hot: before, cold: after}
        return Row(what, place.name, unit, None, None, note=note, beside=beside)

    outside = f"{found['object_bytes'] / 1e6:.1f} MB in {found['objects']} objects besides"
    of = f"{found['points']:,} points of {sizes.cold_runs} runs"
    return [
        row(
            f"{of}: the file",
            "MB",
            found["database_bytes_hot"] / 1e6,
            found["database_bytes_cold"] / 1e6,
            outside,
        ),
        *(
            row(what, "s", found["hot_ms"][what] / 1e3, found["cold_ms"][what] / 1e3)
            for what in found["hot_ms"]
        ),
        row(f"{of}: brought there", "s", found["back_s"], found["archive_s"]),
    ]


def main() -> None:
    """Run it and print the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--to", help="a folder or s3://…; a temporary folder without")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(moved(Path(folder, "bench.db"), options.runs, options.to), indent=2))


def moved(file: Path, n_runs: int, to: str | None) -> dict[str, Any]:
    """Fill, read, move, read; return figures: bytes, seconds for moving, milliseconds a read."""
    store: Any = WeirStore(f"sqlite:///{file}", "unused")
    run_ids = fill(store, n_runs)
    compact(store.engine, Silent())
    found: dict[str, Any] = {"points": n_runs * N_METRICS * N_POINTS}
    found["database_bytes_hot"] = file.stat().st_size
    found["hot_ms"] = latencies(store, run_ids)
    begun = time.perf_counter()
    report = archive(
        store.engine, to or str(file.with_name(f"cold-{file.stem}")), Silent(), older_than_ms=0
    )
    found["archive_s"] = round(time.perf_counter() - begun, 2)
    compact(store.engine, Silent())
    found["database_bytes_cold"] = file.stat().st_size
    found["objects"], found["object_bytes"] = report.n_objects, report.object_bytes
    found["cold_ms"] = latencies(store, run_ids)
    begun = time.perf_counter()
    bring_back(store.engine, Silent())
    found["back_s"] = round(time.perf_counter() - begun, 2)
    store._dispose_engine()
    return found


def fill(store: Any, n_runs: int) -> list[str]:
    """Write ended runs, each one pack as compaction leaves it."""
    rng = np.random.default_rng(1)
    run_ids = []
    for i in range(n_runs):
        run_id = store.create_run("0", "bench", 1_700_000_000_000, [], f"run {i}").info.run_id
        content = {
            f"metric {at}": Series(
                loop_timestamps(N_POINTS, rng),
                np.arange(N_POINTS, dtype=np.int64),
                rng.normal(size=N_POINTS).astype(np.float32).astype(np.float64),
            )
            for at in range(N_METRICS)
        }
        with store.engine.begin() as connection:
            chunks.write(connection, run_id, content, level=1)
        store.update_run_info(run_id, RunStatus.FINISHED, 1_700_001_000_000, None)
        run_ids.append(run_id)
    return run_ids


def latencies(store: Any, run_ids: list[str]) -> dict[str, float]:
    """Return the median of each kind of read, in ms."""
    one, ten = run_ids[:1], run_ids[:10]
    kinds: dict[str, Callable[[], Any]] = {
        "history of one metric": lambda: store.get_metric_history(one[0], "metric 1"),
        "chart of one run, 1,000 buckets": lambda: chart(store, one, 1_000),
        "chart of ten runs, 1,000 buckets": lambda: chart(store, ten, 1_000),
        "chart of ten runs, 100 buckets (rollups)": lambda: chart(store, ten, 100),
    }
    found = {}
    for name, read in kinds.items():
        times = []
        for _ in range(_REPEATS):
            reading.forget()
            begun = time.perf_counter()
            read()
            times.append(1_000 * (time.perf_counter() - begun))
        found[name] = round(statistics.median(times), 1)
    return found


def chart(store: Any, run_ids: list[str], width: int) -> Any:
    """Read what MLflow's chart asks for."""
    return store.get_metric_history_bulk_interval(run_ids, "metric 1", width, None, None)


if __name__ == "__main__":
    main()
