"""``/weir/metrics`` of a server of two processes: its token, and that both are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from databases import DatabaseServer
from mlflow_server import RUNS_NO_JOB, ServerProcess, ServerSpec, start_servers
from senders import Sender, call, create_run, new_id, points

TOKEN = "a token for Prometheus"

pytestmark = pytest.mark.slow


parser = pytest.importorskip(
    "prometheus_client.parser", reason="missing component: prometheus-client"
)


def scrape(server: ServerProcess) -> dict[tuple[str, str], float]:
    """Return each sample by its name and the first of its labels."""
    answer = call(server, "GET", "/weir/metrics", None, {"Authorization": f"Bearer {TOKEN}"})
    assert answer.status == 200, answer
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in parser.text_string_to_metric_families(answer.body)
        for sample in family.samples
    }


def test_prometheus_reads_what_all_processes_did_and_nobody_else_does(
    sqlite_folder: DatabaseServer, tmp_path: Path
) -> None:
    uri = sqlite_folder.new_mlflow_database().replace("sqlite:", "sqlite+weir:")
    (tmp_path / "tmp").mkdir()
    variables = (RUNS_NO_JOB, ("WEIR_METRICS_TOKEN", TOKEN), ("TMPDIR", str(tmp_path / "tmp")))
    spec = ServerSpec(["server", "--backend-store-uri", uri], tmp_path, variables, workers=2)
    with start_servers(spec) as (server,):
        for given in (None, "Bearer ", "Bearer x", TOKEN, f"Basic {TOKEN}", "Bearer \xe9"):
            headers = {} if given is None else {"Authorization": given}
            assert call(server, "GET", "/weir/metrics", None, headers).status == 401
        n_points = 0
        for _ in range(12):  # each over a connection of its own, to whichever process is free
            run_id, sender = new_id(), Sender(server)
            n_points += sender.send(create_run(run_id), *points(run_id, "loss", [1.0, 2.0]))[
                "n_points"
            ]
        for _ in range(6):  # whoever answers
            found = scrape(server)
            assert found["weir_ingest_points_total", ""] == n_points == 24
            assert found["weir_ingest_records_total", ""] == 36
            assert found["weir_ingest_deliveries", "taken"] == 0
            assert found["weir_request_seconds_count", "weir.ingest"] == 12
        assert TOKEN not in str(found)
        (folder,) = (tmp_path / "tmp").glob("weir-metrics-*")
        assert folder.stat().st_mode & 0o777 == 0o700
