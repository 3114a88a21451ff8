"""What Weir keeps of a run beside MLflow's: lines printed, histograms, alerts; to be exported.

Read from a database of Weir's, or asked of a server that runs Weir. What a server cannot give as
it is, is an error: an export that lacks something says so.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError, StoreUnavailable
from mlflow_weir.plugin import weir_routes
from mlflow_weir.plugin.journaled_store import sql_target
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.plugin.servers import Kind
from mlflow_weir.plugin.undecided_rest import ask
from mlflow_weir.plugin.uri import expand, is_weir, scheme_of, strip, without_secrets
from mlflow_weir.store.alerts import alerts
from mlflow_weir.store.console import reading as console
from mlflow_weir.store.delivery.connection import open_engine, reading
from mlflow_weir.store.histograms.encoding import BINS, KINDS, Table
from mlflow_weir.store.histograms.reading import read_norms, read_series
from mlflow_weir.store.metrics.points import EMPTY, Series
from mlflow_weir.store.metrics.reading import read_history
from mlflow_weir.store.runs import changes

_DELIVERY_WAIT_S = 10.0
_LINES_AT_ONCE = 10_000
_STEPS_AT_ONCE = 4_000
_MOST_ALERTS = 1_000  # what a run's trainings may raise, and a server lists
_FIRST_STEP = -(1 << 63)

Facts = dict[str, Any]


class Beside(Protocol):
    """What is beside MLflow's in one place."""

    def version(self, run_id: str) -> str:
        """Return what changes whenever points of a run have come, been moved or removed."""
        ...

    def points(self, run_id: str, key: str) -> Series | None:
        """Return a metric's points in history order; None where MLflow's client is to be asked."""
        ...

    def sources(self, run_id: str) -> list[Facts]:
        """Return the processes that printed lines, as ``POST console`` has them."""
        ...

    def lines(self, run_id: str, source: Facts) -> Iterator[Facts]:
        """Give the lines that one of them printed and that are kept, in order."""
        ...

    def histograms(self, run_id: str) -> Iterator[Table]:
        """Give the histograms of a run, one series a table, or a part of one, by step."""
        ...

    def alerts(self, run_id: str) -> list[Facts]:
        """Return the alerts of a run, the newest first."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def beside(uri: str) -> Beside | None:
    """Return what is beside MLflow's at a tracking URI; None where that is no place of Weir's.

    Raises:
        StoreUnavailable: It is a server that does not answer.
    """
    if scheme_of(uri) not in {"http", "https"}:
        return _Database(uri) if is_weir(uri) else None
    from mlflow.utils.credentials import get_default_host_creds

    kind = ask(get_default_host_creds(uri))
    if kind is Kind.UNKNOWN:
        raise StoreUnavailable(
            f"{without_secrets(uri)} does not answer", hint="check the address, or try again later"
        )
    return _Server(uri) if kind is Kind.WEIR else None


class _Database:
    """A tracking database of Weir's."""

    def __init__(self, uri: str) -> None:
        database_uri = strip(expand(uri).database_uri)
        # While something is on its way from this machine, MLflow's client has it and this has not.
        self._is_whole = Recorder(*sql_target(database_uri)).settle(_DELIVERY_WAIT_S)
        self._engine = open_engine(database_uri)

    def version(self, run_id: str) -> str:
        with Session(self._engine) as session:
            return changes.versions(session, [run_id])[run_id]

    def points(self, run_id: str, key: str) -> Series | None:
        if not self._is_whole:
            return None
        with Session(self._engine) as session:
            return read_history(session, [run_id], key).get(run_id, EMPTY)

    def sources(self, run_id: str) -> list[Facts]:
        with reading(self._engine) as connection:
            found = console.list_sources(connection, run_id)
        return [one.as_json() for one in found]

    def lines(self, run_id: str, source: Facts) -> Iterator[Facts]:
        with reading(self._engine) as connection:
            for one in console.list_sources(connection, run_id):
                if one.source == source["source"]:
                    for line in console.iter_lines(connection, run_id, one):
                        yield line.as_json()

    def histograms(self, run_id: str) -> Iterator[Table]:
        with reading(self._engine) as connection:
            for kind in KINDS:
                norms = read_norms(connection, run_id, kind, 2)
                for key in sorted(norms.keys if norms is not None else ()):
                    table = read_series(connection, run_id, kind, key, 1 << 62)
                    if table is not None:
                        yield table

    def alerts(self, run_id: str) -> list[Facts]:
        with reading(self._engine) as connection:
            return [one.as_json() for one in alerts.read_run(connection, run_id, _MOST_ALERTS)]

    def close(self) -> None:
        self._engine.dispose()


class _Server:
    """A server that runs Weir, asked with the credentials of MLflow's own requests."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def version(self, run_id: str) -> str:
        return str(self._ask("changes", {"runs": [run_id]})["runs"][run_id])

    def points(self, run_id: str, key: str) -> Series | None:
        return None

    def sources(self, run_id: str) -> list[Facts]:
        found: list[Facts] = self._ask("console", {"run_id": run_id, "n": 1})["sources"]
        return found

    def lines(self, run_id: str, source: Facts) -> Iterator[Facts]:
        for first in range(0, source["n_lines"], _LINES_AT_ONCE):
            asked = {"source": source["source"], "first": first, "n": _LINES_AT_ONCE}
            yield from self._ask("console", {"run_id": run_id, **asked})["lines"]

    def histograms(self, run_id: str) -> Iterator[Table]:
        for kind in KINDS:
            of_kind = {"run_id": run_id, "kind": kind}
            for key in sorted(self._ask("histograms", {**of_kind, "max_steps": 2})["keys"]):
                after = _FIRST_STEP
                while len(table := self._series({**of_kind, "key": key}, after)):
                    yield table
                    after = int(table.step[-1])

    def _series(self, asked: Facts, after: int) -> Table:
        said = self._ask("histograms", {**asked, "max_steps": _STEPS_AT_ONCE, "after": after})
        if said.get("after") != after:
            raise ConfigError(
                "the server gives histograms for pictures alone",
                hint="its version of mlflow-weir is older than this one: upgrade it",
            )
        n = len(said["steps"])

        def numbers(name: str, kind: str) -> Any:
            return np.frombuffer(base64.b64decode(said[name]), kind)

        return Table(
            asked["kind"],
            (asked["key"],),
            np.zeros(n, np.int64),
            np.array(said["steps"], np.int64),
            np.array(said["timestamps"], np.int64),
            numbers("norms", "<f8"),
            numbers("first", "<f8"),
            numbers("last", "<f8"),
            numbers("nan", "<u4").astype(np.int64),
            numbers("inf", "<u4").astype(np.int64),
            numbers("counts", "<u4").astype(np.int64).reshape(n, BINS),
        )

    def alerts(self, run_id: str) -> list[Facts]:
        asked = {"run_id": run_id, "limit": _MOST_ALERTS}
        found: list[Facts] = self._ask("alerts", asked)["alerts"]
        return found

    def _ask(self, route: str, body: Facts) -> Any:
        # Hours of an export are not given up for a minute without an answer.
        return weir_routes.ask(self._uri, route, body, max_retries=None)

    def close(self) -> None:
        pass
