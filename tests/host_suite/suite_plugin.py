"""The pytest plugin that runs MLflow's own tests on a chosen store and database.

``run.py`` loads it (``-p suite_plugin``) and says in the environment what to run on:

* ``WEIR_SUITE_STORE``: ``stock``, or ``weir``: MLflow's two SQL store classes are replaced by ours
  where tests import them from, before any test module is imported, and the server of the REST
  tests gets a URI with ``weir`` in it, so that it takes the way of every user;
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
_outcomes: dict[str, list[str]] = {}


def pytest_configure(config: pytest.Config) -> None:
    # The suite's tests of async functions skip or fail without pytest-asyncio, on both stores.
    config.addinivalue_line("markers", "asyncio: a test function that is a coroutine")
    if STORE == "weir":
        _swap_stores()


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
    if STORE == "weir" and request.node.path.name == "test_rest_tracking.py":
        dialect, rest = url.split(":", 1)
        url = f"{dialect.split('+')[0]}+weir:{rest}"
    yield url
    server.drop_all()


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


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _outcomes[report.nodeid] = ["failed", f"not collected: {report.longrepr}"[:2000]]


def pytest_sessionfinish(session: Any) -> None:
    if not hasattr(session.config, "workerinput"):  # a worker of pytest-xdist reports to this one
        Path(os.environ["WEIR_SUITE_OUTCOMES"]).write_text(json.dumps(_outcomes, indent=0))
