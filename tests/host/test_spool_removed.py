"""Somebody cleans up, and the spool goes while trainings write into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import DatabaseServer
from trainings import Place, Training, begin, with_weir

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

SAID = "was removed, and is put back"
REMOVE = """
import pathlib, shutil
import mlflow_weir
spool = pathlib.Path(os.environ["WEIR_SPOOL"])

def remove():
    while spool.exists():  # others may put something back meanwhile
        shutil.rmtree(spool, ignore_errors=True)
"""


@pytest.fixture
def training(tmp_path: Path, sqlite_folder: DatabaseServer) -> Iterator[Training]:
    yield from begin(tmp_path, Place(with_weir(sqlite_folder.new_mlflow_database()), {}))


def steps(training: Training, run_id: str, key: str = "loss") -> list[int]:
    return [one.step for one in training.client().get_metric_history(run_id, key)]


@pytest.mark.parametrize("when", ["delivered", "waiting"])
def test_nothing_is_lost_with_the_spool(training: Training, when: str) -> None:
    """With an agent that lives and has delivered, and before any has; captures are on."""
    code, out, err = training.outcome_of_new(
        REMOVE
        + """
with mlflow.start_run() as run:
    for step in range(100): mlflow.log_metric("loss", step, step=step)
    print("before it goes")
    if sys.argv[1] == "delivered": assert mlflow_weir.finish()
    remove()
    print("while it is gone")
    step, give_up = 100, time.monotonic() + 120
    while not list(spool.glob("journals/" + "[0-9a-f]" * 32)):
        assert time.monotonic() < give_up
        mlflow.log_metric("loss", step, step=step)
        step += 1
        time.sleep(0.05)
    mlflow.log_param("lr", 0.1)
    assert mlflow_weir.finish()
    print("put back")
    if sys.argv[1] == "delivered":
        while not any(key.startswith("system/") for key in
                      mlflow.MlflowClient().get_run(run.info.run_id).data.metrics):
            assert time.monotonic() < give_up  # the next agent samples the machine again
            time.sleep(0.2)
print(run.info.run_id, step)
""",
        when,
        WEIR_CAPTURE="on",
        WEIR_HARDWARE_INTERVAL_SECONDS="0.5",
    )
    assert code == 0, err
    run_id, n = out.split()[-2:]
    run = training.run_named(run_id)
    assert steps(training, run_id) == list(range(int(n)))
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.1"})
    assert "weir.exit_cause" not in run.data.tags
    assert err.count(SAID) == 1
    printed = training.weir("logs", run_id).stdout
    lines = [line for line in printed.splitlines() if not line.startswith("weir: ")]
    assert lines == ["before it goes", "while it is gone", "put back"]


def test_a_spool_that_goes_at_the_very_end_takes_nothing_along(training: Training) -> None:
    code, out, err = training.outcome_of_new(
        REMOVE
        + """
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0, step=0)
    assert mlflow_weir.finish()
    remove()
    mlflow.log_metric("loss", 1, step=1)
print(run.info.run_id)
"""
    )
    assert code == 0, err
    run = training.run_named(out.split()[-1])
    assert steps(training, run.info.run_id) == [0, 1]
    assert run.info.status == "FINISHED"
    assert err.count(SAID) == 1


def test_a_part_that_nobody_can_bring_back_is_told(training: Training) -> None:
    """Records of an earlier segment that no agent had delivered when the spool went."""
    out = training.run_new(
        REMOVE
        + """
import mlflow_weir.plugin.journal.format as layout
from mlflow_weir.plugin.agent import client
layout.SEGMENT_BYTES = 4096
with mlflow.start_run() as run:
    assert mlflow_weir.finish()
    client.ensure_agent = lambda spool: None  # and no agent from here on
    client.nudge(spool, client.STOP)
    while client.is_alive(spool): time.sleep(0.05)
    for step in range(1000): mlflow.log_metric("loss", step, step=step)
    remove()
    mlflow.log_metric("loss", 1000, step=1000)
    mlflow_weir.finish(timeout_s=0)
print(run.info.run_id)
os._exit(0)
"""
    )
    run = training.run_named(out.split()[-1])
    found = steps(training, run.info.run_id)
    assert found == list(range(found[0], 1001))
    assert 0 < found[0] < 1000
