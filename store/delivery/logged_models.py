"""Operations on logged models, with the rows that MLflow's store writes for the same calls."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.delivery import PENDING_ARTIFACTS, Delivery
from mlflow_weir.store.delivery.experiments import append_path
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.metrics.points import stored_value

STATUSES = {"UNSPECIFIED": 0, "PENDING": 1, "READY": 2, "FAILED": 3}
"""MLflow's states of a logged model, as its table has them."""

_MAX_IN = 500


class _Metric(NamedTuple):
    """A row of a logged model's metric, but for the columns that all rows of a call share."""

    value: float
    dataset_name: str | None
    dataset_digest: str | None


def create_logged_model(delivery: Delivery, fields: Fields) -> None:
    """Create a logged model with the id that its process chose."""
    model_id, at_ms = fields.text("model_id"), fields.whole("at_ms")
    experiment = delivery.active_experiment(fields.text("experiment_id"))
    params, tags = dict(fields.pairs("params")), dict(fields.pairs("tags"))
    if _experiment_of(delivery, model_id) is not None:
        raise Refused(f"logged model {model_id} exists already")
    location = fields.text_or_none("artifact_location")
    if not location or location.startswith(PENDING_ARTIFACTS):
        delivery.note_location(fields.text("experiment_id"), experiment)
        location = append_path(experiment.artifact_location, "models", model_id, "artifacts")
    delivery.connection.execute(
        sa.insert(tables.logged_models).values(
            model_id=model_id,
            experiment_id=experiment.experiment_id,
            name=fields.text_or_none("name") or model_id,
            artifact_location=location,
            creation_timestamp_ms=at_ms,
            last_updated_timestamp_ms=at_ms,
            status=STATUSES["PENDING"],
            lifecycle_stage=tables.ACTIVE,
            model_type=fields.text_or_none("model_type"),
            source_run_id=fields.text_or_none("source_run_id"),
            status_message=None,
        )
    )
    _insert_params(delivery, model_id, experiment.experiment_id, params)
    rows = [
        {**_owner(model_id, experiment.experiment_id), "tag_key": key, "tag_value": value}
        for key, value in tags.items()
    ]
    if rows:
        delivery.connection.execute(sa.insert(tables.logged_model_tags), rows)


def finalize_logged_model(delivery: Delivery, fields: Fields) -> None:
    """Set the status of a logged model."""
    model_id, status = fields.text("model_id"), fields.text("status")
    if status not in STATUSES:
        raise Refused(f"{status!r:.100} is not a status of a logged model")
    at_ms = fields.whole("at_ms")
    _require(delivery, model_id)
    delivery.connection.execute(
        sa.update(tables.logged_models)
        .where(tables.logged_models.c.model_id == model_id)
        .values(status=STATUSES[status], last_updated_timestamp_ms=at_ms)
    )


def set_logged_model_tags(delivery: Delivery, fields: Fields) -> None:
    """Set tags of a logged model."""
    model_id = fields.text("model_id")
    pairs = fields.pairs("tags")
    experiment_id = _require(delivery, model_id)
    delivery.upsert_pairs(
        tables.logged_model_tags,
        "tag_key",
        "tag_value",
        {"model_id": model_id},
        pairs,
        {"experiment_id": experiment_id},
    )


def delete_logged_model_tag(delivery: Delivery, fields: Fields) -> None:
    """Delete a tag of a logged model, which must be there."""
    model_id, key = fields.text("model_id"), fields.text("key")
    _require(delivery, model_id)
    table = tables.logged_model_tags
    owner = {"model_id": model_id}
    if key not in delivery.read_pairs(table, "tag_key", "tag_value", owner, [key]):
        raise Refused(f"logged model {model_id} has no tag {key!r:.300}")
    delivery.connection.execute(
        sa.delete(table).where(table.c.model_id == model_id, table.c.tag_key == key)
    )


def log_logged_model_params(delivery: Delivery, fields: Fields) -> None:
    """Write params of a logged model, none of which may be there."""
    model_id = fields.text("model_id")
    pairs = fields.pairs("params")
    experiment_id = _require(delivery, model_id)
    wanted = dict(pairs)
    there = delivery.read_pairs(
        tables.logged_model_params, "param_key", "param_value", {"model_id": model_id}, wanted
    )
    again = wanted.keys() & there.keys()
    if again or len(wanted) < len(pairs):
        named = f": {min(again)!r:.300}" if again else ""
        raise Refused(f"a param of logged model {model_id} is logged twice{named}")
    _insert_params(delivery, model_id, experiment_id, wanted)


def log_model_metrics(delivery: Delivery, fields: Fields) -> None:
    """Write metrics of logged models that a run has measured.

    A metric that is there with the same value and data set is left; with others it refuses all,
    because MLflow's table has one row a model, metric, timestamp, step and run.
    """
    run = delivery.active_run(fields.text("run_id"))
    wanted: dict[tuple[str, str, int, int], _Metric] = {}
    for metric in fields.records("metrics"):
        place = (
            metric.text("model_id"),
            metric.text("key"),
            metric.whole("timestamp"),
            metric.whole("step"),
        )
        value = metric.number("value")
        row = _Metric(
            0.0 if math.isnan(value) else stored_value(value),
            metric.text_or_none("dataset_name"),
            metric.text_or_none("dataset_digest"),
        )
        _require_same(place, wanted.setdefault(place, row), row)
    _require_models(delivery, {place[0] for place in wanted})
    there = _known_metrics(delivery, run.run_id, wanted)
    for place in wanted.keys() & there.keys():
        _require_same(place, there[place], wanted[place])
    rows: list[dict[str, Any]] = [
        {
            "model_id": place[0],
            "metric_name": place[1],
            "metric_timestamp_ms": place[2],
            "metric_step": place[3],
            "metric_value": row.value,
            "experiment_id": run.experiment_id,
            "run_id": run.run_id,
            "dataset_uuid": None,
            "dataset_name": row.dataset_name,
            "dataset_digest": row.dataset_digest,
        }
        for place, row in wanted.items()
        if place not in there
    ]
    if rows:
        delivery.connection.execute(sa.insert(tables.logged_model_metrics), rows)


def _require_same(place: tuple[str, str, int, int], old: _Metric, new: _Metric) -> None:
    if old != new:
        raise Refused(
            f"metric {place[1]!r:.300} of logged model {place[0]} is there for this timestamp and "
            f"step already, as {old.value!r}"
        )


def _known_metrics(
    delivery: Delivery, run_id: str, wanted: dict[tuple[str, str, int, int], _Metric]
) -> dict[tuple[str, str, int, int], _Metric]:
    columns = tables.logged_model_metrics.c
    model_ids = sorted({place[0] for place in wanted})
    names = sorted({place[1] for place in wanted})
    found = {}
    for start in range(0, len(names), _MAX_IN):
        query = sa.select(tables.logged_model_metrics).where(
            columns.run_id == run_id,
            columns.model_id.in_(model_ids),
            columns.metric_name.in_(names[start : start + _MAX_IN]),
            columns.metric_timestamp_ms.between(
                min(place[2] for place in wanted), max(place[2] for place in wanted)
            ),
        )
        if delivery.is_locking:
            query = query.with_for_update()
        for row in delivery.connection.execute(query):
            place = (row.model_id, row.metric_name, row.metric_timestamp_ms, row.metric_step)
            found[place] = _Metric(row.metric_value, row.dataset_name, row.dataset_digest)
    return found


def _require_models(delivery: Delivery, model_ids: set[str]) -> None:
    for model_id in sorted(model_ids):
        _require(delivery, model_id)


def _require(delivery: Delivery, model_id: str) -> int:
    """Return the experiment of a logged model, deleted or not, as MLflow has it."""
    found = _experiment_of(delivery, model_id)
    if found is None:
        raise Refused(f"logged model {model_id!r:.100} does not exist")
    return found


def _experiment_of(delivery: Delivery, model_id: str) -> int | None:
    columns = tables.logged_models.c
    found: int | None = delivery.connection.execute(
        sa.select(columns.experiment_id).where(columns.model_id == model_id)
    ).scalar()
    return found


def _owner(model_id: str, experiment_id: int) -> dict[str, Any]:
    return {"model_id": model_id, "experiment_id": experiment_id}


def _insert_params(
    delivery: Delivery, model_id: str, experiment_id: int, params: dict[str, str]
) -> None:
    rows = [
        {**_owner(model_id, experiment_id), "param_key": key, "param_value": value}
        for key, value in params.items()
    ]
    if rows:
        delivery.connection.execute(sa.insert(tables.logged_model_params), rows)
