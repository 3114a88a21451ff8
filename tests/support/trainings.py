"""Trainings as users write them, run as processes of their own against a server.

Scripts know nothing of Weir. What they wrote is read by MLflow's own client, without a journal,
once the agent says that all is delivered.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from agents import wait_until
from mlflow_server import RUNS_NO_JOB, ServerProcess, ServerSpec, free_port, start_servers
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool
from warm_python import warm_python, weir_command

DEADLINE_S = 120.0
BEGINNING = "import mlflow, os, sys, time\n"
NO_JOBS = RUNS_NO_JOB


ENDS: dict[str, tuple[str, int, str, str | None]] = {
    "no-end": ("", 0, "FINISHED", None),
    "exception": ("raise ValueError('boom')", 1, "FAILED", "uncaught ValueError: boom"),
    "exit-code": ("sys.exit(3)", 3, "FAILED", "exit code 3"),
    # Once the agent has delivered it knows the process, and the kernel will tell it how it ended.
    "killed": (
        "import mlflow_weir; assert mlflow_weir.finish(300); os.kill(os.getpid(), 9)",
        -signal.SIGKILL,
        "KILLED",
        "signal SIGKILL",
    ),
}
"""How a script ends after it began a run: last lines, exit code, the run's status and cause."""


COUNT_QUESTIONS = """
import sys, threading
n_asked = 0
def note_thread(*_):
    global n_asked
    sys.setprofile(None)  # each thread once, as it begins
    n_asked += threading.current_thread().name == "weir-store-call"
threading.setprofile(note_thread)
"""
"""The beginning of scripts that say how often they asked the store, of which a log call is free.

Each question is put in a thread of its own, so that it can be given up. To count them tells more
than a clock, which on a busy machine tells of the machine.
"""


def ends() -> list[Any]:
    """Return them as parameters; two are left to ``long``.

    How a process ended is found out on this machine, wherever its run is: every way is tried on an
    embedded store (test_training_process.py), and here one that the process says itself, and one
    that only the agent sees.
    """
    often = ("exception", "killed")
    return [
        pytest.param(*end, id=name, marks=() if name in often else pytest.mark.long)
        for name, end in ENDS.items()
    ]


def server_command(url: str) -> list[str]:
    """Return the arguments of a server on a database."""
    return ["server", "--backend-store-uri", url]


def with_weir(url: str) -> str:
    """Return the URI that makes the database Weir's."""
    plain = url.replace("postgresql+psycopg:", "postgresql:")
    return plain.replace("sqlite:", "sqlite+weir:").replace("postgresql:", "postgresql+weir:")


def error_of(folder: JournalFolder) -> str:
    """Return why a journal's delivery does not go on."""
    return folder.delivered().error


class Place(NamedTuple):
    """A server, and what a training has to be told to use it."""

    uri: str
    variables: dict[str, str]
    group: int = 0  # of the server's processes


class Training:
    """Runs scripts on one server, with a spool of their own.

    ``run`` and ``outcome`` fork them from a Python that has imported MLflow. Tests of how a
    process starts, imports, forks or ends take ``start``, ``run_new`` and ``outcome_of_new``,
    which begin a Python as users do.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        self.place = place
        self.spool = folder / "spool"
        self.folder = folder
        # A script is no test, whoever starts it.
        ours = {"WEIR_CLIENT", "PYTEST_CURRENT_TEST"}
        ours |= {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in ours},
            "MLFLOW_TRACKING_URI": place.uri,
            "WEIR_SPOOL": str(self.spool),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
            **place.variables,
        }

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Begin a script, with variables on top of the test's."""
        return subprocess.Popen(
            [sys.executable, "-c", BEGINNING + script, *arguments],
            env={**self._environment, **variables},
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str, **variables: str) -> str:
        """Run a script to its good end; return what it printed."""
        code, out, err = self.outcome(script, *arguments, **variables)
        assert code == 0, err
        return out

    def outcome(self, script: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run a script; return its exit code and what it printed, also on stderr."""
        environment = {**self._environment, **variables}
        return warm_python().outcome(BEGINNING + script, arguments, environment, self.folder)

    def run_new(self, script: str, *arguments: str, **variables: str) -> str:
        """Do what ``run`` does in a Python of its own."""
        code, out, err = self.outcome_of_new(script, *arguments, **variables)
        assert code == 0, err
        return out

    def outcome_of_new(
        self, script: str, *arguments: str, **variables: str
    ) -> tuple[int, str, str]:
        """Do what ``outcome`` does in a Python of its own."""
        process = self.start(script, *arguments, **variables)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def weir(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command, forked as ``run`` does."""
        return weir_command(*words, **{**self._environment, **variables})

    def settle(self) -> None:
        """Wait until no journal is left: everything is delivered, exit states too."""

        def none_is_left() -> bool:
            agent.ensure_agent(self.spool)
            agent.nudge(self.spool)
            return not Spool(self.spool).journals()

        wait_until(none_is_left, "no journal is left", DEADLINE_S)

    def client(self) -> MlflowClient:
        """Return MLflow's own client, without a journal (see ``no_journal_here``)."""
        return MlflowClient(self.place.uri)

    def run_named(self, run_id: str) -> Run:
        """Return a run once all is delivered."""
        self.settle()
        return self.client().get_run(run_id)


def begin(folder: Path, place: Place) -> Iterator[Training]:
    """Give a training with a spool of its own; end its agent."""
    made = Training(folder, place)
    yield made
    agent.nudge(made.spool, agent.STOP)


class Moving:
    """A server that comes and goes at one address."""

    def __init__(self, folder: Path, url: str) -> None:
        self.spec = ServerSpec(server_command(url), folder, (NO_JOBS,), port=free_port())
        self.place = Place(f"http://127.0.0.1:{self.spec.port}", {})
        self._stack = ExitStack()
        self._server: ServerProcess | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self._server,) = self._stack.enter_context(start_servers(self.spec))

    def kill(self) -> None:
        """Kill it with every process it has."""
        assert self._server is not None
        os.killpg(self._server.group, signal.SIGKILL)
        self._stack.close()

    def becomes(self, url: str) -> None:
        """Be on another kind of the database from the next start on."""
        self.spec = replace(self.spec, arguments=server_command(url))

    def output(self) -> str:
        """Return what it has printed since its last start."""
        return (self.spec.folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End it, if it runs."""
        self._stack.close()
