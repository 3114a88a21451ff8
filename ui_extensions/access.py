"""Who may do what, for every route of ours: one place, which denies what nobody has declared.

Whether a caller may touch an experiment, a run or a logged model is not decided here but asked of
the server itself: the request that MLflow's own API has for the same deed goes through the Flask
app's ``before_request`` functions with the caller's headers, and no further. So the users, roles
and workspaces of basic-auth hold here as they hold there, and so do those of an app of somebody
else's that works by ``before_request``; a plain server lets everybody do everything. Where an app
of somebody else's is in force that decides in another place, nobody is let in.

A link's visitor is asked nothing and shown what the link shows (``visitors.py``), by the routes
that are declared public and by no others.

A route is declared by ``route``; what is not, is forbidden. A request that changes something must
come from no foreign page (MLflow's own rule) and carry the content type that its route declares,
which no HTML form can send.
"""

from __future__ import annotations

import contextvars
import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import flask
import sqlalchemy as sa
from mlflow.exceptions import MlflowException
from werkzeug.exceptions import HTTPException

from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.ui_extensions import mlflow_private

BLUEPRINT = "weir"
PREFIX = "/ajax-api/3.0/weir"
NOT_PERMITTED = "not permitted"

_View = TypeVar("_View", bound=Callable[..., Any])
_OUR_APPS = {"mlflow.server.auth", "mlflow_weir.ui_extensions.app"}
_SOMEBODY = {"username": "weir", "password": "weir"}
_STOCK_HOOKS = ("mlflow.server.", "flask_cors.", "flask_wtf.")


@dataclass(frozen=True)
class Declared:
    """What a route demands.

    Attributes:
        content_type: Of the request's body; None where there is none and nothing is changed.
        is_public: It is for visitors of links: nobody is asked who they are, and what they may
            see is the link's to say (``visitors.py``).
        is_unasked: It says nothing of what the server holds, and everybody may ask: load balancers
            do, which have no login.
    """

    content_type: str | None
    is_public: bool
    is_unasked: bool


_declared: dict[str, Declared] = {}


def route(
    blueprint: flask.Blueprint,
    path: str,
    method: str,
    *,
    content_type: str | None = None,
    public: bool = False,
    unasked: bool = False,
) -> Callable[[_View], _View]:
    """Add a view to the blueprint, for whoever the server lets in.

    Args:
        blueprint: Of the API or of the pages.
        path: Below the blueprint's prefix, such as ``/info``.
        method: The one it answers to.
        content_type: That a body must have; not to be left out for POST.
        public: For visitors of links, and for nobody else.
        unasked: For everybody; it must say nothing of what the server holds.
    """

    def decorate(view: _View) -> _View:
        if method != "GET" and content_type is None:
            raise ValueError(f"{method} {path} declares no content type")
        _declared[f"{blueprint.name}.{view.__name__}"] = Declared(content_type, public, unasked)
        return blueprint.route(path, methods=[method])(view)

    return decorate


def guard() -> flask.Response | None:
    """Let a request to one of our routes pass, or answer it; runs before every one of them."""
    declared = _declared.get(flask.request.endpoint or "")
    if declared is None:
        return refusal(403, NOT_PERMITTED)
    if declared.is_unasked:
        return None
    if declared.is_public:
        from mlflow_weir.ui_extensions import visitors

        return visitors.admit(declared.content_type)
    if flask.request.method == "OPTIONS":
        return None  # Flask's own answer: which methods there are
    if mlflow_private.is_auth_on() and mlflow_private.authenticated_user() is None:
        # MLflow takes a path for public that begins with /static, a --static-prefix too.
        return refusal(401, "not authenticated")
    if not _can_ask():
        return refusal(403, "the server's app decides where Weir cannot ask it")
    return refuse_form(declared.content_type)


def is_public() -> bool:
    """Say whether the present request is for one of the routes that visitors of links have."""
    declared = _declared.get(flask.request.endpoint or "")
    return declared is not None and declared.is_public


def is_unasked() -> bool:
    """Say whether the present request is for one of the routes that everybody may ask."""
    declared = _declared.get(flask.request.endpoint or "")
    return declared is not None and declared.is_unasked


def refuse_form(content_type: str | None) -> flask.Response | None:
    """Answer a request that another site's page may have sent; None lets it pass."""
    if content_type is None:
        return None
    if mlflow_private.is_cross_origin(flask.request.headers.get("Origin"), flask.request.method):
        return refusal(403, "a page of another site")
    if flask.request.mimetype != content_type:
        return refusal(415, f"expected Content-Type {content_type}")
    return None


def refusal(status: int, error: str, **more: Any) -> flask.Response:
    """Return an answer that says why not, in JSON."""
    answer = flask.jsonify({"error": error, **more})
    answer.status_code = status
    return answer


def principal() -> str | None:
    """Return whom the request comes from; None where the server does not ask, or not by name."""
    user = mlflow_private.authenticated_user()
    if user is not None:
        return user
    if not _foreign_apps():
        return None
    named = flask.request.authorization.username if flask.request.authorization else None
    return named or flask.request.remote_user


@dataclass
class Access:
    """What the caller of the present request may do; each question is asked once."""

    _answers: dict[tuple[str, ...], bool] = field(default_factory=dict)

    def may_create_experiment(self, name: str) -> bool:
        """In the request's workspace."""
        return self._may("POST", "experiments/create", {"name": name})

    def may_read_experiment(self, experiment_id: str) -> bool:
        """See it, and so learn its id from its name."""
        return self._may("GET", f"experiments/get?{urlencode({'experiment_id': experiment_id})}")

    def may_edit_experiment(self, experiment_id: str) -> bool:
        """Change its tags."""
        body = {"experiment_id": experiment_id, "key": "weir", "value": ""}
        return self._may("POST", "experiments/set-experiment-tag", body)

    def may_delete_experiment(self, experiment_id: str) -> bool:
        """Delete it, which its owner and administrators may."""
        return self._may("POST", "experiments/delete", {"experiment_id": experiment_id})

    def may_create_run(self, experiment_id: str) -> bool:
        """In an experiment that exists."""
        return self._may("POST", "runs/create", {"experiment_id": experiment_id})

    def may_edit_run(self, run_id: str) -> bool:
        """Log to a run that exists, and end it."""
        return self._may("POST", "runs/update", {"run_id": run_id})

    def may_delete_run(self, run_id: str) -> bool:
        """Take away a run that exists."""
        return self._may("POST", "runs/delete", {"run_id": run_id})

    def may_create_model(self, experiment_id: str, source_run_id: str | None) -> bool:
        """In an experiment that exists, as the work of a run that exists."""
        body = {"experiment_id": experiment_id}
        if source_run_id:
            body["source_run_id"] = source_run_id
        return self._may("POST", "logged-models", body)

    def may_edit_model(self, model_id: str) -> bool:
        """Change a logged model that exists."""
        return self._may("PATCH", f"logged-models/{quote(model_id, safe='')}", {})

    def may_delete_model_tag(self, model_id: str) -> bool:
        """Take a tag from a logged model that exists."""
        return self._may("DELETE", f"logged-models/{quote(model_id, safe='')}/tags/weir")

    def may_add_users(self) -> bool:
        """Make users of MLflow's, and members of the request's workspace of them."""
        questions = _of_adding_users(mlflow_private.request_workspace())
        return mlflow_private.is_auth_on() and all(
            self._may("POST", path, body) for path, body in questions
        )

    def may_administer(self) -> bool:
        """Do what concerns all of the server: an administrator, or anybody where nobody logs in.

        Nobody where an app of somebody else's decides, which has no word for it.
        """
        if not mlflow_private.is_auth_on():
            return not _foreign_apps()
        # What MLflow lets its administrators do alone, in all of its versions.
        return self._may("PATCH", "users/update-admin", {"username": "weir", "is_admin": ""})

    def _may(self, method: str, path: str, body: Mapping[str, str] | None = None) -> bool:
        question = (method, path, json.dumps(body, sort_keys=True))
        if question not in self._answers:
            answer = _ask(method, path, body, is_done=False)
            self._answers[question] = answer is None
        return self._answers[question]


def create_experiment(
    name: str, artifact_location: str | None, tags: list[tuple[str, str]]
) -> tuple[int, str]:
    """Have MLflow create an experiment for the caller, who owns it then as MLflow has it.

    Returns:
        HTTP status of MLflow's answer, and what it says where it is an error.

    Raises:
        StoreUnavailable: MLflow could not do it now.
    """
    body: dict[str, Any] = {"name": name, "tags": [{"key": k, "value": v} for k, v in tags]}
    if artifact_location:
        body["artifact_location"] = artifact_location
    return act("POST", "experiments/create", body)


def act(method: str, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
    """Have MLflow do something for the caller, who needs what MLflow's own route demands.

    Args:
        method: HTTP method.
        path: Below MLflow's prefix.
        body: JSON.

    Returns:
        HTTP status of MLflow's answer, and what it says where it is an error.

    Raises:
        StoreUnavailable: MLflow could not do it now.
    """
    answer = _ask(method, path, body, is_done=True)
    assert answer is not None
    found = answer.get_json(silent=True)
    message = found.get("message") or found.get("error") if isinstance(found, dict) else ""
    return answer.status_code, str(message or "")


def fetch(method: str, path: str, body: Mapping[str, Any] | None = None) -> flask.Response:
    """Have MLflow answer a request for the caller, with its own permissions and its own limits.

    Args:
        method: HTTP method.
        path: Below the static prefix, with the query; encoded.
        body: JSON, or None.

    Returns:
        MLflow's answer as it goes out, errors too; the caller closes it.
    """
    app = flask.current_app._get_current_object()  # type: ignore[attr-defined]
    environ = _environ(method, mlflow_private.static_prefixed(path), body)
    # In a context of its own, as in `_ask`; by the whole app, which makes an answer of any error.
    answer = contextvars.Context().run(flask.Response.from_app, app.wsgi_app, environ)
    return cast(flask.Response, answer)


def fetch_for_visitor(path: str, workspace: str | None) -> flask.Response:
    """Have MLflow's own view answer a GET, without anybody being asked.

    Only for what a link shows: the caller has decided that, and names no run that a request named
    before it was looked up.

    Args:
        path: Below the static prefix, with the query; encoded.
        workspace: Of the run; None where the server has none.

    Returns:
        MLflow's answer, errors too; the caller closes it.
    """
    app = flask.current_app._get_current_object()  # type: ignore[attr-defined]
    environ = _environ("GET", mlflow_private.static_prefixed(path), None)

    def answer() -> flask.Response:
        with app.request_context(environ), mlflow_private.in_workspace(workspace):
            # The view alone, behind none of the app's functions that ask who it is.
            found: flask.Response = app.make_response(app.dispatch_request())
            return found

    try:
        return contextvars.Context().run(answer)
    except HTTPException as exc:
        return cast(flask.Response, app.make_response(exc.get_response()))
    except MlflowException as exc:
        return refusal(exc.get_http_status_code(), exc.message)


def may_user_read(user: str, experiment_id: str, workspace: str | None) -> bool:
    """Ask MLflow whether somebody who is not here may see an experiment; no to who is gone.

    Raises:
        StoreUnavailable: MLflow cannot answer.
    """
    path = f"experiments/get?{urlencode({'experiment_id': experiment_id})}"
    more: dict[str, Any] = {}
    mlflow_private.as_user(more, user)
    if workspace is not None:
        more["HTTP_X_MLFLOW_WORKSPACE"] = workspace
    return _ask("GET", path, None, is_done=False, more=more) is None


def may_user_invite(user: str, experiment_id: str | None, workspace: str | None) -> bool:
    """Ask MLflow whether somebody who is not here may add users, and give an experiment away."""
    questions = _of_adding_users(workspace)
    if experiment_id is not None:
        questions.append(("experiments/delete", {"experiment_id": experiment_id}))
    more: dict[str, Any] = {}
    mlflow_private.as_user(more, user)
    if workspace is not None:
        more["HTTP_X_MLFLOW_WORKSPACE"] = workspace
    return all(
        _ask("POST", path, body, is_done=False, more=more) is None for path, body in questions
    )


def _of_adding_users(workspace: str | None) -> list[tuple[str, dict[str, str]]]:
    """Return what MLflow is asked about whoever would add users: addresses and bodies of POSTs.

    MLflow lets the head of any one workspace make users, whom it lets do nothing yet; who is let
    into a workspace is for its own head to say.
    """
    questions = [("users/create", _SOMEBODY)]
    if workspace is not None:
        role = {"name": "weir", "workspace": workspace}
        questions.append(("/api/3.0/mlflow/roles/create", role))
    return questions


def can_ask_of_others() -> bool:
    """Say whether MLflow can be asked what somebody who is not here may do."""
    return not _foreign_apps()


def _ask(
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    *,
    is_done: bool,
    more: Mapping[str, Any] | None = None,
) -> flask.Response | None:
    """Put a request of MLflow's API to the app on behalf of the caller.

    Args:
        method: HTTP method.
        path: Below MLflow's prefix, or the server's where it begins with a slash, with the query.
        body: JSON, or None.
        is_done: Carry the request out, not only ask whether it may be.
        more: Of the request's environment.

    Returns:
        The answer; None where the request was only asked about and nobody objects.

    Raises:
        StoreUnavailable: Who would have to answer cannot.
    """
    app = flask.current_app._get_current_object()  # type: ignore[attr-defined]
    path = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
    address = mlflow_private.static_prefixed(path)
    environ = _environ(method, address, body) | dict(more or {})

    def ask() -> flask.Response | None:
        with app.request_context(environ):
            if flask.request.url_rule is None:
                # No answer to the question: what was to be written must not be thrown away for it.
                raise StoreUnavailable(f"this MLflow has no {method} {address}")
            if is_done:
                done: flask.Response = app.full_dispatch_request()
                return done
            objection = app.preprocess_request()
            return None if objection is None else app.make_response(objection)

    try:
        # In a context of its own: what MLflow binds to a request, such as its workspace, it takes
        # away at the request's end, and ours goes on.
        answer = contextvars.Context().run(ask)
    except HTTPException as exc:
        answer = app.make_response(exc.get_response())
    except MlflowException as exc:
        answer = refusal(exc.get_http_status_code(), exc.message)
    except sa.exc.SQLAlchemyError as exc:
        raise StoreUnavailable(f"MLflow cannot answer {method} {path}") from exc
    if answer is not None and (answer.status_code >= 500 or answer.status_code == 429):
        raise StoreUnavailable(f"MLflow answers {answer.status_code} to {method} {path}")
    return answer


def _environ(method: str, address: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the present request's WSGI environment, with another request in it."""
    path, _, query = address.partition("?")
    content = b"" if body is None else json.dumps(body).encode()
    environ = {
        key: value
        for key, value in flask.request.environ.items()
        if not key.startswith("werkzeug.") and key not in {"HTTP_CONTENT_ENCODING", "RAW_URI"}
    }
    return environ | {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "REQUEST_URI": address,
        "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": io.BytesIO(content),
    }


@cache
def _app_modules() -> frozenset[str]:
    """Return the modules of the server apps that are installed, MLflow's and ours left out."""
    named = {point.value.partition(":")[0] for point in entry_points(group="mlflow.app")}
    return frozenset(named - _OUR_APPS)


def _foreign_apps() -> list[str]:
    return [name for name in _app_modules() if name in sys.modules]


def _can_ask() -> bool:
    """Say whether the app that is in force decides where we ask."""
    if not _foreign_apps():
        return True
    hooks = flask.current_app.before_request_funcs.get(None, [])
    return any(not f"{hook.__module__}.".startswith(_STOCK_HOOKS) for hook in hooks)
