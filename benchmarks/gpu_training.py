"""A training on a GPU, bare, with Weir and with Weights & Biases: what all of it costs a step.

    python benchmarks/gpu_training.py [--json FILE] [--steps 1500] [--repeats 3]

Needs PyTorch with CUDA, MLflow and Weir; wandb (offline) is measured where it is installed. Each
way is a process of its own, in turn, so that a machine that warms up favours none. All log 20
metrics a step; with Weir everything that it captures is on, hardware each second, and afterwards
its readings are held against ``nvidia-smi``'s of the same seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WAYS = ("bare", "Weir", "Weir, watch", "wandb", "wandb, watch")
LOG_FREQ = 100
READINGS = {
    "system/gpu_0_utilization_percentage": "utilization.gpu",
    "system/gpu_0_memory_usage_megabytes": "memory.used",
    "system/gpu_0_power_usage_watts": "power.draw",
    "system/gpu_0_temperature_celsius": "temperature.gpu",
    "system/gpu_0_sm_clock_mhz": "clocks.sm",
}
"""Weir's metrics and the fields of ``nvidia-smi``, which gives memory in MiB, without its own."""

Log = Callable[[dict[str, float], int], Any]


def train(way: str, steps: int) -> dict[str, Any]:
    """Train a perceptron of 12 layers in one of the ways; return what it took."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in (nn.Linear(2048, 2048), nn.GELU())]
    model = nn.Sequential(*layers, nn.Linear(2048, 10)).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    x = torch.randn(4096, 2048, device="cuda")
    y = torch.randint(0, 10, (4096,), device="cuda")

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    with _smi() as read, _logging(way, model) as (log, facts):
        for _ in range(LOG_FREQ + 20):  # what the first logged step sets up is not a step's cost
            step()
        torch.cuda.synchronize()
        began_s, cpu_s = time.perf_counter(), time.process_time()
        last = 0.0
        for number in range(steps):
            loss = step()
            if number % 50 == 0:
                last = loss.item()
                print(f"step {number} loss {last:.4f}", flush=True)
            log({f"metric_{k}": last + k for k in range(20)}, number)
        torch.cuda.synchronize()
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return {
        "ms": 1000 * took_s / steps,
        "cpu_ms": 1000 * cpu_s / steps,
        "smi": read,
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        **facts,
    }


@contextlib.contextmanager
def _smi() -> Iterator[list[list[float]]]:
    """Read ``nvidia-smi`` twice a second meanwhile: seconds since the epoch, then the fields."""
    fields = ",".join(READINGS.values())
    command = [
        "nvidia-smi",
        f"--query-gpu={fields}",
        "--format=csv,noheader,nounits",
        "-lms",
        "500",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    found: list[list[float]] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                found.append([time.time(), *map(float, line.split(","))])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield found
    finally:
        process.terminate()
        process.wait()
        reader.join()


@contextlib.contextmanager
def _logging(way: str, model: Any) -> Iterator[tuple[Log, dict[str, Any]]]:
    """Give what logs a step, and facts that are there once the run has ended."""
    facts: dict[str, Any] = {}
    is_watched = way.endswith("watch")
    if way.startswith("Weir"):
        import mlflow

        import mlflow_weir

        mlflow.set_experiment("gpu")
        with mlflow.start_run() as run:
            if is_watched:
                mlflow_weir.watch(model, log="all", log_freq=LOG_FREQ)
            yield lambda values, step: mlflow.log_metrics(values, step=step), facts
        mlflow_weir.finish()
        client = mlflow.MlflowClient()
        facts["readings"] = {
            key: [
                [point.timestamp / 1000, point.value]
                for point in client.get_metric_history(run.info.run_id, key)
            ]
            for key in READINGS
        }
        metrics = client.get_run(run.info.run_id).data.metrics
        facts["n_metrics"] = {
            kind: sum(key.startswith(kind) for key in metrics)
            for kind in ("system/", "gradients/", "parameters/")
        }
    elif way.startswith("wandb"):
        import wandb

        with tempfile.TemporaryDirectory() as folder:
            run = wandb.init(mode="offline", dir=folder, project="gpu")
            if is_watched:
                run.watch(model, log="all", log_freq=LOG_FREQ)
            yield lambda values, step: run.log(values, step=step), facts
            run.finish()
        facts["wandb"] = wandb.__version__
    else:
        yield lambda values, step: None, facts


def compare(steps: int, repeats: int) -> dict[str, Any]:
    """Train in each way, in turn; return each way's figures."""
    ways = [way for way in WAYS if "wandb" not in way or importlib.util.find_spec("wandb")]
    rows: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"weir://{folder}/store",
            "WEIR_SPOOL": f"{folder}/spool",
            "WEIR_HARDWARE_INTERVAL_SECONDS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "WANDB_SILENT": "true",
        }
        for _ in range(repeats):
            for way in ways:
                out = Path(folder, "one.json")
                command = [sys.executable, __file__, "--way", way, "--steps", str(steps)]
                done = subprocess.run(
                    [*command, "--json", str(out)],
                    env=environment, capture_output=True, text=True, timeout=120, check=False,
                )  # fmt: skip
                if done.returncode:
                    print(way, "failed:", done.stderr[-2000:], file=sys.stderr)
                    continue
                rows[way].append(json.loads(out.read_text()))
                print(f"{way:12} {rows[way][-1]['ms']:.3f} ms a step", flush=True)
    return {"at_s": time.time(), "steps": steps, "rows": rows}


def main() -> None:
    """Train in one way, or compare them all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=WAYS)
    asked = parser.parse_args()
    if asked.way:
        found = train(asked.way, asked.steps)
    else:
        found = compare(asked.steps, asked.repeats)
        for way, runs in found["rows"].items():
            times = [one["ms"] for one in runs]
            if times:
                print(f"{way:12} median {statistics.median(times):.3f}, least {min(times):.3f}")
    if asked.json:
        asked.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
