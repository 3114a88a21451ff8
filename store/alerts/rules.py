"""Rules: what of an experiment's runs is an alert, and to which targets it goes.

A rule is for one experiment, or for all of its workspace. What it looks for is its ``kind``:

    alert      the training raised one, of the rule's level at least
    finished   the run is FINISHED
    failed     it ended otherwise
    crashed    it ended otherwise, and not by its own word: an exception, a signal, a lost machine
    metric     a metric was at some step beyond a value
    nan        the last value of a metric, or of any of the run's own, is NaN or infinite
    silence    the run is running, and logged no metric of its own for a time
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.store import schema
from mlflow_weir.store.alerts.alerts import LEVELS

KINDS = ("alert", "finished", "failed", "crashed", "metric", "nan", "silence")
OPERATORS = (">", ">=", "<", "<=")
MAX_RULES = 100
"""Most of one experiment, and most of one workspace for all of its experiments."""

_DEFAULT_LEVELS = {
    "alert": "info",
    "finished": "info",
    "failed": "error",
    "crashed": "error",
    "metric": "warning",
    "nan": "error",
    "silence": "warning",
}
_MIN_SILENCE_S, _MAX_SILENCE_S = 10.0, 30 * 86_400.0
_MAX_KEY = 250
_MAX_TARGETS = 20
_columns = schema.alert_rule.c


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        experiment_id: None for all experiments of the workspace.
        workspace: None where the server has none.
        metric: Of ``metric``, and of ``nan`` unless it is about any.
        operator: Of ``metric``.
        value: Of ``metric``.
        seconds: Of ``silence``.
        level: Of the alerts it raises; of ``alert``, the least that it takes.
        targets: Ids.
    """

    rule_id: str
    experiment_id: int | None
    workspace: str | None
    kind: str
    level: str
    targets: tuple[str, ...]
    metric: str | None = None
    operator: str | None = None
    value: float | None = None
    seconds: float | None = None
    is_paused: bool = False
    created_ms: int = 0
    created_by: str = ""

    def describe(self) -> str:
        """Say what it looks for, in some words."""
        if self.kind == "metric":
            return f"{self.metric} {self.operator} {self.value:g}"
        if self.kind == "nan":
            return f"{self.metric or 'any metric'} is NaN or infinite"
        if self.kind == "silence":
            return f"no metric for {self.seconds:g} s"
        if self.kind == "alert":
            return f"alerts of the training, from {self.level} on"
        return f"run {self.kind}"


def checked(
    kind: str,
    *,
    experiment_id: int | None,
    workspace: str | None,
    targets: Sequence[str],
    level: str | None,
    metric: str | None,
    operator: str | None,
    value: float | None,
    seconds: float | None,
    created_ms: int,
    created_by: str,
) -> Rule:
    """Return a new rule.

    Raises:
        ConfigError: It is none that can work.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind: expected one of {', '.join(KINDS)}")
    level = level or _DEFAULT_LEVELS[kind]
    if level not in LEVELS:
        raise ConfigError(f"level: expected one of {', '.join(LEVELS)}")
    if len(targets) > _MAX_TARGETS:
        raise ConfigError(f"targets: at most {_MAX_TARGETS}")
    if kind not in {"metric", "nan"}:
        metric = None
    elif (kind == "metric" and not metric) or len(metric or "") > _MAX_KEY:
        raise ConfigError(f"metric: expected a name of at most {_MAX_KEY} characters")
    if kind != "metric":
        operator = value = None
    elif operator not in OPERATORS:
        raise ConfigError(f"op: expected one of {' '.join(OPERATORS)}")
    elif value is None or not math.isfinite(value):
        raise ConfigError("value: expected a number")
    if kind != "silence":
        seconds = None
    elif seconds is None or not _MIN_SILENCE_S <= seconds <= _MAX_SILENCE_S:
        raise ConfigError(f"seconds: expected {_MIN_SILENCE_S:g} to {_MAX_SILENCE_S:,.0f}")
    return Rule(
        uuid.uuid4().hex,
        experiment_id,
        workspace,
        kind,
        level,
        tuple(targets),
        metric or None,
        operator,
        value,
        seconds,
        False,
        created_ms,
        created_by,
    )


def add(connection: Any, rule: Rule) -> None:
    """Keep a new rule.

    Raises:
        ConfigError: The experiment has as many as it may.
    """
    same = _columns.experiment_id == rule.experiment_id
    if rule.experiment_id is None:
        same = _columns.experiment_id.is_(None) & _is_of(rule.workspace)
    n = connection.execute(sa.select(sa.func.count()).where(same)).scalar_one()
    if n >= MAX_RULES:
        raise ConfigError(f"there are {n} rules already, at most {MAX_RULES} are kept")
    document = {
        "level": rule.level,
        "targets": list(rule.targets),
        "metric": rule.metric,
        "operator": rule.operator,
        "value": rule.value,
        "seconds": rule.seconds,
    }
    connection.execute(
        sa.insert(schema.alert_rule).values(
            rule_id=rule.rule_id,
            experiment_id=rule.experiment_id,
            workspace=rule.workspace,
            kind=rule.kind,
            document=json.dumps(document),
            is_paused=rule.is_paused,
            created_ms=rule.created_ms,
            created_by=rule.created_by[:255],
        )
    )


def read(connection: Any, rule_id: str) -> Rule | None:
    """Read one rule; None where there is none."""
    found = _read(connection, _columns.rule_id == rule_id)
    return found[0] if found else None


def read_for(connection: Any, experiment_id: int | None, workspace: str | None) -> list[Rule]:
    """Read the rules of an experiment, then those of all experiments of its workspace.

    Args:
        connection: To the database.
        experiment_id: None for those of all experiments alone.
        workspace: None where the server has none.
    """
    for_all = _columns.experiment_id.is_(None) & _is_of(workspace)
    if experiment_id is None:
        return _read(connection, for_all)
    return _read(connection, (_columns.experiment_id == experiment_id) | for_all)


def read_active(connection: Any) -> list[Rule]:
    """Read all rules that are not paused."""
    return _read(connection, _columns.is_paused.is_(False))


def set_paused(connection: Any, rule_id: str, is_paused: bool) -> None:
    """Stop a rule for a while, or let it go on."""
    connection.execute(
        sa.update(schema.alert_rule).where(_columns.rule_id == rule_id).values(is_paused=is_paused)
    )


def delete(connection: Any, rule_id: str) -> None:
    """Take a rule away; what it has raised stays."""
    connection.execute(sa.delete(schema.alert_rule).where(_columns.rule_id == rule_id))


def _is_of(workspace: str | None) -> sa.ColumnElement[bool]:
    return _columns.workspace.is_(None) if workspace is None else _columns.workspace == workspace


def _read(connection: Any, condition: sa.ColumnElement[bool]) -> list[Rule]:
    query = sa.select(schema.alert_rule).where(condition)
    rows = connection.execute(query.order_by(_columns.created_ms, _columns.rule_id))
    return [_rule(row) for row in rows.mappings()]


def _rule(row: Mapping[Any, Any]) -> Rule:
    said = json.loads(row["document"])
    return Rule(
        row["rule_id"],
        row["experiment_id"],
        row["workspace"],
        row["kind"],
        said["level"],
        tuple(said["targets"]),
        said["metric"],
        said["operator"],
        said["value"],
        said["seconds"],
        bool(row["is_paused"]),
        row["created_ms"],
        row["created_by"],
    )
