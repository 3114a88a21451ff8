"""Kills inside system calls, and campaigns of faults whose counts are committed.

``strace`` ends the process on its way into the kernel: the call is not made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tree import ROOT

COUNTS = ROOT / "tests" / "faults" / "kills.json"
CAMPAIGNS = ROOT / "tests" / "faults" / "campaigns.json"

# Names of journals and runs, of what is not yet in place, and of folders of a moment.
MADE_UP = (
    (re.compile(r"[0-9a-f]{20,32}"), "ID"),
    (re.compile(r"\b[0-9]{4,}(-[0-9]+)?\b"), "N"),
    (re.compile(r"\btmp\w{8}\b"), "tmp"),
    (re.compile(r"\bweir-spool-\w+"), "(the spool's folder)"),
    (re.compile(r"\btest_\w+"), "(the training's folder)"),
)

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="missing component: strace"
)


def last_words(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what a process that ends has said and nobody has read, and its errors.

    ``communicate`` leaves out what was read from the pipe together with the last line.
    """
    assert process.stdout is not None
    with process:
        said = process.stdout.read()
        return said, "" if process.stderr is None else process.stderr.read()


def strace_command(log: Path, call: str, when: int) -> list[str]:
    """Return the words before a program, or ``-p PID``, that kill it in its n-th such call."""
    return [
        *("strace", "-f", "-y", "-qq", "-o", str(log), "-e", f"trace={call}"),
        *("-e", f"inject={call}:signal=SIGKILL:when={when}"),
    ]


def site_of(trace: str) -> str | None:
    """Name what the killed call was about: system call and file, ids left out.

    Returns:
        None where no call was killed.
    """
    calls = re.findall(r"^\d+ +(\w+)\((.*)$", trace, re.MULTILINE)
    if "killed by SIGKILL" not in trace or not calls:
        return None
    name, arguments = calls[-1]
    files = re.findall(r'[<"]([^<>"]*/[^<>"]*)[>"]', arguments)
    if not files:
        return f"{name} (a pipe)"
    file = Path(files[0]).name
    if file.isdigit() and len(file) < 20:
        return f"{name} (the database's folder)"
    for made_up, word in MADE_UP:
        file = made_up.sub(word, file)
    return f"{name} {file}"


def note_counts(whose: str, when: str, counts: Mapping[str, int]) -> None:
    """Write down how often a campaign has hit what, in place of its counts of before.

    Args:
        whose: The process that was killed.
        when: "at random moments" or "inside a call".
        counts: By what was hit.
    """
    found: dict[str, Any] = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    found.setdefault(whose, {})[when] = dict(sorted(counts.items()))
    COUNTS.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")


def note_campaign(what: str, figures: Mapping[str, object]) -> None:
    """Write down what a test of faults has counted, where NOTE_CAMPAIGNS is set.

    With the load of the machine, a mean of five minutes, and how many processors it has. One
    test at a time: ``NOTE_CAMPAIGNS=1 make test-long JOBS=0 PYTEST_ARGS=tests/faults``.

    Args:
        what: The faults.
        figures: By name.
    """
    if not os.environ.get("NOTE_CAMPAIGNS"):
        return
    test = os.environ["PYTEST_CURRENT_TEST"].partition("::")[2].rpartition(" (")[0]
    found: dict[str, Any] = json.loads(CAMPAIGNS.read_text()) if CAMPAIGNS.exists() else {}
    load = {"load": round(os.getloadavg()[1], 1), "processors": os.cpu_count()}
    found.setdefault(what, {})[test.removeprefix("test_")] = {**figures, **load}
    CAMPAIGNS.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
