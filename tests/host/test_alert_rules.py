"""What rules find and when deliveries are tried, on every database, by the test's own clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from mlflow_weir.store.alerts import queue, rules, targets
from mlflow_weir.store.alerts.queue import Claimed, Outcome
from mlflow_weir.store.alerts.targets import Target
from mlflow_weir.store.alerts.watching import Watcher
from mlflow_weir.store.delivery.apply import apply
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.tracking_store import WeirStore
from senders import create_run, new_id, operation, points

# MLflow warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")

LEASE_MS = 20_000
START_MS = 1_800_000_000_000


@pytest.fixture
def engine(mlflow_database_url: str) -> Iterator[sa.Engine]:
    store = WeirStore(mlflow_database_url, "/artifacts")
    engine = open_engine(mlflow_database_url)
    yield engine
    engine.dispose()
    store.engine.dispose()
    WeirStore._weir_engines.pop(mlflow_database_url)


def deliver(engine: sa.Engine, *records: bytes) -> None:
    assert apply(engine, new_id(), 1, 0, len(records), records).rejected == []


def ended(run_id: str, status: str, at_ms: int, *, is_provisional: bool = False) -> bytes:
    return operation(
        "update_run",
        run_id=run_id,
        status=status,
        end_time=at_ms,
        is_provisional=is_provisional,
        is_revival=False,
    )


def make_target(engine: sa.Engine, name: str = "t") -> Target:
    target = Target(targets.new_id(), None, name, "webhook", "https://example.com/x", (), "")
    with engine.begin() as connection:
        targets.add(connection, target)
    return target


def make_rule(engine: sa.Engine, kind: str, *target_ids: str, **of: object) -> str:
    given = dict.fromkeys(("level", "metric", "operator", "value", "seconds")) | of
    rule = rules.checked(
        kind,
        experiment_id=0,
        workspace=None,
        targets=target_ids,
        created_ms=START_MS,
        created_by="",
        **given,
    )
    with engine.begin() as connection:
        rules.add(connection, rule)
    return rule.rule_id


def titles(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.execute(sa.text("SELECT title FROM weir_alert")).scalars())


def look(engine: sa.Engine, watcher: Watcher, at_ms: int) -> int:
    return watcher.look(engine, lease_ms=LEASE_MS, now_ms=START_MS + at_ms)


def test_an_end_is_told_once_it_is_settled_and_once(engine: sa.Engine) -> None:
    watcher, other = Watcher("a"), Watcher("b")
    for kind in ("finished", "failed", "crashed"):
        make_rule(engine, kind)
    good, late, bad, old = (new_id() for _ in range(4))
    deliver(
        engine,
        *(create_run(run, run_name=name) for run, name in zip(
            (good, late, bad, old), ("good", "late", "bad", "old"), strict=True
        )),
        operation("own_run", run_id=good, how="fluent"),
        ended(good, "FINISHED", START_MS + 1, is_provisional=True),
        ended(bad, "FAILED", START_MS + 1),
        ended(old, "FINISHED", START_MS - 1),
    )  # fmt: skip
    assert look(engine, watcher, 5_000) == 0
    # How its process ended is known: not well.
    deliver(
        engine, operation("exit", run_id=good, status="FAILED", cause="exit code 3", details={})
    )
    assert look(engine, other, 6_000) == 0  # not b's turn
    assert look(engine, watcher, 6_000) == 2
    assert titles(engine) == ["good has crashed", "good has failed"]
    assert look(engine, watcher, 14_999) == 0
    assert look(engine, watcher, 15_000) == 1  # nobody says why
    # Another takes over, and finds nothing again.
    for at_ms in range(40_000, 200_000, 10_000):
        assert look(engine, other, at_ms) == 0
    deliver(
        engine,
        operation("own_run", run_id=late, how="fluent"),
        ended(late, "FINISHED", START_MS + 200_000, is_provisional=True),
    )
    found = [look(engine, other, at_ms) for at_ms in range(200_000, 340_000, 10_000)]
    assert (sum(found), found.index(1)) == (1, 12)  # two minutes on, nobody is to come any more
    assert titles(engine) == [
        "bad has failed",
        "good has crashed",
        "good has failed",
        "late has finished",
    ]


def test_a_metric_is_told_whenever_it_was_beyond(engine: sa.Engine) -> None:
    watcher, run_id = Watcher("a"), new_id()
    above = {"metric": "loss", "operator": ">=", "value": 3.0}
    make_rule(engine, "metric", **above)
    make_rule(engine, "metric", **{**above, "metric": "acc", "operator": "<", "value": 0.5})
    make_rule(engine, "nan", metric="acc")
    make_rule(engine, "nan")
    deliver(
        engine,
        create_run(run_id, run_name="r"),
        *points(run_id, "loss", [1.0, 2.0]),
        *points(run_id, "acc", [0.5]),
        *points(run_id, "system/gpu_0_power", [float("nan")]),
    )
    assert look(engine, watcher, 0) == 0
    deliver(engine, *points(run_id, "loss", [3.0, 1.0], 2))  # for a moment
    assert look(engine, watcher, 1_000) == 1
    deliver(engine, *points(run_id, "acc", [0.4, float("inf")], 1))
    assert look(engine, watcher, 2_000) == 3
    deliver(engine, *points(run_id, "loss", [99.0], 5), *points(run_id, "acc", [0.1], 9))
    assert look(engine, watcher, 3_000) == 0
    assert titles(engine) == [
        *("r: acc < 0.5", "r: acc is infinite", "r: acc is infinite", "r: loss >= 3")
    ]


def test_silence_is_told_of_who_was_seen_running_for_as_long(engine: sa.Engine) -> None:
    watcher, run_id, quiet = Watcher("a"), new_id(), new_id()
    make_rule(engine, "silence", seconds=60.0)
    deliver(engine, create_run(run_id, run_name="r"), create_run(quiet, run_name="q"))

    def log(at_ms: int) -> None:
        from mlflow_weir.store.delivery.records import encode_points

        deliver(
            engine,
            encode_points(run_id, [("loss", START_MS + at_ms, at_ms, 1.0)]),
            encode_points(quiet, [("system/cpu", START_MS + at_ms, at_ms, 1.0)]),
        )

    log(0)
    assert look(engine, watcher, 50_000) == 0
    log(50_000)
    assert look(engine, watcher, 105_000) == 0  # seen for 55 s
    assert look(engine, watcher, 110_000) == 2
    assert titles(engine) == ["q is silent", "r is silent"]
    # Another server, after all were away: whoever is silent has the whole time again.
    third = new_id()
    deliver(engine, create_run(third, run_name="third"))
    other = Watcher("b")
    assert [look(engine, other, at) for at in (500_000, 540_000)] == [0, 0]
    assert look(engine, other, 560_000) == 1


def claimed_at(engine: sa.Engine, at_ms: int) -> Claimed | None:
    return queue.claim(engine, START_MS + at_ms)


def test_a_delivery_is_claimed_by_one_and_tried_until_it_is_given_up(engine: sa.Engine) -> None:
    target, run_id = make_target(engine), new_id()
    make_rule(engine, "alert", target.target_id)
    alert = {"run_id": run_id, "alert_id": new_id(), "at_ms": 1, "level": "info"}
    deliver(engine, create_run(run_id), operation("alert", **alert, title="a\0b \ud800", text=""))
    assert look(engine, Watcher("a"), 0) == 1
    assert look(engine, Watcher("a"), 0) == 0
    at_ms, first = 0, claimed_at(engine, 0)
    assert first is not None
    assert (first.alert.title, first.target.name, first.n_try) == ("ab ?", "t", 1)
    assert claimed_at(engine, 29_999) is None
    again = claimed_at(engine, 30_000)  # who had it is gone
    assert again is not None
    assert (again.delivery_id, again.n_try) == (first.delivery_id, 2)
    queue.settle(engine, first, Outcome(True, "late"), START_MS + 30_001)
    at_ms = 30_001
    waits_s = []
    while again is not None:
        queue.settle(engine, again, Outcome(False, "answered 500"), START_MS + at_ms)
        with engine.connect() as connection:
            (logged,) = queue.read_log(connection, 0, None, 10)
        if logged.due_ms is None:
            break
        waits_s.append((logged.due_ms - START_MS - at_ms) // 1000)
        at_ms = logged.due_ms - START_MS
        assert claimed_at(engine, at_ms - 1) is None
        again = claimed_at(engine, at_ms)
    assert waits_s == list(queue.RETRIES_S[1:])
    assert (logged.state, logged.n_tries, logged.told) == ("failed", 9, "answered 500")
    assert claimed_at(engine, at_ms + 100_000_000) is None


def test_a_target_gets_so_much_a_minute_and_who_fails_is_left_alone(engine: sa.Engine) -> None:
    busy, calm = make_target(engine, "busy"), make_target(engine, "calm")
    run_id = new_id()
    make_rule(engine, "alert", busy.target_id)
    make_rule(engine, "alert", calm.target_id, level="error")
    alert = {"run_id": run_id, "at_ms": 1, "title": "t", "text": ""}
    deliver(
        engine,
        create_run(run_id),
        *(operation("alert", **alert, alert_id=new_id(), level="info") for _ in range(40)),
        operation("alert", **alert, alert_id=new_id(), level="error"),
    )
    assert look(engine, Watcher("a"), 0) == 41

    def send_all(at_ms: int, outcome: Outcome) -> list[str]:
        names = []
        while (found := claimed_at(engine, at_ms)) is not None:
            names.append(found.target.name)
            queue.settle(engine, found, outcome, START_MS + at_ms)
        return sorted(names)

    sent = Outcome(True, "answered 200")
    assert send_all(0, sent) == ["busy"] * queue.MAX_A_MINUTE + ["calm"]
    assert send_all(59_000, sent) == []
    # One is enough to find out, for all that wait.
    failed = Outcome(False, "answered 503", retry_after_s=100.0)
    assert send_all(60_000, failed) == ["busy"]
    assert send_all(159_000, sent) == []
    assert send_all(160_000, sent) == ["busy"] * 11
    with engine.connect() as connection:
        log = queue.read_log(connection, 0, None, 100)
    assert {one.state for one in log} == {"sent"}
    assert sorted(one.n_tries for one in log)[-2:] == [1, 2]


def test_a_run_raises_so_many_and_no_alert_of_another(engine: sa.Engine) -> None:
    from mlflow_weir.store.alerts import alerts

    run_id, other, alert_id = new_id(), new_id(), new_id()
    alert = {"at_ms": 1, "title": "t", "text": "", "level": "info"}
    deliver(
        engine,
        create_run(run_id),
        create_run(other),
        operation("alert", **alert, run_id=run_id, alert_id=alert_id),
        operation("alert", **alert, run_id=run_id, alert_id=alert_id),  # a copy's
    )
    flood = [
        operation("alert", **alert, run_id=run_id, alert_id=new_id())
        for _ in range(alerts.MAX_OF_A_RUN)
    ]
    stolen = operation("alert", **alert, run_id=other, alert_id=alert_id)
    odd = [
        operation("alert", **{**alert, "level": "loud"}, run_id=other, alert_id=new_id()),
        operation("alert", **{**alert, "at_ms": -1}, run_id=other, alert_id=new_id()),
        operation("alert", **alert, run_id=other, alert_id="../x"),
    ]
    outcome = apply(engine, new_id(), 1, 0, 1, [*flood, stolen, *odd])
    assert len(outcome.rejected) == 5
    assert "1,000 alerts already" in outcome.rejected[0].reason
    with engine.connect() as connection:
        assert alerts.count_raised(connection, run_id) == alerts.MAX_OF_A_RUN
        assert alerts.count_raised(connection, other) == 0
        assert len(alerts.read_run(connection, run_id, 5)) == 5
