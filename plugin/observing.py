"""What is captured of a run while it goes on: begun and ended with it, each in its own module."""

from __future__ import annotations

from typing import Any

from mlflow_weir.plugin import console, follows, hardware, notebook
from mlflow_weir.plugin.overlay import RunView


def begin(store: Any, view: RunView, *, is_new: bool) -> None:
    """Begin for a run that this process has begun (``is_new``) or resumed; returns at once."""
    hardware.begin(store, view)
    follows.begin(store, view)
    notebook.begin(view)
    console.begin(store.recorder, view.info, is_new=is_new)  # last: none of these prints into it


def end(store: Any, view: RunView) -> None:
    """End for a run that has ended; returns at once."""
    console.end(view.run_id)
    hardware.end(store, view)
    follows.end(view.run_id)
    notebook.end(view.run_id)
