"""MLflow's private methods that the store overrides or calls are where they were."""

from __future__ import annotations

import inspect

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore

from mlflow_weir.store import mlflow_private, tracking_store


@pytest.mark.parametrize("parent", [SqlAlchemyStore, WorkspaceAwareSqlAlchemyStore])
@pytest.mark.parametrize("name", mlflow_private.INHERITED_METHODS)
def test_an_inherited_method_takes_what_it_took(parent: type, name: str) -> None:
    parameters = list(inspect.signature(getattr(parent, name)).parameters)
    expected = [p for p in mlflow_private.INHERITED_METHODS[name] if p in parameters]
    assert [p for p in parameters if p != "self"] == expected


def test_every_private_method_the_store_touches_is_listed() -> None:
    own = {name for name in vars(tracking_store._WeirMethods) if not name.startswith("__")}
    source = inspect.getsource(tracking_store)
    for name in mlflow_private.INHERITED_METHODS:
        if name in source:
            assert hasattr(SqlAlchemyStore, name), name
    overridden = {name for name in own if name.startswith("_") and hasattr(SqlAlchemyStore, name)}
    assert overridden <= set(mlflow_private.INHERITED_METHODS)
