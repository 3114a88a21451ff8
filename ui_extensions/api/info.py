"""``GET info``: how a client recognises a server that runs Weir.

200  {"weir": version of mlflow-weir, "api": 1}
"""

from __future__ import annotations

import flask

import mlflow_weir
from mlflow_weir.ui_extensions import access, deliveries

API = 1
"""Raised when a client of this version could no longer speak to a server of the next."""


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/info", "GET")
    def info() -> flask.Response:
        deliveries.require_store()
        return flask.jsonify({"weir": mlflow_weir.__version__, "api": API})
