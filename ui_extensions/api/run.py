"""``POST run``: one run's facts. ``POST experiments``: those that its caller may see.

    run          {"run_id"}
    200          {"id", "name", "experiment_id", "experiment_name", "status", "stage", "user",
                  "start_ms", "end_ms", "tags": {key: value}, "params": [[key, value]],
                  "metrics": [{"key", "last", "step", "at_ms", "min", "max"}], "now_ms",
                  "n_metrics", "n_params", "may_edit", "alerts": [as of POST alerts, the newest]}
    experiments  {}
    200          {"experiments": [{"id", "name", "n_runs", "last_update_ms"}], "is_cut"}

A metric's numbers are JSON numbers, or "NaN", "Infinity" and "-Infinity"; ``min`` and ``max`` are
null where no number was logged. At most 5,000 metrics and params, by key.
"""

from __future__ import annotations

import math
import time
from typing import Any

import flask
import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.alerts import alerts
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.metrics.points import INFINITY
from mlflow_weir.store.runs import extremes
from mlflow_weir.store.sharing.shown import PARENT_TAG
from mlflow_weir.ui_extensions import access, deliveries
from mlflow_weir.ui_extensions.link_sight import LinkSight
from mlflow_weir.ui_extensions.questions import SMALL_BYTES, read_question
from mlflow_weir.ui_extensions.sights import Member

MAX_KEYS = 5_000
MAX_EXPERIMENTS = 1_000
MAX_ALERTS = 50


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    @access.route(routes, "/run", "POST", content_type="application/json")
    def run() -> flask.Response:
        run_id = read_question(SMALL_BYTES).text("run_id")
        sight = Member()
        sight.require_run(run_id)
        may_edit = sight.caller.may_edit_run(run_id)
        found = _run(run_id) | {"may_edit": may_edit, "alerts": _alerts(run_id)}
        return flask.jsonify(found)

    @access.route(routes, "/experiments", "POST", content_type="application/json")
    def experiments() -> flask.Response:
        read_question(SMALL_BYTES)
        return flask.jsonify(_experiments())


def answer_visitor(fields: Fields, sight: LinkSight) -> dict[str, Any]:
    """Answer ``POST run`` for a link: what it shows of the run, as it is or as it was."""
    run_id, shown = fields.text("run_id"), sight.shown
    sight.require_run(run_id)
    facts = sight.facts(run_id)
    found = _run(run_id) if facts is None else _frozen(facts)
    runs = sight.named_runs([run_id])
    (row,) = runs.rows([run_id], [])
    number = runs.numbers([row]).get(run_id, 0)
    tags = {key: value for key, value in found["tags"].items() if shown.has_tag(key)}
    if "parent" in sight.shown_row(row, number):
        tags[PARENT_TAG] = row.info["parent"]
    params = [[key, value] for key, value in found["params"] if shown.has_param(key)]
    metrics = [one for one in found["metrics"] if shown.has_metric(one["key"])]
    return {
        "id": run_id,
        "name": sight.name_of(row.experiment_id, number, row.name),
        "experiment_id": sight.alias_of(row.experiment_id),
        "experiment_name": sight.share.title,
        "status": found["status"],
        "stage": found["stage"],
        "user": found["user"] if shown.host else "",
        "start_ms": found["start_ms"],
        "end_ms": found["end_ms"],
        "tags": tags,
        "params": params,
        "metrics": metrics,
        "n_metrics": len(metrics),
        "n_params": len(params),
        "now_ms": time.time_ns() // 1_000_000 if facts is None else sight.share.as_of_ms,
        "may_edit": False,
    }


def _alerts(run_id: str) -> list[dict[str, Any]]:
    """Return the newest alerts of a run, for whoever may see it; visitors of links get none."""
    with deliveries.require_store().ManagedSessionMaker() as session:
        return [one.as_json() for one in alerts.read_run(session, run_id, MAX_ALERTS)]


def _frozen(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a run as ``_run`` does, from what was written down of it."""
    return {
        "status": facts["status"],
        "stage": tables.ACTIVE,
        "user": facts["user"],
        "start_ms": facts["start_ms"],
        "end_ms": facts["end_ms"],
        "tags": facts["tags"],
        "params": sorted(map(list, facts["params"].items())),
        "metrics": [
            {
                "key": key,
                "last": number(last),
                "step": step,
                "at_ms": at_ms,
                "min": None if low is None else number(low),
                "max": None if high is None else number(high),
            }
            for key, (last, step, at_ms, low, high) in sorted(facts["metrics"].items())
        ],
    }


def _run(run_id: str) -> dict[str, Any]:
    runs, owners = tables.runs.c, tables.experiments.c
    with deliveries.require_store().ManagedSessionMaker() as session:
        row = session.execute(
            sa.select(
                runs.name,
                runs.experiment_id,
                owners.name.label("experiment_name"),
                runs.status,
                runs.lifecycle_stage,
                runs.user_id,
                runs.start_time,
                runs.end_time,
            )
            .join(tables.experiments, owners.experiment_id == runs.experiment_id)
            .where(runs.run_uuid == run_id)
        ).one()
        tags = _pairs(session, tables.tags, run_id)
        params = _pairs(session, tables.params, run_id)
        latest = schema.mlflow_latest_metrics
        n_metrics, n_params = (
            session.execute(
                sa.select(sa.func.count()).select_from(table).where(table.c.run_uuid == run_id)
            ).scalar_one()
            for table in (latest, tables.params)
        )
        ranges = extremes.read_run(session, run_id)
        metrics = session.execute(
            sa.select(latest.c.key, latest.c.value, latest.c.is_nan, latest.c.step)
            .add_columns(latest.c.timestamp)
            .where(latest.c.run_uuid == run_id)
            .order_by(latest.c.key)
            .limit(MAX_KEYS)
        ).all()
    return {
        "id": run_id,
        "name": row.name or "",
        "experiment_id": str(row.experiment_id),
        "experiment_name": row.experiment_name,
        "status": row.status,
        "stage": row.lifecycle_stage,
        "user": row.user_id or "",
        "start_ms": row.start_time,
        "end_ms": row.end_time,
        "tags": dict(tags),
        "params": params,
        "metrics": [
            {
                "key": key,
                "last": number(math.nan if is_nan else value),
                "step": step,
                "at_ms": at_ms,
                "min": number(ranges[key].low) if key in ranges else None,
                "max": number(ranges[key].high) if key in ranges else None,
            }
            for key, value, is_nan, step, at_ms in metrics
        ],
        "n_metrics": n_metrics,
        "n_params": n_params,
        "now_ms": time.time_ns() // 1_000_000,
    }


def number(value: float) -> float | str:
    """Return a value as JSON has it."""
    if math.isnan(value):
        return "NaN"
    if abs(value) >= INFINITY:
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _pairs(session: Any, table: sa.TableClause, run_id: str) -> list[list[str]]:
    columns = table.c
    query = (
        sa.select(columns.key, columns.value)
        .where(columns.run_uuid == run_id)
        .order_by(columns.key)
        .limit(MAX_KEYS)
    )
    return [[key, value] for key, value in session.execute(query)]


def _experiments() -> dict[str, Any]:
    """Ask MLflow for those that the caller may see, and count their runs."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    while len(found) < MAX_EXPERIMENTS:
        body: dict[str, Any] = {
            "max_results": MAX_EXPERIMENTS,
            "order_by": ["last_update_time DESC"],
            "view_type": "ACTIVE_ONLY",
        }
        answer = access.fetch(
            "POST",
            "/ajax-api/2.0/mlflow/experiments/search",
            body | ({"page_token": token} if token else {}),
        )
        said = answer.get_json(silent=True) or {}
        if answer.status_code != 200:
            flask.abort(access.refusal(answer.status_code, str(said.get("message", "refused"))))
        found += said.get("experiments", [])
        token = said.get("next_page_token")
        if not token:
            break
    n_runs = _count_runs([int(one["experiment_id"]) for one in found[:MAX_EXPERIMENTS]])
    return {
        "experiments": [
            {
                "id": one["experiment_id"],
                "name": one["name"],
                "n_runs": n_runs.get(int(one["experiment_id"]), 0),
                "last_update_ms": int(one["last_update_time"])
                if one.get("last_update_time")
                else None,
            }
            for one in found[:MAX_EXPERIMENTS]
        ],
        "is_cut": bool(token) or len(found) > MAX_EXPERIMENTS,
    }


def _count_runs(experiment_ids: list[int]) -> dict[int, int]:
    runs = tables.runs.c
    counted: dict[int, int] = {}
    with deliveries.require_store().ManagedSessionMaker() as session:
        for start in range(0, len(experiment_ids), 500):
            query = (
                sa.select(runs.experiment_id, sa.func.count())
                .where(
                    runs.experiment_id.in_(experiment_ids[start : start + 500]),
                    runs.lifecycle_stage == "active",
                )
                .group_by(runs.experiment_id)
            )
            counted |= {int(owner): n for owner, n in session.execute(query)}
    return counted
