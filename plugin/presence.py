"""Whether a store answers, found out beside the calls that need to know it.

A call that may not wait goes by what was found out last. Stores are asked in a thread of their
own, so that one which takes a second to answer is known to be there all the same.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

from mlflow_weir.plugin.contact import FIRST_WAIT_S, Away, Begun, is_answer

GLANCE_S = 0.08
"""How long a call waits of whose store nothing is known: with the rest of it, 0.1 s at most."""

_FRESH_S = 5.0


class Presence:
    """What is known of a store's presence. Threads may share it."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._answers: bool | None = None
        self._asked_s = -_FRESH_S
        self._is_over = threading.Event()
        self._is_over.set()

    def assume(self, *, answers: bool, since_s: float = math.inf) -> None:
        """Take for granted what somebody else found out, unless something newer is known.

        Args:
            answers: The store does.
            since_s: How long ago that was.
        """
        if self._answers is None or time.monotonic() - self._asked_s > since_s:
            self._answers = answers

    def is_there(
        self,
        ask: Callable[[], object],
        patience_s: float = FIRST_WAIT_S,
        glance_s: float = GLANCE_S,
    ) -> bool:
        """Say whether the store answers.

        Args:
            ask: Asks it something; done in a thread, every few seconds.
            patience_s: How long it may owe an answer.
            glance_s: How long is waited where nothing is known yet.
        """
        if self._pid != os.getpid():  # the thread that asks is the parent's
            self._begin()
        with self._lock:
            if self._is_over.is_set() and time.monotonic() - self._asked_s > _FRESH_S:
                self._asked_s = time.monotonic()
                is_over = self._is_over = threading.Event()
                Begun(self._ask, ask, is_over)
        if self._answers is None:
            self._is_over.wait(glance_s)
        if not self._is_over.is_set() and time.monotonic() - self._asked_s > patience_s:
            self._answers = False
        return bool(self._answers)

    def _ask(self, ask: Callable[[], object], is_over: threading.Event) -> None:
        answers = True
        try:
            ask()
        except Away:
            answers = False
        except Exception as exc:  # noqa: BLE001 - whatever the client of a store raises
            answers = is_answer(exc)
        finally:
            self._answers = answers
            is_over.set()
