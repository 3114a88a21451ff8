"""Delivery alone: points a second from records in memory into a database, on one core.

What the agent does besides, reading the journal's files, is not in it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import NamedTuple

from mlflow_weir.store.delivery.apply import apply
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.delivery.records import encode_points

_FIRST_MS = 1_700_000_000_000
_FRAME_BYTES = 8


class Drained(NamedTuple):
    """What one measurement found.

    Attributes:
        what: The shape of the records.
        n_points: Delivered, all of them.
        wall_s: Time it took.
        cpu_s: Processor time of this process.
    """

    what: str
    n_points: int
    wall_s: float
    cpu_s: float

    @property
    def points_per_second(self) -> float:
        """Return the points delivered a second, by the clock on the wall."""
        return self.n_points / self.wall_s


def measure_drains(db_uri: str, run_id: str, n_drains: int = 10) -> list[Drained]:
    """Deliver records of three shapes to a run, as journals of a training loop have them.

    Args:
        db_uri: SQLAlchemy URI, without ``weir``, of a database with our tables.
        run_id: An active run in it.
        n_drains: Transactions of each shape.
    """
    noise = random.Random(1).random
    keys = [f"train/metric_{i}" for i in range(20)]

    def step(i: int) -> bytes:
        return encode_points(run_id, [(key, _FIRST_MS + 50 * i, i, noise()) for key in keys])

    def point(i: int) -> bytes:
        return encode_points(run_id, [(keys[i % 20], _FIRST_MS + 50 * i, i // 20, noise())])

    return [
        _drained(db_uri, "5,000 records of 20 metrics a drain", step, 5_000, n_drains),
        _drained(db_uri, "20,000 records of 1 metric a drain", point, 20_000, n_drains),
        _drained(db_uri, "10 records of 20 metrics a drain", step, 10, 10 * n_drains),
    ]


def _drained(
    db_uri: str, what: str, record: Callable[[int], bytes], n_records: int, n_drains: int
) -> Drained:
    drains = [
        [record(i) for i in range(first, first + n_records)]
        for first in range(0, n_records * n_drains, n_records)
    ]
    engine = open_engine(db_uri)
    journal_id = os.urandom(16).hex()
    engine.connect().close()
    at = n_points = 0
    began, began_cpu = time.perf_counter(), time.process_time()
    for payloads in drains:
        end = at + sum(map(len, payloads)) + _FRAME_BYTES * len(payloads)
        outcome = apply(engine, journal_id, 1, at, end, payloads)
        if outcome.rejected:
            raise RuntimeError(f"refused: {outcome.rejected[0]}")
        at, n_points = end, n_points + outcome.n_points
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    engine.dispose()
    return Drained(what, n_points, wall_s, cpu_s)
