"""``POST keys``: the metrics of experiments, or of runs, and how many runs have each.

request   {"experiments": [id, …]} or {"runs": [run id, …]}
200       {"keys": [{"key", "n_runs"}, …] by name, "n_runs", "is_partial"}
"""

from __future__ import annotations

from typing import Any

import flask

from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.ui_extensions import access
from mlflow_weir.ui_extensions.questions import read_question
from mlflow_weir.ui_extensions.sights import Member, Sight


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/keys", "POST", content_type="application/json")
    def keys() -> flask.Response:
        return flask.jsonify(answer_keys(read_question(), Member()))


def answer_keys(question: Fields, sight: Sight) -> dict[str, Any]:
    """Answer ``POST keys``."""
    experiments, runs = question.texts("experiments"), question.texts("runs")
    if bool(experiments) == bool(runs):
        raise Refused("expected either experiments or runs")
    found = (sight.runs_of(question) if experiments else sight.named_runs(runs)).metric_keys()
    return {
        "keys": [
            {"key": key, "n_runs": n}
            for key, n in found.counts.items()
            if sight.shown.has_metric(key)
        ],
        "n_runs": found.n_runs,
        "is_partial": found.is_partial,
    }
