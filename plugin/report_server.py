"""The tracking server that reports are written to, over HTTP with MLflow's credentials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin import weir_routes
from mlflow_weir.plugin.uri import without_secrets
from mlflow_weir.plugin.weir_routes import Refused


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
        return int(weir_routes.ask(self._uri, "runs", body)["now"])

    def ask(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask one of the routes of reports.

        Raises:
            Refused: The server says no, or nothing.
        """
        return weir_routes.ask(self._uri, f"reports/{name}", body)
