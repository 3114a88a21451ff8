"""Weir's indexes on large tables of PostgreSQL's: made while everybody writes, and made again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mlflow.entities import Metric

from agents import wait_until
from databases import DatabaseServer
from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.runs import indexes
from mlflow_weir.store.tracking_store import WeirStore
from mlflow_weir.ui_extensions import deliveries, maintenance
from mlflow_weir.ui_extensions.maintenance import Maintainer

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0
NAMES = [index.name for index in indexes.INDEXES]
BUILDING = sa.text(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'CREATE INDEX%' AND wait_event_type = 'Lock'"
)


@pytest.fixture
def url(postgres_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(indexes, "SMALL_BYTES", -1)  # every table is large
    return postgres_server.new_mlflow_database()


@pytest.fixture
def store(url: str) -> Iterator[Any]:
    opened: Any = WeirStore(url, "file:///nowhere")
    yield opened
    opened._dispose_engine()
    WeirStore._weir_engines.pop(url)


def states(engine: sa.Engine) -> dict[str, bool]:
    """Return which of our indexes there are, and whether they are valid."""
    query = sa.text(
        "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE c.relname LIKE 'weir_ix_%'"
    )
    with engine.connect() as connection:
        return {name: is_valid for name, is_valid in connection.execute(query)}


def test_writers_go_on_and_a_broken_off_one_is_made_again(store: Any, url: str) -> None:
    engine = sa.create_engine(url)
    assert states(engine) == {}  # who opens the store does not wait for them
    run_id = store.create_run("0", "somebody", 0, [], "a run").info.run_id
    faults: list[BaseException] = []

    def build() -> None:
        try:
            indexes.create_missing(engine)
        except sa.exc.DBAPIError as exc:
            faults.append(exc)

    # Within a transaction pg_stat_activity says the same again.
    looking = engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as before, looking.connect() as looker:
        # Who writes while it begins, and has not finished.
        runs = tables.runs.c
        before.execute(sa.update(tables.runs).where(runs.run_uuid == run_id).values(name="b"))
        building = threading.Thread(target=build)
        building.start()
        pid = wait_until(
            lambda: looker.execute(BUILDING).scalar(), "it waits for who was there before"
        )
        # All others write meanwhile, who would otherwise wait for ever: `before` ends below.
        other = store.create_run("0", "somebody", 1, [], "another").info.run_id
        store.log_batch(other, [Metric("loss", 1.0, 1, 1)], [], [])
        assert states(engine) == {NAMES[0]: False}
        with pytest.raises(StoreUnavailable, match="being made by another process"):
            indexes.create_missing(engine)
        looker.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        building.join(PATIENCE_S)
        assert not building.is_alive()
        assert len(faults) == 1
    assert states(engine) == {NAMES[0]: False}  # as a server that was killed leaves it
    with engine.connect() as connection:
        assert indexes.missing(connection) == NAMES
    done = CliRunner().invoke(main, ["db", "upgrade", url], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert all(f"created: index {name}" in done.output for name in NAMES)
    assert states(engine) == dict.fromkeys(NAMES, True)
    assert indexes.create_missing(engine) == []
    assert len(store.search_runs(["0"], "", 1, 10, ["metrics.loss DESC"], None)) == 2
    with engine.begin() as connection:
        assert indexes.drop_all(connection) == NAMES
    assert states(engine) == {}
    engine.dispose()


def test_a_server_makes_them_after_its_start(
    store: Any, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine(url)
    monkeypatch.setattr(deliveries, "engine_if_any", lambda: engine)
    (work,) = maintenance._works()
    Maintainer()._turn(work)
    assert states(engine) == dict.fromkeys(NAMES, True)
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"created index {name}" for name in NAMES]
    # A user who may log, but not change the tables, serves as well.
    role = "weir_logs_only"
    with engine.begin() as connection:
        indexes.drop_all(connection)
        connection.execute(sa.delete(schema.lease))
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {role}")
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN IN ROLE pg_write_all_data")
        connection.exec_driver_sql(f"GRANT pg_read_all_data TO {role}")
    limited = open_engine(
        sa.make_url(url).set(username=role).render_as_string(hide_password=False)
    )
    monkeypatch.setattr(deliveries, "engine_if_any", lambda: limited)
    Maintainer()._turn(work)
    assert "left to `weir db upgrade`" in caplog.records[-1].getMessage()
    assert states(engine) == {}
    with engine.connect() as connection:
        rests = connection.execute(sa.select(schema.lease.c.holder)).scalars().all()
    assert rests == [""]
    limited.dispose()
    engine.dispose()


def test_small_tables_are_indexed_at_once_unless_somebody_writes_for_long(
    postgres_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.new_mlflow_database()
    engine = sa.create_engine(url)
    monkeypatch.setattr(indexes, "_WAIT_S", 0.2)
    with engine.connect() as writer:
        writer.exec_driver_sql("LOCK TABLE latest_metrics IN ROW EXCLUSIVE MODE")
        store: Any = WeirStore(url, "file:///nowhere")
        assert states(engine) == {NAMES[0]: True}
    assert indexes.create_missing(engine) == [NAMES[1]]
    assert states(engine) == dict.fromkeys(NAMES, True)
    store._dispose_engine()
    engine.dispose()
