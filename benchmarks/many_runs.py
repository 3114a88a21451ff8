"""What a run costs to begin and to end, as a sweep of many in one process pays it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from measuring import Row, Sizes, say
from meters import stop_agent
from places import Place, SqlitePlace

TITLE = "Many runs"
ABOUT = """\
Runs one after the other in one process: `mlflow.start_run`, two params, five `log_metrics`, the
end. Stock MLflow on SQLite; Weir on SQLite with nothing captured, and with everything that is
captured by default. Of each the median of `start_run` and of a whole run, and what the process has
grown by from the first tenth of the runs to the last: memory, and descriptors in the notes.
"""

_SCRIPT = """
import gc, json, sys, time
import mlflow, psutil
def size():
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, process.num_fds()
started, whole, sizes, n = [], [], [], int(sys.argv[1])
for number in range(n):
    began = time.perf_counter()
    with mlflow.start_run():
        started.append(time.perf_counter() - began)
        mlflow.log_params({"lr": number, "seed": 1})
        for step in range(5):
            mlflow.log_metrics({"loss": 0.5, "acc": step}, step=step)
    whole.append(time.perf_counter() - began)
    if number + 1 in (n // 10, n):
        sizes.append(size())
print(json.dumps([started[5:], whole[5:], sizes]))
"""
_STOCK, _PLAIN, _CAPTURING = "stock", "Weir, nothing captured", "Weir, capturing"


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Begin and end runs; on SQLite only."""
    if not isinstance(place, SqlitePlace):
        return []
    folder = Path.cwd() / "many-runs"
    folder.mkdir()
    ours = {"WEIR_SPOOL": str(folder / "spool")}
    contenders = {
        _STOCK: {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/stock.db"},
        _PLAIN: {"MLFLOW_TRACKING_URI": f"weir://{folder}/a", "WEIR_CAPTURE": "off", **ours},
        _CAPTURING: {"MLFLOW_TRACKING_URI": f"weir://{folder}/b", **ours},
    }
    started, whole, grown, opened = {}, {}, {}, {}
    for name, variables in contenders.items():
        say(f"{name}: {sizes.sweep_runs} runs")
        found = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(sizes.sweep_runs)],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **variables},
            cwd=folder,
            stdout=subprocess.PIPE,
            check=True,
        )
        starts, wholes, ((n_bytes, n_open), (n_last, n_last_open)) = json.loads(found.stdout)
        started[name], whole[name] = statistics.median(starts), statistics.median(wholes)
        grown[name], opened[name] = (n_last - n_bytes) / 1e6, n_last_open - n_open
    stop_agent(folder / "spool")
    descriptors = ", ".join(f"{name} {n:+d}" for name, n in opened.items())
    return [
        _row("mlflow.start_run, p50", started),
        _row("a whole run, p50", whole),
        Row(
            f"memory more after {sizes.sweep_runs:,} runs than after a tenth of them",
            "SQLite",
            "MB",
            grown[_STOCK],
            grown[_CAPTURING],
            note=f"{grown[_PLAIN]:.1f} MB with nothing captured; descriptors: {descriptors}",
        ),
    ]


def _row(measure: str, figures: dict[str, float]) -> Row:
    note = f"{figures[_PLAIN] * 1e3:.2f} ms with nothing captured"
    return Row(measure, "SQLite", "s", figures[_STOCK], figures[_CAPTURING], note=note)
