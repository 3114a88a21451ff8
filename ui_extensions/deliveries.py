"""What the routes that take deliveries share: the database, and what is to be done afterwards."""

from __future__ import annotations

import os
import threading

import flask
import sqlalchemy as sa

from mlflow_weir.settings import pick_environment
from mlflow_weir.store.delivery.apply import Outcome
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.tracking_store import WeirStore, WorkspaceAwareWeirStore
from mlflow_weir.ui_extensions import access, housekeeping, mlflow_private

_engines: dict[str, sa.Engine] = {}
_lock = threading.Lock()


def require_store() -> WeirStore | WorkspaceAwareWeirStore:
    """Return the server's tracking store; end the request with 404 where it is not Weir's."""
    store = mlflow_private.tracking_store()
    if not isinstance(store, (WeirStore, WorkspaceAwareWeirStore)):
        flask.abort(access.refusal(404, "this server's tracking store is not Weir's"))
    return store


def engine() -> sa.Engine:
    """Return this process's engine for deliveries; end the request where there is none.

    Not the store's own: a delivery that asks MLflow about a run while it holds a connection would
    wait for itself where all of the pool are held by such deliveries.
    """
    return _engine_for(require_store().db_uri)


def _engine_for(db_uri: str) -> sa.Engine:
    with _lock:
        if db_uri not in _engines:
            environment = pick_environment((), ("MLFLOW_MYSQL_SSL_",))
            _engines[db_uri] = open_engine(db_uri, environment)
        return _engines[db_uri]


def engine_if_any() -> sa.Engine | None:
    """Return the same outside a request; None where the store is not Weir's."""
    store = mlflow_private.tracking_store()
    if not isinstance(store, (WeirStore, WorkspaceAwareWeirStore)):
        return None
    return _engine_for(store.db_uri)


def read_body(limit: int) -> bytes | None:
    """Return the request's body; None where it has more than ``limit`` bytes, which stay unread.

    Not by ``max_content_length``: only Flask 3.1 lets a view set it, and a body without a length
    has no limit there.
    """
    if (flask.request.content_length or 0) > limit:
        return None
    parts, rest = [], limit + 1
    while rest and (part := flask.request.stream.read(rest)):
        parts.append(part)
        rest -= len(part)
    return b"".join(parts) if rest else None


def keep_house(outcome: Outcome) -> None:
    """Have the runs of a delivery compacted that are to be, after the answer."""
    for run_id in outcome.due_runs:
        housekeeping.compact_later(run_id, is_final=False)
    for run_id in outcome.ended_runs:
        housekeeping.compact_later(run_id, is_final=True)


def _forget() -> None:
    """Leave the parent's connections alone in a forked child."""
    global _lock
    _lock = threading.Lock()
    _engines.clear()


os.register_at_fork(after_in_child=_forget)
