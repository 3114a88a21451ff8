"""What MLflow asks when ``mlflow.start_run`` begins a run: no tags, only that we take note.

MLflow calls a run-context provider before the run has an id, in the thread that begins it, and
only for runs of the fluent API. That is how a run that this process is *in* is told from one that
it merely created with ``MlflowClient``. The standard library alone: MLflow loads this module in
every ``import mlflow``, where an error in a constructor would break the import.
"""

from __future__ import annotations

import sys


class WeirRunContext:
    """Note a fluent start; give no tags of its own."""

    def in_context(self) -> bool:
        """Tell our stores, where this process has any; never has tags to add."""
        exits = sys.modules.get("mlflow_weir.plugin.exits")
        if exits is not None:
            exits.note_fluent_start()
        return False

    def tags(self) -> dict[str, str]:
        """Return nothing."""
        return {}
