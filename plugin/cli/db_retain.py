"""``weir db retain``: say which runs a policy has outlived, and let them go when told to."""

from __future__ import annotations

import getpass
import platform
from typing import TYPE_CHECKING, Any

import click

from mlflow_weir import policy_words
from mlflow_weir.policy_words import STATUSES

if TYPE_CHECKING:
    from mlflow_weir.store.maintenance.retention import Outlived, RetainReport

_SHOWN = 20


def age_ms(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Read an age such as `90d`, in ms; a callback of click's."""
    if text is None:
        return None
    try:
        return policy_words.age_ms(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


def _tags(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[tuple[str, str | None]]:
    try:
        return list(map(policy_words.tag, texts))
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


@click.command()
@click.argument("uri")
@click.option("--older-than", "older_than_ms", callback=age_ms, help="Ended so long ago: 90d.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES, case_sensitive=False),
    help="In this state; may be repeated. Without it: FINISHED, FAILED and KILLED.",
)
@click.option("--tag", "tags", multiple=True, callback=_tags, help="With this tag: KEY[=VALUE].")
@click.option("--experiment", "experiments", multiple=True, help="Of this experiment: name or id.")
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without this, only say what.")
@click.option("--mark-only", is_flag=True, help="Mark as deleted; leave the rest to `mlflow gc`.")
@click.option("--with-models", is_flag=True, help="Mark models that they logged as deleted, too.")
@click.option("--count-artifacts", is_flag=True, help="Count their files; asks the stores.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def retain(
    uri: str,
    older_than_ms: int | None,
    statuses: tuple[str, ...],
    tags: list[tuple[str, str | None]],
    experiments: tuple[str, ...],
    is_applied: bool,
    mark_only: bool,
    with_models: bool,
    count_artifacts: bool,
    as_json: bool,
) -> None:
    """Say which runs all of the conditions hold for; with --apply, let them go.

    Their points, console, histograms and alerts are removed and they are marked as deleted;
    `mlflow gc` then removes their artifacts and what is left. Runs that are pinned, shared by a
    link, in a report, registered as a model, or still owned by a process stay, and are named.
    """
    from mlflow_weir.plugin.cli.db import database, print_report, with_bars
    from mlflow_weir.store.maintenance import retention

    policy = retention.Policy(
        older_than_ms, statuses or retention.ENDED, tuple(tags), tuple(experiments)
    )
    with database(uri) as engine:
        report = with_bars(
            lambda bars: retention.retain(
                engine,
                policy,
                bars,
                who=f"{_user()}@{platform.node()} (weir db retain)",
                dry_run=not is_applied,
                mark_only=mark_only,
                with_models=with_models,
                with_artifacts=count_artifacts,
            )
        )
    print_report(report, _lines(report, with_models), as_json)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "?"


def _lines(report: RetainReport, with_models: bool) -> list[str]:
    gone = report.gone
    verb = "would be marked" if report.dry_run else "marked"
    lines = [f"{verb} as deleted: {len(gone):,} runs"]
    if not report.mark_only:
        lines.append(
            f"{'would be removed' if report.dry_run else 'removed'}: "
            f"{_sum(gone, 'n_points'):,} points, {_sum(gone, 'size_bytes'):,} bytes of Weir's "
            f"tables and {_sum(gone, 'n_metric_rows'):,} rows of MLflow's"
        )
    counted = [run for run in gone if run.n_files is not None]
    if counted:
        lines.append(
            f"left for mlflow gc: {_sum(counted, 'n_files'):,} artifacts, "
            f"{_sum(counted, 'artifact_bytes'):,} bytes"
        )
    lines += [f"  {_named(run)}" for run in gone[:_SHOWN]]
    if len(gone) > _SHOWN:
        lines.append(f"  and {len(gone) - _SHOWN:,} more (--json names all)")
    if report.kept:
        lines.append(f"kept: {len(report.kept):,} runs")
        lines += [
            f"  {_named(run)}: {'; '.join(run.kept_because)}" for run in report.kept[:_SHOWN]
        ]
        if len(report.kept) > _SHOWN:
            lines.append(f"  and {len(report.kept) - _SHOWN:,} more (--json names all)")
    n_models = _sum(gone, "n_logged_models")
    if n_models and not with_models:
        lines.append(f"{n_models:,} models that they logged stay (--with-models)")
    if gone and report.dry_run:
        lines.append("nothing was changed: --apply does it")
    elif gone:
        lines.append("`mlflow gc` removes artifacts, params and tags of deleted runs")
    return lines + report.notes


def _named(run: Outlived) -> str:
    return f"{run.run_id} {run.name!r} {run.status}, experiment {run.experiment_id}"


def _sum(runs: list[Outlived], name: str) -> Any:
    return sum(getattr(run, name) or 0 for run in runs)
