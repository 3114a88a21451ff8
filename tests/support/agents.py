"""Agents for tests: a private spool, who serves it, and what is delivered."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
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

DEADLINE_S = 30.0


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
        client.start_command(spool.root), env={**os.environ, **environment}, check=True, timeout=60
    )
    wait_until(lambda: client.nudge(spool.root, "hello"), "an agent listens")
    return int(wait_until(lambda: agent_pid(spool), "an agent holds the lease"))


def run_python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with its output captured."""
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, **options)


def status_of(pid: int) -> dict[str, str]:
    """Return /proc/PID/status by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def delivered(folder: Path) -> dict[str, Any]:
    """Return what delivered.json says; empty while there is none."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((folder / "delivered.json").read_text())
        return found
    return {}
