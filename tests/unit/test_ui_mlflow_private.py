"""The private names of MLflow that the server side touches are there and do what it expects."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import flask
import mlflow
import pytest
from mlflow.environment_variables import _MLFLOW_SGI_NAME
from mlflow.exceptions import MlflowException
from mlflow.server import app as installed_app
from mlflow.server import auth as installed_auth
from mlflow.server import fastapi_app, handlers
from mlflow.server.security_utils import get_allowed_origins_from_env, should_block_cors_request

from mlflow_weir.ui_extensions import access, mlflow_private


def test_the_functions_we_wrap_take_what_we_pass() -> None:
    assert list(inspect.signature(installed_auth._find_validator).parameters) == ["req"]
    assert not inspect.signature(installed_auth.authenticate_request).parameters
    assert list(inspect.signature(handlers._add_static_prefix).parameters) == ["route"]
    parameters = inspect.signature(handlers._get_tracking_store).parameters.values()
    assert all(parameter.default is None for parameter in parameters)
    assert next(iter(parameters)).name == "backend_store_uri"
    assert list(inspect.signature(should_block_cors_request).parameters) == [
        "origin",
        "method",
        "allowed_origins",
    ]
    assert get_allowed_origins_from_env() is None
    assert installed_auth.is_auth_enabled() is False
    assert not mlflow_private.is_auth_on()


def test_every_app_that_mlflow_makes_has_our_middleware(monkeypatch: pytest.MonkeyPatch) -> None:
    made = inspect.signature(fastapi_app.create_fastapi_app)
    assert list(made.parameters) == ["flask_app"]
    # What the server's apps of all kinds are made by, and the one that is made at import.
    monkeypatch.setattr(fastapi_app, "create_fastapi_app", fastapi_app.create_fastapi_app)
    monkeypatch.setattr(fastapi_app, "app", fastapi_app.create_fastapi_app())
    assert "create_fastapi_app(app)" in inspect.getsource(installed_auth.create_app)

    class Middleware:
        def __init__(self, app: Any) -> None:
            self.app = app

    mlflow_private.join_fastapi(fastapi_app, Middleware)
    for app in (fastapi_app.app, fastapi_app.create_fastapi_app(flask.Flask("some"))):
        assert app.user_middleware[0].cls is Middleware  # before all others


def test_auth_is_off_while_its_module_is_half_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    half = ModuleType(mlflow_private.AUTH_MODULE)
    monkeypatch.setitem(sys.modules, mlflow_private.AUTH_MODULE, half)
    assert not mlflow_private.is_auth_on()
    half.is_auth_enabled = lambda: True  # type: ignore[attr-defined]
    assert mlflow_private.is_auth_on()


def test_mlflows_before_request_calls_what_we_wrap_by_its_name() -> None:
    called = inspect.getsource(installed_auth._before_request)
    for name in (
        "authenticate_request()",
        "_find_validator(request)",
        "is_unprotected_route(request.path)",
        "mlflow_authenticated_user",
    ):
        assert name in called


def test_mlflows_own_page_is_served_by_the_view_we_wrap() -> None:
    rules = {rule.rule: rule.endpoint for rule in installed_app.url_map.iter_rules()}
    assert rules["/"] == mlflow_private.INDEX_ENDPOINT


def test_an_asgi_server_is_known_by_mlflows_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not mlflow_private.is_asgi()
    monkeypatch.setenv(_MLFLOW_SGI_NAME.name, "uvicorn")
    assert mlflow_private.is_asgi()


def test_paths_get_the_static_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(handlers.STATIC_PREFIX_ENV_VAR, raising=False)
    assert mlflow_private.static_prefixed("/x") == "/x"
    monkeypatch.setenv(handlers.STATIC_PREFIX_ENV_VAR, "/mlf")
    assert mlflow_private.static_prefixed("/x") == "/mlf/x"


class FakeAuth(ModuleType):
    """The two names of MLflow's basic-auth module that are wrapped, counting their calls."""

    def __init__(self) -> None:
        super().__init__("auth")
        self.n_authenticated = 0
        self.answer: object = object()
        self.authenticate_request: Callable[[], object] = self._authenticate
        self._find_validator: Any = lambda request: None
        self.is_unprotected_route: Callable[[str], bool] = lambda path: path == "/health"

    def _authenticate(self) -> object:
        self.n_authenticated += 1
        return self.answer


def test_our_requests_are_authenticated_once_and_others_as_before() -> None:
    auth, is_open = FakeAuth(), list[str]()
    mlflow_private.join_auth(
        auth, {access.BLUEPRINT}, lambda: bool(is_open), lambda: None, lambda experiment_id: False
    )
    app = flask.Flask("joined")
    routes = flask.Blueprint(access.BLUEPRINT, "joined")

    @routes.route("/ours")
    @app.route("/stock")
    def view() -> str:
        return ""

    app.register_blueprint(routes)
    with app.test_request_context("/ours"):
        assert auth.authenticate_request() is auth.authenticate_request() is auth.answer
        assert auth.n_authenticated == 1
        assert auth._find_validator(flask.request)() is True
    with app.test_request_context("/stock"):
        auth.authenticate_request()
        auth.authenticate_request()
        assert auth.n_authenticated == 3
        assert auth._find_validator(flask.request) is None
    # A route is open where it is declared so, whatever its path; so are MLflow's own.
    with app.test_request_context("/ours"):
        assert not auth.is_unprotected_route("/ours")
        assert auth.is_unprotected_route("/health")
        is_open.append("/ours")
        assert auth.is_unprotected_route("/ours")
        assert not auth.is_unprotected_route("/stock")
    assert not auth.is_unprotected_route("/ours")
    # A refusal is no authorization, and is asked for again.
    auth.answer = flask.Response(status=401)
    with app.test_request_context("/ours"):
        auth.authenticate_request()
        auth.authenticate_request()
    assert auth.n_authenticated == 5


def test_names_are_held_to_mlflows_rules() -> None:
    assert mlflow_private.metric_name_fault("loss/train") is None
    assert "../loss" in (mlflow_private.metric_name_fault("../loss") or "")
    assert mlflow_private.metric_name_fault("x" * 251) is not None
    assert mlflow_private.checked_params([("lr", "1")]) == [["lr", "1"]]
    assert len(mlflow_private.checked_tags([("k", "v" * 9_000)])[0][1]) == 8_000
    tags = [("k", "v")]
    dataset = {"name": "d", "digest": "1", "source_type": "t", "source": "s"}
    mlflow_private.check_dataset(dataset, tags)
    for fault in (
        lambda: mlflow_private.checked_params([("../x", "1")]),
        lambda: mlflow_private.checked_tags([("k" * 251, "1")]),
        lambda: mlflow_private.check_experiment_tag("k" * 1_000, "1"),
        lambda: mlflow_private.check_logged_model_name("a/b"),
        lambda: mlflow_private.check_dataset({**dataset, "name": "d" * 1_000}, tags),
    ):
        with pytest.raises(MlflowException):
            fault()


def test_a_block_is_in_the_workspace_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    with mlflow_private.in_workspace("team-a"):
        assert mlflow_private.request_workspace() == "team-a"
    assert mlflow_private.request_workspace() == "default"
    environ: dict[str, Any] = {}
    mlflow_private.as_user(environ, "alice")
    (sent,) = environ.values()
    assert (sent.username, sent.type) == ("alice", "basic")


def test_a_request_has_a_workspace_only_where_the_server_has_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_ENABLE_WORKSPACES", raising=False)
    assert mlflow_private.request_workspace() is None
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    assert mlflow_private.request_workspace() == "default"


def test_users_and_their_permissions_are_where_we_look_for_them() -> None:
    store = installed_auth.store
    taken = {
        "create_user": ["username", "password", "is_admin"],
        "update_user": ["username", "password", "is_admin"],
        "grant_user_permission": ["username", "resource_type", "resource_pattern", "permission"],
        "grant_user_resource_permission": [
            *("username", "resource_type", "resource_pattern", "permission"),
        ],
        "revoke_user_resource_permission": ["username", "resource_type", "resource_pattern"],
        "set_workspace_permission": ["workspace_name", "username", "permission"],
        "list_users_with_roles": [],
        "_is_synthetic_role_name": ["name"],
        "assign_role_to_user": ["user_id", "role_id"],
    }
    for name, parameters in taken.items():
        assert list(inspect.signature(getattr(store, name)).parameters) == parameters, name
    parameters = list(inspect.signature(installed_auth._get_experiment_permission).parameters)
    assert parameters == ["experiment_id", "username"]
    assert list(inspect.signature(installed_auth._invalidate_user_auth_cache).parameters)
    assert isinstance(installed_auth.auth_config.grant_default_workspace_access, bool)
    assert mlflow_private.default_permission() == "READ"
    # Before 3.17 MLflow can deny nothing that its default allows.
    is_new = mlflow.__version__.split(".")[:2] >= ["3", "17"]
    assert mlflow_private.can_deny() == is_new
