"""The pytest plugin that runs MLflow's own tests on a chosen store and database.

``run.py`` loads it (``-p suite_plugin``) and says in the environment what to run on:

* ``WEIR_SUITE_STORE``: ``stock``, or ``weir``: MLflow's two SQL store classes are replaced by ours
  where tests import them from, before any test module is imported, and the server of the REST
  tests gets a URI with ``weir`` in it, so that it takes the way of every user; or ``journal``: no
  class is replaced, but tracking URIs lead to the stores of a training process
  (``journal_mode.py``);
* ``WEIR_SUITE_DATABASE``: ``sqlite``, ``postgresql`` or ``mariadb``: each test gets a database of
  its own there, with MLflow's tables in it, through the suite's fixture ``db_uri`` and, but for
  SQLite, through ``MLFLOW_TRACKING_URI``, as the suite's store fixtures take it;
* ``WEIR_SUITE_OUTCOMES``: the file that gets what came of each test, as JSON.

``run.py`` appends an import of ``db_uri`` to its copy of the suite's conftest.py: a plugin's
fixture alone would lose against the one that is defined there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from databases import DatabaseServer

STORE = os.environ["WEIR_SUITE_STORE"]
DATABASE = os.environ["WEIR_SUITE_DATABASE"]

_SERVERS = {
    "sqlite": "sqlite_folder",
    "postgresql": "postgres_server",
    "mariadb": "mariadb_server",
}
TOLD = "weir"
"""Name of the property of a report that says what the store refused, or was not delivered."""

_outcomes: dict[str, list[str]] = {}

if STORE == "journal":  # imports what a process has that journals, and no other
    import journal_mode


def pytest_configure(config: pytest.Config) -> None:
    # The suite's tests of async functions skip or fail without pytest-asyncio, on both stores.
    config.addinivalue_line("markers", "asyncio: a test function that is a coroutine")
    if STORE == "weir":
        _swap_stores()
    elif STORE == "journal":
        journal_mode.begin()


def _swap_stores() -> None:
    """Let the names that test modules import mean our stores."""
    import mlflow.store.tracking.sqlalchemy_store as plain
    import mlflow.store.tracking.sqlalchemy_workspace_store as workspace_aware

    from mlflow_weir.store import tracking_store

    plain.SqlAlchemyStore = tracking_store.WeirStore  # type: ignore[misc]
    workspace_aware.WorkspaceAwareSqlAlchemyStore = (  # type: ignore[misc]
        tracking_store.WorkspaceAwareWeirStore
    )


@pytest.fixture
def db_uri(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give a database of the chosen kind with MLflow's tables in it."""
    server: DatabaseServer = request.getfixturevalue(_SERVERS[DATABASE])
    url = server.new_mlflow_database()
    if DATABASE != "sqlite":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    is_server = request.node.path.name == "test_rest_tracking.py"
    if STORE == "journal" or (STORE == "weir" and is_server):
        dialect, rest = url.split(":", 1)
        url = f"{dialect.split('+')[0]}+weir:{rest}"
    yield url
    server.drop_all()


@pytest.fixture(autouse=True)
def no_inference(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests of autologging what takes nine tenths of their time, on both stores.

    For each model that it logs MLflow starts a process, imports the library there and runs the
    model, to see which packages it needs.
    """
    if "autolog" in request.node.path.name:
        import mlflow.models

        monkeypatch.setattr(mlflow.models, "infer_pip_requirements", _default_requirements)


def _default_requirements(
    model_uri: str, flavor: str, fallback: list[str] | None = None, **_: Any
) -> list[str]:
    return fallback or []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Let the agent have all before the test's database goes, and tell what it could not do."""
    if STORE != "journal":
        return (yield)
    item.user_properties += [(TOLD, what) for what in journal_mode.deliver()]
    result = yield
    # A run that the fixtures ended.
    item.user_properties += [(TOLD, what) for what in journal_mode.deliver()]
    return result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    known = _outcomes.get(report.nodeid)
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        reason = str(crash.message if crash is not None else report.longrepr)
        _outcomes[report.nodeid] = ["failed", reason[:2000]]
    elif report.skipped and known is None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _outcomes[report.nodeid] = ["skipped", getattr(report, "wasxfail", "") or reason]
    elif report.when == "call" and known is None:
        _outcomes[report.nodeid] = ["passed", ""]
    told = [str(what) for name, what in report.user_properties if name == TOLD]
    if report.when == "teardown" and told and _outcomes.get(report.nodeid, ("",))[0] == "passed":
        _outcomes[report.nodeid] = ["passed", "; ".join(told)[:2000]]


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _outcomes[report.nodeid] = ["failed", f"not collected: {report.longrepr}"[:2000]]


def pytest_sessionfinish(session: Any) -> None:
    if STORE == "journal":
        journal_mode.end()
    if not hasattr(session.config, "workerinput"):  # a worker of pytest-xdist reports to this one
        Path(os.environ["WEIR_SUITE_OUTCOMES"]).write_text(json.dumps(_outcomes, indent=0))
