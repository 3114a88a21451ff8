"""What there is to tick for a link: the fields that its runs have, and what that would tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.media_names import read_media_name
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.runs import metric_keys
from mlflow_weir.store.sharing.shown import (
    HARDWARE_PREFIXES,
    HISTOGRAM_PREFIXES,
)
from mlflow_weir.ui_extensions import artifacts, deliveries
from mlflow_weir.ui_extensions.link_sight import CAPTURED, is_captured

MAX_FROZEN_FILES = 20_000
MAX_RUNS_WITH_FILES = 50
_MAX_LOOKED_AT = 5_000
_MAX_FOLDERS_LOOKED_INTO = 3
_MAX_FOLDERS = 300
_IN_LIST = 500
_BOXES = {
    "notes": ("mlflow.note.content",),
    "code": ("weir.git.commit", "mlflow.source.git.commit"),
    "command": ("mlflow.source.name",),
    "host": ("weir.host", "mlflow.user"),
    "git_url": ("weir.git.remote", "mlflow.source.git.repoURL"),
}


def describe(run_ids: Sequence[str]) -> dict[str, Any]:
    """Return what runs have, those that the caller may share.

    Args:
        run_ids: The newest first; of more than 5,000 the first are looked at.
    """
    looked_at = run_ids[:_MAX_LOOKED_AT]
    keys = all_keys(looked_at)
    counts = keys["metrics"]
    is_hardware = [key.startswith(HARDWARE_PREFIXES) for key in counts]
    is_histogram = [key.startswith(HISTOGRAM_PREFIXES) for key in counts]
    tags = keys["tags"]
    has = {box: any(tag in tags for tag in names) for box, names in _BOXES.items()}
    with deliveries.require_store().ManagedSessionMaker() as session:
        has["console"] = _is_any(session, schema.console_source, looked_at)
        has["histograms"] = any(is_histogram) or _is_any(session, schema.histogram, looked_at)
    has |= {"hardware": any(is_hardware), **_files(looked_at)}
    return {
        "n_runs": len(run_ids),
        "metrics": [
            {"key": key, "n_runs": n}
            for key, n in counts.items()
            if not key.startswith((*HARDWARE_PREFIXES, *HISTOGRAM_PREFIXES))
        ],
        "params": sorted(keys["params"]),
        "tags": sorted(tag for tag in tags if _is_users(tag)),
        "has": has,
    }


def all_keys(run_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the ``metrics``, ``params`` and ``tags`` of runs, and how many runs have each."""
    found: dict[str, dict[str, int]] = {}
    with deliveries.require_store().ManagedSessionMaker() as session:
        found["metrics"] = metric_keys.of_runs(session, run_ids).counts
        for kind, table in (("params", tables.params), ("tags", tables.tags)):
            counts: dict[str, int] = {}
            for start in range(0, len(run_ids), _IN_LIST):
                query = (
                    sa.select(table.c.key, sa.func.count())
                    .where(table.c.run_uuid.in_(run_ids[start : start + _IN_LIST]))
                    .group_by(table.c.key)
                )
                for key, n in session.execute(query):
                    counts[key] = counts.get(key, 0) + n
            found[kind] = counts
    return found


def add_files(facts: dict[str, dict[str, Any]], run_ids: Sequence[str]) -> None:
    """Write down which files runs have now, by the caller's own rights.

    Args:
        facts: Of all runs; those that are not named have no file to be seen.
        run_ids: Whose files are to be seen.

    Raises:
        ConfigError: They are too many to be frozen.
    """
    for one in facts.values():
        one["files"] = []
    named = [run_id for run_id in run_ids if run_id in facts]
    if len(named) > MAX_RUNS_WITH_FILES:
        raise ConfigError(
            f"files of {len(named):,} runs: at most {MAX_RUNS_WITH_FILES} can be frozen with files"
        )
    n_files = 0
    for run_id in named:
        files: list[list[Any]] = []
        for folder, entries in artifacts.walk(run_id, max_folders=_MAX_FOLDERS):
            if is_captured(folder):
                continue
            files += [
                [entry.path, entry.size]
                for entry in entries
                if not entry.is_folder and not is_captured(entry.path)
            ]
        facts[run_id]["files"] = files
        n_files += len(files)
        if n_files > MAX_FROZEN_FILES:
            raise ConfigError(f"more than {MAX_FROZEN_FILES:,} files cannot be frozen")


def _files(run_ids: Sequence[str]) -> dict[str, bool]:
    """Look into the newest runs' folders: a guess, as the boxes can be ticked all the same."""
    found = {"files": False, "media": False, "patch": False}
    for run_id in run_ids[:_MAX_FOLDERS_LOOKED_INTO]:
        for folder, entries in artifacts.walk(run_id, max_folders=8):
            for entry in entries:
                if entry.path.startswith(f"{CAPTURED}/git/") and entry.path.endswith(".patch"):
                    found["patch"] = True
                if entry.is_folder or is_captured(folder) or not entry.path:
                    continue
                found["files"] = True
                found["media"] = found["media"] or read_media_name(entry.path) is not None
    return found


def _is_users(tag: str) -> bool:
    """Say whether a tag is one to tick by its name, and none of MLflow's or Weir's own."""
    return not tag.startswith(("mlflow.", "weir."))


def _is_any(session: Any, table: sa.Table, run_ids: Sequence[str]) -> bool:
    for start in range(0, len(run_ids), _IN_LIST):
        query = (
            sa.select(table.c.run_uuid)
            .where(table.c.run_uuid.in_(run_ids[start : start + _IN_LIST]))
            .limit(1)
        )
        if session.execute(query).first() is not None:
            return True
    return False
