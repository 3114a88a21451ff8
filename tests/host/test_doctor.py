"""``weir doctor``: what it finds, and that looking changes nothing."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from agents import start_agent
from databases import DatabaseServer
from mlflow_weir.plugin import servers
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.capture import gpu as capture_gpu
from mlflow_weir.plugin.cli import doctor_spool, main
from mlflow_weir.plugin.cli.doctor import check_settings, examine
from mlflow_weir.plugin.cli.doctor_capture import check_captures, check_hardware
from mlflow_weir.plugin.cli.doctor_spool import Finding
from mlflow_weir.plugin.journal.spool import Delivered, JournalFolder, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store import migrations, schema
from nvml import Nvml, gpu


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


@pytest.fixture(autouse=True)
def spool_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("spool") / "s"
    monkeypatch.setenv("WEIR_SPOOL", str(path))
    return path


def test_a_healthy_place_has_nothing_to_do(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["doctor", f"weir://{tmp_path}/new", "--json"])
    findings = json.loads(found.output)
    assert found.exit_code == 0, found.output
    assert [one["check"] for one in findings] == [
        "versions",
        "settings",
        "git",
        "capture",
        "console",
        "hardware",
        "spool",
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


def test_the_password_of_the_mail_server_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_SMTP_PASSWORD", "of-the-mail-server")
    found = check_settings()
    assert "WEIR_SMTP_PASSWORD=(set)" in found.detail
    assert "of-the-mail-server" not in str(found)
    monkeypatch.setenv("WEIR_SMTP_TLS", "neither")
    assert "of-the-mail-server" not in str(check_settings())


def test_it_says_what_would_be_captured_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.chdir(tmp_path)
    (off,) = check_captures()
    assert off.detail == "off (WEIR_CAPTURE)"
    monkeypatch.delenv("WEIR_CAPTURE")

    def detail(name: str, *, ok: bool = True) -> str:
        (found,) = [one for one in check_captures() if one.check == f"capture of {name}"]
        assert found.ok is ok
        return found.detail

    assert detail("git").startswith("no git repository here")
    assert detail("environment").startswith("command line, machine, ")
    assert detail("files") == "none are followed (WEIR_FILES)"
    assert detail("notebook").startswith("in a notebook")
    assert "mlflow_weir.watch(model)" in detail("gradients")
    for words in ("init -q -b main", "add .", "-c user.name=a -c user.email=b commit -qm one"):
        (tmp_path / "a.py").write_text("x = 1\n")
        subprocess.run(["git", *words.split()], check=True)
    (tmp_path / "a.py").write_text("x = 2\npassword = 'hunter2'\n")
    (tmp_path / "new\x1b[2J.txt").touch()
    assert " on main, a patch of 1 file, " in detail("git")
    assert "1 secret taken out, names of 1 untracked file" in detail("git")
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], check=True)
    pushed = subprocess.check_output(["git", "rev-parse", "--short=10", "HEAD"], text=True).strip()
    commit = "-c user.name=a -c user.email=b commit -q --allow-empty -m two"
    subprocess.run(["git", *commit.split()], check=True)
    assert f"another from {pushed}, the newest commit that is pushed" in detail("git")
    monkeypatch.setenv("WEIR_CAPTURE_UNTRACKED", "on")
    assert " bytes of untracked files" in detail("git")
    monkeypatch.setenv("WEIR_FILES", "*.py")
    assert detail("files") == "*.py: 1 file here that match"
    monkeypatch.setenv("WEIR_FILES", "*.py:../x")
    assert "not followed: ../x" in detail("files", ok=False)
    subprocess.run(["git", "config", "filter.slow.clean", "sleep 60"], check=True)
    (tmp_path / ".gitattributes").write_text("*.py filter=slow\n")
    assert "took longer than it may" in detail("git", ok=False)
    for name in ("GIT", "ENVIRONMENT", "GRADIENTS", "NOTEBOOK"):
        monkeypatch.setenv(f"WEIR_CAPTURE_{name}", "off")
        assert detail(name.lower()) == f"off (WEIR_CAPTURE_{name})"


def test_it_says_what_would_be_sampled_here(
    nvml_here: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_hardware().detail == "off (WEIR_CAPTURE_HARDWARE)"
    monkeypatch.delenv("WEIR_CAPTURE")
    assert check_hardware().detail == "no GPU; the rest every 10 s"
    nvml_here.devices(gpu("GPU-a"), gpu("GPU-b", name="T4"))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = check_hardware()
    assert found.ok
    assert found.detail.startswith("T4 (1), not 1 GPU that CUDA_VISIBLE_DEVICES hides")
    monkeypatch.setenv("WEIR_HARDWARE_GPUS", "all")
    assert check_hardware().detail.startswith("NVIDIA H100 80GB HBM3 (0), T4 (1), ")


def test_a_gpu_without_its_library_is_told(
    nvml_here: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEIR_CAPTURE")
    monkeypatch.setattr(capture_gpu, "has_nvidia_gpu", lambda: True)
    found = check_hardware()  # the driver is not loaded
    assert not found.ok
    assert "its library says: Driver Not Loaded" in found.hint


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
    finding = by_check(examine(f"{scheme}://bob:SECRET@127.0.0.1:1"))["server"]
    assert not finding.ok
    assert finding.detail.startswith(f"{scheme.lower()}://127.0.0.1:1 does not answer")


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


def test_alerts_that_nobody_takes_are_told(sqlite_folder: DatabaseServer) -> None:
    url = sqlite_folder.new_mlflow_database()
    engine = sa.create_engine(url)
    migrations.upgrade(engine)
    ours = url.replace("sqlite", "sqlite+weir", 1)
    assert "alerts" not in by_check(examine(ours))
    now_ms = time.time_ns() // 1_000_000
    made = {"workspace": None, "document": "{}", "is_paused": False, "created_ms": 1}
    target = {"target_id": "a" * 32, "name": "ops", "kind": "email", "created_by": "", **made}
    sent = {"alert_id": "b" * 32, "target_id": "a" * 32, "run_uuid": "c" * 32, "n_tries": 1}
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.alert_target).values(**target))
    expected = Finding("alerts", True, "targets: 1, rules in force: 0")
    assert by_check(examine(ours))["alerts"] == expected
    for state, due_ms, hint in (("waiting", 1, "weir ui"), ("failed", now_ms, "weir alert log")):
        row = {**sent, "delivery_id": state, "state": state, "due_ms": due_ms, "told": "no"}
        with engine.begin() as connection:
            connection.execute(sa.insert(schema.alert_delivery).values(tried_ms=now_ms, **row))
        found = by_check(examine(ours))["alerts"]
        assert not found.ok
        assert hint in found.hint
    engine.dispose()


def test_databases_that_answer_are_told_apart(mlflow_database_url: str) -> None:
    uri = mlflow_database_url.replace("+psycopg", "").replace("+pymysql", "")
    finding = by_check(examine(uri.replace("://", "+weir://", 1)))["database"]
    assert finding.ok, finding
    assert "MLflow's tables, Weir's on first use" in finding.detail


def of_spool() -> dict[str, Finding]:
    return by_check(doctor_spool.examine_spool())


def test_a_spool_that_was_never_used_is_not_made(spool_path: Path) -> None:
    assert of_spool()["spool"].ok
    assert not spool_path.exists()


def test_a_spool_is_described(spool_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Spool.open()
    found = of_spool()
    assert set(found) == {"spool", "quota", "agent", "journals"}
    assert all(finding.ok for finding in found.values())
    assert str(spool_path) in found["spool"].detail
    assert "GiB free" in found["spool"].detail
    assert f"log: {spool_path}/agent/agent.log" in found["agent"].detail
    monkeypatch.setattr(doctor_spool, "MIN_FREE_BYTES", 1 << 62)
    assert not of_spool()["spool"].ok
    monkeypatch.setattr(doctor_spool, "file_system_of", lambda path: "nfs4")
    assert "network file system (nfs4)" in of_spool()["spool"].detail


def test_a_running_agent_is_named_and_an_old_one_is_to_be_stopped(
    spool_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = start_agent(Spool.open())
    try:
        assert f"process {pid}, version" in of_spool()["agent"].detail
        monkeypatch.setattr(doctor_spool, "__version__", "99.0")
        finding = of_spool()["agent"]
        assert not finding.ok
        assert "weir agent stop" in finding.hint
    finally:
        agent.nudge(spool_path, agent.STOP)


def test_what_waits_and_why_is_said(spool_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool.open()
    journal = Journal.create(spool, Target("sql", "sqlite:////gone.db"), None)
    journal.append(b"O" + b"x" * (1 << 20))
    journal.flush()
    folder = JournalFolder(journal.folder)
    assert of_spool()["journals"] == Finding("journals", True, "1 wait with 1.0 MiB, 0 set aside")
    folder.write_delivered(Delivered(error="the database \x1b[31mis away"))
    finding = of_spool()["journals"]
    assert not finding.ok
    assert "is away" in finding.detail
    assert "\x1b" not in finding.detail
    folder.write_delivered(Delivered(error=f"{agent.SET_ASIDE}bad checksum"))
    assert "weir journal salvage" in of_spool()["journals"].hint
    folder.write_delivered(Delivered(position=journal.end, n_rejected=3))
    assert "3 records refused" in of_spool()["journals"].detail
    monkeypatch.setenv("WEIR_SPOOL_MAX_BYTES", "1MiB")
    assert not of_spool()["quota"].ok
    journal.close()


class Info(http.server.BaseHTTPRequestHandler):
    """A server that answers as Weir's does to who has no password; its clock may be wrong."""

    skew_s = 0.0
    is_weir = True
    allowed: list[str] | None = None  # says so to who has no password

    def do_GET(self) -> None:
        said = b"" if self.allowed is None else json.dumps({"capture": self.allowed}).encode()
        self.send_response_only(200 if said else 401 if self.is_weir else 404)
        self.send_header("Date", formatdate(time.time() + self.skew_s, usegmt=True))
        if self.is_weir:
            self.send_header(servers.API_HEADER, "1")
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Info]]]:
    monkeypatch.setenv("NO_PROXY", "*")
    handler = type("OwnInfo", (Info,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}", handler
        served.shutdown()
        thread.join()


def test_servers_that_are_remembered_are_asked(info: tuple[str, type[Info]]) -> None:
    address, handler = info
    servers.remember(address)
    servers.remember("http://127.0.0.1:1")
    found = doctor_spool.examine_servers(None)
    assert Finding("server", True, f"{address} runs Weir") in found
    assert Finding("clock", True, f"agrees with {address}") in found
    assert any("127.0.0.1:1 does not answer now" in one.detail and one.ok for one in found)
    handler.skew_s, handler.is_weir = 3600.0, False
    kind, clock = (one for one in doctor_spool.examine_servers(None) if address in one.detail)
    assert kind.detail == f"{address} is a server without Weir"
    assert not clock.ok
    assert "behind" in clock.detail


def test_what_a_server_does_not_allow_would_not_be_captured(
    info: tuple[str, type[Info]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, handler = info
    monkeypatch.delenv("WEIR_CAPTURE")
    handler.allowed = ["environment"]
    found = by_check(examine(address))
    for name in ("capture of git", "capture of files", "console", "hardware"):
        assert found[name].detail == "not allowed by the server (its WEIR_SERVER_CAPTURE)"
    assert found["capture of environment"].detail.startswith("command line")
    handler.allowed = None  # it says nothing now, and this is what it said last
    servers.remember(address)
    servers.note_captures(address, frozenset({"git"}))
    assert "not allowed" in by_check(examine(address))["capture of environment"].detail


def test_a_server_that_is_asked_about_has_to_answer(info: tuple[str, type[Info]]) -> None:
    address, _ = info
    assert by_check(examine(f"{address}/"))["server"].ok
    found = by_check(examine("http://someone:secret@127.0.0.1:1"))["server"]
    assert not found.ok
    assert "refused" in found.detail
    assert "secret" not in repr(found)
