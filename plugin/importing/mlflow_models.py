"""Logged models of stock MLflow, with their params, tags, metrics and files. A model keeps its id.

They are brought after the runs of their experiment, by which their metrics were measured.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities.logged_model_status import LoggedModelStatus
from mlflow.exceptions import MlflowException

from mlflow_weir.plugin.artifact_places import repository_at
from mlflow_weir.plugin.contact import says_unknown
from mlflow_weir.plugin.importing.bringing import Bringer, Brought
from mlflow_weir.plugin.importing.mlflow_place import Place, pages
from mlflow_weir.plugin.importing.mlflow_run import files_of
from mlflow_weir.store.delivery.records import encode_operation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

_PAGE = 50  # what MLflow's server gives at once
_GROUP = 1_000  # metrics of a record


def bring_models(
    place: Place, experiment_id: str, experiment: str, bringer: Bringer, brought: Brought
) -> None:
    """Bring the logged models of an experiment, or what is new of them.

    Args:
        place: Where they are.
        experiment_id: Of the experiment there.
        experiment: Name of the one here.
        bringer: Delivers them.
        brought: Takes note of what became of them.
    """
    order = [{"field_name": "creation_timestamp", "ascending": True}]
    for model in pages(
        place.client.search_logged_models, _PAGE, experiment_ids=[experiment_id], order_by=order
    ):
        _bring(place, model, bringer.experiment_id(experiment), bringer, brought)


def _bring(
    place: Place, model: LoggedModel, experiment_id: str, bringer: Bringer, brought: Brought
) -> None:
    creation = {
        "model_id": model.model_id,
        "experiment_id": experiment_id,
        "name": model.name,
        "source_run_id": model.source_run_id,
        "artifact_location": None,
        "tags": [],
        "params": sorted(model.params.items()),
        "model_type": model.model_type,
        "at_ms": model.creation_timestamp,
    }
    words = ("model", model.model_id)
    n_refused = len(brought.refused)
    record = encode_operation("create_logged_model", creation)
    is_new = bringer.deliver_once(brought, (*words, "created"), record)
    if is_new:
        if len(brought.refused) > n_refused:
            return
        brought.n_new += 1
    there = find_model(bringer.client, model.model_id)
    if there is None:
        brought.leave_out("models that are deleted there")
        return
    new = sorted(model.params.items() - there.params.items())
    if new:
        fields = {"model_id": model.model_id, "params": new}
        bringer.deliver_as_it_is(
            brought, (*words, "params"), [encode_operation("log_logged_model_params", fields)],
            is_new=is_new,
        )  # fmt: skip
    for run_id, metrics in _metrics(model).items():
        bringer.deliver_as_it_is(brought, (*words, "metrics", run_id), metrics, is_new=is_new)
    left_out: Counter[str] = Counter()
    bringer.upload(
        brought,
        repository_at(bringer.client, there.artifact_location),
        files_of(repository_at(place.client, model.artifact_location), left_out),
    )
    for what, n in left_out.items():
        brought.leave_out(what, n)
    # It is ready when all of it is there.
    bringer.deliver_as_it_is(brought, (*words, "facts"), list(_facts(model)), is_new=is_new)


def _facts(model: LoggedModel) -> Iterator[bytes]:
    tags = [*sorted(model.tags.items()), ("weir.imported_from", "mlflow")]
    fields: dict[str, Any] = {"model_id": model.model_id, "tags": tags}
    yield encode_operation("set_logged_model_tags", fields)
    if model.status != LoggedModelStatus.PENDING:
        yield encode_operation(
            "finalize_logged_model",
            {
                "model_id": model.model_id,
                "status": str(model.status),
                "at_ms": model.last_updated_timestamp,
            },
        )


def _metrics(model: LoggedModel) -> dict[str, Sequence[bytes]]:
    """Return the records of a model's metrics, by the run that measured them."""
    by_run: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in model.metrics or ():
        by_run[str(one.run_id)].append(
            {
                "model_id": model.model_id,
                "key": one.key,
                "timestamp": one.timestamp,
                "step": one.step,
                "value": float(one.value),
                "dataset_name": one.dataset_name,
                "dataset_digest": one.dataset_digest,
            }
        )
    records: dict[str, Sequence[bytes]] = {}
    for run_id, metrics in by_run.items():
        metrics.sort(key=lambda one: (one["key"], one["timestamp"], one["step"]))
        records[run_id] = [
            encode_operation(
                "model_metrics", {"run_id": run_id, "metrics": metrics[first : first + _GROUP]}
            )
            for first in range(0, len(metrics), _GROUP)
        ]
    return records


def find_model(client: MlflowClient, model_id: str) -> LoggedModel | None:
    """Return a logged model; None where there is none, or it is deleted."""
    try:
        return client.get_logged_model(model_id)
    except MlflowException as exc:
        if says_unknown(exc):
            return None
        raise
