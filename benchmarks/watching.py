"""What watching a model's gradients costs a training on a CPU: ours beside ``wandb.watch``.

On a GPU, where it matters more, ``benchmarks/gpu_watch.py`` measures.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from contenders import PEERS, PEERS_PYTHON, QUIET, peer_versions
from measuring import Row, Sizes, say
from meters import stop_agent
from places import Place, SqlitePlace

TITLE = "Watching gradients"
ABOUT = """\
A small MLP (6 tensors, 85,000 values) and a CNN of 49 convolutions (198 tensors, 460,000 values)
trained on one core, one process after the other in several rounds, every second in reverse; the
mean of all steps, those that are logged included. All log the loss at each step: *No watch* and
*Weir* to MLflow on a `weir:` store, *wandb* offline. `wandb.watch` logs histograms alone, ours
norms, moments and counts of NaN besides.
"""

BARE, WEIR, WANDB = "No watch", "Weir", PEERS["wandb"]
COLUMNS = [BARE, WEIR, WANDB]
_WAYS = {BARE: "bare", WEIR: "weir", WANDB: "wandb"}
_FREQUENCIES = (1, 10, 100)
_WORKER = Path(__file__).resolve().parent / "watch_worker.py"


def versions() -> dict[str, str]:
    """Return the versions of wandb and PyTorch."""
    code = "import torch; print(torch.__version__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return {"wandb": peer_versions()["wandb"], "torch": found.stdout.strip() or "not installed"}


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Time steps of each, on SQLite only."""
    if not isinstance(place, SqlitePlace):
        return []
    ways = [way for way in _WAYS if _has_torch(_python(way))]
    if WEIR not in ways:
        say("PyTorch is not installed (pip install --group gradients): not measured")
        return []
    folder = Path.cwd() / "watching"
    folder.mkdir()
    try:
        return [
            _row(folder, model, log_freq, ways, sizes)
            for model in ("MLP", "CNN")
            for log_freq in _FREQUENCIES
        ]
    finally:
        stop_agent(folder / "spool")


def _python(way: str) -> str:
    return str(PEERS_PYTHON) if way == WANDB else sys.executable


def _has_torch(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0
    except OSError:
        return False


def _row(folder: Path, model: str, log_freq: int, ways: list[str], sizes: Sizes) -> Row:
    times: dict[str, list[float]] = {way: [] for way in ways}
    n_steps = sizes.watched_steps
    for number in range(sizes.log_rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            words = [_python(way), str(_WORKER), _WAYS[way], model, str(log_freq), str(n_steps)]
            environment = {
                **{name: value for name, value in os.environ.items() if name[:4] != "WEIR"},
                **QUIET,
                "MLFLOW_TRACKING_URI": f"weir://{folder}/store",
                "WEIR_SPOOL": str(folder / "spool"),
                "WEIR_CAPTURE_HARDWARE": "off",
            }
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True)
            if done.returncode:
                raise RuntimeError(f"{way}: {done.stderr.decode(errors='replace')[-2000:]}")
            times[way].append(statistics.fmean(json.loads(done.stdout)))
    figures = {way: statistics.median(found) for way, found in times.items()}
    say(f"{model}, every {log_freq} steps")
    slower = {way: 100 * (figures[way] / figures[BARE] - 1) for way in ways if way != BARE}
    return Row(
        f"a step of the {model}, logged every {log_freq}",
        "SQLite",
        "s",
        None,
        figures[WEIR],
        note=", ".join(f"{way}: {percent:+.1f} %" for way, percent in slower.items()),
        beside=figures,
    )
