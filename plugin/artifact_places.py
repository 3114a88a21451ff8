"""Where the artifacts of a store are, for commands that read and write them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.uri import scheme_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository


def repository_at(client: MlflowClient, uri: str) -> ArtifactRepository:
    """Return what keeps the artifacts at an address of the store that the client is for.

    Raises:
        ConfigError: A server keeps them, and the client asks the database behind it.
    """
    is_behind_server = uri.startswith("mlflow-artifacts:") and "://" not in uri
    if is_behind_server and scheme_of(client.tracking_uri) not in {"http", "https"}:
        raise ConfigError(
            "its artifacts are behind a server", hint="name the server's address, not its database"
        )
    return get_artifact_repository(uri, tracking_uri=client.tracking_uri)
