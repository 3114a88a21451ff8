"""What the end of a process means for the runs it left open.

By tiers, best evidence first; what nobody saw is not guessed. A run is *fluent* when the process
began or resumed it with ``mlflow.start_run``, and a *client's* when it only logged to it through
``MlflowClient``: a launcher that ends well while others train must not end their run.

    process                   fluent, left open         client, left open  ended provisionally
    ended with code 0         FINISHED, and said        as it is           as it is
    ended with code N         FAILED, "exit code N"     the same           the same
    SIGKILL, the kernel       FAILED, "out of memory"   the same           FINISHED, and said
      wanted memory
    another signal            KILLED, "signal NAME"     the same           FINISHED, and said
    machine restarted         FAILED, and said          as it is           as it is
    not known, the kernel     FAILED, "out of memory"   as it is           as it is
      wanted memory
    not known                 FAILED, "ended without    as it is           as it is
                              saying why"

"Ended provisionally" is what MLflow's exit handler wrote (FINISHED): the program had come to its
end by then, and only its exit code can say otherwise. A signal after that (a driver that crashes
while it is unloaded) does not undo a training.

Where several processes answer for a run, the last one's end is the run's; but a client's life does
not keep a run going whose fluent process is gone. On one machine the agent knows who lives, on
several the store does (``store/delivery/owners.py``).
"""

from __future__ import annotations

import signal
from enum import Enum
from typing import NamedTuple

from mlflow_weir.plugin.agent.liveness import Ended


class Ownership(str, Enum):
    """How a run belongs to the process that ended."""

    FLUENT = "fluent"
    CLIENT = "client"
    PROVISIONAL = "provisional"

    def yields_to(self, other: Ownership) -> bool:
        """Say whether a run goes on without this process while ``other`` is a living one's."""
        if other is Ownership.PROVISIONAL:  # it has come to its end as well
            return False
        return other is Ownership.FLUENT or self is Ownership.CLIENT


class Evidence(NamedTuple):
    """What is known about a process's end.

    Attributes:
        ended: What the kernel says, or the process has left; None when neither did.
        oom: What shows that the kernel killed it for want of memory; None when nothing does.
        is_restart: The machine was restarted since.
        at_ms: When it ended, wall time; its last sign of life when that is not known.
    """

    ended: Ended | None
    oom: str | None = None
    is_restart: bool = False
    at_ms: int | None = None


class Verdict(NamedTuple):
    """What to make of one run."""

    status: str
    cause: str


def verdict(how: Ownership, evidence: Evidence) -> Verdict | None:
    """Decide about one run; None to leave it as it is."""
    if evidence.ended is None:
        if how is not Ownership.FLUENT:
            return None
        if evidence.is_restart:
            return Verdict("FAILED", "the machine was restarted")
        if evidence.oom is not None:  # and MLflow did not end the run, as it does at every exit
            return Verdict("FAILED", f"out of memory ({evidence.oom}; its signal is not known)")
        return Verdict("FAILED", "ended without saying why")
    code, number = evidence.ended
    if code == 0:
        is_open = how is Ownership.FLUENT
        return Verdict("FINISHED", "exited 0 without end_run") if is_open else None
    if code is not None:
        return Verdict("FAILED", f"exit code {code}")
    cause = f"signal {_name(number)}"
    status = "KILLED"
    if evidence.oom is not None and number == signal.SIGKILL:
        status, cause = "FAILED", f"out of memory ({evidence.oom})"
    if how is Ownership.PROVISIONAL:
        return Verdict("FINISHED", f"{cause} after the end of the program")
    return Verdict(status, cause)


def _name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:  # a real-time signal between the named ones
        return str(number)
