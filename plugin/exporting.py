"""Runs written out as files: ``run.json``, the whole metric history, and their artifacts.

    DIR/EXPERIMENT_ID/RUN_ID/run.json           info, params, tags, latest metrics, inputs, models
                            /metrics.parquet    run_id, key, timestamp (ms), step, value
                            /traces.json        with spans, where it has any
                            /artifacts/…        where asked for
                            /models/ID/…        the files of its logged models, where asked for

A run is written into a folder ``.RUN_ID.part`` that takes its name when all of it is there: what
has its name is whole. A run that is there as it is in the store is left as it is; one that has
changed since is written anew; of artifacts, where asked for, paths and sizes tell. Everything is
asked of MLflow's client, so any store or server of MLflow's can be exported, not only Weir's.

What a store answers is not trusted with paths: ids that are none are refused.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin import exported_parts as parts
from mlflow_weir.plugin.artifact_places import repository_at

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

FORMATS = ("parquet", "csv", "json")
VERSION = 2
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_PAGE = 1_000
_COLUMNS = ("run_id", "key", "timestamp", "step", "value")


@dataclass
class ExportReport:
    """What was written.

    Attributes:
        n_same: Runs that were there already, as they are in the store.
        failed: Of each run that could not be written: its id and why.
    """

    folder: str
    n_runs: int = 0
    n_same: int = 0
    n_points: int = 0
    n_artifacts: int = 0
    n_models: int = 0
    n_traces: int = 0
    n_bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def find_runs(
    client: MlflowClient, run_ids: Sequence[str], experiments: Sequence[str], filter_string: str
) -> list[str]:
    """Return the ids of runs that are named, or are in experiments and pass a filter of MLflow's.

    Raises:
        ConfigError: An experiment is not there.
    """
    found = list(run_ids)
    ids = []
    for name in experiments:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                experiment = client.get_experiment(name)
            except MlflowException as exc:
                raise ConfigError(f"no experiment has the name or id {name!r:.200}") from exc
        ids.append(experiment.experiment_id)
    token = None
    while ids:
        page = client.search_runs(
            ids, filter_string, ViewType.ACTIVE_ONLY, _PAGE, page_token=token
        )
        found += [run.info.run_id for run in page]
        token = page.token
        if not token:
            break
    return list(dict.fromkeys(found))


def export(
    client: MlflowClient,
    run_ids: Sequence[str],
    folder: Path,
    *,
    file_format: str = "parquet",
    with_artifacts: bool = False,
    on_run: Callable[[], None] = lambda: None,
) -> ExportReport:
    """Write runs below a folder, which is made if need be.

    Args:
        client: Of the store they are in.
        run_ids: Which.
        folder: Where to.
        file_format: Of the metric history, one of ``FORMATS``.
        with_artifacts: Download their artifacts, and those of their logged models, too.
        on_run: Called after each run.

    Raises:
        ConfigError: The folder cannot be made.
    """
    report = ExportReport(str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"{folder}: {exc.strerror}", hint="check the path after --to") from exc
    for run_id in run_ids:
        try:
            _export_one(client, run_id, folder, file_format, with_artifacts, report)
        except (MlflowException, ConfigError, OSError, pa.ArrowException) as exc:
            report.failed[run_id] = " ".join(str(exc).split())[:500]
        on_run()
    return report


def _export_one(
    client: MlflowClient,
    run_id: str,
    folder: Path,
    file_format: str,
    with_artifacts: bool,
    report: ExportReport,
) -> None:
    run = client.get_run(run_id)
    experiment_id = str(run.info.experiment_id)
    for one in (run.info.run_id, experiment_id):
        if not _ID.match(one):
            raise ConfigError(f"{one!r:.100} is no id that a folder may be named after")
    parent = folder / experiment_id
    target, part = parent / run.info.run_id, parent / f".{run.info.run_id}.part"
    models = parts.models_of(client, run)
    for model in models:
        if not _ID.match(model.model_id):
            raise ConfigError(f"{model.model_id!r:.100} is no id that a folder may be named after")
    facts = _facts(client, run)
    facts["models"] = [parts.model_facts(model) for model in models]
    facts["traces"] = parts.trace_infos(client, run)
    places = {}
    if with_artifacts:
        roots = {"artifacts": run.info.artifact_uri}
        roots |= {f"models/{one.model_id}": one.artifact_location for one in models}
        places = {name: repository_at(client, uri) for name, uri in roots.items()}
        facts["files"] = {name: parts.sizes_in(place) for name, place in places.items()}
    facts["weir_export"] = {
        "version": VERSION,
        "metrics_file": f"metrics.{file_format}",
        "with_artifacts": with_artifacts,
    }
    if _is_there(target, facts):
        report.n_same += 1
        return
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    n_points = _WRITERS[file_format](
        part / f"metrics.{file_format}", run_id, _histories(client, run)
    )
    if facts["traces"]:
        parts.write_traces(part / "traces.json", client, run, facts["traces"])
    for name, place in places.items():
        (part / name).mkdir(parents=True)
        if facts["files"][name]:
            place.download_artifacts("", str(part / name))
    # Last: what the next export compares.
    (part / "run.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False), "utf-8")
    _sync(part / "run.json")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)
    report.n_runs += 1
    report.n_points += n_points
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
    report.n_bytes += sum(sizes)
    report.n_artifacts += sum(map(len, facts.get("files", {}).values()))
    report.n_models += len(models)
    report.n_traces += len(facts["traces"])


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _is_there(target: Path, facts: dict[str, Any]) -> bool:
    """Say whether a run was written the same way and is the same; never of one that goes on."""
    if facts["info"]["status"] in {"RUNNING", "SCHEDULED"}:
        return False
    try:
        found = json.loads((target / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == json.loads(json.dumps(facts)))


def _facts(client: MlflowClient, run: Run) -> dict[str, Any]:
    experiment = client.get_experiment(run.info.experiment_id)
    facts: dict[str, Any] = {
        "info": {
            name: getattr(run.info, name)
            for name in (
                *("run_id", "run_name", "experiment_id", "user_id", "status", "start_time"),
                *("end_time", "lifecycle_stage", "artifact_uri"),
            )
        },
        "experiment": {"name": experiment.name, "tags": dict(sorted(experiment.tags.items()))},
        "params": dict(sorted(run.data.params.items())),
        "tags": dict(sorted(run.data.tags.items())),
        "metrics": {key: _number(value) for key, value in sorted(run.data.metrics.items())},
    }
    if run.inputs is not None:
        facts["inputs"] = run.inputs.to_dictionary()
    if run.outputs is not None:
        facts["outputs"] = run.outputs.to_dictionary()
    return facts


def _number(value: float) -> float | str:
    """Return what JSON can hold: NaN and infinite values as words."""
    return value if math.isfinite(value) else str(value)


def _histories(client: MlflowClient, run: Run) -> Iterator[tuple[str, Sequence[Metric]]]:
    for key in sorted(run.data.metrics):
        yield key, client.get_metric_history(run.info.run_id, key)


_Histories = Iterator[tuple[str, "Sequence[Metric]"]]


def _write_parquet(path: Path, run_id: str, histories: _Histories) -> int:
    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        list(zip(_COLUMNS, (text, text, pa.int64(), pa.int64(), pa.float64()), strict=True))
    )
    n_points = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for key, points in histories:
            n = len(points)
            zeros = pa.array(np.zeros(n, dtype=np.int32))
            writer.write_table(
                pa.table(
                    [
                        pa.DictionaryArray.from_arrays(zeros, pa.array([run_id])),
                        pa.DictionaryArray.from_arrays(zeros, pa.array([key])),
                        pa.array([point.timestamp for point in points], pa.int64()),
                        pa.array([point.step for point in points], pa.int64()),
                        pa.array([point.value for point in points], pa.float64()),
                    ],
                    schema=schema,
                )
            )
            n_points += n
    return n_points


def _write_csv(path: Path, run_id: str, histories: _Histories) -> int:
    n_points = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for key, points in histories:
            writer.writerows(
                (run_id, key, point.timestamp, point.step, repr(point.value)) for point in points
            )
            n_points += len(points)
    return n_points


def _write_json(path: Path, run_id: str, histories: _Histories) -> int:
    n_points = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"run_id": ' + json.dumps(run_id) + ', "metrics": {')
        for number, (key, points) in enumerate(histories):
            rows = [[point.timestamp, point.step, _number(point.value)] for point in points]
            file.write(f"{',' if number else ''}\n{json.dumps(key)}: {json.dumps(rows)}")
            n_points += len(points)
        file.write("\n}}\n")
    return n_points


_WRITERS: dict[str, Callable[[Path, str, _Histories], int]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "json": _write_json,
}
