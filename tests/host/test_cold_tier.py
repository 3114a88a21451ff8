"""``weir db archive``: chunks move to objects and back; every read stays the same meanwhile."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset
import pyarrow.fs
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mlflow.entities import Metric, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from databases import DatabaseServer
from metric_writers import ARTIFACTS, make_small
from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import schema
from mlflow_weir.store.cold import objects, places, reading
from mlflow_weir.store.maintenance import cold
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.tracking_store import WeirStore
from pairs import comparable, settle_ties
from s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from warm_python import warm_python

pytestmark = pytest.mark.slow

KEYS = ("loss", "acc", "längere/Namen", "\U0001d49c" * 20)


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a few points fill chunks, row groups and objects."""
    make_small(monkeypatch.setattr)
    monkeypatch.setattr(objects, "ROW_GROUP_POINTS", 200)
    monkeypatch.setattr(cold, "OBJECT_POINTS", 700)
    reading.forget()
    yield
    reading.forget()


def weir_db(*words: str) -> Any:
    return CliRunner().invoke(main, ["db", *words], catch_exceptions=False)


def succeeded(*words: str) -> Any:
    done = weir_db(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def points_of(rng: random.Random, n: int, key: str, first: int = 0) -> list[Metric]:
    found = []
    for step in range(first, first + n):
        value = rng.gauss(0, 1)
        if step % 17 == 0:
            value = rng.choice([math.nan, math.inf, -math.inf])
        found.append(Metric(key, value, 10**12 + step * 7 // 3, step - 20))
    return found


def fill(store: Any) -> list[str]:
    """Make ended runs of two experiments and two months; return their ids."""
    rng = random.Random(5)
    other = store.create_experiment("other")
    run_ids = []
    for i in range(6):
        start_ms = 10**12 + (i % 2) * 40 * 86_400_000
        run = store.create_run(other if i > 3 else "0", "somebody", start_ms, [], f"run {i}")
        run_id = str(run.info.run_id)
        for key in KEYS[: 2 + i % 3]:
            store.log_batch(run_id, points_of(rng, 330 if key == "loss" else 40, key), [], [])
        store.update_run_info(run_id, RunStatus.FINISHED, start_ms + 1000, None)
        run_ids.append(run_id)
    return run_ids


def answers(store: Any, run_ids: list[str]) -> dict[Any, Any]:
    """Give all that a store says of these runs' metrics."""
    found: dict[Any, Any] = {}
    experiments = ["0", *(one.experiment_id for one in store.search_experiments())]
    for run_id in run_ids:
        data = store.get_run(run_id).data
        found[run_id] = comparable(dict(data.metrics))
        for key in sorted(data.metrics):
            history = store.get_metric_history(run_id, key)
            found[run_id, key] = settle_ties(comparable(list(history)))
            found[run_id, key, "max"] = store.get_max_step_for_metric(run_id, key)
    for width in (7, 300):
        sampled = store.get_metric_history_bulk_interval(run_ids, "loss", width, None, None)
        found["sampled", width] = [
            (one.run_id, one.step, one.timestamp, repr(one.value)) for one in sampled
        ]
    for order in ("metrics.loss DESC", "attributes.start_time"):
        runs = store.search_runs(experiments, "metrics.acc > -9", ViewType.ALL, 100, [order])
        found[order] = [run.info.run_id for run in runs]
    return found


def afresh(store: Any, run_ids: list[str]) -> dict[Any, Any]:
    reading.forget()
    return answers(store, run_ids)


def counts(engine: sa.Engine) -> tuple[int, int, int]:
    """Count chunks in the database, chunks in objects, and objects."""
    payload = schema.chunk.c.payload
    with engine.connect() as connection:
        sizes = connection.execute(sa.select(sa.func.length(payload))).scalars().all()
        n_objects = connection.execute(
            sa.select(sa.func.count()).select_from(schema.cold_object)
        ).scalar_one()
    return sum(map(bool, sizes)), sum(not size for size in sizes), n_objects


def rows_by_duckdb(query: str, **tables: Any) -> list[Any]:
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return list(connection.execute(query).fetchall())


def objects_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


@pytest.mark.quick_on("sqlite", "postgresql")
def test_what_moves_is_read_as_before_and_comes_back(
    mlflow_database_url: str, tmp_path: Path
) -> None:
    url, folder = mlflow_database_url, tmp_path / "data set"
    store: Any = WeirStore(url, ARTIFACTS)
    run_ids = fill(store)
    running = store.create_run("0", "somebody", 1, [], "running").info.run_id
    store.log_batch(running, points_of(random.Random(1), 50, "loss"), [], [])
    before = answers(store, [*run_ids, running])
    n_chunks = counts(store.engine)[0]
    to = ["--to", str(folder), "--older-than", "0d"]
    would = succeeded("archive", url, *to, "--dry-run")
    assert counts(store.engine) == (n_chunks, 0, 0)
    done = succeeded("archive", url, *to)
    assert (done["n_chunks"], done["n_points"]) == (would["n_chunks"], would["n_points"])
    assert done["n_runs"] == len(run_ids)
    hot, moved, n_objects = counts(store.engine)
    assert (hot, moved, n_objects) == (0, n_chunks, len(objects_in(folder)))
    assert n_objects > 4  # two experiments, two months, and what is too much for one
    assert afresh(store, [*run_ids, running]) == before
    assert succeeded("check", url)["problems"] == []
    assert succeeded("archive", url, *to)["n_chunks"] == 0  # again: nothing is left to do

    # A run that goes on, and ends again.
    resumed, rewound, deleted, retained, *_ = run_ids
    store.update_run_info(resumed, RunStatus.RUNNING, None, None)
    for first in (330, 340, 350):
        store.log_batch(resumed, points_of(random.Random(2), 10, "loss", first), [], [])
    store.update_run_info(resumed, RunStatus.FINISHED, 10**12 + 2000, None)
    assert len(store.get_metric_history(resumed, "loss")) == 360
    # One that is taken back to a step within what has moved.
    store.rewind_run(rewound, 100)
    history = store.get_metric_history(rewound, "loss")
    assert max(point.step for point in history) == 100
    assert store.get_run(rewound).data.metrics["loss"] == history[-1].value
    # Runs that go.
    store.delete_run(deleted)
    store._hard_delete_run(deleted)
    store.set_tag(retained, RunTag("x", ""))
    succeeded("retain", url, "--tag", "x", "--apply")
    left = [resumed, rewound, *run_ids[4:], running]
    now = answers(store, left)
    found = succeeded("check", url)
    assert found["problems"] == []
    assert "`weir db archive` writes it anew" in " ".join(found["notes"])
    # The data set still has what is gone, until the next command writes these objects anew.
    succeeded("archive", url, *to)
    assert afresh(store, left) == now
    assert succeeded("check", url)["notes"] == []
    rows = rows_by_duckdb(
        f"SELECT run_id, key, count(*) FROM '{folder}/*/*/*.parquet' GROUP BY ALL"
    )
    listed = {(run_id, key): n for run_id, key, n in rows}
    assert listed == {
        (run_id, key): len(store.get_metric_history(run_id, key))
        for run_id in left[:-1]
        for key in store.get_run(run_id).data.metrics
    }

    # All the way back, to stock MLflow.
    weir_db("eject", url, "--yes")
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    store._dispose_engine()
    stock: Any = SqlAlchemyStore(url, ARTIFACTS)
    for run_id in left:
        assert {key: now[run_id, key] for key in stock.get_run(run_id).data.metrics} == {
            key: settle_ties(comparable(list(stock.get_metric_history(run_id, key))))
            for key in stock.get_run(run_id).data.metrics
        }
    stock._dispose_engine()


@pytest.mark.quick_on("sqlite")
def test_the_data_set_is_read_by_duckdb_as_it_is(mlflow_database_url: str, tmp_path: Path) -> None:
    store: Any = WeirStore(mlflow_database_url, ARTIFACTS)
    run_ids = fill(store)
    folder = tmp_path / "cold"
    succeeded("archive", mlflow_database_url, "--to", str(folder), "--older-than", "0d")
    found = rows_by_duckdb(
        f"""SELECT experiment_id, month, run_id, count(*), max(step), bool_or(isnan(value))
            FROM read_parquet('{folder}/*/*/*.parquet', hive_partitioning = true)
            WHERE key = 'loss' GROUP BY ALL ORDER BY run_id"""
    )
    months = ["2001-09", "2001-10"]
    other = store.get_experiment_by_name("other").experiment_id
    assert found == sorted(
        [
            (int(other) if i > 3 else 0, months[i % 2], run_id, 330, 309, True)
            for i, run_id in enumerate(run_ids)
        ],
        key=lambda row: row[2],
    )
    (values,) = rows_by_duckdb(
        f"""SELECT list(value ORDER BY timestamp, step) FROM '{folder}/*/*/*.parquet'
            WHERE run_id = '{run_ids[4]}' AND key = '{KEYS[2]}'"""
    )[0]
    history = store.get_metric_history(run_ids[4], KEYS[2])
    assert [repr(value) for value in values] == [repr(point.value) for point in history]
    store._dispose_engine()


@pytest.mark.quick_on("sqlite")
def test_it_moves_to_s3_and_says_when_that_is_away(
    mlflow_database_url: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mlflow_database_url
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3.address)
    bucket = s3.new_bucket(f"cold-{os.urandom(4).hex()}")
    monkeypatch.setenv("WEIR_COLD_STORE", f"s3://{bucket}/of/weir")
    store: Any = WeirStore(url, ARTIFACTS)
    run_ids = fill(store)
    before = answers(store, run_ids)
    asked: list[tuple[int, int | None]] = []
    read = places.S3Place.read

    def note(self: Any, name: str, start: int = 0, length: int | None = None) -> bytes:
        asked.append((start, length))
        return read(self, name, start, length)

    succeeded("archive", url, "--older-than", "0d")
    monkeypatch.setattr(places.S3Place, "read", note)
    assert afresh(store, run_ids) == before
    assert asked  # by ranges, none of them a whole object
    assert all(length is not None for _, length in asked)
    assert succeeded("check", url)["problems"] == []
    # DuckDB's own way to S3 is an extension that it downloads; pyarrow's is built in.
    files = pyarrow.fs.S3FileSystem(
        access_key=ACCESS_KEY, secret_key=SECRET_KEY, endpoint_override=s3.address, region="any"
    )
    points = pyarrow.dataset.dataset(f"{bucket}/of/weir", filesystem=files, partitioning="hive")
    found = rows_by_duckdb(
        """SELECT run_id, count(*), max(step), bool_or(isnan(value)) FROM points
           WHERE key = 'loss' AND month = '2001-10' GROUP BY run_id ORDER BY run_id""",
        points=points,
    )
    assert found == sorted((run_id, 330, 309, True) for run_id in run_ids[1::2])
    # Away: whoever needs the points is told so, all else goes on.
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    reading.forget()
    with pytest.raises(MlflowException, match="MLFLOW_S3_ENDPOINT_URL"):
        store.get_metric_history(run_ids[0], "loss")
    assert store.get_run(run_ids[0]).data.metrics
    assert store.get_max_step_for_metric(run_ids[0], "loss") == 309
    store.log_batch(run_ids[0], points_of(random.Random(3), 5, "more"), [], [])
    done = weir_db("archive", url, "--back")
    assert done.exit_code == 1
    assert counts(store.engine)[1] > 0
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3.address)
    succeeded("archive", url, "--back")
    assert counts(store.engine)[1:] == (0, 0)
    now = answers(store, run_ids)
    assert now.pop(run_ids[0]).pop("more")
    before.pop(run_ids[0])
    assert {key: now[key] for key in before} == before
    assert s3.client.list_objects_v2(Bucket=bucket).get("Contents", []) == []
    store._dispose_engine()


class Stopped(BaseException):
    """As a signal would."""


def interrupt(monkeypatch: pytest.MonkeyPatch, engine: sa.Engine) -> Callable[[int | None], None]:
    """Return what sets at which statement, commit or deed at the place the next one stops."""
    left: list[int | None] = [None]

    def count(*_: Any) -> None:
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                raise Stopped

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    sa.event.listen(sa.Engine, "commit", count)
    for name in ("put", "read", "delete"):
        deed = getattr(places.FolderPlace, name)

        def counted(*words: Any, deed: Any = deed) -> Any:
            count()
            found = deed(*words)
            count()
            return found

        monkeypatch.setattr(places.FolderPlace, name, counted)
    return lambda at: left.__setitem__(0, at)


@pytest.mark.quick_on("sqlite")
@pytest.mark.parametrize("stride", [17, pytest.param(1, marks=pytest.mark.long)])
def test_stopped_anywhere_nothing_is_lost_and_the_next_one_completes(
    database_server: DatabaseServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stride: int,
) -> None:
    url = database_server.new_mlflow_database()
    store: Any = WeirStore(url, ARTIFACTS)
    run_ids = fill(store)
    before = answers(store, run_ids)
    stop_at = interrupt(monkeypatch, store.engine)
    for act in (
        lambda: cold.archive(store.engine, str(tmp_path / "c"), Silent(), older_than_ms=0),
        lambda: cold.bring_back(store.engine, Silent()),
    ):
        n_stopped = 0
        for at in itertools.count(1, stride):
            stop_at(at)
            try:
                act()
            except Stopped:
                n_stopped += 1
            else:
                break
            finally:
                stop_at(None)
            if stride > 1 or at % 5 == 0:
                assert afresh(store, run_ids) == before
        assert n_stopped > 2
        assert afresh(store, run_ids) == before
        found = succeeded("check", url)
        assert (found["problems"], found["notes"]) == ([], [])
        assert len(objects_in(tmp_path)) == counts(store.engine)[2]
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".db"] == []
    store._dispose_engine()


# The command, killed where it is about to send its n-th statement or commit, or has just written,
# read or taken away a file.
KILLED_AT = """
import os, sys
import sqlalchemy as sa
from mlflow_weir.plugin.cli import main
from mlflow_weir.store.cold import objects, places
from mlflow_weir.store.maintenance import cold
cold.OBJECT_POINTS, objects.ROW_GROUP_POINTS = 700, 200
left = int(sys.argv.pop())
def count(*_):
    global left
    left -= 1
    if left < 0: os.kill(os.getpid(), 9)
sa.event.listen(sa.Engine, "before_cursor_execute", count)
sa.event.listen(sa.Engine, "commit", count)
for name in ("put", "read", "delete"):
    def counted(*words, deed=getattr(places.FolderPlace, name)):
        count(); found = deed(*words); count()
        return found
    setattr(places.FolderPlace, name, counted)
def counted_replace(*words, deed=os.replace):
    count(); deed(*words)
os.replace = counted_replace
main()
"""


# The command, killed inside the writing of a file of chunks: before it has its name.
KILLED_INSIDE = """
import os
from mlflow_weir.plugin.cli import main
replace = os.replace
def die(written, path):
    if str(path).endswith(".parquet"): os.kill(os.getpid(), 9)
    replace(written, path)
os.replace = die
main()
"""


def test_what_a_kill_inside_a_write_leaves_is_taken_away(new_store: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{new_store}/weir.db"
    store: Any = WeirStore(url, ARTIFACTS)
    run_ids = fill(store)
    before = answers(store, run_ids)
    words = ["db", "archive", url, "--to", str(tmp_path / "c"), "--older-than", "0d"]
    for back in ([], ["--back"]):
        code, out, err = warm_python().outcome(KILLED_INSIDE, words, dict(os.environ), tmp_path)
        assert code == -signal.SIGKILL, (out, err)
        assert len(list((tmp_path / "c").rglob("*.part"))) == 1
        found = succeeded("check", url)
        assert found["problems"] == []
        assert ["left by a command that was stopped" in note for note in found["notes"]] == [True]
        succeeded("archive", url, *(back or words[3:]))
        assert list((tmp_path / "c").rglob("*.part")) == []
        assert afresh(store, run_ids) == before
        succeeded("archive", url, "--back")
    store._dispose_engine()


@pytest.mark.long
def test_killed_anywhere_nothing_is_lost(database_server: DatabaseServer, tmp_path: Path) -> None:
    url = database_server.new_mlflow_database()
    store: Any = WeirStore(url, ARTIFACTS)
    run_ids = fill(store)
    before = answers(store, run_ids)
    to = ["--to", str(tmp_path / "c"), "--older-than", "0d"]
    for words in (["archive", url, *to], ["archive", url, "--back"]):
        for at in itertools.count(10, 7):
            code, out, err = warm_python().outcome(
                KILLED_AT, ["db", *words, str(at)], dict(os.environ), tmp_path
            )
            assert afresh(store, run_ids) == before
            if code == 0:
                break
            assert code == -signal.SIGKILL, (out, err)
        assert succeeded("check", url)["problems"] == []
        assert len(objects_in(tmp_path)) == counts(store.engine)[2]
        assert list(tmp_path.rglob("*.part")) == []
    store._dispose_engine()


@pytest.mark.quick_on("mariadb")
def test_chunks_that_change_while_they_are_copied_stay(
    mlflow_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = WeirStore(mlflow_database_url, ARTIFACTS)
    run_ids = fill(store)
    write = objects.write

    def meanwhile(chunks: Any) -> objects.Written:
        monkeypatch.setattr(objects, "write", write)
        store.rewind_run(chunks[0].run_id, 5)
        return write(chunks)

    monkeypatch.setattr(objects, "write", meanwhile)
    first = cold.archive(store.engine, str(tmp_path), Silent(), older_than_ms=0)
    assert any("changed while they were copied" in note for note in first.notes)
    assert counts(store.engine)[0] > 0
    before = afresh(store, run_ids)
    assert succeeded("check", mlflow_database_url)["problems"] == []
    assert len(objects_in(tmp_path)) == first.n_objects
    cold.archive(store.engine, str(tmp_path), Silent(), older_than_ms=0)
    assert counts(store.engine)[0] == 0
    assert afresh(store, run_ids) == before

    # A read that has found where a chunk is meets the object gone, and its chunk back.
    fetch = reading.fetch_range

    def too_late(one: reading.Located) -> bytes:
        monkeypatch.setattr(reading, "fetch_range", fetch)
        cold.bring_back(store.engine, Silent())
        return fetch(one)

    reading.forget()
    monkeypatch.setattr(reading, "fetch_range", too_late)
    history = store.get_metric_history(run_ids[-1], "loss")
    assert settle_ties(comparable(list(history))) == before[run_ids[-1], "loss"]
    assert counts(store.engine)[1:] == (0, 0)
    store._dispose_engine()


@pytest.mark.quick_on("sqlite")
def test_check_names_what_is_missing_changed_or_unknown(
    mlflow_database_url: str, tmp_path: Path
) -> None:
    url = mlflow_database_url
    store: Any = WeirStore(url, ARTIFACTS)
    run_ids = fill(store)
    before = answers(store, run_ids)
    to = ["--to", str(tmp_path / "c"), "--older-than", "0d"]
    succeeded("archive", url, *to)
    first, second, *_ = objects_in(tmp_path)
    kept = [path.read_bytes() for path in (first, second)]
    first.unlink()
    flipped = bytearray(kept[1])
    flipped[100] ^= 1
    second.write_bytes(flipped)
    stranger = second.with_name(f"{'0' * 32}.parquet")
    stranger.write_bytes(b"x")
    reading.forget()
    done = weir_db("check", url)
    assert done.exit_code == 1
    assert f"{first.name} is missing" in done.output
    assert f"{second.name}: its checksum does not hold" in done.output
    assert f"{stranger.name}: no row of the database knows it" in done.output
    with store.engine.connect() as connection:
        (lost,) = connection.execute(
            sa.select(schema.cold.c.run_uuid).where(schema.cold.c.object_id == first.stem).limit(1)
        ).one()
    with pytest.raises(MlflowException, match="is missing"):
        answers(store, [lost])
    # What cannot be read stays where it is, all else comes back; nothing is dropped over it.
    done = weir_db("archive", url, "--back")
    assert done.exit_code == 1
    assert counts(store.engine)[2] == 2
    done = weir_db("eject", url, "--yes")
    assert done.exit_code == 1
    assert "stay in the weir tables" in done.output
    first.parent.mkdir(parents=True, exist_ok=True)
    for path, body in zip((first, second), kept, strict=True):
        path.write_bytes(body)
    stranger.unlink()
    succeeded("archive", url, "--back")
    store._dispose_engine()
    assert weir_db("eject", url, "--yes").exit_code == 0
    stock: Any = SqlAlchemyStore(url, ARTIFACTS)
    for run_id in run_ids:
        for key in stock.get_run(run_id).data.metrics:
            history = stock.get_metric_history(run_id, key)
            assert settle_ties(comparable(list(history))) == before[run_id, key]
    stock._dispose_engine()


@pytest.mark.quick_on("sqlite")
def test_a_place_is_one_databases_and_absolute(
    database_server: DatabaseServer, tmp_path: Path
) -> None:
    urls = [database_server.new_mlflow_database() for _ in range(2)]
    stores: list[Any] = [WeirStore(url, ARTIFACTS) for url in urls]
    for store in stores:
        fill(store)
    cold.archive(stores[0].engine, str(tmp_path), Silent(), older_than_ms=0)
    with pytest.raises(ConfigError, match="another database"):
        cold.archive(stores[1].engine, str(tmp_path), Silent(), older_than_ms=0)
    for address in ("relative", "file://host/folder", "ftp://x/y", "s3:///prefix", "s3://b/../c"):
        with pytest.raises(ConfigError, match=r"no place for chunks|expected s3://"):
            cold.archive(stores[1].engine, address, Silent(), older_than_ms=0)
    done = weir_db("archive", urls[1])
    assert "set WEIR_COLD_STORE" in done.output
    for store in stores:
        store._dispose_engine()
