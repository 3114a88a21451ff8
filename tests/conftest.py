"""What every test has: the guard's errors made visible, and real database servers.

With ``WEIR_REQUIRE_COMPONENTS=1`` (``.ci/run``) a skip for a missing component is a failure. What
a container does not permit, such as mounting a small disk, or an older MLflow does not have, is a
skip with its reason still.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from mlflow_weir import guard
from warm_python import close_warm_python

pytest_plugins = ["databases", "browser", "nvml", "s3_server"]

# How long an example takes tells of the machine: 0.2 s, the default, is nothing to a busy one.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("here"))  # make test-long: more examples
settings.load_profile("here")

# MLflow sends usage data from a thread in the background, and a test has no business with that.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

MLFLOW_ADDRESSES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_RUN_ID",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
)


@pytest.fixture(autouse=True)
def internal_errors(
    request: pytest.FixtureRequest,
    no_settings_from_outside: None,  # whose end comes after monkeypatch's, which puts back
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[Exception]]:
    """Fail a test during which the guard swallowed anything, unless it says it expects that."""
    seen: list[Exception] = []
    monkeypatch.setattr(guard, "report_internal_error", lambda where, exc: seen.append(exc))
    yield seen
    if seen and request.node.get_closest_marker("expects_internal_errors") is None:
        raise seen[0]


@pytest.fixture(autouse=True)
def no_settings_from_outside(session_spool: Path) -> Iterator[None]:
    """Take our variables and MLflow's addresses out of the environment of every test.

    Journals go to a spool of the test session's own. What a test leaves in the environment goes
    with it: MLflow itself writes there (``set_experiment``: MLFLOW_EXPERIMENT_ID). So does the
    tracking URI, which MLflow's server sets in the process that it is in.
    """
    before = dict(os.environ)
    uri = _tracking_uri()
    for name in before:
        if name.startswith("WEIR_") and name != "WEIR_REQUIRE_COMPONENTS":
            del os.environ[name]
    for name in MLFLOW_ADDRESSES:
        os.environ.pop(name, None)
    os.environ["WEIR_SPOOL"] = str(session_spool)
    os.environ["WEIR_CAPTURE"] = "off"  # but in the tests of captures
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    if _tracking_uri() != uri:
        sys.modules[_TRACKING].__dict__["_tracking_uri"] = uri


_TRACKING = "mlflow.tracking._tracking_service.utils"


def _tracking_uri() -> str | None:
    """Return what this process was told to log to, be it by MLflow's server within it."""
    found: str | None = getattr(sys.modules.get(_TRACKING), "_tracking_uri", None)
    return found


@pytest.fixture(scope="session")
def session_spool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give this test process a spool and an agent of its own, which ends with it."""
    from mlflow_weir.plugin.agent import client

    spool = tmp_path_factory.mktemp("spool")
    yield spool
    close_warm_python()
    client.nudge(spool, client.STOP)
    os.environ["WEIR_EXIT_WAIT_SECONDS"] = "0.1"  # the servers of the tests are gone by then


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store with nothing in it, to be copied."""
    from mlflow_weir.plugin.cli.stores import delivery_address

    folder = tmp_path_factory.mktemp("empty") / "store"
    delivery_address(f"weir://{folder}")
    return folder


@pytest.fixture
def new_store(empty_store: Path, tmp_path: Path) -> Path:
    """Return the folder of a store of the test's own, with nothing in it."""
    return Path(shutil.copytree(empty_store, tmp_path / "store"))


def _fail_on_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip for want of a component into a failure where all have to be there."""
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and os.environ.get("WEIR_REQUIRE_COMPONENTS") == "1"
    ):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        if "missing component" not in str(reason):
            return
        report.outcome = "failed"
        report.longrepr = f"skipped where WEIR_REQUIRE_COMPONENTS=1 forbids it: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_on_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_on_skip(report)
    return report


# What takes minutes a file begins first, so that no process runs the last of them alone.
LONGEST_FIRST = (
    *("host/test_same_answers", "host/test_db_commands", "web/", "host/test_scheme_rows"),
    *("host/test_metric_history", "host/test_http_training", "host/test_traces"),
    *("host/test_training_process", "host/test_search_runs", "host/test_stock_server"),
    *("host/test_artifact_spool", "host/test_server", "host/test_sync_elsewhere"),
    *("host/test_resuming", "host/test_hardware", "host/test_watch", "security/", "faults/"),
    *("host/test_console", "host/", "conformance/", "unit/", "docs/"),
)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Order files, and keep for test-long what takes minutes more than it tells.

    That is the journal on every server: what it adds is the same on every database; delivery to
    each of them is held against stock in test_delivery_rows.py. And what a test says of itself.
    """
    for item in items:
        if _is_repeated_elsewhere(item):
            item.add_marker(pytest.mark.long)
        words = item.name.partition("[")[2].rstrip("]").split("-")
        is_journaled = item.path.name == "test_same_answers.py" and "journaled" in words
        if is_journaled and "sqlite" not in words:
            item.add_marker(pytest.mark.long)
    yield
    items.sort(key=_place)


def _is_repeated_elsewhere(item: pytest.Item) -> bool:
    """Say whether its markers leave this database to ``long``."""
    parameters: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    names = ("sqlite", "postgresql", "mariadb")
    database = next((word for word in parameters.values() if word in names), None)
    if database is None:
        return False
    quick = item.get_closest_marker("quick_on")
    if quick is not None and database not in quick.args:
        return True
    is_spread = item.get_closest_marker("a_seed_a_database") is not None
    return is_spread and names[int(str(parameters["seed"])) % len(names)] != database


def _place(item: pytest.Item) -> int:
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    return next(
        (n for n, start in enumerate(LONGEST_FIRST) if path.startswith(start)), len(LONGEST_FIRST)
    )
