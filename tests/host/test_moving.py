"""Runs that are moved to another experiment, as MLflow's own calls show them then."""

from __future__ import annotations

from pathlib import Path

import mlflow.entities
import sqlalchemy as sa
from mlflow.entities import Metric, Param, RunStatus, TraceInfo, TraceLocation, TraceState
from mlflow.tracing.constant import TraceMetadataKey
from sqlalchemy.orm import Session

from databases import DatabaseServer
from mlflow_weir.store import schema
from mlflow_weir.store.runs import moving, ordinals
from mlflow_weir.store.tracking_store import WeirStore


def new_run(store: WeirStore, experiment_id: str, start_ms: int, *, is_ended: bool = True) -> str:
    run_id = str(store.create_run(experiment_id, "ada", start_ms, [], "r").info.run_id)
    store.log_batch(
        run_id, [Metric("loss", 1.0 / step, step, step) for step in (1, 2)], [Param("lr", "1")], []
    )
    if is_ended:
        store.update_run_info(run_id, RunStatus.FINISHED, 99, None)
    return run_id


def runs_of(store: WeirStore, experiment_id: str) -> set[str]:
    found = store.search_runs([experiment_id], "", mlflow.entities.ViewType.ALL)
    return {run.info.run_id for run in found}


def test_runs_go_with_all_they_logged_and_those_that_cannot_stay(
    database_server: DatabaseServer, tmp_path: Path
) -> None:
    store = WeirStore(database_server.new_mlflow_database(), str(tmp_path))
    here, there = store.create_experiment("here"), store.create_experiment("there")
    first, second, running, modelled, traced, deleted, listed, already = (
        new_run(store, experiment_id, at, is_ended=at != 2)
        for at, experiment_id in enumerate([*[here] * 7, there])
    )
    store.create_logged_model(here, "model", source_run_id=modelled)
    store.start_trace(
        TraceInfo(
            "tr-1",
            TraceLocation.from_experiment_id(here),
            1,
            TraceState.OK,
            trace_metadata={TraceMetadataKey.SOURCE_RUN: traced},
        )
    )
    store.delete_run(deleted)
    with store.engine.begin() as connection:
        row = {"run_uuid": listed, "journal_id": "0" * 32, "how": "fluent", "at_ms": 1}
        connection.execute(sa.insert(schema.owner), row)
    numbers = ordinals.read(store.engine, dict.fromkeys([first, second], int(here)))
    assert sorted(numbers.values()) == [0, 1]
    asked = [first, second, running, modelled, traced, deleted, listed, already, "0" * 32]
    with Session(store.engine) as session, session.begin():
        stays = moving.move(session, asked, int(there))
    assert stays == {
        running: "it has not ended",
        modelled: "it has logged models, which belong to their experiment",
        traced: "it has traces, which belong to their experiment",
        deleted: "it is deleted",
        listed: "it has not ended",
        "0" * 32: "there is no such run",
    }
    assert runs_of(store, there) == {first, second, already}
    assert runs_of(store, here) == {running, modelled, traced, deleted, listed}
    run = store.get_run(first)
    assert run.info.experiment_id == there
    assert f"/{here}/" in run.info.artifact_uri
    assert (run.data.params, run.data.metrics) == ({"lr": "1"}, {"loss": 0.5})
    assert [m.value for m in store.get_metric_history(first, "loss")] == [1.0, 0.5]
    numbers = ordinals.read(store.engine, dict.fromkeys([first, second, already], int(there)))
    assert sorted(numbers.values()) == [0, 1, 2]
    store.delete_experiment(there)
    with Session(store.engine) as session, session.begin():
        assert moving.move(session, [first], int(there)) == {first: "the experiment is deleted"}
        # Runs are deleted with their experiment.
        assert moving.move(session, [first], int(here)) == {first: "it is deleted"}
