"""Asking a tracking server's routes of ours, over HTTP with MLflow's credentials."""

from __future__ import annotations

from typing import Any

from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.servers import ROUTES
from mlflow_weir.plugin.uri import without_secrets

_TIMEOUT_S = 60


class Refused(WeirError):
    """The server did not do it; the message says why."""


def ask(
    server: str, path: str, body: dict[str, Any], *, max_retries: int | None = 1
) -> dict[str, Any]:
    """Ask a route and return its answer, each time within a minute.

    Args:
        server: A tracking URI.
        path: The route, such as ``shares/list``.
        body: What it is asked.
        max_retries: How often it is asked again where the server is busy or away; as often as
            MLflow asks again (``MLFLOW_HTTP_REQUEST_MAX_RETRIES``) when None.

    Raises:
        Refused: The server says no, or nothing.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        answer = http_request(
            get_default_host_creds(server),
            f"{ROUTES}/{path}",
            "POST",
            json=body,
            timeout=_TIMEOUT_S,
            max_retries=max_retries,
            raise_on_status=False,
        )
    except (MlflowException, OSError) as exc:
        raise Refused(f"{without_secrets(server)} does not answer: {exc}") from exc
    try:
        found = answer.json()
    except ValueError:
        found = None
    if answer.status_code == 200 and isinstance(found, dict):
        return found
    why = found.get("error") if isinstance(found, dict) else None
    if answer.status_code == 404 and why is None:
        raise Refused(f"{without_secrets(server)} runs no Weir, or one that has no {path!r} yet")
    raise Refused(str(why or f"the server answers {answer.status_code}"))
