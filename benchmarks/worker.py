"""A process that logs with one library and does what it is told: ``python worker.py LIBRARY``.

Commands come as lines of JSON on stdin and are answered by one line each on stdout, what the
library prints goes to stderr. The end of stdin ends the run and the process, as a script of a user
would end. Times are in seconds; points in time are on the machine's monotonic clock, which all
processes share.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from libraries import LIBRARIES, Call, Library

_KEYS = [f"train/metric_{i:02d}" for i in range(20)]
_WARM_UP = 20
_SETTLE_S = 1.0
_TRIES = 60  # the quickest of them had the core for itself


def main() -> None:
    """Begin a run, obey, end it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    library = LIBRARIES[sys.argv[1]]()
    logger = _Logger(library)
    _answer(answers, run_id=library.run_id)
    for line in sys.stdin:
        command = json.loads(line)
        do: Callable[..., dict[str, Any]] = getattr(logger, command.pop("do"))
        _answer(answers, **do(**command))
    library.end()


def _answer(answers: Any, **fields: Any) -> None:
    print(json.dumps(fields), file=answers, flush=True)


class _Logger:
    """The kinds of work, on one library; steps go on from one to the next."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._step = 0
        self._work = _work()
        self._learn: Callable[[], None] | None = None

    def burst(self, how: str, n_calls: int) -> dict[str, Any]:
        """Log without a pause, after a few calls that are not timed and a pause."""
        call = self._call(how)
        for _ in range(_WARM_UP):
            call(self._next())
        time.sleep(_SETTLE_S)  # whatever was started beside this process has come up
        times = []
        for step in range(self._step, self._step + n_calls):
            start_s = time.perf_counter()
            call(step)
            times.append(time.perf_counter() - start_s)
        self._step += n_calls
        return {"times": times}

    def paced(self, how: str, seconds: float, period_s: float) -> dict[str, Any]:
        """Log one call a period for some time, whatever happens to it."""
        call = self._call(how)
        calls: list[tuple[int, float, float, str | None]] = []
        end_s = time.monotonic() + seconds
        next_s = time.monotonic()
        while next_s < end_s:
            time.sleep(max(0.0, next_s - time.monotonic()))
            step, error = self._next(), None
            start_s = time.monotonic()
            try:
                call(step)
            except Exception as exc:  # noqa: BLE001 - which one and how often is what is measured
                error = f"{type(exc).__name__}: {exc}"[:200]
            done_s = time.monotonic()
            calls.append((step, start_s, done_s - start_s, error))
            next_s = max(next_s + period_s, done_s)
        return {"calls": calls}

    def calibrate(self, step_s: float) -> dict[str, Any]:
        """Say how much work takes so long when nothing disturbs it."""
        work, amount = self._work, 10_000
        times = []
        for _ in range(_TRIES):
            start_s = time.perf_counter()
            work(amount)
            times.append(time.perf_counter() - start_s)
        return {"amount": max(1, round(amount * step_s / min(times)))}

    def train(self, n_steps: int, amount: int) -> dict[str, Any]:
        """Do so much work and log 20 metrics, step by step."""
        work, call = self._work, self._call("many")
        work(amount)
        gc.collect()
        times = []
        for _ in range(n_steps):
            start_s = time.perf_counter()
            work(amount)
            call(self._next())
            times.append(time.perf_counter() - start_s)
        return {"times": times}

    def train_with_all(self, n_steps: int, amount: int, watches: bool) -> dict[str, Any]:
        """The same with a model in it, where PyTorch is there, and two printed lines a step."""
        work, call = self._work, self._call("many")
        if self._learn is None:
            self._learn = _model(watches)
        gc.collect()  # once a process what its imports left is looked through, for 50 ms
        times, beside, cpu = [], [], []
        for number in range(n_steps):
            start_s, start_cpu_s = time.perf_counter(), time.thread_time()
            work(amount)
            worked_s = time.perf_counter()
            self._learn()
            call(self._next())
            print(f"step {self._step}: loss {1 / (number + 1):.4f}, all is well", flush=True)
            print(f"\r{number}/{n_steps} [{'#' * (number % 20):20}]", end="", flush=True)
            end_s = time.perf_counter()
            times.append(end_s - start_s)
            beside.append(end_s - worked_s)
            cpu.append(time.thread_time() - start_cpu_s)
        return {"times": times, "beside": beside, "cpu": cpu}

    def _next(self) -> int:
        self._step += 1
        return self._step - 1

    def _call(self, how: str) -> Call:
        if how == "many":
            return self._library.many({key: 0.1 * i for i, key in enumerate(_KEYS)})
        return self._library.one("loss") if how == "one" else self._library.directly("direct")


def _work() -> Callable[[int], None]:
    """Return what stands for a training step: rounds of a hash, in this thread, without the GIL.

    Its memory is a few hundred bytes: with products of matrices of 320 kB one process was 3 to 5 %
    quicker than the next at the same work, by where its pages happened to lie.
    """

    def work(amount: int) -> None:
        hashlib.pbkdf2_hmac("sha256", b"weights", b"batch", amount)

    return work


def _model(watches: bool) -> Callable[[], None]:
    """Return a step of a small model, on a GPU where there is one; without PyTorch, nothing."""
    try:
        import torch
    except ImportError:
        return lambda: None
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = (64, 256, 256, 10)
    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = torch.nn.Sequential(*layers).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs, wanted = torch.randn(32, 64).to(device), torch.randint(0, 10, (32,)).to(device)
    if watches:
        import mlflow_weir

        watch: Callable[..., None] = getattr(mlflow_weir, "watch")  # noqa: B009 - not in all versions
        watch(model, log="all", log_freq=100)

    def learn() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), wanted).backward()
        optimizer.step()

    return learn


if __name__ == "__main__":
    main()
