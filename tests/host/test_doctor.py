"""``weir doctor``: what it finds, and that looking changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from databases import DatabaseServer
from mlflow_weir.plugin.cli import main
from mlflow_weir.plugin.cli.doctor import Finding, examine
from mlflow_weir.store import migrations


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def test_a_healthy_place_has_nothing_to_do(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["doctor", f"weir://{tmp_path}/new", "--json"])
    findings = json.loads(found.output)
    assert found.exit_code == 0, found.output
    assert [one["check"] for one in findings] == [
        "versions",
        "settings",
        "git",
        "database",
        "folder",
        "disk",
    ]
    assert all(one["ok"] and not one["hint"] for one in findings)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_cannot_work_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_STOCK_SAMPLING", "perhaps")
    found = CliRunner().invoke(main, ["doctor", f"weir://{tmp_path}"])
    assert found.exit_code == 1
    assert "BAD  settings: WEIR_STOCK_SAMPLING='perhaps'" in found.output


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "weir.db").write_bytes(b"no database" * 200)
    finding = by_check(examine(f"weir://{tmp_path}"))["database"]
    assert not finding.ok
    assert "file is not a database" in finding.detail


def test_a_server_that_is_not_there_is_reported_without_its_password() -> None:
    findings = examine("postgresql+weir://someone:secret@127.0.0.1:1/mlflow")
    finding = by_check(findings)["database"]
    assert not finding.ok
    assert "refused" in finding.detail
    assert "secret" not in repr(findings)


def test_a_uri_that_is_none_of_ours_is_reported() -> None:
    finding = by_check(examine("weir:nonsense"))["store"]
    assert not finding.ok
    assert "not an address Weir knows" in finding.hint


@pytest.mark.parametrize("uri", ["foo", "databricks", "./mlruns", "", "mssql://h/d", "a+b://h"])
def test_a_uri_that_names_no_store_is_one_finding(uri: str) -> None:
    found = by_check(examine(uri))
    assert not found["store"].ok
    assert "is no tracking database that Weir knows" in found["store"].hint
    assert "database" not in found


@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_a_server_is_told_from_a_database(scheme: str) -> None:
    finding = by_check(examine(f"{scheme}://bob:SECRET@h"))["store"]
    assert finding == Finding("store", True, f"{scheme}://…@h is a server")


@pytest.mark.parametrize(
    "uri", ["weir://bob:SECRET@h", "weir:bob:SECRET@h", "postgresql+weir://bob:SECRET@h:x/d"]
)
def test_a_password_in_a_uri_that_cannot_work_is_not_shown(uri: str) -> None:
    found = CliRunner().invoke(main, ["doctor", uri])
    assert found.exit_code == 1
    assert "BAD  store: " in found.output
    assert "SECRET" not in found.output


@pytest.mark.parametrize("below", ["", "/new/folder"])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_where_the_folder_belongs_is_reported(
    tmp_path: Path, below: str, is_link: bool
) -> None:
    taken = tmp_path / "taken"
    if is_link:
        taken.symlink_to(tmp_path / "nowhere")
    else:
        taken.touch()
    finding = by_check(examine(f"weir://{taken}{below}"))["folder"]
    assert not finding.ok
    assert finding.detail == f"{taken} is not a folder"


@pytest.mark.parametrize(
    ("table", "revision", "hint"),
    [
        ("alembic_version_weir", "9999", "upgrade mlflow-weir here"),
        ("alembic_version", "ffffffffffff", "Install the MLflow that upgraded"),
        ("alembic_version", "451aebb31d03", "mlflow db upgrade URI"),
        ("alembic_version", None, "mlflow db upgrade URI"),
    ],
)
def test_tables_of_another_version_are_reported(
    sqlite_folder: DatabaseServer, table: str, revision: str | None, hint: str
) -> None:
    url = sqlite_folder.new_mlflow_database()
    engine = sa.create_engine(url)
    migrations.upgrade(engine)
    ours = url.replace("sqlite", "sqlite+weir", 1)
    before = by_check(examine(ours))["database"]
    assert before.ok
    assert before.detail.endswith("MLflow's tables and Weir's, both current")
    with engine.begin() as connection:
        connection.execute(sa.text(f"DELETE FROM {table}"))
        if revision is not None:
            connection.execute(sa.text(f"INSERT INTO {table} VALUES ('{revision}')"))
    engine.dispose()
    finding = by_check(examine(ours))["database"]
    assert not finding.ok
    assert hint in finding.hint


def test_databases_that_answer_are_told_apart(mlflow_database_url: str) -> None:
    uri = mlflow_database_url.replace("+psycopg", "").replace("+pymysql", "")
    finding = by_check(examine(uri.replace("://", "+weir://", 1)))["database"]
    assert finding.ok, finding
    assert "MLflow's tables, Weir's on first use" in finding.detail
