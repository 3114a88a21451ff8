"""What MLflow looks up in each log call has MLflow's answers, in less time."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest
from mlflow.tracking._model_registry import utils as model_registry
from mlflow.tracking._tracking_service import utils as tracking_service
from mlflow.utils import workspace_context, workspace_utils

from mlflow_weir.plugin import mlflow_lookups


def test_a_spark_session_is_looked_for_only_where_pyspark_was_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    class Session:
        class conf:
            @staticmethod
            def get(name: str, default: object) -> str:
                return "databricks-uc"

    def look() -> Any:
        asked.append(1)
        return Session

    monkeypatch.setattr(model_registry, "_get_active_spark_session", look)
    monkeypatch.setattr(model_registry, "_registry_uri", None)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    mlflow_lookups.spare_lookups()
    mlflow_lookups.spare_lookups()
    monkeypatch.delitem(sys.modules, "pyspark", raising=False)
    assert model_registry._get_registry_uri_from_context() is None
    assert asked == []

    pyspark = types.ModuleType("pyspark")
    utils = types.ModuleType("pyspark.sql.utils")
    utils.AnalysisException = ValueError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyspark", pyspark)
    monkeypatch.setitem(sys.modules, "pyspark.sql", types.ModuleType("pyspark.sql"))
    monkeypatch.setitem(sys.modules, "pyspark.sql.utils", utils)
    assert model_registry._get_registry_uri_from_context() == "databricks-uc"
    assert asked == [1]


def test_the_registry_uri_still_follows_the_tracking_uri(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mlflow_lookups.spare_lookups()
    monkeypatch.setattr(model_registry, "_registry_uri", None)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    for uri in ("sqlite:///a.db", "http://example.com"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setattr(tracking_service, "_tracking_uri", None)
        assert model_registry.get_registry_uri() == uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks://profile")
    assert model_registry.get_registry_uri() == "databricks-uc://profile"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///of-the-environment.db")
    assert model_registry.get_registry_uri() == "sqlite:///of-the-environment.db"
    monkeypatch.setattr(model_registry, "_registry_uri", "sqlite:///set.db")
    assert model_registry.get_registry_uri() == "sqlite:///set.db"
    remembered: Any = model_registry._get_default_registry_uri_for_tracking_uri
    assert remembered.cache_info().currsize  # one wrapper however often it is spared
    assert not hasattr(remembered.__wrapped__, "cache_info")


def test_a_registry_uri_that_is_not_there_is_not_asked_of_os_environ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    mlflow_lookups.spare_lookups()
    monkeypatch.setattr(model_registry, "_registry_uri", None)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.delitem(sys.modules, "pyspark", raising=False)
    with monkeypatch.context() as patched:
        patched.setattr(type(os.environ), "__getitem__", lambda *_: asked.append(""))
        assert model_registry._get_registry_uri_from_context() is None
    assert asked == []
    # One that somebody put in its place is asked.
    monkeypatch.setattr(os, "environ", {"MLFLOW_REGISTRY_URI": "sqlite:///other.db"})
    assert model_registry._get_registry_uri_from_context() == "sqlite:///other.db"


def test_the_workspace_provider_is_found_as_mlflow_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mlflow_lookups.spare_lookups()
    mlflow_lookups.spare_lookups()
    monkeypatch.setattr(workspace_utils, "_workspace_store_uri", None)
    monkeypatch.delenv("MLFLOW_WORKSPACE_STORE_URI", raising=False)

    def resolved() -> str | None:
        return workspace_utils.resolve_workspace_store_uri(tracking_uri="sqlite:///a.db")

    with monkeypatch.context() as patched:  # one that is not set costs no look at os.environ
        patched.setattr(type(os.environ), "__getitem__", lambda *_: pytest.fail("asked"))
        assert resolved() == "sqlite:///a.db"
    monkeypatch.setenv("MLFLOW_WORKSPACE_STORE_URI", "sqlite:///of-the-environment.db")
    assert resolved() == "sqlite:///of-the-environment.db"
    workspace_utils.set_workspace_store_uri("sqlite:///set.db")
    monkeypatch.delenv("MLFLOW_WORKSPACE_STORE_URI")
    assert resolved() == "sqlite:///set.db"
    workspace_utils.set_workspace_store_uri(None)
    assert resolved() == "sqlite:///a.db"


def test_the_workspace_is_found_as_mlflow_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = mlflow_lookups.workspace_lookup()
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    with monkeypatch.context() as patched:  # one that is not set costs no look at os.environ
        patched.setattr(type(os.environ), "__getitem__", lambda *_: pytest.fail("asked"))
        assert workspace() is None
    for name in ("team", " padded ", ""):
        monkeypatch.setenv("MLFLOW_WORKSPACE", name)
        assert workspace() == workspace_context.get_request_workspace() == (name.strip() or None)
    monkeypatch.delenv("MLFLOW_WORKSPACE")
    token = workspace_context._WORKSPACE.set("served")
    try:
        assert workspace() == workspace_context.get_request_workspace() == "served"
    finally:
        workspace_context._WORKSPACE.reset(token)
