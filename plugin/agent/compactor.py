"""Compaction of runs, in a short-lived process of its own.

A single small merge makes a process 100 MB larger (measured: pyarrow is 35 MB when it is loaded
and 60 more once it has written a file), which an agent that lives for days would keep. So the
agent starts this module as a child, hands it one run after the other through a pipe, and the child
ends when it has had nothing to do for a few seconds. No secret is in its command line or
environment. It runs at a lower priority than a training, and it may be killed at any moment: each
step is a transaction.

    to the child      {"uri": …, "environment": {…}}, then {"run_id": …, "is_final": …} a run
    from the child    "" for a run that is done, else why it could not be, a JSON text each
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from mlflow_weir.errors import CompactedElsewhere, StoreUnavailable
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.processes import is_readable

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.orm import Session

_log = logging.getLogger(__name__)

_IDLE_S = 5
_DEADLINE_S = 60.0
_NICE = 10

_children: weakref.WeakSet[subprocess.Popen[str]] = weakref.WeakSet()


class Compactor:
    """Compacts runs of one database, one at a time, without waiting for it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._child: subprocess.Popen[str] | None = None
        self._job: tuple[str, bool] | None = None

    def step(self, run_id: str, *, is_final: bool) -> bool:
        """Begin with a run, or look how far it is; False when the run is done.

        Raises:
            StoreUnavailable: It could not be compacted; try again later.
        """
        if self._job is None:
            self._send({"run_id": run_id, "is_final": is_final})
            self._job = (run_id, is_final)
            return True
        answer = self._answer()
        if answer is None:
            return True
        is_this = self._job == (run_id, is_final)  # the run may have ended meanwhile
        self._job = None
        if answer:
            raise StoreUnavailable(f"compaction of run {run_id}: {answer}")
        return not is_this

    def close(self) -> None:
        """End the child, if there is one; what it had in hand is undone."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None
            self._job = None

    def _send(self, job: dict[str, object]) -> None:
        for _ in range(2):  # an idle child may end at this very moment
            if self._child is None or self._child.poll() is not None:
                self.close()
                self._child = _start(self._address)
            try:
                _write(self._child, job)
                return
            except OSError:
                self.close()
        raise StoreUnavailable("the process that compacts does not start")

    def _answer(self) -> str | None:
        """Return what the child says of the run, None while it works."""
        assert self._child is not None
        assert self._child.stdout is not None
        if not is_readable(self._child.stdout, 0):
            return None
        line = self._child.stdout.readline()
        if not line:
            status = self._child.wait()
            self.close()
            return f"its process ended with status {status}"
        return str(json.loads(line))


def _start(address: Address) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "mlflow_weir.plugin.agent.compactor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    _children.add(child)
    _write(child, {"uri": address.uri, "environment": dict(address.environment)})
    return child


def reap() -> None:
    """Wait for children that have ended by themselves, so that none stays a zombie; any thread."""
    for child in list(_children):
        if child.poll() is not None:
            _children.discard(child)


def _write(child: subprocess.Popen[str], record: dict[str, object]) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(record) + "\n")
    child.stdin.flush()


def _serve(jobs: IO[str], answers: IO[str]) -> None:
    """Do what comes in until there is nothing for a while, or nobody left to ask."""
    from mlflow_weir.plugin.agent.sql_target import engine_at

    os.nice(_NICE)
    place = json.loads(jobs.readline())
    address = Address("sql", place["uri"], tuple(place["environment"].items()))
    engine = engine_at(address)
    while True:
        signal.alarm(_IDLE_S)  # which ends this process
        line = jobs.readline()
        signal.alarm(0)
        if not line:
            break
        answer = ""
        try:
            _compact(engine, json.loads(line))
        except Exception as exc:  # noqa: BLE001 - whoever asked says what becomes of the run
            answer = address.redacted(str(exc)) or type(exc).__name__
        try:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
        except BrokenPipeError:  # the agent has ended; so does what Python would flush at exit
            os._exit(0)
    engine.dispose()


def _compact(engine: sa.Engine, job: dict[str, Any]) -> None:
    """Turn a run's batches into chunks, and merge what has become many."""
    from mlflow_weir.store.engine import retrying
    from mlflow_weir.store.metrics import compaction

    run_id = str(job["run_id"])

    def once(action: Callable[[Session, str], int]) -> bool:
        return retrying(lambda: _in_transaction(engine, run_id, action), _DEADLINE_S)

    once(compaction.compact_batches)
    if job["is_final"]:
        once(compaction.merge_all)
        return
    while once(compaction.merge_due):
        pass


def _in_transaction(engine: sa.Engine, run_id: str, action: Callable[[Session, str], int]) -> bool:
    from sqlalchemy.orm import Session

    try:
        with Session(engine) as session, session.begin():
            return action(session, run_id) > 0
    except CompactedElsewhere:
        return False


if __name__ == "__main__":
    _serve(sys.stdin, sys.stdout)
