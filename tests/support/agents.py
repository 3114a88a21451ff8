"""Agents for tests: a private spool, who serves it, and what is delivered."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.agent.lease import holder_of
from mlflow_weir.plugin.journal.spool import Spool

DEADLINE_S = 120.0

# The beginning of programs that write a journal as a training does: a run, and some points of it.
# Arguments: spool, database URI, run id, "fluent" or "client", number of points.
TRAINING = """
import os, signal, sys, time
from pathlib import Path
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.journal.spool import Credentials, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.records import encode_operation, encode_points

spool, uri, run_id, how = Spool(Path(sys.argv[1])), *sys.argv[2:5]
journal = Journal.create(spool, Target("sql", uri), Credentials(uri))

def operation(name, **fields):
    return journal.append(encode_operation(name, fields))

def end_run(status, is_provisional):
    operation("update_run", run_id=run_id, status=status, end_time=5, run_name=None,
              is_provisional=is_provisional, is_revival=False)

def delivered():
    assert client.wait_delivered(journal.folder, journal.end, 120)

operation("create_run", run_id=run_id, experiment_id="0", experiment_name=None, user_id="me",
          start_time=1, tags=[], run_name="a run", artifact_uri=None)
operation("own_run", run_id=run_id, how=how)
for step in range(int(sys.argv[5])):
    journal.append(encode_points(run_id, [("loss", step, step, step / 3)]))
delivered()
print("ready", flush=True)
"""


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Poll until the condition gives something true, and return that."""
    give_up = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < give_up, f"not within {deadline_s} s: {what}"
        time.sleep(0.01)


def fresh_spool() -> Iterator[Spool]:
    """Give a spool of its own; its agent is ended afterwards, however it is."""
    folder = Path(tempfile.mkdtemp(prefix="weir-spool-"))
    spool = Spool.open(folder / "s")
    try:
        yield spool
    finally:
        kill_agents(spool)
        shutil.rmtree(folder, ignore_errors=True)


def agent_pid(spool: Spool) -> int | None:
    """Return the process that holds the spool's lease; None when nobody does."""
    holder = holder_of(AgentFiles(spool.root))
    return None if not holder else int(str(holder["pid"]))


def agents_of(spool: Spool) -> list[int]:
    """Return every process that was started as an agent of this spool and has not ended."""
    wanted = ["mlflow_weir.plugin.agent", "--spool", str(spool.root)]
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[2:5] == wanted and "\nState:\tZ" not in (entry / "status").read_text():
                found.append(int(entry.name))
    return found


def kill_agents(spool: Spool) -> None:
    """End the spool's agents, and wait until they are gone."""

    def none_is_left() -> bool:
        left = agents_of(spool)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(none_is_left, "agents of the test have ended")


def start_agent(spool: Spool, **environment: str) -> int:
    """Start an agent and return its process id once it listens."""
    subprocess.run(
        client.start_command(spool.root),
        env={**os.environ, **environment},
        check=True,
        timeout=300,
    )
    wait_until(lambda: client.nudge(spool.root, "hello"), "an agent listens")
    return int(wait_until(lambda: agent_pid(spool), "an agent holds the lease"))


def old_kernel(folder: Path) -> dict[str, str]:
    """Return the variables that have an agent find a kernel before Linux 6.15.

    And parents that have the kernel forget their children at once.

    Args:
        folder: An empty one.
    """
    (folder / "sitecustomize.py").write_text("""
import errno, fcntl, time
ioctl = fcntl.ioctl
def refuse(file, request, *arguments):
    if request != 0xC040FF0B:  # PIDFD_GET_INFO
        return ioctl(file, request, *arguments)
    give_up = time.monotonic() + 5
    while "Pid:\\t-1\\n" not in open(f"/proc/self/fdinfo/{file}").read():
        if time.monotonic() > give_up:
            break
        time.sleep(0.001)
    raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
fcntl.ioctl = refuse
""")
    return {"PYTHONPATH": str(folder)}


def run_python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with its output captured."""
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **options)


def status_of(pid: int) -> dict[str, str]:
    """Return /proc/PID/status by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


class Database:
    """A SQLite database with MLflow's tables and Weir's.

    Attributes:
        uri: Its SQLAlchemy URI.
        path: Its file.
    """

    def __init__(self, template: Path, path: Path) -> None:
        shutil.copyfile(template, path)
        self.path, self.uri = path, f"sqlite:///{path}"

    def run(self, run_id: str) -> tuple[str, str | None] | None:
        """Return a run's status and the cause of its end; None if there is none."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=120)) as connection:
            row = connection.execute(
                "SELECT status, (SELECT value FROM tags WHERE run_uuid = r.run_uuid AND "
                "key = 'weir.exit_cause') FROM runs r WHERE run_uuid = ?",
                (run_id,),
            ).fetchone()
        return None if row is None else (row[0], row[1])

    def steps(self, run_id: str, key: str = "loss") -> list[int]:
        """Return the steps that the history of a metric has."""
        return [metric.step for metric in self.open().get_metric_history(run_id, key)]

    def open(self) -> Any:
        """Open it as a store; the caller disposes of its engine."""
        from mlflow_weir.store.tracking_store import WeirStore

        return WeirStore(self.uri, "/nowhere")


def make_template(path: Path) -> Path:
    """Make a database to copy."""
    from mlflow_weir.store.tracking_store import WeirStore

    store: Any = WeirStore(f"sqlite:///{path}", "/nowhere")
    store._dispose_engine()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def delivered(folder: Path) -> dict[str, Any]:
    """Return what delivered.json says; empty while there is none."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((folder / "delivered.json").read_text())
        return found
    return {}
