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
from typing import TYPE_CHECKING, Any

import flask

if TYPE_CHECKING:
    from mlflow.store.tracking.abstract_store import AbstractStore

AUTH_MODULE = "mlflow.server.auth"
INDEX_ENDPOINT = "serve"
"""Flask's name of the view that answers with MLflow's own page."""
_AUTHORIZATION = "weir.authorization"
_AUTHENTICATE = "authenticate_request"
_FIND_VALIDATOR = "_find_validator"
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


def join_auth(auth: ModuleType, blueprints: Collection[str], is_open: Callable[[], bool]) -> None:
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
    """
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
