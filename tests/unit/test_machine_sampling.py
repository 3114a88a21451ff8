"""What the agent's sampling does with machine, disk and store as they may be."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import fresh_spool, wait_until
from mlflow_weir.plugin.agent import sampling
from mlflow_weir.plugin.agent.drain import JournalDelivery
from mlflow_weir.plugin.agent.exit_states import Evidence
from mlflow_weir.plugin.agent.sampling import NOTES_TAG, PROGRAM, Sampling
from mlflow_weir.plugin.agent.targets import address_of
from mlflow_weir.plugin.agent.worker import Tracked
from mlflow_weir.plugin.capture import gpu as capture_gpu
from mlflow_weir.plugin.capture import processes, wishes
from mlflow_weir.plugin.capture.wishes import Wish
from mlflow_weir.plugin.journal import writer
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import Credentials, JournalFolder, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.records import Operation, Points, decode
from nvml import Nvml, gpu

RUN = "a" * 32


@pytest.fixture
def spool() -> Iterator[Spool]:
    yield from fresh_spool()


class Machine:
    """A training's journal, and the sampling that looks at it."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.journal = Journal.create(
            spool, Target("sql", "sqlite:///x"), Credentials("sqlite:///x?password=SECRET")
        )
        self.folder = JournalFolder(self.journal.folder)
        self.tracked = Tracked(self.folder, self.folder.header(), address_of(self.folder))
        self.sampling = Sampling(spool)

    def wish(self, run_id: str = RUN, **changes: Any) -> None:
        """Want a run to be sampled."""
        now_ms = time.time_ns() // 1_000_000
        wish: dict[str, Any] = {"interval_s": 0.5, "began_ms": now_ms, **changes}
        wishes.write(self.journal.folder, Wish(run_id, **wish))

    def look(self, *others: Tracked) -> None:
        self.sampling.look([self.tracked, *others])

    def own(self) -> list[JournalFolder]:
        """Return the journals that the sampling writes."""
        return [one for one in self.spool.journals() if one.header().program == PROGRAM]

    def records(self) -> list[Any]:
        """Return what it has written."""
        found: list[Any] = []
        for folder in self.own():
            with JournalReader(folder.path) as reader:
                while payloads := reader.read().payloads:
                    found += [decode(payload) for payload in payloads]
        return found

    def steps(self, run_id: str = RUN) -> list[int]:
        """Return the steps of a run's records."""
        return [
            next(one.points())[2]
            for one in self.records()
            if isinstance(one, Points) and one.run_id == run_id
        ]

    def keys(self) -> set[str]:
        """Return the names of all metrics."""
        return {key for one in self.records() if isinstance(one, Points) for key in one.keys}

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        def is_so() -> Any:
            self.look()
            time.sleep(0.05)
            return condition()

        wait_until(is_so, what, 60)


@pytest.fixture
def machine(spool: Spool) -> Iterator[Machine]:
    made = Machine(spool)
    yield made
    made.sampling.stop()
    made.journal.close()


def test_its_journal_has_the_trainings_target_and_credentials_and_owns_no_run(
    machine: Machine, nvml_here: Nvml
) -> None:
    nvml_here.devices(gpu("GPU-a"))
    machine.wish(first_step=5)
    machine.wait(lambda: len(machine.steps()) >= 2, "two samples")
    (own,) = machine.own()
    assert address_of(own) == machine.tracked.address
    assert (own.path / "credentials.json").stat().st_mode & 0o077 == 0
    assert machine.steps()[:2] == [5, 6]
    first, second = machine.records()[:2]
    energy = "system/gpu_0_energy_joules"
    assert (energy in first.keys, energy in second.keys) == (True, False), "it is slow to ask"
    assert not own.owner_is_gone()
    wishes.withdraw(machine.journal.folder, RUN)
    machine.wait(own.owner_is_gone, "the journal is given up with its last run")


def test_a_gpu_that_is_lost_under_it_comes_back(
    machine: Machine, nvml_here: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_gpu, "_REOPEN_S", 1.0)
    nvml_here.devices(gpu("GPU-a"), gpu("GPU-b", err=15))
    machine.wish()
    machine.wait(lambda: "system/gpu_0_sm_clock_mhz" in machine.keys(), "the other is sampled")
    assert "system/gpu_1_sm_clock_mhz" not in machine.keys()
    nvml_here.change(_1__err=None)
    machine.wait(lambda: "system/gpu_1_sm_clock_mhz" in machine.keys(), "it is back")


def test_what_cannot_be_told_is_said_in_a_tag(
    machine: Machine, nvml_here: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "counts_as_nvml", lambda: False)
    monkeypatch.setattr(processes, "has_gpu_open", lambda pid, proc: True)
    nvml_here.devices(gpu("GPU-a", processes="4194000:1000000:10"))  # no number that Linux gives
    machine.wish()
    machine.wait(lambda: len(machine.steps()) >= 3, "three samples")
    assert "system/gpu_0_process_memory_megabytes" not in machine.keys()
    (tag,) = [one for one in machine.records() if isinstance(one, Operation)]
    assert tag.name == "set_tags"
    assert tag.fields["run_id"] == RUN
    ((name, text),) = tag.fields["tags"]
    assert name == NOTES_TAG
    assert "--pid=host" in text


def test_a_gpu_without_its_library_is_said_once(
    machine: Machine,
    nvml_here: Nvml,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(capture_gpu, "has_nvidia_gpu", lambda: True)
    machine.wish()
    machine.wait(lambda: len(machine.steps()) >= 3, "three samples")
    assert "system/cpu_utilization_percentage" in machine.keys()
    (tag,) = [one for one in machine.records() if isinstance(one, Operation)]
    assert "Driver Not Loaded" in tag.fields["tags"][0][1]
    said = [one for one in caplog.messages if one.startswith("this machine has an NVIDIA GPU")]
    assert len(said) == 1


def test_an_agent_after_this_one_goes_on_behind(machine: Machine, nvml_here: Nvml) -> None:
    nvml_here.devices(gpu("GPU-a"))
    machine.wish(first_step=3)
    machine.wait(lambda: len(machine.steps()) >= 3, "three samples")
    machine.sampling.stop()
    before = machine.steps()
    machine.sampling = Sampling(machine.spool)
    machine.wait(lambda: len(machine.steps()) >= len(before) + 2, "two more")
    steps = sorted(machine.steps())
    assert steps == sorted(set(steps))
    assert min(set(steps) - set(before)) > max(before)


def test_a_run_that_the_store_refuses_is_not_asked_for_again(
    machine: Machine, nvml_here: Nvml
) -> None:
    nvml_here.devices(gpu("GPU-a"))
    machine.wish()
    machine.wish("b" * 32)
    machine.wait(lambda: machine.steps() and machine.steps("b" * 32), "both are sampled")
    (own,) = machine.own()
    refused = Tracked(own, own.header(), machine.tracked.address)
    refused.delivery = JournalDelivery(own, None)
    reason = {"what": f"80 points of run {RUN}", "reason": "the run is deleted"}
    refused.delivery.noted = refused.delivery.noted.__class__(rejected=[reason])
    machine.look(refused)
    n = len(machine.steps("b" * 32))
    # A sample may have been under way: the second one that comes now began after the refusal.
    machine.wait(lambda: len(machine.steps("b" * 32)) >= n + 2, "the other goes on")
    before = len(machine.steps())
    machine.wait(lambda: len(machine.steps("b" * 32)) >= n + 4, "the other goes on")
    assert len(machine.steps()) <= before


def test_a_full_disk_ends_nothing_and_takes_little_memory(
    machine: Machine,
    nvml_here: Nvml,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nvml_here.devices(gpu("GPU-a"))
    monkeypatch.setattr(sampling, "_HELD_BYTES", 10_000)
    is_full = [False]
    write = os.write

    def fails(file: int, data: bytes) -> int:
        if is_full[0]:
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(writer, "_write", fails)
    machine.wish()
    machine.wait(lambda: len(machine.steps()) >= 1, "a sample")
    is_full[0] = True
    dropped = "samples are dropped"
    machine.wait(lambda: any(dropped in one for one in caplog.messages), "samples are dropped")
    is_full[0] = False
    n = len(machine.steps())
    machine.wait(lambda: len(machine.steps()) >= n + 3, "it goes on")
    assert len([one for one in caplog.messages if dropped in one]) == 1


def test_nothing_is_sampled_for_a_process_that_is_gone(machine: Machine, nvml_here: Nvml) -> None:
    nvml_here.devices(gpu("GPU-a"))
    machine.wish()
    machine.tracked.evidence = Evidence(None)
    machine.look()
    assert machine.own() == []


def test_no_secret_of_the_training_is_in_the_header(machine: Machine, nvml_here: Nvml) -> None:
    nvml_here.devices(gpu("GPU-a"))
    machine.wish()
    machine.wait(lambda: machine.steps(), "a sample")
    (own,) = machine.own()
    for path in Path(own.path).iterdir():
        if path.is_file() and path.name != "credentials.json":
            assert b"SECRET" not in path.read_bytes()
