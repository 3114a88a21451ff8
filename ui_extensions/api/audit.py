"""Who did what.

    POST audit  {"experiment_id"?, "who"?, "action"?, "before"?, "limit"?}
        → {"entries": [{"id", "at_ms", "who", "address", "action", "experiment_id", "target",
                        "detail"}], "more"}

Of one experiment for who may delete it; of all for administrators. ``action`` may be the first
word of several (``link`` finds ``link.create``); ``before`` is the id of the last entry read.
"""

from __future__ import annotations

from typing import Any

import flask

from mlflow_weir.errors import ConfigError, NotPermitted
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.sharing import audit
from mlflow_weir.ui_extensions import access, deliveries, mlflow_private
from mlflow_weir.ui_extensions.api.runs import answered
from mlflow_weir.ui_extensions.api.visibility import managed


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/audit", "POST", content_type="application/json")
    def audit_log() -> flask.Response:
        return answered(_read)


def _read(fields: Fields) -> dict[str, Any]:
    caller, limit = access.Access(), fields.whole_or_none("limit") or 200
    if not 0 < limit <= audit.MAX_LISTED:
        raise ConfigError(f"limit: expected 1 to {audit.MAX_LISTED:,}")
    experiment_id = fields.text_or_none("experiment_id")
    if experiment_id is not None:
        experiment_id = managed(fields, caller).experiment_id
    elif not caller.may_administer():
        raise NotPermitted(access.NOT_PERMITTED)
    found = audit.read(
        deliveries.require_store().engine,
        workspace=mlflow_private.request_workspace(),
        experiment_id=experiment_id,
        who=fields.text_or_none("who"),
        action=fields.text_or_none("action"),
        before=fields.whole_or_none("before"),
        limit=limit + 1,
    )
    entries = [
        {
            "id": one.entry_id,
            "at_ms": one.at_ms,
            "who": one.who,
            "address": one.address,
            "action": one.action,
            "experiment_id": one.experiment_id,
            "target": one.target,
            "detail": dict(one.detail),
        }
        for one in found[:limit]
    ]
    return {"entries": entries, "more": len(found) > limit}
