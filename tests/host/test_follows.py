"""Files that follow a run: scripts as users write them, on a local store and on a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from agents import kill_agents, wait_until
from databases import put_mlflow_tables
from mlflow_server import ServerSpec, free_port, start_servers
from mlflow_weir.plugin.journal.spool import Spool

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

DEADLINE_S = 120.0
TRAIN = """
import mlflow, os, pathlib, sys, time
def write(name, text):
    path = pathlib.Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
def wait_for(uri):
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        try:
            return mlflow.artifacts.load_text(uri)
        except Exception:
            time.sleep(0.3)
    raise SystemExit("not delivered while running")
write("out/old.txt", "from the run before")
os.utime("out/old.txt", (time.time() - 60, time.time() - 60))
while time.time() < os.stat("out/old.txt").st_ctime + 3:  # more than clocks may be apart
    time.sleep(0.05)
run = mlflow.start_run()
print(run.info.run_id, flush=True)
write("out/first.txt", "one")
assert wait_for(run.info.artifact_uri + "/out/first.txt") == "one"
write("out/.env", "SECRET=1")
write("out/first.txt", "two")
"""


@pytest.fixture
def spool() -> Iterator[Spool]:
    with tempfile.TemporaryDirectory(prefix="weir-follow-") as folder:
        found = Spool.open(Path(folder) / "s")
        yield found
        kill_agents(found)


def train(folder: Path, uri: str, spool: Spool, end: str) -> tuple[str, int, str]:
    """Run the script; return its run, its code and what it complained of."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN + end],
        cwd=folder,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": uri,
            "WEIR_SPOOL": str(spool.root),
            "WEIR_CLIENT": "auto",
            "WEIR_CAPTURE": "on",
            "WEIR_CAPTURE_GIT": "off",
            "WEIR_CAPTURE_ENVIRONMENT": "off",
            "WEIR_FILES": "out/*:out/.env",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout.strip(), done.returncode, done.stderr


def text_of(client: MlflowClient, run_id: str, name: str) -> str:
    try:
        return Path(client.download_artifacts(run_id, name)).read_text()
    except Exception:  # noqa: BLE001  (not there yet)
        return ""


def test_new_and_changed_files_arrive_and_the_last_version_wins(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_mlflow_tables(tmp_path / "store" / "weir.db")
    uri = f"weir://{tmp_path}/store"
    run_id, code, err = train(tmp_path / "work", uri, spool, "mlflow.end_run()\n")
    assert code == 0, err
    monkeypatch.setenv("WEIR_CLIENT", "off")
    client = MlflowClient(uri)
    assert {info.path for info in client.list_artifacts(run_id, "out")} == {"out/first.txt"}
    assert text_of(client, run_id, "out/first.txt") == "two"
    said = json.loads(text_of(client, run_id, "weir/files.json"))
    assert said["left_out"] == {"out/.env": "its name says that it holds secrets"}
    assert (said["n_files"], said["n_versions"]) == (1, 2)


def test_what_is_asked_for_is_taken_as_it_is_there(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_mlflow_tables(tmp_path / "store" / "weir.db")
    uri = f"weir://{tmp_path}/store"
    end = "import mlflow_weir; mlflow_weir.follow('out/old.txt')\nmlflow.end_run()\n"
    run_id, code, err = train(tmp_path / "work", uri, spool, end)
    assert code == 0, err
    monkeypatch.setenv("WEIR_CLIENT", "off")
    assert text_of(MlflowClient(uri), run_id, "out/old.txt") == "from the run before"


def test_on_a_server_the_last_version_of_a_killed_training_arrives(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "server"
    put_mlflow_tables(home / "mlflow.db")
    port = free_port()
    command = [
        *("server", "--backend-store-uri", f"sqlite+weir:///{home}/mlflow.db"),
        *("--artifacts-destination", str(home / "artifacts")),
    ]
    quiet = (("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),)
    uri = f"http://127.0.0.1:{port}"
    with start_servers(ServerSpec(command, home, quiet, port=port)):
        end = "write('out/last.txt', 'written and killed')\nos.kill(os.getpid(), 9)\n"
        run_id, code, err = train(tmp_path / "work", uri, spool, end)
        assert code == -9, err
        monkeypatch.setenv("WEIR_CLIENT", "off")
        client = MlflowClient(uri)
        wait_until(
            lambda: text_of(client, run_id, "out/last.txt") == "written and killed",
            "the last file is there",
            DEADLINE_S,
        )
        wait_until(
            lambda: text_of(client, run_id, "out/first.txt") == "two",
            "the last version is there",
            DEADLINE_S,
        )
        wait_until(
            lambda: client.get_run(run_id).info.status == "KILLED", "the run is over", DEADLINE_S
        )
        wait_until(lambda: not spool.journals(), "no journal is left", DEADLINE_S)
