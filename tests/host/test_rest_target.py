"""Delivery to a stock MLflow server, record by record, by a process that is killed all the time.

A real server; the process that delivers is a fork that ends at once after a number of answers, so
that nothing of what it has just learned is written down.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from databases import DatabaseServer
from mlflow_server import ServerSpec, start_servers
from mlflow_weir.errors import LeaseLost, PositionMismatch, RunNotThereYet, StoreUnavailable
from mlflow_weir.frames import frame
from mlflow_weir.plugin.agent import rest_delivery
from mlflow_weir.plugin.agent.rest_target import RestTarget
from mlflow_weir.plugin.agent.server_session import ServerSession
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.store.delivery.records import encode_operation, encode_points
from trainings import NO_JOBS, server_command

pytestmark = pytest.mark.slow


class Session(ServerSession):
    """A session that tells when an answer is there."""

    def __init__(self, uri: str, when_answered: Callable[[str], None] = lambda path: None) -> None:
        super().__init__(Address("http", uri))
        self._when_answered = when_answered

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        answer = super().ask(method, path, body, headers)
        self._when_answered(f"{method} {path.partition('?')[0]}")
        return answer


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("stock")
    url = sqlite_folder.new_mlflow_database()
    with start_servers(ServerSpec(server_command(url), folder, (NO_JOBS,))) as (server,):
        yield server.address


@pytest.fixture
def client(uri: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    return MlflowClient(uri)


def apply(
    target: RestTarget,
    payloads: Sequence[bytes],
    journal_id: str,
    fencing: int = 1,
    start: int = 0,
) -> Any:
    end = start + sum(len(frame(payload)) for payload in payloads)
    return target.apply(journal_id, fencing, start, end, payloads, is_patient=False)


def new_run(run_id: str, experiment_id: str = "0", **fields: Any) -> bytes:
    return encode_operation(
        "create_run",
        {
            "run_id": run_id,
            "experiment_id": experiment_id,
            "experiment_name": None,
            "user_id": "me",
            "start_time": 1_000,
            "tags": [["mlflow.user", "me"]],
            "run_name": "named",
            "artifact_uri": None,
            **fields,
        },
    )


def new_id() -> str:
    return uuid.uuid4().hex


def every_kind(run_id: str, child_id: str, model_id: str, name: str) -> list[bytes]:
    op = encode_operation
    return [
        op(
            "create_experiment",
            {
                "experiment_id": "pending-1",
                "name": name,
                "artifact_location": None,
                "tags": [["e", "1"]],
                "at_ms": 1,
            },
        ),
        new_run(run_id, "pending-1"),
        op("own_run", {"run_id": run_id, "how": "fluent"}),
        op("set_experiment_tag", {"experiment_id": "pending-1", "key": "f", "value": "2"}),
        encode_points(run_id, [("m", 1, step, float(step)) for step in range(1_500)]),
        op("log_params", {"run_id": run_id, "params": [["a", "1"], ["b", "2"]]}),
        op("set_tags", {"run_id": run_id, "tags": [["t", "1"], ["gone", "1"]]}),
        op("delete_tag", {"run_id": run_id, "key": "gone"}),
        op("set_tags", {"run_id": run_id, "tags": [["t", "2"]]}),
        new_run(child_id, "pending-1", tags=[["mlflow.parentRunId", run_id]], run_name="child"),
        op(
            "create_logged_model",
            {
                "model_id": model_id,
                "experiment_id": "pending-1",
                "name": "model",
                "source_run_id": run_id,
                "artifact_location": None,
                "tags": [["mt", "1"]],
                "params": [[f"p{i}", "v"] for i in range(150)],
                "model_type": "net",
                "at_ms": 1,
            },
        ),
        op("log_logged_model_params", {"model_id": model_id, "params": [["late", "1"]]}),
        op("set_logged_model_tags", {"model_id": model_id, "tags": [["x y", "1"], ["z", "1"]]}),
        op("delete_logged_model_tag", {"model_id": model_id, "key": "x y"}),
        op("finalize_logged_model", {"model_id": model_id, "status": "READY", "at_ms": 2}),
        encode_points(run_id, [("score", 5, 0, 0.5)]),
        op(
            "model_metrics",
            {
                "run_id": run_id,
                "metrics": [
                    {
                        "key": "score",
                        "value": 0.5,
                        "timestamp": 5,
                        "step": 0,
                        "model_id": model_id,
                        "dataset_name": None,
                        "dataset_digest": None,
                    }
                ],
            },
        ),
        op(
            "log_inputs",
            {
                "run_id": run_id,
                "datasets": [
                    {
                        "name": "d",
                        "digest": "1",
                        "source_type": "local",
                        "source": "{}",
                        "schema": None,
                        "profile": None,
                        "tags": [["context", "train"]],
                    }
                ],
                "models": [model_id],
            },
        ),
        op("log_outputs", {"run_id": run_id, "models": [[model_id, 3]]}),
        op("points_dropped", {"run_id": run_id, "n": 7}),
        op("points_dropped", {"run_id": run_id, "n": 5}),
        op("exit", {"run_id": run_id, "status": "FAILED", "cause": "why", "details": {}}),
        op(
            "update_run",
            {
                "run_id": child_id,
                "status": "FINISHED",
                "end_time": 9_000,
                "run_name": None,
                "is_provisional": False,
                "is_revival": False,
            },
        ),
    ]


def killed_after(
    n_answers: int, uri: str, spool: Path, payloads: list[bytes], journal_id: str
) -> str:
    """Deliver in a process that dies with an answer in its hands; return which, "" if none."""
    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        n_left = n_answers

        def answered(path: str) -> None:
            nonlocal n_left
            n_left -= 1
            if n_left == 0:
                os.write(tells, path.encode())
                os._exit(9)

        try:
            apply(RestTarget(Session(uri, answered), spool), payloads, journal_id)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the parent's test must not go on here
            os._exit(1)
    os.close(tells)
    with os.fdopen(told) as pipe:
        found = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == (9 if found else 0)
    return found


def test_killed_after_each_answer_it_leaves_everything_once(
    uri: str, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, child_id, model_id = new_id(), new_id(), f"m-{new_id()}"
    name, journal_id = f"killed {run_id}", new_id()
    payloads = every_kind(run_id, child_id, model_id, name)
    # Nothing is written down before the end, so that each try begins with the first record.
    monkeypatch.setattr(rest_delivery, "_SAVE_S", 1e9)
    killed_at: list[str] = []
    while not killed_at or killed_at[-1]:
        n_answers = len(killed_at) + 1
        killed_at.append(killed_after(n_answers, uri, tmp_path, payloads, journal_id))
    print(f"{len(killed_at) - 1} kills:", *killed_at)
    paths = {path.removeprefix("POST /api/2.0/mlflow/") for path in killed_at}
    assert paths >= {
        *("experiments/create", "runs/create", "runs/log-batch", "runs/set-tag"),
        *("runs/delete-tag", "runs/log-inputs", "runs/outputs", "logged-models"),
    }
    state = RestTarget(Session(uri), tmp_path).state(journal_id)
    assert state is not None
    assert (state.n_rejected, state.rejected, state.n_points) == (0, [], 1_501)
    assert state.n_records == len(payloads)

    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    assert experiment.tags["e"] == "1"
    assert experiment.tags["f"] == "2"
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["child", "named"]
    assert len(client.search_runs([experiment.experiment_id])) == 2
    run, child = runs["named"], runs["child"]
    assert run.info.run_id == state.aliases[run_id]
    history = client.get_metric_history(run.info.run_id, "m")
    assert [point.step for point in history] == list(range(1_500))
    assert run.data.params == {"a": "1", "b": "2"}
    tags = {key: run.data.tags.get(key) for key in ("t", "gone", "weir.points_dropped")}
    assert tags == {"t": "2", "gone": None, "weir.points_dropped": "12"}
    assert (run.info.status, run.data.tags["weir.exit_cause"]) == ("FAILED", "why")
    assert child.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert (child.info.status, child.info.end_time) == ("FINISHED", 9_000)
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert (model.name, model.model_type, str(model.status)) == ("model", "net", "READY")
    assert model.source_run_id == run.info.run_id
    assert model.params == {**{f"p{i}": "v" for i in range(150)}, "late": "1"}
    assert (model.tags.get("z"), model.tags.get("x y")) == ("1", None)
    assert [metric.value for metric in model.metrics or ()] == [0.5]
    run = client.get_run(run.info.run_id)  # a search leaves out the models that went in
    assert run.inputs is not None
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["d"]
    assert [one.model_id for one in run.inputs.model_inputs] == [model.model_id]
    assert run.outputs is not None
    assert [(one.model_id, one.step) for one in run.outputs.model_outputs] == [(model.model_id, 3)]


@pytest.mark.long
def test_killed_after_each_answer_it_ends_a_run_as_its_process_ended(
    uri: str, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, journal_id = new_id(), new_id()
    created = apply(RestTarget(Session(uri), tmp_path), [new_run(run_id)], new_id())
    provisional = {"status": "FINISHED", "end_time": 9_000, "run_name": None}
    payloads = [
        encode_operation(
            "update_run",
            {"run_id": run_id, **provisional, "is_provisional": True, "is_revival": False},
        ),
        encode_operation(
            "exit", {"run_id": run_id, "status": "FAILED", "cause": "exit code 3", "details": {}}
        ),
    ]
    monkeypatch.setattr(rest_delivery, "_SAVE_S", 1e9)
    killed_at: list[str] = []
    while not killed_at or killed_at[-1]:
        n_answers = len(killed_at) + 1
        killed_at.append(killed_after(n_answers, uri, tmp_path, payloads, journal_id))
    assert sum(path.endswith("runs/update") for path in killed_at) == 2, killed_at
    run = client.get_run(created.aliases[run_id])
    assert (run.info.status, run.info.end_time) == ("FAILED", 9_000)
    assert run.data.tags["weir.exit_cause"] == "exit code 3"


def test_a_run_that_was_marked_as_being_preempted_says_so(
    uri: str, client: MlflowClient, tmp_path: Path
) -> None:
    run_id = new_id()
    ends = {"status": "FAILED", "cause": "exit code 1", "details": {"end_time": 5_000}}
    outcome = apply(
        RestTarget(Session(uri), tmp_path),
        [
            new_run(run_id, tags=[["weir.preempting", "1"]]),
            encode_operation("exit", {"run_id": run_id, **ends}),
        ],
        new_id(),
    )
    run = client.get_run(outcome.aliases[run_id])
    assert (run.info.status, run.info.end_time) == ("KILLED", 5_000)
    assert run.data.tags["weir.exit_cause"] == "preempted (exit code 1)"
    assert "weir.preempting" not in run.data.tags


def test_what_is_refused_is_refused_alone(uri: str, client: MlflowClient, tmp_path: Path) -> None:
    run_id, lost_id = new_id(), new_id()
    outcome = apply(
        RestTarget(Session(uri), tmp_path),
        [
            new_run(run_id),
            b"nonsense",
            encode_operation("log_params", {"run_id": run_id, "params": [["a", "1"], ["b", "1"]]}),
            encode_operation("log_params", {"run_id": run_id, "params": [["a", "2"], ["c", "1"]]}),
            encode_operation("log_params", {"run_id": run_id, "params": "none"}),
            encode_points(run_id, [("good", 1, 1, 1.0), ("b\nd", 1, 1, 1.0), ("fine", 1, 1, 1.0)]),
            encode_points(lost_id, [("m", 1, 1, 1.0)]),
            encode_operation("delete_tag", {"run_id": lost_id, "key": "none"}),
            b'O["of_a_newer_version",{"run_id":"x"}]',
            encode_operation("set_tags", {"run_id": run_id, "tags": [["last", "1"]]}),
        ],
        new_id(),
    )
    run = client.get_run(outcome.aliases[run_id])
    assert run.data.params == {"a": "1", "b": "1", "c": "1"}
    assert (run.data.metrics, run.data.tags["last"]) == ({"good": 1.0, "fine": 1.0}, "1")
    assert outcome.n_points == 2
    assert sorted(one.what for one in outcome.rejected) == sorted(
        [
            "a record",
            f"log_params of run {run_id}",
            f"param 'a' of run {run_id}",
            f"points of metric 'b\\nd' of run {run_id}",
            f"points of metric 'm' of run {lost_id}",
            f"delete_tag of run {lost_id}",
            "of_a_newer_version of run x",
        ]
    )
    reasons = {one.what: one.reason for one in outcome.rejected}
    assert "Changing param values is not allowed" in reasons[f"param 'a' of run {run_id}"]


def test_a_run_of_another_journal_is_waited_for_once(
    uri: str, client: MlflowClient, tmp_path: Path
) -> None:
    run_id, theirs, ours = new_id(), new_id(), new_id()
    target = RestTarget(Session(uri), tmp_path)
    payload = encode_points(run_id, [("m", 1, 1, 1.0)])
    end = len(frame(payload))
    with pytest.raises(RunNotThereYet):
        target.apply(ours, 1, 0, end, [payload], is_patient=True)
    created = apply(target, [new_run(run_id)], theirs)
    outcome = target.apply(ours, 1, 0, end, [payload], is_patient=True)
    assert outcome.aliases[run_id] == created.aliases[run_id]
    assert client.get_run(created.aliases[run_id]).data.metrics == {"m": 1.0}


def test_positions_and_fencing_are_kept_across_processes(uri: str, tmp_path: Path) -> None:
    journal_id, run_id = new_id(), new_id()
    first = RestTarget(Session(uri), tmp_path)
    payloads = [new_run(run_id)]
    end = apply(first, payloads, journal_id, fencing=5).position
    again = apply(RestTarget(Session(uri), tmp_path), payloads, journal_id, fencing=5)
    assert (again.was_applied, again.position) == (True, end)
    other = RestTarget(Session(uri), tmp_path)
    with pytest.raises(LeaseLost):
        apply(other, payloads, journal_id, fencing=4, start=end)
    with pytest.raises(PositionMismatch):
        apply(other, payloads, journal_id, fencing=6, start=end + 1)
    (file,) = (tmp_path / "rest").glob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_server_that_goes_away_in_the_middle_gets_the_rest_later(
    uri: str, client: MlflowClient, tmp_path: Path
) -> None:
    run_id, journal_id = new_id(), new_id()
    payloads = [
        new_run(run_id),
        *(encode_points(run_id, [("m", 1, step, 1.0)]) for step in range(2_500)),
        encode_operation("log_params", {"run_id": run_id, "params": [["b\nd", "1"]]}),
    ]
    asked: list[str] = []

    def answered(path: str) -> None:
        asked.append(path)
        if asked.count("POST /api/2.0/mlflow/runs/log-batch") == 2:
            raise StoreUnavailable("gone")

    session = Session(uri, answered)
    target = RestTarget(session, tmp_path)
    with pytest.raises(StoreUnavailable):
        apply(target, payloads, journal_id)
    outcome = apply(target, payloads, journal_id)
    assert (outcome.n_points, len(outcome.rejected)) == (2_500, 1)
    assert asked.count("POST /api/2.0/mlflow/runs/create") == 1
    history = client.get_metric_history(outcome.aliases[run_id], "m")
    assert len(history) == 2_500
