"""How fast ``weir import`` brings in history, by source: from the command's start to its end.

    python benchmarks/run.py --only import

TensorBoard's and wandb's files are written by tensorboardX and wandb where the peers'
environment is there (`make bench` fills it).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from contenders import PEERS, PEERS_PYTHON, QUIET
from measuring import Row, Sizes, say, timed
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from places import Place, SqlitePlace
from servers import Server, running
from workloads import ARTIFACTS, many_metrics, new_run, write_stock

TITLE = "Bringing in history"
ABOUT = """\
`weir import` into a new SQLite file, from the command's start (about 2 s until it has imported
MLflow and made the file) to its end, when all is compacted. The server is stock MLflow on the same
machine, on the first one's database. wandb's and TensorBoard's files are of one run of 20 metrics.
"""

N_METRICS, N_POINTS = 50, 1_000
_SMALL_METRICS, _SMALL_POINTS = 5, 10
_PEERS_METRICS = 20
_WRITE = """
import json, sys
import libraries
name, n_steps, n_metrics = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
library = libraries.LIBRARIES[name]()
for step in range(n_steps):
    library.many({f"train/metric_{i:02d}": step / 7 + i for i in range(n_metrics)})(step)
library.end()
"""


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Measure into SQLite only."""
    if not isinstance(place, SqlitePlace):
        return []
    folder = Path(str(sa.make_url(place.new_database()).database)).parent / "imports"
    folder.mkdir()
    return list(_rows(place, folder, sizes))


def _rows(place: Place, folder: Path, sizes: Sizes) -> Iterator[Row]:
    n_runs, n_small = sizes.import_runs, 15 * sizes.import_runs
    large = _stock(place, n_runs, N_METRICS, N_POINTS)
    small = _stock(place, n_small, _SMALL_METRICS, _SMALL_POINTS)
    of_large = f"{n_runs} runs × {N_METRICS} metrics × {N_POINTS:,} points"
    of_small = f"{n_small} runs × {_SMALL_METRICS} metrics × {_SMALL_POINTS} points"
    yield _row(f"stock MLflow's SQLite file, {of_large}", "mlflow", large, folder)
    yield _row(f"stock MLflow's SQLite file, {of_small}", "mlflow", small, folder)
    with running(Server(large, folder / "server")) as server:
        yield _row(f"stock MLflow's server, {of_large}", "mlflow", server.address, folder)
    for library, kind in (("tensorboardX", "tensorboard"), ("wandb", "wandb")):
        if not PEERS_PYTHON.exists():
            say(f"{PEERS[library]}: not installed")
            continue
        made = folder / library
        made.mkdir()
        n_steps = n_runs * 500
        words = [str(PEERS_PYTHON), "-c", _WRITE, library, str(n_steps), str(_PEERS_METRICS)]
        here = {"PYTHONPATH": str(Path(__file__).parent)}
        subprocess.run(words, cwd=made, env={**os.environ, **QUIET, **here}, check=True)
        what = f"{PEERS[library]}'s files, {_PEERS_METRICS} metrics × {n_steps:,} points"
        yield _row(what, kind, str(made), folder)


def _row(what: str, kind: str, source: str, folder: Path) -> Row:
    n_points, seconds = bring(kind, source, folder)
    say(f"{what}: {n_points:,} points in {seconds:.1f} s")
    return Row(what, "SQLite", "points/s", None, n_points / seconds, note=f"{seconds:.1f} s")


def bring(kind: str, source: str, folder: Path) -> tuple[int, float]:
    """Run the command; return how many points came and the seconds it took."""
    target = folder / f"home-{sum(1 for _ in folder.iterdir())}"
    weir = str(Path(sys.executable).with_name("weir"))
    command = [weir, "import", kind, source, "--to", f"weir://{target}", "--json"]
    environment = {**os.environ, **QUIET, "WEIR_SPOOL": str(folder / "spool")}
    done, seconds = timed(
        lambda: subprocess.run(
            command, stdout=subprocess.PIPE, env=environment, check=True, text=True
        )
    )
    report: list[dict[str, Any]] = json.loads(done.stdout)
    return sum(one["n_points"] for one in report), seconds


def _stock(place: Place, n_runs: int, n_metrics: int, n_points: int) -> str:
    """Fill a database of stock MLflow's; return its URL."""
    url = place.new_database()
    store = SqlAlchemyStore(url, ARTIFACTS)
    for i in range(n_runs):
        content = many_metrics(n_metrics, n_points, i)
        write_stock(store.engine, new_run(store, "0", f"run {i}"), content)
    store._dispose_engine()
    return url
