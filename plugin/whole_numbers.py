"""Whole numbers as users give them: times in ms and steps, of any type that MLflow's stores take.

``time.time() * 1000`` is a float, and a loop over an array counts in NumPy's integers. MLflow
hands them to the database as they are. The journal and the servers know whole numbers alone.
"""

from __future__ import annotations

import math
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from mlflow_weir.store.metrics.points import is_int64


def whole_number(value: Any, name: str) -> int | None:
    """Return a number rounded; None for None and NaN.

    Args:
        value: A number of any type, or its digits.
        name: What it is, for the message.

    Raises:
        MlflowException: It is no number, or none of 64 bits.
    """
    if value is None:
        return None
    try:
        number = _rounded(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise _no_whole_number(value, name) from exc
    if number is not None and not is_int64(number):
        raise _no_whole_number(value, name)
    return number


def _rounded(value: Any) -> int | None:
    if isinstance(value, str) or hasattr(value, "__index__"):
        return int(value)  # by way of a float it would lose digits
    number = float(value)
    return None if math.isnan(number) else round(number)


def _no_whole_number(value: Any, name: str) -> MlflowException:
    return MlflowException(
        f"{value!r:.100} cannot be stored as {name}: it is no whole number of 64 bits",
        INVALID_PARAMETER_VALUE,
    )
