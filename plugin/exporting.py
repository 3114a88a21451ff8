"""Runs written out as files: ``run.json``, the whole metric history, and what belongs to them.

    DIR/EXPERIMENT_ID/RUN_ID/run.json             info, params, tags, latest metrics, inputs,
                                                  models, alerts, processes that printed
                            /metrics.parquet      run_id, key, timestamp (ms), step, value
                            /console.jsonl        a line each: source, n, at_ms, stream, text
                            /histograms.parquet   run_id, kind, key, step, …, counts of 64 bins
                            /traces.json          with spans, where it has any
                            /traces/ID/…          attachments of a trace, where asked for
                            /artifacts/…          where asked for
                            /models/ID/…          the files of its logged models, where asked for

A run is written into a folder ``.RUN_ID.part`` that takes its name when all of it is there: what
has its name is whole. A run that is there as it is in the store is left as it is; one that has
changed since is written anew. Of points a store of Weir's tells whether any have come, and of
files a folder or S3 whether they are others; where a store tells neither, latest values and sizes
are compared, which is counted.

MLflow's part is asked of its client, so any store or server of MLflow's can be exported; what Weir
has beside it (``exported_beside.py``) is there where Weir is. What a store answers is not trusted
with paths: ids that are none are refused.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.plugin import exported_parts as parts
from mlflow_weir.plugin.artifact_places import repository_at
from mlflow_weir.plugin.exported_beside import Beside
from mlflow_weir.store.histograms.encoding import BINS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

FORMATS = ("parquet", "csv", "json")
VERSION = 3
_PAGE = 1_000
_ROWS_AT_ONCE = 10_000
_TEXT = pa.dictionary(pa.int32(), pa.string())
_COLUMNS = ("run_id", "key", "timestamp", "step", "value")


@dataclass
class ExportReport:
    """What was written.

    Attributes:
        n_same: Runs that were there already, as they are in the store.
        left_out: What of the runs is not written or was not compared, and how often it was met.
        failed: Of each run that could not be written: its id and why.
    """

    folder: str
    n_runs: int = 0
    n_same: int = 0
    n_points: int = 0
    n_artifacts: int = 0
    n_models: int = 0
    n_traces: int = 0
    n_attachments: int = 0
    n_lines: int = 0
    n_histograms: int = 0
    n_alerts: int = 0
    n_bytes: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
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
    beside: Beside | None = None,
    file_format: str = "parquet",
    with_artifacts: bool = False,
    on_run: Callable[[], None] = lambda: None,
) -> ExportReport:
    """Write runs below a folder, which is made if need be.

    Args:
        client: Of the store they are in.
        run_ids: Which.
        folder: Where to.
        beside: What Weir has beside MLflow's there; None where there is no Weir.
        file_format: Of the metric history, one of ``FORMATS``.
        with_artifacts: Download their artifacts, those of their logged models, and attachments of
            their traces, too.
        on_run: Called after each run.

    Raises:
        ConfigError: The folder cannot be made.
    """
    report = ExportReport(str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"{folder}: {exc.strerror}", hint="check the path after --to") from exc
    export_one = _Export(client, folder, beside, file_format, with_artifacts, report)
    for run_id in run_ids:
        try:
            export_one(run_id)
        except (MlflowException, WeirError, OSError, ValueError, pa.ArrowException) as exc:
            report.failed[run_id] = " ".join(str(exc).split())[:500]
        on_run()
    return report


@dataclass
class _Export:
    """How runs are exported, one after the other."""

    client: MlflowClient
    folder: Path
    beside: Beside | None
    file_format: str
    with_artifacts: bool
    report: ExportReport

    def __call__(self, run_id: str) -> None:
        left_out: Counter[str] = Counter()
        run = self.client.get_run(run_id)
        # Before its points are read: those that come meanwhile are written again, not missed.
        version = self.beside.version(run.info.run_id) if self.beside else None
        parent = self.folder / parts.require_name(str(run.info.experiment_id))
        target = parent / parts.require_name(run.info.run_id)
        facts, places = self._look_at(run, version, left_out)
        _put_back(target)
        if _is_there(target, facts):
            self.report.n_same += 1
            if version is None:
                left_out["runs compared by their latest values, not by all points"] += 1
            left_out["files compared by size alone"] += sum(
                state is None for files in facts.get("files", {}).values()
                for _, state in files.values()
            )  # fmt: skip
        else:
            part = parent / f".{target.name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            self._write(part, run, facts, places, left_out)
            _put_in_place(part, target)
        self.report.left_out = dict(Counter(self.report.left_out) + left_out)

    def _look_at(
        self, run: Run, version: str | None, left_out: Counter[str]
    ) -> tuple[dict[str, Any], dict[str, ArtifactRepository]]:
        """Return what is written as ``run.json``, and where files are that are to be downloaded.

        Two exports of one run are the same where this is.
        """
        models = parts.models_of(self.client, run, left_out)
        facts = _facts(self.client, run)
        facts["models"] = [parts.model_facts(model) for model in models]
        facts["traces"] = parts.trace_infos(self.client, run)
        if self.beside is not None:
            facts["printed_by"] = self.beside.sources(run.info.run_id)
            facts["alerts"] = self.beside.alerts(run.info.run_id)
        places = {}
        if self.with_artifacts:
            roots = {"artifacts": run.info.artifact_uri}
            for model in models:
                roots[f"models/{parts.require_name(model.model_id)}"] = model.artifact_location
            places = {name: repository_at(self.client, uri) for name, uri in roots.items()}
            facts["files"] = {name: parts.states_in(place) for name, place in places.items()}
        facts["weir_export"] = {
            "version": VERSION,
            "metrics_file": f"metrics.{self.file_format}",
            "with_artifacts": self.with_artifacts,
            "points": version,
        }
        return facts, places

    def _write(
        self,
        part: Path,
        run: Run,
        facts: dict[str, Any],
        places: dict[str, ArtifactRepository],
        left_out: Counter[str],
    ) -> None:
        report, run_id = self.report, run.info.run_id
        n_points = _WRITERS[self.file_format](
            part / f"metrics.{self.file_format}", run_id, _histories(self.client, run, self.beside)
        )
        n_lines = n_histograms = n_attachments = 0
        if self.beside is not None:
            n_lines = _write_lines(part / "console.jsonl", run_id, facts, self.beside)
            n_histograms = _write_histograms(part / "histograms.parquet", run_id, self.beside)
        if facts["traces"]:
            n_attachments = parts.write_traces(
                part, self.client, run, facts["traces"], left_out,
                with_attachments=self.with_artifacts,
            )  # fmt: skip
        for name, place in places.items():
            (part / name).mkdir(parents=True)
            if facts["files"][name]:
                place.download_artifacts("", str(part / name))
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        (part / "run.json").write_text(text, "utf-8")
        report.n_runs += 1
        report.n_points += n_points
        report.n_lines += n_lines
        report.n_histograms += n_histograms
        report.n_attachments += n_attachments
        report.n_bytes += sum(one.stat().st_size for one in part.rglob("*") if one.is_file())
        report.n_artifacts += sum(map(len, facts.get("files", {}).values()))
        report.n_models += len(facts["models"])
        report.n_traces += len(facts["traces"])
        report.n_alerts += len(facts.get("alerts", ()))


def _put_in_place(part: Path, target: Path) -> None:
    """Give a folder that is whole its name; one that has it stays until then."""
    for path in [*part.rglob("*"), part]:
        _sync(path)
    if target.exists():
        os.replace(target, _before(target))
    os.replace(part, target)
    _sync(target.parent)
    shutil.rmtree(_before(target), ignore_errors=True)


def _put_back(target: Path) -> None:
    """Set right what an export left that was killed while it put a run in place."""
    before = _before(target)
    if before.exists() and not target.exists():
        os.replace(before, target)
    shutil.rmtree(before, ignore_errors=True)


def _before(target: Path) -> Path:
    return target.with_name(f".{target.name}.before")


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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


def _histories(
    client: MlflowClient, run: Run, beside: Beside | None
) -> Iterator[tuple[str, _Columns]]:
    """Give the points of each metric; of a database of Weir's in a tenth of the memory."""
    for key in sorted(run.data.metrics):
        series = beside.points(run.info.run_id, key) if beside is not None else None
        if series is not None:
            yield key, _Columns(series.timestamp, series.step, series.value)
            continue
        found = client.get_metric_history(run.info.run_id, key)
        yield (
            key,
            _Columns(
                np.array([one.timestamp for one in found], np.int64),
                np.array([one.step for one in found], np.int64),
                np.array([one.value for one in found], np.float64),
            ),
        )


class _Columns(NamedTuple):
    """Points of one metric: (n,) each, in history order; timestamps in ms."""

    timestamp: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    def rows(self) -> Iterator[tuple[int, int, float]]:
        """Give the points one by one, of which some thousand are Python's own at a time."""
        for at in range(0, len(self.step), _ROWS_AT_ONCE):
            part = slice(at, at + _ROWS_AT_ONCE)
            yield from zip(*(column[part].tolist() for column in self), strict=True)


_Histories = Iterator[tuple[str, _Columns]]


def _write_parquet(path: Path, run_id: str, histories: _Histories) -> int:
    schema = pa.schema(
        list(zip(_COLUMNS, (_TEXT, _TEXT, pa.int64(), pa.int64(), pa.float64()), strict=True))
    )
    n_points = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for key, points in histories:
            n = len(points.step)
            writer.write_table(
                pa.table(
                    [
                        _same(run_id, n),
                        _same(key, n),
                        pa.array(points.timestamp),
                        pa.array(points.step),
                        pa.array(points.value),
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
                (run_id, key, at_ms, step, repr(value)) for at_ms, step, value in points.rows()
            )
            n_points += len(points.step)
    return n_points


def _write_json(path: Path, run_id: str, histories: _Histories) -> int:
    n_points = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"run_id": ' + json.dumps(run_id) + ', "metrics": {')
        for number, (key, points) in enumerate(histories):
            file.write(f"{',' if number else ''}\n{json.dumps(key)}: [")
            for at, (at_ms, step, value) in enumerate(points.rows()):
                row = f"[{at_ms}, {step}, {json.dumps(_number(value))}]"
                file.write(f", {row}" if at else row)
            file.write("]")
            n_points += len(points.step)
        file.write("\n}}\n")
    return n_points


def _write_lines(path: Path, run_id: str, facts: dict[str, Any], beside: Beside) -> int:
    """Write what a run printed, one process after the other; no file where that is nothing."""
    n_lines = 0
    if facts["printed_by"]:
        with open(path, "w", encoding="utf-8") as file:
            for source in facts["printed_by"]:
                for line in beside.lines(run_id, source):
                    row = {"source": source["source"], **line}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    n_lines += 1
    return n_lines


_HISTOGRAMS = pa.schema(
    [
        *(("run_id", _TEXT), ("kind", _TEXT), ("key", _TEXT)),
        *(("step", pa.int64()), ("timestamp", pa.int64())),
        *(("norm", pa.float64()), ("first", pa.float64()), ("last", pa.float64())),
        *(("n_nan", pa.int64()), ("n_inf", pa.int64())),
        ("counts", pa.list_(pa.int64(), BINS)),
    ]
)


def _write_histograms(path: Path, run_id: str, beside: Beside) -> int:
    """Write the histograms of a run, series by series; no file where there is none."""
    n_histograms = 0
    with contextlib.ExitStack() as stack:
        writer = None
        for table in beside.histograms(run_id):
            if writer is None:
                writer = stack.enter_context(
                    pq.ParquetWriter(path, _HISTOGRAMS, compression="zstd")
                )
            n = len(table)
            columns = [
                *(_same(text, n) for text in (run_id, table.kind, table.keys[0])),
                *(table.step, table.timestamp, table.norm, table.first, table.last),
                *(table.n_nan, table.n_inf),
                pa.FixedSizeListArray.from_arrays(pa.array(table.counts.reshape(-1)), BINS),
            ]
            writer.write_table(pa.table(columns, schema=_HISTOGRAMS))
            n_histograms += n
    return n_histograms


def _same(text: str, n: int) -> pa.DictionaryArray:
    """Return a column of one text."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([text]))


_WRITERS: dict[str, Callable[[Path, str, _Histories], int]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "json": _write_json,
}
