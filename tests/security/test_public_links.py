"""Links that anyone may open: what a token opens, what it does not, and what ends it.

A plain server, one with a login, and beside that others on the same database, each with another
policy for links. What else the policies of a plain server do is asked of its app alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from browser import build_pages
from databases import DatabaseServer
from histogram_tables import record_of
from mlflow_server import ServerProcess, ServerSpec, start_servers
from mlflow_weir.plugin.cli import main
from mlflow_weir.store.delivery import records
from reports import panel, paragraph, write_report
from senders import (
    Answer,
    Sender,
    User,
    call,
    create_run,
    login_variables,
    new_id,
    operation,
    points,
)
from sharing import MANAGE, Link, make_link, manage

ADMIN = User("admin", "an administrator's 1st password")
ALICE = User("alice", "alice's own 1st password")
BOB = User("bob", "bob's own 1st password")
DEADLINE_S = 90.0
SECRET = "zebra"
"""In every field of the runs that no link here shows."""

pytestmark = [
    pytest.mark.slow,
    # MLflow warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]


class Servers(NamedTuple):
    """By what they ask of whom; from ``members`` on they are beside ``auth``, by their policy."""

    plain: ServerProcess
    auth: ServerProcess
    members: ServerProcess
    off: ServerProcess
    brief: ServerProcess


POLICIES = {
    "members": ("WEIR_PUBLIC_LINKS", "authenticated"),
    "off": ("WEIR_PUBLIC_LINKS", "off"),
    "brief": ("WEIR_PUBLIC_LINKS_MAX_DAYS", "0.00001"),
}


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> Iterator[Servers]:
    build_pages()
    databases = [sqlite_folder.new_mlflow_database() for _ in range(2)]
    users = tmp_path_factory.mktemp("users")
    login = login_variables(users, ADMIN)

    def spec(name: str, database: str, *variables: tuple[str, str]) -> ServerSpec:
        folder = tmp_path_factory.mktemp(name)
        arguments = ["server", "--backend-store-uri", database.replace("sqlite:", "sqlite+weir:")]
        arguments += ["--default-artifact-root", str(folder / "artifacts")]
        if dict(variables).get("MLFLOW_AUTH_CONFIG_PATH"):
            arguments += ["--app-name", "basic-auth"]
        without_jobs = ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        return ServerSpec(arguments, folder, (without_jobs, *variables))

    with start_servers(
        spec("plain", databases[0]),
        spec("auth", databases[1], *login),
    ) as (plain, auth):
        for user in (ALICE, BOB):
            body = {"username": user.name, "password": user.password}
            answer = call(auth, "POST", "/api/2.0/mlflow/users/create", body, user=ADMIN)
            assert answer.status == 200, answer
        beside = [spec(name, databases[1], *login, one) for name, one in POLICIES.items()]
        with start_servers(*beside) as started:
            yield Servers(plain, auth, *started)


class Mine(NamedTuple):
    """An experiment with three runs, of which the first two are shared."""

    server: ServerProcess
    user: User | None
    experiment_id: str
    runs: list[str]
    sender: Sender

    @property
    def outside(self) -> str:
        return self.runs[2]

    def link(self, **terms: Any) -> Link:
        """Make a link to the first two runs."""
        given = {"kind": "runs", "run_ids": self.runs[:2], "filter": None, **terms}
        return make_link(self.server, self.experiment_id, self.user, **given)


def printed(run_id: str, text: str, first: int = 0, at_ms: int = 1_700_000_000_000) -> bytes:
    return operation(
        "console",
        run_id=run_id,
        source=run_id,
        node=f"{SECRET}-host",
        pid=7,
        first=first,
        at_ms=at_ms,
        lines=[[0, 1, text]],
    )


def upload(mine: Mine, run_id: str, path: str, content: bytes) -> None:
    url = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path={path}"
    answer = call(mine.server, "POST", url, content, user=mine.user)
    assert answer.status == 200, answer


def make_mine(server: ServerProcess, user: User | None) -> Mine:
    sender, runs = Sender(server, user), [new_id() for _ in range(3)]
    created = operation(
        "create_experiment", experiment_id="e", name=f"{SECRET} {new_id()}", at_ms=1, tags=[]
    )
    answer = sender.send(
        created, *(create_run(run_id, "e", run_name=f"run {n}") for n, run_id in enumerate(runs))
    )
    assert answer["rejected"] == []
    mine = Mine(server, user, answer["aliases"]["e"], runs, sender)
    for n, run_id in enumerate(runs):
        rejected = sender.rejections(
            operation(
                "log_params", run_id=run_id, params=[["lr", f"{n}"], ["token", f"{SECRET}{n}"]]
            ),
            operation(
                "set_tags",
                run_id=run_id,
                tags=[
                    *(
                        ["team", "vision"],
                        [f"own-{SECRET}", SECRET],
                        ["mlflow.note.content", f"note {SECRET}"],
                    ),
                    *(
                        ["mlflow.user", SECRET],
                        ["weir.host", SECRET],
                        ["mlflow.source.name", SECRET],
                    ),
                    *(
                        ["weir.git.remote", SECRET],
                        ["weir.git.commit", SECRET],
                        ["mlflow.parentRunId", runs[2]],
                    ),
                    ["weir.exit_cause", SECRET],
                ],
            ),
            *points(run_id, "loss", [1.0 + n, 0.5 + n]),
            *points(run_id, f"covert/{SECRET}", [float(n)]),
            *points(run_id, "system/cpu", [50.0]),
            printed(run_id, f"line of {n} {SECRET}"),
            record_of(run_id, 7),
        )
        assert rejected == []
        upload(mine, run_id, "out/a.txt", f"file {SECRET}".encode())
        upload(mine, run_id, "images/cat_step_000001.png", b"\x89PNG")
        upload(
            mine,
            run_id,
            "weir/environment.json",
            json.dumps({"argv": [SECRET], "host": SECRET}).encode(),
        )
        upload(mine, run_id, "weir/git/diff.patch", f"+{SECRET}".encode())
    return mine


@pytest.fixture(scope="module")
def mine(request: pytest.FixtureRequest, servers: Servers) -> Mine:
    if getattr(request, "param", "auth") == "plain":
        return make_mine(servers.plain, None)
    return make_mine(servers.auth, ALICE)


ON_BOTH = pytest.mark.parametrize("mine", ["plain", "auth"], indirect=True)


def eventually(is_true: Callable[[], bool]) -> None:
    """Wait for what a server notices within some seconds."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.5)


# What is asked of the app of a plain server, in a process of its own.
ASKED_OF_THE_APP = """
import json, os, sys
from mlflow.server import app, auth
from mlflow.server.fastapi_app import create_fastapi_app
from mlflow_weir.store.sharing import links
from mlflow_weir.ui_extensions import app as extension
from mlflow_weir.ui_extensions import public, visitors
from mlflow_weir.ui_extensions.rate_limits import RateLimit

extension.install(app)
rules = {(m, str(r)) for r in app.url_map.iter_rules() for m in r.methods - {"OPTIONS", "HEAD"}}
native = create_fastapi_app(app)
for path, methods in native.openapi()["paths"].items():
    rules |= {(method.upper(), path) for method in methods}
for name in dir(auth.routes):
    value = getattr(auth.routes, name)
    if isinstance(value, str) and value.startswith("/"):
        rules |= {(method, value) for method in ("GET", "POST", "PATCH", "DELETE")}

browser = app.test_client()
made = browser.post("/ajax-api/3.0/weir/shares/create", json={
    "kind": "experiment", "title": "t", "experiment_ids": ["0"], "is_live": True, "filter": {},
}).get_json()

def opened(path):
    answers = [browser.get(path)]
    answers += [browser.post(f"{path}/api/{name}", json={}) for name in ("share", "runs")]
    return [(a.status_code, a.get_data(as_text=True), sorted(a.headers)) for a in answers]

def listed():
    found = browser.post("/ajax-api/3.0/weir/shares/list", json={}).get_json()
    return [found["policy"], found["max_days"], found["shares"][0]["state"]]

def under(**policy):
    os.environ.update(policy)
    found = {"known": opened(made["path"]), "unknown": opened("/weir/s/" + "A" * 43)}
    found["listed"] = listed()
    again = browser.post("/ajax-api/3.0/weir/shares/create", json={
        "kind": "run", "title": "t", "experiment_ids": ["0"], "is_live": True, "filter": {},
        "expires_ms": "never",
    })
    found["created"] = again.status_code
    for name in policy:
        del os.environ[name]
    return found

found = {"on": under(), "off": under(WEIR_PUBLIC_LINKS="off")}
found["never"] = under(WEIR_PUBLIC_LINKS_MAX_DAYS="never")

asked, keys = [], public.ANSWERS["keys"]
public.ANSWERS["keys"] = lambda *given: (asked.append(1), keys(*given))[1]

def ask_keys(times):
    path, body = f"{made['path']}/api/keys", {"experiments": ["1"]}
    answers = [browser.post(path, json=body) for _ in range(times)]
    return [[one.status_code for one in answers], len(asked)]

public.CACHE_S = 3_600.0  # however slow the machine is
found["kept"] = ask_keys(3)
public.CACHE_S = 0.0
found["not kept"] = ask_keys(2)
public.CACHE_S = 3_600.0

def stopped(burst):
    return RateLimit(burst, 1.0, clock=lambda: 0.0)

def share(path):
    return browser.post(f"{path}/api/share", json={}).status_code

limits = {name: getattr(visitors, name) for name in ("misses", "of_link", "of_address")}
guessed = [f"/weir/s/{n:043d}" for n in range(6)]
visitors.misses = stopped(4)
found["guesses"] = [*map(share, guessed), share(made["path"]), browser.get(guessed[0]).status_code]
visitors.misses, visitors.of_link = limits["misses"], stopped(2)
found["many of a link"] = [share(made["path"]) for _ in range(4)] + [share(guessed[0])]
visitors.of_link, visitors.of_address = limits["of_link"], stopped(2)
found["many of an address"] = [share(made["path"]) for _ in range(4)]
visitors.of_address = limits["of_address"]
day, now = 86_400_000, links.now_ms()
links.now_ms = lambda: now + 2 * day
found["old"] = under(WEIR_PUBLIC_LINKS_MAX_DAYS="1.5")
found["young"] = under(WEIR_PUBLIC_LINKS_MAX_DAYS="2.5")
print(json.dumps([sorted(rules), found]))
"""
OPEN = (
    *("/health", "/version", "/favicon.ico", "/static-files", "/static", "/weir/s"),
    *("/weir/live", "/weir/ready"),  # whether a server is well, anybody may ask
)


class OfTheApp(NamedTuple):
    """What the app of a plain server has and says: rules by method, answers by policy."""

    rules: list[tuple[str, str]]
    under: dict[str, Any]


@pytest.fixture(scope="module")
def of_the_app(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> OfTheApp:
    build_pages()
    database = sqlite_folder.new_mlflow_database().replace("sqlite:", "sqlite+weir:")
    store = dict.fromkeys(("MLFLOW_BACKEND_STORE_URI", "_MLFLOW_SERVER_FILE_STORE"), database)
    store["_MLFLOW_SERVER_ARTIFACT_ROOT"] = str(tmp_path_factory.mktemp("artifacts"))
    done = subprocess.run(
        [sys.executable, "-c", ASKED_OF_THE_APP],
        env={**os.environ, **store},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return OfTheApp(*json.loads(done.stdout.splitlines()[-1]))


def test_policies_of_a_plain_server_end_what_was_made_before(of_the_app: OfTheApp) -> None:
    under = of_the_app.under
    assert [status for status, _, _ in under["on"]["known"]] == [200, 200, 200]
    assert under["on"]["listed"] == ["on", 365, "active"]
    assert under["never"]["listed"] == ["on", None, "active"]
    assert under["off"]["listed"] == ["off", 365, "off"]
    assert under["old"]["listed"] == ["on", 1.5, "expired"]
    for policy in ("off", "old"):
        assert under[policy]["known"] == under[policy]["unknown"] == under["on"]["unknown"]
        assert [status for status, _, _ in under[policy]["known"]] == [404, 404, 404]
    assert under["young"]["known"] == under["on"]["known"]
    # A link for ever is made where a policy says so, and nowhere else.
    created = {policy: under[policy]["created"] for policy in ("on", "never", "off", "old")}
    assert created == {"on": 400, "never": 200, "off": 403, "old": 400}


def test_many_visitors_cost_what_one_does(of_the_app: OfTheApp) -> None:
    assert of_the_app.under["kept"] == [[200] * 3, 1]
    assert of_the_app.under["not kept"] == [[200] * 2, 3]


def test_who_asks_or_guesses_too_often_is_put_off(of_the_app: OfTheApp) -> None:
    under = of_the_app.under
    # Then what opens is answered as what does not: guessing tells nothing any more.
    assert under["guesses"] == [404, 404, 404, 404, 429, 429, 429, 429]
    assert under["many of a link"] == [200, 200, 429, 429, 404]
    assert under["many of an address"] == [200, 200, 429, 429]


def test_a_token_opens_no_route_of_the_whole_server_but_those_of_links(
    of_the_app: OfTheApp, mine: Mine
) -> None:
    assert len(of_the_app.rules) > 400
    link = mine.link(shown={"metrics": ["*"], "files": True, "console": True})
    server, token = mine.server, link.token
    # Not in Authorization: stock MLflow fails over what is no password, and each takes it 90 ms.
    headers = {
        "Cookie": f"token={token}; session={token}",
        "X-Weir-Key": token,
        "X-Weir-Token": token,
    }
    n_closed = 0
    for method, rule in of_the_app.rules:
        path = "/".join(
            part if not part.startswith(("<", "{")) else token for part in rule.split("/")
        )
        query = f"?token={token}&run_id={mine.runs[0]}"
        answer = call(server, method, path + query, None, headers)
        where = (method, path, answer.status, str(answer.body)[:200])
        assert answer.status < 500, where
        assert SECRET not in str(answer.body), where
        # What MLflow tells everybody stays as it is.
        if not rule.startswith(OPEN) and "server-info" not in rule:
            assert answer.status in {401, 403, 404, 405}, where
            n_closed += 1
    assert n_closed > 350
    for path in ("/ajax-api/3.0/weir/experiments", f"{MANAGE}/list", "/weir/", "/graphql"):
        for user in (User(token, token), User("", token), User(ALICE.name, token)):
            assert call(server, "POST", path, {}, user=user).status in {401, 405}, path
    # Nor does it open by a path around.
    for odd in (
        f"/weir/s/{token}/../../e/{mine.experiment_id}",
        f"/weir/s/{token}/%2e%2e/%2e%2e/ajax-api/3.0/weir/info",
        "/weir/s/..%2f..%2fajax-api/3.0/weir/info",
        f"/weir/s//ajax-api/2.0/mlflow/runs/get?run_id={mine.runs[0]}",
        f"/weir/s/{token}/api/../../../../ajax-api/3.0/weir/experiments",
    ):
        for method in ("GET", "POST"):
            answer = call(server, method, odd, {} if method == "POST" else None, headers)
            assert answer.status in {301, 308, 400, 401, 403, 404, 405}, (odd, answer)
            assert SECRET not in str(answer.body)


def test_a_visitor_manages_nothing(mine: Mine) -> None:
    link = mine.link()
    asked: list[tuple[str, dict[str, Any]]] = [
        ("change", {"id": link.share["id"], "action": "revoke"}),
        ("change", {"id": link.token, "action": "revoke"}),
        ("log", {"id": link.share["id"]}),
        ("list", {}),
    ]
    for name, body in asked:
        for path in (f"{MANAGE}/{name}", f"{link.path}/api/shares/{name}", f"{link.path}/{name}"):
            if mine.user is None and path.startswith(MANAGE):
                continue
            answer = call(mine.server, "POST", path, {**body, "token": link.token})
            assert answer.status in {401, 404, 405}, (path, answer)
    for name in ("views/save", "views/personal", "runs/act", "ingest", "experiments", "info"):
        answer = link.ask(
            name, {"experiments": ["1"], "run_ids": mine.runs[:1], "action": "delete"}
        )
        assert answer.status == 404, answer
    assert link.ask("share").status == 200


EVERYTHING_ASKED: dict[str, dict[str, Any]] = {
    "share": {},
    "runs": {"ids": True, "columns": ["params.lr", "metrics.loss:min", "attributes.duration"]},
    "groups": {"by": ["params.lr"], "columns": ["metrics.loss"]},
    "columns": {},
    "keys": {"experiments": ["1"]},
    "changes": {"experiments": ["1"]},
    "runs/compare": {},
    "run": {},
    "code": {},
    "media": {},
}


def ask_all(mine: Mine, link: Link) -> dict[str, Answer]:
    """Ask everything that a link answers, about the first two runs."""
    found = {}
    for name, body in EVERYTHING_ASKED.items():
        more: dict[str, Any] = {"run_ids": mine.runs[:2]} if name == "runs/compare" else {}
        more |= {"run_id": mine.runs[0]} if name in {"run", "code", "media"} else {}
        found[name] = link.ask(name, {**body, **more})
        assert found[name].status == 200, (name, found[name])
    return found


@ON_BOTH
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "frozen"])
def test_what_is_not_ticked_is_in_no_answer(mine: Mine, is_live: bool) -> None:
    shown = {"metrics": ["loss"], "params": ["lr"], "tags": ["team"]}
    link = mine.link(is_live=is_live, shown=shown)
    found = ask_all(mine, link)
    for name, answer in found.items():
        text = json.dumps(answer.body)
        assert SECRET not in text, (name, text)
        assert mine.outside not in text, (name, text)
        assert "system/cpu" not in text, (name, text)
        assert f'"{mine.experiment_id}"' not in text or mine.experiment_id == "1", (name, text)
    assert found["runs"].body["total"] == 2
    assert [row["cells"][:2] for row in found["runs"].body["rows"]] != []
    assert found["keys"].body["keys"] == [{"key": "loss", "n_runs": 2}]
    run = found["run"].body
    assert (run["params"], run["tags"]["team"]) == ([["lr", "0"]], "vision")
    assert run["tags"].keys() == {"team", "mlflow.runName"}
    assert [one["key"] for one in run["metrics"]] == ["loss"]
    assert (run["n_metrics"], run["user"], run["may_edit"]) == (1, "", False)
    for name, body in (
        ("console", {"run_id": mine.runs[0]}),
        ("histograms", {"run_id": mine.runs[0], "kind": "gradients"}),
        ("files", {"run_id": mine.runs[0]}),
        ("files", {"run_id": mine.runs[0], "path": "out"}),
        ("file", {"run_id": mine.runs[0], "path": "out/a.txt"}),
        ("file", {"run_id": mine.runs[0], "path": "images/cat_step_000001.png"}),
    ):
        assert link.ask(name, body).status == 404, name
    series = {
        "parts": [{"key": "loss"}, {"key": f"covert/{SECRET}"}, {"key": "absent"}],
        "x": "step",
    }
    answer = link.ask("series", {**series, "runs": mine.runs[:2], "buckets": 9})
    assert answer.status == 200
    assert answer.body.count('"n_points":4') == 1
    assert answer.body.count('"n_points":0') == 2
    over = link.ask(
        "series",
        {
            "parts": [{"key": "loss"}],
            "x": f"m:covert/{SECRET}",
            "runs": mine.runs[:2],
            "buckets": 9,
        },
    )
    assert '"n_points":0' in over.body


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "frozen"])
def test_nothing_asks_about_what_is_not_ticked(mine: Mine, is_live: bool) -> None:
    link = mine.link(is_live=is_live, shown={"metrics": ["loss"], "params": ["lr"]})
    words = set()
    for column in (
        *("params.token", "params.absent", f"metrics.covert/{SECRET}", "metrics.absent"),
        *("tags.team", "tags.absent", "tags.mlflow.user", "attributes.user_id"),
    ):
        asked: list[dict[str, Any]] = [
            {"filter": f"{column} = 1" if column.startswith("m") else f"{column} = 'x'"},
            {"filter": f"not ({column} is missing)"},
            *([] if column.startswith("m") else [{"filter": f"{column} ~ '^{SECRET}'"}]),
            {"order": [f"-{column}"]},
            {"columns": [column]},
            {"columns": [column], "run_ids": mine.runs[:1]},
        ]
        for body in asked:
            answer = link.ask("runs", body)
            assert answer.status == 400, (body, answer)
            words.add(json.dumps(answer.body))
        answer = link.ask("groups", {"by": [column]})
        assert answer.status == 400, answer
        words.add(json.dumps(answer.body))
    assert len(words) == 1  # the same, whether or not there is such a field
    # Of what is ticked everything can be asked, and runs outside never match.
    for text, n in (("params.lr ~ '.*'", 2), ("params.lr = '2'", 0), ("metrics.loss > 0", 2)):
        found = link.ask("runs", {"filter": text})
        assert (found.status, found.body["matching"]) == (200, n), text
    for text in (f"run_id = '{mine.outside}'", "run_name = 'run 2'"):
        assert link.ask("runs", {"filter": text}).body["matching"] == 0
    assert link.ask("runs", {"search": "run 2"}).body["matching"] == 0
    assert link.ask("runs", {"deleted": True}).status == 400


def test_runs_outside_the_link_are_not_there(mine: Mine) -> None:
    boxes = dict.fromkeys(
        ["console", "files", "media", "code", "patch", "histograms", "notes"], True
    )
    link = mine.link(shown={"metrics": ["*"], **boxes})
    asked: list[tuple[str, dict[str, Any]]] = [
        ("run", {}),
        ("console", {}),
        ("code", {}),
        ("files", {}),
        ("media", {}),
        ("file", {"path": "out/a.txt"}),
        ("histograms", {"kind": "gradients"}),
    ]
    for name, body in asked:
        inside = link.ask(name, {**body, "run_id": mine.runs[0]})
        assert inside.status == 200, (name, inside)
        absent = "f" * 32
        outside = link.ask(name, {**body, "run_id": mine.outside})
        unknown = link.ask(name, {**body, "run_id": absent})
        assert outside.status == unknown.status == 404, name
        assert str(outside.body).replace(mine.outside, absent) == str(unknown.body), name
    assert link.ask("runs", {"run_ids": [mine.outside]}).body["rows"] == []
    assert link.ask("runs/compare", {"run_ids": [mine.outside]}).body["runs"] == []
    assert link.ask("keys", {"runs": [mine.outside]}).body["keys"] == []
    changes = link.ask("changes", {"runs": [mine.outside]}).body
    assert (changes["runs"], changes["statuses"]) == ({}, {})
    series = {"parts": [{"key": "loss"}], "x": "step", "buckets": 9}
    assert '"n_points":0' in link.ask("series", {**series, "runs": [mine.outside]}).body
    for experiments in (["0"], ["2"], [mine.experiment_id], ["1", "0"]):
        if experiments == ["1"]:
            continue
        for name in ("runs", "columns", "keys", "changes"):
            assert link.ask(name, {"experiments": experiments}).status == 404, (name, experiments)


def test_each_box_opens_what_it_says(mine: Mine) -> None:
    run = {"run_id": mine.runs[0]}

    def shows(box: str, name: str, body: dict[str, Any]) -> str:
        answer = mine.link(shown={box: True}).ask(name, {**run, **body})
        assert answer.status == 200, (box, name, answer)
        return json.dumps(answer.body)

    assert f"line of 0 {SECRET}" in shows("console", "console", {})
    assert f"{SECRET}-host" not in shows("console", "console", {})
    assert f"note {SECRET}" in shows("notes", "run", {})
    assert "fc.weight" in shows("histograms", "histograms", {"kind": "gradients"})
    assert "system/cpu" in shows("hardware", "run", {})
    assert "cat_step" in shows("media", "media", {})
    assert f"+{SECRET}" in shows("patch", "code", {})
    code = json.loads(shows("host", "code", {}))
    assert code["environment"] == {"host": SECRET}
    assert json.loads(shows("command", "code", {}))["environment"] == {"argv": [SECRET]}
    assert json.loads(shows("command", "code", {}))["patch"] is None
    files = shows("files", "files", {})
    assert '"path": "out"' in files
    assert "weir" not in files
    assert f"file {SECRET}" in shows("files", "file", {"path": "out/a.txt"})
    link = mine.link(shown={"files": True, "media": True})
    for path in ("weir/environment.json", "weir/git/diff.patch", "WEIR/environment.json", "weir"):
        assert link.ask("file", {**run, "path": path}).status == 404, path
        assert link.ask("files", {**run, "path": path}).body["entries"] == [], path
    for path in (
        *("../weir/environment.json", "out/../weir/environment.json", "/etc/passwd", "out//a.txt"),
        *("./out/a.txt", "out\\..\\weir", "..", "out/\0a", "file:///etc/passwd/"),
    ):
        assert link.ask("file", {**run, "path": path}).status == 400, path
    for path in ("%2e%2e/weir/environment.json", "out%2Fa.txt", "file:/etc/passwd", "out/a.txt#x"):
        assert link.ask("file", {**run, "path": path}).status in {400, 404}, path
    only_media = mine.link(shown={"media": True})
    image = only_media.ask("file", {**run, "path": "images/cat_step_000001.png"})
    assert (image.status, image.headers["content-type"]) == (200, "image/png")
    assert "sandbox" in image.headers["content-security-policy"]
    assert only_media.ask("file", {**run, "path": "out/a.txt"}).status == 404


def test_names_are_replaced_by_numbers_everywhere(mine: Mine) -> None:
    for is_live in (True, False):
        link = mine.link(is_live=is_live, replaces_names=True, shown={"tags": ["mlflow.runName"]})
        for name, answer in ask_all_named(mine, link).items():
            assert "run 0" not in json.dumps(answer.body), name
        names = {row["name"] for row in link.ask("runs").body["rows"]}
        assert len(names) == 2
        assert names < {"Run 1", "Run 2", "Run 3"}
        assert link.ask("runs", {"search": min(names)}).body["matching"] == 1
        assert link.ask("runs", {"search": "run 0"}).body["matching"] == 0
        for body in ({"filter": "run_name like 'run%'"}, {"search": "r.*0", "regex": True}):
            assert link.ask("runs", body).status == 400, body


def ask_all_named(mine: Mine, link: Link) -> dict[str, Answer]:
    return {
        "runs": link.ask("runs", {"columns": ["attributes.status"]}),
        "compare": link.ask("runs/compare", {"run_ids": mine.runs[:2]}),
        "run": link.ask("run", {"run_id": mine.runs[0]}),
    }


def test_what_is_frozen_stays_as_it_was(mine: Mine) -> None:
    other = make_mine(mine.server, mine.user)
    run_id, sender = other.runs[0], other.sender
    shown = {
        "metrics": ["loss"],
        "params": ["lr"],
        "tags": ["team"],
        "notes": True,
        "console": True,
        "files": True,
    }
    frozen, live = (other.link(is_live=is_live, shown=shown) for is_live in (False, True))
    series = {"parts": [{"key": "loss"}], "x": "step", "runs": [run_id], "buckets": 9}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("run", {"run_id": run_id}),
        ("runs", {"columns": ["metrics.loss", "tags.team"], "filter": "metrics.loss < 0.7"}),
        ("series", series),
        ("console", {"run_id": run_id}),
        ("files", {"run_id": run_id, "path": "out"}),
        ("changes", {"experiments": ["1"], "runs": [run_id]}),
        ("columns", {}),
    ]

    def steady(link: Link, name: str, body: dict[str, Any]) -> str:
        answer = link.ask(name, body)
        assert answer.status == 200, answer
        found = answer.body
        if isinstance(found, dict):
            found = {
                key: one for key, one in found.items() if key not in {"now", "at_ms", "now_ms"}
            }
        return json.dumps(found)

    before = [steady(frozen, name, body) for name, body in asked]
    assert '"n_points\\":2' in before[2]
    now_ms = time.time_ns() // 1_000_000
    late = [("loss", now_ms + 60_000, 2, 0.1)]
    rejected = sender.rejections(
        records.encode_points(run_id, late),
        operation(
            "set_tags",
            run_id=run_id,
            tags=[["team", "late"], ["mlflow.note.content", "late"], ["mlflow.runName", "late"]],
        ),
        operation("log_params", run_id=run_id, params=[["late", "late"]]),
        printed(run_id, "late", 1, now_ms + 60_000),
        create_run(new_id(), other.experiment_id, run_name="late"),
    )
    assert rejected == []
    upload(other, run_id, "out/late.txt", b"late")
    upload(other, run_id, "out/a.txt", b"late and longer than it was before")
    eventually(lambda: '"n_points\\":3' in steady(live, "series", series))
    eventually(lambda: "late" in steady(live, "run", {"run_id": run_id}))
    after = [steady(frozen, name, {**body, "again": 1}) for name, body in asked]
    assert after == before
    assert frozen.ask("file", {"run_id": run_id, "path": "out/late.txt"}).status == 404
    assert frozen.ask("file", {"run_id": run_id, "path": "out/a.txt"}).status == 404
    # A filter tells nothing of later values either.
    assert (
        frozen.ask("runs", {"filter": "metrics.loss < 0.2 or tags.team = 'late'"}).body["matching"]
        == 0
    )
    assert live.ask("runs", {"filter": "tags.team = 'late'"}).body["matching"] == 1


def test_a_live_link_by_a_filter_follows_it_and_shows_no_other_run(mine: Mine) -> None:
    other = make_mine(mine.server, mine.user)
    link = make_link(
        mine.server,
        other.experiment_id,
        mine.user,
        shown={"params": ["lr"]},
        filter={"filter": f"params.token = '{SECRET}1'", "search": "", "regex": False},
    )
    assert [row["id"] for row in link.ask("runs").body["rows"]] == [other.runs[1]]
    assert link.ask("share").body["n_runs"] == 1
    assert SECRET not in json.dumps([link.ask("share").body, link.ask("runs").body])
    assert link.ask("run", {"run_id": other.runs[0]}).status == 404
    # No filter of a visitor's widens it.
    for text in ("params.lr = '0' or params.lr = '2'", "not params.lr = '1'"):
        assert link.ask("runs", {"filter": text}).body["matching"] == 0
    run_id = new_id()
    rejected = other.sender.rejections(
        create_run(run_id, other.experiment_id),
        operation("log_params", run_id=run_id, params=[["token", f"{SECRET}1"]]),
    )
    assert rejected == []
    eventually(lambda: run_id in json.dumps(link.ask("runs").body))


def bytes_of(answer: Answer) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    kept = {k: v for k, v in answer.headers.items() if k not in {"date", "x-request-id"}}
    return answer.status, json.dumps(answer.body), tuple(sorted(kept.items()))


def ends_soon(mine: Mine) -> Link:
    """Make a link that ends in seconds, more of them where the server takes as long to make it."""
    body = {"kind": "runs", "title": "t", "run_ids": mine.runs[:2], "is_live": True}
    for seconds in (2, 10, 40):
        expires_ms = time.time_ns() // 1_000_000 + 1_000 * seconds
        of = {"experiment_ids": [mine.experiment_id], "expires_ms": expires_ms}
        answer = manage(mine.server, "create", {**body, **of}, mine.user)
        if answer.status == 200:
            return Link(mine.server, answer.body["share"], "", answer.body["path"])
        assert "a time to come" in str(answer.body), answer
    raise AssertionError("no link was made in 40 s")


def all_of(link: Link) -> list[tuple[int, str, tuple[tuple[str, str], ...]]]:
    """Return what a visitor gets, to the byte."""
    asked = [link.page(), *(link.ask(name) for name in ("share", "runs", "unlock", "run", "odd"))]
    return [bytes_of(answer) for answer in asked]


@ON_BOTH
def test_whatever_does_not_open_is_the_same_to_the_byte(servers: Servers, mine: Mine) -> None:
    unknown = Link(mine.server, {}, "A" * 43, f"/weir/s/{'A' * 43}")
    nothing = all_of(unknown)
    assert [status for status, _, _ in nothing] == [404] * 6
    for action in ("pause", "revoke", "rotate"):
        link = mine.link(password="a password" if action == "pause" else None)
        answer = manage(
            mine.server, "change", {"id": link.share["id"], "action": action}, mine.user
        )
        assert answer.status == 200, answer
        assert all_of(link) == nothing, action
        if action == "rotate":
            again = link._replace(token=answer.body["token"], path=answer.body["path"])
            assert again.ask("share").status == 200
        if action == "pause":
            body = {"id": link.share["id"], "action": "resume"}
            assert (
                manage(mine.server, "change", body, mine.user).body["share"]["state"] == "active"
            )
            assert link.ask("share").status == 401
    short = ends_soon(mine)
    eventually(lambda: short.ask("share").status == 404)
    assert all_of(short) == nothing
    listed = manage(mine.server, "list", {"experiment_id": mine.experiment_id}, mine.user).body
    states = {one["id"]: one["state"] for one in listed["shares"]}
    assert states[short.share["id"]] == "expired"
    assert listed["has_login"] == (mine.user is not None)
    # Odd tokens are answered like it, and no other method opens anything.
    for token in ("", "x" * 43, "A" * 42, "A" * 500, "%00" * 43, "..", "assets", "%2e%2e"):
        odd = unknown._replace(path=f"/weir/s/{token}")
        assert odd.page().status in {301, 308, 400, 401, 404}, token
        assert odd.ask("share").status in {400, 401, 404, 405}, token
    link = mine.link()
    for method in ("PUT", "DELETE", "PATCH", "POST"):
        assert call(mine.server, method, link.path, {}).status in {401, 404, 405}, method
    assert call(mine.server, "GET", f"{link.path}/api/share").status in {404, 405}


def test_policy_lets_links_open_to_members_only(servers: Servers) -> None:
    auth = make_mine(servers.auth, ALICE)
    link = auth.link(shown={"metrics": ["loss"]})
    members = link._replace(server=servers.members)
    for answer in (members.page(), members.ask("share"), members.ask("runs")):
        assert answer.status == 401, answer
    for user, status in ((User("bob", "wrong"), 401), (BOB, 200), (ADMIN, 200)):
        assert members.ask("share", None, "", **user.header()).status == status, user
    # By a wrong token a member gets what everybody gets.
    wrong = members._replace(path=f"/weir/s/{'A' * 43}")
    assert wrong.ask("share", None, "", **BOB.header()).status == 404


def test_policies_of_one_server_end_what_others_let_open(servers: Servers) -> None:
    mine = make_mine(servers.auth, ALICE)
    link, about = mine.link(), {"experiment_id": mine.experiment_id}
    path = "/ajax-api/3.0/weir/visibility/change"
    made = call(servers.auth, "POST", path, {**about, "level": "public"}, user=ALICE)
    assert made.status == 200, made
    public = Link(servers.auth, {}, "", made.body["experiment"]["path"])
    for one in (link, public):
        assert one.ask("share").status == 200
        for server, state in ((servers.off, "off"), (servers.brief, "expired")):
            there = one._replace(server=server)
            eventually(lambda there=there: there.ask("share").status == 404)  # type: ignore[misc]
            assert all_of(there) == all_of(Link(server, {}, "", f"/weir/s/{'A' * 43}"))
            shares = manage(server, "list", about, ALICE).body["shares"]
            assert [share["state"] for share in shares] == [state] * 2
        assert one.ask("share").status == 200
    terms = {"kind": "experiment", "title": "t", "is_live": True, "filter": {}}
    terms["experiment_ids"] = [mine.experiment_id]
    assert manage(servers.off, "create", terms, ALICE).status == 403
    again = call(servers.off, "POST", path, {**about, "level": "public"}, user=ALICE)
    assert again.status == 400, again


def test_a_link_ends_in_thirty_days_and_in_a_year_at_most(mine: Mine) -> None:
    day_ms, now_ms = 86_400_000, time.time_ns() // 1_000_000

    def days(**terms: Any) -> float | None:
        body = {"kind": "runs", "title": "t", "run_ids": mine.runs[:1], "is_live": True, **terms}
        body["experiment_ids"] = [mine.experiment_id]
        answer = manage(mine.server, "create", body, mine.user)
        if answer.status != 200:
            assert "365 days at most" in str(answer.body), answer
            return None
        left_ms: int = answer.body["share"]["expires_ms"] - now_ms
        return round(left_ms / day_ms, 1)

    assert days() == days(expires_ms=None) == 30
    assert days(expires_ms=now_ms + 365 * day_ms) == 365
    assert days(expires_ms=now_ms + 366 * day_ms) is None
    assert days(expires_ms="never") is None


def permit(server: ServerProcess, user: User, experiment_id: str, permission: str) -> bool:
    asked = {"username": user.name, "permission": permission}
    new = {**asked, "resource_type": "experiment", "resource_id": experiment_id}
    path = "/api/3.0/mlflow/users/permissions/grant"
    if call(server, "POST", path, new, user=ADMIN).status == 200:
        return True
    old = {**asked, "experiment_id": experiment_id}  # MLflow before 3.17
    paths = [f"/api/2.0/mlflow/experiments/permissions/{verb}" for verb in ("create", "update")]
    methods = ("POST", "PATCH")
    return any(
        call(server, method, path, old, user=ADMIN).status == 200
        for method, path in zip(methods, paths, strict=True)
    )


@ON_BOTH
def test_a_link_ends_with_its_experiment_and_with_its_makers_access(
    servers: Servers, mine: Mine
) -> None:
    other = make_mine(mine.server, mine.user)
    link = other.link()
    assert link.ask("share").status == 200
    for verb, status in (("delete", 404), ("restore", 200)):
        path, body = f"/api/2.0/mlflow/experiments/{verb}", {"experiment_id": other.experiment_id}
        assert call(mine.server, "POST", path, body, user=mine.user).status == 200
        assert link.ask("share").status == status, verb
    assert (
        call(
            mine.server,
            "POST",
            "/api/2.0/mlflow/runs/delete",
            {"run_id": other.runs[0]},
            user=mine.user,
        ).status
        == 200
    )
    assert link.ask("share").body["n_runs"] == 1
    assert link.ask("run", {"run_id": other.runs[0]}).status == 404
    if mine.user is None:
        return
    server = servers.auth
    eve = User(f"eve-{new_id()[:8]}", "eve's own 1st password")
    body = {"username": eve.name, "password": eve.password}
    assert call(server, "POST", "/api/2.0/mlflow/users/create", body, user=ADMIN).status == 200
    terms: dict[str, Any] = {"kind": "experiment", "title": "t", "is_live": True, "filter": {}}
    terms["experiment_ids"] = [other.experiment_id]
    assert manage(server, "create", terms, eve).status == 403  # a reader shares nothing
    assert permit(server, eve, other.experiment_id, "EDIT")
    link = make_link(server, other.experiment_id, eve, filter={})
    assert link.ask("share").status == 200
    if any(permit(server, eve, other.experiment_id, w) for w in ("DENY", "NO_PERMISSIONS")):
        eventually(lambda: link.ask("share").status == 404)
        found = manage(server, "list", {"experiment_id": other.experiment_id}, ALICE).body[
            "shares"
        ]
        assert [one["state"] for one in found if one["id"] == link.share["id"]] == ["off"]
        assert permit(server, eve, other.experiment_id, "EDIT")
        eventually(lambda: link.ask("share").status == 200)
    body = {"username": eve.name}
    assert call(server, "DELETE", "/api/2.0/mlflow/users/delete", body, user=ADMIN).status == 200
    eventually(lambda: link.ask("share").status == 404)


def test_who_may_make_see_and_manage_links(servers: Servers) -> None:
    mine = make_mine(servers.auth, ALICE)
    link = mine.link()
    share = {"id": link.share["id"], "action": "pause"}
    for user, may_see, status in ((ALICE, True, 200), (ADMIN, True, 200), (BOB, False, 404)):
        found = manage(servers.auth, "list", {"experiment_id": mine.experiment_id}, user)
        ids = [one["id"] for one in found.body["shares"]]
        assert (link.share["id"] in ids) == may_see, user
        assert manage(servers.auth, "change", share, user).status == status, user
        assert manage(servers.auth, "log", share, user).status == status, user
    assert permit(servers.auth, BOB, mine.experiment_id, "EDIT")
    found = manage(servers.auth, "list", {"experiment_id": mine.experiment_id}, BOB).body["shares"]
    assert [one["may_manage"] for one in found] == [False]
    assert manage(servers.auth, "change", {**share, "action": "revoke"}, BOB).status == 403
    assert manage(servers.auth, "log", share, BOB).status == 403
    assert "token" not in json.dumps(found)
    # Of two experiments one has to be able to edit both, and each run is of one of them.
    theirs = make_mine(servers.auth, ADMIN)
    both: dict[str, Any] = {"kind": "experiment", "title": "t", "is_live": True, "filter": {}}
    both["experiment_ids"] = [mine.experiment_id, theirs.experiment_id]
    assert manage(servers.auth, "create", both, ALICE).status == 403
    assert manage(servers.auth, "create", both, ADMIN).status == 200
    one = {**both, "experiment_ids": [mine.experiment_id], "run_ids": [theirs.runs[0]]}
    assert manage(servers.auth, "create", one, ALICE).status == 400
    wrong: list[dict[str, Any]] = [
        {"title": ""},
        {"kind": "report"},
        {"expires_ms": 1},
        {"password": "123"},
        {"shown": {"argv": True}},
        {"view": [1]},
        {"filter": {"filter": "params.x ="}},
        {"run_ids": ["x"]},
        {"experiment_ids": []},
    ]
    for broken in wrong:
        answer = manage(servers.auth, "create", {**one, "run_ids": None, **broken}, ALICE)
        assert answer.status == 400, (broken, answer)


def test_a_password_locks_everything_and_guesses_are_few(mine: Mine) -> None:
    link = mine.link(password="open sesame", title=f"{SECRET} title", shown={"metrics": ["loss"]})
    page = link.page()
    assert SECRET not in str(page.body)
    for name in ("share", "runs", "run", "series"):
        answer = link.ask(name)
        assert (answer.status, answer.body["needs_password"]) == (401, True), name
        assert "www-authenticate" not in answer.headers
        assert SECRET not in str(answer.body)
    key = link.ask("unlock", {"password": "open sesame"}).body["key"]
    assert link.ask("share", None, key).body["title"] == f"{SECRET} title"
    for wrong in ("", key[:-1] + "0", f"9{key}", "x", "9999999999999." + "0" * 64):
        assert link.ask("share", None, wrong).status == 401, wrong
    other = mine.link(password="open sesame")
    assert other.ask("share", None, key).status == 401
    words, n_guesses = set(), 0
    # One comes back in six seconds: then not even the right one is taken, for a while.
    for _ in range(50):
        while (answer := link.ask("unlock", {"password": f"guess {n_guesses}"})).status == 401:
            words.add(json.dumps(answer.body))
            n_guesses += 1
            assert n_guesses < 500
        assert answer.status == 429
        if link.ask("unlock", {"password": "open sesame"}).status == 429:
            break
    else:
        raise AssertionError("the right password was taken each time")
    assert len(words) == 1
    log = manage(mine.server, "log", {"id": link.share["id"]}, mine.user).body["entries"]
    assert {entry["outcome"] for entry in log} == {"opened", "wrong password"}
    assert {entry["address"] for entry in log} == {"127.0.0.1"}
    assert all(entry["at_ms"] > 1_700_000_000_000 for entry in log)
    found = manage(mine.server, "list", {"experiment_id": mine.experiment_id}, mine.user).body
    (share,) = [one for one in found["shares"] if one["id"] == link.share["id"]]
    assert (share["hits"], share["has_password"]) == (1, True)
    assert "sesame" not in json.dumps(found)


def test_every_answer_keeps_itself_private(mine: Mine) -> None:
    link = mine.link(title='<script>alert(1)</script> & "quotes"', shown={"metrics": ["loss"]})
    for answer in (link.page(), link.ask("share"), link.ask("runs"), link.ask("odd")):
        headers = answer.headers
        policy = headers["content-security-policy"]
        assert headers["x-robots-tag"] == "noindex, nofollow"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "private, no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "set-cookie" not in headers
    page = str(link.page().body)
    assert "<script>alert" not in page
    # A chat's card tells what it is; behind a password not even that.
    assert 'og:description" content="Results of training runs, live"' in page
    assert "og:" not in str(mine.link(title="hidden", password="sesame").page().body)
    preview = mine.link(is_preview=True)
    assert "frame-ancestors 'self'" in preview.page().headers["content-security-policy"]
    assert preview.ask("share").status == 200
    found = manage(mine.server, "list", {"experiment_id": mine.experiment_id}, mine.user).body
    ids = [one["id"] for one in found["shares"]]
    assert link.share["id"] in ids
    assert preview.share["id"] not in ids
    # Another site's page asks in vain, and what else a request says of its sender counts nothing.
    answer = link.ask("share", None, "", Origin="https://evil.example")
    assert answer.status == 403
    form = call(
        mine.server, "POST", f"{link.path}/api/share", b"{}", {"Content-Type": "text/plain"}
    )
    assert form.status == 415
    for answer in (link.page(Host="evil.example"), link.ask("share", Host="evil.example")):
        assert answer.status == 403, answer
    odd = {"Authorization": "Basic bm9ib2R5Ong=", "Cookie": "a=b", "X-MLFLOW-WORKSPACE": ""}
    assert link.ask("share", None, "", **odd).status == 200


def test_weir_share_makes_and_manages_links(mine: Mine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mine.server.address)
    if mine.user is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", mine.user.name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", mine.user.password)

    def weir(*words: str, status: int = 0, typed: str | None = None) -> str:
        done = CliRunner().invoke(main, ["share", *words], input=typed)
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.output

    run = ["--run", mine.runs[0], "--show", "metrics.loss"]
    url = weir("create", *run, "--password", typed="open sesame\n").splitlines()[-1]
    assert url.startswith(f"{mine.server.address}/weir/s/")
    link = Link(mine.server, {}, "", url.removeprefix(mine.server.address))
    assert link.ask("share").status == 401
    link = Link(mine.server, {}, "", json.loads(weir("create", *run, "--json"))["path"])
    share = link.ask("share").body
    assert (share["kind"], share["shown"]["metrics"], share["is_live"]) == ("run", ["loss"], True)
    how = ["--frozen", "--days", "60", "--title", "T", "--numbered", "--show", "metrics"]
    made = json.loads(weir("create", "--experiment", mine.experiment_id, *how, "--json"))
    left_ms = made["share"]["expires_ms"] - time.time_ns() // 1_000_000
    assert (round(left_ms / 86_400_000), made["share"]["is_live"]) == (60, False)
    assert "365 days at most" in weir("create", *run, "--days", "never", status=1)
    # Of a run that is numbered its name is not what the link is called by either.
    numbered = json.loads(weir("create", *run, "--numbered", "--json"))
    assert numbered["share"]["title"] == "A run"
    assert made["share"]["shown"]["metrics"] == ["*"]
    frozen = Link(mine.server, {}, "", made["path"])
    assert frozen.ask("share").body["n_runs"] >= 3
    share_id = made["share"]["id"]
    assert share_id in weir("list", "--experiment", mine.experiment_id)
    for action, status in (("pause", 404), ("resume", 200), ("revoke", 404)):
        weir(action, share_id)
        assert frozen.ask("share").status == status, action
    assert "stays so" in weir("rotate", share_id, status=1)
    log = json.loads(weir("log", share_id, "--json"))["entries"]
    assert {entry["outcome"] for entry in log} == {"opened", "paused", "revoked"}
    assert "127.0.0.1" in weir("log", share_id)
    assert "no such field" in weir("create", *run, "--show", "argv", status=1)
    # A report, all that its panels show; a saved view, and the runs that it shows.
    cards = [{"id": "c", "keys": ["loss"]}]
    report_id, _ = write_report(
        mine.server,
        mine.experiment_id,
        "Findings",
        paragraph("words"),
        panel(mine.experiment_id, cards=cards, runs={"ids": mine.runs[:1]}),
        user=mine.user,
    )
    page = f"{mine.server.address}/weir/reports/{report_id}"
    reported = json.loads(weir("create", "--report", page, "--show", "panels", "--json"))
    shared = Link(mine.server, {}, "", reported["path"]).ask("share").body
    assert (shared["title"], shared["shown"]["metrics"]) == ("Findings", ["loss"])
    assert shared["report"]["content"][0] == paragraph("words")
    assert (shared["kind"], shared["n_runs"], shared["is_live"]) == ("report", 1, True)
    first = {"filter": f"run_id = '{mine.runs[0]}'", "groupBy": ["params.lr"], "version": 1}
    saved = {"experiments": [mine.experiment_id], "name": "Best", "document": json.dumps(first)}
    views = "/ajax-api/3.0/weir/views/save"
    assert call(mine.server, "POST", views, saved, None, mine.user).status == 200
    view = ["--experiment", mine.experiment_id, "--view"]
    made = json.loads(weir("create", *view, "Best", "--show", "params.lr", "--json"))
    viewed = Link(mine.server, {}, "", made["path"]).ask("share").body
    assert (viewed["kind"], viewed["n_runs"]) == ("view", 1)
    assert viewed["view"]["groupBy"] == ["params.lr"]
    assert "has no view 'Worst'" in weir("create", *view, "Worst", status=1)
    assert "no such report" in weir("create", "--report", "0" * 32, status=1)
    assert "are for an experiment" in weir("create", *run, "--view", "Best", status=1)
    assert "an id of 32" in weir("create", "--report", "x", status=1)
    assert "name an experiment" in weir("create", *run, "--report", report_id, status=1)
    assert "--days" in weir("create", *run, "--days", "0", status=1)
    assert "there is no experiment" in weir("create", "--experiment", "nobody's", status=1)
    assert "tracking server" in weir("list", "--uri", "sqlite+weir:///x.db", status=1)
    assert "no such link" in weir("log", "0" * 32, status=1)


def test_what_is_no_text_is_the_fault_of_who_asks(mine: Mine) -> None:
    link, half = mine.link(), "\ud800"
    for body in (
        {"search": half},
        {"search": half, "regex": True},
        {"filter": f"run_name = '{half}'"},
        {"filter": f"run_name ~ '{half}'"},
    ):
        answer = link.ask("runs", body)
        assert answer.status in {200, 400}, (body, answer)
    assert link.ask("run", {"run_id": half}).status == 400
    terms = {"kind": "runs", "title": half, "run_ids": mine.runs[:1], "is_live": True}
    terms["experiment_ids"] = [mine.experiment_id]
    assert manage(mine.server, "create", terms, mine.user).status == 400


def test_too_many_and_too_large_questions_are_refused(mine: Mine) -> None:
    link = mine.link(shown={"metrics": ["loss"], "files": True})
    runs = mine.runs[:1]
    series = {"parts": [{"key": "loss"}], "x": "step", "buckets": 9, "runs": runs}
    assert link.ask("series", {**series, "runs": [new_id() for _ in range(20_001)]}).status == 413
    many = {**series, "runs": [*runs, *(new_id() for _ in range(4_000))], "buckets": 2_000}
    assert link.ask("series", many).status == 413
    assert link.ask("runs", {"limit": 100_000}).status == 400
    big = {"run_id": runs[0], "path": "out/a.txt", "most": 64 << 20}
    assert link.ask("file", big).status == 413
    body = b'{"filter": "' + b"x" * (1 << 20) + b'"}'
    path = f"{link.path}/api/runs"
    answer = call(mine.server, "POST", path, body, {"Content-Type": "application/json"})
    assert answer.status == 413


def test_guesses_run_into_a_limit_and_cost_the_same(mine: Mine) -> None:
    """Last: afterwards this address waits a little."""
    link = mine.link()

    def guess(n: int) -> int:
        return Link(mine.server, {}, "", f"/weir/s/{n:043d}").ask("share").status

    n_guesses = 0
    # One comes back each second: what opens is refused too as soon as none is left.
    for _ in range(50):
        while (status := guess(n_guesses)) == 404:
            n_guesses += 1
            assert n_guesses < 2_000
        assert status == 429
        answer = link.ask("share")
        if answer.status == 429:
            break
    assert (answer.status, answer.headers["retry-after"]) == (429, "10")
    eventually(lambda: link.ask("share").status == 200)
