"""Links that anyone may open, as their makers see them.

    POST shares/candidates  {"experiment_ids", "run_ids"?, "filter"?} or {"report_id"}
        → {"n_runs", "metrics": [{"key", "n_runs"}], "params", "tags", "has": {box: bool}}:
           what there is to tick
    POST shares/create      {"kind", "title", "experiment_ids", "run_ids"?, "filter"?, "view"?,
                             "is_live", "shown", "replaces_names", "expires_ms"? (ms or "never"),
                             "password"?, "is_preview"?, "is_published"?}
                            → {"share", "token", "path"}; the token is said once
    POST shares/list        {"experiment_id"?} → {"policy", "has_login", "max_days", "embed":
                            sites that may show links in a frame, "shares"}
    POST shares/change      {"id", "action": "pause" | "resume" | "revoke" | "rotate"}
        → {"share"}, with "token" and "path" after "rotate"
    POST shares/log         {"id"} → {"entries": [{"at_ms", "outcome", "address"}]}

A link to a report has ``report_id`` instead of experiments, runs and view: it shows what was
published last, and of its panels' runs at most what is ticked; with ``"panels": true`` among what
is ticked, all that they show.

Without ``expires_ms`` a link ends in 30 days; ``never`` is for servers whose policy allows it.
``is_published`` says of a preview that ``weir publish`` reads it, for the audit log.

``filter`` is ``{"filter", "search", "regex"}`` as ``POST runs`` has it. A link is made, and seen
in the list, by who may edit its experiments; it is paused, revoked and its log read by who made it
or may delete the experiments. A token opens none of these routes.
"""

from __future__ import annotations

import json
import math
from typing import Any

import flask

from mlflow_weir.errors import ConfigError
from mlflow_weir.settings import PUBLIC_LINKS, PUBLIC_LINKS_EMBED, PUBLIC_LINKS_MAX_DAYS
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.runs import filter_language
from mlflow_weir.store.sharing import frozen_runs, links, views, visibility
from mlflow_weir.store.sharing.links import Share, Terms
from mlflow_weir.store.sharing.shown import read_shown
from mlflow_weir.store.sharing.shown_view import shown_view
from mlflow_weir.ui_extensions import (
    access,
    audit,
    deliveries,
    link_sight,
    mlflow_private,
    readable,
    share_candidates,
    shared_reports,
    visitors,
)
from mlflow_weir.ui_extensions.api.runs import answered
from mlflow_weir.ui_extensions.ids import is_id

PUBLIC_PATH = "/weir/s"
NEVER = "never"
USUAL_DAYS, LONGEST_DAYS = 30.0, 365.0
"""That a link lasts where nobody says otherwise: who makes it, and the server's policy."""


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    @access.route(routes, "/shares/candidates", "POST", content_type="application/json")
    def shares_candidates() -> flask.Response:
        return answered(_candidates)

    @access.route(routes, "/shares/create", "POST", content_type="application/json")
    def shares_create() -> flask.Response:
        return answered(_create)

    @access.route(routes, "/shares/list", "POST", content_type="application/json")
    def shares_list() -> flask.Response:
        return answered(_list)

    @access.route(routes, "/shares/change", "POST", content_type="application/json")
    def shares_change() -> flask.Response:
        return answered(_change)

    @access.route(routes, "/shares/log", "POST", content_type="application/json")
    def shares_log() -> flask.Response:
        return answered(_log)


def _candidates(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    if fields.text_or_none("report_id") is not None:
        return shared_reports.describe(fields, caller)
    experiments = _editable(fields, caller)
    run_ids, run_filter = _scope(fields, experiments, caller)
    if run_ids is None:
        assert run_filter is not None
        run_ids = link_sight.runs_of_filter(experiments, run_filter, links.now_ms())
    return share_candidates.describe(run_ids)


def _create(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    if PUBLIC_LINKS.get() == "off":
        flask.abort(access.refusal(403, "this server's policy lets no links open"))
    if not access.can_ask_of_others():
        flask.abort(
            access.refusal(403, "links need a server app that Weir can ask who may see what")
        )
    is_live, is_preview = fields.flag("is_live"), fields.flag("is_preview")
    replaces_names = fields.flag("replaces_names")
    ticked = object_of(fields, "shown") or {}
    at_ms = links.now_ms()
    found = None
    run_ids: list[str] | None
    if fields.text("kind") == "report":
        shows_all = ticked.pop("panels", False) is True
        shown = read_shown(ticked, names=not replaces_names)
        found = shared_reports.read(
            fields, caller, shown, None if is_live else at_ms, shows_all=shows_all
        )
        experiments, run_ids, run_filter = found.experiment_ids, found.run_ids, None
        shown = found.shown
    else:
        shown = read_shown(ticked, names=not replaces_names)
        experiments = _editable(fields, caller)
        run_ids, run_filter = _scope(fields, experiments, caller)
    if visibility.is_any_private(deliveries.require_store().engine, experiments):
        flask.abort(access.refusal(403, "a private experiment is shown by no link"))
    if run_ids is None and not is_live:
        assert run_filter is not None
        run_ids = link_sight.runs_of_filter(experiments, run_filter, at_ms)
        run_filter = None
    if not is_live and len(run_ids or ()) > links.MAX_RUNS:
        raise ConfigError(
            f"{len(run_ids or ()):,} runs, at most {links.MAX_RUNS:,} can be frozen: filter them"
        )
    store = deliveries.require_store()
    facts = None
    if not is_live:
        assert run_ids is not None
        with store.ManagedSessionMaker() as session:
            facts = frozen_runs.take(session, store.engine, run_ids, shown, at_ms)
            if found is not None:
                shared_reports.take_back(session, facts, found)
        run_ids = [run_id for run_id in run_ids if run_id in facts]
        if found is not None and shown.media:
            shared_reports.add_pictures(facts, found)
        elif shown.files or shown.media:
            share_candidates.add_files(facts, run_ids)
    view = None if found is not None else object_of(fields, "view")
    if view is not None:
        among = run_ids
        if among is None:
            assert run_filter is not None
            among = link_sight.runs_of_filter(experiments, run_filter, at_ms)
        view = shown_view(view, shown, set(among), share_candidates.all_keys(among))
    terms = Terms(
        kind=fields.text("kind"),
        title=fields.text("title"),
        experiment_ids=experiments,
        workspace=mlflow_private.request_workspace(),
        is_live=is_live,
        as_of_ms=None if is_live else at_ms,
        shown=shown,
        run_filter=run_filter,
        view=view,
        replaces_names=replaces_names,
        expires_ms=None if is_preview else _expiry(fields, at_ms),
        password=fields.text_or_none("password") or None,
        is_preview=is_preview,
        created_by=access.principal() or "",
        report=None if found is None else found.report,
    )
    share, token = links.create(store.engine, terms, run_ids, facts)
    if not is_preview or fields.flag("is_published"):
        _note(
            "publish" if is_preview else "link.create",
            share,
            title=share.title,
            is_live=is_live,
            expires_ms=None if is_preview else share.expires_ms,
            has_password=share.secret is not None or None,
            shown=share.shown.in_words(),
        )
    return {"share": _as_json(share, caller), "token": token, "path": _path(token)}


def _list(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    experiment_id = fields.text_or_none("experiment_id")
    if experiment_id is not None:
        (experiment_id,) = readable.require_readable_experiments([experiment_id], caller)
    engine = deliveries.require_store().engine
    found = links.list_links(engine, experiment_id, mlflow_private.request_workspace())
    return {
        "policy": PUBLIC_LINKS.get(),
        "has_login": mlflow_private.is_auth_on(),
        "max_days": _most_days(),
        "embed": list(PUBLIC_LINKS_EMBED.get()),
        "shares": [_as_json(one, caller) for one in found if _may_see(one, caller)],
    }


def _change(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    share = _managed(fields, caller)
    engine, action = deliveries.require_store().engine, fields.text("action")
    more: dict[str, Any] = {}
    public = visibility.of_address(engine, share)
    if action == "rotate":
        # A public experiment's address keeps its name, and is known to who may read it.
        named = None if public is None else links.named_token((public.address or "").split(".")[0])
        token = links.rotate(engine, share.share_id, named)
        if public is not None:
            visibility.write(engine, public._replace(address=token))
        more = {"token": token, "path": _path(token)}
    elif action in {"pause", "resume"}:
        links.set_paused(engine, share.share_id, action == "pause")
    elif action == "revoke":
        links.revoke(engine, share.share_id)
        if public is not None:
            team = public._replace(level=visibility.TEAM, share_id=None, address=None)
            visibility.write(engine, team)
    else:
        raise ConfigError("action: expected pause, resume, revoke or rotate")
    if not share.is_preview:
        _note(f"link.{action}", share, title=share.title)
    changed = links.read(engine, share.share_id)
    assert changed is not None
    return {"share": _as_json(changed, caller), **more}


def _note(action: str, share: Share, **detail: Any) -> None:
    only = share.experiment_ids[0] if len(share.experiment_ids) == 1 else None
    if only is None:
        detail["experiment_ids"] = list(share.experiment_ids)
    if share.report is not None:
        detail["report"] = share.report.report_id
    target = "" if share.is_preview else share.share_id
    audit.note(action, target=target, experiment_id=only, kind=share.kind, **detail)


def _log(fields: Fields) -> dict[str, Any]:
    share = _managed(fields, access.Access())
    found = links.read_visits(deliveries.require_store().engine, share.share_id)
    return {"entries": [visit._asdict() for visit in found]}


def _editable(fields: Fields, caller: access.Access) -> list[str]:
    """Return the experiments of a request; end it unless the caller may edit each."""
    experiments = fields.texts("experiment_ids")
    if not experiments:
        raise ConfigError("it names no experiment")
    found = readable.require_readable_experiments(experiments, caller)
    if not all(map(caller.may_edit_experiment, found)):
        flask.abort(access.refusal(403, access.NOT_PERMITTED))
    return found


def _scope(
    fields: Fields, experiments: list[str], caller: access.Access
) -> tuple[list[str] | None, links.Filter | None]:
    """Return the runs that a request names, or the filter that says which; one of them is None."""
    run_ids = fields.texts("run_ids")
    if run_ids:
        of = readable.require_readable_runs(run_ids, caller)
        if not set(of.values()) <= set(experiments):
            raise ConfigError("a run of another experiment than those that are named")
        return list(of), None
    given = fields.mapping("filter")
    found = links.Filter(
        given.text_or_none("filter") or "",
        given.text_or_none("search") or "",
        given.flag("regex"),
    )
    filter_language.parse(found.text)
    return None, found


def _expiry(fields: Fields, at_ms: int) -> int | None:
    """Return when a link ends: as asked and as policy lets it; without a word in 30 days."""
    most_days = _most_days()
    if fields.raw("expires_ms") == NEVER:
        if most_days is None:
            return None
        raise ConfigError(f"this server lets links last {most_days:g} days at most")
    expires_ms = fields.whole_or_none("expires_ms")
    if expires_ms is None:
        days = USUAL_DAYS if most_days is None else min(USUAL_DAYS, most_days)
        return at_ms + round(days * links.MS_A_DAY)
    if expires_ms <= at_ms:
        raise ConfigError("expires_ms: expected a time to come")
    if most_days is None:
        return expires_ms
    latest_ms = at_ms + round(most_days * links.MS_A_DAY)
    if expires_ms > latest_ms + links.MS_A_DAY // 24:
        raise ConfigError(f"this server lets links last {most_days:g} days at most")
    return min(expires_ms, latest_ms)


def _most_days() -> float | None:
    """Return how long a link may last that is made now; None where it may be for ever."""
    most_days = PUBLIC_LINKS_MAX_DAYS.get()
    if most_days is None:
        return LONGEST_DAYS
    return None if math.isinf(most_days) else most_days


def object_of(fields: Fields, name: str) -> dict[str, Any] | None:
    """Return a JSON object as it is, or None; as text, too, which is how views are kept."""
    value = fields.raw(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ConfigError(f"{name}: expected JSON") from None
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"{name}: expected a JSON object")
    if value is not None and len(json.dumps(value)) > views.MAX_DOCUMENT_BYTES:
        raise ConfigError(f"{name}: at most {views.MAX_DOCUMENT_BYTES:,} bytes")
    return value


def _managed(fields: Fields, caller: access.Access) -> Share:
    """Return a link that the caller may manage; end the request where it is none."""
    share_id = fields.text("id")
    share = None
    if is_id(share_id):
        share = links.read(deliveries.require_store().engine, share_id)
    workspace = mlflow_private.request_workspace()
    if share is None or share.workspace != workspace or not _may_see(share, caller):
        flask.abort(access.refusal(404, "there is no such link"))
    if not _may_manage(share, caller):
        flask.abort(access.refusal(403, access.NOT_PERMITTED))
    return share


def _may_see(share: Share, caller: access.Access) -> bool:
    return _is_maker(share) or any(map(caller.may_edit_experiment, share.experiment_ids))


def _may_manage(share: Share, caller: access.Access) -> bool:
    return _is_maker(share) or all(map(caller.may_delete_experiment, share.experiment_ids))


def _is_maker(share: Share) -> bool:
    named = access.principal()
    return bool(named) and share.created_by == named


def _path(token: str) -> str:
    return mlflow_private.static_prefixed(f"{PUBLIC_PATH}/{token}")


def _as_json(share: Share, caller: access.Access) -> dict[str, Any]:
    return {
        "id": share.share_id,
        "kind": share.kind,
        "title": share.title,
        "experiment_ids": list(share.experiment_ids),
        "n_runs": share.n_runs,
        "is_live": share.is_live,
        "as_of_ms": share.as_of_ms,
        "shown": share.shown.as_json(),
        "replaces_names": share.replaces_names,
        "created_ms": share.created_ms,
        "created_by": share.created_by or None,
        "expires_ms": visitors.expiry_of(share),
        "has_password": share.secret is not None,
        "state": visitors.state_of(deliveries.require_store().engine, share),
        "hits": share.hits,
        "last_seen_ms": share.last_seen_ms,
        "may_manage": _may_manage(share, caller),
    }
