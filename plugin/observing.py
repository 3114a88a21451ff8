"""What is captured of a run while it goes on: begun and ended with it, each in its own module."""

from __future__ import annotations

from typing import Any

from mlflow_weir.plugin import follows, hardware, notebook
from mlflow_weir.plugin.overlay import RunView


def begin(store: Any, view: RunView) -> None:
    """Begin for a run that this process has begun or resumed; returns at once."""
    hardware.begin(store, view)
    follows.begin(store, view)
    notebook.begin(view)


def end(store: Any, view: RunView) -> None:
    """End for a run that has ended; returns at once."""
    hardware.end(store, view)
    follows.end(view.run_id)
    notebook.end(view.run_id)
