"""Files of the working folder that a run's artifacts follow: ``WEIR_FILES`` and ``follow``.

A process of its own looks at them (``capture/following_process.py``); here it is started in the
background with the first pattern of a run, and told when the run ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import IO, Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.plugin.pending_names import PENDING_ARTIFACTS
from mlflow_weir.plugin.upload_environment import upload_environment

_SLACK_NS = 2_000_000_000  # of a file system's clock

_followed: dict[str, _Followed] = {}
_ending: list[_Followed] = []


def _start_afresh() -> None:
    _followed.clear()
    _ending.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


class _Followed:
    """The process that follows the files of one run."""

    def __init__(self, store: Any, root: str) -> None:
        recorder = store.recorder
        credentials = recorder.credentials
        self._lines: list[dict[str, Any]] = [
            {
                "folder": os.getcwd(),
                "root": root,
                "target": list(recorder.target),
                "credentials": asdict(credentials) if credentials else None,
                "environment": upload_environment(),
                "max_bytes": settings.FILES_MAX_BYTES.get(),
            }
        ]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def say(self, **line: Any) -> None:
        """Tell the process something, in the background; it is started with the first."""
        with self._lock:
            self._lines.append(line)
        thread = threading.Thread(target=self._send, name="weir-follow", daemon=True)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError:  # no more threads, or the interpreter exits
            self._send()

    @never_raises(None)
    def _send(self) -> None:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "mlflow_weir.plugin.capture.following_process"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",  # its modules are not to be those of the training's folder
                    start_new_session=True,
                    bufsize=0,
                )
            pipe: IO[bytes] | None = self._process.stdin
            lines, self._lines = self._lines, []
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def wait(self, give_up_s: float) -> None:
        """Wait until it has taken the last versions."""
        if self._thread is not None:
            self._thread.join(max(give_up_s - time.monotonic(), 0.0))
        process = self._process
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(give_up_s - time.monotonic(), 0.0))


@never_raises(None)
def begin(store: Any, view: RunView) -> None:
    """Follow what ``WEIR_FILES`` says, for a run that has just begun; returns at once."""
    try:
        patterns = settings.split_paths(settings.FILES.get()) if settings.CAPTURE.get() else []
        settings.FILES_MAX_BYTES.get()
        settings.REDACT.get()
    except ConfigError:
        return  # said by the capture of code
    if patterns and sys.executable:
        since_ns = time.time_ns() - _SLACK_NS
        for pattern in patterns:
            _follow(store, view.run_id, view.info.artifact_uri, pattern, since_ns)


def follow(pattern: str) -> None:
    """Do what ``mlflow_weir.follow`` says."""
    store: Any = mlflow_private.cached_tracking_store(None)
    run = mlflow.active_run()
    if run is None or not hasattr(store, "recorder"):
        raise MlflowException(
            "mlflow_weir.follow needs a run that this process began or resumed with "
            "mlflow.start_run, on one of Weir's stores, and there is none.",
            INVALID_STATE,
        )
    root = run.info.artifact_uri or f"{PENDING_ARTIFACTS}{run.info.run_id}"
    _follow(store, run.info.run_id, root, pattern, 0)


def _follow(store: Any, run_id: str, root: str, pattern: str, since_ns: int) -> None:
    found = _followed.get(run_id)
    if found is None:
        found = _followed[run_id] = _Followed(store, root)
    found.say(pattern=pattern, since_ns=since_ns)


@never_raises(None)
def end(run_id: str) -> None:
    """Take the last versions of a run that has ended; returns at once."""
    found = _followed.pop(run_id, None)
    if found is not None:
        _ending.append(found)
        found.say(is_end=True)


@never_raises(None)
def wait(timeout_s: float, *, is_exit: bool) -> None:
    """Wait until the runs that have ended have their files; at the process's exit, all of them."""
    for run_id in list(_followed) if is_exit else ():
        end(run_id)
    give_up_s = time.monotonic() + timeout_s
    while _ending:
        _ending.pop().wait(give_up_s)
