"""A server whose workers and whose database are killed while journals are delivered to it."""

from __future__ import annotations

import http.client
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient

from databases import CrashingPostgres, MissingComponent, run_crashing_postgres
from mlflow_server import ServerProcess, ServerSpec, start_servers
from senders import Answer, Sender, create_run, new_id, points

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    # MLflow warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

N_KILLS = 4
PATIENCE_S = 120.0
POINTS_A_DELIVERY = 100


class Place(NamedTuple):
    """A server with two workers on a database of its own."""

    server: ServerProcess
    postgres: CrashingPostgres


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    try:
        with run_crashing_postgres(Path(tempfile.gettempdir())) as postgres:
            uri = postgres.new_mlflow_database().replace("+psycopg:", "+weir:")
            variables = (("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),)
            arguments = ["server", "--backend-store-uri", uri]
            with start_servers(ServerSpec(arguments, tmp_path, variables, 2)) as (server,):
                yield Place(server, postgres)
    except MissingComponent as missing:
        if os.environ.get("WEIR_REQUIRE_COMPONENTS") == "1":
            pytest.fail(f"missing component: {missing}")
        pytest.skip(f"missing component: {missing}")


class Delivering(threading.Thread):
    """Delivers a journal that grows, and asks again until it is answered."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__(name="delivering", daemon=True)
        self.sender = Sender(server)
        self.run_id = new_id()
        self.n_points = 0
        self.n_unanswered = 0
        self.odd: list[Answer] = []
        self.asked_to_stop = threading.Event()

    def run(self) -> None:
        self._deliver(create_run(self.run_id))
        while not self.asked_to_stop.is_set():
            step = self.n_points
            self._deliver(*points(self.run_id, "loss", [0.5] * POINTS_A_DELIVERY, step))
            self.n_points += POINTS_A_DELIVERY

    def _deliver(self, *records: bytes) -> None:
        request = self.sender.request(records)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = self.sender.post(*request)
            except (OSError, http.client.HTTPException):
                self.n_unanswered += 1
                time.sleep(0.05)
                continue
            if answer.status == 200 and not answer.body["rejected"]:
                self.sender.position = answer.body["position"]
                return
            if answer.status == 503:
                time.sleep(0.05)
                continue
            self.odd.append(answer)
            return
        raise AssertionError("nobody answered")


def workers_of(server: ServerProcess) -> list[int]:
    """Return the processes that listen on the server's port and are nobody's parent."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            folder = os.readlink(path / "cwd")
        except OSError:
            continue
        if folder == str(server.folder) and any(b"spawn_main" in word for word in words):
            found.append(int(path.name))
    return found


@pytest.mark.timeout(400)
def test_nothing_is_lost_or_counted_twice(place: Place) -> None:
    delivering = Delivering(place.server)
    delivering.start()
    chance = random.Random(3)
    try:
        for number in range(N_KILLS):
            before = delivering.n_points
            deadline = time.monotonic() + PATIENCE_S
            while delivering.n_points < before + 3 * POINTS_A_DELIVERY:
                assert time.monotonic() < deadline, place.server.output()[-3000:]
                assert delivering.is_alive()
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.05))  # to be anywhere in a delivery
            if number % 2:
                workers = workers_of(place.server)
                assert workers
                os.kill(chance.choice(workers), signal.SIGKILL)
            else:
                place.postgres.kill()
                time.sleep(0.5)  # deliveries meet a database that is away
                place.postgres.start()
    finally:
        delivering.asked_to_stop.set()
        delivering.join(PATIENCE_S)
    assert delivering.odd == []
    history = MlflowClient(place.server.address).get_metric_history(delivering.run_id, "loss")
    assert [point.step for point in history] == list(range(delivering.n_points))
