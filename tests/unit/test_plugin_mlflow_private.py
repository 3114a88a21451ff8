"""The private names of MLflow that the plugin side touches: each where we look for it.

A failure here after an upgrade of MLflow names what moved; ``plugin/mlflow_private.py`` is the
only module to change.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from mlflow.genai.scorers import registry as scorers
from mlflow.server import constants, handlers
from mlflow.store import tracking
from mlflow.store.db import utils as db_utils
from mlflow.tracking._model_registry import registry as model_registries
from mlflow.tracking._model_registry import utils as model_registry
from mlflow.tracking._tracking_service import registry as tracking_registries
from mlflow.tracking._tracking_service import utils as tracking_service
from mlflow.tracking._workspace import registry as workspaces

from mlflow_weir.plugin import entry_points, mlflow_private


def test_a_client_registry_keeps_its_builder_in_its_module() -> None:
    registry = tracking_service._tracking_store_registry
    assert not mlflow_private.is_server_registry(registry)
    stock = mlflow_private.stock_tracking_builder(registry)
    assert stock is tracking_service._get_sqlalchemy_store
    assert list(inspect.signature(stock).parameters) == ["store_uri", "artifact_uri"]
    assert mlflow_private.stock_tracking_builder(None) is stock


def test_a_client_model_registry_keeps_its_builder_in_its_module() -> None:
    stock = mlflow_private.stock_model_registry_builder(model_registry._get_store_registry())
    assert stock is model_registry._get_sqlalchemy_store
    assert list(inspect.signature(stock).parameters) == ["store_uri"]


def test_a_server_registry_is_known_by_the_builder_it_carries() -> None:
    registry = handlers._tracking_store_registry
    assert mlflow_private.is_server_registry(registry)
    stock = mlflow_private.stock_tracking_builder(registry)
    assert stock == handlers.TrackingStoreRegistryWrapper._get_sqlalchemy_store
    assert list(inspect.signature(stock).parameters) == ["store_uri", "artifact_uri"]


def test_a_server_model_registry_is_known_by_the_builder_it_carries() -> None:
    stock = mlflow_private.stock_model_registry_builder(handlers._model_registry_store_registry)
    assert stock == handlers.ModelRegistryStoreRegistryWrapper._get_sqlalchemy_store
    assert list(inspect.signature(stock).parameters) == ["store_uri"]


def test_workspaces_and_scorers_are_built_where_we_look() -> None:
    workspace_builder = mlflow_private.stock_workspace_builder()
    assert workspace_builder is workspaces._get_sqlalchemy_workspace_store
    assert list(inspect.signature(workspace_builder).parameters) == ["workspace_uri"]
    assert mlflow_private.scorer_store_class() is scorers.MlflowTrackingStore


def test_each_registry_holds_our_builders_under_the_schemes_we_name() -> None:
    both = (tracking_service._tracking_store_registry, handlers._tracking_store_registry)
    ours = {"weir", "sqlite", "postgresql", "mysql", "mssql", "mariadb+weir", "postgres+weir"}
    for tracking_registry in both:
        held = tracking_registry._registry
        assert {s for s in held if held[s] is entry_points.tracking_store} == ours
    ours = {"weir", "sqlite", "postgresql", "mysql"}
    for model_store_registry in (
        model_registry._get_store_registry(),
        handlers._model_registry_store_registry,
    ):
        held = model_store_registry._registry
        assert {s for s in held if held[s] is entry_points.model_registry_store} == ours
    held = workspaces._get_workspace_store_registry()._registry
    assert {s for s in held if held[s] is entry_points.workspace_store} == ours
    held = scorers._scorer_store_registry._registry
    assert {s for s in held if held[s] is entry_points.scorer_store} == {"weir"}
    assert isinstance(both[0], tracking_registries.TrackingStoreRegistry)
    assert isinstance(
        handlers._model_registry_store_registry, model_registries.ModelRegistryStoreRegistry
    )


def test_a_builder_is_called_from_a_method_of_its_registry() -> None:
    seen: list[object] = []

    def build(store_uri: str, **_: object) -> object:
        seen.append(inspect.currentframe().f_back.f_locals.get("self"))  # type: ignore[union-attr]
        return object()

    registries: list[Any] = [
        tracking_registries.TrackingStoreRegistry(),
        handlers.TrackingStoreRegistryWrapper(),
        model_registries.ModelRegistryStoreRegistry(),
        handlers.ModelRegistryStoreRegistryWrapper(),
    ]
    for registry in registries:
        registry.register("probe", build)
        registry.get_store("probe://x")
        assert seen.pop() is registry


def test_a_server_looks_for_its_read_replica_where_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    server = handlers._tracking_store_registry
    assert mlflow_private.store_arguments(server, None) == (None, None)
    monkeypatch.setenv(constants.READ_REPLICA_BACKEND_STORE_URI_ENV_VAR, "sqlite:///replica.db")
    assert mlflow_private.store_arguments(server, "/root") == ("/root", "sqlite:///replica.db")
    assert mlflow_private.store_arguments(None, "/root") == ("/root", None)


def test_a_client_in_a_server_takes_the_servers_artifact_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert mlflow_private.store_arguments(None, None) == ("./mlruns", None)
    monkeypatch.setenv(tracking_service._SERVER_ARTIFACT_ROOT_ENV_VAR, "s3://bucket")
    assert mlflow_private.store_arguments(None, None) == ("s3://bucket", None)
    assert mlflow_private.store_arguments(None, "/root") == ("/root", None)


def test_mlflows_default_artifact_roots_are_known(tmp_path: Path) -> None:
    assert tracking.DEFAULT_ARTIFACTS_URI == "mlflow-artifacts:/"
    assert tracking.DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH == "./mlruns"
    for default in (None, "mlflow-artifacts:/", "./mlruns"):
        assert mlflow_private.is_default_artifact_root(default)
    for chosen in ("s3://bucket", str(tmp_path)):
        assert not mlflow_private.is_default_artifact_root(chosen)


def test_the_newest_revision_we_see_is_the_one_mlflow_wants() -> None:
    known = mlflow_private.schema_revisions()
    assert known[0] == db_utils._get_latest_schema_revision()
    assert len(known) == len(set(known)) > 50


def test_a_servers_children_know_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(constants.BACKEND_STORE_URI_ENV_VAR, raising=False)
    assert not mlflow_private.is_server_child()
    monkeypatch.setenv(constants.BACKEND_STORE_URI_ENV_VAR, "weir:")
    assert mlflow_private.is_server_child()
