"""MLflow's private names that the store stands on, all of them.

MLflow may move any of these in a minor release; ``tests/unit/test_mlflow_private.py`` names the
one that did. Nothing else under ``store/`` may touch an underscored name of MLflow's modules.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    TEMPORARILY_UNAVAILABLE,
)
from mlflow.store.db import utils as db_utils
from mlflow.store.tracking import sqlalchemy_store
from mlflow.utils import validation
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError, KeyCollision, SchemaMismatch, WeirError

INHERITED_METHODS: dict[str, tuple[str, ...]] = {
    # overridden in tracking_store.py
    "_get_or_create_engine": ("db_uri",),
    "_log_metrics": ("run_id", "metrics"),
    "_hard_delete_run": ("run_id",),
    "_hard_delete_experiment": ("experiment_id",),
    "_search_runs": (
        "experiment_ids",
        "filter_string",
        "run_view_type",
        "max_results",
        "order_by",
        "page_token",
    ),
    # called in tracking_store.py and runs/searching.py
    "_get_run": ("session", "run_uuid", "eager"),
    "_check_run_is_active": ("run",),
    "_list_run_infos": ("session", "experiment_id"),
    "_validate_run_accessible": ("session", "run_id"),
    "_filter_entity_ids": ("session", "entity_type", "entity_ids"),
    "_filter_experiment_ids": ("session", "experiment_ids", "lifecycle_stage"),
    "_validate_max_results_param": ("max_results", "allow_null"),
    "_get_dialect": (),
}
"""Private methods of MLflow's SQL store that ours overrides or calls, with their parameters."""


def parse_experiment_ids(experiment_ids: list[str]) -> list[int]:
    """Read experiment ids as the installed MLflow does, with its error for a bad one.

    MLflow 3.17 has a parser with a message of its own; before that it was ``int``.
    """
    parse = getattr(sqlalchemy_store, "_parse_experiment_ids", None)
    if parse is None:
        return [int(experiment_id) for experiment_id in experiment_ids]
    return list(parse(experiment_ids))


def run_filter_clauses(
    parsed_filters: list[dict[str, Any]], session: Session, dialect: str
) -> tuple[list[sa.ColumnElement[bool]], list[sa.Subquery], list[sa.Subquery]]:
    """Turn a parsed run filter into MLflow's own SQL.

    Returns:
        Conditions on ``runs``; one subquery for each filter on a metric, param, tag or the run
        name (at most one row a run); one for each filter on a data set (any number of rows a
        run, named by ``destination_id``).
    """
    clauses: tuple[list[sa.ColumnElement[bool]], list[sa.Subquery], list[sa.Subquery]]
    clauses = sqlalchemy_store._get_sqlalchemy_filter_clauses(parsed_filters, session, dialect)
    return clauses


def run_order_clauses(
    order_by: list[str] | None, session: Session
) -> tuple[list[sa.ColumnElement[Any]], list[Any], list[sa.Subquery]]:
    """Turn ``order_by`` into MLflow's own SQL.

    Returns:
        Columns to select, two a term (a rank labelled ``clause_N`` that puts missing values
        last, and the value); what to order by, two a term (the rank's label, and the value with
        its direction), then MLflow's tie-breakers; and the subqueries to outer-join, one for
        each term on a metric, param or tag.
    """
    clauses: tuple[list[sa.ColumnElement[Any]], list[Any], list[sa.Subquery]]
    clauses = sqlalchemy_store._get_orderby_clauses(order_by, session)
    return clauses


def create_engine(db_uri: str) -> sa.Engine:
    """Create an engine as MLflow does: pool settings, TLS, SQLite's REGEXP and PERCENTILE."""
    engine: sa.Engine = db_utils.create_sqlalchemy_engine_with_retry(db_uri)
    return engine


def has_all_tables(engine: sa.Engine) -> bool:
    """Say whether the database has every table that this MLflow's own migrations would make."""
    return bool(db_utils._all_tables_exist(engine))


def as_mlflow_error(error: WeirError) -> MlflowException:
    """Return the exception MLflow's callers know for one of ours; raise it ``from`` ours."""
    if error.retryable:
        code = TEMPORARILY_UNAVAILABLE
    elif isinstance(error, ConfigError):
        code = INVALID_PARAMETER_VALUE
    elif isinstance(error, KeyCollision):
        code = BAD_REQUEST  # what MLflow makes of the same refusal
    elif isinstance(error, SchemaMismatch):
        code = INVALID_STATE
    else:
        code = INTERNAL_ERROR
    return MlflowException(str(error), error_code=code)


def validate_metric(metric: Metric, path: str) -> None:
    """Check key, value, timestamp and step with MLflow's errors.

    Args:
        metric: What the user logged.
        path: Where it stands in a batch, such as ``metrics[3]``, for the message; "" for one.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE.
    """
    validation._validate_metric(metric.key, metric.value, metric.timestamp, metric.step, path=path)
