"""The one place that swallows errors: what MLflow calls in the middle of somebody's training.

``never_raises`` guards functions that the host calls and that the run can do without. The test
suite replaces ``report_internal_error`` and fails on any call, so nothing is swallowed unseen.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("mlflow_weir")


_QUIET_S = 60.0
_last_reported: dict[tuple[str, type[Exception]], float] = {}


def report_internal_error(where: str, exc: Exception) -> None:
    """Log ``exc`` with its traceback, the same one at most once a minute.

    The test suite replaces this and fails on any call.
    """
    now, same = time.monotonic(), (where, type(exc))
    if now - _last_reported.get(same, -_QUIET_S) >= _QUIET_S:
        _last_reported[same] = now
        _log.warning("%s failed; the run goes on without it", where, exc_info=exc)


def never_raises(fallback: T) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function safe to call from inside somebody's training loop.

    Only ``Exception`` is caught: ``KeyboardInterrupt`` and ``SystemExit`` pass through. In
    ``store`` it guards housekeeping after a commit alone: callers must hear of all else.

    Args:
        fallback: What the guarded function returns when it failed.
    """

    def decorate(func: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(func)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return func(*args, **kwargs)
            except Exception as exc:  # noqa: BLE001
                report_internal_error(func.__qualname__, exc)
                return fallback

        return guarded

    return decorate
