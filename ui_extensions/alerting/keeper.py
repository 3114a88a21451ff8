"""The thread of a serving process that looks for alerts and sends them.

Every process has one. What rules find is looked for by one of all at a time (``store/alerts/
watching.py``), and a delivery is sent by who has claimed it (``store/alerts/queue.py``). Where
there is neither rule nor alert, a turn is two small reads.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid

import sqlalchemy as sa

from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.guard import never_raises
from mlflow_weir.store.alerts import queue
from mlflow_weir.store.alerts.watching import Watcher
from mlflow_weir.ui_extensions.alerting import sending
from mlflow_weir.ui_extensions.housekeeping import turn_s

_log = logging.getLogger(__name__)

_LONGEST_TURN_S = 5.0
_SHARE = 20  # of its time a look may take one part of so many
_LEASE_TURNS = 4
_MAX_IN_A_ROW = 50


class Keeper:
    """The thread of one process."""

    def __init__(self) -> None:
        self._watcher = Watcher(f"{os.getpid()}-{uuid.uuid4().hex}")
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread where there is none."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="weir-alerts", daemon=True)
                self._thread.start()

    def hurry(self) -> None:
        """Have it look now; nothing where no thread runs."""
        self._news.set()

    def _run(self) -> None:
        while True:
            began_s = time.monotonic()
            self._turn()
            pause_s = max(turn_s(_LONGEST_TURN_S), _SHARE * (time.monotonic() - began_s))
            # Not so long that another process takes the lease.
            self._news.wait(min(pause_s, (_LEASE_TURNS - 1) * turn_s(_LONGEST_TURN_S)))
            self._news.clear()

    @never_raises(None)
    def _turn(self) -> None:
        from mlflow_weir.ui_extensions import deliveries

        engine = deliveries.engine_if_any()
        if engine is None:
            return
        try:
            self._watcher.look(
                engine, lease_ms=round(1000 * turn_s(_LONGEST_TURN_S) * _LEASE_TURNS)
            )
            for _ in range(_MAX_IN_A_ROW):
                if not _send_next(engine):
                    return
        except (StoreUnavailable, sa.exc.SQLAlchemyError) as exc:
            _log.debug("alerts are put off: %s", exc)
            return
        self._news.set()  # there may be more


def _send_next(engine: sa.Engine) -> bool:
    """Send the next delivery that is due; False where there is none."""
    claimed = queue.claim(engine)
    if claimed is None:
        return False
    outcome = sending.send(claimed)
    if not outcome.is_sent:
        _log.warning(
            "alert %s to target %r: %s", claimed.alert.alert_id, claimed.target.name, outcome.told
        )
    queue.settle(engine, claimed, outcome)
    return True


_keeper = Keeper()


def start() -> None:
    """Start this process's thread."""
    _keeper.start()


def hurry() -> None:
    """Have this process look for alerts now, where it is one that does."""
    _keeper.hurry()


def _replace() -> None:
    """Begin anew in a forked child, which has the parent's state without its thread."""
    global _keeper
    _keeper = Keeper()


os.register_at_fork(after_in_child=_replace)
