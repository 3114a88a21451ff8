"""A place of stock MLflow: a database, a folder ``mlruns``, or a server.

Asked through MLflow's own clients, so that whatever they can read can be brought.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from mlflow.entities import ViewType
from mlflow.utils.credentials import get_default_host_creds

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.importing.point_records import Point
from mlflow_weir.plugin.servers import Kind
from mlflow_weir.plugin.undecided_rest import ask
from mlflow_weir.plugin.uri import expand, is_weir, scheme_of, strip, without_secrets
from mlflow_weir.store import schema
from mlflow_weir.store.maintenance.beside_mlflow import count_beside
from mlflow_weir.store.metrics.points import whole_number

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

PAGE = 1_000
_ANSWER_S = 30.0
_BESIDE_MLFLOW = (
    "what a server of Weir's has beside MLflow's: lines that runs printed, histograms, alerts, "
    "arrangements, reports, links; a copy of its database has all of it"
)
_DATABASES = frozenset({"mysql", "postgresql", "sqlite"})
_SCHEMES = _DATABASES | {"file", "http", "https", "weir"}


class Place:
    """Where the history is that is to be brought.

    Attributes:
        client: MLflow's, for it.
    """

    def __init__(self, client: MlflowClient) -> None:
        """Take a place.

        Raises:
            ConfigError: It is a folder or a file that MLflow has not made.
        """
        self.client = client
        uri = client.tracking_uri
        self._engine: sa.Engine | None = None
        if scheme_of(uri).partition("+")[0] in _DATABASES:
            self._engine = None if is_weir(uri) else _open(uri)

    def experiments(self, names: Sequence[str] = ()) -> list[Experiment]:
        """Return experiments that are not deleted, in the order of their names.

        Args:
            names: Which; all where there are none.

        Raises:
            ConfigError: There is no such experiment.
        """
        found = {one.name: one for one in pages(self.client.search_experiments, PAGE)}
        for name in names:
            if name not in found:
                raise ConfigError(
                    f"no experiment {name!r} is there", hint=", ".join(sorted(found))
                )
        return [found[name] for name in names or sorted(found)]

    def runs(self, experiment_id: str, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Run]:
        """Give the runs of an experiment, the oldest first, so that they have that order here."""
        return pages(
            self.client.search_runs, PAGE, experiment_ids=[experiment_id], run_view_type=view,
            order_by=["attributes.start_time ASC"],
        )  # fmt: skip

    def history(self, run_id: str, key: str) -> list[Point]:
        """Return all points of a metric, in the order in which they were logged.

        As far as a history tells it: by time, then by step. New ones come last.
        """
        if self._engine is None:
            found = self.client.get_metric_history(run_id, key)
            points = [(key, one.timestamp, one.step, float(one.value)) for one in found]
        else:
            points = self._read(run_id, key)
        # NaN has no order.
        return sorted(points, key=lambda one: (one[1], one[2], one[3] if one[3] == one[3] else 0))

    def _read(self, run_id: str, key: str) -> list[Point]:
        """Read points from MLflow's table, as its store would: a tenth of the time."""
        assert self._engine is not None
        columns = schema.mlflow_metrics.c
        query = sa.select(columns.timestamp, columns.step, columns.value, columns.is_nan).where(
            columns.run_uuid == run_id, columns.key == key
        )
        try:
            with self._engine.connect() as connection:
                return [
                    (
                        key,
                        at_ms if type(at_ms) is int else whole_number(at_ms),
                        step if type(step) is int else whole_number(step),
                        math.nan if is_nan else value,
                    )
                    for at_ms, step, value, is_nan in connection.execute(query).all()
                ]
        except sa.exc.DBAPIError as exc:
            raise ConfigError(f"metric {key!r} of run {run_id}: {exc.orig}") from exc

    def beside_mlflow(self, experiments: Sequence[Experiment]) -> dict[str, int]:
        """Count what a store of Weir's has of experiments that MLflow's clients do not see.

        A server tells that it runs Weir, not how much there is.
        """
        uri = self.client.tracking_uri
        if is_weir(uri):
            store = mlflow_private.cached_tracking_store(uri)
            return count_beside(store.engine, [one.experiment_id for one in experiments])
        if scheme_of(uri) in {"http", "https"} and ask(get_default_host_creds(uri)) is Kind.WEIR:
            return {_BESIDE_MLFLOW: 1}
        return {}

    @property
    def registry(self) -> Any:
        """MLflow's store of registered models and prompts."""
        return mlflow_private.registry_store(self.client.tracking_uri)

    def close(self) -> None:
        """Close the connections of its own."""
        if self._engine is not None:
            self._engine.dispose()


def pages(search: Callable[..., Any], size: int, **arguments: Any) -> Iterator[Any]:
    """Give what one of MLflow's searches finds, page by page."""
    token: str | None = None
    while True:
        page = search(max_results=size, page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _open(uri: str) -> sa.Engine:
    shown = without_secrets(uri)
    engine = sa.create_engine(uri)
    try:
        with engine.connect() as connection:
            tables = set(sa.inspect(connection).get_table_names())
    except sa.exc.DBAPIError as exc:
        raise ConfigError(f"{shown}: {exc.orig}") from exc
    if schema.mlflow_metrics.name not in tables:
        raise ConfigError(f"{shown} is no tracking database of MLflow's", hint="check the URI")
    if tables >= set(schema.metadata.tables):
        raise ConfigError(
            f"{shown} is a store of Weir's, of which stock MLflow sees a part",
            hint="name it as weir:///DIR or with +weir in its scheme",
        )
    return engine


def source_of(uri: str) -> str:
    """Return the URI of a place that is to be read: itself, or that of a folder.

    Raises:
        ConfigError: There is no such folder or file, which MLflow would make anew; or it is a
            store of Weir's that is named as stock MLflow would, which sees a part of it.
    """
    if Path(uri).is_dir():
        uri = Path(uri).resolve().as_uri()
    if not scheme_of(uri):
        raise ConfigError(f"{uri} is no folder", hint="a folder mlruns, or a tracking URI")
    if is_weir(uri):
        file = sa.make_url(strip(expand(uri).database_uri))
        if file.get_backend_name() == "sqlite" and not Path(file.database or "").is_file():
            raise ConfigError(
                f"{without_secrets(uri)}: there is no {file.database}",
                hint="name the store: weir:///DIR, a database or a server's address",
            )
    elif scheme_of(uri).partition("+")[0] in _DATABASES:
        require_place(uri)
        _open(uri).dispose()
    elif scheme_of(uri) == "file":
        require_place(uri)
        # MLflow 3.17 opens folders on request alone.
        settings.adopt_environment({"MLFLOW_ALLOW_FILE_STORE": "true"})
    return uri


def require_place(uri: str) -> None:
    """Refuse what MLflow would make anew rather than read.

    Raises:
        ConfigError: It is no database or folder of MLflow's.
    """
    shown = without_secrets(uri)
    if scheme_of(uri).partition("+")[0] not in _SCHEMES:
        raise ConfigError(
            f"{shown} is no place of MLflow's", hint="a folder, a database URI or http(s)://…"
        )
    if scheme_of(uri).partition("+")[0] == "sqlite":
        file = sa.make_url(uri).database
        if not file or not Path(file).is_file():
            raise ConfigError(f"{shown}: there is no such file")
    elif scheme_of(uri) in {"http", "https"}:
        import requests

        try:
            requests.get(f"{uri.rstrip('/')}/health", timeout=_ANSWER_S)
        except requests.RequestException as exc:
            raise ConfigError(f"{shown} does not answer: {type(exc).__name__}") from exc
    elif scheme_of(uri) == "file":
        from mlflow.utils.file_utils import local_file_uri_to_path

        folder = Path(local_file_uri_to_path(uri))
        if not any(folder.glob("*/meta.yaml")):
            raise ConfigError(
                f"{folder}: no experiment of MLflow's is in it", hint="name the folder `mlruns`"
            )
