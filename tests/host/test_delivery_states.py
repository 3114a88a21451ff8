"""How a run's end is told: by its process, by its exit code, by nobody; and heartbeats."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.entities import RunTag

from agents import wait_until
from databases import DatabaseServer
from deliveries import ARTIFACTS, JournalOfRecords
from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.store import schema
from mlflow_weir.store.delivery.apply import Outcome
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.delivery.heartbeats import beat, set_provisional, take_stops
from mlflow_weir.store.tracking_store import WeirStore

pytestmark = pytest.mark.slow

RUN = "0123456789abcdef" * 2
HOST = "a machine"


class OneRun:
    """A run that a journal created and its process answers for."""

    def __init__(self, server: DatabaseServer) -> None:
        url = server.new_mlflow_database()
        self.store: Any = WeirStore(url, ARTIFACTS)
        self.engine = open_engine(url)
        self.journal = JournalOfRecords()
        self.journal.operation(
            "create_run",
            run_id=RUN,
            experiment_id="0",
            experiment_name=None,
            user_id="somebody",
            start_time=1,
            tags=[],
            run_name="a run",
            artifact_uri=None,
        )
        self.do("own_run", how="fluent")

    def do(self, name: str, /, **fields: Any) -> Outcome:
        """Write and deliver one operation; nothing may be refused."""
        self.journal.operation(name, run_id=RUN, **fields)
        (outcome,) = self.journal.deliver(self.engine)
        assert outcome.rejected == []
        return outcome

    def update(
        self,
        status: str | None,
        end_time: int | None = None,
        *,
        is_provisional: bool = False,
        is_revival: bool = False,
    ) -> Outcome:
        return self.do(
            "update_run",
            status=status,
            end_time=end_time,
            run_name=None,
            is_provisional=is_provisional,
            is_revival=is_revival,
        )

    def exit(self, status: str, cause: str | None, end_time: int | None = 900) -> Outcome:
        details = {} if end_time is None else {"end_time": end_time}
        return self.do("exit", status=status, cause=cause, details=details)

    def state(self) -> tuple[str, int | None, str | None]:
        """Return the run's status, end time and why it ended."""
        run = self.store.get_run(RUN)
        return run.info.status, run.info.end_time, run.data.tags.get("weir.exit_cause")

    def heartbeats(self) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(schema.heartbeat))]


@pytest.fixture
def run(database_server: DatabaseServer) -> Iterator[OneRun]:
    opened = OneRun(database_server)
    yield opened
    opened.store._dispose_engine()
    opened.engine.dispose()


def test_a_run_that_ends_itself_keeps_its_end(run: OneRun) -> None:
    assert beat(run.engine, [RUN], run.journal.journal_id, HOST, 5) == []
    outcome = run.update("FINISHED", 500)
    assert outcome.ended_runs == [RUN]
    assert outcome.open_runs == outcome.provisional == {}
    assert run.heartbeats() == []
    outcome = run.exit("FAILED", "exit code 3")
    assert outcome.ended_runs == []
    assert run.state() == ("FINISHED", 500, None)


def test_a_provisional_end_is_corrected_by_the_exit_code(run: OneRun) -> None:
    outcome = run.update("FINISHED", 500, is_provisional=True)
    assert outcome.ended_runs == [RUN]
    assert outcome.open_runs == {RUN: "fluent"}
    assert outcome.provisional == {RUN: "FINISHED"}
    outcome = run.exit("FAILED", "exit code 3")
    assert outcome.ended_runs == [RUN]
    assert outcome.open_runs == outcome.provisional == {}
    assert run.state() == ("FAILED", 500, "exit code 3")


def test_what_a_person_said_after_a_provisional_end_stays(run: OneRun) -> None:
    run.update("FINISHED", 500, is_provisional=True)
    from mlflow.entities import RunStatus

    run.store.update_run_info(RUN, RunStatus.KILLED, 600, None)
    outcome = run.exit("FAILED", "exit code 3")
    assert outcome.open_runs == outcome.provisional == {}
    assert run.state() == ("KILLED", 600, None)


@pytest.mark.parametrize("end_time", [900, None])
def test_a_run_without_an_end_gets_one_and_the_reason(run: OneRun, end_time: int | None) -> None:
    assert run.exit("KILLED", "signal 9 " + "x" * 9000, end_time).ended_runs == [RUN]
    status, ended, cause = run.state()
    assert status == "KILLED"
    assert ended == 900 if end_time else (ended or 0) > 1_700_000_000_000
    assert cause is not None
    assert cause.startswith("signal 9")
    assert len(cause) == 8000


def test_an_exit_of_a_run_that_is_gone_is_no_error(run: OneRun) -> None:
    run.store.delete_run(RUN)
    assert run.exit("KILLED", "signal 9").open_runs == {}


def test_a_run_that_comes_back_runs_again(run: OneRun) -> None:
    run.exit("KILLED", "signal 9")
    outcome = run.update("RUNNING", is_revival=True)
    assert outcome.rejected == []
    assert run.state() == ("RUNNING", None, None)
    run.update("FAILED", 700)
    run.update("RUNNING", is_revival=True)  # its own word, which Weir does not take back
    assert run.state() == ("FAILED", 700, None)


def test_a_resumed_run_has_no_cause_of_an_end(run: OneRun) -> None:
    run.exit("KILLED", "signal 9")
    run.update("RUNNING")
    assert run.state() == ("RUNNING", 900, None)  # MLflow keeps the end time, too
    run.exit("FAILED", "exit code 1", 950)
    assert run.state() == ("FAILED", 950, "exit code 1")


def test_a_heartbeat_revives_what_a_time_out_ended(run: OneRun) -> None:
    from mlflow.entities import RunStatus

    run.store.update_run_info(RUN, RunStatus.FAILED, 800, None)
    with run.engine.begin() as connection:
        set_provisional(connection, RUN, "FAILED", by="timeout")
    journal_id = run.journal.journal_id
    assert beat(run.engine, [RUN, RUN], journal_id, HOST, 7) == [RUN]
    assert run.state() == ("RUNNING", None, None)
    assert run.heartbeats() == [(RUN, journal_id, HOST, 7, None, None)]
    assert beat(run.engine, [RUN], journal_id, "h" * 300, 8) == []
    assert run.heartbeats() == [(RUN, journal_id, "h" * 255, 8, None, None)]


@pytest.mark.parametrize("by", ["exit", "exit handler"])
def test_a_heartbeat_revives_nothing_else(run: OneRun, by: str) -> None:
    from mlflow.entities import RunStatus

    run.store.update_run_info(RUN, RunStatus.FAILED, 800, None)
    with run.engine.begin() as connection:
        set_provisional(connection, RUN, "FAILED", by=by)
    assert beat(run.engine, [RUN], "0" * 32, HOST, 7) == []  # of a process that does not own it
    assert run.state()[0] == "FAILED"
    run.store.update_run_info(RUN, RunStatus.KILLED, 800, None)  # a person, after a time-out
    with run.engine.begin() as connection:
        set_provisional(connection, RUN, "FAILED", by="timeout")
    assert beat(run.engine, [RUN], run.journal.journal_id, HOST, 8) == []
    assert run.state()[0] == "KILLED"


def test_heartbeats_of_runs_that_are_not_there_leave_nothing(run: OneRun) -> None:
    assert beat(run.engine, ["f" * 32], run.journal.journal_id, HOST, 7) == []
    assert beat(run.engine, [], run.journal.journal_id, HOST, 7) == []
    assert run.heartbeats() == []


def test_dropped_points_are_added_up(run: OneRun) -> None:
    run.do("points_dropped", n=3)
    run.do("points_dropped", n=40)
    assert run.store.get_run(RUN).data.tags["weir.points_dropped"] == "43"


def test_open_runs_are_known_to_whoever_asks_again(run: OneRun) -> None:
    run.do("own_run", how="client")  # started here first, and that stays
    outcome = run.update("FINISHED", 5, is_provisional=True)
    again = run.journal.apply(run.engine, 0, len(run.journal.payloads))
    assert again.was_applied
    assert again.open_runs == outcome.open_runs == {RUN: "fluent"}
    assert again.provisional == {RUN: "FINISHED"}


def test_a_deleted_run_takes_its_heartbeat_along(run: OneRun) -> None:
    beat(run.engine, [RUN], run.journal.journal_id, HOST, 5)
    run.store.delete_run(RUN)
    run.store._hard_delete_run(RUN)
    assert run.heartbeats() == []


SEEDS = itertools.count(2)


class Process:
    """Another process that answers for the run, on another machine."""

    def __init__(self, run: OneRun, how: str) -> None:
        self.run, self.journal = run, JournalOfRecords(seed=next(SEEDS))
        self.do("own_run", how=how)
        self.now_ms = time.time_ns() // 1_000_000

    def do(self, name: str, /, **fields: Any) -> Outcome:
        self.journal.operation(name, run_id=RUN, **fields)
        (outcome,) = self.journal.deliver(self.run.engine)
        assert outcome.rejected == []
        return outcome

    def beat(self, at_ms: int | None = None) -> list[str]:
        return beat(self.run.engine, [RUN], self.journal.journal_id, HOST, at_ms)

    def stops(self) -> list[str]:
        """Return what its agent is told to interrupt it for."""
        self.beat()
        return take_stops(self.run.engine, [RUN], self.journal.journal_id)

    def exit(self, status: str, cause: str | None) -> Outcome:
        return self.do("exit", status=status, cause=cause, details={})

    def end(self, status: str) -> Outcome:
        return self.do(
            "update_run",
            status=status,
            end_time=500,
            run_name=None,
            is_provisional=True,
            is_revival=False,
        )


@pytest.mark.parametrize(
    ("how", "other", "status"),
    [
        ("fluent", "fluent", "RUNNING"),
        ("client", "fluent", "RUNNING"),
        ("client", "client", "RUNNING"),
        ("fluent", "client", "KILLED"),  # a launcher's life does not keep its training's run
    ],
)
def test_a_run_goes_on_while_another_process_has_as_good_a_claim(
    run: OneRun, how: str, other: str, status: str
) -> None:
    run.exit("RUNNING", None)  # the process that created it has gone, and said nothing
    one, another = Process(run, how), Process(run, other)
    assert one.beat() == another.beat() == []
    outcome = one.exit("KILLED", "signal SIGKILL")
    assert outcome.open_runs == {}
    assert run.state()[0] == status
    if status == "RUNNING":
        assert another.beat() == []
        another.exit("FAILED", "exit code 3")
        assert run.state()[::2] == ("FAILED", "exit code 3")


def test_a_request_to_stop_reaches_the_main_process(run: OneRun) -> None:
    """Whichever of them beats first: a launcher and ranks, on one machine or several."""
    run.exit("RUNNING", None)  # the process that created it has gone
    launcher, main = Process(run, "client"), Process(run, "fluent")
    wait_until(lambda: time.time_ns() // 1_000_000 > main.now_ms, "the next one comes later")
    other = Process(run, "fluent")
    for one in (launcher, main, other):
        one.beat()
    run.store.set_tag(RUN, RunTag("weir.stop_requested", "now"))
    assert [one.stops() for one in (other, launcher, main, other)] == [[], [], [RUN], []]
    main.exit("FAILED", "exit code 1")  # another is the main one now
    run.store.set_tag(RUN, RunTag("weir.stop_requested", "now"))
    assert [one.stops() for one in (launcher, other)] == [[], [RUN]]
    other.exit("FAILED", "exit code 1")
    run.store.set_tag(RUN, RunTag("weir.stop_requested", "now"))
    assert launcher.stops() == [RUN]


def test_an_end_of_the_exit_handler_waits_for_the_others(run: OneRun) -> None:
    run.exit("RUNNING", None)
    one, another = Process(run, "fluent"), Process(run, "fluent")
    assert one.beat() == another.beat() == []
    outcome = one.end("FINISHED")
    assert outcome.provisional == {RUN: "FINISHED"}  # its exit code is all that is left to know
    assert outcome.ended_runs == []
    assert run.state() == ("RUNNING", None, None)
    assert another.beat() == []
    assert another.end("FINISHED").ended_runs == [RUN]
    assert run.state() == ("FINISHED", 500, None)
    one.exit("FAILED", "exit code 1")
    assert run.state() == ("FAILED", 500, "exit code 1")


def test_a_process_that_was_not_heard_of_gets_its_run_back(run: OneRun) -> None:
    """Its network was gone while the run's other process ended."""
    other = Process(run, "fluent")
    now_ms = time.time_ns() // 1_000_000
    assert other.beat(now_ms - 120_000) == []
    run.exit("KILLED", "signal SIGKILL")
    assert run.state()[0] == "KILLED"
    assert other.beat() == [RUN]
    assert run.state() == ("RUNNING", None, None)
    other.end("FINISHED")
    assert other.beat() == []
    assert run.state() == ("FINISHED", 500, None)


def test_two_that_end_at_once_do_not_wait_for_each_other(run: OneRun) -> None:
    run.exit("RUNNING", None)
    processes = [Process(run, "fluent") for _ in range(2)]
    for each in processes:
        each.beat()
        each.journal.operation("exit", run_id=RUN, status="KILLED", cause="signal", details={})
    failed: list[BaseException] = []

    def deliver(journal: JournalOfRecords) -> None:
        give_up = time.monotonic() + 120
        while True:
            try:
                journal.deliver(run.engine)
                return
            except StoreUnavailable as exc:  # of two that wait for each other one is let go
                if time.monotonic() > give_up:
                    failed.append(exc)
                    return

    threads = [threading.Thread(target=deliver, args=(each.journal,)) for each in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert run.state()[::2] == ("KILLED", "signal")
