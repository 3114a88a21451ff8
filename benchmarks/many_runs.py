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
captured by default. Of each the median of `start_run`, and of a whole run.
"""

_SCRIPT = """
import json, sys, time
import mlflow
started, whole = [], []
for number in range(int(sys.argv[1])):
    began = time.perf_counter()
    with mlflow.start_run():
        started.append(time.perf_counter() - began)
        mlflow.log_params({"lr": number, "seed": 1})
        for step in range(5):
            mlflow.log_metrics({"loss": 0.5, "acc": step}, step=step)
    whole.append(time.perf_counter() - began)
print(json.dumps([started[5:], whole[5:]]))
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
    started, whole = {}, {}
    for name, variables in contenders.items():
        say(f"{name}: {sizes.sweep_runs} runs")
        found = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(sizes.sweep_runs)],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **variables},
            cwd=folder,
            stdout=subprocess.PIPE,
            check=True,
        )
        started[name], whole[name] = map(statistics.median, json.loads(found.stdout))
    stop_agent(folder / "spool")
    return [_row("mlflow.start_run, p50", started), _row("a whole run, p50", whole)]


def _row(measure: str, figures: dict[str, float]) -> Row:
    note = f"{figures[_PLAIN] * 1e3:.2f} ms with nothing captured"
    return Row(measure, "SQLite", "s", figures[_STOCK], figures[_CAPTURING], note=note)
