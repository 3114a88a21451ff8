"""What MLflow asks when ``mlflow.start_run`` begins a run: no tags, only that we take note.

MLflow calls a run-context provider before the run has an id, in the thread that begins it, and
only for runs of the fluent API. That is how a run that this process is *in* is told from one that
it merely created with ``MlflowClient``. The standard library alone: MLflow loads this module in
every ``import mlflow``, where an error in a constructor would break the import.
"""

from __future__ import annotations

import threading
import time

_LONGEST_S = (
    30.0  # MLflow asks other providers after ours, git among them; then the server is asked
)

_local = threading.local()


class WeirRunContext:
    """Note a fluent start; give no tags of its own."""

    def in_context(self) -> bool:
        """Take note, before there may be a store of ours; never has tags to add."""
        _local.at_s = time.monotonic()
        return False

    def tags(self) -> dict[str, str]:
        """Return nothing."""
        return {}


def is_fluent_start() -> bool:
    """Say whether the run now begun in this thread is a fluent one; true once for each start."""
    at_s = getattr(_local, "at_s", None)
    _local.at_s = None
    return at_s is not None and time.monotonic() - at_s < _LONGEST_S
