"""What visitors of links get, below ``/weir/s/``: a page, its files, and an API cut to the link.

    GET  /weir/s/TOKEN             the page; its title is the link's only without a password
    GET  /weir/s/assets/NAME       a file of the page's own bundle
    POST /weir/s/TOKEN/api/share   {} → {"title", "kind", "is_live", "as_of_ms", "shown", "view",
                                   "n_runs", "replaces_names", "experiments", "run_id", "report"}
    POST /weir/s/TOKEN/api/unlock  {"password"} → {"key"}, for the header X-Weir-Key
    POST /weir/s/TOKEN/api/invite  {} → {"created_by", "experiment", "permission", "expires_ms",
                                   "server"}: of an invitation, whose page is at the same address
    POST /weir/s/TOKEN/api/accept  {"name", "password"} → {"name"}: the invited is a user now
    POST /weir/s/TOKEN/api/NAME    bodies and answers of the internal route of that name

These are the only routes that ask nobody who they are. What does not open is one and the same
404, whatever the reason; a link with a password answers 401 with ``needs_password`` until it is
opened. Answers are kept for five seconds for a link and question, so that many visitors cost what
one does.
"""

from __future__ import annotations

import hashlib
import html
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import flask

from mlflow_weir.errors import ConfigError
from mlflow_weir.settings import PUBLIC_LINKS_EMBED
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.sharing import links
from mlflow_weir.ui_extensions import (
    access,
    api,
    bundle,
    deliveries,
    joining,
    mlflow_private,
    visitors,
)
from mlflow_weir.ui_extensions.api import (
    changes,
    code,
    comparisons,
    console,
    files,
    histograms,
    keys,
    reports,
    run,
    runs,
    series,
)
from mlflow_weir.ui_extensions.link_sight import LinkSight
from mlflow_weir.ui_extensions.questions import parse_question

BLUEPRINT = "weir_public"
PREFIX = "/weir/s"
NOT_BUILT = "Weir's pages are not built.\n"
MAX_QUESTION_BYTES = 512 << 10
MAX_ANSWER_BYTES = 32 << 20
CACHE_S = 5.0
_MAX_CACHED_BYTES = 64 << 20
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "media-src 'self' blob:",
    "connect-src 'self'",
    "worker-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
)
_TITLE = "<title>Weir</title>"

_Answer = Callable[[Fields, LinkSight], flask.Response]


def _list(view: Callable[..., dict[str, Any]]) -> _Answer:
    return lambda question, sight: runs.answer(view, question, sight)


def _json(view: Callable[[Fields, LinkSight], dict[str, Any]]) -> _Answer:
    return lambda question, sight: flask.jsonify(view(question, sight))


ANSWERS: dict[str, _Answer] = {
    "runs": _list(runs.answer_runs),
    "groups": _list(runs.answer_groups),
    "columns": _list(runs.answer_columns),
    "runs/compare": _list(comparisons.answer_compare),
    "keys": _json(keys.answer_keys),
    "series": series.answer_series,
    "changes": _json(changes.answer_visitor),
    "run": _json(run.answer_visitor),
    "console": console.answer_console,
    "histograms": histograms.answer_histograms,
    "code": _json(code.answer_code),
    "files": _json(files.answer_files),
    "file": files.answer_file,
    "media": _json(files.answer_media),
    "reports/image": reports.answer_visitor,
}
"""What a visitor may ask, by the internal routes' names; nothing else is answered."""


def blueprint() -> flask.Blueprint:
    """Return the public routes, each behind the guard."""
    routes = flask.Blueprint(
        BLUEPRINT, __name__, url_prefix=mlflow_private.static_prefixed(PREFIX)
    )
    routes.before_request(access.guard)
    routes.after_request(_harden)
    api.handle_errors(routes)

    @access.route(routes, "/<token>", "GET", public=True)
    def page(token: str) -> flask.Response:
        return _page()

    @access.route(routes, "/assets/<name>", "GET", public=True)
    def asset(name: str) -> flask.Response:
        return _asset(name)

    @access.route(routes, "/", "GET", public=True)
    def start() -> flask.Response:
        return visitors.nothing_here()

    @access.route(routes, "/<path:place>", "GET", public=True)
    def elsewhere(place: str) -> flask.Response:
        return visitors.nothing_here()

    @access.route(
        routes, "/<token>/api/share", "POST", content_type="application/json", public=True
    )
    def share(token: str) -> flask.Response:
        return _share()

    @access.route(
        routes, "/<token>/api/unlock", "POST", content_type="application/json", public=True
    )
    def unlock(token: str) -> flask.Response:
        return _unlock()

    @access.route(
        routes, "/<token>/api/invite", "POST", content_type="application/json", public=True
    )
    def invite(token: str) -> flask.Response:
        return _invite()

    @access.route(
        routes, "/<token>/api/accept", "POST", content_type="application/json", public=True
    )
    def accept(token: str) -> flask.Response:
        return _accept()

    @access.route(
        routes, "/<token>/api/<path:name>", "POST", content_type="application/json", public=True
    )
    def answer(token: str, name: str) -> flask.Response:
        return _answer(name)

    return routes


def nothing_page() -> flask.Response:
    """Return the page of all that does not open."""
    built = bundle.read()
    if built is None:
        answer = flask.Response("There is nothing here.\n", mimetype="text/plain")
    else:
        answer = flask.Response(_shell(built.public.gone), mimetype="text/html")
    answer.status_code = 404
    return answer


def _page() -> flask.Response:
    built = bundle.read()
    if built is None:
        return flask.Response(NOT_BUILT, 503, mimetype="text/plain")
    if visitors.is_invited():
        return flask.Response(_shell(built.public.invite), mimetype="text/html")
    visitor = visitors.current()
    head = "<title>Shared with Weir</title>"
    if visitor.share.secret is None:
        title = html.escape(visitor.share.title)
        head = (
            f"<title>{title}</title>"
            f'<meta property="og:title" content="{title}">'
            f'<meta property="og:description" content="{_card_words(visitor.share)}">'
            '<meta property="og:type" content="website">'
        )
    body = _shell(built.public.page).replace(_TITLE, head, 1)
    return flask.Response(body, mimetype="text/html")


def _card_words(share: links.Share) -> str:
    """Return what a chat's card says below the title: nothing of what is shown."""
    what = "A report" if share.report is not None else "Results of training runs"
    if share.as_of_ms is None:
        return f"{what}, live"
    return f"{what} as of {time.strftime('%Y-%m-%d', time.gmtime(share.as_of_ms / 1_000))}"


def _shell(page: str) -> str:
    """Return the page for an address of any depth below the public prefix."""
    depth = flask.request.path.removeprefix(mlflow_private.static_prefixed(PREFIX)).count("/") - 1
    return page.replace('"./assets/', f'"{"../" * depth or "./"}assets/')


def _asset(name: str) -> flask.Response:
    built = bundle.read()
    found = None if built is None else built.public.assets.get(name)
    if found is None:
        return visitors.nothing_here()
    is_packed = found.packed is not None and flask.request.accept_encodings["gzip"] > 0
    answer = flask.Response(found.packed if is_packed else found.content)
    answer.headers["Content-Type"] = found.content_type
    if is_packed:
        answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Vary"] = "Accept-Encoding"
    answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return answer


def _share() -> flask.Response:
    visitor = visitors.current()
    if not visitor.is_unlocked:
        return _locked()
    share = visitor.share
    sight = LinkSight(share, visitor.engine)
    visitors.note_hit(visitor.engine, share)
    return flask.jsonify(
        {
            "title": share.title,
            "kind": share.kind,
            "is_live": share.is_live,
            "as_of_ms": share.as_of_ms,
            "shown": share.shown.as_json(),
            "view": share.view,
            "n_runs": len(sight.run_ids),
            "replaces_names": share.replaces_names,
            "experiments": sight.experiments,
            "run_id": sight.run_ids[0] if share.kind == "run" and sight.run_ids else None,
            "report": None if share.report is None else share.report.document,
        }
    )


def _unlock() -> flask.Response:
    visitor = visitors.current()
    password = parse_question(_body()).text("password")
    # Before the look at it: of many guesses at once no more get through than one by one.
    if not (
        visitors.passwords_of_address.take(visitors.who_asks())
        and visitors.passwords_of_link.take(visitor.share.share_id)
    ):
        return visitors.slow_down()
    if visitor.share.secret is not None and not links.is_password(visitor.share, password):
        visitors.note(visitor.engine, visitor.share, "wrong password")
        return access.refusal(401, "this is not the password", needs_password=True)
    key = links.make_key(visitor.share, links.now_ms() + links.KEY_MS)
    return flask.jsonify({"key": key})


def _invite() -> flask.Response:
    found = visitors.current_invite()
    engine = deliveries.require_store().engine
    return flask.jsonify(
        {
            "created_by": found.created_by,
            "experiment": joining.experiment_name(engine, found),
            "permission": found.permission,
            "expires_ms": found.expires_ms,
            "server": mlflow_private.static_prefixed("/"),
        }
    )


def _accept() -> flask.Response:
    found = visitors.current_invite()
    question = parse_question(_body())
    name, password = question.text("name"), question.text("password")
    if not visitors.passwords_of_address.take(visitors.who_asks()):
        return visitors.slow_down()
    try:
        joining.accept(deliveries.require_store().engine, found, name, password)
    except ConfigError as exc:
        return access.refusal(400, str(exc))
    return flask.jsonify({"name": name})


def _answer(name: str) -> flask.Response:
    visitor = visitors.current()
    found = ANSWERS.get(name)
    if found is None:
        return visitors.nothing_here()
    if not visitor.is_unlocked:
        return _locked()
    body = _body()
    # What it shows is part of the question: a public experiment's address can show other fields.
    shown = [visitor.share.shown.as_json(), visitor.share.replaces_names]
    asked = json.dumps(shown).encode() + body
    question = (visitor.share.share_id, name, hashlib.sha256(asked).digest())
    kept = _cache.get(question)
    if kept is None:
        answer = found(parse_question(body), LinkSight(visitor.share, visitor.engine))
        kept = _kept(answer)
        if kept.status == 200:
            _cache.put(question, kept)
    answer = flask.Response(kept.body, kept.status)
    answer.headers.extend(kept.headers)
    return answer


def _body() -> bytes:
    body = deliveries.read_body(MAX_QUESTION_BYTES)
    if body is None:
        flask.abort(access.refusal(413, f"more than {MAX_QUESTION_BYTES} bytes"))
    return body


def _locked() -> flask.Response:
    return access.refusal(401, "this link has a password", needs_password=True)


class _Kept(NamedTuple):
    """An answer as it goes out again."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]


def _kept(answer: flask.Response) -> _Kept:
    try:
        parts, n_bytes = [], 0
        for part in answer.iter_encoded():
            parts.append(part)
            n_bytes += len(part)
            if n_bytes > MAX_ANSWER_BYTES:
                flask.abort(access.refusal(413, "more than a link gives at once: ask for less"))
    finally:
        answer.close()
    headers = [(key, value) for key, value in answer.headers if key != "Content-Length"]
    return _Kept(answer.status_code, b"".join(parts), headers)


class _Cache:
    """Answers of the last seconds, in the memory of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, bytes], tuple[float, _Kept]] = OrderedDict()
        self._n_bytes = 0

    def get(self, question: tuple[str, str, bytes]) -> _Kept | None:
        with self._lock:
            at, kept = self._kept.get(question, (0.0, None))
            return kept if time.monotonic() - at < CACHE_S else None

    def put(self, question: tuple[str, str, bytes], kept: _Kept) -> None:
        with self._lock:
            self._drop(question)
            self._kept[question] = (time.monotonic(), kept)
            self._n_bytes += len(kept.body)
            while self._n_bytes > _MAX_CACHED_BYTES:
                self._drop(next(iter(self._kept)))

    def _drop(self, question: tuple[str, str, bytes]) -> None:
        _, kept = self._kept.pop(question, (0.0, None))
        self._n_bytes -= 0 if kept is None else len(kept.body)


_cache = _Cache()


def _harden(answer: flask.Response) -> flask.Response:
    if answer.status_code >= 500 and answer.is_json:
        # Where it fails is nothing for visitors: the words may name rows and ids.
        answer.set_data(flask.json.dumps({"error": "the server cannot answer now"}))
    visitor = flask.g.get("weir_visitor")
    is_framed = visitor is not None and visitor.share.is_preview
    ancestors = "'self'" if is_framed else " ".join(PUBLIC_LINKS_EMBED.get()) or "'none'"
    # An artifact's answer has a stricter one of its own.
    answer.headers.setdefault(
        "Content-Security-Policy", "; ".join([*_POLICY, f"frame-ancestors {ancestors}"])
    )
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    answer.headers.setdefault("Cache-Control", "private, no-store")
    return answer
