"""``POST keys``: the metrics of experiments, or of runs, and how many runs have each.

request   {"experiments": [id, …]} or {"runs": [run id, …]}
200       {"keys": [{"key", "n_runs"}, …] by name, "n_runs", "is_partial"}
"""

from __future__ import annotations

import flask

from mlflow_weir.store.delivery.fields import Refused
from mlflow_weir.store.runs import metric_keys
from mlflow_weir.ui_extensions import access, deliveries
from mlflow_weir.ui_extensions.questions import read_question
from mlflow_weir.ui_extensions.readable import readable_runs, require_readable_experiments


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/keys", "POST", content_type="application/json")
    def keys() -> flask.Response:
        question = read_question()
        experiments, runs = question.texts("experiments"), question.texts("runs")
        if bool(experiments) == bool(runs):
            raise Refused("expected either experiments or runs")
        store = deliveries.require_store()
        if experiments:
            ids = [int(one) for one in require_readable_experiments(experiments)]
        else:
            runs = list(readable_runs(runs))
        with store.ManagedSessionMaker() as session:
            if experiments:
                found = metric_keys.of_experiments(session, ids)
            else:
                found = metric_keys.of_runs(session, runs)
        return flask.jsonify(
            {
                "keys": [{"key": key, "n_runs": n} for key, n in found.counts.items()],
                "n_runs": found.n_runs,
                "is_partial": found.is_partial,
            }
        )
