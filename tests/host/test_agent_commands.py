"""``weir status``, ``sync``, ``agent`` and ``stop`` on real journals, agents and databases."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import agents
from agents import TRAINING, Database, agent_pid, agents_of, start_agent, wait_until
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.agent.report import find_process
from mlflow_weir.plugin.cli import main
from mlflow_weir.plugin.journal.spool import Spool

pytestmark = [pytest.mark.slow]

OFFLINE = TRAINING.replace("\ndelivered()\n", "\n")


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    for made in agents.fresh_spool():
        monkeypatch.setenv("WEIR_SPOOL", str(made.root))
        yield made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agents.make_template(tmp_path_factory.mktemp("template") / "a.db")


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Database:
    return Database(template, tmp_path / "a.db")


def weir(*words: str, status: int = 0) -> str:
    """Run a command in this process; return its standard output."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == status, (done.output, done.exception)
    return done.stdout


def weir_json(*words: str, status: int = 0) -> Any:
    return json.loads(weir(*words, "--json", status=status))


def leave_behind(
    spool: Spool, database: Database, n_points: int = 10, ending: str = "", how: str = "fluent"
) -> tuple[Path, str]:
    """Let a process write a journal that nobody delivers; return its folder and its run."""
    run_id = uuid.uuid4().hex
    words = [str(spool.root), database.uri, run_id, how, str(n_points)]
    before = set(spool.root.glob("journals/*"))
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE + ending, *words], capture_output=True, text=True
    )
    assert done.stdout == "ready\n", done.stderr
    (folder,) = set(spool.root.glob("journals/*")) - before
    return folder, run_id


def test_status_of_nothing(spool: Spool) -> None:
    said = weir("status")
    assert "agent: none runs" in said
    assert "nothing waits" in said
    found = weir_json("status")
    assert (found["agent"], found["journals"]) == (None, [])


def test_status_shows_what_waits_and_no_secret(spool: Spool, database: Database) -> None:
    folder, run_id = leave_behind(spool, database)
    header = json.loads((folder / "header.json").read_text())
    header["program"] = "train\x1b[31m.py"
    (folder / "header.json").write_text(json.dumps(header))
    (one,) = weir_json("status")["journals"]
    assert one["waiting_records"] == 12
    assert one["waiting_bytes"] == sum(file.stat().st_size for file in folder.glob("*.seg"))
    assert not one["is_alive"]
    assert one["open_runs"] == {run_id: "fluent"}
    said = weir("status")
    assert "waiting: 12 records" in said
    assert "\x1b" not in said


def test_status_shows_the_agent_a_living_process_and_what_was_refused(
    spool: Spool, database: Database
) -> None:
    pid = start_agent(spool)
    run_id = uuid.uuid4().hex
    ending = """
operation("log_params", run_id=run_id, params=[["a", "1"]])
operation("log_params", run_id=run_id, params=[["a", "2"]])
operation("points_dropped", run_id=run_id, n=7)
delivered()
print("more", flush=True)
sys.stdin.readline()
"""
    words = [str(spool.root), database.uri, run_id, "fluent", "3"]
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING + ending, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    assert [training.stdout.readline() for _ in range(2)] == ["ready\n", "more\n"]
    found = weir_json("status")
    assert found["agent"]["pid"] == pid
    assert 0 < found["agent"]["memory_bytes"] <= 120 << 20
    (one,) = found["journals"]
    assert (one["is_alive"], one["pid"], one["waiting_bytes"]) == (True, training.pid, 0)
    assert (one["n_points"], one["n_rejected"], one["n_dropped"]) == (3, 1, 7)
    said = weir("status")
    assert f"agent: process {pid}" in said
    assert "cannot be changed" in said
    assert "dropped: 7 points" in said
    training.communicate("end\n", timeout=300)


def test_sync_delivers_without_an_agent_and_settles(spool: Spool, database: Database) -> None:
    _, run_id = leave_behind(spool, database, ending="\nos._exit(0)")
    (one,) = weir_json("sync")
    assert (one["error"], one["is_removed"], one["n_points"]) == ("", True, 10)
    assert database.steps(run_id) == list(range(10))
    assert database.run(run_id) == ("FAILED", "ended without saying why")
    assert spool.journals() == []
    assert agents_of(spool) == []
    assert weir("sync") == "nothing to deliver\n"


SAMPLES = (
    OFFLINE.partition('operation("create_run"')[0]
    + """
journal.append(encode_points(run_id, [("system/load_average", 1, 0, 2.0)]))
print("ready", flush=True)
"""
)


def test_sync_brings_samples_of_a_run_after_the_run_itself(
    spool: Spool, database: Database
) -> None:
    training, run_id = leave_behind(spool, database)
    words = [str(spool.root), database.uri, run_id, "client"]
    subprocess.run([sys.executable, "-c", SAMPLES, *words], check=True, capture_output=True)
    (samples,) = set(spool.root.glob("journals/*")) - {training}
    first, second = weir_json("sync", str(samples), str(training))
    assert (first["path"], first["n_rejected"], first["n_points"]) == (str(samples), 0, 1)
    assert (second["path"], second["n_points"]) == (str(training), 10)
    assert database.steps(run_id, "system/load_average") == [0]


def test_sync_of_a_living_process_delivers_what_is_there(spool: Spool, database: Database) -> None:
    run_id = uuid.uuid4().hex
    words = [str(spool.root), database.uri, run_id, "fluent", "5"]
    training = subprocess.Popen(
        [sys.executable, "-c", OFFLINE + "\nsys.stdin.readline()", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    assert training.stdout.readline() == "ready\n"
    (one,) = weir_json("sync")
    assert (one["error"], one["is_removed"], one["n_points"]) == ("", False, 5)
    assert database.run(run_id) == ("RUNNING", None)
    training.communicate("end\n", timeout=300)
    weir("sync")
    assert spool.journals() == []


def test_a_copied_journal_is_delivered_as_often_as_one_likes(
    spool: Spool, database: Database, tmp_path: Path
) -> None:
    folder, run_id = leave_behind(spool, database)
    copies = tmp_path / "copies"
    copies.mkdir()
    shutil.copytree(folder, copies / "a")
    shutil.rmtree(folder)
    before = {file.name: file.read_bytes() for file in (copies / "a").glob("*.*")}
    said = weir("sync", str(copies), status=1)
    assert "--to URI" in said
    for _ in range(3):
        (one,) = weir_json("sync", str(copies), "--to", database.uri)
        assert (one["error"], one["is_removed"], one["n_points"]) == ("", False, 10)
    assert database.steps(run_id) == list(range(10))
    assert database.run(run_id) == ("RUNNING", None)
    assert {file.name: file.read_bytes() for file in (copies / "a").glob("*.*")} == before


def test_sync_makes_the_store_it_delivers_to(
    spool: Spool, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run_id = leave_behind(spool, database)
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    (one,) = weir_json("sync", str(tmp_path / "copy"), "--to", "sqlite+weir:///new.db")
    assert one["error"] == ""
    new = Database(tmp_path / "new.db", tmp_path / "same.db")
    new.uri = f"sqlite:///{tmp_path}/new.db"
    assert new.steps(run_id) == list(range(10))


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(n, marks=pytest.mark.long) for n in range(3, 8))]
)
def test_a_damaged_copy_does_no_harm(
    spool: Spool, database: Database, tmp_path: Path, seed: int
) -> None:
    """Random bytes in random places of every file: an answer, and at most what was in it."""
    folder, run_id = leave_behind(spool, database)
    rng = random.Random(seed)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for file in copy.iterdir():
        if file.is_file() and file.stat().st_size and rng.random() < 0.7:
            content = bytearray(file.read_bytes())
            for _ in range(rng.randint(1, 20)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            file.write_bytes(content)
    done = CliRunner().invoke(main, ["sync", str(copy), "--to", database.uri, "--json"])
    assert done.exit_code in (0, 1), (done.output, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    if database.run(run_id) is not None:
        assert set(database.steps(run_id)) <= set(range(10))


def test_links_in_a_copy_are_not_followed(
    spool: Spool, database: Database, tmp_path: Path
) -> None:
    folder, _ = leave_behind(spool, database)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (segment,) = copy.glob("*.seg")
    secret = tmp_path / "secret"
    shutil.move(segment, secret)
    segment.symlink_to(secret)
    (one,) = weir_json("sync", str(copy), "--to", database.uri, status=1)
    assert one["error"]
    assert one["n_records"] == 0


def test_sync_says_what_it_cannot_deliver(spool: Spool, database: Database) -> None:
    leave_behind(spool, database)
    database.path.unlink()
    (one,) = weir_json("sync", status=1)
    assert "was the database moved" in one["error"]
    assert len(spool.journals()) == 1
    assert "not delivered" in weir("sync", status=1)


def test_sync_refuses_what_is_no_journal(spool: Spool, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["sync", str(tmp_path)])
    assert done.exit_code == 1
    assert "neither a journal nor a spool" in done.stderr


def test_an_agent_and_several_syncs_race_and_every_point_is_there_once(
    spool: Spool, database: Database
) -> None:
    left = [leave_behind(spool, database, 3000)[1] for _ in range(3)]
    run_id = uuid.uuid4().hex
    ending = """
import select
step = 2
while not select.select([sys.stdin], [], [], 0.001)[0]:
    for _ in range(20):
        step += 1
        journal.append(encode_points(run_id, [("loss", step, step, 0.5)]))
end_run("FINISHED", False)
print(step, flush=True)
"""
    words = [str(spool.root), database.uri, run_id, "fluent", "3"]
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING + ending, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    assert training.stdout.readline() == "ready\n"
    script = "from mlflow_weir.plugin.cli import main; main(['sync', '--json'])"
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "WEIR_SPOOL": str(spool.root)}
    for _ in range(2):
        syncs = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for one in syncs:
            said, _ = one.communicate(timeout=300)
            assert json.loads(said) is not None
    last = int(training.communicate("end\n", timeout=300)[0])

    def settled() -> bool:
        client.ensure_agent(spool.root)
        return spool.journals() == []

    wait_until(settled, "every journal is delivered", 120)
    for one_id in left:
        assert database.steps(one_id) == list(range(3000))
    assert database.steps(run_id) == list(range(last + 1))
    assert database.run(run_id) == ("FINISHED", None)


def test_agent_start_stop_and_log(spool: Spool) -> None:
    started = weir_json("agent", "start")
    assert started == {"pid": agent_pid(spool), "was_started": True}
    assert weir_json("agent", "start") == {"pid": agent_pid(spool), "was_started": False}
    assert weir_json("agent", "stop") == {"pid": started["pid"], "was_stopped": True}
    wait_until(lambda: agents_of(spool) == [], "it ends")
    assert weir("agent", "stop") == "no agent runs\n"
    assert "agent started" in weir("agent", "log")
    assert "agent ended" in "\n".join(weir_json("agent", "log")["lines"])


@pytest.mark.parametrize("is_delivered", [True, False])
def test_stop_interrupts_the_process_of_a_run(
    spool: Spool, database: Database, is_delivered: bool
) -> None:
    run_id = uuid.uuid4().hex
    ending = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
try:
    print("waiting", flush=True)
    while True:
        time.sleep(600)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    program = (TRAINING if is_delivered else OFFLINE) + ending
    begun = []
    # A launcher that created the run, its main process, and another rank.
    for how in ("client", "fluent", "fluent"):
        words = [str(spool.root), database.uri, run_id, how, "3"]
        process = subprocess.Popen(
            [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True
        )
        begun.append(process)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "waiting\n"]
        answers = find_process(spool, run_id)
        assert answers is not None
        assert answers.pid == begun[how == "fluent"].pid
    launcher, *trainings = begun
    for one in trainings:
        assert weir_json("stop", run_id)["pid"] == one.pid
        assert one.communicate(timeout=300)[0] == "interrupted\n"
    # With the last of them the run ends, and the launcher's part in it.
    launcher.send_signal(signal.SIGINT)
    assert launcher.communicate(timeout=300)[0] == "interrupted\n"


def test_stop_says_that_a_run_is_not_here(spool: Spool) -> None:
    done = CliRunner().invoke(main, ["stop", "0" * 32])
    assert done.exit_code == 1
    assert "answers for run" in done.stderr
