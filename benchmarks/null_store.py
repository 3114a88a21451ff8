"""A tracking store that does nothing, to measure what MLflow itself takes of a call."""

from __future__ import annotations

import time
from typing import Any

from mlflow.entities import (
    Experiment,
    LifecycleStage,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunStatus,
)
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracking._tracking_service import utils

_EXPERIMENT = Experiment("0", "Default", "/nowhere", LifecycleStage.ACTIVE)


class NullStore(AbstractStore):
    """Knows one experiment and forgets everything else."""

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return the only one."""
        return _EXPERIMENT

    def get_experiment_by_name(self, experiment_name: str) -> Experiment:
        """Return the only one, whatever it is called."""
        return _EXPERIMENT

    def create_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: Any, run_name: str
    ) -> Run:
        """Return a run."""
        return _run("0" * 32, user_id, RunStatus.RUNNING)

    def get_run(self, run_id: str) -> Run:
        """Return a run."""
        return _run(run_id, "someone", RunStatus.RUNNING)

    def update_run_info(
        self, run_id: str, run_status: Any, end_time: Any, run_name: Any
    ) -> RunInfo:
        """Return a run's info."""
        return _run(run_id, "someone", RunStatus.FINISHED).info

    def log_metric(self, run_id: str, metric: Any) -> None:
        """Do nothing."""

    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        """Do nothing."""


def register() -> None:
    """Make ``null:`` a tracking URI of this process."""
    kind: Any = NullStore  # what is not here is never called
    store = kind()
    # MLflow has entry points for this; a benchmark should not leave one in the environment.
    utils._tracking_store_registry.register("null", lambda store_uri, artifact_uri=None: store)


def _run(run_id: str, user_id: str, status: int) -> Run:
    info = RunInfo(
        run_id=run_id,
        experiment_id="0",
        user_id=user_id,
        status=RunStatus.to_string(status),
        start_time=int(time.time() * 1000),
        end_time=None,
        lifecycle_stage=LifecycleStage.ACTIVE,
        artifact_uri="/nowhere",
    )
    return Run(info, RunData([], [], []), RunInputs(dataset_inputs=[]))
