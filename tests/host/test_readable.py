"""Which runs and experiments a request may read, on a real store; MLflow's answers are scripted.

Who MLflow itself lets in, by users and workspaces, is asked of real servers in
``tests/security/test_routes.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import flask
import pytest
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.utils.workspace_context import WorkspaceContext
from werkzeug.exceptions import HTTPException

from databases import DatabaseServer
from mlflow_weir.store.tracking_store import WeirStore, WorkspaceAwareWeirStore
from mlflow_weir.ui_extensions import access, mlflow_private, readable

NEVER_USED = "f" * 32


class Asked(access.Access):
    """Lets everybody read but what is denied, and keeps the questions."""

    def __init__(self, *denied: str) -> None:
        super().__init__()
        self.denied = denied
        self.questions: list[str] = []

    def may_read_experiment(self, experiment_id: str) -> bool:
        self.questions.append(experiment_id)
        return experiment_id not in self.denied


@pytest.fixture(scope="module")
def database(sqlite_folder: DatabaseServer) -> str:
    return sqlite_folder.new_mlflow_database()


@pytest.fixture
def store(database: str, tmp_path: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeirStore]:
    found = WeirStore(database, str(tmp_path))
    monkeypatch.setattr(mlflow_private, "tracking_store", lambda: found)
    with flask.Flask("asked").test_request_context():
        yield found


def new_runs(store: WeirStore, experiment_id: str, n: int) -> list[str]:
    return [
        store.create_run(experiment_id, "tester", 1, [], f"run {at}").info.run_id
        for at in range(n)
    ]


def refused(exc: pytest.ExceptionInfo[HTTPException]) -> tuple[int, str]:
    response = exc.value.response
    assert isinstance(response, flask.Response)
    return response.status_code, response.get_json()["error"]


def test_mlflow_is_asked_once_an_experiment_and_runs_keep_their_order(store: WeirStore) -> None:
    one, other = store.create_experiment("a"), store.create_experiment("b")
    mixed = [
        run
        for pair in zip(new_runs(store, one, 300), new_runs(store, other, 300), strict=True)
        for run in pair
    ]
    caller = Asked()
    found = readable.require_readable_runs([*mixed, mixed[0]], caller)
    assert list(found) == mixed
    assert [found[run] for run in mixed[:2]] == [one, other]
    assert sorted(caller.questions) == sorted([one, other])


def test_what_may_not_be_seen_is_refused_as_what_is_not_there(store: WeirStore) -> None:
    hidden, shown = store.create_experiment("hidden"), store.create_experiment("shown")
    (secret,), (open_run,) = new_runs(store, hidden, 1), new_runs(store, shown, 1)
    answers = []
    for run_id in (secret, NEVER_USED):
        with pytest.raises(HTTPException) as exc:
            readable.require_readable_runs([open_run, run_id], Asked(hidden))
        status, error = refused(exc)
        answers.append((status, error.replace(run_id, "ID")))
    assert answers == [(404, "run ID does not exist")] * 2
    found = readable.readable_runs([open_run, secret, NEVER_USED], Asked(hidden))
    assert found == {open_run: shown}

    answers = []
    for experiment_id in (hidden, "987654321"):
        with pytest.raises(HTTPException) as exc:
            readable.require_readable_experiments([shown, experiment_id], Asked(hidden))
        status, error = refused(exc)
        answers.append((status, error.replace(experiment_id, "ID")))
    assert answers == [(404, "experiment ID does not exist")] * 2
    assert readable.require_readable_experiments([f"00{shown}", shown], Asked()) == [shown]


def test_what_is_deleted_can_be_read_until_it_is_removed(store: WeirStore) -> None:
    experiment_id = store.create_experiment("to be deleted")
    run_id, other = new_runs(store, experiment_id, 2)
    store.delete_run(run_id)
    assert readable.require_readable_runs([run_id], Asked()) == {run_id: experiment_id}
    store.delete_experiment(experiment_id)
    assert readable.require_readable_experiments([experiment_id], Asked()) == [experiment_id]
    assert readable.require_readable_runs([other], Asked()) == {other: experiment_id}
    store._hard_delete_run(run_id)
    assert readable.readable_runs([run_id], Asked()) == {}


def test_runs_of_another_workspace_are_not_there(
    sqlite_folder: DatabaseServer, tmp_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    store = WorkspaceAwareWeirStore(sqlite_folder.new_mlflow_database(), str(tmp_path))
    monkeypatch.setattr(mlflow_private, "tracking_store", lambda: store)
    with WorkspaceContext("team-a"):
        experiment_id = store.create_experiment("in a")
        run_id = store.create_run(experiment_id, "tester", 1, [], "r").info.run_id
    for workspace, expected in (("team-a", {run_id: experiment_id}), ("team-b", {})):
        monkeypatch.setattr(mlflow_private, "request_workspace", lambda name=workspace: name)
        with flask.Flask("asked").test_request_context():
            caller = Asked()
            assert readable.readable_runs([run_id], caller) == expected
            if not expected:
                assert caller.questions == []
                with pytest.raises(HTTPException):
                    readable.require_readable_experiments([experiment_id], caller)
            else:
                assert readable.require_readable_experiments([experiment_id], caller)


@pytest.mark.parametrize("bad", ["", "A" * 32, "g" * 32, "0" * 31, "0" * 33, f"{'0' * 32}\n", "'"])
def test_ids_that_are_none_are_refused(store: WeirStore, bad: str) -> None:
    with pytest.raises(HTTPException) as exc:
        readable.readable_runs([bad], Asked())
    assert refused(exc)[0] == 400
    with pytest.raises(HTTPException) as exc:
        readable.require_readable_experiments([f"{bad}x"], Asked())
    assert refused(exc)[0] == 400


def test_more_than_a_request_may_name_is_said_in_words(
    store: WeirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readable, "MAX_RUNS", 2)
    monkeypatch.setattr(readable, "MAX_EXPERIMENTS", 2)
    with pytest.raises(HTTPException) as exc:
        readable.readable_runs([NEVER_USED] * 3, Asked())
    assert refused(exc) == (413, "3 runs, at most 2 at once")
    with pytest.raises(HTTPException) as exc:
        readable.require_readable_experiments(["1", "2", "3"], Asked())
    assert refused(exc) == (413, "3 experiments, at most 2 at once")
    monkeypatch.setattr(readable, "MAX_RUNS", 10)
    runs = [
        run for at in range(3) for run in new_runs(store, store.create_experiment(f"m{at}"), 1)
    ]
    with pytest.raises(HTTPException) as exc:
        readable.readable_runs(runs, Asked())
    assert refused(exc) == (413, "runs of 3 experiments, at most 2 at once")
