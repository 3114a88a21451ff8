"""The examples of MLflow's own documentation of its client and fluent API, through the journal.

They are taken out of the docstrings of the MLflow that is installed. Each runs as a script of its
own on a stock store and on one with the journal in front; what it prints and leaves has to be the
same, but for ids, names that are made up, and the time.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from databases import put_mlflow_tables
from mlflow_weir.plugin.agent import client as agent
from trainings import Place, Training

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

SOURCES = ("tracking/fluent.py", "tracking/client.py")
BLOCK = re.compile(r"^( *)\.\. (?:code-block:: python|testcode::.*)\n((?:\1 +.*\n|\s*\n)+)", re.M)
OPTION = re.compile(r"^\s*:\w+:.*\n", re.M)
# What differs from one run of a script to the next.
CHANGING = (
    (re.compile(r"sqlite(\+weir)?://[^\s'\"<>]*|(file://)?/[^\s'\"<>]*"), "PATH"),
    (re.compile(r"\b(m-|tr-|d-)?[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[a-z]+-[a-z]+-[0-9]{1,3}\b"), "NAME"),
    (re.compile(r"\b1[0-9]{9,18}(\.[0-9]+)?\b"), "TIME"),
    (re.compile(r"\b20[0-9]{2}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9:.]+(\+[0-9:]+)?\b"), "TIME"),
    (re.compile(r"\b[0-9]+\.[0-9]{3,}(e-?[0-9]+)?\b"), "NUMBER"),
)
# What create_run answers has tags that are no text as they were given; from a server, and from us,
# it is what is stored: text.
DIFFERENT = {"client.delete_tag[0]"}
# Without it MLflow may lose what was logged asynchronously just before the process ends.
LAST = """
import mlflow
mlflow.flush_async_logging()
"""
DICT = re.compile(r"(?<=\{)[^{}]*(?=\})")  # its order is nobody's promise


class Example(NamedTuple):
    """A script.

    Attributes:
        name: Module, function, and which of its examples.
    """

    name: str
    script: str


def examples() -> Iterator[Example]:
    """Give those that are scripts of their own."""
    for source in SOURCES:
        path = Path(mlflow.__file__).parent / source
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            text = ast.get_docstring(node, clean=True) or ""
            for number, (_, block) in enumerate(BLOCK.findall(text + "\n")):
                script = textwrap.dedent(OPTION.sub("", block)).strip() + "\n"
                if "import mlflow" in script or "from mlflow" in script:
                    yield Example(f"{path.stem}.{node.name}[{number}]", script)


EXAMPLES = {one.name: one.script for one in examples()}
# Nested runs and a search, a folder of artifacts, all kinds of values at once.
QUICK = ("fluent.start_run[0]", "fluent.log_artifacts[0]", "client.log_batch[0]")


class Left(NamedTuple):
    """What an example leaves: its exit code, its output, and its runs."""

    code: int
    output: str
    runs: str
    error: str


def left_by(folder: Path, script: str, scheme: str) -> Left:
    """Run an example in a folder of its own on a database of its own."""
    folder.mkdir(parents=True)
    put_mlflow_tables(folder / "a.db")
    training = Training(folder, Place(f"{scheme}:///{folder}/a.db", {}))
    code, out, err = training.outcome(script + LAST, MLFLOW_ENABLE_ASYNC_LOGGING="false")
    if scheme != "sqlite":
        training.settle()
        agent.nudge(training.spool, agent.STOP)
    return Left(code, unchanging(out), unchanging(runs_in(training.place.uri)), err)


def unchanging(text: str) -> str:
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return DICT.sub(lambda found: ", ".join(sorted(found[0].split(", "))), text)


def runs_in(uri: str) -> str:
    """Return what there is of runs and experiments, as text."""
    client = MlflowClient(uri)
    found = client.search_experiments(view_type=ViewType.ALL)
    experiments = {one.experiment_id: one for one in found}
    runs = client.search_runs(list(experiments), run_view_type=ViewType.ALL)
    return json.dumps(
        sorted(
            json.dumps(
                [
                    experiments[run.info.experiment_id].name,
                    run.info.status,
                    run.info.lifecycle_stage,
                    run.data.params,
                    {
                        key: len(client.get_metric_history(run.info.run_id, key))
                        for key in run.data.metrics
                    },
                    sorted(key for key in run.data.tags if not key.startswith("weir.")),
                ],
                sort_keys=True,
            )
            for run in runs
        )
    )


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.mark.parametrize("name", QUICK)
def test_an_example_leaves_what_it_leaves_without_the_journal(name: str, tmp_path: Path) -> None:
    stock = left_by(tmp_path / "stock", EXAMPLES[name], "sqlite")
    assert stock.code == 0, stock.error
    journaled = left_by(tmp_path / "journaled", EXAMPLES[name], "sqlite+weir")
    assert journaled[:3] == stock[:3], journaled.error


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_example_that_runs_on_stock(tmp_path: Path) -> None:
    n_same, different, not_here = 0, {}, []
    for number, (name, script) in enumerate(EXAMPLES.items()):
        folder = tmp_path / str(number)
        stock = left_by(folder / "stock", script, "sqlite")
        if stock.code:  # a fragment, or it needs a server or what is not installed
            not_here.append(name)
            continue
        journaled = left_by(folder / "journaled", script, "sqlite+weir")
        if journaled[:3] == stock[:3]:
            n_same += 1
        elif stock[:3] == left_by(folder / "again", script, "sqlite")[:3]:
            different[name] = (stock, journaled)
    print(f"{n_same} the same of {len(EXAMPLES)}; not run on stock: {not_here}")
    for name, (stock, ours) in different.items():
        print(name, stock, ours, sep="\n")
    assert different.keys() == DIFFERENT
    assert n_same > len(QUICK)
