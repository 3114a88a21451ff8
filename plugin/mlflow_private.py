"""Every private name of MLflow that the plugin side touches, one function a need.

MLflow offers entry points for stores but not the arguments its own stores would have been built
with; those are found here. ``tests/unit/test_plugin_mlflow_private.py`` holds each name against
the installed MLflow, so that a release which moves one fails there first. Everything is imported
when it is used: MLflow loads the entry points while it is itself half imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from operator import attrgetter
from types import FrameType
from typing import TYPE_CHECKING, Any

from mlflow_weir.settings import foreign

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, ExperimentTag, Metric, Param, RunData, RunTag

facts_of_metric: Callable[[Metric], Any] = attrgetter(
    "_key", "_timestamp", "_step", "_value", "_model_id"
)
"""Returns a metric's key, timestamp, step, value and model's id, for which it has five calls."""

_ARTIFACT_CALLS = frozenset({"log_artifact", "log_artifacts", "_log_artifact_async"})
_ON_THE_WAY = frozenset({"get_run", "_get_artifact_repo"})  # from those to a store's get_run
_BUILDER = "_get_sqlalchemy_store"
# What MLflow registers for each scheme, before the entry points take its place.
_ARTIFACT_REPOSITORIES = {
    "s3": ("s3_artifact_repo", "S3ArtifactRepository"),
    "gs": ("gcs_artifact_repo", "GCSArtifactRepository"),
    "wasbs": ("azure_blob_artifact_repo", "AzureBlobArtifactRepository"),
    "abfss": ("azure_data_lake_artifact_repo", "AzureDataLakeArtifactRepository"),
    "hdfs": ("hdfs_artifact_repo", "HdfsArtifactRepository"),
    "http": ("http_artifact_repo", "HttpArtifactRepository"),
    "https": ("http_artifact_repo", "HttpArtifactRepository"),
    "mlflow-artifacts": ("mlflow_artifacts_repo", "MlflowArtifactsRepository"),
}


def is_server_registry(registry: object) -> bool:
    """Say whether ``registry`` is one of ``mlflow.server.handlers``, not a client's.

    The server's registries carry their builders as class methods; a client's keep theirs in the
    module beside them.
    """
    return hasattr(registry, _BUILDER)


def stock_tracking_builder(registry: object) -> Callable[..., Any]:
    """Return what ``registry`` calls for a database where Weir is not installed."""
    if is_server_registry(registry):
        builder: Callable[..., Any] = getattr(registry, _BUILDER)
        return builder
    from mlflow.tracking._tracking_service.utils import _get_sqlalchemy_store

    return _get_sqlalchemy_store


def stock_model_registry_builder(registry: object) -> Callable[..., Any]:
    """The same for registered models, prompts and webhooks."""
    if is_server_registry(registry):
        builder: Callable[..., Any] = getattr(registry, _BUILDER)
        return builder
    from mlflow.tracking._model_registry.utils import _get_sqlalchemy_store

    return _get_sqlalchemy_store


def stock_workspace_builder() -> Callable[..., Any]:
    """The same for workspaces; client and server share one registry."""
    from mlflow.tracking._workspace.registry import _get_sqlalchemy_workspace_store

    return _get_sqlalchemy_workspace_store


def scorer_store_class() -> Callable[..., Any]:
    """Return the class that keeps scorers in the tracking store."""
    from mlflow.genai.scorers.registry import MlflowTrackingStore

    return MlflowTrackingStore


def stock_rest_builder(registry: object) -> Callable[..., Any]:
    """Return what ``registry`` calls for a server's address where Weir is not installed."""
    if is_server_registry(registry):
        return _refusing_servers(registry)
    from mlflow.tracking._tracking_service.utils import _get_rest_store

    return _get_rest_store


def stock_registry_rest_builder(registry: object) -> Callable[..., Any]:
    """The same for registered models, prompts and webhooks."""
    if is_server_registry(registry):
        return _refusing_servers(registry)
    from mlflow.tracking._model_registry.utils import _get_rest_store

    return _get_rest_store


def _refusing_servers(registry: object) -> Callable[..., Any]:
    """Return what raises as MLflow does where its server is to keep things in another one."""

    def refuse(store_uri: str, **_: Any) -> None:
        from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

        schemes = vars(registry)["_registry"]
        raise UnsupportedModelRegistryStoreURIException(
            store_uri, [one for one in schemes if one not in {"http", "https"}]
        )

    return refuse


def request_headers() -> dict[str, str]:
    """Return the headers that MLflow adds to every request, who it is from left out."""
    from mlflow.environment_variables import _MLFLOW_DATABRICKS_TRAFFIC_ID
    from mlflow.tracking.request_header.registry import resolve_request_headers

    headers: dict[str, str] = dict(resolve_request_headers())
    if traffic_id := _MLFLOW_DATABRICKS_TRAFFIC_ID.get():
        headers["x-databricks-traffic-id"] = traffic_id
    return headers


def send_headers(headers: Mapping[str, str]) -> None:
    """Have MLflow's requests carry these headers, and none that this process would find."""
    from mlflow.tracking.request_header import registry
    from mlflow.tracking.request_header.abstract_request_header_provider import (
        RequestHeaderProvider,
    )

    class Given(RequestHeaderProvider):
        def in_context(self) -> bool:
            return True

        def request_headers(self) -> dict[str, str]:
            return dict(headers)

    registry._request_header_provider_registry._registry[:] = [Given()]


def store_arguments(registry: object, artifact_uri: str | None) -> tuple[str | None, str | None]:
    """Return the artifact root and the read replica that stock's builder would settle on.

    Args:
        registry: Who asks: a server's registry passes the artifact root on as it got it and
            looks for a read replica, a client's falls back to the root of the server it may be
            running in and knows no replica.
        artifact_uri: What the registry was given.

    Returns:
        Artifact root and read replica's URI, either None where stock would pass None.
    """
    if is_server_registry(registry):
        from mlflow.server.constants import READ_REPLICA_BACKEND_STORE_URI_ENV_VAR

        return artifact_uri, foreign(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR)
    if artifact_uri is None:
        from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
        from mlflow.tracking._tracking_service.utils import _SERVER_ARTIFACT_ROOT_ENV_VAR

        inherited = foreign(_SERVER_ARTIFACT_ROOT_ENV_VAR)
        artifact_uri = DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH if inherited is None else inherited
    return artifact_uri, None


def is_default_artifact_root(artifact_uri: str | None) -> bool:
    """Say whether nobody chose this artifact root: it is None or one of MLflow's defaults."""
    from mlflow.store.tracking import DEFAULT_ARTIFACTS_URI, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH

    return artifact_uri in (None, DEFAULT_ARTIFACTS_URI, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)


SERVER_STORE_VARIABLE = "_MLFLOW_SERVER_FILE_STORE"
"""``BACKEND_STORE_URI_ENV_VAR`` of ``mlflow.server.constants``, whose import brings in the whole
server: 0.8 s of a training's first call."""


def is_server_child() -> bool:
    """Say whether this is a worker or job process, not the command that starts them."""
    return foreign(SERVER_STORE_VARIABLE) is not None


def schema_revisions() -> list[str]:
    """Return the revisions of MLflow's tables that the installed MLflow knows, newest first."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config(db_url=""))
    return [revision.revision for revision in script.walk_revisions()]


def validate_run_id(run_id: str) -> None:
    """Check a run id by MLflow's rules."""
    from mlflow.utils.validation import _validate_run_id

    _validate_run_id(run_id)


def validate_batch(
    metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
) -> tuple[Sequence[Param], Sequence[RunTag]]:
    """Check one ``log_batch`` by MLflow's rules, but for each metric, which the caller has done.

    Returns:
        Params and tags, cut where MLflow would cut them.
    """
    from mlflow.utils import validation

    _, params, tags = validation._validate_batch_log_data([], params, tags)
    validation._validate_batch_log_limits(metrics, params, tags)
    validation._validate_param_keys_unique(params)
    return params, tags


def columns_of_metrics(metrics: Sequence[Metric]) -> Any:
    """Return their keys, timestamps, steps, values and models' ids: five tuples."""
    return zip(*map(facts_of_metric, metrics), strict=True)


def metrics_of_one_moment(
    metrics: Sequence[Metric],
) -> tuple[tuple[str, ...], int, int, list[float]] | None:
    """Return keys, the timestamp, the step and the values of metrics that belong to no model.

    Returns:
        None where they have not one timestamp and one step, the same objects, or there is none.
    """
    if not metrics:
        return None
    timestamp, step = metrics[0]._timestamp, metrics[0]._step
    values = [
        one._value
        for one in metrics
        if one._timestamp is timestamp and one._step is step and one._model_id is None
    ]
    if len(values) != len(metrics):
        return None
    return tuple([one._key for one in metrics]), timestamp, step, values


def validate_param(param: Param) -> Param:
    """Check one param by MLflow's rules, and cut what MLflow would cut."""
    from mlflow.utils.validation import _validate_param

    checked: Param = _validate_param(param.key, param.value)
    return checked


def validate_tag(tag: RunTag) -> RunTag:
    """Check one tag by MLflow's rules, and cut what MLflow would cut."""
    from mlflow.utils.validation import _validate_tag

    checked: RunTag = _validate_tag(tag.key, tag.value)
    return checked


def validate_dataset_inputs(datasets: list[DatasetInput] | None) -> None:
    """Check data sets by MLflow's rules.

    Raises:
        TypeError: They are not in a list.
    """
    from mlflow.utils.validation import _validate_dataset_inputs

    if datasets is not None:
        if not isinstance(datasets, list):
            raise TypeError(f"Argument 'datasets' should be a list, got '{type(datasets)}'")
        _validate_dataset_inputs(datasets)


def validate_experiment(
    name: str, artifact_location: str | None, tags: Sequence[ExperimentTag] | None
) -> None:
    """Check what an experiment is created with by MLflow's rules."""
    from mlflow.utils import validation

    validation._validate_experiment_name(name)
    if artifact_location:
        validation._validate_experiment_artifact_location_length(artifact_location)
    for tag in tags or ():
        validation._validate_experiment_tag(tag.key, tag.value)


def named_run(run_name: str | None, tags: list[RunTag] | None) -> tuple[str, list[RunTag]]:
    """Return the name and the tags that MLflow would give a new run.

    Raises:
        MlflowException: The name and the tag that holds it differ.
    """
    from mlflow.entities import RunTag
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, _get_run_name_from_tags
    from mlflow.utils.name_utils import _generate_random_name

    tags = list(tags or ())
    tagged = _get_run_name_from_tags(tags)
    if run_name and tagged and run_name != tagged:
        raise MlflowException.invalid_parameter_value(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with "
            f"different values (run_name='{run_name}', mlflow.runName='{tagged}')."
        )
    name: str = run_name or tagged or _generate_random_name()
    if not tagged:
        tags.append(RunTag(key=MLFLOW_RUN_NAME, value=name))
    return name, tags


def named_model(name: str | None) -> str:
    """Return the name of a logged model, made up where there is none.

    Raises:
        MlflowException: It is no name for one.
    """
    from mlflow.utils.name_utils import _generate_random_name
    from mlflow.utils.validation import _validate_logged_model_name

    _validate_logged_model_name(name)
    return name or str(_generate_random_name())


def logged_models_tag(tags: Mapping[str, str], mlflow_model: Any) -> RunTag:
    """Return the tag that lists a run's models, with one more in it.

    Raises:
        TypeError: It is no model.
    """
    from mlflow.entities import RunTag
    from mlflow.models import Model
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_MODELS

    if not isinstance(mlflow_model, Model):
        raise TypeError(
            f"Argument 'mlflow_model' should be mlflow.models.Model, got '{type(mlflow_model)}'"
        )
    listed = json.loads(tags.get(MLFLOW_LOGGED_MODELS, "[]"))
    value = json.dumps([*listed, mlflow_model.get_tags_dict()])
    return validate_tag(RunTag(MLFLOW_LOGGED_MODELS, value))


def active_workspace() -> str | None:
    """Return the workspace that calls are for; None where workspaces are off."""
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES

    if not MLFLOW_ENABLE_WORKSPACES.get():
        return None
    from mlflow.utils.workspace_context import get_request_workspace

    workspace: str | None = get_request_workspace()
    return workspace


def has_system_monitor() -> bool:
    """Say whether the ``mlflow.start_run`` that this call is in starts MLflow's own monitor.

    Its argument decides, which nobody is told; without one, the environment does.
    """
    from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        is_fluent = frame.f_globals.get("__name__") == "mlflow.tracking.fluent"
        if is_fluent and frame.f_code.co_name == "start_run":
            wanted = frame.f_locals.get("log_system_metrics")
            if wanted is not None:
                return bool(wanted)
            break
        frame = frame.f_back
    return bool(MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get())


def fluent_caller() -> str:
    """Return which function of ``mlflow.*`` a store is asked by; "" where it is none of those.

    ``mlflow.start_run(run_id=…)`` and ``mlflow.log_metric(…, run_id=…)`` look at the run before
    they do anything, and have to go on without an answer.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "mlflow.tracking.fluent":
            return frame.f_code.co_name
        frame = frame.f_back
    return ""


def is_logging_artifacts() -> bool:
    """Say whether a store is asked for a run because files are logged to it.

    A client looks where the run keeps its artifacts, once a process, and has to go on without an
    answer.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "mlflow.tracking._tracking_service.client":
            if frame.f_code.co_name in _ARTIFACT_CALLS:
                return True
            if frame.f_code.co_name not in _ON_THE_WAY:
                return False
        frame = frame.f_back
    return False


def is_printing_address() -> bool:
    """Say whether a client asks for a run that it is about to end, to print where it is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "mlflow.tracking._tracking_service.client":
            return frame.f_code.co_name == "_log_url"
        frame = frame.f_back
    return False


def active_experiment_id() -> str | None:
    """Return the experiment that ``mlflow.set_experiment`` has chosen; None where none is."""
    from mlflow.tracking import fluent

    found: Any = fluent._active_experiment_id
    return None if found is None else str(found)


def leaves_a_run(error: BaseException) -> bool:
    """Say whether an exception is on its way out of a run's ``with`` block, in this thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        is_fluent = frame.f_globals.get("__name__") == "mlflow.tracking.fluent"
        if is_fluent and frame.f_code.co_name == "__exit__":
            return frame.f_locals.get("exc_val") is error
        frame = frame.f_back
    return False


def latest_metrics_of(data: RunData) -> Sequence[Metric]:
    """Return a run's latest metrics with their steps and timestamps."""
    return data._metric_objs or ()


def is_worlds_fault(error: BaseException) -> bool:
    """Say whether a store failed for what the caller cannot help: it is locked, away, broken."""
    import sqlalchemy as sa
    from mlflow.exceptions import MlflowException, RestException

    if not isinstance(error, MlflowException):
        return isinstance(error, (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError))
    if error.error_code in {
        "CUSTOMER_UNAUTHORIZED",  # a server's 401: nobody is told who is right
        "TEMPORARILY_UNAVAILABLE",
        "UNAUTHENTICATED",
        "REQUEST_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
    }:
        return True
    if error.error_code != "INTERNAL_ERROR":
        return False
    # A server's 5xx, or a request that never arrived; MLflow wraps programming mistakes so too.
    reason = error.__cause__ or error.__context__
    return isinstance(error, RestException) or (
        reason is not None and not isinstance(reason, MlflowException) and is_worlds_fault(reason)
    )


def stock_artifact_repository(scheme: str) -> Callable[..., Any]:
    """Return what builds MLflow's own artifact repository of a scheme."""
    import importlib

    module, name = _ARTIFACT_REPOSITORIES[scheme]
    builder: Callable[..., Any] = getattr(
        importlib.import_module(f"mlflow.store.artifact.{module}"), name
    )
    return builder


def cached_tracking_store(tracking_uri: str | None) -> Any:
    """Return the store that MLflow's calls on a tracking URI are made on in this process."""
    from mlflow.tracking._tracking_service.utils import _get_store

    return _get_store(tracking_uri)


def registry_store(uri: str) -> Any:
    """Return the store of registered models and prompts that goes with a tracking URI."""
    from mlflow.tracking._model_registry.utils import _get_store

    return _get_store(uri, uri)


def is_asked_for_always(experiment_id: str) -> bool:
    """Say whether MLflow looks this experiment up for each trace and run.

    It does where the environment names it and ``mlflow.set_experiment`` was not called here.
    """
    from mlflow.tracking import fluent

    is_set: bool = fluent._active_experiment_id is not None
    return not is_set and experiment_id == foreign("MLFLOW_EXPERIMENT_ID")


def resource_of(span: Any) -> dict[str, Any]:
    """Return what OpenTelemetry says of a span's program, of which MLflow makes tags."""
    resource = getattr(span._span, "resource", None)
    return {} if resource is None else dict(resource.attributes)


def span_of(fields: dict[str, Any], resource: dict[str, Any]) -> Any:
    """Return the span that ``Span.to_dict`` and ``resource_of`` have given."""
    from mlflow.entities.span import Span
    from opentelemetry.sdk.resources import Resource

    span = Span.from_dict(fields)
    if resource:
        span._span._resource = Resource(resource)
    return span


def trace_fields(trace_info: Any) -> dict[str, Any]:
    """Return what is known of a trace, with nothing cut as its protocol message would cut it."""
    fields: dict[str, Any] = trace_info.to_dict()
    fields["tags"] = dict(trace_info.tags)
    fields["trace_metadata"] = dict(trace_info.trace_metadata)
    return fields


def name_assessments(trace_info: Any) -> None:
    """Give a trace's assessments the ids that the store would give them, another each time."""
    from mlflow.tracing.utils import generate_assessment_id

    for assessment in trace_info.assessments:
        if assessment.assessment_id is None:
            assessment.assessment_id = generate_assessment_id()


def trace_json(document: dict[str, Any]) -> str:
    """Write spans or what is known of a trace as MLflow's stores do."""
    from mlflow.tracing.utils import TraceJSONEncoder

    return json.dumps(document, cls=TraceJSONEncoder)


def forget_server_versions() -> None:
    """Ask a server again which version it is, which a RestStore keeps even where none answered."""
    from mlflow.store.tracking.rest_store import RestStore

    RestStore._get_server_version.cache_clear()


def follow_trace_flush(then: Callable[[], None]) -> None:
    """Have ``mlflow.flush_trace_async_logging()`` call ``then`` when it is done; once a process.

    MLflow has no hook there, and its function knows only its own queue.
    """
    import mlflow

    stock = mlflow.flush_trace_async_logging
    if getattr(stock, "is_followed", False):
        return

    @wraps(stock)
    def flush(*arguments: Any, **options: Any) -> None:
        stock(*arguments, **options)
        then()

    setattr(flush, "is_followed", True)  # noqa: B010
    mlflow.flush_trace_async_logging = flush
