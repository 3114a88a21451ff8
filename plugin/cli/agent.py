"""``weir agent``: the background process by hand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import click

from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.agent.lease import holder_of
from mlflow_weir.plugin.journal.spool import Spool

_START_S, _STOP_S = 15.0, 20.0
_POLL_S = 0.02

_json = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def agent() -> None:
    """Start, stop or listen to the background process that delivers.

    Nobody has to: it starts with the first thing that is logged and ends when it is idle.
    """


@agent.command()
@_json
def start(as_json: bool) -> None:
    """Start an agent, where none runs."""
    spool = Spool.open()
    before = _pid(spool)
    give_up = time.monotonic() + _START_S
    while (pid := _pid(spool)) is None or not client.nudge(spool.root):
        if time.monotonic() > give_up:
            raise WeirError(
                f"no agent after {_START_S:.0f} s", hint=f"look into {AgentFiles(spool.root).log}"
            )
        client.ensure_agent(spool.root)
        time.sleep(_POLL_S)
    said = "runs" if before == pid else "started"
    _print({"pid": pid, "was_started": before != pid}, f"agent {said}: process {pid}", as_json)


@agent.command()
@_json
def stop(as_json: bool) -> None:
    """Let the agent finish what it has in hand and end; the next thing logged starts another."""
    spool = Spool.open()
    pid = _pid(spool)
    if pid is None:
        _print({"pid": None, "was_stopped": False}, "no agent runs", as_json)
        return
    if not client.nudge(spool.root, client.STOP):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    give_up = time.monotonic() + _STOP_S
    while _pid(spool) == pid:
        if time.monotonic() > give_up:
            raise WeirError(
                f"agent {pid} still runs after {_STOP_S:.0f} s",
                hint=f"`kill -KILL {pid}` does no harm: nothing is lost by it",
            )
        time.sleep(_POLL_S)
    _print({"pid": pid, "was_stopped": True}, f"agent stopped: process {pid}", as_json)


@agent.command()
@_json
def log(as_json: bool) -> None:
    """Print what the agents of this spool have said."""
    files = AgentFiles(Spool.open().root)
    lines: list[str] = []
    for file in (files.log_before, files.log):
        with contextlib.suppress(FileNotFoundError):
            lines += file.read_text(encoding="utf-8", errors="replace").splitlines()
    _print({"path": str(files.log), "lines": lines}, "\n".join(lines) or "nothing", as_json)


def _pid(spool: Spool) -> int | None:
    holder = holder_of(AgentFiles(spool.root)) or {}
    pid = holder.get("pid")
    return pid if isinstance(pid, int) else None


def _print(record: dict[str, object], text: str, as_json: bool) -> None:
    click.echo(json.dumps(record, indent=2) if as_json else text)
