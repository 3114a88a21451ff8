"""How large a spool is: known soon, whatever it takes to find out."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from agents import wait_until
from mlflow_weir.plugin.journal.spool import Spool, Target
from mlflow_weir.plugin.journal.usage import Usage
from mlflow_weir.plugin.journal.writer import Journal


def test_what_is_found_out_at_once_is_what_is_said() -> None:
    sizes = iter([3, 5])
    usage = Usage(lambda: next(sizes))
    assert [usage.bytes(), usage.bytes()] == [3, 5]
    assert usage.is_settled()


@pytest.mark.expects_internal_errors
def test_a_look_that_fails_is_said_as_a_fault_of_ours(internal_errors: list[Exception]) -> None:
    usage = Usage(lambda: 1 // 0)
    assert usage.bytes() is None
    wait_until(lambda: bool(internal_errors), "it has failed")
    assert isinstance(internal_errors[0], ZeroDivisionError)
    assert usage.is_settled()


def test_nobody_waits_for_what_takes_long() -> None:
    may_end, n_asked = threading.Event(), []

    def measure() -> int:
        n_asked.append(1)
        may_end.wait()
        return 7

    usage = Usage(measure)
    began_s = time.monotonic()
    assert [usage.bytes(), usage.bytes()] == [None, None]
    assert time.monotonic() - began_s < 1.0
    assert not usage.is_settled()
    assert len(n_asked) == 1
    may_end.set()
    wait_until(lambda: usage.bytes() == 7, "it is found out")


def test_a_journal_in_a_spool_that_takes_long_to_look_through_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly full, it is looked at often."""
    may_end = threading.Event()
    monkeypatch.setattr(Spool, "usage_bytes", lambda spool: may_end.wait() and 1 << 60)
    journal = Journal.create(Spool.open(tmp_path / "s"), Target("sql", "sqlite:///a.db"), None)
    try:
        began_s = time.monotonic()
        for _ in range(3):
            journal.append(bytes(600_000))
        assert time.monotonic() - began_s < 1.0
        assert journal.fault is None
        may_end.set()
        wait_until(lambda: journal.append(bytes(600_000)) and journal.fault, "it is full")
    finally:
        may_end.set()
        journal.close()
