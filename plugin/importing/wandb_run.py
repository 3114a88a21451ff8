"""Runs of Weights & Biases, from the folders that its client leaves: ``wandb/offline-run-…``.

What it records is a file of messages (``run-ID.wandb``; their fields are those of
``wandb_internal.proto``, which the client is published with) beside a folder of files. wandb
itself is not needed to read them.

    history      points of metrics; a dict within is ``outer.inner``; images, sounds, films and
                 pages by step; texts, lists and tables as MLflow's tables (``wandb_tables.py``)
    stats        ``system/…``, by MLflow's names where it has one
    config       params, by the same dots; the whole of it is ``wandb/config.json``
    summary      ``wandb/summary.json``; numbers that the history lacks are points of the last step
    output       the console, secrets taken out
    files        artifacts; those of the client's own below ``wandb/``
    artifact     ``artifacts/NAME/vN/…`` (``wandb_artifacts.py``)

A run that goes on writes its name, notes and tags again where they change: the last ones count.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.importing.bringing import File, Part
from mlflow_weir.plugin.importing.histogram_rows import HistogramRow, encode_rows
from mlflow_weir.plugin.importing.names import Keys, clean_key, run_id_of
from mlflow_weir.plugin.importing.point_records import History
from mlflow_weir.plugin.importing.printed_lines import PrintedLines
from mlflow_weir.plugin.importing.record_log import DamagedLog, read_wandb
from mlflow_weir.plugin.importing.wandb_artifacts import WandbArtifacts
from mlflow_weir.plugin.importing.wandb_tables import TAG as TABLES_TAG
from mlflow_weir.plugin.importing.wandb_tables import WandbTables
from mlflow_weir.plugin.importing.wire import Message, WireError
from mlflow_weir.redaction import Redactor, without_userinfo
from mlflow_weir.store.delivery.records import encode_operation, encode_points

MAX_PARAM, MAX_TAG = 6_000, 8_000
"""Characters that MLflow takes of a param's value and of a tag's."""

_HISTORY, _SUMMARY, _OUTPUT, _CONFIG, _STATS, _ARTIFACT, _ALERT = 2, 3, 4, 5, 7, 8, 10
_OUTPUT_RAW, _RUN, _EXIT, _ENVIRONMENT = 13, 17, 18, 26
_NOT_BROUGHT = {
    9: "logs of TensorBoard's: `weir import tensorboard` brings them",
    _ALERT: "alerts, which were sent then",
    24: "links of artifacts to collections",
    25: "artifacts that it used",
}
_STILL_WRITTEN_S = 300.0
_CLIENTS_OWN = frozenset(
    "config.yaml conda-environment.yaml diff.patch output.log requirements.txt "
    "wandb-metadata.json wandb-summary.json".split()
)
_MEDIA = frozenset("image images audio html video videos".split())
# The client's names of what MLflow has names for.
_SYSTEM = {
    "cpu": "cpu_utilization_percentage",
    "memory_percent": "system_memory_usage_percentage",
    "disk./.usagePercent": "disk_usage_percentage",
}
_GPU = {
    "gpu": "utilization_percentage",
    "memoryAllocated": "memory_usage_percentage",
    "powerWatts": "power_usage_watts",
    "powerPercent": "power_usage_percentage",
    "temp": "temperature_celsius",
}
_GPU_KEY = re.compile(r"gpu\.(\d+)\.(\w+)")
_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-.+")  # of one process of the run


def find_runs(path: Path) -> list[Path]:
    """Return the files of records at a path: one, a run's folder, or a folder of such folders.

    Raises:
        ConfigError: There is none.
    """
    if path.suffix == ".wandb" and path.is_file():
        return [path]
    patterns = ("run-*.wandb", "*run-*/run-*.wandb", "wandb/*run-*/run-*.wandb")
    for pattern in patterns:
        # "latest-run" is a link to one of the others.
        found = sorted(one for one in path.glob(pattern) if not one.parent.is_symlink())
        if found:
            return found
    raise ConfigError(f"{path}: no run of wandb's is there", hint="name the folder `wandb`")


def _folders_of(path: Path) -> list[str]:
    """Return the names of all folders of a run, one a process, in their order."""
    found = [
        one for one in path.parent.parent.glob(f"*/{path.name}") if not one.parent.is_symlink()
    ]
    return sorted((one.parent.name for one in found), key=lambda name: name[name.find("run-") :])


class WandbRun:
    """One folder of a run: all of it, or a part that was resumed."""

    kind = "wandb"

    def __init__(self, path: Path) -> None:
        """Look at the beginning of a run's records.

        Raises:
            ConfigError: It is no such file, or no run is in it.
        """
        self.left_out: Counter[str] = Counter()
        self._path = path
        folder = path.resolve().parent.name
        self.part = folder if _FOLDER.fullmatch(folder) else path.name
        of_run = _folders_of(path) if folder == self.part else []
        self._below = f"wandb/{folder}" if of_run[:1] not in ([], [folder]) else "wandb"
        later = of_run[of_run.index(folder) + 1 :] if folder in of_run else []
        self._later = [path.parent.parent / one / "files" for one in later]
        self._run = self._find_run()
        run_id, project = self._run.text(1), self._run.text(3) or "uncategorized"
        self.run_id = run_id_of("wandb", self._run.text(2), project, run_id)
        self._name = self._run.text(8) or run_id
        self.title = f"{project}/{self._name} ({run_id})"
        self.experiment = project
        self._config: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        self._exit: Message | None = None
        self._environment: Message | None = None
        self._logged: set[str] = set()
        self._keys, self._params = Keys(), Keys()
        self._media: list[tuple[str, str]] = []
        self._tables = WandbTables(self.left_out, self._keys)
        self._artifacts = WandbArtifacts(self.left_out)
        self._last_ms = self._start_ms = _ms(self._run.message(17))
        self._last_step = self._n_stats = 0
        self._fault = ""
        self._redactor = Redactor()
        self._lines = PrintedLines(self.run_id, self.part, self._redactor)

    def _find_run(self) -> Message:
        try:
            for record in islice(read_wandb(self._path), 1_000):
                message = Message(record)
                if _RUN in message:
                    return message.message(_RUN)
        except (DamagedLog, WireError) as exc:
            raise ConfigError(f"{self._path}: {exc}") from exc
        raise ConfigError(f"{self._path}: no run is in it", hint="its writer was killed at once")

    def creation(self, experiment_id: str) -> bytes:
        """Return the record that creates the run."""
        run = self._run
        tags = {
            "weir.imported_from": self.kind,
            "wandb.run_id": run.text(1),
            "wandb.project": run.text(3),
            "wandb.entity": run.text(2),
            "wandb.group": run.text(6),
            "wandb.job_type": run.text(7),
            "wandb.sweep_id": run.text(12),
            "weir.host": run.text(13),
        }
        fields = {
            "run_id": self.run_id,
            "experiment_id": experiment_id,
            "experiment_name": None,
            "artifact_root": None,
            "workspace": None,
            "user_id": "",
            "start_time": self._start_ms,
            "tags": [[key, value] for key, value in tags.items() if value],
            "run_name": self._name,
            "artifact_uri": None,
        }
        return encode_operation("create_run", fields)

    def parts(self) -> Iterator[Part]:
        """Return its records, as far as they can be read."""
        yield Part(self.part, self._records())

    def histories(self) -> Iterable[History]:
        """Return nothing: its points are among its records."""
        return ()

    def _records(self) -> Iterator[bytes]:
        try:
            for record in read_wandb(self._path):
                yield from self._read(Message(record))
        except (DamagedLog, WireError) as exc:
            self._fault = str(exc)

    def _read(self, record: Message) -> Iterator[bytes]:
        if _HISTORY in record:
            yield from self._history(record.message(_HISTORY))
        elif _STATS in record:
            yield from self._stats(record.message(_STATS))
        elif _OUTPUT_RAW in record or _OUTPUT in record:
            output = record.message(_OUTPUT_RAW if _OUTPUT_RAW in record else _OUTPUT)
            at_ms = self._seen(_ms(output.message(2)))
            yield from self._lines.add(2 - output.whole(1), at_ms, output.text(3))
        elif _CONFIG in record:
            self._configure(record.message(_CONFIG))
        elif _RUN in record:
            self._run = record.message(_RUN)
            self._configure(self._run.message(4))
        elif _SUMMARY in record:
            for item in record.message(_SUMMARY).messages(1):
                _put(self._summary, _keys(item), _json(item))
            for item in record.message(_SUMMARY).messages(2):
                _take_out(self._summary, _keys(item))
        elif _ARTIFACT in record:
            self._artifacts.add(record.message(_ARTIFACT))
        elif _ENVIRONMENT in record:
            if self._environment is None:
                self._environment = record.message(_ENVIRONMENT)
        elif _EXIT in record:
            self._exit = record.message(_EXIT)
        else:
            for number, what in _NOT_BROUGHT.items():
                if number in record:
                    self.left_out[what] += 1

    def _seen(self, at_ms: int) -> int:
        self._last_ms = max(self._last_ms, at_ms)
        return at_ms or self._last_ms

    def _history(self, history: Message) -> Iterator[bytes]:
        logged: dict[str, Any] = {}
        for item in history.messages(1):
            _put(logged, _keys(item), _json(item))
        step = logged.get("_step", history.message(2).whole(1))
        step = self._last_step = int(step) if isinstance(step, (int, float)) else 0
        stamp = logged.get("_timestamp")
        at_ms = self._seen(round(stamp * 1000) if isinstance(stamp, (int, float)) else 0)
        points: list[tuple[str, int, int, float]] = []
        rows: list[HistogramRow] = []
        # The client writes a step's values in any order; here they have one.
        for name, value in sorted(_leaves("", logged), key=lambda leaf: leaf[0]):
            if name.startswith("_"):
                continue
            if isinstance(value, (bool, int, float)):
                points.append((self._keys.of(name), at_ms, step, _number(value)))
            elif isinstance(value, Mapping):
                self._object(name, step, at_ms, value, rows)
            elif isinstance(value, (str, list)):
                self._tables.add_text(name, step, value)
            else:
                self.left_out[f"{name}: nothings in the history"] += 1
        self._logged.update(key for key, *_ in points)
        if points:
            yield encode_points(self.run_id, points)
        yield from encode_rows(self.run_id, rows)

    def _object(
        self, name: str, step: int, at_ms: int, value: Mapping[str, Any], rows: list[HistogramRow]
    ) -> None:
        """Take one of the client's own types: a histogram, or what lies in a file."""
        kind = str(value.get("_type"))
        if kind == "histogram":
            row = HistogramRow.of(name, step, at_ms, value.get("bins"), value.get("values"))
            if row is None:
                self.left_out[f"{name}: histograms of neither gradients nor parameters"] += 1
            else:
                rows.append(row)
            return
        if kind == "table-file" and isinstance(value.get("path"), str):
            self._tables.add_table(name, step, value["path"])
            return
        is_medium = kind.partition("-")[0].partition("/")[0] in _MEDIA
        lists = [part for part in value.values() if isinstance(part, list)]
        inner = [value, *(one for part in lists for one in part)]
        paths = [one["path"] for one in inner if isinstance(one, Mapping) and "path" in one]
        paths += [one for one in value.get("filenames") or () if isinstance(one, str)]
        for i, path in enumerate(paths):
            if not is_medium or not isinstance(path, str):
                continue  # it is among the files
            number = f"_{i}" if i else ""
            end = path.rpartition(".")[2]
            self._media.append((f"media/{self._keys.of(name)}/step_{step}{number}.{end}", path))
        captions = value.get("captions") or [value.get("caption")]
        for caption in captions if isinstance(captions, list) else ():
            if isinstance(caption, str) and caption:
                self._tables.add_text(f"{name}/caption", step, caption)
        if not paths:
            self.left_out[f"{name}: values of the type {kind}"] += 1

    def _stats(self, stats: Message) -> Iterator[bytes]:
        at_ms = self._seen(_ms(stats.message(2)))
        points = []
        for item in stats.messages(3):
            value = _json(item)
            if isinstance(value, (int, float)):
                points.append((_system_key(item.text(1)), at_ms, self._n_stats, _number(value)))
        if points:
            self._n_stats += 1
            yield encode_points(self.run_id, points)

    def _configure(self, config: Message) -> None:
        for item in config.messages(1):
            _put(self._config, _keys(item), _json(item))
        for item in config.messages(2):
            _take_out(self._config, _keys(item))

    def facts(self) -> Sequence[bytes]:
        """Return params, tags, what was printed last, and how it ended."""
        of_the_client = self._config.pop("_wandb", None)
        if isinstance(of_the_client, Mapping) and of_the_client.get("visualize"):
            self.left_out["charts that it drew of tables; the tables are there"] += 1
        facts = [*self._lines.rest()]
        params = {}
        for name, value in _leaves("", self._config):
            text = value if isinstance(value, str) else json.dumps(value)
            if len(text) > MAX_PARAM:
                self.left_out[f"config {name}: more than {MAX_PARAM:,} characters"] += 1
            else:
                params[self._params.of(name)] = text
        if params:
            facts.append(_operation("log_params", self.run_id, params=list(params.items())))
        facts.append(_operation("set_tags", self.run_id, tags=list(self._tags().items())))
        points = [
            (self._keys.of(name), self._last_ms, self._last_step, _number(value))
            for name, value in _leaves("", self._summary)
            if isinstance(value, (bool, int, float))
            and not name.startswith("_")
            and self._keys.of(name) not in self._logged
        ]
        if points:
            facts.append(encode_points(self.run_id, points))
        status, cause = self._end()
        if cause:
            facts.append(_operation("set_tags", self.run_id, tags=[("weir.exit_cause", cause)]))
        is_over = status != "RUNNING"
        fields = {
            "run_id": self.run_id,
            "status": status if is_over else None,
            "end_time": self._end_ms() if is_over else None,
            "run_name": self._run.text(8) or None,
            "is_provisional": False,
            "is_revival": False,
        }
        return [*facts, encode_operation("update_run", fields)]

    def _tags(self) -> dict[str, str]:
        run, environment = self._run, self._environment or Message(b"")
        git = run.message(21) if 21 in run else environment.message(9)
        tags = {f"wandb.tag.{clean_key(tag)}"[:250]: "true" for tag in run.texts(10)}
        tags |= {
            "mlflow.note.content": run.text(9),
            "mlflow.source.name": environment.text(6),
            "mlflow.user": environment.text(17),
            "mlflow.source.git.commit": git.text(2),
            "weir.git.commit": git.text(2),
            "weir.git.remote": without_userinfo(git.text(1)),
            TABLES_TAG: self._tables.tag(MAX_TAG),
        }
        for key, value in tags.items():
            if len(value) > MAX_TAG:
                self.left_out[f"{key}: cut at {MAX_TAG:,} characters"] += 1
        return {key: value[:MAX_TAG] for key, value in tags.items() if value}

    def _end(self) -> tuple[str, str]:
        """Return the state of the run, and why where that is not its code's own doing."""
        if self._exit is not None:
            code = self._exit.whole(1)
            return ("FAILED", f"exit code {code}") if code else ("FINISHED", "")
        if self._fault:
            return "FAILED", f"imported: {self._fault}"
        if time.time() - self._path.stat().st_mtime < _STILL_WRITTEN_S:
            return "RUNNING", ""
        return "FAILED", "imported: the records of the run have no end"

    def _end_ms(self) -> int:
        runtime_s = 0 if self._exit is None else self._exit.whole(2)
        return max(self._last_ms, self._start_ms + 1000 * runtime_s)

    def files(self) -> Iterator[File]:
        """Return the files of the run, those that it links to from the training's folder too."""
        for name, record in (("config", self._config), ("summary", self._summary)):
            if record:
                content = json.dumps(record, indent=1).encode()
                yield File(f"{self._below}/{name}.json", content, may_change=True)
        root = self._path.parent / "files"
        for path, source in self._media:
            found = self._inside(root / source)
            if found is not None:
                yield File(path, found)
        yield from self._tables.files(lambda source: self._inside(root / source))
        yield from self._artifacts.files(self._below, self._inside_if_there)
        shown = {source for _, source in self._media}
        for folder, _, names in os.walk(root):
            for name in sorted(names):
                place = Path(folder) / name
                relative = place.relative_to(root).as_posix()
                found = self._inside(place)
                if found is None or relative in shown:
                    continue
                is_clients = relative in _CLIENTS_OWN or relative.startswith("media/")
                if not is_clients and any((one / relative).exists() for one in self._later):
                    continue  # of which the last one counts
                if relative == "output.log" and self._lines.n:
                    continue  # the console is there, line by line
                shown_content: Path | bytes = found
                if relative in ("diff.patch", "output.log"):
                    shown_content = self._redactor.block(found.read_bytes(), is_source=True)
                yield File(f"{self._below}/{relative}" if is_clients else relative, shown_content)

    def _inside(self, path: Path) -> Path | None:
        """Return a regular file that lies in the training's folder, links followed, or None."""
        found = self._inside_if_there(path)
        if found is None:
            self.left_out["files that are gone or lie outside the training's folder"] += 1
        return found

    def _inside_if_there(self, path: Path) -> Path | None:
        found = path.resolve()
        # …/wandb/run-…/run-ID.wandb
        is_inside = found.is_relative_to(self._path.parent.parent.parent.resolve())
        return found if is_inside and found.is_file() else None


def _operation(name: str, run_id: str, **fields: Any) -> bytes:
    return encode_operation(name, {"run_id": run_id, **fields})


def _ms(timestamp: Message) -> int:
    return timestamp.whole(1) * 1000 + timestamp.whole(2) // 1_000_000


def _keys(item: Message) -> tuple[str, ...]:
    return tuple(item.texts(2)) or (item.text(1),)


def _json(item: Message) -> Any:
    try:
        return json.loads(item.blob(16).decode())
    except ValueError:
        return None


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _put(record: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = record.get(key)
        if not isinstance(inner, dict):
            inner = record[key] = {}
        record = inner
    record[keys[-1]] = value


def _take_out(record: dict[str, Any], keys: Sequence[str]) -> None:
    for key in keys[:-1]:
        inner = record.get(key)
        if not isinstance(inner, dict):
            return
        record = inner
    record.pop(keys[-1], None)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Give what is in dicts within dicts; one of the client's own types is a leaf."""
    if isinstance(value, Mapping) and "_type" not in value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), inner)
    else:
        yield name, value


def _system_key(name: str) -> str:
    gpu = _GPU_KEY.fullmatch(name)
    if gpu is not None and gpu[2] in _GPU:
        return f"system/gpu_{gpu[1]}_{_GPU[gpu[2]]}"
    return f"system/{_SYSTEM[name]}" if name in _SYSTEM else clean_key(f"system/wandb/{name}")
