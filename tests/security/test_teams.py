"""Who may see an experiment, who may join, and what is written down of it, where one logs in.

A second server, stock MLflow on the same databases, says what holds where Weir is switched off.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from browser import build_pages
from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from mlflow_weir.plugin.cli import main
from mlflow_weir.store.sharing import invites
from reports import document, paragraph
from senders import Answer, User, call, login_variables, new_id
from sharing import Link, make_link, manage

ADMIN = User("admin", "an administrator's 1st password")
ALICE = User("alice", "alice's own 1st password")
BOB = User("bob", "bob's own 1st password")
CAROL = User("carol", "carol's own 1st password")
DAN = User("dan", "dan's own 1st password")
API = "/ajax-api/3.0/weir"
STOCK = "/api/2.0/mlflow"
GRANT = "/api/3.0/mlflow/users/permissions/grant"
REVOKE = "/api/3.0/mlflow/users/permissions/revoke"
HOSTILE = "<img src=x onerror=alert(1)>\u202e'; DROP TABLE users;--"
SECRET = "zebra"
"""In everything of the experiment."""

pytestmark = [
    pytest.mark.slow,
    # MLflow warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]


class Place(NamedTuple):
    """A server with a login, and what it runs on."""

    server: ServerProcess
    database: str
    stock: Callable[[], Any]


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> Iterator[Place]:
    build_pages()
    database, folder = sqlite_folder.new_mlflow_database(), tmp_path_factory.mktemp("teams")

    def spec(scheme: str, *variables: tuple[str, str]) -> ServerSpec:
        arguments = ["server", "--app-name", "basic-auth", "--serve-artifacts"]
        arguments += ["--backend-store-uri", database.replace("sqlite:", scheme)]
        arguments += ["--artifacts-destination", str(folder / "artifacts")]
        return ServerSpec(
            arguments,
            folder,
            (
                ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
                *login_variables(folder, ADMIN),
                *variables,
            ),
        )

    with start_servers(spec("sqlite+weir:")) as (server,):
        for user in (ALICE, BOB, CAROL, DAN):
            make_user(server, user)
        yield Place(
            server, database, lambda: start_servers(spec("sqlite:", ("WEIR_DISABLE", "1")))
        )


def make_user(server: ServerProcess, user: User) -> None:
    body = {"username": user.name, "password": user.password}
    answer = call(server, "POST", f"{STOCK}/users/create", body, user=ADMIN)
    assert answer.status == 200, answer


def api(server: ServerProcess, name: str, body: dict[str, Any], user: User | None) -> Answer:
    return call(server, "POST", f"{API}/{name}", body, user=user)


def done(server: ServerProcess, name: str, body: dict[str, Any], user: User) -> Any:
    answer = api(server, name, body, user)
    assert answer.status == 200, answer
    return answer.body


class Experiment(NamedTuple):
    """Alice's, with a run; ``SECRET`` is in all of it."""

    server: ServerProcess
    id: str
    name: str
    run_id: str


def make_experiment(server: ServerProcess, name: str = SECRET) -> Experiment:
    def ask(path: str, body: dict[str, Any]) -> Any:
        answer = call(server, "POST", f"{STOCK}/{path}", body, user=ALICE)
        assert answer.status == 200, answer
        return answer.body

    name = f"{name} {new_id()}"
    experiment_id = ask("experiments/create", {"name": name})["experiment_id"]
    body = {"experiment_id": experiment_id, "run_name": SECRET, "start_time": 1_760_000_000_000}
    run_id = ask("runs/create", body)["run"]["info"]["run_id"]
    point = {"run_id": run_id, "key": SECRET, "value": 0.5, "timestamp": 1, "step": 1}
    ask("runs/log-metric", point)
    ask("runs/log-parameter", {"run_id": run_id, "key": "p", "value": SECRET})
    ask("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 1_760_000_009_000})
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment_id}/{run_id}/artifacts/a.txt"
    assert call(server, "PUT", path, SECRET.encode(), user=ALICE).status == 200
    return Experiment(server, experiment_id, name, run_id)


GRAPHQL = {
    "run": 'query { mlflowGetRun(input: {runId: "%(run_id)s"}) { run { info { runName } } } }',
    "experiment": (
        'query { mlflowGetExperiment(input: {experimentId: "%(id)s"}) { experiment { name } } }'
    ),
    "search": (
        "query { mlflowSearchRuns(input: {experimentIds: "
        '["%(id)s"]}) { runs { info { runName } } } }'
    ),
    "history": (
        "query { mlflowGetMetricHistoryBulkInterval(input: {runIds: "
        '["%(run_id)s"], metricKey: "zebra"}) { metrics { key } } }'
    ),
}


def ways_in(of: Experiment) -> dict[str, tuple[str, str, dict[str, Any] | None]]:
    """Return every way to ask about an experiment: each answer to who may read has ``SECRET``."""
    fields = of._asdict()
    run, files = f"run_id={of.run_id}", "/api/2.0/mlflow-artifacts/artifacts"
    root = f"{of.id}/{of.run_id}/artifacts"
    ways: dict[str, tuple[str, str, dict[str, Any] | None]] = {
        "experiments/get": ("GET", f"{STOCK}/experiments/get?experiment_id={of.id}", None),
        "get-by-name": (
            "GET",
            f"{STOCK}/experiments/get-by-name?experiment_name={urllib.parse.quote(of.name)}",
            None,
        ),
        "experiments/search": ("POST", f"{STOCK}/experiments/search", {"max_results": 1000}),
        "runs/get": ("GET", f"{STOCK}/runs/get?{run}", None),
        "runs/search": ("POST", f"{STOCK}/runs/search", {"experiment_ids": [of.id]}),
        "history": ("GET", f"{STOCK}/metrics/get-history?{run}&metric_key={SECRET}", None),
        "history-bulk": (
            "GET",
            f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{run}&metric_key={SECRET}",
            None,
        ),
        "history-bulk-interval": (
            "GET",
            "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
            f"?run_ids={of.run_id}&metric_key={SECRET}",
            None,
        ),
        "get-artifact": ("GET", f"/get-artifact?run_uuid={of.run_id}&path=a.txt", None),
        "proxied file": ("GET", f"{files}/{root}/a.txt", None),
        "weir experiments": ("POST", f"{API}/experiments", {}),
        "weir names": ("POST", f"{API}/experiments/names", {"experiments": [of.id]}),
        "weir runs": ("POST", f"{API}/runs", {"experiments": [of.id]}),
        "weir run": ("POST", f"{API}/run", {"run_id": of.run_id}),
        "weir keys": ("POST", f"{API}/keys", {"experiments": [of.id]}),
        "weir file": ("POST", f"{API}/file", {"run_id": of.run_id, "path": "a.txt"}),
    }
    for name, query in GRAPHQL.items():
        ways[f"graphql {name}"] = ("POST", "/graphql", {"query": query % fields})
    return ways


def seen_by(of: Experiment, user: User | None, server: ServerProcess | None = None) -> set[str]:
    """Return the ways in which somebody learns something of an experiment."""
    found = set()
    for name, (method, path, body) in ways_in(of).items():
        if server is not None and path.startswith(API):
            continue
        answer = call(server or of.server, method, path, body, user=user)
        assert answer.status < 500, (name, answer)
        if SECRET in json.dumps(answer.body).replace(json.dumps(body or {}), ""):
            assert answer.status == 200, (name, answer)
            # Others' experiments have the word too.
            if name not in {"experiments/search", "weir experiments"} or of.name in str(answer):
                found.add(name)
    return found


def test_private_holds_for_every_way_in_and_with_weir_switched_off(place: Place) -> None:
    server = place.server
    mine = make_experiment(server)
    everything = set(ways_in(mine))
    denied = {"username": DAN.name, "resource_type": "experiment", "resource_id": mine.id}
    assert call(server, "POST", GRANT, {**denied, "permission": "DENY"}, user=ALICE).status == 200
    link = make_link(server, mine.id, ALICE, filter={}, shown={"metrics": ["*"]})
    assert link.ask("share").status == 200
    assert seen_by(mine, BOB) == everything
    assert seen_by(mine, DAN) == set()

    change = {"experiment_id": mine.id, "level": "private"}
    for user, status in ((None, 401), (BOB, 403), (DAN, 404)):
        assert api(server, "visibility/change", change, user).status == status
    assert seen_by(mine, BOB) == everything
    assert done(server, "visibility/change", change, ALICE)["experiment"]["level"] == "private"
    late = User(f"late-{new_id()}", "of one who came after")
    make_user(server, late)
    for user in (None, BOB, CAROL, DAN, late):
        assert seen_by(mine, user) == set(), user
        point = {"run_id": mine.run_id, "key": "m", "value": 1, "timestamp": 1}
        answer = call(server, "POST", f"{STOCK}/runs/log-metric", point, user=user)
        assert answer.status in {401, 403}
    for user in (ALICE, ADMIN):
        assert seen_by(mine, user) == everything
    # Links end with it, and none is made.
    assert link.ask("share").status == 404
    body = {"kind": "experiment", "title": "t", "experiment_ids": [mine.id], "is_live": True}
    assert manage(server, "create", {**body, "filter": {}}, ALICE).status == 403

    # Whoever is named is let in, by us and by MLflow's own tools; who is not any more, is out.
    name = {"experiment_id": mine.id, "name": CAROL.name}
    done(server, "people/change", {**name, "permission": "READ"}, ALICE)
    grant = {"username": BOB.name, "resource_type": "experiment", "resource_id": mine.id}
    answer = call(server, "POST", GRANT, {**grant, "permission": "READ"}, user=ALICE)
    assert answer.status == 200, answer
    assert seen_by(mine, CAROL) == seen_by(mine, BOB) == everything
    assert call(server, "POST", REVOKE, grant, user=ALICE).status == 200
    assert seen_by(mine, BOB) == set()

    with place.stock() as (stock,):
        assert stock is not server
        # Points are in tables that it does not know.
        of_stock = {way for way in everything if "weir" not in way and "history" not in way}
        assert seen_by(mine, CAROL, stock) == seen_by(mine, ALICE, stock) == of_stock
        for user in (BOB, DAN, late):
            assert seen_by(mine, user, stock) == set(), user

    done(server, "visibility/change", {**change, "level": "team"}, ALICE)
    assert seen_by(mine, BOB) == seen_by(mine, late) == everything
    assert seen_by(mine, DAN) == set()  # who was denied before is so after
    assert link.ask("share").status == 200


def test_public_is_an_address_that_ends_and_comes_back(place: Place) -> None:
    server = place.server
    mine = make_experiment(server, "ResNet & <b>Ü</b> sweep")
    shown = {"metrics": [SECRET]}
    change = {"experiment_id": mine.id, "level": "public", "shown": shown}
    assert api(server, "visibility/change", change, BOB).status == 403
    found = done(server, "visibility/change", change, ALICE)["experiment"]
    assert (found["level"], found["shown"]["metrics"]) == ("public", [SECRET])
    path = found["path"]
    assert path.startswith("/weir/s/resnet-b-b-sweep-")
    public = Link(server, {}, path.rpartition("/")[2], path)
    assert public.ask("share").body["title"] == mine.name
    assert public.page().status == 200
    # Whoever may read it is told the address, nobody else, and what is not ticked is not there.
    (told,) = done(server, "visibility", {"experiment_ids": [mine.id]}, BOB)["experiments"]
    assert (told["path"], told["may_change"]) == (path, False)
    run = public.ask("run", {"run_id": mine.run_id}).body
    assert ([one["key"] for one in run["metrics"]], run["params"]) == ([SECRET], [])
    # What was made of a name and a number opens nothing without the rest.
    for guess in (path[:-1], path.partition(".")[0], f"/weir/s/{mine.id}", path.lower()):
        assert call(server, "GET", guess).status == 404
    for level in ("team", "private"):
        done(server, "visibility/change", {**change, "level": level}, ALICE)
        gone = call(server, "GET", path)
        assert (gone.status, gone.body) == (404, call(server, "GET", f"/weir/s/{'x' * 43}").body)
        (told,) = done(server, "visibility", {"experiment_ids": [mine.id]}, ALICE)["experiments"]
        assert "path" not in told
    again = {**change, "shown": {"params": ["p"]}, "replaces_names": True, "title": "As a paper"}
    assert done(server, "visibility/change", again, ALICE)["experiment"]["path"] == path
    assert seen_by(mine, BOB)  # it is private no more
    run = public.ask("run", {"run_id": mine.run_id}).body
    assert (run["params"], run["metrics"]) == ([["p", SECRET]], [])
    # A new address keeps its name; a revoked one makes the experiment its team's.
    (share,) = manage(server, "list", {"experiment_id": mine.id}, ALICE).body["shares"]
    rotated = manage(server, "change", {"id": share["id"], "action": "rotate"}, ALICE).body["path"]
    assert rotated.partition(".")[0] == path.partition(".")[0]
    assert rotated != path
    assert public.ask("share").status == 404
    (told,) = done(server, "visibility", {"experiment_ids": [mine.id]}, BOB)["experiments"]
    assert told["path"] == rotated
    manage(server, "change", {"id": share["id"], "action": "revoke"}, ALICE)
    (told,) = done(server, "visibility", {"experiment_ids": [mine.id]}, BOB)["experiments"]
    assert told["level"] == "team"
    assert call(server, "GET", rotated).status == 404


def test_weir_share_visibility_says_and_changes_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_experiment(place.server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.server.address)

    def weir(user: User, *words: str, status: int = 0) -> str:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user.name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", user.password)
        done = CliRunner().invoke(main, ["share", "visibility", *words])
        assert done.exit_code == status, done.output
        return done.output

    assert weir(BOB, mine.id) == "team\n"
    assert "not permitted" in weir(BOB, mine.id, "private", status=1)
    shown = weir(ALICE, mine.id, "public", "--show", "metrics", "--title", "T").split()
    assert shown[0] == "public"
    assert call(place.server, "GET", shown[1].removeprefix(place.server.address)).status == 200
    assert json.loads(weir(BOB, mine.id, "--json"))["url"] == shown[1]
    assert weir(ALICE, mine.id, "private") == "private\n"
    weir(BOB, mine.id, status=1)
    assert "--show" in weir(ALICE, mine.id, "team", "--show", "metrics", status=1)


def test_people_are_told_with_where_their_permission_is_from(place: Place) -> None:
    server, mine = place.server, make_experiment(place.server)
    role = {"name": f"vision {new_id()}", "workspace": "default"}
    made = call(server, "POST", "/api/3.0/mlflow/roles/create", role, user=ADMIN)
    assert made.status == 200, made
    role_id = made.body["role"]["id"]
    permission = {"role_id": role_id, "resource_type": "experiment", "permission": "EDIT"}
    path = "/api/3.0/mlflow/roles/permissions/add"
    body = {**permission, "resource_pattern": mine.id}
    assert call(server, "POST", path, body, user=ADMIN).status == 200
    path, body = "/api/3.0/mlflow/roles/assign", {"username": CAROL.name, "role_id": role_id}
    assert call(server, "POST", path, body, user=ADMIN).status == 200

    def people(**more: Any) -> dict[str, tuple[str, str, str | None]]:
        asked = {"experiment_id": mine.id, **more}
        found = done(server, "people", asked, ALICE)["people"]
        return {one["name"]: (one["permission"], one["source"], one["role"]) for one in found}

    found = people()
    assert next(iter(found)) == ALICE.name
    assert found[ALICE.name] == ("MANAGE", "own", None)
    assert found[ADMIN.name] == ("MANAGE", "administrator", None)
    assert found[BOB.name] == ("READ", "default", None)
    assert found[CAROL.name] == ("EDIT", "role", role["name"])

    def give(user: User, permission: str | None, by: User | None = ALICE) -> Answer:
        body = {"experiment_id": mine.id, "name": user.name, "permission": permission}
        return api(server, "people/change", body, by)

    for user, status in ((None, 401), (BOB, 403), (CAROL, 403)):
        assert give(BOB, "MANAGE", user).status == status
        assert api(server, "people", {"experiment_id": mine.id}, user).status == status
    assert give(BOB, "EDIT").body["person"]["own"] == "EDIT"
    point = {"run_id": mine.run_id, "key": "m", "value": 1, "timestamp": 1}
    assert call(server, "POST", f"{STOCK}/runs/log-metric", point, user=BOB).status == 200
    assert give(BOB, "NO_PERMISSIONS").body["person"]["permission"] == "NO_PERMISSIONS"
    assert seen_by(mine, BOB) == set()
    assert people()[BOB.name] == ("NO_PERMISSIONS", "own", None)
    assert give(BOB, None).body["person"]["source"] == "default"
    assert seen_by(mine, BOB)
    # Private: who is in by a role that names the experiment stays.
    done(server, "visibility/change", {"experiment_id": mine.id, "level": "private"}, ALICE)
    assert set(people()) == {ALICE.name, ADMIN.name, CAROL.name}
    assert people(all=True)[BOB.name] == ("NO_PERMISSIONS", "private", None)
    assert seen_by(mine, CAROL)
    assert not seen_by(mine, BOB)
    # The last owner stays one, an administrator is above it, and words that are no names are none.
    assert give(ALICE, "READ").status == give(ALICE, None).status == 400
    assert give(ADMIN, "READ").status == 400
    for name in (HOSTILE, "", "a" * 10_000, "bob\0"):
        assert give(User(name, ""), "READ").status == 404
    assert give(BOB, "OWNER").status == 400
    assert give(BOB, "MANAGE").status == give(ALICE, "READ", BOB).status == 200


def invite(server: ServerProcess, user: User = ADMIN, **terms: Any) -> Link:
    found = done(server, "invites/create", terms, user)
    return Link(server, found["invite"], found["token"], found["path"])


def joins(link: Link, name: str, password: str = "a password of twelve") -> Answer:
    return link.ask("accept", {"name": name, "password": password})


def test_an_invitation_makes_one_user_and_no_other(place: Place) -> None:
    server, mine = place.server, make_experiment(place.server)
    done(server, "visibility/change", {"experiment_id": mine.id, "level": "private"}, ALICE)
    for user, status in ((None, 401), (ALICE, 403), (BOB, 403)):
        for name in ("invites", "invites/create", "accounts", "accounts/create"):
            assert api(server, name, {"name": "x", "experiment_ids": []}, user).status == status
    link = invite(server, experiment_id=mine.id, permission="EDIT", note=HOSTILE)
    page = link.page()
    assert page.status == 200
    assert "You are invited" in page.body
    assert mine.name not in page.body
    assert page.headers["cache-control"] == "private, no-store"
    assert link.ask("invite").body["experiment"] == mine.name
    for name in ("share", "runs", "unlock", "nothing"):  # nothing else is behind it
        assert link.ask(name, {"password": "x"}).status == 404
    for name, password, status in (
        (HOSTILE, "a password of twelve", 400),
        ("bob\n", "a password of twelve", 400),
        ("eve", "short", 400),
        (BOB.name, "a password of twelve", 409),
    ):
        answer = joins(link, name, password)
        assert answer.status == status, answer
        assert "sqlite" not in str(answer).lower()
    assert call(server, "GET", f"{STOCK}/users/get?username=bob", user=BOB).status == 200
    # Of many at once one becomes a user.
    names = [f"{new_id()}@example.com" for _ in range(4)]
    answers: dict[str, int] = {}
    threads = [
        threading.Thread(target=lambda name=name: answers.update({name: joins(link, name).status}))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(answers.values()).count(200) == 1, answers
    for name, status in answers.items():
        user = User(name, "a password of twelve")
        assert (len(seen_by(mine, user)) > 0) == (status == 200)
        if status == 200:
            tag = {"run_id": mine.run_id, "key": "by", "value": "me"}
            assert call(server, "POST", f"{STOCK}/runs/set-tag", tag, user=user).status == 200
            other = make_experiment(server)
            tag["run_id"] = other.run_id
            assert call(server, "POST", f"{STOCK}/runs/set-tag", tag, user=user).status == 403
    # Whoever came to the door at once: the database lets one pass.
    engine = sa.create_engine(place.database)
    kept, _ = invites.create(
        engine,
        workspace=None,
        experiment_id=None,
        permission=None,
        note="",
        created_by=ADMIN.name,
        expires_ms=time.time_ns() // 1_000_000 + 3_600_000,
    )
    assert [invites.take(engine, kept.invite_id, name) for name in ("a", "b")] == [True, False]
    invites.give_back(engine, kept.invite_id, "b")  # not b's to give
    assert not invites.take(engine, kept.invite_id, "b")
    engine.dispose()
    # Used, taken back, unknown, over: all the same.
    revoked = invite(server)
    done(server, "invites/revoke", {"id": revoked.share["id"]}, ADMIN)
    unknown = Link(server, {}, "x" * 43, f"/weir/s/{'x' * 43}")
    ends = [(one.page(), one.ask("invite"), joins(one, "eve")) for one in (link, revoked, unknown)]
    assert len({tuple((a.status, str(a.body)) for a in answers) for answers in ends}) == 1
    assert ends[0][0].status == 404
    listed = done(server, "invites", {}, ADMIN)["invites"]
    assert [one["state"] for one in listed][:3] == ["revoked", "used", "used"]
    assert link.token not in json.dumps(listed)
    # Who invited is no administrator any more: nobody gets in by it.
    maker = User(f"maker-{new_id()}", "a maker's 1st password")
    make_user(server, maker)
    path = f"{STOCK}/users/update-admin"
    rights = {"username": maker.name, "is_admin": True}
    assert call(server, "PATCH", path, rights, user=ADMIN).status == 200
    theirs = invite(server, maker)
    assert theirs.page().status == 200
    call(server, "PATCH", path, {**rights, "is_admin": False}, user=ADMIN)
    assert (theirs.page().status, joins(theirs, "eve").status) == (404, 404)


def test_a_service_account_works_in_its_experiments_alone(place: Place) -> None:
    server, mine, other = (
        place.server,
        make_experiment(place.server),
        make_experiment(place.server),
    )
    name = f"job-{new_id()}"
    asked = {"name": name, "experiment_ids": [mine.id], "note": "nightly"}
    found = done(server, "accounts/create", asked, ADMIN)
    assert found["account"]["experiments"] == [{"id": mine.id, "permission": "EDIT"}]
    job = User(name, found["password"])

    def logs(user: User, of: Experiment) -> int:
        body = {"experiment_id": of.id, "start_time": 1}
        return call(server, "POST", f"{STOCK}/runs/create", body, user=user).status

    assert (logs(job, mine), logs(job, other)) == (200, 403)
    people = done(server, "people", {"experiment_id": mine.id}, ALICE)["people"]
    assert [one["name"] for one in people if one["is_service"]] == [name]
    again = done(server, "accounts/change", {"name": name, "action": "rotate"}, ADMIN)
    assert (logs(job, mine), logs(User(name, again["password"]), mine)) == (401, 200)
    changed = done(server, "accounts/change", {"name": name, "action": "disable"}, ADMIN)
    assert changed["account"]["disabled_ms"]
    assert "password" not in changed
    assert logs(User(name, again["password"]), mine) == 401
    # A person is none, and is not made one.
    for body in ({"name": BOB.name, "action": "rotate"}, {"name": HOSTILE, "action": "disable"}):
        assert api(server, "accounts/change", body, ADMIN).status == 404
    for taken in (BOB.name, HOSTILE, ""):
        body = {"name": taken, "note": ""}
        assert api(server, "accounts/create", body, ADMIN).status == 400
    assert BOB.name not in [one["name"] for one in done(server, "accounts", {}, ADMIN)["accounts"]]


def reports_deeds(server: ServerProcess, experiment_id: str) -> str:
    """Do all that there is to do with a report, as its writer; return its id."""
    about = {"experiment_ids": [experiment_id], "title": "Mine"}
    made = done(server, "reports/create", about, ALICE)["report"]
    report = {"id": made["id"]}
    content = document(paragraph("what a report says"))
    for draft in (1, 2, 3):  # as one types: one deed
        save = {"action": "save", "draft": draft, "title": "Mine", "document": content}
        done(server, "reports/change", {**report, **save}, ALICE)
    done(server, "reports/change", {**report, "action": "publish", "draft": 4}, ALICE)
    done(
        server, "reports/change", {**report, "action": "restore", "revision": 1, "draft": 4}, ALICE
    )
    asked = {"kind": "report", "title": "t", "report_id": made["id"], "is_live": True}
    done(server, "shares/create", {**asked, "shown": {"panels": True}}, ALICE)
    said = {**report, "action": "add", "text": "what a comment says"}
    (comment,) = done(server, "reports/comments", said, ALICE)["comments"]
    settle = {**report, "action": "resolve", "comment": comment["id"]}
    done(server, "reports/comments", settle, ALICE)
    copy = done(server, "reports/change", {**report, "action": "clone", "title": "c"}, ALICE)
    for one in (copy["report"]["id"], made["id"]):
        done(server, "reports/change", {"id": one, "action": "delete"}, ALICE)
    return str(made["id"])


def test_the_audit_log_has_every_deed_and_no_secret(place: Place) -> None:
    server, mine = place.server, make_experiment(place.server)
    done(server, "visibility/change", {"experiment_id": mine.id, "level": "private"}, ALICE)
    done(server, "visibility/change", {"experiment_id": mine.id, "level": "team"}, ALICE)
    give = {"experiment_id": mine.id, "name": BOB.name, "permission": "EDIT"}
    done(server, "people/change", give, ALICE)
    link = make_link(server, mine.id, ALICE, filter={}, password="a link's password")
    for action in ("pause", "resume", "rotate", "revoke"):
        manage(server, "change", {"id": link.share["id"], "action": action}, ALICE)
    # A preview is nobody's news, unless what it shows is written into pages.
    terms: dict[str, Any] = {"filter": {}, "shown": {"metrics": ["*"], "notes": True}}
    for is_published in (False, True):
        terms |= {"is_preview": True, "is_published": is_published}
        preview = make_link(server, mine.id, ALICE, **terms)
        end = {"id": preview.share["id"], "action": "revoke"}
        assert manage(server, "change", end, ALICE).status == 200
    rule = {"action": "add", "kind": "finished", "targets": [], "experiment_id": mine.id}
    made = done(server, "alerts/rules/change", rule, ALICE)["rule"]
    done(server, "alerts/rules/change", {"action": "delete", "id": made["id"]}, ALICE)
    other = make_experiment(server)
    move = {"run_ids": [other.run_id], "experiment_id": mine.id}
    assert done(server, "runs/move", move, ALICE)["done"] == [other.run_id]
    for key in ("weir.stop_requested", "other"):
        tag = {"run_ids": [mine.run_id], "action": "tag", "key": key, "value": "now"}
        assert done(server, "runs/act", tag, ALICE)["done"] == [mine.run_id]
    act = {"run_ids": [mine.run_id], "action": "delete"}
    assert done(server, "runs/act", act, ALICE)["done"] == [mine.run_id]
    run = {"run_id": mine.run_id}
    assert call(server, "POST", f"{STOCK}/runs/restore", run, user=ALICE).status == 200
    assert call(server, "POST", f"{STOCK}/runs/delete", run, user=DAN).status == 403  # not done
    name, password = f"job-{new_id()}", "a password of twelve"
    invited = invite(server, experiment_id=mine.id, permission="READ")
    assert joins(invited, f"new-{name}", password).status == 200
    account = done(server, "accounts/create", {"name": name, "experiment_ids": [mine.id]}, ADMIN)
    report = reports_deeds(server, mine.id)
    body = {"experiment_id": mine.id}
    assert call(server, "POST", f"{STOCK}/experiments/delete", body, user=ALICE).status == 200

    asked = {"experiment_id": mine.id, "limit": 1000}
    entries = done(server, "audit", asked, ALICE)["entries"][::-1]
    assert [(one["who"], one["action"]) for one in entries if one["who"] == ALICE.name] == [
        (ALICE.name, action)
        for action in (
            *("visibility", "visibility", "permission", "link.create", "link.pause"),
            *("link.resume", "link.rotate", "link.revoke", "publish"),
            *("rule.add", "rule.delete", "run.stop", "run.delete"),
            *("run.restore", "report.create", "report.edit", "report.publish"),
            *("report.restore", "link.create", "report.comment", "report.comment.resolve"),
            *("report.clone", "report.delete", "report.delete", "experiment.delete"),
        )
    ]
    told = {one["action"]: one["detail"] for one in entries if one["target"] == report}
    assert told["report.publish"] == {"title": "Mine", "version": 1}
    linked = [one["detail"] for one in entries if one["action"] == "link.create"]
    assert [one.get("report") for one in linked] == [None, report]
    (published,) = [one["detail"] for one in entries if one["action"] == "publish"]
    assert (published["shown"], published["title"]) == ("metrics, notes", "Results")
    assert linked[0]["has_password"] is True
    others = [one for one in entries if not one["action"].startswith("report.")]
    rest = [(one["who"], one["action"]) for one in others if one["who"] != ALICE.name]
    joined = [(ADMIN.name, "invite.create"), (f"new-{name}", "invite.accept")]
    assert rest == [*joined, (ADMIN.name, "permission")]
    assert all(one["address"] == "127.0.0.1" for one in entries)
    assert entries[2]["target"] == BOB.name
    assert entries[2]["detail"]["permission"] == "EDIT"
    (moved,) = done(server, "audit", {"experiment_id": other.id}, ALICE)["entries"]
    assert (moved["action"], moved["target"]) == ("run.move", other.run_id)
    assert moved["detail"] == {"to": mine.id}
    everything = done(server, "audit", {"limit": 1000}, ADMIN)["entries"]
    assert {"account.create", "user.create"} <= {one["action"] for one in everything}
    by = done(server, "audit", {"who": ALICE.name, "action": "link", "limit": 2}, ADMIN)
    assert [one["action"] for one in by["entries"]] == ["link.create", "link.revoke"]
    last = by["entries"][-1]["id"]
    before = {"who": ALICE.name, "action": "link", "before": last, "limit": 1}
    assert done(server, "audit", before, ADMIN)["entries"][0]["action"] == "link.rotate"
    # Of others' experiments, and of all, not everybody reads it.
    for user, status in ((None, 401), (BOB, 403), (ALICE, 403)):
        assert api(server, "audit", {}, user).status == status
    for user, status in ((None, 401), (BOB, 403), (DAN, 403)):
        assert api(server, "audit", asked, user).status == status
    for action in ("%", "_", HOSTILE):
        assert done(server, "audit", {"action": action}, ADMIN)["entries"] == []
    engine = sa.create_engine(place.database)
    with engine.connect() as connection:
        rows = [str(row) for row in connection.execute(sa.text("SELECT * FROM weir_audit"))]
    engine.dispose()
    secrets = (
        *(password, invited.token, link.token, account["password"], "a link's password"),
        *("what a report says", "what a comment says"),
    )
    assert rows
    assert not [one for row in rows for one in secrets if one in row]


def test_a_report_and_what_is_said_of_it_is_taken_away_by_who_may(place: Place) -> None:
    """An editor writes and settles, and takes away what is theirs; a reader what they said."""
    server, mine = place.server, make_experiment(place.server)
    reader = User(f"reader-{new_id()}", "a reader's 1st password")
    make_user(server, reader)
    give = {"experiment_id": mine.id, "name": BOB.name, "permission": "EDIT"}
    done(server, "people/change", give, ALICE)

    def begin(user: User) -> dict[str, Any]:
        about = {"experiment_ids": [mine.id], "title": "Theirs"}
        report: dict[str, Any] = done(server, "reports/create", about, user)["report"]
        return report

    def change(report: dict[str, Any], user: User, action: str, **more: Any) -> int:
        body = {"id": report["id"], "action": action, **more}
        return api(server, "reports/change", body, user).status

    def comment(report: dict[str, Any], user: User, action: str, **more: Any) -> Answer:
        body = {"id": report["id"], "action": action, **more}
        return api(server, "reports/comments", body, user)

    report = begin(ALICE)
    # A draft is there for editors alone.
    assert api(server, "reports/read", {"id": report["id"]}, reader).status == 404
    assert change(report, reader, "delete") == 404
    assert change(report, BOB, "publish", draft=report["draft"]) == 200
    assert api(server, "reports/read", {"id": report["id"]}, reader).status == 200
    for action in ("publish", "delete"):
        assert change(report, reader, action, draft=report["draft"]) == 403
    assert change(report, BOB, "delete") == 403
    said = {}
    for user in (ALICE, reader):
        (said[user.name],) = [
            one["id"]
            for one in comment(report, user, "add", text=f"by {user.name}").body["comments"]
            if one["author"] == user.name
        ]
    of_alice, of_reader = {"comment": said[ALICE.name]}, {"comment": said[reader.name]}
    for action in ("resolve", "delete"):
        assert comment(report, reader, action, **of_alice).status == 403
    assert comment(report, BOB, "resolve", **of_alice).status == 200
    for theirs in (of_alice, of_reader):
        assert comment(report, BOB, "delete", **theirs).status == 403
    assert (
        comment(report, reader, "delete", **of_reader).body["comments"][0]["id"]
        == said[ALICE.name]
    )
    assert change(begin(BOB), BOB, "delete") == 200
    assert change(report, ALICE, "delete") == 200
    assert api(server, "reports/read", {"id": report["id"]}, ALICE).status == 404


def test_an_address_takes_invitations_up_a_few_times_and_then_waits(place: Place) -> None:
    """Last: afterwards this address waits a little."""
    # One try comes back in six seconds: then not even the right words are taken, for a while.
    for _ in range(50):
        link, n_tries = invite(place.server), 0
        while (answer := joins(link, "no name")).status == 400:
            n_tries += 1
            assert n_tries < 500
        assert (answer.status, answer.headers["retry-after"]) == (429, "10")
        name = f"{new_id()}@example.com"
        if joins(link, name).status == 429:
            break
    else:
        raise AssertionError("the right words were taken each time")
    assert link.ask("invite").status == 200  # and it is not used up
    assert seen_by(make_experiment(place.server), User(name, "a password of twelve")) == set()
