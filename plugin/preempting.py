"""``mlflow_weir.mark_preempting``: the machine is about to be taken from this process's runs."""

from __future__ import annotations

import time
from typing import Any

import mlflow
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.journaled_calls import JournaledCalls
from mlflow_weir.store.delivery.runs import PREEMPTING_TAG


def mark_preempting() -> None:
    """Do what ``mlflow_weir.mark_preempting`` says."""
    store: Any = mlflow_private.cached_tracking_store(None)
    run_ids = _open_runs(store)
    if not run_ids:
        raise MlflowException(
            "mlflow_weir.mark_preempting needs a run that this process began or resumed with "
            "mlflow.start_run, and there is none.",
            INVALID_STATE,
        )
    tag = RunTag(PREEMPTING_TAG, str(time.time_ns() // 1_000_000))
    for run_id in run_ids:
        store.set_tag(run_id, tag)
    if isinstance(store, JournaledCalls):
        store.recorder.hurry()


def _open_runs(store: Any) -> list[str]:
    """Return the runs of ``mlflow.start_run`` in this process, of all its threads if we know."""
    if isinstance(store, JournaledCalls):
        return store.open_fluent_runs()
    active = mlflow.active_run()
    return [] if active is None else [active.info.run_id]
