"""``weir db upgrade|compact|check|eject``: nothing is lost on the way there and back."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from hypothesis import settings
from mlflow.entities import Metric, RunStatus, ViewType
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from databases import DatabaseServer
from metric_writers import ARTIFACTS, make_small
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import migrations, schema
from mlflow_weir.store.maintenance import compact as compacting
from mlflow_weir.store.maintenance import eject as ejecting
from mlflow_weir.store.tracking_store import WeirStore
from pairs import comparable, settle_ties
from warm_python import warm_python

pytestmark = pytest.mark.slow

KEYS = ("loss", "acc", "\U0001d49c" * 250)


def weir_db(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["db", *arguments], catch_exceptions=False)


def succeeded(*arguments: str) -> str:
    result = weir_db(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def fill_as_stock(url: str, n_runs: int = 3, n_points: int = 1500) -> list[str]:
    """Write runs with metric rows as stock MLflow leaves them."""
    stock: Any = SqlAlchemyStore(url, ARTIFACTS)
    rng = random.Random(3)
    run_ids = []
    for i in range(n_runs):
        run_id = stock.create_run("0", "somebody", 1000 + i, [], f"run {i}").info.run_id
        run_ids.append(run_id)
        for key in KEYS:  # the newest of each through MLflow, so that latest_metrics is right
            stock.log_batch(run_id, [Metric(key, 0.5, 10**12, 10**6 + i)], [], [])
        rows: set[tuple[Any, ...]] = set()
        for key in KEYS:
            for step in range(n_points):
                value, is_nan = rng.gauss(0, 1), False
                if step % 97 == 0:
                    value, is_nan = 0.0, True
                elif step % 101 == 0:
                    value = rng.choice([1.7976931348623157e308, -1.7976931348623157e308])
                stamp = 1000 + (step if step % 50 else rng.randrange(n_points))
                rows.add((run_id, key, stamp, step // 2, value, is_nan))
        names = ("run_uuid", "key", "timestamp", "step", "value", "is_nan")
        with stock.engine.begin() as connection:
            connection.execute(
                sa.insert(schema.mlflow_metrics),
                [dict(zip(names, row, strict=True)) for row in sorted(rows)],
            )
    stock._dispose_engine()
    return run_ids


def answers(store: Any, run_ids: list[str]) -> dict[Any, Any]:
    """Give all that a store says of these runs' metrics."""
    found: dict[Any, Any] = {}
    for run_id in run_ids:
        data = store.get_run(run_id).data
        found[run_id, "latest"] = comparable(dict(data.metrics))
        for key in sorted(data.metrics):
            history = store.get_metric_history(run_id, key)
            found[run_id, key] = settle_ties(comparable(list(history)))
            found[run_id, key, "max"] = store.get_max_step_for_metric(run_id, key)
    for order in ("metrics.loss DESC", "attributes.start_time"):
        runs = store.search_runs(["0"], "metrics.acc > 0.1", ViewType.ALL, 100, [order])
        found[order] = [run.info.run_id for run in runs]
    return found


def answers_of(kind: Any, url: str, run_ids: list[str]) -> dict[Any, Any]:
    store = kind(url, ARTIFACTS)
    try:
        return answers(store, run_ids)
    finally:
        store._dispose_engine()


def dump(url: str) -> dict[str, Any]:
    """Give every row of every table, and every index."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        found: dict[str, Any] = {
            name: sorted(
                repr(tuple(row))
                for row in connection.execute(sa.select(sa.text("*")).select_from(sa.table(name)))
            )
            for name in inspector.get_table_names()
        }
        for (_, name), indexes in inspector.get_multi_indexes().items():
            found[f"indexes of {name}"] = sorted(str(index["name"]) for index in indexes)
    engine.dispose()
    return found


def names_of_ours(url: str) -> list[str]:
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    names = inspector.get_table_names()
    for indexes in inspector.get_multi_indexes().values():
        names += [str(index["name"]) for index in indexes]
    engine.dispose()
    return [name for name in names if "weir" in name]


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch.setattr)


@pytest.mark.quick_on("sqlite", "mariadb")
def test_a_stock_database_reads_the_same_compacted_and_ejected(
    mlflow_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mlflow_database_url
    monkeypatch.setattr(compacting, "SLICE_POINTS", 2500)
    run_ids = fill_as_stock(url)
    before = answers_of(SqlAlchemyStore, url, run_ids)
    whole = dump(url)

    assert "would be applied: 0001" in succeeded("upgrade", url, "--dry-run")
    assert dump(url) == whole
    succeeded("upgrade", url)
    assert "nothing to do" in succeeded("upgrade", url)
    assert "all well" in succeeded("check", url)
    assert answers_of(WeirStore, url, run_ids) == before

    upgraded = dump(url)
    report = json.loads(succeeded("compact", url, "--dry-run", "--json"))
    assert dump(url) == upgraded
    moved = json.loads(succeeded("compact", url, "--json"))
    assert moved["moved_rows"] == report["moved_rows"] > 10_000
    assert dump(url)["metrics"] == []
    assert answers_of(WeirStore, url, run_ids) == before
    assert json.loads(succeeded("compact", url, "--json"))["moved_rows"] == 0
    checked = json.loads(succeeded("check", url, "--json"))
    assert (checked["problems"], checked["n_points"]) == ([], moved["moved_rows"])

    compacted = dump(url)
    report = json.loads(succeeded("eject", url, "--dry-run", "--json"))
    assert report["n_points"] == moved["moved_rows"]
    assert dump(url) == compacted
    assert weir_db("eject", url).exit_code == 1  # not confirmed
    assert dump(url) == compacted
    succeeded("eject", url, "--yes")
    assert names_of_ours(url) == []
    assert dump(url) == whole
    assert answers_of(SqlAlchemyStore, url, run_ids) == before
    assert answers_of(WeirStore, url, run_ids) == before  # and back again


def test_history_in_every_stage_ejects_to_what_stock_reads(
    mlflow_database_url: str, small_sizes: None
) -> None:
    url = mlflow_database_url
    run_ids = fill_as_stock(url, n_runs=1, n_points=50)
    store: Any = WeirStore(url, ARTIFACTS)
    run_ids.append(store.create_run("0", "somebody", 9, [], "another").info.run_id)
    rng = random.Random(1)
    for run_id in run_ids:
        for start in range(0, 900, 30):
            points = [
                Metric(key, rng.choice([rng.random(), math.nan, math.inf]), i // 3, i // 2)
                for i in range(start, start + 30)
                for key in ("loss", "acc")
            ]
            store.log_batch(run_id, [*points, points[0]], [], [])
    store.update_run_info(run_ids[0], RunStatus.FINISHED, 5, None)
    store.log_batch(run_ids[0], [Metric("loss", 7.0, 7, 7)], [], [])
    before = answers(store, run_ids)
    store._dispose_engine()
    succeeded("eject", url, "--yes")
    assert names_of_ours(url) == []
    assert answers_of(SqlAlchemyStore, url, run_ids) == before


@pytest.mark.quick_on("sqlite", "postgresql")
def test_more_keys_than_a_statement_has_parameters(mlflow_database_url: str) -> None:
    stock: Any = SqlAlchemyStore(mlflow_database_url, ARTIFACTS)
    run_id = stock.create_run("0", "somebody", 1, [], "a run").info.run_id
    n = 34_000 if stock.engine.dialect.name == "sqlite" else 66_000  # by default 32,766; 65,535
    with stock.engine.begin() as connection:
        rows = [
            dict(run_uuid=run_id, key=f"k{i}", timestamp=i, step=i, value=i / 3, is_nan=False)
            for i in range(n)
        ]
        connection.execute(sa.insert(schema.mlflow_metrics), rows)
    stock._dispose_engine()
    succeeded("upgrade", mlflow_database_url)
    assert json.loads(succeeded("compact", mlflow_database_url, "--json"))["moved_rows"] == n
    store: Any = WeirStore(mlflow_database_url, ARTIFACTS)
    for i in (0, 1, n // 2, n - 1):
        assert [m.value for m in store.get_metric_history(run_id, f"k{i}")] == [i / 3]
    store._dispose_engine()


# The command, killed where it is about to send its n-th statement or commit.
KILLED_AT = """
import os, sys
import sqlalchemy as sa
from mlflow_weir.plugin.cli import main
left = int(sys.argv.pop())
def count(*_):
    global left
    left -= 1
    if left < 0: os.kill(os.getpid(), 9)
sa.event.listen(sa.Engine, "before_cursor_execute", count)
sa.event.listen(sa.Engine, "commit", count)
main()
"""


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("compact", marks=pytest.mark.quick_on("sqlite", "postgresql")),
        pytest.param("eject", marks=pytest.mark.quick_on("sqlite", "mariadb")),
    ],
)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_killed_command_completes_when_it_is_run_again(
    database_server: DatabaseServer, command: str, seed: int, tmp_path: Path
) -> None:
    url = database_server.new_mlflow_database()
    run_ids = fill_as_stock(url, n_runs=8, n_points=60)
    before = answers_of(SqlAlchemyStore, url, run_ids)
    succeeded("upgrade", url)
    if command == "eject":
        succeeded("compact", url)
    n_rows = rows_of_metrics(url)
    words = ["db", command, url, *(["--yes"] if command == "eject" else [])]
    n_killed = n_killed_on_the_way = 0
    # It begins with what it finds there, and is killed further on each time, until it completes.
    for at in itertools.count(5 + 4 * seed, 9):
        code, out, err = warm_python().outcome(
            KILLED_AT, [*words, str(at)], dict(os.environ), tmp_path
        )
        if code == 0:
            break
        assert code == -signal.SIGKILL, (out, err)
        n_killed += 1
        n_killed_on_the_way += rows_of_metrics(url) != n_rows
    assert n_killed > 2
    assert n_killed_on_the_way > 0
    if command == "compact":
        assert "all well" in succeeded("check", url)
        assert answers_of(WeirStore, url, run_ids) == before
        assert dump(url)["metrics"] == []
    else:
        assert names_of_ours(url) == []
        assert answers_of(SqlAlchemyStore, url, run_ids) == before


def rows_of_metrics(url: str) -> int:
    """Count the points that are rows of stock MLflow's."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        n = connection.execute(
            sa.select(sa.func.count()).select_from(schema.mlflow_metrics)
        ).scalar_one()
    engine.dispose()
    return int(n)


class Interrupted(BaseException):
    """As a signal would."""


def test_an_eject_interrupted_while_it_drops_completes(
    mlflow_database_url: str, small_sizes: None
) -> None:
    url = mlflow_database_url
    run_ids = fill_as_stock(url, n_runs=1, n_points=20)
    before = answers_of(SqlAlchemyStore, url, run_ids)

    def before_statement(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.lstrip().upper().startswith("DROP"):
            left[0] -= 1
            if left[0] < 0:
                raise Interrupted

    # Each of them on SQLite; where that takes longer some, and all with test-long.
    is_whole = url.startswith("sqlite") or settings.get_current_profile_name() == "long"
    for n in range(20) if is_whole else (0, 1, 6, 13):
        succeeded("upgrade", url)
        left = [n]
        sa.event.listen(sa.Engine, "before_cursor_execute", before_statement)
        try:
            succeeded("eject", url, "--yes")
            break
        except Interrupted:
            pass
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", before_statement)
        if n % 2 and names_of_ours(url):  # somebody opens it before eject is run again
            assert answers_of(WeirStore, url, run_ids) == before
        succeeded("eject", url, "--yes")
        assert names_of_ours(url) == []
        assert answers_of(SqlAlchemyStore, url, run_ids) == before
    assert n > 4


def test_points_that_arrive_while_it_ejects_stop_it_before_it_drops(
    mlflow_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mlflow_database_url
    store: Any = WeirStore(url, ARTIFACTS)
    run_id = store.create_run("0", "somebody", 1, [], "a run").info.run_id
    store.log_batch(run_id, [Metric("loss", 1.0, 1, 1)], [], [])
    give_back = ejecting._give_back_batch

    def and_log(session: Any, row_id: int) -> int:
        n = give_back(session, row_id)
        if not logged:
            session.commit()
            store.log_batch(run_id, [Metric("loss", 2.0, 2, 2)], [], [])
            logged.append(True)
        return n

    logged: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(ejecting, "_give_back_batch", and_log)
        result = weir_db("eject", url, "--yes")
    assert result.exit_code == 1
    assert "stop everything that writes" in result.output
    assert [m.value for m in store.get_metric_history(run_id, "loss")] == [1.0, 2.0]
    store._dispose_engine()
    succeeded("eject", url, "--yes")
    stock: Any = SqlAlchemyStore(url, ARTIFACTS)
    assert [m.value for m in stock.get_metric_history(run_id, "loss")] == [1.0, 2.0]
    stock._dispose_engine()


# Damage


@pytest.fixture
def damaged(mlflow_database_url: str, small_sizes: None) -> Iterator[tuple[Any, str]]:
    """Give a store whose one run has batches, packs, sealed chunks and rollups, to be damaged."""
    store: Any = WeirStore(mlflow_database_url, ARTIFACTS)
    run_id = store.create_run("0", "somebody", 1, [], "a run").info.run_id
    for start in range(0, 450, 25):
        points = [Metric("loss", i / 3, i, i) for i in range(start, start + 25)]
        store.log_batch(run_id, [*points, Metric("acc", 1.0, start, start)], [], [])
    yield store, run_id
    store._dispose_engine()


def flip_a_byte(store: Any, table: sa.Table, at: int) -> str:
    """Flip a byte of a row's payload and return how the row is named."""
    keys = list(table.primary_key)
    with store.engine.begin() as connection:
        row = connection.execute(sa.select(*keys, table.c.payload).limit(1)).one()
        payload = bytearray(row.payload)
        payload[at * len(payload) // 100] ^= 0x40
        connection.execute(
            sa.update(table)
            .where(*(key == value for key, value in zip(keys, row, strict=False)))
            .values(payload=bytes(payload))
        )
    return f"{table.name} " + "/".join(str(value) for value in row[: len(keys)])


@pytest.mark.parametrize("table", [schema.batch, schema.chunk, schema.rollup], ids=str)
@pytest.mark.parametrize(
    "at", [99, *(pytest.param(at, marks=pytest.mark.quick_on("sqlite")) for at in (0, 50))]
)
def test_check_names_the_row_of_a_flipped_byte(
    damaged: tuple[Any, str], table: sa.Table, at: int
) -> None:
    store, _ = damaged
    url = store.engine.url.render_as_string(hide_password=False)
    row = flip_a_byte(store, table, at)
    result = weir_db("check", url)
    assert result.exit_code == 1
    assert f"{row}: checksum" in result.output
    report = json.loads(weir_db("check", url, "--json").output)
    assert len(report["problems"]) == 1


def test_check_reads_on_after_rows_that_the_database_cannot_read(
    sqlite_folder: DatabaseServer,
) -> None:
    url = sqlite_folder.new_mlflow_database()
    store: Any = WeirStore(url, ARTIFACTS)
    run_id = store.create_run("0", "somebody", 1, [], "a run").info.run_id
    for step in range(3):
        store.log_metric(run_id, Metric("loss", 1.0, step, step))
    with store.engine.begin() as connection:  # what SQLite says of a page that a disk lost
        connection.execute(
            sa.text("UPDATE weir_batch SET payload = CAST(X'FF' AS TEXT) WHERE batch_id = 2")
        )
    store._dispose_engine()
    report = json.loads(weir_db("check", url, "--json").output)
    (problem,) = report["problems"]
    assert problem.startswith("weir_batch 2: the database cannot read it: Could not decode")
    assert (report["n_batches"], report["n_points"]) == (2, 2)
    result = weir_db("compact", url)
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1, result.output


def test_check_finds_a_page_that_the_disk_lost_in_mlflows_own_tables(
    sqlite_folder: DatabaseServer,
) -> None:
    url = sqlite_folder.new_mlflow_database()
    fill_as_stock(url, n_runs=1)
    path = Path(str(sa.make_url(url).database))
    succeeded("compact", url)  # out of the write-ahead log, into the file
    assert "all well" in succeeded("check", url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        page = connection.exec_driver_sql(
            "SELECT rootpage FROM sqlite_master WHERE name = 'latest_metrics'"
        ).scalar_one()
    engine.dispose()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    result = weir_db("check", url)
    assert result.exit_code == 1
    assert "the file: " in result.output
    assert "sqlite3 FILE .recover" in result.output


SABOTAGE = {
    "a batch's count": ("UPDATE weir_batch SET n_points = n_points + 1", "weir_batch"),
    "a chunk's count": ("UPDATE weir_chunk SET n_points = n_points + 1", "its row says"),
    "a series' count": ("UPDATE weir_series SET n_points = n_points - 1", "weir_series lists"),
    "a range": ("UPDATE weir_series SET max_step = max_step + 1", "weir_series says"),
    "no index": ("DELETE FROM weir_series WHERE n_points > 1", "weir_series lists"),
    "no rollup": ("DELETE FROM weir_rollup WHERE resolution = 16", "the row is missing"),
    "no chunk": ("DELETE FROM weir_chunk WHERE level = 100", "belong to no chunk"),
    "a stray rollup": (
        "UPDATE weir_rollup SET chunk_id = chunk_id + 987654 WHERE resolution = 16",
        "weir_rollup: ",
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_check_finds_what_does_not_fit(damaged: tuple[Any, str], name: str) -> None:
    store, _ = damaged
    url = store.engine.url.render_as_string(hide_password=False)
    assert "all well" in succeeded("check", url)
    statement, message = SABOTAGE[name]
    with store.engine.begin() as connection:
        assert connection.execute(sa.text(statement)).rowcount > 0
    result = weir_db("check", url)
    assert result.exit_code == 1
    assert message in result.output


def test_a_corrupt_chunk_blocks_nothing_else(damaged: tuple[Any, str]) -> None:
    store, run_id = damaged
    url = store.engine.url.render_as_string(hide_password=False)
    with store.engine.begin() as connection:  # a sealed one: it holds `loss` alone
        chunk_id = connection.execute(
            sa.select(schema.chunk.c.chunk_id).where(schema.chunk.c.level == 100)
        ).scalar_one()
        connection.execute(
            sa.update(schema.chunk)
            .where(schema.chunk.c.chunk_id == chunk_id)
            .values(payload=b"PAR1 and nothing more")
        )
    with pytest.raises(Exception, match=f"weir_chunk {chunk_id}: checksum"):
        store.get_metric_history(run_id, "loss")
    assert len(store.get_metric_history(run_id, "acc")) == 18
    for i in range(450, 470):
        store.log_batch(run_id, [Metric("loss", 1.0, i, i), Metric("acc", 1.0, i, i)], [], [])
    store.update_run_info(run_id, RunStatus.FINISHED, 5, None)
    assert len(store.get_metric_history(run_id, "acc")) == 38
    assert json.loads(weir_db("compact", url, "--json").output)["moved_rows"] == 0

    result = weir_db("eject", url, "--yes")
    assert result.exit_code == 1
    assert f"weir_chunk {chunk_id}" in result.output
    assert "it stays in the weir tables" in result.output
    with store.engine.connect() as connection:
        left = connection.execute(sa.select(schema.chunk.c.chunk_id)).scalars().all()
        n = connection.execute(
            sa.select(sa.func.count()).select_from(schema.mlflow_metrics)
        ).scalar_one()
        assert migrations.current_revision(connection) == migrations.HEAD
    assert left == [chunk_id]
    assert n == 38 + (470 - 256)
    assert len(store.get_metric_history(run_id, "acc")) == 38


def test_commands_say_what_is_wrong_with_a_uri(
    database_server: DatabaseServer, tmp_path: Any
) -> None:
    result = weir_db("check", f"sqlite:///{tmp_path}/none.db")
    assert (result.exit_code, "no such file" in result.output) == (1, True)
    assert not (tmp_path / "none.db").exists()
    stock = database_server.new_mlflow_database()
    before = dump(stock)
    assert "nothing to check" in succeeded("check", stock)
    assert dump(stock) == before
    assert "written back: 0 points" in succeeded("eject", stock, "--yes")
    assert dump(stock) == before
