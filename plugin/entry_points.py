"""What MLflow's entry points name: one lazy builder for each kind of store.

MLflow loads this module in every ``import mlflow``, while it is itself half imported. So: the
standard library alone at module level, and nothing here can fail before it is called. Each builder
serves MLflow's own schemes too (``sqlite``, ``postgresql``, ``mysql``, ``http``, ``https``: both
of MLflow's registries load entry points after their built-ins, and the last one wins) and returns,
for a URI without ``weir`` and a server without it, what MLflow's own builder returns, through that
builder.

docs/decisions/001-entry-points.md says why this way, and what was measured.
"""

from __future__ import annotations

import atexit
import functools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_logger = logging.getLogger("mlflow_weir")


def _wait_for_delivery() -> None:
    # Only where this process has journaled: nothing is imported for it.
    exits = sys.modules.get("mlflow_weir.plugin.exits")
    if exits is not None:
        exits.wait_for_delivery()


def _join_server() -> None:
    """In a process of ``mlflow server`` on a Weir store, wait for the server's modules.

    The server's app is put together long after this, by whatever ``--app-name`` says.
    """
    from mlflow_weir.settings import DISABLE, UI, foreign

    # All that `import mlflow` pays for in a process that is no server. MLflow's private name, held
    # by tests/unit/test_plugin_mlflow_private.py.
    backend = foreign("_MLFLOW_SERVER_FILE_STORE")
    if backend is None:
        return
    from mlflow_weir.plugin.uri import is_weir

    if not is_weir(backend) or DISABLE.get() or not UI.get():
        return
    from mlflow.utils.import_hooks import register_post_import_hook

    register_post_import_hook(_install_extension, "mlflow.server")
    register_post_import_hook(_join_fastapi, "mlflow.server.fastapi_app")
    register_post_import_hook(_join_auth, "mlflow.server.auth")


def _install_extension(server: Any) -> None:
    from mlflow_weir.guard import never_raises

    @never_raises(None)
    def install_extension() -> None:
        from mlflow_weir.ui_extensions import app

        app.install(server.app)

    install_extension()


def _join_fastapi(module: Any) -> None:
    from mlflow_weir.guard import never_raises

    @never_raises(None)
    def join_fastapi() -> None:
        from mlflow_weir.ui_extensions import app

        app.join_fastapi(module)

    join_fastapi()


def _join_auth(auth: Any) -> None:
    # Where this fails, the routes stay closed to all but administrators, and the log says so.
    from mlflow_weir.guard import never_raises

    @never_raises(None)
    def join_auth() -> None:
        from mlflow_weir.ui_extensions import app

        app.join_auth(auth)

    join_auth()


try:
    _join_server()
except Exception:  # whatever it is, `import mlflow` goes on
    _logger.warning("the server goes without Weir's extension", exc_info=True)

# Before MLflow registers its own handler, so that it runs after that has ended the open runs.
atexit.register(_wait_for_delivery)


def tracking_store(store_uri: str, artifact_uri: str | None = None, **options: Any) -> Any:
    """Build the tracking store for a URI; one builder for clients and servers.

    Args:
        store_uri: As the user wrote it.
        artifact_uri: Artifact root for new experiments; None leaves it to the store.
        options: What a later MLflow may add; passed on.

    Raises:
        MlflowException: The URI is one of Weir's and has a fault; or what the store raises.
    """
    # MLflow keeps one registry for clients and one for servers, calls the same entry point from
    # both, and does not say which. They build different stores (read replica, artifact root), so
    # the caller is looked up: the method of the registry that holds this builder.
    registry = sys._getframe(1).f_locals.get("self")
    from mlflow_weir.plugin import mlflow_private
    from mlflow_weir.plugin.uri import is_embedded, is_weir

    stock = mlflow_private.stock_tracking_builder(registry)
    if not is_weir(store_uri):
        return stock(store_uri, artifact_uri, **options)
    database_uri, embedded_root = _resolve(store_uri)
    root, replica_uri = mlflow_private.store_arguments(registry, artifact_uri)
    if embedded_root is not None and mlflow_private.is_default_artifact_root(root):
        root = embedded_root
    if _is_disabled(store_uri):
        return stock(database_uri, root, **options)
    if is_embedded(store_uri) and mlflow_private.is_server_registry(registry):
        _say_no_jobs(store_uri, embedded_root)
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES

    has_workspaces = MLFLOW_ENABLE_WORKSPACES.get()
    if replica_uri is not None:
        replica_uri, _ = _resolve(replica_uri)
    if _journals(registry):
        from mlflow_weir.plugin import journaled_store

        return journaled_store.sql_store(
            database_uri, root, replica_uri, has_workspaces=has_workspaces, **options
        )
    from mlflow_weir.store.tracking_store import WeirStore, WorkspaceAwareWeirStore

    store_class: Any = WorkspaceAwareWeirStore if has_workspaces else WeirStore
    return store_class(database_uri, root, read_db_uri=replica_uri, **options)


def server_store(store_uri: str, artifact_uri: str | None = None, **options: Any) -> Any:
    """Build the tracking store for a server's address: MLflow's own, or one that decides later.

    A server that runs Weir is recognised at the first use of the store, not here, where MLflow
    lets nobody else build a store.

    Args:
        store_uri: As the user wrote it.
        artifact_uri: Of no use with a server.
        options: What a later MLflow may add; passed on.

    Raises:
        MlflowException: ``WEIR_CLIENT`` has a fault; or what MLflow's own builder raises.
    """
    registry = sys._getframe(1).f_locals.get("self")  # as in tracking_store
    from mlflow_weir.plugin import mlflow_private

    stock = mlflow_private.stock_rest_builder(registry)
    store = stock(store_uri=store_uri, artifact_uri=artifact_uri, **options)
    if _is_kept_out() or not _journals(registry):
        return store
    from mlflow_weir.plugin.undecided_rest import undecided

    return undecided(store, store_uri)


def _is_kept_out() -> bool:
    """Say whether WEIR_DISABLE is on, or is a word that nobody knows: the URI is not Weir's."""
    from mlflow_weir.errors import ConfigError
    from mlflow_weir.settings import DISABLE

    try:
        return DISABLE.get()
    except ConfigError:
        return True


def model_registry_store(store_uri: str, tracking_uri: str | None = None, **options: Any) -> Any:
    """Build MLflow's own store of registered models, prompts and webhooks.

    Args:
        store_uri: As the user wrote it.
        tracking_uri: Of the runs that models come from; None in a server.
        options: What a later MLflow may add; passed on.

    Raises:
        MlflowException: The URI is one of Weir's and has a fault; or what the store raises.
    """
    registry = sys._getframe(1).f_locals.get("self")  # as in tracking_store
    from mlflow_weir.plugin import mlflow_private

    stock = mlflow_private.stock_model_registry_builder(registry)
    return _understanding(stock(_for_mlflow(store_uri), **options), tracking_uri)


def server_registry_store(store_uri: str, tracking_uri: str | None = None, **options: Any) -> Any:
    """Build MLflow's own store of the registered models that a server has.

    Args:
        store_uri: As the user wrote it.
        tracking_uri: Of the runs that models come from; None in a server.
        options: What a later MLflow may add; passed on.

    Raises:
        MlflowException: What MLflow's own builder raises.
    """
    registry = sys._getframe(1).f_locals.get("self")  # as in tracking_store
    from mlflow_weir.plugin import mlflow_private

    stock = mlflow_private.stock_registry_rest_builder(registry)
    return _understanding(stock(store_uri, **options), tracking_uri)


def _understanding(store: Any, tracking_uri: str | None) -> Any:
    """Have a registry of models understand what a training began while its store was away."""
    if tracking_uri is None or "create_model_version" in vars(store):
        return store
    stock = store.create_model_version

    @functools.wraps(stock)
    def create_model_version(*arguments: Any, **options: Any) -> Any:
        # Imported by the first store of this process that journals.
        if "mlflow_weir.plugin.pending_names" in sys.modules:
            from mlflow_weir.plugin import mlflow_private

            names = getattr(mlflow_private.cached_tracking_store(tracking_uri), "names", None)
            if names is not None:
                arguments, options = names.settled_all(arguments), names.settled_all(options)
        return stock(*arguments, **options)

    store.create_model_version = create_model_version
    return store


def workspace_store(workspace_uri: str, **options: Any) -> Any:
    """Build MLflow's own workspace store.

    Raises:
        MlflowException: The URI is one of Weir's and has a fault; or what the store raises.
    """
    from mlflow_weir.plugin import mlflow_private

    return mlflow_private.stock_workspace_builder()(_for_mlflow(workspace_uri), **options)


def scorer_store(tracking_uri: str | None = None, **options: Any) -> Any:
    """Build MLflow's own scorer store, which asks the tracking store of the same URI."""
    from mlflow_weir.plugin import mlflow_private

    return mlflow_private.scorer_store_class()(tracking_uri, **options)


def _for_mlflow(uri: str) -> str:
    """Return the URI that a store of MLflow's own opens.

    PostgreSQL stays ``postgresql+weir``, a dialect of ours (``dialects.py``): MLflow's engine
    would prepare statements, which does not go through PgBouncer.
    """
    resolved, _ = _resolve(uri)
    return uri if resolved.startswith("postgresql+psycopg:") else resolved


def _resolve(uri: str) -> tuple[str, str | None]:
    """Return the SQLAlchemy URI behind ``uri`` and, for an embedded store, its artifact root.

    The folder of an embedded store is made. A URI without ``weir`` comes back as it is.

    Raises:
        MlflowException: ``uri`` has a fault, or the folder cannot be made.
    """
    from mlflow_weir.plugin.uri import expand, is_embedded, strip

    with _mlflow_errors():
        database_uri, artifact_root = expand(uri)
        stripped = strip(database_uri)
        if is_embedded(uri):
            _make_folder(uri, stripped)
    return stripped, artifact_root


def _make_folder(uri: str, database_uri: str) -> None:
    """Make the folder an embedded store lives in."""
    import os

    from mlflow_weir.errors import ConfigError

    folder = os.path.dirname(database_uri.removeprefix("sqlite:///"))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"{uri!r}: cannot use the folder {folder!r}: {exc.strerror}",
            hint="set WEIR_HOME to a folder you can write, or use weir:///abs/dir",
        ) from exc


def _journals(registry: object) -> bool:
    """Say whether this process trains: it is no server, no job of one, and nobody said no."""
    from mlflow_weir.plugin import mlflow_private
    from mlflow_weir.settings import CLIENT

    with _mlflow_errors():
        if CLIENT.get() == "off":
            return False
    return not (mlflow_private.is_server_registry(registry) or mlflow_private.is_server_child())


def _is_disabled(store_uri: str) -> bool:
    """Say whether WEIR_DISABLE is on, to the user as well: a Weir URI is read without Weir."""
    from mlflow_weir.settings import DISABLE

    with _mlflow_errors():
        if not DISABLE.get():
            return False
    from mlflow_weir.plugin.uri import without_secrets

    _logger.warning(
        "WEIR_DISABLE is on: %s is opened by MLflow's own store, which does not see the metric "
        "history that Weir has moved to its own tables.",
        without_secrets(store_uri),
    )
    return True


def _say_no_jobs(store_uri: str, artifact_root: str | None) -> None:
    """Tell who starts a server on an embedded store what it goes without, once."""
    from mlflow.environment_variables import MLFLOW_SERVER_ENABLE_JOB_EXECUTION

    from mlflow_weir.plugin import mlflow_private
    from mlflow_weir.plugin.uri import expand

    if MLFLOW_SERVER_ENABLE_JOB_EXECUTION.get() and not mlflow_private.is_server_child():
        _logger.warning(
            "A server on %s runs without MLflow's background jobs; with them: "
            "--backend-store-uri %s --default-artifact-root %s",
            store_uri,
            expand(store_uri).database_uri,
            artifact_root,
        )


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    """Raise a user's mistake as the error MLflow's callers know."""
    from mlflow_weir.errors import ConfigError

    try:
        yield
    except ConfigError as exc:
        from mlflow.exceptions import MlflowException

        raise MlflowException.invalid_parameter_value(str(exc)) from exc
