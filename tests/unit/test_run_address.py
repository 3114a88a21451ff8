"""Where a run can be looked at: the address of each kind of store, the line, and the card."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from mlflow.entities import LifecycleStage, RunInfo

from mlflow_weir.plugin import run_address

SERVER = "https://tracking.example/mlf"
RUN_ID = "a" * 32
HOSTILE = '<img src=x onerror="alert(1)">\x1b[31m\nsecond & line'


def info(**changes: Any) -> RunInfo:
    facts: dict[str, Any] = {
        "run_id": RUN_ID,
        "experiment_id": "7",
        "user_id": "someone",
        "status": "RUNNING",
        "start_time": 5,
        "end_time": None,
        "lifecycle_stage": LifecycleStage.ACTIVE,
        "artifact_uri": "mlflow-artifacts:/7/x",
        "run_name": "swift-fox",
    }
    return RunInfo(**{**facts, **changes})


def line(of: RunInfo, uri: str, experiment: str = "vision") -> str | None:
    return run_address.say(of, uri, experiment, is_first=True)


def test_on_a_server_it_is_the_address_of_the_runs_page() -> None:
    said = line(info(), SERVER)
    assert said is not None
    assert said.endswith(f"; see it at {SERVER}/#/experiments/7/runs/{RUN_ID}")


def test_a_workspace_is_part_of_it() -> None:
    address = run_address.address_of(info(), SERVER, "vision", "team a/b")
    assert address.link.endswith(f"/runs/{RUN_ID}?workspace=team%20a%2Fb")
    assert "?" not in run_address.address_of(info(), SERVER, "vision", "default").link


@pytest.mark.parametrize(
    "changes",
    [
        {"experiment_id": "pending-1", "artifact_uri": "weir-pending:x"},
        {"artifact_uri": f"weir-pending:{RUN_ID}"},
    ],
    ids=["experiment", "run"],
)
def test_what_a_server_has_yet_to_number_goes_by_name(changes: dict[str, Any]) -> None:
    said = line(info(**changes), SERVER)
    assert said is not None
    assert said.endswith("it will be in experiment vision once the server has been reached")
    assert "#/experiments" not in said


@pytest.mark.parametrize(
    ("uri", "command"),
    [
        ("sqlite:////home/me/weir.db", "weir ui sqlite+weir:////home/me/weir.db"),
        ("sqlite:////home/my own/a;b.db", "weir ui 'sqlite+weir:////home/my own/a;b.db'"),
        ("postgresql+psycopg://db/mlflow", "weir ui"),
    ],
)
def test_for_a_database_it_is_the_command_that_opens_it(uri: str, command: str) -> None:
    said = line(info(), uri)
    assert said is not None
    assert said.endswith(f"; see it with {command}")


def test_a_hostile_name_stays_on_the_line() -> None:
    said = line(info(run_name=HOSTILE), "sqlite:////x.db", HOSTILE)
    assert said is not None
    assert said.isprintable()


def test_only_the_first_run_is_said_on_a_terminal() -> None:
    assert run_address.say(info(), SERVER, "vision", is_first=False) is None


class Notebook:
    """A kernel's shell, as far as it is asked for, and what was displayed."""

    def __init__(self) -> None:
        self.kernel: object | None = object()
        self.shown: list[dict[str, str]] = []
        self.fault: Exception | None = None

    def display(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        if self.fault is not None:
            raise self.fault
        self.shown.append(bundle)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook()
    package, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    package.get_ipython = lambda: made  # type: ignore[attr-defined]
    module.display = made.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return made


def test_a_notebook_gets_a_card_for_each_run_and_no_line(notebook: Notebook) -> None:
    for is_first in (True, False):
        assert run_address.say(info(), SERVER, "vision", is_first=is_first) is None
    assert len(notebook.shown) == 2
    card = notebook.shown[0]["text/html"]
    assert f'href="{SERVER}/#/experiments/7/runs/{RUN_ID}"' in card
    assert "swift-fox" in card
    assert RUN_ID in card
    assert SERVER in card
    assert notebook.shown[0]["text/plain"].startswith("weir: run swift-fox")
    assert "background" not in card
    assert "color:inherit" in card


def test_names_are_text_in_the_card(notebook: Notebook) -> None:
    pending = info(run_name=HOSTILE, artifact_uri="weir-pending:x")
    assert line(pending, 'https://a"b', HOSTILE) is None
    assert line(info(run_name=HOSTILE), 'sqlite:////a"><b>.db', HOSTILE) is None
    for bundle in notebook.shown:
        assert "<img" not in bundle["text/html"]
        assert '"><b>' not in bundle["text/html"]
        assert "&lt;img" in bundle["text/html"]


def test_a_shell_without_a_kernel_is_a_terminal(notebook: Notebook) -> None:
    notebook.kernel = None
    assert line(info(), SERVER) is not None
    assert notebook.shown == []


@pytest.mark.expects_internal_errors
def test_a_card_that_cannot_be_shown_is_a_line(notebook: Notebook) -> None:
    notebook.fault = RuntimeError("the front end is gone")
    assert line(info(), SERVER) is not None


def test_ipython_is_not_imported_for_it() -> None:
    if "IPython" in sys.modules:
        pytest.skip("something else has imported it")
    line(info(), SERVER)
    assert "IPython" not in sys.modules
