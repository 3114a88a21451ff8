"""``weir sync``: deliver journals that were left behind."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_weir.plugin.cli.stores import delivery_address
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool

if TYPE_CHECKING:
    from mlflow_weir.plugin.agent.sync import Synced

_DRAW_S = 0.1


@click.command()
@click.argument(
    "paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True, path_type=Path)
)
@click.option("--to", "uri", help="Deliver to this store, not to where each journal says.")
@click.option("--json", "as_json", is_flag=True, help="Print what became of each as JSON.")
def sync(paths: tuple[Path, ...], uri: str | None, as_json: bool) -> None:
    """Deliver journals that were left behind: offline, crashed, or copied from another machine.

    PATH is a journal's folder, a spool's, or one that holds journals; this user's spool when left
    out. A journal from elsewhere is read only, and needs `--to`. Delivering one again changes
    nothing. Exits with 1 when something could not be delivered.
    """
    from mlflow_weir.plugin.agent.sync import Syncer, find_journals

    spool = Spool.open()
    folders: list[JournalFolder] = []
    for path in paths:
        folders += find_journals(path)
    if not paths:
        folders = sorted(spool.journals(), key=lambda one: one.path)
    line = ProgressLine(len(folders))
    syncer = Syncer(spool, None if uri is None else delivery_address(uri), line.draw)
    try:
        found = syncer.deliver_all(folders, line.begin)
    finally:
        line.end()
        syncer.close()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        click.echo("\n".join(map(plain, _lines(found))) or "nothing to deliver")
    if any(one.error for one in found):
        raise SystemExit(1)


def _lines(found: list[Synced]) -> list[str]:
    lines = []
    for one in found:
        name = one.journal_id or one.path
        to = f" to {one.target}" if one.target else ""
        lines.append(
            f"journal {name}{to}: {one.n_records:,} records with {one.n_points:,} points delivered"
            + (f", files of {one.n_files:,} calls uploaded" if one.n_files else "")
            + (", removed" if one.is_removed else "")
        )
        lines += [f"  run {run_id}: {cause}" for run_id, cause in one.causes.items()]
        if one.n_rejected:
            lines.append(f"  refused by the store: {one.n_rejected:,}")
            lines += [f"    {each['what']}: {each['reason']}" for each in one.rejected[-5:]]
        if one.error:
            since = f"from byte {one.position:,} on" if one.position < one.end else "beside it"
            lines.append(f"  not delivered {since}: {one.error}")
    return lines


class ProgressLine:
    """One line on a terminal that says how far it is; nothing elsewhere."""

    def __init__(self, n_journals: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._n_journals, self._clock = n_journals, clock
        self._number = 0
        self._drawn_s = float("-inf")
        self._is_shown = sys.stderr.isatty()

    def begin(self) -> None:
        """Go on to the next journal."""
        self._number += 1

    def draw(self, synced: Synced) -> None:
        """Say how far the journal is, at most ten times a second."""
        if not self._is_shown or self._clock() - self._drawn_s < _DRAW_S:
            return
        self._drawn_s = self._clock()
        done = 100 * synced.position // max(synced.end, 1)
        click.echo(
            f"\r\033[Kjournal {self._number} of {self._n_journals}: {done} % of "
            f"{synced.end / (1 << 20):,.1f} MiB, {synced.n_points:,} points",
            nl=False,
            err=True,
        )

    def end(self) -> None:
        """Take the line away."""
        if self._is_shown and self._drawn_s > float("-inf"):
            click.echo("\r\033[K", nl=False, err=True)
