"""A chart's question whose asker goes away: a real server reads no more for it."""

from __future__ import annotations

import json
import socket
import urllib.parse
from pathlib import Path

import pytest

from agents import wait_until
from databases import DatabaseServer
from mlflow_server import RUNS_NO_JOB, ServerProcess, ServerSpec, start_servers
from mlflow_weir.store.tracking_store import WeirStore
from senders import ROUTES, call
from series_answers import ask
from workspace_data import seed_grid

TOKEN = "a token for Prometheus"
N_PARTS = 60

pytestmark = pytest.mark.slow


parser = pytest.importorskip(
    "prometheus_client.parser", reason="missing component: prometheus-client"
)


def n_given_up(server: ServerProcess) -> float:
    """Return how many answers nobody waited for."""
    answer = call(server, "GET", "/weir/metrics", None, {"Authorization": f"Bearer {TOKEN}"})
    (value,) = (
        sample.value
        for family in parser.text_string_to_metric_families(answer.body)
        for sample in family.samples
        if sample.name == "weir_series_given_up_total"
    )
    return float(value)


def test_who_goes_away_is_read_for_no_longer(
    sqlite_folder: DatabaseServer, tmp_path: Path
) -> None:
    url = sqlite_folder.new_mlflow_database()
    store = WeirStore(url, "mlflow-artifacts:/")
    _, run_ids = seed_grid(store, 150, long_metrics=1, points=200, own_metrics=1)
    store.engine.dispose()
    spec = ServerSpec(
        ["server", "--backend-store-uri", url.replace("sqlite:", "sqlite+weir:")],
        tmp_path,
        (RUNS_NO_JOB, ("WEIR_METRICS_TOKEN", TOKEN)),
    )
    question = {
        "runs": run_ids,
        "parts": [{"key": "train/m00"}] * N_PARTS,
        "x": "step",
        "buckets": 64,
        "want": ["count"],
    }
    with start_servers(spec) as (server,):
        assert len(ask(server, question)) == N_PARTS
        assert n_given_up(server) == 0
        at = urllib.parse.urlsplit(server.address)
        body = json.dumps(question).encode()
        head = f"POST {ROUTES}/series HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: "
        head += f"application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((at.hostname, at.port), timeout=60) as connection:
            connection.sendall(head.encode() + body)
            assert connection.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: n_given_up(server) == 1, "it is noticed")
        # And who stays is answered as ever.
        assert len(ask(server, question)) == N_PARTS
        assert n_given_up(server) == 1
