"""``weir export``: runs as files, with their whole history."""

from __future__ import annotations

import json
import sys
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mlflow_weir.plugin.cli.terminal import plain


@click.command()
@click.argument("run_ids", metavar="[RUN]...", nargs=-1)
@click.option(
    "--uri", default="weir:", envvar="MLFLOW_TRACKING_URI", help="Store or server that has them."
)
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path), help="Folder to write to."
)
@click.option("--experiment", "experiments", multiple=True, help="All runs of it: name or id.")
@click.option(
    "--filter", "filter_string", default="", help="Of these, as mlflow.search_runs has it."
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["parquet", "csv", "json"]),
    default="parquet",
    help="Of the metric history.",
)
@click.option(
    "--artifacts",
    "with_artifacts",
    is_flag=True,
    help="Download artifacts, too: of runs, of logged models, attachments of traces.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def export(
    run_ids: tuple[str, ...],
    uri: str,
    folder: Path,
    experiments: tuple[str, ...],
    filter_string: str,
    file_format: str,
    with_artifacts: bool,
    as_json: bool,
) -> None:
    """Write runs as files: params, tags and the like as JSON, every point of every metric.

    Runs are named by id, or by --experiment. Their logged models and traces come along, and of a
    store of Weir's what they printed, histograms and alerts; what belongs to no run (registered
    models, prompts, other traces, alert rules, arrangements, reports, links) does not. Call it
    again after it was stopped, or later: what is there and has not changed is left as it is.
    """
    from mlflow import MlflowClient

    from mlflow_weir.plugin import exporting
    from mlflow_weir.plugin.exported_beside import beside
    from mlflow_weir.plugin.importing.mlflow_place import source_of

    if not run_ids and not experiments:
        raise click.UsageError("name runs, or --experiment")
    if filter_string and not experiments:
        raise click.UsageError("--filter picks runs of an --experiment: name one")
    uri = source_of(uri)
    client = MlflowClient(uri)
    kept = beside(uri)
    wanted = exporting.find_runs(client, run_ids, experiments, filter_string)
    bar: Any = (
        click.progressbar(length=len(wanted), label="runs", file=sys.stderr)
        if sys.stderr.isatty()
        else nullcontext()
    )
    with bar as shown, nullcontext() if kept is None else closing(kept):
        report = exporting.export(
            client,
            wanted,
            folder,
            beside=kept,
            file_format=file_format,
            with_artifacts=with_artifacts,
            on_run=(lambda: shown.update(1)) if shown is not None else (lambda: None),
        )
    lines = [
        f"written: {report.n_runs:,} runs with {report.n_points:,} points, "
        f"{report.n_artifacts:,} artifacts, {report.n_models:,} logged models, "
        f"{report.n_traces:,} traces with {report.n_attachments:,} attachments, "
        f"{report.n_lines:,} lines printed, {report.n_histograms:,} histograms, "
        f"{report.n_alerts:,} alerts: {report.n_bytes:,} bytes, to {folder}"
    ]
    if report.n_same:
        lines.append(f"there already: {report.n_same:,} runs")
    lines += [f"  {what}: {n:,}" for what, n in sorted(report.left_out.items())]
    lines += [f"not written: {run_id}: {plain(why)}" for run_id, why in report.failed.items()]
    click.echo(json.dumps(asdict(report), indent=2) if as_json else "\n".join(lines))
    if report.failed:
        raise SystemExit(1)
