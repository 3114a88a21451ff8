"""What MLflow looks up again in every log call, found out in less time: private names of MLflow's.

The answers are MLflow's. Why each is worth it: docs/decisions/004-registry-lookup.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mlflow_weir.settings import foreign_presence

_REGISTRY_LOOKUP = "_get_registry_uri_from_context"
_DEFAULT_REGISTRY = "_get_default_registry_uri_for_tracking_uri"
_WORKSPACE_PROVIDER_LOOKUP = "get_workspace_store_uri"


def spare_lookups() -> None:
    """Let MLflow find out in less time what each ``mlflow.log_metric`` asks for again."""
    _spare_registry_lookups()
    _spare_workspace_provider_lookups()


def _spare_registry_lookups() -> None:
    """Let MLflow resolve the registry URI, twice in each ``mlflow.log_metric``, without detours.

    Where none is set it asks an active Spark session, by an import that fails where pyspark is not
    installed: 140 of 190 µs a call. None is active before somebody imported pyspark. Then it takes
    the tracking URI apart to see whether it is Databricks', which depends on it alone and is
    remembered: another 3 µs (docs/decisions/004-registry-lookup.md).
    """
    from mlflow.tracking._model_registry import utils

    known, modules = vars(utils), sys.modules
    if not hasattr(known[_DEFAULT_REGISTRY], "cache_info"):
        setattr(utils, _DEFAULT_REGISTRY, lru_cache(maxsize=64)(known[_DEFAULT_REGISTRY]))
    stock: Callable[[], Any] = known[_REGISTRY_LOOKUP]
    if getattr(stock, "is_spared", False):
        return
    is_in_environment = foreign_presence("MLFLOW_REGISTRY_URI")

    def from_context() -> Any:
        is_set = is_in_environment() or "pyspark" in modules or known["_registry_uri"] is not None
        return stock() if is_set else None

    setattr(from_context, "is_spared", True)  # noqa: B010
    setattr(utils, _REGISTRY_LOOKUP, from_context)


def _spare_workspace_provider_lookups() -> None:
    """Let MLflow resolve the workspace provider's URI, twice in each call, without a detour.

    Where none is set it asks ``os.environ``, which raises and catches an exception to say so:
    1.0 µs each time (docs/decisions/004-registry-lookup.md).
    """
    from mlflow.utils import workspace_utils

    known = vars(workspace_utils)
    stock: Callable[[], str | None] = known[_WORKSPACE_PROVIDER_LOOKUP]
    if getattr(stock, "is_spared", False):
        return
    is_in_environment = foreign_presence("MLFLOW_WORKSPACE_STORE_URI")

    def configured() -> str | None:
        is_set = known["_workspace_store_uri"] is not None or is_in_environment()
        return stock() if is_set else None

    setattr(configured, "is_spared", True)  # noqa: B010
    setattr(workspace_utils, _WORKSPACE_PROVIDER_LOOKUP, configured)


def workspace_lookup() -> Callable[[], str | None]:
    """Return MLflow's ``get_request_workspace``, without its 0.9 µs where no workspace is set."""
    from mlflow.utils import workspace_context

    stock: Callable[[], str | None] = workspace_context.get_request_workspace
    of_context = workspace_context._WORKSPACE
    is_in_environment = foreign_presence("MLFLOW_WORKSPACE")

    def workspace() -> str | None:
        return stock() if is_in_environment() or of_context.get() is not None else None

    return workspace
