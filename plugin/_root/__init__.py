"""An MLflow plugin that keeps every metric point in columns and answers at once.

Nothing of this has to be imported: MLflow's own calls do it all. What MLflow has no call for is
here.
"""

from __future__ import annotations

__all__ = ["__version__", "finish"]

__version__ = "0.1.0"


def finish(timeout_s: float | None = None) -> bool:
    """Deliver now what this process has logged, and wait for it.

    Args:
        timeout_s: Seconds to wait at most; None waits as long as the end of a process would.

    Returns:
        Whether all of it is in the store. What is not will be delivered later all the same.
    """
    import sys

    if traces := sys.modules.get("mlflow_weir.plugin.journaled_traces"):
        traces.hand_over()
    exits = sys.modules.get("mlflow_weir.plugin.exits")
    return True if exits is None else bool(exits.deliver_all(timeout_s))
