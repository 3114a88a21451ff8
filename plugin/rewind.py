"""``mlflow_weir.rewind``: the metrics of a run back to a step, through the journal or at once."""

from __future__ import annotations

import contextlib
import operator

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import FEATURE_DISABLED, INVALID_PARAMETER_VALUE

from mlflow_weir.errors import WeirError
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.journaled_calls import JournaledCalls
from mlflow_weir.plugin.overlay import with_waiting
from mlflow_weir.store.metrics.points import Point, is_int64


def rewind(run_id: str, step: int) -> None:
    """Do what ``mlflow_weir.rewind`` says."""
    mlflow_private.validate_run_id(run_id)
    last = _whole(step)
    store = mlflow_private.cached_tracking_store(None)
    # Asked for a name first: the store of a server finds out at its first use which one it is.
    can_rewind = getattr(store, "can_rewind", None)
    if can_rewind is not None and can_rewind():
        _through_journal(store, run_id, last)
    elif hasattr(store, "rewind_run"):
        store.rewind_run(run_id, last)
    else:
        raise MlflowException(
            "mlflow_weir.rewind needs a store of Weir's (weir:, sqlite+weir:, postgresql+weir:, "
            "mysql+weir:, or a server that runs Weir): MLflow itself has no way to delete points.",
            FEATURE_DISABLED,
        )


def _whole(step: int) -> int:
    with contextlib.suppress(TypeError):
        last = operator.index(step)
        if not isinstance(step, bool) and is_int64(last):
            return last
    raise MlflowException(
        f"Invalid value {step!r:.100} for parameter 'step': it is not an integer of 64 bits.",
        INVALID_PARAMETER_VALUE,
    )


def _through_journal(store: JournaledCalls, run_id: str, step: int) -> None:
    view = store._writable(run_id)
    left: list[Metric] = []
    with contextlib.suppress(WeirError, OSError):  # a spool that cannot be read
        left = with_waiting([], store.recorder.waiting(), run_id)
    store._write("rewind", run_id=run_id, step=step)
    view.rewind(step)
    view.note_points(
        Point(one.key, one.timestamp, one.step, one.value) for one in left if one.step <= step
    )
    store.recorder.hurry()
    store.catch_up(view)
