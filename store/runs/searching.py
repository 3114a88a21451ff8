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

from mlflow_weir.store import mlflow_private
from mlflow_weir.store.engine import compile_nothing
from mlflow_weir.store.runs import page_tokens
from mlflow_weir.store.runs.conditions import Filters, Key, Order, Scope, select_of, table_of
from mlflow_weir.store.runs.entities import load_runs
from mlflow_weir.store.runs.page_tokens import PageStart, SortKey

# What SQLite looks up and sorts in about 30 ms, and counts in an index in 1 ms.
_FEW_ROWS = 20_000


class _Segment(NamedTuple):
    """A part of the answer that lies in one piece.

    Attributes:
        found: Gives the values of ``keys`` a run, sorted by them.
        keys: What it is sorted by, the run id last.
        shared: Values of the order's keys before those, the same for all of its runs.
    """

    found: sa.Select[Any]
    keys: Sequence[Key]
    shared: SortKey = ()


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
        compile_nothing(session)
        parsed_filters = SearchUtils.parse_search_filter(filter_string)
        order = Order.parse(order_by, session)
        filters = Filters.build(parsed_filters, session, store._get_dialect())
        asked = [list(experiment_ids), filter_string or "", run_view_type, list(order_by or [])]
        start = page_tokens.read(page_token, asked)
        ids = mlflow_private.parse_experiment_ids(experiment_ids)
        scope = Scope(store._filter_experiment_ids(session, ids), sorted(stages))
        limit = None if max_results is None else max_results + 1
        found = _find_page(session, scope, filters, order, start, limit)
        next_page_token = None
        if max_results is not None and len(found) > max_results:
            found = found[:max_results]
            next_page_token = page_tokens.write(start.offset + max_results, found[-1], asked)
        return load_runs(session, [run_id for *_, run_id in found]), next_page_token


def _find_page(
    session: Session,
    scope: Scope,
    filters: Filters,
    order: Order,
    start: PageStart,
    limit: int | None,
) -> list[SortKey]:
    """Find what the page's runs are sorted by, their ids last."""
    if not scope.experiment_ids:
        return []
    if start.after is not None:
        segments = _as_segments(session, scope, filters, order, 0, limit)
        rest = _behind(segments, start.after, session.get_bind().dialect.name)
        if rest is not None:
            return _read(session, rest, 0, limit)
    segments = _as_segments(session, scope, filters, order, start.offset, limit)
    return _read(session, segments, start.offset, limit)


def _as_segments(
    session: Session,
    scope: Scope,
    filters: Filters,
    order: Order,
    offset: int,
    limit: int | None,
) -> list[_Segment]:
    """Write a search as segments that are the answer, one after the other.

    Args:
        session: Where SQLite's index entries are counted.
        scope: Which runs.
        filters: Which of them.
        order: In which order.
        offset: Runs before the page.
        limit: Runs of the page; None for all that follow.
    """
    conditions = [*scope.clauses(), *filters.clauses()]
    if order.leads_with == "start_time":
        return _by_start_time(conditions, order)
    dialect = session.get_bind().dialect.name
    if dialect == "postgresql" and order.leads_with == "metric":
        return _by_metric(conditions, order)
    if dialect == "sqlite" and (order.leads_with == "metric" or filters.on_keys):
        return _chosen_for_sqlite(session, scope, filters, order, offset, limit)
    return [_sorted_whole(conditions, order)]


def _chosen_for_sqlite(
    session: Session,
    scope: Scope,
    filters: Filters,
    order: Order,
    offset: int,
    limit: int | None,
) -> list[_Segment]:
    """Choose where SQLite starts: at the runs, at a selective filter, or at a metric's values.

    The look-ups that each way takes are weighed against one another; what they have in common is
    the time of one, about 3 µs in a database larger than SQLite's page cache.
    """
    conditions = [*scope.clauses(), *filters.clauses()]
    in_scope = sa.select(_runs.c.run_uuid).where(*scope.clauses())
    n_all = session.execute(sa.text("SELECT max(rowid) FROM runs")).scalar_one() or 0
    # Up to the end of the page; 0 for all. A token may say any number, below zero too.
    n_wanted = min(max(offset, 0) + (limit or 0), n_all)
    most = max(_FEW_ROWS, 4 * n_wanted, math.isqrt(n_wanted * n_all) + 1)
    n_runs = _bounded_count(session, in_scope, most)
    if n_runs <= _FEW_ROWS or not n_wanted:
        return [_sorted_whole(conditions, order)]
    for rows in filters.on_keys:
        if table_of(rows) is not _latest:
            continue  # the values of params and tags have no index to count in
        # With m runs that match, a walk along the order tries n_wanted * n_runs / m of them:
        # more than m look-ups, where m is below the root of that.
        at_most = math.isqrt(n_wanted * n_runs)
        n_matching = _bounded_count(session, rows.with_only_columns(_latest.c.run_uuid), at_most)
        if n_matching <= at_most:
            scoped = scope.clauses(by_index=10 * n_matching > n_runs)
            return [_sorted_whole([*scoped, *filters.clauses(start_from=rows)], order)]
    if order.leads_with == "metric":
        # Other experiments' runs stand between ours in the metric's index.
        if n_wanted * n_all < n_runs * n_runs:
            walked = [*scope.clauses(by_index=False), *filters.clauses()]
            return _by_metric(conditions, order, walked)
    return [_sorted_whole(conditions, order)]


def _sorted_whole(conditions: Sequence[sa.ColumnElement[bool]], order: Order) -> _Segment:
    """Order as MLflow does, ranks and all; the default order has no rank and follows its index."""
    return _segment(_joined(_runs, order.joins), conditions, order)


def _by_start_time(conditions: Sequence[sa.ColumnElement[bool]], order: Order) -> list[_Segment]:
    """Split off the runs without a start time, whose rank comes last either way."""
    joined, start_time = _joined(_runs, order.joins), _runs.c.start_time
    return [
        _segment(joined, [*conditions, start_time.is_not(None)], order, (0,)),
        _segment(joined, [*conditions, start_time.is_(None)], order, (1, None)),
    ]


def _by_metric(
    conditions: Sequence[sa.ColumnElement[bool]],
    order: Order,
    conditions_on_walk: Sequence[sa.ColumnElement[bool]] | None = None,
) -> list[_Segment]:
    """Split into runs with a number, with NaN, and without the metric, as its rank does.

    Args:
        conditions: Which runs.
        order: Its first term is a metric.
        conditions_on_walk: The same runs, written so that SQLite walks the metric's index.
    """
    metric, *joins = order.joins
    with_metric = _joined(_runs.join(metric, metric.c.run_uuid == _runs.c.run_uuid), joins)
    walked = conditions_on_walk or conditions
    keyed = select_of(metric).with_only_columns(_latest.c.run_uuid)
    lacks_metric = ~keyed.where(_latest.c.run_uuid == _runs.c.run_uuid).correlate(_runs).exists()
    return [
        _segment(with_metric, [*walked, metric.c.is_nan == sa.false()], order, (0,)),
        _segment(with_metric, [*walked, metric.c.is_nan == sa.true()], order, (1,)),
        _segment(_joined(_runs, joins), [*conditions, lacks_metric], order, (2, None)),
    ]


def _segment(
    rows: sa.FromClause,
    conditions: Sequence[sa.ColumnElement[bool]],
    order: Order,
    shared: SortKey = (),
) -> _Segment:
    keys = order.keys[len(shared) :]
    found = sa.select(*(key.value for key in keys)).select_from(rows).where(*conditions)
    return _Segment(found.order_by(*(key.by for key in keys)), keys, shared)


def _behind(segments: Sequence[_Segment], after: SortKey, dialect: str) -> list[_Segment] | None:
    """Return what of the segments comes behind a run; None where it fits none of them."""
    for number, (found, keys, shared) in enumerate(segments):
        values = after[len(shared) :]
        if after[: len(shared)] != shared or len(values) != len(keys):
            continue
        behind: sa.ColumnElement[bool] = sa.false()
        for key, value in zip(reversed(keys), reversed(values), strict=True):
            behind = sa.or_(key.comes_after(value, dialect), sa.and_(key.is_same(value), behind))
        rest = _Segment(found.where(behind), keys, shared)
        (first, *_), (value, *_) = keys, values
        if value is None:
            return [rest, *segments[number + 1 :]]
        # In the words of an index: from this value on; then, apart, those without one.
        from_here = first.value <= value if first.is_falling else first.value >= value
        parts = [rest._replace(found=rest.found.where(from_here))]
        if first.has_nulls_last(dialect):
            parts.append(rest._replace(found=found.where(first.value.is_(None))))
        return [*parts, *segments[number + 1 :]]
    return None


def _joined(start: sa.FromClause, subqueries: Sequence[sa.Subquery]) -> sa.FromClause:
    for rows in subqueries:
        start = start.outerjoin(rows, rows.c.run_uuid == _runs.c.run_uuid)
    return start


def _read(
    session: Session, segments: Sequence[_Segment], offset: int, limit: int | None
) -> list[SortKey]:
    """Read ``limit`` runs from ``offset`` on, asking no more segments than that takes."""
    found: dict[str, SortKey] = {}  # one whose metric changed meanwhile could be in two segments
    for number, (select, _, shared) in enumerate(segments):
        page = select.offset(offset)
        if limit is not None:
            page = page.limit(limit - len(found))
        rows = session.execute(page).all()
        for row in rows:
            found.setdefault(row[-1], (*shared, *row))
        if (limit is not None and len(found) >= limit) or number == len(segments) - 1:
            break
        # A page that starts behind this segment starts that much earlier in the next.
        offset = 0 if rows else max(0, offset - (_count(session, select) if offset > 0 else 0))
    return list(found.values())


def _count(session: Session, found: sa.Select[Any]) -> int:
    rows = found.order_by(None).subquery()
    return int(session.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())


def _bounded_count(session: Session, found: sa.Select[Any], at_most: int = _FEW_ROWS) -> int:
    """Count rows, but no more than one above ``at_most``."""
    return _count(session, found.limit(at_most + 1))
