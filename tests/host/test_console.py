"""What a user has of a console: scripts that know nothing of Weir, real stores and servers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.artifacts import load_text

from agents import agents_of, wait_until
from databases import put_mlflow_tables
from mlflow_weir.plugin.journal.spool import Spool
from trainings import Place, Training, begin

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("agent"),
    pytest.mark.filterwarnings("default"),  # of Jupyter and what it stands on
]

ON = {"WEIR_CAPTURE": "on", "WEIR_CAPTURE_GIT": "off", "WEIR_CAPTURE_ENVIRONMENT": "off"}
ON |= {"WEIR_CAPTURE_HARDWARE": "off"}
SCRIPT = """
print("before")
with mlflow.start_run() as run:
    print("begin")
    for i in range(3): mlflow.log_metric("m", i, step=i)
    os.system("echo from a subprocess")
    print("token", "ghp_" + "aB3" * 12, file=sys.stderr)
    {more}
print(run.info.run_id)
"""
LINES = {"begin", "from a subprocess", "token [redacted]"}


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Training]:
    put_mlflow_tables(tmp_path / "store" / "weir.db")
    yield from begin(tmp_path, Place(f"weir://{tmp_path}/store", {}))


def printed(training: Training, run_id: str, *words: str) -> list[dict[str, Any]]:
    done = training.weir("logs", run_id, "--json", "--uri", training.place.uri, *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_run_keeps_what_it_printed(local: Training) -> None:
    run_id = local.run_new(SCRIPT.format(more=""), **ON).split()[-1]
    run = local.run_named(run_id)
    assert run.data.tags["weir.redacted"] == "1"
    assert (run.info.status, run.data.metrics["m"]) == ("FINISHED", 2.0)
    lines = printed(local, run_id)
    assert {line["text"] for line in lines} == LINES
    assert [line["n"] for line in lines] == [0, 1, 2]
    began = run.info.start_time
    assert all(began <= line["at_ms"] <= began + 120_000 for line in lines)
    assert {line["stream"] for line in lines} == {"stdout", "stderr"}
    text = load_text(f"{run.info.artifact_uri}/weir/console.log")
    assert set(text.splitlines()) == LINES


def test_lines_are_there_while_it_runs_and_the_agent_is_killed(local: Training) -> None:
    training = local.start(
        SCRIPT.format(
            more="print('go on', flush=True); print(run.info.run_id, flush=True); time.sleep(600)"
        ),
        **ON,
    )
    assert training.stdout is not None
    run_id = next(line.strip() for line in training.stdout if len(line.strip()) == 32)
    wait_until(lambda: printed(local, run_id)[-1:], "the first lines", 60)
    for pid in agents_of(Spool(local.spool)):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "go on" in {x["text"] for x in printed(local, run_id)}, "they go on", 60)
    training.kill()
    training.communicate(timeout=300)  # which closes all three streams
    assert local.run_named(run_id).info.status in ("KILLED", "FAILED")  # who did not see it start
    assert {line["text"] for line in printed(local, run_id)} == LINES | {"go on", run_id}
