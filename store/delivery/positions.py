"""How far each journal has been applied: the table that makes delivery exactly once.

The position is read, with a lock, first in a transaction and written last, with the data: either
both are there or neither. Who delivers may ask again whenever it does not know what became of a
delivery. The row also keeps what later deliveries of the journal stand on and what nobody else
remembers should the one who delivered die: aliases, runs the journal's process answers for, and
the last records that were refused. Rows stay when a journal is gone, so that a copy of it from a
back-up or another machine changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import sqlalchemy as sa

from mlflow_weir.errors import LeaseLost, NotPermitted, PositionMismatch, StoreUnavailable
from mlflow_weir.store import schema

KEPT_REJECTIONS = 100
_KEPT_CHARACTERS = 500
_columns = schema.journal.c
# Made once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_READ = sa.select(schema.journal).where(_columns.journal_id == sa.bindparam("id"))
_READ_LOCKED = _READ.with_for_update()
_SAVE = sa.update(schema.journal).where(_columns.journal_id == sa.bindparam("id"))


class Rejected(NamedTuple):
    """Something of a journal that did not get into the database, alone.

    Attributes:
        what: What it was, in words.
        reason: Why, for the person who logged it.
        records: Which of the records of this call it came from; empty when read back later.
    """

    what: str
    reason: str
    records: tuple[int, ...] = ()


class LastDelivery(NamedTuple):
    """What was said of the records applied last, for a caller who did not hear it."""

    start: int
    end: int
    n_records: int
    n_points: int
    n_rejected: int


@dataclass
class JournalState:
    """What the database knows of a journal.

    Attributes:
        position: Bytes of the journal that are applied.
        fencing: Of the last who applied; 0 before.
        n_records: Applied in all, rejected ones included.
        n_points: In the database.
        n_rejected: Rejections in all.
        aliases: Experiment ids the journal used, with what they became.
        open_runs: Runs the journal's process answers for, "fluent" or "client".
        since: Since when it has answered for each of them, by the clock of who applied that, ms.
        provisional: Those of them whose end is not the last word, with the status.
        rejected: The last ``KEPT_REJECTIONS``.
        principal: Who delivers it to a server; None where nobody has to say.
        last: The delivery that led to the position.
    """

    position: int = 0
    fencing: int = 0
    n_records: int = 0
    n_points: int = 0
    n_rejected: int = 0
    aliases: dict[str, str] = field(default_factory=dict)
    open_runs: dict[str, str] = field(default_factory=dict)
    provisional: dict[str, str] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    principal: str | None = None
    last: LastDelivery | None = None
    since: dict[str, int] = field(default_factory=dict)


def read(
    connection: sa.Connection, journal_id: str, *, locked: bool = False
) -> JournalState | None:
    """Return what the database knows of a journal; None where it has never heard of it."""
    query = _READ_LOCKED if locked else _READ
    row = connection.execute(query, {"id": journal_id}).one_or_none()
    if row is None:
        return None
    kept = json.loads(row.state)
    return JournalState(
        row.position,
        row.fencing,
        row.n_records,
        row.n_points,
        row.n_rejected,
        kept["aliases"],
        kept["open_runs"],
        kept["provisional"],
        [Rejected(what, reason) for what, reason in kept["rejected"]],
        kept.get("principal"),
        LastDelivery(*kept["last"]) if kept.get("last") else None,
        kept.get("since", {}),
    )


def claim(
    connection: sa.Connection,
    journal_id: str,
    fencing: int | None,
    start: int,
    end: int,
    principal: str | None = None,
) -> JournalState:
    """Lock a journal's row, making it where there is none, for records from start to end.

    Args:
        connection: In a transaction; the lock goes with it.
        journal_id: 32 hex digits.
        fencing: The caller's; None takes part in no contest, as with a copy of a journal.
        start: Position of the first record.
        end: Position after the last.
        principal: Who delivers to a server; the journal becomes theirs.

    Returns:
        The state; its position is ``start``, or beyond ``end`` where all is applied already.

    Raises:
        NotPermitted: The journal is somebody else's.
        StoreUnavailable: Another process delivers its first records at this moment.
        LeaseLost: Somebody with a higher fencing number has been here.
        PositionMismatch: The database is at neither.
    """
    state = read(connection, journal_id, locked=True)
    if state is None:
        if start == 0:
            row = _row(JournalState(), 0)
            try:
                connection.execute(sa.insert(schema.journal), {"journal_id": journal_id, **row})
            except sa.exc.IntegrityError as exc:
                raise StoreUnavailable(
                    f"journal {journal_id}: another process has just begun to deliver it"
                ) from exc
        state = JournalState()
    if principal is not None:
        if state.principal not in (None, principal):
            raise NotPermitted(f"journal {journal_id} is delivered by somebody else")
        state.principal = principal
    if fencing is not None and state.fencing > fencing:
        raise LeaseLost(
            f"journal {journal_id}: delivered under fencing number {state.fencing} by another "
            f"process, ours is {fencing}"
        )
    if state.position < end and state.position != start:
        raise PositionMismatch(journal_id, state.position)
    return state


def save(connection: sa.Connection, journal_id: str, state: JournalState, at_ms: int) -> None:
    """Write a journal's state, in the transaction that has claimed it."""
    connection.execute(_SAVE, {"id": journal_id, **_row(state, at_ms)})


def _row(state: JournalState, at_ms: int) -> dict[str, int | str]:
    return {
        "position": state.position,
        "fencing": state.fencing,
        "n_records": state.n_records,
        "n_points": state.n_points,
        "n_rejected": state.n_rejected,
        "updated_ms": at_ms,
        "state": json.dumps(
            {
                "aliases": state.aliases,
                "open_runs": state.open_runs,
                "provisional": state.provisional,
                "rejected": _shortened(state.rejected),
                "principal": state.principal,
                "last": state.last,
                "since": {run: at for run, at in state.since.items() if run in state.open_runs},
            }
        ),
    }


def _shortened(rejected: Sequence[Rejected]) -> list[tuple[str, str]]:
    return [
        (one.what[:_KEPT_CHARACTERS], one.reason[:_KEPT_CHARACTERS])
        for one in rejected[-KEPT_REJECTIONS:]
    ]
