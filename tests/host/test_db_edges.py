"""``weir db`` on databases that are odd, new to Weir, in use by others, or none at all."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from mlflow.entities import Metric
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from databases import DatabaseServer
from metric_writers import ARTIFACTS, make_small
from mlflow_weir.errors import ConfigError, StoreError, StoreUnavailable
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import engine as engines
from mlflow_weir.store import migrations
from mlflow_weir.store.maintenance import eject as ejecting
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.compact import compact
from mlflow_weir.store.maintenance.database import opened
from mlflow_weir.store.maintenance.eject import eject
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.tracking_store import WeirStore

pytestmark = pytest.mark.slow


def weir_db(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["db", *arguments], catch_exceptions=False)


def succeeded(*arguments: str) -> str:
    result = weir_db(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def path_of(url: str) -> str:
    return str(sa.make_url(url).database)


def fill(kind: Any, url: str, n_points: int = 100) -> str:
    store = kind(url, ARTIFACTS)
    run_id = str(store.create_run("0", "somebody", 1, [], "a run").info.run_id)
    for start in range(0, n_points, 10):
        points = [Metric("loss", i / 3, i, i) for i in range(start, start + 10)]
        store.log_batch(run_id, points, [], [])
    store._dispose_engine()
    return run_id


def history(kind: Any, url: str, run_id: str) -> list[float]:
    store = kind(url, ARTIFACTS)
    found = [metric.value for metric in store.get_metric_history(run_id, "loss")]
    store._dispose_engine()
    return found


def n_rows(url: str, table: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        n = connection.execute(
            sa.select(sa.func.count()).select_from(sa.table(table))
        ).scalar_one()
    engine.dispose()
    return int(n)


def tables_of_ours(url: str) -> list[str]:
    engine = sa.create_engine(url)
    found = [name for name in sa.inspect(engine).get_table_names() if "weir" in name]
    engine.dispose()
    return found


# Rows that only SQLite takes


def test_compact_leaves_rows_that_are_no_whole_numbers(mlflow_database_url: str) -> None:
    url = mlflow_database_url
    run_id = fill(SqlAlchemyStore, url)
    is_sqlite = url.startswith("sqlite")
    if is_sqlite:
        odd: list[tuple[Any, Any, Any]] = [
            (1, np.int64(3).tobytes(), 0.5),
            (2, np.int32(3).tobytes(), 0.5),
            (3, float("inf"), 0.5),
            (4, 2.7, 0.5),
            (5.5, 3, 0.5),
            (6, 3, np.float32(0.5).tobytes()),
        ]
        with sqlite3.connect(path_of(url)) as connection:
            connection.executemany(
                "INSERT INTO metrics (run_uuid, key, timestamp, step, value, is_nan) "
                "VALUES (?, 'odd', ?, ?, ?, 0)",
                [(run_id, *row) for row in odd],
            )
        connection.close()
    planned = json.loads(succeeded("compact", url, "--dry-run", "--json"))
    report = json.loads(succeeded("compact", url, "--json"))
    assert planned["moved_rows"] == report["moved_rows"] == 100
    assert n_rows(url, "metrics") == (6 if is_sqlite else 0)
    if is_sqlite:
        assert report["notes"] == planned["notes"]
        assert report["notes"][0].startswith("6 rows of `metrics` have a step or timestamp")
        assert json.loads(succeeded("compact", url, "--json"))["moved_rows"] == 0
    else:
        assert report["notes"] == []
    assert history(WeirStore, url, run_id) == [i / 3 for i in range(100)]


# Where Weir has never been


def test_compact_creates_what_a_stock_database_lacks(mlflow_database_url: str) -> None:
    url = mlflow_database_url
    run_id = fill(SqlAlchemyStore, url)
    assert "no Weir tables here" in succeeded("check", url)
    assert json.loads(succeeded("compact", url, "--dry-run", "--json"))["moved_rows"] == 100
    assert tables_of_ours(url) == []
    assert json.loads(succeeded("compact", url, "--json"))["moved_rows"] == 100
    assert "nothing to do" in succeeded("upgrade", url)  # the indexes are there as well
    assert "100 points" in succeeded("check", url)
    assert history(WeirStore, url, run_id) == [i / 3 for i in range(100)]
    succeeded("eject", url, "--yes")
    report = json.loads(succeeded("check", url, "--json"))
    assert (report["problems"], len(report["notes"])) == ([], 1)
    assert history(SqlAlchemyStore, url, run_id) == [i / 3 for i in range(100)]


# Others at the same time


def test_eject_ends_while_another_has_the_file_open(sqlite_server_url: str) -> None:
    url = sqlite_server_url
    run_id = fill(WeirStore, url)
    other = sqlite3.connect(path_of(url))
    other.execute("SELECT count(*) FROM runs").fetchall()
    output = succeeded("eject", url, "--yes")
    assert "stays in write-ahead mode" in output
    assert tables_of_ours(url) == []
    assert other.execute("SELECT count(*) FROM metrics").fetchone() == (100,)
    other.close()
    assert "write-ahead" not in succeeded("eject", url, "--yes")
    with sqlite3.connect(path_of(url)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
    assert history(SqlAlchemyStore, url, run_id) == [i / 3 for i in range(100)]


def test_two_ejects_at_once(
    database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch.setattr)
    for _ in range(4):
        url = database_server.new_mlflow_database()
        run_id = fill(WeirStore, url, 300)

        def one(url: str = url) -> None:
            with opened(url) as engine:
                eject(engine, Silent())

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(one) for _ in range(2)]:
                done.result()
        assert tables_of_ours(url) == []
        assert history(SqlAlchemyStore, url, run_id) == [i / 3 for i in range(300)]


@pytest.mark.parametrize("meets", ["_complete", "require_current_schema", "orphaned_runs"])
def test_an_eject_that_another_overtakes_finds_nothing_to_do(
    mlflow_database_url: str, meets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mlflow_database_url
    run_id = fill(WeirStore, url)
    step = getattr(ejecting, meets)
    overtaken: list[bool] = []

    def after_another(argument: Any) -> Any:
        if not overtaken:
            overtaken.append(True)
            if meets == "orphaned_runs":
                argument.rollback()
            with opened(url) as engine:
                eject(engine, Silent())
        return step(argument)

    monkeypatch.setattr(ejecting, meets, after_another)
    assert "written back: 0 points" in succeeded("eject", url, "--yes")
    assert tables_of_ours(url) == []
    assert history(SqlAlchemyStore, url, run_id) == [i / 3 for i in range(100)]


def test_the_tables_are_removed_under_the_schema_lock(
    mlflow_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(WeirStore, mlflow_database_url)
    order: list[str] = []
    lock, forget = engines.schema_lock, migrations.forget

    class Recorded:
        def __init__(self, engine: sa.Engine) -> None:
            self._lock = lock(engine)

        def __enter__(self) -> None:
            self._lock.__enter__()
            order.append("locked")

        def __exit__(self, *error: Any) -> None:
            order.append("unlocked")
            self._lock.__exit__(*error)

    def recorded_forget(connection: sa.Connection) -> None:
        order.append("forgotten")
        forget(connection)

    monkeypatch.setattr(engines, "schema_lock", Recorded)
    monkeypatch.setattr(migrations, "forget", recorded_forget)
    with opened(mlflow_database_url) as engine:
        eject(engine, Silent())
    # Once to look for an interrupted one, once to remove.
    assert order[:3] == ["locked", "unlocked", "locked"]
    assert set(order[3:-1]) == {"forgotten"}
    assert order[-1] == "unlocked"


def test_compact_says_no_negative_size(sqlite_server_url: str) -> None:
    url = sqlite_server_url
    fill(SqlAlchemyStore, url)
    succeeded("upgrade", url)
    other = sqlite3.connect(path_of(url))  # keeps the log from being emptied at each end
    other.execute("CREATE TABLE filler (content BLOB)")
    other.execute("INSERT INTO filler VALUES (zeroblob(500000))")
    other.commit()
    report = json.loads(succeeded("compact", url, "--json"))
    assert report["freed_bytes"] >= 0
    other.close()


def test_compact_says_why_the_file_was_not_rebuilt(sqlite_server_url: str) -> None:
    url = sqlite_server_url
    fill(SqlAlchemyStore, url)
    succeeded("compact", url)
    writer = sqlite3.connect(path_of(url), isolation_level=None, timeout=120)
    writer.execute("BEGIN IMMEDIATE")
    output = succeeded("compact", url)
    assert "was not rebuilt: database is locked" in output
    writer.execute("ROLLBACK")
    writer.close()


def test_check_looks_series_up_by_their_run(sqlite_server_url: str) -> None:
    fill(WeirStore, sqlite_server_url)
    succeeded("compact", sqlite_server_url)
    plans: list[str] = []

    def explain(
        conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if "FROM weir_series" in statement and "chunk_id IN" in statement:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(str(row[-1]) for row in cursor.fetchall())

    with opened(sqlite_server_url) as engine:
        sa.event.listen(engine, "before_cursor_execute", explain)
        assert check(engine, Silent()).problems == []
    assert plans
    assert all("USING PRIMARY KEY (run_uuid=?" in plan for plan in plans)


def test_compact_leaves_the_engine_as_it_was(sqlite_server_url: str) -> None:
    fill(SqlAlchemyStore, sqlite_server_url)
    with opened(sqlite_server_url) as engine:
        compact(engine, Silent())
        with engine.connect() as connection:
            timeout_ms = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert timeout_ms == 5000


# What cannot be opened


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("no-such-thing", "not a database URI"),
        ("postgresql+psycopg://u:s3cret@h:port/db", "not a database URI"),
        ("oracle+nothing://u:s3cret@h/db", "oracle.nothing"),
        ("nothing://u:s3cret@h/db?password=s3cret", "Can't load plugin"),
        ("sqlite:///{folder}", "a folder, not a file"),
        ("sqlite:///{folder}/text.db", "file is not a database"),
    ],
)
def test_what_is_no_database_is_named(tmp_path: Path, uri: str, message: str) -> None:
    (tmp_path / "text.db").write_text("This is no database, however long it may be. " * 100)
    uri = uri.format(folder=tmp_path)
    with pytest.raises(ConfigError, match=message) as caught, opened(uri):
        pass
    assert "s3cret" not in str(caught.value)
    assert caught.value.hint


def test_a_file_with_a_damaged_schema_is_told_how_to_save_it(sqlite_server_url: str) -> None:
    path = Path(str(sa.make_url(sqlite_server_url).database))
    content = path.read_bytes()
    path.write_bytes(content.replace(b'CREATE TABLE "runs"', b'CREATE TABLX "runs"'))
    with pytest.raises(StoreError, match="malformed") as caught, opened(sqlite_server_url):
        pass
    assert "sqlite3 FILE .recover" in caught.value.hint


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_server_that_is_not_there_is_named(scheme: str) -> None:
    with (
        pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/db") as caught,
        opened(f"{scheme}://somebody:s3cret@127.0.0.1:1/db"),
    ):
        pass
    assert "s3cret" not in str(caught.value)
    assert caught.value.hint


@pytest.fixture
def sqlite_server_url(tmp_path: Path, sqlite_url: str) -> str:
    """Give a SQLite file with MLflow's tables."""
    store: Any = SqlAlchemyStore(sqlite_url, ARTIFACTS)
    store._dispose_engine()
    return sqlite_url
