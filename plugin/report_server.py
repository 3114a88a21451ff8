"""The tracking server that reports are written to, over HTTP with MLflow's credentials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.plugin.uri import without_secrets

_API = "/ajax-api/3.0/weir"
_TIMEOUT_S = 60


class Refused(WeirError):
    """The server did not do it; the message says why."""


class ReportServer:
    """One server."""

    def __init__(self, uri: str | None) -> None:
        """Take a tracking URI; MLflow's present one for None.

        Raises:
            ConfigError: It is no server's.
        """
        import mlflow

        found = uri or mlflow.get_tracking_uri()
        if not found.startswith(("http://", "https://")):
            raise ConfigError(
                f"reports are kept by a tracking server, and {without_secrets(found)!r} is none",
                hint="start one with `weir ui`, and set MLFLOW_TRACKING_URI=http://…",
            )
        self._uri = found.rstrip("/")

    def address(self, path: str) -> str:
        """Return the address of one of the extension's pages."""
        return f"{without_secrets(self._uri)}/weir{path}"

    def experiment_ids(self, named: Sequence[str]) -> list[str]:
        """Return the ids of experiments that are named, or given by their ids.

        Raises:
            Refused: There is none of a name.
        """
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        client = MlflowClient(self._uri)
        found = []
        for one in named:
            try:
                experiment = client.get_experiment_by_name(one)
                if experiment is None and one.isdecimal():
                    experiment = client.get_experiment(one)
            except MlflowException as exc:
                raise Refused(str(exc.message)) from exc
            if experiment is None:
                raise Refused(f"there is no experiment {one!r:.100}")
            found.append(str(experiment.experiment_id))
        return list(dict.fromkeys(found))

    def now_ms(self, experiment_ids: Sequence[str]) -> int:
        """Return the server's clock."""
        body = {"experiments": list(experiment_ids), "limit": 0, "columns": []}
        return int(self._post("runs", body)["now"])

    def ask(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask one of the routes of reports.

        Raises:
            Refused: The server says no, or nothing.
        """
        return self._post(f"reports/{name}", body)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        from mlflow.exceptions import MlflowException
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        try:
            answer = http_request(
                get_default_host_creds(self._uri),
                f"{_API}/{path}",
                "POST",
                json=body,
                timeout=_TIMEOUT_S,
                max_retries=1,
                raise_on_status=False,
            )
        except (MlflowException, OSError) as exc:
            raise Refused(f"{without_secrets(self._uri)} does not answer: {exc}") from exc
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.status_code == 200 and isinstance(found, dict):
            return found
        why = found.get("error") if isinstance(found, dict) else None
        if answer.status_code == 404 and why is None:
            raise Refused("this server is none of Weir's, or older than reports")
        raise Refused(str(why or f"the server answers {answer.status_code}"))
