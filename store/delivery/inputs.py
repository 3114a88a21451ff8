"""Data sets and models that go into a run and come out, with the rows of MLflow's store."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.delivery import Delivery, RunFacts
from mlflow_weir.store.delivery.fields import Fields, Refused

_DATASET, _RUN = "DATASET", "RUN"
_RUN_INPUT, _MODEL_INPUT = "RUN_INPUT", "MODEL_INPUT"
_RUN_OUTPUT, _MODEL_OUTPUT = "RUN_OUTPUT", "MODEL_OUTPUT"


def log_inputs(delivery: Delivery, fields: Fields) -> None:
    """Link data sets, one row an experiment, name and digest, and models to a run."""
    run = delivery.active_run(fields.text("run_id"))
    datasets: dict[tuple[str, str], Fields] = {}
    for dataset in fields.records("datasets"):
        datasets.setdefault((dataset.text("name"), dataset.text("digest")), dataset)
    models = fields.texts("models")
    if datasets:
        _link_datasets(delivery, run, datasets)
    linked = _linked(delivery, _RUN_INPUT, run.run_id, _MODEL_INPUT, models)
    _insert(
        delivery,
        tables.inputs,
        [
            _link(_RUN_INPUT, run.run_id, _MODEL_INPUT, model_id)
            for model_id in models
            if model_id not in linked
        ],
    )


def log_outputs(delivery: Delivery, fields: Fields) -> None:
    """Link models that a run made, each with its step, to the run."""
    run = delivery.active_run(fields.text("run_id"))
    steps: dict[str, int] = {}
    for pair in fields.items("models"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise Refused(f"its field 'models' holds no model and step: {pair!r:.100}")
        model = Fields({"model_id": pair[0], "step": pair[1]})
        model_id = model.text("model_id")
        if model_id in steps:
            raise Refused(f"model {model_id!r:.100} is an output of run {run.run_id} twice")
        steps[model_id] = model.whole_or_none("step") or 0
    linked = _linked(delivery, _RUN_OUTPUT, run.run_id, _MODEL_OUTPUT, list(steps))
    if linked:
        raise Refused(f"model {min(linked)!r:.100} is an output of run {run.run_id} already")
    _insert(
        delivery,
        tables.inputs,
        [
            _link(_RUN_OUTPUT, run.run_id, _MODEL_OUTPUT, model_id, step)
            for model_id, step in steps.items()
        ],
    )


def _link_datasets(
    delivery: Delivery, run: RunFacts, datasets: dict[tuple[str, str], Fields]
) -> None:
    known = _known_datasets(delivery, run.experiment_id, datasets)
    new = {named: uuid.uuid4().hex for named in datasets if named not in known}
    dataset_rows = [
        {
            "dataset_uuid": new[named],
            "experiment_id": run.experiment_id,
            "name": named[0],
            "digest": named[1],
            "dataset_source_type": dataset.text("source_type"),
            "dataset_source": dataset.text("source"),
            "dataset_schema": dataset.text_or_none("schema"),
            "dataset_profile": dataset.text_or_none("profile"),
        }
        for named, dataset in datasets.items()
        if named in new
    ]
    ids = {**known, **new}
    linked = _linked_datasets(delivery, list(known.values()), run.run_id)
    links, tag_rows = [], []
    for named, dataset in datasets.items():
        tags = dataset.pairs("tags")
        if ids[named] in linked:
            continue
        link = _link(_DATASET, ids[named], _RUN, run.run_id)
        links.append(link)
        tag_rows += [
            {"input_uuid": link["input_uuid"], "name": key, "value": value} for key, value in tags
        ]
    _insert(delivery, tables.datasets, dataset_rows)
    _insert(delivery, tables.inputs, links)
    _insert(delivery, tables.input_tags, tag_rows)


def _known_datasets(
    delivery: Delivery, experiment_id: int, datasets: dict[tuple[str, str], Fields]
) -> dict[tuple[str, str], str]:
    columns = tables.datasets.c
    query = sa.select(columns.name, columns.digest, columns.dataset_uuid).where(
        columns.experiment_id == experiment_id,
        columns.name.in_(sorted({name for name, _ in datasets})),
        columns.digest.in_(sorted({digest for _, digest in datasets})),
    )
    if delivery.is_locking:
        query = query.with_for_update()
    rows = delivery.connection.execute(query)
    return {(row[0], row[1]): row[2] for row in rows if (row[0], row[1]) in datasets}


def _linked_datasets(delivery: Delivery, dataset_ids: list[str], run_id: str) -> set[str]:
    columns = tables.inputs.c
    query = sa.select(columns.source_id).where(
        columns.source_type == _DATASET,
        columns.source_id.in_(dataset_ids),
        columns.destination_type == _RUN,
        columns.destination_id == run_id,
    )
    if delivery.is_locking:
        query = query.with_for_update()
    return set(delivery.connection.execute(query).scalars()) if dataset_ids else set()


def _linked(
    delivery: Delivery, source: str, run_id: str, destination: str, model_ids: list[str]
) -> set[str]:
    columns = tables.inputs.c
    query = sa.select(columns.destination_id).where(
        columns.source_type == source,
        columns.source_id == run_id,
        columns.destination_type == destination,
        columns.destination_id.in_(model_ids),
    )
    if delivery.is_locking:
        query = query.with_for_update()
    return set(delivery.connection.execute(query).scalars()) if model_ids else set()


def _link(
    source: str, source_id: str, destination: str, destination_id: str, step: int = 0
) -> dict[str, Any]:
    return {
        "input_uuid": uuid.uuid4().hex,
        "source_type": source,
        "source_id": source_id,
        "destination_type": destination,
        "destination_id": destination_id,
        "step": step,
    }


def _insert(delivery: Delivery, table: sa.TableClause, rows: list[dict[str, Any]]) -> None:
    if rows:
        delivery.connection.execute(sa.insert(table), rows)
