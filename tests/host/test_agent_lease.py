"""The lease: one holder, rising numbers, gone with its process or its file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agents import wait_until
from mlflow_weir.plugin.agent import lease
from mlflow_weir.plugin.agent.files import AgentFiles

# Takes the lease, says its number and holds it until it is killed.
HOLDER = """
import sys, signal
from pathlib import Path
from mlflow_weir.plugin.agent import lease
from mlflow_weir.plugin.agent.files import AgentFiles
held = lease.try_take(AgentFiles(Path(sys.argv[1])))
print(held.fencing if held else "none", flush=True)
if held:
    signal.pause()
"""


@pytest.fixture
def files(tmp_path: Path) -> AgentFiles:
    return AgentFiles(tmp_path)


def start_holder(files: AgentFiles) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLDER, str(files.folder.parent)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def said(holder: subprocess.Popen[str]) -> str:
    assert holder.stdout is not None
    return holder.stdout.readline().strip()


def test_one_holder(files: AgentFiles) -> None:
    holders = [start_holder(files) for _ in range(4)]
    answers = [said(holder) for holder in holders]
    try:
        assert sorted(answers)[1:] == ["none"] * 3 or answers.count("none") == 3
        held = next(one for one, answer in zip(holders, answers, strict=True) if answer != "none")
        holder = lease.holder_of(files)
        assert holder is not None
        assert holder["pid"] == held.pid
    finally:
        for one in holders:
            one.kill()
            one.communicate()
    assert lease.holder_of(files) is None


def test_numbers_rise_whatever_is_killed(files: AgentFiles) -> None:
    rng = random.Random(7)
    numbers = []
    for _ in range(6):
        holder = start_holder(files)
        numbers.append(int(said(holder)))
        time.sleep(rng.random() / 100)
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert numbers == sorted(set(numbers))


def test_numbers_handed_out_at_once_differ(files: AgentFiles) -> None:
    numbers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: numbers.extend(lease.next_fencing(files) for _ in range(50))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(numbers)) == 200


@pytest.mark.parametrize("left", [b"", b"nonsense", b"\0" * 20, None])
def test_a_counter_that_cannot_be_read_goes_on_from_the_clock(
    files: AgentFiles, left: bytes | None
) -> None:
    first = lease.next_fencing(files)
    if left is None:
        files.fencing.unlink()
    else:
        files.fencing.write_bytes(left)
    assert lease.next_fencing(files) >= first


def test_a_clock_that_jumps_back_does_not_lower_the_numbers(
    files: AgentFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lease.next_fencing(files)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert lease.next_fencing(files) == first + 1


def test_a_removed_spool_ends_the_lease(files: AgentFiles) -> None:
    held = lease.try_take(files)
    assert held is not None
    assert held.is_held()
    files.lock.unlink()
    assert not held.is_held()
    other = lease.try_take(files)
    assert other is not None
    assert not held.is_held()
    held.release()
    assert other.is_held()
    other.release()


def test_whoever_looks_does_not_keep_an_agent_from_the_lease(files: AgentFiles) -> None:
    files.folder.mkdir(parents=True)
    files.lock.touch()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            lease.holder_of(files)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for one in lookers:
        one.start()
    try:
        held = wait_until(lambda: lease.try_take(files), "the lease", 120)
        held.release()
    finally:
        stop.set()
        for one in lookers:
            one.join()
    assert os.path.exists(files.lock)
