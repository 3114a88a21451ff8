"""Who may see an experiment, as its owner, an administrator, a reader and the invited see it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import NO_JOBS, PHONE, axe_violations
from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from reports import paragraph, write_report
from senders import User, call, login_variables

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

ADMIN = User("admin", "an administrator's 1st password")
OWNER = User("olga", "olga's own 1st password")
READER = User("rita", "rita's own 1st password")
HOSTILE = User("<img src=x onerror=alert(1)>\u202e" + "x" * 200, "a hostile 1st password")
ROUTES = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def server(
    pages_are_built: None, sqlite_folder: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Run a server that asks for a login."""
    folder: Path = tmp_path_factory.mktemp("teams")
    database = sqlite_folder.new_mlflow_database().replace("sqlite:", "sqlite+weir:")
    arguments = ["server", "--app-name", "basic-auth", "--backend-store-uri", database]
    variables = (
        NO_JOBS,
        *login_variables(folder, ADMIN),
    )
    with start_servers(ServerSpec(arguments, folder, variables)) as (started,):
        for user in (OWNER, READER, HOSTILE):
            body = {"username": user.name, "password": user.password}
            made = call(started, "POST", f"{ROUTES}/users/create", body, user=ADMIN)
            assert made.status == 200, made
        yield started


def test_an_experiment_is_private_public_and_given_to_people(
    server: ServerProcess, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    allow_errors("40[01349]")  # of who may not, and of what is refused

    def ask(path: str, body: dict[str, Any]) -> Any:
        answer = call(server, "POST", f"{ROUTES}/{path}", body, user=OWNER)
        assert answer.status == 200, answer
        return answer.body

    name = "Olga's <b>sweep</b>"
    of = ask("experiments/create", {"name": name})["experiment_id"]
    run = ask("runs/create", {"experiment_id": of, "run_name": "first", "start_time": 1})
    point = {"key": "loss", "value": 0.5, "timestamp": 1, "step": 1}
    ask("runs/log-metric", {"run_id": run["run"]["info"]["run_id"], **point})

    def signed_in(user: User, **options: Any) -> Any:
        credentials = {"username": user.name, "password": user.password}
        return open_page(http_credentials=credentials, **{"color_scheme": "light", **options})

    # From MLflow's own page: the dock says who may see it, and leads into the dialog.
    owner = signed_in(OWNER)
    owner.goto(f"{server.address}/#/experiments/{of}/runs")
    owner.get_by_role("navigation", name="Weir").get_by_role("link", name="Team").click()
    frame = owner.frame_locator("[data-weir-frame]")
    dialog = frame.get_by_role("dialog")
    dialog.get_by_role("radio", name="Private").check()
    dialog.get_by_role("button", name="Make it private").click()
    frame.get_by_role("button", name="Private").wait_for()
    # Wherever its name is, so is who may see it: in the palette, beside a report that is written,
    # and where runs are compared.
    body = {"experiment_ids": [of], "title": "Notes"}
    report = call(server, "POST", "/ajax-api/3.0/weir/reports/create", body, user=OWNER)
    owner.goto(f"{server.address}/weir/reports/{report.body['report']['id']}/edit")
    owner.get_by_role("button", name="Private").wait_for()
    owner.get_by_role("navigation", name="Where you are").get_by_text(name).wait_for()
    owner.keyboard.press("Control+k")
    owner.get_by_role("combobox", name="Go to").fill("sweep")
    owner.get_by_role("option", name=name).get_by_text("Private").wait_for()
    owner.goto(f"{server.address}/weir/e/{of}/compare?runs={run['run']['info']['run_id']}")
    owner.get_by_role("button", name="Private").wait_for()
    owner.get_by_role("navigation", name="Where you are").get_by_text(name).wait_for()
    reader = signed_in(READER)
    reader.goto(f"{server.address}/weir/")
    reader.get_by_role("link", name="Default").wait_for()
    assert reader.get_by_text("sweep").count() == 0
    reader.goto(f"{server.address}/weir/teams?e={of}")
    reader.get_by_text("does not exist").first.wait_for()

    # Who is signed in lists their own runs alone: MLflow's client says whose they are.
    for whose, user in (("mine", OWNER), ("another's", READER)):
        tags = [{"key": "mlflow.user", "value": user.name}]
        ask("runs/create", {"experiment_id": of, "run_name": whose, "tags": tags})
    owner.goto(f"{server.address}/weir/e/{of}")
    owner.locator('.w-run-name[title="another\'s"]').wait_for()
    owner.get_by_role("button", name="Which runs are drawn").click()
    owner.get_by_text("List only my runs").click()
    owner.locator('.w-run-name[title="another\'s"]').wait_for(state="detached")
    owner.locator('.w-run-name[title="mine"]').wait_for()
    owner.get_by_role("button", name="Filter · 1").click()
    assert owner.get_by_label("Runs of").locator("option:checked").inner_text() == "me (olga)"
    owner.keyboard.press("Escape")
    owner.get_by_role("button", name="Which runs are drawn").click()
    owner.get_by_text("List everybody").click()
    owner.locator('.w-run-name[title="another\'s"]').wait_for()

    # Somebody is named, and told where that is from; names are text.
    owner.goto(f"{server.address}/weir/teams?e={of}")
    owner.get_by_role("row").filter(has_text="Owner").wait_for()
    assert owner.get_by_role("row").count() == 3  # the head, the owner and the administrator
    owner.get_by_role("textbox", name="Add a person").fill(READER.name)
    owner.get_by_role("button", name="Add").click()
    rita = owner.get_by_role("row").filter(has_text=READER.name)
    rita.get_by_text("Named", exact=True).wait_for()
    reader.reload()
    reader.get_by_text("Who may delete this experiment sees who may see it").wait_for()
    owner.get_by_role("checkbox", name="Show people without access").check()
    hostile = owner.get_by_role("row").filter(has_text="onerror")
    hostile.get_by_text("Private: not named").wait_for()
    assert "\\u{202e}" in hostile.inner_text()
    rita.get_by_role("button", name="Remove rita").click()
    rita.get_by_text("Private: not named").wait_for()
    own = owner.get_by_role("row").filter(has_text="Owner")
    own.get_by_role("combobox").select_option("Read")
    own.get_by_text("an experiment has an owner").wait_for()
    assert axe_violations(owner) == []
    owner.get_by_role("tab", name="Audit log").click()
    owner.get_by_text("level: private, was: team").wait_for()
    assert owner.get_by_role("row").filter(has_text=READER.name).count() == 2
    owner.get_by_role("combobox", name="What").select_option("Links")
    owner.get_by_text("Nothing of that was done yet").wait_for()

    # Public: what is ticked is seen before it is, and then by whoever has the address.
    owner.goto(f"{server.address}/weir/e/{of}")
    owner.get_by_role("button", name="Private").click()
    dialog = owner.get_by_role("dialog")
    dialog.get_by_role("radio", name="Public").check()
    dialog.get_by_role("checkbox", name="loss", exact=True).wait_for()
    assert axe_violations(owner, "dialog form") == []
    dialog.get_by_role("checkbox", name="loss", exact=True).check()
    dialog.get_by_role("button", name="Make it public").click()
    address = dialog.get_by_role("textbox", name="Its address")
    address.wait_for()
    visitor = open_page(color_scheme="dark", viewport=PHONE)
    visitor.goto(address.input_value())
    visitor.get_by_role("heading", name=name).wait_for()
    dialog.get_by_role("button", name="Done").click()
    owner.get_by_role("button", name="Public").wait_for()
    reader.goto(f"{server.address}/weir/")
    row = reader.get_by_role("row").filter(has_text="sweep")
    row.get_by_text("Public").wait_for()

    # An invitation, on a phone, taken up by somebody without an account.
    admin = signed_in(ADMIN, viewport=PHONE, color_scheme="dark")
    admin.goto(f"{server.address}/weir/teams?e={of}&tab=invites")
    admin.get_by_text("Nobody is invited").wait_for()
    admin.get_by_role("textbox", name="For whom").fill(HOSTILE.name[:100])
    admin.get_by_role("combobox", name="who may").select_option("edit")
    admin.get_by_role("button", name="Make an invitation").click()
    told = admin.get_by_role("textbox", name="The link, shown this once")
    told.wait_for()
    link = told.input_value()
    admin.get_by_role("button", name="Done").click()
    admin.get_by_text("Open", exact=True).wait_for()
    assert axe_violations(admin) == []
    width = admin.evaluate("() => document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    invited = open_page(color_scheme="light", viewport=PHONE)
    invited.goto(link)
    invited.get_by_text(f"admin invites you to “{name}”").wait_for()
    assert axe_violations(invited) == []
    invited.get_by_label("Name, which you sign in with").fill("rita")
    for label in ("Password, 12", "The same password"):
        invited.get_by_label(label).fill("a password of twelve")
    invited.get_by_role("button", name="Join").click()
    invited.get_by_text("this name is taken").wait_for()
    invited.get_by_label("Name, which you sign in with").fill("ivan")
    invited.get_by_role("button", name="Join").click()
    invited.get_by_text("Welcome, ivan").wait_for()
    assert (
        invited.get_by_role("link", name="Sign in").get_attribute("href") == f"{server.address}/"
    )
    invited.goto(link)
    invited.get_by_role("heading", name="This link does not work").wait_for()
    joined = User("ivan", "a password of twelve")
    tag = {"experiment_id": of, "key": "by", "value": "ivan"}
    answer = call(server, "POST", f"{ROUTES}/experiments/set-experiment-tag", tag, user=joined)
    assert answer.status == 200
    admin.goto(f"{server.address}/weir/teams?e={of}&tab=accounts")
    admin.get_by_role("textbox", name="Name").fill("nightly")
    admin.get_by_role("button", name="Make it").click()
    told = admin.get_by_role("textbox", name="Its password, shown this once")
    told.wait_for()
    job = User("nightly", told.input_value())
    tag["value"] = "nightly"
    answer = call(server, "POST", f"{ROUTES}/experiments/set-experiment-tag", tag, user=job)
    assert answer.status == 200
    admin.get_by_role("button", name="Done").click()
    admin.get_by_role("button", name="Disable").click()
    admin.get_by_text("Disabled", exact=True).wait_for()
    answer = call(server, "POST", f"{ROUTES}/experiments/set-experiment-tag", tag, user=job)
    assert answer.status == 401


EDITOR = User("edda", "edda's own 1st password")
STRANGER = User("sven", "sven's own 1st password")
SECRET = "nobody-elses"
# Each page about an experiment, and what is there to press for who may change something.
TABS = ("hardware", "console", "code", "gradients", "media", "files")
PAGES = {
    "/": None,
    "/e/{of},0": None,
    **{f"/r/{{run}}/{tab}": None for tab in TABS},
    "/e/{of}": ("button", "Share", "EDIT"),
    "/e/{of}/compare?runs={run}": None,
    "/r/{run}/overview": ("button", "Share", "EDIT"),
    "/r/{run}/charts": ("button", "Share", "EDIT"),
    "/reports?e={of}": ("button", "New report", "EDIT"),
    "/reports/{report}": ("button", "Edit", "EDIT"),
    "/reports/{report}/edit": ("textbox", "The report", "EDIT"),
    "/shared?e={of}": ("rowheader", re.compile(SECRET), "EDIT"),
    "/alerts?e={of}": ("button", "Add the rule", "EDIT"),
    "/alerts?e={of}&tab=targets": ("button", "Add the target", "ADMINISTER"),
    "/teams?e={of}": ("textbox", "Add a person", "MANAGE"),
    "/teams?e={of}&tab=invites": ("button", "Make an invitation", "ADMINISTER"),
    "/teams?e={of}&tab=accounts": ("button", "Make it", "ADMINISTER"),
    "/teams?e={of}&tab=audit": ("combobox", "What", "MANAGE"),
}
NOT_THERE = re.compile("does not exist|no such")
NOT_YOURS = re.compile(
    "Who may (delete this experiment|make users)|not permitted|is an administrator.s to say"
)
RANKS = (None, "READ", "EDIT", "MANAGE", "ADMINISTER")


@pytest.fixture(scope="module")
def places(server: ServerProcess) -> dict[str, str]:
    """Make a private experiment with a run, a report and a link, which three users may see."""

    def post(path: str, body: dict[str, Any], user: User = OWNER) -> Any:
        answer = call(server, "POST", path, body, user=user)
        assert answer.status == 200, answer
        return answer.body

    for user in (EDITOR, STRANGER):
        made = {"username": user.name, "password": user.password}
        post(f"{ROUTES}/users/create", made, ADMIN)
    of = post(f"{ROUTES}/experiments/create", {"name": f"{SECRET} experiment"})["experiment_id"]
    run = {"experiment_id": of, "run_name": f"{SECRET} run", "start_time": 1}
    run_id = post(f"{ROUTES}/runs/create", run)["run"]["info"]["run_id"]
    post(
        f"{ROUTES}/runs/log-metric", {"run_id": run_id, "key": SECRET, "value": 1, "timestamp": 1}
    )
    weir = "/ajax-api/3.0/weir"
    report_id, _ = write_report(server, of, f"{SECRET} report", paragraph(SECRET), user=OWNER)
    link = {"kind": "experiment", "title": f"{SECRET} link", "experiment_ids": [of]}
    post(f"{weir}/shares/create", {**link, "is_live": True, "shown": {}, "filter": {}})
    post(f"{weir}/visibility/change", {"experiment_id": of, "level": "private"})
    for user, permission in ((READER, "READ"), (EDITOR, "EDIT")):
        named = {"experiment_id": of, "name": user.name, "permission": permission}
        post(f"{weir}/people/change", named)
    return {"of": of, "run": run_id, "report": report_id}


@pytest.mark.parametrize(
    ("user", "permission"),
    [
        pytest.param(None, None, id="anonymous"),
        pytest.param(STRANGER, None, id="stranger"),
        pytest.param(READER, "READ", id="reader", marks=pytest.mark.long),
        pytest.param(EDITOR, "EDIT", id="editor", marks=pytest.mark.long),
        pytest.param(OWNER, "MANAGE", id="owner", marks=pytest.mark.long),
        pytest.param(ADMIN, "ADMINISTER", id="administrator", marks=pytest.mark.long),
    ],
)
def test_each_page_shows_each_kind_of_user_what_they_may_see_and_do(
    user: User | None,
    permission: str | None,
    server: ServerProcess,
    places: dict[str, str],
    open_page: Callable[..., Any],
    allow_errors: Callable[[str], None],
) -> None:
    allow_errors("40[134]")
    options: dict[str, Any] = {"color_scheme": "light"}
    if user is not None:
        options["http_credentials"] = {"username": user.name, "password": user.password}
    page = open_page(**options)
    for path, control in PAGES.items():
        address = f"{server.address}/weir{path.format(**places)}"
        if user is None:
            answer = page.request.get(address)
            assert (answer.status, SECRET in answer.text()) == (401, False), path
            continue
        if permission is None:
            # Refused in the words of what does not exist; nothing of it is told.
            page.goto(address)
            if path == "/":
                page.get_by_role("link", name="Default").wait_for()
            else:
                page.get_by_text(NOT_THERE).or_(page.get_by_text(NOT_YOURS)).first.wait_for()
            assert SECRET not in page.content(), path
            continue
        page.goto(address)
        may = control is None or RANKS.index(permission) >= RANKS.index(control[2])
        if may and control is not None:
            page.get_by_role(control[0], name=control[1], exact=True).first.wait_for()
        elif "/teams" in path or path.endswith(("/edit", "targets")):
            page.get_by_text(NOT_YOURS).first.wait_for()
        elif "/alerts" in path:
            page.get_by_role("button", name="Private").wait_for()  # who may see it
        elif "/shared" in path:
            page.get_by_text("Nothing is shared").wait_for()
        else:
            page.get_by_text(SECRET).first.wait_for()
        if not may and control is not None:
            found = page.get_by_role(control[0], name=control[1], exact=True)
            assert found.count() == 0, path
