"""Starts the capture of a run's code and environment, and logs what it finds.

With a run of the fluent API a thread starts the process that captures (``capture/__main__.py``)
and waits for it: the training is at most as much slower as a thread that sleeps makes it. What
comes back goes the way of everything a training logs: tags into the journal, files into the run's
artifacts. Runs that follow one another within a few seconds share one capture, and all runs one
thread, which ends when it has nothing to do: a sweep begins thousands.
"""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import RunTag, SourceType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_TYPE

from mlflow_weir import settings
from mlflow_weir.capture_policy import CLASSES
from mlflow_weir.errors import ConfigError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import servers
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.plugin.launchers import rank
from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.plugin.undecided_rest import ask

ARTIFACT_FOLDER = "weir"
"""Where a run's captured files are among its artifacts."""

FAILED_TAG = "weir.capture"
"""Says of a run that nothing of its code and environment could be captured."""

_SOURCES_OF_FLUENT_RUNS = frozenset(
    SourceType.to_string(kind) for kind in (SourceType.LOCAL, SourceType.NOTEBOOK)
)
_SIGNS = ("weir.host", "weir.git.commit", "weir.git.dirty", "weir.gpu")  # of a capture
_TIME_LIMIT_S = 30.0  # above the sum of git's own limits: what is not git is not lost with it
_SHARED_S = 10.0

_lock = threading.Lock()
_last: _Capture | None = None
_asked: collections.deque[tuple[Any, RunView, str]] = collections.deque()
_thread: threading.Thread | None = None
_has_warned = False
_logger = logging.getLogger("mlflow_weir")


def _start_afresh() -> None:
    global _lock, _last, _thread
    _lock, _last, _thread = threading.Lock(), None, None
    _asked.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


class _Capture:
    """What one process found; the runs of a few seconds share it."""

    def __init__(self, journal: Journal | None) -> None:
        """Prepare; the files lie in the journal's folder, and go with it if we are killed."""
        self.at_s = time.monotonic()
        beside = None if journal is None else journal.folder
        self.folder = tempfile.mkdtemp(prefix=".capture-", dir=beside)
        self.tags: dict[str, str] = {}
        self.files: dict[str, str] = {}

    def run(self, allowed: frozenset[str]) -> None:
        """Let the process do it; what it could not find out in time is not there.

        Args:
            allowed: Classes of capture that the server allows.
        """
        asked = {
            "argv": [sys.executable, *sys.orig_argv[1:]],
            "working_folder": os.getcwd(),
            "folder": self.folder,
            "git": settings.CAPTURE_GIT.get() and "git" in allowed,
            "environment": settings.CAPTURE_ENVIRONMENT.get() and "environment" in allowed,
            "hardware": settings.CAPTURE_HARDWARE.get() and "hardware" in allowed,
            "script": _script(),
            "repositories": settings.split_paths(settings.GIT_REPOSITORIES.get()),
            "untracked": settings.CAPTURE_UNTRACKED.get(),
            "patterns": settings.REDACT.get(),
        }
        try:
            found = subprocess.run(
                [sys.executable, "-m", "mlflow_weir.plugin.capture"],
                input=json.dumps(asked).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",  # its modules are not to be those of the training's folder
                start_new_session=True,
                timeout=_TIME_LIMIT_S,
                check=False,
            )
            said: dict[str, Any] = json.loads(found.stdout)
            self.tags, self.files = said.get("tags", {}), said.get("files", {})
        except (OSError, subprocess.SubprocessError, ValueError):
            why = "failed: it took too long, or its process broke or did not start"
            self.tags = {FAILED_TAG: why}

    def close(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.folder, ignore_errors=True)


@never_raises(None)
def begin(store: Any, view: RunView) -> None:
    """Capture for a run that this process has just begun; returns at once.

    Args:
        store: The journaled store that the run is in.
        view: The run.
    """
    global _thread
    if not sys.executable or not _is_wanted():
        return
    with _lock:
        # Of this moment: a fluent run is in the store that is current when it begins.
        _asked.append((store, view, mlflow.get_tracking_uri()))
        if _thread is not None:
            return
        _thread = threading.Thread(target=_capture_all, name="weir-capture", daemon=True)
        try:
            _thread.start()
        except RuntimeError:  # no more threads, or the interpreter exits
            _thread = None


def begin_of_launched(store: Any, view: RunView) -> None:
    """Capture for a run of a launcher that this process goes on with; returns at once.

    ``mlflow run``, a scheduler or ``MlflowClient`` makes the run, and says so by the source or by
    none; what trains it is here. A run that ``mlflow.start_run`` began has been captured there. Of
    several ranks the first does it.

    Args:
        store: The journaled store that the run is in.
        view: The run, as far as it is known.
    """
    was_begun_here = view.tags.get(MLFLOW_SOURCE_TYPE) in _SOURCES_OF_FLUENT_RUNS
    is_captured = any(name in view.tags for name in _SIGNS)
    if view.is_ours and not was_begun_here and not is_captured and not rank():
        begin(store, view)


def _is_wanted() -> bool:
    global _has_warned
    try:
        settings.REDACT.get()
        settings.CAPTURE_UNTRACKED.get()
        kinds = (settings.CAPTURE_GIT, settings.CAPTURE_ENVIRONMENT, settings.CAPTURE_HARDWARE)
        return settings.CAPTURE.get() and any(kind.get() for kind in kinds)
    except ConfigError as exc:
        if not _has_warned:
            _has_warned = True
            _logger.warning("nothing is captured: %s", exc)
        return False


def _script() -> str:
    """Return the file that is run; "" in a notebook or an interactive interpreter."""
    return str(getattr(sys.modules.get("__main__"), "__file__", None) or "")


def wait(timeout_s: float) -> None:
    """Wait until what was begun is logged."""
    thread = _thread
    if thread is not None and thread is not threading.current_thread():
        thread.join(timeout_s)


def hand_over(run_id: str) -> None:
    """Log what ``mlflow_weir.watch`` has on its way from a device; a run is about to end."""
    if watching := sys.modules.get("mlflow_weir.plugin.watching"):
        watching.hand_over(run_id)


def close() -> None:
    """Remove what is on the disk; for the end of a process."""
    if _last is not None:
        _last.close()


def _capture_all() -> None:
    """Capture for the runs that have begun, and for those that begin meanwhile."""
    global _thread
    while True:
        with _lock:
            if not _asked:
                _thread = None
                return
            asked = _asked.popleft()
        _capture(*asked)


@never_raises(None)
def _capture(store: Any, view: RunView, tracking_uri: str) -> None:
    global _last
    found = _last
    if found is None or time.monotonic() - found.at_s > _SHARED_S:
        if found is not None:
            found.close()
        found = _last = _Capture(store.recorder.journal)
        found.run(_allowed(store))
    _log(store, view, tracking_uri, found)


def _allowed(store: Any) -> frozenset[str]:
    """Return what the store's server allows, which is asked; where it is away, what it said last.

    Not in the thread that trains: the server has two seconds.
    """
    target = store.recorder.target
    if target.kind != "http":
        return CLASSES
    with contextlib.suppress(MlflowException):
        ask(store.get_host_creds())
    return servers.allowed_captures(target.uri)


def _log(store: Any, view: RunView, tracking_uri: str, found: _Capture) -> None:
    if found.tags:
        store.note_captured(view, [RunTag(name, value) for name, value in found.tags.items()])
    root = view.to_run().info.artifact_uri
    repository = get_artifact_repository(root, tracking_uri=tracking_uri)
    for name, path in found.files.items():
        below = "/".join(filter(None, (ARTIFACT_FOLDER, name.rpartition("/")[0])))
        with contextlib.suppress(FileNotFoundError):
            repository.log_artifact(str(Path(path)), below)
