"""Loops side by side, block by block, and what their difference is worth.

Two blocks of the same round are minutes of the machine's day apart at most by seconds: what
disturbs one mostly disturbs the other. The median of the rounds' differences is not moved by the
few in which it did not; its interval is the one between order statistics that holds the true
median in 95 of 100 cases whatever the differences are distributed like.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil
from contenders import Worker

_CONFIDENCE = 0.95
_WARM_UP = 20  # steps before the blocks that count


class Estimate(NamedTuple):
    """A median and the interval that it is known to: 95 %, less where there are few values."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write it in percent."""
        return f"{100 * self.median:+.2f} % ({100 * self.low:+.2f} to {100 * self.high:+.2f})"


def estimate(values: Sequence[float]) -> Estimate:
    """Return the median of independent values with its interval."""
    ordered, n = sorted(values), len(values)
    left, below = 0, 0.0
    while left < (n - 1) // 2:
        below += math.comb(n, left) / 2**n
        if below > (1 - _CONFIDENCE) / 2:
            break
        left += 1
    left = max(left - 1, 0)
    return Estimate(statistics.median(ordered), ordered[left], ordered[n - 1 - left])


@dataclass
class Blocks:
    """What the blocks of one contender took, one figure a block, seconds a step.

    Attributes:
        step: All of it.
        work: Of it what is alike in all.
        beside: The rest: the model, log calls, prints.
        cpu: Processor time of the training's own thread.
        helpers_cpu: That of every other process which works for it.
    """

    step: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    helpers_cpu: list[float] = field(default_factory=list)


class Helpers:
    """The processes of a spool, the training's own apart, and what they take of processors."""

    def __init__(self, spool: str, apart: int) -> None:
        self._spool, self._apart = spool, apart
        self._known: dict[int, float] = {}

    def cpu_s(self) -> float:
        """Return the processor time of all of them so far, those that are gone as last seen."""
        for process in psutil.process_iter():
            try:
                if (
                    process.pid not in (self._apart, os.getpid())
                    and process.environ().get("WEIR_SPOOL") == self._spool
                ):
                    times = process.cpu_times()
                    self._known[process.pid] = times.user + times.system
            except psutil.Error:
                continue
        return sum(self._known.values())


def run(
    start: Callable[[int], list[tuple[Worker, Helpers | None]]],
    train: Callable[[Worker, int], dict[str, list[float]]],
    *,
    n_starts: int,
    n_rounds: int,
    n_steps: int,
) -> dict[str, Blocks]:
    """Train in turn, in rounds of a block each, in another order each time.

    Args:
        start: Starts everybody's process anew, for the so-manieth time: where the memory of one
            happens to lie makes it quicker or slower for as long as it lives.
        train: Lets one do so many steps; returns ``times``, ``beside`` and ``cpu``, one a step.
        n_starts: So often.
        n_rounds: After each start.
        n_steps: Of a block.
    """
    found: dict[str, Blocks] = {}
    for number in range(n_starts):
        all_of_them = start(number)
        for worker, _ in all_of_them:
            train(worker, _WARM_UP)
        orders = itertools.cycle(itertools.permutations(all_of_them))
        for order in itertools.islice(orders, n_rounds):
            for worker, helpers in order:
                before_s = 0.0 if helpers is None else helpers.cpu_s()
                block = train(worker, n_steps)
                after_s = 0.0 if helpers is None else helpers.cpu_s()
                of_it = found.setdefault(worker.contender.name, Blocks())
                step_s = statistics.fmean(block["times"])
                beside_s = statistics.fmean(block["beside"])
                of_it.step.append(step_s)
                of_it.beside.append(beside_s)
                of_it.work.append(step_s - beside_s)
                of_it.cpu.append(statistics.fmean(block["cpu"]))
                of_it.helpers_cpu.append((after_s - before_s) / n_steps)
        for worker, _ in all_of_them:
            worker.end()
    return found


def slower(one: Sequence[float], other: Sequence[float], of: Sequence[float]) -> Estimate:
    """Return by how much one is above the other, block by block, as a share of ``of``."""
    return estimate(
        [(mine - theirs) / whole for mine, theirs, whole in zip(one, other, of, strict=True)]
    )
