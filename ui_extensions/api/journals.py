"""``GET journals/ID``: how far a journal is delivered, and what later deliveries of it stand on.

    200  {"position", "fencing", "n_records", "n_points", "n_rejected",
         "rejected": [{"what", "reason"}], "aliases", "open_runs", "provisional"}
    200  {"position": null}: the server has never heard of it
    403  somebody else delivers it

An agent asks when it takes a journal up: the one before it may have died with what it knew.
"""

from __future__ import annotations

import flask

from mlflow_weir.errors import NotPermitted
from mlflow_weir.store.delivery import positions
from mlflow_weir.store.delivery.connection import reading
from mlflow_weir.ui_extensions import access, deliveries
from mlflow_weir.ui_extensions.ids import is_id


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/journals/<journal_id>", "GET")
    def journal(journal_id: str) -> flask.Response:
        if not is_id(journal_id):
            return access.refusal(400, "an id that is not 32 hexadecimal digits")
        with reading(deliveries.engine()) as connection:
            state = positions.read(connection, journal_id)
        if state is None:
            return flask.jsonify({"position": None})
        principal = access.principal()
        if principal is not None and state.principal not in (None, principal):
            raise NotPermitted(f"journal {journal_id} is delivered by somebody else")
        return flask.jsonify(
            {
                "position": state.position,
                "fencing": state.fencing,
                "n_records": state.n_records,
                "n_points": state.n_points,
                "n_rejected": state.n_rejected,
                "rejected": [{"what": one.what, "reason": one.reason} for one in state.rejected],
                "aliases": state.aliases,
                "open_runs": state.open_runs,
                "provisional": state.provisional,
            }
        )
