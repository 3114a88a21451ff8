"""How a process ends decides what becomes of its open runs: real processes, real ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import agents
from agents import TRAINING, Database, old_kernel, start_agent, wait_until
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.journal.spool import Spool

pytestmark = [pytest.mark.slow]


@pytest.fixture
def spool() -> Iterator[Spool]:
    yield from agents.fresh_spool()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agents.make_template(tmp_path_factory.mktemp("template") / "a.db")


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Database:
    return Database(template, tmp_path / "a.db")


@pytest.fixture
def run_id() -> str:
    return uuid.uuid4().hex


def words(spool: Spool, database: Database, run_id: str, how: str, ending: str) -> list[str]:
    program = TRAINING + ending
    return [sys.executable, "-c", program, str(spool.root), database.uri, run_id, how, "3"]


def train(spool: Spool, database: Database, run_id: str, how: str, ending: str) -> None:
    done = subprocess.run(
        words(spool, database, run_id, how, ending), capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "ready\n", done.stderr


def start(
    spool: Spool, database: Database, run_id: str, how: str, ending: str
) -> subprocess.Popen[str]:
    """Start a training whose ending may wait for a line on its standard input."""
    training = subprocess.Popen(
        words(spool, database, run_id, how, ending),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    assert training.stdout.readline() == "ready\n"
    return training


def settled(spool: Spool) -> None:
    wait_until(lambda: spool.journals() == [], "every journal is delivered and removed")


NO_LAST_WORD = "end_run('FINISHED', True); delivered();"
LAST_WORD = "end_run('KILLED', False);"


@pytest.mark.parametrize(
    ("how", "ending", "status", "cause"),
    [
        ("fluent", "sys.exit(3)", "FAILED", "exit code 3"),
        ("fluent", "raise RuntimeError('no')", "FAILED", "exit code 1"),
        ("fluent", "os._exit(0)", "FINISHED", "exited 0 without end_run"),
        ("fluent", "os._exit(7)", "FAILED", "exit code 7"),
        ("fluent", "os.kill(os.getpid(), signal.SIGKILL)", "KILLED", "signal SIGKILL"),
        ("fluent", "os.kill(os.getpid(), signal.SIGTERM)", "KILLED", "signal SIGTERM"),
        ("fluent", "os.abort()", "KILLED", "signal SIGABRT"),
        ("client", "os._exit(0)", "RUNNING", None),
        ("client", "os._exit(7)", "FAILED", "exit code 7"),
        ("client", "os.kill(os.getpid(), signal.SIGKILL)", "KILLED", "signal SIGKILL"),
        ("fluent", NO_LAST_WORD, "FINISHED", None),
        ("fluent", NO_LAST_WORD + "os._exit(3)", "FAILED", "exit code 3"),
        (
            "fluent",
            NO_LAST_WORD + "os.kill(os.getpid(), signal.SIGSEGV)",
            "FINISHED",
            "signal SIGSEGV after the end of the program",
        ),
        ("fluent", LAST_WORD + "os._exit(5)", "KILLED", None),
    ],
)
def test_a_run_gets_the_state_its_process_ended_with(
    spool: Spool,
    database: Database,
    run_id: str,
    how: str,
    ending: str,
    status: str,
    cause: str | None,
) -> None:
    train(spool, database, run_id, how, "\n" + ending)
    settled(spool)
    assert database.run(run_id) == (status, cause)
    assert database.steps(run_id) == [0, 1, 2]


@pytest.mark.parametrize(
    ("ending", "cause"),
    [("os._exit(4)", "exit code 4"), ("os.kill(os.getpid(), 9)", "signal SIGKILL")],
)
def test_a_zombie_whose_parent_never_waits_is_gone(
    spool: Spool, database: Database, run_id: str, ending: str, cause: str
) -> None:
    training = start(spool, database, run_id, "fluent", f"\nsys.stdin.readline(); {ending}")
    assert training.stdin is not None
    training.stdin.write("end\n")
    training.stdin.flush()
    settled(spool)
    assert Path(f"/proc/{training.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    found = database.run(run_id)
    assert found is not None
    assert found[1] == cause
    training.communicate(timeout=300)


def left_behind(
    spool: Spool, database: Database, run_id: str, ending: str = "os._exit(3)", **header: object
) -> None:
    """Leave a journal with an open run whose process ended while no agent ran."""
    pid = start_agent(spool)
    training = start(spool, database, run_id, "fluent", f"\nsys.stdin.readline(); {ending}")
    os.kill(pid, signal.SIGKILL)
    training.communicate("end\n", timeout=300)
    assert training.returncode == 3
    (journal,) = spool.journals()
    file = journal.path / "header.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **header}))


def test_an_end_that_nobody_watched_is_said_to_be_unknown(
    spool: Spool, database: Database, run_id: str
) -> None:
    left_behind(spool, database, run_id)
    start_agent(spool)
    settled(spool)
    assert database.run(run_id) == ("FAILED", "ended without saying why")


def test_an_exit_that_nobody_watched_is_known_by_what_the_process_left(
    spool: Spool, database: Database, run_id: str
) -> None:
    left_behind(
        spool,
        database,
        run_id,
        "from mlflow_weir.plugin.journal import exit_code; exit_code.note_in(journal.folder); "
        "raise SystemExit(3)",
    )
    start_agent(spool)
    settled(spool)
    assert database.run(run_id) == ("FAILED", "exit code 3")


def test_a_process_number_used_again_is_not_taken_for_the_owner(
    spool: Spool, database: Database, run_id: str
) -> None:
    left_behind(spool, database, run_id, pid=os.getpid())
    start_agent(spool)
    settled(spool)
    assert database.run(run_id) == ("FAILED", "ended without saying why")


def test_a_restarted_machine_is_the_cause(spool: Spool, database: Database, run_id: str) -> None:
    left_behind(spool, database, run_id, boot_id="00000000-0000-0000-0000-000000000000")
    start_agent(spool)
    settled(spool)
    assert database.run(run_id) == ("FAILED", "the machine was restarted")


def test_what_an_agent_saw_survives_it(spool: Spool, database: Database, run_id: str) -> None:
    """The process ends while the database is away, and the agent is killed before it is back."""
    first = start_agent(spool)
    training = start(spool, database, run_id, "fluent", "\nsys.stdin.readline(); os._exit(3)")
    away = database.path.with_suffix(".away")
    os.rename(database.path, away)
    training.communicate("end\n", timeout=300)
    (journal,) = spool.journals()
    wait_until((journal.path / "ended.json").exists, "the end is written down")
    os.kill(first, signal.SIGKILL)
    os.rename(away, database.path)
    start_agent(spool)
    settled(spool)
    assert database.run(run_id) == ("FAILED", "exit code 3")


def test_a_run_of_two_processes_ends_with_the_last(
    spool: Spool, database: Database, run_id: str
) -> None:
    ending = "\nsys.stdin.readline(); os._exit(0)"
    first = start(spool, database, run_id, "fluent", ending)
    second = start(spool, database, run_id, "fluent", ending)
    first.communicate("end\n", timeout=300)
    wait_until(lambda: len(spool.journals()) == 1, "the first one's journal is removed")
    assert database.run(run_id) == ("RUNNING", None)
    second.communicate("end\n", timeout=300)
    settled(spool)
    assert database.run(run_id) == ("FINISHED", "exited 0 without end_run")


def test_a_process_that_becomes_another_program_ends_with_that(
    spool: Spool, database: Database, run_id: str
) -> None:
    ending = "\nos.execv('/bin/sh', ['sh', '-c', 'read line; exit 4'])"
    training = start(spool, database, run_id, "fluent", ending)
    (journal,) = spool.journals()
    wait_until(journal.owner_is_gone, "exec closed the lock")
    client.nudge(spool.root)
    assert database.run(run_id) == ("RUNNING", None)
    training.communicate("end\n", timeout=300)
    settled(spool)
    assert database.run(run_id) == ("FAILED", "exit code 4")


def test_a_closed_journal_without_open_runs_goes_while_its_process_lives(
    spool: Spool, database: Database, run_id: str
) -> None:
    ending = "\nend_run('FINISHED', False); journal.close(); sys.stdin.readline()"
    training = start(spool, database, run_id, "fluent", ending)
    settled(spool)
    assert training.poll() is None
    assert database.run(run_id) == ("FINISHED", None)
    training.communicate("end\n", timeout=300)


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """Make a memory cgroup of 200 MiB below our own; v1 or v2."""
    own = {
        controllers: path
        for _, controllers, path in (
            line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()
        )
    }
    if "memory" in own:
        folder, limit = (
            Path("/sys/fs/cgroup/memory", own["memory"].lstrip("/")),
            "memory.limit_in_bytes",
        )
    else:
        folder, limit = Path("/sys/fs/cgroup", own.get("", "/").lstrip("/")), "memory.max"
    made = folder / f"weir-test-{os.getpid()}"
    try:
        made.mkdir()
        (made / limit).write_text(str(200 << 20))
        swap = made / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
    except OSError as exc:
        if made.exists():
            made.rmdir()
        pytest.skip(f"this container may not make cgroups: {exc}")
    try:
        yield made
    finally:
        made.rmdir()


@pytest.mark.parametrize("is_old", [False, True], ids=["kernel", "old-kernel"])
def test_an_oom_kill_is_told_from_another_kill(
    is_old: bool, spool: Spool, database: Database, run_id: str, small_cgroup: Path, tmp_path: Path
) -> None:
    # Outside of the cgroup.
    start_agent(spool, **(old_kernel(tmp_path) if is_old else {}))
    ending = """
sys.stdin.readline()
hog = []
while True:
    hog.append(bytearray(b"x" * (10 << 20)))
"""
    enter = (
        f"open({str(small_cgroup / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid()))"
    )
    line = words(spool, database, run_id, "fluent", ending)
    line[2] = f"{enter}\n{line[2]}"
    training = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    training.communicate("go\n", timeout=300)
    assert training.returncode == -signal.SIGKILL
    settled(spool)
    found = database.run(run_id)
    assert found is not None
    status, cause = found
    assert status == "FAILED"
    assert cause is not None
    assert cause.startswith("out of memory (oom_kill rose from 0 to 1 in ")


def test_a_request_to_stop_a_run_interrupts_its_process_once(
    spool: Spool, database: Database, run_id: str
) -> None:
    from mlflow.entities import RunTag

    start_agent(spool)
    # What Ctrl-C would do, and time for a second one to come.
    ending = """
for _ in range(2):
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.readline()
        sys.exit(3)
"""
    store = database.open()
    with start(spool, database, run_id, "fluent", ending) as training:
        assert training.stdin is not None
        assert training.stdout is not None
        try:
            store.set_tag(run_id, RunTag("weir.stop_requested", "by a test"))
            assert training.stdout.readline() == "interrupted\n"
            assert "weir.stop_requested" not in store.get_run(run_id).data.tags
            print("go on", file=training.stdin, flush=True)
            assert training.wait(300) == 3
        finally:
            training.kill()
            store._dispose_engine()
    wait_until(lambda: (database.run(run_id) or "")[0] == "FAILED", "the run has failed")


def test_a_training_may_forbid_to_be_stopped(
    spool: Spool, database: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request goes to the main process, which is not interrupted, and to no other."""
    from mlflow.entities import RunTag

    start_agent(spool)
    monkeypatch.setenv("WEIR_STOP", "off")
    store, ending = database.open(), "\nsys.stdin.readline(); sys.exit(4)"
    with start(spool, database, run_id, "fluent", ending) as main:
        monkeypatch.delenv("WEIR_STOP")
        with start(spool, database, run_id, "fluent", ending) as other:
            try:
                wait_until(
                    lambda: all(one.delivered().open_runs for one in spool.journals()), "both own"
                )
                store.set_tag(run_id, RunTag("weir.stop_requested", "by a test"))
                wait_until(
                    lambda: "weir.stop_requested" not in store.get_run(run_id).data.tags, "taken"
                )
                log = AgentFiles(spool.root).log
                wait_until(lambda: "which WEIR_STOP=off forbids" in log.read_text(), "is said")
                for one in (other, main):
                    one.communicate("end\n", timeout=300)
                    assert one.returncode == 4
            finally:
                main.kill()
                other.kill()
                store._dispose_engine()
