"""Invitations by link, and users who are jobs.

    POST invites          {} → {"invites": [INVITE], "max_days"}
    POST invites/create   {"experiment_id"?, "permission"?, "note"?, "expires_ms"?}
        → {"invite", "token", "path"}; the token is said once
    POST invites/revoke   {"id"} → {"invite"}
    POST accounts         {} → {"accounts": [ACCOUNT]}
    POST accounts/create  {"name", "experiment_ids", "permission"?, "note"?}
        → {"account", "password"}; the password is said once
    POST accounts/change  {"name", "action": "rotate" | "disable"} → {"account", "password"?}

    INVITE   {"id", "experiment_id", "permission", "note", "created_ms", "created_by",
              "expires_ms", "state": "open" | "used" | "expired" | "revoked", "used_by"}
    ACCOUNT  {"name", "note", "created_ms", "created_by", "rotated_ms", "disabled_ms",
              "experiments": [{"id", "permission"}], "is_there"}

All of it is for whom MLflow lets make users and, where there are workspaces, say who is in this
one; what is given of an experiment, for who may delete
it.
"""

from __future__ import annotations

import secrets
from typing import Any

import flask

from mlflow_weir.errors import ConfigError, NotPermitted
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.sharing import invites, links
from mlflow_weir.store.sharing.invites import Invite, ServiceAccount
from mlflow_weir.ui_extensions import access, audit, deliveries, joining, mlflow_private, readable
from mlflow_weir.ui_extensions.api.people import require_users
from mlflow_weir.ui_extensions.api.runs import answered
from mlflow_weir.ui_extensions.api.shares import PUBLIC_PATH
from mlflow_weir.ui_extensions.ids import is_id
from mlflow_weir.ui_extensions.mlflow_private import KnownUser

PERMISSIONS = ("READ", "EDIT", "MANAGE")
_USUAL_DAYS = 7


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    @access.route(routes, "/invites", "POST", content_type="application/json")
    def invites_list() -> flask.Response:
        return answered(_invites)

    @access.route(routes, "/invites/create", "POST", content_type="application/json")
    def invites_create() -> flask.Response:
        return answered(_invite)

    @access.route(routes, "/invites/revoke", "POST", content_type="application/json")
    def invites_revoke() -> flask.Response:
        return answered(_revoke)

    @access.route(routes, "/accounts", "POST", content_type="application/json")
    def accounts() -> flask.Response:
        return answered(_accounts)

    @access.route(routes, "/accounts/create", "POST", content_type="application/json")
    def accounts_create() -> flask.Response:
        return answered(_make_account)

    @access.route(routes, "/accounts/change", "POST", content_type="application/json")
    def accounts_change() -> flask.Response:
        return answered(_change_account)


def _invites(fields: Fields) -> dict[str, Any]:
    _require_maker()
    found = invites.list_invites(_engine(), mlflow_private.request_workspace())
    return {"invites": [_invite_as_json(one) for one in found], "max_days": invites.MAX_DAYS}


def _invite(fields: Fields) -> dict[str, Any]:
    caller = _require_maker()
    experiment_id, permission = fields.text_or_none("experiment_id"), None
    if experiment_id is not None:
        (experiment_id,) = _given([experiment_id], caller)
        permission = _permission(fields, "READ")
    expires_ms = fields.whole_or_none("expires_ms")
    invite, token = invites.create(
        _engine(),
        workspace=mlflow_private.request_workspace(),
        experiment_id=experiment_id,
        permission=permission,
        note=fields.text_or_none("note") or "",
        created_by=access.principal() or "",
        expires_ms=expires_ms or links.now_ms() + _USUAL_DAYS * links.MS_A_DAY,
    )
    audit.note(
        "invite.create",
        target=invite.invite_id,
        experiment_id=experiment_id,
        permission=permission,
        expires_ms=invite.expires_ms,
    )
    path = mlflow_private.static_prefixed(f"{PUBLIC_PATH}/{token}")
    return {"invite": _invite_as_json(invite), "token": token, "path": path}


def _revoke(fields: Fields) -> dict[str, Any]:
    _require_maker()
    invite_id, engine = fields.text("id"), _engine()
    invite = invites.read(engine, invite_id) if is_id(invite_id) else None
    if invite is None or invite.workspace != mlflow_private.request_workspace():
        flask.abort(access.refusal(404, "there is no such invitation"))
    if invites.revoke(engine, invite_id):
        audit.note("invite.revoke", target=invite_id, experiment_id=invite.experiment_id)
    changed = invites.read(engine, invite_id)
    return {"invite": _invite_as_json(changed or invite)}


def _accounts(fields: Fields) -> dict[str, Any]:
    _require_maker()
    workspace = mlflow_private.request_workspace()
    users = {one.name: one for one in mlflow_private.users(workspace)}
    found = invites.list_accounts(_engine(), workspace)
    return {"accounts": [_account_as_json(one, users.get(one.username)) for one in found]}


def _make_account(fields: Fields) -> dict[str, Any]:
    caller = _require_maker()
    name, workspace = joining.checked_name(fields.text("name")), mlflow_private.request_workspace()
    note = " ".join((fields.text_or_none("note") or "").replace("\0", "").split())
    if len(note) > invites.MAX_NOTE_CHARACTERS:
        raise ConfigError(f"a note has at most {invites.MAX_NOTE_CHARACTERS} characters")
    experiments = _given(fields.texts("experiment_ids"), caller)
    permission, password, at_ms = _permission(fields, "EDIT"), _new_password(), links.now_ms()
    # What is its to do are its experiments: it is a member of no workspace.
    mlflow_private.create_user(name, password, None)
    for experiment_id in experiments:
        mlflow_private.grant(name, experiment_id, permission)
    maker = access.principal() or ""
    account = ServiceAccount(name, workspace, note, at_ms, maker[:255], at_ms, None)
    invites.mark_account(_engine(), account)
    audit.note("account.create", target=name)
    for experiment_id in experiments:
        audit.note("permission", target=name, experiment_id=experiment_id, permission=permission)
    return {"account": _account_as_json(account, _user(account)), "password": password}


def _change_account(fields: Fields) -> dict[str, Any]:
    caller = _require_maker()
    name, action = fields.text("name"), fields.text("action")
    if action not in {"rotate", "disable"}:
        raise ConfigError("action: expected rotate or disable")
    account = invites.read_account(_engine(), name)
    user = None if account is None else _user(account)
    if account is None or user is None or account.workspace != mlflow_private.request_workspace():
        flask.abort(access.refusal(404, "there is no such service account"))
    # Who made it has had its password; who became more than a job is not theirs any more.
    if not caller.may_administer() and (account.created_by != access.principal() or user.is_admin):
        raise NotPermitted(access.NOT_PERMITTED)
    password, at_ms = _new_password(), links.now_ms()
    mlflow_private.set_password(name, password)
    if action == "rotate":
        account = account._replace(rotated_ms=at_ms, disabled_ms=None)
    else:
        account = account._replace(disabled_ms=at_ms)
    invites.mark_account(_engine(), account)
    audit.note(f"account.{action}", target=name)
    answer: dict[str, Any] = {"account": _account_as_json(account, user)}
    return answer | ({"password": password} if action == "rotate" else {})


def _require_maker() -> access.Access:
    require_users()
    caller = access.Access()
    if not caller.may_add_users():
        raise NotPermitted(access.NOT_PERMITTED)
    return caller


def _given(experiment_ids: list[str], caller: access.Access) -> list[str]:
    """Return experiments that the caller may give away; end the request where one is not."""
    found = readable.require_readable_experiments(experiment_ids, caller)
    if not all(map(caller.may_delete_experiment, found)):
        raise NotPermitted(access.NOT_PERMITTED)
    return found


def _permission(fields: Fields, usual: str) -> str:
    permission = fields.text_or_none("permission") or usual
    if permission not in PERMISSIONS:
        raise ConfigError(f"permission: expected one of {', '.join(PERMISSIONS)}")
    return permission


def _new_password() -> str:
    return secrets.token_urlsafe(32)


def _engine() -> Any:
    return deliveries.require_store().engine


def _user(account: ServiceAccount) -> KnownUser | None:
    users = mlflow_private.users(account.workspace)
    return next((one for one in users if one.name == account.username), None)


def _invite_as_json(invite: Invite) -> dict[str, Any]:
    return {
        "id": invite.invite_id,
        "experiment_id": invite.experiment_id,
        "permission": invite.permission,
        "note": invite.note,
        "created_ms": invite.created_ms,
        "created_by": invite.created_by,
        "expires_ms": invite.expires_ms,
        "state": invite.state(links.now_ms()),
        "used_by": invite.used_by,
    }


def _account_as_json(account: ServiceAccount, user: KnownUser | None) -> dict[str, Any]:
    named = () if user is None else user.grants
    return {
        "name": account.username,
        "note": account.note,
        "created_ms": account.created_ms,
        "created_by": account.created_by,
        "rotated_ms": account.rotated_ms,
        "disabled_ms": account.disabled_ms,
        "experiments": [
            {"id": one.pattern, "permission": one.permission}
            for one in named
            if one.resource_type == "experiment" and one.permission in PERMISSIONS
        ],
        "is_there": user is not None,
    }
