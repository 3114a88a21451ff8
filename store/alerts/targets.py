"""Where alerts are sent: webhooks, Slack-compatible ones, and e-mail.

An address is a secret where it is a webhook's: who knows it may write there. It is read for
sending alone, and ``Target.place`` is what people are shown of it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.store import schema

KINDS = ("webhook", "slack", "email")
MAX_TARGETS = 100
"""Most of one workspace."""

_columns = schema.alert_target.c


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes:
        workspace: None where the server has none.
        url: Of a webhook; "" for e-mail.
        recipients: Of e-mail.
        base: The server's address as people open it, without a last slash; "" if unknown.
        key: What a webhook's deliveries are signed with; "" where they are not.
    """

    target_id: str
    workspace: str | None
    name: str
    kind: str
    url: str
    recipients: tuple[str, ...]
    base: str
    is_paused: bool = False
    created_ms: int = 0
    created_by: str = ""
    key: str = ""

    @property
    def place(self) -> str:
        """Say where it is, with nothing by which somebody could write there."""
        if self.kind == "email":
            n = len(self.recipients)
            return f"{n} recipient{'s' if n != 1 else ''}"
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}"


def new_id() -> str:
    """Return an id that no target has."""
    return uuid.uuid4().hex


def add(connection: Any, target: Target) -> None:
    """Keep a new target.

    Raises:
        ConfigError: One of the workspace has the name, or there are as many as there may be.
    """
    there = read_all(connection, target.workspace)
    if any(one.name == target.name for one in there):
        raise ConfigError(f"name: there is a target {target.name!r} already")
    if len(there) >= MAX_TARGETS:
        raise ConfigError(f"there are {len(there)} targets already, at most {MAX_TARGETS}")
    connection.execute(
        sa.insert(schema.alert_target).values(
            target_id=target.target_id,
            workspace=target.workspace,
            name=target.name,
            kind=target.kind,
            document=_document(target),
            is_paused=target.is_paused,
            created_ms=target.created_ms,
            created_by=target.created_by[:255],
        )
    )


def read(connection: Any, target_id: str) -> Target | None:
    """Read one target; None where there is none."""
    found = _read(connection, _columns.target_id == target_id)
    return found[0] if found else None


def read_all(connection: Any, workspace: str | None) -> list[Target]:
    """Read the targets of a workspace, by name."""
    if workspace is None:
        return _read(connection, _columns.workspace.is_(None))
    return _read(connection, _columns.workspace == workspace)


def set_paused(connection: Any, target_id: str, is_paused: bool) -> None:
    """Send nothing to a target for a while, or go on."""
    connection.execute(
        sa.update(schema.alert_target)
        .where(_columns.target_id == target_id)
        .values(is_paused=is_paused)
    )


def set_key(connection: Any, target: Target, key: str) -> None:
    """Sign what a webhook gets from now on with a key; the one before, if any, is no more used."""
    connection.execute(
        sa.update(schema.alert_target)
        .where(_columns.target_id == target.target_id)
        .values(document=_document(replace(target, key=key)))
    )


def delete(connection: Any, target_id: str) -> None:
    """Forget a target and its address; what still waits for it is never sent."""
    connection.execute(sa.delete(schema.alert_target).where(_columns.target_id == target_id))


def _document(target: Target) -> str:
    return json.dumps(
        {
            "url": target.url,
            "recipients": list(target.recipients),
            "base": target.base,
            "key": target.key,
        }
    )


def _read(connection: Any, condition: sa.ColumnElement[bool]) -> list[Target]:
    query = sa.select(schema.alert_target).where(condition).order_by(_columns.name)
    return [_target(row) for row in connection.execute(query).mappings()]


def _target(row: Mapping[Any, Any]) -> Target:
    said = json.loads(row["document"])
    return Target(
        row["target_id"],
        row["workspace"],
        row["name"],
        row["kind"],
        said["url"],
        tuple(said["recipients"]),
        said["base"],
        bool(row["is_paused"]),
        row["created_ms"],
        row["created_by"],
        said.get("key", ""),  # those of before have none
    )
