"""The tracking store of a training process on a server that runs Weir.

What a training logs goes to the journal, as for a database (``journaled_calls.py``); everything
else is MLflow's ``RestStore``, which asks the server, after what this machine has written was
delivered (bounded in time).

The agent sends what MLflow would have sent to say who it is: the credentials and headers are
resolved here, when a journal begins, and lie beside it in the private file.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from mlflow.protos.service_pb2 import CreateExperiment, GetExperiment, GetExperimentByName
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.workspace_context import get_request_workspace
from mlflow.utils.workspace_utils import WORKSPACE_HEADER_NAME
from requests.utils import get_netrc_auth

from mlflow_weir import settings
from mlflow_weir.plugin import exits, mlflow_private, servers
from mlflow_weir.plugin.contact import IS_SETTLED
from mlflow_weir.plugin.journal.spool import Credentials, Target
from mlflow_weir.plugin.journaled_calls import SETTLE_WAIT_S, JournaledCalls
from mlflow_weir.plugin.recorder import Recorder

# Of a new run's experiment, which no record on its way can change.
_NOT_SETTLED = (CreateExperiment, GetExperiment, GetExperimentByName)

# What `requests` reads beside what it is told.
_PROXIES = frozenset(
    name
    for each in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for name in (each, each.upper())
)
_BUNDLES = frozenset({"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})


class JournaledRestStore(JournaledCalls, RestStore):  # type: ignore[misc]  # RestStore's own
    """``RestStore`` in a training process, on a server that runs Weir."""

    def __init__(self, get_host_creds: Callable[[], Any], uri: str) -> None:
        """Take note of where the server is; nothing is asked.

        Args:
            get_host_creds: MLflow's, for each request.
            uri: The server's, as the user wrote it.
        """
        super().__init__(get_host_creds)  # type: ignore[no-untyped-call]
        mlflow_private.spare_registry_lookups()
        self._uri = uri
        self._recorders: dict[str | None, Recorder] = {}
        self._begin_journaling(self._recorder_of(get_request_workspace()))

    @property
    def recorder(self) -> Recorder:
        """This process's journal for the server, in the workspace that is active."""
        workspace = get_request_workspace()
        return self._recorders.get(workspace) or self._recorder_of(workspace)

    @recorder.setter
    def recorder(self, recorder: Recorder) -> None:
        self._recorders[get_request_workspace()] = recorder

    def is_away(self) -> None:
        """Take note that the server was found not to answer."""
        self._contact.give_up()

    def _recorder_of(self, workspace: str | None) -> Recorder:
        target, credentials = server_target(self._uri, self.get_host_creds(), workspace)
        recorder = Recorder(target, credentials, when_opened=lambda _: exits.arm())
        return self._recorders.setdefault(workspace, recorder)

    def _call_endpoint(self, api: Any, *arguments: Any, **options: Any) -> Any:
        if not IS_SETTLED.get() and api not in _NOT_SETTLED:
            self.recorder.settle(SETTLE_WAIT_S)
        return super()._call_endpoint(api, *arguments, **options)  # type: ignore[no-untyped-call]


def server_target(uri: str, host_creds: Any, workspace: str | None) -> tuple[Target, Credentials]:
    """Return what a journal says of a server, and what only the agent may know.

    Args:
        uri: The server's, as the user wrote it.
        host_creds: MLflow's, resolved.
        workspace: The active one, or None.
    """
    headers = mlflow_private.request_headers()
    if workspace:
        headers.setdefault(WORKSPACE_HEADER_NAME, workspace)
    if authorization := _authorization(uri, host_creds):
        headers["Authorization"] = authorization
    environment = settings.pick_environment(_PROXIES | _BUNDLES)
    if host_creds.ignore_tls_verification:
        environment["MLFLOW_TRACKING_INSECURE_TLS"] = "true"
    for name, path in (
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", host_creds.server_cert_path),
        ("MLFLOW_TRACKING_CLIENT_CERT_PATH", host_creds.client_cert_path),
    ):
        if path:
            environment[name] = os.path.abspath(path)  # the agent works in another folder
    for name in _BUNDLES & environment.keys():
        environment[name] = os.path.abspath(environment[name])
    texts = {str(name): _text(value) for name, value in headers.items()}
    address = servers.address_of(uri)
    return Target("http", address), Credentials(_without_userinfo(uri), environment, texts)


def _authorization(uri: str, host_creds: Any) -> str | None:
    """Return who MLflow's requests say that they are from.

    ``requests`` puts what it finds in ~/.netrc, or else in the URI, in place of MLflow's own.
    """
    found = get_netrc_auth(uri)
    if found is None:
        parts = urlsplit(uri)
        if parts.username is not None or parts.password is not None:
            found = (unquote(parts.username or ""), unquote(parts.password or ""))
    if found is None and host_creds.username and host_creds.password:
        found = (host_creds.username, host_creds.password)
    if found is not None:
        words = base64.b64encode(f"{found[0]}:{found[1]}".encode()).decode("ascii")
        return f"Basic {words}"
    return f"Bearer {host_creds.token}" if host_creds.token else None


def _without_userinfo(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return str(value)
