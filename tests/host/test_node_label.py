"""Machines of one job are told apart by a label, also in containers that share a host name."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import wait_until
from databases import DatabaseServer
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.store.tracking_store import WeirStore
from trainings import Place, Training, with_weir

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

SCRIPT = """
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 1.0)
    print(run.info.run_id, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def training(tmp_path: Path, sqlite_folder: DatabaseServer) -> Iterator[Training]:
    url = sqlite_folder.new_mlflow_database()
    store: Any = WeirStore(url, "/nowhere/artifacts")
    store._dispose_engine()
    made = Training(tmp_path, Place(with_weir(url), {}))
    yield made
    agent.nudge(made.spool, agent.STOP)


def hosts(training: Training) -> set[str]:
    path = training.place.uri.removeprefix("sqlite+weir:///")
    with contextlib.closing(sqlite3.connect(path, timeout=120)) as connection:
        return {row[0] for row in connection.execute("SELECT host FROM weir_heartbeat")}


@pytest.mark.parametrize(
    ("variable", "label", "shown"),
    [("node 3", "node 3", True), ("", os.uname().nodename, False), ("x" * 900, "x" * 255, True)],
    ids=["named", "unnamed", "too long"],
)
def test_the_label_is_in_heartbeats_and_the_status(
    training: Training, variable: str, label: str, shown: bool
) -> None:
    process = training.start(SCRIPT, WEIR_NODE=variable)
    assert process.stdout is not None
    assert process.stdout.readline()
    (journal,) = json.loads(training.weir("status", "--json").stdout)["journals"]
    assert (journal["node"], journal["host"]) == (label, os.uname().nodename)
    assert (f"on node {label}" in training.weir("status").stdout) is shown
    wait_until(lambda: hosts(training) == {label}, "a heartbeat was sent")
    process.kill()
    process.communicate(timeout=300)


def test_two_machines_of_one_name_are_two_owners(training: Training) -> None:
    """What tells processes apart is their journal, which is named by chance."""
    first, second = (training.start(SCRIPT, WEIR_NODE="same") for _ in range(2))
    for process in (first, second):
        assert process.stdout is not None
        assert process.stdout.readline()
    first.kill()
    first.communicate(timeout=300)
    (left,) = wait_until(
        lambda: [
            one
            for one in json.loads(training.weir("status", "--json").stdout)["journals"]
            if one["is_alive"]
        ],
        "one is left",
    )
    assert left["pid"] == second.pid
    second.kill()
    second.communicate(timeout=300)
