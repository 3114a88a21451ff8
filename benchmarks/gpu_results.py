"""Puts what was measured on a machine with a GPU onto the results page.

    python benchmarks/gpu_results.py gpu_check.json gpu_watch.json gpu_training.json

The scripts of these names run where this repository's environment is not; their JSON is brought
here.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from report import write_page
from run import SECTIONS

_HERE = Path(__file__).resolve().parent
_ABOUT_CHECK = """\
What Weir reads of a GPU, beside what `nvidia-smi` says of it between two of our readings: idle,
and while matrices are multiplied in bfloat16 and copied to the device. *Agree* counts the readings
of `nvidia-smi` that lie where ours before and after it allow. The last reading is shown."""


_ABOUT_WATCH = """\
A training step bare, with `mlflow_weir.watch(log="gradients")`, and with per-tensor *hooks* that
do what `wandb.watch` does to each gradient (isfinite, min and max read one by one, a copy to the
CPU and its histogram there). *Logged* is what a step costs in which gradients are logged, above
the bare step. *Waits* are the times that the host waits for the device in a logged step; the loop
itself has the one of the bare row. Bare steps differ by several percent from block to block: rows
below that say no more than that."""
_ABOUT_TRAINING = """\
A perceptron of 12 layers of 2,048 (50 M values) in bfloat16, 20 metrics logged each step, in a
process of its own each time, the ways in turn. With Weir everything is captured that it captures:
git, environment, console, hardware each second. `watch` looks at gradients and parameters each 100
steps, in both. Both W&B rows are wandb's own client, offline."""


def check_section(said: dict[str, Any]) -> dict[str, Any]:
    """Return the section of ``gpu_check.py``."""
    devices = said["gpu_facts"]["devices"]
    return {
        "title": "GPU readings beside nvidia-smi",
        "about": _ABOUT_CHECK,
        "table": [["Reading", "State", "Weir", "nvidia-smi", "Agree"], *_readings(said)],
        "notes": [*_notes(said)],
        "facts": {
            "date": _date(said["host_facts"]["at_ms"] / 1000),
            "command": "python benchmarks/gpu_check.py",
            "seconds": round(said["seconds"]),
            "machine": {
                "GPUs": ", ".join(f"{one['name']} ({one['label']})" for one in devices),
                "driver": f"{said['gpu_facts']['driver']}, CUDA {said['gpu_facts']['cuda']}",
                "processor": f"{said['host_facts']['cpu']['model']}, "
                f"{said['host_facts']['cpu']['threads']} threads",
            },
        },
    }


def _readings(said: dict[str, Any]) -> Iterator[list[str]]:
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in said["comparison"]:
        found.setdefault((row["name"], row["device"], row["phase"]), []).append(row)
    for (name, device, phase), rows in sorted(found.items(), key=lambda one: one[0][:2]):
        last = rows[-1]
        ours = "none" if last["ours"] is None else " … ".join(map(_number, last["ours"]))
        agree = f"{sum(row['ok'] for row in rows)} of {len(rows)}"
        yield [f"`gpu_{device}_{name}`", phase, ours, _number(last["smi"]), agree]
    for device in said["processes"]["devices"]:
        ours, theirs = device["process_memory_megabytes"], sum(device["smi_megabytes"])
        agree = "1 of 1" if abs(ours - theirs) <= 0.01 * theirs else "0 of 1"
        name = f"`gpu_{device['device']}_process_memory_megabytes`"
        yield [name, "load", _number(ours), _number(theirs), agree]


def _notes(said: dict[str, Any]) -> Iterator[str]:
    energy, costs = said["energy"], said["costs"]
    read = sum(energy["watts_read"]) / len(energy["watts_read"])
    yield (
        f"Energy over the time under load is {energy['watts_by_energy']:.1f} W on average; the "
        f"readings of power are {read:.1f} W."
    )
    gpu, rest = costs["gpu sample"], costs["host sample"]
    yield (
        f"A sample of a GPU takes {gpu['ms']:.1f} ms ({gpu['ms_max']:.1f} ms at most), of the "
        f"machine and its processes {rest['ms']:.1f} ms: with one GPU each 10 s "
        f"{(gpu['cpu_ms'] + rest['cpu_ms']) / 100:.2f} % of a core."
    )
    calls = {name: cost for name, cost in costs.items() if name.startswith("Device")}
    slow = {name: cost["ms"] for name, cost in calls.items() if cost["ms"] > 1}
    yield "Calls above 1 ms: " + ", ".join(f"`nvml{k}` {v:.1f} ms" for k, v in slow.items()) + "."
    for what, why in said["failures"].items():
        yield f"`nvml{what.split()[-1]}`: {why}."


def watch_section(said: dict[str, Any]) -> dict[str, Any]:
    """Return the section of ``gpu_watch.py``."""
    facts = said["facts"]
    head = ["Model", "Way", "Every", "Step, median", "Slower", "Logged", "Waits", "Kernels"]
    table = [head]
    bare: dict[str, dict[str, Any]] = {}
    for row in said["rows"]:
        bare.setdefault(row["model"], row)
        every = row["log_freq"]
        table.append(
            [
                f"{row['model']}, {row['values'] / 1e6:.1f} M values",
                row["way"],
                f"{every}" if every else "",
                f"{row['step_ms']:.2f} ms",
                f"{row['slower_percent']:+.1f} %" if every else "",
                f"{row['logged_step_costs_ms']:+.1f} ms" if every else "",
                str(row.get("waits", "")),
                str(row.get("launches", "")),
            ]
        )
    wrong = {name: found for name, found in said["differences"].items() if found}
    note = "Every figure is as PyTorch's own computation has it, in " + ", ".join(
        name for name in said["differences"] if name not in wrong
    )
    return {
        "title": "Gradients watched on a GPU",
        "about": _ABOUT_WATCH,
        "table": table,
        "notes": [f"{note}.", *(f"Not so in {k}: {v}." for k, v in wrong.items())],
        "facts": {
            "date": _date(facts.get("at_s")),
            "command": "python benchmarks/gpu_watch.py",
            "seconds": round(facts["seconds"]),
            "machine": {"GPU": facts["device"], "processor": f"{facts['processors']} threads"},
            "versions": {"torch": facts["torch"], "python": facts["python"]},
        },
    }


def training_section(said: dict[str, Any]) -> dict[str, Any]:
    """Return the section of ``gpu_training.py``."""
    rows = {way: runs for way, runs in said["rows"].items() if runs}
    bare = statistics.median(one["ms"] for one in rows["bare"])
    table = [["Way", "Repeats", "Step, median", "Least", "Most", "Above bare", "CPU a step"]]
    for way, runs in rows.items():
        times = [one["ms"] for one in runs]
        middle = statistics.median(times)
        cpu = statistics.median(one["cpu_ms"] for one in runs)
        table.append(
            [
                way,
                str(len(runs)),
                f"{middle:.2f} ms",
                f"{min(times):.2f} ms",
                f"{max(times):.2f} ms",
                f"{middle - bare:+.2f} ms",
                f"{cpu:.2f} ms",
            ]
        )
    watched = rows["Weir, watch"][-1]
    versions = {"torch": watched["torch"]}
    for runs in rows.values():
        if "wandb" in runs[0]:
            versions["wandb"] = runs[0]["wandb"]
    return {
        "title": "A training on a GPU",
        "about": _ABOUT_TRAINING,
        "table": table,
        "notes": [*_readings_in_training(watched)],
        "facts": {
            "date": _date(said["at_s"]),
            "command": "python benchmarks/gpu_training.py",
            "seconds": round(
                sum(one["ms"] for runs in rows.values() for one in runs) * said["steps"] / 1000
            ),
            "machine": {"GPU": watched["device"]},
            "versions": versions,
        },
    }


def _readings_in_training(run: dict[str, Any]) -> Iterator[str]:
    """Say how far the stored readings are from nvidia-smi's nearest ones, within 0.5 s."""
    counts = ", ".join(f"{n} `{kind}…`" for kind, n in run["n_metrics"].items())
    yield f"The last run has {counts} metrics."
    for at, (key, points) in enumerate(run["readings"].items(), 1):
        differences = []
        for seconds, value in points:
            nearest = min(run["smi"], key=lambda row: abs(row[0] - seconds))
            if abs(nearest[0] - seconds) <= 0.5:
                differences.append(abs(value - nearest[at] * _SMI_UNITS.get(key, 1.0)))
        if differences:
            yield (
                f"`{key}`: {len(differences)} readings, {statistics.median(differences):.1f} from "
                "`nvidia-smi`'s in the median."
            )


_SMI_UNITS = {"system/gpu_0_memory_usage_megabytes": 1.048576}


def _date(at_s: float | None) -> str:
    moment = (
        datetime.now(timezone.utc) if at_s is None else datetime.fromtimestamp(at_s, timezone.utc)
    )
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


_MAKERS = {
    "gpu_check": check_section,
    "gpu_watch": watch_section,
    "gpu_training": training_section,
}


def main() -> None:
    """Keep the sections of the files named, and write the page anew."""
    results = _HERE / "results"
    for path in map(Path, sys.argv[1:]):
        section = _MAKERS[path.stem](json.loads(path.read_text(encoding="utf-8")))
        text = json.dumps(section, indent=1, ensure_ascii=False)
        (results / path.name).write_text(text + "\n", encoding="utf-8")
    write_page(results, list(SECTIONS), _HERE / "RESULTS.md")


if __name__ == "__main__":
    main()
