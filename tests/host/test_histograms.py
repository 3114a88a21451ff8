"""Histograms in the database: applied once, turned about, read, taken back and removed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from databases import DatabaseServer
from deliveries import Both
from histogram_tables import KEYS, record_of, rows_of, table_of
from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import schema
from mlflow_weir.store.delivery.records import encode_operation, encode_points
from mlflow_weir.store.histograms import writing
from mlflow_weir.store.histograms.encoding import Table, pack
from mlflow_weir.store.histograms.norms import Norms
from mlflow_weir.store.histograms.reading import read_norms, read_series
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.compact import compact
from mlflow_weir.store.maintenance.eject import eject
from mlflow_weir.store.maintenance.progress import Silent

pytestmark = pytest.mark.slow


class Watched:
    """A run whose histograms come from a journal."""

    def __init__(self, both: Both) -> None:
        self.both, self.engine, self.journal = both, both.engine, both.journal
        self.run_id = both.create_run("0", "0", 5, [], "a run")
        both.deliver()

    def log(self, *steps: int, keys: tuple[str, ...] = KEYS) -> None:
        for step in steps:
            self.journal.add(record_of(self.run_id, step, keys))

    def deliver(self) -> list[Any]:
        rejected = []
        for outcome in self.journal.deliver(self.engine):
            rejected += outcome.rejected
        return rejected

    def rewind(self, step: int) -> None:
        self.journal.add(encode_operation("rewind", {"run_id": self.run_id, "step": step}))

    def series(self, key: str, max_steps: int = 10_000) -> Table | None:
        with self.engine.connect() as connection:
            return read_series(connection, self.run_id, "gradients", key, max_steps)

    def norms(self, max_steps: int = 10_000) -> Norms | None:
        with self.engine.connect() as connection:
            return read_norms(connection, self.run_id, "gradients", max_steps)

    def forms(self) -> list[int]:
        with self.engine.connect() as connection:
            return sorted(connection.execute(sa.select(schema.histogram.c.form)).scalars())

    def expect(self, steps: list[int]) -> None:
        """Compare all there is with what was logged at these steps."""
        for i, key in enumerate(KEYS):
            found = self.series(key)
            wanted = [rows_of(table_of(step))[i] for step in steps]
            assert (rows_of(found) if found else []) == wanted
        norms = self.norms()
        assert (norms.step.tolist() if norms else []) == steps
        if norms is not None:
            assert norms.keys == KEYS
            wanted_norms = np.array([table_of(step).norm for step in steps]).T
            assert np.array_equal(norms.norm, wanted_norms.astype(np.float32))
        assert check(self.engine, Silent()).problems == []


@pytest.fixture
def watched(database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(writing, "MAX_SLICES", 5)
    both = Both(database_server)
    yield Watched(both)
    both.close()


def test_what_is_logged_is_read_by_series_and_as_norms(watched: Watched) -> None:
    assert watched.norms() is None
    assert watched.series(KEYS[0]) is None
    steps = list(range(0, 2300, 100))
    watched.log(*steps)
    assert watched.deliver() == []
    # 23 steps: four times five turned about, three that wait.
    assert watched.forms() == [0] * 3 + [1] * 4 + [2] * 4 * len(KEYS)
    watched.expect(steps)
    assert watched.series("conv") is None


def test_of_more_steps_than_asked_for_an_even_choice_is_read(watched: Watched) -> None:
    watched.log(*range(41))
    assert watched.deliver() == []
    series, norms = watched.series(KEYS[1], 5), watched.norms(5)
    assert series is not None
    assert norms is not None
    assert series.step.tolist() == norms.step.tolist() == [0, 10, 20, 30, 40]
    wanted = [rows_of(table_of(step))[1] for step in (0, 10, 20, 30, 40)]
    assert rows_of(series) == wanted
    # Of NaN and infinities nothing is passed over.
    tables = [table_of(step) for step in range(41)]
    assert norms.n_bad.sum() == sum((one.n_nan + one.n_inf).sum() for one in tables)


def test_a_step_that_comes_again_replaces_the_first(watched: Watched) -> None:
    watched.log(*range(7))
    watched.log(3, keys=KEYS[:1])
    assert watched.deliver() == []
    found = watched.series(KEYS[0])
    assert found is not None
    assert found.step.tolist() == list(range(7))
    assert rows_of(found)[3] == rows_of(table_of(3, KEYS[:1]))[0]


def test_a_rewind_takes_later_steps_back_wherever_they_are(watched: Watched) -> None:
    watched.log(*range(13))
    watched.deliver()
    watched.rewind(7)
    watched.deliver()
    watched.expect(list(range(8)))
    # Before it and after it in one delivery, with points that it concerns as well.
    watched.log(8, 9, 10)
    watched.journal.add(encode_points(watched.run_id, [("loss", 1, 10, 1.0)]))
    watched.rewind(8)
    watched.log(11)
    watched.deliver()
    watched.expect([*range(9), 11])
    watched.rewind(-1)
    watched.deliver()
    assert watched.forms() == []


def test_they_are_applied_exactly_once(watched: Watched) -> None:
    watched.log(*range(3))
    before, end = watched.journal.delivered, len(watched.journal.payloads)
    watched.deliver()
    assert watched.journal.apply(watched.engine, before, end).was_applied
    watched.expect([0, 1, 2])


def test_what_cannot_be_stored_is_refused_alone(watched: Watched) -> None:
    unknown, deleted = "f" * 32, watched.both.create_run("0", "0", 5, [], "deleted")
    watched.both.deliver()
    watched.both.weir.delete_run(deleted)
    watched.log(1)
    watched.journal.add(record_of(unknown, 1))
    watched.journal.add(record_of(deleted, 1))
    watched.journal.add(b"H\x20" + watched.run_id.encode() + b"no table")
    watched.log(2)
    unknown_run, deleted_run, no_table = (one.reason for one in watched.deliver())
    assert "does not exist" in unknown_run
    assert "is deleted" in deleted_run
    assert "cut short" in no_table
    found = watched.series(KEYS[0])
    assert found is not None
    assert found.step.tolist() == [1, 2]


def test_they_go_with_their_run(watched: Watched) -> None:
    watched.log(*range(7))
    watched.deliver()
    with watched.engine.begin() as connection:  # as MLflow's own gc would, without Weir
        columns = schema.histogram.c.run_uuid
        connection.execute(sa.update(schema.histogram).values(run_uuid="e" * 32))
        assert connection.execute(sa.select(sa.func.count(columns))).scalar() == 6
    problems = check(watched.engine, Silent()).problems
    assert len(problems) == 1
    assert "gone from MLflow's tables" in problems[0]
    compact(watched.engine, Silent())
    assert watched.forms() == []
    watched.log(*range(7, 14))
    watched.deliver()
    assert watched.forms() != []
    watched.both.weir.delete_run(watched.run_id)
    watched.both.weir._hard_delete_run(watched.run_id)
    assert watched.forms() == []


@pytest.mark.parametrize("form", [writing.SLICE, writing.SUMMARY, writing.BLOCK])
def test_damage_is_named_and_the_rest_is_read(watched: Watched, form: int) -> None:
    watched.log(*range(7))
    watched.deliver()
    columns = schema.histogram.c
    with watched.engine.begin() as connection:
        name = connection.execute(
            sa.select(columns.histogram_id).where(columns.form == form).limit(1)
        ).scalar_one()
        mine = columns.histogram_id == name
        connection.execute(sa.update(schema.histogram).where(mine).values(crc32=columns.crc32 + 1))
    problems = check(watched.engine, Silent()).problems
    assert [f"weir_histogram {name}" in one for one in problems] == [True]
    with pytest.raises(ChunkCorrupt, match=f"weir_histogram {name}"):
        watched.norms() if form != writing.BLOCK else watched.series(KEYS[0])
    watched.log(*range(7, 12))  # whose slices are turned about, the damaged one is not
    assert watched.deliver() == []
    if form != writing.SLICE:
        last = watched.series(KEYS[-1])
        assert last is not None
        assert last.step.tolist() == list(range(12))


def test_a_row_that_says_what_it_does_not_hold_is_named(watched: Watched) -> None:
    watched.log(*range(6))
    watched.deliver()
    columns = schema.histogram.c
    wrong = pack(table_of(9, ("another",)))
    with watched.engine.begin() as connection:
        block = connection.execute(
            sa.select(columns.histogram_id).where(columns.form == writing.BLOCK).limit(1)
        ).scalar_one()
        connection.execute(
            sa.update(schema.histogram)
            .where(columns.histogram_id == block)
            .values(payload=wrong, crc32=zlib.crc32(wrong))
        )
        connection.execute(
            sa.update(schema.histogram).where(columns.form == writing.SLICE).values(last_step=77)
        )
    problems = check(watched.engine, Silent()).problems
    assert len(problems) == 2
    assert any("another" in one for one in problems)
    assert any("77" in one for one in problems)


def test_eject_says_that_they_go(watched: Watched) -> None:
    watched.log(*range(7))
    watched.deliver()
    for dry_run in (True, False):
        notes = eject(watched.engine, Silent(), dry_run=dry_run).notes
        assert any("no place in stock MLflow" in note for note in notes)
    assert "weir_histogram" not in sa.inspect(watched.engine).get_table_names()
