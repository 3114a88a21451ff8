"""Who may see an experiment, one by one: MLflow's users, with what its permissions say of each.

    POST people         {"experiment_id", "search"?, "all"?, "offset"?, "limit"?}
        → {"level", "default_permission", "total",
           "people": [{"name", "permission", "source", "role", "own", "is_owner", "is_admin",
                       "is_service", "is_you"}]}
    POST people/change  {"experiment_id", "name", "permission": "READ" | "EDIT" | "MANAGE" |
                         "NO_PERMISSIONS" | null} → {"person"}

``source`` says where a permission comes from: ``administrator``, ``own`` (a row for this user and
this experiment), ``role``, ``workspace`` (a role that manages the workspace), or ``default``.
Without ``all`` only those are told who may see the experiment, or are denied it by a row of their
own. It is shown to, and changed by, who may delete the experiment.
"""

from __future__ import annotations

from typing import Any

import flask

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.sharing import invites
from mlflow_weir.store.sharing.visibility import Visibility
from mlflow_weir.ui_extensions import access, audit, deliveries, mlflow_private
from mlflow_weir.ui_extensions import visibility as deciding
from mlflow_weir.ui_extensions.api.runs import answered
from mlflow_weir.ui_extensions.api.visibility import managed
from mlflow_weir.ui_extensions.mlflow_private import DENY, NO_PERMISSIONS, Grant, KnownUser

MAX_LISTED = 500
NO_LOGIN = "this server has no login, and so no users"
_GIVEN = ("READ", "EDIT", "MANAGE", NO_PERMISSIONS)


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    @access.route(routes, "/people", "POST", content_type="application/json")
    def people() -> flask.Response:
        return answered(_people)

    @access.route(routes, "/people/change", "POST", content_type="application/json")
    def people_change() -> flask.Response:
        return answered(_change)


def require_users() -> None:
    """End the request where MLflow's users are not who logs in."""
    if not mlflow_private.is_auth_on() or not access.can_ask_of_others():
        flask.abort(access.refusal(403, NO_LOGIN))


def _people(fields: Fields) -> dict[str, Any]:
    require_users()
    chosen = managed(fields, access.Access())
    search = (fields.text_or_none("search") or "").casefold()
    offset, limit = fields.whole_or_none("offset") or 0, fields.whole_or_none("limit")
    limit = 200 if limit is None else limit
    if not (0 <= offset and 0 < limit <= MAX_LISTED):
        raise ConfigError(f"at most {MAX_LISTED} people at once")
    is_all = fields.flag("all")
    found = []
    for user in mlflow_private.users(chosen.workspace):
        if search not in user.name.casefold() or not (is_all or user.is_present or user.is_admin):
            continue
        permission = _permission(user, chosen)
        is_shut = permission in (DENY, NO_PERMISSIONS)
        if (
            is_all
            or not is_shut
            or (user.own(chosen.experiment_id) and not _is_ours(user, chosen))
        ):
            found.append((user, permission))
    # Owners first, then who was named, then those who may by a rule of everybody's.
    found.sort(key=lambda one: (_rank(one[0], chosen), one[0].name.casefold()))
    services = _services(chosen)
    return {
        "level": chosen.level,
        "default_permission": mlflow_private.default_permission(),
        "total": len(found),
        "people": [
            _as_json(user, permission, chosen, services)
            for user, permission in found[offset : offset + limit]
        ],
    }


def _change(fields: Fields) -> dict[str, Any]:
    require_users()
    caller = access.Access()
    chosen, name = managed(fields, caller), fields.text("name")
    permission = fields.text_or_none("permission")
    if permission is not None and permission not in _GIVEN:
        raise ConfigError(f"permission: expected one of {', '.join(_GIVEN)}, or null")
    everybody = mlflow_private.users(chosen.workspace)
    user = next((one for one in everybody if one.name == name), None)
    if user is None:
        flask.abort(access.refusal(404, "there is no user of that name"))
    if user.is_admin:
        raise ConfigError("an administrator may see and do everything")
    if permission == NO_PERMISSIONS:
        if not mlflow_private.can_deny():
            raise ConfigError("this MLflow cannot deny what its default allows: 3.17 can")
        permission = DENY
    was, experiment_id = user.own(chosen.experiment_id), chosen.experiment_id
    owners = [one for one in everybody if one.own(experiment_id) == "MANAGE"]
    if owners == [user] and permission != "MANAGE" and not caller.may_administer():
        raise ConfigError("an experiment has an owner: let somebody else manage it first")
    deciding.name_somebody(chosen, user, permission)
    audit.note(
        "permission", target=name, experiment_id=experiment_id, permission=permission, was=was
    )
    changed = next(one for one in mlflow_private.users(chosen.workspace) if one.name == name)
    return {"person": _as_json(changed, _permission(changed, chosen), chosen, _services(chosen))}


def _permission(user: KnownUser, chosen: Visibility) -> str:
    if user.is_admin:
        return "MANAGE"
    return mlflow_private.permission_of(user.name, chosen.experiment_id)


def _is_ours(user: KnownUser, chosen: Visibility) -> bool:
    """Say whether a user is denied because the experiment is private, and not by name."""
    is_denied = user.own(chosen.experiment_id) == DENY
    return is_denied and chosen.level == "private" and user.name not in chosen.denied_before


def _rank(user: KnownUser, chosen: Visibility) -> int:
    own = user.own(chosen.experiment_id)
    if own == "MANAGE":
        return 0
    if own is not None:
        return 1
    return 3 if user.is_admin else 2


def _services(chosen: Visibility) -> set[str]:
    engine = deliveries.require_store().engine
    return {one.username for one in invites.list_accounts(engine, chosen.workspace)}


def _as_json(
    user: KnownUser, permission: str, chosen: Visibility, services: set[str]
) -> dict[str, Any]:
    source, role = _source(user, permission, chosen.experiment_id)
    own = user.own(chosen.experiment_id)
    return {
        "name": user.name,
        "permission": NO_PERMISSIONS if permission == DENY else permission,
        "source": "private" if _is_ours(user, chosen) else source,
        "role": role,
        "own": NO_PERMISSIONS if own == DENY else own,
        "is_owner": own == "MANAGE",
        "is_admin": user.is_admin,
        "is_service": user.name in services,
        "is_you": user.name == access.principal(),
    }


def _source(user: KnownUser, permission: str, experiment_id: str) -> tuple[str, str | None]:
    """Return where a permission comes from, and the role's name where it is from one."""
    if user.is_admin:
        return "administrator", None
    for grant in user.grants:
        if grant.resource_type == "workspace" and grant.permission == "MANAGE":
            return "workspace", grant.role
    giving = [one for one in user.grants if _gives(one, permission, experiment_id)]
    for grant in sorted(giving, key=lambda one: one.role is not None):
        return ("own", None) if grant.role is None else ("role", grant.role)
    return "default", None


def _gives(grant: Grant, permission: str, experiment_id: str) -> bool:
    return (
        grant.resource_type == "experiment"
        and grant.pattern in ("*", experiment_id)
        and grant.permission == permission
    )
