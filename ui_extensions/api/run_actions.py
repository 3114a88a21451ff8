"""``POST runs/act``: one deed for many runs, each through MLflow's own route and its permissions.

    request  {"run_ids": [id, …], "action": "tag" | "untag" | "delete" | "restore" | "rename",
              "key"?, "value"?}
    200      {"done": [run id, …], "failed": [{"id", "status", "error"}, …]}

MLflow answers for each run as if the caller had asked it alone: who may not edit one is told so
for that one, and the others are done. A page sends one slice after the other.
"""

from __future__ import annotations

import re
from typing import Any

import flask

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.ui_extensions import access, deliveries
from mlflow_weir.ui_extensions.api.runs import answered

MAX_RUNS = 200
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/runs/act", "POST", content_type="application/json")
    def runs_act() -> flask.Response:
        return answered(_act)


def _act(fields: Fields) -> dict[str, Any]:
    run_ids, action = fields.texts("run_ids"), fields.text("action")
    if len(run_ids) > MAX_RUNS:
        raise ConfigError(f"{len(run_ids)} runs, at most {MAX_RUNS} at once")
    if not all(map(_RUN_ID.match, run_ids)):
        raise ConfigError("a run id that is not 32 hexadecimal digits")
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
