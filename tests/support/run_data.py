"""One run with everything a run page shows: facts, code, console, hardware, pictures, files.

Everything in it that somebody could write is hostile somewhere: markup, script, bidi marks,
control sequences, names of 250 characters.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mlflow_weir.store.alerts.alerts import Alert
from mlflow_weir.store.console import writing
from mlflow_weir.store.console.lines import Line
from mlflow_weir.store.histograms import writing as histograms
from mlflow_weir.store.histograms.encoding import BINS, Table
from mlflow_weir.store.metrics.points import Series
from mlflow_weir.store.tracking_store import WeirStore
from workspace_data import FIRST_START_MS, SeededRun, curve, write_runs

XSS = '<img src=x onerror="window.wasRun=1"><script>window.wasRun=1</script>'
IMG = '<img src=x onerror="window.wasRun=1">'
NAME = f"resnet50 \u202eslipper\u202c {XSS} " + "long-" * 30
N_LINES = 120_000
LINE_MS = 30
# Samples, of 360 each ten seconds, at which the second GPU was slowed down.
THROTTLED = slice(120, 192)
NOTE = f"""# What this was

**Third** try with a warm-up, see [the plan](https://example.org/plan),
not [this](javascript:alert(1)).

| lr | loss |
|---|---|
| 0.1 | 0.31 |

{XSS}

![remote](https://evil.example/pixel.png)
"""
PATCH = f"""diff --git a/train.py b/train.py
index 1111111..2222222 100644
--- a/train.py
+++ b/train.py
@@ -10,7 +10,8 @@ def train(model, data):
     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
     for step, batch in enumerate(data):
-        loss = model(batch)
+        loss = model(batch.to("cuda"))
+        # {XSS}
         loss.backward()
         optimizer.step()
     return model
diff --git a/conf/new file.yaml b/conf/new file.yaml
new file mode 100644
index 0000000..3333333
--- /dev/null
+++ b/conf/new file.yaml
@@ -0,0 +1,2 @@
+lr: 0.1
+token: [redacted]
diff --git a/data.bin b/data.bin
index 4444444..5555555 100644
GIT binary patch
literal 12
TcmZQzWMT#Y01f~L

literal 8
PcmZQzU|?imU|;|M00jU5

"""
OTHER_PATCH = PATCH.replace("lr: 0.1", "lr: 0.2")
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">'
    "<script>window.wasRun=1</script>"
    '<rect width="40" height="40" fill="#2272b4" onload="window.wasRun=1"/></svg>'
)


@dataclass(frozen=True)
class RichRuns:
    """What ``seed_rich_runs`` wrote.

    Attributes:
        experiment_id: Of these runs alone.
        run_id: The run with everything, FAILED.
        other_id: Of the same code but for one line.
        bare_id: A run with nothing at all.
    """

    experiment_id: str
    run_id: str
    other_id: str
    bare_id: str


def seed_rich_runs(store: WeirStore, artifacts: Path) -> RichRuns:
    """Write the runs, and their artifacts below the server's artifact destination."""
    experiment_id = store.create_experiment("rich runs")
    random = np.random.default_rng(7)
    rich = SeededRun(
        NAME,
        {
            "train/loss": curve(random, 3_000),
            "val/loss": curve(random, 60, step_size=50),
            "val/<b>f1</b>": curve(random, 60, start=0.1, end=0.9, step_size=50),
            **_hardware(random),
        },
        params={"lr": "0.1", "note": XSS, "long": "x" * 3_000, "__proto__": "1"},
        tags={
            "mlflow.note.content": NOTE,
            "mlflow.source.name": "train.py",
            "team": XSS,
            "weir.exit_cause": "killed: out of memory at step 2999 (62.9 of 64 GiB)",
            "weir.exit_traceback": f"Traceback (most recent call last):\n  File train.py {IMG}",
            "weir.git.commit": "1a2b3c4d" * 5,
            "weir.git.branch": f"warm-up {IMG}",
            "weir.git.remote": "https://example.org/team/resnet.git",
            "weir.git.dirty": "true",
            "weir.host": "gpu-node-7",
            "weir.python": f"3.11.7 {IMG}",
            "weir.redacted": "3",
            "weir.points_dropped": "12",
            "weir.artifacts_dropped": "2",
        },
        status="FAILED",
        end_ms=FIRST_START_MS + 3_725_000,
    )
    other = SeededRun(
        "resnet50 before", {"train/loss": curve(random, 100)}, tags={"weir.git.commit": "9" * 40}
    )
    bare = SeededRun("nothing", {}, status="RUNNING", end_ms=None)
    write_runs(store, experiment_id, [rich, other, bare])
    root = artifacts / experiment_id
    _write_files(root / rich.run_id / "artifacts", random)
    _write(root / other.run_id / "artifacts", {"weir/git/diff.patch": OTHER_PATCH})
    _write_console(store, rich.run_id)
    _write_histograms(store, rich.run_id)
    _raise_alerts(store, rich.run_id)
    return RichRuns(experiment_id, rich.run_id, other.run_id, bare.run_id)


def _raise_alerts(store: WeirStore, run_id: str) -> None:
    for n, (level, title, text) in enumerate(
        [
            ("info", "halfway there", ""),
            ("info", "checkpoint kept", ""),
            ("warning", "loss is high", "3.2 at step 400"),
            ("error", f"NaN {XSS}", f"line one\nline two {XSS} {'w' * 300}"),
        ]
    ):
        at_ms = FIRST_START_MS + n * 60_000
        store.log_alert(Alert(f"{n:032x}", run_id, level, title, text, at_ms))


def _hardware(random: np.random.Generator) -> dict[str, Series]:
    def measured(start: float, end: float, noise: float = 0.05) -> Series:
        return curve(random, 360, start=start, end=end, noise=noise, ms_a_step=10_000)

    found = {
        "system/cpu_utilization_percentage": measured(60, 85),
        "system/system_memory_usage_megabytes": measured(20_000, 62_000, 0.01),
        "system/process_memory_megabytes": measured(12_000, 50_000, 0.01),
        "system/process_cpu_utilization_percentage": measured(300, 380),
        "system/cgroup_memory_limit_megabytes": measured(64_000, 64_000, 0),
        "system/disk_usage_percentage": measured(40, 42, 0.001),
        "system/network_receive_megabytes": measured(0, 9_000, 0),
    }
    for gpu in range(2):
        found |= {
            f"system/gpu_{gpu}_utilization_percentage": measured(70, 92, 0.02),
            f"system/gpu_{gpu}_memory_usage_megabytes": measured(18_000, 22_000, 0.01),
            f"system/gpu_{gpu}_memory_total_megabytes": measured(40_000, 40_000, 0),
            f"system/gpu_{gpu}_power_usage_watts": measured(180, 290),
            f"system/gpu_{gpu}_temperature_celsius": measured(45, 79, 0.01),
        }
    hot = measured(0, 0, 0)
    hot.value[THROTTLED] = 1.0
    found["system/gpu_1_throttled_by_heat"] = hot
    return found


def _write_files(root: Path, random: np.random.Generator) -> None:
    files: dict[str, str | bytes] = {
        "weir/git/diff.patch": PATCH,
        "weir/git/untracked.txt": f"notes.md\nscratch/{XSS}.py\n",
        "weir/git/state.json": json.dumps(
            {
                "root": "/home/ada/resnet",
                "commit": "1a2b3c4d" * 5,
                "branch": f"warm-up {IMG}",
                "tags": ["v1.2", IMG],
                "remote": "https://example.org/team/resnet.git",
                "is_dirty": True,
                "ahead": 2,
                "behind": 1,
                "left_out": {"secrets.env": "its name says that it holds secrets"},
                "n_redacted": 1,
                "faults": [],
            }
        ),
        "weir/environment.json": json.dumps(
            {
                "argv": ["python", "train.py", "--lr", "0.1", "--api-key", "[redacted]", XSS],
                "working_directory": "/home/ada/resnet",
                "executable": "/usr/bin/python3",
                "python": "3.11.7",
                "platform": "Linux-6.1",
                "host": "gpu-node-7",
                "cpu": {"model": f"EPYC 7742 {IMG}", "logical": 128, "usable": 32},
                "memory_bytes": {"total": 540 << 30, "limit": 64 << 30},
                "container": "docker",
                "variables": {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_ID": IMG},
            }
        ),
        "weir/requirements.txt": "mlflow==3.17.2\nnumpy==2.3.1\ntorch==2.9.0\n" + f"{IMG}==1\n",
        "report.md": NOTE,
        "config.json": '{"lr": 0.1, "layers": [1, 2, 3], "__proto__": {"x": 1}}',
        "table.csv": "name,loss\n=1+1,0.5\n" + "".join(f"row{n},{n / 7}\n" for n in range(2_000)),
        "page.html": f"<h1>hi</h1>{XSS}",
        "drawing.svg": SVG,
        "weights.bin": bytes(range(256)) * 64,
        f"odd/{'n' * 180}&.txt": "found\n",
    }
    for step in (0, 100, 200, 1_000):
        for key, hue in (("samples~cats", 30), ("samples~dogs", 120)):
            stem = f"images/{key}+step+{step}+timestamp+{FIRST_START_MS + step}+" + "0" * 8
            stem += "-0000-4000-8000-000000000000"
            picture = _picture(hue + step // 10, random)
            files[f"{stem}.png"] = _encoded(picture, "PNG")
            files[f"{stem}+compressed.webp"] = _encoded(picture.resize((48, 48)), "WEBP")
        files[f"figures/confusion_step_{step:06d}.png"] = _encoded(
            _picture(step % 255, random), "PNG"
        )
    _write(root, files)


def _picture(hue: int, random: np.random.Generator) -> Image.Image:
    pixels = random.integers(0, 90, (96, 96, 3)).astype(np.uint8)
    pixels[..., 0] += np.uint8(hue % 160)
    return Image.fromarray(pixels)


def _encoded(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def _write(root: Path, files: dict[str, str] | dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def console_text(n: int) -> tuple[int, str]:
    """Return stream (``STREAMS``) and text of a line of the console."""
    if n == 10:
        return 2, f"\x1b[31mERROR\x1b[0m {XSS} \x1b]8;;https://evil.example\x07click\x1b]8;;\x07"
    if n == 11:
        return (
            1,
            "turned \u202earound, zero\u200bwidth, "
            "\x1b[38;5;208morange\x1b[0m, \x1b[1;4mbold\x1b[0m",
        )
    if n == 12:
        return 1, "long " + "y" * 12_000
    if n % 1_000 == 999:
        return 2, f"\x1b[33mWARNING\x1b[0m loss is high at step {n}"
    return 1, f"step {n} loss {1 / (n + 1):.5f}"


LAYERS = (*(f"encoder.layers.{n}.weight" for n in range(16)), "head.<b>bias</b>")
WATCHED_STEPS = range(0, 3_000, 50)
BAD_STEP = 2_500


def watched(step: int) -> Table:
    """Return the histograms of one step: gradients that shrink, and one NaN late in the head."""
    n = len(LAYERS)
    random = np.random.default_rng(step)
    scale = 0.5 * np.exp(-step / 1_500) * (1 + np.arange(n)) / n
    centres = np.linspace(-3, 3, BINS)
    counts = np.stack(
        [random.poisson(4_000 * np.exp(-(centres**2) / 2)).astype(np.int64) for _ in range(n)]
    )
    bad = np.zeros(n, dtype=np.int64)
    bad[-1] = 3 if step == BAD_STEP else 0
    return Table(
        kind="gradients",
        keys=LAYERS,
        series=np.arange(n, dtype=np.int64),
        step=np.full(n, step, dtype=np.int64),
        timestamp=np.full(n, FIRST_START_MS + step, dtype=np.int64),
        norm=scale * (1 + 0.1 * random.standard_normal(n)),
        first=-3 * scale,
        last=3 * scale,
        n_nan=bad,
        n_inf=np.zeros(n, dtype=np.int64),
        counts=counts,
    )


def _write_histograms(store: WeirStore, run_id: str) -> None:
    with store.engine.begin() as connection:
        for step in WATCHED_STEPS:
            histograms.append(connection, run_id, watched(step))


def _write_console(store: WeirStore, run_id: str) -> None:
    source = writing.Source("c" * 32, "gpu-node-7", None, 4711)
    with store.engine.begin() as connection:
        for start in range(0, N_LINES, 10_000):
            lines = [
                Line(n, FIRST_START_MS + n * LINE_MS, *console_text(n))
                for n in range(start, start + 10_000)
            ]
            writing.append(connection, run_id, source, lines)
