"""``POST heartbeat``: a process that answers for runs is alive.

    request   {"journal": 32 hex digits, "runs": [run id, …], "host": name}
    200       {"runs": those that were noted, "revived": those that a time-out had ended,
               "stops": those that somebody asked to stop; told once, to the run's main process}

A run that is not there, or not the caller's to edit, is left out without a word.
"""

from __future__ import annotations

import flask

from mlflow_weir.store.delivery import heartbeats
from mlflow_weir.store.delivery.fields import Refused
from mlflow_weir.ui_extensions import access, deliveries, review
from mlflow_weir.ui_extensions.ids import is_id
from mlflow_weir.ui_extensions.questions import read_question

_MAX_BYTES = 1 << 20


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/heartbeat", "POST", content_type="application/json")
    def heartbeat() -> flask.Response:
        engine = deliveries.engine()
        question = read_question(_MAX_BYTES)
        try:
            fields = question
            journal_id, host = fields.text("journal"), fields.text_or_none("host") or ""
            run_ids = fields.texts("runs")
        except Refused as exc:
            return access.refusal(400, str(exc))
        if not all(is_id(one) for one in [journal_id, *run_ids]):
            return access.refusal(400, "an id that is not 32 hexadecimal digits")
        mine = review.runs_to_edit(engine, access.Access(), run_ids)
        revived = heartbeats.beat(engine, mine, journal_id, host)
        stops = heartbeats.take_stops(engine, mine, journal_id)
        return flask.jsonify({"runs": mine, "revived": revived, "stops": stops})
