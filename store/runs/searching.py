"""``search_runs``: MLflow's answers, found by index and built without ORM rows.

MLflow selects whole run rows, with DISTINCT, sorted by a CASE expression that no index can
serve, and turns each into ORM objects. Here a search has two phases: the first finds the ids of
the page's runs on narrow rows, along an index where one gives the order; the second
(``entities.load_runs``) reads just those runs.

What is searched and in which order comes from MLflow's own parser and clause builders
(``mlflow_private``), so the answers follow the installed version; only the shape of the
statement is ours:

* a filter on a metric, param, tag or the run name is an EXISTS on that table's primary key, a
  filter on a data set an IN; neither multiplies rows, so that no DISTINCT is needed;
* where the first term of the order has an index, the result is a row of *segments* that MLflow's
  rank would have put one after the other (has a number, is NaN, has none), each in index order,
  and only as many are asked for as the page needs.

SQLite's planner has no statistics of MLflow's tables and guesses; there the choice between
walking an index in order and sorting what a filter finds is made here, from bounded counts of
index entries. PostgreSQL and MySQL choose by themselves.

Guarantees, each with a test of the same name in tests/host/test_search_runs.py:

* answers_as_stock: the same runs in the same order with the same contents, tokens and errors.
* workspaces_stay_apart: only experiments that the store's own scoping lets through are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from mlflow.entities import LifecycleStage, Run
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlRun
from mlflow.utils.search_utils import SearchUtils
from sqlalchemy.orm import Session
from sqlalchemy.sql.operators import desc_op

from mlflow_weir.store import mlflow_private
from mlflow_weir.store.runs.conditions import Filters, Order, Scope, select_of, table_of
from mlflow_weir.store.runs.entities import load_runs

# What SQLite looks up and sorts in about 30 ms, and counts in an index in 1 ms.
_FEW_ROWS = 20_000


class _Search(NamedTuple):
    """A search as statements.

    Attributes:
        segments: What they find, one after the other, is the answer, in its order.
        n_skipped: Runs at the start of the answer that they leave out; none of the page.
        n_runs: Runs of the whole answer, where it is known.
    """

    segments: Sequence[sa.Select[Any]]
    n_skipped: int = 0
    n_runs: int | None = None


_runs = SqlRun.__table__
_latest = SqlLatestMetric.__table__


def search_runs(
    store: Any,
    experiment_ids: list[str],
    filter_string: str | None,
    run_view_type: int,
    max_results: int | None,
    order_by: list[str] | None,
    page_token: str | None,
) -> tuple[list[Run], bytes | None]:
    """Answer MLflow's ``_search_runs`` for a ``SqlAlchemyStore`` or a subclass.

    Arguments and errors are MLflow's. Checks are made in MLflow's order, so that a request with
    several mistakes is told of the same one.

    Returns:
        The page's runs, and the token of the next page or None on the last.
    """
    store._validate_max_results_param(max_results, allow_null=True)
    stages = set(LifecycleStage.view_type_to_stages(run_view_type))
    with store.ManagedSessionMaker() as session:
        parsed_filters = SearchUtils.parse_search_filter(filter_string)
        order = Order.parse(order_by, session)
        filters = Filters.build(parsed_filters, session, store._get_dialect())
        offset = SearchUtils.parse_start_offset_from_page_token(page_token)
        ids = mlflow_private.parse_experiment_ids(experiment_ids)
        scope = Scope(store._filter_experiment_ids(session, ids), sorted(stages))
        limit = None if max_results is None else max_results + 1
        search = _as_statements(session, scope, filters, order, offset, limit)
        found = _find_page(session, search, offset, limit)
        next_page_token = None
        if max_results is not None and len(found) > max_results:
            found = found[:max_results]
            next_page_token = SearchUtils.create_page_token(offset + max_results)
        return load_runs(session, found), next_page_token


def _as_statements(
    session: Session,
    scope: Scope,
    filters: Filters,
    order: Order,
    offset: int,
    limit: int | None,
) -> _Search:
    """Write a search as statements.

    Args:
        session: Where SQLite's index entries are counted.
        scope: Which runs.
        filters: Which of them.
        order: In which order.
        offset: Runs before the page.
        limit: Runs of the page; None for all that follow.
    """
    if not scope.experiment_ids:
        return _Search([])
    conditions = [*scope.clauses(), *filters.clauses()]
    if order.leads_with == "start_time":
        return _Search(_by_start_time(conditions, order))
    dialect = session.get_bind().dialect.name
    if dialect == "postgresql" and order.leads_with == "metric":
        return _Search(_by_metric(conditions, order))
    if dialect == "sqlite" and (order.leads_with == "metric" or filters.on_keys):
        return _chosen_for_sqlite(session, scope, filters, order, offset, limit)
    return _Search([_sorted_whole(conditions, order)])


def _chosen_for_sqlite(
    session: Session,
    scope: Scope,
    filters: Filters,
    order: Order,
    offset: int,
    limit: int | None,
) -> _Search:
    """Choose where SQLite starts: at the runs, at a selective filter, or at a metric's values.

    The look-ups that each way takes are weighed against one another; what they have in common is
    the time of one, about 3 µs in a database larger than SQLite's page cache.
    """
    conditions = [*scope.clauses(), *filters.clauses()]
    n_wanted = offset + (limit or 0)  # up to the end of the page; 0 for all
    in_scope = sa.select(_runs.c.run_uuid).where(*scope.clauses())
    n_all = session.execute(sa.text("SELECT max(rowid) FROM runs")).scalar_one() or 0
    most = max(_FEW_ROWS, 4 * n_wanted, math.isqrt(n_wanted * n_all) + 1)
    n_runs = _bounded_count(session, in_scope, most)
    if n_runs <= _FEW_ROWS or not n_wanted:
        return _Search([_sorted_whole(conditions, order)])
    for rows in filters.on_keys:
        if table_of(rows) is not _latest:
            continue  # the values of params and tags have no index to count in
        # With m runs that match, a walk along the order tries n_wanted * n_runs / m of them:
        # more than m look-ups, where m is below the root of that.
        at_most = math.isqrt(n_wanted * n_runs)
        n_matching = _bounded_count(session, rows.with_only_columns(_latest.c.run_uuid), at_most)
        if n_matching <= at_most:
            scoped = scope.clauses(by_index=10 * n_matching > n_runs)
            return _Search([_sorted_whole([*scoped, *filters.clauses(start_from=rows)], order)])
    if order.leads_with == "metric":
        walked = [*scope.clauses(by_index=False), *filters.clauses()]
        if not any(filters) and n_all <= 2 * n_runs <= 2 * most:
            segments = _by_metric(conditions, order, walked)
            return _begun_deep(session, scope, order, _Search(segments, n_runs=n_runs), offset)
        # Other experiments' runs stand between ours in the metric's index.
        if n_wanted * n_all < n_runs * n_runs:
            return _Search(_by_metric(conditions, order, walked))
    return _Search([_sorted_whole(conditions, order)])


def _begun_deep(
    session: Session, scope: Scope, order: Order, search: _Search, offset: int
) -> _Search:
    """Let a walk along a metric begin at the value that its page begins with.

    The walk looks up each run that it passes over, which costs ten times what its entry in the
    metric's index does. Here only entries are read, and held against the runs out of scope, which
    the caller has found to be few.
    """
    if not offset:
        return search
    (metric, *_), (_, by_value, *_) = order.joins, order.by
    # Unlike NOT, which has no answer for a NULL either.
    out_of_scope = sa.and_(*scope.clauses(by_index=False)).is_not(sa.true())
    numbers = sa.select(metric.c.value).where(
        metric.c.is_nan == sa.false(),
        metric.c.run_uuid.not_in(sa.select(_runs.c.run_uuid).where(out_of_scope)),
    )
    first = session.execute(numbers.order_by(by_value).offset(offset).limit(1)).scalar()
    if first is None:
        return search._replace(segments=search.segments[1:], n_skipped=_count(session, numbers))
    value, is_falling = metric.c.value, getattr(by_value, "modifier", None) is desc_op
    n_before = offset
    if _count(session, numbers.where(value == first)) > 1:
        n_before = _count(session, numbers.where(value > first if is_falling else value < first))
    from_first = search.segments[0].where(value <= first if is_falling else value >= first)
    return search._replace(segments=[from_first, *search.segments[1:]], n_skipped=n_before)


def _sorted_whole(conditions: Sequence[sa.ColumnElement[bool]], order: Order) -> sa.Select[Any]:
    """Order as MLflow does, ranks and all; the default order has no rank and follows its index."""
    found = sa.select(_runs.c.run_uuid, *order.ranks).select_from(_joined(_runs, order.joins))
    return found.where(*conditions).order_by(*order.by)


def _by_start_time(
    conditions: Sequence[sa.ColumnElement[bool]], order: Order
) -> list[sa.Select[Any]]:
    """Split off the runs without a start time, whose rank comes last either way."""
    start_time = _runs.c.start_time
    found = (
        sa.select(_runs.c.run_uuid, *order.ranks[2:])
        .select_from(_joined(_runs, order.joins))
        .where(*conditions)
    )
    return [
        found.where(start_time.is_not(None)).order_by(*order.by[1:]),
        found.where(start_time.is_(None)).order_by(*order.by[2:]),
    ]


def _by_metric(
    conditions: Sequence[sa.ColumnElement[bool]],
    order: Order,
    conditions_on_walk: Sequence[sa.ColumnElement[bool]] | None = None,
) -> list[sa.Select[Any]]:
    """Split into runs with a number, with NaN, and without the metric, as its rank does.

    Args:
        conditions: Which runs.
        order: Its first term is a metric.
        conditions_on_walk: The same runs, written so that SQLite walks the metric's index.
    """
    metric, *joins = order.joins
    with_metric = _runs.join(metric, metric.c.run_uuid == _runs.c.run_uuid)
    has_metric = (
        sa.select(_runs.c.run_uuid, *order.ranks[2:])
        .select_from(_joined(with_metric, joins))
        .where(*(conditions_on_walk or conditions))
        .order_by(*order.by[1:])
    )
    keyed = select_of(metric).with_only_columns(_latest.c.run_uuid)
    lacks_metric = ~keyed.where(_latest.c.run_uuid == _runs.c.run_uuid).correlate(_runs).exists()
    return [
        has_metric.where(metric.c.is_nan == sa.false()),
        has_metric.where(metric.c.is_nan == sa.true()),
        sa.select(_runs.c.run_uuid, *order.ranks[2:])
        .select_from(_joined(_runs, joins))
        .where(*conditions, lacks_metric)
        .order_by(*order.by[2:]),
    ]


def _joined(start: sa.FromClause, subqueries: Sequence[sa.Subquery]) -> sa.FromClause:
    for rows in subqueries:
        start = start.outerjoin(rows, rows.c.run_uuid == _runs.c.run_uuid)
    return start


def _find_page(session: Session, search: _Search, offset: int, limit: int | None) -> list[str]:
    """Read ``limit`` run ids from ``offset`` on, asking no more segments than that takes."""
    if search.n_runs is not None and limit is not None:
        limit = min(limit, search.n_runs - offset)
        if limit <= 0:
            return []
    offset -= search.n_skipped
    found: list[str] = []
    for segment in search.segments:
        page = segment.offset(offset)
        if limit is not None:
            page = page.limit(limit - len(found))
        ids = session.execute(page).scalars().all()
        found += ids
        if limit is not None and len(found) >= limit:
            break
        if segment is search.segments[-1]:
            break
        # A page that starts behind this segment starts that much earlier in the next.
        offset = 0 if ids else max(0, offset - (_count(session, segment) if offset > 0 else 0))
    # A run whose metric changed between two statements could be in both.
    return list(dict.fromkeys(found))


def _count(session: Session, found: sa.Select[Any]) -> int:
    rows = found.order_by(None).subquery()
    return int(session.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())


def _bounded_count(session: Session, found: sa.Select[Any], at_most: int = _FEW_ROWS) -> int:
    """Count rows, but no more than one above ``at_most``."""
    return _count(session, found.limit(at_most + 1))
