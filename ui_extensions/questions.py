"""The JSON body of a request to a route that shows something."""

from __future__ import annotations

import json

import flask

from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.ui_extensions import access, deliveries

MAX_BYTES = 4 << 20


def read_question(limit: int = MAX_BYTES) -> Fields:
    """Return the body's fields; end the request where it is no JSON object or too large.

    Args:
        limit: Most bytes.

    The accessors of the result raise ``Refused``, which the blueprint answers with 400.
    """
    body = deliveries.read_body(limit)
    if body is None:
        flask.abort(access.refusal(413, f"more than {limit} bytes"))
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        flask.abort(access.refusal(400, "not a JSON object"))
    return Fields(found)
