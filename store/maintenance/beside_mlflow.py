"""What a database of Weir's holds that MLflow has no place for: an import leaves it there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.sharing import views

_OF_RUNS = {
    "what runs printed": schema.console_source,
    "runs' histograms": schema.histogram,
    "runs' alerts": schema.alert,
}


def count_beside(engine: sa.Engine, experiment_ids: Sequence[str]) -> dict[str, int]:
    """Count what is beside MLflow's: runs that have some of each kind, and what is about them.

    Args:
        engine: Of the database.
        experiment_ids: Of experiments; what is about none of them is not counted.

    Returns:
        How many of what, in the words of a report; also what there is none of.
    """
    ids = set(map(int, experiment_ids))
    runs = tables.runs.c
    known, shared, reports = schema.view.c, schema.share.c, schema.report.c
    counts = {}
    with engine.connect() as connection:
        for what, table in _OF_RUNS.items():
            of_these = sa.select(runs.run_uuid).where(
                runs.run_uuid.in_(sa.select(table.c.run_uuid)), runs.experiment_id.in_(ids)
            )
            counts[what] = _count(connection, of_these)
        rules = schema.alert_rule.c.experiment_id
        counts["alert rules"] = _count(
            connection, sa.select(rules).where(rules.in_(ids) | rules.is_(None))
        )
        for what, query in (
            (
                "arrangements of the workspace",
                sa.select(known.scope).where(known.kind.in_((views.NAMED, views.PERSONAL))),
            ),
            ("reports", sa.select(reports.scope)),
            ("links", sa.select(shared.scope).where(~shared.is_preview)),
        ):
            counts[what] = _about(ids, connection.execute(query).scalars())
    return counts


def _count(connection: sa.Connection, query: sa.Select[tuple[object]]) -> int:
    found = connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar()
    return int(found or 0)


def _about(ids: set[int], scopes: Iterable[str]) -> int:
    return sum(not ids.isdisjoint(map(int, filter(None, scope.split(",")))) for scope in scopes)
