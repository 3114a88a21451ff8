"""Puts what ``gpu_check.py`` found on a machine with a GPU onto the results page.

    python benchmarks/gpu_results.py gpu_check.json

The check runs where neither MLflow nor this repository's environment is; its JSON is brought here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from report import write_page
from run import SECTIONS

NAME = "gpu_check"
_HERE = Path(__file__).resolve().parent
_ABOUT = """\
What Weir reads of a GPU, beside what `nvidia-smi` says of it between two of our readings: idle,
and while matrices are multiplied in bfloat16 and copied to the device. *Agree* counts the readings
of `nvidia-smi` that lie where ours before and after it allow. The last reading is shown."""


def section(said: dict[str, Any]) -> dict[str, Any]:
    """Return the section of the results page."""
    at = datetime.fromtimestamp(said["host_facts"]["at_ms"] / 1000, timezone.utc)
    devices = said["gpu_facts"]["devices"]
    return {
        "title": "GPU readings beside nvidia-smi",
        "about": _ABOUT,
        "table": [["Reading", "State", "Weir", "nvidia-smi", "Agree"], *_readings(said)],
        "notes": [*_notes(said)],
        "facts": {
            "date": at.strftime("%Y-%m-%d %H:%M UTC"),
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


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def main() -> None:
    """Keep the section and write the page anew."""
    said = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    results = _HERE / "results"
    text = json.dumps(section(said), indent=1, ensure_ascii=False)
    (results / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")
    write_page(results, list(SECTIONS), _HERE / "RESULTS.md")


if __name__ == "__main__":
    main()
