"""What the tests' data writer leaves is what MLflow's client and ``weir db check`` agree on."""

from __future__ import annotations

import math

import pytest
from mlflow import MlflowClient

from databases import DatabaseServer
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.metrics import reading
from mlflow_weir.store.tracking_store import WeirStore
from workspace_data import HOSTILE_NAMES, seed_grid, seed_sweep

pytestmark = pytest.mark.slow


def test_seeded_runs_are_as_if_they_were_logged(
    sqlite_folder: DatabaseServer, tmp_path: object
) -> None:
    url = sqlite_folder.new_mlflow_database()
    store = WeirStore(url, str(tmp_path))
    sweep = seed_sweep(store, n_points=600)
    grid, grid_runs = seed_grid(store, 5, long_metrics=2, points=3_000, short_metrics=3)
    copied, copies = seed_grid(store, 22, long_metrics=2, points=10_000, own_metrics=1)
    client = MlflowClient(url.replace("sqlite:", "sqlite+weir:"))

    runs = client.search_runs([sweep.experiment_id], max_results=100)
    assert {run.info.run_id for run in runs} == set(sweep.run_ids)
    assert {run.info.run_name for run in runs} >= set(HOSTILE_NAMES)
    assert client.get_run(sweep.running).info.status == "RUNNING"
    assert len(client.search_runs([grid], "params.lr = '0.1'")) == 2

    run_id, step = sweep.spiked
    history = client.get_metric_history(run_id, "train/loss")
    assert [m.step for m in history if m.value == 40.0] == [step]
    assert len(history) == 600
    odd = [m.value for m in client.get_metric_history(sweep.broken, "train/loss")]
    assert sum(map(math.isnan, odd)) == 11
    assert max(v for v in odd if not math.isnan(v)) > 1e308
    steps = [m.step for m in client.get_metric_history(sweep.resumed, "train/loss")]
    assert steps != sorted(steps)
    for run_id in (*grid_runs, sweep.running, sweep.broken):
        for key, value in client.get_run(run_id).data.metrics.items():
            last = max(client.get_metric_history(run_id, key), key=lambda m: (m.step, m.timestamp))
            assert value == last.value or (math.isnan(value) and math.isnan(last.value))
    for run_id in grid_runs:
        values = [m.value for m in client.get_metric_history(run_id, "train/m00")]
        assert values.count(100.0) == 1
    with store.ManagedSessionMaker() as session:
        (buckets,) = reading.read_buckets(
            session, grid_runs[:1], "train/m01", max_buckets=20
        ).values()
    assert buckets.high.value.max() == 100.0

    assert len(client.search_runs([copied], "metrics.`train/m01` > 0")) == 22
    for key, are_equal in (("train/m00", False), ("train/m01", True)):
        of_first, of_last = (
            [m.value for m in client.get_metric_history(copies[at], key)] for at in (1, 21)
        )
        assert (of_first == of_last) == are_equal
        assert len(of_last) == 10_000
    assert check(store.engine, Silent()).problems == []
