"""An MLflow plugin that keeps every metric point in columns and answers at once.

Nothing of this has to be imported: MLflow's own calls do it all. What MLflow has no call for is
here.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

__all__ = [
    "__version__",
    "alert",
    "finish",
    "follow",
    "mark_preempting",
    "rewind",
    "unwatch",
    "watch",
]

__version__ = "0.1.0"


def alert(
    title: str,
    text: str = "",
    level: Literal["info", "warning", "error"] = "info",
    *,
    wait_s: float = 60.0,
) -> bool:
    """Tell somebody something of the active run, such as that its loss has become NaN.

    It is written to the journal as a metric is, which takes microseconds, and never raises. It is
    shown on the run's page, and the server sends it to the targets of the experiment's rules
    (docs/alerts.md).

    Args:
        title: What happened, in a line of at most 250 characters.
        text: More of it, at most 8,000 characters.
        level: How bad it is.
        wait_s: Seconds for which another alert of this run with this title is left out, so that
            one may be raised at every step.

    Returns:
        Whether it was taken: not where one with this title came less than ``wait_s`` ago, where
        no run is open, or where the tracking server does not run Weir (the last two are said
        once in the log).
    """
    return bool(
        importlib.import_module("mlflow_weir.plugin.alerting").alert(title, text, level, wait_s)
    )


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


def follow(pattern: str) -> None:
    """Keep the files that a pattern matches among the artifacts of the active run.

    Those that are there, and each new version of them and of others while the run goes on, under
    their paths in the working folder. A version is taken when the file has rested for two seconds,
    and the last one at the run's end, also after a crash. Returns at once.

    Args:
        pattern: Relative to the working folder, such as ``checkpoints/*.pt`` or ``logs/**``.

    Raises:
        MlflowException: This process has no run open on one of Weir's stores.
    """
    importlib.import_module("mlflow_weir.plugin.follows").follow(pattern)


def rewind(run_id: str, step: int) -> None:
    """Take the metrics of a run back to a step, before it goes on from there.

    Every point that was logged so far with a later step is dropped: also points that stock MLflow
    had stored, and what was measured of logged models (the models stay). Metrics ``system/…`` stay
    too, whose step counts samples. The latest metrics become what they would have been without the
    points; params, tags and artifacts are left as they are. What other processes log after this
    is kept.

    Reads in this process see it at once. In the store it is done in its turn, after what was
    logged before and before what is logged after; this waits for that while the store answers,
    for ten seconds at most.

    Args:
        run_id: A run of the current tracking URI.
        step: The last one to be kept.

    Raises:
        MlflowException: No such run, it is deleted, ``step`` is not an integer, or the tracking
            store is not one of Weir's.
    """
    # The layers below know nothing of this one's callers, and MLflow takes a second to import.
    importlib.import_module("mlflow_weir.plugin.rewind").rewind(run_id, step)


def mark_preempting() -> None:
    """Say that the machine is about to be taken away, such as from a handler of SIGTERM.

    Should this process end without finishing its runs of ``mlflow.start_run``, they are KILLED and
    their ``weir.exit_cause`` begins with "preempted", whatever ends it. A run that finishes all
    the same is FINISHED; ``mlflow.start_run(run_id=…)`` lets a preempted one go on.

    Raises:
        MlflowException: This process has no such run open.
    """
    importlib.import_module("mlflow_weir.plugin.preempting").mark_preempting()


def watch(
    model: Any,
    *,
    log: Literal["gradients", "parameters", "all"] = "gradients",
    log_freq: int = 100,
    alert: bool = True,
) -> None:
    """Log a PyTorch model's gradients, its parameters, or both, to the active run.

    At the first step of an optimizer and every ``log_freq``-th after it, of each parameter that
    the optimizer trains: norm, mean, standard deviation, least and greatest value, number of NaN
    and infinite values, and a histogram of 64 bins. The gradients are those that the optimizer
    gets: accumulated, reduced over processes, unscaled, clipped. The training does not wait for
    the device, and a step that is not logged costs microseconds. docs/capture.md says more.

    Args:
        model: A ``torch.nn.Module``, before or after it is wrapped or compiled. A second model
            gets the prefix ``graph_1.``; a model that is watched already is watched anew.
        log: What of it.
        log_freq: Optimizer steps from one that is logged to the next.
        alert: Say once a run where NaN or infinite values are first: in a tag, on stderr, and by
            an alert of the run.

    Raises:
        MlflowException: An argument is none of these.
    """
    importlib.import_module("mlflow_weir.plugin.watching").watch(model, log, log_freq, alert)


def unwatch(model: Any = None) -> None:
    """Watch a model no more, or no model; what was measured so far is logged."""
    importlib.import_module("mlflow_weir.plugin.watching").unwatch(model)
