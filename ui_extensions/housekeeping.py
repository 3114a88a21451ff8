"""Work of a server beside its requests: one thread in each process that serves.

* Compaction of runs whose deliveries made it due, in this process, one at a time.
* Compaction of runs that another process left behind (``store/metrics/left_behind.py``), by one
  process of all.
* Private experiments stay so for users who came while Weir was off (``visibility.py``).
* Runs whose machine is lost are marked (``store/runs/node_lost.py``), by one process of all.

The thread is a daemon and starts with the first work or with ``start``; a forked child starts its
own. Whatever fails is tried again at the next turn and said in the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import CompactedElsewhere, StoreUnavailable, WeirError
from mlflow_weir.guard import never_raises
from mlflow_weir.settings import HEARTBEAT_TIMEOUT_SECONDS
from mlflow_weir.store import engine as engines
from mlflow_weir.store.metrics import compaction, left_behind
from mlflow_weir.store.runs.node_lost import mark_lost
from mlflow_weir.ui_extensions import metrics

_log = logging.getLogger(__name__)

_MAX_WAITING = 10_000
_MAX_TRIES = 5
_SHORTEST_TURN_S = 0.25
_LEASE_TURNS = 4


class Housekeeper:
    """The thread of one process and what waits for it."""

    def __init__(self) -> None:
        self._holder = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._news = threading.Condition()
        self._waiting: dict[str, tuple[bool, int]] = {}  # run: is it final, and the tries so far
        self._thread: threading.Thread | None = None
        self._left_behind: set[str] = set()  # at the look before this
        self._taken_over: set[str] = set()

    def start(self) -> None:
        """Start the thread where there is none."""
        with self._news:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="weir-housekeeping", daemon=True
                )
                self._thread.start()

    def compact_later(self, run_id: str, *, is_final: bool, tries: int = 0) -> None:
        """Have a run compacted; where too many wait it is left to its next delivery."""
        self.start()
        with self._news:
            was_final = self._waiting.get(run_id, (False, 0))[0]
            if run_id in self._waiting or len(self._waiting) < _MAX_WAITING:
                self._waiting[run_id] = (is_final or was_final, tries)
                self._news.notify()

    def _run(self) -> None:
        looked_at = time.monotonic()
        while True:
            pause_s = turn_s()
            with self._news:
                self._news.wait_for(
                    lambda: bool(self._waiting), looked_at + pause_s - time.monotonic()
                )
                waiting, self._waiting = self._waiting, {}
            meters = metrics.meters()
            if meters is not None:
                meters.to_compact.set(len(waiting))
            for run_id, (is_final, tries) in waiting.items():
                self._compact(run_id, is_final=is_final, tries=tries)
            if time.monotonic() >= looked_at + pause_s:
                self._look_for_lost_runs(pause_s)
                self._take_over(pause_s)
                _keep_private()
                looked_at = time.monotonic()

    @never_raises(None)
    def _compact(self, run_id: str, *, is_final: bool, tries: int) -> None:
        engine = _engine()
        if engine is None:
            return
        steps = (
            compaction.compact_batches,
            compaction.merge_all if is_final else compaction.merge_due,
        )
        meters = metrics.meters()
        try:
            with contextlib.nullcontext() if meters is None else meters.compactions.time():
                while any(_in_transaction(engine, run_id, step) for step in steps):
                    pass
        except (sa.exc.SQLAlchemyError, WeirError) as exc:
            if not engines.is_transient(exc):
                raise
            if meters is not None:
                meters.compactions_failed.inc()
            if tries < _MAX_TRIES:
                self.compact_later(run_id, is_final=is_final, tries=tries + 1)

    @never_raises(None)
    def _look_for_lost_runs(self, turn_s: float) -> None:
        engine = _engine()
        if engine is None:
            return
        timeout_s = HEARTBEAT_TIMEOUT_SECONDS.get()
        try:
            lost = mark_lost(
                engine,
                self._holder,
                timeout_ms=round(1000 * timeout_s),
                lease_ms=round(1000 * turn_s * _LEASE_TURNS),
            )
        except StoreUnavailable as exc:
            _log.debug("looking for lost runs is put off: %s", exc)
            return
        for run_id in lost:
            _log.warning("run %s: no heartbeat for %g s, marked as failed", run_id, timeout_s)

    @never_raises(None)
    def _take_over(self, turn_s: float) -> None:
        """Compact what was due at the last look and still is: who had it to do is gone."""
        engine = _engine()
        if engine is None:
            return
        try:
            found = left_behind.find(
                engine, self._holder, lease_ms=round(1000 * turn_s * _LEASE_TURNS)
            )
        except StoreUnavailable as exc:
            _log.debug("looking for runs to compact is put off: %s", exc)
            return
        runs = {} if found is None else found
        # Once: what is damaged stays a run's batch, and is said in the log each time.
        due = (runs.keys() & self._left_behind) - self._taken_over
        self._left_behind = set(runs)
        self._taken_over = (self._taken_over & self._left_behind) | due
        for run_id in due:
            self.compact_later(run_id, is_final=runs[run_id])


def _keep_private() -> None:
    from mlflow_weir.ui_extensions import visibility

    visibility.keep_private()


def turn_s(longest_s: float = 15.0) -> float:
    """Return the seconds between two looks of a server at its database.

    A quarter of the silence after which a run counts as lost, within bounds.
    """
    return min(longest_s, max(_SHORTEST_TURN_S, HEARTBEAT_TIMEOUT_SECONDS.get() / 4))


def _engine() -> sa.Engine | None:
    from mlflow_weir.ui_extensions import deliveries

    return deliveries.engine_if_any()


def _in_transaction(engine: sa.Engine, run_id: str, step: Callable[[Session, str], int]) -> bool:
    try:
        with Session(engine) as session, session.begin():
            return step(session, run_id) > 0
    except CompactedElsewhere:
        return False


_keeper = Housekeeper()


def start() -> None:
    """Start this process's thread."""
    _keeper.start()


def compact_later(run_id: str, *, is_final: bool) -> None:
    """Have a run compacted after the answer to its delivery."""
    _keeper.compact_later(run_id, is_final=is_final)


def _replace() -> None:
    """Begin anew in a forked child, which has the parent's state without its thread."""
    global _keeper
    _keeper = Housekeeper()


os.register_at_fork(after_in_child=_replace)
