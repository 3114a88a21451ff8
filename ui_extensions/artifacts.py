"""A run's artifacts as its reader may see them: listed and read by MLflow's own routes.

Each question goes to MLflow as a request of the caller's: its permissions, its workspaces, its
checks of paths, and artifact roots that only it can reach (``mlflow-artifacts:``) hold here as
they hold there. No path of the file system is made here. What comes from outside as a path is
checked all the same (``checked_path``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlencode

import flask

from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.ui_extensions import access

Fetch = Callable[[str], flask.Response]
"""Has MLflow answer a GET below its static prefix; the caller closes the answer."""

MAX_PATH = 2_000
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_SEGMENTS_FORBIDDEN = {"", ".", ".."}


class Entry(NamedTuple):
    """One file or folder.

    Attributes:
        path: Below the run's artifact root, with ``/``.
        is_folder: It is one.
        size: In bytes; None for folders, and where the store does not say.
    """

    path: str
    is_folder: bool
    size: int | None


class Content(NamedTuple):
    """What was read of a file.

    Attributes:
        body: Its bytes, from its beginning.
        is_cut: There are more.
    """

    body: bytes
    is_cut: bool


def checked_path(path: str, *, may_be_root: bool = False) -> str:
    """Return a relative path; end the request with 400 for anything else."""
    if may_be_root and path == "":
        return path
    if (
        len(path) > MAX_PATH
        or _FORBIDDEN.search(path)
        or _SEGMENTS_FORBIDDEN & set(path.split("/"))
    ):
        flask.abort(access.refusal(400, "no path of an artifact"))
    return path


def for_caller(path: str) -> flask.Response:
    """Have MLflow answer with the caller's own rights."""
    return access.fetch("GET", path)


def list_folder(run_id: str, path: str = "", fetch: Fetch = for_caller) -> list[Entry]:
    """Return what is in a folder, folders first, each by name; nothing where there is no folder.

    Args:
        run_id: A run that the caller may read.
        path: Checked; "" for the root.
        fetch: On whose behalf.

    Raises:
        StoreUnavailable: The artifact store does not answer.
    """
    query = urlencode({"run_id": run_id} | ({"path": path} if path else {}))
    answer = fetch(f"/ajax-api/2.0/mlflow/artifacts/list?{query}")
    try:
        if answer.status_code == 404:
            return []
        _require_success(answer)
        files = (answer.get_json(silent=True) or {}).get("files", [])
    finally:
        answer.close()
    found = [
        Entry(
            str(file["path"]),
            bool(file.get("is_dir")),
            None if file.get("is_dir") or "file_size" not in file else int(file["file_size"]),
        )
        for file in files
    ]
    return sorted(found, key=lambda entry: (not entry.is_folder, entry.path))


def read_file(
    run_id: str, path: str, most_bytes: int, fetch: Fetch = for_caller
) -> Content | None:
    """Return the beginning of a file; None where there is none.

    Args:
        run_id: A run that the caller may read.
        path: Checked, and best one that was listed: a store may fail over what is not there.
        most_bytes: Read no more than that.
        fetch: On whose behalf.

    Raises:
        StoreUnavailable: The artifact store does not answer.
    """
    answer = fetch(f"/get-artifact?{urlencode({'run_id': run_id, 'path': path})}")
    try:
        if answer.status_code == 404:
            return None
        _require_success(answer)
        parts, n_bytes = [], 0
        for part in answer.iter_encoded():
            parts.append(part)
            n_bytes += len(part)
            if n_bytes > most_bytes:
                break
    finally:
        answer.close()
    return Content(b"".join(parts)[:most_bytes], n_bytes > most_bytes)


def walk(
    run_id: str, *, max_folders: int, fetch: Fetch = for_caller
) -> Iterator[tuple[str, list[Entry]]]:
    """Return folder after folder with what is in it, the root first; at most ``max_folders``.

    A logged model's folder is left out with all below it: its files are not the run's to show.
    """
    waiting, n_folders = [""], 0
    while waiting and n_folders < max_folders:
        folder = waiting.pop(0)
        n_folders += 1
        entries = list_folder(run_id, folder, fetch)
        if any(entry.path.rpartition("/")[2] == "MLmodel" for entry in entries):
            continue
        yield folder, entries
        waiting += [entry.path for entry in entries if entry.is_folder]
    if waiting:
        yield "", [Entry("", True, None)]  # the mark of an end that is none


def _require_success(answer: flask.Response) -> None:
    if answer.status_code >= 500:
        raise StoreUnavailable("the artifact store does not answer")
    if answer.status_code != 200:
        said = (answer.get_json(silent=True) or {}).get("message")
        flask.abort(
            access.refusal(answer.status_code, str(said or "MLflow refuses this artifact"))
        )
