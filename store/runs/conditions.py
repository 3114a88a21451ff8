"""What a search of runs asks for, as SQL that keeps one row a run.

Everything here is put together from MLflow's own clauses (``mlflow_private``), so that
comparators, case rules and the treatment of NaN are the installed version's; only how the parts
are joined is ours. None of the conditions multiplies rows: a filter on a metric, param, tag or
the run name is an EXISTS on that table's primary key, a filter on a data set an IN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import sqlalchemy as sa
from mlflow.store.tracking.dbmodels.models import SqlRun
from mlflow.utils.search_utils import SearchUtils
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op, desc_op

from mlflow_weir.store import mlflow_private

_runs = SqlRun.__table__


class Scope(NamedTuple):
    """Which runs are looked at, before any filter.

    Attributes:
        experiment_ids: What the store's scoping let through; empty finds nothing.
        stages: Lifecycle stages, sorted.
    """

    experiment_ids: Sequence[int]
    stages: Sequence[str]

    def clauses(self, *, by_index: bool = True) -> list[sa.ColumnElement[bool]]:
        """Give the conditions on ``runs``; SQLite uses no index for them unless ``by_index``."""
        experiment, stage = _runs.c.experiment_id, _runs.c.lifecycle_stage
        if not by_index:
            experiment, stage = unindexed(experiment), unindexed(stage)
        return [_is_one_of(experiment, self.experiment_ids), _is_one_of(stage, self.stages)]


class Filters(NamedTuple):
    """A parsed filter string as SQL.

    Attributes:
        on_runs: Conditions on columns of ``runs``, presence of keys included.
        on_keys: SELECTs of the rows of a metric, param or tag table that satisfy a filter.
        on_datasets: Subqueries whose ``destination_id`` is a run with such a data set.
    """

    on_runs: Sequence[sa.ColumnElement[bool]]
    on_keys: Sequence[sa.Select[Any]]
    on_datasets: Sequence[sa.Subquery]

    @classmethod
    def build(cls, parsed: list[dict[str, Any]], session: Session, dialect: str) -> Filters:
        on_runs, on_keys, on_datasets = mlflow_private.run_filter_clauses(parsed, session, dialect)
        return cls(on_runs, [select_of(rows) for rows in on_keys], on_datasets)

    def clauses(self, *, start_from: sa.Select[Any] | None = None) -> list[sa.ColumnElement[bool]]:
        """Give all conditions; ``start_from``, one of ``on_keys``, becomes a list of run ids."""
        clauses = list(self.on_runs)
        for rows in self.on_keys:
            run_id = table_of(rows).c.run_uuid
            if rows is start_from:
                clauses.append(_runs.c.run_uuid.in_(rows.with_only_columns(run_id)))
            else:
                matching = rows.with_only_columns(run_id).where(run_id == _runs.c.run_uuid)
                clauses.append(matching.correlate(_runs).exists())
        clauses += [
            _runs.c.run_uuid.in_(sa.select(rows.c.destination_id)) for rows in self.on_datasets
        ]
        return clauses


class Key(NamedTuple):
    """One of the things that runs are sorted by.

    Attributes:
        value: The column or expression; a rank of MLflow's has a label.
        is_falling: Whether larger values come first.
        is_nullable: Whether runs may be without a value.
        by: The same as MLflow has it in ORDER BY.
    """

    value: sa.ColumnElement[Any]
    is_falling: bool
    is_nullable: bool
    by: Any

    def comes_after(self, value: Any, dialect: str) -> sa.ColumnElement[bool]:
        """Say which runs are sorted behind one that has this value, by this key alone."""
        if value is None:
            return sa.false() if self.has_nulls_last(dialect) else self.value.is_not(None)
        behind = self.value < value if self.is_falling else self.value > value
        return sa.or_(behind, self.value.is_(None)) if self.has_nulls_last(dialect) else behind

    def is_same(self, value: Any) -> sa.ColumnElement[bool]:
        """Say which runs have this value."""
        return self.value.is_(None) if value is None else self.value == value

    def has_nulls_last(self, dialect: str) -> bool:
        """Say whether runs without a value come last; NULL is the largest in PostgreSQL only."""
        return self.is_nullable and self.is_falling != (dialect == "postgresql")


class Order(NamedTuple):
    """A parsed order as SQL: MLflow's clauses, and what the first term sorts by.

    Attributes:
        keys: What is sorted by, two a term (the rank that puts missing values last, and the
            value), then MLflow's tie-breakers, the run id last.
        joins: Subqueries to outer-join, one a term on a metric, param or tag.
        leads_with: ``start_time`` or ``metric`` where the first term has an index, else None.
        metric: Key of that metric.
    """

    keys: Sequence[Key]
    joins: Sequence[sa.Subquery]
    leads_with: str | None
    metric: str | None

    @classmethod
    def parse(cls, order_by: list[str] | None, session: Session) -> Order:
        selected, by, joins = mlflow_private.run_order_clauses(order_by, session)
        values = [*selected, *(_without_direction(clause) for clause in by[len(selected) :])]
        keys = [
            Key(value, getattr(clause, "modifier", None) is desc_op, is_nullable, clause)
            for value, clause, is_nullable in zip(
                values,
                by,
                [*(not isinstance(one, sa.Label) for one in values[:-1]), False],
                strict=True,
            )
        ]
        leads_with = metric = None
        if order_by:
            kind, key, _ = SearchUtils.parse_order_by_for_search_runs(order_by[0])
            key = SearchUtils.translate_key_alias(key)
            if SearchUtils.is_metric(kind, "="):
                leads_with, metric = "metric", key
            elif key == _runs.c.start_time.key and SearchUtils.is_numeric_attribute(
                kind, key, "="
            ):
                leads_with = "start_time"
        return cls(keys, joins, leads_with, metric)


def select_of(subquery: sa.Subquery) -> sa.Select[Any]:
    """Give the SELECT that a subquery of MLflow's was made of."""
    return cast("sa.Select[Any]", subquery.element)


def table_of(rows: sa.Select[Any]) -> sa.Table:
    """Name the one table that a SELECT of ``Filters.on_keys`` reads."""
    (table,) = rows.get_final_froms()
    assert isinstance(table, sa.Table)
    return table


def _without_direction(clause: Any) -> sa.ColumnElement[Any]:
    return clause.element if isinstance(clause, UnaryExpression) else clause


def _is_one_of(column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Compare with ``=`` where one value is left: then an index on the column keeps its order."""
    return column == values[0] if len(values) == 1 else column.in_(values)


def unindexed(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Hide a column from SQLite's planner, by the unary plus that its manual gives for this."""
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)
