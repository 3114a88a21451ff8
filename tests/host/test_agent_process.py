"""The agent leaves alone whoever started it: terminal, pipes, descriptors, signals, time."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import agents
from agents import agent_pid, agents_of, kill_agents, run_python, start_agent, wait_until
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.journal.spool import Spool


@pytest.fixture
def spool() -> Iterator[Spool]:
    yield from agents.fresh_spool()


# Starts an agent as a training does, waits until it is there and says so.
STARTER = """
import sys, time
from pathlib import Path
from mlflow_weir.plugin.agent import client
root = Path(sys.argv[1])
client.ensure_agent(root)
give_up = time.monotonic() + 120
while not client.nudge(root, "hello"):
    assert time.monotonic() < give_up
    time.sleep(0.01)
print("started")
"""

# The same from a process that has set up everything an agent must not inherit.
STRANGE_STARTER = f"""
import os, signal, socket
os.chdir("/tmp")
os.umask(0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGCHLD, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
kept = open("/proc/self/status")
os.set_inheritable(kept.fileno(), True)
os.dup2(kept.fileno(), 77, inheritable=True)
{STARTER}
"""


def test_a_program_with_captured_pipes_ends_while_its_agent_lives(spool: Spool) -> None:
    long = {**os.environ, "WEIR_AGENT_IDLE_SECONDS": "3600"}  # so long a captured pipe would wait
    done = run_python(STARTER, str(spool.root), env=long)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("started\n", "")
    assert agent_pid(spool) is not None


def test_an_agent_inherits_nothing_of_a_training(spool: Spool) -> None:
    secret = {**os.environ, "AWS_SECRET_ACCESS_KEY": "sesame", "PGPASSWORD": "sesame"}
    done = run_python(STRANGE_STARTER, str(spool.root), env=secret)
    assert done.returncode == 0, done.stderr
    pid = agent_pid(spool)
    assert pid is not None
    process = Path(f"/proc/{pid}")
    assert os.readlink(process / "cwd") == "/"
    status = agents.status_of(pid)
    assert status["Umask"] == "0077"
    assert int(status["SigBlk"], 16) == 0
    ignored = int(status["SigIgn"], 16)
    # Python ignores these two itself; the C library keeps 32 and 33 for its own use.
    own = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1) | 3 << 31
    assert ignored & ~own == 0
    descriptors = {int(one.name): os.readlink(one) for one in (process / "fd").iterdir()}
    assert descriptors[0] == descriptors[1] == os.devnull
    assert descriptors[2] == str(AgentFiles(spool.root).log)
    assert not any("/proc/" in target for target in descriptors.values())
    assert 77 not in descriptors
    assert b"sesame" not in (process / "environ").read_bytes()
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    parent, group, session, terminal = map(int, fields[1:5])
    assert terminal == 0
    assert session != os.getsid(0)
    assert group != os.getpgrp()
    # Not the session's leader, which alone could be given a terminal; that has ended.
    assert pid not in (session, parent)
    wait_until(lambda: not Path(f"/proc/{session}/exe").is_symlink(), "its leader has ended")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="missing component: unshare")
def test_a_training_that_is_process_1_of_a_container_ends_the_container(spool: Spool) -> None:
    inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode != 0:
        pytest.skip("this container may not make namespaces")
    long = {**os.environ, "WEIR_AGENT_IDLE_SECONDS": "3600"}
    words = [*inside, sys.executable, "-c", STARTER, str(spool.root)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=long)
    assert done.stdout == "started\n", done.stderr
    assert agents_of(spool) == []


def test_a_caller_does_not_wait_for_an_agent_that_takes_its_time(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, slow = tmp_path / "hold", tmp_path / "python"
    os.mkfifo(hold)
    slow.write_text(f'#!/bin/sh\nread line < {hold}\nexec {sys.executable} "$@"\n')
    slow.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(slow))
    client.ensure_agent(spool.root)
    client.ensure_agent(spool.root)  # nor who comes while it starts
    assert not client.is_alive(spool.root)
    hold.write_text("go on\n")
    wait_until(lambda: client.nudge(spool.root, "hello"), "an agent listens")


def test_of_several_agents_started_at_once_one_stays(spool: Spool) -> None:
    command = client.start_command(spool.root)
    started = [subprocess.Popen(command) for _ in range(6)]
    for one in started:
        assert one.wait(300) == 0
    wait_until(lambda: len(agents_of(spool)) == 1, "one agent stays")
    assert agents_of(spool) == [agent_pid(spool)]


def test_a_killed_agent_is_replaced_on_the_next_need(spool: Spool) -> None:
    client.ensure_agent(spool.root)
    first = wait_until(lambda: agent_pid(spool), "the first agent")
    wait_until(lambda: client.nudge(spool.root, "hello"), "it listens")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not client.is_alive(spool.root), "it is gone")

    def replaced() -> bool:
        client.ensure_agent(spool.root)
        return agent_pid(spool) not in (None, first)

    wait_until(replaced, "another agent")


def test_an_idle_agent_ends_and_leaves_no_socket(spool: Spool) -> None:
    start_agent(spool, WEIR_AGENT_IDLE_SECONDS="0.3")
    wait_until(lambda: not client.is_alive(spool.root), "the agent ends")
    assert not AgentFiles(spool.root).socket.exists()
    assert "nothing to do" in AgentFiles(spool.root).log.read_text()


@pytest.mark.parametrize("how", ["nudge", "signal"])
def test_an_agent_ends_when_it_is_asked_to(spool: Spool, how: str) -> None:
    pid = start_agent(spool)
    if how == "nudge":
        assert client.nudge(spool.root, client.STOP)
    else:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: agents_of(spool) == [], "it ends")


def test_an_agent_whose_spool_is_removed_ends(spool: Spool) -> None:
    start_agent(spool)
    shutil.rmtree(spool.root)
    wait_until(lambda: agents_of(spool) == [], "it ends")


def test_everything_an_agent_makes_is_private(spool: Spool) -> None:
    before = os.umask(0)
    try:
        start_agent(spool)
    finally:
        os.umask(before)
    files = list(AgentFiles(spool.root).folder.iterdir())
    assert {file.name for file in files} == {"agent.lock", "agent.log", "agent.sock", "fencing"}
    for file in files:
        assert stat.S_IMODE(file.lstat().st_mode) == 0o600, file
    assert stat.S_IMODE(AgentFiles(spool.root).folder.stat().st_mode) == 0o700


def test_a_spool_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / ("long" * 30))
    try:
        start_agent(spool)
        address = AgentFiles(spool.root).address()
        assert address is not None
        folder = Path(address).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert client.nudge(spool.root, client.STOP)
        wait_until(lambda: agents_of(spool) == [], "it ends")
        assert not folder.exists()
    finally:
        kill_agents(spool)


def test_a_log_is_rotated_and_kept_private(spool: Spool, tmp_path: Path) -> None:
    code = """
import logging, sys
from pathlib import Path
from mlflow_weir.plugin.agent import process
import os
os.umask(0o077)
log = process.open_log(Path(sys.argv[1]))
for number in range(30_000):
    log.info("line %d of a long story that goes on and on", number)
"""
    done = run_python(code, str(tmp_path / "agent.log"))
    assert done.returncode == 0, done.stderr
    for name in ("agent.log", "agent.log.1"):
        file = tmp_path / name
        assert file.stat().st_size <= 1 << 20
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "line 29999 of" in (tmp_path / "agent.log").read_text()


def test_an_agent_imports_neither_mlflow_nor_before_need_sqlalchemy() -> None:
    code = """
import sys
import mlflow_weir.plugin.agent.__main__, mlflow_weir.plugin.agent.loop
heavy = {"mlflow", "sqlalchemy", "numpy", "pyarrow", "click"}
assert heavy.isdisjoint(sys.modules), heavy.intersection(sys.modules)
import mlflow_weir.plugin.agent.sql_target, mlflow_weir.plugin.agent.compactor
assert "sqlalchemy" in sys.modules
assert "mlflow" not in sys.modules
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_a_client_imports_the_standard_library_alone() -> None:
    code = """
import sys
before = set(sys.modules)
import mlflow_weir.plugin.agent.client
added = {name.split(".")[0] for name in set(sys.modules) - before}
assert added <= sys.stdlib_module_names | {"mlflow_weir"}, added
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
