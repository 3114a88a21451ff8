"""Metric history on its way from batches to sealed chunks, against a model in plain Python.

Sizes are made small, so that a few hundred points go through every stage. The model of a run is
the list of points logged to it; MLflow's primary key and ORDER BY do the rest
(``support/metric_model.py``).
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.entities import Metric, RunStatus, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from databases import DatabaseServer
from metric_model import INT64_MAX, INT64_MIN, Row, exact, model_history
from metric_writers import (
    ARTIFACTS,
    KEYS,
    log_to_runs,
    make_small,
    open_new_databases,
    points_of,
    run_at_once,
)
from mlflow_weir.errors import CompactedElsewhere
from mlflow_weir.store import engine as engines
from mlflow_weir.store import migrations, schema
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.compact import compact
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.metrics import compaction
from mlflow_weir.store.metrics.points import stored_value
from mlflow_weir.store.tracking_store import WeirStore

pytestmark = pytest.mark.slow

OUR_TABLES = (schema.batch, schema.chunk, schema.series, schema.rollup)


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch.setattr)


@pytest.fixture
def store(mlflow_database_url: str, small_sizes: None) -> Iterator[Any]:
    opened = WeirStore(mlflow_database_url, ARTIFACTS)
    yield opened
    opened._dispose_engine()


def new_run(store: Any, experiment_id: str = "0") -> str:
    return str(store.create_run(experiment_id, "somebody", 0, [], "a run").info.run_id)


def count_rows(store: Any) -> dict[str, int]:
    with store.engine.connect() as connection:
        return {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in OUR_TABLES
        }


def levels_of(store: Any) -> set[int]:
    with store.engine.connect() as connection:
        return set(connection.execute(sa.select(schema.chunk.c.level)).scalars())


def row_of(metric: Any) -> Row:
    return metric.timestamp, metric.step, metric.value


def no_minus_zero(rows: list[Row]) -> list[tuple[int, int, str]]:
    """Compare exactly but for the sign of a zero, which not all databases keep."""
    return exact([(ts, step, value + 0.0) for ts, step, value in rows])


class Model:
    """What was logged to one run."""

    def __init__(self, store: Any, run_id: str) -> None:
        self.store, self.run_id = store, run_id
        self.logged: dict[str, list[Row]] = defaultdict(list)

    def log(self, metrics: list[Metric]) -> None:
        self.store.log_batch(self.run_id, metrics, [], [])
        for metric in metrics:
            row = (metric.timestamp, metric.step, stored_value(metric.value))
            self.logged[metric.key].append(row)

    def check(self) -> None:
        latest = self.store.get_run(self.run_id).data.metrics
        assert set(latest) == set(self.logged)
        for key, logged in self.logged.items():
            self.check_key(key, model_history(logged), latest[key])

    def check_key(self, key: str, expected: list[Row], latest: float) -> None:
        store, run_id = self.store, self.run_id

        def rank(row: Row) -> tuple[int, int, float]:
            return row[1], row[0], 0.0 if math.isnan(row[2]) else row[2]

        whole = [row_of(m) for m in store.get_metric_history(run_id, key)]
        assert no_minus_zero(whole) == no_minus_zero(expected), key
        best = max(expected, key=rank)
        ties = [row[2] for row in expected if rank(row) == rank(best)]
        assert exact([(0, 0, latest)])[0] in exact([(0, 0, tie) for tie in [*ties, -0.0]])
        assert store.get_max_step_for_metric(run_id, key) == max(row[1] for row in expected)
        bulk = store.get_metric_history_bulk([run_id], key, 25_000)
        assert no_minus_zero([row_of(m) for m in bulk]) == no_minus_zero(expected)
        page, token = store.get_metric_history(run_id, key, 7, None), None
        token = page.token
        assert no_minus_zero([row_of(m) for m in page]) == no_minus_zero(expected[:7])
        assert (token is None) == (len(expected) <= 7)
        steps = sorted({row[1] for row in expected})[::3]
        at_steps = store.get_metric_history_bulk_interval_from_steps(run_id, key, steps, 25_000)
        by_step = sorted(
            (row for row in expected if row[1] in set(steps)),
            key=lambda r: (*rank(r), r[2] != r[2]),
        )
        assert no_minus_zero([row_of(m) for m in at_steps]) == no_minus_zero(by_step)
        for n in (1, 2, 10, 64):
            self.check_sample(key, expected, n, None, None)
        if len(steps) > 2:
            self.check_sample(key, expected, 20, steps[1], steps[-2])

    def check_sample(
        self, key: str, expected: list[Row], n: int, start: int | None, end: int | None
    ) -> None:
        inside = [
            row for row in expected if start is None or end is None or start <= row[1] <= end
        ]
        sample = [
            row_of(m)
            for m in self.store.get_metric_history_bulk_interval([self.run_id], key, n, start, end)
        ]
        assert len(sample) <= n
        assert bool(sample) == bool(inside)
        assert set(no_minus_zero(sample)) <= set(no_minus_zero(inside))
        if len(inside) <= n:
            assert sorted(no_minus_zero(sample)) == sorted(no_minus_zero(inside))
        numbers = [row[2] for row in inside if not math.isnan(row[2])]
        if n >= 4 and numbers:
            values = [row[2] for row in sample]
            assert {min(numbers), max(numbers)} <= set(values), (key, n, start, end)


def drawn_points(rng: random.Random, clock: list[int]) -> list[Metric]:
    """Give some points: mostly a training's, sometimes what nobody expects."""
    metrics = []
    for _ in range(rng.randint(1, 60)):
        key = rng.choice(["loss", "loss", "acc", "\U0001d49c" * 250, "a b/c-d.e"])
        clock[0] += 1
        timestamp, step, value = 1_700_000_000_000 + clock[0], clock[0], rng.gauss(0, 1)
        if rng.random() < 0.2:
            timestamp, step = rng.choice([1, 2, timestamp - 30, INT64_MAX]), rng.randint(-3, 3)
            value = rng.choice([math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0])
        if rng.random() < 0.02:
            step = rng.choice([INT64_MAX, INT64_MIN])
        metrics.append(Metric(key, value, timestamp, step))
        if rng.random() < 0.1:
            metrics.append(rng.choice(metrics))  # again, exactly
    return metrics


@pytest.mark.a_seed_a_database
@pytest.mark.parametrize("seed", range(3))
def test_history_is_the_models_after_every_operation(store: Any, seed: int) -> None:
    rng = random.Random(seed)
    model = Model(store, new_run(store))
    clock = [0]
    seen_levels: set[int] = set()
    for _ in range(40):
        what = rng.random()
        if what < 0.85:
            model.log(drawn_points(rng, clock))
        elif what < 0.95:
            store.update_run_info(model.run_id, RunStatus.FINISHED, 5, None)
            assert count_rows(store)["weir_batch"] == 0
            store.update_run_info(model.run_id, RunStatus.RUNNING, None, None)
        else:
            compact(store.engine, Silent())
        model.check()
        seen_levels |= levels_of(store)
    assert {0, 1, 100} <= seen_levels
    assert check(store.engine, Silent()).problems == []


@pytest.mark.quick_on("sqlite", "postgresql")
def test_a_run_of_thousands_of_keys_reads_as_it_was_logged(store: Any) -> None:
    run_id = new_run(store)
    keys = [f"layer/{i}/norm" for i in range(3000)]
    for step in range(5):
        for start in range(0, len(keys), 1000):
            store.log_batch(
                run_id,
                [Metric(k, step / 3, step, step) for k in keys[start : start + 1000]],
                [],
                [],
            )
    store.update_run_info(run_id, RunStatus.FINISHED, 5, None)
    latest = store.get_run(run_id).data.metrics
    assert latest == dict.fromkeys(keys, 4 / 3)
    for key in keys[::500]:
        assert [row_of(m) for m in store.get_metric_history(run_id, key)] == [
            (step, step, step / 3) for step in range(5)
        ]
    report = check(store.engine, Silent())
    assert (report.problems, report.n_points) == ([], 15_000)


def test_a_finished_run_is_one_pack_and_sealed_chunks(store: Any) -> None:
    run_id = new_run(store)
    for start in range(0, 1000, 50):
        store.log_batch(
            run_id, [Metric("loss", 1.0, i, i) for i in range(start, start + 50)], [], []
        )
    store.update_run_info(run_id, RunStatus.FINISHED, 5, None)
    with store.engine.connect() as connection:
        packs = connection.execute(
            sa.select(sa.func.count(schema.chunk.c.pack.distinct())).where(
                schema.chunk.c.level < 100
            )
        ).scalar()
    assert packs <= 1
    assert 100 in levels_of(store)


# Deleting


def test_hard_deletion_of_a_run_leaves_no_row_of_ours(store: Any) -> None:
    kept, gone = Model(store, new_run(store)), Model(store, new_run(store))
    for model in (kept, gone):
        for start in range(0, 600, 60):
            model.log([Metric("loss", 1.0 * i, i, i) for i in range(start, start + 60)])
    before = count_rows(store)
    assert min(before.values()) > 0
    store.delete_run(gone.run_id)
    kept.check()
    store.restore_run(gone.run_id)
    gone.check()
    store.delete_run(gone.run_id)
    store._hard_delete_run(gone.run_id)
    kept.check()
    after = count_rows(store)
    assert {name: 2 * n for name, n in after.items()} == before
    store.delete_run(kept.run_id)
    store._hard_delete_run(kept.run_id)
    assert set(count_rows(store).values()) == {0}
    assert check(store.engine, Silent()).problems == []


def test_hard_deletion_of_an_experiment_takes_the_history_of_all_its_runs(store: Any) -> None:
    experiment_id = store.create_experiment("to go")
    kept = Model(store, new_run(store))
    models = [kept, *(Model(store, new_run(store, experiment_id)) for _ in range(3))]
    for model in models:
        model.log([Metric("loss", 1.0 * i, i, i) for i in range(100)])
    store.delete_run(models[1].run_id)  # deleted before, and still there
    store.update_run_info(models[2].run_id, RunStatus.FINISHED, 5, None)
    store.delete_experiment(experiment_id)
    store._hard_delete_experiment(experiment_id)
    kept.check()
    with store.engine.connect() as connection:
        for table in (schema.batch, schema.chunk, schema.series):
            owners = set(connection.execute(sa.select(table.c.run_uuid)).scalars())
            assert owners <= {kept.run_id}, table.name
    assert check(store.engine, Silent()).problems == []


def test_history_of_runs_that_others_removed_is_found_and_swept(store: Any) -> None:
    kept, gone = Model(store, new_run(store)), Model(store, new_run(store))
    for model in (kept, gone):
        for start in range(0, 300, 60):
            model.log([Metric("loss", 1.0 * i, i, i) for i in range(start, start + 60)])
    with store.engine.begin() as connection:  # as stock `mlflow gc` does
        for table in ("latest_metrics", "metrics", "params", "tags", "runs"):
            connection.execute(
                sa.text(f"DELETE FROM {table} WHERE run_uuid = :run"), {"run": gone.run_id}
            )
    problems = check(store.engine, Silent()).problems
    assert len(problems) == 1
    assert gone.run_id in problems[0]
    assert compact(store.engine, Silent(), dry_run=True).swept_runs == 1
    assert compact(store.engine, Silent()).swept_runs == 1
    assert check(store.engine, Silent()).problems == []
    kept.check()


# What is damaged


def test_a_missing_index_row_keeps_its_chunk_from_being_merged(store: Any) -> None:
    model = Model(store, new_run(store))
    for start in range(0, 16, 4):
        model.log([Metric(k, 1.0, i, i) for i in range(start, start + 4) for k in KEYS])
    with store.engine.begin() as connection:
        connection.execute(sa.delete(schema.series).where(schema.series.c.key == KEYS[0].encode()))
        chunk_ids = connection.execute(sa.select(schema.chunk.c.chunk_id)).scalars().all()
    assert len(chunk_ids) == 1  # both metrics
    model.log([Metric("other", 1.0, i, i) for i in range(20)])
    store.update_run_info(model.run_id, RunStatus.FINISHED, 5, None)
    with store.engine.connect() as connection:
        left = connection.execute(sa.select(schema.chunk.c.chunk_id)).scalars().all()
    assert set(chunk_ids) <= set(left), "the chunk held the only copy of these points"
    assert any("weir_series" in problem for problem in check(store.engine, Silent()).problems)


# At once


@pytest.mark.a_seed_a_database
@pytest.mark.parametrize("seed", range(3))
def test_no_point_is_missing_while_others_are_compacted(store: Any, seed: int) -> None:
    rng = random.Random(seed)
    run_id = new_run(store)
    stop = threading.Event()
    logged = [0]
    errors: list[BaseException] = []

    def in_thread(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                while not stop.is_set():
                    work()
            except BaseException as exc:  # noqa: BLE001
                errors.append(exc)
                stop.set()

        thread = threading.Thread(target=run, name="weir-test")
        thread.start()
        return thread

    def write() -> None:
        n = rng.randint(1, 40)
        first = logged[0]
        store.log_batch(
            run_id, [Metric("loss", i / 3, i // 2, i) for i in range(first, first + n)], [], []
        )
        logged[0] = first + n

    def pack() -> None:
        for step in (compaction.compact_batches, compaction.merge_all):
            with contextlib.suppress(MlflowException):  # the other one was faster
                store._in_transaction(lambda session, step=step: step(session, run_id))

    threads = [in_thread(write), in_thread(pack), in_thread(pack)]
    until = time.monotonic() + 4
    n_reads = 0
    try:
        while (time.monotonic() < until or n_reads < 3) and not stop.is_set():
            expected = logged[0]
            found = [m.step for m in store.get_metric_history(run_id, "loss")]
            assert found == list(range(len(found)))
            assert len(found) >= expected
            expected = logged[0]
            sample = store.get_metric_history_bulk_interval([run_id], "loss", 20, None, None)
            if expected:
                assert sample[0].step == 0
                assert sample[-1].step >= expected - 1
                assert max(m.value for m in sample) >= (expected - 1) / 3
            assert store.get_max_step_for_metric(run_id, "loss") >= expected - 1 or not expected
            assert check(store.engine, Silent()).problems == []
            n_reads += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join(300)
    assert errors == []
    assert n_reads > 2
    assert [m.step for m in store.get_metric_history(run_id, "loss")] == list(range(logged[0]))


@pytest.mark.parametrize("step", ["compact_batches", "merge_all"])
def test_rows_that_another_process_has_compacted_are_not_compacted_again(
    sqlite_folder: DatabaseServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    # SQLite alone: elsewhere the rows are locked from the moment they are read.
    store: Any = WeirStore(sqlite_folder.new_mlflow_database(), ARTIFACTS)
    model = Model(store, new_run(store))
    for start in range(0, 60, 20):
        model.log([Metric(k, 1.0, i, i) for i in range(start, start + 20) for k in KEYS])
        if step == "merge_all":
            store._in_transaction(lambda s: compaction.compact_batches(s, model.run_id))
    work = getattr(compaction, step)

    def first_read(*arguments: Any) -> Any:
        """Run once, between what reads the rows and what deletes them."""
        monkeypatch.setattr(compaction, name, original)
        store._in_transaction(lambda session: work(session, model.run_id))
        return original(*arguments)

    name = "decode_batch" if step == "compact_batches" else "decode_chunk"
    original = getattr(compaction, name)
    monkeypatch.setattr(compaction, name, first_read)
    with pytest.raises(CompactedElsewhere, match="elsewhere"):
        store._keep_house(lambda session: work(session, model.run_id), 1_000)
    assert check(store.engine, Silent()).n_points == 120
    model.check()
    store._dispose_engine()


def expected_of(n_writers: int, n_batches: int, size: int) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = defaultdict(list)
    for writer in range(n_writers):
        for metrics in points_of(writer, n_batches, size):
            for metric in metrics:
                rows[metric.key].append(row_of(metric))
    return {key: model_history(logged) for key, logged in rows.items()}


@pytest.mark.quick_on("sqlite", "postgresql")
@pytest.mark.parametrize("n_runs", [pytest.param(1, marks=pytest.mark.long), 4])
def test_several_processes_log_at_once_and_nothing_is_lost(
    database_server: DatabaseServer, n_runs: int
) -> None:
    n_writers, n_batches, size = 4, 24 // n_runs, 5
    url = database_server.new_mlflow_database()
    store: Any = WeirStore(url, ARTIFACTS)
    run_ids = [new_run(store) for _ in range(n_runs)]
    arguments = [(url, run_ids, writer, n_batches, size) for writer in range(n_writers)]
    assert run_at_once(log_to_runs, arguments) == []
    for run_id in run_ids:
        latest = store.get_run(run_id).data.metrics
        for key, expected in expected_of(n_writers, n_batches, size).items():
            found = [row_of(m) for m in store.get_metric_history(run_id, key)]
            assert exact(found) == exact(expected)
            assert latest[key] == max(expected, key=lambda row: (row[1], row[0], row[2]))[2]
    assert check(store.engine, Silent()).problems == []
    store._dispose_engine()


# Opening


@pytest.mark.quick_on("sqlite", "postgresql")
@pytest.mark.parametrize("n_databases", [2, pytest.param(12, marks=pytest.mark.long)])
def test_processes_that_open_a_new_database_at_once_all_can(
    database_server: DatabaseServer, n_databases: int
) -> None:
    urls = [database_server.new_database() for _ in range(n_databases)]
    assert run_at_once(open_new_databases, [(urls,), (urls,)]) == []
    for url in urls:
        store: Any = WeirStore(url, ARTIFACTS)
        assert len(store.search_runs(["0"], "", ViewType.ALL)) == 2
        store._dispose_engine()


def test_one_file_has_one_schema_lock_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    entered = threading.Event()

    def enter(path: str) -> None:
        with engines.schema_lock(sa.create_engine(f"sqlite:///{path}")):
            entered.set()

    for other in (f"{tmp_path}/a.db", f"{tmp_path}/link/a.db"):
        with engines.schema_lock(sa.create_engine("sqlite:///a.db")):
            thread = threading.Thread(target=enter, args=(other,))
            thread.start()
            assert not entered.wait(0.3)
        thread.join(300)
        assert entered.is_set()
        entered.clear()


class Interrupted(BaseException):
    """As a signal would."""


def fail_at_statement(engine: sa.Engine, n: int, beginning: tuple[str, ...]) -> Callable[[], None]:
    """Make the ``n``-th statement with such a beginning fail; return what ends that."""
    left = [n]

    def before(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.lstrip().upper().startswith(beginning):
            left[0] -= 1
            if left[0] < 0:
                raise Interrupted

    sa.event.listen(engine, "before_cursor_execute", before)
    return lambda: sa.event.remove(engine, "before_cursor_execute", before)


def test_creation_that_was_interrupted_anywhere_is_completed(
    database_server: DatabaseServer,
) -> None:
    url = database_server.new_mlflow_database()
    engine = sa.create_engine(url)
    for n in range(20):
        with engine.begin() as connection:
            migrations.drop(connection)
        end = fail_at_statement(engine, n, ("CREATE", "INSERT", "UPDATE"))
        try:
            migrations.upgrade(engine)
            break
        except Interrupted:
            engine.dispose()
        finally:
            end()
        migrations.upgrade(engine)
        with engine.connect() as connection:
            assert migrations.current_revision(connection) == migrations.HEAD
            names = {index["name"] for index in sa.inspect(connection).get_indexes("weir_batch")}
        assert "weir_batch_run" in names
    assert n > 5
    engine.dispose()


def test_a_newer_database_is_refused_with_what_to_do(mlflow_database_url: str) -> None:
    store: Any = WeirStore(mlflow_database_url, ARTIFACTS)
    with store.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '0999'"))
    store._dispose_engine()
    newer = f"'0999', newer than '{migrations.HEAD}'.*upgrade mlflow-weir"
    with pytest.raises(MlflowException, match=newer):
        WeirStore(mlflow_database_url, ARTIFACTS)


def test_mlflows_own_message_for_an_older_schema_of_its_own(mlflow_database_url: str) -> None:
    engine = sa.create_engine(mlflow_database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'cfd24bdc0731'"))
    is_file = mlflow_database_url.startswith("sqlite:")
    named = mlflow_database_url if is_file else "<database_uri>"
    with pytest.raises(MlflowException, match=f"'mlflow db upgrade {named}'"):
        WeirStore(mlflow_database_url, ARTIFACTS)
    assert not [name for name in sa.inspect(engine).get_table_names() if name[:4] == "weir"]
    engine.dispose()


OPEN_AS_NOBODY = """
import os, sys
from mlflow.entities import Metric
from mlflow_weir.store.tracking_store import WeirStore
url, run_id, other = sys.argv[1:]
WeirStore(other, "/nowhere").search_runs(["0"], "", 1)  # all that is imported on first use
os.setgid(65534)
os.setuid(65534)
store = WeirStore(url, "/nowhere")
print(len(store.get_metric_history(run_id, "loss")))
store.log_metric(run_id, Metric("loss", 2.0, 2, 2))
"""


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Give a folder that any user can reach; each pytest that starts closes pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def open_as_nobody(url: str, run_id: str, other: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OPEN_AS_NOBODY, url, run_id, other],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "WEIR_WRITE_DEADLINE_SECONDS": "5"},
    )


def new_read_only_file(sqlite_folder: DatabaseServer, folder: Path) -> tuple[str, str]:
    """Make a file that others may only read, and return its URL and a run with a point."""
    source = sqlite_folder.new_mlflow_database()
    url = f"sqlite:///{folder}/ro.db"
    shutil.move(source.removeprefix("sqlite:///"), folder / "ro.db")
    store: Any = WeirStore(url, ARTIFACTS)
    run_id = new_run(store)
    store.log_batch(run_id, [Metric("loss", 1.0, 1, 1)], [], [])
    store._dispose_engine()
    (folder / "ro.db").chmod(0o444)
    return url, run_id


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_a_read_only_sqlite_file_is_read_and_refuses_writes(
    sqlite_folder: DatabaseServer, shared_folder: Path
) -> None:
    url, run_id = new_read_only_file(sqlite_folder, shared_folder)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
    engine.dispose()
    result = open_as_nobody(url, run_id, sqlite_folder.new_mlflow_database())
    assert result.stdout == "1\n", result.stderr
    assert result.returncode == 1
    assert "\nmlflow.exceptions.MlflowException" in result.stderr
    assert "readonly database" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_a_read_only_stock_database_says_that_it_cannot_be_written(
    sqlite_folder: DatabaseServer, shared_folder: Path
) -> None:
    source = sqlite_folder.new_mlflow_database()
    url = f"sqlite:///{shared_folder}/ro.db"
    shutil.move(source.removeprefix("sqlite:///"), shared_folder / "ro.db")
    SqlAlchemyStore(url, ARTIFACTS)._dispose_engine()  # creates the default experiment
    (shared_folder / "ro.db").chmod(0o444)
    result = open_as_nobody(url, "0" * 32, sqlite_folder.new_mlflow_database())
    assert result.returncode == 1
    assert "\nmlflow.exceptions.MlflowException: the weir tables could not be" in result.stderr
    assert "readonly database" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_a_file_in_write_ahead_mode_that_cannot_be_opened_says_why(
    sqlite_folder: DatabaseServer, shared_folder: Path
) -> None:
    url = new_read_only_file(sqlite_folder, shared_folder)[0]
    result = open_as_nobody(url, "0" * 32, sqlite_folder.new_mlflow_database())
    assert result.returncode == 1
    assert "\nmlflow.exceptions.MlflowException: " in result.stderr
    assert "allow this user to write the file and its folder" in result.stderr


def test_a_folder_that_is_missing_is_made_or_named(tmp_path: Path) -> None:
    store: Any = WeirStore(f"sqlite:///{tmp_path}/new/folder/a.db", ARTIFACTS)
    assert (tmp_path / "new/folder/a.db").is_file()
    store._dispose_engine()
