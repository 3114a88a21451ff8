"""``weir status``: the agent, its journals, what waits, and what was dropped or refused."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlflow_weir.plugin.byte_counts import byte_count
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.plugin.journal.spool import Spool

if TYPE_CHECKING:
    from mlflow_weir.plugin.agent.report import JournalReport, Report

_SHOWN_REJECTIONS = 5


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def status(as_json: bool) -> None:
    """Show the agent, its journals, what waits to be delivered, what was dropped and why."""
    from mlflow_weir.plugin.agent.report import report

    found = report(Spool.open())
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        click.echo("\n".join(map(plain, _lines(found))))


def _lines(found: Report) -> list[str]:
    agent = found.agent
    if agent is None:
        lines = ["agent: none runs; one is started when something is logged"]
    else:
        lines = [
            f"agent: process {agent.pid} for {_ago(agent.since_ms)}, "
            f"{byte_count(agent.memory_bytes)} of memory, version {agent.version}"
        ]
    lines.append(f"spool: {found.spool}, {byte_count(found.size_bytes)}")
    if not found.journals:
        lines.append("nothing waits: every journal was delivered and removed")
    for one in found.journals:
        lines += _journal_lines(one)
    for gone in found.refused:
        lines.append(
            f"journal {gone.journal_id} of {gone.program or 'a process'}, to {gone.target}, ended "
            f"{_ago(gone.at_ms)} ago: {gone.n_rejected:,} records refused, {gone.n_dropped:,} "
            "points dropped"
            + _counted(gone.n_traces_dropped, ", {} traces dropped")
            + _counted(gone.n_artifacts_dropped, ", {} files dropped")
        )
        lines += _rejection_lines(gone.rejected)
    for path, reason in found.unreadable.items():
        lines += [f"{path}: set aside", f"  {reason}"]
    lines += [
        "kept: a journal until its process has ended and all of it is delivered, one that is set "
        "aside until it is salvaged or removed; what was refused, a week; the agent's log, 2 MiB",
    ]
    return lines


def _journal_lines(one: JournalReport) -> list[str]:
    state = "alive" if one.is_alive else "ended"
    node = "" if one.node == one.host else f" on node {one.node}"
    where = f"{one.program or 'a process'} (process {one.pid}{node}, {state})"
    lines = [
        f"journal {one.journal_id}: {where}, since {_ago(one.created_ms)}",
        f"  to {one.target}: {one.n_records:,} records with {one.n_points:,} points delivered",
    ]
    if one.waiting_bytes or one.n_files:
        more = "more than " if one.is_more else ""
        size = byte_count(one.waiting_bytes)
        waiting = f"  waiting: {more}{one.waiting_records:,} records, {size}"
        if one.n_files:
            waiting += f", and {one.n_files:,} uploads of {byte_count(one.file_bytes)}"
            waiting += f" ({one.n_traces:,} of traces)" if one.n_traces else ""
        if one.waiting_since_ms:
            waiting += f", for at most {_ago(one.waiting_since_ms)}"
        lines.append(waiting)
    if one.open_runs:
        lines.append(f"  open runs: {', '.join(sorted(one.open_runs))}")
    if one.error:
        since = f" ({_ago(one.error_at_ms)} ago)" if one.error_at_ms else ""
        lines.append(f"  error{since}: {one.error}")
    if one.file_error:
        since = _ago(one.file_error_at_ms)
        what = "artifacts and traces" if one.n_traces else "artifacts"
        lines.append(f"  {what} are not uploaded ({since} ago): {one.file_error}")
    if one.n_dropped:
        lines.append(f"  dropped: {one.n_dropped:,} points, for want of disk and memory")
    if one.n_traces_dropped:
        lines.append(
            _counted(one.n_traces_dropped, "  dropped: {} traces or parts, for want of disk")
        )
    if one.n_artifacts_dropped:
        lines.append(_counted(one.n_artifacts_dropped, "  dropped: {} files, for want of disk"))
    if one.n_rejected:
        lines.append(f"  refused by the store: {one.n_rejected:,}")
        lines += _rejection_lines(one.rejected)
    return lines


def _counted(n: int, text: str) -> str:
    return text.format(f"{n:,}") if n else ""


def _rejection_lines(rejected: list[dict[str, str]]) -> list[str]:
    return [
        f"    {one.get('what', '')}: {one.get('reason', '')}"
        for one in rejected[-_SHOWN_REJECTIONS:]
    ]


def _ago(at_ms: int) -> str:
    """Say how long ago a moment was; a clock that was set may make it none at all."""
    seconds = max(int(time.time() - at_ms / 1000), 0)
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
