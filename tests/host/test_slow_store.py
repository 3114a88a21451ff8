"""A store that is too slow to wait for while a run begins, and is asked directly afterwards.

What began without it has names of the process's own: experiment ``pending-…``, artifact root
``weir-pending:…``. None of them may get to the store or its registry, and none of them stays once
the store has given its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import DatabaseServer
from mlflow_server import ServerSpec, free_port, start_servers
from trainings import NO_JOBS, Place, Training, begin, server_command, with_weir

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

# A store that does not answer, until it is told to go on: a server's processes, or a locked file.
SLOW = """
import signal, sqlite3, threading
client = mlflow.MlflowClient()
group, path = int(sys.argv[1]), sys.argv[2]

def hold():
    global lock
    if group:
        return os.killpg(group, signal.SIGSTOP)
    lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")

def let_go():
    if group:
        return os.killpg(group, signal.SIGCONT)
    lock.execute("ROLLBACK")
    lock.close()

def soon(seconds=1.0):  # while the call that follows waits
    threading.Timer(seconds, let_go).start()

client.create_registered_model("net")
mlflow.set_experiment("there before")
"""
BEGIN = """
hold()
experiment = mlflow.set_experiment("slow")
assert experiment.experiment_id.startswith("pending-"), experiment
with mlflow.start_run() as run:
    run_id = run.info.run_id
    assert run.info.artifact_uri == f"weir-pending:{run_id}"
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("hello", "a.txt")
    model = mlflow.initialize_logged_model(name="weights")
    mlflow.finalize_logged_model(model.model_id, "READY")
"""


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> Iterator[dict[str, Place]]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("weir", "stock")}
    urls = {name: sqlite_folder.new_mlflow_database() for name in ("weir", "stock", "file")}
    specs = [
        ServerSpec(server_command(with_weir(urls["weir"])), folders["weir"], (NO_JOBS,)),
        ServerSpec(server_command(urls["stock"]), folders["stock"], (NO_JOBS,)),
    ]
    with start_servers(*specs) as (weir, stock):
        yield {
            "weir": Place(weir.address, {}, weir.group),
            "stock": Place(stock.address, {"WEIR_CLIENT": "on"}, stock.group),
            "file": Place(with_weir(urls["file"]), {}),
        }


@pytest.fixture(params=["weir", "stock", pytest.param("file", marks=pytest.mark.long)])
def training(
    request: pytest.FixtureRequest, tmp_path: Path, places: dict[str, Place]
) -> Iterator[Training]:
    place = places[request.param]
    yield from begin(tmp_path, place)
    if place.group:
        os.killpg(place.group, signal.SIGCONT)  # should the script have died


def test_what_names_a_pending_run_is_asked_once_it_is_there(training: Training) -> None:
    """The registry and the store, with names that a slow store has not given yet."""
    ask = """
if group:  # who reads a file that is locked waits for nobody
    hold()
    soon(4.0)  # longer than the beginning of a run waits
    try:
        client.get_run("f" * 32)
    except mlflow.MlflowException as exc:
        assert exc.error_code == "RESOURCE_DOES_NOT_EXIST", exc
    else:
        raise AssertionError
"""
    script = """
# The registry has to wait: it must not be told of "weir-pending:".
soon()
version = client.create_model_version("net", f"{run.info.artifact_uri}/model", run_id)
assert "weir-pending:" not in version.source, version.source
assert version.source == f"{run.info.artifact_uri}/model"
weights = mlflow.register_model(f"models:/{model.model_id}", "net")
assert int(weights.version) == int(version.version) + 1

# The names are the store's now, also on what was given out before.
there = client.get_experiment_by_name("slow")
assert there.experiment_id.isdigit() and "pending:" not in there.artifact_location
assert run.info.experiment_id == there.experiment_id
assert run.info.artifact_uri.startswith(there.artifact_location)
assert client.get_run(run_id).info.artifact_uri == run.info.artifact_uri
assert client.get_experiment(experiment.experiment_id).experiment_id == there.experiment_id
assert client.get_logged_model(model.model_id).artifact_location.startswith(
    there.artifact_location
)

# And those of before are understood.
found = client.search_runs([experiment.experiment_id], "metrics.loss > 0")
assert [one.info.artifact_uri for one in found] == [run.info.artifact_uri]
import mlflow_weir
assert group or mlflow_weir.finish()  # MLflow reads a folder of this machine by itself
assert [one.path for one in client.list_artifacts(run_id)] == ["a.txt"]
client.set_experiment_tag(experiment.experiment_id, "owner", "me")
client.rename_experiment(experiment.experiment_id, "renamed")
there = client.get_experiment(experiment.experiment_id)
assert (there.name, there.tags["owner"]) == ("renamed", "me")

# What changes a run or an experiment that is pending waits for it as well.
hold()
experiment = mlflow.set_experiment("gone")
with mlflow.start_run() as run: pass
soon()
client.delete_run(run.info.run_id)
assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"

hold()
experiment = mlflow.set_experiment("and back")
assert experiment.experiment_id.startswith("pending-")
soon()
client.delete_experiment(experiment.experiment_id)
there = client.get_experiment_by_name("and back")
assert there.lifecycle_stage == "deleted"
client.restore_experiment(experiment.experiment_id)
assert client.get_experiment(experiment.experiment_id).lifecycle_stage == "active"
"""
    place = training.place
    training.run(SLOW + ask + BEGIN + script, str(place.group), place.uri.partition(":///")[2])


def test_a_store_that_stays_away_is_told_of_in_words(tmp_path: Path) -> None:
    place = Place(f"http://127.0.0.1:{free_port()}", {"WEIR_EXIT_WAIT_SECONDS": "0.1"})
    for training in begin(tmp_path, place):
        out = training.run("""
from mlflow.exceptions import MlflowException
client = mlflow.MlflowClient()
mlflow.set_experiment("away")
with mlflow.start_run() as run:
    pass
calls = [
    lambda: client.create_model_version("net", run.info.artifact_uri, run.info.run_id),
    lambda: client.delete_run(run.info.run_id),
]
for call in calls:
    try:
        call()
    except MlflowException as exc:
        print(exc.error_code, exc)
assert mlflow.search_runs([run.info.experiment_id]).run_id.tolist() == [run.info.run_id]
""")
        said = [line for line in out.splitlines() if line.startswith("TEMPORARILY_UNAVAILABLE ")]
        assert len(said) == 2, out
        for line in said:
            assert "begun while the store was away" in line
            assert "`weir status`" in line
