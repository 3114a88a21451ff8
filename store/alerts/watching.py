"""What rules find: by one of all servers at a time, in turns.

Alerts that trainings raised are routed to the targets of their experiment's rules, and rules look
at runs that go on or have ended of late. What a rule finds becomes an alert with its deliveries in
one transaction, under an id that follows from rule and run: whoever looks, and however often, a
rule fires once a run.

How a run ended is believed once it is settled: an end that MLflow's exit handler wrote may still
be corrected by how the process ended, and a cause is written after the status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.store import leases, schema
from mlflow_weir.store.alerts import alerts, queue, rules
from mlflow_weir.store.alerts.alerts import LEVELS, Alert
from mlflow_weir.store.alerts.rules import Rule
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.connection import clock_ms, reading, transaction
from mlflow_weir.store.delivery.runs import EXIT_CAUSE_TAG
from mlflow_weir.store.metrics.points import INFINITY
from mlflow_weir.store.runs import extremes

CAUSE_WAIT_MS = 10_000
"""How long the cause of an end that was not a good one is waited for."""

EXIT_WAIT_MS = 120_000
"""How long it is waited for how a process ended whose exit handler has ended the run."""

LOOK_BACK_MS = 7 * 86_400_000
"""How long after its end, as its process saw it, a run is still looked at."""

_LEASE = "alerts"
_MAX_ROUTED = 500
_MAX_RUNS = 20_000
_IN_A_STATEMENT = 500
_NOT_OWN = "system/%"
_BEYOND: dict[str, Callable[[float, float], bool]] = {
    ">": lambda found, value: found > value,
    ">=": lambda found, value: found >= value,
    "<": lambda found, value: found < value,
    "<=": lambda found, value: found <= value,
}
_runs, _tags, _latest = tables.runs.c, tables.tags.c, schema.mlflow_latest_metrics.c


class _Run(NamedTuple):
    run_id: str
    name: str
    status: str
    start_ms: int
    end_ms: int | None


class _Finding(NamedTuple):
    """What a rule found in a run: the words of the alert."""

    rule: Rule
    run_id: str
    title: str
    text: str


class Watcher:
    """Looks for what rules find; keeps what it saw between two looks.

    Args:
        holder: A name no other process has; at most 64 characters.
    """

    def __init__(self, holder: str) -> None:
        self._holder = holder
        self._seen_ms: dict[tuple[str, str], int] = {}  # run and status: since when
        self._marks: dict[tuple[str, str], tuple[Any, ...]] = {}  # rule and run: latest point

    def look(self, engine: sa.Engine, *, lease_ms: int, now_ms: int | None = None) -> int:
        """Route what was raised and raise what rules find, if the lease is ours to take.

        Args:
            engine: Of the tracking database.
            lease_ms: How long nobody else is to look, should we not come back.
            now_ms: Wall time; the database's when None.

        Returns:
            How many alerts there were.

        Raises:
            StoreUnavailable: The rest is done the next time.
        """
        with reading(engine) as connection:
            active = rules.read_active(connection)
            if not active and not _has_unrouted(connection):
                return 0
        with transaction(engine) as connection:
            now_ms = clock_ms(connection) if now_ms is None else now_ms
            if leases.take(connection, _LEASE, self._holder, now_ms, lease_ms) is None:
                return 0
            n_routed = _route(connection, active, now_ms)
        seen: dict[tuple[str, str], int] = {}
        marks: dict[tuple[str, str], tuple[Any, ...]] = {}
        found: list[_Finding] = []
        with reading(engine) as connection:
            for rule in active:
                if rule.kind != "alert":
                    found += self._find(connection, rule, now_ms, seen, marks)
        n_raised = 0
        if found:
            with transaction(engine) as connection:
                if leases.take(connection, _LEASE, self._holder, now_ms, lease_ms) is None:
                    return n_routed
                n_raised = sum(_raise(connection, one, now_ms) for one in found)
        # Only now: what could not be written is to be found again.
        self._seen_ms, self._marks = seen, marks
        return n_routed + n_raised

    def _find(
        self,
        connection: sa.Connection,
        rule: Rule,
        now_ms: int,
        seen: dict[tuple[str, str], int],
        marks: dict[tuple[str, str], tuple[Any, ...]],
    ) -> Iterable[_Finding]:
        runs = _candidates(connection, rule, now_ms)
        for run in runs:
            key = (run.run_id, run.status)
            seen[key] = self._seen_ms.get(key, now_ms)
        if rule.kind in {"finished", "failed", "crashed"}:
            since = {run.run_id: now_ms - seen[run.run_id, run.status] for run in runs}
            return _ended(connection, rule, runs, since)
        if rule.kind == "silence":
            assert rule.seconds is not None
            before_ms = now_ms - round(1000 * rule.seconds)
            # Seen running for as long: neither resumed just now, nor were all servers away.
            runs = [run for run in runs if seen[run.run_id, run.status] <= before_ms]
            return _silent(connection, rule, runs, before_ms)
        return self._beyond(connection, rule, runs, marks)

    def _beyond(
        self,
        connection: sa.Connection,
        rule: Rule,
        runs: Sequence[_Run],
        marks: dict[tuple[str, str], tuple[Any, ...]],
    ) -> Iterable[_Finding]:
        """Find runs of whose metrics a value is not as it should be, among those with news."""
        by_id = {run.run_id: run for run in runs}
        if rule.kind == "nan":
            for run_id, key, value, is_nan in _not_finite(connection, rule.metric, list(by_id)):
                what = "NaN" if is_nan else "infinite" if value > 0 else "negative infinite"
                run = by_id.pop(run_id, None)
                if run is not None:
                    yield _Finding(rule, run_id, f"{run.name}: {key} is {what}", "")
            return
        assert rule.metric is not None
        assert rule.operator is not None
        assert rule.value is not None
        news = []
        for run_id, *point in _latest_points(connection, rule.metric, list(by_id)):
            mark = (rule.rule_id, run_id)
            marks[mark] = tuple(point)
            if self._marks.get(mark) != marks[mark]:
                news.append(run_id)
        is_beyond, is_above = _BEYOND[rule.operator], rule.operator in {">", ">="}
        with Session(connection) as session:
            ranges = extremes.read(session, news, rule.metric)
        for run_id, (low, high) in ranges.items():
            found = high if is_above else low
            if is_beyond(found, rule.value):
                title = f"{by_id[run_id].name}: {rule.describe()}"
                yield _Finding(rule, run_id, title, f"{rule.metric} was {_shown(found)}.")


def _has_unrouted(connection: sa.Connection) -> bool:
    waiting = schema.alert.c
    query = sa.select(waiting.alert_id).where(waiting.is_routed.is_(False)).limit(1)
    return connection.execute(query).first() is not None


def _route(connection: sa.Connection, active: Sequence[Rule], now_ms: int) -> int:
    """Queue what trainings raised for where their experiments' rules have it sent."""
    waiting, owners = schema.alert.c, tables.experiments.c
    rows = connection.execute(
        sa.select(waiting.alert_id, waiting.run_uuid, waiting.level)
        .add_columns(_runs.experiment_id, owners.workspace)
        .select_from(schema.alert)
        .outerjoin(tables.runs, _runs.run_uuid == waiting.run_uuid)
        .outerjoin(tables.experiments, owners.experiment_id == _runs.experiment_id)
        .where(waiting.is_routed.is_(False))
        .order_by(waiting.received_ms)
        .limit(_MAX_ROUTED)
    ).all()
    for row in rows:
        target_ids = {
            target_id
            for rule in active
            if rule.kind == "alert"
            and LEVELS.index(row.level) >= LEVELS.index(rule.level)
            and _is_for(rule, row.experiment_id, row.workspace)
            for target_id in rule.targets
        }
        queue.add(connection, row.alert_id, row.run_uuid, sorted(target_ids), now_ms)
    ids = [row.alert_id for row in rows]
    connection.execute(
        sa.update(schema.alert).where(waiting.alert_id.in_(ids)).values(is_routed=True)
    )
    return len(rows)


def _is_for(rule: Rule, experiment_id: int | None, workspace: str | None) -> bool:
    if experiment_id is None:  # the run is gone
        return False
    if rule.experiment_id is not None:
        return rule.experiment_id == experiment_id
    return rule.workspace is None or rule.workspace == workspace


def _raise(connection: sa.Connection, found: _Finding, now_ms: int) -> bool:
    """Make an alert of what a rule found, with its deliveries; False where there is one."""
    rule = found.rule
    alert_id = alerts.id_of_rule(rule.rule_id, found.run_id)
    if alerts.owner_of(connection, alert_id) is not None:
        return False
    alert = Alert(
        alert_id, found.run_id, rule.level, found.title, found.text, now_ms, rule.rule_id
    )
    alerts.add(connection, alert, now_ms, is_routed=True)
    queue.add(connection, alert_id, found.run_id, rule.targets, now_ms)
    return True


def _candidates(connection: sa.Connection, rule: Rule, now_ms: int) -> list[_Run]:
    """Return runs of a rule's experiments that it has not fired for and that it may fire for."""
    raised, owners = schema.alert.c, tables.experiments.c
    ended_ms = max(rule.created_ms, now_ms - LOOK_BACK_MS)
    running, ended = _runs.status == "RUNNING", _runs.end_time >= ended_ms
    of_kind = {
        "finished": (_runs.status == "FINISHED") & ended,
        "failed": _runs.status.in_(("FAILED", "KILLED")) & ended,
        "crashed": _runs.status.in_(("FAILED", "KILLED")) & ended,
        "silence": running,
    }
    query = sa.select(
        _runs.run_uuid, _runs.name, _runs.status, _runs.start_time, _runs.end_time
    ).where(
        _runs.lifecycle_stage == tables.ACTIVE,
        of_kind.get(rule.kind, running | ended),
        ~sa.exists().where(raised.run_uuid == _runs.run_uuid, raised.rule_id == rule.rule_id),
    )
    if rule.experiment_id is not None:
        query = query.where(_runs.experiment_id == rule.experiment_id)
    elif rule.workspace is not None:
        query = query.join(tables.experiments, owners.experiment_id == _runs.experiment_id).where(
            owners.workspace == rule.workspace
        )
    return [
        _Run(run_id, name or run_id[:8], status, start_ms or 0, end_ms)
        for run_id, name, status, start_ms, end_ms in connection.execute(query.limit(_MAX_RUNS))
    ]


def _ended(
    connection: sa.Connection, rule: Rule, runs: Sequence[_Run], since_ms: dict[str, int]
) -> Iterable[_Finding]:
    """Find runs whose end is as a rule has it, and settled.

    Args:
        connection: Reads.
        rule: Of a kind that is about ends.
        runs: That have ended.
        since_ms: For how long each has been seen as it is.
    """
    ids = [run.run_id for run in runs]
    provisional = _provisional(connection, ids)
    causes = {} if rule.kind == "finished" else _causes(connection, ids)
    for run in runs:
        seen_ms, cause = since_ms[run.run_id], causes.get(run.run_id, "")
        if run.run_id in provisional and seen_ms < EXIT_WAIT_MS:
            continue
        if rule.kind == "finished":
            lasted_s = max((run.end_ms or run.start_ms) - run.start_ms, 0) / 1000
            yield _Finding(
                rule, run.run_id, f"{run.name} has finished", f"It took {_duration(lasted_s)}."
            )
        elif rule.kind == "crashed":
            if cause:
                yield _Finding(rule, run.run_id, f"{run.name} has crashed", cause)
        elif cause or seen_ms >= CAUSE_WAIT_MS:
            how = "was killed" if run.status == "KILLED" else "has failed"
            yield _Finding(rule, run.run_id, f"{run.name} {how}", cause)


def _silent(
    connection: sa.Connection, rule: Rule, runs: Sequence[_Run], before_ms: int
) -> Iterable[_Finding]:
    last = _last_logged(connection, [run.run_id for run in runs])
    for run in runs:
        if max(last.get(run.run_id, 0), run.start_ms) <= before_ms:
            lasted = _duration(rule.seconds or 0.0)
            text = f"It is running, and has logged no metric of its own for {lasted} or more."
            yield _Finding(rule, run.run_id, f"{run.name} is silent", text)


def _provisional(connection: sa.Connection, run_ids: Sequence[str]) -> set[str]:
    """Return those runs of which it is still to come how their process ended."""
    beats = schema.heartbeat.c
    found: set[str] = set()
    for ids in _slices(run_ids):
        query = sa.select(beats.run_uuid).where(
            beats.run_uuid.in_(ids), beats.provisional_by == "exit handler"
        )
        found.update(connection.execute(query).scalars())
    return found


def _causes(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for ids in _slices(run_ids):
        query = sa.select(_tags.run_uuid, _tags.value).where(
            _tags.run_uuid.in_(ids), _tags.key == EXIT_CAUSE_TAG
        )
        found.update((run_id, value or "") for run_id, value in connection.execute(query))
    return found


def _last_logged(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for ids in _slices(run_ids):
        query = (
            sa.select(_latest.run_uuid, sa.func.max(_latest.timestamp))
            .where(_latest.run_uuid.in_(ids), ~_latest.key.like(_NOT_OWN))
            .group_by(_latest.run_uuid)
        )
        found.update((run_id, int(at_ms)) for run_id, at_ms in connection.execute(query))
    return found


def _latest_points(
    connection: sa.Connection, key: str, run_ids: Sequence[str]
) -> Iterable[Sequence[Any]]:
    for ids in _slices(run_ids):
        query = sa.select(_latest.run_uuid, _latest.step, _latest.timestamp, _latest.value).where(
            _latest.run_uuid.in_(ids), _latest.key == key
        )
        yield from connection.execute(query).all()


def _not_finite(
    connection: sa.Connection, key: str | None, run_ids: Sequence[str]
) -> Iterable[Sequence[Any]]:
    is_of = ~_latest.key.like(_NOT_OWN) if key is None else _latest.key == key
    for ids in _slices(run_ids):
        query = (
            sa.select(_latest.run_uuid, _latest.key, _latest.value, _latest.is_nan)
            .where(
                _latest.run_uuid.in_(ids),
                is_of,
                _latest.is_nan.is_(True) | (sa.func.abs(_latest.value) >= INFINITY),
            )
            .order_by(_latest.run_uuid, _latest.key)
        )
        yield from connection.execute(query).all()


def _slices(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(ids), _IN_A_STATEMENT):
        yield ids[start : start + _IN_A_STATEMENT]


def _shown(value: float) -> str:
    if abs(value) >= INFINITY:
        return "infinite" if value > 0 else "negative infinite"
    return f"{value:.6g}"


def _duration(seconds: float) -> str:
    """Say how long something took, by its two largest units."""
    left = round(seconds)
    words = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            words.append(f"{number} {unit}")
    return " ".join(words[:2]) or "less than a second"
