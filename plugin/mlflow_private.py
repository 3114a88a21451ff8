"""Every private name of MLflow that the plugin side touches, one function a need.

MLflow offers entry points for stores but not the arguments its own stores would have been built
with; those are found here. ``tests/unit/test_plugin_mlflow_private.py`` holds each name against
the installed MLflow, so that a release which moves one fails there first. Everything is imported
when it is used: MLflow loads the entry points while it is itself half imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow_weir.settings import Setting

_BUILDER = "_get_sqlalchemy_store"


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

        return artifact_uri, _environment(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR)
    if artifact_uri is None:
        from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
        from mlflow.tracking._tracking_service.utils import _SERVER_ARTIFACT_ROOT_ENV_VAR

        inherited = _environment(_SERVER_ARTIFACT_ROOT_ENV_VAR)
        artifact_uri = DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH if inherited is None else inherited
    return artifact_uri, None


def is_default_artifact_root(artifact_uri: str | None) -> bool:
    """Say whether nobody chose this artifact root: it is None or one of MLflow's defaults."""
    from mlflow.store.tracking import DEFAULT_ARTIFACTS_URI, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH

    return artifact_uri in (None, DEFAULT_ARTIFACTS_URI, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)


def is_server_child() -> bool:
    """Say whether this is a worker or job process, not the command that starts them."""
    from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR

    return _environment(BACKEND_STORE_URI_ENV_VAR) is not None


def schema_revisions() -> list[str]:
    """Return the revisions of MLflow's tables that the installed MLflow knows, newest first."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config(db_url=""))
    return [revision.revision for revision in script.walk_revisions()]


def _environment(name: str) -> str | None:
    """Return one of MLflow's own variables, None where it is unset or empty."""
    return Setting[str | None](name, None, str, "MLflow's own, set between its processes").get()
