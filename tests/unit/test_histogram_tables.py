"""Tables of histograms: what is written comes back, and no bytes are believed."""

from __future__ import annotations

import dataclasses
import random
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histogram_tables import record_of, rows_of, table_of
from mlflow_weir.store.delivery.records import Histograms, RecordError, decode, encode_histograms
from mlflow_weir.store.histograms import encoding
from mlflow_weir.store.histograms.encoding import TableError, joined
from mlflow_weir.store.histograms.norms import Norms, evenly, side_by_side

NAMES = st.lists(st.text(max_size=8), min_size=1, max_size=4, unique=True)


@given(NAMES, st.integers(0, 2**32 - 1), st.sampled_from(encoding.KINDS))
def test_a_table_comes_back_from_the_journal_and_the_database(
    keys: list[str], step: int, kind: str
) -> None:
    table = table_of(step, keys, kind)
    for again in (
        encoding.decode(encoding.encode(table)),
        encoding.unpack(encoding.pack(table)),
    ):
        assert (again.kind, rows_of(again)) == (kind, rows_of(table))


def test_counts_beyond_32_bits_are_the_greatest_there_is() -> None:
    table = table_of(1)
    many = dataclasses.replace(table, counts=table.counts + (1 << 40))
    assert encoding.decode(encoding.encode(many)).counts.max() == 2**32 - 1


def test_no_bytes_are_believed() -> None:
    rng = random.Random(3)
    good = encoding.encode(table_of(5))
    packed = encoding.pack(table_of(5))
    for whole, read in ((good, encoding.decode), (packed, encoding.unpack)):
        for length in [*range(min(len(whole), 120)), len(whole) - 1]:
            with pytest.raises(TableError):
                read(whole[:length])
    with pytest.raises(TableError):
        encoding.decode(good + b"x")
    for _ in range(300):  # wrong, or another good table: nothing else
        torn = bytearray(good)
        torn[rng.randrange(60)] = rng.randrange(256)
        try:
            encoding.decode(bytes(torn))
        except TableError:
            continue
    bomb = zlib.compress(bytes(encoding.MAX_BYTES + 1))
    with pytest.raises(TableError):
        encoding.unpack(bomb)
    with pytest.raises(TableError):
        Norms.unpack(bomb)


def test_a_record_of_histograms() -> None:
    payload = record_of("a" * 32, 3)
    found = decode(payload)
    assert isinstance(found, Histograms)
    assert found.run_id == "a" * 32
    assert rows_of(encoding.decode(found.table)) == rows_of(table_of(3))
    for bad in (b"H", b"H\x05abc", b"H\x00", b"H\x02\xff\xfex"):
        with pytest.raises(RecordError):
            decode(bad)
    with pytest.raises(ValueError, match="256"):
        encode_histograms("x" * 256, b"x")


def test_norms_side_by_side_know_what_is_absent() -> None:
    one, other = table_of(1, ("a", "b")), table_of(2, ("b", "c"))
    whole = Norms.unpack(side_by_side([Norms.of(one), Norms.of(other)]).pack())
    assert (whole.keys, whole.step.tolist()) == (("a", "b", "c"), [1, 2])
    assert np.isnan(whole.norm).tolist() == [[False, True], [False, False], [True, False]]
    assert whole.norm[1].tolist() == [np.float32(one.norm[1]), np.float32(other.norm[0])]
    assert whole.n_bad[:, 1].tolist() == [0, *(other.n_nan + other.n_inf).tolist()]
    first = whole.until(1)
    assert (first.keys, first.step.tolist()) == (("a", "b"), [1])
    # The same from all rows at once.
    again = Norms.of(joined([one, other]))
    assert np.array_equal(again.norm, whole.norm, equal_nan=True)


@given(st.integers(1, 200), st.integers(2, 50))
def test_an_even_choice_has_both_ends(n: int, at_most: int) -> None:
    kept = evenly(np.arange(n), at_most).tolist()
    assert kept[0] == 0
    assert kept[-1] == n - 1
    assert len(kept) == min(n, at_most)
