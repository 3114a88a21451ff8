"""``POST heartbeat``: a process that answers for runs is alive.

    request   {"journal": 32 hex digits, "runs": [run id, …], "host": name}
    200       {"runs": those that were noted, "revived": those that a time-out had ended,
               "stops": those that somebody asked to stop; told once}

A run that is not there, or not the caller's to edit, is left out without a word.
"""

from __future__ import annotations

import json
import re

import flask

from mlflow_weir.store.delivery import heartbeats
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.ui_extensions import access, deliveries, review

_ID = re.compile(r"[0-9a-f]{32}\Z")
_MAX_BYTES = 1 << 20


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/heartbeat", "POST", content_type="application/json")
    def heartbeat() -> flask.Response:
        engine = deliveries.engine()
        body = deliveries.read_body(_MAX_BYTES)
        if body is None:
            return access.refusal(413, f"more than {_MAX_BYTES} bytes")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            return access.refusal(400, "not a JSON object")
        try:
            fields = Fields(found)
            journal_id, host = fields.text("journal"), fields.text_or_none("host") or ""
            run_ids = fields.texts("runs")
        except Refused as exc:
            return access.refusal(400, str(exc))
        if not all(_ID.match(one) for one in [journal_id, *run_ids]):
            return access.refusal(400, "an id that is not 32 hexadecimal digits")
        mine = review.runs_to_edit(engine, access.Access(), run_ids)
        revived = heartbeats.beat(engine, mine, journal_id, host)
        stops = heartbeats.take_stops(engine, mine)
        return flask.jsonify({"runs": mine, "revived": revived, "stops": stops})
