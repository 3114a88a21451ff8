"""Every private name of MLflow that the server side touches, one function a need.

MLflow offers an entry point for a server app of one's own, and nothing for what joins an app that
somebody else chose. ``tests/unit/test_ui_mlflow_private.py`` holds each name against the installed
MLflow, so that a release which moves one fails there first. Nothing of MLflow's server is imported
before it is used: its hooks run while its modules are half imported.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import flask

if TYPE_CHECKING:
    from mlflow.store.tracking.abstract_store import AbstractStore

AUTH_MODULE = "mlflow.server.auth"
INDEX_ENDPOINT = "serve"
"""Flask's name of the view that answers with MLflow's own page."""
DENY, NO_PERMISSIONS = "DENY", "NO_PERMISSIONS"
_EXPERIMENT = "experiment"
_ADD_GRANT = "grant_user_resource_permission"
_USER_CHANGES = (
    "create_user",
    "assign_role_to_user",
    "grant_user_permission",
    "revoke_user_resource_permission",
    "set_workspace_permission",
)
_AUTHORIZATION = "weir.authorization"
_AUTHENTICATE = "authenticate_request"
_FIND_VALIDATOR = "_find_validator"
_CREATE_FASTAPI_APP = "create_fastapi_app"
_IS_UNPROTECTED = "is_unprotected_route"
# A metric that MLflow's rules find nothing wrong with, but for its name.
_ANY_VALUE, _ANY_TIMESTAMP, _ANY_STEP = 0.0, 0, 0


def is_serving() -> bool:
    """Say whether this process answers requests, and is no job of a server."""
    return any(name in sys.modules for name in ("uvicorn", "gunicorn", "waitress"))


def is_asgi() -> bool:
    """Say whether the server that runs an app factory expects FastAPI's kind of app."""
    from mlflow.environment_variables import _MLFLOW_SGI_NAME

    return bool(_MLFLOW_SGI_NAME.get() == "uvicorn")


def static_prefixed(path: str) -> str:
    """Return a path below the server's ``--static-prefix``."""
    from mlflow.server.handlers import _add_static_prefix

    prefixed: str = _add_static_prefix(path)
    return prefixed


def tracking_store() -> AbstractStore:
    """Return the store that the server's own routes use."""
    from mlflow.server.handlers import _get_tracking_store

    return _get_tracking_store()


def open_tracking_store(store_uri: str) -> None:
    """Have the server's routes use a store in this process, which is no server's."""
    from mlflow.server.handlers import _get_tracking_store

    _get_tracking_store(store_uri)


def is_auth_on() -> bool:
    """Say whether MLflow's basic-auth app is in force in this process."""
    auth = sys.modules.get(AUTH_MODULE)
    # Where the app is in force, its module was there whole before the first request. One that is
    # half imported is being asked about by a plain server's other thread.
    is_enabled = None if auth is None else vars(auth).get("is_auth_enabled")
    return is_enabled is not None and bool(is_enabled())


def authenticated_user() -> str | None:
    """Return who MLflow's basic-auth app found the request to come from."""
    user: str | None = getattr(flask.g, "mlflow_authenticated_user", None)
    return user


def join_fastapi(module: ModuleType, middleware: Callable[[Any], Any]) -> None:
    """Put a middleware before each FastAPI app that MLflow makes: the one it has and later ones.

    Args:
        module: The one that makes them, as it has just been imported.
        middleware: Builds the middleware around an app.
    """
    stock: Callable[..., Any] = vars(module)[_CREATE_FASTAPI_APP]

    def create(*arguments: Any, **options: Any) -> Any:
        made = stock(*arguments, **options)
        made.add_middleware(middleware)
        return made

    vars(module)[_CREATE_FASTAPI_APP] = create
    vars(module)["app"].add_middleware(middleware)


def join_auth(
    auth: ModuleType,
    blueprints: Collection[str],
    is_open: Callable[[], bool],
    keep_private: Callable[[], None],
    is_private: Callable[[str], bool],
) -> None:
    """Let MLflow's basic-auth app authenticate our blueprints' requests, and nothing more.

    A route without a validator is closed to everybody but administrators
    (``MLFLOW_BASIC_AUTH_FAIL_CLOSED``); the blueprints' own views authorise. And one request is
    authenticated once: a password's hash takes tens of milliseconds, MLflow checks it up to three
    times a request, and the questions we put to MLflow on the caller's behalf carry the answer.

    Args:
        auth: The module of the app, as it has just been imported.
        blueprints: Names of the Flask blueprints whose routes these are.
        is_open: Says of the present request, of one of our routes or not, that it is let in
            without being asked who it comes from.
        keep_private: Called after users or their permissions have changed.
        is_private: Says of an experiment that whoever was not named is denied it.
    """
    _watch_users(vars(auth).get("store"), keep_private, is_private)
    stock_is_unprotected: Callable[[str], bool] = vars(auth)[_IS_UNPROTECTED]
    stock_validator: Callable[[Any], Any] = vars(auth)[_FIND_VALIDATOR]
    stock_authenticate: Callable[[], Any] = vars(auth)[_AUTHENTICATE]

    def find_validator(request: Any) -> Any:
        if flask.request.blueprint in blueprints:
            return lambda: True
        return stock_validator(request)

    def authenticate() -> Any:
        environ = flask.request.environ
        known = environ.get(_AUTHORIZATION)
        if known is not None:
            return known
        found = stock_authenticate()
        if flask.request.blueprint in blueprints and not isinstance(found, flask.Response):
            environ[_AUTHORIZATION] = found
        return found

    def is_unprotected(path: str) -> bool:
        # FastAPI's part asks too, where there is no request of Flask's: it passes on what it does
        # not know, and Flask's part asks again. Not by the path: a --static-prefix is a path too.
        return stock_is_unprotected(path) or (
            flask.has_request_context() and flask.request.path == path and is_open()
        )

    setattr(auth, _IS_UNPROTECTED, is_unprotected)
    setattr(auth, _FIND_VALIDATOR, find_validator)
    setattr(auth, _AUTHENTICATE, authenticate)


def _watch_users(
    store: Any, keep_private: Callable[[], None], is_private: Callable[[str], bool]
) -> None:
    """Have it known when somebody comes who might see a private experiment."""

    def watched(stock: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **kwargs: Any) -> Any:
            found = stock(*args, **kwargs)
            keep_private()
            return found

        return change

    def grant(username: str, resource_type: str, resource_pattern: str, permission: str) -> None:
        # MLflow's own tools add rows and remove them: that whoever is denied a private experiment
        # is now named for it is both, and there must be no moment in between.
        if resource_type == _EXPERIMENT and is_private(resource_pattern):
            store.grant_user_permission(username, resource_type, resource_pattern, permission)
        else:
            add_grant(username, resource_type, resource_pattern, permission)

    for name in _USER_CHANGES:
        if hasattr(store, name):
            setattr(store, name, watched(getattr(store, name)))
    if hasattr(store, _ADD_GRANT):
        add_grant: Callable[..., None] = getattr(store, _ADD_GRANT)
        setattr(store, _ADD_GRANT, grant)


class Grant(NamedTuple):
    """What a role of MLflow's says of experiments, or of a workspace as a whole.

    Attributes:
        role: Its name; None of the role that is a user's own.
        resource_type: ``experiment`` or ``workspace``.
        pattern: An id, or ``*``.
        permission: By MLflow's name.
    """

    role: str | None
    resource_type: str
    pattern: str
    permission: str


class KnownUser(NamedTuple):
    """A user of MLflow's, as a workspace sees them.

    Attributes:
        is_admin: May everything on this server.
        is_present: Something in this workspace is theirs to see.
    """

    name: str
    is_admin: bool
    is_present: bool
    grants: tuple[Grant, ...]

    def own(self, experiment_id: str) -> str | None:
        """Return their own permission for an experiment; None without one."""
        return next(
            (
                one.permission
                for one in self.grants
                if one.role is None
                and one.resource_type == _EXPERIMENT
                and one.pattern == experiment_id
            ),
            None,
        )

    def is_named(self, experiment_id: str) -> bool:
        """Say whether a role, or they themselves, were given this very experiment."""
        return any(
            one.resource_type == _EXPERIMENT
            and one.pattern == experiment_id
            and one.permission not in (DENY, NO_PERMISSIONS)
            for one in self.grants
        )


def users(workspace: str | None) -> list[KnownUser]:
    """Return MLflow's users, by name.

    Args:
        workspace: That their roles are of; None where the server has none.
    """
    from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

    auth = sys.modules[AUTH_MODULE]
    store, config = vars(auth)["store"], vars(auth)["auth_config"]
    named = workspace or DEFAULT_WORKSPACE_NAME
    is_open = workspace is None or (
        config.grant_default_workspace_access and workspace == DEFAULT_WORKSPACE_NAME
    )
    found = []
    for user, roles in store.list_users_with_roles():
        here = [role for role in roles if role.workspace == named]
        grants = tuple(
            Grant(
                None if store._is_synthetic_role_name(role.name) else role.name,
                one.resource_type,
                one.resource_pattern,
                one.permission,
            )
            for role in here
            for one in role.permissions
            if one.resource_type in (_EXPERIMENT, "workspace")
        )
        found.append(KnownUser(user.username, bool(user.is_admin), is_open or bool(here), grants))
    return sorted(found, key=lambda one: one.name)


def default_permission() -> str:
    """Return what MLflow lets everybody do whom nothing is said of, by its name."""
    return str(vars(sys.modules[AUTH_MODULE])["auth_config"].default_permission)


def can_deny() -> bool:
    """Say whether this MLflow's permissions can take away what its default gives."""
    from mlflow.server.auth.permissions import ALL_PERMISSIONS

    return DENY in ALL_PERMISSIONS


def permission_of(user: str, experiment_id: str) -> str:
    """Return what MLflow lets a user who is no administrator do with an experiment."""
    found = vars(sys.modules[AUTH_MODULE])["_get_experiment_permission"](experiment_id, user)
    return str(found.name)


def grant(user: str, experiment_id: str, permission: str) -> None:
    """Give a user a permission of their own, in the place of the one they had."""
    store = vars(sys.modules[AUTH_MODULE])["store"]
    store.grant_user_permission(user, _EXPERIMENT, experiment_id, permission)


def deny(user: str, experiment_id: str) -> bool:
    """Deny a user an experiment unless they have a permission of their own by now; say if so."""
    from mlflow.exceptions import MlflowException

    store = vars(sys.modules[AUTH_MODULE])["store"]
    # The class's own: what `_watch_users` put in its place overwrites.
    add_grant = getattr(type(store), _ADD_GRANT)
    try:
        add_grant(store, user, _EXPERIMENT, experiment_id, DENY)
    except MlflowException as exc:
        if exc.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            raise
        return False  # named, denied by another process, or gone, a moment ago
    return True


def revoke(user: str, experiment_id: str) -> None:
    """Take a user's own permission away, if there is one."""
    from mlflow.exceptions import MlflowException

    store = vars(sys.modules[AUTH_MODULE])["store"]
    try:
        store.revoke_user_resource_permission(user, _EXPERIMENT, experiment_id)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def create_user(name: str, password: str, workspace: str | None) -> None:
    """Make a user, who is a member of the workspace.

    Raises:
        MlflowException: The name is taken, or MLflow does not allow it or the password.
    """
    store = vars(sys.modules[AUTH_MODULE])["store"]
    store.create_user(name, password)
    if workspace is not None:
        store.set_workspace_permission(workspace, name, "USE")


def set_password(name: str, password: str) -> None:
    """Give a user another password; the one before opens nothing in this process."""
    auth = vars(sys.modules[AUTH_MODULE])
    auth["store"].update_user(name, password=password)
    auth["_invalidate_user_auth_cache"](name)


def as_user(environ: dict[str, Any], user: str) -> None:
    """Make a request of ours to the app one of somebody whom the basic-auth app knows."""
    from werkzeug.datastructures import Authorization

    environ[_AUTHORIZATION] = Authorization("basic", {"username": user, "password": ""})


@contextlib.contextmanager
def in_workspace(workspace: str | None) -> Iterator[None]:
    """Have MLflow's store and handlers look at a workspace for as long as the block lasts."""
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.utils.workspace_context import ServerWorkspaceContext

    if workspace is None or not MLFLOW_ENABLE_WORKSPACES.get():
        yield
        return
    with ServerWorkspaceContext(workspace):
        yield


def request_workspace() -> str | None:
    """Return the workspace of the request; None where the server has none."""
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.utils.workspace_context import get_request_workspace
    from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

    if not MLFLOW_ENABLE_WORKSPACES.get():
        return None
    workspace: str = get_request_workspace() or DEFAULT_WORKSPACE_NAME
    return workspace


def is_cross_origin(origin: str | None, method: str) -> bool:
    """Say whether MLflow would refuse a request for where its page came from."""
    from mlflow.server.security_utils import (
        get_allowed_origins_from_env,
        should_block_cors_request,
    )

    return bool(should_block_cors_request(origin or "", method, get_allowed_origins_from_env()))


def metric_name_fault(name: str) -> str | None:
    """Say what MLflow's rules find wrong with a metric's name; None where it is right."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_metric

    try:
        _validate_metric(name, _ANY_VALUE, _ANY_TIMESTAMP, _ANY_STEP)
    except MlflowException as exc:
        return str(exc.message)
    return None


def checked_params(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Check params by MLflow's rules, and cut what MLflow would cut."""
    from mlflow.utils.validation import _validate_param

    checked = [_validate_param(key, value) for key, value in pairs]
    return [[param.key, param.value] for param in checked]


def checked_tags(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Check a run's tags by MLflow's rules, and cut what MLflow would cut."""
    from mlflow.utils.validation import _validate_tag

    checked = [_validate_tag(key, value) for key, value in pairs]
    return [[tag.key, tag.value] for tag in checked]


def check_experiment_tag(key: str, value: str) -> None:
    """Check an experiment's tag by MLflow's rules."""
    from mlflow.utils.validation import _validate_experiment_tag

    _validate_experiment_tag(key, value)


def check_logged_model_name(name: str | None) -> None:
    """Check a logged model's name by MLflow's rules."""
    from mlflow.utils.validation import _validate_logged_model_name

    _validate_logged_model_name(name)


def check_dataset(dataset: Mapping[str, Any], tags: Sequence[tuple[str, str]]) -> None:
    """Check a data set and the tags of its link to a run by MLflow's rules."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.validation import _validate_dataset_inputs

    entity = Dataset(
        dataset["name"],
        dataset["digest"],
        dataset["source_type"],
        dataset["source"],
        dataset.get("schema"),
        dataset.get("profile"),
    )
    _validate_dataset_inputs([DatasetInput(entity, [InputTag(key, value) for key, value in tags])])
