"""A run's metrics, params and tags as they are now, made into MLflow's objects when they are read.

``mlflow.log_metric(…, run_id=…)`` asks for the run and looks at its inputs and outputs alone. To
build an object for each of 200 metrics and 50 params took three quarters of such a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow.entities import Metric, Param, RunData, RunTag

from mlflow_weir.plugin import mlflow_private

Latest = tuple[tuple[int, int, float], float]
"""Of one metric: (step, timestamp, value or 0 for NaN), value."""


class LateRunData(RunData):
    """MLflow's ``RunData`` whose attributes come to be with the first that is asked for.

    A copy, and what is pickled, is a ``RunData``.
    """

    def __init__(
        self, metrics: Mapping[str, Latest], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Take what nobody changes any more.

        Args:
            metrics: The latest of each, by key.
            params: Key to value.
            tags: Key to value.
        """
        self._late = metrics, params, tags

    def __getattr__(self, name: str) -> Any:
        late = self.__dict__.get("_late")
        if late is not None and not name.startswith("__"):
            metrics, params, tags = late
            super().__init__(_metrics(metrics), *_named(params, tags))
            # Last, so that a thread that finds nothing to do finds the attributes.
            self.__dict__.pop("_late", None)
        return object.__getattribute__(self, name)

    @classmethod
    def _properties(cls) -> list[str]:
        return list(RunData._properties())

    def __repr__(self) -> str:
        return repr(self._plain())

    def __reduce__(self) -> Any:
        metrics = mlflow_private.latest_metrics_of(self)
        return RunData, (metrics, *_named(self.params, self.tags))

    def _plain(self) -> RunData:
        made, arguments = self.__reduce__()
        plain: RunData = made(*arguments)
        return plain


def _named(params: Mapping[str, str], tags: Mapping[str, str]) -> tuple[list[Param], list[RunTag]]:
    return (
        [Param(key, value) for key, value in params.items()],
        [RunTag(key, value) for key, value in tags.items()],
    )


def _metrics(latest: Mapping[str, Latest]) -> list[Metric]:
    return [
        Metric(key, value, timestamp, step)
        for key, ((step, timestamp, _), value) in latest.items()
    ]
