"""Alerts of runs, the rules that raise them, the targets they are sent to, and what was sent.

    POST alerts          {"run_id"} or {"experiment_id"}, "limit"? → {"alerts": [{"id", "run_id",
                         "level", "title", "text", "at_ms", "rule_id"}]}, the newest first
    POST alerts/rules    {"experiment_id"?} → {"rules": [rule], "may_edit"}
    POST alerts/targets  {} → {"targets": [target], "may_edit", "has_mail"}
    POST alerts/log      {"experiment_id"?, "limit"?} → {"deliveries": [...]}, the newest first
    POST alerts/rules/change
        {"action": "add", "experiment_id"?, "kind", "targets": [id], "level"?, "metric"?, "op"?,
         "value"?, "seconds"?}, or {"action": "pause" | "resume" | "delete", "id"} → {"rule"}
    POST alerts/targets/change
        {"action": "add", "name", "kind": "webhook" | "slack" | "email", "url"?, "recipients"?,
         "base"?}, or {"action": "pause" | "resume" | "delete" | "test" | "key", "id"}
        → {"target"}, with "is_sent" and "told" after "test", and after "add" of a webhook, and
        after "key", "key", which its deliveries are signed with and which is told this once

Alerts and rules of an experiment are seen by who may read it, its rules changed and its
deliveries seen by who may edit it. Without an experiment, a rule is for all of the workspace's
and, as targets are, an administrator's to change; where the server has no login, everybody's. A
webhook's address and the recipients of e-mail are told to nobody once they are there.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import flask

from mlflow_weir.errors import ConfigError, NotPermitted
from mlflow_weir.settings import SMTP, SMTP_FROM
from mlflow_weir.store.alerts import alerts, queue, rules, targets
from mlflow_weir.store.alerts.alerts import Alert
from mlflow_weir.store.alerts.queue import Claimed
from mlflow_weir.store.alerts.rules import Rule
from mlflow_weir.store.alerts.targets import Target
from mlflow_weir.store.delivery.connection import reading, transaction
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.ui_extensions import access, audit, deliveries, mlflow_private, readable
from mlflow_weir.ui_extensions.alerting import hosts, keeper, messages, sending
from mlflow_weir.ui_extensions.api.runs import answered
from mlflow_weir.ui_extensions.ids import is_id
from mlflow_weir.ui_extensions.rate_limits import RateLimit

_MAX_LISTED = 1_000
_USUAL_LISTED = 100
_MAX_NAME = 100
_MAX_RECIPIENTS = 50
_MAIL_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x20\x7f]+@[a-zA-Z0-9.-]+\Z")
_tests = RateLimit(5, 1 / 12)


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    def add(path: str, name: str, view: Callable[[Fields], dict[str, Any]]) -> None:
        def answer() -> flask.Response:
            return answered(view)

        answer.__name__ = name
        access.route(routes, path, "POST", content_type="application/json")(answer)

    add("/alerts", "alerts", _alerts)
    add("/alerts/rules", "alerts_rules", _rules)
    add("/alerts/rules/change", "alerts_rules_change", _change_rule)
    add("/alerts/targets", "alerts_targets", _targets)
    add("/alerts/targets/change", "alerts_targets_change", _change_target)
    add("/alerts/log", "alerts_log", _log)


def _alerts(fields: Fields) -> dict[str, Any]:
    limit, run_id = _limit(fields), fields.text_or_none("run_id")
    if run_id is not None:
        readable.require_readable_runs([run_id])
    else:
        experiment_id = fields.text("experiment_id")
        (experiment_id,) = readable.require_readable_experiments([experiment_id])
    with reading(deliveries.engine()) as connection:
        if run_id is not None:
            found = alerts.read_run(connection, run_id, limit)
        else:
            found = alerts.read_experiments(connection, [int(experiment_id)], limit)
    return {"alerts": [one.as_json() for one in found]}


def _rules(fields: Fields) -> dict[str, Any]:
    caller = access.Access()
    experiment_id = _experiment(fields, caller)
    workspace = mlflow_private.request_workspace()
    with reading(deliveries.engine()) as connection:
        found = rules.read_for(connection, experiment_id, workspace)
    return {
        "rules": [_rule_as_json(one) for one in found],
        "may_edit": _may_rule(experiment_id, caller),
    }


def _change_rule(fields: Fields) -> dict[str, Any]:
    action = fields.text("action")
    if action == "add":
        added = _add_rule(fields)
        _note_rule("add", added)
        return {"rule": _rule_as_json(added)}
    if action not in {"pause", "resume", "delete"}:
        raise ConfigError("action: expected add, pause, resume or delete")
    caller, engine = access.Access(), deliveries.engine()
    rule_id = _id(fields)
    with reading(engine) as connection:
        rule = rules.read(connection, rule_id)
    if rule is None or not _may_see_rule(rule, caller):
        flask.abort(access.refusal(404, "there is no such rule"))
    if not _may_rule(rule.experiment_id, caller):
        raise NotPermitted(access.NOT_PERMITTED)
    with transaction(engine) as connection:
        if action == "delete":
            rules.delete(connection, rule_id)
        else:
            rules.set_paused(connection, rule_id, action == "pause")
        changed = rules.read(connection, rule_id)
    _note_rule(action, rule)
    return {"rule": _rule_as_json(changed or rule)}


def _note_rule(action: str, rule: Rule) -> None:
    of = None if rule.experiment_id is None else str(rule.experiment_id)
    audit.note(f"rule.{action}", target=rule.rule_id, experiment_id=of, kind=rule.kind)


def _add_rule(fields: Fields) -> Rule:
    caller, engine = access.Access(), deliveries.engine()
    experiment_id = _experiment(fields, caller)
    if not _may_rule(experiment_id, caller):
        raise NotPermitted(access.NOT_PERMITTED)
    workspace = mlflow_private.request_workspace()
    rule = rules.checked(
        fields.text("kind"),
        experiment_id=experiment_id,
        workspace=workspace,
        targets=fields.texts("targets"),
        level=fields.text_or_none("level"),
        metric=fields.text_or_none("metric"),
        operator=fields.text_or_none("op"),
        value=None if fields.raw("value") is None else fields.number("value"),
        seconds=None if fields.raw("seconds") is None else fields.number("seconds"),
        created_ms=_now_ms(),
        created_by=access.principal() or "",
    )
    with transaction(engine) as connection:
        there = {one.target_id for one in targets.read_all(connection, workspace)}
        if not there.issuperset(rule.targets):
            raise ConfigError("targets: there is no such target")
        rules.add(connection, rule)
    keeper.hurry()
    return rule


def _targets(fields: Fields) -> dict[str, Any]:
    workspace = mlflow_private.request_workspace()
    with reading(deliveries.engine()) as connection:
        found = targets.read_all(connection, workspace)
    return {
        "targets": [_target_as_json(one) for one in found],
        "may_edit": access.Access().may_administer(),
        "has_mail": bool(SMTP.get() and SMTP_FROM.get()),
    }


def _change_target(fields: Fields) -> dict[str, Any]:
    if not access.Access().may_administer():
        raise NotPermitted(access.NOT_PERMITTED)
    action, engine = fields.text("action"), deliveries.engine()
    if action == "add":
        new = _new_target(fields)
        with transaction(engine) as connection:
            targets.add(connection, new)
        audit.note("target.add", target=new.target_id, kind=new.kind, name=new.name)
        return {"target": _target_as_json(new), **({"key": new.key} if new.key else {})}
    target_id = _id(fields)
    with reading(engine) as connection:
        target = targets.read(connection, target_id)
    if target is None or target.workspace != mlflow_private.request_workspace():
        flask.abort(access.refusal(404, "there is no such target"))
    if action == "test":
        return {"target": _target_as_json(target), **_test(target)}
    if action not in {"pause", "resume", "delete", "key"}:
        raise ConfigError("action: expected add, pause, resume, delete, test or key")
    key = messages.new_key() if action == "key" else ""
    if key and target.kind != "webhook":
        raise ConfigError("action: only what a webhook gets is signed with a key")
    with transaction(engine) as connection:
        if key:
            targets.set_key(connection, target, key)
        elif action == "delete":
            targets.delete(connection, target_id)
        else:
            targets.set_paused(connection, target_id, action == "pause")
        changed = targets.read(connection, target_id)
    audit.note(f"target.{action}", target=target_id, kind=target.kind, name=target.name)
    return {"target": _target_as_json(changed or target), **({"key": key} if key else {})}


def _new_target(fields: Fields) -> Target:
    name, kind = " ".join(fields.text("name").split()), fields.text("kind")
    if not 0 < len(name) <= _MAX_NAME or "\0" in name:
        raise ConfigError(f"name: expected 1 to {_MAX_NAME} characters")
    if kind not in targets.KINDS:
        raise ConfigError(f"kind: expected one of {', '.join(targets.KINDS)}")
    url, recipients = "", fields.texts("recipients")
    if kind == "email":
        if not 0 < len(recipients) <= _MAX_RECIPIENTS or not all(
            len(one) <= 254 and one.isascii() and _MAIL_ADDRESS.match(one) for one in recipients
        ):
            raise ConfigError(f"recipients: expected 1 to {_MAX_RECIPIENTS} e-mail addresses")
    else:
        url, recipients = fields.text("url"), []
        place = hosts.read_url(url)
        try:
            hosts.resolve(place.host, place.port)
        except (hosts.NotAllowed, hosts.NotResolved) as exc:
            raise ConfigError(f"url: {exc}") from exc
    base = fields.text_or_none("base") or _own_address()
    if not re.match(r"https?://[^\s<>|\"]{1,500}\Z", base):
        raise ConfigError("base: expected the address of this server, as it is opened")
    return Target(
        targets.new_id(),
        mlflow_private.request_workspace(),
        name,
        kind,
        url,
        tuple(recipients),
        base.rstrip("/"),
        False,
        _now_ms(),
        access.principal() or "",
        messages.new_key() if kind == "webhook" else "",
    )


def _own_address() -> str:
    """Return this server's address as the request has it, whose host MLflow has let pass."""
    return flask.request.host_url.rstrip("/") + mlflow_private.static_prefixed("")


def _test(target: Target) -> dict[str, Any]:
    if not _tests.take(target.target_id):
        flask.abort(access.refusal(429, "too many tests of this target: wait a minute"))
    alert = Alert(
        uuid.uuid4().hex, "0" * 32, "info", "A test", "Alerts of Weir get here.", _now_ms()
    )
    base = target.base
    claimed = Claimed(uuid.uuid4().hex, 1, target, alert, "no run", "", 0, base)
    outcome = sending.send(claimed)
    return {"is_sent": outcome.is_sent, "told": outcome.told}


def _log(fields: Fields) -> dict[str, Any]:
    caller, limit = access.Access(), _limit(fields)
    experiment_id = _experiment(fields, caller)
    if not _may_rule(experiment_id, caller):
        raise NotPermitted(access.NOT_PERMITTED)
    workspace = mlflow_private.request_workspace()
    with reading(deliveries.engine()) as connection:
        found = queue.read_log(connection, experiment_id, workspace, limit)
    return {"deliveries": [one._asdict() for one in found]}


def _experiment(fields: Fields, caller: access.Access) -> int | None:
    """Return the experiment that a request names, which the caller may read; None for all."""
    experiment_id = fields.text_or_none("experiment_id")
    if experiment_id is None:
        return None
    (experiment_id,) = readable.require_readable_experiments([experiment_id], caller)
    return int(experiment_id)


def _may_rule(experiment_id: int | None, caller: access.Access) -> bool:
    if experiment_id is None:
        return caller.may_administer()
    return caller.may_edit_experiment(str(experiment_id))


def _may_see_rule(rule: Rule, caller: access.Access) -> bool:
    if rule.workspace != mlflow_private.request_workspace():
        return False
    return rule.experiment_id is None or caller.may_read_experiment(str(rule.experiment_id))


def _id(fields: Fields) -> str:
    found = fields.text("id")
    if not is_id(found):
        raise ConfigError("id: expected 32 hexadecimal digits")
    return found


def _limit(fields: Fields) -> int:
    limit = fields.whole_or_none("limit")
    if limit is not None and not 0 < limit <= _MAX_LISTED:
        raise ConfigError(f"limit: expected 1 to {_MAX_LISTED:,}")
    return limit or _USUAL_LISTED


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _rule_as_json(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.rule_id,
        "experiment_id": None if rule.experiment_id is None else str(rule.experiment_id),
        "kind": rule.kind,
        "what": rule.describe(),
        "level": rule.level,
        "targets": list(rule.targets),
        "metric": rule.metric,
        "op": rule.operator,
        "value": rule.value,
        "seconds": rule.seconds,
        "is_paused": rule.is_paused,
        "created_ms": rule.created_ms,
        "created_by": rule.created_by or None,
    }


def _target_as_json(target: Target) -> dict[str, Any]:
    return {
        "id": target.target_id,
        "name": target.name,
        "kind": target.kind,
        "place": target.place,
        "is_signed": bool(target.key),
        "is_paused": target.is_paused,
        "created_ms": target.created_ms,
        "created_by": target.created_by or None,
    }
