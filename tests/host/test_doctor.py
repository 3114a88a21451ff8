"""``weir doctor``: what it finds, and that looking changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_weir.plugin.cli import main
from mlflow_weir.plugin.cli.doctor import Finding, examine


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


def test_databases_that_answer_are_told_apart(mlflow_database_url: str) -> None:
    uri = mlflow_database_url.replace("+psycopg", "").replace("+pymysql", "")
    finding = by_check(examine(uri.replace("://", "+weir://", 1)))["database"]
    assert finding.ok, finding
    assert "MLflow's tables, Weir's on first use" in finding.detail
