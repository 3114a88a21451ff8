"""What each route of ours is asked about somebody's run, and what tells that it was answered.

For the test that walks all routes as every kind of user: a route without an entry fails it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import flask

from browser import build_pages
from histogram_tables import record_of
from mlflow_server import ServerProcess
from mlflow_weir.ui_extensions import app as extension
from mlflow_weir.ui_extensions import bundle
from reports import paragraph, png, write_report
from senders import ROUTES, Answer, Sender, User, call, create_run, new_id, operation, points

JSON = {"Content-Type": "application/json"}
UNASKED = ("weir_public.", "weir_health.")


class Things(NamedTuple):
    """What the run's owner has on a server.

    Attributes:
        secret: Text in a param, a metric's name, a line on the console and a file of the run.
        view_id: Of a named view of the experiment.
        journal_id: The journal that the run was delivered by.
        share_id: Of a link to the experiment, whose title holds the secret.
        rule_id: Of a rule of the experiment, whose metric is the secret.
        target_id: Of a target, which is the server's, whose URL holds the secret.
        report_id: Of a report of the experiment, published, whose title holds the secret.
        image_id: Of a picture in it.
        invite_id: Of an invitation to the experiment, whose note is the secret.
        account: Name of a service account of the experiment, whose note is the secret.
    """

    experiment_id: str
    run_id: str
    secret: str
    view_id: str
    journal_id: str
    share_id: str
    rule_id: str
    target_id: str
    report_id: str
    image_id: str
    invite_id: str
    account: str


class Question(NamedTuple):
    """A request of a route, and whom it is for.

    Attributes:
        needs: ``login`` (shows nothing of the run), ``read``, ``edit``, ``delete``, ``own``, or
            ``administer``.
        body: JSON, or the bytes and headers of a delivery.
        is_answered: Says of an answer of 200 that the caller got what was asked for.
    """

    needs: str
    body: Any = None
    is_answered: Callable[[Answer], bool] = lambda answer: answer.status == 200


def question(endpoint: str, things: Things, sender: Sender) -> Question:
    """Return what is asked of an endpoint.

    Args:
        endpoint: Flask's name of it.
        things: Whose run it is about.
        sender: Who asks.

    Raises:
        KeyError: There is no entry for it.
    """
    run, of = {"run_id": things.run_id}, {"experiments": [things.experiment_id]}
    runs = {**of, "run_ids": [things.run_id]}
    tag = {"action": "tag", "key": "by", "value": "somebody"}
    view = {**of, "name": "n", "document": "{}"}
    experiment = {"experiment_ids": [things.experiment_id], "filter": {}}
    link = {"kind": "experiment", "title": "t", "is_live": True}
    one = {"experiment_id": things.experiment_id}

    def shows(text: str) -> Callable[[Answer], bool]:
        return lambda answer: text in json.dumps(answer.body)

    def names(field: str) -> Callable[[Answer], bool]:
        return lambda answer: things.run_id in answer.body[field]

    def delivery() -> tuple[bytes, dict[str, str]]:
        return sender.request([operation("set_tags", **run, tags=[["by", "somebody"]])])

    report = {"id": things.report_id}
    series = {"parts": [{"key": "m"}], "x": "step", "buckets": 9}
    entries: dict[str, Callable[[], Question]] = {
        "weir.info": lambda: Question("login"),
        "weir.experiments": lambda: Question(
            "read",
            {},
            lambda a: things.experiment_id in [one["id"] for one in a.body["experiments"]],
        ),
        "weir.changes": lambda: Question("read", {"runs": [things.run_id]}, names("statuses")),
        "weir.runs_compare": lambda: Question("read", runs, shows(things.secret)),
        "weir.experiments_names": lambda: Question("read", of, shows("of the matrix")),
        "weir.console": lambda: Question("read", run, shows(things.secret)),
        "weir.histograms": lambda: Question(
            "read", {**run, "kind": "gradients"}, shows("fc.weight")
        ),
        "weir.keys": lambda: Question("read", of, shows(things.secret)),
        "weir.runs": lambda: Question(
            "read", {**of, "columns": ["params.lr"]}, shows(things.secret)
        ),
        "weir.groups": lambda: Question("read", {**of, "by": ["params.lr"]}, shows(things.secret)),
        "weir.columns": lambda: Question("read", of, shows(things.secret)),
        "weir.series": lambda: Question(
            "read", {"runs": [things.run_id], **series}, shows('n_points\\":1')
        ),
        "weir.views": lambda: Question("read", of, shows(things.view_id)),
        "weir.views_read": lambda: Question("read", {"id": things.view_id}, shows(things.secret)),
        "weir.views_state": lambda: Question("read", {**of, "document": "{}"}, shows("id")),
        "weir.views_personal": lambda: Question(
            "read",
            {**of, "document": "{}", "revision": 0},
            shows("revision"),
        ),
        "weir.run": lambda: Question("read", run, shows(things.secret)),
        "weir.run_dock": lambda: Question("read", run, lambda a: a.body["n_lines"] == 1),
        "weir.files": lambda: Question("read", run, shows("a.txt")),
        "weir.file": lambda: Question(
            "read", {**run, "path": "a.txt"}, lambda a: a.body == "of the run"
        ),
        "weir.media": lambda: Question("read", run),
        "weir.code": lambda: Question("read", run),
        "weir.shares_candidates": lambda: Question("edit", experiment, shows(things.secret)),
        "weir.shares_create": lambda: Question("edit", {**experiment, **link}, shows("token")),
        "weir.shares_list": lambda: Question("edit", {}, shows(things.secret)),
        "weir.shares_change": lambda: Question(
            "delete", {"id": things.share_id, "action": "pause"}, shows("paused")
        ),
        "weir.shares_log": lambda: Question("delete", {"id": things.share_id}, shows("entries")),
        "weir.alerts": lambda: Question("read", run, shows(things.secret)),
        "weir.alerts_rules": lambda: Question(
            "read", {"experiment_id": things.experiment_id}, shows(things.secret)
        ),
        "weir.alerts_rules_change": lambda: Question(
            "edit", {"id": things.rule_id, "action": "pause"}, shows(things.secret)
        ),
        "weir.alerts_targets": lambda: Question("login", {}),
        "weir.alerts_targets_change": lambda: Question(
            "administer", {"id": things.target_id, "action": "pause"}, shows(things.target_id)
        ),
        "weir.alerts_log": lambda: Question(
            "edit", {"experiment_id": things.experiment_id}, shows("deliveries")
        ),
        "weir.reports_list": lambda: Question("read", {}, shows(things.secret)),
        "weir.reports_read": lambda: Question("read", report, shows(things.secret)),
        "weir.reports_create": lambda: Question(
            "edit",
            {"experiment_ids": [things.experiment_id], "title": "t"},
            shows(things.experiment_id),
        ),
        "weir.reports_change": lambda: Question(
            "edit", {**report, "action": "append", "content": [{"type": "contents"}]}
        ),
        "weir.reports_comments": lambda: Question("read", report, shows("said of the report")),
        "weir.reports_image": lambda: Question(
            "read", {**report, "image": things.image_id}, lambda a: a.body[1:4] == "PNG"
        ),
        "weir.visibility_read": lambda: Question(
            "read", {"experiment_ids": [things.experiment_id]}, shows("level")
        ),
        "weir.visibility_change": lambda: Question(
            "delete", {**one, "level": "team"}, shows("level")
        ),
        "weir.people": lambda: Question("delete", one, shows("is_owner")),
        "weir.people_change": lambda: Question(
            "delete", {**one, "name": "bob", "permission": None}, shows("is_owner")
        ),
        "weir.audit_log": lambda: Question("delete", one, shows(things.share_id)),
        "weir.invites_list": lambda: Question("administer", {}, shows(things.secret)),
        "weir.invites_create": lambda: Question("administer", one, shows("token")),
        "weir.invites_revoke": lambda: Question(
            "administer", {"id": things.invite_id}, shows(things.secret)
        ),
        "weir.accounts": lambda: Question("administer", {}, shows(things.secret)),
        "weir.accounts_create": lambda: Question(
            "administer",
            {"name": new_id(), "experiment_ids": [things.experiment_id]},
            shows("password"),
        ),
        "weir.accounts_change": lambda: Question(
            "administer", {"name": things.account, "action": "disable"}, shows(things.secret)
        ),
        "weir.views_save": lambda: Question("edit", view, shows("id")),
        "weir.views_delete": lambda: Question("edit", {"id": things.view_id}),
        "weir.runs_act": lambda: Question(
            "edit", {"run_ids": [things.run_id], **tag}, names("done")
        ),
        "weir.runs_move": lambda: Question(
            "delete",
            {"run_ids": [things.run_id], "experiment_id": things.experiment_id},
            names("done"),
        ),
        "weir.heartbeat": lambda: Question(
            "edit", {"journal": new_id(), "runs": [things.run_id]}, names("runs")
        ),
        "weir.ingest": lambda: Question(
            "edit", delivery(), lambda answer: answer.body["rejected"] == []
        ),
        "weir.journal": lambda: Question("own", None, lambda a: a.body["position"] is not None),
    }
    if endpoint.startswith("weir_pages."):
        return Question("login")
    return entries[endpoint]()


def concrete(path: str) -> str:
    """Return an address that a route has."""
    if "<name>" in path:
        build_pages()
        built = bundle.read()
        assert built is not None
        path = path.replace("<name>", built.stock_script)
    return path.replace("<journal_id>", "0" * 32).replace("<path:place>", "e/1")


def routes() -> list[tuple[str, str, str]]:
    """Return endpoint, method and path of every route of ours that not everybody may ask.

    Those of links' visitors are walked in test_public_links.py, those of load balancers below.
    """
    app = flask.Flask("walked")
    for blueprint in extension.blueprints():
        app.register_blueprint(blueprint)
    return [
        (rule.endpoint, method, concrete(rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static" and not rule.endpoint.startswith(UNASKED)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"})
    ]


def ask(sender: Sender, method: str, path: str, asked: Question) -> Answer:
    """Put a question as somebody."""
    body, headers = asked.body, dict(sender.headers)
    if isinstance(body, tuple):
        body, more = body
        headers |= more
    elif body is not None:
        body, headers = json.dumps(body).encode(), {**headers, **JSON}
    user: User | None = sender.user
    return call(sender.server, method, path, body, headers, user)


def with_file(
    server: ServerProcess, run_id: str, admin: User, headers: dict[str, str] | None = None
) -> str:
    """Log a file to a run, ``a.txt``, as an administrator, and return the run."""
    who = {"X-Who": "the test", **(headers or {})}
    found = call(server, "GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}", None, who, admin)
    root = str(found.body["run"]["info"]["artifact_uri"])
    if root.startswith("mlflow-artifacts:/"):
        # As MLflow's client does; the upload for pages forgets the root's path with workspaces.
        path = f"/api/2.0/mlflow-artifacts/artifacts{root.partition(':')[2]}/a.txt"
        answer = call(server, "PUT", path, b"of the run", who, admin)
    else:
        path = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path=a.txt"
        answer = call(server, "POST", path, b"of the run", who, admin)
    assert answer.status == 200, answer
    return run_id


def raised(run_id: str, title: str) -> bytes:
    """Return a record of an alert."""
    of = {"run_id": run_id, "alert_id": new_id(), "at_ms": 1, "level": "info"}
    return operation("alert", **of, title=title, text="")


def printed(run_id: str, *texts: str) -> bytes:
    """Return a record of lines that a run printed."""
    lines = [[0, 1, text] for text in texts]
    return operation(
        "console", run_id=run_id, source="c" * 32, node="n", pid=1, first=0, at_ms=5, lines=lines
    )


def grant(sender: Sender, user: User, experiment_id: str, permission: str) -> bool:
    """Give a user a permission for one experiment; False where this MLflow has none such."""
    server, headers, admin = sender.server, sender.headers, sender.user
    asked = {"username": user.name, "permission": permission}
    new = {**asked, "resource_type": "experiment", "resource_id": experiment_id}
    path = "/api/3.0/mlflow/users/permissions/grant"
    if call(server, "POST", path, new, headers, admin).status == 200:
        return True
    path = "/api/2.0/mlflow/experiments/permissions/create"  # MLflow before 3.17
    old = {**asked, "experiment_id": experiment_id}
    return call(server, "POST", path, old, headers, admin).status == 200


def with_everything(owner: Sender, admin: User) -> Things:
    """Have a user make an experiment with a run of which every route has something to show."""
    server = owner.server
    run_id, secret = new_id(), f"secret-{new_id()}"
    answer = owner.send(
        operation(
            "create_experiment",
            experiment_id="x",
            name=f"of the matrix {run_id}",
            at_ms=1,
            tags=[],
        ),
        create_run(run_id, "x"),
        operation("log_params", run_id=run_id, params=[["lr", secret]]),
        *points(run_id, secret, [1.0]),
        *points(run_id, "m", [1.0]),
        printed(run_id, secret),
        record_of(run_id, 7),
        raised(run_id, secret),
    )
    assert answer["rejected"] == []
    experiment_id = answer["aliases"]["x"]
    path = f"{ROUTES}/views/save"
    view = {"experiments": [experiment_id], "name": "hers", "document": json.dumps({"of": secret})}
    saved = call(server, "POST", path, view, owner.headers, owner.user)
    assert saved.status == 200, saved
    path = f"{ROUTES}/shares/create"
    link: dict[str, Any] = {"kind": "experiment", "title": secret, "is_live": True, "filter": {}}
    link["experiment_ids"] = [experiment_id]
    made = call(server, "POST", path, link, owner.headers, owner.user)
    assert made.status == 200, made
    share_id = made.body["share"]["id"]
    of_alerts = {"rules": {"experiment_id": experiment_id, "kind": "nan", "metric": secret}}
    of_alerts["targets"] = {"name": new_id(), "kind": "email"}
    of_alerts["targets"]["recipients"] = [f"{secret}@example.com"]
    ids = []
    for route, body in of_alerts.items():
        path, user = f"{ROUTES}/alerts/{route}/change", owner.user
        user = admin if route == "targets" else user
        made = call(server, "POST", path, {**body, "action": "add"}, owner.headers, user)
        assert made.status == 200, made
        ids.append(made.body[route.removesuffix("s")]["id"])
    of_teams = {"experiment_id": experiment_id, "experiment_ids": [experiment_id], "note": secret}
    account, of_team = new_id(), list[str]()
    for path in ("invites/create", "accounts/create"):
        body = {**of_teams, "name": account}
        made = call(server, "POST", f"{ROUTES}/{path}", body, owner.headers, admin)
        assert made.status == 200, made
        of_team.append(made.body["invite"]["id"] if "invite" in made.body else account)
    report_id, image_id = write_report(
        *(server, experiment_id, secret, paragraph(secret)),
        user=owner.user,
        headers=owner.headers,
        picture=png(),
    )
    said = {"id": report_id, "action": "add", "text": "said of the report"}
    path = f"{ROUTES}/reports/comments"
    assert call(server, "POST", path, said, owner.headers, owner.user).status == 200
    of = (experiment_id, run_id, secret, saved.body["id"], owner.journal_id, share_id)
    rule_id, target_id = ids
    things = Things(*of, rule_id, target_id, report_id, image_id, *of_team)
    with_file(server, run_id, admin, owner.headers)
    return things
