"""Watches gradients and parameters of PyTorch models where optimizers step.

Two hooks on all optimizers, none on a model: so a step that is not logged costs two calls that
look a number up, a watched model is pickled, copied and compiled as ever, and its ``state_dict``
is its own. What is logged is what the optimizer gets: the gradients of all micro-batches, reduced
over all processes, unscaled and clipped. Where ``step`` is given a closure, which computes the
gradients inside (as Lightning does), they are looked at after it, otherwise before: some
optimizers use the gradients as scratch space.

A step is measured on the device (``tensor_statistics.py``) and handed over when the result is
there, mostly at the next step: nothing waits for the device. Threads may train models of their
own. Depends on torch and NumPy alone.
"""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from mlflow_weir.guard import never_raises
from mlflow_weir.plugin.capture.parameter_names import grouped, plain
from mlflow_weir.plugin.capture.tensor_statistics import Measured, Measurer, Statistics
from mlflow_weir.plugin.capture.tensor_values import dense

KINDS: Mapping[str, tuple[str, ...]] = {
    "gradients": ("gradients",),
    "parameters": ("parameters",),
    "all": ("gradients", "parameters"),
}
"""What ``log`` may be, and what is logged then."""

_MAX_WAITING = 16  # steps on their way from a device
_WAIT_S, _LOOK_S = 2.0, 0.001


class Destination(NamedTuple):
    """Where a step is logged to.

    Attributes:
        run_id: Of the run.
        first_step: The number that the first step gets which is logged there.
        context: Whatever else the sink wants to know.
    """

    run_id: str
    first_step: int
    context: Any


@dataclass(frozen=True)
class Reading:
    """What was measured at one step, of one kind.

    Attributes:
        kind: ``gradients`` or ``parameters``.
        prefix: Of the names, for a second model; "" for the first.
        step: Optimizer steps before this one, from the run's first step on.
        at_ms: Wall time of the step.
        names: (s,) the series.
        statistics: (s,)
        may_be_infinite: A ``GradScaler`` lets infinite gradients happen, and skips their step.
    """

    kind: str
    prefix: str
    step: int
    at_ms: int
    names: list[str]
    statistics: Statistics
    may_be_infinite: bool


class Sink(Protocol):
    """Takes what is measured."""

    def destination(self) -> Destination | None:
        """Say where a step is logged to that happens now; None for nowhere."""

    def take(self, destination: Destination, readings: list[Reading]) -> None:
        """Take what was measured at one step."""

    def saw_nothing(self, run_id: str, why: str) -> None:
        """Take note that a run ends, and that nothing was measured so far."""

    def start_afresh(self) -> None:
        """Take note that this is a forked child."""


class _Waiting(NamedTuple):
    """A step whose results are on their way."""

    destination: Destination
    step: int
    at_ms: int
    parts: list[tuple[str, list[str], Measured]]
    may_be_infinite: bool


class _Counter:
    """Of one optimizer: its steps since the watch began, and what is kept between them."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self.n_steps = 0
        self.run_id = ""
        self.offset = 0
        self.measurers = {kind: Measurer() for kind in kinds}


class Watch:
    """A model that is watched.

    Attributes:
        n_skipped: Steps that were not logged because too many were on their way already.
        has_measured: Something was.
    """

    def __init__(self, model: Any, kinds: tuple[str, ...], log_freq: int, sink: Sink) -> None:
        self.n_skipped = 0
        self.has_measured = False
        self.prefix = ""
        self._model = weakref.ref(model, _forget)
        self._kinds, self._log_freq, self._sink = kinds, log_freq, sink
        self._counters: weakref.WeakKeyDictionary[Any, _Counter] = weakref.WeakKeyDictionary()
        self._waiting: deque[_Waiting] = deque()
        self._has_failed = self._has_stepped = self._has_others = False

    def is_of(self, model: Any) -> bool:
        """Say whether this watches a model."""
        return self._model() is model

    def is_gone(self) -> bool:
        """Say whether the model is no more."""
        return self._model() is None

    def step(self, optimizer: Any) -> None:
        """Count a step of an optimizer, and log it where its turn has come."""
        if self._has_failed:
            return
        counter = self._counters.get(optimizer)
        if counter is None:
            counter = self._counters[optimizer] = _Counter(self._kinds)
            self._has_stepped = True
        n_before = counter.n_steps
        counter.n_steps += 1
        is_due = n_before % self._log_freq == 0
        if not (is_due or self._waiting):
            return
        self._has_failed = True  # unless this comes to its end: one fault is said once
        self.collect()
        if is_due:
            self._log(optimizer, counter, n_before)
        self._has_failed = False

    def _log(self, optimizer: Any, counter: _Counter, n_before: int) -> None:
        model = self._model()
        if model is None or (
            torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        ):
            return
        destination = self._sink.destination()
        if destination is None:
            return
        if len(self._waiting) >= _MAX_WAITING:
            self.n_skipped += 1
            return
        tensors = _trained(model, optimizer)
        self._has_others = not tensors
        scale = getattr(optimizer, "grad_scale", None)  # of a GradScaler, for fused optimizers
        parts = []
        for kind in self._kinds:
            is_gradients = kind == "gradients"
            found = [(name, p.grad if is_gradients else p) for name, p in tensors]
            names, values, segments = _series([(n, dense(t)) for n, t in found if t is not None])
            if names:
                measurer = counter.measurers[kind]
                measured = measurer.measure(values, segments, scale if is_gradients else None)
                parts.append((kind, names, measured))
        if not parts:
            return
        self.has_measured = True
        if counter.run_id != destination.run_id:
            counter.run_id = destination.run_id
            counter.offset = destination.first_step - n_before
        step, at_ms = n_before + counter.offset, time.time_ns() // 1_000_000
        self._waiting.append(_Waiting(destination, step, at_ms, parts, scale is not None))
        self.collect()

    def collect(self, wait_s: float = 0.0) -> None:
        """Hand over what has arrived.

        Args:
            wait_s: Seconds to wait for what has not.
        """
        give_up_s = time.monotonic() + wait_s
        while self._waiting:
            first = self._waiting[0]
            while not all(measured.is_ready() for _, _, measured in first.parts):
                if time.monotonic() >= give_up_s:
                    return
                time.sleep(_LOOK_S)
            self._waiting.popleft()
            readings = [
                Reading(
                    kind,
                    self.prefix,
                    first.step,
                    first.at_ms,
                    names,
                    measured.read(),
                    first.may_be_infinite,
                )
                for kind, names, measured in first.parts
            ]
            self._sink.take(first.destination, readings)

    def is_ending(self, run_id: str) -> None:
        """Say why there is nothing, where a run ends and nothing was measured."""
        model = self._model()
        if self.has_measured or self._has_failed or model is None:
            return
        if self._has_others:
            why = (
                "the optimizer changes none of the model's parameters: watch the model that is "
                "trained, after FSDP or another has wrapped it"
            )
        elif self._has_stepped:
            return  # none of its steps has been due in a run
        elif any(kind.__module__.partition(".")[0] == "keras" for kind in type(model).__mro__):
            why = (
                "no optimizer of PyTorch's has stepped: Keras's own, which model.fit uses, are "
                "not seen"
            )
        else:
            why = (
                "no step of an optimizer of PyTorch's was seen: one that torch.compile has "
                "compiled is not, nor is DeepSpeed's own"
            )
        self._sink.saw_nothing(run_id, why)

    def start_afresh(self) -> None:
        """In a forked child, leave to the parent what is on its way."""
        self._waiting.clear()
        self._sink.start_afresh()


def _trained(model: Any, optimizer: Any) -> list[tuple[str, Any]]:
    """Return the model's parameters that an optimizer changes, each once, by plain names."""
    owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    is_wrapped = type(model).__name__ in _WRAPPING or any(
        type(part).__name__ in _WRAPPING for part in model.modules()
    )
    found: list[tuple[str, Any]] = []
    seen: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in owned and parameter.requires_grad:
            name = plain(name, is_wrapped=is_wrapped)
            seen[name] = seen.get(name, 0) + 1
            found.append((name if seen[name] == 1 else f"{name}-{seen[name]}", parameter))
    return found


_WRAPPING = frozenset(
    {
        "CheckpointWrapper",
        "DataParallel",
        "DistributedDataParallel",
        "FullyShardedDataParallel",
        "OptimizedModule",
    }
)


def _series(tensors: list[tuple[str, Any]]) -> tuple[list[str], list[Any], list[int]]:
    """Return names of series, and tensors in their order with the series of each."""
    groups: dict[tuple[str, Any, bool], list[Any]] = {}
    for name, (_, tensor) in zip(grouped([name for name, _ in tensors]), tensors, strict=True):
        if tensor.numel():
            key = (name, tensor.device, tensor.dtype == torch.float64)
            groups.setdefault(key, []).append(tensor)
    names: list[str] = []
    for name, device, is_wide in groups:
        if name in names:  # taken together, but of several devices or types
            name = plain(f"{name}-{device}{'-f64' if is_wide else ''}", is_wrapped=False)
        names.append(name)
    values = [tensor for group in groups.values() for tensor in group]
    segments = [i for i, group in enumerate(groups.values()) for _ in group]
    return names, values, segments


_watches: list[Watch] = []
_handles: list[Any] = []


def begin(model: Any, log: str, log_freq: int, sink: Sink) -> Watch:
    """Watch a model; anew where it is watched already.

    Args:
        model: A ``torch.nn.Module``.
        log: One of ``KINDS``.
        log_freq: Every so many steps of an optimizer.
        sink: Takes what is measured.
    """
    end(model)
    watch = Watch(model, KINDS[log], log_freq, sink)
    taken = {one.prefix for one in _watches}
    number = 0
    while watch.prefix in taken:
        number += 1
        watch.prefix = f"graph_{number}."
    _watches.append(watch)
    if not _handles:
        _handles.append(register_optimizer_step_pre_hook(_before_step))
        _handles.append(register_optimizer_step_post_hook(_after_step))
    return watch


def end(model: Any = None) -> list[Watch]:
    """Watch a model no more, or none; hand over what is on its way; return what was watched."""
    ended = [watch for watch in _watches if model is None or watch.is_of(model)]
    for watch in ended:
        _watches.remove(watch)
        watch.collect(_WAIT_S)
    if not _watches:
        while _handles:
            _handles.pop().remove()
    return ended


def collect(run_id: str) -> None:
    """Hand over what is on its way, waiting a moment for it: a run is about to end."""
    for watch in list(_watches):
        watch.collect(_WAIT_S)
        watch.is_ending(run_id)


def _before_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    if not _has_closure(args, kwargs):
        _count(optimizer)


def _after_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    if _has_closure(args, kwargs):
        _count(optimizer)


def _has_closure(args: Any, kwargs: Any) -> bool:
    """Say whether ``step`` was given a closure; ``args`` begin with the optimizer."""
    return (len(args) > 1 and callable(args[1])) or callable(kwargs.get("closure"))


def _count(optimizer: Any) -> None:
    if not torch.compiler.is_compiling():
        for watch in list(_watches):
            _count_for(watch, optimizer)


@never_raises(None)
def _count_for(watch: Watch, optimizer: Any) -> None:
    watch.step(optimizer)


def _forget(_: Any) -> None:
    """Let go of models that are gone."""
    for watch in list(_watches):
        if watch.is_gone():
            _watches.remove(watch)
            _hand_over(watch)


@never_raises(None)
def _hand_over(watch: Watch) -> None:
    watch.collect()


def _start_afresh() -> None:
    for watch in _watches:
        watch.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
