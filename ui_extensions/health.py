"""``/weir/live`` and ``/weir/ready``: what a load balancer or Kubernetes asks, without a login.

    GET /weir/live   200 {"live": true}: this process answers requests
    GET /weir/ready  200 {"ready": true}, or 503 {"ready": false, "reason"}: whether it can serve

Ready is who has built the store and reaches the database and, where there is one, its read
replica, and finds the tables of this version or a later one there: while replicas are replaced,
those of the version before serve on. A PostgreSQL that takes no writes, as a standby or one that
was made one in a failover does, is not what a server can serve on. A load balancer takes out who
is not ready; nobody restarts it for that. Neither answer says more than these words, for anyone
may ask.

The database is asked by one thread, over a connection of its own: what uses up the others is no
reason to be taken out. Its answer holds for a second, and where it takes longer than
``_PATIENCE_S``, that is an answer too. ``/weir/metrics`` asks for a token itself (``metrics.py``).
"""

from __future__ import annotations

import logging
import os
import threading
import time

import flask
import sqlalchemy as sa
from mlflow.exceptions import MlflowException

from mlflow_weir.errors import SchemaMismatch, WeirError
from mlflow_weir.settings import pick_environment
from mlflow_weir.store import migrations
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.tracking_store import WeirStore, WorkspaceAwareWeirStore
from mlflow_weir.ui_extensions import access, metrics, mlflow_private

BLUEPRINT = "weir_health"
PREFIX = "/weir"
_KEPT_S = 1.0
_PATIENCE_S = 5.0

_log = logging.getLogger(__name__)


class Prober:
    """Asks the database for this process, one question at a time."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._is_asking = False
        self._fault: str | None = None
        self._asked_at: float | None = None
        self._engines: dict[str, sa.Engine] = {}

    def fault(self) -> str | None:
        """Say what keeps this process from serving; None where nothing does."""
        with self._news:
            if not self._is_fresh():
                if not self._is_asking:
                    self._is_asking = True
                    threading.Thread(target=self._ask, name="weir-ready", daemon=True).start()
                if not self._news.wait_for(self._is_fresh, _PATIENCE_S):
                    return "the database does not answer"
            return self._fault

    def _is_fresh(self) -> bool:
        return self._asked_at is not None and time.monotonic() < self._asked_at + _KEPT_S

    def _ask(self) -> None:
        fault: str | None = "the store cannot be opened"
        try:
            fault = self._look()
        except (sa.exc.SQLAlchemyError, MlflowException, WeirError) as exc:
            _log.debug("not ready: %s", exc)
        finally:
            with self._news:
                if fault != self._fault:
                    _log.warning("ready again" if fault is None else f"not ready: {fault}")
                self._fault, self._asked_at, self._is_asking = fault, time.monotonic(), False
                self._news.notify_all()

    def _look(self) -> str | None:
        store = mlflow_private.tracking_store()
        if not isinstance(store, (WeirStore, WorkspaceAwareWeirStore)):
            return None  # MLflow's own: it has opened, and the rest is not ours to judge
        fault = self._look_at(store.db_uri, "the database", is_written=True)
        replica: sa.Engine | None = store.read_engine
        if fault is None and replica is not None:
            uri = replica.url.render_as_string(hide_password=False)
            fault = self._look_at(uri, "the read replica", is_written=False)
        return fault

    def _look_at(self, db_uri: str, what: str, *, is_written: bool) -> str | None:
        if db_uri not in self._engines:
            environment = pick_environment((), ("MLFLOW_MYSQL_SSL_",))
            self._engines[db_uri] = open_engine(db_uri, environment, keeps_connections=False)
        try:
            with self._engines[db_uri].connect() as connection:
                if is_written and _takes_no_writes(connection):
                    return f"{what} takes no writes"
                steps = migrations.pending(connection)
        except SchemaMismatch:
            return None  # of a later version, whose replicas take over
        except sa.exc.SQLAlchemyError as exc:
            _log.debug("not ready: %s", exc)
            return f"{what} does not answer"
        return f"{what} has the tables of an older version" if steps else None


def _takes_no_writes(connection: sa.Connection) -> bool:
    if connection.dialect.name != "postgresql":
        return False
    return bool(connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on")


_prober = Prober()


def blueprint() -> flask.Blueprint:
    """Return the routes, which nobody is asked for a login at."""
    routes = flask.Blueprint(
        BLUEPRINT, __name__, url_prefix=mlflow_private.static_prefixed(PREFIX)
    )
    routes.before_request(access.guard)
    routes.after_request(_harden)

    @access.route(routes, "/live", "GET", unasked=True)
    def live() -> flask.Response:
        return flask.jsonify({"live": True})

    @access.route(routes, "/ready", "GET", unasked=True)
    def ready() -> flask.Response:
        fault = _prober.fault()
        if fault is None:
            return flask.jsonify({"ready": True})
        answer = flask.jsonify({"ready": False, "reason": fault})
        answer.status_code = 503
        return answer

    @access.route(routes, "/metrics", "GET", unasked=True)
    def scraped() -> flask.Response:
        return metrics.answer()

    return routes


def _harden(answer: flask.Response) -> flask.Response:
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


def _replace() -> None:
    """Begin anew in a forked child, which has the parent's state without its thread."""
    global _prober
    _prober = Prober()


os.register_at_fork(after_in_child=_replace)
