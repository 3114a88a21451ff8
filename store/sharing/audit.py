"""Who did what, when, and from where: rows are added and read, never changed.

No entry holds a password or a token: ``detail`` is what the one place that writes them
(``ui_extensions/audit.py``) is given in words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.store import schema

MAX_LISTED = 1_000
_MAX_DETAIL = 4_000


class Entry(NamedTuple):
    """One deed.

    Attributes:
        entry_id: Rises; 0 of one that is not written yet.
        at_ms: By the server's clock.
        who: Name of the user; "" where the server asks nobody.
        address: Where the request came from.
        action: Such as ``visibility`` or ``link.revoke``.
        experiment_id: That it was about; None where about none, or several.
        workspace: Of the request; None where the server has none.
        target: Whom or what it was done to: a user's name, a run's or a link's id.
        detail: What else there is to say.
    """

    entry_id: int
    at_ms: int
    who: str
    address: str
    action: str
    experiment_id: str | None
    workspace: str | None
    target: str
    detail: Mapping[str, Any]


def add(engine: sa.Engine, entry: Entry) -> None:
    """Write an entry; its id is the database's to give."""
    with engine.begin() as connection:
        add_in(connection, entry)


def add_in(connection: sa.Connection, entry: Entry) -> None:
    """Write an entry in the caller's transaction, together with what it tells of."""
    detail = json.dumps(entry.detail, separators=(",", ":"))
    connection.execute(
        sa.insert(schema.audit).values(
            at_ms=entry.at_ms,
            who=_fitting(entry.who, 255),
            address=_fitting(entry.address, 64),
            action=entry.action[:40],
            experiment_id=None if entry.experiment_id is None else int(entry.experiment_id),
            workspace=entry.workspace,
            target=_fitting(entry.target, 255),
            detail=detail if len(detail) <= _MAX_DETAIL else "{}",
        )
    )


def read(
    engine: sa.Engine,
    *,
    workspace: str | None,
    experiment_id: str | None = None,
    who: str | None = None,
    action: str | None = None,
    before: int | None = None,
    limit: int = 200,
) -> list[Entry]:
    """Return entries, the newest first.

    Args:
        engine: Of the database.
        workspace: Whose; None for all, where the server has none.
        experiment_id: About this one alone.
        who: Done by this user alone.
        action: This one, or all that begin with it and a dot.
        before: Older than the entry of this id.
        limit: Most of them.
    """
    columns = schema.audit.c
    query = sa.select(schema.audit).order_by(columns.entry_id.desc()).limit(limit)
    if workspace is not None:
        query = query.where(columns.workspace == workspace)
    if experiment_id is not None:
        query = query.where(columns.experiment_id == int(experiment_id))
    if who is not None:
        query = query.where(columns.who == who)
    if action is not None:
        inside = columns.action.startswith(f"{action}.", autoescape=True)
        query = query.where(sa.or_(columns.action == action, inside))
    if before is not None:
        query = query.where(columns.entry_id < before)
    with engine.connect() as connection:
        return [_entry_of(row) for row in connection.execute(query).mappings()]


def _fitting(text: str, most: int) -> str:
    # PostgreSQL takes no NUL, and no database a lone surrogate.
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:most]


def _entry_of(row: sa.RowMapping) -> Entry:
    experiment_id = row["experiment_id"]
    return Entry(
        row["entry_id"],
        row["at_ms"],
        row["who"],
        row["address"],
        row["action"],
        None if experiment_id is None else str(experiment_id),
        row["workspace"],
        row["target"],
        json.loads(row["detail"]),
    )
