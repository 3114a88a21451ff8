"""Journal records: everything survives the round trip, nothing else is believed."""

from __future__ import annotations

import math
import struct
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlflow_weir.store.delivery import records
from mlflow_weir.store.delivery.records import (
    OPERATIONS,
    Operation,
    Points,
    RecordError,
    decode,
    encode_operation,
    encode_points,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(), max_size=20)  # lone surrogates too
POINT = st.tuples(TEXT, INT64, INT64, st.floats())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def exact(points: list[tuple[str, int, int, float]]) -> list[tuple[str, int, int, bytes]]:
    return [(key, at, step, struct.pack("<d", value)) for key, at, step, value in points]


@given(TEXT, st.lists(POINT, min_size=1, max_size=30))
@example("a" * 32, [("loss", 1, 2, math.nan)])
@example("a" * 32, [("loss", 1, 2, -math.inf), ("", 1, 2, -0.0)])
def test_points_come_back_bit_for_bit(
    run_id: str, points: list[tuple[str, int, int, float]]
) -> None:
    for _ in range(2):  # from the cache the second time
        decoded = decode(encode_points(run_id, points))
        assert isinstance(decoded, Points)
        assert decoded.run_id == run_id
        assert exact(list(decoded.points())) == exact(points)


@given(st.sampled_from(sorted(OPERATIONS)), st.data())
def test_operations_come_back(name: str, data: st.DataObject) -> None:
    fields = {field: data.draw(JSON) for field in OPERATIONS[name]}
    payload = encode_operation(name, fields)
    assert payload.isascii()
    assert decode(payload) == Operation(name, fields)


def test_keys_that_look_alike_are_not_confused_in_the_cache() -> None:
    split = encode_points("r", [("ab", 0, 0, 1.0), ("c", 0, 0, 2.0)])
    other = encode_points("r", [("a", 0, 0, 1.0), ("bc", 0, 0, 2.0)])
    assert split != other
    assert [key for key, *_ in decode(other).points()] == ["a", "bc"]  # type: ignore[union-attr]
    assert decode(encode_points("ra", [("b", 0, 0, 1.0)])).run_id == "ra"  # type: ignore[union-attr]


def test_the_cache_is_bounded() -> None:
    for i in range(30_000):
        encode_points("r", [(f"a metric of some length {i}", 0, 0, 1.0)])
    size = sum(map(len, records._prefixes.values()))
    assert 0 < size <= records._MAX_CACHED_BYTES < 30_000 * 40


@pytest.mark.parametrize(
    "points",
    [
        [],
        [("loss", 2**63, 0, 1.0)],
        [("loss", 0, -(2**63) - 1, 1.0)],
        [("loss", 0, 0, 1.0), ("loss", 0, 0.5, 1.0)],
        [("x" * 65_536, 0, 0, 1.0)],
    ],
    ids=["none", "timestamp", "step", "not whole", "key"],
)
def test_what_cannot_be_written_is_refused(points: list[tuple[str, int, int, float]]) -> None:
    with pytest.raises(ValueError, match=r"metric|point|too long"):
        encode_points("r" * 32, points)


def test_a_run_id_of_more_than_255_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        encode_points("r" * 256, [("loss", 0, 0, 1.0)])


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("log_parms", {"run_id": "r", "params": []}),
        ("log_params", {"run_id": "r"}),
        ("log_params", {"run_id": "r", "params": [], "more": 1}),
        ("log_params", {"run_id": "r", "params": {1, 2}}),
    ],
    ids=["name", "missing", "unknown", "no JSON"],
)
def test_an_operation_that_is_not_one_is_refused(name: str, fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="operation"):
        encode_operation(name, fields)


@given(st.lists(POINT, min_size=1, max_size=4), st.data())
def test_a_record_that_was_cut_or_altered_never_crashes_the_reader(
    points: list[tuple[str, int, int, float]], data: st.DataObject
) -> None:
    payload = encode_points("r" * 32, points)
    cut = payload[: data.draw(st.integers(0, len(payload) - 1))]
    at = data.draw(st.integers(0, len(payload) - 1))
    altered = payload[:at] + bytes([data.draw(st.integers(0, 255))]) + payload[at + 1 :]
    for damaged in (cut, altered, payload + b"x"):
        try:
            decoded = decode(damaged)
        except RecordError:
            continue
        if isinstance(decoded, Points):
            assert len(decoded.keys) == len(list(decoded.points())) >= 1


@given(st.binary(max_size=60))
@example(b"")
@example(b"P")
@example(b"P\xff\xff\xff\xff\x00")
@example(b"P\x00\x00\x00\x00\x00")
@example(b"O[1,{}]")
@example(b"O[]")
@example(b"O" + b"[" * 100_000)
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    for payload in (data, b"P" + data, b"O" + data):
        try:
            decode(payload)
        except RecordError:
            continue


def test_the_codec_imports_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import mlflow_weir.store.delivery.records\n"
        "print({name.partition('.')[0] for name in set(sys.modules) - before}"
        " - sys.stdlib_module_names)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{'mlflow_weir'}"
