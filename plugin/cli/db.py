"""``weir db``: upgrade, compact, check, archive, retain or eject a tracking database."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlflow_weir.plugin.cli.db_archive import archive
from mlflow_weir.plugin.cli.db_retain import retain
from mlflow_weir.plugin.cli.stores import store_at
from mlflow_weir.plugin.uri import strip

if TYPE_CHECKING:
    import sqlalchemy as sa

_json = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
_uri = click.argument("uri")


class ProgressBars:
    """Draws one bar after the other on stderr, and nothing where stderr is not a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, what: str, total: int) -> None:
        """Begin a bar of ``total`` units, ending the one before."""
        self.finish()
        if total and sys.stderr.isatty():
            self._bar = click.progressbar(length=total, label=what, file=sys.stderr)
            self._bar.__enter__()

    def advance(self, n: int) -> None:
        """Move the bar on by ``n`` units."""
        if self._bar is not None:
            self._bar.update(n)

    def finish(self) -> None:
        """End the bar, if there is one."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


_DELIVERY_WAIT_S = 60.0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def db() -> None:
    """Upgrade, compact, check, archive, retain or eject a tracking database.

    URI is any tracking URI of Weir's (`weir:`, `weir:///dir`, `sqlite+weir:///file.db`, ...) or
    the plain database URI behind it. Take a back-up before `compact`, `retain` and
    `eject`.
    """


@db.command()
@_uri
@_dry_run
@_json
def upgrade(uri: str, dry_run: bool, as_json: bool) -> None:
    """Create or migrate Weir's tables and indexes (MLflow's own: `mlflow db upgrade`)."""
    from mlflow_weir.store.maintenance.upgrade import upgrade as run

    with database(uri) as engine:
        report = run(engine, dry_run=dry_run)
    would = "would be " if dry_run else ""
    lines = [f"{would}applied: {name}" for name in report.revisions]
    lines += [f"{would}created: index {name}" for name in report.indexes]
    print_report(report, lines or ["nothing to do: tables and indexes are current"], as_json)


@db.command()
@_uri
@_dry_run
@_json
def compact(uri: str, dry_run: bool, as_json: bool) -> None:
    """Move MLflow's old metric rows and loose batches into chunks.

    Safe while trainings write, and to stop and run again.
    """
    from mlflow_weir.store.maintenance.compact import compact as run

    with database(uri) as engine:
        report = with_bars(lambda bars: run(engine, bars, dry_run=dry_run))
    would = "would be " if dry_run else ""
    lines = [
        f"{would}moved from MLflow's table: {report.moved_rows:,} rows",
        f"{would}moved from batches: {report.batched_points:,} points",
        f"{would}merged: {report.merged_runs:,} runs",
        f"{would}removed: history of {report.swept_runs:,} runs that are gone",
    ]
    if report.freed_bytes is not None:
        lines.append(f"the file is {report.freed_bytes:,} bytes smaller")
    print_report(report, lines + report.notes, as_json)


@db.command()
@_uri
@_json
def check(uri: str, as_json: bool) -> None:
    """Verify every checksum, count and index entry; exit with 1 when something is wrong."""
    from mlflow_weir.store.maintenance.check import check as run

    with database(uri) as engine:
        report = with_bars(lambda bars: run(engine, bars))
    n = len(report.problems)
    lines = [
        f"{report.n_points:,} points in {report.n_batches:,} batches and {report.n_chunks:,} "
        f"chunks with {report.n_rollups:,} rollups: "
        + (f"{n} problem{'' if n == 1 else 's'}" if n else "all well"),
        *report.problems,
    ]
    if report.n_objects:
        lines[0] += f"; {report.n_objects:,} objects outside"
    is_empty = not (report.n_batches or report.n_chunks or report.n_objects or report.problems)
    print_report(report, (report.notes if is_empty else report.notes + lines) or lines, as_json)
    if report.problems:
        raise SystemExit(1)


@db.command()
@_uri
@_dry_run
@_json
@click.option("--yes", is_flag=True, help="Do not ask.")
def eject(uri: str, dry_run: bool, as_json: bool, yes: bool) -> None:
    """Write every point back to MLflow's table and remove what is Weir's.

    Stop everything that writes to the database first.
    """
    from mlflow_weir.store.maintenance.eject import eject as run

    _require_delivered(uri)
    with database(uri) as engine:
        if not dry_run and not yes:
            plan = run(engine, ProgressBars(), dry_run=True)
            click.confirm(
                f"{plan.n_points:,} points go back to MLflow's table (about "
                f"{plan.n_points * 255 / 1e6:,.0f} MB there). Does nothing write now?",
                abort=True,
                err=True,
            )
        report = with_bars(lambda bars: run(engine, bars, dry_run=dry_run))
    would = "would be " if dry_run else ""
    lines = [
        f"{would}written back: {report.n_points:,} points of {report.n_batches:,} batches and "
        f"{report.n_chunks:,} chunks"
    ]
    if report.n_cold_chunks:
        lines.append(f"{would}brought back first: {report.n_cold_chunks:,} chunks from objects")
    if report.n_consoles:
        lines.append(f"{would}kept as artifacts: what {report.n_consoles:,} runs printed")
    if not dry_run:
        lines.append("the database is stock MLflow's again")
    print_report(report, lines + report.notes, as_json)


def _require_delivered(uri: str) -> None:
    """Wait until what this machine's trainings wrote is in the database.

    Raises:
        ClickException: It is not, after a minute.
    """
    from mlflow_weir.plugin.journaled_store import sql_target
    from mlflow_weir.plugin.recorder import Recorder

    if not Recorder(*sql_target(strip(store_at(uri).database_uri))).settle(_DELIVERY_WAIT_S):
        raise click.ClickException(
            "not all that was logged on this machine is in the database yet: see `weir status`"
        )


def database(uri: str) -> AbstractContextManager[sa.Engine]:
    """Open the database that a command was given, for as long as the block takes."""
    from mlflow_weir.store.maintenance.database import opened

    return opened(strip(store_at(uri).database_uri))


def with_bars(work: Callable[[ProgressBars], Any]) -> Any:
    """Do work whose progress is drawn, and return what it returns."""
    bars = ProgressBars()
    try:
        return work(bars)
    finally:
        bars.finish()


def print_report(report: Any, lines: list[str], as_json: bool) -> None:
    """Print a report: the lines, or all of it as JSON."""
    click.echo(json.dumps(asdict(report), indent=2) if as_json else "\n".join(lines))


db.add_command(archive)
db.add_command(retain)
