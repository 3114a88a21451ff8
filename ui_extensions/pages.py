"""The extension's pages, below ``/weir/``: one HTML shell for all of them, and the built assets.

A page holds no data: what it shows it asks the API for, with the reader's own rights. It is let in
like MLflow's own page, so that a browser asks for a password in the same way.

The policy of a page allows files of this server alone: no inline script or style, no eval, no
frame but of this server. Assets carry a digest in their names and are kept by browsers for good;
the shell is asked for each time and answered with 304.
"""

from __future__ import annotations

from typing import Any

import flask

from mlflow_weir.ui_extensions import access, bundle, mlflow_private

BLUEPRINT = "weir_pages"
PREFIX = "/weir"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "frame-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    ]
)
NOT_BUILT = "Weir's pages are not built: run `make web`, or install the package again with npm.\n"
_SCRIPT_GOES_BEFORE = b"</head>"


def blueprint() -> flask.Blueprint:
    """Return the pages' routes, each behind the guard."""
    routes = flask.Blueprint(
        BLUEPRINT, __name__, url_prefix=mlflow_private.static_prefixed(PREFIX)
    )
    routes.before_request(access.guard)
    routes.after_request(_harden)

    @access.route(routes, "/", "GET")
    def start() -> flask.Response:
        return _page("")

    @access.route(routes, "/<path:place>", "GET")
    def page(place: str) -> flask.Response:
        return _page(place)

    @access.route(routes, "/assets/<name>", "GET")
    def asset(name: str) -> flask.Response:
        return _asset(name)

    return routes


def join_index(app: flask.Flask) -> None:
    """Let MLflow's own page load our script, which adds the ways into our pages.

    The address is relative, as those of MLflow's own scripts are, and the answer has a validator
    of its own: with the file's, browsers would keep a page from before the extension.
    """
    stock = app.view_functions[mlflow_private.INDEX_ENDPOINT]

    def serve_with_script() -> Any:
        built = bundle.read()
        if built is None:
            return stock()
        with _unconditional():
            answer = flask.make_response(stock())
        if answer.status_code != 200 or answer.mimetype != "text/html":
            return answer
        answer.direct_passthrough = False
        before, mark, after = answer.get_data().partition(_SCRIPT_GOES_BEFORE)
        if not mark:
            return answer  # no page of MLflow's as we know it
        script = f'<script type="module" src="weir/assets/{built.stock_script}"></script>'
        answer.set_data(before + script.encode() + mark + after)
        answer.headers.remove("Last-Modified")
        answer.set_etag(bundle.etag(answer.get_data()))
        return answer.make_conditional(flask.request)

    app.view_functions[mlflow_private.INDEX_ENDPOINT] = serve_with_script


class _unconditional:
    """Answers a request as if its browser kept nothing, for as long as the block lasts."""

    _HEADERS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE", "HTTP_RANGE")

    def __enter__(self) -> None:
        environ = flask.request.environ
        self._taken = {name: environ.pop(name) for name in self._HEADERS if name in environ}

    def __exit__(self, *_: object) -> None:
        flask.request.environ.update(self._taken)


def _page(place: str) -> flask.Response:
    built = bundle.read()
    if built is None:
        return _text(503, NOT_BUILT)
    body = built.page_at_depth(place.count("/"))
    answer = flask.Response(body, mimetype="text/html")
    answer.set_etag(bundle.etag(body))
    answer.headers["Cache-Control"] = "no-cache"
    answer.make_conditional(flask.request)
    return answer


def _asset(name: str) -> flask.Response:
    built = bundle.read()
    found = None if built is None else built.assets.get(name)
    if found is None:
        return _text(404, "no such file of Weir's pages\n")
    is_packed = found.packed is not None and flask.request.accept_encodings["gzip"] > 0
    answer = flask.Response(found.packed if is_packed else found.content)
    answer.headers["Content-Type"] = found.content_type
    if is_packed:
        answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Vary"] = "Accept-Encoding"
    answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return answer


def _text(status: int, text: str) -> flask.Response:
    return flask.Response(text, status, mimetype="text/plain")


def _harden(answer: flask.Response) -> flask.Response:
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "same-origin"
    answer.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return answer
