"""What MLflow keeps of a run beside its own values, to be exported: files, models, traces."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, ErrorCode
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.artifact_places import repository_at
from mlflow_weir.plugin.importing.mlflow_models import find_model
from mlflow_weir.plugin.uri import scheme_of
from mlflow_weir.store.cold.places import S3Place, open_place

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run, Trace
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_MODELS_AT_ONCE, _TRACES_AT_ONCE = 50, 100
_ATTACHMENT = re.compile(r"mlflow-attachment://([0-9A-Za-z-]{1,64})")
_ATTACHMENTS = "attachments"  # below the place of a trace


def models_of(client: MlflowClient, run: Run, left_out: Counter[str]) -> list[LoggedModel]:
    """Return the logged models that a run made, in the order of their ids; deleted ones count."""
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
            model = find_model(client, output.model_id)
            if model is None:
                left_out["logged models that are deleted"] += 1
            else:
                found[output.model_id] = model
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
    part: Path,
    client: MlflowClient,
    run: Run,
    infos: Sequence[dict[str, Any]],
    left_out: Counter[str],
    *,
    with_attachments: bool,
) -> int:
    """Write the traces of a run with their spans: a list, as MLflow's ``to_dict`` has each.

    Those whose spans the store does not give are there without, ``data`` null.

    Args:
        part: Folder of the run.
        client: Of the store.
        run: Whose.
        infos: What is known of each.
        left_out: Counts attachments that are not written.
        with_attachments: Download what spans name as attachments.

    Returns:
        How many attachments were written.
    """
    missing = {str(info["trace_id"]): info for info in infos}
    n_attachments = 0
    with open(part / "traces.json", "w", encoding="utf-8") as file:
        file.write("[")
        before = "\n"
        for trace in _traces(client, run, with_spans=True):
            missing.pop(trace.info.trace_id, None)
            text = trace.to_json()
            file.write(before + text)
            before = ",\n"
            named = set(_ATTACHMENT.findall(text))
            if named and with_attachments:
                n_attachments += _download(client, trace, named, part / "traces", left_out)
            elif named:
                left_out["attachments of traces (--artifacts downloads them)"] += len(named)
        for info in missing.values():
            file.write(before + json.dumps({"info": info, "data": None}))
            before = ",\n"
        file.write("\n]\n")
    return n_attachments


def _download(
    client: MlflowClient, trace: Trace, named: set[str], folder: Path, left_out: Counter[str]
) -> int:
    trace_id = require_name(trace.info.trace_id)
    root = trace.info.tags.get(MLFLOW_ARTIFACT_LOCATION)
    there = []
    if root:
        place = repository_at(client, root)
        listed = {PurePosixPath(one.path).name for one in place.list_artifacts(_ATTACHMENTS)}
        there = sorted(named & listed)
        for one in there:
            (folder / trace_id).mkdir(parents=True, exist_ok=True)
            place.download_artifacts(f"{_ATTACHMENTS}/{one}", str(folder / trace_id))
    if len(there) < len(named):
        left_out["attachments of traces that are not where they should be"] += len(named) - len(
            there
        )
    return len(there)


def require_name(word: str) -> str:
    """Return an id that a store has given, if a folder may be named after it.

    Raises:
        ConfigError: It may be a path.
    """
    if not _ID.match(word):
        raise ConfigError(f"{word!r:.100} is no id that a folder may be named after")
    return word


def _traces(client: MlflowClient, run: Run, *, with_spans: bool) -> Iterator[Trace]:
    return _pages(
        client.search_traces,
        locations=[run.info.experiment_id],
        run_id=run.info.run_id,
        include_spans=with_spans,
        max_results=_TRACES_AT_ONCE,
    )


def states_in(repository: ArtifactRepository) -> dict[str, list[Any]]:
    """Return, of each file of a place of artifacts by path, its size in bytes and its state.

    The state is another once the content is: of a file when its inode changed, of an object in S3
    its ETag. Other places, a server among them, tell of none: None.
    """
    sizes = _sizes_in(repository)
    states: dict[str, str] = {}
    if isinstance(repository, LocalArtifactRepository):
        root = Path(repository.artifact_dir)
        states = {path: str((root / path).stat().st_ctime_ns) for path in sizes}
    elif scheme_of(repository.artifact_uri) == "s3":
        place = open_place(repository.artifact_uri)
        states = dict(place.iter_versions()) if isinstance(place, S3Place) else {}
    return {path: [size, states.get(path)] for path, size in sorted(sizes.items())}


def _sizes_in(repository: ArtifactRepository, folder: str | None = None) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            found.update(_sizes_in(repository, entry.path))
        else:
            found[entry.path] = entry.file_size
    return found


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
