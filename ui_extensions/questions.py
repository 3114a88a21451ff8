"""The JSON body of a request to one of our routes, its fields checked."""

from __future__ import annotations

import json

import flask

from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.ui_extensions import access, deliveries

SMALL_BYTES = 64 << 10
"""Most of a question that names few things."""
MAX_BYTES = 4 << 20
"""Most of one that names thousands of runs."""


def read_question(limit: int = MAX_BYTES) -> Fields:
    """Return the body's fields; end the request where it is no JSON object or too large.

    Args:
        limit: Most bytes.

    Raises:
        StoreUnavailable: The server has no store of Weir's, or none that answers.

    The accessors of the result raise ``Refused``, which the blueprint answers with 400.
    """
    deliveries.require_store()
    body = deliveries.read_body(limit)
    if body is None:
        flask.abort(access.refusal(413, f"more than {limit} bytes"))
    return parse_question(body)


def parse_question(body: bytes) -> Fields:
    """Return the fields of a body that was read; end the request where it is no JSON object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        flask.abort(access.refusal(400, "not a JSON object"))
    return Fields(found)
