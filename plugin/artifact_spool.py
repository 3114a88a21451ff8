"""What MLflow's entry points name for artifact repositories: one lazy builder.

MLflow resolves a repository by its URI, outside any store. So the builder bears the names of the
remote schemes and returns MLflow's own repository, but in a process whose calls on that tracking
URI are journaled: there it is MLflow's repository still, whose log calls put copies of the files
beside the journal and return (``spooled_repository``). ``weir-pending:`` is the artifact root of
what was begun while the store was away.

MLflow loads this module in every ``import mlflow``: the standard library alone at module level.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Any

_NOT_REMOTE = frozenset({"file", "weir-pending"})


def artifact_repository(
    artifact_uri: str,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    **options: Any,
) -> Any:
    """Build the repository of a remote URI.

    Args:
        artifact_uri: Its root.
        tracking_uri: Of the store that the artifacts belong to; the current one when None.
        registry_uri: As in MLflow.
        options: What a later MLflow may add; passed on.

    Raises:
        MlflowException: What MLflow's own repository raises.
    """
    from mlflow_weir.plugin import mlflow_private

    scheme = artifact_uri.partition(":")[0].lower()
    stock = mlflow_private.stock_artifact_repository(scheme)
    repository = stock(
        artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri, **options
    )
    # Imported by the first store of this process that journals.
    if "mlflow_weir.plugin.recorder" in sys.modules:
        _spool(repository, artifact_uri, tracking_uri)
    return repository


def pending_repository(
    artifact_uri: str,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    **options: Any,
) -> Any:
    """Build the repository of what was begun while the store was away.

    Raises:
        MlflowException: This process does not journal to that store.
    """
    from mlflow_weir.plugin import spooled_repository

    return spooled_repository.pending(artifact_uri, tracking_uri, registry_uri)


def ask_ahead(recorder: Any, artifact_uri: str) -> None:
    """Find out, beside the call that begins a run, whether its artifact store answers.

    Only where the disk or the quota leaves little room for copies, so that it is known by then.
    """
    from mlflow_weir.guard import never_raises
    from mlflow_weir.threads import start_soon

    @never_raises(None)
    def ask() -> None:
        from mlflow_weir.plugin import spooled_repository

        spooled_repository.ask_ahead(recorder, artifact_uri)

    if ":" in artifact_uri and artifact_uri.partition(":")[0].lower() not in _NOT_REMOTE:
        with contextlib.suppress(RuntimeError):  # no more threads, or the end of the interpreter
            start_soon(threading.Thread(target=ask, name="weir-ask-ahead", daemon=True))


def _spool(repository: Any, artifact_uri: str, tracking_uri: str | None) -> None:
    from mlflow_weir.guard import never_raises

    @never_raises(None)
    def spool_artifacts() -> None:
        from mlflow_weir.plugin import spooled_repository

        spooled_repository.spool(repository, artifact_uri, tracking_uri)

    spool_artifacts()
