"""Logged models of a journal as requests to a stock MLflow server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlflow_weir.plugin.agent.rest_batches import Batch, metric
from mlflow_weir.plugin.agent.stock_server import MODEL_KEY_TAG, Denied, pairs
from mlflow_weir.store.delivery.delivery import PENDING_ARTIFACTS
from mlflow_weir.store.delivery.fields import Fields, Refused

if TYPE_CHECKING:
    from mlflow_weir.plugin.agent.rest_delivery import RestDelivery

_STATUSES = {
    "UNSPECIFIED": "LOGGED_MODEL_STATUS_UNSPECIFIED",
    "PENDING": "LOGGED_MODEL_PENDING",
    "READY": "LOGGED_MODEL_READY",
    "FAILED": "LOGGED_MODEL_UPLOAD_FAILED",
}
_MAX_PARAMS = 100  # in a request


def create_logged_model(delivery: RestDelivery, fields: Fields) -> None:
    """Create a logged model, unless it is there."""
    key = fields.text("model_id")
    experiment_id = delivery.ids.experiment(fields.text("experiment_id"))
    run_id, params = (
        fields.text_or_none("source_run_id"),
        list(dict(fields.pairs("params")).items()),
    )
    location = fields.text_or_none("artifact_location")
    if not location or location.startswith(PENDING_ARTIFACTS):
        delivery.note_location(fields.text("experiment_id"))
    model_id = delivery.ids.model_in(key, experiment_id)
    if model_id is None:
        body = {
            "experiment_id": experiment_id,
            "name": fields.text_or_none("name"),
            "model_type": fields.text_or_none("model_type"),
            "source_run_id": None if run_id is None else delivery.ids.run(run_id) or run_id,
            "params": pairs(params[:_MAX_PARAMS]),
            "tags": pairs({**dict(fields.pairs("tags")), MODEL_KEY_TAG: key}.items()),
        }
        made = delivery.server.call("POST", "logged-models", body)
        model_id = str(made["model"]["info"]["model_id"])
        delivery.ids.learn_model(key, model_id)
        _log_params(delivery, model_id, params[_MAX_PARAMS:])
    elif len(params) > _MAX_PARAMS:
        _log_params(delivery, model_id, _missing_params(delivery, model_id, params))


def finalize_logged_model(delivery: RestDelivery, fields: Fields) -> None:
    """Set the status of a logged model."""
    status = fields.text("status")
    if status not in _STATUSES:
        raise Refused(f"{status!r:.100} is not a status of a logged model")
    model_id = delivery.ids.model(fields.text("model_id"))
    body = {"model_id": model_id, "status": _STATUSES[status]}
    delivery.server.call("PATCH", _path(model_id), body)


def set_logged_model_tags(delivery: RestDelivery, fields: Fields) -> None:
    """Set tags of a logged model."""
    model_id = delivery.ids.model(fields.text("model_id"))
    body = {"tags": pairs(fields.pairs("tags"))}
    delivery.server.call("PATCH", f"{_path(model_id)}/tags", body)


def delete_logged_model_tag(delivery: RestDelivery, fields: Fields) -> None:
    """Delete a tag of a logged model, unless an earlier try may have done it."""
    model_id, key = delivery.ids.model(fields.text("model_id")), fields.text("key")
    try:
        delivery.server.call("DELETE", f"{_path(model_id)}/tags/{quote(key, safe='')}")
    except Denied as exc:
        if not (delivery.is_repeat and exc.is_missing):
            raise


def log_logged_model_params(delivery: RestDelivery, fields: Fields) -> None:
    """Write params of a logged model."""
    model_id, params = delivery.ids.model(fields.text("model_id")), fields.pairs("params")
    if delivery.is_repeat:
        params = _missing_params(delivery, model_id, params)
    _log_params(delivery, model_id, params)


def log_model_metrics(delivery: RestDelivery, fields: Fields) -> None:
    """Write metrics of logged models that a run has measured; the run has the points already."""
    run_id, real = delivery.require_run(fields)
    batch = Batch()
    for one in fields.records("metrics"):
        key, value = one.text("key"), one.number("value")
        model = {
            "model_id": delivery.ids.model(one.text("model_id")),
            "dataset_name": one.text_or_none("dataset_name"),
            "dataset_digest": one.text_or_none("dataset_digest"),
        }
        batch.metrics.append(metric(key, one.whole("timestamp"), one.whole("step"), value, model))
    for items in batch.requests():
        delivery.send(run_id, real, items, is_counted=False)


def log_outputs(delivery: RestDelivery, fields: Fields) -> None:
    """Link models that a run made to it, each with its step."""
    _, real = delivery.require_run(fields)
    models = []
    for pair in fields.items("models"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise Refused(f"its field 'models' holds no model and step: {pair!r:.100}")
        one = Fields({"model_id": pair[0], "step": pair[1]})
        step = one.whole_or_none("step") or 0
        models.append({"model_id": delivery.ids.model(one.text("model_id")), "step": step})
    if delivery.is_repeat:
        run = delivery.server.run(real) or {}
        linked = {one["model_id"] for one in run.get("outputs", {}).get("model_outputs", ())}
        models = [one for one in models if one["model_id"] not in linked]
    if models:
        delivery.server.call("POST", "runs/outputs", {"run_id": real, "models": models})


def _path(model_id: str) -> str:
    return f"logged-models/{quote(model_id, safe='')}"


def _log_params(delivery: RestDelivery, model_id: str, params: list[tuple[str, str]]) -> None:
    for first in range(0, len(params), _MAX_PARAMS):
        body = {"model_id": model_id, "params": pairs(params[first : first + _MAX_PARAMS])}
        delivery.server.call("POST", f"{_path(model_id)}/params", body)


def _missing_params(
    delivery: RestDelivery, model_id: str, params: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    found: dict[str, Any] = delivery.server.call("GET", _path(model_id))["model"]
    there = {(one["key"], one["value"]) for one in found.get("data", {}).get("params", ())}
    return [pair for pair in params if pair not in there]


OPERATIONS: dict[str, Callable[[RestDelivery, Fields], None]] = {
    "create_logged_model": create_logged_model,
    "finalize_logged_model": finalize_logged_model,
    "set_logged_model_tags": set_logged_model_tags,
    "delete_logged_model_tag": delete_logged_model_tag,
    "log_logged_model_params": log_logged_model_params,
    "model_metrics": log_model_metrics,
    "log_outputs": log_outputs,
}
