"""``POST runs/act``: one deed for many runs, each through MLflow's own route and its permissions.

    request  {"run_ids": [id, …], "action": "tag" | "untag" | "delete" | "restore" | "rename",
              "key"?, "value"?}
    200      {"done": [run id, …], "failed": [{"id", "status", "error"}, …]}

MLflow answers for each run as if the caller had asked it alone: who may not edit one is told so
for that one, and the others are done. A page sends one slice after the other.

``POST runs/move`` {"run_ids", "experiment_id"} moves runs, with the same answer. Who does it must
be one whom MLflow lets delete the run where it is, change it, and create runs where it goes.
"""

from __future__ import annotations

from typing import Any

import flask

from mlflow_weir.errors import ConfigError, NotPermitted
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.runs import moving
from mlflow_weir.ui_extensions import access, audit, deliveries, readable
from mlflow_weir.ui_extensions.api.runs import answered
from mlflow_weir.ui_extensions.ids import is_id

MAX_RUNS = moving.MAX_RUNS


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/runs/act", "POST", content_type="application/json")
    def runs_act() -> flask.Response:
        return answered(_act)

    @access.route(routes, "/runs/move", "POST", content_type="application/json")
    def runs_move() -> flask.Response:
        return answered(_move)


def _act(fields: Fields) -> dict[str, Any]:
    run_ids, action = _run_ids(fields), fields.text("action")
    deliveries.require_store()
    path, more = _question(action, fields)
    done, failed = [], []
    for run_id in run_ids:
        status, message = access.act("POST", path, {"run_id": run_id, **more})
        if status == 200:
            done.append(run_id)
        else:
            failed.append({"id": run_id, "status": status, "error": message})
    return {"done": done, "failed": failed}


def _move(fields: Fields) -> dict[str, Any]:
    run_ids = _run_ids(fields)
    caller = access.Access()
    (target,) = readable.require_readable_experiments([fields.text("experiment_id")], caller)
    if not caller.may_create_run(target):
        raise NotPermitted(access.NOT_PERMITTED)
    there = readable.readable_runs(run_ids, caller)
    refused = {
        run_id: (404, f"run {run_id} does not exist")
        if run_id not in there
        else (403, access.NOT_PERMITTED)
        for run_id in run_ids
        if run_id not in there
        or not (caller.may_delete_run(run_id) and caller.may_edit_run(run_id))
    }
    allowed = [run_id for run_id in run_ids if run_id not in refused]
    stays: dict[str, str] = {}
    if allowed:
        with deliveries.require_store().ManagedSessionMaker(read_only=False) as session:
            stays = moving.move(session, allowed, int(target))
    for run_id in allowed:
        if run_id not in stays:
            audit.note("run.move", target=run_id, experiment_id=there[run_id], to=target)
    refused |= {run_id: (409, why) for run_id, why in stays.items()}
    return {
        "done": [run_id for run_id in run_ids if run_id not in refused],
        "failed": [
            {"id": run_id, "status": status, "error": why}
            for run_id, (status, why) in refused.items()
        ],
    }


def _run_ids(fields: Fields) -> list[str]:
    run_ids = fields.texts("run_ids")
    if len(run_ids) > MAX_RUNS:
        raise ConfigError(f"{len(run_ids)} runs, at most {MAX_RUNS} at once")
    if not all(map(is_id, run_ids)):
        raise ConfigError("a run id that is not 32 hexadecimal digits")
    return run_ids


def _question(action: str, fields: Fields) -> tuple[str, dict[str, Any]]:
    """Return the route of MLflow's that does it, and what it is told beside the run."""
    if action == "tag":
        return "runs/set-tag", {"key": fields.text("key"), "value": fields.text("value")}
    if action == "untag":
        return "runs/delete-tag", {"key": fields.text("key")}
    if action == "rename":
        return "runs/update", {"run_name": fields.text("value")}
    if action in {"delete", "restore"}:
        return f"runs/{action}", {}
    raise ConfigError(f"no such action: {action!r:.40}")
