"""``weir share``: links that anyone may open, made and managed on a tracking server."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import click

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.cli.report_words import report_id_of
from mlflow_weir.plugin.cli.shown_fields import show_option, shown_fields
from mlflow_weir.plugin.cli.stores import is_server
from mlflow_weir.plugin.uri import without_secrets
from mlflow_weir.plugin.weir_routes import Refused, ask

_uri = click.option(
    "--uri",
    default="",
    envvar="MLFLOW_TRACKING_URI",
    help="Tracking server; MLFLOW_TRACKING_URI when left out.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
_id = click.argument("link_id", metavar="ID")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def share() -> None:
    """Make and manage links that anyone may open.

    Over HTTP, with the credentials that MLflow uses for the server. ID is a link's, as `list`
    shows it; the token of a link is shown once, when it is made or rotated.
    """


@share.command()
@_uri
@click.option("--experiment", help="Experiment, by name or id.")
@click.option("--run", "run_ids", multiple=True, help="Run, by id; may be given several times.")
@click.option("--report", help="Report, by its id or its page's address.")
@click.option("--filter", "filter_", default="", help="Of an experiment only runs that match.")
@click.option("--view", default="", help="Of an experiment a saved view, by its name.")
@click.option("--title", help="What visitors read first.")
@show_option
@click.option("--frozen", is_flag=True, help="Show the runs as they are now, whatever comes.")
@click.option("--numbered", is_flag=True, help="Number the runs instead of naming them.")
@click.option("--days", default="30", help="Days until it ends; `never` where it may be.")
@click.option("--password", is_flag=True, help="Ask for a password that visitors need.")
@_json
def create(
    uri: str,
    experiment: str | None,
    run_ids: tuple[str, ...],
    report: str | None,
    filter_: str,
    view: str,
    title: str | None,
    show: tuple[str, ...],
    frozen: bool,
    numbered: bool,
    days: str,
    password: bool,
    as_json: bool,
) -> None:
    """Make a link to runs, an experiment or a report, and print its address."""
    server = _server(uri)
    if bool(experiment) + bool(run_ids) + bool(report) != 1:
        raise ConfigError(
            "name an experiment, runs or a report", hint="--experiment, --run or --report"
        )
    if (filter_ or view) and not experiment:
        raise ConfigError("--filter and --view are for an experiment")
    name, about = (
        _report(server, report) if report else _runs(server, experiment, run_ids, filter_, view)
    )
    if numbered and len(run_ids) == 1:
        name = "A run"  # its own is what visitors are not to see
    body: dict[str, Any] = {
        **about,
        "title": title or name,
        "is_live": not frozen,
        "shown": shown_fields(show),
        "replaces_names": numbered,
        "expires_ms": _expiry(days),
    }
    if password:
        body["password"] = click.prompt("Password", hide_input=True, confirmation_prompt=False)
    answer = ask(server, "shares/create", body)
    _print_link(server, answer, as_json)


@share.command("list")
@_uri
@click.option("--experiment", help="Only links to this experiment, by name or id.")
@_json
def list_(uri: str, experiment: str | None, as_json: bool) -> None:
    """List links, the newest first."""
    server = _server(uri)
    body: dict[str, Any] = {}
    if experiment:
        (body["experiment_id"],), _ = _experiments(server, experiment, ())
    found = ask(server, "shares/list", body)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if found["policy"] != "on":
        click.echo(f"the server's policy is WEIR_PUBLIC_LINKS={found['policy']}")
    if not found["shares"]:
        click.echo("no links")
    for one in found["shares"]:
        how = "live" if one["is_live"] else f"frozen {_time(one['as_of_ms'])}"
        until = f"until {_time(one['expires_ms'])}" if one["expires_ms"] else "for ever"
        click.echo(f"{one['id']}  {one['state']:8}{_printable(one['title'])}")
        by = f" by {_printable(one['created_by'])}" if one["created_by"] else ""
        lock = ", with a password" if one["has_password"] else ""
        seen = f", last {_time(one['last_seen_ms'])}" if one["last_seen_ms"] else ""
        click.echo(
            f"    {one['kind']}, {how}, {until}{lock}; made {_time(one['created_ms'])}{by}; "
            f"opened {one['hits']} times{seen}"
        )


def _change(action: str, link_id: str, uri: str, as_json: bool) -> None:
    server = _server(uri)
    answer = ask(server, "shares/change", {"id": link_id, "action": action})
    if action == "rotate":
        _print_link(server, answer, as_json)
    elif as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo(f"{answer['share']['id']}: {answer['share']['state']}")


@share.command()
@_id
@_uri
@_json
def pause(link_id: str, uri: str, as_json: bool) -> None:
    """Let a link not open until it is resumed."""
    _change("pause", link_id, uri, as_json)


@share.command()
@_id
@_uri
@_json
def resume(link_id: str, uri: str, as_json: bool) -> None:
    """Let a paused link open again."""
    _change("resume", link_id, uri, as_json)


@share.command()
@_id
@_uri
@_json
def revoke(link_id: str, uri: str, as_json: bool) -> None:
    """End a link for good."""
    _change("revoke", link_id, uri, as_json)


@share.command()
@_id
@_uri
@_json
def rotate(link_id: str, uri: str, as_json: bool) -> None:
    """Give a link another address; the one before opens nothing."""
    _change("rotate", link_id, uri, as_json)


@share.command()
@_id
@_uri
@_json
def log(link_id: str, uri: str, as_json: bool) -> None:
    """Show who opened a link, or was turned away, the newest first."""
    found = ask(_server(uri), "shares/log", {"id": link_id})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found["entries"]:
        click.echo("nobody yet")
    for one in found["entries"]:
        click.echo(f"{_time(one['at_ms'])}  {one['address']:40}{one['outcome']}")


@share.command()
@click.argument("experiment")
@click.argument("level", type=click.Choice(["private", "team", "public"]), required=False)
@_uri
@click.option("--title", help="Of a public experiment: what visitors read first.")
@click.option(
    "--show",
    multiple=True,
    metavar="FIELD",
    help="Of a public experiment: a field to show, and nothing else, as of `create`.",
)
@click.option("--numbered", is_flag=True, help="Number the runs instead of naming them.")
@_json
def visibility(
    experiment: str,
    level: str | None,
    uri: str,
    title: str | None,
    show: tuple[str, ...],
    numbered: bool,
    as_json: bool,
) -> None:
    """Say who may see an experiment, by name or id, or change it."""
    server = _server(uri)
    (experiment_id,), name = _experiments(server, experiment, ())
    if level is None:
        found = ask(server, "visibility", {"experiment_ids": [experiment_id]})
        (one,) = found["experiments"]
        has_login = bool(found["has_login"])
    else:
        body: dict[str, Any] = {"experiment_id": experiment_id, "level": level}
        if level == "public":
            body |= {
                "shown": shown_fields(show),
                "title": title or name,
                "replaces_names": numbered,
            }
        elif show or title or numbered:
            raise ConfigError("--show, --title and --numbered are of a public experiment")
        one = ask(server, "visibility/change", body)["experiment"]
        has_login = True
    if "path" in one:
        one["url"] = _address(server, one["path"])
    if as_json:
        click.echo(json.dumps({**one, "has_login": has_login}, indent=2))
        return
    click.echo(one["level"] if has_login else "no login: everybody sees everything")
    if "url" in one:
        click.echo(one["url"])


def _server(uri: str) -> str:
    if not is_server(uri):
        shown = f"{without_secrets(uri)!r} is none" if uri else "none is named"
        raise ConfigError(
            f"links are made on a tracking server, and {shown}",
            hint="start one with `weir ui`, and set MLFLOW_TRACKING_URI=http://…",
        )
    return uri.rstrip("/")


def _report(server: str, named: str) -> tuple[str, dict[str, Any]]:
    """Return what a report is called, and how a link to it is asked for."""
    report_id = report_id_of(named) or report_id_of(f"report:{named}")
    if report_id is None:
        raise ConfigError(f"--report {named!r:.100}: an id of 32 digits, or a page's address")
    found = ask(server, "reports/read", {"id": report_id})
    return str(found["title"]), {"kind": "report", "report_id": report_id}


def _runs(
    server: str, experiment: str | None, run_ids: tuple[str, ...], filter_: str, view: str
) -> tuple[str, dict[str, Any]]:
    """Return what runs are called together, and how a link to them is asked for."""
    experiment_ids, name = _experiments(server, experiment, run_ids)
    about: dict[str, Any] = {"experiment_ids": experiment_ids}
    if experiment is None:
        kind = "run" if len(run_ids) == 1 else "runs"
        return name, {**about, "kind": kind, "run_ids": list(run_ids)}
    if not view:
        return name, {**about, "kind": "experiment", "filter": {"filter": filter_}}
    from mlflow_weir.store.sharing import views

    document = views.read_named(lambda name, body: ask(server, name, body), experiment_ids, view)
    found = views.filter_of(document, filter_)
    return f"{name}: {view}", {**about, "kind": "view", "filter": found, "view": document}


def _experiments(
    server: str, experiment: str | None, run_ids: tuple[str, ...]
) -> tuple[list[str], str]:
    """Return ids of the experiments that are meant, and what to call the link."""
    # Behind a journal, a server that is slow to answer would have none of them.
    settings.adopt_environment({"WEIR_CLIENT": "off"})
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(server)
    try:
        if experiment is None:
            infos = [client.get_run(run_id).info for run_id in run_ids]
            name = infos[0].run_name if len(infos) == 1 else f"{len(infos)} runs"
            return list(dict.fromkeys(info.experiment_id for info in infos)), str(name)
        found = client.get_experiment_by_name(experiment)
        if found is None and experiment.isdecimal():
            found = client.get_experiment(experiment)
    except MlflowException as exc:
        raise Refused(str(exc.message)) from exc
    if found is None:
        raise Refused(f"there is no experiment {experiment!r:.100}")
    return [found.experiment_id], found.name


def _expiry(days: str) -> int | str:
    if days.strip().lower() == "never":
        return "never"
    try:
        n_days = float(days)
    except ValueError:
        n_days = 0
    if not 0 < n_days <= 36_500:
        raise ConfigError(f"--days {days!r:.100}", hint="a number of days, or never")
    from mlflow_weir.store.sharing.links import MS_A_DAY

    return round(time.time() * 1_000 + n_days * MS_A_DAY)


def _print_link(server: str, answer: dict[str, Any], as_json: bool) -> None:
    address = _address(server, str(answer["path"]))
    if as_json:
        click.echo(json.dumps({**answer, "url": address}, indent=2))
    else:
        click.echo(address)
        click.echo("It is shown this once; whoever has it can open it.", err=True)


def _address(server: str, path: str) -> str:
    # The server's own prefix is in the path; one that a proxy adds is in the address alone.
    base = server.removesuffix(path.partition("/weir/s/")[0])
    return without_secrets(base) + path


def _time(at_ms: int) -> str:
    return datetime.datetime.fromtimestamp(at_ms / 1_000).astimezone().strftime("%Y-%m-%d %H:%M")


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
