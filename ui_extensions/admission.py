"""Whose delivery is taken next, and who is told to come again: the gate before ``POST ingest``.

A process takes ``AT_ONCE`` deliveries at a time, which is what its connections can do; some more
wait, each in a thread of the server's, of which most must stay free for everybody else. Whoever
does not fit is answered 503 with ``Retry-After`` before its body is looked at, so that what is
unpacked and decoded at a time stays bounded. An agent keeps what it could not deliver, obeys, and
brings more at once the next time: under load there are fewer, larger transactions.

Fair between journals: of those that wait the one goes first that was served the longest ago, and
when there is no more room the one that was served last gives way. A journal that nobody has seen
counts as served just now, or a new name each time would be the way to the front.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlflow_weir.errors import WeirError
from mlflow_weir.ui_extensions import metrics

AT_ONCE = 3
MAX_WAITING = 12
PATIENCE_S = 10.0
_MAX_REMEMBERED = 20_000
_SHORTEST_S, _LONGEST_S = 1.0, 30.0
_MEMORY = 0.9  # of the mean time of a delivery


class TurnedAway(WeirError):
    """There is no room for a delivery now.

    Attributes:
        retry_after_s: When to come again, in whole seconds.
    """

    retryable = True

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many deliveries at once")
        self.retry_after_s = retry_after_s


@dataclass(eq=False)
class _Waiting:
    """A delivery that waits: until it is let in, or is to go."""

    served_s: float
    called: threading.Event = field(default_factory=threading.Event)
    is_let_in: bool = False


class Gate:
    """Lets some deliveries of many in."""

    def __init__(
        self,
        at_once: int = AT_ONCE,
        max_waiting: int = MAX_WAITING,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Let nobody wait yet.

        Args:
            at_once: Deliveries that are taken at a time.
            max_waiting: Those that may wait, each in its thread.
            patience_s: How long one waits before it is turned away.
        """
        self._at_once, self._max_waiting, self._patience_s = at_once, max_waiting, patience_s
        self._lock = threading.Lock()
        self._n_in = 0
        self._waiting: list[_Waiting] = []
        self._served: OrderedDict[str, float] = OrderedDict()
        self._mean_s = 0.1
        self._turned_away: OrderedDict[str, float] = OrderedDict()

    @contextlib.contextmanager
    def turn(self, journal_id: str) -> Iterator[None]:
        """Wait for a journal's turn, and have it until the block ends.

        Raises:
            TurnedAway: There is no room; nothing was waited for, or too long.
        """
        with metrics.held("waiting"):
            self._enter(journal_id)
        began_s = time.monotonic()
        try:
            with metrics.held("taken"):
                yield
        finally:
            self._leave(journal_id, time.monotonic() - began_s)

    def refuse(self, journal_id: str) -> TurnedAway:
        """Say when a delivery is to come again for which there is no room at all."""
        with self._lock:
            return self._turn_away(journal_id)

    def _enter(self, journal_id: str) -> None:
        with self._lock:
            mine = _Waiting(self._remembered(journal_id))
            if self._n_in < self._at_once and not self._waiting:
                self._n_in += 1
                return
            if len(self._waiting) >= self._max_waiting:
                last = max([mine, *self._waiting], key=lambda one: one.served_s)
                if last is mine:
                    raise self._turn_away(journal_id)
                self._waiting.remove(last)
                last.called.set()
            self._waiting.append(mine)
        mine.called.wait(self._patience_s)
        with self._lock:
            if mine.is_let_in:
                return
            if mine in self._waiting:
                self._waiting.remove(mine)
            raise self._turn_away(journal_id)

    def _leave(self, journal_id: str, took_s: float) -> None:
        with self._lock:
            self._mean_s = _MEMORY * self._mean_s + (1 - _MEMORY) * took_s
            self._served[journal_id] = time.monotonic()
            self._served.move_to_end(journal_id)
            self._turned_away.pop(journal_id, None)
            self._n_in -= 1
            if self._waiting:
                first = min(self._waiting, key=lambda one: one.served_s)
                self._waiting.remove(first)
                first.is_let_in = True
                self._n_in += 1
                first.called.set()

    def _remembered(self, journal_id: str) -> float:
        """Return when a journal was served last, or first seen."""
        found = self._served.setdefault(journal_id, time.monotonic())
        if len(self._served) > _MAX_REMEMBERED:
            self._served.popitem(last=False)
        return found

    def _turn_away(self, journal_id: str) -> TurnedAway:
        """Say when there may be room: once all who were turned away lately had their turn."""
        now_s = time.monotonic()
        self._turned_away[journal_id] = now_s
        self._turned_away.move_to_end(journal_id)
        while next(iter(self._turned_away.values())) < now_s - _LONGEST_S:
            self._turned_away.popitem(last=False)
        ahead = len(self._turned_away) + self._max_waiting
        pause_s = min(max(self._mean_s * ahead / self._at_once, _SHORTEST_S), _LONGEST_S)
        found = metrics.meters()
        if found is not None:
            found.turned_away.labels("busy").inc()
        # Not all of them at the same moment.
        return TurnedAway(math.ceil(pause_s * random.uniform(0.75, 1.25)))


gate = Gate()


def _replace() -> None:
    """Begin anew in a forked child, where nobody waits."""
    global gate
    gate = Gate()


os.register_at_fork(after_in_child=_replace)
