"""What charts are drawn from, against ``get_metric_history``: every bucket, whatever was logged.

Sizes are made small, so that a few hundred points go through batches, packs, sealed chunks and
rollups.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow.entities import Metric, RunStatus
from sqlalchemy.orm import Session

from databases import DatabaseServer
from metric_model import INT64_MAX, INT64_MIN
from metric_writers import make_small
from mlflow_weir.errors import TooMuchAsked
from mlflow_weir.store.metrics import axes, curves
from mlflow_weir.store.metrics.atom_cache import AtomCache
from mlflow_weir.store.metrics.curves import CurveReader, Window, everything
from mlflow_weir.store.metrics.lines import Lines, choose_level, make_lines
from mlflow_weir.store.metrics.rollup_atoms import atoms_of_points
from mlflow_weir.store.runs import changes, extremes, metric_keys, moment
from mlflow_weir.store.tracking_store import WeirStore
from mlflow_weir.ui_extensions.series_parts import encode_part, line_columns, shared_once
from series_answers import Line, check_line, in_drawn_order, read_parts

KEY = "train/loss"
AXES: tuple[axes.Axis, ...] = ("step", "wall", "relative")


@pytest.fixture(scope="module")
def store(
    sqlite_folder: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WeirStore]:
    patch = pytest.MonkeyPatch()
    make_small(patch.setattr)
    yield WeirStore(sqlite_folder.new_mlflow_database(), str(tmp_path_factory.mktemp("a")))
    patch.undo()


def new_run(store: WeirStore, points: list[Metric], *, batch: int, is_ended: bool) -> str:
    run_id = str(store.create_run("0", "tester", 1, [], "r").info.run_id)
    batch = min(batch, 1_000)  # MLflow takes no more
    for start in range(0, len(points), batch):
        store.log_batch(run_id, points[start : start + batch], [], [])
    if is_ended:
        store.update_run_info(run_id, RunStatus.FINISHED, 2, None)
    return run_id


def drawn(
    store: WeirStore,
    run_ids: list[str],
    axis: axes.Axis = "step",
    n_buckets: int = 8,
    window: Window | None = None,
    key: str = KEY,
    at_ms: int | None = None,
) -> tuple[dict[int, Line], Lines]:
    """Read lines as the server does, over the wire and back."""
    with Session(store.engine) as session:
        until_ms = None if at_ms is None else moment.last_ms(session, run_ids, at_ms)
        reader = CurveReader(session, run_ids, [key], until_ms)
        is_by_time = axis != "step"
        curve = reader.read(
            key, window or everything(len(run_ids), is_by_time=is_by_time), n_buckets
        )
        first_ms = reader.first_ms()
    first_x, last_x = axes.x_of(curve.atoms, axis, first_ms)
    level = choose_level(first_x, last_x, n_buckets)
    n_inside = np.bincount(curve.atoms.owner, curve.atoms.count, minlength=len(run_ids))
    lines = make_lines(curve.atoms, first_x, last_x, level, n_inside <= n_buckets)
    columns = line_columns(
        lines,
        lines.x,
        totals=curve.n_total,
        is_whole=np.full(len(run_ids), True),
        want=frozenset({"mean"}),
    )
    columns, shared = shared_once(columns, lines.start)
    (part,) = read_parts(b"WS01" + encode_part({"shared": shared}, columns))
    return part.lines(), lines


def check(store: WeirStore, run_id: str, line: Line, axis: axes.Axis = "step") -> None:
    history = list(store.get_metric_history(run_id, KEY))
    assert line.total == len(history)
    points = in_drawn_order(history, is_by_step=axis == "step")
    origin = min(m.timestamp for m in history)
    x = [
        m.step if axis == "step" else m.timestamp - (origin if axis == "relative" else 0)
        for m in points
    ]
    check_line(line, points, x=x)


VALUES = st.one_of(
    st.floats(-10, 10),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e-30, 123456.789, 1e9, 1e300]),
)


class Logged(NamedTuple):
    """How points were logged: as trainings do, and as nobody should."""

    n: int
    shape: str
    stride: int
    seed: int
    odd: tuple[float, ...]

    def metrics(self) -> list[Metric]:
        """Return the points."""
        n, source = self.n, random.Random(self.seed)
        steps = [self.stride * at for at in range(n)]
        times = [1_700_000_000_000 + 40 * at + source.randrange(40) for at in range(n)]
        if self.shape == "resumed":
            back = steps[source.randrange(n)] // 2
            steps = [step if at < n // 2 else step - back for at, step in enumerate(steps)]
        elif self.shape == "equal":
            steps = [step // (5 * self.stride) for step in steps]
            times = [time // 200 * 200 for time in times]
        elif self.shape == "shuffled":
            source.shuffle(steps)
        elif self.shape == "late":
            for _ in range(3):
                one, other = source.randrange(n), source.randrange(n)
                times[one], times[other] = times[other], times[one]
        elif self.shape == "huge":
            steps = sorted(source.randrange(INT64_MIN, INT64_MAX) for _ in range(n))
        return [
            Metric(
                KEY,
                source.choice(self.odd) if source.random() < 0.05 else source.gauss(1.0, 0.2),
                times[at],
                steps[at],
            )
            for at in range(n)
        ]


HISTORIES = st.builds(
    Logged,
    st.integers(1, 250),
    st.sampled_from(["ascending", "resumed", "equal", "shuffled", "late", "huge"]),
    st.sampled_from([1, 1, 7, 50]),
    st.integers(0, 1 << 30),
    st.lists(VALUES, min_size=1, max_size=4).map(tuple),
)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes here
)
@given(
    runs=st.lists(HISTORIES, min_size=1, max_size=3),
    batch=st.sampled_from([40, 150, 1000]),
    is_ended=st.booleans(),
    n_buckets=st.sampled_from([1, 5, 16, 64]),
)
def test_every_bucket_is_what_mlflow_says_was_logged(
    store: WeirStore, runs: list[Logged], batch: int, is_ended: bool, n_buckets: int
) -> None:
    run_ids = [new_run(store, run.metrics(), batch=batch, is_ended=is_ended) for run in runs]
    for axis in AXES:
        lines, made = drawn(store, run_ids, axis, n_buckets)
        assert sorted(lines) == list(range(len(run_ids)))
        for at, run_id in enumerate(run_ids):
            check(store, run_id, lines[at], axis)
            n_pieces = int(made.piece[made.owner_of_bucket() == at].max()) + 1
            assert len(lines[at].columns["x"]) <= max(2, n_buckets) * n_pieces


def plain(n: int, stride: int = 1) -> list[Metric]:
    return [
        Metric(KEY, 1.0 + at % 10, 1_700_000_000_000 + 10 * at, stride * at) for at in range(n)
    ]


def test_a_spike_of_one_point_in_three_thousand_is_there_at_every_width(store: WeirStore) -> None:
    points = plain(3_000)
    points[1_321] = Metric(KEY, 900.0, points[1_321].timestamp, 1_321)
    run_id = new_run(store, points, batch=1_000, is_ended=True)
    for n_buckets in (1, 2, 33, 64, 500, 2_500):
        lines, _ = drawn(store, [run_id], n_buckets=n_buckets)
        check(store, run_id, lines[0])
        assert lines[0].columns["high"].max() == 900.0
        assert (lines[0].columns["high"] > 100).sum() == 1


def test_buckets_begin_at_multiples_of_their_width(store: WeirStore) -> None:
    run_id = new_run(store, plain(1_024), batch=100, is_ended=True)
    _, lines = drawn(store, [run_id], n_buckets=64)
    assert lines.level == 4
    assert lines.cell.tolist() == list(range(64))
    assert lines.x.tolist() == [16 * cell + 15 for cell in range(64)]


def test_few_points_are_all_drawn_beside_a_long_line(store: WeirStore) -> None:
    long = new_run(store, plain(4_000), batch=500, is_ended=True)
    short = new_run(store, plain(30), batch=500, is_ended=True)
    lines, _ = drawn(store, [long, short], n_buckets=32)
    assert lines[1].columns["x"].tolist() == list(range(30))
    assert lines[1].columns["count"].tolist() == [1] * 30


def test_a_window_holds_exactly_the_points_in_it(store: WeirStore) -> None:
    run_ids = [
        new_run(store, plain(3_000, stride), batch=400, is_ended=stride == 1) for stride in (1, 3)
    ]
    window = Window(False, np.array([777, 2_000], dtype=np.int64), 5_000)
    lines, _ = drawn(store, run_ids, window=window, n_buckets=16)
    for at, run_id in enumerate(run_ids):
        inside = [
            m
            for m in store.get_metric_history(run_id, KEY)
            if window.first[at] <= m.step <= window.last
        ]
        assert lines[at].total == 3_000
        check_line(lines[at], inside, x=[m.step for m in inside])


def test_a_resumed_run_is_two_pieces_and_a_tangle_is_sorted(store: WeirStore) -> None:
    first = plain(600)
    again = [Metric(KEY, 5.0, 1_700_000_100_000 + at, 400 + at) for at in range(600)]
    resumed = new_run(store, [*first, *again], batch=300, is_ended=True)
    two_at_once = [
        Metric(KEY, 1.0, 1_700_000_000_000 + at, at // 2 if at % 2 else 1_000 + at // 2)
        for at in range(600)
    ]
    tangled = new_run(store, two_at_once, batch=300, is_ended=True)
    lines, made = drawn(store, [resumed, tangled], n_buckets=16)
    piece = lines[0].columns["piece"]
    assert piece.min() == 0
    assert piece.max() == 1
    assert lines[0].columns["x"][piece == 0].max() == 599
    check(store, resumed, lines[0])
    assert lines[1].columns["piece"].max() == 0
    check(store, tangled, lines[1])
    assert len(made.owner) == 2


AT_MS = 1_700_000_000_000 + 40 * 300


@pytest.mark.parametrize("shape", ["plain", "resumed", "late", "shuffled"])
def test_at_a_moment_runs_that_went_on_are_what_they_were(store: WeirStore, shape: str) -> None:
    """As a run to which nothing was logged after it; one that had ended is whole."""
    logged = Logged(700, shape, 1, 7, (math.nan, math.inf)).metrics()
    by_then = [m for m in logged if m.timestamp <= AT_MS]
    runs = [new_run(store, logged, batch=90, is_ended=ended) for ended in (False, True, False)]
    store.update_run_info(runs[0], RunStatus.FINISHED, AT_MS + 1, None)
    store.update_run_info(runs[2], RunStatus.FINISHED, AT_MS - 1, None)
    store.update_run_info(runs[2], RunStatus.RUNNING, None, None)  # resumed
    expected = new_run(store, by_then, batch=90, is_ended=True)
    later = new_run(store, [Metric(KEY, 1.0, AT_MS + 1, 1)], batch=1, is_ended=False)
    for n_buckets in (8, 2_000):
        for axis in AXES:
            lines, _ = drawn(store, [*runs, later], axis, n_buckets, at_ms=AT_MS)
            assert sorted(lines) == [0, 1, 2]
            check(store, expected, lines[0], axis)
            check(store, runs[1], lines[1], axis)
            check(store, expected, lines[2], axis)
    ranged = Window(is_by_time=False, first=np.array([250]), last=10_000)
    lines, _ = drawn(store, runs[:1], window=ranged, at_ms=AT_MS)
    inside = sum(m.step >= 250 for m in by_then)
    assert (lines[0].total, int(lines[0].columns["count"].sum())) == (len(by_then), inside)


def test_values_at_a_moment_are_those_that_mlflow_had_then(store: WeirStore) -> None:
    for shape in ("plain", "equal", "resumed", "shuffled"):
        logged = Logged(400, shape, 1, 11, (math.nan, math.inf)).metrics()
        by_then = [m for m in logged if m.timestamp <= AT_MS]
        run_id = new_run(store, logged, batch=70, is_ended=False)
        expected = new_run(store, by_then, batch=70, is_ended=True)
        with Session(store.engine) as session:
            values = moment.values_at(session, [run_id], [KEY, "none"], AT_MS)
            extremes_then = extremes.read(session, [expected], KEY)[expected]
        latest = store.get_run(expected).data._metric_objs[0]
        found = values[KEY][run_id]
        assert found[:3] == pytest.approx(
            (latest.value, latest.step, latest.timestamp), nan_ok=True
        )
        assert found[3:] == tuple(extremes_then)
        assert values["none"] == {}


def test_points_that_move_while_they_are_read_are_found(store: WeirStore) -> None:
    """Compaction between the index and the chunks: what was looked up is gone by then."""
    run_id = new_run(store, plain(100), batch=100, is_ended=False)

    class Racing(CurveReader):
        n_loads = 0

        def _load(self) -> None:
            super()._load()
            type(self).n_loads += 1
            if self.n_loads == 1:
                store._compact(run_id, is_final=True)
                store.log_batch(run_id, plain(300)[100:], [], [])
                store._compact(run_id, is_final=True)

    store._compact(run_id, is_final=True)
    with Session(store.engine) as session:
        curve = Racing(session, [run_id], [KEY]).read(KEY, everything(1, is_by_time=False), 1_000)
    assert Racing.n_loads == 2
    assert int(curve.atoms.count.sum()) == 300


def test_every_database_gives_the_same_lines_keys_and_changes(
    database_server: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch.setattr)
    store = WeirStore(database_server.new_mlflow_database(), str(tmp_path))
    runs = [
        new_run(store, plain(900, stride), batch=120, is_ended=stride < 3) for stride in (1, 3)
    ]
    with Session(store.engine) as session:
        before = changes.current(session)
        at_first = changes.versions(session, runs)
    for axis in AXES:
        lines, _ = drawn(store, runs, axis, n_buckets=16)
        for at, run_id in enumerate(runs):
            check(store, run_id, lines[at], axis)
    store.log_batch(runs[1], [Metric("Other", 1.0, 5, 5)], [], [])
    with Session(store.engine) as session:
        found = metric_keys.of_experiments(session, [0])
        assert (found.counts, found.n_runs, found.is_partial) == ({"Other": 1, KEY: 2}, 2, False)
        assert metric_keys.of_runs(session, runs[:1]).counts == {KEY: 1}
        assert runs[1] in changes.runs_with_news(session, before, [0])
        assert changes.runs_with_news(session, before, [77]) == []
        now = changes.versions(session, runs)
        assert now[runs[0]] == at_first[runs[0]]
        assert now[runs[1]] != at_first[runs[1]]
        assert changes.standing(session, [0]) == (2, 1, 1, 2)
        assert changes.statuses(session, runs) == {
            runs[0]: ("FINISHED", 2),
            runs[1]: ("RUNNING", None),
        }
    store._dispose_engine()


def test_what_would_take_too_much_memory_is_refused_in_words(
    store: WeirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(store, plain(500), batch=500, is_ended=True)
    monkeypatch.setattr(curves, "MAX_RAW_POINTS", 499)
    with pytest.raises(TooMuchAsked, match="500 points of 'train/loss'"):
        drawn(store, [run_id], n_buckets=500)
    drawn(store, [run_id], n_buckets=8)


def test_queries_do_not_grow_with_the_runs(store: WeirStore) -> None:
    run_ids = [new_run(store, plain(200), batch=200, is_ended=True) for _ in range(30)]
    counts: list[int] = []
    statements: list[str] = []
    listener: Any = lambda *arguments: statements.append(arguments[2])  # noqa: E731
    sa.event.listen(store.engine, "before_cursor_execute", listener)
    for n in (3, 30):
        statements.clear()
        with Session(store.engine) as session:
            reader = CurveReader(session, run_ids[:n], [KEY, "other"])
            reader.read(KEY, everything(n, is_by_time=False), 8)
            reader.read("other", everything(n, is_by_time=False), 8)
        counts.append(len(statements))
    sa.event.remove(store.engine, "before_cursor_execute", listener)
    assert counts[0] == counts[1] <= 6


@pytest.mark.parametrize(("n", "table"), [(600, "weir_rollup"), (6, "weir_chunk.payload")])
def test_what_was_decoded_once_is_not_read_again(store: WeirStore, n: int, table: str) -> None:
    run_ids = [new_run(store, plain(n), batch=n, is_ended=True) for _ in range(3)]
    statements: list[str] = []
    listener: Any = lambda *arguments: statements.append(arguments[2])  # noqa: E731
    sa.event.listen(store.engine, "before_cursor_execute", listener)
    first, _ = drawn(store, run_ids)
    n_first = sum(table in one for one in statements)
    statements.clear()
    again, _ = drawn(store, run_ids)
    sa.event.remove(store.engine, "before_cursor_execute", listener)
    assert n_first >= 1
    assert not any(table in one for one in statements)
    for at, run_id in enumerate(run_ids):
        check(store, run_id, again[at])
        for name, column in first[at].columns.items():
            np.testing.assert_array_equal(again[at].columns[name], column)
    # Other places in the request, and a run that went on, are others.
    turned, _ = drawn(store, run_ids[::-1])
    check(store, run_ids[0], turned[2])
    more = [Metric(KEY, 50.0, m.timestamp + 90_000, m.step + 600) for m in plain(600)]
    store.log_batch(run_ids[0], more, [], [])
    store._compact(run_ids[0], is_final=True)
    grown, _ = drawn(store, run_ids)
    check(store, run_ids[0], grown[0])


def test_the_cache_holds_what_it_may() -> None:
    cache = AtomCache(max_bytes=25_000)

    def rows(n: int) -> Any:
        return atoms_of_points(np.zeros(n, dtype=np.int64), _series(plain(n)))

    cache.put("large", rows(1_000))
    assert cache.get("large") is None
    kept = [rows(80) for _ in range(6)]
    for at, atoms in enumerate(kept):
        cache.put(at, atoms)
        cache.get(0)
    found = [at for at in range(6) if cache.get(at) is kept[at]]
    assert found[0] == 0
    assert found[-1] == 5
    assert 2 <= len(found) < 6


def test_process_time_leaves_pauses_out(store: WeirStore) -> None:
    points = plain(200)
    hour = 3_600_000
    points += [Metric(KEY, 1.0, m.timestamp + hour, m.step + 200) for m in plain(200)]
    run_id = new_run(store, points, batch=400, is_ended=True)
    relative, _ = drawn(store, [run_id], "relative", n_buckets=400)
    process, _ = drawn(store, [run_id], "process", n_buckets=400)
    assert relative[0].columns["x"].max() == hour + 1_990
    assert process[0].columns["x"].max() == pytest.approx(2 * 1_990 + 10, abs=20)
    assert (np.diff(process[0].columns["x"]) <= 30).all()


def test_another_metric_is_joined_by_step(store: WeirStore) -> None:
    y = plain(100)
    x = [Metric("epoch", at / 4, 1_700_000_000_000 + 10 * at, at) for at in range(0, 80, 4)]
    run_id = new_run(store, [*y, *x], batch=400, is_ended=True)
    with store.ManagedSessionMaker() as session:
        reader = CurveReader(session, [run_id], [KEY, "epoch"])
        joined = axes.join(reader.read_points(KEY), reader.read_points("epoch"), 1, 1_000)
    steps = [m.step for m in y if m.step <= 80]
    assert joined.x.tolist() == [min(step - step % 4, 76) / 4 for step in steps]
    assert joined.lines.last.tolist() == [y[step].value for step in steps]
    few = axes.join({0: _series(y)}, {0: _series(x)}, 1, 10)
    assert len(few.x) <= 10
    assert int(few.lines.count.sum()) == len(steps)


def _series(metrics: list[Metric]) -> Any:
    from metric_model import series_of

    return series_of([(m.timestamp, m.step, m.value) for m in metrics])
