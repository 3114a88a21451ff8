"""Links for anyone: made in the dialog, opened without an account, ended in the list."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient

from browser import PHONE, Site, axe_violations, poll
from run_data import N_LINES, XSS
from senders import call
from workspace_data import FIRST_START_MS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

API = "/ajax-api/3.0/weir/shares"
PARTS = (
    *("notes", "code", "patch", "console", "command", "host", "git_url", "files", "media"),
    *("hardware", "histograms"),
)
GONE = "This link does not work (any more)"


def shown(**ticked: Any) -> dict[str, Any]:
    """Return what a link shows: nothing but this."""
    closed: dict[str, Any] = {"metrics": [], "params": [], "tags": []}
    return {**closed, **dict.fromkeys(PARTS, False), **ticked}


def make_link(site: Site, **changes: Any) -> dict[str, Any]:
    """Make a link to the rich run; return what the server says of it."""
    body = {
        "kind": "run",
        "title": "A shared run",
        "experiment_ids": [site.rich.experiment_id],
        "run_ids": [site.rich.run_id],
        "filter": None,
        "view": None,
        "is_live": False,
        "shown": shown(metrics=["train/loss"]),
        "replaces_names": False,
        "expires_ms": None,
        "password": None,
        "is_preview": False,
        **changes,
    }
    answer = call(site.server, "POST", f"{API}/create", body)
    assert answer.status == 200, answer
    made: dict[str, Any] = answer.body
    return made


def address_of(site: Site, made: dict[str, Any]) -> str:
    return f"{site.server.address}{made['path']}"


def watch_requests(page: Any) -> list[str]:
    """Note the address of everything a page asks for, from now on."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    return seen


def strangers(seen: list[str], site: Site, made: dict[str, Any]) -> list[str]:
    """Return those requests that a visitor's page has no business with."""
    own = (address_of(site, made), f"{site.server.address}/weir/s/assets/", "blob:")
    return [url for url in seen if not url.startswith(own)]


def is_untouched(page: Any) -> bool:
    """Say whether nothing that somebody wrote has run, and nothing was left behind."""
    return page.context.cookies() == [] and bool(
        page.evaluate("window.wasRun === undefined && window.__hostile === undefined")
    )


def test_a_view_is_shared_in_the_dialog_and_opens_for_somebody_without_an_account(
    site: Site, page: Any, open_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    page.get_by_role("button", name="Share", exact=True).click()
    dialog = page.get_by_role("dialog")
    metrics = dialog.get_by_role("list", name="Metrics")
    metrics.wait_for()
    # This server has no login, and the dialog says what that means; nothing is ticked.
    dialog.get_by_text("This server has no login").wait_for()
    metrics.get_by_role("checkbox").first.wait_for()
    assert dialog.locator("input[type=checkbox]:checked").count() == 0
    assert dialog.get_by_role("radio", name="Frozen as of now").is_checked()
    metrics.get_by_role("checkbox", name="train/loss", exact=True).check()
    dialog.get_by_text("Params").first.click()
    dialog.get_by_role("list", name="Params").get_by_role("checkbox", name="lr").check()
    # The preview is the page itself, through the same scope.
    preview = dialog.frame_locator("iframe[title='Preview of the shared page']")
    preview.locator("[data-keys='train/loss'] canvas").first.wait_for()
    preview.get_by_text("Shared, read-only · as of").wait_for()
    assert preview.locator("[data-keys='val/loss']").count() == 0
    assert axe_violations(page, ".w-share") == []
    title = dialog.get_by_role("textbox", name="Title")
    title.fill("<b>My</b> sweep")
    title.press("Enter")
    field = dialog.get_by_role("textbox", name="The link, shown this once")
    field.wait_for()
    address = field.input_value()
    assert re.fullmatch(rf"{re.escape(site.pages('/s/'))}[\w-]{{40,}}", address)
    assert axe_violations(page, ".w-share") == []
    dialog.get_by_role("button", name="Done").click()
    # The experiment's name has it beside it, and the list.
    page.get_by_role("button", name=re.compile(r"^\d+ links?$")).click()
    page.get_by_role("link", name="Manage them").click()
    row = page.get_by_role("row").filter(has_text="<b>My</b> sweep").first
    row.filter(has_text="A view of").wait_for()
    row.filter(has_text="1 metric, 1 param").wait_for()

    visitor = open_page(color_scheme="light")
    seen = watch_requests(visitor)
    visitor.goto(address)
    assert visitor.title() == "<b>My</b> sweep"  # before any script has asked for anything
    visitor.locator("[data-keys='train/loss'] canvas").first.wait_for()
    assert visitor.locator("article.w-card").count() == 1
    run_id = site.sweep.run_ids[0]
    line = visitor.wait_for_function(
        """id => {
            const [chart] = window.__weirCharts ? window.__weirCharts(true).charts : []
            if (!chart || !chart.isComplete) return false
            return chart.lines.find((line) => line.runId === id && line.x.length > 0)
        }""",
        arg=run_id,
    ).json_value()
    monkeypatch.setenv("WEIR_CLIENT", "off")
    history = MlflowClient(site.server.address).get_metric_history(run_id, "train/loss")
    assert line["total"] == len(history)
    assert max(line["high"]) == pytest.approx(max(point.value for point in history))
    assert min(line["low"]) == pytest.approx(min(point.value for point in history))
    # Search and eyes work, are in the fragment alone, and lead back to the same view.
    visitor.get_by_role("textbox", name="Search runs").fill("0")
    visitor.wait_for_function("() => location.hash.includes('q=0')")
    assert visitor.url.partition("#")[0] == address
    visitor.get_by_role("grid", name="Runs").get_by_role("link").first.click()
    visitor.get_by_role("tab", name="Charts").wait_for()
    visitor.get_by_role("link", name="All runs").click()
    field = visitor.get_by_role("textbox", name="Search runs")
    poll(visitor, lambda: field.input_value() == "0")
    assert visitor.get_by_role("link", name="MLflow").count() == 0
    assert axe_violations(visitor) == []
    assert is_untouched(visitor)
    token = address.rpartition("/")[2]
    made = {"path": f"/weir/s/{token}"}
    assert strangers(seen, site, made) == []
    assert token not in visitor.title()


def test_every_tab_of_a_hostile_run_is_harmless_to_its_visitor(
    site: Site, open_page: Callable[..., Any]
) -> None:
    hostile = f"{XSS} {'x' * 300}"[:250]
    made = make_link(
        site,
        title=hostile,
        shown=shown(
            metrics=["*"],
            params=["lr", "note", "long", "__proto__"],
            tags=["team"],
            **dict.fromkeys(PARTS, True),
        ),
    )
    page = open_page(color_scheme="dark", viewport=PHONE)
    seen = watch_requests(page)
    page.goto(address_of(site, made))
    panel = page.get_by_role("tabpanel")
    panel.get_by_role("region", name="Notes").locator("h3", has_text="What this was").wait_for()
    heading = page.get_by_role("heading", level=1)
    poll(page, lambda: heading.get_attribute("title") == hostile)
    about = panel.get_by_role("region", name="About").inner_text()
    assert "gpu-node-7" in about
    assert axe_violations(page) == []
    tabs = {
        "Charts": panel.locator("article.w-card canvas").first,
        "Hardware": panel.locator("figure canvas").first,
        "Console": panel.get_by_text(f"{N_LINES:,} lines"),
        "Code": panel.get_by_role("heading", name="Changes since the commit"),
        "Gradients": panel.get_by_role("heading", name="Norm of each layer"),
        "Media": panel.locator("img").first,
        "Files": panel.get_by_role("button", name="config.json"),
    }
    for name, found in tabs.items():
        page.get_by_role("tab", name=name).click()
        found.wait_for()
        # Nothing is wider than the phone.
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        if name in {"Console", "Code"}:
            assert axe_violations(page) == []
    # Files are looked at, and none of them is believed.
    preview = panel.get_by_role("region", name="Preview")
    for name, found in {
        "page.html": preview.get_by_text("<h1>hi</h1>"),
        "table.csv": preview.get_by_role("cell", name="=1+1"),
        "drawing.svg": preview.locator("img"),
        "report.md": preview.get_by_text("What this was"),
        "config.json": preview.get_by_text('"layers"'),
    }.items():
        panel.get_by_role("button", name=name).click()
        found.first.wait_for()
    assert page.get_by_role("button", name=re.compile("Edit|Write|Set tags|Delete")).count() == 0
    assert is_untouched(page)
    assert strangers(seen, site, made) == []


def test_what_is_not_ticked_is_nowhere_on_the_page(
    site: Site, open_page: Callable[..., Any]
) -> None:
    made = make_link(site, replaces_names=True)
    page = open_page(color_scheme="light")
    asked: list[Any] = []
    page.on("requestfinished", lambda one: asked.append(one) if "/api/" in one.url else None)
    page.goto(address_of(site, made))
    page.get_by_role("region", name="Metrics").get_by_text("train/loss").wait_for()
    assert [tab.inner_text() for tab in page.get_by_role("tab").all()] == ["Overview", "Charts"]
    page.get_by_role("tab", name="Charts").click()
    page.locator("article.w-card canvas").first.wait_for()
    page.wait_for_load_state("networkidle")
    answers = [one.response().text() for one in asked]
    assert answers
    everything = " ".join([page.content(), *answers])
    for kept_back in ("gpu-node-7", "val/", "resnet50", "warm-up", "train.py", "out of memory"):
        assert kept_back not in everything, kept_back
    assert re.search(r"Run \d+", page.get_by_role("main").inner_text())


def test_a_link_is_paused_given_a_new_address_and_revoked_in_two_steps(
    site: Site, page: Any, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    allow_errors("404")  # of the links that have ended
    made = make_link(site, title="to be ended")
    visitor = open_page(color_scheme="dark")
    visitor.goto(address_of(site, made))
    visitor.get_by_role("region", name="Metrics").wait_for()
    page.goto(site.pages(f"/shared?e={site.rich.experiment_id}"))
    row = page.get_by_role("row").filter(has_text="to be ended")

    def act(name: str) -> None:
        # By keyboard: the menu is opened, gone through, and closed without a pointer.
        row.get_by_role("button", name="Actions on to be ended").press("Enter")
        menu = page.get_by_role("menu")
        menu.get_by_role("menuitem", name=name).press("Enter")

    act("Pause")
    row.get_by_text("Paused").wait_for()
    # Who has it open learns of it with the next question, who opens it sees the same page.
    visitor.get_by_role("tab", name="Charts").click()
    visitor.get_by_role("heading", name=GONE).wait_for()
    visitor.reload()
    visitor.get_by_role("heading", name=GONE).wait_for()
    assert axe_violations(visitor) == []
    act("Let it work again")
    row.get_by_text("Active").wait_for()
    visitor.reload()
    visitor.get_by_role("tab", name="Charts", selected=True).wait_for()
    act("New address")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make a new address").click()
    field = dialog.get_by_role("textbox", name="The link, shown this once")
    field.wait_for()
    address = field.input_value()
    dialog.get_by_role("button", name="Done").click()
    visitor.reload()
    visitor.get_by_role("heading", name=GONE).wait_for()
    visitor.goto(address)
    visitor.get_by_role("region", name="Metrics").wait_for()
    act("Who looked")
    dialog.get_by_role("row").filter(has_text="127.0.0.1").first.wait_for()
    dialog.get_by_role("button", name="Close").press("Enter")
    assert axe_violations(page) == []
    act("Revoke")
    # The first step does nothing yet.
    dialog.get_by_role("button", name="Keep it").press("Enter")
    visitor.reload()
    visitor.get_by_role("region", name="Metrics").wait_for()
    act("Revoke")
    dialog.get_by_role("button", name="Revoke").press("Enter")
    row.get_by_text("Revoked").wait_for()
    visitor.reload()
    visitor.get_by_role("heading", name=GONE).wait_for()


def test_a_password_is_asked_for_before_anything_is_told(
    site: Site, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    allow_errors("401")  # that is how the page learns of the password
    made = make_link(site, title="a title to be kept", password="open sesame")
    page = open_page(color_scheme="light", viewport=PHONE)
    page.goto(address_of(site, made))
    field = page.get_by_label("Password")
    field.wait_for()
    assert "a title to be kept" not in page.content()
    assert axe_violations(page) == []
    field.fill("wrong")
    field.press("Enter")
    page.get_by_role("alert").wait_for()
    assert field.input_value() == "wrong"
    field.fill("open sesame")
    field.press("Enter")
    page.get_by_role("heading", name="a title to be kept").wait_for()
    page.get_by_role("region", name="Metrics").get_by_text("train/loss").wait_for()
    page.reload()
    page.get_by_role("heading", name="a title to be kept").wait_for()
    assert is_untouched(page)


def test_a_live_link_shows_runs_and_points_as_they_come(
    site: Site, open_page: Callable[..., Any]
) -> None:
    def ask(path: str, body: dict[str, Any]) -> Any:
        answer = call(site.server, "POST", f"/api/2.0/mlflow/{path}", body)
        assert answer.status == 200, answer
        return answer.body

    def begin(name: str) -> str:
        body = {"experiment_id": experiment_id, "run_name": name, "start_time": FIRST_START_MS}
        run_id: str = ask("runs/create", body)["run"]["info"]["run_id"]
        return run_id

    def log(run_id: str, steps: range) -> None:
        for step in steps:
            point = {"key": "loss", "value": 1 / (1 + step), "step": step, "timestamp": step}
            ask("runs/log-metric", {"run_id": run_id, **point})

    experiment_id = ask("experiments/create", {"name": "shared while it runs"})["experiment_id"]
    first = begin("first")
    log(first, range(3))
    made = make_link(
        site,
        kind="experiment",
        experiment_ids=[experiment_id],
        run_ids=None,
        is_live=True,
        shown=shown(metrics=["*"]),
    )
    page = open_page(color_scheme="light")
    page.goto(address_of(site, made))
    page.locator("[data-keys=loss] canvas").first.wait_for()
    page.get_by_text("1 of 1", exact=True).wait_for()
    second = begin("second")
    log(second, range(5))
    log(first, range(3, 5))
    page.get_by_text("2 of 2", exact=True).wait_for()
    page.wait_for_function(
        """ids => ids.every((id) => window.__weirCharts(true).charts.some((chart) =>
            chart.lines.some((line) => line.runId === id && line.x.length === 5)))""",
        arg=[first, second],
    )


def test_the_dialog_and_the_list_work_on_a_phone_in_the_dark(
    site: Site, open_page: Callable[..., Any]
) -> None:
    page = open_page(color_scheme="dark", viewport=PHONE)
    page.goto(site.pages(f"/r/{site.rich.run_id}/overview?share=1"))
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("list", name="Metrics").get_by_role("checkbox").first.check()
    preview = dialog.frame_locator("iframe[title='Preview of the shared page']")
    preview.get_by_role("heading", level=1).wait_for()
    assert axe_violations(page, ".w-share") == []
    assert dialog.evaluate("box => box.scrollWidth <= box.clientWidth")
    dialog.get_by_role("button", name="Close").press("Enter")
    page.wait_for_function("() => !location.search.includes('share')")
    make_link(site, title="seen on a phone")
    page.goto(site.pages("/shared"))
    row = page.get_by_role("row").filter(has_text="seen on a phone").first
    row.get_by_text("No login").wait_for()  # who sees the experiment, where its name is
    assert axe_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
