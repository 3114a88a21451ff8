"""Reports: who may read all experiments of one reads it, who may edit them all writes it.

    POST reports/list      {"experiment_id"?} → {"reports": [REPORT], "may_create"}, the last saved
                           first; "may_create" is of that experiment, true without one
    POST reports/read      {"id", "revision"? | "draft"?: true} → {"report": REPORT, "title",
                           "document", "revision", "author", "at_ms", "revisions":
                           [{"revision", "title", "author", "at_ms"}]}: what was published last,
                           or before; or, for editors, the draft, with "revision" 0
    POST reports/create    {"experiment_ids", "title", "document"?} → {"report"}
    POST reports/change    {"id", "action", …} → {"report"}
        "save"     {"draft", "title", "document"}: the draft is this
        "append"   {"content": [node]}: at the end of the draft, whatever it is by now
        "publish"  {"draft"}
        "restore"  {"revision", "draft"}: what it was is the draft
        "clone"    {"title"} → the new one
        "picture"  {"body": base64} → {"report", "image"}: its id, for a node
        "delete"   {}
    POST reports/comments  {"id", "action"?: "add" | "resolve" | "reopen" | "delete", "text"?,
                           "quote"?, "panel"?: its id, "comment"?} → {"comments": [COMMENT]}
    POST reports/image     {"id", "image"} → the picture

    REPORT   {"id", "title", "experiment_ids", "created_ms", "created_by", "draft", "saved_ms",
              "saved_by", "revision", "is_changed": since it was published, "may_edit",
              "may_delete"}
    COMMENT  {"id", "author", "at_ms", "quote", "panel", "text", "resolved_ms",
              "resolved_by", "may_resolve", "may_delete"}
    409      {"error", "report", "title", "document"}: the draft as somebody saved it since

A report that was never published is there for editors alone. Whoever reads a report may comment
on it; a comment is settled by its author and by editors, and taken away by its author or who may
delete the report: whoever began it and may still edit it, or who may delete its experiments.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import flask

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.sharing import links, report_document, reports
from mlflow_weir.store.sharing.reports import Comment, Report
from mlflow_weir.ui_extensions import (
    access,
    audit,
    deliveries,
    mlflow_private,
    readable,
    report_rights,
)
from mlflow_weir.ui_extensions.api.runs import answer as answer_with
from mlflow_weir.ui_extensions.link_sight import LinkSight
from mlflow_weir.ui_extensions.questions import SMALL_BYTES, read_question

MAX_BODY_BYTES = 2 * report_document.MAX_BYTES
MAX_IMAGE_BODY_BYTES = reports.MAX_IMAGE_BYTES * 4 // 3 + 1_024
_EDITING_MS = 10 * 60_000
_ACTIONS = ("save", "append", "publish", "restore", "clone", "picture", "delete")


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""
    for path, view, most_bytes in (
        ("/reports/list", _list, SMALL_BYTES),
        ("/reports/read", _read, SMALL_BYTES),
        ("/reports/create", _create, MAX_BODY_BYTES),
        ("/reports/change", _change, MAX_IMAGE_BODY_BYTES),
        ("/reports/comments", _comments, SMALL_BYTES),
    ):
        _add(routes, path, view, most_bytes)

    @access.route(routes, "/reports/image", "POST", content_type="application/json")
    def reports_image() -> flask.Response:
        return _image(read_question(SMALL_BYTES))


def _add(routes: flask.Blueprint, path: str, view: Any, most_bytes: int) -> None:
    def answer() -> flask.Response:
        try:
            return answer_with(view, read_question(most_bytes))
        except reports.ReportConflict as exc:
            return access.refusal(
                409,
                str(exc),
                report=_as_json(exc.report, access.Access()),
                title=exc.report.title,
                document=json.loads(exc.document),
            )

    answer.__name__ = path.strip("/").replace("/", "_")
    access.route(routes, path, "POST", content_type="application/json")(answer)


def _list(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    experiment_id = fields.text_or_none("experiment_id")
    if experiment_id is not None:
        (experiment_id,) = readable.require_readable_experiments([experiment_id], caller)
    engine = deliveries.require_store().engine
    found = [
        report
        for report in reports.list_reports(engine, mlflow_private.request_workspace())
        if experiment_id is None or experiment_id in report.experiment_ids
    ]
    found = [report for report in found if report_rights.may_read(report, caller)]
    # Readers know a report by what it was called when it was published.
    titles = reports.published_titles(engine, [one.report_id for one in found if one.revision])
    listed = []
    for report in found:
        shown = _as_json(report, caller)
        if not shown["may_edit"]:
            shown["title"] = titles.get(report.report_id, report.title)
        listed.append(shown)
    may_create = experiment_id is None or caller.may_edit_experiment(experiment_id)
    return {"reports": listed, "may_create": may_create}


def _read(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    report = _readable(fields, caller)
    if fields.flag("draft"):
        return _draft(report, caller)
    engine = deliveries.require_store().engine
    revision = fields.whole_or_none("revision")
    found = reports.read_revision(
        engine, report.report_id, report.revision if revision is None else revision
    )
    if found is None:
        if revision is None:
            return _draft(report, caller)  # never published: its readers may edit it
        flask.abort(access.refusal(404, "there is no such version"))
    one, document = found
    shown = _as_json(report, caller)
    if not shown["may_edit"]:
        shown["title"] = one.title
    return {
        "report": shown,
        "title": one.title,
        "document": json.loads(document),
        "revision": one.revision,
        "author": one.author or None,
        "at_ms": one.at_ms,
        "revisions": _revisions(report),
    }


def _draft(report: Report, caller: access.Access) -> dict[str, Any]:
    _require_editor(report, caller)
    document = reports.read_draft(deliveries.require_store().engine, report.report_id)
    assert document is not None
    return {
        "report": _as_json(report, caller),
        "title": report.title,
        "document": json.loads(document),
        "revision": 0,
        "author": report.saved_by or None,
        "at_ms": report.saved_ms,
        "revisions": _revisions(report),
    }


def _create(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    experiments = fields.texts("experiment_ids")
    if not experiments:
        raise ConfigError("it names no experiment")
    found = readable.require_readable_experiments(experiments, caller)
    if not all(map(caller.may_edit_experiment, found)):
        flask.abort(access.refusal(403, access.NOT_PERMITTED))
    document = fields.raw("document")
    report = reports.create(
        deliveries.require_store().engine,
        found,
        mlflow_private.request_workspace(),
        fields.text("title"),
        report_document.EMPTY if document is None else document,
        _author(),
    )
    _note("create", report)
    return {"report": _as_json(report, caller)}


def _change(fields: Fields) -> dict[str, Any]:
    caller, action = access.Access(), fields.text("action")
    report = _readable(fields, caller)
    engine, author = deliveries.require_store().engine, _author()
    if action == "delete":
        if not report_rights.may_delete(report, caller):
            flask.abort(access.refusal(403, access.NOT_PERMITTED))
        reports.delete(engine, report.report_id)
        _note("delete", report)
        return {"report": _as_json(report, caller)}
    _require_editor(report, caller)
    more: dict[str, Any] = {}
    detail: dict[str, Any] = {}
    before = report
    if action == "save":
        draft, title = fields.whole("draft"), fields.text("title")
        document = fields.raw("document")
        report = reports.save(engine, report.report_id, draft, title, document, author)
    elif action == "append":
        report = reports.append(engine, report.report_id, fields.items("content"), author)
    elif action == "publish":
        report = reports.publish(engine, report.report_id, fields.whole("draft"), author)
        detail["version"] = report.revision
    elif action == "restore":
        revision, draft = fields.whole("revision"), fields.whole("draft")
        report = reports.restore(engine, report.report_id, revision, draft, author)
        detail["version"] = revision
    elif action == "clone":
        report = reports.clone(engine, report, fields.text("title"), author)
        detail["copy_of"] = before.report_id
    elif action == "picture":
        more = {"image": reports.add_image(engine, report.report_id, _picture(fields))}
    else:
        raise ConfigError(f"action: expected {', '.join(_ACTIONS)}")
    if action in {"save", "append"}:
        _note_edit(before, author)
    elif action in {"publish", "restore", "clone"}:
        _note(action, report, **detail)
    return {"report": _as_json(report, caller), **more}


def _comments(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    report = _readable(fields, caller)
    engine, action = deliveries.require_store().engine, fields.text_or_none("action")
    if action == "add":
        quote = fields.text_or_none("quote") or ""
        text, panel = fields.text("text"), fields.text_or_none("panel")
        reports.add_comment(engine, report.report_id, _author(), text, quote, panel)
        _note("comment", report)
    elif action is not None:
        comment = reports.read_comment(engine, report.report_id, fields.text("comment"))
        if comment is None:
            flask.abort(access.refusal(404, "there is no such comment"))
        is_own = report_rights.is_caller(comment.author)
        may_settle = is_own or report_rights.may_edit(report, caller)
        if action in {"resolve", "reopen"} and may_settle:
            is_resolved = action == "resolve"
            reports.resolve_comment(engine, comment.comment_id, _author(), is_resolved)
        elif action == "delete" and (is_own or report_rights.may_delete(report, caller)):
            reports.delete_comment(engine, comment.comment_id)
        elif action in {"resolve", "reopen", "delete"}:
            flask.abort(access.refusal(403, access.NOT_PERMITTED))
        else:
            raise ConfigError("action: expected add, resolve, reopen or delete")
        _note(f"comment.{action}", report, author=comment.author)
    found = reports.list_comments(engine, report.report_id)
    may_edit, may_delete = (
        report_rights.may_edit(report, caller),
        report_rights.may_delete(report, caller),
    )
    return {"comments": [_comment_json(one, may_edit, may_delete) for one in found]}


def _picture(fields: Fields) -> bytes:
    try:
        return base64.b64decode(fields.text("body"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("body: expected base64") from None


def _image(fields: Fields) -> flask.Response:
    report = _readable(fields, access.Access())
    engine = deliveries.require_store().engine
    return _send_image(reports.read_image(engine, report.report_id, fields.text("image")))


def answer_visitor(fields: Fields, sight: LinkSight) -> flask.Response:
    """Answer ``POST reports/image`` for the visitor of a link: pictures that it shows."""
    report, image = sight.share.report, fields.text("image")
    if report is None or image not in report_document.images(report.document):
        return _send_image(None)
    engine = deliveries.require_store().engine
    return _send_image(reports.read_image(engine, report.report_id, image))


def _send_image(image: reports.Image | None) -> flask.Response:
    """Return a picture as it goes out, or that there is none."""
    if image is None:
        return access.refusal(404, "the report has no such picture")
    answer = flask.Response(image.body)
    answer.headers["Content-Type"] = image.content_type
    answer.headers["Content-Disposition"] = "attachment"
    answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


def _readable(fields: Fields, caller: access.Access) -> Report:
    return report_rights.require_report(fields.text("id"), caller)


def _require_editor(report: Report, caller: access.Access) -> None:
    if not report_rights.may_edit(report, caller):
        flask.abort(access.refusal(403, access.NOT_PERMITTED))


def _note(action: str, report: Report, **detail: Any) -> None:
    """Note a deed; what is written in a report or of it is in no note, but for its title."""
    experiments = list(report.experiment_ids)
    if len(experiments) > 1:
        detail["experiment_ids"] = experiments
    audit.note(
        f"report.{action}",
        target=report.report_id,
        experiment_id=experiments[0] if len(experiments) == 1 else None,
        title=report.title,
        **detail,
    )


def _note_edit(before: Report, author: str) -> None:
    """Note that somebody writes: drafts are saved every few seconds, which is one deed."""
    is_going_on = before.draft > 1 and before.saved_by == author
    if not is_going_on or links.now_ms() - before.saved_ms > _EDITING_MS:
        _note("edit", before)


def _author() -> str:
    return access.principal() or ""


def _revisions(report: Report) -> list[dict[str, Any]]:
    found = reports.list_revisions(deliveries.require_store().engine, report.report_id)
    return [{**one._asdict(), "author": one.author or None} for one in found]


def _comment_json(comment: Comment, may_edit: bool, may_delete: bool) -> dict[str, Any]:
    is_own = report_rights.is_caller(comment.author)
    return {
        "id": comment.comment_id,
        "author": comment.author or None,
        "at_ms": comment.at_ms,
        "quote": comment.quote,
        "panel": comment.panel,
        "text": comment.text,
        "resolved_ms": comment.resolved_ms,
        "resolved_by": comment.resolved_by or None,
        "may_resolve": is_own or may_edit,
        "may_delete": is_own or may_delete,
    }


def _as_json(report: Report, caller: access.Access) -> dict[str, Any]:
    return {
        "id": report.report_id,
        "title": report.title,
        "experiment_ids": list(report.experiment_ids),
        "created_ms": report.created_ms,
        "created_by": report.created_by or None,
        "draft": report.draft,
        "saved_ms": report.saved_ms,
        "saved_by": report.saved_by or None,
        "revision": report.revision,
        "is_changed": report.draft != report.published_draft,
        "may_edit": report_rights.may_edit(report, caller),
        "may_delete": report_rights.may_delete(report, caller),
    }
