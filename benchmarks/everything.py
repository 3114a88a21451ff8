"""What a training loop pays with all that is captured on, and what taking secrets out costs."""

from __future__ import annotations

import importlib.util
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import paired
from contenders import Contender, Worker
from measuring import Row, Sizes, say
from meters import stop_agent
from places import Place, SqlitePlace

from mlflow_weir import settings
from mlflow_weir.redaction import Redactor

TITLE = "Everything on"
ABOUT = """\
A training loop of 50 ms a step that logs 20 metrics and prints two lines each step, with a small
PyTorch model in it where PyTorch is there (watched by `mlflow_weir.watch` every 100 steps, where
that is there), and every capture on; beside it the same loop with a null store, twice.
Rounds of a block of each, in every order, each in a process of its own, which is started anew
every few rounds; the work is the same and takes 50 ms when nothing disturbs it. The figure is the
median of the rounds' differences, with its interval of 95 %; what the processes beside the
training take is said apart.
*100 MB of text*: a process that prints log lines as fast as it can into a pipe, whose other end
writes them into a file, as they are or redacted; the time is that of the process that prints. And
a run that prints lines of the standard library's source into a file, its console captured or not.
"""

_NULL, _AGAIN, _WEIR = "null store", "null store again", "Weir"
_STEP_S = 0.05
_LINES = 1_000_000
_ROUNDS = 3
_READ_BYTES = 1 << 20
_PRINTS = """
import random, sys
draw = random.Random(0).random
for step in range(int(sys.argv[1])):
    print(f"2026-11-22 10:00:00 INFO trainer: step {step:07d} loss={draw():.6f} lr={draw():.2e} "
          f"tokens/s={draw() * 1e5:.0f} to out/step_{step:07d}.pt")
"""

_PRINTS_IN_A_RUN = """
import sys, time
import mlflow
lines = open(sys.argv[1]).read().splitlines()
mlflow.start_run()
start_s = time.perf_counter()
for number in range(int(sys.argv[2])):
    print(lines[number % len(lines)], number)
sys.stdout.flush()
seconds = time.perf_counter() - start_s
with open(sys.argv[3], "w") as file:
    file.write(str(seconds))
"""


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Train with everything on and without, and print; on SQLite only."""
    if not isinstance(place, SqlitePlace):
        return []
    folder = Path.cwd() / "everything"
    folder.mkdir()
    return [*_loop(folder, sizes), _text(folder, sizes), _console(folder, sizes)]


def _loop(folder: Path, sizes: Sizes) -> list[Row]:
    """Train with everything on, with a null store, and with another to see what chance makes."""
    spool = str(folder / "spool")
    null = {"MLFLOW_TRACKING_URI": "null:", "MLFLOW_REGISTRY_URI": f"sqlite:///{folder}/r.db"}
    ours = {
        "MLFLOW_TRACKING_URI": f"weir://{folder}/weir",
        "WEIR_SPOOL": spool,
        "WEIR_FILES": "*.pt",
    }
    contenders = [
        Contender(_NULL, environment=null),
        Contender(_AGAIN, environment=null),
        Contender(_WEIR, environment=ours),
    ]
    watches = importlib.util.find_spec("torch") is not None
    amounts: list[int] = []

    def start(number: int) -> list[tuple[Worker, paired.Helpers | None]]:
        workers = [one.start(folder / f"worker-{number}-{i}") for i, one in enumerate(contenders)]
        if not amounts:
            amounts.append(workers[0].ask("calibrate", step_s=_STEP_S)["amount"])
        return [
            (one, paired.Helpers(spool, one.pid) if one.contender.name == _WEIR else None)
            for one in workers
        ]

    def train(worker: Worker, n_steps: int) -> dict[str, list[float]]:
        is_ours = worker.contender.name == _WEIR
        return worker.ask(
            "train_with_all", n_steps=n_steps, amount=amounts[0], watches=watches and is_ours
        )

    try:
        found = paired.run(
            start,
            train,
            n_starts=sizes.pair_starts,
            n_rounds=sizes.pair_rounds,
            n_steps=sizes.pair_steps,
        )
    finally:
        stop_agent(folder / "spool")
    say("training loops with everything on done")
    return _loop_rows(found, sizes, watches=watches)


def _loop_rows(found: dict[str, paired.Blocks], sizes: Sizes, *, watches: bool) -> list[Row]:
    null, again, weir = (found[name] for name in (_NULL, _AGAIN, _WEIR))
    kinds = [one.name.removeprefix("WEIR_CAPTURE_").lower() for one in settings.ALL
             if one.name.startswith("WEIR_CAPTURE_") and one.default is True]  # fmt: skip
    n = sizes.pair_starts * sizes.pair_rounds
    steps = f"{n} rounds of {sizes.pair_steps} steps each, {sizes.pair_starts} starts"
    whole = paired.slower(weir.step, null.step, null.step)
    chance = paired.slower(again.step, null.step, null.step)
    ms = {name: statistics.median(one.step) * 1e3 for name, one in found.items()}
    parts = [
        f"{what} {paired.slower(mine, theirs, null.step)}"
        for what, mine, theirs in (
            ("the work that is alike", weir.work, null.work),
            ("model, log calls and prints", weir.beside, null.beside),
            ("processor time of the training's thread", weir.cpu, null.cpu),
        )
    ]
    return [
        Row(
            "training loop with everything on: slower than with a null store",
            "SQLite",
            "%",
            None,
            100 * whole.median,
            "≤ 1 %",
            whole.median <= 0.01,
            f"{whole}; {steps}; a step {ms[_NULL]:.1f} and {ms[_WEIR]:.1f} ms; of the difference: "
            f"{', '.join(parts)}; agent, console and capture processes together take "
            f"{statistics.median(weir.helpers_cpu) * 1e3:.2f} ms of a processor a step; captured: "
            f"{', '.join(kinds)}, files{', watch' if watches else '; no PyTorch: no watch'}",
        ),
        Row(
            "the same for a second process with a null store: chance",
            "SQLite",
            "%",
            None,
            100 * chance.median,
            "",
            None,
            f"{chance}; what the row above can tell apart",
        ),
    ]


def _text(folder: Path, sizes: Sizes) -> Row:
    n_lines = min(_LINES, 80_000 * sizes.loop_blocks)
    spent: dict[bool, list[float]] = {False: [], True: []}
    n_bytes = 0
    for i in range(_ROUNDS):
        for redacts in (False, True) if i % 2 == 0 else (True, False):
            seconds, n_bytes = _printed(folder, n_lines, redacts)
            spent[redacts].append(seconds)
    plain, redacted = min(spent[False]), min(spent[True])
    slower = redacted / plain - 1
    say("text done")
    text = _source(n_bytes // 20)
    start_s = time.process_time()
    Redactor().block(text, is_source=True)
    source_s = time.process_time() - start_s
    return Row(
        f"{n_bytes / 1e6:.0f} MB of text printed, redacted beside it: slower than as it is",
        "SQLite",
        "%",
        None,
        100 * slower,
        "≤ 5 %",
        slower <= 0.05,
        f"{plain:.2f} s and {redacted:.2f} s, the quicker of {_ROUNDS}; "
        f"source code, as in a patch: {len(text) / source_s / 1e6:.0f} MB/s of a core",
    )


def _printed(folder: Path, n_lines: int, redacts: bool) -> tuple[float, int]:
    """Return the seconds a process took to print so many lines, and their bytes."""
    redactor, n, rest = Redactor(), 0, b""
    with (folder / "text").open("wb") as file:
        start_s = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", _PRINTS, str(n_lines)], stdout=subprocess.PIPE
        ) as process:
            if process.stdout is None:
                raise RuntimeError("the process has no such pipe")
            while part := os.read(process.stdout.fileno(), _READ_BYTES):
                n += len(part)
                if redacts:
                    lines, end, after = part.rpartition(b"\n")
                    part, rest = rest + lines + end, after if end else rest + after
                    part = redactor.block(part) if end else b""
                file.write(part)
        seconds = time.perf_counter() - start_s
    return seconds, n


def _console(folder: Path, sizes: Sizes) -> Row:
    """Print in a run, its console captured or not."""
    n_lines = min(2 * _LINES, 160_000 * sizes.loop_blocks)
    source = folder / "source.txt"
    source.write_bytes(_source(5 << 20))
    spent: dict[str, list[float]] = {"off": [], "auto": []}
    n_bytes = 0
    try:
        for i in range(_ROUNDS):
            for how in ("off", "auto") if i % 2 == 0 else ("auto", "off"):
                seconds, n_bytes = _printed_in_a_run(folder, source, n_lines, how)
                spent[how].append(seconds)
    finally:
        stop_agent(folder / "console-spool")
    off, captured = min(spent["off"]), min(spent["auto"])
    say("consoles done")
    return Row(
        f"{n_bytes / 1e6:.0f} MB of source code printed in a run, its console captured: slower",
        "SQLite",
        "%",
        None,
        100 * (captured / off - 1),
        "≤ 5 %",
        captured / off - 1 <= 0.05,
        f"{off:.2f} s and {captured:.2f} s, the quicker of {_ROUNDS}",
    )


def _printed_in_a_run(folder: Path, source: Path, n_lines: int, how: str) -> tuple[float, int]:
    """Return the seconds a run took to print so many lines, and their bytes."""
    environment = settings.child_environment(
        MLFLOW_TRACKING_URI=f"weir://{folder}/console-store",
        WEIR_SPOOL=str(folder / "console-spool"),
        WEIR_CAPTURE_CONSOLE=how,
    )
    printed, seconds = folder / "printed.txt", folder / "seconds.txt"
    command = [sys.executable, "-c", _PRINTS_IN_A_RUN, str(source), str(n_lines), str(seconds)]
    with printed.open("wb") as file:
        subprocess.run(command, stdout=file, env=environment, check=True)
    return float(seconds.read_text()), printed.stat().st_size


def _source(n_bytes: int) -> bytes:
    """Return so much Python source, of the standard library."""
    found = b""
    paths = sorted(Path(os.__file__).parent.glob("*.py"))
    random.Random(0).shuffle(paths)
    for path in paths:
        found += path.read_bytes()
        if len(found) >= n_bytes:
            break
    return found[:n_bytes]
