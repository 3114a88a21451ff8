"""Alerts as they are kept: what a training, or a rule, had to say of a run.

An alert's id is its raiser's choice, so that one that is brought again is the same one. Of a rule
and a run it follows from both (``id_of_rule``), which is what makes a rule fire once a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables

LEVELS = ("info", "warning", "error")
"""From what is merely told to what is wrong."""

MAX_TITLE = 250
MAX_TEXT = 8_000
MAX_OF_A_RUN = 1_000
"""Most alerts that a run's trainings may raise: it is one who counts, not one who is told."""

_columns = schema.alert.c


class Alert(NamedTuple):
    """One alert.

    Attributes:
        at_ms: When it was raised, by its raiser's clock.
        rule_id: Of the rule that raised it; None where the training did.
    """

    alert_id: str
    run_id: str
    level: str
    title: str
    text: str
    at_ms: int
    rule_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as answers and exports have it."""
        return {
            "id": self.alert_id,
            "run_id": self.run_id,
            "level": self.level,
            "title": self.title,
            "text": self.text,
            "at_ms": self.at_ms,
            "rule_id": self.rule_id,
        }


def fitting(text: str, most: int) -> str:
    """Return a text as every database keeps it: no NUL, no lone surrogate, not too long."""
    text = text.encode("utf-8", "replace").decode().replace("\0", "")
    return text if len(text) <= most else f"{text[: most - 1]}…"


def id_of_rule(rule_id: str, run_id: str) -> str:
    """Return the id of the alert that a rule raises for a run."""
    return hashlib.sha256(f"{rule_id} {run_id}".encode()).hexdigest()[:32]


def add(connection: sa.Connection, alert: Alert, received_ms: int, *, is_routed: bool) -> None:
    """Keep an alert.

    Args:
        connection: In a transaction.
        alert: One whose id is not there.
        received_ms: When it came, by the store's clock.
        is_routed: It has been decided where it is sent.
    """
    connection.execute(
        sa.insert(schema.alert).values(
            alert_id=alert.alert_id,
            run_uuid=alert.run_id,
            level=alert.level,
            title=fitting(" ".join(alert.title.split()), MAX_TITLE) or "(no title)",
            text=fitting(alert.text, MAX_TEXT),
            at_ms=alert.at_ms,
            received_ms=received_ms,
            rule_id=alert.rule_id,
            is_routed=is_routed,
        )
    )


def owner_of(connection: sa.Connection, alert_id: str) -> str | None:
    """Return the run that an alert is of; None where there is no such alert."""
    query = sa.select(_columns.run_uuid).where(_columns.alert_id == alert_id)
    found: str | None = connection.execute(query).scalar()
    return found


def count_raised(connection: sa.Connection, run_id: str) -> int:
    """Count the alerts that the trainings of a run have raised."""
    query = sa.select(sa.func.count()).where(
        _columns.run_uuid == run_id, _columns.rule_id.is_(None)
    )
    return int(connection.execute(query).scalar_one())


def read_run(connection: Any, run_id: str, limit: int) -> list[Alert]:
    """Read the newest alerts of a run, the newest first."""
    query = _select().where(_columns.run_uuid == run_id)
    return _read(connection, query, limit)


def read_experiments(connection: Any, experiment_ids: Sequence[int], limit: int) -> list[Alert]:
    """Read the newest alerts of the active runs of experiments, the newest first."""
    runs = tables.runs.c
    query = (
        _select()
        .join(tables.runs, runs.run_uuid == _columns.run_uuid)
        .where(runs.experiment_id.in_(experiment_ids), runs.lifecycle_stage == tables.ACTIVE)
    )
    return _read(connection, query, limit)


def _select() -> sa.Select[Any]:
    return sa.select(
        _columns.alert_id,
        _columns.run_uuid,
        _columns.level,
        _columns.title,
        _columns.text,
        _columns.at_ms,
        _columns.rule_id,
    ).select_from(schema.alert)


def _read(connection: Any, query: sa.Select[Any], limit: int) -> list[Alert]:
    ordered = query.order_by(_columns.at_ms.desc(), _columns.alert_id).limit(limit)
    return [Alert(*row) for row in connection.execute(ordered)]
