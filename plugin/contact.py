"""Asking a store directly from inside a training: for so long, and not again for a while.

A store that does not answer must not hold up a training. Each question is put in a thread of its
own and given up after a time; after a failure nothing is asked for some seconds, in which what is
known has to do.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.threads import start_soon

T = TypeVar("T")

FIRST_WAIT_S = 2.0
"""Where a training begins: its experiment, its run."""

_AWAY_S = 5.0

IS_BOUNDED: contextvars.ContextVar[bool] = contextvars.ContextVar("is_bounded", default=False)
"""On in a call of a store that is given up after a time, because it can be done without."""

IS_SETTLED: contextvars.ContextVar[bool] = contextvars.ContextVar("is_settled", default=False)
"""On while a store may be read as it is, without what is on its way to it."""


@contextlib.contextmanager
def as_it_is() -> Iterator[None]:
    """Read the store as it is; what is on its way to it was waited for, or need not be."""
    token = IS_SETTLED.set(True)
    try:
        yield
    finally:
        IS_SETTLED.reset(token)


class Away(Exception):
    """The store did not answer in time, or could not; what is known has to do."""

    def as_mlflow_error(self) -> MlflowException:
        """Return what a caller gets where nothing is known."""
        return MlflowException(f"The tracking store is away: {self}", TEMPORARILY_UNAVAILABLE)


class NotDelivered(Away):
    """It cannot have what it is asked for: that is on its way still."""


class TookTooLong(Away):
    """The store did not answer in time."""


class Contact:
    """What is known of a store's willingness to answer.

    Attributes:
        has_answered: It did, the last time it was asked.
    """

    def __init__(self) -> None:
        self.has_answered = False
        self._away_until_s = 0.0

    def ask(self, timeout_s: float, call: Callable[..., T], *arguments: Any) -> T:
        """Call a method of the store, for so long at most.

        Raises:
            Away: It did not answer, or said that it cannot; or did so a moment ago.
            MlflowException: What it answered, where that is an answer.
        """
        if self.is_away():
            raise Away("it did not answer a moment ago")
        token = IS_BOUNDED.set(True)
        try:
            answer = call_within(timeout_s, call, *arguments)
        except NotDelivered:
            raise
        except Away:
            self.give_up()
            raise
        except Exception as exc:
            if mlflow_private.is_worlds_fault(exc):
                self.give_up()
                raise Away(str(exc)) from exc
            self.has_answered = True
            raise
        finally:
            IS_BOUNDED.reset(token)
        self.has_answered = True
        return answer

    def glance(self, timeout_s: float, call: Callable[..., T], *arguments: Any) -> T:
        """Do the same, where an answer that is merely slow is no reason to ask nothing more.

        Raises:
            Away: It did not answer, or said that it cannot.
            MlflowException: What it answered, where that is an answer.
        """
        away_until_s, has_answered = self._away_until_s, self.has_answered
        try:
            return self.ask(timeout_s, call, *arguments)
        except TookTooLong:
            self._away_until_s, self.has_answered = away_until_s, has_answered
            raise

    def is_away(self) -> bool:
        """Say whether nothing is asked at this moment."""
        return time.monotonic() < self._away_until_s

    def try_again(self) -> None:
        """Ask the store the next time, also if it did not answer a moment ago."""
        self._away_until_s = 0.0

    def give_up(self) -> None:
        """Ask nothing for a while: the store was found to be away."""
        self.has_answered = False
        self._away_until_s = time.monotonic() + _AWAY_S


class Begun(Generic[T]):
    """A call that goes on in a thread of its own, whether somebody waits for it or not."""

    def __init__(self, call: Callable[..., T], *arguments: Any) -> None:
        self._outcome: list[T] = []
        self._failure: list[BaseException] = []
        self._is_over = threading.Event()
        context = contextvars.copy_context()  # MLflow's workspace, for one

        def act() -> None:
            try:
                self._outcome.append(context.run(call, *arguments))
            except BaseException as exc:  # noqa: BLE001  (raised in the caller)
                self._failure.append(exc)
            finally:
                self._is_over.set()

        try:
            start_soon(threading.Thread(target=act, name="weir-store-call", daemon=True))
        except RuntimeError:  # the interpreter is shutting down
            act()

    def wait(self, timeout_s: float) -> bool:
        """Wait for so long at most; say whether it is over."""
        return self._is_over.wait(timeout_s)

    def result(self) -> T:
        """Return what it returned, or raise what it raised, once it is over."""
        if self._failure:
            raise self._failure[0]
        return self._outcome[0]


def call_within(timeout_s: float, call: Callable[..., T], *arguments: Any) -> T:
    """Call something in a thread, for so long at most; the thread goes on when it is over.

    Raises:
        TookTooLong: The time is over.
    """
    begun = Begun(call, *arguments)
    if not begun.wait(timeout_s):
        raise TookTooLong(f"no answer for {timeout_s:g} s")
    return begun.result()


def says_unknown(error: BaseException) -> bool:
    """Say whether a store answered that what it was asked for does not exist."""
    unknown = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
    return isinstance(error, MlflowException) and error.error_code == unknown


def is_answer(error: BaseException) -> bool:
    """Say whether an exception is what a store has answered, a refusal for one."""
    return isinstance(error, MlflowException) and not mlflow_private.is_worlds_fault(error)
