"""The main job: scripts that know nothing of ours, and stock MLflow on what they wrote."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessions import members, sessions_of_children
from tree import ROOT, imports

DEMO = ROOT / "plugin" / "demo"
SCRIPTS = sorted(DEMO.glob("train_*.py"))
WEIR = str(Path(sys.executable).with_name("weir"))

# Reads everything there is through MLflow's public client, in a process of its own.
READER = """
import json, sys
from mlflow import MlflowClient

client = MlflowClient(sys.argv[1])
found = {}
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        found[run.info.run_id] = {
            "status": run.info.status,
            "name": run.info.run_name,
            "params": run.data.params,
            "tags": run.data.tags,
            "metrics": run.data.metrics,
            "history": {
                key: [(m.step, m.timestamp, m.value)
                      for m in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            },
        }
json.dump(found, sys.stdout)
"""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, **changes}


def read(uri: str, **changes: str) -> Any:
    command = [sys.executable, "-W", "error::UserWarning", "-c", READER, uri]
    done = subprocess.run(
        command, env=environment(**changes), check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo without its server, once, and give its store's folder."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    command = [WEIR, "demo", "--home", str(folder), "--no-serve"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def runs(home: Path) -> Any:
    return read(f"weir://{home}")


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_the_scripts_import_nothing_of_ours(script: Path) -> None:
    names = {found.target.split(".")[0] for found in imports(script)}
    assert "mlflow" in names
    assert not {name for name in names if "weir" in name}
    assert "weir" not in script.read_text().lower()


@pytest.mark.timeout(600)
def test_at_least_twelve_runs_finish(runs: Any) -> None:
    assert sum(run["status"] == "FINISHED" for run in runs.values()) >= 12
    assert {run["status"] for run in runs.values()} == {"FINISHED"}


@pytest.mark.timeout(600)
def test_one_run_has_a_long_history(runs: Any) -> None:
    longest = max(len(points) for run in runs.values() for points in run["history"].values())
    assert longest >= 2_000


@pytest.mark.timeout(600)
def test_history_is_in_our_tables_and_latest_values_in_mlflows(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "weir.db")) as connection:
        (stock_rows,) = connection.execute("SELECT count(*) FROM metrics").fetchone()
        (latest_rows,) = connection.execute("SELECT count(*) FROM latest_metrics").fetchone()
    assert stock_rows == 0
    assert latest_rows > 50


@pytest.mark.timeout(600)
def test_stock_mlflow_reads_the_same_after_eject(home: Path, runs: Any, tmp_path: Path) -> None:
    """On a copy, so that the tests of this module run in any order."""
    copy = tmp_path / "weir.db"
    with (
        contextlib.closing(sqlite3.connect(home / "weir.db")) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)  # what the agent wrote last may be in the write-ahead log
    command = [WEIR, "db", "eject", f"sqlite+weir:///{copy}", "--yes"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read(f"sqlite:///{copy}", WEIR_DISABLE="1") == runs


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the demo, and end it should the test not."""
    command = [WEIR, "demo", "--home", str(tmp_path / "data"), "--no-serve"]
    with subprocess.Popen(
        command,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def test_ctrl_c_stops_the_training_without_a_traceback(
    training: subprocess.Popen[str],
) -> None:
    assert training.stdout is not None
    assert "python train_" in training.stdout.readline()
    training.stdout.readline()  # of the script itself: it has started
    sessions = sessions_of_children(training)
    assert members(sessions)
    training.send_signal(signal.SIGINT)
    output = training.stdout.read()
    assert training.wait(timeout=300) == 130
    assert "Traceback" not in output
    assert members(sessions) == []
