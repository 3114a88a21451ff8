"""Runs of lost machines, on every database, with the clock in the test's hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from mlflow_weir.store.delivery import heartbeats
from mlflow_weir.store.delivery.apply import apply
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.runs.node_lost import mark_lost
from mlflow_weir.store.tracking_store import WeirStore
from senders import create_run, new_id, operation

# MLflow warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")

TIMEOUT_MS, LEASE_MS = 300_000, 60_000
START_MS = 1_800_000_000_000


@pytest.fixture
def engine(mlflow_database_url: str) -> Iterator[sa.Engine]:
    store = WeirStore(mlflow_database_url, "/artifacts")
    engine = open_engine(mlflow_database_url)
    yield engine
    engine.dispose()
    store.engine.dispose()
    WeirStore._weir_engines.pop(mlflow_database_url)


def begin(engine: sa.Engine, *run_ids: str) -> None:
    records = [create_run(run_id) for run_id in run_ids]
    assert apply(engine, new_id(), 1, 0, 1, records).rejected == []


def look(engine: sa.Engine, holder: str, at_ms: int) -> list[str]:
    return mark_lost(engine, holder, now_ms=at_ms, timeout_ms=TIMEOUT_MS, lease_ms=LEASE_MS)


def state(engine: sa.Engine, run_id: str) -> tuple[str, int | None, str | None]:
    query = sa.text(
        "SELECT r.status, r.end_time, t.value FROM runs r LEFT JOIN tags t "
        "ON t.run_uuid = r.run_uuid AND t.key = 'weir.exit_cause' WHERE r.run_uuid = :run"
    )
    if engine.dialect.name == "mysql":
        query = sa.text(str(query).replace("t.key", "t.`key`"))
    with engine.connect() as connection:
        status, end_time, cause = connection.execute(query, {"run": run_id}).one()
    return status, end_time, cause


def watch(engine: sa.Engine, holder: str, from_ms: int, to_ms: int) -> list[str]:
    """Look as a server does, four times a term."""
    marked = []
    for at_ms in range(from_ms, to_ms + 1, LEASE_MS // 4):
        marked += look(engine, holder, at_ms)
    return marked


def test_a_silent_run_is_marked_once_and_one_without_heartbeats_never(engine: sa.Engine) -> None:
    silent, alive, quiet, ended = (new_id() for _ in range(4))
    begin(engine, silent, alive, quiet, ended)
    heartbeats.beat(engine, [silent, alive, ended], new_id(), "host", START_MS)
    apply(engine, new_id(), 1, 0, 1, [operation("update_run", run_id=ended, status="FINISHED")])
    assert watch(engine, "a", START_MS, START_MS + TIMEOUT_MS) == []
    heartbeats.beat(engine, [alive], new_id(), "host", START_MS + TIMEOUT_MS)
    assert watch(engine, "a", START_MS + TIMEOUT_MS, START_MS + TIMEOUT_MS + 60_000) == [silent]
    cause = "node lost: no sign of life since 2027-01-15 08:00:00+00:00"
    assert state(engine, silent) == ("FAILED", START_MS, cause)
    assert state(engine, alive) == state(engine, quiet) == ("RUNNING", None, None)
    assert state(engine, ended)[0] == "FINISHED"
    late_ms = START_MS + TIMEOUT_MS + 61_000
    assert heartbeats.beat(engine, [silent], new_id(), "host", late_ms) == [silent]
    assert state(engine, silent) == ("RUNNING", None, None)


def test_one_server_looks_at_a_time_and_the_next_takes_over(engine: sa.Engine) -> None:
    run_id = new_id()
    begin(engine, run_id)
    heartbeats.beat(engine, [run_id], new_id(), "host", START_MS)
    end_ms = START_MS + TIMEOUT_MS
    assert watch(engine, "a", START_MS, end_ms) == []
    assert look(engine, "b", end_ms + LEASE_MS) == []  # a's term is not over
    assert look(engine, "b", end_ms + LEASE_MS + 1) == [run_id]
    with engine.connect() as connection:
        holder = connection.execute(sa.text("SELECT holder FROM weir_lease")).scalar()
    assert holder == "b"


def test_after_all_servers_were_away_a_run_has_its_whole_time_again(engine: sa.Engine) -> None:
    run_id = new_id()
    begin(engine, run_id)
    heartbeats.beat(engine, [run_id], new_id(), "host", START_MS)
    watch(engine, "a", START_MS, START_MS + 60_000)
    back_ms = START_MS + 3_600_000
    assert watch(engine, "c", back_ms, back_ms + TIMEOUT_MS - 1) == []
    assert watch(engine, "c", back_ms + TIMEOUT_MS, back_ms + TIMEOUT_MS) == [run_id]


def test_an_end_that_somebody_gave_it_meanwhile_stays(engine: sa.Engine) -> None:
    run_id = new_id()
    begin(engine, run_id)
    heartbeats.beat(engine, [run_id], new_id(), "host", START_MS)
    assert watch(engine, "a", START_MS, START_MS + TIMEOUT_MS + 60_000) == [run_id]
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE runs SET status = 'KILLED'"))
    assert heartbeats.beat(engine, [run_id], new_id(), "host", START_MS + 500_000) == []
    assert state(engine, run_id)[0] == "KILLED"


def test_a_clock_that_is_set_forward_loses_no_run(engine: sa.Engine) -> None:
    run_id = new_id()
    begin(engine, run_id)
    heartbeats.beat(engine, [run_id], new_id(), "host", START_MS)
    assert watch(engine, "a", START_MS, START_MS + 60_000) == []
    day_ms = START_MS + 86_400_000
    assert look(engine, "a", day_ms) == []  # the run's next sign of life is on its way
    heartbeats.beat(engine, [run_id], new_id(), "host", day_ms + 10_000)
    assert watch(engine, "a", day_ms, day_ms + TIMEOUT_MS) == []


def test_a_clock_that_is_set_back_neither_loses_nor_keeps_a_run(engine: sa.Engine) -> None:
    alive, silent = new_id(), new_id()
    begin(engine, alive, silent)
    heartbeats.beat(engine, [alive, silent], new_id(), "host", START_MS)
    assert watch(engine, "a", START_MS, START_MS + 60_000) == []
    back_ms = START_MS - 3_600_000
    assert look(engine, "b", back_ms) == []  # a's term, an hour ahead, keeps nobody out
    for at_ms in range(back_ms, back_ms + 2 * TIMEOUT_MS, LEASE_MS // 4):
        heartbeats.beat(engine, [alive], new_id(), "host", at_ms)
        lost = look(engine, "b", at_ms)
        assert alive not in lost
    assert [state(engine, run)[0] for run in (alive, silent)] == ["RUNNING", "FAILED"]
