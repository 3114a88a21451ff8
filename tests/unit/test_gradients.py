"""What is watched of a model: each way of training it that people use, on a real optimizer."""

from __future__ import annotations

import copy
import gc
import pickle
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from torch_here import torch

if True:  # after torch is known to be there
    from torch.optim import optimizer as optimizers
    from torch.utils._python_dispatch import TorchDispatchMode

    from mlflow_weir.plugin.capture import gradients
    from mlflow_weir.plugin.capture.gradients import Destination, Reading
    from mlflow_weir.plugin.capture.tensor_statistics import Measurer

nn = torch.nn


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.place: Destination | None = Destination("a" * 32, 0, None)
        self.fails = False
        self.silences: list[tuple[str, str]] = []

    def destination(self) -> Destination | None:
        return self.place

    def take(self, destination: Destination, readings: list[Reading]) -> None:
        if self.fails:
            raise RuntimeError("a fault of ours")
        self.readings += readings

    def saw_nothing(self, run_id: str, why: str) -> None:
        self.silences.append((run_id, why))

    def start_afresh(self) -> None:
        """There is nothing to forget."""

    def steps(self) -> list[int]:
        return [reading.step for reading in self.readings]

    def last(self) -> dict[str, float]:
        """Return the norms of the last reading."""
        reading = self.readings[-1]
        return dict(zip(reading.names, reading.statistics.norm.tolist(), strict=True))


@pytest.fixture
def sink() -> Iterator[Kept]:
    torch.manual_seed(0)
    yield Kept()
    gradients.end()
    assert not optimizers._global_optimizer_pre_hooks
    assert not optimizers._global_optimizer_post_hooks


def small() -> Any:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def norms_of(model: Any) -> dict[str, float]:
    return {
        name: float(torch.linalg.vector_norm(p.grad.double()))
        for name, p in model.named_parameters()
        if p.grad is not None
    }


def loss_of(model: Any, seed: int = 0) -> Any:
    data = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    return model(data).square().mean()


def train(model: Any, optimizer: Any, n_steps: int) -> None:
    for step in range(n_steps):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()


@pytest.mark.parametrize("log", ["gradients", "parameters", "all"])
def test_every_so_many_steps_are_logged(sink: Kept, log: str) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    gradients.begin(model, log, 3, sink)
    train(model, optimizer, 7)
    kinds = ["gradients", "parameters"] if log == "all" else [log]
    assert [(r.kind, r.step) for r in sink.readings] == [(k, s) for s in (0, 3, 6) for k in kinds]
    assert sink.readings[0].names == [name for name, _ in model.named_parameters()]
    gradients.end(model)
    train(model, optimizer, 5)
    assert len(sink.readings) == 3 * len(kinds)


@pytest.mark.parametrize("kind", ["sgd", "nesterov", "adam", "rmsprop", "lbfgs"])
def test_the_gradients_are_those_that_the_optimizer_gets(sink: Kept, kind: str) -> None:
    model = small()
    made: dict[str, Any] = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1),
        "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, foreach=True),
        "adam": torch.optim.Adam,
        "rmsprop": torch.optim.RMSprop,
        "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.01, max_iter=3),
    }
    optimizer = made[kind](model.parameters())
    gradients.begin(model, "gradients", 1, sink)
    for step in range(2):
        wanted = {}

        def closure(step: int = step) -> Any:
            nonlocal wanted
            optimizer.zero_grad()
            loss = loss_of(model, step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            wanted = norms_of(model)
            return loss

        if kind == "lbfgs":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        assert sink.last() == pytest.approx(wanted, rel=1e-5)
        whole = np.sqrt(sum(norm**2 for norm in sink.last().values()))
        assert whole <= 0.0501


def test_a_closure_that_computes_the_gradients_inside(sink: Kept) -> None:
    """As Lightning trains: before the step there is no gradient, or the one before."""
    model = small()
    optimizer = torch.optim.Adam(model.parameters())
    gradients.begin(model, "gradients", 1, sink)
    for step in range(3):

        def closure(step: int = step) -> Any:
            optimizer.zero_grad()
            loss = loss_of(model, step)
            loss.backward()
            return loss

        optimizer.step(closure=closure)
        assert sink.last() == pytest.approx(norms_of(model), rel=1e-5)
    assert sink.steps() == [0, 1, 2]


def test_micro_batches_count_as_one(sink: Kept) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    gradients.begin(model, "gradients", 1, sink)
    for step in range(2):
        optimizer.zero_grad()
        for micro in range(4):
            loss_of(model, 10 * step + micro).backward()
        optimizer.step()
    assert sink.steps() == [0, 1]
    assert sink.last() == pytest.approx(norms_of(model), rel=1e-5)


@pytest.mark.parametrize("is_fused", [False, True])
def test_gradients_under_a_scaler_are_unscaled(sink: Kept, is_fused: bool) -> None:
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, fused=is_fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=1)
    gradients.begin(model, "gradients", 1, sink)
    loss_of(model).backward()
    wanted = norms_of(model)
    for _ in range(3):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        scaler.step(optimizer)
        scaler.update()
        assert sink.last() == pytest.approx(wanted, rel=1e-4)
    n = len(sink.readings)
    optimizer.zero_grad()
    scaler.scale(loss_of(model) * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    if is_fused:  # the optimizer itself finds out that it has to leave the step out
        assert sink.readings[-1].may_be_infinite
        assert len(sink.readings) == n + 1
    else:
        assert len(sink.readings) == n
        assert not sink.readings[-1].may_be_infinite


def test_shared_frozen_and_unused_parameters(sink: Kept) -> None:
    class Tied(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.frozen, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.frozen.requires_grad_(False)

        def forward(self, x: Any) -> Any:
            return self.frozen(self.second(self.first(x)))

    model = Tied()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    gradients.begin(model, "all", 1, sink)
    train(model, optimizer, 1)
    of_gradients, of_parameters = sink.readings
    assert of_gradients.names == ["first.weight", "first.bias", "second.bias"]
    assert of_parameters.names == [*of_gradients.names, "unused.weight", "unused.bias"]


def test_sparse_and_complex_gradients(sink: Kept) -> None:
    model = nn.ModuleDict({"table": nn.Embedding(20, 3, sparse=True)})
    model.register_parameter("wave", nn.Parameter(torch.randn(4, dtype=torch.complex64)))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    gradients.begin(model, "gradients", 1, sink)
    rows = model["table"](torch.tensor([1, 5, 5])).sum()
    (rows + (model.wave.abs() ** 2).sum()).backward()
    optimizer.step()
    found = dict(zip(sink.readings[0].names, sink.readings[0].statistics.n.tolist(), strict=True))
    assert found == {"wave": 8, "table.weight": 6}
    wanted = float(torch.linalg.vector_norm(model.wave.grad))
    assert sink.last()["wave"] == pytest.approx(wanted, rel=1e-5)


def test_two_optimizers_log_their_own_parameters_at_their_own_steps(sink: Kept) -> None:
    model, other = small(), small()
    first = torch.optim.SGD(model[0].parameters(), 0.1)
    second = torch.optim.SGD(model[2].parameters(), 0.1)
    unrelated = torch.optim.SGD(other.parameters(), 0.1)
    gradients.begin(model, "gradients", 2, sink)
    for step in range(4):
        loss_of(model, step).backward()
        loss_of(other, step).backward()
        first.step()
        unrelated.step()
        if step % 2:
            second.step()
    found = [(reading.names[0], reading.step) for reading in sink.readings]
    assert found == [("0.weight", 0), ("2.weight", 0), ("0.weight", 2)]


def test_a_second_model_gets_a_prefix_and_the_same_one_is_watched_anew(sink: Kept) -> None:
    one, two = small(), small()
    gradients.begin(one, "gradients", 1, sink)
    gradients.begin(two, "gradients", 1, sink)
    gradients.begin(one, "parameters", 1, sink)
    train(one, torch.optim.SGD(one.parameters(), 0.1), 1)
    train(two, torch.optim.SGD(two.parameters(), 0.1), 1)
    assert [(r.prefix, r.kind) for r in sink.readings] == [
        ("", "parameters"),
        ("graph_1.", "gradients"),
    ]


def test_a_watched_model_is_as_it_was(sink: Kept) -> None:
    model = small()
    before = {name: set(vars(part)) for name, part in model.named_modules()}
    state = list(model.state_dict())
    gradients.begin(model, "all", 1, sink)
    train(model, torch.optim.SGD(model.parameters(), 0.1), 2)
    assert {name: set(vars(part)) for name, part in model.named_modules()} == before
    assert list(model.state_dict()) == state
    assert all(not part._forward_hooks for part in model.modules())
    assert all(not p._backward_hooks for p in model.parameters())
    again, copied = pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
    n = len(sink.readings)
    for twin in (again, copied):  # which nobody asked to watch
        train(twin, torch.optim.SGD(twin.parameters(), 0.1), 1)
    assert len(sink.readings) == n


def test_a_model_that_is_gone_is_let_go(sink: Kept) -> None:
    model = small()
    gradients.begin(model, "gradients", 1, sink)
    assert len(gradients._watches) == 1
    del model
    gc.collect()
    assert gradients._watches == []


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model(sink: Kept, backend: str) -> None:
    model = small()
    compiled = torch.compile(model, backend=backend)
    optimizer = torch.optim.SGD(compiled.parameters(), 0.1)
    gradients.begin(compiled, "gradients", 1, sink)
    train(compiled, optimizer, 2)
    assert sink.readings[-1].names == [name for name, _ in model.named_parameters()]
    assert sink.last() == pytest.approx(norms_of(model), rel=1e-5)
    torch.compiler.reset()


def test_nowhere_to_log_to_costs_nothing(sink: Kept) -> None:
    model = small()
    sink.place = None
    gradients.begin(model, "gradients", 1, sink)
    train(model, torch.optim.SGD(model.parameters(), 0.1), 3)
    assert sink.readings == []
    # A run that begins later begins at its own first step.
    sink.place = Destination("b" * 32, 40, None)
    train(model, torch.optim.SGD(model.parameters(), 0.1), 2)
    assert sink.steps() == [40, 41]


@pytest.mark.expects_internal_errors
def test_a_fault_of_ours_does_not_reach_the_training(
    sink: Kept, internal_errors: list[Exception]
) -> None:
    model = small()
    gradients.begin(model, "gradients", 1, sink)
    sink.fails = True
    train(model, torch.optim.SGD(model.parameters(), 0.1), 5)
    assert [str(error) for error in internal_errors] == ["a fault of ours"]  # said once
    assert sink.readings == []


class Transfers(TorchDispatchMode):  # type: ignore[misc]
    """Counts what would wait for a device, were there one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(word in name for word in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_tensor_by_tensor_on_a_device(monkeypatch: Any) -> None:
    """On the way of devices, taken here on the CPU: one copy to the host, and no other read."""
    from mlflow_weir.plugin.capture import fused_statistics

    copies: list[Any] = []
    to_host = fused_statistics._to_host

    def counted(packed: Any) -> Any:
        copies.append(packed)
        return to_host(packed)

    monkeypatch.setattr(fused_statistics, "_to_host", counted)
    measurer, tensors = Measurer(fuses_on_cpu=True), [torch.randn(7, 50) for _ in range(40)]
    for _ in range(2):
        with Transfers() as transfers:
            measured = measurer.measure(tensors, list(range(40)))
        assert transfers.found == []
        assert measured.read().n.sum() == 40 * 350
    assert len(copies) == 2


def test_memory_stays_flat(sink: Kept) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    gradients.begin(model, "all", 1, sink)

    def some_steps() -> int:
        train(model, optimizer, 60)
        sink.readings.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        some_steps()
        before = some_steps()
        assert some_steps() - before < 50_000
    finally:
        tracemalloc.stop()


RANK = """
import os, sys, torch, torch.distributed as dist
from torch import nn
from mlflow_weir.plugin.capture import gradients
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{sys.argv[2]}", rank=rank,
                        world_size=2)
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
class Sink:
    def destination(self):
        return gradients.Destination("a" * 32, 0, None)
    def take(self, destination, readings):
        (reading,) = readings
        print(reading.step, reading.names, [round(x, 3) for x in reading.statistics.norm.tolist()])
gradients.begin(model, "gradients", 2, Sink())
for step in range(3):
    optimizer.zero_grad()
    model(torch.full((1, 4), float(1 + rank + step))).sum().backward()
    optimizer.step()
gradients.end()

from torch.distributed.fsdp import fully_shard
sharded = nn.Linear(4, 2)
fully_shard(sharded, mesh=dist.init_device_mesh("cpu", (2,)))
optimizer = torch.optim.SGD(sharded.parameters(), 0.1)
gradients.begin(sharded, "gradients", 1, Sink())
sharded(torch.full((1, 4), float(1 + rank))).sum().backward()
optimizer.step()
gradients.end()
dist.destroy_process_group()
"""


def test_a_run_that_ends_with_nothing_measured_says_why(sink: Kept) -> None:
    keras: Any = type("Model", (nn.Linear,), {"__module__": "keras.src.models.model"})(2, 1)
    unseen, replaced, due_later = nn.Linear(2, 1), nn.Linear(2, 1), nn.Linear(2, 1)
    for model in (keras, unseen):
        gradients.begin(model, "gradients", 1, sink)
    gradients.collect("r")
    assert [run_id for run_id, _ in sink.silences] == ["r", "r"]
    of_keras, of_unseen = (why for _, why in sink.silences)
    assert "Keras's own" in of_keras
    assert "torch.compile" in of_unseen
    sink.silences.clear()
    gradients.end()
    gradients.begin(replaced, "gradients", 1, sink)
    torch.optim.SGD(unseen.parameters(), 0.1).step()
    gradients.collect("r")
    ((_, why),) = sink.silences
    assert "changes none of the model's parameters" in why
    sink.silences.clear()
    gradients.end()
    sink.place = None  # no run, where its turn has come
    gradients.begin(due_later, "gradients", 100, sink)
    torch.optim.SGD(due_later.parameters(), 0.1).step()
    gradients.collect("r")
    assert sink.silences == []


def test_each_process_of_ddp_sees_the_reduced_gradients() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(port)], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    first, second = (rank.communicate(timeout=400)[0] for rank in ranks)
    assert first == second
    # The mean of inputs 1 and 2, then of 3 and 4: for each of two outputs four weights of it.
    assert first.splitlines() == [
        f"0 ['weight', 'bias'] {[round(1.5 * 8**0.5, 3), round(2**0.5, 3)]}",
        f"2 ['weight', 'bias'] {[round(3.5 * 8**0.5, 3), round(2**0.5, 3)]}",
        f"0 ['weight', 'bias'] {[1.5 * 2, 1.0]}",  # of one of the two outputs, each its own
    ]
