"""Runs of stock MLflow. A run keeps its id."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from mlflow_weir.plugin.artifact_places import repository_at
from mlflow_weir.plugin.importing.bringing import File, Part
from mlflow_weir.plugin.importing.mlflow_place import Place
from mlflow_weir.plugin.importing.names import is_below
from mlflow_weir.plugin.importing.point_records import History
from mlflow_weir.plugin.journaled_models import dataset_fields
from mlflow_weir.store.delivery.records import encode_operation

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository


class MlflowRun:
    """One run of stock MLflow."""

    kind = "mlflow"
    part = ""

    def __init__(self, place: Place, run_id: str, experiment: str) -> None:
        """Look at a run: a search does not tell all that went into it."""
        self.left_out: Counter[str] = Counter()
        run = place.client.get_run(run_id)
        self.run_id = run_id
        self.title = f"{experiment}/{run.info.run_name}"
        self.experiment = experiment
        self._place, self._run = place, run

    def creation(self, experiment_id: str) -> bytes:
        """Return the record that creates the run."""
        info = self._run.info
        fields = {
            "run_id": self.run_id,
            "experiment_id": experiment_id,
            "experiment_name": None,
            "artifact_root": None,
            "workspace": None,
            "user_id": info.user_id,
            "start_time": info.start_time,
            "tags": [["weir.imported_from", self.kind]],
            "run_name": info.run_name,
            "artifact_uri": None,
        }
        return encode_operation("create_run", fields)

    def parts(self) -> Iterable[Part]:
        """Return nothing: a point that is new may be older than others."""
        return ()

    def histories(self) -> Iterator[History]:
        """Return its metrics."""
        for key in sorted(self._run.data.metrics):
            yield key, self._place.history(self.run_id, key)

    def links(self) -> list[Part]:
        """Return the models that went into it and came out, which have to be there."""
        run = self._run
        made = run.outputs.model_outputs if run.outputs else ()
        used = run.inputs.model_inputs if run.inputs else ()
        return [
            *(
                Part(
                    f"output {one.model_id}",
                    iter([self._operation("log_outputs", models=[[one.model_id, one.step]])]),
                )
                for one in made
            ),
            *(
                Part(
                    f"input {one.model_id}",
                    iter([self._operation("log_inputs", datasets=[], models=[one.model_id])]),
                )
                for one in used
            ),
        ]

    def facts(self) -> Sequence[bytes]:
        """Return params, tags, data sets and how it ended."""
        run, info = self._run, self._run.info
        facts = []
        if run.data.params:
            facts.append(self._operation("log_params", params=sorted(run.data.params.items())))
        tags = sorted(run.data.tags.items())
        if tags:
            facts.append(self._operation("set_tags", tags=tags))
        datasets = [dataset_fields(one) for one in run.inputs.dataset_inputs] if run.inputs else []
        if datasets:
            facts.append(self._operation("log_inputs", datasets=datasets, models=[]))
        facts.append(
            self._operation(
                "update_run",
                status=None if info.status == "RUNNING" else info.status,
                end_time=info.end_time or None,
                run_name=info.run_name,
                is_provisional=False,
                is_revival=False,
            )
        )
        return facts

    def _operation(self, name: str, **fields: Any) -> bytes:
        return encode_operation(name, {"run_id": self.run_id, **fields})

    def files(self) -> Iterator[File]:
        """Return its artifacts, each brought here while it is on its way."""
        repository = repository_at(self._place.client, self._run.info.artifact_uri)
        return files_of(repository, self.left_out)


def files_of(repository: ArtifactRepository, left_out: Counter[str]) -> Iterator[File]:
    """Give all files of a place of artifacts, each brought here while it is on its way.

    Args:
        repository: The place.
        left_out: Counts those that lead out of it, by their paths or as links.
    """
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    root = None
    if isinstance(repository, LocalArtifactRepository):
        root = Path(repository.artifact_dir).resolve()
    for path in _walk(repository, ""):
        if not is_below(path) or (root and not (root / path).resolve().is_relative_to(root)):
            left_out["files that lead out of the folder of the artifacts"] += 1
            continue
        with tempfile.TemporaryDirectory() as made:
            content: Path | Exception
            try:
                content = Path(repository.download_artifacts(path, made))
            except (MlflowException, OSError) as exc:
                content = exc
            yield File(path, content)


def _walk(repository: ArtifactRepository, folder: str) -> Iterator[str]:
    for entry in repository.list_artifacts(folder or None):
        if entry.is_dir:
            yield from _walk(repository, entry.path)
        else:
            yield entry.path
