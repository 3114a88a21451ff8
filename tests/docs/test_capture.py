"""docs/capture.md lists what is captured: all of it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from mlflow_weir import settings
from mlflow_weir.plugin.capture.__main__ import git_files, git_tags
from mlflow_weir.plugin.capture.git import GitState

ROOT = Path(__file__).resolve().parents[2]


def rows() -> dict[str, str]:
    """Return the switch of each item, by its kind and name."""
    text = (ROOT / "docs/capture.md").read_text()
    found = re.findall(r"^\| (tag|file) `([^`]+)` \|.*\| `(WEIR_\w+)` \|$", text, re.MULTILINE)
    return {f"{kind} {name}": switch for kind, name, switch in found}


def test_the_table_and_the_code_name_the_same_items() -> None:
    state = GitState(patch=b"p", upstream=("c", b"p"), untracked=["u"])
    source = (ROOT / "plugin/capture/__main__.py").read_text()
    tags = set(git_tags(state)) | set(re.findall(r'tags\["(weir\.[\w.]+)"\]', source))
    files = set(git_files(state)) | set(re.findall(r'files\["([\w./]+)"\]', source))
    wanted = {f"tag {tag}" for tag in tags} | {f"file weir/{name}" for name in files}
    assert wanted == set(rows())


def test_every_switch_is_a_setting() -> None:
    assert set(rows().values()) <= {setting.name for setting in settings.ALL}
