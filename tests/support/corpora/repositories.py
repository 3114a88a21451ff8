"""Real repositories that carry what the corpora plant in patches."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from corpora.planting import Item


def run_git(folder: Path, *words: str) -> str:
    """Run git in a folder; return what it says."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape")


def write(folder: Path, items: Iterable[Item], side: str) -> None:
    """Lay out each item's file in a folder of its own; an empty side is a file that is absent."""
    for item in items:
        path = folder / item["id"] / item["text"]["file"]
        if item["text"][side]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(item["text"][side])
        else:
            path.unlink(missing_ok=True)
