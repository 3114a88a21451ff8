"""One thread of permissions: every page and route as every kind of user, of every workspace.

One server that asks for a login and has workspaces. In one of them somebody owns an experiment
with a run of which every route has something to show, a secret in all of it. Each route is asked
the same question by nobody, by who is denied, a reader, an editor, the owner, an administrator,
and by the head of another workspace who names this one wherever a request can. Routes are read
from the apps and pages from their grammar: what has no line in a table fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flask
import pytest
from mlflow.server import fastapi_app

from browser import NO_JOBS, WEB, build_pages
from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from mlflow_weir.ui_extensions import mlflow_private, public
from route_questions import Things, ask, grant, question, routes, with_everything
from senders import ROUTES, Answer, Sender, User, call, login_variables, new_id
from sharing import Link, make_link

pytestmark = [
    pytest.mark.slow,
    # MLflow warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

ADMIN = User("admin", "an administrator's 1st password")
OWNER = User("alice", "alice's own 1st password")
EDITOR = User("carol", "carol's own 1st password")
READER = User("bob", "bob's own 1st password")
DENIED = User("dan", "dan's own 1st password")
HEAD = User("hugo", "hugo's own 1st password")
ELSEWHERE = User("eve", "eve's own 1st password")
MAY = {
    None: set[str](),
    DENIED: set[str](),
    READER: {"read"},
    EDITOR: {"read", "edit"},
    OWNER: {"read", "edit", "delete", "own"},
    ADMIN: {"read", "edit", "delete", "administer"},
}
HERE = {"X-MLFLOW-WORKSPACE": "team-a"}
THERE = {"X-MLFLOW-WORKSPACE": "team-b"}
# How somebody of another workspace names this one, or only what is in it.
NAMING: dict[str, tuple[dict[str, str], str]] = {
    "header": (HERE, "{path}"),
    "ids alone": (THERE, "{path}"),
    "query": (THERE, "{path}?workspace=team-a&X-MLFLOW-WORKSPACE=team-a"),
    "path": ({}, "/workspaces/team-a{path}"),
}
REFUSED = {401, 403, 404, 405}
"""Of a route that is not there as well: an address with a workspace in it."""

PLACES = {
    "home": ["/"],
    "workspace": ["/e/{experiment_id}"],
    "compare": ["/e/{experiment_id}/compare"],
    "run": [
        f"/r/{{run_id}}/{tab}"
        for tab in "overview charts hardware console code gradients media files".split()
    ],
    "reports": ["/reports"],
    "report": ["/reports/{report_id}", "/reports/{report_id}/edit"],
    "shared": ["/shared"],
    "teams": ["/teams"],
    "alerts": ["/alerts"],
    "unknown": ["/nothing/here"],
}
"""Addresses of each page, by its name in ``grammar.ts``."""

NATIVE = {
    "/health": "everybody",
    "/ajax-api/3.0/mlflow/server-info": "everybody",
    "/api/3.0/mlflow/server-info": "everybody",
    "/api/2.0/mlflow-artifacts/artifacts/": "artifacts",
    "/ajax-api/2.0/mlflow-artifacts/artifacts/": "artifacts",
    "/v1/traces": "traces",
    # Of these nothing is the run's: a login, and MLflow's own checks.
    "/gateway/": "login",
    "/ajax-api/3.0/jobs": "login",
    "/ajax-api/3.0/mlflow/assistant/": "login",
    "/ajax-api/3.0/mlflow/mcp-servers": "login",
    "/api/3.0/mlflow/mcp-servers": "login",
}
"""Whom MLflow's own FastAPI routes are for, which Flask's checks never see, by how they begin."""


class Site(NamedTuple):
    """A server, and what the owner has on it."""

    server: ServerProcess
    owner: Sender
    things: Things
    link: Link

    def sender(self, user: User | None, headers: dict[str, str] | None = None) -> Sender:
        """Return who asks as somebody: in the owner's workspace, if nothing else is said."""
        if user is OWNER:
            return self.owner
        return Sender(self.server, user, headers=HERE if headers is None else headers)


@pytest.fixture(scope="module")
def site(
    sqlite_folder: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    if not mlflow_private.can_deny():
        pytest.skip("this MLflow cannot deny what a role allows")
    build_pages()
    folder: Path = tmp_path_factory.mktemp("thread")
    database = sqlite_folder.new_mlflow_database().replace("sqlite:", "sqlite+weir:")
    arguments = ["server", "--app-name", "basic-auth", "--enable-workspaces"]
    arguments += ["--backend-store-uri", database, "--artifacts-destination", f"{folder}/kept"]
    variables = (
        NO_JOBS,
        *login_variables(folder, ADMIN),
    )
    with start_servers(ServerSpec(arguments, folder, variables)) as (server,):
        _make_teams(server)
        owner = Sender(server, OWNER, headers=HERE)
        things = with_everything(owner, ADMIN)
        admin = Sender(server, ADMIN, headers=HERE)
        assert grant(admin, EDITOR, things.experiment_id, "EDIT")
        assert any(
            grant(admin, DENIED, things.experiment_id, word) for word in ("DENY", "NO_PERMISSIONS")
        )
        shown = {"metrics": ["m"]}
        link = make_link(
            server, things.experiment_id, OWNER, headers=HERE, filter={}, shown=shown, title="t"
        )
        yield Site(server, owner, things, link)


def _make_teams(server: ServerProcess) -> None:
    def told(path: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
        answer = call(server, "POST", f"/api/3.0/mlflow/{path}", body, headers, ADMIN)
        assert answer.status in {200, 201}, answer
        return answer.body

    for user in (OWNER, EDITOR, READER, DENIED, HEAD, ELSEWHERE):
        body = {"username": user.name, "password": user.password}
        made = call(server, "POST", "/api/2.0/mlflow/users/create", body, user=ADMIN)
        assert made.status == 200, made
    for team in ("team-a", "team-b"):
        told("workspaces", {"name": team}, {})
    for headers, kind, permission, users in (
        (HERE, "experiment", "READ", (READER, EDITOR, DENIED)),
        (HERE, "workspace", "USE", (OWNER,)),
        (HERE, "workspace", "MANAGE", (HEAD,)),
        (THERE, "workspace", "MANAGE", (ELSEWHERE,)),
    ):
        named = {"name": f"{permission} {kind}", "workspace": headers["X-MLFLOW-WORKSPACE"]}
        role = told("roles/create", named, headers)["role"]["id"]
        may = {"role_id": role, "resource_type": kind, "resource_pattern": "*"}
        told("roles/permissions/add", {**may, "permission": permission}, headers)
        for user in users:
            told("roles/assign", {"username": user.name, "role_id": role}, headers)


def test_every_route_answers_each_kind_of_user_as_it_should(site: Site) -> None:
    """A reader sees and changes nothing, an editor does both, who is denied does neither."""
    things, admin = site.things, site.sender(ADMIN)
    for endpoint, method, path in routes():
        for user, allowed in MAY.items():
            sender, of = site.sender(user), things
            if endpoint == "weir.views_delete" and "edit" in allowed:
                view = {"experiments": [things.experiment_id], "name": new_id(), "document": "{}"}
                saved = call(
                    site.server, "POST", f"{ROUTES}/views/save", view, admin.headers, ADMIN
                )
                of = things._replace(view_id=saved.body["id"])
            asked = question(endpoint, of, sender)
            answer = ask(sender, method, path.replace("0" * 32, things.journal_id), asked)
            where = (endpoint, user, answer.status, str(answer.body)[:300])
            if user is None:
                assert answer.status == 401, where
            elif asked.needs == "login":
                assert answer.status == 200, where
            elif asked.needs in allowed:
                assert answer.status == 200, where
                assert asked.is_answered(answer), where
                continue
            else:
                refused = answer.status in {403, 404}
                assert refused or (answer.status == 200 and not asked.is_answered(answer)), where
            assert things.secret not in str(answer.body), where


def test_every_route_keeps_to_the_workspaces_that_one_is_in(site: Site) -> None:
    """Nor is another's seen by an administrator who asks in the wrong one."""
    things = site.things
    for endpoint, method, path in routes():
        for user, ways in ((ELSEWHERE, NAMING), (ADMIN, {"none": ({}, "{path}")})):
            for way, (headers, address) in ways.items():
                sender = site.sender(user, headers)
                asked = question(endpoint, things, sender)
                named = address.format(path=path.replace("0" * 32, things.journal_id))
                answer = ask(sender, method, named, asked)
                where = (endpoint, user.name, way, answer.status, str(answer.body)[:300])
                assert things.secret not in str(answer.body), where
                if asked.needs == "login" or (user is ADMIN and asked.needs == "own"):
                    assert answer.status in {200, *REFUSED}, where
                else:
                    is_refused = answer.status in REFUSED
                    assert is_refused or answer.status == 200, where
                    assert is_refused or not asked.is_answered(answer), where
    # And all of it is still there.
    rows = question("weir.runs", things, site.owner)
    assert rows.is_answered(ask(site.owner, "POST", f"{ROUTES}/runs", rows))


def test_the_head_of_a_workspace_adds_people_to_it_and_to_no_other(site: Site) -> None:
    for user, headers, status in (
        (HEAD, HERE, 200),
        (HEAD, THERE, 403),
        (ELSEWHERE, THERE, 200),
        (ELSEWHERE, HERE, 403),
        (ELSEWHERE, {}, 403),
    ):
        for path, body in (("invites/create", {}), ("accounts/create", {"name": new_id()})):
            answer = call(site.server, "POST", f"{ROUTES}/{path}", body, headers, user)
            assert answer.status == status, (user.name, headers, path, answer)


def test_every_page_is_the_same_for_who_is_let_in_and_there_for_nobody_else(site: Site) -> None:
    grammar = (WEB / "src" / "grammar.ts").read_text(encoding="utf-8")
    assert set(PLACES) == set(re.findall(r'\| \{ page: "(\w+)"', grammar))
    tabs = re.search(r"RUN_TABS = \[(.*?)\]", grammar, re.DOTALL)
    assert tabs is not None
    assert [f"/r/{{run_id}}/{tab}" for tab in re.findall(r'"(\w+)"', tabs[1])] == PLACES["run"]
    for places in PLACES.values():
        for place in places:
            path = f"/weir{place.format(**site.things._asdict())}"
            seen = {
                user: call(site.server, "GET", path, None, HERE, user)
                for user in (*MAY, ELSEWHERE)
            }
            nobody = seen.pop(None)
            assert (nobody.status, site.things.secret in str(nobody.body)) == (401, False), path
            # A page holds nothing of anybody's: what it shows it asks the API for.
            assert {answer.status for answer in seen.values()} == {200}, path
            assert len({str(answer.body) for answer in seen.values()}) == 1, path
            assert site.things.secret not in str(seen[ADMIN].body), path


def test_a_link_shows_the_same_to_whoever_opens_it(site: Site) -> None:
    things, run = site.things, {"run_id": site.things.run_id}
    of = {**run, "experiments": [things.experiment_id], "run_ids": [things.run_id]}
    n_open = 0
    for name in ("share", "unlock", "invite", "accept", *public.ANSWERS):
        path, body = f"{site.link.path}/api/{name}", {**of, "kind": "gradients", "path": "a.txt"}
        seen = [
            call(site.server, "POST", path, body, headers, user)
            for user in (*MAY, ELSEWHERE)
            for headers in (HERE, THERE)
        ]
        assert len({answer.status for answer in seen}) == 1, (name, seen)
        assert all(answer.status < 500 for answer in seen), (name, seen)
        assert all(things.secret not in str(answer.body) for answer in seen), name
        n_open += seen[0].status == 200
        closed = call(site.server, "POST", f"/weir/s/{'A' * 43}/api/{name}", body, HERE, ADMIN)
        assert closed.status in {404, 429}, (name, closed)
    assert n_open >= 4


def native_routes() -> list[tuple[str, str]]:
    """Return method and path of MLflow's own FastAPI routes."""
    app = fastapi_app.create_fastapi_app(flask.Flask("walked"))
    return [
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]


def test_routes_of_mlflow_that_flask_never_sees_are_closed_as_well(site: Site) -> None:
    """With the extension on the app, which must neither open nor shut any of them."""
    things = site.things
    file = f"workspaces/team-a/{things.experiment_id}/{things.run_id}/artifacts/a.txt"
    found = native_routes()
    assert len(found) > 40
    for method, path in found:
        (needs,) = (what for begin, what in NATIVE.items() if path.startswith(begin))
        if needs == "everybody":
            answer = call(site.server, method, path)
            assert (answer.status, things.secret in str(answer.body)) == (200, False), path
            continue
        address = re.sub(r"\{.*?\}", file if needs == "artifacts" else things.run_id, path)
        for user in (None, DENIED, ELSEWHERE) if needs == "login" else (*MAY, ELSEWHERE):
            for headers in (HERE, THERE) if user is ELSEWHERE else (HERE,):
                sent = {**headers, "x-mlflow-experiment-id": things.experiment_id}
                body: bytes | None = b"{}" if method in {"POST", "PUT", "PATCH"} else None
                sent["Content-Type"] = "application/json"
                if needs == "traces":
                    sent["Content-Type"], body = "application/x-protobuf", b"no trace"
                answer = call(site.server, method, address, body, sent, user)
                _check_native(site, (method, path, user, headers), needs, answer)


def _check_native(site: Site, asked: tuple[Any, ...], needs: str, answer: Answer) -> None:
    method, _, user, _ = asked
    where = (*asked, answer.status, str(answer.body)[:200])
    assert site.things.secret not in str(answer.body), where
    allowed = MAY.get(user, set())
    if user is None:
        assert answer.status in {401, 403}, where
    elif needs == "artifacts":
        right = {"GET": "read", "PUT": "edit", "DELETE": "delete"}[method]
        assert (answer.status == 200) == (right in allowed), where
    elif needs == "traces":
        # What is sent is no trace: who may write is told so.
        assert (answer.status == 403) == ("edit" not in allowed), where
