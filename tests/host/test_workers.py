"""Processes that log to a run which another one began: data loaders, ranks, spawned workers.

MLflow asks for the run inside ``log_metric(run_id=…)``; that must cost them no wait for the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_server import free_port
from trainings import Place, Training, begin

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

N_POINTS = 100

# The first call learns what the run is, where a worker begins.
WORK = f"""
import json, mlflow, sys, time
run_id, name = sys.argv[1:]
took = []
for step in range({N_POINTS}):
    began = time.monotonic()
    mlflow.log_metric(name, step, step=step, run_id=run_id)
    took.append(time.monotonic() - began)
print(json.dumps(sorted(took[1:])))
"""
PARENT = f"""
import json, subprocess
with mlflow.start_run() as run:
    mlflow.log_param("a", 1)
    words = [sys.executable, "-c", {WORK!r}, run.info.run_id]
    workers = [
        subprocess.Popen([*words, f"worker{{n}}"], stdout=subprocess.PIPE, text=True)
        for n in range(1)
    ]
    step = 0
    while any(one.poll() is None for one in workers):
        mlflow.log_metric("loss", step, step=step)
        step += 1
        time.sleep(0.01)
    print(run.info.run_id, step)
    for one in workers:
        print(one.stdout.read().strip())
        assert one.returncode == 0
"""


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.fixture
def training(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Training]:
    away = Place(f"http://127.0.0.1:{free_port()}", {"WEIR_CLIENT": "on"})
    places = {"file": Place(f"weir://{tmp_path}/home", {"WEIR_CLIENT": "auto"}), "away": away}
    yield from begin(tmp_path, places[request.param])


@pytest.mark.parametrize("training", ["file", "away"], indirect=True)
def test_workers_wait_for_nothing(training: Training, tmp_path: Path) -> None:
    out = training.run(PARENT, WEIR_EXIT_WAIT_SECONDS="1")
    (run_id, n_steps), *said = (line.split(maxsplit=1) for line in out.splitlines())
    for line in said:
        took = json.loads(" ".join(line))
        assert took[len(took) // 2] < 0.03, "the median call"
        assert sum(seconds > 0.1 for seconds in took) <= len(took) // 20
    if training.place.uri.startswith("http:"):
        other = f"weir://{tmp_path}/other"
        done = training.weir("sync", "--to", other, WEIR_CLIENT="off")
        assert done.returncode == 0, done.stdout + done.stderr
        training.place = Place(other, {})
    training.settle()
    client = training.client()
    for name, n in (("worker0", N_POINTS), ("loss", int(n_steps))):
        history = client.get_metric_history(run_id, name)
        assert [point.step for point in history] == list(range(n))
    assert client.get_run(run_id).info.status == "FINISHED"
