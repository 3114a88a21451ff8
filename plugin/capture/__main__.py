"""The process that captures: told what by its standard input, it writes files and says the tags.

    in      {"argv": […], "working_folder": path, "folder": where to put the files, "git": bool,
             "environment": bool, "script": path or "", "repositories": [folders],
             "untracked": bool, "hardware": bool, "patterns": […]}
    out     {"tags": {name: value}, "files": {name below weir/: path}}

It runs with the training's interpreter and variables, at a lower priority, and ends within a few
seconds. It goes to the training's folder once it has its modules, so that none of that folder's
(``platform.py``) is taken for one of Python's.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow_weir import settings
from mlflow_weir.plugin.capture import amd, environment, git, gpu, host
from mlflow_weir.plugin.capture.visible_gpus import VARIABLES
from mlflow_weir.redaction import Redactor

_NICE = 5
_MAX_TAG_CHARACTERS = 500
_MAX_LEFT_OUT = 1_000
_HARDWARE_S = 15.0  # a driver that is loaded for it takes seconds

_Machine = tuple[dict[str, Any], str]
"""Facts of the machine, and its GPUs in a few words."""


def main() -> None:
    """Capture, and say what."""
    os.nice(_NICE)
    asked: dict[str, Any] = json.load(sys.stdin)
    os.chdir(asked["working_folder"])
    redactor = Redactor(asked["patterns"])
    folder = Path(asked["folder"])
    tags: dict[str, str] = {}
    files: dict[str, bytes] = {}
    machine = _InBackground(hardware) if asked["hardware"] else None
    if asked["git"]:
        add_git(asked, redactor, tags, files)
    if asked["environment"]:
        facts = environment.facts(asked["argv"], redactor)
        tags["weir.host"] = str(facts["host"])
        tags["weir.python"] = str(facts["python"])
        files["environment.json"] = _json(facts)
        files["requirements.txt"] = environment.requirements(redactor).encode()
    if machine is not None:
        silent = {"trouble": "a GPU's library did not answer"}
        found, tags["weir.gpu"] = machine.wait((silent, silent["trouble"]))
        files["hardware.json"] = redactor.text(_json(found).decode()).encode()
    if redactor.n_redacted:
        tags["weir.redacted"] = str(redactor.n_redacted)
    paths = {}
    for number, (name, content) in enumerate(files.items()):
        path = folder / str(number) / name.rpartition("/")[2]
        path.parent.mkdir(mode=0o700)
        path.write_bytes(content)
        paths[name] = str(path)
    short = {name: value[:_MAX_TAG_CHARACTERS] for name, value in tags.items() if value}
    json.dump({"tags": short, "files": paths}, sys.stdout)


class _InBackground:
    """A question to the machine, which a hung driver may never answer: the rest is not to wait."""

    def __init__(self, ask: Callable[[], _Machine]) -> None:
        self._answers: list[_Machine] = []
        self._until_s = time.monotonic() + _HARDWARE_S
        self._thread = threading.Thread(
            target=lambda: self._answers.append(ask()), name="weir-hardware", daemon=True
        )
        self._thread.start()

    def wait(self, otherwise: _Machine) -> _Machine:
        """Return the answer, or something else where it does not come."""
        self._thread.join(max(self._until_s - time.monotonic(), 0.0))
        return self._answers[0] if self._answers else otherwise


def add_git(
    asked: dict[str, Any], redactor: Redactor, tags: dict[str, str], files: dict[str, bytes]
) -> None:
    """Capture the repositories; that of the script is the first where the folder is in none."""
    has_untracked = bool(asked["untracked"])
    script = Path(asked["script"]).resolve() if asked["script"] else None
    state = git.capture(Path.cwd(), redactor, has_untracked=has_untracked)
    if state is None and script is not None and script.is_file():
        state = git.capture(script.parent, redactor, has_untracked=has_untracked)
    folders = [Path(folder).expanduser().absolute() for folder in asked["repositories"]]
    others = git.capture_others(
        state, folders, redactor, script=script, has_untracked=has_untracked
    )
    for one in [state, *others]:
        if one is not None:
            one.root = redactor.text(one.root)
    if state is not None:
        tags.update(git_tags(state))
        files.update(git_files(state))
    for other in others:
        files.update(git_files(other, f"git/repositories/{other.name}"))
    tags["weir.git.repositories"] = ", ".join(
        f"{other.name}@{other.commit[:10]}{'+' if other.is_dirty else ''}" for other in others
    )


def hardware() -> _Machine:
    """Return what GPUs and machine are, and in a few words which GPUs the training may see."""
    sampler, amd_sampler = gpu.GpuSampler(), amd.AmdSampler()
    found = {"nvidia": sampler.facts(), **host.facts()}
    variables = settings.pick_environment({*VARIABLES, *amd.VARIABLES})
    nvidia = sampler.devices()
    devices, visible = amd.seen_gpus(nvidia, amd_sampler, variables)
    if devices and not nvidia:
        found["amd"] = amd_sampler.facts()
    sampler.close()
    amd_sampler.close()
    names = Counter(device.name for device in visible.devices)
    words = ", ".join(f"{n} × {name}" for name, n in names.items())
    return found, words or sampler.trouble


def git_tags(state: git.GitState) -> dict[str, str]:
    """Return the short facts of a repository; those that are "" are not worth a tag."""
    is_dirty = {True: "true", False: "false", None: ""}[state.is_dirty]
    return {
        "weir.git.commit": state.commit,
        "weir.git.branch": state.branch,
        "weir.git.remote": state.remote,
        "weir.git.dirty": is_dirty,
        "weir.git.untracked": str(len(state.untracked)) if state.untracked else "",
    }


def git_files(state: git.GitState, folder: str = "git") -> dict[str, bytes]:
    """Return the files that describe a repository, by name."""
    said = {
        "root": state.root,
        "commit": state.commit,
        "branch": state.branch,
        "tags": state.tags,
        "remote": state.remote,
        "is_dirty": state.is_dirty,
        "ahead": state.ahead,
        "behind": state.behind,
        "upstream_commit": state.upstream[0] if state.upstream else None,
        "patch_sha256": git.digest(state.patch),
        "submodules": state.submodules,
        "packages": state.packages,
        "left_out": _some(state.left_out),
        "n_redacted": state.n_redacted,
        "faults": state.faults,
    }
    listed = "".join(f"{one}\n" for one in state.untracked).encode("utf-8", "surrogateescape")
    files = {
        "state.json": _json(said),
        "diff.patch": state.patch,
        "upstream.patch": state.upstream[1] if state.upstream else b"",
        "untracked.txt": listed,
        "untracked.patch": state.untracked_patch,
    }
    return {f"{folder}/{name}": content for name, content in files.items() if content}


def _some(left_out: dict[str, str]) -> dict[str, str]:
    n_more = len(left_out) - _MAX_LEFT_OUT
    found = dict(sorted(left_out.items())[:_MAX_LEFT_OUT])
    return {**found, "…": f"and {n_more:,} files more"} if n_more > 0 else found


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"


if __name__ == "__main__":
    main()
