"""Deliveries of alerts: which is due, who sends it, and what became of it.

One row an alert and target. A delivery is claimed in a transaction before it is sent and settled
in one after. A claim lasts ``CLAIM_MS``: if its server is gone by then, and nobody knows whether
it had sent, the delivery is sent again. So an alert gets there at least once, and each time under
the same id, by which a receiver knows it again (docs/decisions/012-alerts.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.alerts import targets
from mlflow_weir.store.alerts.alerts import Alert
from mlflow_weir.store.alerts.targets import Target
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.connection import clock_ms, transaction

CLAIM_MS = 30_000
"""How long nobody else sends what somebody has claimed."""

RETRIES_S = (2, 10, 60, 300, 900, 3_600, 7_200, 14_400)
"""Seconds after each try that failed; then it is given up."""

MAX_A_MINUTE = 30
"""Most that is sent to a target in a minute; the rest waits."""

_MINUTE_MS = 60_000
_MAX_RETRY_AFTER_S = 3_600
_MAX_LOOKED_AT = 200
_MAX_TOLD = 250
_columns = schema.alert_delivery.c


class Claimed(NamedTuple):
    """A delivery to be sent now, with all that is said in it.

    Attributes:
        n_try: Which try this is, from 1 on.
    """

    delivery_id: str
    n_try: int
    target: Target
    alert: Alert
    run_name: str
    run_status: str
    experiment_id: int
    experiment_name: str


class Outcome(NamedTuple):
    """What became of a try.

    Attributes:
        is_sent: The target has taken it.
        is_final: Trying again would not help.
        told: Why not, in words that hold no secret.
        retry_after_s: As the target asks for; None where it says nothing.
    """

    is_sent: bool
    told: str
    is_final: bool = False
    retry_after_s: float | None = None


class Logged(NamedTuple):
    """A delivery as it is told to people."""

    delivery_id: str
    alert_id: str
    run_id: str
    target_id: str
    target: str
    state: str
    n_tries: int
    tried_ms: int | None
    due_ms: int | None
    told: str
    title: str


def id_of(alert_id: str, target_id: str) -> str:
    """Return the id of the delivery of an alert to a target."""
    return hashlib.sha256(f"{alert_id} {target_id}".encode()).hexdigest()[:32]


def add(
    connection: sa.Connection, alert_id: str, run_id: str, target_ids: Sequence[str], now_ms: int
) -> None:
    """Queue an alert for those targets that are there and not paused."""
    for target_id in target_ids:
        target = targets.read(connection, target_id)
        if target is not None and not target.is_paused:
            connection.execute(
                sa.insert(schema.alert_delivery).values(
                    delivery_id=id_of(alert_id, target_id),
                    alert_id=alert_id,
                    target_id=target_id,
                    run_uuid=run_id,
                    state="waiting",
                    n_tries=0,
                    due_ms=now_ms,
                    tried_ms=None,
                    told="",
                )
            )


def claim(engine: sa.Engine, now_ms: int | None = None) -> Claimed | None:
    """Take the next delivery that is due, so that nobody else sends it for a while.

    Args:
        engine: Of the tracking database.
        now_ms: Wall time; the database's when None.

    Returns:
        It; None where nothing is due, or all of it is for targets that have had enough.

    Raises:
        StoreUnavailable: Nothing was claimed.
    """
    with engine.connect() as connection:  # without a lock: mostly there is nothing
        if not _due(connection, clock_ms(connection) if now_ms is None else now_ms, 1):
            return None
    with transaction(engine) as connection:
        now_ms = clock_ms(connection) if now_ms is None else now_ms
        crowded: set[str] = set()
        for row in _due(connection, now_ms, _MAX_LOOKED_AT):
            if row.target_id in crowded:
                continue
            if row.n_tries > len(RETRIES_S):  # by servers that were gone before they knew
                told = "every server that sent it was gone before it knew whether it had"
                _set(connection, row.delivery_id, row.n_tries, state="failed", told=told)
                continue
            free_ms = _free_at(connection, row.target_id, now_ms)
            if free_ms > now_ms:
                crowded.add(row.target_id)
                _put_off(connection, row.target_id, free_ms)
                continue
            found = _read(connection, row.delivery_id)
            if isinstance(found, str):
                _set(connection, row.delivery_id, row.n_tries, state="failed", told=found)
                continue
            taken = _set(
                connection,
                row.delivery_id,
                row.n_tries,
                state="sending",
                n_tries=row.n_tries + 1,
                due_ms=now_ms + CLAIM_MS,
                tried_ms=now_ms,
            )
            if taken:
                return found._replace(n_try=row.n_tries + 1)
    return None


def settle(
    engine: sa.Engine, claimed: Claimed, outcome: Outcome, now_ms: int | None = None
) -> None:
    """Write down what became of a try; nothing where somebody else has tried since.

    Raises:
        StoreUnavailable: Nothing was written: it will be sent again.
    """
    with transaction(engine) as connection:
        now_ms = clock_ms(connection) if now_ms is None else now_ms
        state, due_ms, told = "sent", now_ms, outcome.told[:_MAX_TOLD]
        if not outcome.is_sent:
            is_last = outcome.is_final or claimed.n_try > len(RETRIES_S)
            state = "failed" if is_last else "waiting"
            if not is_last:
                asked_s = min(outcome.retry_after_s or 0.0, _MAX_RETRY_AFTER_S)
                due_ms += round(1000 * max(RETRIES_S[claimed.n_try - 1], asked_s))
        changed = _set(
            connection, claimed.delivery_id, claimed.n_try, state=state, due_ms=due_ms, told=told
        )
        if changed and state == "waiting":
            # Who does not answer now would keep each of the others waiting as well.
            _put_off(connection, claimed.target.target_id, due_ms)


def read_log(
    connection: Any,
    experiment_id: int | None,
    workspace: str | None,
    limit: int,
) -> list[Logged]:
    """Read the last deliveries of an experiment, or of all of a workspace, the newest first."""
    raised, owners = schema.alert.c, tables.experiments.c
    runs = tables.runs.c
    named = schema.alert_target.c
    query = (
        sa.select(
            _columns.delivery_id,
            _columns.alert_id,
            _columns.run_uuid,
            _columns.target_id,
            named.name,
            _columns.state,
            _columns.n_tries,
            _columns.tried_ms,
            _columns.due_ms,
            _columns.told,
            raised.title,
        )
        .select_from(schema.alert_delivery)
        .join(schema.alert, raised.alert_id == _columns.alert_id)
        .join(tables.runs, runs.run_uuid == _columns.run_uuid)
        .outerjoin(schema.alert_target, named.target_id == _columns.target_id)
    )
    if experiment_id is not None:
        query = query.where(runs.experiment_id == experiment_id)
    elif workspace is not None:
        query = query.join(tables.experiments, owners.experiment_id == runs.experiment_id).where(
            owners.workspace == workspace
        )
    ordered = query.order_by(raised.received_ms.desc(), _columns.delivery_id).limit(limit)
    return [
        Logged(*row)._replace(
            target=row.name or "(deleted)",
            due_ms=row.due_ms if row.state == "waiting" else None,
        )
        for row in connection.execute(ordered)
    ]


def _due(connection: sa.Connection, now_ms: int, limit: int) -> Sequence[Any]:
    raised = schema.alert.c
    query = (
        sa.select(_columns.delivery_id, _columns.target_id, _columns.n_tries)
        .select_from(schema.alert_delivery)
        .outerjoin(schema.alert, raised.alert_id == _columns.alert_id)
        .where(_columns.state.in_(("waiting", "sending")), _columns.due_ms <= now_ms)
        # Of what became due together, first what was raised first.
        .order_by(_columns.due_ms, raised.at_ms, _columns.delivery_id)
        .limit(limit)
    )
    return connection.execute(query).all()


def _free_at(connection: sa.Connection, target_id: str, now_ms: int) -> int:
    """Return from when on a target may be sent more to."""
    query = (
        sa.select(_columns.tried_ms)
        .where(_columns.target_id == target_id, _columns.tried_ms > now_ms - _MINUTE_MS)
        .order_by(_columns.tried_ms.desc())
        .limit(MAX_A_MINUTE)
    )
    tried = connection.execute(query).scalars().all()
    return now_ms if len(tried) < MAX_A_MINUTE else int(tried[-1]) + _MINUTE_MS


def _put_off(connection: sa.Connection, target_id: str, until_ms: int) -> None:
    connection.execute(
        sa.update(schema.alert_delivery)
        .where(
            _columns.target_id == target_id,
            _columns.state == "waiting",
            _columns.due_ms < until_ms,
        )
        .values(due_ms=until_ms)
    )


def _set(connection: sa.Connection, delivery_id: str, n_before: int, **values: Any) -> bool:
    """Change a delivery unless somebody has tried it since; say whether it was changed."""
    changed = connection.execute(
        sa.update(schema.alert_delivery)
        .where(
            _columns.delivery_id == delivery_id,
            _columns.n_tries == n_before,
            _columns.state.in_(("waiting", "sending")),
        )
        .values(**values)
    )
    return changed.rowcount == 1


def _read(connection: sa.Connection, delivery_id: str) -> Claimed | str:
    """Return what a delivery says and where to, or why it is not to be sent."""
    raised, runs, owners = schema.alert.c, tables.runs.c, tables.experiments.c
    row = connection.execute(
        sa.select(
            _columns.target_id,
            raised.alert_id,
            raised.run_uuid,
            raised.level,
            raised.title,
            raised.text,
            raised.at_ms,
            raised.rule_id,
            runs.name.label("run_name"),
            runs.status,
            runs.lifecycle_stage,
            runs.experiment_id,
            owners.name.label("experiment_name"),
            owners.workspace,
        )
        .select_from(schema.alert_delivery)
        .join(schema.alert, raised.alert_id == _columns.alert_id)
        .join(tables.runs, runs.run_uuid == _columns.run_uuid)
        .join(tables.experiments, owners.experiment_id == runs.experiment_id)
        .where(_columns.delivery_id == delivery_id)
    ).one_or_none()
    if row is None or row.lifecycle_stage != tables.ACTIVE:
        return "the run is gone"
    target = targets.read(connection, row.target_id)
    if target is None or target.is_paused:
        return "the target is gone or paused"
    if target.workspace is not None and target.workspace != row.workspace:
        return "the run is not in the target's workspace"
    alert = Alert(
        row.alert_id, row.run_uuid, row.level, row.title, row.text, row.at_ms, row.rule_id
    )
    return Claimed(
        delivery_id,
        0,
        target,
        alert,
        row.run_name or row.run_uuid[:8],
        row.status,
        row.experiment_id,
        row.experiment_name,
    )
