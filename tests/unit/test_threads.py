"""A thread is started without a wait for it."""

from __future__ import annotations

import threading

import pytest

from agents import wait_until
from mlflow_weir.threads import start_soon


def test_who_starts_a_thread_does_not_wait_until_it_runs() -> None:
    may_start, has_run = threading.Event(), threading.Event()

    class Slow(threading.Thread):
        """One that waits for a processor."""

        def start(self) -> None:
            assert may_start.wait(60)
            super().start()

    thread = Slow(target=has_run.set, daemon=True)
    start_soon(thread)
    assert not has_run.is_set()
    may_start.set()
    assert has_run.wait(60)
    thread.join(60)


def test_what_no_thread_can_be_had_for_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has_run = threading.Event()
    thread = threading.Thread(target=has_run.set)

    def start() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(thread, "start", start)
    start_soon(thread)
    wait_until(has_run.is_set, "it is done")
