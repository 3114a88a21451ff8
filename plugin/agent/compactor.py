"""Compaction of a run, in the agent or, where it takes memory, in a process of its own.

A merge holds its points several times over: 100 bytes each and more. The agent does small ones
itself (tens of milliseconds) and leaves others to a process that runs this module, one at a time,
which reads what to do from its standard input, so that no secret is in its command line or
environment. It may be killed at any moment: each step is a transaction.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import CompactedElsewhere, StoreUnavailable
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.store import engine as engines
from mlflow_weir.store import schema
from mlflow_weir.store.metrics import chunks, compaction

_log = logging.getLogger(__name__)

MAX_POINTS_HERE = 1 << 17
"""Largest run, in points not sealed yet, that is compacted in the agent itself."""

_DEADLINE_S = 60.0


class Compactor:
    """Compacts runs of one database."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._child: subprocess.Popen[bytes] | None = None

    def step(self, engine: sa.Engine, run_id: str, *, is_final: bool) -> bool:
        """Do one transaction's worth; False when the run needs no more for now.

        Where a child is needed, the step is its start, or a look at it: True until it is done.

        Raises:
            StoreUnavailable: The database is locked, or a child failed.
        """
        if self._child is not None:
            return self._is_running(run_id)
        if _points(engine, run_id) > MAX_POINTS_HERE:
            self._start(run_id, is_final=is_final)
            return True
        return any(_in_transaction(engine, run_id, one) for one in _steps(is_final=is_final))

    def close(self) -> None:
        """End the child, if there is one; what it had in hand is undone."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _is_running(self, run_id: str) -> bool:
        assert self._child is not None
        status = self._child.poll()
        if status is None:
            return True
        self._child = None
        if status:
            raise StoreUnavailable(f"compaction of run {run_id} ended with status {status}")
        return False

    def _start(self, run_id: str, *, is_final: bool) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "mlflow_weir.plugin.agent.compactor"],
            stdin=subprocess.PIPE,
            cwd="/",
        )
        job = {
            "uri": self._address.uri,
            "environment": dict(self._address.environment),
            "run_id": run_id,
            "is_final": is_final,
        }
        assert self._child.stdin is not None
        with self._child.stdin as pipe:
            pipe.write(json.dumps(job).encode())


def _points(engine: sa.Engine, run_id: str) -> int:
    with engine.connect() as connection:
        n_points = 0
        for table, condition in (
            (schema.batch, sa.true()),
            (schema.chunk, schema.chunk.c.level < chunks.SEALED_LEVEL),
        ):
            total = sa.select(sa.func.sum(table.c.n_points))
            query = total.where(table.c.run_uuid == run_id, condition)
            n_points += int(connection.execute(query).scalar() or 0)
        return n_points


def _steps(*, is_final: bool) -> tuple[Callable[[Session, str], int], ...]:
    last = compaction.merge_all if is_final else compaction.merge_due
    return compaction.compact_batches, last


def _in_transaction(engine: sa.Engine, run_id: str, action: Callable[[Session, str], int]) -> bool:
    try:
        with Session(engine) as session, session.begin():
            return action(session, run_id) > 0
    except CompactedElsewhere:
        return False


def _run(job: dict[str, object]) -> None:
    from mlflow_weir.plugin.agent.sql_target import engine_at

    environment = job["environment"]
    assert isinstance(environment, dict)
    engine = engine_at(Address("sql", str(job["uri"]), tuple(environment.items())))
    run_id, is_final = str(job["run_id"]), bool(job["is_final"])

    def once() -> bool:
        return any(_in_transaction(engine, run_id, step) for step in _steps(is_final=is_final))

    while engines.retrying(once, _DEADLINE_S):
        pass
    engine.dispose()


if __name__ == "__main__":
    _run(json.load(sys.stdin))
