"""Buckets: what they say is true of the points, however they were put together."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metric_model import INT64_MAX, INT64_MIN, Row, exact, rows_of, series_of
from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store.metrics import batch_encoding, rollups
from mlflow_weir.store.metrics.points import INFINITY

INT64 = st.integers(INT64_MIN, INT64_MAX)
VALUES = st.one_of(
    st.sampled_from([math.nan, INFINITY, -INFINITY, 0.0, -0.0, 1e308, -1e308]),
    st.floats(allow_infinity=False, width=32),
)
ROWS = st.lists(st.tuples(INT64, INT64, VALUES), min_size=1, max_size=60)
ENDS: list[Row] = [
    (INT64_MIN, INT64_MAX, math.nan),
    (INT64_MAX, INT64_MIN, INFINITY),
    (INT64_MIN, INT64_MIN, -INFINITY),
    (INT64_MAX, INT64_MAX, 1.0),
]


def model_mean(values: list[float]) -> float:
    return math.fsum(value / len(values) for value in values) if values else math.nan


def same_means(found: list[float], expected: list[float], rows: list[Row]) -> None:
    """Compare means; the error is relative to the largest value, where large ones cancel."""
    finite = [abs(row[2]) for row in rows if abs(row[2]) < INFINITY]
    scale = max(finite, default=1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale + 1e-300)


def check_bucket(buckets: rollups.Buckets, i: int, rows: list[Row]) -> None:
    """Compare a bucket with the points it stands for."""
    values = [row[2] for row in rows]
    numbers = [value for value in values if not math.isnan(value)]
    finite = [value for value in numbers if abs(value) != INFINITY]
    assert buckets.count[i] == len(rows)
    assert buckets.n_nan[i] == len(values) - len(numbers)
    assert buckets.n_inf[i] == len(numbers) - len(finite)
    same_means([buckets.mean[i]], [model_mean(finite)], rows)
    assert buckets.min_step[i] == min(row[1] for row in rows)
    assert buckets.max_step[i] == max(row[1] for row in rows)
    assert buckets.min_timestamp[i] == min(row[0] for row in rows)
    assert buckets.max_timestamp[i] == max(row[0] for row in rows)
    points = [rows_of(points)[i] for points in buckets.points()]
    first, last, low, high = points
    assert exact([first, last]) == exact([rows[0], rows[-1]])
    if numbers:
        assert exact([low]) == exact([next(row for row in rows if row[2] == min(numbers))])
        assert exact([high]) == exact([next(row for row in rows if row[2] == max(numbers))])
    else:
        assert exact([low, high]) == exact([rows[0], rows[0]])


def same_buckets(found: rollups.Buckets, expected: rollups.Buckets, rows: list[Row]) -> None:
    for name, one, other in zip(
        ("count", "n_nan", "n_inf", "mean", "min_step", "max_step", "min_ts", "max_ts"),
        found.columns(),
        expected.columns(),
        strict=True,
    ):
        if name == "mean":
            same_means(one.tolist(), other.tolist(), rows)
        else:
            np.testing.assert_array_equal(one, other, name)
    for one_points, other_points in zip(found.points(), expected.points(), strict=True):
        assert exact(rows_of(one_points)) == exact(rows_of(other_points))


@given(ROWS, st.integers(1, 70))
@example(ENDS, 4)
def test_a_bucket_says_what_its_points_say(rows: list[Row], resolution: int) -> None:
    buckets = rollups.every(series_of(rows), resolution)
    parts = [rows[at : at + resolution] for at in range(0, len(rows), resolution)]
    assert len(buckets) == len(parts)
    for i, part in enumerate(parts):
        check_bucket(buckets, i, part)


@given(ROWS, st.integers(1, 9), st.integers(1, 9))
@example(ENDS, 1, 2)
def test_buckets_of_buckets_are_buckets_of_points(rows: list[Row], fine: int, times: int) -> None:
    buckets = rollups.every(series_of(rows), fine)
    starts = np.arange(0, len(buckets), times, dtype=np.int64)
    merged = rollups.merge(buckets, starts)
    same_buckets(merged, rollups.every(series_of(rows), fine * times), rows)


@given(ROWS, st.data())
def test_no_extreme_is_lost_wherever_the_cuts_are(rows: list[Row], data: st.DataObject) -> None:
    cuts = data.draw(st.sets(st.integers(1, len(rows)), max_size=10))
    starts = np.array(sorted({0, *(cut for cut in cuts if cut < len(rows))}), dtype=np.int64)
    merged = rollups.merge(rollups.one_bucket_a_point(series_of(rows)), starts)
    for i, (start, end) in enumerate(zip(starts, [*starts[1:], len(rows)], strict=True)):
        check_bucket(merged, i, rows[start:end])


@given(ROWS, st.integers(1, 7))
@example(ENDS, 1)
@example(ENDS, 3)
def test_encoded_buckets_come_back(rows: list[Row], resolution: int) -> None:
    buckets = rollups.every(series_of(rows), resolution)
    same_buckets(rollups.decode(rollups.encode(buckets), "row"), buckets, rows)


@pytest.mark.filterwarnings("error")
def test_a_mean_of_huge_values_does_not_overflow() -> None:
    rows: list[Row] = [(i, i, 1e308) for i in range(100)]
    assert rollups.every(series_of(rows), 100).mean[0] == pytest.approx(1e308)


def test_stored_resolutions_have_eight_buckets_at_least() -> None:
    fine, coarse = rollups.RESOLUTIONS
    for n, expected in (
        (8 * fine - 1, []),
        (8 * fine, [fine]),
        (8 * coarse - 1, [fine]),
        (8 * coarse, [fine, coarse]),
    ):
        points = series_of([(i, i, float(i % 13)) for i in range(n)])
        stored = rollups.stored_rollups(points)
        assert [resolution for resolution, _ in stored] == expected
        for resolution, buckets in stored:
            assert int(buckets.count.sum()) == n
            assert len(buckets) == math.ceil(n / resolution)


PAYLOAD = rollups.encode(rollups.every(series_of([(i, i, i / 7) for i in range(99)]), 10))


def test_a_rollup_cut_anywhere_is_corrupt() -> None:
    for end in range(len(PAYLOAD)):
        with pytest.raises(ChunkCorrupt, match="row 7"):
            batch_encoding.verified(PAYLOAD[:end], zlib.crc32(PAYLOAD), "row 7")
        with pytest.raises(ChunkCorrupt, match="row 7"):
            rollups.decode(PAYLOAD[:end], "row 7")


def test_a_flipped_bit_is_corrupt_and_never_another_error() -> None:
    for bit in range(8 * len(PAYLOAD)):
        damaged = bytearray(PAYLOAD)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChunkCorrupt, match="checksum"):
            batch_encoding.verified(bytes(damaged), zlib.crc32(PAYLOAD), "row")
        try:  # past the checksum, as a writer with a bug would leave it
            rollups.decode(bytes(damaged), "row")
        except ChunkCorrupt:
            pass


@given(st.binary(max_size=100))
def test_garbage_is_corrupt(garbage: bytes) -> None:
    for data in (garbage, PAYLOAD[:4] + garbage, PAYLOAD[:8] + garbage):
        if data != PAYLOAD:
            with pytest.raises(ChunkCorrupt):
                rollups.decode(data, "row")
