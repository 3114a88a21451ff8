"""``weir db archive``: chunks of ended runs to a folder or to S3, and back."""

from __future__ import annotations

import click

from mlflow_weir.plugin.cli.db_retain import age_ms


@click.command()
@click.argument("uri")
@click.option("--to", "address", help="An absolute folder or s3://bucket/prefix.")
@click.option(
    "--older-than",
    "older_than_ms",
    default="7d",
    callback=age_ms,
    help="Of runs that ended so long ago: 7d.",
)
@click.option("--back", "is_back", is_flag=True, help="Bring every chunk back instead.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def archive(
    uri: str, address: str | None, older_than_ms: int, is_back: bool, dry_run: bool, as_json: bool
) -> None:
    """Move the metric history of ended runs to a folder or to S3, as a Parquet data set.

    Reads, charts and search work as before. Safe while trainings write, and to stop and run again.
    """
    from mlflow_weir import settings
    from mlflow_weir.errors import ConfigError
    from mlflow_weir.plugin.cli.db import database, print_report, with_bars
    from mlflow_weir.store.maintenance import cold

    if is_back and address:
        raise click.UsageError("--back brings chunks back from wherever they are, without --to")
    place = address or settings.COLD_STORE.get()
    if not is_back and not place:
        raise ConfigError(
            "nothing says where chunks are to go", hint="give --to, or set WEIR_COLD_STORE"
        )
    with database(uri) as engine:
        if is_back and dry_run:
            report = cold.waiting(engine)
        elif is_back:
            report, unreadable = with_bars(lambda bars: cold.bring_back(engine, bars))
            report.notes += [f"stays where it is: {exc}" for exc in unreadable]
        else:
            report = with_bars(
                lambda bars: cold.archive(
                    engine, place, bars, older_than_ms=older_than_ms, dry_run=dry_run
                )
            )
    would = "would be " if dry_run else ""
    lines = []
    if not is_back:
        lines.append(
            f"{would}moved: {report.n_points:,} points in {report.n_chunks:,} chunks, "
            f"{report.n_bytes:,} bytes of the database, to {report.n_objects:,} objects"
        )
        if report.n_objects and not dry_run:
            lines[0] += f" of {report.object_bytes:,} bytes"
    if is_back or report.n_returned or report.n_removed:
        lines.append(
            f"{would}brought back: {report.n_returned:,} chunks; "
            f"{would}taken away: {report.n_removed:,} objects"
        )
    print_report(report, lines + report.notes, as_json)
    if is_back and report.notes:
        raise SystemExit(1)
