"""Asks the agent to sample the machine for the runs of this process, and says when that ends.

The agent does the sampling, once a machine; here is told what only the training knows: how often
its user wants it, which GPUs it may see, and whether MLflow's own monitor is on.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.capture import amd, wishes
from mlflow_weir.plugin.capture.visible_gpus import VARIABLES
from mlflow_weir.plugin.overlay import RunView

_MAX_NODE_CHARACTERS = 60
# Counted by a launcher: how many machines there are, and which of them this one is.
_LAUNCHERS = (
    ("SLURM_NNODES", "SLURM_NODEID"),
    ("SLURM_JOB_NUM_NODES", "SLURM_NODEID"),
    ("GROUP_WORLD_SIZE", "GROUP_RANK"),  # torchrun
)

_has_warned = False
_logger = logging.getLogger("mlflow_weir")


@never_raises(None)
def begin(store: Any, view: RunView) -> None:
    """Have the machine sampled for a run that this process has just begun or resumed.

    Args:
        store: The journaled store that the run is in.
        view: The run.
    """
    journal = store.recorder.journal
    if journal is None or not is_wanted():
        return
    node = node_label()
    wish = wishes.Wish(
        run_id=view.run_id,
        interval_s=settings.HARDWARE_INTERVAL_SECONDS.get(),
        all_gpus=settings.HARDWARE_GPUS.get() == "all",
        variables=settings.pick_environment({*VARIABLES, *amd.VARIABLES}),
        node=node,
        has_monitor=mlflow_private.has_system_monitor(),
        first_step=view.last_step(wishes.prefix_of(node)) + 1,
        began_ms=time.time_ns() // 1_000_000,
    )
    try:
        wishes.write(journal.folder, wish)
    except OSError as exc:
        _logger.debug("the machine is not sampled: %s", exc)
        return

    def write_again(folder: Path) -> None:
        wishes.write(folder, wish)
        wishes.write_begun(folder, wish.run_id, {})  # the steps go on from where they are by now

    store.recorder.beside[view.run_id] = write_again
    store.recorder.hurry()


@never_raises(None)
def end(store: Any, view: RunView) -> None:
    """Take note that a run has ended here."""
    journal = store.recorder.journal
    store.recorder.beside.pop(view.run_id, None)
    if journal is not None and view.is_fluent:
        wishes.withdraw(journal.folder, view.run_id)


def is_wanted() -> bool:
    """Say whether the settings want the machine sampled; a fault in them is said once."""
    global _has_warned
    try:
        settings.HARDWARE_INTERVAL_SECONDS.get()
        settings.HARDWARE_GPUS.get()
        return settings.CAPTURE.get() and settings.CAPTURE_HARDWARE.get()
    except ConfigError as exc:
        if not _has_warned:
            _has_warned = True
            _logger.warning("the machine is not sampled: %s", exc)
        return False


def node_label() -> str:
    """Return what tells this machine's metrics from those of others; "" where there is one."""
    named = settings.NODE.get() or settings.foreign("MLFLOW_SYSTEM_METRICS_NODE_ID") or ""
    if not named:
        for count, number in _LAUNCHERS:
            n_nodes, node = settings.foreign(count) or "", settings.foreign(number)
            if node and n_nodes.isascii() and n_nodes.isdigit() and int(n_nodes) > 1:
                named = f"node_{node}"
                break
    # It becomes a part of a metric's name, of which MLflow takes no more than this.
    label = re.sub(r"[^A-Za-z0-9_.-]", "_", named.strip())[:_MAX_NODE_CHARACTERS]
    return label if label.strip(".") else label.replace(".", "_")
