"""Which runs and experiments a request may read: the gate of every route that shows something.

What is there is looked up in the database, in the request's workspace; whether the caller may see
it is MLflow's answer (``access.py``), asked once an experiment, whatever the number of runs.
What may not be seen is refused as what does not exist is, in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import flask
import sqlalchemy as sa

from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.ui_extensions import access, deliveries, mlflow_private
from mlflow_weir.ui_extensions.ids import is_id

MAX_RUNS = 20_000
"""Most runs of one request; a page that shows more asks by experiment."""

MAX_EXPERIMENTS = 200
"""Most experiments of one request: each is a question to MLflow."""

_EXPERIMENT_ID = re.compile(r"[0-9]{1,18}\Z")
_MAX_IN = 500  # SQLite's oldest limit on bound values is 999


def require_readable_runs(
    run_ids: Sequence[str], caller: access.Access | None = None
) -> dict[str, str]:
    """Return the experiment of each run; end the request where one may not be read.

    Args:
        run_ids: As the request names them; deleted runs are runs, as in MLflow.
        caller: Answers kept from before, if any.

    Returns:
        Run id to experiment id, in the order given, each run once.

    Ends the request with 400 for what is no run's id, 413 for more than ``MAX_RUNS``, and 404 for
    a run that is not there or not the caller's to see.
    """
    found = readable_runs(run_ids, caller)
    for run_id in run_ids:
        if run_id not in found:
            flask.abort(access.refusal(404, f"run {run_id} does not exist"))
    return found


def readable_runs(run_ids: Sequence[str], caller: access.Access | None = None) -> dict[str, str]:
    """Return the experiment of those runs that may be read, in the order given.

    For what shows many runs, one of which may have been removed a moment ago. Ends the request
    with 400 or 413 as ``require_readable_runs`` does.
    """
    if len(run_ids) > MAX_RUNS:
        flask.abort(access.refusal(413, f"{len(run_ids)} runs, at most {MAX_RUNS} at once"))
    for run_id in run_ids:
        if not is_id(run_id):
            flask.abort(access.refusal(400, "a run id that is not 32 hexadecimal digits"))
    caller = caller or access.Access()
    there = _experiments_of(list(dict.fromkeys(run_ids)))
    # After the connection went back to its pool: MLflow's answer may need one.
    experiments = set(there.values())
    if len(experiments) > MAX_EXPERIMENTS:
        flask.abort(
            access.refusal(
                413, f"runs of {len(experiments)} experiments, at most {MAX_EXPERIMENTS} at once"
            )
        )
    readable = {one for one in experiments if caller.may_read_experiment(one)}
    return {run_id: there[run_id] for run_id in run_ids if there.get(run_id) in readable}


def require_readable_experiments(
    experiment_ids: Sequence[str], caller: access.Access | None = None
) -> list[str]:
    """Return the experiments, each once; end the request where one may not be read.

    Deleted experiments are experiments, as in MLflow. Ends the request with 400 for what is no
    experiment's id, 413 for more than ``MAX_EXPERIMENTS``, and 404 for one that is not there or
    not the caller's to see.
    """
    if len(experiment_ids) > MAX_EXPERIMENTS:
        flask.abort(
            access.refusal(
                413, f"{len(experiment_ids)} experiments, at most {MAX_EXPERIMENTS} at once"
            )
        )
    for experiment_id in experiment_ids:
        if not _EXPERIMENT_ID.match(experiment_id):
            flask.abort(access.refusal(400, "an experiment id that is not a number"))
    caller = caller or access.Access()
    # "007" is no other experiment than 7.
    wanted = list(dict.fromkeys(str(int(one)) for one in experiment_ids))
    there = _experiments_there(wanted)
    for experiment_id in wanted:
        if experiment_id not in there or not caller.may_read_experiment(experiment_id):
            flask.abort(access.refusal(404, f"experiment {experiment_id} does not exist"))
    return wanted


def _experiments_of(run_ids: Sequence[str]) -> dict[str, str]:
    columns, experiments = tables.runs.c, tables.experiments.c
    workspace = mlflow_private.request_workspace()
    found: dict[str, str] = {}
    with deliveries.require_store().ManagedSessionMaker() as session:
        for ids in _slices(run_ids):
            query = sa.select(columns.run_uuid, columns.experiment_id).where(
                columns.run_uuid.in_(ids)
            )
            if workspace is not None:
                query = query.join(
                    tables.experiments, experiments.experiment_id == columns.experiment_id
                ).where(experiments.workspace == workspace)
            found |= {run_id: str(owner) for run_id, owner in session.execute(query)}
    return found


def _experiments_there(experiment_ids: Sequence[str]) -> set[str]:
    columns = tables.experiments.c
    workspace = mlflow_private.request_workspace()
    found: set[str] = set()
    with deliveries.require_store().ManagedSessionMaker() as session:
        for ids in _slices([int(one) for one in experiment_ids]):
            query = sa.select(columns.experiment_id).where(columns.experiment_id.in_(ids))
            if workspace is not None:
                query = query.where(columns.workspace == workspace)
            found |= {str(owner) for owner in session.execute(query).scalars()}
    return found


def _slices(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(ids), _MAX_IN):
        yield ids[start : start + _MAX_IN]
