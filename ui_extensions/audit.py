"""Who did what: the one place that writes the audit log (``store/sharing/audit.py``).

Deeds of ours are noted by the views that do them; those of MLflow's own routes, whoever asked for
them, by a look at what MLflow has just answered. Neither notes a password, a token or a text that
a user wrote for others.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import flask
import sqlalchemy as sa

from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.heartbeats import STOP_TAG
from mlflow_weir.store.sharing import audit, links
from mlflow_weir.store.sharing.audit import Entry
from mlflow_weir.store.tracking_store import WeirStore, WorkspaceAwareWeirStore
from mlflow_weir.ui_extensions import access, deliveries, mlflow_private

_log = logging.getLogger(__name__)
_ROUTE = re.compile(r"/(?:ajax-)?api/[0-9]\.0/mlflow/([a-z/-]+)\Z")
_DEEDS = {
    "experiments/delete": "experiment.delete",
    "experiments/restore": "experiment.restore",
    "runs/delete": "run.delete",
    "runs/restore": "run.restore",
    "users/create": "user.create",
    "users/create-ui": "user.create",
    "users/delete": "user.delete",
    "users/update-admin": "user.admin",
    "users/update-password": "user.password",
    "users/permissions/grant": "permission.grant",
    "users/permissions/revoke": "permission.revoke",
    "experiments/permissions/create": "permission.grant",
    "experiments/permissions/update": "permission.grant",
    "experiments/permissions/delete": "permission.revoke",
    "roles/create": "role.create",
    "roles/update": "role.update",
    "roles/delete": "role.delete",
    "roles/assign": "role.assign",
    "roles/unassign": "role.unassign",
    "roles/permissions/add": "role.permission",
    "roles/permissions/remove": "role.permission",
    "roles/permissions/update": "role.permission",
}
"""MLflow's routes whose success is noted, by what is noted."""
_TARGETS = ("run_id", "run_uuid", "username", "name", "role_id")
_DETAILS = ("permission", "resource_type", "resource_id", "resource_pattern", "is_admin")
_ID = re.compile(r"[0-9]{1,18}\Z")


def note(
    action: str,
    *,
    target: str = "",
    experiment_id: str | None = None,
    who: str | None = None,
    **detail: Any,
) -> None:
    """Write down what the caller of the present request has just done.

    Args:
        action: Such as ``link.revoke``.
        target: Whom or what it was done to.
        experiment_id: That it was about.
        who: Did it; the caller if None.
        detail: What else there is to say; no secret.

    Raises:
        SQLAlchemyError: It cannot be written.
    """
    entry = Entry(
        0,
        links.now_ms(),
        (access.principal() if who is None else who) or "",
        flask.request.remote_addr or "",
        action,
        experiment_id,
        mlflow_private.request_workspace(),
        target,
        detail,
    )
    audit.add(deliveries.require_store().engine, entry)


def note_mlflow(answer: flask.Response) -> flask.Response:
    """Note what one of MLflow's own routes has done; runs after every request of the app."""
    found = _ROUTE.search(flask.request.path)
    action = _deed(found[1]) if found and flask.request.method != "GET" else None
    if action is None or answer.status_code != 200:
        return answer
    try:
        if isinstance(mlflow_private.tracking_store(), (WeirStore, WorkspaceAwareWeirStore)):
            _note_deed(action)
    except Exception as exc:  # noqa: BLE001 - the deed is done, whatever becomes of its note
        _log.warning("the audit log cannot be written (%s): %s", action, type(exc).__name__)
    return answer


def _deed(route: str) -> str | None:
    """Return what a request of one of MLflow's routes is noted as; None where it is not noted."""
    if route == "runs/set-tag":  # by which a run is asked to stop, and all else is nobody's news
        return "run.stop" if _asked().get("key") == STOP_TAG else None
    return _DEEDS.get(route)


def _asked() -> Mapping[str, Any]:
    body = flask.request.get_json(silent=True)
    return body if isinstance(body, dict) else flask.request.values


def _note_deed(action: str) -> None:
    asked = _asked()
    target = next((str(asked[name]) for name in _TARGETS if asked.get(name)), "")
    experiment_id = asked.get("experiment_id")
    if asked.get("resource_type") == "experiment":
        experiment_id = asked.get("resource_id")
    if action.startswith("run."):
        experiment_id = _experiment_of(target)
    named = str(experiment_id or "")
    note(
        action,
        target=target,
        experiment_id=named if _ID.match(named) else None,
        **{name: str(asked[name])[:250] for name in _DETAILS if asked.get(name) is not None},
    )


def _experiment_of(run_id: str) -> str | None:
    columns = tables.runs.c
    query = sa.select(columns.experiment_id).where(columns.run_uuid == run_id)
    with deliveries.require_store().engine.connect() as connection:
        found = connection.execute(query).scalar()
    return None if found is None else str(found)
