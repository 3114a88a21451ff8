"""A training that is watched by one library: ``python watch_worker.py WAY MODEL LOG_FREQ STEPS``.

Prints the seconds of each step as JSON. Runs with the peers' interpreter, too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import torch
from torch import nn

_WARM_UP = 3
_WIDTH = 32


def _models() -> dict[str, Any]:
    mlp = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    cnn: list[Any] = [nn.Conv2d(3, _WIDTH, 3, padding=1)]
    for _ in range(48):
        cnn += [nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.BatchNorm2d(_WIDTH), nn.ReLU()]
    cnn += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_WIDTH, 10)]
    return {"MLP": (mlp, (128, 64)), "CNN": (cnn, (8, 3, 16, 16))}


def main() -> None:
    """Train and print."""
    way, name, log_freq, n_steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers, shape = _models()[name]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    data = torch.randn(shape)
    log = _begin(way, model, log_freq)
    times = []
    for step in range(_WARM_UP + n_steps):
        start_s = time.perf_counter()
        optimizer.zero_grad()
        loss = model(data).square().mean()
        loss.backward()
        optimizer.step()
        log(loss.item(), step)
        times.append(time.perf_counter() - start_s)
    print(json.dumps(times[_WARM_UP:]), file=answers, flush=True)


def _begin(way: str, model: Any, log_freq: int) -> Any:
    """Begin a run that watches the model; return what logs a loss."""
    if way == "wandb":
        import wandb

        run = wandb.init(project="benchmark", mode="offline")
        wandb.watch(model, log="gradients", log_freq=log_freq)
        return lambda loss, step: run.log({"loss": loss})
    import mlflow

    mlflow.set_experiment("benchmark")
    mlflow.start_run()
    if way == "weir":
        import mlflow_weir

        mlflow_weir.watch(model, log="gradients", log_freq=log_freq)
    return lambda loss, step: mlflow.log_metric("loss", loss, step=step)


if __name__ == "__main__":
    main()
