"""Runs of stock MLflow, from any of its places: a database, a folder ``mlruns``, a server.

Asked through MLflow's own client, so that whatever it can read can be brought. A run keeps its id.

What belongs to no run (the registry, prompts, traces, scorers) stays where it is, as do logged
models; they are counted. In one database nothing needs to be brought: ``weir db compact`` turns
its history into ours.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.importing.bringing import File, Part, artifacts_of
from mlflow_weir.plugin.journaled_models import dataset_fields
from mlflow_weir.store.delivery.records import encode_operation, encode_points

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_PAGE = 1_000


def find_runs(client: MlflowClient, experiments: Sequence[str]) -> Iterator[tuple[str, Run]]:
    """Give the runs of experiments that are not deleted, each with its experiment's name.

    Args:
        client: Of the place that they are in.
        experiments: Names; all where there are none.

    Raises:
        ConfigError: There is no such experiment.
    """
    found = {one.name: one.experiment_id for one in _all_experiments(client)}
    for name in experiments:
        if name not in found:
            raise ConfigError(f"no experiment {name!r} is there", hint=", ".join(sorted(found)))
    for name in experiments or sorted(found):
        token: str | None = None
        while True:
            # The oldest first, so that they have the same order here.
            page = client.search_runs(
                [found[name]], max_results=_PAGE, order_by=["attributes.start_time ASC"],
                page_token=token,
            )  # fmt: skip
            yield from ((name, run) for run in page)
            token = page.token
            if not token:
                break


def _all_experiments(client: MlflowClient) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = client.search_experiments(max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


class MlflowRun:
    """One run of stock MLflow."""

    def __init__(self, client: MlflowClient, run: Run, experiment: str) -> None:
        """Take a run as a search found it."""
        self.left_out: Counter[str] = Counter()
        self.run_id = run.info.run_id
        self.title = f"{experiment}/{run.info.run_name}"
        self.experiment = experiment
        self._client, self._run = client, run

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
            "tags": [["weir.imported_from", "mlflow"]],
            "run_name": info.run_name,
            "artifact_uri": None,
        }
        return encode_operation("create_run", fields)

    def parts(self) -> Iterator[Part]:
        """Return the histories of its metrics."""
        for key in sorted(self._run.data.metrics):
            yield Part(f"metric {key}", self._history(key))

    def _history(self, key: str) -> Iterator[bytes]:
        found = self._client.get_metric_history(self.run_id, key)
        # In the order in which they were logged, as far as a history tells it: new ones come last.
        history = sorted(found, key=lambda one: (one.timestamp, one.step))
        points = [(key, one.timestamp, one.step, float(one.value)) for one in history]
        for point in points:
            yield encode_points(self.run_id, [point])

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
        models = len(run.outputs.model_outputs) if run.outputs else 0
        if models:
            self.left_out["logged models, which stay where they are"] += models
        if info.status != "RUNNING" or info.end_time:
            facts.append(
                self._operation(
                    "update_run",
                    status=info.status,
                    end_time=info.end_time,
                    run_name=None,
                    is_provisional=False,
                    is_revival=False,
                )
            )
        return facts

    def _operation(self, name: str, **fields: Any) -> bytes:
        return encode_operation(name, {"run_id": self.run_id, **fields})

    def files(self) -> Iterator[File]:
        """Return its artifacts, each brought here while it is on its way."""
        repository = artifacts_of(self._client, self.run_id)
        for path in _walk(repository, ""):
            with tempfile.TemporaryDirectory() as made:
                yield File(path, Path(repository.download_artifacts(path, made)))


def _walk(repository: ArtifactRepository, folder: str) -> Iterator[str]:
    for entry in repository.list_artifacts(folder or None):
        if entry.is_dir:
            yield from _walk(repository, entry.path)
        else:
            yield entry.path
