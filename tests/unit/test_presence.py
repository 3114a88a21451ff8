"""Whether a store answers is found out without a wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE

from agents import wait_until
from mlflow_weir.plugin import presence
from mlflow_weir.plugin.presence import Presence


def raising(code: int) -> Callable[[], object]:
    def ask() -> None:
        raise MlflowException("no", code)

    return ask


def test_a_store_that_answers_is_there_whatever_it_answers() -> None:
    assert Presence().is_there(lambda: None)
    assert Presence().is_there(raising(PERMISSION_DENIED))
    assert not Presence().is_there(raising(TEMPORARILY_UNAVAILABLE))
    assert not Presence().is_there(lambda: 1 / 0)


def test_a_slow_store_is_known_to_be_there_once_it_has_answered() -> None:
    may_answer = threading.Event()
    found, began_s = Presence(), time.monotonic()
    assert not found.is_there(may_answer.wait)
    assert time.monotonic() - began_s < 1.0
    may_answer.set()
    wait_until(lambda: found.is_there(may_answer.wait), "it has answered")


def test_a_store_that_falls_silent_is_gone_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(presence, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    found, may_answer = Presence(), threading.Event()
    assert found.is_there(lambda: None)
    now_s[0] += 6.0
    assert found.is_there(may_answer.wait)  # asked anew; it owes the answer for a moment only
    now_s[0] += 1.5
    assert found.is_there(may_answer.wait)
    now_s[0] += 1.0
    assert found.is_there(may_answer.wait, patience_s=30.0)
    assert not found.is_there(may_answer.wait)
    may_answer.set()
    wait_until(lambda: found.is_there(may_answer.wait), "it has answered")


def test_what_others_found_out_counts_until_something_newer_is_known() -> None:
    found, may_answer = Presence(), threading.Event()
    found.assume(answers=True)
    assert found.is_there(may_answer.wait)
    found.assume(answers=False)
    assert found.is_there(may_answer.wait)
    found.assume(answers=False, since_s=-1.0)
    assert not found.is_there(may_answer.wait)
    may_answer.set()
