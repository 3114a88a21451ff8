"""The private names of MLflow that the store side touches: each where we look for it.

A failure here after an upgrade of MLflow names what moved; ``store/mlflow_private.py`` is the
only module to change.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.entities import Metric, RunInfo
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as db_utils
from mlflow.store.tracking import sqlalchemy_store
from mlflow.store.tracking.dbmodels.models import (
    SqlDataset,
    SqlInput,
    SqlInputTag,
    SqlLatestMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils import validation
from mlflow.utils.search_utils import SearchUtils
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError, SchemaMismatch, StoreUnavailable
from mlflow_weir.store import mlflow_private
from mlflow_weir.store.runs import entities
from mlflow_weir.store.runs.conditions import select_of


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.fixture
def session() -> Session:
    return Session(sa.create_engine("sqlite://"))


def test_tables_are_asked_for_by_the_engine() -> None:
    assert _parameters(db_utils._all_tables_exist) == ["engine"]
    assert not mlflow_private.has_all_tables(sa.create_engine("sqlite://"))


def test_clause_builders_take_what_we_give() -> None:
    filters = sqlalchemy_store._get_sqlalchemy_filter_clauses
    assert _parameters(filters) == ["parsed", "session", "dialect"]
    assert _parameters(sqlalchemy_store._get_orderby_clauses) == ["order_by_list", "session"]


def test_a_filter_on_a_key_is_a_select_of_one_table(session: Session) -> None:
    parsed = SearchUtils.parse_search_filter(
        "metrics.m > 1 and params.p = 'x' and tags.t = 'x' and run_name = 'x'"
        " and attributes.status = 'FINISHED' and params.q IS NULL"
    )
    on_runs, on_keys, on_datasets = mlflow_private.run_filter_clauses(parsed, session, "sqlite")
    assert len(on_runs) == 2
    assert not on_datasets
    tables = [select_of(subquery).get_final_froms() for subquery in on_keys]
    assert tables == [[model.__table__] for model in (SqlLatestMetric, SqlParam, SqlTag, SqlTag)]


def test_a_filter_on_a_data_set_names_its_run(session: Session) -> None:
    parsed = SearchUtils.parse_search_filter("dataset.name = 'x' and dataset.context = 'y'")
    on_runs, on_keys, on_datasets = mlflow_private.run_filter_clauses(parsed, session, "sqlite")
    assert not on_runs
    assert not on_keys
    assert all("destination_id" in subquery.c for subquery in on_datasets)
    assert len(on_datasets) == 2


def test_an_order_has_two_columns_and_two_clauses_a_term(session: Session) -> None:
    order_by = ["metrics.m DESC", "attributes.end_time", "tags.t"]
    ranks, by, joins = mlflow_private.run_order_clauses(order_by, session)
    assert [getattr(rank, "name", None) for rank in ranks[::2]] == by[:6:2]
    assert by[:6:2] == ["clause_1", "clause_2", "clause_3"]
    assert len(ranks) == 6
    assert str(by[6]) == "runs.start_time DESC"
    assert by[7].key == "run_uuid"
    assert len(joins) == 2
    assert {"run_uuid", "value", "is_nan"} <= set(joins[0].c.keys())
    assert str(by[1]).endswith(".value DESC")


def test_the_default_order_has_no_rank(session: Session) -> None:
    ranks, by, joins = mlflow_private.run_order_clauses(None, session)
    assert not ranks
    assert not joins
    assert str(by[0]) == "runs.start_time DESC"
    assert by[1].key == "run_uuid"


def test_experiment_ids_are_read_as_the_installed_version_does() -> None:
    assert mlflow_private.parse_experiment_ids(["1", "20"]) == [1, 20]
    with pytest.raises((MlflowException, ValueError), match="abc"):
        mlflow_private.parse_experiment_ids(["abc"])


@pytest.mark.parametrize("store", [SqlAlchemyStore, WorkspaceAwareSqlAlchemyStore])
def test_the_stores_have_the_methods_a_search_calls(store: type) -> None:
    assert _parameters(store._search_runs) == [  # type: ignore[attr-defined]
        "self",
        "experiment_ids",
        "filter_string",
        "run_view_type",
        "max_results",
        "order_by",
        "page_token",
    ]
    scoping = _parameters(store._filter_experiment_ids)  # type: ignore[attr-defined]
    assert scoping[:3] == ["self", "session", "experiment_ids"]
    assert "allow_null" in _parameters(store._validate_max_results_param)  # type: ignore[attr-defined]
    assert _parameters(store._get_dialect) == ["self"]  # type: ignore[attr-defined]


def test_mlflows_tables_have_the_columns_that_runs_are_built_from() -> None:
    read: dict[Any, sa.TableClause] = {
        SqlRun: entities._RUNS,
        SqlLatestMetric: entities._METRICS,
        SqlParam: entities._PARAMS,
        SqlTag: entities._TAGS,
        SqlInput: entities._INPUTS,
        SqlInputTag: entities._INPUT_TAGS,
        SqlDataset: entities._DATASETS,
    }
    for model, columns in read.items():
        table = model.__table__
        assert columns.name == table.name
        assert set(columns.c.keys()) <= set(table.c.keys())
    # What a run shows but is not among these columns would be missing from our answers.
    assert set(_parameters(RunInfo)) == {
        "run_id",
        "run_name",
        *(set(entities._RUNS.c.keys()) - {"run_uuid", "name"}),
    }


def test_engines_are_made_by_mlflow() -> None:
    assert _parameters(db_utils.create_sqlalchemy_engine_with_retry)[0] == "db_uri"


def test_metrics_are_checked_by_mlflow() -> None:
    assert _parameters(validation._validate_metric) == [
        "key",
        "value",
        "timestamp",
        "step",
        "path",
    ]
    mlflow_private.validate_metric(Metric("m", 1.0, 1, 0), "")
    with pytest.raises(MlflowException, match="metrics\\[3\\]"):
        mlflow_private.validate_metric(Metric("m", 1.0, -1, 0), "metrics[3]")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("x"), "TEMPORARILY_UNAVAILABLE"),
        (ConfigError("x"), "INVALID_PARAMETER_VALUE"),
        (SchemaMismatch("x"), "INVALID_STATE"),
    ],
)
def test_our_errors_become_mlflows(error: Any, code: str) -> None:
    assert mlflow_private.as_mlflow_error(error).error_code == code
