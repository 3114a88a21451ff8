"""``weir journal``: look for damage in journals, and make damaged ones readable again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.journal import salvage as files
from mlflow_weir.plugin.journal.format import list_segments
from mlflow_weir.plugin.journal.spool import Spool

_json = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
_path = click.argument(
    "path", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def journal() -> None:
    """Look for damage in journals, and make damaged ones readable again.

    PATH is a journal's folder, or a spool's for all that it holds; this user's spool when left
    out.
    """


@journal.command()
@_path
@_json
def check(path: Path | None, as_json: bool) -> None:
    """Verify every record; exit with 1 when something is damaged. Changes nothing."""
    if _report(path, files.check, as_json):
        raise SystemExit(1)


@journal.command()
@_path
@_json
def salvage(path: Path | None, as_json: bool) -> None:
    """Take out what is damaged, so that all other records can be delivered.

    The damaged file is kept beside the new one, as `.seg.bad`. Refused while the process that
    writes the journal lives.
    """
    if _report(path, files.salvage, as_json) and not as_json:
        click.echo("damaged bytes were taken out; the files as they were are kept as .seg.bad")


def _report(path: Path | None, look: Callable[[Path], files.Findings], as_json: bool) -> int:
    """Print what ``look`` finds in each journal; return how many damages that were."""
    found = [look(folder) for folder in _folders(path)]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo("\n".join(_lines(one)))
        if not found:
            click.echo("no journals")
    return sum(len(one.damages) for one in found)


def _lines(found: files.Findings) -> list[str]:
    state = f"{len(found.damages)} damages" if found.damages else "all well"
    lines = [f"{found.path}: {found.n_records:,} records, {state}"]
    if found.n_torn_bytes:
        lines.append(f"  {found.n_torn_bytes:,} bytes at its end are a torn or unfinished record")
    lines += [f"  {d.file}: {d.size_bytes:,} bad bytes at {d.offset:,}" for d in found.damages]
    return lines


def _folders(path: Path | None) -> list[Path]:
    if path is None:
        path = Spool.open().root
    if (path / "journals").is_dir():
        return sorted(one.path for one in Spool(path).journals())
    if not (path / "header.json").is_file() and not list_segments(path):
        raise ConfigError(f"{path}: neither a journal nor a spool", hint="check the path")
    return [path]
