"""The gate before deliveries: how many at a time, in which order, and what the others are told."""

from __future__ import annotations

import threading

import pytest

from agents import wait_until
from mlflow_weir.ui_extensions.admission import Gate, TurnedAway

PATIENCE_S = 60.0


class Deliveries:
    """Threads that go through a gate and stay inside until they are told to leave."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: list[str] = []
        self.away: dict[str, int] = {}
        self._leave: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def come(self, journal: str, name: str = "") -> None:
        """Begin one of a journal, and wait until it is inside, waits, or is turned away."""
        n_waiting = len(self.gate._waiting)
        name = name or journal
        self._leave[name] = threading.Event()
        thread = threading.Thread(target=self._deliver, args=[journal, name])
        self._threads.append(thread)
        thread.start()
        wait_until(
            lambda: (
                name in self.inside
                or name in self.away
                or len(self.gate._waiting) > n_waiting
                or bool(self.away)
            ),
            f"{name} is inside, waits or is away",
        )

    def leave(self, name: str) -> None:
        self.inside.remove(name)
        self._leave[name].set()

    def end(self) -> None:
        for leave in self._leave.values():
            leave.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _deliver(self, journal: str, name: str) -> None:
        try:
            with self.gate.turn(journal):
                self.inside.append(name)
                assert self._leave[name].wait(PATIENCE_S)
        except TurnedAway as exc:
            self.away[name] = exc.retry_after_s


def test_who_was_served_the_longest_ago_goes_first_and_who_was_last_gives_way() -> None:
    gate = Gate(at_once=1, max_waiting=2, patience_s=PATIENCE_S)
    for name in ("a", "b", "c"):  # served in this order
        with gate.turn(name):
            pass
    some = Deliveries(gate)
    try:
        some.come("x")
        some.come("c")
        some.come("b")
        assert (some.inside, some.away) == (["x"], {})
        some.come("a")  # there is no room, and c was served last
        wait_until(lambda: "c" in some.away, "c is told to come again")
        assert 1 <= some.away["c"] <= 38
        some.come("new")  # whom nobody has seen has no better right
        wait_until(lambda: "new" in some.away, "the new one is told to come again")
        some.leave("x")
        wait_until(lambda: some.inside == ["a"], "a has its turn")
        some.leave("a")
        wait_until(lambda: some.inside == ["b"], "b has its turn")
        some.leave("b")
        wait_until(lambda: gate._n_in == 0, "nobody is inside")
        assert gate._waiting == []
    finally:
        some.end()


def test_one_that_always_comes_first_does_not_keep_others_out() -> None:
    """A journal that fills every place gets its share, and a quiet one the next turn."""
    gate = Gate(at_once=1, max_waiting=3, patience_s=PATIENCE_S)
    for name in ("quiet", "greedy"):
        with gate.turn(name):
            pass
    some = Deliveries(gate)
    order: list[str] = []
    try:
        for number in range(4):
            some.come("greedy", f"greedy {number}")
        assert len(gate._waiting) == 3
        some.come("quiet")
        # The quiet one has taken the place of one of the greedy's, and is let in next.
        wait_until(lambda: len(some.away) == 1, "one of the greedy is told to come again")
        assert "quiet" not in some.away
        for _ in range(4):
            (inside,) = some.inside
            order.append(inside)
            some.leave(inside)
            wait_until(lambda: some.inside or not gate._n_in, "the next has its turn")
        assert order[1] == "quiet"
    finally:
        some.end()


def test_so_many_are_inside_and_who_waits_too_long_is_turned_away() -> None:
    gate = Gate(at_once=2, max_waiting=5, patience_s=0.05)
    some = Deliveries(gate)
    try:
        for name in ("a", "b", "c"):
            some.come(name)
        wait_until(lambda: "c" in some.away, "c is told to come again")
        assert sorted(some.inside) == ["a", "b"]
        assert gate._waiting == []
        some.leave("a")
        wait_until(lambda: gate._n_in == 1, "one is inside")
        with gate.turn("c"):  # there is room again
            pass
    finally:
        some.end()
    assert gate._n_in == 0


def test_a_delivery_that_fails_gives_its_place_back() -> None:
    gate = Gate(at_once=1, max_waiting=0, patience_s=0.0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.turn("a"):
            _ = 1 / 0
    with gate.turn("a"), pytest.raises(TurnedAway), gate.turn("b"):
        pass


def test_the_more_are_turned_away_the_later_they_are_to_come() -> None:
    gate = Gate(at_once=1, max_waiting=0, patience_s=0.0)
    told = []
    with gate.turn("inside"):
        for number in range(2_000):
            with pytest.raises(TurnedAway) as refused, gate.turn(str(number)):
                pass
            told.append(refused.value.retry_after_s)
    assert told[0] <= 2
    assert min(told[-100:]) >= 22  # thirty seconds, spread by a quarter
    assert len(set(told[-100:])) > 5  # not all at the same moment
