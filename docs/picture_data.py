"""The project that the documentation's pictures show: a sweep over an image classifier.

Made up, and the same each time but for the clock: it ends at the present moment, so that pages say
"2 days ago" and a run is running.
"""

from __future__ import annotations

import io
import json
import math
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from PIL import Image, ImageDraw

from mlflow_weir.store.alerts.alerts import Alert
from mlflow_weir.store.console import writing
from mlflow_weir.store.console.lines import Line
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.histograms import writing as histograms
from mlflow_weir.store.histograms.encoding import BINS, Table
from mlflow_weir.store.metrics.points import Series, history_order
from mlflow_weir.store.tracking_store import WeirStore
from workspace_data import SeededRun, write_runs

N_STEPS, STEPS_AN_EPOCH = 2_400, 120
_MS_A_STEP = 1_500
_SAMPLE_MS = 15_000
_HOUR_MS = 3_600_000
MODELS = {"resnet18": (0.62, 64, 11), "resnet50": (0.50, 64, 24), "convnext": (0.38, 32, 29)}
"""The loss each comes down to, its batch size, and the GiB of GPU memory it takes."""
RATES = {"1e-4": 0.22, "3e-4": 0.07, "1e-3": 0.0, "1e-2": 0.5}
"""By how much the loss ends higher with each learning rate."""
CLASSES = ("daisy", "dandelion", "rose", "sunflower", "tulip")
COMMIT = "4c1f0e9b27d83a5566a1c0d94be7f8123a9d60c5"
NOTE = """**Best of the sweep so far.** The cosine schedule with 5 epochs of warm-up pays off from
epoch 12 on; *tulip* and *rose* are still confused in dim light.

- [x] three seeds agree within 0.4 points
- [ ] try label smoothing 0.1
"""
PATCH = """diff --git a/flowers/train.py b/flowers/train.py
index 8c3d2f1..b7a4e90 100644
--- a/flowers/train.py
+++ b/flowers/train.py
@@ -41,9 +41,12 @@ def train(model, loader, config):
     optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
-    schedule = StepLR(optimizer, step_size=10)
+    schedule = warm_up_then_cosine(
+        optimizer, warm_up=5 * len(loader), total=config.epochs * len(loader)
+    )
     for epoch in range(config.epochs):
         for images, labels in loader:
-            loss = criterion(model(images), labels)
+            with torch.autocast("cuda", dtype=torch.bfloat16):
+                loss = criterion(model(images.cuda()), labels.cuda())
             loss.backward()
             optimizer.step()
diff --git a/conf/sweep.yaml b/conf/sweep.yaml
index 2b91c04..e03f7da 100644
--- a/conf/sweep.yaml
+++ b/conf/sweep.yaml
@@ -3,5 +3,6 @@ model: [resnet18, resnet50, convnext]
 lr: [1e-4, 3e-4, 1e-3, 1e-2]
-epochs: 15
+epochs: 20
+warm_up_epochs: 5
 data:
   root: /data/flowers
"""


@dataclass(frozen=True)
class Project:
    """What ``seed_project`` wrote.

    Attributes:
        experiment_id: Of the sweep.
        name: Of it.
        run_ids: In order of start.
        best: The run with everything on its page.
        failed: One that ran out of memory.
        empty_id: An experiment without a run.
    """

    experiment_id: str
    name: str
    run_ids: list[str]
    best: str
    failed: str
    empty_id: str


def seed_project(store: WeirStore, artifacts: Path) -> Project:
    """Write the experiments, and artifacts below the server's artifact destination."""
    random = np.random.default_rng(20)
    now_ms = int(time.time() * 1_000)
    settings = [(model, rate, seed) for rate in RATES for model in MODELS for seed in (0, 1)]
    name = "flowers-sweep"
    experiment_id = store.create_experiment(name)
    first_ms = now_ms - 52 * _HOUR_MS
    runs = [
        _run(random, model, rate, seed, first_ms + at * int(2.2 * _HOUR_MS))
        for at, (model, rate, seed) in enumerate(settings)
    ]
    best_at = settings.index(("convnext", "1e-3", 0))
    failed_at = settings.index(("convnext", "1e-2", 0))
    runs[failed_at] = _ended(
        runs[failed_at], 1_310, "FAILED", "OOM-killed at step 1,310 (63.2 of 64 GiB)"
    )
    lost_at = settings.index(("resnet18", "1e-2", 1))
    runs[lost_at] = _ended(runs[lost_at], 760, "KILLED", "SIGINT: stopped by grace")
    crashed_at = settings.index(("resnet50", "1e-2", 1))
    runs[crashed_at] = _ended(
        runs[crashed_at], 1_850, "FAILED", "RuntimeError: CUDA error: an illegal memory access"
    )
    running_ms = now_ms - 1_700 * _MS_A_STEP
    last = _run(random, *settings[-1], running_ms)
    runs[-1] = _changed(
        last, status="RUNNING", end_ms=None, metrics=_until(last.metrics, now_ms),
        is_compacted=False,
    )  # fmt: skip
    best = runs[best_at]
    runs[best_at] = _changed(
        best,
        tags={**best.tags, "mlflow.note.content": NOTE, "stage": "candidate"},
    )
    ids = write_runs(store, experiment_id, runs)
    _fill(store, artifacts / experiment_id / best.run_id / "artifacts", runs[best_at], random)
    for title, n_runs, curves in (
        ("speech-commands", 14, ("train/loss", "val/loss", "val/wer")),
        ("tabular-baselines", 9, ("val/auc",)),
    ):
        other = store.create_experiment(title)
        start_ms = now_ms - 400 * _HOUR_MS
        write_runs(store, other, [_other(random, curves, at, start_ms) for at in range(n_runs)])
    empty_id = store.create_experiment("segmentation")
    _age(store, now_ms, {experiment_id: 0.1, empty_id: 0.4})
    return Project(experiment_id, name, ids, best.run_id, runs[failed_at].run_id, empty_id)


def _age(store: WeirStore, now_ms: int, hours: dict[str, float]) -> None:
    """Have experiments look changed so many hours ago, those not named ten days."""
    of = tables.experiments.c
    with store.engine.begin() as connection:
        for (number,) in connection.execute(sa.select(of.experiment_id)).all():
            changed_ms = now_ms - int(hours.get(str(number), 240 + 31 * number) * _HOUR_MS)
            connection.execute(
                sa.update(tables.experiments)
                .where(of.experiment_id == number)
                .values(last_update_time=changed_ms)
            )


def _changed(run: SeededRun, **fields: Any) -> SeededRun:
    return SeededRun(**{**run.__dict__, **fields})


def _until(metrics: Any, last_ms: int) -> dict[str, Series]:
    return {
        key: series.rows(0, int((series.timestamp <= last_ms).sum()))
        for key, series in metrics.items()
    }


def _ended(run: SeededRun, step: int, status: str, cause: str) -> SeededRun:
    end_ms = run.start_ms + step * _MS_A_STEP
    return _changed(
        run, status=status, end_ms=end_ms, metrics=_until(run.metrics, end_ms),
        tags={**run.tags, "weir.exit_cause": cause},
    )  # fmt: skip


def _run(
    random: np.random.Generator, model: str, rate: str, seed: int, start_ms: int
) -> SeededRun:
    floor, batch, memory = MODELS[model]
    bad = RATES[rate]
    quick = {"1e-4": 2.4, "3e-4": 3.4, "1e-3": 4.4, "1e-2": 3.2}[rate]
    lowest = floor * 0.55 - 0.1 + bad + 0.01 * random.standard_normal()
    share = np.arange(1, N_STEPS + 1) / N_STEPS
    clean = lowest + (1.609 - lowest) * np.exp(-quick * share**0.75)
    wander = np.convolve(random.standard_normal(N_STEPS + 60), np.ones(60) / 60, "valid")[:N_STEPS]
    noise = 0.035 * (0.2 + clean) * random.standard_normal(N_STEPS) + 0.5 * bad * wander
    loss = np.maximum(clean + noise, 0.01)
    val_share = share[STEPS_AN_EPOCH - 1 :: STEPS_AN_EPOCH]
    gap = 0.05 + 0.07 * val_share
    val_loss = clean[STEPS_AN_EPOCH - 1 :: STEPS_AN_EPOCH] + gap
    val_loss = val_loss + 0.012 * random.standard_normal(len(val_loss))
    accuracy = 1 - 0.8 * np.minimum(clean / 1.609, 1) ** 1.1

    def every(values: np.ndarray, stride: int = 1, first: int = 0) -> Series:
        step = first + stride * np.arange(len(values), dtype=np.int64)
        at = start_ms + _MS_A_STEP * (step + 1)
        return history_order(Series(at, step, values.astype(np.float32).astype(np.float64)))

    val_accuracy = accuracy[STEPS_AN_EPOCH - 1 :: STEPS_AN_EPOCH] - gap / 3
    val_accuracy = val_accuracy + 0.004 * random.standard_normal(len(val_accuracy))
    val_noise = 0.004 * random.standard_normal(len(val_accuracy))
    last = STEPS_AN_EPOCH - 1
    jitter = 0.014 * random.standard_normal(N_STEPS // 10)
    metrics = {
        "train/loss": every(loss),
        "train/accuracy": every(np.clip(accuracy[::10] + jitter, 0.1, 1), 10),
        "train/grad_norm": every(
            (0.3 + 2.2 * np.exp(-3 * share[::10])) * (0.6 + lowest) * (1 + 6 * jitter), 10
        ),
        "val/loss": every(val_loss, STEPS_AN_EPOCH, last),
        "val/accuracy": every(val_accuracy, STEPS_AN_EPOCH, last),
        "val/f1": every(val_accuracy - 0.012 + val_noise, STEPS_AN_EPOCH, last),
        **_hardware(random, start_ms, memory),
    }
    return SeededRun(
        f"{model}-{rate}-s{seed}",
        metrics,
        params={
            "model": model,
            "lr": rate,
            "seed": str(seed),
            "batch_size": str(batch),
            "weight_decay": "0.05" if model == "convnext" else "0.0001",
            "epochs": "20",
            "augment": "randaugment" if seed == 0 else "flip",
        },
        tags={
            "mlflow.user": ("ada", "grace")[seed],
            "mlflow.source.name": "flowers/train.py",
            "mlflow.source.git.commit": COMMIT,
            "weir.git.commit": COMMIT,
            "weir.git.branch": "cosine-schedule",
            "weir.git.remote": "https://github.com/example/flowers.git",
            "weir.git.dirty": "true",
            "weir.host": "gpu-node-3",
            "weir.python": "3.11.7",
            "weir.gpu": "2 × NVIDIA L40S",
            "team": "vision",
        },
        start_ms=start_ms,
        end_ms=start_ms + (N_STEPS + 8) * _MS_A_STEP,
    )


def _hardware(random: np.random.Generator, start_ms: int, memory: int) -> dict[str, Series]:
    n = N_STEPS * _MS_A_STEP // _SAMPLE_MS
    at = np.arange(n)
    timestamp = start_ms + _SAMPLE_MS * at.astype(np.int64)
    # A rise at the start, and a dip while each epoch is validated.
    an_epoch = STEPS_AN_EPOCH * _MS_A_STEP // _SAMPLE_MS
    busy = np.minimum(1.0, at / 4) * np.where(at % an_epoch == an_epoch - 1, 0.55, 1.0)

    def measured(values: Any, noise: float = 0.0, most: float = math.inf) -> Series:
        drawn = np.asarray(values) * (1 + noise * random.standard_normal(n))
        return history_order(Series(timestamp, at.astype(np.int64), np.clip(drawn, 0, most)))

    warm = 1 - np.exp(-at / 12)
    total_mb, ram_mb = 46_068, 64 * 1_024
    found = {
        "cpu_utilization_percentage": measured(12 + 43 * busy, 0.06, 100),
        "system_memory_usage_megabytes": measured(11_000 + 15_000 * warm + 14 * at, 0.003),
        "process_memory_megabytes": measured(2_400 + 13_500 * warm + 12 * at, 0.004),
        "process_cpu_utilization_percentage": measured(60 + 560 * busy, 0.05),
        "cgroup_memory_limit_megabytes": measured(np.full(n, ram_mb)),
        "disk_usage_percentage": measured(46 + 0.004 * at),
        "network_receive_megabytes": measured(18.0 * at * (1 + 0.02 * np.sin(at / 9))),
    }
    for gpu in range(2):
        load = (96 - 3 * gpu) * busy
        found |= {
            f"gpu_{gpu}_utilization_percentage": measured(load, 0.025, 100),
            f"gpu_{gpu}_memory_usage_megabytes": measured(1_024 * memory * np.minimum(1, at / 3)),
            f"gpu_{gpu}_memory_total_megabytes": measured(np.full(n, total_mb)),
            f"gpu_{gpu}_power_usage_watts": measured(75 + 2.5 * load * warm, 0.02),
            f"gpu_{gpu}_temperature_celsius": measured(38 + (31 + 3 * gpu) * warm, 0.008),
        }
    return {f"system/{key}": series for key, series in found.items()}


def _other(
    random: np.random.Generator, keys: tuple[str, ...], at: int, first_ms: int
) -> SeededRun:
    start_ms = first_ms + at * _HOUR_MS
    share = np.linspace(0, 1, 200)
    metrics = {}
    for key in keys:
        value = 0.2 + 0.05 * random.random() + np.exp(-4 * share)
        value = value * (1 + 0.03 * random.standard_normal(200))
        step = np.arange(200, dtype=np.int64)
        metrics[key] = history_order(Series(start_ms + 9_000 * step, step, value))
    return SeededRun(
        f"trial-{at + 1:02d}", metrics, params={"lr": f"{10 ** -random.uniform(2, 4):.2g}"},
        tags={"mlflow.user": "grace"}, start_ms=start_ms, end_ms=start_ms + 200 * 9_000,
    )  # fmt: skip


def _fill(store: WeirStore, root: Path, run: SeededRun, random: np.random.Generator) -> None:
    """Give a run files, a console, histograms and alerts."""
    _write_files(root, run.start_ms, random)
    _write_console(store, run)
    _write_histograms(store, run, random)
    for n, (level, epoch, title, text) in enumerate(
        (
            ("info", 12, "Best of the sweep", "val/accuracy 0.911, before 0.894"),
            ("warning", 15, "Data loader is behind", "GPUs waited 0.4 s a step for 60 steps"),
            ("info", 20, "Checkpoint kept", "checkpoints/best.pt, epoch 19"),
        )
    ):
        at_ms = run.start_ms + epoch * STEPS_AN_EPOCH * _MS_A_STEP
        store.log_alert(Alert(f"{n + 1:032x}", run.run_id, level, title, text, at_ms))


def _write_files(root: Path, start_ms: int, random: np.random.Generator) -> None:
    files: dict[str, str | bytes] = {
        "weir/git/diff.patch": PATCH,
        "weir/git/untracked.txt": "notebooks/confusion.ipynb\n",
        "weir/git/state.json": json.dumps(
            {
                "root": "/home/ada/flowers",
                "commit": COMMIT,
                "branch": "cosine-schedule",
                "tags": [],
                "remote": "https://github.com/example/flowers.git",
                "is_dirty": True,
                "ahead": 2,
                "behind": 0,
                "left_out": {".env": "its name says that it holds secrets"},
                "n_redacted": 0,
                "faults": [],
            }
        ),
        "weir/environment.json": json.dumps(
            {
                "argv": [
                    *("python", "-m", "flowers.train", "--model", "convnext"),
                    *("--lr", "1e-3", "--seed", "0"),
                ],
                "working_directory": "/home/ada/flowers",
                "executable": "/home/ada/flowers/.venv/bin/python",
                "python": "3.11.7",
                "platform": "Linux-6.1-x86_64",
                "host": "gpu-node-3",
                "cpu": {"model": "AMD EPYC 9354", "logical": 64, "usable": 16},
                "memory_bytes": {"total": 384 << 30, "limit": 64 << 30},
                "container": "docker",
                "variables": {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_ID": "48211"},
            }
        ),
        "weir/requirements.txt": "mlflow==3.17.2\nnumpy==2.3.1\npillow==12.0.0\ntimm==1.0.22\n"
        "torch==2.9.0\ntorchvision==0.24.0\n",
        "config.json": json.dumps(
            {"model": "convnext", "lr": 1e-3, "epochs": 20, "classes": CLASSES}, indent=2
        ),
        "per_class.csv": "class,precision,recall,images\n"
        + "".join(
            f"{name},{0.95 - 0.02 * n:.3f},{0.96 - 0.025 * n:.3f},{700 + 31 * n}\n"
            for n, name in enumerate(CLASSES)
        ),
        "checkpoints/best.pt": bytes(64 << 10),
        "checkpoints/last.pt": bytes(64 << 10),
    }
    for epoch in (1, 5, 10, 15, 20):
        step = epoch * STEPS_AN_EPOCH - 1
        at_ms = start_ms + _MS_A_STEP * step
        right = 0.35 + 0.6 * (1 - math.exp(-epoch / 6))
        for key, picture in (
            ("val~predictions", _predictions(random, right)),
            ("val~confusion", _confusion(random, right)),
            ("train~augmented", _predictions(random, None)),
            ("val~mistakes", _predictions(random, 0.0)),
        ):
            unique = uuid.UUID(int=int(random.integers(1 << 62)), version=4)
            stem = f"images/{key}+step+{step}+timestamp+{at_ms}+{unique}"
            files[f"{stem}.png"] = _encoded(picture, "PNG")
            files[f"{stem}+compressed.webp"] = _encoded(picture, "WEBP")
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


_PETALS = {
    "daisy": ((250, 250, 245), (240, 190, 40), 14, 0.28),
    "dandelion": ((245, 200, 30), (225, 160, 20), 22, 0.2),
    "rose": ((200, 40, 70), (140, 20, 45), 7, 0.62),
    "sunflower": ((250, 185, 20), (95, 60, 25), 18, 0.3),
    "tulip": ((225, 80, 140), (170, 45, 100), 5, 0.7),
}
_TILE = 96


def _flower(random: np.random.Generator, name: str) -> Image.Image:
    """Return a drawn flower, four times as large as it is shown."""
    petal, middle, n_petals, width = _PETALS[name]
    size = 4 * _TILE
    green = 70 + int(random.integers(60))
    image = Image.new("RGB", (size, size), (40 + green // 4, green + 25, 45 + green // 5))
    centre_x, centre_y = (size * (0.5 + 0.06 * random.standard_normal(2))).tolist()
    reach = size * (0.36 + 0.05 * float(random.standard_normal()))
    turn = 2 * math.pi * float(random.random())
    draw = ImageDraw.Draw(image)
    for n in range(n_petals):
        angle = turn + 2 * math.pi * n / n_petals
        shade = 0.86 + 0.14 * ((n * 7) % 5) / 4
        points = []
        for at in range(24):
            around = 2 * math.pi * at / 24
            along, across = 0.55 + 0.45 * math.cos(around), width * 0.6 * math.sin(around)
            x = along * math.cos(angle) - across * math.sin(angle)
            y = along * math.sin(angle) + across * math.cos(angle)
            points.append((centre_x + reach * x, centre_y + reach * y))
        draw.polygon(points, fill=tuple(int(shade * one) for one in petal))
    inner = reach * (0.42 if name == "sunflower" else 0.26)
    draw.ellipse(
        (centre_x - inner, centre_y - inner, centre_x + inner, centre_y + inner), fill=middle
    )
    return image.resize((_TILE, _TILE), Image.Resampling.LANCZOS)


def _predictions(random: np.random.Generator, right: float | None) -> Image.Image:
    """Return a sheet of flowers, framed by whether they were told right, if that is asked."""
    columns, rows, gap = 5, 3, 6
    sheet = Image.new(
        "RGB", (columns * (_TILE + gap) + gap, rows * (_TILE + gap) + gap), (255, 255, 255)
    )
    draw = ImageDraw.Draw(sheet)
    for n in range(columns * rows):
        x, y = gap + (n % columns) * (_TILE + gap), gap + (n // columns) * (_TILE + gap)
        flower = _flower(random, CLASSES[n % len(CLASSES)])
        if right is None:
            flower = flower.rotate(
                float(random.uniform(-25, 25)), resample=Image.Resampling.BICUBIC
            )
            if random.random() < 0.5:
                flower = flower.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        else:
            is_right = random.random() < right
            colour = (39, 124, 67) if is_right else (200, 45, 76)
            draw.rectangle((x - 4, y - 4, x + _TILE + 3, y + _TILE + 3), fill=colour)
        sheet.paste(flower, (x, y))
    return sheet


def _confusion(random: np.random.Generator, right: float) -> Image.Image:
    n, cell = len(CLASSES), 84
    wrong = random.random((n, n)) * (1 - np.eye(n))
    share = right * np.eye(n) + (1 - right) * wrong / wrong.sum(1, keepdims=True)
    image = Image.new("RGB", (n * cell + 2, n * cell + 2), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    for row in range(n):
        for column in range(n):
            value = float(share[row, column])
            blue = tuple(int(255 - value * (255 - one)) for one in (34, 114, 180))
            x, y = 1 + column * cell, 1 + row * cell
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=blue)
            ink = (255, 255, 255) if value > 0.5 else (40, 40, 40)
            draw.text((x + 22, y + 28), f"{value:.2f}", fill=ink, font_size=20)
    return image


def _encoded(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def _write_console(store: WeirStore, run: SeededRun) -> None:
    loss = run.metrics["train/loss"].value
    val_loss = run.metrics["val/loss"].value
    accuracy = run.metrics["val/accuracy"].value
    said: list[tuple[int, int, str]] = []  # step, stream, text
    for text in (
        "config: model=convnext lr=1e-3 batch=32 epochs=20 seed=0",
        "data: 3,670 images of 5 classes, 2,936 to train on",
        "\x1b[36mcuda\x1b[0m: 2 × NVIDIA L40S, bf16, torch 2.9.0",
        "model: 27.8 M parameters, 27.8 M trained",
    ):
        said.append((0, 1, text))
    said.append((1, 2, "\x1b[33mUserWarning\x1b[0m: lr_scheduler.step() before optimizer.step()"))
    best = 0.0
    for epoch in range(1, 21):
        first = (epoch - 1) * STEPS_AN_EPOCH
        for step in range(first + 20, first + STEPS_AN_EPOCH + 1, 20):
            shown = float(loss[max(0, step - 20) : step].mean())
            rate = 1_000 / _MS_A_STEP * 64
            said.append(
                (
                    step,
                    1,
                    f"epoch {epoch:>2}/20  step {step:>5}  loss {shown:.4f}  {rate:.1f} img/s",
                )
            )
        at, value = epoch * STEPS_AN_EPOCH, float(accuracy[epoch - 1])
        text = f"epoch {epoch:>2}/20  val_loss {val_loss[epoch - 1]:.4f}  val_acc {value:.4f}"
        if value > best:
            text, best = f"{text}  \x1b[32mbest\x1b[0m, saved to checkpoints/best.pt", value
        said.append((at, 1, text))
        if epoch == 15:
            late = "\x1b[33mWARNING\x1b[0m data loader is 0.4 s a step behind: workers=4"
            said.append((at, 2, late))
    said.append((N_STEPS, 1, f"done: best val_acc {best:.4f}"))
    lines = [
        Line(n, run.start_ms + _MS_A_STEP * step + 40 * (n % 5), stream, text)
        for n, (step, stream, text) in enumerate(said)
    ]
    source = writing.Source("c" * 32, "gpu-node-3", None, 48_211)
    with store.engine.begin() as connection:
        writing.append(connection, run.run_id, source, lines)


_LAYERS = (
    "stem.0.weight",
    *(f"stages.{stage}.blocks.{block}.mlp.fc1.weight" for stage in range(4) for block in range(3)),
    "head.norm.weight",
    "head.fc.weight",
    "head.fc.bias",
)


def _write_histograms(store: WeirStore, run: SeededRun, random: np.random.Generator) -> None:
    n = len(_LAYERS)
    centres = np.linspace(-3, 3, BINS)
    depth = 0.15 + np.linspace(0, 1, n) ** 2
    with store.engine.begin() as connection:
        for step in range(0, N_STEPS, 40):
            scale = 0.4 * depth * (0.15 + math.exp(-step / 700))
            scale = scale * np.exp(0.12 * random.standard_normal(n))
            spread = np.exp(-(centres[None, :] ** 2) / (1.4 + depth[:, None]))
            table = Table(
                kind="gradients",
                keys=_LAYERS,
                series=np.arange(n, dtype=np.int64),
                step=np.full(n, step, dtype=np.int64),
                timestamp=np.full(n, run.start_ms + _MS_A_STEP * step, dtype=np.int64),
                norm=scale,
                first=-3 * scale,
                last=3 * scale,
                n_nan=np.zeros(n, dtype=np.int64),
                n_inf=np.zeros(n, dtype=np.int64),
                counts=random.poisson(4_000 * spread).astype(np.int64),
            )
            histograms.append(connection, run.run_id, table)
