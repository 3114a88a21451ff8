"""``weir publish``: runs or a report as pages that need no server, in a folder or in S3."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_weir import __version__
from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.cli.report_words import report_id_of
from mlflow_weir.plugin.cli.shown_fields import show_option, shown_fields
from mlflow_weir.plugin.cli.stores import is_server, store_at

if TYPE_CHECKING:
    from mlflow_weir.ui_extensions.publishing.asking import Source, Wish
    from mlflow_weir.ui_extensions.publishing.collecting import Summary
    from mlflow_weir.ui_extensions.publishing.places import Folder, Outcome
    from mlflow_weir.ui_extensions.publishing.s3 import S3Prefix

_DURATION = re.compile(r"([0-9]+)([smhd])\Z")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@click.command()
@click.argument("targets", nargs=-1, metavar="EXPERIMENT|report:ID|RUN...")
@click.option(
    "--to", "place", required=True, metavar="DIR|s3://BUCKET/PREFIX", help="Where the pages go."
)
@click.option(
    "--uri",
    default="weir:",
    envvar="MLFLOW_TRACKING_URI",
    help="Tracking server or database; MLFLOW_TRACKING_URI when left out.",
)
@click.option("--filter", "filter_", default="", help="Of an experiment only runs that match.")
@click.option("--view", default="", help="Of an experiment a saved view, by its name.")
@click.option("--title", default="", help="What readers see first.")
@show_option
@click.option("--numbered", is_flag=True, help="Number the runs instead of naming them.")
@click.option("--single-file", is_flag=True, help="One HTML file that holds everything.")
@click.option(
    "--presign",
    metavar="7d",
    help="Print a link to a bucket that is not public, good for so long, at most 7d; implies "
    "--single-file.",
)
@click.option("--endpoint-url", help="Of an S3 server that is not Amazon's.")
@click.option("--profile", help="Of the AWS configuration.")
@click.option("--region", help="Of the bucket.")
@click.option(
    "--checksums",
    type=click.Choice(["when_supported", "when_required"]),
    default="when_supported",
    show_default=True,
    help="when_required for S3 servers that refuse the checksums of newer SDKs.",
)
@click.option("--unpublish", is_flag=True, help="Take away what was published there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def publish(
    targets: tuple[str, ...],
    place: str,
    uri: str,
    filter_: str,
    view: str,
    title: str,
    show: tuple[str, ...],
    numbered: bool,
    single_file: bool,
    presign: str | None,
    endpoint_url: str | None,
    profile: str | None,
    region: str | None,
    checksums: str,
    unpublish: bool,
    as_json: bool,
) -> None:
    """Write an experiment, runs or a report as pages that need no server.

    They show the runs as they are now, and of them the fields that --show names and nothing else.
    A report (report:ID, or its page's address) is as it was published last, its panels as of now.
    Publishing to the same place again writes what has changed. Nothing but Weir's own files is
    ever touched there.
    """
    from mlflow_weir.ui_extensions.publishing import places

    seconds = None if presign is None else _seconds(presign)
    there = _place(place, endpoint_url, profile, region, checksums == "when_required")
    if seconds is not None and isinstance(there, places.Folder):
        raise ConfigError("--presign is for s3://")
    if unpublish:
        if targets:
            raise ConfigError("--unpublish takes away all that was published at --to")
        _say_removed(places.take_away(there), there.address, as_json)
        return
    wish = _wish(targets, filter_, title, show, numbered)._replace(view=view)
    if view and not wish.experiment:
        raise ConfigError("--view is for an experiment")
    say = _quiet if as_json else _progress
    with tempfile.TemporaryDirectory(prefix="weir-publish-") as folder:
        names, about, summary = _make(
            _source(uri), wish, Path(folder), single_file or seconds is not None, say
        )
        done = places.put(there, Path(folder), names, about, say)
    link = there.page
    if seconds is not None and not isinstance(there, places.Folder):
        link = there.presigned(seconds)
    _say_done(done, summary, link, as_json)


def _make(
    source: Source, wish: Wish, folder: Path, is_single: bool, say: Any
) -> tuple[list[str], dict[str, Any], Summary]:
    """Write all files into a folder; return their names, what the manifest says, the counts."""
    from mlflow_weir.ui_extensions.publishing import asking, collecting, page_files

    page_files.require_bundle()
    with asking.preview(source, wish) as link:
        summary = collecting.collect(link, collecting.Pieces(folder), say)
        title = link.title
    kind = "report" if wish.report_id else "runs"
    if is_single:
        names = page_files.write_single(folder, folder / "data", title, summary.start, kind)
    else:
        names = page_files.write_set(folder, title, summary.start, kind)
    about = {
        "weir": __version__,
        "title": title,
        "as_of_ms": summary.as_of_ms,
        "n_runs": summary.n_runs,
        "shown": dict(summary.shown),
    }
    return names, about, summary


def _wish(
    targets: tuple[str, ...], filter_: str, title: str, show: tuple[str, ...], numbered: bool
) -> Wish:
    from mlflow_weir.ui_extensions.publishing.asking import Wish, is_run_id

    if not targets:
        raise ConfigError("name an experiment, a report or runs")
    shown = shown_fields(show)
    run_ids = tuple(dict.fromkeys(one for one in targets if is_run_id(one)))
    reports = [found for one in targets if (found := report_id_of(one)) is not None]
    if not run_ids and not reports and len(targets) == 1:
        if targets[0].startswith("report:"):
            raise ConfigError(f"{targets[0]!r:.100}: a report is named by its id of 32 digits")
        return Wish(targets[0], (), filter_, title, shown, numbered)
    if len(reports) not in {0, len(targets)} or len(reports) > 1:
        raise ConfigError("a report is published alone")
    if not reports and len(run_ids) != len(set(targets)):
        raise ConfigError("name one experiment, one report, or runs by their ids")
    if filter_:
        raise ConfigError("--filter is for an experiment")
    return Wish("", run_ids, "", title, shown, numbered, *reports)


def _source(uri: str) -> Source:
    from mlflow_weir.ui_extensions.publishing.asking import Database, Server

    return Server(uri) if is_server(uri) else Database(store_at(uri).database_uri)


def _place(
    place: str, endpoint_url: str | None, profile: str | None, region: str | None, is_old: bool
) -> Folder | S3Prefix:
    if place.startswith("s3://"):
        from mlflow_weir.ui_extensions.publishing.s3 import S3Options, S3Prefix

        return S3Prefix(place, S3Options(endpoint_url, profile, region, is_old))
    if "://" in place:
        raise ConfigError(f"--to {place!r:.100}: a folder, or s3://bucket/prefix")
    from mlflow_weir.ui_extensions.publishing.places import Folder

    return Folder(Path(place))


def _seconds(text: str) -> int:
    from mlflow_weir.ui_extensions.publishing.s3 import LONGEST_S

    found = _DURATION.match(text)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_S:
        raise ConfigError(f"--presign {text!r:.40}", hint="such as 12h, at most 7d")
    return seconds


def _say_done(done: Outcome, summary: Summary, link: str, as_json: bool) -> None:
    if as_json:
        counts = {"n_runs": summary.n_runs, "n_points": summary.n_points}
        click.echo(json.dumps({"address": link, **done._asdict(), **counts}, indent=2))
        return
    points = _count(summary.n_points, "point")
    if summary.n_buckets < summary.n_points:
        points += f" as {summary.n_buckets:,} buckets, with their extremes"
    click.echo(
        f"{_count(summary.n_runs, 'run')}, {points}: {_count(done.n_files, 'file')}, "
        f"{_size(done.n_bytes)}; "
        f"{len(done.written):,} written, {len(done.removed):,} removed"
    )
    _say_kept(done)
    click.echo(link)


def _say_removed(done: Outcome, address: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"removed": done.removed, "kept": done.kept}, indent=2))
        return
    click.echo(f"{address}: {_count(len(done.removed), 'file')} removed")
    _say_kept(done)


def _say_kept(done: Outcome) -> None:
    for name in done.kept:
        click.echo(f"{name} was changed by somebody since, and stays", err=True)


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


def _progress(words: str) -> None:
    click.echo(words, err=True)


def _quiet(words: str) -> None:
    """Say nothing: what is printed is JSON."""
