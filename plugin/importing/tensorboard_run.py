"""Runs of TensorBoard, from the files of events that its writers leave.

A folder with such files is a run, named by its path below the folder that was given. Events are
messages of ``event.proto`` and ``summary.proto`` (tensorflow/core); neither TensorFlow nor
TensorBoard is needed to read them.

    scalars      points of metrics
    images       ``media/TAG/step_N.png``
    audio        ``media/TAG/step_N.wav``
    text         ``text/TAG/step_N.md``
    histograms   of tags ``gradients/…`` and ``parameters/…``
    hparams      params

A run is over when nobody follows it any more (``--follow``): the files do not say.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.importing.bringing import File, Part
from mlflow_weir.plugin.importing.histogram_rows import HistogramRow, encode_rows
from mlflow_weir.plugin.importing.names import Keys, run_id_of
from mlflow_weir.plugin.importing.point_records import History
from mlflow_weir.plugin.importing.record_log import DamagedLog, read_tensorboard
from mlflow_weir.plugin.importing.wire import Message, WireError
from mlflow_weir.store.delivery.records import encode_operation, encode_points

_EVENTS = "*tfevents*"
_PROFILE = ".profile-empty"
_START_INFO, _END_INFO = "_hparams_/session_start_info", "_hparams_/session_end_info"
_STATES = {1: "FINISHED", 2: "FAILED"}  # of session_end_info; 3 is running
# Fields of an event beside its summary.
_NOT_BROUGHT = {4: "graphs", 6: "log messages", 8: "metadata of single steps", 9: "meta graphs"}
_NUMBERS = {1: (5, "f"), 2: (6, "d")}  # DT_FLOAT, DT_DOUBLE: their field, and how it is packed
_WHOLES = {3: (7, "i"), 9: (10, "q")}  # DT_INT32, DT_INT64


def find_runs(path: Path) -> list[Path]:
    """Return the folders at or below a path that hold events.

    Raises:
        ConfigError: There is none.
    """
    if path.is_file():
        raise ConfigError(f"{path} is a file", hint="name the folder that it is in")
    found = {one.parent for one in path.rglob(_EVENTS) if one.is_file() and _is_events(one)}
    if not found:
        raise ConfigError(f"{path}: no events of TensorBoard's are below it", hint="its logdir?")
    return sorted(found)


def _is_events(path: Path) -> bool:
    return not path.name.endswith(_PROFILE)


def state_of(folder: Path) -> object:
    """Return what is another when something was written to a run."""
    found = [(path, path.stat()) for path in sorted(folder.glob(_EVENTS))]
    return [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in found]


class TensorboardRun:
    """One folder of events."""

    kind = "tensorboard"
    part = ""

    def __init__(self, folder: Path, logdir: Path, *, is_over: bool) -> None:
        """Look at a run.

        Args:
            folder: Holds its events.
            logdir: What it is named below; its own path tells it apart from runs of other places.
            is_over: Nobody writes it any more.

        Raises:
            ConfigError: No event is in it.
        """
        self.left_out: Counter[str] = Counter()
        relative = folder.relative_to(logdir).as_posix()
        self.title = logdir.resolve().name if relative == "." else relative
        self.experiment = logdir.resolve().name
        self.run_id = run_id_of("tensorboard", str(logdir.resolve()), relative)
        self._folder, self._is_over = folder, is_over
        self._params: dict[str, str] = {}
        self._status = ""
        self._keys, self._param_keys = Keys(), Keys()
        self._files: dict[str, Path] = {}
        # All pictures of a run may be more than there is memory for.
        self._kept = tempfile.TemporaryDirectory(prefix="weir-import-")
        self._first_ms = self._last_ms = self._first_event_ms()
        self._faults: list[str] = []

    def _paths(self) -> list[Path]:
        # Their names begin with the second in which each was begun.
        return sorted(one for one in self._folder.glob(_EVENTS) if _is_events(one))

    def _first_event_ms(self) -> int:
        for path in self._paths():
            for record in _readable(path, []):
                return _event_ms(record)
        raise ConfigError(f"{self._folder}: no event can be read")

    def creation(self, experiment_id: str) -> bytes:
        """Return the record that creates the run."""
        fields = {
            "run_id": self.run_id,
            "experiment_id": experiment_id,
            "experiment_name": None,
            "artifact_root": None,
            "workspace": None,
            "user_id": "",
            "start_time": self._first_ms,
            "tags": [["weir.imported_from", self.kind]],
            "run_name": self.title,
            "artifact_uri": None,
        }
        return encode_operation("create_run", fields)

    def parts(self) -> Iterator[Part]:
        """Return its files of events."""
        for path in self._paths():
            yield Part(path.name, self._records(path))

    def _records(self, path: Path) -> Iterator[bytes]:
        for event in _readable(path, self._faults):
            at_ms = _event_ms(event)
            self._last_ms = max(self._last_ms, at_ms)
            for field, what in _NOT_BROUGHT.items():
                if field in event:
                    self.left_out[what] += 1
            step = event.whole(2)
            points: list[tuple[str, int, int, float]] = []
            rows: list[HistogramRow] = []
            for value in event.message(5).messages(1):
                number = self._read(value, step, at_ms, rows)
                if number is not None:
                    points.append((self._keys.of(value.text(1)), at_ms, step, number))
            if points:
                yield encode_points(self.run_id, points)
            yield from encode_rows(self.run_id, rows)

    def _read(
        self, value: Message, step: int, at_ms: int, rows: list[HistogramRow]
    ) -> float | None:
        """Take a value; return it where it is a number."""
        tag = value.text(1)
        if 2 in value:
            return value.number(2, "f")
        plugin = value.message(9).message(1)
        kind = plugin.text(1)
        if kind == "hparams" or tag.startswith("_hparams_/"):
            self._read_hparams(tag, plugin.message(2))
            return None
        if 4 in value:
            self._keep_medium(tag, step, "png", value.message(4).blob(4))
            return None
        if 6 in value and "audio" in value.message(6).text(5):
            self._keep_medium(tag, step, "wav", value.message(6).blob(4))
            return None
        if 5 in value:
            histogram = value.message(5)
            limits = [max(one, histogram.number(1, "d")) for one in histogram.numbers(6, "d")]
            edges = [histogram.number(1, "d"), *limits]
            edges[-1] = min(edges[-1], histogram.number(2, "d"))
            self._keep_histogram(
                HistogramRow.of(tag, step, at_ms, edges, histogram.numbers(7, "d")), rows
            )
            return None
        if 8 not in value:
            self.left_out[f"{tag}: values of the kind {kind or 'unknown'!r}"] += 1
            return None
        return self._read_tensor(tag, kind, value.message(8), step, at_ms, rows)

    def _read_tensor(
        self,
        tag: str,
        kind: str,
        tensor: Message,
        step: int,
        at_ms: int,
        rows: list[HistogramRow],
    ) -> float | None:
        texts = tensor.blobs(8)
        if kind == "images" and len(texts) > 2:  # width, height, then pictures
            for i, picture in enumerate(texts[2:]):
                self._keep_medium(tag, step, "png", picture, i)
            return None
        if kind == "audio" and texts:
            self._keep_medium(tag, step, "wav", texts[0])
            return None
        if kind == "text" or (texts and not kind):
            self._keep_file(f"text/{self._folder_of(tag)}/step_{step}.md", b"\n\n".join(texts))
            return None
        numbers = _numbers_of(tensor)
        if kind == "histograms" and numbers and len(numbers) % 3 == 0:
            table = np.array(numbers).reshape(-1, 3)  # left edge, right edge, count
            edges = [*table[:, 0], table[-1, 1]]
            self._keep_histogram(HistogramRow.of(tag, step, at_ms, edges, table[:, 2]), rows)
            return None
        if len(numbers) == 1:
            return numbers[0]
        self.left_out[f"{tag}: values of the kind {kind or 'tensor'!r}"] += 1
        return None

    def _keep_histogram(self, row: HistogramRow | None, rows: list[HistogramRow]) -> None:
        if row is None:
            self.left_out["histograms of neither gradients nor parameters"] += 1
        else:
            rows.append(row)

    def _read_hparams(self, tag: str, data: Message) -> None:
        if tag == _START_INFO:
            for entry in data.message(3).messages(1):
                self._params[self._param_keys.of(entry.text(1))] = _text_of(entry.message(2))
        elif tag == _END_INFO:
            self._status = _STATES.get(data.message(4).whole(1), "")

    def histories(self) -> Iterable[History]:
        """Return nothing: its points are among its events."""
        return ()

    def facts(self) -> Sequence[bytes]:
        """Return params, and that it is over."""
        facts = []
        if self._params:
            fields = {"run_id": self.run_id, "params": list(self._params.items())}
            facts.append(encode_operation("log_params", fields))
        if self._faults:
            tags = [("weir.exit_cause", f"imported: {self._faults[0]}"[:8_000])]
            facts.append(encode_operation("set_tags", {"run_id": self.run_id, "tags": tags}))
        if self._is_over:
            end = {
                "run_id": self.run_id,
                "status": "FAILED" if self._faults else self._status or "FINISHED",
                "end_time": self._last_ms,
                "run_name": None,
                "is_provisional": False,
                "is_revival": False,
            }
            facts.append(encode_operation("update_run", end))
        return facts

    def files(self) -> Iterator[File]:
        """Return what can be looked at."""
        for path, content in self._files.items():
            yield File(path, content)

    def _keep_medium(self, tag: str, step: int, end: str, content: bytes, i: int = 0) -> None:
        number = f"_{i}" if i else ""
        self._keep_file(f"media/{self._folder_of(tag)}/step_{step}{number}.{end}", content)

    def _keep_file(self, path: str, content: bytes) -> None:
        place = self._files.setdefault(path, Path(self._kept.name, str(len(self._files))))
        place.write_bytes(content)

    def _folder_of(self, tag: str) -> str:
        return self._keys.of(tag).replace(":", "_")


def _readable(path: Path, faults: list[str]) -> Iterator[Message]:
    """Give the events of a file, up to where it is damaged."""
    try:
        for record in read_tensorboard(path):
            yield Message(record)
    except (DamagedLog, WireError) as exc:
        faults.append(str(exc) if isinstance(exc, DamagedLog) else f"{path}: {exc}")


def _event_ms(event: Message) -> int:
    return round(event.number(1, "d") * 1000)


def _text_of(value: Message) -> str:
    """Return a ``google.protobuf.Value`` as a param."""
    if 3 in value:
        return value.text(3)
    if 4 in value:
        return str(bool(value.whole(4)))
    if 2 in value:
        number = value.number(2, "d")
        return str(int(number)) if number.is_integer() and abs(number) < 1 << 53 else repr(number)
    return json.dumps(None)


def _numbers_of(tensor: Message) -> list[float]:
    """Return the values of a tensor of numbers; none of any other."""
    kind = tensor.whole(1)
    content = tensor.blob(4)
    if kind in _NUMBERS:
        field, form = _NUMBERS[kind]
        if not content:
            return tensor.numbers(field, form)
    elif kind in _WHOLES:
        field, form = _WHOLES[kind]
        if not content:
            return [float(_signed(one)) for one in tensor.wholes(field)]
    else:
        return []
    size = struct.calcsize(f"<{form}")
    if len(content) % size:
        raise WireError("a tensor that is cut off")
    found: tuple[Any, ...] = struct.unpack(f"<{len(content) // size}{form}", content)
    return [float(one) for one in found]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
