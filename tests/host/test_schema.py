"""The ``weir_*`` tables: migrations against ``schema.py``, and life beside MLflow's own tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.store.db.base_sql_model import Base as MlflowBase

from histogram_tables import table_of
from metric_writers import ARTIFACTS, make_small
from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import migrations, schema
from mlflow_weir.store.console import writing
from mlflow_weir.store.console.lines import Line
from mlflow_weir.store.console.writing import Source
from mlflow_weir.store.delivery import heartbeats, mlflow_tables, owners
from mlflow_weir.store.delivery.apply import apply
from mlflow_weir.store.delivery.records import encode_points
from mlflow_weir.store.histograms import writing as histograms
from mlflow_weir.store.runs import indexes, node_lost, ordinals
from mlflow_weir.store.tracking_store import WeirStore

pytestmark = pytest.mark.slow


@pytest.fixture
def store(mlflow_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    make_small(monkeypatch.setattr)
    opened: Any = WeirStore(mlflow_database_url, ARTIFACTS)
    yield opened
    opened._dispose_engine()


def filled_run(store: Any) -> str:
    run_id = str(store.create_run("0", "somebody", 0, [], "a run").info.run_id)
    for start in range(0, 500, 50):
        points = [Metric("loss", i / 3, i, i) for i in range(start, start + 50)]
        store.log_batch(run_id, points, [], [])
    store.log_batch(run_id, [Metric("loss", 0.0, 500, 500)], [], [])
    # The same point once more, from a journal.
    again = encode_points(run_id, [("loss", 500, 500, 0.0)])
    outcome = apply(store.engine, "a" * 32, 1, 0, len(again), [again])
    assert outcome.n_points == 1
    assert heartbeats.beat(store.engine, [run_id], "a" * 32, "here", 1) == []
    with store.engine.begin() as connection:
        owners.note(connection, "a" * 32, {run_id: "fluent"}, 1)
        writing.append(connection, run_id, Source("b" * 32, "here", 0, 1), [Line(0, 1, 1, "x")])
        histograms.append(connection, run_id, table_of(1))
        fill_views(connection)
        fill_links_and_alerts(connection, run_id)
    assert ordinals.read(store.engine, {run_id: 0}) == {run_id: 0}
    assert node_lost.mark_lost(store.engine, "a", now_ms=1, timeout_ms=1, lease_ms=1) == []
    return run_id


def fill_views(connection: sa.Connection) -> None:
    view = {"view_id": "v", "kind": "named", "scope": "0", "owner": "", "name": "n"}
    connection.execute(sa.insert(schema.view).values(**view, revision=1, at_ms=1))
    connection.execute(
        sa.insert(schema.view_revision).values(
            view_id="v", revision=1, author="", at_ms=1, document="{}"
        )
    )


def fill_links_and_alerts(connection: sa.Connection, run_id: str) -> None:
    """Put a row into each table, with something in each column that wants it."""
    of = {"run_uuid": run_id, "share_id": "s", "alert_id": "a", "target_id": "t"}
    for table in (
        *(schema.share, schema.share_run, schema.share_visit),
        *(schema.alert, schema.alert_rule, schema.alert_target, schema.alert_delivery),
        *(schema.report, schema.report_revision, schema.report_comment, schema.report_image),
        *(schema.visibility, schema.invite, schema.service_account, schema.audit),
        *(schema.cold, schema.cold_object),
    ):
        wanted = [one for one in table.columns if not (one.nullable or one.autoincrement is True)]
        values: dict[str, Any] = {
            one.name: "x" if one.type.python_type is str else 1 for one in wanted
        }
        values |= {one.name: b"x" for one in wanted if one.type.python_type is bytes}
        values |= {one.name: True for one in wanted if isinstance(one.type, sa.Boolean)}
        values |= {one.name: of[one.name] for one in wanted if one.name in of}
        connection.execute(sa.insert(table).values(**values))


def our_rows(engine: sa.Engine) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(sa.select(table))), key=repr
            )
            for table in schema.metadata.sorted_tables
        }


def test_migrations_make_exactly_what_the_code_expects(store: Any) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": migrations.VERSION_TABLE,
                "compare_type": True,
                "include_name": lambda name, kind, parents: (
                    kind != "table" or name.startswith("weir_")
                ),
            },
        )
        assert compare_metadata(context, schema.metadata) == []
        assert migrations.pending(connection) == []
        inspector = sa.inspect(connection)
        for table in schema.metadata.sorted_tables:
            keys = inspector.get_pk_constraint(table.name)["constrained_columns"]
            assert keys == [column.name for column in table.primary_key]


def test_head_is_the_newest_script() -> None:
    script = ScriptDirectory.from_config(migrations.configuration())
    assert script.get_heads() == [migrations.HEAD]
    assert script.get_bases() == ["0001"]


@pytest.mark.parametrize(
    "table",
    [
        schema.mlflow_metrics,
        schema.mlflow_latest_metrics,
        schema.mlflow_runs,
        *mlflow_tables.ALL,
    ],
    ids=lambda table: table.name,
)
def test_mlflows_tables_have_the_columns_that_are_used(table: sa.TableClause) -> None:
    theirs = MlflowBase.metadata.tables[table.name]
    for column in table.columns:
        assert column.name in theirs.columns
        assert isinstance(theirs.columns[column.name].type, column.type._type_affinity or ())
    if table in mlflow_tables.ALL:  # rows are inserted: nothing is left to a default
        assert {column.name for column in table.columns} == set(theirs.columns.keys())
    if table.name == "latest_metrics":
        assert {column.name for column in theirs.primary_key} == {"key", "run_uuid"}
    if table.name in {"metrics", "latest_metrics"}:
        assert {column.name for column in table.columns} == set(theirs.columns.keys())


def test_no_foreign_key_leads_from_our_tables_to_mlflows(store: Any) -> None:
    inspector = sa.inspect(store.engine)
    ours = [name for name in inspector.get_table_names() if name.startswith("weir_")]
    assert set(ours) == set(schema.metadata.tables)
    for name in inspector.get_table_names():
        for key in inspector.get_foreign_keys(name):
            assert not name.startswith("weir_")
            assert not key["referred_table"].startswith("weir_")


# Alembic's remark on MLflow's own constraints.
@pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint")
def test_a_migration_that_recreates_runs_leaves_our_rows(store: Any) -> None:
    run_id = filled_run(store)
    before = our_rows(store.engine)
    assert all(before.values())
    with store.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # MLflow's own children of `runs` would keep it from being dropped.
            for name in sa.inspect(connection).get_table_names():
                for key in sa.inspect(connection).get_foreign_keys(name):
                    if key["referred_table"] == "runs":
                        connection.exec_driver_sql(f"DELETE FROM {name}")
            connection.commit()
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        operations = Operations(MigrationContext.configure(connection))
        is_sqlite = connection.dialect.name == "sqlite"
        with operations.batch_alter_table(
            "runs", recreate="always" if is_sqlite else "auto"
        ) as batch:
            batch.add_column(sa.Column("from_the_future", sa.String(10)))
        connection.commit()
    assert our_rows(store.engine) == before
    assert len(store.get_metric_history(run_id, "loss")) == 501


def test_mlflow_upgrades_a_database_that_holds_our_tables(
    store: Any, mlflow_database_url: str
) -> None:
    run_id = filled_run(store)
    before = our_rows(store.engine)
    with store.engine.begin() as connection:
        revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    store._dispose_engine()
    subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", mlflow_database_url],
        check=True,
        capture_output=True,
        timeout=300,
    )
    again: Any = WeirStore(mlflow_database_url, ARTIFACTS)
    assert our_rows(again.engine) == before
    assert len(again.get_metric_history(run_id, "loss")) == 501
    with again.engine.begin() as connection:
        now = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        assert now == revision
        assert indexes.missing(connection) == []
    again._dispose_engine()


def add_what_a_later_version_may(engine: sa.Engine) -> None:
    """Add to each table of ours what a migration may while this version serves."""
    with engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        for table in schema.metadata.sorted_tables:
            name = table.name
            operations.add_column(name, sa.Column("later", sa.Integer, nullable=True))
            operations.add_column(
                name, sa.Column("later_too", sa.Integer, nullable=False, server_default="7")
            )
            operations.create_index(f"{name}_later", name, ["later_too", "later"])
        operations.create_table("weir_later", sa.Column("later_id", sa.Integer, primary_key=True))
        version = sa.table(migrations.VERSION_TABLE, sa.column("version_num"))
        connection.execute(sa.update(version).values(version_num="9999"))


def test_this_version_serves_on_what_a_later_one_has_added(
    store: Any, mlflow_database_url: str
) -> None:
    add_what_a_later_version_may(store.engine)
    run_id = filled_run(store)
    assert all(our_rows(store.engine).values())
    assert len(store.get_metric_history(run_id, "loss")) == 501
    with store.engine.connect() as connection:
        n_chunks = sa.select(sa.func.count()).select_from(schema.chunk)
        assert connection.execute(n_chunks).scalar_one() > 0  # it was compacted on the way
    store.delete_run(run_id)
    # What starts, and what works on all of the database, leaves it to the later version.
    with pytest.raises(MlflowException, match=r"'9999', newer than .*pip install -U mlflow-weir"):
        WeirStore(mlflow_database_url, ARTIFACTS)
    for words in (["upgrade"], ["check"], ["compact"], ["retain", "--older-than", "1d"]):
        command = ["db", words[0], mlflow_database_url, *words[1:]]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1
        assert "newer than" in done.output
        assert "upgrade mlflow-weir here" in done.output


def test_what_only_a_later_version_can_fill_keeps_records_where_they_are(store: Any) -> None:
    run_id = str(store.create_run("0", "somebody", 0, [], "a run").info.run_id)
    record = encode_points(run_id, [("loss", 1, 1, 1.0)])
    with store.engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("weir_batch") as batch:
            batch.add_column(sa.Column("later", sa.Integer, nullable=False))
    # Not refused: the record is not to blame, and another server will take it.
    with pytest.raises(StoreUnavailable, match=r"later"):
        apply(store.engine, "a" * 32, 1, 0, len(record), [record])
    with store.engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("weir_batch") as batch:
            batch.drop_column("later")
    outcome = apply(store.engine, "a" * 32, 1, 0, len(record), [record])
    assert (outcome.n_points, outcome.rejected) == (1, [])


def test_dropping_leaves_mlflows_tables_alone(store: Any) -> None:
    with store.engine.begin() as connection:
        before = {
            name
            for name in sa.inspect(connection).get_table_names()
            if not name.startswith(("weir_", migrations.VERSION_TABLE))
        }
        migrations.drop(connection)
    with store.engine.begin() as connection:
        assert set(sa.inspect(connection).get_table_names()) == before
        migrations.drop(connection)  # nothing left to drop is no error
