"""Batches and chunks: any points and keys come back, and damaged bytes give one error."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metric_model import INT64_MAX, INT64_MIN, exact, rows_of
from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store.metrics import batch_encoding, encoding
from mlflow_weir.store.metrics.points import INFINITY, Point, Series, group_by_key, history_order

SURROGATES = st.characters(categories=["Cs"])
KEYS = st.one_of(
    st.text(max_size=20),
    st.text(st.one_of(SURROGATES, st.characters()), max_size=10),
    st.sampled_from(["\U0001d49c" * 250, "\udc80", "a\x00b", "", "train/loss", "é", "e\u0301"]),
)
INT64 = st.integers(INT64_MIN, INT64_MAX)
VALUES = st.floats(allow_infinity=False)
POINTS = st.lists(st.builds(Point, KEYS, INT64, INT64, VALUES), min_size=1, max_size=30)
Content = dict[str, Series]


def same_content(found: Content, expected: Content) -> bool:
    return list(found) == list(expected) and all(
        exact(rows_of(found[key])) == exact(rows_of(expected[key])) for key in expected
    )


def chunk_of(points: list[Point]) -> tuple[bytes, list[encoding.Placed]]:
    content = {key: history_order(series) for key, series in group_by_key(points).items()}
    placed = encoding.place(content)
    return encoding.encode_chunk(placed), placed


MANY = [
    Point(key, 1_700_000_000_000 + i, i, i / 7)
    for i in range(300)
    for key in ("loss", "\U0001d49c" * 250, "acc")
]
ENDS = [
    Point("a", INT64_MIN, INT64_MAX, -INFINITY),
    Point("a", INT64_MAX, INT64_MIN, INFINITY),
    Point("a", 0, INT64_MIN, float("nan")),
    Point("a", INT64_MIN, INT64_MIN, -0.0),
]


@given(POINTS)
@example(MANY)
@example(ENDS)
def test_a_batch_gives_back_every_point_in_log_order(points: list[Point]) -> None:
    expected = group_by_key(points)
    payload = batch_encoding.encode_batch(points)
    assert same_content(batch_encoding.decode_batch(payload, "row"), expected)
    for key, series in expected.items():
        alone = batch_encoding.decode_batch(payload, "row", only=key)
        assert same_content(alone, {key: series})
    assert batch_encoding.decode_batch(payload, "row", only="not there " * 3) == {}


@pytest.mark.parametrize("field", ["timestamp", "step"])
@pytest.mark.parametrize("number", [INT64_MIN - 1, INT64_MAX + 1])
def test_a_number_beyond_64_bits_is_refused(field: str, number: int) -> None:
    timestamp, step = (number, 0) if field == "timestamp" else (0, number)
    with pytest.raises(OverflowError):
        batch_encoding.encode_batch([Point("a", timestamp, step, 0.0)])


@given(POINTS)
@example(MANY)
@example(ENDS)
def test_a_chunk_gives_back_every_point_where_the_index_says(points: list[Point]) -> None:
    payload, placed = chunk_of(points)
    whole = encoding.decode_chunk(payload, "row")
    assert len(whole) == sum(len(part.series) for part in placed)
    for part in placed:
        rows = whole.rows(part.first_row, part.first_row + len(part.series))
        assert exact(rows_of(rows)) == exact(rows_of(part.series))
    assert encoding.decode_chunk_keys(payload, "row") == [
        (part.key, len(part.series)) for part in placed
    ]


def test_a_chunk_is_a_parquet_file_that_others_read() -> None:
    payload, placed = chunk_of([Point("b", 2, 1, 0.5), Point("a", 1, 0, 1.5)])
    assert [part.key for part in placed] == ["a", "b"]
    table = pq.read_table(pa.BufferReader(payload))
    assert [str(key) for key in table.column("key").to_pylist()] == ["a", "b"]
    assert table.drop_columns(["key"]).to_pydict() == {
        "timestamp": [1, 2],
        "step": [0, 1],
        "value": [1.5, 0.5],
    }
    assert pa.types.is_int64(table.schema.field("step").type)


@given(KEYS)
def test_any_text_is_a_key(key: str) -> None:
    assert batch_encoding.key_text(batch_encoding.key_bytes(key)) == key
    assert batch_encoding.key_text(memoryview(batch_encoding.key_bytes(key))) == key  # type: ignore[arg-type]
    assert INT64_MIN <= batch_encoding.key_hash(key) <= INT64_MAX


def test_the_hash_of_a_key_never_changes() -> None:
    # It is stored: another one would hide every metric written before.
    assert batch_encoding.key_hash("loss") == 7841856413942573454
    assert (
        len({batch_encoding.key_hash(key) for key in ("loss", "Loss", "loss ", "lo\u017fs")}) == 4
    )


DECODERS: list[tuple[str, bytes, Callable[[bytes, str], Any]]] = [
    ("batch", batch_encoding.encode_batch(MANY[:60]), batch_encoding.decode_batch),
    (
        "batch of one key",
        batch_encoding.encode_batch([point for point in MANY if point.key == "loss"][:30]),
        lambda payload, what: batch_encoding.decode_batch(payload, what, only="loss"),
    ),
    ("chunk", chunk_of(MANY[:60])[0], encoding.decode_chunk),
    ("keys of a chunk", chunk_of(MANY[:60])[0], encoding.decode_chunk_keys),
]
EACH = pytest.mark.parametrize(
    ("payload", "decode"), [case[1:] for case in DECODERS], ids=[case[0] for case in DECODERS]
)


@EACH
def test_a_payload_cut_anywhere_is_corrupt(
    payload: bytes, decode: Callable[[bytes, str], Any]
) -> None:
    crc32 = zlib.crc32(payload)
    for end in range(len(payload)):
        with pytest.raises(ChunkCorrupt, match="row 7"):
            batch_encoding.verified(payload[:end], crc32, "row 7")
        with pytest.raises(ChunkCorrupt, match="row 7"):
            decode(payload[:end], "row 7")


@EACH
def test_a_flipped_bit_is_corrupt_and_never_another_error(
    payload: bytes, decode: Callable[[bytes, str], Any]
) -> None:
    crc32 = zlib.crc32(payload)
    rng = np.random.default_rng(11)
    for bit in {*range(800), *rng.integers(0, 8 * len(payload), 400).tolist()}:
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChunkCorrupt, match="checksum"):
            batch_encoding.verified(bytes(damaged), crc32, "row")
        try:  # past the checksum, as a writer with a bug would leave it
            decode(bytes(damaged), "row")
        except ChunkCorrupt:
            pass


@EACH
@given(garbage=st.binary(max_size=200))
def test_garbage_is_corrupt(
    payload: bytes, decode: Callable[[bytes, str], Any], garbage: bytes
) -> None:
    for data in (garbage, payload[:4] + garbage, payload[:12] + garbage):
        try:
            decode(data, "row")
        except ChunkCorrupt:
            pass


def test_a_sound_payload_is_handed_on() -> None:
    assert batch_encoding.verified(b"abc", zlib.crc32(b"abc"), "row") == b"abc"
