"""The process that captures: told what by its standard input, it writes files and says the tags.

    in      {"argv": […], "folder": where to put the files, "git": bool, "environment": bool,
             "patterns": […]}
    out     {"tags": {name: value}, "files": {name below weir/: path}}

It runs in the training's folder with the training's interpreter and variables, at a lower
priority, and ends within a few seconds.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from mlflow_weir.plugin.capture import environment, git
from mlflow_weir.redaction import Redactor

_NICE = 5
_MAX_TAG_CHARACTERS = 500


def main() -> None:
    """Capture, and say what."""
    os.nice(_NICE)
    asked: dict[str, Any] = json.load(sys.stdin)
    redactor = Redactor(asked["patterns"])
    folder = Path(asked["folder"])
    tags: dict[str, str] = {}
    files: dict[str, bytes] = {}
    if asked["git"]:
        state = git.capture(Path.cwd(), redactor)
        if state is not None:
            tags.update(git_tags(state))
            files.update(git_files(state))
    if asked["environment"]:
        facts = environment.facts(asked["argv"], redactor)
        tags["weir.host"] = str(facts["host"])
        tags["weir.python"] = str(facts["python"])
        files["environment.json"] = _json(facts)
        files["requirements.txt"] = environment.requirements(redactor).encode()
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


def git_tags(state: git.GitState) -> dict[str, str]:
    """Return the short facts of a repository; those that are "" are not worth a tag."""
    return {
        "weir.git.commit": state.commit,
        "weir.git.branch": state.branch,
        "weir.git.remote": state.remote,
        "weir.git.dirty": "true" if state.is_dirty else "false",
        "weir.git.untracked": str(len(state.untracked)) if state.untracked else "",
    }


def git_files(state: git.GitState) -> dict[str, bytes]:
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
        "left_out": state.left_out,
        "n_redacted": state.n_redacted,
        "faults": state.faults,
    }
    files = {"git/state.json": _json(said)}
    if state.patch:
        files["git/diff.patch"] = state.patch
    if state.upstream is not None and state.upstream[1]:
        files["git/upstream.patch"] = state.upstream[1]
    if state.untracked:
        files["git/untracked.txt"] = "".join(f"{one}\n" for one in state.untracked).encode(
            "utf-8", "surrogateescape"
        )
    return files


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"


if __name__ == "__main__":
    main()
