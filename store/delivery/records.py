"""The records of a journal: how the calls of a training are written as bytes.

One record is one call. Its first byte says what it is. Points, so that one call costs one
``struct.pack`` and many records of one loop share everything but their numbers::

    kind      1 byte   b"P"
    n         u32 LE   points, at least 1
    run       u8       bytes of the run id
    lengths   u16 LE   (n,) bytes of each point's key
    run id    bytes    UTF-8
    keys      bytes    UTF-8, one a point
    rows      (n,)     timestamp i64 LE (ms), step i64 LE, value f64 LE

All before the rows is the record's *prefix*: the same bytes for the same run and keys, which is
what the reader's caches are keyed by. Operations are rare and wide, so they are JSON in ASCII, in
which any ``str`` Python can hold survives::

    kind      1 byte   b"O"
    operation JSON     [name, {field: value}]

Histograms are a table of ``store/histograms/encoding.py``, taken apart by who stores them::

    kind      1 byte   b"H"
    run       u8       bytes of the run id
    run id    bytes    UTF-8
    table     bytes

A record is framed and checksummed by the journal, not here; but a journal may come from anywhere,
so ``decode`` believes no length it reads. Only the standard library is imported: a training
process writes records at its own speed (measured: 0.25 µs for one point, 3 µs for 20).

Threads may call everything here at once.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

ROW_BYTES = 24
"""Size of a point without its key."""

OPERATIONS: Mapping[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "create_experiment": (
            "experiment_id name artifact_location artifact_root workspace tags at_ms"
        ),
        "create_run": (
            "run_id experiment_id experiment_name artifact_root workspace user_id start_time tags "
            "run_name artifact_uri"
        ),
        "update_run": "run_id status end_time run_name is_provisional is_revival",
        "log_params": "run_id params",
        "set_tags": "run_id tags",
        "delete_tag": "run_id key",
        "set_experiment_tag": "experiment_id key value",
        "log_inputs": "run_id datasets models",
        "log_outputs": "run_id models",
        "model_metrics": "run_id metrics",
        "create_logged_model": (
            "model_id experiment_id name source_run_id artifact_location tags params model_type "
            "at_ms"
        ),
        "finalize_logged_model": "model_id status at_ms",
        "set_logged_model_tags": "model_id tags",
        "delete_logged_model_tag": "model_id key",
        "log_logged_model_params": "model_id params",
        "log_artifact": "run_id artifact_uri artifact_path name size",
        "own_run": "run_id how",
        "exit": "run_id status cause details",
        "points_dropped": "run_id n",
        "traces_dropped": "run_id n",
        "artifacts_dropped": "run_id n",
        "rewind": "run_id step",
        "redacted": "run_id n",
        "console": "run_id source node rank pid first at_ms lines cut",
        "alert": "run_id alert_id at_ms level title text",
    }.items()
}
"""The operations and the fields of each; ``[key, value]`` lists where a field is plural.

``create_experiment`` gets or creates by name, and its ``experiment_id`` is an alias until the
database has given one. ``log_artifact`` says that files lie beside the journal, whose upload is
the agent's business (``run_id`` is None where the URI tells enough). ``own_run`` says that the
journal's process answers for the run, ``how`` is "fluent" or "client". ``exit`` says how it ended
(``details`` may hold ``end_time`` in ms), ``points_dropped`` what it could not keep.
``traces_dropped`` says of how many traces a part was lost: once with no run, for the count of all,
and once with the run where there is one; ``artifacts_dropped`` how many files were, with the run
or None. ``rewind`` takes back what the run has of a later step when this record is applied.
``redacted`` adds to the number of values that were taken out of what was captured. ``console``
brings lines that the run printed, consecutive from number ``first`` in their ``source`` (32 hex
digits): each ``[ms after at_ms, stream, text]``; a line whose number was there before is replaced,
and those from ``cut[0]`` to before ``cut[1]`` are taken away (null: none). ``alert`` is what the
training has to say to somebody; its id is 32 hex digits.
"""

OPTIONAL_FIELDS = frozenset({"artifact_root", "workspace"})
"""Fields that may be left out: of an experiment that may have to be created, where the store puts
artifacts of experiments, and the workspace the name is in."""

_POINTS = 0x50
_OPERATION = 0x4F
_HEAD = struct.Struct("<BIB")
_ROW = struct.Struct("<qqd")
_count = struct.Struct("<I").unpack_from
pack_row = _ROW.pack
_MAX_CACHED_BYTES = 1 << 20

_prefixes: dict[Any, bytes] = {}
_cached_bytes = 0
_encode_json = json.JSONEncoder(separators=(",", ":")).encode
_decode_json = json.JSONDecoder().decode


class Points(NamedTuple):
    """Points of one call.

    Attributes:
        run_id: Whose they are.
        keys: (n,) each point's metric, in log order; may repeat.
        rows: ``ROW_BYTES`` a point, as in the record.
    """

    run_id: str
    keys: tuple[str, ...]
    rows: bytes

    def points(self) -> Iterator[tuple[str, int, int, float]]:
        """Give (key, timestamp in ms, step, value) in log order."""
        for key, row in zip(self.keys, _ROW.iter_unpack(self.rows), strict=True):
            yield key, *row


class Operation(NamedTuple):
    """One call that is not points; ``name`` is one of ``OPERATIONS``, or of a newer version's."""

    name: str
    fields: dict[str, Any]


class Histograms(NamedTuple):
    """Histograms of one step: of which run, and the table as ``histograms.encoding`` writes it."""

    run_id: str
    table: bytes


class RecordError(ValueError):
    """The bytes are not a record of this version."""


def encode_points(run_id: str, points: Sequence[tuple[str, int, int, float]]) -> bytes:
    """Write points as a record.

    Args:
        run_id: At most 255 bytes in UTF-8.
        points: (key, timestamp in ms, step, value) in log order, at least one.

    Raises:
        ValueError: A key or id is too long, a number is not one of 64 bits, or there is no point.
    """
    if len(points) == 1:
        key, timestamp, step, value = points[0]
        prefix = point_prefix(run_id, key)
        try:
            return prefix + pack_row(timestamp, step, value)
        except struct.error as exc:
            raise ValueError(f"metric {key!r}: {exc}") from exc
    keys, timestamps, steps, values = zip(*points, strict=True) if points else ((), (), (), ())
    prefix = _prefixes.get((run_id, keys)) or _prefix(run_id, keys)
    n = len(points)
    flat: list[Any] = [0] * (3 * n)
    flat[::3], flat[1::3], flat[2::3] = timestamps, steps, values
    try:
        return prefix + struct.pack("<" + "qqd" * n, *flat)
    except struct.error as exc:
        raise ValueError(f"metrics {keys!r}: {exc}") from exc


def point_prefix(run_id: str, key: str) -> bytes:
    """Return what a record of one point begins with; ``pack_row`` makes the rest.

    Raises:
        ValueError: A key or id is too long.
    """
    return _prefixes.get((run_id, key)) or _prefix(run_id, (key,))


class Repeated:
    """Writes points of the same metrics of a run, as a loop logs them step after step.

    Attributes:
        keys: (n,) the metrics.
    """

    __slots__ = ("_pack", "_prefix", "keys")

    def __init__(self, run_id: str, keys: tuple[str, ...]) -> None:
        """Take note of the metrics; raises as ``encode_points`` does."""
        self.keys = keys
        self._prefix = _prefix(run_id, keys)
        self._pack = struct.Struct("<" + "qqd" * len(keys)).pack

    def encode(
        self, timestamps: Sequence[int], steps: Sequence[int], values: Sequence[float]
    ) -> bytes:
        """Write a point of each metric as a record; all numbers are ones of 64 bits."""
        flat: list[Any] = [0] * (3 * len(self.keys))
        flat[::3], flat[1::3], flat[2::3] = timestamps, steps, values
        return self._prefix + self._pack(*flat)

    def encode_moment(self, timestamp: int, step: int, values: Sequence[float]) -> bytes:
        """Do the same for points that all have one timestamp and one step."""
        flat: list[Any] = [timestamp, step, 0.0] * len(self.keys)
        flat[2::3] = values
        return self._prefix + self._pack(*flat)


def _prefix(run_id: str, keys: tuple[str, ...]) -> bytes:
    global _cached_bytes
    run = run_id.encode("utf-8", "surrogatepass")
    names = [key.encode("utf-8", "surrogatepass") for key in keys]
    if not names:
        raise ValueError("a record of no points")
    try:
        lengths = struct.pack(f"<{len(names)}H", *map(len, names))
        prefix = b"".join((_HEAD.pack(_POINTS, len(names), len(run)), lengths, run, *names))
    except struct.error as exc:
        raise ValueError(f"an id or key is too long: {exc}") from exc
    # Threads that meet here may count wrongly by a prefix, which is no harm.
    _cached_bytes += len(prefix)
    if _cached_bytes > _MAX_CACHED_BYTES:
        _prefixes.clear()
        _cached_bytes = len(prefix)
    _prefixes[run_id, keys if len(keys) > 1 else keys[0]] = prefix
    return prefix


def encode_operation(name: str, fields: Mapping[str, Any]) -> bytes:
    """Write an operation as a record.

    Args:
        name: One of ``OPERATIONS``.
        fields: Exactly its fields, but for ``OPTIONAL_FIELDS``; values as JSON has them (NaN and
            infinities are kept).

    Raises:
        ValueError: They are not.
    """
    known = OPERATIONS.get(name)
    if known is None or not known - OPTIONAL_FIELDS <= fields.keys() <= known:
        raise ValueError(f"operation {name!r} with fields {sorted(fields)}")
    try:
        return b"O" + _encode_json([name, dict(fields)]).encode("ascii")
    except TypeError as exc:
        raise ValueError(f"operation {name!r}: {exc}") from exc


def encode_histograms(run_id: str, table: bytes) -> bytes:
    """Write a table of histograms as a record.

    Raises:
        ValueError: The id has more than 255 bytes.
    """
    run = run_id.encode("utf-8", "surrogatepass")
    return b"".join((b"H", bytes([len(run)]), run, table))


def decode(payload: bytes) -> Points | Operation | Histograms:
    """Read a record.

    Raises:
        RecordError: It is not one.
    """
    if payload[:1] == b"P":
        prefix, rows = split_points(payload)
        run_id, keys = read_prefix(prefix)
        return Points(run_id, keys, rows)
    if payload[:1] == b"O":
        return _read_operation(payload)
    if payload[:1] == b"H":
        return _read_histograms(payload)
    raise RecordError(f"a record of unknown kind {payload[:1]!r}, perhaps of a newer version")


def is_points(payload: bytes) -> bool:
    """Say whether ``split_points`` may be asked to take a record apart."""
    return payload[:1] == b"P"


def is_bulk(payload: bytes) -> bool:
    """Say whether a record holds numbers alone, points or histograms, as most bytes do."""
    return payload[:1] in (b"P", b"H")


def split_points(payload: bytes) -> tuple[bytes, bytes]:
    """Take a record of points apart into its prefix and its rows; ``read_prefix`` goes on.

    Raises:
        RecordError: It is shorter than it says.
    """
    try:
        end = len(payload) - ROW_BYTES * _count(payload, 1)[0]
    except struct.error as exc:
        raise RecordError("points cut short") from exc
    if end < _HEAD.size:
        raise RecordError("points cut short")
    return payload[:end], payload[end:]


def read_prefix(prefix: bytes) -> tuple[str, tuple[str, ...]]:
    """Read the run id and each point's key from the prefix of a record of points.

    Raises:
        RecordError: The lengths in it do not fit.
    """
    kind, n, run_length = _HEAD.unpack_from(prefix)
    at = _HEAD.size
    if kind != _POINTS or n == 0 or at + 2 * n > len(prefix):
        raise RecordError("points cut short")
    lengths = struct.unpack_from(f"<{n}H", prefix, at)
    at += 2 * n
    if at + run_length + sum(lengths) != len(prefix):
        raise RecordError("points whose keys do not fit")
    try:
        run_id = prefix[at : at + run_length].decode("utf-8", "surrogatepass")
        at += run_length
        keys = []
        for length in lengths:
            keys.append(prefix[at : at + length].decode("utf-8", "surrogatepass"))
            at += length
    except UnicodeDecodeError as exc:
        raise RecordError(f"points whose keys are not text: {exc}") from exc
    return run_id, tuple(keys)


def _read_histograms(payload: bytes) -> Histograms:
    end = 2 + payload[1] if len(payload) > 1 else 0
    if not 2 <= end < len(payload):
        raise RecordError("histograms cut short")
    try:
        return Histograms(payload[2:end].decode("utf-8", "surrogatepass"), payload[end:])
    except UnicodeDecodeError as exc:
        raise RecordError(f"histograms of a run that is not text: {exc}") from exc


def _read_operation(payload: bytes) -> Operation:
    try:
        name, fields = _decode_json(payload[1:].decode("ascii"))
    except (ValueError, TypeError, RecursionError) as exc:
        raise RecordError(f"an operation that is not JSON: {exc}") from exc
    if not isinstance(name, str) or not isinstance(fields, dict):
        raise RecordError("an operation without a name and fields")
    return Operation(name, fields)
