"""What the agent decides without a process at hand: states, evidence, messages, pauses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import wait_until
from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.plugin.agent import ends, liveness, worker
from mlflow_weir.plugin.agent.exit_states import Evidence, Ownership, Verdict, verdict
from mlflow_weir.plugin.agent.liveness import Ended
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.plugin.agent.worker import Pause, Tracked, Worker
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.plugin.journal.spool import Credentials, JournalFolder, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.apply import Outcome

FLUENT, CLIENT, PROVISIONAL = Ownership.FLUENT, Ownership.CLIENT, Ownership.PROVISIONAL
KILLED = Ended(None, signal.SIGKILL)


@pytest.mark.parametrize(
    ("evidence", "fluent", "client", "provisional"),
    [
        (Evidence(Ended(0, None)), ("FINISHED", "exited 0 without end_run"), None, None),
        (Evidence(Ended(3, None)), *[("FAILED", "exit code 3")] * 3),
        (
            Evidence(KILLED, "oom_kill rose from 1 to 2 in x"),
            *[("FAILED", "out of memory (oom_kill rose from 1 to 2 in x)")] * 2,
            (
                "FINISHED",
                "out of memory (oom_kill rose from 1 to 2 in x) after the end of the program",
            ),
        ),
        (
            Evidence(KILLED),
            *[("KILLED", "signal SIGKILL")] * 2,
            ("FINISHED", "signal SIGKILL after the end of the program"),
        ),
        # The kernel killed another process of the cgroup: a SIGTERM is a SIGTERM.
        (
            Evidence(Ended(None, signal.SIGTERM), "oom_kill rose"),
            *[("KILLED", "signal SIGTERM")] * 2,
            ("FINISHED", "signal SIGTERM after the end of the program"),
        ),
        (Evidence(None), ("FAILED", "ended without saying why"), None, None),
        (
            Evidence(None, "oom_kill rose"),
            ("FAILED", "out of memory (oom_kill rose; its signal is not known)"),
            None,
            None,
        ),
        (Evidence(None, is_restart=True), ("FAILED", "the machine was restarted"), None, None),
    ],
)
def test_states_by_tiers(
    evidence: Evidence,
    fluent: tuple[str, str] | None,
    client: tuple[str, str] | None,
    provisional: tuple[str, str] | None,
) -> None:
    for how, expected in ((FLUENT, fluent), (CLIENT, client), (PROVISIONAL, provisional)):
        assert verdict(how, evidence) == (None if expected is None else Verdict(*expected))


def test_a_real_time_signal_has_a_number() -> None:
    found = verdict(FLUENT, Evidence(Ended(None, 40)))
    assert found == Verdict("KILLED", "signal 40")


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(Ended(0, None), at_ms=5),
        Evidence(Ended(255, None)),
        Evidence(KILLED, "oom_kill rose", at_ms=5),
        Evidence(None, is_restart=True),
        Evidence(None),
    ],
)
def test_evidence_is_read_as_it_was_written(tmp_path: Path, evidence: Evidence) -> None:
    ends.write_evidence(tmp_path, evidence)
    assert ends.read_evidence(tmp_path) == evidence


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"code": 0}', b"\xff", b"null", b"1"]
)
def test_evidence_that_makes_no_sense_is_none(tmp_path: Path, content: bytes) -> None:
    assert ends.read_evidence(tmp_path) is None
    (tmp_path / "ended.json").write_bytes(content)
    assert ends.read_evidence(tmp_path) is None


def test_two_ends_at_once_are_no_evidence(tmp_path: Path) -> None:
    record = {"code": 0, "signal": 9, "oom": None, "is_restart": False, "at_ms": None}
    (tmp_path / "ended.json").write_text(json.dumps(record))
    assert ends.read_evidence(tmp_path) == Evidence(None)


@pytest.mark.parametrize("user", ["somebody", "a", "jo"])
@pytest.mark.parametrize("password", ["sesame-open", "pw", "p%40ss", "a.b*c"])
def test_messages_hold_no_user_and_no_password(user: str, password: str) -> None:
    uri = f"postgresql://{user}:{password}@host:5432/db"
    address = Address("sql", uri)
    shown = password.replace("%40", "@")
    messages = [
        f'FATAL:  password authentication failed for user "{user}"\nconnection to {uri} failed',
        f"(1045, \"Access denied for user '{user}'@'host' (using password: '{shown}')\")",
    ]
    for message in messages:
        found = address.redacted(message)
        for secret in (password, shown, f'"{user}"', f"'{user}'", f"//{user}:"):
            assert secret not in found
        assert "\n" not in found
        assert "failed" in found or "denied" in found
    assert "host" in address.shown
    assert user not in address.shown.removeprefix("postgresql://…@host:5432/db")
    assert password not in repr(address)


def test_a_pause_grows_to_half_a_minute_and_can_be_urged() -> None:
    pause = Pause()
    assert pause.is_over()
    lengths = []
    for _ in range(12):
        pause.grow()
        lengths.append(pause._next_s)
    assert lengths[0] == pytest.approx(0.4)
    assert lengths[-1] == 30.0
    assert not pause.is_over()
    before_s = pause.until_s
    pause.urge()
    assert pause.until_s < before_s - 20
    pause.end()
    assert pause.is_over()


@given(st.text())
def test_a_terminal_gets_one_line_it_does_not_obey(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)


def test_a_number_that_is_another_process_is_not_watched() -> None:
    ticks = liveness.start_ticks_of(os.getpid())
    assert ticks is not None
    assert liveness.try_watch(os.getpid(), ticks + 1) is None
    watch = liveness.try_watch(os.getpid(), ticks)
    assert watch is not None
    assert not watch.has_ended()
    assert watch.how() is None
    watch.close()


def test_wait_statuses_are_read() -> None:
    assert liveness.ended(3 << 8) == Ended(3, None)
    assert liveness.ended(signal.SIGSEGV | 0x80) == Ended(None, signal.SIGSEGV)


@pytest.mark.skipif(
    sys.platform != "linux" or tuple(map(int, os.uname().release.split(".")[:2])) < (6, 15),
    reason="kernels before Linux 6.15 keep no record of an end",
)
def test_an_end_is_known_though_the_parent_takes_its_time_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the wait and the kernel's record a process is no zombie, and has no record."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(7)"], stdin=-1
    )
    watch = liveness.try_watch(process.pid, liveness.start_ticks_of(process.pid) or 0)
    assert watch is not None
    assert watch.how() is None
    assert process.stdin is not None
    process.stdin.close()
    wait_until(watch.has_ended, "it has ended")
    looks: list[int] = []

    def is_no_zombie(pid: int, start_ticks: int) -> None:
        looks.append(pid)
        if len(looks) == 3:
            process.wait()

    monkeypatch.setattr(liveness, "_zombie_status", is_no_zombie)
    assert watch.how() == Ended(7, None)
    assert len(looks) == 3
    watch.close()


class GoneDatabase:
    """A target that takes each job, and says a moment later that it cannot be done."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self._has_job = False

    def compact(self, run_id: str, *, is_final: bool) -> bool:
        self._has_job = not self._has_job
        if self._has_job:
            self.jobs.append(run_id)
            return True
        raise StoreUnavailable("the file is gone")


def test_compaction_that_cannot_be_done_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an agent is idle one day, whose database somebody has removed."""
    now_s = [0.0]
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    target = GoneDatabase()
    agent = Worker(Address("sql", "sqlite:////gone.db", ()), lambda: 1, lambda *_: False)
    agent._target = cast(Any, target)
    agent._due = dict.fromkeys(["first", "second", "third"], True)
    while agent._due:
        assert now_s[0] < 600, f"{len(target.jobs)} tries"
        agent._keep_house()
        now_s[0] = max(now_s[0], agent._compaction_pause.until_s)
    assert target.jobs.count("first") < 12
    assert (target.jobs.count("second"), target.jobs.count("third")) == (1, 1)


def test_what_is_written_in_a_turn_has_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now_s[0], time_ns=int))
    spool = Spool.open(tmp_path / "spool")
    journal = Journal.create(spool, Target("sql", "sqlite:////x.db"), Credentials("sqlite://"))
    journal.append(b"first")
    taken: list[list[bytes]] = []

    class Slow:
        """A target in whose transactions a training goes on."""

        def state(self, journal_id: str) -> None:
            return None

        def apply(
            self, journal_id: str, fencing: int, start: int, end: int, payloads: list[bytes],
            *, is_patient: bool,
        ) -> Outcome:  # fmt: skip
            taken.append(payloads)
            if len(taken) < 20:
                journal.append(b"meanwhile")
            return Outcome(was_applied=False, position=end, n_records=len(payloads))

    address = Address("sql", "sqlite:////x.db", ())
    agent = Worker(address, lambda: 1, lambda *_: False)
    agent._target = cast(Any, Slow())
    agent._next_beat_s = 1e9
    folder = JournalFolder(journal.folder)
    agent.add(Tracked(folder, folder.header(), address))
    agent._pass()
    assert taken == [[b"first"]]
    agent._pass()
    assert taken == [[b"first"]]
    now_s[0] += 1.0
    agent._pass()
    assert taken == [[b"first"], [b"meanwhile"]]
    journal.close()
