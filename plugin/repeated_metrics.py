"""The same metrics again: the way of a loop that logs them at each step.

What there is to find out about a metric or a set, MLflow's rules for names among it, is found out
when it comes first. Later a call is looked at in columns rather than metric by metric: between two
steps of a training the processor has forgotten our code and data, and each line of either is
fetched anew, so that the longer way costs four times what it does in a loop that does nothing
else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

from mlflow.entities import Metric

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.store.delivery.records import Repeated, pack_row, point_prefix
from mlflow_weir.store.metrics.points import Point

_MAX_SETS = 16  # of one run; a loop has a few
_MAX_ALONE = 4_096
_BEYOND = 1 << 63
_METRICS, _FLOATS, _INTEGERS = {Metric}, {float}, {int}


class Again(NamedTuple):
    """A set of metrics that came again.

    Attributes:
        record: For the journal.
        keys: (n,) the metrics; the same object each time.
        timestamps: Of each, or one without end.
        steps: The same.
        values: (n,) as they are stored.
        moment: Step and timestamp, where all have the same.
    """

    record: bytes
    keys: tuple[str, ...]
    timestamps: Iterable[int]
    steps: Iterable[int]
    values: Sequence[float]
    moment: tuple[int, int] | None


class RepeatedMetrics:
    """Metrics that were logged to one run, each alone, and sets of them that were together."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._known: dict[tuple[str, ...], Repeated] = {}
        self._prefixes: dict[str, bytes] = {}  # of records of one metric alone

    def learn_one(self, key: str) -> None:
        """Take note of a metric that MLflow's rules have let pass."""
        if type(key) is str:
            if len(self._prefixes) >= _MAX_ALONE:
                self._prefixes.clear()
            self._prefixes[key] = point_prefix(self._run_id, key)

    def one_again(self, metric: Metric) -> tuple[bytes, str, int, int, float] | None:
        """Return what is to be written where it is known and nothing is unusual.

        Returns:
            The record, the key, timestamp, step, and the value as it is stored.
        """
        if type(metric) is not Metric:
            return None
        key, timestamp, step, value, model_id = mlflow_private.facts_of_metric(metric)
        try:
            prefix = self._prefixes.get(key)
        except TypeError:  # a name that is none
            return None
        if (
            prefix is None
            or model_id is not None
            or type(value) is not float
            or type(timestamp) is not int
            or type(step) is not int
            or not 0 <= timestamp < _BEYOND
            or not -_BEYOND <= step < _BEYOND
            or not (-math.inf < value < math.inf or value != value)
        ):
            return None
        value += 0.0  # -0.0 is stored as 0.0
        return prefix + pack_row(timestamp, step, value), key, timestamp, step, value

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
        facts = mlflow_private.metrics_of_one_moment(metrics)
        if facts is None:
            return self._at_moments(metrics)
        keys, timestamp, step, values = facts
        try:
            known = self._known.get(keys)
        except TypeError:  # a name that is none
            return None
        if (
            known is None
            or set(map(type, values)) != _FLOATS
            or type(timestamp) is not int
            or type(step) is not int
            or not 0 <= timestamp < _BEYOND
            or not -_BEYOND <= step < _BEYOND
        ):
            return None
        stored = _stored(values)
        if stored is None:
            return None
        record = known.encode_moment(timestamp, step, stored)
        return Again(
            record, known.keys, repeat(timestamp), repeat(step), stored, (step, timestamp)
        )

    def _at_moments(self, metrics: Sequence[Metric]) -> Again | None:
        """The same for metrics of several moments."""
        keys, timestamps, steps, values, models = mlflow_private.columns_of_metrics(metrics)
        try:
            known = self._known.get(keys)
        except TypeError:
            return None
        if (
            known is None
            or models.count(None) != len(models)
            or set(map(type, values)) != _FLOATS
            or set(map(type, timestamps)) != _INTEGERS
            or set(map(type, steps)) != _INTEGERS
            or min(timestamps) < 0
            or max(timestamps) >= _BEYOND
            or min(steps) < -_BEYOND
            or max(steps) >= _BEYOND
        ):
            return None
        stored = _stored(values)
        if stored is None:
            return None
        record = known.encode(timestamps, steps, stored)
        return Again(record, known.keys, timestamps, steps, stored, None)


def _stored(values: Sequence[float]) -> Sequence[float] | None:
    """Return values as they are stored; None where one is infinite, which is stored otherwise."""
    total = sum(values)
    if total - total != 0.0 and (math.inf in values or -math.inf in values):
        return None
    return [value + 0.0 for value in values] if 0.0 in values else values  # -0.0 becomes 0.0
