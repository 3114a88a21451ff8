"""``GET /weir/metrics``: what Prometheus reads of a server, with a token of its own.

    WEIR_METRICS_TOKEN   without it there is no such route (404)
    Authorization        Bearer TOKEN; anything else is 401

The token stands beside MLflow's users: what scrapes is no person, and what it reads is no
experiment. Metrics hold counts and times, no names of runs, users or experiments.

A server has several processes, and a scrape reaches one of them. They share a folder of counters
(prometheus_client's multiprocess mode), named after the process that started them all; whoever
answers adds all of them up. Where prometheus_client is not installed nothing is counted.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import flask
import psutil

from mlflow_weir.settings import METRICS_TOKEN, adopt_environment, foreign
from mlflow_weir.ui_extensions import access

_log = logging.getLogger(__name__)

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "weir-metrics-"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BYTES = (1 << 10, 1 << 13, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 23)


class Meters:
    """All that is measured, as prometheus_client's metrics."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        of = {"registry": self.registry}
        self.requests = Histogram(
            "weir_request_seconds",
            "Time to answer a request to Weir's routes",
            ("route", "status"),
            buckets=_SECONDS,
            **of,
        )
        self.ingest_bytes = Histogram(
            "weir_ingest_bytes", "Size of a delivery as it was sent", buckets=_BYTES, **of
        )
        self.points = Counter("weir_ingest_points", "Points taken", **of)
        self.records = Counter("weir_ingest_records", "Records taken", **of)
        self.rejected = Counter("weir_ingest_rejected_records", "Records refused", **of)
        self.turned_away = Counter(
            "weir_ingest_turned_away", "Deliveries told to come again, by why", ("reason",), **of
        )
        live = {"multiprocess_mode": "livesum", **of}
        self.deliveries = Gauge(
            "weir_ingest_deliveries", "Deliveries in hand, and waiting for their turn", ("state",),
            **live,
        )  # fmt: skip
        self.given_up = Counter(
            "weir_series_given_up", "Answers to charts that nobody waited for any more", **of
        )
        self.compactions = Histogram(
            "weir_compaction_seconds", "Time to compact a run", buckets=_SECONDS, **of
        )
        self.compactions_failed = Counter(
            "weir_compactions_put_off", "Compactions that will be tried again", **of
        )
        self.to_compact = Gauge("weir_compaction_waiting", "Runs that wait for it", **live)


_meters: Meters | None = None


def start() -> None:
    """Begin to count in this process, where a token is set and prometheus_client is installed."""
    global _meters
    if _meters is not None or not METRICS_TOKEN.get():
        return
    if find_spec("prometheus_client") is None:
        _log.warning("WEIR_METRICS_TOKEN is set: `pip install 'mlflow-weir[metrics]'` as well")
        return
    if foreign(_FOLDER) is None:
        folder = _shared_folder()
        if folder is not None:
            adopt_environment({_FOLDER: str(folder)})  # which prometheus_client reads alone
    _meters = Meters()


def meters() -> Meters | None:
    """Return what counts; None where nothing does."""
    return _meters


@contextlib.contextmanager
def held(state: str) -> Iterator[None]:
    """Count a delivery as being in a state for as long as the block lasts."""
    gauge = None if _meters is None else _meters.deliveries.labels(state)
    if gauge is not None:
        gauge.inc()
    try:
        yield
    finally:
        if gauge is not None:
            gauge.dec()


def answer() -> flask.Response:
    """Answer a scrape."""
    token = METRICS_TOKEN.get()
    if not token or _meters is None:
        return access.refusal(404, "no metrics here")
    given = flask.request.headers.get("Authorization", "")
    # By bytes: a header may hold what is not ASCII, which compare_digest refuses.
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        refused = access.refusal(401, "not authenticated")
        refused.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return refused
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = _meters.registry
    if foreign(_FOLDER) is not None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return flask.Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def note_request(seconds: float, status: int) -> None:
    """Count a request to one of our routes; its address is the route's, not the visitor's."""
    if _meters is not None and flask.request.endpoint is not None:
        _meters.requests.labels(flask.request.endpoint, str(status)).observe(seconds)


def _shared_folder() -> Path | None:
    """Make the folder that the processes of this server share; None where that cannot be."""
    parents = Path(tempfile.gettempdir())
    mine = f"{_PREFIX}{os.getuid()}-"
    try:
        _remove_those_of_ended_servers(parents, mine)
        parent = psutil.Process(os.getppid())
        folder = parents / f"{mine}{parent.pid}-{round(1000 * parent.create_time())}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
        found = folder.lstat()
    except (OSError, psutil.Error):
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        _log.warning("%s is not a folder of ours alone: each process counts for itself", folder)
        return None
    return folder


def _remove_those_of_ended_servers(parents: Path, mine: str) -> None:
    for folder in parents.glob(f"{mine}*"):
        pid, _, began_ms = folder.name.removeprefix(mine).partition("-")
        is_there: Any = False
        with contextlib.suppress(psutil.Error, ValueError):
            is_there = round(1000 * psutil.Process(int(pid)).create_time()) == int(began_ms)
        if not is_there and folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
