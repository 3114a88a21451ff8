"""``mlflow_weir.watch`` in trainings as users write them, read by MLflow and by the store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from agents import kill_agents, wait_until
from databases import put_mlflow_tables
from kills import last_words
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.histograms.reading import read_norms, read_series
from torch_here import torch
from warm_python import warm_python

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

HEAD = """
import mlflow, mlflow_weir, os, sys, time, torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
def step(scale=1.0):
    optimizer.zero_grad()
    loss = model(torch.ones(2, 4)).square().mean() * scale
    loss.backward()
    optimizer.step()
    return loss.item()
"""


class Place:
    """A store and a spool, and scripts that train."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.spool = folder, folder / "spool"
        self.uri = f"weir://{folder}/store"
        self.database = f"sqlite:///{folder}/store/weir.db"

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if name != "WEIR_CAPTURE"},
            "MLFLOW_TRACKING_URI": self.uri,
            "WEIR_SPOOL": str(self.spool),
            "WEIR_CAPTURE_GIT": "off",
            "WEIR_CAPTURE_ENVIRONMENT": "off",
            "WEIR_CAPTURE_HARDWARE": "off",  # a slow training would have samples too
            **variables,
        }

    def start(self, script: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", HEAD + script],
            cwd=self.folder,
            env=self._environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def train(self, script: str, **variables: str) -> tuple[list[str], str]:
        """Run a script to its good end; return the lines it printed, and stderr."""
        environment = self._environment(variables)
        code, out, err = warm_python().outcome(HEAD + script, (), environment, self.folder)
        assert code == 0, err
        self.settle()
        return out.splitlines(), err

    def settle(self) -> None:
        def none_is_left() -> bool:
            agent.ensure_agent(self.spool)
            agent.nudge(self.spool)
            return not Spool(self.spool).journals()

        wait_until(none_is_left, "all is delivered", 120)

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        found = MlflowClient(self.uri).get_metric_history(run_id, key)
        return [(point.step, point.value) for point in found]

    def read(self, run_id: str, kind: str = "gradients", key: str | None = None) -> Any:
        engine = open_engine(self.database)
        try:
            with engine.connect() as connection:
                if key is None:
                    return read_norms(connection, run_id, kind, 10_000)
                return read_series(connection, run_id, kind, key, 10_000)
        finally:
            engine.dispose()


@pytest.fixture
def place(tmp_path: Path) -> Any:
    put_mlflow_tables(tmp_path / "store" / "weir.db")
    made = Place(tmp_path)
    yield made
    agent.nudge(made.spool, agent.STOP)


def test_a_watched_training_and_its_going_on(place: Place) -> None:
    (run_id, *printed), err = place.train("""
with mlflow.start_run() as run:
    print(run.info.run_id)
    mlflow_weir.watch(model, log="all", log_freq=10)
    for i in range(35):
        mlflow.log_metric("loss", step(), step=i)
        if i in (0, 30):
            print(model[0].weight.grad.norm().item())
    mlflow_weir.unwatch()
    step()
""")
    assert len([line for line in err.splitlines() if "weir" in line]) <= 1  # where the run is
    first, last = map(float, printed)
    norms = place.history(run_id, "gradients/0.weight/norm")
    assert [at for at, _ in norms] == [0, 10, 20, 30]
    assert [norms[0][1], norms[-1][1]] == pytest.approx([first, last], rel=1e-5)
    keys = set(MlflowClient(place.uri).get_run(run_id).data.metrics)
    wanted = {
        f"{kind}/{name}/{metric}"
        for kind in ("gradients", "parameters")
        for name in ("0.weight", "0.bias", "2.weight", "2.bias")
        for metric in ("norm", "mean", "std", "min", "max")
    }
    whole = {f"{kind}/{m}" for kind in ("gradients", "parameters") for m in ("norm", "nan", "inf")}
    assert keys == wanted | whole | {"loss"}
    squares = [place.history(run_id, f"gradients/{n}/norm")[0][1] ** 2 for n in (
        "0.weight", "0.bias", "2.weight", "2.bias"
    )]  # fmt: skip
    assert place.history(run_id, "gradients/norm")[0][1] == pytest.approx(sum(squares) ** 0.5)
    found = place.read(run_id)
    assert found.step.tolist() == [0, 10, 20, 30]
    assert found.norm[found.keys.index("0.weight")].tolist() == pytest.approx(
        [value for _, value in norms], rel=1e-6
    )
    histograms = place.read(run_id, "parameters", "0.bias")
    assert histograms.counts.sum(axis=1).tolist() == [8] * 4
    # A training that begins again at a checkpoint goes on from the run's own steps.
    place.train(f"""
with mlflow.start_run(run_id={run_id!r}):
    mlflow_weir.rewind({run_id!r}, 20)
    mlflow_weir.watch(model, log_freq=10)
    for i in range(21, 42):
        mlflow.log_metric("loss", step(), step=i)
""")
    assert [at for at, _ in place.history(run_id, "gradients/norm")] == [0, 10, 20, 21, 31, 41]
    assert place.read(run_id).step.tolist() == [0, 10, 20, 21, 31, 41]
    assert place.read(run_id, "parameters").step.tolist() == [0, 10, 20]


def test_a_run_goes_on_where_it_was_after_one_within_it_and_beside_a_forked_child(
    place: Place,
) -> None:
    (outer, inner), err = place.train("""
with mlflow.start_run() as run:
    print(run.info.run_id, flush=True)
    mlflow_weir.watch(model, log_freq=2)
    for i in range(4):
        step()
    child = os.fork()
    if not child:
        for i in range(4):
            step()
        os._exit(0)
    os.waitpid(child, 0)
    with mlflow.start_run(nested=True) as within:
        print(within.info.run_id, flush=True)
        for i in range(4):
            step()
    for i in range(4):
        step()
""")
    # After step 2 the next one: how many there were within the other run is not this one's.
    assert [at for at, _ in place.history(outer, "gradients/norm")] == [0, 2, 3, 5]
    assert [at for at, _ in place.history(inner, "gradients/norm")] == [0, 2]
    assert "watch logs nothing: no run is active where the optimizer steps" in err


def test_not_a_number_is_said_once(place: Place) -> None:
    (run_id, quiet_id), err = place.train("""
with mlflow.start_run() as run:
    print(run.info.run_id)
    mlflow_weir.watch(model, log_freq=1)
    step()
    step(float("nan"))
    step()
with mlflow.start_run() as run:
    print(run.info.run_id)
    mlflow_weir.watch(model, log_freq=1, alert=False)
    step()
""")
    tag = MlflowClient(place.uri).get_run(run_id).data.tags["weir.nan"]
    expected = "gradients of 0.weight at step 1: 32 NaN, 0 infinite of 32 values, and so 3 others"
    assert tag == expected
    assert err.count(tag) == 1
    with sqlite3.connect(place.folder / "store" / "weir.db") as database:
        alerts = database.execute("SELECT run_uuid, level, title, text FROM weir_alert").fetchall()
    assert alerts == [(run_id, "error", "NaN or infinite gradients", tag)]
    assert place.history(run_id, "gradients/0.bias/nan") == [(1, 8.0), (2, 8.0)]
    assert place.history(run_id, "gradients/0.bias/norm")[0][0] == 0
    assert len(place.history(run_id, "gradients/0.bias/norm")) == 1
    assert place.history(run_id, "gradients/nan") == [(0, 0.0), (1, 49.0), (2, 49.0)]
    assert place.read(run_id).n_bad.sum(axis=0).tolist() == [0, 49, 49]
    assert place.history(quiet_id, "gradients/nan") == [(0, 49.0)]
    assert "weir.nan" not in MlflowClient(place.uri).get_run(quiet_id).data.tags
    assert quiet_id not in "".join(line for line in err.splitlines() if "NaN" in line)


def test_a_training_that_raises_keeps_what_it_had(place: Place) -> None:
    process = place.start("""
with mlflow.start_run() as run:
    print(run.info.run_id, flush=True)
    mlflow_weir.watch(model, log_freq=1)
    for i in range(5):
        step()
    raise ValueError("boom")
""")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, "boom" in err) == (1, True)
    place.settle()
    run_id = out.split()[0]
    assert place.read(run_id).step.tolist() == list(range(5))
    assert MlflowClient(place.uri).get_run(run_id).info.status == "FAILED"


@pytest.mark.fault
def test_everything_is_there_once_when_training_and_agent_are_killed(place: Place) -> None:
    process = place.start("""
run = mlflow.start_run()
print(run.info.run_id, flush=True)
mlflow_weir.watch(model, log_freq=1)
while True:
    step()
    print(optimizer.state_dict()["param_groups"][0]["lr"], flush=True)
""")
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    for i in range(200):
        assert process.stdout.readline()
        if i in (50, 120):
            kill_agents(Spool(place.spool))
    process.kill()
    rest, _ = last_words(process)
    place.settle()
    found = place.read(run_id, key="0.weight")
    n_steps = 200 + rest.count("\n")
    assert found.step.tolist()[:n_steps] == list(range(n_steps))
    assert len(found) - n_steps in (0, 1)  # one was logged and not yet printed
    points = place.history(run_id, "gradients/norm")
    assert [at for at, _ in points] == list(range(len(points)))
    assert abs(len(points) - len(found)) <= 1
    with sqlite3.connect(place.folder / "store" / "weir.db") as connection:
        rows = connection.execute("SELECT count(*) FROM weir_histogram WHERE form = 0").fetchone()
    assert rows[0] < 128


def test_what_it_says_where_it_can_log_nothing(place: Place) -> None:
    (run_id,), err = place.train("""
mlflow_weir.watch(model, log_freq=1)
for _ in range(3):
    step()
with mlflow.start_run():
    step()
mlflow_weir.unwatch()
os.environ["WEIR_CAPTURE_GRADIENTS"] = "off"
with mlflow.start_run() as run:
    print(run.info.run_id)
    mlflow_weir.watch(model, log_freq=1)
    step()
""")
    assert err.count("mlflow_weir.watch logs nothing: no run is active") == 1
    assert err.count("mlflow_weir.watch") == 1
    assert place.history(run_id, "gradients/norm") == []
    _, err = place.train(
        """
with mlflow.start_run() as run:
    mlflow_weir.watch(model, log_freq=1)
    step(); step()
""",
        WEIR_CLIENT="off",
    )
    assert err.count("mlflow_weir.watch logs nothing: the tracking store") == 1


def test_mistakes_are_raised_by_the_call() -> None:
    import mlflow_weir

    model: Any = torch.nn.Linear(1, 1)
    calls: list[dict[str, Any]] = [
        {"model": "a model"},
        {"model": model, "log": "weights"},
        {"model": model, "log_freq": 0},
        {"model": model, "log_freq": 1.5},
        {"model": model, "log_freq": True},
    ]
    for call in calls:
        with pytest.raises(Exception, match=r"mlflow_weir.watch: '"):
            mlflow_weir.watch(**call)


def test_torch_is_imported_by_who_watches_alone() -> None:
    code = "import sys, mlflow, mlflow_weir; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
