"""``mlflow_weir.alert``: a word to whoever is to hear of a run, through its journal.

Nothing here raises: an alert is about a training, never its end. What cannot be done is said once
in the log.
"""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from mlflow_weir.errors import WeirError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.journaled_calls import JournaledCalls
from mlflow_weir.store.alerts.alerts import LEVELS, MAX_TEXT, MAX_TITLE, Alert, fitting

_MAX_KEPT = 1_000  # titles, of which the time is remembered

_log = logging.getLogger("mlflow_weir")
_said: set[str] = set()
_raised_s: dict[tuple[str, str], float] = {}


@never_raises(False)
def alert(title: str, text: str, level: str, wait_s: float) -> bool:
    """Do what ``mlflow_weir.alert`` says."""
    try:
        store: Any = mlflow_private.cached_tracking_store(None)
        run_id = _run_of(store)
    except MlflowException as exc:  # such as a tracking URI that is none
        return _not_sent(f"there is no tracking store: {exc.message}")
    if run_id is None:
        return _not_sent("this process has no run open")
    if not hasattr(store, "log_alert") or not getattr(store, "can_rewind", lambda: True)():
        return _not_sent("the tracking server does not run Weir, and nobody delivers it")
    title, now_s = fitting(" ".join(str(title).split()), MAX_TITLE), time.monotonic()
    before_s = _raised_s.get((run_id, title))
    if before_s is not None and now_s - before_s < wait_s:
        return False
    if level not in LEVELS:
        _say(f"level {level!r:.40} is none of {', '.join(LEVELS)}: taken for 'warning'")
        level = "warning"
    try:
        raise_in(store, run_id, title, text, level)
    except (MlflowException, WeirError) as exc:  # a deleted run, a database that is away
        return _not_sent(str(exc))
    if len(_raised_s) >= _MAX_KEPT:
        _raised_s.clear()
    _raised_s[run_id, title] = now_s
    return True


def raise_in(store: Any, run_id: str, title: str, text: str, level: str) -> None:
    """Raise an alert of a run.

    Args:
        store: One that can keep it.
        run_id: The run.
        title: At most ``MAX_TITLE`` characters.
        text: Is cut to what is kept.
        level: One of ``LEVELS``.

    Raises:
        MlflowException: No such run, or it is deleted.
        WeirError: The database is away.
    """
    at_ms = time.time_ns() // 1_000_000
    text = fitting(str(text), MAX_TEXT)
    store.log_alert(Alert(uuid.uuid4().hex, run_id, level, title, text, at_ms))


def _run_of(store: Any) -> str | None:
    """Return the active run; in a thread that has none, the last one that this process began."""
    active = mlflow.active_run()
    if active is not None:
        return str(active.info.run_id)
    open_runs = store.open_fluent_runs() if isinstance(store, JournaledCalls) else []
    return open_runs[-1] if open_runs else None


def _not_sent(why: str) -> bool:
    _say(f"not raised: {why}")
    return False


def _say(words: str) -> None:
    if words not in _said and len(_said) < _MAX_KEPT:
        _said.add(words)
        _log.warning("mlflow_weir.alert: %s", words)
