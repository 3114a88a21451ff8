"""What the routes that only read share: a JSON object as the question, its fields checked."""

from __future__ import annotations

import json

import flask

from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.ui_extensions import access, deliveries

MAX_BYTES = 64 << 10
"""Most of a question that names few things."""


def read_fields(max_bytes: int = MAX_BYTES) -> Fields:
    """Return the request's body; end the request with 400 or 413 where it is no small object.

    What its fields then raise (``Refused``) the blueprint answers with 400.
    """
    deliveries.require_store()
    body = deliveries.read_body(max_bytes)
    if body is None:
        flask.abort(access.refusal(413, f"more than {max_bytes} bytes"))
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        flask.abort(access.refusal(400, "not a JSON object"))
    return Fields(found)
