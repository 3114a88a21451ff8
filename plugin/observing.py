"""What is captured of a run while it goes on: begun and ended with it, each in its own module."""

from __future__ import annotations

from typing import Any

from mlflow_weir.capture_policy import CLASSES
from mlflow_weir.plugin import console, follows, hardware, notebook, servers
from mlflow_weir.plugin.overlay import RunView


def begin(store: Any, view: RunView, *, is_new: bool) -> None:
    """Begin for a run that this process has begun (``is_new``) or resumed; returns at once."""
    target = store.recorder.target
    allowed = servers.allowed_captures(target.uri) if target.kind == "http" else CLASSES
    if "hardware" in allowed:
        hardware.begin(store, view)
    if "files" in allowed:
        follows.begin(store, view)
    if "notebook" in allowed:
        notebook.begin(view)
    if "console" in allowed:  # last: none of these prints into it
        console.begin(store.recorder, view.info, is_new=is_new)


def end(store: Any, view: RunView) -> None:
    """End for a run that has ended; returns at once."""
    console.end(view.run_id)
    hardware.end(store, view)
    follows.end(view.run_id)
    notebook.end(view.run_id)
