"""``mlflow_weir.watch``: what optimizers get and change, logged to the run that is active.

``capture/gradients.py`` looks and measures; here it becomes points and histograms in the journal.
"""

from __future__ import annotations

import logging
import operator
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from mlflow_weir import settings
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import alerting, mlflow_private, servers
from mlflow_weir.plugin.capture import gradients
from mlflow_weir.plugin.capture.gradients import Destination, Reading
from mlflow_weir.plugin.journaled_calls import JournaledCalls
from mlflow_weir.store.delivery import records
from mlflow_weir.store.delivery.rewinding import is_rewound
from mlflow_weir.store.histograms.encoding import KINDS, Table, encode

NAN_TAG = "weir.nan"
"""Says of a run where NaN or infinite values were seen first."""

_STATISTICS = ("norm", "mean", "std", "low", "high")
_METRICS = ("norm", "mean", "std", "min", "max")  # their names, in the same order

_log = logging.getLogger("mlflow_weir")


def watch(model: Any, log: str, log_freq: int, alert: bool) -> None:
    """Do what ``mlflow_weir.watch`` says."""
    if not isinstance(model, torch.nn.Module):
        raise _invalid(f"'model' is not a torch.nn.Module but {type(model).__name__}")
    if log not in gradients.KINDS:
        raise _invalid(f"'log' is {log!r:.100}; it can be {', '.join(gradients.KINDS)}")
    try:
        every = operator.index(log_freq)
    except TypeError:
        every = 0
    if every < 1 or isinstance(log_freq, bool):
        raise _invalid(f"'log_freq' is {log_freq!r:.100}; it has to be 1 or more optimizer steps")
    if settings.CAPTURE.get() and settings.CAPTURE_GRADIENTS.get():
        active = mlflow.active_run()
        run_id = None if active is None else active.info.run_id
        gradients.begin(model, log, every, _ActiveRun(run_id, has_alert=alert))


def unwatch(model: Any) -> None:
    """Do what ``mlflow_weir.unwatch`` says."""
    gradients.end(model)


@never_raises(None)
def hand_over(run_id: str) -> None:
    """Log what is still on its way; a run is about to end."""
    gradients.collect(run_id)


def _invalid(what: str) -> MlflowException:
    return MlflowException(f"mlflow_weir.watch: {what}.", INVALID_PARAMETER_VALUE)


class _ActiveRun:
    """Logs to the run that is active where the optimizer steps, or else was when it began."""

    def __init__(self, run_id: str | None, *, has_alert: bool) -> None:
        self._run_id, self._has_alert = run_id, has_alert
        self._place: tuple[str, int] = ("", 0)  # the run of the last step, and its first step
        self._bad: dict[str, set[str]] = {}  # of each run, series that had NaN or infinities
        self._alerted: set[str] = set()
        self._refused = ""  # a run whose server does not allow it
        self._has_warned = False

    def destination(self) -> Destination | None:
        """Return it, or None where there is no run or no journal."""
        active = mlflow.active_run()
        run_id = self._run_id if active is None else active.info.run_id
        if run_id is None:
            if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
                self._warn("no run is active where the optimizer steps")
            return None  # of several processes those without a run log nothing
        store = mlflow_private.cached_tracking_store(None)
        if not isinstance(store, JournaledCalls):
            self._warn(
                "the tracking store is not one of Weir's; for a stock server set WEIR_CLIENT=on"
            )
            return None
        view = store._writable(run_id)
        if active is None and not view.is_open:
            return None
        if run_id == self._refused:
            return None
        if run_id != self._place[0]:
            target = store.recorder.target
            if target.kind == "http" and "gradients" not in servers.allowed_captures(target.uri):
                self._refused = run_id
                self._warn("its server allows no capture of gradients")
                return None
            # Also of a run that comes back, after one within it: it goes on where it was.
            self._place = (run_id, _first_step(view))
        return Destination(*self._place, store)

    def start_afresh(self) -> None:
        """In a forked child, log to no run of the parent's, whose steps they would not be."""
        self._run_id, self._place = None, ("", 0)

    def _warn(self, why: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("mlflow_weir.watch logs nothing: %s", why)

    def take(self, destination: Destination, readings: list[Reading]) -> None:
        """Write the points and histograms of a step."""
        run_id, store = destination.run_id, destination.context
        points: list[tuple[str, int, int, float]] = []
        for reading in readings:
            points += self._points(run_id, reading)
        store.recorder.append(records.encode_points(run_id, points))
        view = store._writable(run_id)
        view.note_points(points)
        for reading in readings:
            table = encode(_table(reading))
            store.recorder.append(records.encode_histograms(run_id, table))
            self._alert(store, view, reading)

    def saw_nothing(self, run_id: str, why: str) -> None:
        """Say so, where it is the run that was active when the watch began, or none was."""
        if self._run_id in (None, run_id):
            self._warn(why)

    def _points(self, run_id: str, reading: Reading) -> list[tuple[str, int, int, float]]:
        found, at_ms, step = reading.statistics, reading.at_ms, reading.step
        n_bad = found.n_nan + found.n_inf
        whole = f"{reading.kind}/{reading.prefix.replace('.', '/')}"
        points = [
            (f"{whole}norm", at_ms, step, float(np.sqrt(np.square(found.norm).sum()))),
            (f"{whole}nan", at_ms, step, float(found.n_nan.sum())),
            (f"{whole}inf", at_ms, step, float(found.n_inf.sum())),
        ]
        bad = self._bad.setdefault(run_id, set())
        columns = [getattr(found, name).tolist() for name in _STATISTICS]
        for i, name in enumerate(reading.names):
            key = f"{reading.kind}/{reading.prefix}{name}"
            if found.n[i] > n_bad[i]:
                points += [
                    (f"{key}/{metric}", at_ms, step, column[i])
                    for metric, column in zip(_METRICS, columns, strict=True)
                ]
            if n_bad[i] or key in bad:
                bad.add(key)
                points.append((f"{key}/nan", at_ms, step, float(found.n_nan[i])))
                points.append((f"{key}/inf", at_ms, step, float(found.n_inf[i])))
        return points

    def _alert(self, store: Any, view: Any, reading: Reading) -> None:
        """Say once a run that there are NaN or infinite values: a tag, an alert, on stderr."""
        if not self._has_alert or view.run_id in self._alerted:
            return
        found = reading.statistics
        n_bad = found.n_nan + (0 if reading.may_be_infinite else found.n_inf)
        numbers = np.flatnonzero(n_bad)
        if not len(numbers):
            return
        self._alerted.add(view.run_id)
        i = int(numbers[0])
        text = (
            f"{reading.kind} of {reading.prefix}{reading.names[i]} at step {reading.step}: "
            f"{found.n_nan[i]} NaN, {found.n_inf[i]} infinite of {found.n[i]} values"
        )
        if len(numbers) > 1:
            text += f", and so {len(numbers) - 1} others"
        if NAN_TAG not in view.tags:
            store.note_captured(view, [RunTag(NAN_TAG, text)])
            if store.can_rewind():  # not a stock server's, which keeps no alerts
                title = f"NaN or infinite {reading.kind}"
                alerting.raise_in(store, view.run_id, title, text, "error")
        _log.warning("run %s: %s", view.run_id, text)


def _first_step(view: Any) -> int:
    """Return the step that a run has come to, from which the optimizer's steps go on."""
    first = 0
    for metric in mlflow_private.latest_metrics_of(view.to_run().data):
        if is_rewound(metric.key):
            ours = metric.key.startswith(tuple(f"{kind}/" for kind in KINDS))
            first = max(first, metric.step + ours)
    return first


def _table(reading: Reading) -> Table:
    found = reading.statistics
    n = len(reading.names)
    has_none = found.n == found.n_nan + found.n_inf
    return Table(
        kind=reading.kind,
        keys=tuple(reading.prefix + name for name in reading.names),
        series=np.arange(n, dtype=np.int64),
        step=np.full(n, reading.step, dtype=np.int64),
        timestamp=np.full(n, reading.at_ms, dtype=np.int64),
        norm=np.where(has_none, np.nan, found.norm),
        first=found.first,
        last=found.last,
        n_nan=found.n_nan,
        n_inf=found.n_inf,
        counts=found.counts,
    )
