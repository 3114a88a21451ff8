"""Where what is published comes from: a preview link, asked as a visitor of it would ask.

So what pages show is decided in one place, the link's (``link_sight.py``), with the rights of the
caller. The link is made on the caller's tracking server, or by the same app in this process where
there is only a database; it is frozen, in nobody's list, and ended when all is read.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.store.sharing import views

ROUTES = "/ajax-api/3.0/weir"
MLFLOW_ROUTES = "/api/2.0/mlflow"
_TIMEOUT_S = 120
_BUSY_WAIT_S = 2.0
_BUSY_TRIES = 60
_RUN_ID_LENGTH = 32


class Refused(WeirError):
    """The runs cannot be read as they would have to be; the message says why."""


class Answered(NamedTuple):
    """An answer, whatever its status.

    Attributes:
        status: HTTP's.
        content_type: As the answer says.
        is_cut: There is more of the file that was asked for.
        body: Its bytes.
    """

    status: int
    content_type: str
    is_cut: bool
    body: bytes


class Source(Protocol):
    """Somebody who answers requests to a tracking server."""

    def request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answered:
        """Answer one; ``path`` begins below the server's address, as it was given.

        Raises:
            Refused: There is no answer.
        """
        ...

    def relative(self, path: str) -> str:
        """Return a path that the server told, with its static prefix, as ``request`` takes it."""
        ...


class Server:
    """A tracking server, asked over HTTP with the credentials that MLflow has for it."""

    def __init__(self, uri: str) -> None:
        """Take its address."""
        self._uri = uri.rstrip("/")

    def request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answered:
        """Answer one.

        Raises:
            Refused: There is no answer.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        more: dict[str, Any] = {} if body is None else {"json": body}
        try:
            answer = http_request(
                get_default_host_creds(self._uri),
                path,
                method,
                timeout=_TIMEOUT_S,
                max_retries=2,
                raise_on_status=False,
                **more,
            )
        except (MlflowException, OSError) as exc:
            raise Refused(f"the server does not answer: {type(exc).__name__}") from exc
        return Answered(
            answer.status_code,
            answer.headers.get("Content-Type", ""),
            "X-Weir-Cut" in answer.headers,
            answer.content,
        )

    def relative(self, path: str) -> str:
        """Return a path that the server told as ``request`` takes it."""
        # The server's own prefix is in the path; one that a proxy adds is in the address alone.
        prefix = path.partition("/weir/s/")[0]
        return path.removeprefix(prefix) if prefix and self._uri.endswith(prefix) else path


class Database:
    """MLflow's server app on a tracking database, in this process: nothing listens anywhere."""

    def __init__(self, store_uri: str) -> None:
        """Take the database's URI, as ``--backend-store-uri`` takes it.

        Raises:
            Refused: There is no such database.
        """
        _require_file(store_uri)
        from mlflow.server import app

        from mlflow_weir.ui_extensions import mlflow_private
        from mlflow_weir.ui_extensions.app import install

        mlflow_private.open_tracking_store(store_uri)
        install(app)
        self._client = app.test_client(use_cookies=False)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answered:
        """Answer one."""
        more: dict[str, Any] = {} if body is None else {"json": body}
        answer = self._client.open(path, method=method, **more)
        try:
            return Answered(
                answer.status_code,
                answer.headers.get("Content-Type", ""),
                "X-Weir-Cut" in answer.headers,
                answer.get_data(),
            )
        finally:
            answer.close()

    def relative(self, path: str) -> str:
        """Return a path that the app told as ``request`` takes it."""
        return path


class Wish(NamedTuple):
    """What is to be published.

    Attributes:
        experiment: An experiment's name or id; "" where runs are named.
        run_ids: Runs; none where it is an experiment.
        filter_text: Of an experiment only runs that match.
        title: What readers see first; "" for the experiment's or the run's name.
        shown: The fields, as ``shares/create`` takes them.
        is_numbered: Runs are numbered instead of named.
        report_id: A report instead of these.
        view: Name of a saved view of the experiment, which says which runs and how they are shown.
    """

    experiment: str
    run_ids: tuple[str, ...]
    filter_text: str
    title: str
    shown: Mapping[str, Any]
    is_numbered: bool
    report_id: str = ""
    view: str = ""


class Preview:
    """A link that shows what is published, for as long as it is read."""

    def __init__(self, source: Source, path: str, title: str) -> None:
        """Take the link's path, as ``request`` takes it."""
        self._source = source
        self._path = path
        self.title = title

    def ask(self, name: str, question: Mapping[str, Any]) -> Answered:
        """Return a visitor's answer.

        Raises:
            Refused: It is none.
        """
        for _ in range(_BUSY_TRIES):
            answer = self._source.request("POST", f"{self._path}/api/{name}", question)
            if answer.status != 429:
                break
            time.sleep(_BUSY_WAIT_S)  # the server's limits for visitors hold here too
        if answer.status == 404 and _error_of(answer) == "there is nothing here":
            raise Refused(
                "reading took longer than a preview lives, ten minutes: show fewer runs or fields"
            )
        _require_success(answer)
        return answer

    def ask_json(self, name: str, question: Mapping[str, Any]) -> Any:
        """Return a visitor's answer that is JSON.

        Raises:
            Refused: It is none.
        """
        return json.loads(self.ask(name, question).body)


@contextlib.contextmanager
def preview(source: Source, wish: Wish) -> Iterator[Preview]:
    """Have a preview link to what is wished for, and end it afterwards.

    Raises:
        Refused: The server does not do it; the message is its own.
    """
    title, about = _subject(source, wish)
    body = {
        **about,
        "title": title,
        "is_live": False,
        "shown": dict(wish.shown),
        "replaces_names": wish.is_numbered,
        "is_preview": True,
        "is_published": True,
    }
    made = _json(source.request("POST", f"{ROUTES}/shares/create", body), is_ours=True)
    try:
        yield Preview(source, source.relative(made["path"]), title)
    finally:
        with contextlib.suppress(WeirError):  # it ends by itself in ten minutes
            end = {"id": made["share"]["id"], "action": "revoke"}
            source.request("POST", f"{ROUTES}/shares/change", end)


def _subject(source: Source, wish: Wish) -> tuple[str, dict[str, Any]]:
    """Return what is published is called, and how a link to it is asked for."""
    if wish.report_id:
        question = {"id": wish.report_id}
        found = _json(source.request("POST", f"{ROUTES}/reports/read", question), is_ours=True)
        about = {"kind": "report", "report_id": wish.report_id}
        return wish.title or str(found["title"]), about
    experiment_ids, name = _experiments(source, wish)
    if wish.view:
        document = _saved_view(source, experiment_ids, wish.view)
        return wish.title or f"{name}: {wish.view}", {
            "kind": "view",
            "experiment_ids": experiment_ids,
            "filter": views.filter_of(document, wish.filter_text),
            "view": document,
        }
    kind = "experiment" if wish.experiment else "run" if len(wish.run_ids) == 1 else "runs"
    return wish.title or name, {
        "kind": kind,
        "experiment_ids": experiment_ids,
        "run_ids": list(wish.run_ids) or None,
        "filter": {"filter": wish.filter_text} if wish.experiment else None,
    }


def _saved_view(source: Source, experiment_ids: list[str], name: str) -> dict[str, Any]:
    def ask(route: str, body: dict[str, Any]) -> Any:
        return _json(source.request("POST", f"{ROUTES}/{route}", body), is_ours=True)

    return views.read_named(ask, experiment_ids, name)


def is_run_id(text: str) -> bool:
    """Say whether a word of a command line is a run's id rather than an experiment."""
    return len(text) == _RUN_ID_LENGTH and all(one in "0123456789abcdef" for one in text)


def _experiments(source: Source, wish: Wish) -> tuple[list[str], str]:
    """Return ids of the experiments that are meant, and what to call what is published."""
    if not wish.experiment:
        infos = [_get(source, "runs/get", run_id=one)["run"]["info"] for one in wish.run_ids]
        name = infos[0].get("run_name", "") if len(infos) == 1 else f"{len(infos)} runs"
        ids = list(dict.fromkeys(str(info["experiment_id"]) for info in infos))
        return ids, ("A run" if wish.is_numbered and len(infos) == 1 else name) or "A run"
    answer = source.request(
        "GET", _query("experiments/get-by-name", experiment_name=wish.experiment), None
    )
    if answer.status == 404 and wish.experiment.isdecimal():
        found = _get(source, "experiments/get", experiment_id=wish.experiment)
    elif answer.status == 404:
        raise Refused(f"there is no experiment {wish.experiment!r:.100}")
    else:
        found = _json(answer)
    return [str(found["experiment"]["experiment_id"])], str(found["experiment"]["name"])


def _get(source: Source, path: str, **query: str) -> Any:
    return _json(source.request("GET", _query(path, **query), None))


def _query(path: str, **query: str) -> str:
    return f"{MLFLOW_ROUTES}/{path}?{urlencode(query)}"


def _json(answer: Answered, *, is_ours: bool = False) -> Any:
    if is_ours and answer.status == 404 and not _error_of(answer):
        raise Refused("this server is none of Weir's, or older than links")
    _require_success(answer)
    try:
        return json.loads(answer.body)
    except ValueError:
        raise Refused("the server's answer is no JSON") from None


def _require_success(answer: Answered) -> None:
    if answer.status != 200:
        raise Refused(_error_of(answer) or f"the server answers {answer.status}")


def _error_of(answer: Answered) -> str:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return ""
    said = (found.get("error") or found.get("message")) if isinstance(found, dict) else None
    return said if isinstance(said, str) else ""


def _require_file(store_uri: str) -> None:
    """Refuse SQLite's file that is not there, which opening it would make."""
    if not store_uri.startswith("sqlite"):
        return
    path = Path("/" + store_uri.partition(":///")[2].partition("?")[0].lstrip("/"))
    relative = store_uri.partition(":///")[2].partition("?")[0]
    if not (path.is_file() or Path(relative).is_file()):
        raise ConfigError("there is no database at that address")
