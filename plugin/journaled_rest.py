"""The tracking store of a training process on a server.

What a training logs goes to the journal, as for a database (``journaled_calls.py``); everything
else is MLflow's ``RestStore``, which asks the server, after what this machine has written was
delivered (bounded in time).

A stock server chooses the ids of runs and logged models itself. While it answers, they are created
there directly, so that their ids are the server's from the start. What was begun without it keeps
an id of this process's choosing, an alias: whatever asks the server has the server's id in its
place as soon as the delivery has told it.
"""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from mlflow.entities import (
    Experiment,
    LoggedModel,
    LoggedModelParameter,
    LoggedModelTag,
    Run,
    RunTag,
)
from mlflow.protos.service_pb2 import (
    CreateExperiment,
    CreateLoggedModel,
    CreateRun,
    GetExperiment,
    GetExperimentByName,
    LogLoggedModelParamsRequest,
)
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.workspace_utils import WORKSPACE_HEADER_NAME
from requests.utils import get_netrc_auth

from mlflow_weir import settings
from mlflow_weir.plugin import exits, mlflow_lookups, mlflow_private, run_context, servers
from mlflow_weir.plugin.agent.stock_server import MODEL_KEY_TAG, RUN_KEY_TAG
from mlflow_weir.plugin.contact import IS_BOUNDED, IS_SETTLED, Away
from mlflow_weir.plugin.journal.spool import Credentials, Target
from mlflow_weir.plugin.journaled_calls import JournaledCalls
from mlflow_weir.plugin.journaled_reads import SETTLE_WAIT_S
from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.plugin.pending_names import PENDING_ARTIFACTS, PENDING_EXPERIMENT
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.plugin.servers import Kind
from mlflow_weir.plugin.upload_environment import upload_environment

# Of what begins, which no record on its way can change.
_NOT_SETTLED = (
    CreateExperiment,
    CreateLoggedModel,
    CreateRun,
    GetExperiment,
    GetExperimentByName,
    LogLoggedModelParamsRequest,
)

# What `requests` reads beside what it is told.
_PROXIES = frozenset(
    name
    for each in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for name in (each, each.upper())
)
_BUNDLES = frozenset({"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})

_active_workspace = mlflow_lookups.workspace_lookup()  # each log call asks


class JournaledRestStore(JournaledCalls, RestStore):  # type: ignore[misc]  # RestStore's own
    """``RestStore`` in a training process, with the journal in front."""

    _gives_ids = True  # a stock server does, and one of Weir's may become one

    def __init__(self, get_host_creds: Callable[[], Any], uri: str, kind: Kind) -> None:
        """Take note of where the server is; nothing is asked.

        Args:
            get_host_creds: MLflow's, for each request.
            uri: The server's, as the user wrote it.
            kind: What it is, as far as is known.
        """
        super().__init__(get_host_creds)  # type: ignore[no-untyped-call]
        mlflow_lookups.spare_lookups()
        self._uri, self._kind = uri, kind
        self._chosen: set[str] = set()  # ids of runs that this process chose
        self._recorders: dict[str | None, Recorder] = {}
        self._begin_journaling(self._recorder_of(_active_workspace()))

    @property
    def recorder(self) -> Recorder:
        """This process's journal for the server, in the workspace that is active."""
        workspace = _active_workspace()
        return self._recorders.get(workspace) or self._recorder_of(workspace)

    @recorder.setter
    def recorder(self, recorder: Recorder) -> None:
        self._recorders[_active_workspace()] = recorder

    def is_away(self) -> None:
        """Take note that the server was found not to answer."""
        self._contact.give_up()

    def _recorder_of(self, workspace: str | None) -> Recorder:
        target, credentials = server_target(self._uri, self.get_host_creds(), workspace)

        def renew() -> tuple[Credentials, dict[str, str]]:
            found = server_target(self._uri, self.get_host_creds(), workspace)[1]
            return found, {**upload_environment(), **_named(workspace)}

        recorder = Recorder(target, credentials, when_opened=exits.arm, renew=renew)
        return self._recorders.setdefault(workspace, recorder)

    # What a stock server has to create itself

    def create_run(
        self,
        experiment_id: str,
        user_id: str,
        start_time: int,
        tags: list[RunTag] | None,
        run_name: str | None,
    ) -> Run:
        """Begin a run: on a stock server that answers, else with an id of our own choosing."""
        how = "fluent" if run_context.is_fluent_start() else "client"
        key = uuid.uuid4().hex
        if self._kind is Kind.STOCK and self._is_there(experiment_id, *_parents(tags)):
            self.recorder.prepare()  # it starts while the server is asked
            # By this tag the delivery finds a run that is created after we have given up.
            keyed = [*(tags or ()), RunTag(RUN_KEY_TAG, key)]
            create: Callable[..., Run] = super(JournaledCalls, self).create_run
            try:
                run = self._directly(
                    create, self._names.real(experiment_id), user_id, start_time, keyed, run_name
                )
            except Away:
                pass
            else:
                self._write("own_run", run_id=run.info.run_id, how=how)
                view = RunView.of_run(run)
                view.is_ours = True
                self._follow(view, how)
                return run
        self._chosen.add(key)
        return self._begin_run(key, how, experiment_id, user_id, start_time, tags, run_name)

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: list[LoggedModelTag] | None = None,
        params: list[LoggedModelParameter] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Create a logged model: on a stock server that answers, else with an id of our own."""
        key = f"m-{uuid.uuid4().hex}"
        run_ids = [source_run_id] if source_run_id else []
        if self._kind is Kind.STOCK and self._is_there(experiment_id, *run_ids):
            keyed = [*(tags or ()), LoggedModelTag(MODEL_KEY_TAG, key)]
            create: Callable[..., LoggedModel] = super(JournaledCalls, self).create_logged_model
            try:
                model = self._directly(
                    create,
                    self._names.real(experiment_id),
                    name,
                    source_run_id and self._names.real(source_run_id),
                    keyed,
                    params,
                    model_type,
                )
            except Away:
                pass
            else:
                self._models[model.model_id] = model
                self._known_models.add(model.model_id)
                self.recorder.own_roots[model.artifact_location] = source_run_id
                return model
        return self._begin_model(key, experiment_id, name, source_run_id, tags, params, model_type)

    def _experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment, for something new that gets an id of our own choosing.

        Where its artifacts go depends on its id, which only a server with Weir takes as it is.
        """
        found = super()._experiment(experiment_id)
        if self._kind is Kind.WEIR:
            return found
        return Experiment(
            found.experiment_id, found.name, PENDING_ARTIFACTS, found.lifecycle_stage
        )

    def can_rewind(self) -> bool:
        """Say whether the server is Weir's, as far as is known: MLflow's API cannot do it."""
        return self._kind is not Kind.STOCK

    # Names of ours

    def _viewed(self) -> set[str]:
        found = super()._viewed()
        return found.union(map(self._names.real, self._chosen & found))

    def _is_there(self, *ids: str) -> bool:
        """Say whether the server has what these ids of experiments and runs stand for."""
        for one in ids:
            is_local = one.startswith(PENDING_EXPERIMENT) or one in self._chosen
            if is_local and self._names.real(one) == one:
                return False
        return True

    def _call_endpoint(
        self,
        api: Any,
        json_body: Any = None,
        endpoint: Any = None,
        *arguments: Any,
        **options: Any,
    ) -> Any:
        if not IS_SETTLED.get() and api not in _NOT_SETTLED:
            self.recorder.settle(SETTLE_WAIT_S)
        if isinstance(json_body, str):
            json_body = self._names.settled(json_body)
        if isinstance(endpoint, str):
            endpoint = self._names.settled(endpoint)
        answer = super()._call_endpoint(api, json_body, endpoint, *arguments, **options)  # type: ignore[no-untyped-call]
        if not IS_BOUNDED.get():
            self._contact.try_again()
        return answer


def _named(workspace: str | None) -> dict[str, str]:
    return {"MLFLOW_WORKSPACE": workspace} if workspace else {}


def _parents(tags: Sequence[RunTag] | None) -> list[str]:
    return [tag.value for tag in tags or () if tag.key == MLFLOW_PARENT_RUN_ID]


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
