"""``weir doctor`` on the alerts of a database: do those take them whom they are sent to?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlflow_weir.plugin.cli.doctor_spool import Finding

if TYPE_CHECKING:
    import sqlalchemy as sa

_A_DAY_MS = 86_400_000
_LATE_MS = 600_000


def check_alerts(connection: sa.Connection) -> Finding | None:
    """Were alerts given up in the last day, or does nobody send them? None without a target.

    Args:
        connection: To a database with Weir's tables.
    """
    import sqlalchemy as sa

    from mlflow_weir.store import schema

    targets, deliveries = schema.alert_target.c, schema.alert_delivery.c
    kinds = list(connection.execute(sa.select(targets.kind)).scalars())
    if not kinds:
        return None
    n_rules = _count(connection, schema.alert_rule, schema.alert_rule.c.is_paused.is_(False))
    now_ms = time.time_ns() // 1_000_000
    n_late = _count(
        connection,
        schema.alert_delivery,
        (deliveries.state == "waiting") & (deliveries.due_ms < now_ms - _LATE_MS),
    )
    n_failed = _count(
        connection,
        schema.alert_delivery,
        (deliveries.state == "failed") & (deliveries.tried_ms > now_ms - _A_DAY_MS),
    )
    detail = f"targets: {len(kinds)}, rules in force: {n_rules}"
    if n_failed:
        detail += f", deliveries given up in the last day: {n_failed}"
        return Finding("alerts", False, detail, "`weir alert log` says why.")
    if n_late:
        detail += f", deliveries due for ten minutes: {n_late}"
        return Finding(
            "alerts", False, detail, "A server (`weir ui`) on this database sends them."
        )
    return Finding("alerts", True, detail)


def _count(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    import sqlalchemy as sa

    query = sa.select(sa.func.count()).select_from(table).where(condition)
    return int(connection.execute(query).scalar_one())
