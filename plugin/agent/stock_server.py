"""MLflow's public REST API, as far as delivery needs it.

``StockServer.call`` sends one request and tells apart what the server says of it: that it cannot
be (``Denied``), that the request is too large for somebody on the way (``Denied`` as well, of a
batch to be halved), that the server stumbled over it (``Failed``), or that it does not serve at
all (``StoreUnavailable``, of which ``Failed`` is one).

Nothing here imports MLflow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.plugin.agent.server_session import ServerSession

RUN_KEY_TAG = "weir.run_key"
"""Tag of a run on a stock server: the id that its process gave it."""

MODEL_KEY_TAG = "weir.model_key"
"""The same of a logged model."""

_API = "/api/2.0/mlflow"
_JSON = {"Content-Type": "application/json"}
_MAX_TOLD_CHARACTERS = 500
_PAGE = 1_000
_SEARCHED_TOGETHER = 100
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}\Z")
_MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})


class Denied(Exception):
    """The server does not take this; its text is the server's reason.

    Attributes:
        code: MLflow's name of the error.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason[:_MAX_TOLD_CHARACTERS])
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Say whether what was asked for is not there."""
        return self.code in _MISSING


class Failed(StoreUnavailable):
    """MLflow stumbled over the request (500): for what it asks, or for the moment."""


class StockServer:
    """The calls; each raises ``Denied`` and ``StoreUnavailable``."""

    def __init__(self, session: ServerSession) -> None:
        """Talk over a session."""
        self._session = session

    def is_stock(self) -> bool:
        """Say whether an MLflow server answers at the address."""
        answer = self._session.ask(
            "POST", f"{_API}/experiments/search", b'{"max_results":1}', _JSON
        )
        if answer.history:
            self._session.refuse(answer, "")
        if answer.status_code == 200 and isinstance(_said(answer), dict):
            return True
        if answer.status_code in {200, 404, 405}:
            return False
        self._session.refuse(answer, str((_said(answer) or {}).get("message", "")))

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None, **query: str
    ) -> dict[str, Any]:
        """Send a request.

        Args:
            method: ``GET`` or another.
            path: Below MLflow's API, such as ``runs/create``.
            body: As JSON has it, or JSON.
            query: Of the address.
        """
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("ascii")
        where = f"{_API}/{path}" + (f"?{urlencode(query)}" if query else "")
        answer = self._session.ask(method, where, body, _JSON)
        said, status = _said(answer), answer.status_code
        if status == 200 and said is not None and not answer.history:
            return said
        code = (said or {}).get("error_code")
        message = str((said or {}).get("message", ""))[:_MAX_TOLD_CHARACTERS]
        if status == 413:
            raise Denied("TOO_LARGE", "the server, or a proxy before it, says it is too large")
        if isinstance(code, str):
            if 400 <= status < 500 and status not in {401, 429}:
                raise Denied(code, message)
            if status == 500:
                raise Failed(f"{self._session.base}: the server fails (500): {message}")
        elif status == 403 and answer.text.strip() == "Permission denied":  # MLflow's own words
            raise Denied("PERMISSION_DENIED", "the server does not permit it (403)")
        elif status in {404, 405} and self.is_stock():
            raise Denied("ENDPOINT_NOT_FOUND", "this version of MLflow's server does not know it")
        self._session.refuse(answer, message)

    # Finding what is there

    def run(self, run_id: str) -> dict[str, Any] | None:
        """Return a run, deleted ones too; None where there is none of that id."""
        if not _RUN_ID.match(run_id):
            return None
        return _found(lambda: self.call("GET", "runs/get", run_id=run_id), "run")

    def run_with_key(self, key: str, experiment_ids: list[str]) -> str | None:
        """Return the id of the run in these experiments that a process calls ``key``."""
        if not _RUN_ID.match(key):
            return None
        found = self.call(
            "POST",
            "runs/search",
            {
                "experiment_ids": experiment_ids,
                "filter": f"tags.`{RUN_KEY_TAG}` = '{key}'",
                "run_view_type": "ALL",
                "max_results": 1,
            },
        )
        return next((str(run["info"]["run_id"]) for run in found.get("runs", ())), None)

    def has_model(self, model_id: str) -> bool:
        """Say whether there is a logged model of that id."""
        if not _MODEL_ID.match(model_id):
            return False
        path = f"logged-models/{model_id}"
        return _found(lambda: self.call("GET", path), "model") is not None

    def model_with_key(self, key: str, experiment_ids: list[str]) -> str | None:
        """Return the id of the logged model in these experiments that a process calls ``key``."""
        if not _MODEL_ID.match(key):
            return None
        found = self.call(
            "POST",
            "logged-models/search",
            {
                "experiment_ids": experiment_ids,
                "filter": f"tags.`{MODEL_KEY_TAG}` = '{key}'",
                "max_results": 1,
            },
        )
        return next((str(model["info"]["model_id"]) for model in found.get("models", ())), None)

    def experiments(self) -> Iterator[list[str]]:
        """Give the ids of all experiments, some at a time, the newest first."""
        query: dict[str, Any] = {"max_results": _PAGE, "view_type": "ALL"}
        while True:
            found = self.call("POST", "experiments/search", query)
            ids = [str(one["experiment_id"]) for one in found.get("experiments", ())]
            for first in range(0, len(ids), _SEARCHED_TOGETHER):
                yield ids[first : first + _SEARCHED_TOGETHER]
            if not found.get("next_page_token"):
                return
            query["page_token"] = found["next_page_token"]

    def experiment_named(self, name: str) -> dict[str, Any] | None:
        """Return an experiment, deleted ones too; None where there is none of that name."""
        path = "experiments/get-by-name"
        return _found(lambda: self.call("GET", path, experiment_name=name), "experiment")

    def experiment(self, experiment_id: str) -> dict[str, Any] | None:
        """Return an experiment, deleted ones too; None where there is none of that id."""
        if not (experiment_id.isascii() and experiment_id.isdigit()):
            return None
        path = "experiments/get"
        return _found(lambda: self.call("GET", path, experiment_id=experiment_id), "experiment")


def pairs(found: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Return (key, value) pairs as MLflow's API has them."""
    return [{"key": key, "value": value} for key, value in found]


def _found(call: Callable[[], dict[str, Any]], name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = call()[name]
        return found
    except Denied as exc:
        if exc.is_missing:
            return None
        raise


def _said(answer: Any) -> dict[str, Any] | None:
    try:
        said = answer.json()
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
