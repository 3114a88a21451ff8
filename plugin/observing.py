"""What is captured of a run while it goes on: begun and ended with it, each in its own module."""

from __future__ import annotations

from typing import Any

from mlflow_weir.capture_policy import CLASSES
from mlflow_weir.plugin import console, follows, hardware, notebook, servers
from mlflow_weir.plugin.overlay import RunView


def begin(store: Any, view: RunView, *, is_new: bool) -> None:
    """Begin for a run that this process has begun (``is_new``) or resumed; returns at once."""
    classes = allowed(store)
    if "hardware" in classes:
        hardware.begin(store, view)
    if "files" in classes:
        follows.begin(store, view)
    if "notebook" in classes:
        notebook.begin(view)
    if "console" in classes:  # last: none of these prints into it
        console.begin(store.recorder, view.info, is_new=is_new)


def end(store: Any, view: RunView) -> None:
    """End for a run that has ended; returns at once."""
    console.end(view.run_id)
    hardware.end(store, view)
    follows.end(view.run_id)
    notebook.end(view.run_id)


def allowed(store: Any) -> frozenset[str]:
    """Return the classes of capture that a store's server allows, as it said last."""
    target = store.recorder.target
    return servers.allowed_captures(target.uri) if target.kind == "http" else CLASSES
