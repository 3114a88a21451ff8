"""Runs that a process is done with are forgotten, once they are delivered and not before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import LifecycleStage, RunInfo, RunStatus

from mlflow_weir.plugin.journal.spool import Delivered, JournalFolder, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.plugin.trimming import Trimmer

KEPT = 256


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.create(Spool.open(tmp_path / "spool"), Target("sql", "sqlite:////x"), None)
    yield made
    made.close()


def run(number: int, status: str = "RUNNING", *, is_ours: bool = True) -> RunView:
    info = RunInfo(
        run_id=f"{number:032x}",
        experiment_id="1",
        user_id="someone",
        status=status,
        start_time=5,
        end_time=None,
        lifecycle_stage=LifecycleStage.ACTIVE,
    )
    return RunView(info, is_verified=True, is_ours=is_ours)


class Process:
    """A process that begins a run, writes a record and ends the run, often."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.views: dict[str, RunView] = {}
        self.trimmer = Trimmer()
        self.n_begun = 0

    def begin(self, n: int, *, is_ended: bool = True, is_ours: bool = True) -> None:
        for _ in range(n):
            self.n_begun += 1
            view = run(self.n_begun, is_ours=is_ours)
            self.views[view.run_id] = view
            self.trimmer.look(self.views, self.journal)
            self.journal.append(b"Osomething")
            if is_ended:
                view.note_info(RunStatus.FINISHED, 6, None)

    def deliver(self) -> None:
        delivered = dataclasses.replace(Delivered(), position=self.journal.end)
        JournalFolder(self.journal.folder).write_delivered(delivered)


def test_ended_runs_are_forgotten_once_they_are_delivered(journal: Journal) -> None:
    process = Process(journal)
    for _ in range(40):
        process.begin(50)
        process.deliver()
    assert len(process.views) < 2 * KEPT


def test_nothing_is_forgotten_before_it_is_delivered(journal: Journal) -> None:
    process = Process(journal)
    process.begin(600)
    assert len(process.views) == 600
    process.deliver()
    process.begin(200)
    assert len(process.views) < 600


def test_open_runs_of_ours_are_kept_and_others_are_not(journal: Journal) -> None:
    process = Process(journal)
    process.begin(400, is_ended=False)
    ours = set(process.views)
    process.deliver()
    for _ in range(10):
        process.begin(64, is_ended=False, is_ours=False)
        process.deliver()
    assert ours <= process.views.keys()
    assert len(process.views) < 400 + 3 * 64


def test_a_run_that_is_written_to_again_is_kept(journal: Journal) -> None:
    process = Process(journal)
    process.begin(320)
    first = next(iter(process.views))
    process.views[first].is_resting = False  # as a log call leaves it
    process.deliver()
    process.begin(64)
    assert first in process.views
    process.begin(320)
    process.deliver()
    process.begin(64)
    assert first not in process.views


def test_another_journal_says_nothing_of_this_one(journal: Journal, tmp_path: Path) -> None:
    process = Process(journal)
    process.begin(320)
    process.journal = Journal.create(
        Spool.open(tmp_path / "spool"), Target("sql", "sqlite:////x"), None
    )
    process.deliver()
    process.begin(64)
    assert len(process.views) == 384
    process.journal.close()
