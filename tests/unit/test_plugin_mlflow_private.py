"""The private names of MLflow that the plugin side touches: each where we look for it.

A failure here after an upgrade of MLflow names what moved; ``plugin/mlflow_private.py`` is the
only module to change.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
import sqlalchemy as sa
from mlflow.entities import Metric, Run, RunData, RunInfo, RunTag
from mlflow.exceptions import MlflowException, RestException
from mlflow.genai.scorers import registry as scorers
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)
from mlflow.server import constants, handlers
from mlflow.store import tracking
from mlflow.store.db import utils as db_utils
from mlflow.tracking._model_registry import registry as model_registries
from mlflow.tracking._model_registry import utils as model_registry
from mlflow.tracking._tracking_service import registry as tracking_registries
from mlflow.tracking._tracking_service import utils as tracking_service
from mlflow.tracking._workspace import registry as workspaces
from mlflow.utils import validation

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


def test_the_registry_of_a_place_is_found(tmp_path: Path) -> None:
    store = mlflow_private.registry_store(f"sqlite:///{tmp_path}/a.db")
    assert store.create_prompt("a").name == store.get_registered_model("a").name


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
    # Written out in entry_points.py, which every `import mlflow` runs.
    assert constants.BACKEND_STORE_URI_ENV_VAR == "_MLFLOW_SERVER_FILE_STORE"


@pytest.mark.parametrize(
    "name",
    [
        "_validate_batch_log_data",
        "_validate_batch_log_limits",
        "_validate_dataset_inputs",
        "_validate_experiment_artifact_location_length",
        "_validate_experiment_name",
        "_validate_experiment_tag",
        "_validate_param",
        "_validate_param_keys_unique",
        "_validate_run_id",
        "_validate_tag",
    ],
)
def test_mlflow_checks_what_is_logged_by_functions_of_these_names(name: str) -> None:
    assert callable(getattr(validation, name))


def test_a_runs_name_comes_from_the_argument_the_tag_or_is_made_up() -> None:
    name, tags = mlflow_private.named_run("a", None)
    assert (name, [(tag.key, tag.value) for tag in tags]) == ("a", [("mlflow.runName", "a")])
    name, tags = mlflow_private.named_run(None, [RunTag("mlflow.runName", "b")])
    assert (name, len(tags)) == ("b", 1)
    name, tags = mlflow_private.named_run(None, [])
    assert name
    assert tags[0].value == name
    with pytest.raises(MlflowException, match="Both 'run_name' argument and"):
        mlflow_private.named_run("a", [RunTag("mlflow.runName", "b")])


def test_a_run_tells_its_latest_metrics_with_their_steps() -> None:
    run = Run(run_info(), RunData([Metric("m", 0.5, 7, 3)]))
    (metric,) = mlflow_private.latest_metrics_of(run.data)
    assert (metric.key, metric.value, metric.timestamp, metric.step) == ("m", 0.5, 7, 3)


def test_metrics_have_the_columns_of_their_properties() -> None:
    metrics = [Metric("a", 0.5, 7, 3, model_id="m"), Metric("b", 1.5, 8, 4)]
    names = ("key", "timestamp", "step", "value", "model_id")
    wanted = [tuple(getattr(metric, name) for metric in metrics) for name in names]
    assert list(mlflow_private.columns_of_metrics(metrics)) == wanted


def run_info() -> RunInfo:
    return RunInfo(
        run_id="a" * 32,
        experiment_id="0",
        user_id="someone",
        status="RUNNING",
        start_time=1,
        end_time=None,
        lifecycle_stage="active",
    )


WORLD = {
    "locked": MlflowException("locked", TEMPORARILY_UNAVAILABLE),
    "refused": sa.exc.OperationalError("SELECT 1", {}, OSError("refused")),
    "reset": ConnectionResetError(),
    "a-server's-500": RestException({"error_code": "INTERNAL_ERROR", "message": "oops"}),
    "too-many-requests": RestException({"error_code": "REQUEST_LIMIT_EXCEEDED"}),
}
USER = {
    "no-such-run": MlflowException("no", RESOURCE_DOES_NOT_EXIST),
    "a-mistake-wrapped": MlflowException("user_id cannot be None", INTERNAL_ERROR),
    "a-mistake": TypeError("no"),
}


@pytest.mark.parametrize("error", WORLD.values(), ids=WORLD)
def test_the_worlds_faults_are_told(error: Exception) -> None:
    assert mlflow_private.is_worlds_fault(error)


@pytest.mark.parametrize("error", USER.values(), ids=USER)
def test_from_what_the_caller_did(error: Exception) -> None:
    assert not mlflow_private.is_worlds_fault(error)


def test_a_request_that_never_arrived_is_the_worlds_fault() -> None:
    wrapped = MlflowException("API request failed with exception [Errno 111]")
    wrapped.__context__ = ConnectionRefusedError()  # as MLflow raises it, without `from`
    assert mlflow_private.is_worlds_fault(wrapped)


def test_an_experiment_of_the_environment_is_asked_for_until_one_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.tracking import fluent

    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    assert not mlflow_private.is_asked_for_always("7")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    assert mlflow_private.is_asked_for_always("7")
    assert not mlflow_private.is_asked_for_always("8")
    monkeypatch.setattr(fluent, "_active_experiment_id", "7")
    assert not mlflow_private.is_asked_for_always("7")


def a_span(trace_id: str) -> Any:
    from mlflow.entities.span import Span
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

    return Span(
        ReadableSpan(
            "work",
            SpanContext(1, 2, is_remote=False),
            attributes={"mlflow.traceRequestId": f'"{trace_id}"', "n": "3"},
            start_time=5,
            end_time=6,
            resource=Resource({"service.name": "shop"}),
        )
    )


def test_a_span_comes_back_as_it_was_with_what_opentelemetry_says_of_its_program() -> None:
    span = a_span("tr-1")
    fields, resource = span.to_dict(), mlflow_private.resource_of(span)
    assert resource == {"service.name": "shop"}
    text = mlflow_private.trace_json({"spans": [fields]})
    found = mlflow_private.span_of(json.loads(text)["spans"][0], resource)
    assert found.trace_id == "tr-1"
    assert found.to_dict() == fields
    assert mlflow_private.resource_of(found) == resource


def test_nothing_of_a_trace_is_cut_and_its_assessments_keep_their_ids() -> None:
    from mlflow.entities import Feedback, TraceInfo, TraceLocation, TraceState

    info = TraceInfo(
        trace_id="tr-1",
        trace_location=TraceLocation.from_experiment_id("7"),
        request_time=1_700_000_000_123,
        execution_duration=0,
        state=TraceState.OK,
        trace_metadata={"mlflow.traceInputs": "x" * 20_000},
        tags={"long": "y" * 20_000},
        assessments=[Feedback(name="good", value=True)],
    )
    mlflow_private.name_assessments(info)
    found = TraceInfo.from_dict(
        json.loads(mlflow_private.trace_json(mlflow_private.trace_fields(info)))
    )
    assert (found.tags, found.trace_metadata) == (info.tags, info.trace_metadata)
    assert (found.request_time, found.execution_duration, found.state) == (
        info.request_time,
        info.execution_duration,
        info.state,
    )
    assert found.experiment_id == "7"
    named = info.assessments[0].assessment_id
    assert named is not None
    assert [one.assessment_id for one in found.assessments] == [named]
    mlflow_private.name_assessments(info)
    assert info.assessments[0].assessment_id == named


def test_the_version_of_a_server_that_did_not_answer_is_asked_for_again() -> None:
    from mlflow.store.tracking.rest_store import RestStore
    from mlflow.utils.rest_utils import MlflowHostCreds

    assert RestStore._get_server_version(MlflowHostCreds("http://127.0.0.1:9")) is None
    assert RestStore._get_server_version.cache_info().currsize > 0
    mlflow_private.forget_server_versions()
    assert RestStore._get_server_version.cache_info().currsize == 0


def test_a_flush_of_traces_is_followed_by_ours_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = mlflow.flush_trace_async_logging
    monkeypatch.setattr(mlflow, "flush_trace_async_logging", inspect.unwrap(stock))
    followed: list[str] = []
    mlflow_private.follow_trace_flush(lambda: followed.append("first"))
    mlflow_private.follow_trace_flush(lambda: followed.append("second"))
    mlflow.flush_trace_async_logging()
    assert followed == ["first"]
    parameters = inspect.signature(mlflow.flush_trace_async_logging).parameters
    assert parameters == inspect.signature(stock).parameters


@pytest.mark.parametrize(
    ("argument", "variable", "is_on"),
    [
        (None, "false", False),
        (None, "true", True),
        (True, "false", True),
        (False, "true", False),
    ],
)
def test_whether_mlflows_own_monitor_starts_is_known_inside_of_start_run(
    argument: bool | None,
    variable: str,
    is_on: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The local of ``start_run`` that says so is asked for in the calls that it makes."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    asked = []

    def seen(self: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(mlflow_private.has_system_monitor())
        raise RuntimeError("that is all we want to know")

    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", variable)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(SqlAlchemyStore, "create_run", seen)
    with pytest.raises(RuntimeError, match="all we want"):
        mlflow.start_run(log_system_metrics=argument)
    assert asked == [is_on]


def test_who_looks_a_run_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins a run or logs to one goes on without an answer; who asks wants one."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking import fluent
    from mlflow.tracking._tracking_service import utils

    seen: list[str] = []
    uploading: list[bool] = []
    get_run: Any = SqlAlchemyStore.get_run

    def noting(self: Any, run_id: str) -> Any:
        seen.append(mlflow_private.fluent_caller())
        uploading.append(mlflow_private.is_logging_artifacts())
        return get_run(self, run_id)

    monkeypatch.setattr(SqlAlchemyStore, "get_run", noting)
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/a.db")
    try:
        assert mlflow_private.active_experiment_id() is None
        experiment_id = mlflow.set_experiment("chosen").experiment_id
        assert mlflow_private.active_experiment_id() == experiment_id
        client = mlflow.MlflowClient()
        run_id = client.create_run(experiment_id).info.run_id
        client.get_run(run_id)
        mlflow.get_run(run_id)
        mlflow.log_metric("m", 1, run_id=run_id)
        mlflow.log_metrics({"m": 1}, run_id=run_id)
        assert list(dict.fromkeys(seen)) == ["", "get_run", "log_metric", "log_metrics"]
        seen.clear()
        mlflow.start_run(run_id=run_id)
        assert set(seen) == {"start_run"}
        mlflow.end_run()
        assert not any(uploading)
        other_id = client.create_run(experiment_id).info.run_id
        client.list_artifacts(other_id)
        assert not any(uploading)
        utils._artifact_repos_cache.clear()
        client.log_text(other_id, "hello", "a.txt")
        assert any(uploading)
    finally:
        mlflow.set_tracking_uri(before)


def test_a_client_that_prints_an_address_asks_for_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.store.tracking.rest_store import RestStore
    from mlflow.tracking._tracking_service.client import TrackingServiceClient

    seen: list[bool] = []

    def get_run(store: Any, run_id: str) -> Any:
        seen.append(mlflow_private.is_printing_address())
        info = SimpleNamespace(experiment_id="1", run_name="n")
        return SimpleNamespace(info=info, data=SimpleNamespace(tags={}))

    monkeypatch.setattr(RestStore, "get_run", get_run)
    monkeypatch.setenv("WEIR_CLIENT", "off")
    client = TrackingServiceClient("http://127.0.0.1:9")
    client.get_run("a" * 32)
    client._log_url("a" * 32)
    assert seen == [False, True]


def test_requests_carry_the_headers_that_are_given_and_no_others() -> None:
    from mlflow.tracking.request_header import registry

    before = list(registry._request_header_provider_registry._registry)
    assert before
    try:
        mlflow_private.send_headers({"X-Team": "vision", "User-Agent": "the training's"})
        found = registry.resolve_request_headers({"X-More": "1"})
        assert found == {"X-Team": "vision", "User-Agent": "the training's", "X-More": "1"}
    finally:
        registry._request_header_provider_registry._registry[:] = before
