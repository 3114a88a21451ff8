"""Artifacts of wandb's (``log_artifact``, ``log_model``): files with a name and versions.

A run's records list the files of each. The files themselves lie in the client's own folder, by
names of its making, until it has uploaded them.

    artifacts/NAME/vN/…     the files, as long as they are on this machine
    wandb/artifacts.json    what each was: type, description, metadata, references to other places
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlflow_weir import settings
from mlflow_weir.plugin.importing.bringing import File
from mlflow_weir.plugin.importing.names import clean_key
from mlflow_weir.plugin.importing.wire import Message

_STAGING = ("artifacts", "staging")
_TABLES = "run_table"  # of each table that was logged: it is among the files


class WandbArtifacts:
    """The artifacts that a run has logged."""

    def __init__(self, left_out: Counter[str]) -> None:
        """Begin with none.

        Args:
            left_out: Counts what is not on this machine.
        """
        self._left_out = left_out
        self._known: list[dict[str, Any]] = []
        self._sources: list[tuple[str, str, str, int]] = []
        self._digests: dict[str, list[str]] = {}

    def add(self, artifact: Message) -> None:
        """Take one as it was logged."""
        kind, name, digest = artifact.text(4), artifact.text(5), artifact.text(6)
        if kind == _TABLES:
            return
        digests = self._digests.setdefault(name, [])
        if digest in digests:
            return  # the same again, which is no new version
        digests.append(digest)
        version = f"v{len(digests) - 1}"
        manifest = artifact.message(12)
        if manifest.text(5):
            self._left_out[f"artifact {name}: files, too many for the run's records"] += 1
        references = {}
        for entry in manifest.messages(4):
            path = entry.text(1)
            if entry.text(3):
                references[path] = entry.text(3)
            else:
                place = f"artifacts/{clean_key(name).replace(':', '_')}/{version}/{path}"
                self._sources.append((place, name, entry.text(6), entry.whole(4)))
        self._known.append(
            {
                "name": name,
                "version": version,
                "type": kind,
                "description": artifact.text(7),
                "metadata": _json(artifact.text(8)),
                "aliases": artifact.texts(11),
                "digest": digest,
                "references": references,
            }
        )

    def files(self, below: str, find: Callable[[Path], Path | None]) -> Iterator[File]:
        """Give the files, and what the artifacts were.

        Args:
            below: Folder for what the artifacts were.
            find: Returns a file that the run may have named, None for any other.
        """
        if self._known:
            content = json.dumps(self._known, indent=1).encode()
            yield File(f"{below}/artifacts.json", content, may_change=True)
        for place, name, local, size in self._sources:
            found = _staged(Path(local)) if local else None
            if found is None and local:
                found = find(Path(local))
            if found is None or found.stat().st_size != size:
                self._left_out[f"artifact {name}: files that are not on this machine"] += 1
            else:
                yield File(place, found)


def _staged(local: Path) -> Path | None:
    """Return the client's own copy of a file; None where it has none, any more."""
    if local.parts[-3:-1] != _STAGING:
        return None
    found = _data_folder().joinpath(*_STAGING, local.name)
    return found if found.is_file() and not found.is_symlink() else None


def _data_folder() -> Path:
    """Return the folder in which the client keeps what it is to upload."""
    said = settings.foreign("WANDB_DATA_DIR")
    if said is not None:
        return Path(said)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "wandb"
    shared = settings.foreign("XDG_DATA_HOME")
    return (Path(shared) if shared else Path.home() / ".local" / "share") / "wandb"


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
