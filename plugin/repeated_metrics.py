"""The same metrics again: the way of a loop that logs one set of them at each step.

What there is to find out about a set, MLflow's rules for its names among it, is found out when it
comes first. Later a call is looked at in columns rather than metric by metric: between two steps
of a training the processor has forgotten our code and data, and each line of either is fetched
anew, so that the longer way costs four times what it does in a loop that does nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mlflow.entities import Metric

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.store.delivery.records import Repeated
from mlflow_weir.store.metrics.points import Point

_MAX_SETS = 16  # of one run; a loop has a few
_BEYOND = 1 << 63
_METRICS, _FLOATS, _INTEGERS = {Metric}, {float}, {int}


class Again(NamedTuple):
    """A set of metrics that came again.

    Attributes:
        record: For the journal.
        keys: (n,) the metrics; the same object each time.
        timestamps: (n,)
        steps: (n,)
        values: (n,) as they are stored.
    """

    record: bytes
    keys: tuple[str, ...]
    timestamps: tuple[int, ...]
    steps: tuple[int, ...]
    values: list[float]


class RepeatedMetrics:
    """Sets of metrics that were logged together to one run."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._known: dict[tuple[str, ...], Repeated] = {}

    def learn(self, points: Sequence[Point]) -> None:
        """Take note of a set that MLflow's rules have let pass."""
        keys = tuple([point[0] for point in points])
        if 1 < len(keys) == len(set(keys)) and keys not in self._known:
            if len(self._known) >= _MAX_SETS:
                self._known.clear()
            self._known[keys] = Repeated(self._run_id, keys)

    def again(self, metrics: Sequence[Metric]) -> Again | None:
        """Return what is to be written where these are known and nothing is unusual."""
        if not isinstance(metrics, (list, tuple)) or set(map(type, metrics)) != _METRICS:
            return None
        keys, timestamps, steps, values, models = mlflow_private.columns_of_metrics(metrics)
        try:
            known = self._known.get(keys)
        except TypeError:  # a name that is none
            return None
        if (
            known is None
            or models.count(None) != len(models)
            or set(map(type, values)) != _FLOATS
            or math.inf in values
            or -math.inf in values
            or set(map(type, timestamps)) != _INTEGERS
            or set(map(type, steps)) != _INTEGERS
            or min(timestamps) < 0
            or max(timestamps) >= _BEYOND
            or min(steps) < -_BEYOND
            or max(steps) >= _BEYOND
        ):
            return None
        stored = [value + 0.0 for value in values]  # -0.0 is stored as 0.0
        record = known.encode(timestamps, steps, stored)
        return Again(record, known.keys, timestamps, steps, stored)
