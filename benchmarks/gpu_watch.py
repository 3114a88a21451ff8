"""What ``mlflow_weir.watch`` costs on a GPU: ``python benchmarks/gpu_watch.py [--json FILE]``.

Needs torch with CUDA and NumPy; neither MLflow nor anything of Weir's has to be installed. Times
training steps bare, watched, and with per-tensor hooks that do what ``wandb.watch`` does (for each
gradient isfinite, min and max read one by one, a copy to the CPU and its histogram there); counts
how often the host waits for the device; and compares every figure with torch's own. The sink
writes the records that the journal would get, and drops them. Takes under a minute.

Bare steps are timed between all others, because such machines are not steady; each way has logged
two steps before it is timed. A block is timed as a whole, device included, and each of its steps
as long as the host is busy with it. What throttles a container's processors, and Python's garbage
collector, are said beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

_ROOT = Path(__file__).resolve().parent.parent
_FREQUENCIES = (1, 10, 100)
_BARE_STEPS = 10
_SYNCS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


@contextlib.contextmanager
def _package() -> Iterator[None]:
    """Make ``mlflow_weir`` importable from this tree where it is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "mlflow_weir"
        package.mkdir()
        for path in [
            *(_ROOT / "plugin" / "_root").glob("*.py"),
            _ROOT / "plugin",
            _ROOT / "store",
        ]:
            (package / path.name).symlink_to(path)
        sys.path.insert(0, folder)
        yield


class _Block(nn.Module):  # type: ignore[misc]
    """A residual block of two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Any) -> Any:
        return torch.relu(x + self.norm2(self.second(torch.relu(self.norm(self.first(x))))))


def _mlp() -> tuple[Any, Any]:
    model = nn.Sequential(
        nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    return model, (256, 256)  # fmt: skip


def _cnn() -> tuple[Any, Any]:
    blocks = [_Block(128) for _ in range(24)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    return nn.Sequential(nn.Conv2d(3, 128, 3, padding=1), *blocks, *head), (32, 3, 32, 32)


def _transformer() -> tuple[Any, Any]:
    layer = nn.TransformerEncoderLayer(768, 12, 3072, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 12, enable_nested_tensor=False), (8, 256, 768)


_MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "MLP, 6 tensors": _mlp,
    "CNN, 50 layers": _cnn,
    "transformer, 12 layers": _transformer,
}


class _Training:
    """A model with its optimizer and data on the device."""

    def __init__(self, build: Callable[[], tuple[Any, Any]]) -> None:
        torch.manual_seed(0)
        self.model, shape = build()
        self.model.cuda()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.data = torch.randn(shape, device="cuda")

    def step(self) -> None:
        self.optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = self.model(self.data).float().square().mean()
        loss.backward()
        self.optimizer.step()


class _Sink:
    """Writes what the journal would get."""

    def __init__(self) -> None:
        self.n_bytes = self.n_steps = 0
        self.readings: list[Any] = []
        self.is_keeping = False

    def destination(self) -> Any:
        from mlflow_weir.plugin.capture.gradients import Destination

        return Destination("0" * 32, 0, None)

    def saw_nothing(self, run_id: str, why: str) -> None:
        raise AssertionError(f"nothing was measured: {why}")

    def start_afresh(self) -> None:
        """There is nothing to forget."""

    def take(self, destination: Any, readings: list[Any]) -> None:
        from mlflow_weir.store.delivery import records
        from mlflow_weir.store.histograms.encoding import Table, encode

        self.n_steps += 1
        if self.is_keeping:
            self.readings += readings
        for reading in readings:
            found, n = reading.statistics, len(reading.names)
            columns = [getattr(found, c).tolist() for c in ("norm", "mean", "std", "low", "high")]
            points = [
                (f"{reading.kind}/{name}/{number}", reading.at_ms, reading.step, column[i])
                for i, name in enumerate(reading.names)
                for number, column in enumerate(columns)
            ]
            self.n_bytes += len(records.encode_points(destination.run_id, points))
            steps = np.full(n, reading.step)
            table = Table(
                reading.kind, tuple(reading.names), np.arange(n), steps, steps, found.norm,
                found.first, found.last, found.n_nan, found.n_inf, found.counts,
            )  # fmt: skip
            self.n_bytes += len(encode(table))


@contextlib.contextmanager
def _watched(training: _Training, log_freq: int, sink: _Sink) -> Iterator[None]:
    from mlflow_weir.plugin.capture import gradients

    gradients.begin(training.model, "gradients", log_freq, sink)
    try:
        yield
    finally:
        gradients.end(training.model)


@contextlib.contextmanager
def _hooked(training: _Training, log_freq: int) -> Iterator[None]:
    """Do for each gradient what wandb.watch does, each ``log_freq``-th backward pass."""
    handles = []

    def hook(counter: list[int]) -> Callable[[Any], None]:
        def look(gradient: Any) -> None:
            counter[0] += 1
            if counter[0] < log_freq:
                return
            counter[0] = 0
            flat = gradient.detach().float().reshape(-1)
            if not torch.isfinite(flat).all().item():
                flat = flat[torch.isfinite(flat)]
            low, high = flat.min().item(), flat.max().item()
            flat.cpu().histc(64, low, high).tolist()

        return look

    for parameter in training.model.parameters():
        handles.append(parameter.register_hook(hook([log_freq - 1])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Times:
    """Blocks of steps of one way.

    Attributes:
        blocks: Seconds a step of each block, until the device had done them.
        logged: Seconds that the host was busy with each step that was logged.
        others: The same of each that was not.
    """

    def __init__(self) -> None:
        self.blocks: list[float] = []
        self.logged: list[float] = []
        self.others: list[float] = []

    def take(self, training: _Training, n_steps: int, is_logged: Callable[[int], bool]) -> None:
        """Time a block."""
        torch.cuda.synchronize()
        start_s = before_s = time.perf_counter()
        for number in range(n_steps):
            training.step()
            now_s = time.perf_counter()
            (self.logged if is_logged(number) else self.others).append(now_s - before_s)
            before_s = now_s
        torch.cuda.synchronize()
        self.blocks.append((time.perf_counter() - start_s) / n_steps)


def _counted(training: _Training) -> dict[str, int]:
    """Count in one step what the host waits for, what it copies, and kernels it starts."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        training.step()
    found = {event.key: event.count for event in profiled.key_averages()}
    waits = sum(found.get(name, 0) for name in _SYNCS)  # one is the profiler's own
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            training.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    warned = sum("synchroniz" in str(one.message) for one in caught)
    return {
        "waits": waits,
        "warned": warned,
        "to_host": found.get("Memcpy DtoH (Device -> Pageable)", 0)
        + found.get("Memcpy DtoH (Device -> Pinned)", 0),
        "launches": found.get("cudaLaunchKernel", 0),
        "items": found.get("aten::item", 0) + found.get("aten::_local_scalar_dense", 0),
    }


def _measure(name: str, build: Callable[[], tuple[Any, Any]], rounds: int) -> list[dict[str, Any]]:
    training = _Training(build)
    n_tensors = len(list(training.model.parameters()))
    n_values = sum(parameter.numel() for parameter in training.model.parameters())
    sink = _Sink()
    ways: list[tuple[str, int, Callable[[], Any]]] = []
    for log_freq in _FREQUENCIES:
        ways.append(("watch", log_freq, partial(_watched, training, log_freq, sink)))
        ways.append(("hooks", log_freq, partial(_hooked, training, log_freq)))
    for _ in range(10):
        training.step()
    times: dict[tuple[str, int], _Times] = {("bare", 0): _Times()}
    for number in range(rounds):
        for way, log_freq, context in ways if number % 2 == 0 else reversed(ways):
            if log_freq == 100 and number:
                continue  # takes seconds
            times["bare", 0].take(training, _BARE_STEPS, lambda _: False)
            with context():
                # The first step is logged, and then each log_freq-th.
                for _ in range(2 * log_freq if log_freq <= 10 else 1):
                    training.step()
                first = 0 if log_freq <= 10 else log_freq - 1
                timed = times.setdefault((way, log_freq), _Times())
                n_steps = max(log_freq, 5 if way == "hooks" else 10)
                timed.take(training, n_steps, partial(_is_logged, log_freq, first))
    bare_s = statistics.median(times["bare", 0].blocks)
    rows = []
    for way, log_freq, context in [("bare", 0, contextlib.nullcontext), *ways]:
        timed = times[way, log_freq]
        step_s = statistics.median(timed.blocks)
        row: dict[str, Any] = {
            "model": name,
            "tensors": n_tensors,
            "values": n_values,
            "way": way,
            "log_freq": log_freq,
            "step_ms": 1000 * step_s,
            "mean_ms": 1000 * statistics.mean(timed.blocks),
            "blocks_ms": [round(1000 * one, 3) for one in timed.blocks],
            "slower_percent": 100 * (step_s / bare_s - 1),
            "logged_step_costs_ms": _cost_ms(timed, step_s - bare_s),
            "host_logged_ms": _middle_ms(timed.logged),
            "host_others_ms": _middle_ms(timed.others),
            "slowest_ms": 1000 * max(timed.logged + timed.others),
        }
        if log_freq <= 1:
            with context():
                for _ in range(3):
                    training.step()
                row |= _counted(training)
                row["device_ms"] = _device_ms(training)
        rows.append(row)
    return rows


def _is_logged(log_freq: int, first: int, number: int) -> bool:
    return (number - first) % log_freq == 0


def _cost_ms(timed: _Times, slower_s: float) -> float | None:
    """Return what a logged step costs more than others that are timed among them.

    A block of many that are not logged says less: it differs by more from the next one.
    """
    if timed.logged and timed.others:
        return 1000 * (statistics.median(timed.logged) - statistics.median(timed.others))
    return 1000 * slower_s if timed.logged else None


def _middle_ms(seconds: list[float]) -> float | None:
    return 1000 * statistics.median(seconds) if seconds else None


def _device_ms(training: _Training) -> float:
    """Return how long the device computes in a step, whatever it waits for between kernels."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        training.step()
        torch.cuda.synchronize()
    return float(sum(event.self_device_time_total for event in profiled.key_averages())) / 1000


def _differences(reading: Any, gradients: dict[str, Any]) -> list[str]:
    """Compare what was measured with what torch says; return what differs."""
    wrong = []
    for i, name in enumerate(reading.names):
        values = gradients[name].detach().double().reshape(-1)
        finite = values[torch.isfinite(values)]
        found = reading.statistics
        said = {
            "n": (int(found.n[i]), values.numel()),
            "nan": (int(found.n_nan[i]), int(values.isnan().sum())),
            "inf": (int(found.n_inf[i]), int(values.isinf().sum())),
            "counts": (int(found.counts[i].sum()), finite.numel()),
        }
        wrong += [f"{name} {what}: {a} and not {b}" for what, (a, b) in said.items() if a != b]
        if not finite.numel():
            continue
        scale = float(finite.abs().max()) or 1.0
        reals = {
            "norm": (
                found.norm[i],
                torch.linalg.vector_norm(finite),
                scale * finite.numel() ** 0.5,
            ),
            "mean": (found.mean[i], finite.mean(), scale),
            "std": (found.std[i], finite.std(correction=0), scale),
            "low": (found.low[i], finite.min(), scale),
            "high": (found.high[i], finite.max(), scale),
        }
        for what, (a, b, size) in reals.items():
            if abs(float(a) - float(b)) > 2e-6 * size:
                wrong.append(f"{name} {what}: {float(a)} and not {float(b)}")
        first, last = float(found.first[i]), float(found.last[i])
        edges = torch.linspace(first, last, 65, dtype=torch.float64, device="cuda")[1:-1]
        ordered = finite.clamp(first, last).sort().values
        below = torch.from_numpy(np.cumsum(found.counts[i])[:-1]).cuda()
        # A value on an edge, as float32 has it, may be counted on either side: of bfloat16 there
        # are hundreds that equal it. None may be elsewhere.
        near = 1e-6 * max(abs(first), abs(last))
        least = torch.searchsorted(ordered, edges - near)
        most = torch.searchsorted(ordered, edges + near, right=True)
        moved = int(torch.maximum(least - below, below - most).max())
        if moved > 0:
            wrong.append(f"{name} histogram: {moved} of {finite.numel()} values elsewhere")
    return wrong


def _check() -> dict[str, list[str]]:
    """Compare with torch in every mode; return what differs in each."""
    from mlflow_weir.plugin.capture.tensor_statistics import Measurer
    from mlflow_weir.plugin.capture.tensor_values import dense

    found: dict[str, list[str]] = {}

    def direct(name: str, tensors: dict[str, Any]) -> None:
        measured = Measurer().measure([dense(t) for t in tensors.values()], range(len(tensors)))
        reading = _Named(list(tensors), measured.read())
        found[name] = _differences(reading, tensors)

    generator = torch.Generator("cuda").manual_seed(1)

    def normal(*shape: int) -> Any:
        return torch.randn(shape, device="cuda", generator=generator)

    odd = normal(1000)
    odd[3], odd[5], odd[7] = float("nan"), float("inf"), float("-inf")
    tensors = {
        "matrix": normal(300, 700) * 1e-3,
        "large": normal(20_000_000) + 3,
        "ones": torch.ones(1_000_000, device="cuda"),
        "zeros": torch.zeros(20_000_000, device="cuda"),
        "small": normal(3),
        "odd": odd,
        "nothing finite": torch.full((4,), float("nan"), device="cuda"),
        "channels last": normal(8, 16, 3, 3).to(memory_format=torch.channels_last),
        "strided": normal(100, 100)[:, ::2],
        "outlier": torch.cat([normal(100_000), torch.tensor([1e8], device="cuda")]),
    }
    direct("float32", tensors)
    direct("bfloat16", {name: tensor.bfloat16() for name, tensor in tensors.items()})
    direct("float16", {name: tensor.clamp(-6e4, 6e4).half() for name, tensor in tensors.items()})
    direct("float64", {name: tensor.double() for name, tensor in tensors.items()})
    torch.use_deterministic_algorithms(True, warn_only=False)
    try:
        direct("deterministic", tensors)
    finally:
        torch.use_deterministic_algorithms(False)
    for is_fused in (False, True):
        found[f"AMP float16, GradScaler, {'fused' if is_fused else 'foreach'} Adam"] = _check_amp(
            is_fused
        )
    found["the watched transformer"] = _check_training()
    return found


class _Named:
    """As much of a reading as is compared."""

    def __init__(self, names: list[str], found: Any) -> None:
        self.names, self.statistics = names, found


def _check_amp(is_fused: bool) -> list[str]:
    """Compare what is logged under a GradScaler with the gradients divided by its scale."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)).cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, fused=is_fused)
    training = _Training(lambda: (model, (16, 64)))
    training.optimizer = optimizer
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    sink = _Sink()
    sink.is_keeping = True
    with _watched(training, 1, sink):
        with torch.autocast("cuda", torch.float16):
            loss = model(training.data).square().mean()
        scaler.scale(loss).backward()
        scale = scaler.get_scale()
        gradients = {name: p.grad.clone() / scale for name, p in model.named_parameters()}
        scaler.step(optimizer)
        scaler.update()
    if len(sink.readings) != 1:
        return [f"{len(sink.readings)} steps logged, not 1"]
    return _differences(sink.readings[0], gradients)


def _check_training() -> list[str]:
    training, sink = _Training(_transformer), _Sink()
    sink.is_keeping = True
    with _watched(training, 1, sink):
        training.step()
        gradients = {n: p.grad.clone() for n, p in training.model.named_parameters()}
    return _differences(sink.readings[0], gradients)


_COLUMNS = {
    "step_ms": ("Step", "{:.2f} ms"),
    "mean_ms": ("Mean", "{:.2f} ms"),
    "slower_percent": ("Slower", "{:+.1f} %"),
    "logged_step_costs_ms": ("A logged step costs", "{:+.1f} ms"),
    "host_logged_ms": ("Host, logged", "{:.2f} ms"),
    "host_others_ms": ("Host, not logged", "{:.2f} ms"),
    "slowest_ms": ("Slowest", "{:.1f} ms"),
    "device_ms": ("Device", "{:.2f} ms"),
    "waits": ("Waits", "{}"),
    "to_host": ("Copies to host", "{}"),
    "items": ("`item`", "{}"),
    "launches": ("Launches", "{}"),
}


def _table(rows: list[dict[str, Any]]) -> str:
    heads = ["Model", "Way", "Every", *(head for head, _ in _COLUMNS.values())]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in rows:
        cells = [f"{row['model']} ({row['values'] / 1e6:.1f} M values)", row["way"]]
        cells.append(str(row["log_freq"] or ""))
        for name, (_, form) in _COLUMNS.items():
            value = row.get(name)
            cells.append("" if value is None else form.format(value))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _throttled() -> dict[str, int]:
    """Return what a container's processors were held back since it began, where that is told."""
    for path in ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat"):
        with contextlib.suppress(OSError):
            pairs = (line.split() for line in Path(path).read_text().splitlines())
            return {key: int(value) for key, value in pairs if "throttled" in key}
    return {}


def main() -> int:
    """Measure, compare, print; return 1 where a figure is wrong or a watched step waits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--rounds", type=int, default=3, help="of each way")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here", file=sys.stderr)
        return 2
    start_s = time.monotonic()
    throttled, collections = _throttled(), gc.get_stats()[2]["collections"]
    with _package():
        wrong = _check()
        rows = []
        for name, build in _MODELS.items():
            rows += _measure(name, build, arguments.rounds)
    facts = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "processors": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "throttled": {key: value - throttled[key] for key, value in _throttled().items()},
        "full garbage collections": gc.get_stats()[2]["collections"] - collections,
        "seconds": round(time.monotonic() - start_s, 1),
    }
    print(_table(rows))
    print()
    bare = {row["model"]: row for row in rows if row["way"] == "bare"}
    for row in rows:
        if row["log_freq"] == 10:
            share = row["logged_step_costs_ms"] / bare[row["model"]]["step_ms"]
            print(f"{row['model']}: {row['way']} each 100 steps, by this, {share:+.2f} %")
    for name, differences in wrong.items():
        print(f"{name}: {'as torch has it' if not differences else '; '.join(differences[:5])}")
    print(json.dumps(facts))
    if arguments.json:
        content = {"facts": facts, "rows": rows, "differences": wrong}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    waits = [
        row["model"]
        for row in rows
        if row["way"] == "watch"
        and row["log_freq"] == 1
        and any(row[name] > bare[row["model"]][name] for name in ("waits", "warned", "items"))
    ]
    if waits:
        print(f"a watched step waits for the device: {', '.join(waits)}")
    return 1 if waits or any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
