"""``POST runs/compare``: all that up to 50 runs were given and logged.

    request  {"experiments": [id, …], "run_ids": [id, …], "deleted"?,
              "at"?: ms, for states and metrics as they were then}
    200      {"runs": [{"id", "name", … as in POST runs, "params": [{"key", "value"}, …],
                        "tags": [{"key", "value"}, …],
                        "metrics": [{"key", "latest", "step", "min", "max"}, …],
                        "left_out": keys beyond 5,000}]}

``POST experiments/names`` {"experiments"} → {"experiments": [{"id", "name", "stage"}]}.

A run of none of the experiments is left out, as one that does not exist is.
"""

from __future__ import annotations

from typing import Any

import flask
import sqlalchemy as sa

from mlflow_weir.errors import ConfigError, TooMuchAsked
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.runs import comparison
from mlflow_weir.store.runs.run_columns import shortened
from mlflow_weir.store.sharing.shown import Shown
from mlflow_weir.ui_extensions import access, deliveries, readable
from mlflow_weir.ui_extensions.api import runs
from mlflow_weir.ui_extensions.sights import Member, Sight

_MAX_VALUE_CHARACTERS = 8_000


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    @access.route(routes, "/runs/compare", "POST", content_type="application/json")
    def runs_compare() -> flask.Response:
        return runs.answered(answer_compare, Member())

    @access.route(routes, "/experiments/names", "POST", content_type="application/json")
    def experiments_names() -> flask.Response:
        return runs.answered(_names)


def answer_compare(fields: Fields, sight: Sight) -> dict[str, Any]:
    """Answer ``POST runs/compare``."""
    among = sight.runs_of(fields)
    run_ids = fields.texts("run_ids")
    if len(run_ids) > comparison.MAX_RUNS:
        raise ConfigError(f"{len(run_ids)} runs, at most {comparison.MAX_RUNS} side by side")
    runs.require_ids(run_ids)
    at_ms = fields.whole_or_none("at")
    rows = runs.rows_of(among, run_ids, [], sight, at_ms)
    try:
        found = among.contents([row["id"] for row in rows], at_ms)
    except TooMuchAsked as exc:
        raise Refused(str(exc)) from exc
    return {"runs": [{**row, **_as_json(found[row["id"]], sight.shown)} for row in rows]}


def _as_json(contents: comparison.Contents, shown: Shown) -> dict[str, Any]:
    return {
        "params": [_pair(key, value) for key, value in contents.params if shown.has_param(key)],
        "tags": [_pair(key, value) for key, value in contents.tags if shown.has_tag(key)],
        "metrics": [
            {
                "key": one.key,
                "latest": comparison.as_json_number(one.latest),
                "step": one.step,
                "min": comparison.as_json_number(one.low),
                "max": comparison.as_json_number(one.high),
            }
            for one in contents.metrics
            if shown.has_metric(one.key)
        ],
        "left_out": contents.n_left_out if shown.is_everything else 0,
    }


def _pair(key: str, value: str) -> dict[str, str]:
    return {"key": key, "value": value[:_MAX_VALUE_CHARACTERS]}


def _names(fields: Fields) -> dict[str, Any]:
    experiments = fields.texts("experiments")
    if not experiments:
        raise Refused("it names no experiment")
    wanted = [int(one) for one in readable.require_readable_experiments(experiments)]
    columns = tables.experiments.c
    query = sa.select(columns.experiment_id, columns.name, columns.lifecycle_stage).where(
        columns.experiment_id.in_(wanted)
    )
    with deliveries.require_store().ManagedSessionMaker() as session:
        found = {row[0]: row for row in session.execute(query)}
    return {
        "experiments": [
            {"id": str(one), "name": shortened(found[one][1]), "stage": found[one][2]}
            for one in wanted
            if one in found
        ]
    }
