"""``weir alert``: alerts of a server, the rules that raise them, and where they are sent.

All of it is the server's: a command is one request or two, with the credentials that MLflow's own
requests to it would carry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import click

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, StoreUnavailable
from mlflow_weir.plugin.cli.stores import is_server
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.plugin.uri import without_secrets

_ROUTES = "/ajax-api/3.0/weir/alerts"
_TIMEOUT_S = 60.0
_CONDITION = re.compile(r"(?P<metric>.+?)\s*(?P<op>>=|<=|>|<)\s*(?P<value>[^<>=\s]+)\Z")
_WORDS = ("alert", "finished", "failed", "crashed", "nan", "silence")

_uri = click.option(
    "--uri", default="", envvar="MLFLOW_TRACKING_URI", help="Address of the tracking server."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_experiment = click.option("--experiment", "-e", default="", help="Name or id of an experiment.")


@click.group()
def alert() -> None:
    """Show alerts, and say what is one and to whom it is sent; needs a tracking server."""


@alert.command("list")
@click.argument("run_id", metavar="[RUN]", default="")
@_experiment
@_uri
@_json
def list_alerts(run_id: str, experiment: str, uri: str, as_json: bool) -> None:
    """List the alerts of RUN, which is its id, or of an experiment."""
    if bool(run_id) == bool(experiment):
        raise click.UsageError("name a run, or --experiment")
    server = _Server(uri)
    of = {"run_id": run_id} if run_id else {"experiment_id": server.experiment(experiment)}
    found = server.ask("", of)["alerts"]
    rows = [
        (_time(one["at_ms"]), one["level"], one["title"], one["text"].partition("\n")[0][:80])
        for one in found
    ]
    _print(found, rows, ("time", "level", "title", "text"), as_json)


@alert.command("log")
@_experiment
@_uri
@_json
def show_log(experiment: str, uri: str, as_json: bool) -> None:
    """Show what was sent, what waits and what failed: of an experiment, or of all."""
    server = _Server(uri)
    of = {"experiment_id": server.experiment(experiment)} if experiment else {}
    found = server.ask("/log", of)["deliveries"]
    rows = [
        (
            _time(one["tried_ms"]),
            *(one[k] for k in ("target", "state", "n_tries", "told", "title")),
        )
        for one in found
    ]
    _print(found, rows, ("tried", "target", "state", "tries", "told", "title"), as_json)


@alert.group()
def target() -> None:
    """Where alerts are sent: list, add, test, pause, resume, delete."""


@target.command("list")
@_uri
@_json
def list_targets(uri: str, as_json: bool) -> None:
    """List the targets; of their addresses the hosts alone."""
    found = _Server(uri).ask("/targets", {})["targets"]
    rows = [(one["name"], one["kind"], one["place"], _state(one)) for one in found]
    _print(found, rows, ("name", "kind", "where", "state"), as_json)


@target.command("add")
@click.argument("name")
@click.option("--webhook", default="", metavar="URL", help="Post JSON there; - reads the URL.")
@click.option("--slack", default="", metavar="URL", help="Post as to Slack; - reads the URL.")
@click.option("--email", multiple=True, metavar="ADDRESS", help="Send mail; may be repeated.")
@_uri
@_json
def add_target(
    name: str, webhook: str, slack: str, email: Sequence[str], uri: str, as_json: bool
) -> None:
    """Add a target NAME, which an administrator may; a webhook's URL is shown to nobody again."""
    if sum(map(bool, (webhook, slack, email))) != 1:
        raise click.UsageError("expected one of --webhook, --slack and --email")
    server = _Server(uri)
    body: dict[str, Any] = {"action": "add", "name": name, "base": server.address}
    if email:
        body |= {"kind": "email", "recipients": list(email)}
    else:
        url = webhook or slack
        if url == "-":
            url = click.prompt("URL", hide_input=True, err=True)
        body |= {"kind": "webhook" if webhook else "slack", "url": url.strip()}
    answer = server.ask("/targets/change", body)
    words = f"target {plain(name)} is there; `weir alert target test` tries it"
    _say_target(answer, words, as_json)


@target.command("test")
@click.argument("name")
@_uri
@_json
def test_target(name: str, uri: str, as_json: bool) -> None:
    """Send a test to target NAME, and say what became of it; status 1 where it was not taken."""
    server = _Server(uri)
    answer = server.ask("/targets/change", {"action": "test", "id": server.target(name)})
    _say(answer, f"{'sent' if answer['is_sent'] else 'not sent'}: {answer['told']}", as_json)
    if not answer["is_sent"]:
        raise click.exceptions.Exit(1)


@target.command("set")
@click.argument("name")
@click.argument("action", type=click.Choice(("pause", "resume", "delete", "key")))
@_uri
@_json
def set_target(name: str, action: str, uri: str, as_json: bool) -> None:
    """Pause, resume or delete target NAME, or make a webhook a new key to sign with.

    What waits for one that is deleted is never sent.
    """
    server = _Server(uri)
    answer = server.ask("/targets/change", {"action": action, "id": server.target(name)})
    _say_target(answer, f"{action}: target {plain(name)}", as_json)


@alert.group()
def rule() -> None:
    """What of an experiment's runs is an alert: list, add, pause, resume, delete."""


@rule.command("list")
@_experiment
@_uri
@_json
def list_rules(experiment: str, uri: str, as_json: bool) -> None:
    """List the rules of an experiment and of all experiments, or of all alone."""
    server = _Server(uri)
    of = {"experiment_id": server.experiment(experiment)} if experiment else {}
    found = server.ask("/rules", of)["rules"]
    names = {one["id"]: one["name"] for one in server.ask("/targets", {})["targets"]}
    rows = [
        (
            *(one["id"], one["what"], one["level"]),
            ", ".join(names.get(to, "(deleted)") for to in one["targets"]) or "the page alone",
            "this" if one["experiment_id"] else "all",
            _state(one),
        )
        for one in found
    ]
    _print(found, rows, ("rule", "when", "level", "to", "experiments", "state"), as_json)


@rule.command("add")
@click.argument("when")
@_experiment
@click.option("--all", "for_all", is_flag=True, help="For all experiments; an administrator's.")
@click.option("--to", multiple=True, metavar="TARGET", help="Send it there; may be repeated.")
@click.option("--level", type=click.Choice(("info", "warning", "error")), default=None)
@click.option("--metric", default=None, help="For nan: of this metric alone.")
@click.option("--seconds", type=float, default=None, help="For silence: how long.")
@_uri
@_json
def add_rule(
    when: str,
    experiment: str,
    for_all: bool,
    to: Sequence[str],
    level: str | None,
    metric: str | None,
    seconds: float | None,
    uri: str,
    as_json: bool,
) -> None:
    """Add a rule: WHEN is finished, failed, crashed, nan, silence, alert, or `metric > value`.

    `alert` sends what trainings raise by mlflow_weir.alert, from --level on.
    """
    if for_all == bool(experiment):
        raise click.UsageError("expected --experiment or --all")
    server = _Server(uri)
    body: dict[str, Any] = {"action": "add", "level": level, "metric": metric, "seconds": seconds}
    body |= _condition(when)
    body["targets"] = [server.target(name) for name in to]
    if experiment:
        body["experiment_id"] = server.experiment(experiment)
    made = server.ask("/rules/change", body)["rule"]
    _say(made, f"rule {made['id']}: {plain(made['what'])}", as_json)


@rule.command("set")
@click.argument("rule_id", metavar="RULE")
@click.argument("action", type=click.Choice(("pause", "resume", "delete", "key")))
@_uri
@_json
def set_rule(rule_id: str, action: str, uri: str, as_json: bool) -> None:
    """Pause, resume or delete RULE, which is its id."""
    changed = _Server(uri).ask("/rules/change", {"action": action, "id": rule_id})["rule"]
    _say(changed, f"{action}: rule {plain(rule_id)}", as_json)


def _condition(when: str) -> dict[str, Any]:
    if when in _WORDS:
        return {"kind": when}
    found = _CONDITION.match(when.strip())
    try:
        value = float(found["value"]) if found else None
    except ValueError:
        value = None
    if found is None or value is None:
        raise click.UsageError(f"WHEN: expected one of {', '.join(_WORDS)}, or 'metric > value'")
    return {"kind": "metric", "metric": found["metric"], "op": found["op"], "value": value}


class _Server:
    """The tracking server that a command is about.

    Attributes:
        address: Without user and password.
    """

    def __init__(self, uri: str) -> None:
        if not is_server(uri):
            raise ConfigError(
                f"alerts are sent by a tracking server, and {without_secrets(uri) or 'no URI'!r} "
                "is none",
                hint="start one, such as `weir ui`, and name its address by --uri",
            )
        from mlflow_weir.plugin.servers import address_of

        settings.adopt_environment({"WEIR_CLIENT": "off"})
        self._uri, self.address = uri, address_of(uri)

    def ask(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return what the server answers.

        Raises:
            ConfigError: It refuses, and says why.
            StoreUnavailable: It does not answer, or is none of Weir's.
        """
        return self._post(f"{_ROUTES}{route}", body)

    def experiment(self, named: str) -> str:
        """Return the id of an experiment that is named by it, or by its name."""
        # Behind a journal, a server that is slow to answer would have none of them.
        settings.adopt_environment({"WEIR_CLIENT": "off"})
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        client = MlflowClient(self._uri)
        try:
            found = client.get_experiment_by_name(named)
            if found is None and named.isdigit():
                found = client.get_experiment(named)
        except MlflowException as exc:
            raise ConfigError(f"experiment {named!r}: {exc.message}") from exc
        if found is None:
            raise ConfigError(f"there is no experiment {named!r}")
        return str(found.experiment_id)

    def target(self, name: str) -> str:
        """Return the id of a target."""
        for one in self.ask("/targets", {})["targets"]:
            if one["name"] == name:
                return str(one["id"])
        raise ConfigError(f"there is no target {name!r}", hint="`weir alert target list`")

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        from mlflow.exceptions import MlflowException
        from mlflow.utils.rest_utils import http_request

        from mlflow_weir.plugin import mlflow_private

        try:
            credentials = mlflow_private.cached_tracking_store(self._uri).get_host_creds()
            answer = http_request(
                credentials,
                path,
                "POST",
                json=body,
                max_retries=0,
                timeout=_TIMEOUT_S,
                raise_on_status=False,
            )
        except MlflowException as exc:
            raise StoreUnavailable(f"{self.address} does not answer: {exc.message}") from exc
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise StoreUnavailable(f"{self.address} does not run Weir, or an older version")
        if answer.status_code != 200:
            raise ConfigError(str(found.get("error") or f"the server says {answer.status_code}"))
        return found


def _print(found: Any, rows: Sequence[Sequence[Any]], head: Sequence[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    if not cells:
        click.echo("none")
        return
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in (head, *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _say(found: Any, words: str, as_json: bool) -> None:
    click.echo(json.dumps(found, indent=2) if as_json else words)


def _say_target(answer: dict[str, Any], words: str, as_json: bool) -> None:
    made, key = answer["target"], answer.get("key", "")
    _say({**made, "key": key} if key else made, words, as_json)
    if key and not as_json:
        click.echo(key)
        click.echo("What it gets is signed with this key, shown this once.", err=True)


def _time(at_ms: int | None) -> str:
    if at_ms is None:
        return "never"
    return datetime.fromtimestamp(at_ms / 1000, timezone.utc).isoformat(" ", "seconds")


def _state(one: dict[str, Any]) -> str:
    return "paused" if one["is_paused"] else "on"
