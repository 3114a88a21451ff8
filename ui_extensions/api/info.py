"""``GET info``: how a client recognises a server that runs Weir.

200  {"weir": version of mlflow-weir, "api": 1, "capture": [classes that trainings may use]}

Every answer below ``/ajax-api/3.0/weir/`` carries ``X-Weir-Api``, so that a server is recognised
by who is not let in, too. 404 says that its store is not Weir's.
"""

from __future__ import annotations

import flask

import mlflow_weir
from mlflow_weir import settings
from mlflow_weir.ui_extensions import access, deliveries

API = 1
"""Raised when a client of this version could no longer speak to a server of the next."""


def introduce(answer: flask.Response) -> flask.Response:
    """Let an answer say that this server runs Weir."""
    answer.headers["X-Weir-Api"] = str(API)
    return answer


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/info", "GET")
    def info() -> flask.Response:
        deliveries.require_store()
        allowed = sorted(settings.SERVER_CAPTURE.get())
        return flask.jsonify({"weir": mlflow_weir.__version__, "api": API, "capture": allowed})
