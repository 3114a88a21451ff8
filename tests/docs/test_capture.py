"""docs/capture.md lists what is captured: all of it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlflow_weir import settings
from mlflow_weir.capture_policy import CLASSES
from mlflow_weir.plugin import captures, exits, notebook
from mlflow_weir.plugin.agent import sampling
from mlflow_weir.plugin.agent.sampling import NOTES_TAG
from mlflow_weir.plugin.capture import (
    environment,
    following,
    following_process,
    git,
    git_patch,
    gpu_queries,
    host,
)
from mlflow_weir.plugin.capture.__main__ import git_files, git_tags
from mlflow_weir.plugin.capture.console import screen
from mlflow_weir.plugin.capture.git import GitState
from mlflow_weir.plugin.cli import doctor_capture
from mlflow_weir.plugin.exits import TRACEBACK_TAG
from mlflow_weir.store.console.document import NAME

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/capture.md").read_text()


OTHER_TAGS = (NOTES_TAG, TRACEBACK_TAG, captures.FAILED_TAG)


def rows() -> dict[str, str]:
    """Return the switch of each tag and file, by its kind and name."""
    found = re.findall(r"^\| (tag|file) `([^`]+)` \|.*\| `(WEIR_\w+)` \|$", TEXT, re.MULTILINE)
    return {f"{kind} {name}": switch for kind, name, switch in found}


def metrics() -> dict[str, tuple[str, str, str]]:
    """Return unit, source and switch of each metric."""
    found = re.findall(
        r"^\| metric `([^`]+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \| `(WEIR_\w+)` \|$",
        TEXT,
        re.MULTILINE,
    )
    return {name: (unit, source.strip("`"), switch) for name, unit, source, switch in found}


def test_the_table_and_the_code_name_the_same_items() -> None:
    state = GitState(patch=b"p", upstream=("c", b"p"), untracked=["u"], untracked_patch=b"p")
    source = (ROOT / "plugin/capture/__main__.py").read_text()
    tags = set(git_tags(state)) | set(re.findall(r'tags\["(weir\.[\w.]+)"\]', source))
    files = set(git_files(state)) | set(re.findall(r'files\["([\w./]+)"\]', source))
    files.add(NAME)
    wanted = {f"tag {tag}" for tag in {*tags, *OTHER_TAGS, nan_tag()}} | {
        f"file weir/{name}" for name in files
    }
    wanted |= {f"file {following_process.SAID}", f"file weir/{notebook.FILE}"}
    assert wanted == set(rows())


def test_the_table_and_the_code_have_the_same_metrics() -> None:
    switch = settings.CAPTURE_HARDWARE.name
    wanted = {
        f"system/gpu_N_{one.name}": (one.unit, one.source.partition("/")[0], switch)
        for one in gpu_queries.METRICS
    }
    wanted |= {f"system/{one.name}": (one.unit, one.source, switch) for one in host.METRICS}
    found = metrics()
    assert wanted == {name: said for name, said in found.items() if name.startswith("system/")}
    assert {name for name in found if not name.startswith("system/")} == watched_metrics()
    of_watch = {said[1:] for name, said in found.items() if not name.startswith("system/")}
    assert of_watch == {("PyTorch", settings.CAPTURE_GRADIENTS.name)}


def watched_metrics() -> set[str]:
    """Return what ``mlflow_weir.watch`` logs of gradients; its module imports PyTorch."""
    source = (ROOT / "plugin/watching.py").read_text()
    (names,) = re.findall(r"^_METRICS = \((.+)\)", source, re.M)
    of_each = {*re.findall(r'"(\w+)"', names), *re.findall(r'f"\{key\}/(\w+)"', source)}
    of_all = set(re.findall(r'f"\{whole\}(\w+)"', source))
    return {f"gradients/NAME/{name}" for name in of_each} | {f"gradients/{one}" for one in of_all}


def nan_tag() -> str:
    """Return the tag of ``mlflow_weir.watch``, whose module imports PyTorch."""
    (found,) = re.findall(r'^NAN_TAG = "(.+)"$', (ROOT / "plugin/watching.py").read_text(), re.M)
    return str(found)


def test_every_switch_is_a_setting() -> None:
    assert set(rows().values()) <= {setting.name for setting in settings.ALL}


def test_every_class_has_a_switch_limits_and_a_line_of_doctor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = re.findall(
        r"^\| (\w+) \| `(WEIR_\w+)` \| ([^|]+) \| ([^|]+) \| `([\w ]+)` \|$", TEXT, re.MULTILINE
    )
    limits = {name: f"{time} | {size}" for name, _, time, size, _ in found}
    assert limits.keys() == CLASSES
    assert {switch for _, switch, *_ in found} <= {setting.name for setting in settings.ALL}
    n_megabytes = 1 << 20
    numbers = {
        "git": [
            f"{git.TIME_LIMIT_S:g} s",
            f"patch {git_patch.MAX_PATCH_BYTES // n_megabytes} MiB",
            f"file {git_patch.MAX_UNTRACKED_FILE_BYTES // n_megabytes} MiB",
        ],
        "environment": [
            f"{captures._TIME_LIMIT_S:g} s",
            f"{environment.MAX_COMMAND_LINE_CHARACTERS:,}",
            f"{environment.MAX_VARIABLE_CHARACTERS:,}",
        ],
        "hardware": [f"{sampling._HELD_BYTES // n_megabytes} MiB"],
        "console": [
            f"{settings.CAPTURE_CONSOLE_MAX_BYTES.default // n_megabytes} MiB",
            f"{screen.MAX_LINE_CHARACTERS:,}",
        ],
        "notebook": [f"{notebook._MAX_CHARACTERS // n_megabytes} MiB", f"{exits._CAPTURE_S:g} s"],
        "files": [
            f"{following_process._MAX_SHARE:.0%}".replace("%", " %"),
            f"{settings.FILES_MAX_BYTES.default >> 30} GiB",
            f"{following.MAX_FILES:,}",
            f"{following.BYTES_PER_S // 1_000_000} MB/s",
        ],
        "gradients": [],  # their module imports PyTorch
    }
    for name, said in numbers.items():
        for number in said:
            assert number in limits[name], (name, number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEIR_CAPTURE", raising=False)
    findings = [*doctor_capture.check_captures(), doctor_capture.check_console()]
    findings.append(doctor_capture.check_hardware())
    assert {one.check for one in findings} == {line for *_, line in found}
