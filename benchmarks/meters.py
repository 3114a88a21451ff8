"""What an agent takes of the machine, read from ``/proc``; and how a benchmark ends one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple

from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.agent.lease import holder_of

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_SAMPLE_S = 0.02
_START_S = 30.0
_STOP_S = 15.0


class Usage(NamedTuple):
    """What a process took while it was metered.

    Attributes:
        wall_s: For how long that was.
        cpu_s: Processor time of the process, without its children.
        children_cpu_s: That of its children, as last seen.
        rss_mb: Largest resident memory seen, 10^6 bytes.
        child_rss_mb: Largest of any child; 0.0 where none was seen.
    """

    wall_s: float
    cpu_s: float
    children_cpu_s: float
    rss_mb: float
    child_rss_mb: float

    @property
    def cpu_percent(self) -> float:
        """Return the share of one core that the process took, without its children."""
        return 100 * self.cpu_s / self.wall_s


class Meter:
    """Watches a process from its construction to ``stop``; samples memory 50 times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._rss_mb = self._child_rss_mb = 0.0
        self._children_cpu_s: dict[int, float] = {}
        self._is_over = threading.Event()
        self._start_s = time.monotonic()
        self._start_cpu_s = _cpu_s(pid)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._is_over.wait(_SAMPLE_S):
            self._rss_mb = max(self._rss_mb, _rss_mb(self._pid))
            for child in _children(self._pid):
                self._child_rss_mb = max(self._child_rss_mb, _rss_mb(child))
                with contextlib.suppress(OSError):
                    self._children_cpu_s[child] = _cpu_s(child)

    def cpu_s(self) -> float:
        """Return the processor time of the process so far, without its children."""
        return _cpu_s(self._pid) - self._start_cpu_s

    def has_children(self) -> bool:
        """Say whether the process has children that have not ended, waited for or not."""
        return any(_rss_mb(child) for child in _children(self._pid))

    def stop(self) -> Usage:
        """Stop watching and say what was seen."""
        own_s = self.cpu_s()
        wall_s = time.monotonic() - self._start_s
        self._is_over.set()
        self._thread.join()
        return Usage(
            wall_s,
            own_s,
            sum(self._children_cpu_s.values()),
            self._rss_mb,
            self._child_rss_mb,
        )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _rss_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def agent_pid(spool: Path) -> int:
    """Return the process id of a spool's agent, which is started where none runs.

    Raises:
        RuntimeError: None came up.
    """
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up:
        client.ensure_agent(spool)
        holder = holder_of(AgentFiles(spool))
        if holder and client.is_alive(spool):
            return int(str(holder["pid"]))
        time.sleep(0.01)
    raise RuntimeError(f"no agent came up in {spool}")


def stop_agent(spool: Path) -> None:
    """End a spool's agent, if there is one."""
    give_up = time.monotonic() + _STOP_S
    while client.is_alive(spool):
        client.nudge(spool, client.STOP)
        if time.monotonic() > give_up:
            holder = holder_of(AgentFiles(spool))
            if holder:
                os.kill(int(str(holder["pid"])), signal.SIGKILL)
            return
        time.sleep(0.02)
