"""Points of metrics as records of a journal, in groups that make a transaction each."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mlflow_weir.frames import FRAME_HEADER_BYTES
from mlflow_weir.plugin.agent.drain import STEP_BYTES
from mlflow_weir.store.delivery.records import encode_points

_LONGEST_RECORDS = 10_000  # of one transaction, where they are short
_POINTS_OF_A_RECORD = 1_000
_LARGEST = sys.float_info.max

Point = tuple[str, int, int, float]
"""Key, timestamp in ms, step, value."""

History = tuple[str, Sequence[Point]]
"""A metric's key, and its points."""


def noted(digest: Any, run_id: str, histories: Iterable[History]) -> Iterator[bytes]:
    """Give the records of points, of which a digest takes note."""
    for record in records_of(run_id, histories):
        digest.update(record)
        yield record


def records_of(run_id: str, histories: Iterable[History]) -> Iterator[bytes]:
    """Give the points as records of one metric each."""
    for _, points in histories:
        for first in range(0, len(points), _POINTS_OF_A_RECORD):
            yield encode_points(run_id, points[first : first + _POINTS_OF_A_RECORD])


def batches(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Give records in groups that make a transaction each."""
    batch, n_bytes = list[bytes](), 0
    for record in records:
        batch.append(record)
        n_bytes += FRAME_HEADER_BYTES + len(record)
        if n_bytes >= STEP_BYTES or len(batch) >= _LONGEST_RECORDS:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def kept(value: float) -> str:
    """Return a value as a store of MLflow's keeps it, so that two can be compared."""
    return repr(value if math.isnan(value) else max(-_LARGEST, min(_LARGEST, value)) + 0.0)
