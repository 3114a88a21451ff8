"""Puts the extension on MLflow's server app, whichever it is.

MLflow has one Flask app (``mlflow.server.app``), under plain ``mlflow server``, under
``--app-name basic-auth`` and under other apps alike, and mounts it behind FastAPI where uvicorn
serves. So the extension is a Flask blueprint on it: under gunicorn and waitress there is nothing
else, and a FastAPI route added late would be open to everybody. ``plugin/entry_points.py`` calls
``install``, ``join_fastapi`` and ``join_auth`` when MLflow has imported the modules they are
about, in a server on a Weir store; ``create_app`` is what ``mlflow server --app-name weir`` asks
for.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from mlflow_weir.settings import (
    ALERT_HOSTS,
    ARCHIVE,
    HEARTBEAT_TIMEOUT_SECONDS,
    LOG_FORMAT,
    MAINTENANCE_HOURS,
    PUBLIC_LINKS,
    PUBLIC_LINKS_MAX_DAYS,
    RETENTION,
    SMTP_TLS,
)
from mlflow_weir.ui_extensions import (
    access,
    api,
    audit,
    health,
    housekeeping,
    logs,
    maintenance,
    metrics,
    mlflow_private,
    pages,
    public,
    visibility,
    visitors,
)
from mlflow_weir.ui_extensions.alerting import keeper

if TYPE_CHECKING:
    import flask


def install(app: flask.Flask) -> None:
    """Add the extension's routes to the server's app, and its script to its page, once."""
    if access.BLUEPRINT in app.blueprints:
        return
    for setting in (
        *(ALERT_HOSTS, HEARTBEAT_TIMEOUT_SECONDS, LOG_FORMAT, SMTP_TLS),
        *(PUBLIC_LINKS, PUBLIC_LINKS_MAX_DAYS, ARCHIVE, MAINTENANCE_HOURS, RETENTION),
    ):
        setting.get()  # a value that cannot work is told now
    logs.start()
    metrics.start()
    for routes in blueprints():
        app.register_blueprint(routes)
    app.after_request(audit.note_mlflow)
    pages.join_index(app)
    if mlflow_private.is_serving():
        housekeeping.start()
        keeper.start()
        maintenance.start()


def blueprints() -> list[flask.Blueprint]:
    """Return all routes of the extension."""
    return [api.blueprint(), pages.blueprint(), public.blueprint(), health.blueprint()]


def join_fastapi(module: ModuleType) -> None:
    """Hold bodies of deliveries to the memory there is, and answers to those who are there."""
    from mlflow_weir.ui_extensions import bodies, hung_up

    mlflow_private.join_fastapi(module, bodies.Bodies)
    mlflow_private.join_fastapi(module, hung_up.HungUp)


def join_auth(auth: ModuleType) -> None:
    """Let MLflow's basic-auth app authenticate the extension's routes."""
    mlflow_private.join_auth(
        auth,
        {access.BLUEPRINT, pages.BLUEPRINT, public.BLUEPRINT, health.BLUEPRINT},
        lambda: access.is_unasked() or visitors.is_let_in_unasked(),
        visibility.keep_private,
        visibility.is_private,
    )


def create_app() -> Any:
    """Build MLflow's server app with the extension on it, for ``--app-name weir``."""
    from mlflow.server import app

    install(app)
    if not mlflow_private.is_asgi():
        return app
    from mlflow.server.fastapi_app import create_fastapi_app

    return create_fastapi_app(app)
