"""Real ``mlflow server`` processes for tests.

``start_servers`` starts some side by side, each in a session of its own, waits for ``/health`` to
answer, and ends them with every process they started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from warm_python import WarmProcess, warm_python

START_DEADLINE_S = 300.0
STOP_DEADLINE_S = 3.0
# The command, whose server is a second child of the waiting Python: forked before MLflow's server
# is imported, it becomes what the command would have started, with the same words and environment.
COMMAND = """
import importlib, json, os, runpy, sys

reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(writing)
    with open(reading, encoding="utf-8") as told:
        job = told.read()
    if not job:
        os._exit(0)  # the command has ended before it had a server
    sys.argv[1:], environment = json.loads(job)
    os.environ.clear()
    os.environ.update(environment)
    # Which looks, where MLflow is imported, whether this is a server.
    importlib.reload(sys.modules["mlflow_weir.plugin.entry_points"])
    runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)
    sys.exit()
os.close(reading)

import mlflow.server


class Server:
    returncode = None
    pid = pid

    def poll(self, options=os.WNOHANG):
        if self.returncode is None:
            found, status = os.waitpid(pid, options)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self):
        return self.poll(0)

    def send_signal(self, signum):
        os.kill(pid, signum)


exec_cmd = mlflow.server._exec_cmd


def start(words, *, extra_env, **options):
    if words[:3] != [sys.executable, "-m", "uvicorn"]:
        os.close(writing)
        return exec_cmd(words, extra_env=extra_env, **options)
    with open(writing, "w", encoding="utf-8") as telling:
        json.dump([words[3:], {**os.environ, **extra_env}], telling)
    return Server()


if sys.argv[-2:] != ["--workers", "1"]:
    os.close(writing)  # workers are processes that a server starts by itself
else:
    mlflow.server._exec_cmd = start
from mlflow.cli import cli
cli()
"""
RUNS_NO_JOB = ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
_Process = WarmProcess | subprocess.Popen[bytes]
_FOREIGN = ("MLFLOW_", "_MLFLOW_", "WEIR_")


@dataclass(frozen=True)
class ServerProcess:
    """A server that answers.

    Attributes:
        address: ``http://127.0.0.1:port``.
        folder: Its current directory.
        log: The file its output goes to.
        group: The process group of all its processes.
    """

    address: str
    folder: Path
    log: Path
    group: int

    def output(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class ServerSpec:
    """How to start one.

    Attributes:
        arguments: What follows ``mlflow``, without host, port and workers.
        folder: Its current directory, which must exist.
        variables: Environment variables on top of the test's; MLflow's own are taken out first.
        workers: Number of worker processes.
        prefix: What ``--static-prefix`` says.
        port: Where it listens; a free one, if 0.
    """

    arguments: Sequence[str]
    folder: Path
    variables: Sequence[tuple[str, str]] = ()
    workers: int = 1
    prefix: str = ""
    port: int = 0


@contextlib.contextmanager
def start_servers(*specs: ServerSpec) -> Iterator[list[ServerProcess]]:
    """Run the servers until the block ends; yield them in order once all of them answer."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_process(spec)) for spec in specs]
        for spec, (server, process) in zip(specs, started, strict=True):
            _wait_for_health(server, process, spec.prefix)
        yield [server for server, _ in started]


def free_port() -> int:
    """Return a port on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def _process(spec: ServerSpec) -> Iterator[tuple[ServerProcess, _Process]]:
    port = spec.port or free_port()
    log = spec.folder / "server.log"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)
    }
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", **dict(spec.variables)}
    words = [
        *("mlflow", *spec.arguments, "--host", "127.0.0.1", "--port", str(port)),
        *(("--static-prefix", spec.prefix) if spec.prefix else ()),
        *("--workers", str(spec.workers)),
    ]
    process: _Process
    with log.open("wb") as output:
        if any(name.startswith("PYTHON") for name, _ in spec.variables):  # read as it starts
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env=environment,
                cwd=spec.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        else:
            process = warm_python().start_session(COMMAND, words, environment, spec.folder, output)
    try:
        yield ServerProcess(f"http://127.0.0.1:{port}", spec.folder, log, process.pid), process
    finally:
        _stop(process, is_polite=RUNS_NO_JOB not in spec.variables)


def _stop(process: _Process, *, is_polite: bool) -> None:
    """End everything in the server's session: politely where it runs jobs, then not.

    A server's own ending takes a second of work that no test looks at; one that runs jobs has to
    end processes that are in other sessions.
    """
    if not is_polite:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
        return
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_DEADLINE_S
    while time.monotonic() < deadline:
        process.poll()  # a leader not waited for would keep its group alive
        if not _signal_group(process.pid, 0):
            return
        time.sleep(0.05)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, signum: int) -> bool:
    """Send ``signum`` to the group; False when nobody is left in it."""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    return True


def _wait_for_health(server: ServerProcess, process: _Process, prefix: str) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.address}{prefix}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"no answer from {server.address}:\n{server.output()[-4000:]}")
