"""The libraries that log, each behind the same three calls.

One process uses one of them, and nothing of another is imported there. ``python worker.py`` runs
it, also with the interpreter of the peers' environment, which has neither MLflow nor ours: the
standard library alone at module level.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

Call = Callable[[int], object]


class Library(ABC):
    """A run of one library, begun with the object.

    Attributes:
        run_id: What the library calls the run.
    """

    run_id = ""

    @abstractmethod
    def one(self, key: str) -> Call:
        """Return a function that logs one metric at a step; its value is the step."""

    @abstractmethod
    def many(self, values: Mapping[str, float]) -> Call:
        """Return a function that logs these metrics at a step, as one call where there is one."""

    def directly(self, key: str) -> Call:
        """As ``one``, by the store's own method, where the library has stores."""
        raise NotImplementedError(type(self).__name__)

    @abstractmethod
    def end(self) -> None:
        """End the run as its documentation says."""


class MLflow(Library):
    """MLflow, wherever ``MLFLOW_TRACKING_URI`` says; ``null:`` is a store that does nothing."""

    def __init__(self) -> None:
        import mlflow

        if os.environ["MLFLOW_TRACKING_URI"] == "null:":
            import null_store

            null_store.register()
        self._mlflow = mlflow
        mlflow.set_experiment("benchmark")
        self.run_id = mlflow.start_run().info.run_id

    def one(self, key: str) -> Call:
        log_metric = self._mlflow.log_metric
        return lambda step: log_metric(key, float(step), step=step)

    def many(self, values: Mapping[str, float]) -> Call:
        log_metrics, metrics = self._mlflow.log_metrics, dict(values)
        return lambda step: log_metrics(metrics, step=step)

    def directly(self, key: str) -> Call:
        from mlflow.entities import Metric
        from mlflow.tracking._tracking_service.utils import _get_store

        log_metric, run_id = _get_store().log_metric, self.run_id
        metrics = [Metric(key, float(i), 1_700_000_000_000 + i, i) for i in range(1_000)]
        return lambda step: log_metric(run_id, metrics[step % 1_000])

    def end(self) -> None:
        self._mlflow.end_run()


class Wandb(Library):
    """wandb, offline."""

    def __init__(self) -> None:
        import wandb

        self._run: Any = wandb.init(project="benchmark", mode="offline")

    def one(self, key: str) -> Call:
        log = self._run.log
        return lambda step: log({key: float(step)}, step=step)

    def many(self, values: Mapping[str, float]) -> Call:
        log = self._run.log
        return lambda step: log(dict(values), step=step)

    def end(self) -> None:
        self._run.finish()


class TensorboardX(Library):
    """TensorBoard's event files, by tensorboardX; many metrics are one call each."""

    def __init__(self) -> None:
        from tensorboardX import SummaryWriter

        self._writer: Any = SummaryWriter("events")

    def one(self, key: str) -> Call:
        add_scalar = self._writer.add_scalar
        return lambda step: add_scalar(key, float(step), step)

    def many(self, values: Mapping[str, float]) -> Call:
        add_scalar = self._writer.add_scalar

        def log(step: int) -> None:
            for key, value in values.items():
                add_scalar(key, value, step)

        return log

    def end(self) -> None:
        self._writer.close()


class Trackio(Library):
    """Trackio, local."""

    def __init__(self) -> None:
        import trackio

        self._trackio: Any = trackio
        trackio.init(project="benchmark")

    def one(self, key: str) -> Call:
        log = self._trackio.log
        return lambda step: log({key: float(step)}, step=step)

    def many(self, values: Mapping[str, float]) -> Call:
        log = self._trackio.log
        return lambda step: log(dict(values), step=step)

    def end(self) -> None:
        self._trackio.finish()


class Nothing(Library):
    """No logging at all: a training loop by itself."""

    def one(self, key: str) -> Call:
        return lambda step: None

    def many(self, values: Mapping[str, float]) -> Call:
        return lambda step: None

    def end(self) -> None:
        pass


LIBRARIES: Mapping[str, Callable[[], Library]] = {
    "mlflow": MLflow,
    "wandb": Wandb,
    "tensorboardX": TensorboardX,
    "trackio": Trackio,
    "nothing": Nothing,
}
