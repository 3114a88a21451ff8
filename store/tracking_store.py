"""The tracking stores MLflow loads for a Weir URI: MLflow's SQL stores with our metric history.

``WeirStore`` and ``WorkspaceAwareWeirStore`` are subclasses of MLflow's stores (never wrappers:
MLflow tests with ``isinstance``), and differ from them in where metric history is kept and in how
runs are searched. Everything else is inherited.
"""

from __future__ import annotations

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore


class _WeirMethods:
    """What both stores do differently from MLflow's."""


class WeirStore(_WeirMethods, SqlAlchemyStore):  # type: ignore[misc]
    """MLflow's SQL store with metric history in columns."""


class WorkspaceAwareWeirStore(_WeirMethods, WorkspaceAwareSqlAlchemyStore):  # type: ignore[misc]
    """The same where MLflow's workspaces are on."""
