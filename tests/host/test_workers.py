"""Processes that log to a run which another one began: data loaders, ranks, spawned workers.

MLflow asks for the run inside ``log_metric(run_id=…)``; that must cost them no wait for the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import put_mlflow_tables
from mlflow_server import free_port
from trainings import COUNT_QUESTIONS, Place, Training, begin

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

N_POINTS = 1000

WORK = f"""
{COUNT_QUESTIONS}
import json, mlflow
run_id, name = sys.argv[1:]
n_connected = 0

def note_connection(event, arguments):
    global n_connected
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        n_connected += threading.current_thread() is threading.main_thread()

sys.addaudithook(note_connection)
for step in range({N_POINTS}):
    mlflow.log_metric(name, step, step=step, run_id=run_id)
print(json.dumps({{"asked": n_asked, "connected": n_connected}}))
"""
PARENT = f"""
import json, subprocess
with mlflow.start_run() as run:
    mlflow.log_param("a", 1)
    worker = subprocess.Popen(
        [sys.executable, "-c", {WORK!r}, run.info.run_id, "worker"],
        stdout=subprocess.PIPE, text=True,
    )
    step = 0
    while worker.poll() is None:
        mlflow.log_metric("loss", step, step=step)
        step += 1
        time.sleep(0.01)  # not to fill the disk
    assert worker.returncode == 0
    said = json.loads(worker.stdout.read())
print(json.dumps({{"run_id": run.info.run_id, "n_steps": step, **said}}))
"""


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.fixture
def training(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Training]:
    put_mlflow_tables(tmp_path / "home" / "weir.db")
    away = Place(f"http://127.0.0.1:{free_port()}", {"WEIR_CLIENT": "on"})
    places = {"file": Place(f"weir://{tmp_path}/home", {"WEIR_CLIENT": "auto"}), "away": away}
    yield from begin(tmp_path, places[request.param])


@pytest.mark.parametrize("training", ["file", "away"], indirect=True)
def test_workers_wait_for_nothing(training: Training, tmp_path: Path) -> None:
    out = training.run_new(PARENT, WEIR_EXIT_WAIT_SECONDS="1")
    said = json.loads(out.splitlines()[-1])  # after what MLflow says of a run on a server
    # The first call learns what the run is; later ones look once a second, whatever comes of it.
    assert 1 <= said["asked"] <= N_POINTS // 10
    assert said["connected"] == 0
    if training.place.uri.startswith("http:"):
        other = f"weir://{tmp_path}/other"
        done = training.weir("sync", "--to", other, WEIR_CLIENT="off")
        assert done.returncode == 0, done.stdout + done.stderr
        training.place = Place(other, {})
    training.settle()
    client = training.client()
    for name, n in (("worker", N_POINTS), ("loss", said["n_steps"])):
        history = client.get_metric_history(said["run_id"], name)
        assert [point.step for point in history] == list(range(n))
    assert client.get_run(said["run_id"]).info.status == "FINISHED"
