"""``weir stop``: SIGINT to the process that a run belongs to."""

from __future__ import annotations

import json
import os
import signal

import click

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.agent.liveness import try_watch
from mlflow_weir.plugin.agent.report import find_process
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.plugin.journal.spool import Spool


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def stop(run_id: str, as_json: bool) -> None:
    """Stop a run of this machine as Ctrl-C would: SIGINT to its process.

    RUN is the run's id. The process may do what it does for Ctrl-C, such as save its state.
    """
    header = find_process(Spool.open(), run_id)
    watch = None if header is None else try_watch(header.pid, header.pid_start_ticks)
    if header is None or watch is None:
        raise ConfigError(
            f"no process of this user on {os.uname().nodename} answers for run {run_id}",
            hint="run this where the run's process is; `weir status` lists what is open here",
        )
    try:
        watch.send_signal(signal.SIGINT)
    finally:
        watch.close()
    if as_json:
        answer = {"run_id": run_id, "pid": header.pid, "signal": "SIGINT"}
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo(f"SIGINT was sent to process {header.pid} ({plain(header.program)})")
