"""What belongs to a run beside its own values, for an export: files, logged models, traces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, ErrorCode

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run, Trace
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_MODELS_AT_ONCE, _TRACES_AT_ONCE = 50, 100


def models_of(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Return the logged models that a run made, in the order of their ids."""
    found = {
        model.model_id: model
        for model in _pages(
            client.search_logged_models,
            experiment_ids=[run.info.experiment_id],
            filter_string=f"source_run_id = '{run.info.run_id}'",
            max_results=_MODELS_AT_ONCE,
        )
    }
    for output in run.outputs.model_outputs if run.outputs else ():
        if output.model_id not in found:
            found[output.model_id] = client.get_logged_model(output.model_id)
    return [found[model_id] for model_id in sorted(found)]


def model_facts(model: LoggedModel) -> dict[str, Any]:
    """Return what is known of a logged model, as JSON has it but for numbers that it has not."""
    return {
        **{
            name: getattr(model, name)
            for name in (
                *("model_id", "name", "model_type", "source_run_id", "artifact_location"),
                *("creation_timestamp", "last_updated_timestamp", "status_message"),
            )
        },
        "status": model.status.value if model.status else None,
        "params": dict(sorted(model.params.items())),
        "tags": dict(sorted(model.tags.items())),
        "metrics": [
            {**one.to_dictionary(), "value": repr(float(one.value))} for one in model.metrics or ()
        ],
    }


def trace_infos(client: MlflowClient, run: Run) -> list[dict[str, Any]]:
    """Return what is known of the traces of a run beside their spans, by id."""
    return sorted(
        (one.info.to_dict() for one in _traces(client, run, with_spans=False)),
        key=lambda info: str(info["trace_id"]),
    )


def write_traces(
    path: Path, client: MlflowClient, run: Run, infos: Sequence[dict[str, Any]]
) -> None:
    """Write the traces of a run with their spans: a list, as MLflow's ``to_dict`` has each.

    Those whose spans the store does not give are there without, ``data`` null.
    """
    missing = {str(info["trace_id"]): info for info in infos}
    with open(path, "w", encoding="utf-8") as file:
        file.write("[")
        before = "\n"
        for trace in _traces(client, run, with_spans=True):
            missing.pop(trace.info.trace_id, None)
            file.write(before + trace.to_json())
            before = ",\n"
        for info in missing.values():
            file.write(before + json.dumps({"info": info, "data": None}))
            before = ",\n"
        file.write("\n]\n")


def _traces(client: MlflowClient, run: Run, *, with_spans: bool) -> Iterator[Trace]:
    return _pages(
        client.search_traces,
        locations=[run.info.experiment_id],
        run_id=run.info.run_id,
        include_spans=with_spans,
        max_results=_TRACES_AT_ONCE,
    )


def sizes_in(repository: ArtifactRepository, folder: str | None = None) -> dict[str, int | None]:
    """Return the sizes of all files of a place of artifacts, in bytes, by path."""
    found: dict[str, int | None] = {}
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            found.update(sizes_in(repository, entry.path))
        else:
            found[entry.path] = entry.file_size
    return dict(sorted(found.items()))


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Give all that a search of MLflow's finds; nothing where a server knows no such thing yet."""
    token: str | None = None
    while True:
        try:
            page = search(page_token=token, **arguments)
        except MlflowException as exc:
            if exc.error_code == ErrorCode.Name(ENDPOINT_NOT_FOUND):
                return
            raise
        yield from page
        token = page.token
        if not token:
            return
