"""What a link to a report is made of: what was published, its panels' runs, what they show."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import flask
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError
from mlflow_weir.media_names import read_media_name
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.runs import listing, run_columns
from mlflow_weir.store.sharing import (
    frozen_runs,
    links,
    report_document,
    reports,
    shared_reports,
)
from mlflow_weir.store.sharing.links import SharedReport
from mlflow_weir.store.sharing.shown import Shown
from mlflow_weir.ui_extensions import (
    access,
    deliveries,
    link_sight,
    readable,
    report_rights,
    share_candidates,
)

_NOW = 2**63 - 1


class Found(NamedTuple):
    """What a link shows.

    Attributes:
        experiment_ids: The report's and its panels'.
        run_ids: Of all panels.
        media_until: Of runs in panels with pictures, which need the runs' files: until when.
        shown: What was ticked, as far as the panels show it.
        frozen_at: Runs by the earlier moment that they are frozen at.
        shown_at: Runs by still earlier moments that panels show them as of.
    """

    experiment_ids: list[str]
    run_ids: list[str]
    media_until: Mapping[str, int]
    shown: Shown
    report: SharedReport
    frozen_at: Mapping[int, Sequence[str]]
    shown_at: Mapping[int, Sequence[str]]


def describe(fields: Fields, caller: access.Access) -> dict[str, Any]:
    """Return what there is to tick for a link to a report, as ``share_candidates`` does."""
    _, document, _ = _published(fields, caller)
    panel_runs = [_runs_of(panel) for panel in report_document.panels(document)]
    run_ids = list(dict.fromkeys(run_id for ids in panel_runs for run_id in ids))
    found = share_candidates.describe(run_ids)
    keys = share_candidates.all_keys(run_ids)
    limited = shared_reports.limit(_all_of(keys), document, keys)
    counts = keys["metrics"]
    return {
        "n_runs": len(run_ids),
        "metrics": [{"key": key, "n_runs": counts.get(key, 0)} for key in sorted(limited.metrics)],
        "params": sorted(limited.params),
        "tags": [tag for tag in found["tags"] if tag in limited.tags],
        "has": {
            box: bool(has) and box in {"code", "patch", "media"} and getattr(limited, box)
            for box, has in found["has"].items()
        },
        "is_frozen": any(panel["runs"]["at"] for panel in report_document.panels(document)),
    }


def read(
    fields: Fields,
    caller: access.Access,
    shown: Shown,
    as_of_ms: int | None,
    *,
    shows_all: bool = False,
) -> Found:
    """Return what a link to a report shows; end the request where the caller may not make it.

    Args:
        fields: The request.
        caller: Who makes it.
        shown: What was ticked.
        as_of_ms: When it is frozen; None for a live link.
        shows_all: All that its panels show, whatever was ticked.

    Raises:
        ConfigError: It was never published, has too many runs, or is to be live and is not.
    """
    report, document, experiments = _published(fields, caller)
    panels = report_document.panels(document)
    if as_of_ms is None and any(panel["runs"]["at"] is not None for panel in panels):
        raise ConfigError(
            "panels of this report are frozen: share it frozen, or make them live and publish it"
        )
    panel_runs = [_runs_of(panel) for panel in panels]
    moments: dict[str, set[int]] = {}
    for panel, ids in zip(panels, panel_runs, strict=True):
        for run_id in ids:
            moments.setdefault(run_id, set()).add(_moment_of(panel))
    if len(moments) > links.MAX_RUNS:
        raise ConfigError(f"{len(moments):,} runs, at most {links.MAX_RUNS:,} in one link")
    keys = share_candidates.all_keys(list(moments))
    ticked = replace(_all_of(keys), names=shown.names) if shows_all else shown
    shown = shared_reports.limit(ticked, document, keys)
    frozen_at: dict[int, list[str]] = {}
    shown_at: dict[int, list[str]] = {}
    for run_id, all_ms in moments.items():
        # A run of several panels is there as of the last moment, and as of each one for its panel.
        last_ms = max(all_ms)
        for moment_ms in all_ms:
            if moment_ms < links.now_ms():
                of = frozen_at if moment_ms == last_ms else shown_at
                of.setdefault(moment_ms, []).append(run_id)
    media_until: dict[str, int] = {}
    for panel, ids in zip(panels, panel_runs, strict=True):
        if panel["kind"] == "media":
            for run_id in ids:
                media_until[run_id] = max(media_until.get(run_id, 0), _moment_of(panel))
    cut = shared_reports.shown_report(document, shown, panel_runs, keys, as_of_ms)
    return Found(
        experiments,
        list(moments),
        media_until,
        shown,
        SharedReport(report.report_id, report.revision, cut, panel_runs),
        frozen_at,
        shown_at,
    )


def take_back(session: Session, facts: dict[str, dict[str, Any]], found: Found) -> None:
    """Bring runs that were written down back to the moments that panels show them as of."""
    for moment_ms, run_ids in found.frozen_at.items():
        there = [run_id for run_id in run_ids if run_id in facts]
        otherwise = frozen_runs.take_back(session, facts, there, moment_ms)
        for run_id, changed in otherwise.items():
            facts[run_id] |= changed
    for moment_ms, run_ids in found.shown_at.items():
        there = [run_id for run_id in run_ids if run_id in facts]
        otherwise = frozen_runs.take_back(session, facts, there, moment_ms)
        for run_id, changed in otherwise.items():
            facts[run_id].setdefault("moments", {})[str(moment_ms)] = changed


def add_pictures(facts: dict[str, dict[str, Any]], found: Found) -> None:
    """Write down the pictures that there were when panels with pictures show them as of.

    Raises:
        ConfigError: They are of too many runs.
    """
    share_candidates.add_files(facts, list(found.media_until))
    for run_id, until_ms in found.media_until.items():
        if run_id in facts and not frozen_runs.at(facts[run_id], until_ms)["has_ended"]:
            files = facts[run_id]["files"]
            facts[run_id]["files"] = [one for one in files if _logged_ms(one[0]) <= until_ms]


def _logged_ms(path: str) -> int:
    name = read_media_name(path)
    return 0 if name is None or name.timestamp_ms is None else name.timestamp_ms


def _moment_of(panel: Mapping[str, Any]) -> int:
    at_ms: int | None = panel["runs"]["at"]
    return _NOW if at_ms is None else at_ms


def _all_of(keys: Mapping[str, Collection[str]]) -> Shown:
    """Return all that panels may show of runs with these keys."""
    return Shown(
        metrics=frozenset(keys["metrics"]),
        params=frozenset(keys["params"]),
        tags=frozenset(keys["tags"]),
        code=True,
        patch=True,
        media=True,
    )


def _published(
    fields: Fields, caller: access.Access
) -> tuple[reports.Report, dict[str, Any], list[str]]:
    """Return a report, what was published of it last, and the experiments that it is about."""
    report = report_rights.require_report(fields.text("report_id"), caller)
    engine = deliveries.require_store().engine
    found = reports.read_revision(engine, report.report_id, report.revision)
    if found is None:
        raise ConfigError("publish the report first: a link shows what was published")
    document: dict[str, Any] = json.loads(found[1])
    named = dict.fromkeys(report.experiment_ids)
    for panel in report_document.panels(document):
        named |= dict.fromkeys(panel["runs"]["experiments"])
    experiments = readable.require_readable_experiments(list(named), caller)
    if not all(map(caller.may_edit_experiment, experiments)):
        flask.abort(
            access.refusal(403, "the report shows runs of an experiment that you may not edit")
        )
    return report, document, experiments


def _runs_of(panel: Mapping[str, Any]) -> list[str]:
    """Return the runs that a panel shows now."""
    runs = panel["runs"]
    order = [
        listing.OrderTerm(run_columns.parse(term.removeprefix("-")), term.startswith("-"))
        for term in runs["order"]
    ]
    text = runs["filter"]
    if runs["ids"] is not None:
        text = f"run_id in ({', '.join(repr(run_id) for run_id in runs['ids'])})"
    if runs["at"] is not None:
        text = f"({text}) and " * bool(text.strip()) + f"start_time <= {runs['at']}"
    search = runs["search"] if runs["ids"] is None else ""
    found = links.Filter(text, search, runs["regex"])
    ids = link_sight.runs_of_filter(runs["experiments"], found, links.now_ms(), order)
    return ids[: runs["most"]]
