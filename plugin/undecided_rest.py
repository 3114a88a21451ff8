"""The store of a server's address before anybody has used it: MLflow's ``RestStore``, or ours.

Whether a server runs Weir is not asked when MLflow builds the store, which it does under a lock
of all stores, but at the first use. Then the object becomes what it is from there on: exactly
MLflow's ``RestStore`` for a stock server, with nothing of ours left in it, or
``JournaledRestStore``, which ``WEIR_CLIENT=on`` asks for in front of a stock server too.

A server is asked once a process, for two seconds at most, and one that runs Weir is remembered on
this machine. A server that does not answer and was never met is journaled for: what it is shows
when it is back.

Threads may race for the first use; a forked child of a process that was about to decide decides
for itself. What MLflow's stock installation would not load is not loaded before it is needed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.rest_utils import http_request

from mlflow_weir import settings
from mlflow_weir.capture_policy import known_classes
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import mlflow_private, servers
from mlflow_weir.plugin.contact import FIRST_WAIT_S, Away, call_within
from mlflow_weir.plugin.servers import Kind
from mlflow_weir.plugin.uri import without_secrets

_logger = logging.getLogger("mlflow_weir")

_STATE = "_weir_undecided"
_FAILING = frozenset({408, 429, 500, 502, 503, 504})


class _State:
    """What is needed to decide."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.lock = threading.RLock()


class UndecidedRestStore(RestStore):
    """Becomes another class as soon as anything is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") or name == "get_host_creds":
            return object.__getattribute__(self, name)
        _decide(self)
        return getattr(self, name)


def undecided(store: RestStore, uri: str) -> RestStore:
    """Make a store that MLflow has built decide at its first use.

    Args:
        store: Of a server; one of another class than ``RestStore`` itself stays as it is.
        uri: The server's, as the user wrote it.
    """
    if type(store) is RestStore:
        vars(store)[_STATE] = _State(uri)
        store.__class__ = UndecidedRestStore
    return store


def _decide(store: RestStore) -> None:
    state: _State | None = vars(store).get(_STATE)
    with contextlib.nullcontext() if state is None else _held(state.lock):
        if not isinstance(store, UndecidedRestStore) or state is None:
            return  # another thread was faster
        chosen: list[RestStore] = []
        _choose(store, state.uri, chosen)
        for one in chosen:
            vars(store).update(vars(one))
        become: Any = type(chosen[0]) if chosen else RestStore
        store.__class__ = become
        vars(store).pop(_STATE, None)


@contextlib.contextmanager
def _held(lock: threading.RLock) -> Iterator[None]:
    # In a forked child a thread that is not there may hold it.
    is_held = lock.acquire(timeout=2 * FIRST_WAIT_S)
    try:
        yield
    finally:
        if is_held:
            lock.release()


@never_raises(None)
def _choose(store: RestStore, uri: str, chosen: list[RestStore]) -> None:
    """Put the store to become into ``chosen``; nothing for MLflow's own."""
    try:
        credentials = store.get_host_creds()
    except MlflowException:
        return  # which says what is wrong with them
    is_ours = not (credentials.aws_sigv4 or credentials.auth)
    kind = Kind.WEIR if servers.is_known(uri) else ask(credentials)
    if kind is None or (kind is Kind.STOCK and settings.CLIENT.get() != "on"):
        return
    if not is_ours:
        if kind is not Kind.UNKNOWN:
            _logger.warning(
                "%s: the background process cannot sign requests as MLFLOW_TRACKING_AWS_SIGV4 or "
                "MLFLOW_TRACKING_AUTH ask for: log calls go straight to the server",
                without_secrets(uri),
            )
        return
    if kind is Kind.WEIR:
        servers.remember(uri)
    from mlflow_weir.plugin.journaled_rest import JournaledRestStore

    journaled = JournaledRestStore(store.get_host_creds, uri, kind)
    if kind is Kind.UNKNOWN:
        journaled.is_away()
    chosen.append(journaled)


def ask(credentials: Any) -> Kind | None:
    """Ask a server what it is, for two seconds at most.

    Args:
        credentials: MLflow's, with the server's address.

    Returns:
        What it is; None where it cannot be asked, for a mistake that is MLflow's to tell, such as
        a certificate that is not accepted.
    """
    question = partial(
        http_request,
        credentials,
        f"{servers.ROUTES}/info",
        "GET",
        max_retries=0,
        timeout=FIRST_WAIT_S,
        raise_on_status=False,
    )
    try:
        answer = call_within(FIRST_WAIT_S, question)
    except Away:
        return Kind.UNKNOWN
    except MlflowException as exc:
        is_mistake = _is_about_certificates(exc) or not mlflow_private.is_worlds_fault(exc)
        return None if is_mistake else Kind.UNKNOWN
    if servers.API_HEADER in answer.headers and answer.status_code != 404:
        if answer.status_code == 200:
            with contextlib.suppress(ValueError, AttributeError):
                allowed = known_classes(answer.json().get("capture"))
                servers.note_captures(credentials.host, allowed)
        return Kind.WEIR
    return Kind.UNKNOWN if answer.status_code in _FAILING else Kind.STOCK


def _is_about_certificates(error: BaseException) -> bool:
    from requests.exceptions import SSLError

    return isinstance(error.__cause__ or error.__context__, SSLError)
