"""The extension's own API, below ``/ajax-api/3.0/weir/``: one module a resource."""

from __future__ import annotations

import time

import flask
import sqlalchemy as sa
from mlflow.exceptions import MlflowException

from mlflow_weir.errors import ChunkCorrupt, ConfigError, NotPermitted, StoreUnavailable
from mlflow_weir.store.delivery.fields import Refused
from mlflow_weir.ui_extensions import access, metrics, mlflow_private

_RETRY_AFTER_S = 2


def blueprint() -> flask.Blueprint:
    """Return all routes, each behind the guard."""
    from mlflow_weir.ui_extensions.api import (
        alerts,
        audit,
        changes,
        code,
        comparisons,
        console,
        dock,
        files,
        heartbeat,
        histograms,
        info,
        ingest,
        invites,
        journals,
        keys,
        people,
        reports,
        run,
        run_actions,
        runs,
        series,
        shares,
        views,
        visibility,
    )

    prefix = mlflow_private.static_prefixed(access.PREFIX)
    routes = flask.Blueprint(access.BLUEPRINT, __name__, url_prefix=prefix)
    routes.before_request(_begin)
    routes.before_request(access.guard)
    routes.after_request(info.introduce)
    routes.after_request(_note)
    handle_errors(routes)
    for resource in (
        changes,
        comparisons,
        console,
        heartbeat,
        histograms,
        info,
        ingest,
        journals,
        keys,
        run_actions,
        runs,
        series,
        views,
        run,
        files,
        code,
        dock,
        shares,
        alerts,
        reports,
        visibility,
        people,
        invites,
        audit,
    ):
        resource.add_to(routes)
    return routes


def _begin() -> None:
    flask.g.weir_began_s = time.monotonic()


def _note(answer: flask.Response) -> flask.Response:
    began_s = flask.g.get("weir_began_s")
    if began_s is not None:  # else an app of somebody else's has answered before us
        metrics.note_request(time.monotonic() - began_s, answer.status_code)
    return answer


def handle_errors(routes: flask.Blueprint) -> None:
    """Have what goes wrong below a blueprint's views answered in JSON."""
    routes.register_error_handler(NotPermitted, _not_permitted)
    routes.register_error_handler(StoreUnavailable, _unavailable)
    routes.register_error_handler(Refused, _refused)
    routes.register_error_handler(ChunkCorrupt, _damaged)
    routes.register_error_handler(UnicodeError, _no_text)
    # What opens the store, or asks it in MLflow's ways, fails in theirs.
    routes.register_error_handler(sa.exc.SQLAlchemyError, _database_failed)
    routes.register_error_handler(MlflowException, _mlflow_failed)


def _not_permitted(error: NotPermitted) -> flask.Response:
    return access.refusal(403, str(error))


def _refused(error: Refused) -> flask.Response:
    return access.refusal(400, str(error))


def _damaged(error: ChunkCorrupt) -> flask.Response:
    return access.refusal(500, str(error))


def _no_text(error: Exception) -> flask.Response:
    return access.refusal(400, "a text holds what is no character")


def _is_no_text(error: BaseException) -> bool:
    """Say whether a database was given half a surrogate pair, or NUL where it takes none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnicodeError):
            return True
        # A driver's own words: SQLAlchemy's and MLflow's have what somebody wrote in them.
        is_drivers = not isinstance(cause, (sa.exc.SQLAlchemyError, MlflowException))
        if is_drivers and "NUL (0x00)" in str(cause):
            return True
        cause = getattr(cause, "orig", None) or cause.__cause__
    return False


def _database_failed(error: sa.exc.SQLAlchemyError) -> flask.Response:
    if _is_no_text(error):
        return _no_text(error)
    return _unavailable(StoreUnavailable(f"the database fails: {type(error).__name__}"))


def _mlflow_failed(error: MlflowException) -> flask.Response:
    status = error.get_http_status_code()
    # What goes wrong while MLflow's session is open comes out of it as a failure of the database.
    if isinstance(error.__cause__, (ConfigError, Refused)):
        return access.refusal(400, str(error.__cause__))
    if status >= 500 and _is_no_text(error):
        return _no_text(error)
    if status >= 500:
        return _unavailable(StoreUnavailable("MLflow's store fails"))
    return access.refusal(status, error.message)


def _unavailable(error: StoreUnavailable) -> flask.Response:
    answer = access.refusal(503, str(error))
    answer.headers["Retry-After"] = str(_RETRY_AFTER_S)
    return answer
