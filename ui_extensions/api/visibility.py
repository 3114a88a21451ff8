"""Who may see an experiment.

    POST visibility         {"experiment_ids"}
        → {"has_login", "policy", "why_not_private",
           "experiments": [{"id", "level": "private" | "team" | "public", "path"?, "shown"?,
                            "replaces_names"?, "title"?, "may_change", "changed_ms",
                            "changed_by"}]}
    POST visibility/change  {"experiment_id", "level", "shown"?, "replaces_names"?, "title"?}
        → {"experiment"}

``path`` is the address of a public experiment, for all who may read it, and ``shown`` what it
shows, as links have it. It is changed by who may delete the experiment, as MLflow has it.
"""

from __future__ import annotations

from typing import Any

import flask
import sqlalchemy as sa

from mlflow_weir.errors import ConfigError, NotPermitted
from mlflow_weir.settings import PUBLIC_LINKS
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.sharing import links, visibility
from mlflow_weir.store.sharing.links import MAX_TITLE_CHARACTERS
from mlflow_weir.store.sharing.shown import read_shown
from mlflow_weir.store.sharing.visibility import PRIVATE, PUBLIC, TEAM, Visibility
from mlflow_weir.ui_extensions import access, audit, deliveries, mlflow_private, readable
from mlflow_weir.ui_extensions import visibility as deciding
from mlflow_weir.ui_extensions.api.runs import answered
from mlflow_weir.ui_extensions.api.shares import PUBLIC_PATH, object_of


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    @access.route(routes, "/visibility", "POST", content_type="application/json")
    def visibility_read() -> flask.Response:
        return answered(_read)

    @access.route(routes, "/visibility/change", "POST", content_type="application/json")
    def visibility_change() -> flask.Response:
        return answered(_change)


def managed(fields: Fields, caller: access.Access) -> Visibility:
    """Return what was chosen for a request's experiment, which the caller may give away.

    Ends the request where the caller may not read it, or may not delete it.

    Raises:
        NotPermitted: It is not the caller's to give.
    """
    named = [fields.text("experiment_id")]
    (experiment_id,) = readable.require_readable_experiments(named, caller)
    if not caller.may_delete_experiment(experiment_id):
        raise NotPermitted(access.NOT_PERMITTED)
    engine = deliveries.require_store().engine
    chosen = visibility.read(engine, [experiment_id])[experiment_id]
    return chosen._replace(workspace=mlflow_private.request_workspace())


def _read(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    named = fields.texts("experiment_ids")
    experiments = readable.require_readable_experiments(named, caller)
    found = visibility.read(deliveries.require_store().engine, experiments)
    return {
        "has_login": mlflow_private.is_auth_on(),
        "policy": PUBLIC_LINKS.get(),
        "why_not_private": deciding.why_not_private(),
        "experiments": [_as_json(one, caller) for one in found.values()],
    }


def _change(fields: Fields) -> dict[str, Any]:
    caller, level = access.Access(), fields.text("level")
    chosen, by = managed(fields, caller), access.principal() or ""
    engine = deliveries.require_store().engine
    detail: dict[str, Any] = {"level": level, "was": chosen.level}
    if level == PRIVATE:
        deciding.make_private(engine, chosen, by)
    elif level == TEAM:
        deciding.make_team(engine, chosen, by)
    elif level == PUBLIC:
        names = not fields.flag("replaces_names")
        shown = read_shown(object_of(fields, "shown") or {}, names=names)
        detail["shown"] = shown.in_words()
        name = _name_of(engine, chosen.experiment_id)
        title = (fields.text_or_none("title") or name).strip()[:MAX_TITLE_CHARACTERS] or "Results"
        deciding.make_public(
            engine,
            chosen,
            by,
            name=name,
            title=title,
            shown=shown,
            replaces_names=not names,
        )
    else:
        raise ConfigError(f"level: expected one of {', '.join(visibility.LEVELS)}")
    audit.note("visibility", experiment_id=chosen.experiment_id, **detail)
    changed = visibility.read(engine, [chosen.experiment_id])[chosen.experiment_id]
    return {"experiment": _as_json(changed, caller)}


def _as_json(chosen: Visibility, caller: access.Access) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": chosen.experiment_id,
        "level": chosen.level,
        "may_change": caller.may_delete_experiment(chosen.experiment_id),
        "changed_ms": chosen.changed_ms or None,
        "changed_by": chosen.changed_by or None,
    }
    share = None
    if chosen.share_id is not None and (chosen.level == PUBLIC or found["may_change"]):
        share = links.read(deliveries.require_store().engine, chosen.share_id)
    if share is None or share.revoked_ms is not None:
        return found
    if chosen.level == PUBLIC:
        found["path"] = mlflow_private.static_prefixed(f"{PUBLIC_PATH}/{chosen.address}")
    return found | {
        "title": share.title,
        "shown": share.shown.as_json(),
        "replaces_names": share.replaces_names,
    }


def _name_of(engine: sa.Engine, experiment_id: str) -> str:
    columns = tables.experiments.c
    query = sa.select(columns.name).where(columns.experiment_id == int(experiment_id))
    with engine.connect() as connection:
        return str(connection.execute(query).scalar_one())
