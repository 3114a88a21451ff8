"""Saved views of the workspace; who may read the experiments may read their views.

    POST views           {"experiments", "browser"?}
                         → {"personal": VIEW or null, "named": [{"id", "name", "revision", "at"}],
                            "may_edit", "user": who asks, or null}
    POST views/read      {"id", "revision"?} → VIEW
    POST views/personal  {"experiments", "document", "revision", "browser"?} → {"revision"}
    POST views/save      {"experiments", "id"?, "name", "document", "revision"}
                         → {"id", "revision"}
    POST views/delete    {"id"} → {}
    POST views/state     {"experiments", "document"} → {"id"}: what a link stands for

    VIEW  {"id", "kind", "experiments", "name", "revision", "author", "at", "document"}
    409   {"error", "view": VIEW}: saved since; nothing was changed

``browser`` (32 hex digits) tells personal views apart on a server that has no login. A named view
is saved and deleted by who may edit all its experiments.
"""

from __future__ import annotations

from typing import Any

import flask

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.sharing import views
from mlflow_weir.ui_extensions import access, deliveries, readable
from mlflow_weir.ui_extensions.api.runs import answered
from mlflow_weir.ui_extensions.ids import is_id

_MAX_OWNER_CHARACTERS = 255


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""
    for path, view in (
        ("/views", _list),
        ("/views/read", _read),
        ("/views/personal", _save_personal),
        ("/views/save", _save),
        ("/views/delete", _delete),
        ("/views/state", _keep_state),
    ):
        _add(routes, path, view)


def _add(routes: flask.Blueprint, path: str, view: Any) -> None:
    def answer() -> flask.Response:
        try:
            return answered(view)
        except views.ViewConflict as exc:
            return access.refusal(409, str(exc), view=_as_json(exc.view))

    answer.__name__ = path.strip("/").replace("/", "_")
    access.route(routes, path, "POST", content_type="application/json")(answer)


def _list(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    experiments, scope = _scope(fields, caller)
    engine = deliveries.require_store().engine
    own = views.read(engine, views.personal_id(scope, _owner(fields)))
    return {
        "personal": None if own is None else _as_json(own),
        "named": [
            {"id": one.view_id, "name": one.name, "revision": one.revision, "at": one.at_ms}
            for one in views.list_named(engine, scope)
        ],
        "may_edit": all(map(caller.may_edit_experiment, experiments)),
        "user": access.principal(),
    }


def _read(fields: Fields) -> dict[str, Any]:
    return _as_json(_require_view(fields, access.Access()))


def _save_personal(fields: Fields) -> dict[str, Any]:
    _, scope = _scope(fields, access.Access())
    revision = views.save_personal(
        deliveries.require_store().engine,
        scope,
        _owner(fields),
        fields.text("document"),
        _revision(fields),
    )
    return {"revision": revision}


def _save(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    experiments, scope = _scope(fields, caller)
    _require_editor(caller, experiments)
    view_id, revision = views.save_named(
        deliveries.require_store().engine,
        scope,
        fields.text("name"),
        _author(),
        fields.text("document"),
        _view_id(fields) if fields.text_or_none("id") is not None else None,
        _revision(fields),
    )
    return {"id": view_id, "revision": revision}


def _delete(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    view = _require_view(fields, caller)
    if view.kind != views.NAMED:
        raise Refused("only a named view can be deleted")
    _require_editor(caller, view.scope.split(","))
    views.delete(deliveries.require_store().engine, view.view_id)
    return {}


def _keep_state(fields: Fields) -> dict[str, Any]:
    _, scope = _scope(fields, access.Access())
    engine = deliveries.require_store().engine
    return {"id": views.keep_state(engine, scope, _author(), fields.text("document"))}


def _scope(fields: Fields, caller: access.Access) -> tuple[list[str], str]:
    experiments = fields.texts("experiments")
    if not experiments:
        raise Refused("it names no experiment")
    found = readable.require_readable_experiments(experiments, caller)
    return found, views.scope_of(found)


def _require_view(fields: Fields, caller: access.Access) -> views.View:
    """Return the view, whose experiments the caller may read; another's own is not there."""
    engine = deliveries.require_store().engine
    view = views.read(engine, _view_id(fields), fields.whole_or_none("revision"))
    if view is None or view.kind == views.PERSONAL:
        flask.abort(access.refusal(404, "there is no such view"))
    readable.require_readable_experiments(view.scope.split(","), caller)
    return view


def _require_editor(caller: access.Access, experiments: list[str]) -> None:
    if not all(map(caller.may_edit_experiment, experiments)):
        flask.abort(access.refusal(403, access.NOT_PERMITTED))


def _view_id(fields: Fields) -> str:
    view_id = fields.text("id")
    if not is_id(view_id):
        raise ConfigError("a view's id that is not 32 hexadecimal digits")
    return view_id


def _revision(fields: Fields) -> int:
    revision = fields.whole_or_none("revision") or 0
    if not 0 <= revision < 1 << 30:
        raise ConfigError(f"no revision: {revision}")
    return revision


def _author() -> str:
    return (access.principal() or "")[:_MAX_OWNER_CHARACTERS]


def _owner(fields: Fields) -> str:
    """Return whose personal view it is: the caller's by name, or the browser's."""
    named = _author()
    if named:
        return f"user {named}"[:_MAX_OWNER_CHARACTERS]
    browser = fields.text_or_none("browser") or "0" * 32
    if not is_id(browser):
        raise ConfigError("a browser's id that is not 32 hexadecimal digits")
    return f"browser {browser}"


def _as_json(view: views.View) -> dict[str, Any]:
    return {
        "id": view.view_id,
        "kind": view.kind,
        "experiments": view.scope.split(","),
        "name": view.name,
        "revision": view.revision,
        "author": view.author,
        "at": view.at_ms,
        "document": view.document,
    }
