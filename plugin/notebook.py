"""The cells that a notebook has run, as they were run: their input, in order, without outputs.

A notebook file says what its cells are now; what a run was made with is what the kernel executed.
After a cell, ten seconds apart at least, and when the run ends, the session's inputs are put among
the run's artifacts as a notebook, with secrets taken out. Outputs are never in it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import captures
from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.redaction import Redactor

FILE = "notebook.ipynb"
"""Its name below ``weir/``."""

_PAUSE_S = 10.0
_MAX_CHARACTERS = 5 << 20  # of all cells; the oldest go first

_open: dict[str, tuple[RunView, str]] = {}
_next_s = 0.0
_is_registered = False
_lock = threading.Lock()
_running: set[threading.Thread] = set()


@never_raises(None)
def begin(view: RunView) -> None:
    """Keep the cells of a run that begins in a notebook; returns at once."""
    global _is_registered
    shell = _shell()
    try:
        is_wanted = settings.CAPTURE.get() and settings.CAPTURE_NOTEBOOK.get()
    except ConfigError:
        return  # said by the capture of code
    if shell is None or not is_wanted:
        return
    _open[view.run_id] = (view, mlflow.get_tracking_uri())
    if not _is_registered:
        _is_registered = True
        shell.events.register("post_run_cell", _after_cell)


@never_raises(None)
def end(run_id: str) -> None:
    """Keep the last state of a run that has ended; returns at once."""
    found = _open.pop(run_id, None)
    if found is not None:
        _in_background(*found, inputs())


@never_raises(None)
def _after_cell(result: Any = None) -> None:
    global _next_s
    now_s = time.monotonic()
    if not _open or now_s < _next_s:
        return
    _next_s = now_s + _PAUSE_S
    cells = inputs()
    for view, uri in list(_open.values()):
        _in_background(view, uri, cells)


def _in_background(view: RunView, tracking_uri: str, cells: list[tuple[int, str]]) -> None:
    arguments = (view, tracking_uri, cells)
    thread = threading.Thread(target=_log, args=arguments, name="weir-notebook", daemon=True)
    _running.add(thread)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter exits
        _log(*arguments)


def wait(timeout_s: float) -> None:
    """Wait until what was begun is logged."""
    give_up_s = time.monotonic() + timeout_s
    for thread in list(_running):
        if thread is not threading.current_thread() and thread.is_alive():
            thread.join(max(give_up_s - time.monotonic(), 0.0))


def inputs() -> list[tuple[int, str]]:
    """Return what this kernel has executed: the number of each cell, and its text."""
    shell = _shell()
    raw = [] if shell is None else list(shell.history_manager.input_hist_raw)
    found: list[tuple[int, str]] = []
    left = _MAX_CHARACTERS
    for number in range(len(raw) - 1, 0, -1):
        text = str(raw[number])
        left -= len(text)
        if left < 0:
            break
        if text.strip():
            found.append((number, text))
    return found[::-1]


def as_notebook(cells: list[tuple[int, str]], redactor: Redactor) -> dict[str, Any]:
    """Return cells as a notebook of format 4, with secrets taken out."""
    return {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {"language_info": {"name": "python"}},
        "cells": [
            {
                "cell_type": "code",
                "execution_count": number,
                "metadata": {},
                "outputs": [],
                "source": _redacted(text, redactor).splitlines(keepends=True),
            }
            for number, text in cells
        ],
    }


def _redacted(text: str, redactor: Redactor) -> str:
    block = text.encode("utf-8", "surrogateescape")
    return redactor.block(block, is_source=True).decode("utf-8", "replace")


@never_raises(None)
def _log(view: RunView, tracking_uri: str, cells: list[tuple[int, str]]) -> None:
    with _lock, tempfile.TemporaryDirectory(prefix="weir-notebook-") as folder:
        path = Path(folder, FILE)
        found = as_notebook(cells, Redactor(settings.REDACT.get()))
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        root = view.to_run().info.artifact_uri
        repository = get_artifact_repository(root, tracking_uri=tracking_uri)
        repository.log_artifact(str(path), captures.ARTIFACT_FOLDER)
    _running.discard(threading.current_thread())


def _shell() -> Any:
    """Return the shell of a kernel; None where this is none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None
