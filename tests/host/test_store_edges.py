"""What the store makes of odd rows, damage, bad settings, held locks and forks."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from databases import DatabaseServer
from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.store import engine as engines
from mlflow_weir.store import schema
from mlflow_weir.store.collector import paused_collector
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.maintenance.database import opened
from mlflow_weir.store.maintenance.eject import eject
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.maintenance.upgrade import upgrade
from mlflow_weir.store.metrics import batches
from mlflow_weir.store.tracking_store import WeirStore


def new_run(store: SqlAlchemyStore) -> str:
    experiment_id = store.create_experiment(f"e{os.urandom(4).hex()}")
    run_id: str = store.create_run(experiment_id, "somebody", 0, [], "run").info.run_id
    return run_id


def test_odd_steps_that_stock_wrote_to_sqlite_are_read(sqlite_url: str, tmp_path: Path) -> None:
    stock = SqlAlchemyStore(sqlite_url, str(tmp_path))
    run_id = new_run(stock)
    steps = {"numpy": np.int64(3), "fraction": 2.7, "infinite": float("inf"), "whole": 5}
    for key, step in steps.items():
        stock.log_metric(run_id, Metric(key, 1.0, 10, step))  # type: ignore[arg-type]
    store = WeirStore(sqlite_url, str(tmp_path))
    read = {key: store.get_metric_history(run_id, key)[0].step for key in steps}
    assert read == {"numpy": 3, "fraction": 3, "infinite": 2**63 - 1, "whole": 5}
    assert store.get_max_step_for_metric(run_id, "numpy") == 3


@pytest.mark.parametrize("way", ["a store", "a delivery"])
def test_the_log_that_a_long_read_has_made_long_becomes_short_again(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(engines, "_LOG_BYTES", 1 << 20)
    store = WeirStore(sqlite_url, str(tmp_path))
    engine = store.engine if way == "a store" else open_engine(sqlite_url)
    log = Path(f"{sa.make_url(sqlite_url).database}-wal")

    def write(n_bytes: int) -> int:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS filling (x BLOB)"))
            connection.execute(sa.text(f"INSERT INTO filling VALUES (randomblob({n_bytes}))"))
        return log.stat().st_size

    with sa.create_engine(sqlite_url).connect() as reader:
        reader.execute(sa.text("SELECT count(*) FROM runs")).all()
        assert max(write(1 << 20) for _ in range(8)) > 4 << 20
    # The first one copies what is there into the file, the next begins the log anew.
    assert [write(1) for _ in range(3)][-1] <= 1 << 20
    engine.dispose()


def test_a_lost_chunk_is_said_and_not_read_as_no_points(
    mlflow_database_url: str, tmp_path: Path
) -> None:
    store = WeirStore(mlflow_database_url, str(tmp_path))
    run_id = new_run(store)
    for step in range(batches.MAX_WAITING_BATCHES):
        store.log_metric(run_id, Metric("loss", 1.0, step, step))
    with store.engine.begin() as connection:
        connection.execute(sa.delete(schema.chunk))
    with pytest.raises(MlflowException, match="weir_chunk 1: the row is missing"):
        store.get_metric_history(run_id, "loss")
    with pytest.raises(MlflowException, match="weir_chunk 1: the row is missing"):
        store.get_metric_history_bulk_interval([run_id], "loss", 10, None, None)


def test_tables_that_an_eject_took_meanwhile_are_told_and_can_come_back(
    database_server: DatabaseServer, tmp_path: Path
) -> None:
    url = database_server.new_mlflow_database()
    store = WeirStore(url, str(tmp_path))
    run_id = new_run(store)
    store.log_metric(run_id, Metric("loss", 1.0, 0, 0))
    with opened(url) as engine:
        eject(engine, Silent())
        for call in (
            lambda: store.log_metric(run_id, Metric("loss", 2.0, 1, 1)),
            lambda: store.get_metric_history(run_id, "loss"),
        ):
            with pytest.raises(MlflowException, match="`weir db upgrade URI` makes them") as gone:
                call()
            assert gone.value.error_code == "TEMPORARILY_UNAVAILABLE"
            assert "SQL" not in str(gone.value)
        upgrade(engine)
    store.log_metric(run_id, Metric("loss", 2.0, 1, 1))
    assert [m.value for m in store.get_metric_history(run_id, "loss")] == [1.0, 2.0]
    store._dispose_engine()


@pytest.mark.parametrize("name", ["WEIR_WRITE_DEADLINE_SECONDS", "WEIR_STOCK_SAMPLING"])
def test_a_bad_setting_is_told_when_the_store_opens(
    name: str, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1m")
    with pytest.raises(MlflowException, match=f"{name}='1m'"):
        WeirStore(sqlite_url, str(tmp_path))


def test_a_file_that_is_no_database_and_a_folder_are_told(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database at all" * 100)
    with pytest.raises(MlflowException, match=r"garbage\.db: file is not a database"):
        WeirStore(f"sqlite:///{garbage}", str(tmp_path))
    with pytest.raises(MlflowException, match="a folder, not a file"):
        WeirStore(f"sqlite:///{tmp_path}", str(tmp_path))


OPEN_AS_NOBODY = """
import os, sys
from mlflow.exceptions import MlflowException
from mlflow_weir.errors import ConfigError
from mlflow_weir.store.maintenance.database import opened
from mlflow_weir.store.tracking_store import WeirStore
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for path in sys.argv[1:]:
    try:
        WeirStore(f"sqlite:///{path}", "artifacts")
    except MlflowException as exc:
        print(exc)
    try:
        with opened(f"sqlite:///{path}"):
            pass
    except ConfigError as exc:
        print(exc)
"""


def test_a_file_that_this_user_may_not_read_is_told(sqlite_folder: DatabaseServer) -> None:
    database = Path(str(sa.make_url(sqlite_folder.new_mlflow_database()).database))
    with tempfile.TemporaryDirectory() as name:  # pytest's own is closed to other users
        folder = Path(name)
        unreadable = folder / "unreadable.db"
        in_closed, in_kept = folder / "closed" / "a.db", folder / "kept" / "b.db"
        for path in (unreadable, in_closed, in_kept):
            path.parent.mkdir(exist_ok=True)
            shutil.copyfile(database, path)
            WeirStore(f"sqlite:///{path}", name)._dispose_engine()  # in write-ahead mode from now
        folder.chmod(0o755)
        unreadable.chmod(0o000)
        in_closed.parent.chmod(0o000)
        new = in_kept.parent / "new.db"
        in_kept.chmod(0o444)
        in_kept.parent.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", OPEN_AS_NOBODY]
            + [str(path) for path in (unreadable, in_closed, in_kept, new)],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
        )
        for path in (in_closed, in_kept):
            path.parent.chmod(0o755)
    said = done.stdout.splitlines()
    assert len(said) == 8, done.stderr
    for line, path in zip(said[:4], [unreadable] * 2 + [in_closed] * 2, strict=True):
        assert f"{path}: permission denied (check the path in the URI, and who may" in line
    assert "allow this user to write the file and its folder" in said[4]
    assert "(check the path in the URI, and who may read the file)" in said[5]
    assert f"{new}: cannot be made, nothing can be written in its folder" in said[6]
    assert f"{new}: no such file" in said[7]


def test_compaction_is_put_off_where_another_process_writes(
    sqlite_url: str, tmp_path: Path
) -> None:
    store = WeirStore(sqlite_url, str(tmp_path))
    run_id = new_run(store)
    store.log_metric(run_id, Metric("loss", 1.0, 0, 0))
    with store.engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        store._compact(run_id, is_final=False)
        other.rollback()
    with store.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.batch)).scalar()
    store._compact(run_id, is_final=False)
    with store.engine.connect() as connection:
        assert not connection.execute(
            sa.select(sa.func.count()).select_from(schema.batch)
        ).scalar()
    assert len(store.get_metric_history(run_id, "loss")) == 1


def test_a_schema_lock_that_stays_taken_is_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_LOCK_WAIT_SECONDS", 1.0)
    engine = sa.create_engine(database_url)
    with engines.schema_lock(engine):
        with pytest.raises(StoreUnavailable, match="schema lock"), engines.schema_lock(engine):
            pass
    with engines.schema_lock(engine):
        pass
    engine.dispose()


def test_a_schema_lock_is_its_databases_own(
    mariadb_url: str, database_server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_LOCK_WAIT_SECONDS", 1.0)
    one, other = sa.create_engine(mariadb_url), sa.create_engine(database_server_url)
    with engines.schema_lock(one), engines.schema_lock(other):
        pass
    one.dispose()
    other.dispose()


@pytest.fixture
def database_server_url(mariadb_server: object) -> str:
    """Give a second database of the same MariaDB server."""
    url: str = mariadb_server.new_database()  # type: ignore[attr-defined]
    return url


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_during_a_pause_collects_garbage() -> None:
    inside, leave = threading.Event(), threading.Event()

    def pause() -> None:
        with paused_collector():
            inside.set()
            leave.wait(300)

    thread = threading.Thread(target=pause)
    thread.start()
    assert inside.wait(300)
    child = os.fork()
    if child == 0:
        with paused_collector():
            pass
        os._exit(0 if gc.isenabled() else 1)
    leave.set()
    thread.join(300)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gc.isenabled()
