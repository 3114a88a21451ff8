"""Logged models of a training process: created with an id of our own, delivered like a run.

Only models that this process created are written through the journal; changes of others go to
the store directly. Reads ask the store, which has what was written before, and fall back on what
is known here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from mlflow.entities import (
    LifecycleStage,
    LoggedModel,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities import PagedList
from mlflow.utils.time import get_current_time_millis
from mlflow.utils.uri import append_to_uri_path

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.contact import FIRST_WAIT_S, Away
from mlflow_weir.plugin.journaled_experiments import (
    JournaledExperiments,
    text_or_none,
    texts,
)
from mlflow_weir.plugin.pending_names import PENDING_ARTIFACTS

_BY_NAME = re.compile(r"\s*name\s*=\s*'([^']*)'\s*")


class JournaledModels(JournaledExperiments):
    """The calls about logged models."""

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: list[LoggedModelTag] | None = None,
        params: list[LoggedModelParameter] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Create a logged model, with an id of our own choosing."""
        model_id = f"m-{uuid.uuid4().hex}"
        return self._begin_model(
            model_id, experiment_id, name, source_run_id, tags, params, model_type
        )

    def _begin_model(
        self,
        model_id: str,
        experiment_id: str,
        name: str | None,
        source_run_id: str | None,
        tags: list[LoggedModelTag] | None,
        params: list[LoggedModelParameter] | None,
        model_type: str | None,
    ) -> LoggedModel:
        name = mlflow_private.named_model(name)
        experiment_id = self._names.real(str(experiment_id))
        model_type = text_or_none(model_type)
        experiment = self._experiment(experiment_id)
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise MlflowException(
                f"The experiment {experiment_id} must be in the 'active' state. "
                f"Current state is {experiment.lifecycle_stage}.",
                INVALID_PARAMETER_VALUE,
            )
        if experiment.artifact_location.startswith(PENDING_ARTIFACTS):
            location = f"{PENDING_ARTIFACTS}{model_id}"
        else:
            location = append_to_uri_path(
                experiment.artifact_location, "models", model_id, "artifacts"
            )
        now_ms = get_current_time_millis()
        self._write(
            "create_logged_model",
            model_id=model_id,
            experiment_id=experiment_id,
            name=name,
            source_run_id=source_run_id,
            artifact_location=location,
            tags=texts(tags),
            params=texts(params),
            model_type=model_type,
            at_ms=now_ms,
        )
        self._names.note(model_id, experiment_id)
        model = LoggedModel(
            experiment_id=experiment_id,
            model_id=model_id,
            name=name,
            artifact_location=location,
            creation_timestamp=now_ms,
            last_updated_timestamp=now_ms,
            model_type=model_type,
            source_run_id=source_run_id,
            status=LoggedModelStatus.PENDING,
            tags={tag.key: tag.value for tag in tags} if tags else None,
            params={param.key: param.value for param in params} if params else None,
        )
        self._models[model_id] = model
        self._known_models.add(model_id)
        self.recorder.own_roots[location] = source_run_id
        return self._shown(model)

    def get_logged_model(self, model_id: str, allow_deleted: bool = False) -> LoggedModel:
        """Return a logged model, as it is known here where the store is away."""
        try:
            found: LoggedModel = self._directly(
                super().get_logged_model,  # type: ignore[misc]
                model_id,
                allow_deleted,
            )
        except Away as away:
            if model_id not in self._models:
                raise away.as_mlflow_error() from away
        except MlflowException:
            # Ours may be on its way still; that it was deleted is known only to the store.
            if model_id not in self._models or self.recorder.is_delivered():
                raise
        else:
            if model_id not in self._models or self.recorder.is_delivered():
                return found
        return self._shown(self._models[model_id])

    def search_logged_models(
        self,
        experiment_ids: list[str],
        filter_string: str | None = None,
        *arguments: Any,
        **options: Any,
    ) -> PagedList[LoggedModel]:
        """Search logged models; with the store away, those of a name as they are known here."""
        stock: Callable[..., PagedList[LoggedModel]] = super().search_logged_models  # type: ignore[misc]
        search = partial(stock, experiment_ids, filter_string, *arguments, **options)
        if self.recorder.settle(FIRST_WAIT_S):
            return search()
        try:
            return self._directly(search)
        except Away as away:
            # MLflow asks by name before it looks into a run's artifacts.
            by_name = _BY_NAME.fullmatch(filter_string or "")
            if by_name is None:
                raise away.as_mlflow_error() from away
            ids = set(map(self._names.real, map(str, experiment_ids)))
            ours = [
                self._shown(model)
                for model in self._models.values()
                if model.name == by_name[1] and self._names.real(str(model.experiment_id)) in ids
            ]
            return PagedList(ours, None)

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Say whether a logged model is ready."""
        model = self._models.get(model_id)
        if model is None:
            return super().finalize_logged_model(model_id, status)  # type: ignore[misc,no-any-return]
        now_ms = get_current_time_millis()
        self._write("finalize_logged_model", model_id=model_id, status=str(status), at_ms=now_ms)
        model.status = status
        model.last_updated_timestamp = now_ms
        return self._shown(model)

    def set_logged_model_tags(self, model_id: str, tags: list[LoggedModelTag]) -> None:
        """Set tags of a logged model."""
        model = self._models.get(model_id)
        if model is None:
            super().set_logged_model_tags(model_id, tags)  # type: ignore[misc]
            return
        self._write("set_logged_model_tags", model_id=model_id, tags=texts(tags))
        model.tags.update((tag.key, tag.value) for tag in tags)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Delete a tag of a logged model, which must have it."""
        model = self._models.get(model_id)
        if model is None:
            super().delete_logged_model_tag(model_id, key)  # type: ignore[misc]
            return
        if key not in model.tags:
            raise MlflowException(
                f"No tag with key {key!r} found for model with ID {model_id!r}.",
                RESOURCE_DOES_NOT_EXIST,
            )
        self._write("delete_logged_model_tag", model_id=model_id, key=key)
        del model.tags[key]

    def log_logged_model_params(self, model_id: str, params: list[LoggedModelParameter]) -> None:
        """Write params of a logged model, none of which may be there."""
        model = self._models.get(model_id)
        if model is None or model.params.keys() & {param.key for param in params}:
            super().log_logged_model_params(model_id, params)  # type: ignore[misc]
            return
        self._write("log_logged_model_params", model_id=model_id, params=texts(params))
        model.params.update((param.key, param.value) for param in params)

    def delete_logged_model(self, model_id: str) -> None:
        """Put a logged model into the bin."""
        super().delete_logged_model(model_id)  # type: ignore[misc]
        self._models.pop(model_id, None)

    def _shown(self, model: LoggedModel) -> LoggedModel:
        """Return MLflow's entity; later changes of ours do not reach it."""
        return LoggedModel(
            experiment_id=self._names.real(model.experiment_id),
            model_id=model.model_id,
            name=model.name,
            artifact_location=self._names.real(model.artifact_location),
            creation_timestamp=model.creation_timestamp,
            last_updated_timestamp=model.last_updated_timestamp,
            model_type=model.model_type,
            source_run_id=model.source_run_id,
            status=model.status,
            tags=dict(model.tags) or None,
            params=dict(model.params) or None,
        )


def dataset_fields(dataset_input: Any) -> dict[str, Any]:
    """Return what a journal keeps of MLflow's ``DatasetInput``."""
    dataset = dataset_input.dataset
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "source_type": dataset.source_type,
        "source": dataset.source,
        "schema": dataset.schema,
        "profile": dataset.profile,
        "tags": texts(dataset_input.tags),
    }
