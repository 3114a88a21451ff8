"""MLflow's own page with our script on it: ways in, the frame in its shell, nothing in its way.

Were MLflow to move an element that these short cuts hold on to, the first tests here fail; the
last ones show that its page, and ours, work without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from browser import PHONE, Site, axe_violations, poll
from run_data import N_LINES

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

# MLflow asks for users on a server that has none.
STOCK_NOISE = r"users/current"
MARK = "window.isTheSame = true"


@pytest.fixture
def stock(page: Any, allow_errors: Callable[[str], None]) -> Any:
    """A page on which MLflow's own noise is no error of ours."""
    allow_errors(STOCK_NOISE)
    return page


def open_run(page: Any, site: Site) -> None:
    page.goto(site.stock(f"/experiments/{site.rich.experiment_id}/runs/{site.rich.other_id}"))
    page.locator("weir-dock nav").wait_for()


def frame_of(page: Any) -> Any:
    page.locator("iframe[data-weir-frame]").wait_for()
    return page.frame_locator("iframe[data-weir-frame]")


def hash_of(page: Any) -> str:
    return str(page.evaluate("location.hash"))


def test_the_dock_leads_into_the_shell_and_back_leads_out(stock: Any, site: Site) -> None:
    page = stock
    open_run(page, site)
    before = hash_of(page)
    page.locator("weir-dock").get_by_role("link", name="Code").click()
    frame = frame_of(page)
    frame.get_by_role("heading", name="Changes since the commit").wait_for()
    poll(page, lambda: hash_of(page) == f"#/weir/r/{site.rich.other_id}/code")
    # MLflow, which finds no such page, says so in the title for a moment.
    page.wait_for_function("document.title === 'resnet50 before · Weir'")
    poll(page, lambda: page.locator("weir-dock").count() == 0)

    def is_over_main() -> bool:
        main = page.locator("main").bounding_box()
        framed = page.locator("iframe[data-weir-frame]").bounding_box()
        return all(abs(main[side] - framed[side]) < 2 for side in ("x", "y", "width"))

    # Where `main` is, to the pixel; the side bar stays in reach.
    poll(page, is_over_main)
    page.go_back()
    page.locator("weir-dock nav").wait_for()
    poll(page, lambda: hash_of(page) == before)
    poll(page, lambda: page.locator("iframe[data-weir-frame]").count() == 0)
    page.go_forward()
    frame_of(page).get_by_role("heading", name="Changes since the commit").wait_for()


def test_back_goes_through_the_frames_tabs_without_a_reload(stock: Any, site: Site) -> None:
    page = stock
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    frame = frame_of(page)
    frame.get_by_role("heading", name="About").wait_for()
    page.frames[1].evaluate(MARK)
    for tab in ("Code", "Files"):
        frame.get_by_role("tab", name=tab).click()
        page.wait_for_function(f"location.hash.endsWith('/{tab.lower()}')")
    page.go_back()
    frame.get_by_role("heading", name="Changes since the commit").wait_for()
    poll(page, lambda: hash_of(page).endswith("/code"))
    page.go_back()
    frame.get_by_role("heading", name="About").wait_for()
    assert page.frames[1].evaluate("window.isTheSame") is True
    page.reload()
    frame_of(page).get_by_role("heading", name="About").wait_for()
    poll(page, lambda: hash_of(page).endswith("/overview"))


def test_a_new_tab_and_a_copied_link_land_on_the_same_view(
    stock: Any, site: Site, open_page: Callable[..., Any]
) -> None:
    page = stock
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    frame = frame_of(page)
    tab = frame.get_by_role("tab", name="Console")
    tab.wait_for()
    href = tab.get_attribute("href")
    assert href == f"/#/weir/r/{site.rich.other_id}/console"
    other = open_page()
    other.goto(site.server.address + href)
    selected = frame_of(other).get_by_role("tab", name="Console", selected=True)
    selected.wait_for()
    # The same place without the shell.
    other.goto(site.pages(f"/r/{site.rich.other_id}/console"))
    other.get_by_role("tab", name="Console", selected=True).wait_for()


def test_links_to_mlflows_pages_leave_the_frame_without_a_reload(stock: Any, site: Site) -> None:
    page = stock
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    frame = frame_of(page)
    page.evaluate(MARK)
    frame.get_by_role("button", name="Open this run in MLflow").click()
    page.locator("weir-dock nav").wait_for()
    poll(
        page,
        lambda: hash_of(page).startswith(f"#/experiments/{site.rich.experiment_id}/runs/"),
    )
    assert page.evaluate("window.isTheSame") is True


def test_the_side_bars_entry_leads_to_the_experiments_workspace(stock: Any, site: Site) -> None:
    page = stock
    page.goto(site.stock("/experiments"))
    entry = page.locator("[data-weir-nav=workspace] a")
    poll(page, lambda: entry.get_attribute("href") == "#/weir/")
    page.evaluate(f"location.hash = '#/experiments/{site.sweep.experiment_id}/runs'")
    page.wait_for_function(
        "document.querySelector('[data-weir-nav=workspace] a').hash.startsWith('#/weir/e/')"
    )
    assert entry.get_attribute("href") == f"#/weir/e/{site.sweep.experiment_id}"
    entry.click()
    frame_of(page).get_by_role("main").wait_for()
    poll(page, lambda: entry.get_attribute("aria-current") == "page")


@pytest.mark.parametrize("name", ["Reports", "Shared"])
def test_the_side_bar_leads_to_reports_and_links(stock: Any, site: Site, name: str) -> None:
    page = stock
    page.goto(site.stock("/experiments"))
    entry = page.locator(f"[data-weir-nav={name.lower()}] a")
    poll(page, lambda: entry.get_attribute("href") == f"#/weir/{name.lower()}")
    entry.click()
    frame_of(page).get_by_role("main").wait_for()
    poll(page, lambda: hash_of(page) == f"#/weir/{name.lower()}")
    poll(page, lambda: entry.get_attribute("aria-current") == "page")


@pytest.mark.parametrize("name", ["Charts", "Hardware", "Console", "Gradients"])
def test_the_dock_has_a_link_to_each_tab_of_a_run(stock: Any, site: Site, name: str) -> None:
    page = stock
    open_run(page, site)
    page.locator("weir-dock").get_by_role("link", name=re.compile(f"^{name}")).click()
    frame_of(page).get_by_role("tab", name=name, selected=True).wait_for()


def test_the_dock_leads_to_sharing_a_run(stock: Any, site: Site) -> None:
    page = stock
    open_run(page, site)
    page.locator("weir-dock").get_by_role("link", name="Share").click()
    frame_of(page).get_by_role("dialog").wait_for()


def test_a_collapsed_side_bar_keeps_the_icon_and_the_frame_grows(stock: Any, site: Site) -> None:
    page = stock
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    frame_of(page).get_by_role("heading", name="About").wait_for()
    label = page.locator("[data-weir-nav=workspace] [data-weir-label]")
    label.wait_for()
    frame = page.locator("iframe[data-weir-frame]")
    main = page.locator("main")
    # It follows `main` a moment later.
    poll(page, lambda: abs(frame.bounding_box()["x"] - main.bounding_box()["x"]) < 2)
    before = frame.bounding_box()["width"]
    page.locator("aside button").first.click()
    label.wait_for(state="hidden")
    entry = page.locator("[data-weir-nav=workspace] a")
    poll(page, lambda: entry.get_attribute("title") == "Workspace")
    page.wait_for_function(
        "before => document.querySelector('iframe[data-weir-frame]').clientWidth > before + 50",
        arg=before,
    )


def test_the_frame_follows_mlflows_dark_theme(
    site: Site, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    allow_errors(STOCK_NOISE)
    page = open_page(color_scheme="light")
    page.add_init_script("localStorage.setItem('_mlflow_dark_mode_toggle_enabled', 'true')")
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    frame_of(page).get_by_role("heading", name="About").wait_for()
    theme = "document.documentElement.dataset.theme"
    page.frames[1].wait_for_function(f"{theme} === 'dark'")
    colour = "getComputedStyle(document.body).color"
    poll(page, lambda: page.frames[1].evaluate(colour) == "rgb(232, 236, 240)")
    page.evaluate("document.body.classList.remove('dark-mode')")
    page.frames[1].wait_for_function(f"{theme} === 'light'")


COVERED = """() => {
    const dock = document.querySelector("weir-dock")
    const bar = dock.shadowRoot.querySelector("nav")
    const at = bar.getBoundingClientRect()
    if (getComputedStyle(bar).visibility === "hidden") return []
    const controls = "a,button,input,select,textarea,[role=button],[role=tab]"
    return [...document.querySelectorAll(controls)].filter((one) => {
        const box = one.getBoundingClientRect()
        if (box.width === 0 || getComputedStyle(one).visibility === "hidden") return false
        const isOver = box.left < at.right && box.right > at.left &&
            box.top < at.bottom && box.bottom > at.top
        if (!isOver) return false
        const seen = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2)
        return seen === dock
    }).map((one) => one.outerHTML.slice(0, 200))
}"""


def stays_uncovered(page: Any) -> bool:
    """Say whether the dock covers nothing, nor when what settles has been looked at twice more."""
    for _ in range(3):
        if page.evaluate(COVERED) != []:
            return False
        page.evaluate("() => new Promise((done) => setTimeout(done, 300))")
    return True


@pytest.mark.parametrize("height", [950, 500])
def test_the_dock_covers_no_control_of_mlflows(
    height: int, site: Site, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    allow_errors(STOCK_NOISE)
    page = open_page(viewport={"width": 1500, "height": height})
    experiment = f"/experiments/{site.rich.experiment_id}"
    for path in (f"{experiment}/runs", f"{experiment}/runs/{site.rich.other_id}"):
        page.goto(site.stock(path))
        page.locator("weir-dock nav").wait_for(state="attached")
        page.get_by_text("resnet50 before").first.wait_for()
        poll(page, lambda: stays_uncovered(page))


def test_the_assistant_and_the_dock_leave_each_other_room(
    stock: Any, site: Site, allow_errors: Callable[[str], None]
) -> None:
    # Pictures in the run's notes, which MLflow asks for: one elsewhere, one that is not there.
    allow_errors(r"evil\.example|404 \(Not Found\) \(http://127\.0\.0\.1:\d+/x\)$")
    allow_errors("ResizeObserver loop")  # of MLflow's page, when the Assistant closes
    page = stock
    page.goto(site.stock(f"/experiments/{site.rich.experiment_id}/runs/{site.rich.run_id}"))
    # What is known of the run is said as soon as it is.
    bar = page.locator("weir-dock")
    bar.get_by_role("link", name=f"Console {N_LINES:,}").wait_for()
    bar.get_by_role("link", name="Code changed").wait_for()

    def expect_room() -> None:
        """Wait until the dock is within `main`, whatever is beside that."""
        page.wait_for_function(
            """() => {
                const main = document.querySelector("main").getBoundingClientRect()
                const nav = document.querySelector("weir-dock").shadowRoot.querySelector("nav")
                const dock = nav.getBoundingClientRect()
                return dock.width > 0 && dock.left >= main.left && dock.right <= main.right
            }"""
        )

    # The Assistant is there; closed, the dock has more room, and keeps to it.
    expect_room()
    close = page.get_by_role("button", name="Close", exact=True)
    close.wait_for()
    before = page.locator("main").bounding_box()["width"]
    close.click()
    page.wait_for_function(
        "before => document.querySelector('main').clientWidth > before + 50", arg=before
    )
    expect_room()
    poll(page, lambda: stays_uncovered(page))


def test_the_dock_folds_and_stays_folded(stock: Any, site: Site) -> None:
    page = stock
    open_run(page, site)
    page.locator("weir-dock").get_by_role("button", name="Hide Weir's pages").click()
    page.reload()
    page.locator("weir-dock").get_by_role("button", name="Show Weir's pages").wait_for()
    poll(page, lambda: page.locator("weir-dock").get_by_role("link").count() == 0)
    page.keyboard.press("Escape")
    assert axe_violations(page, "weir-dock") == []


def test_without_mlflows_elements_only_the_short_cuts_are_lost(stock: Any, site: Site) -> None:
    page = stock
    page.add_init_script(
        """if (window.parent === window) new MutationObserver(() => {
            for (const found of document.querySelectorAll("aside, main")) {
                const other = document.createElement("section")
                other.append(...found.childNodes)
                found.replaceWith(other)
            }
        }).observe(document, {childList: true, subtree: true})"""
    )
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    frame_of(page).get_by_role("heading", name="About").wait_for()
    framed = page.locator("iframe[data-weir-frame]")
    whole = {"x": 0, "y": 0, "width": 1500, "height": 950}
    poll(page, lambda: framed.bounding_box() == whole)


def test_a_frame_that_is_not_let_in_becomes_a_page_of_its_own(
    site: Site, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    allow_errors(STOCK_NOISE)
    page = open_page()
    # As if the server let nobody frame it: the frame never says that it is ready.
    page.add_init_script("if (window.parent !== window) window.stop()")
    page.clock.install()
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    page.locator("iframe[data-weir-frame]").wait_for()
    page.clock.run_for(61_000)
    page.wait_for_url(re.compile(r"/weir/r/\w+/overview$"))


def test_on_a_phone_our_pages_leave_the_shell(
    site: Site, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    allow_errors(STOCK_NOISE)
    page = open_page(viewport=PHONE)
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    page.get_by_role("heading", name="About").wait_for()
    poll(page, lambda: page.url == site.pages(f"/r/{site.rich.other_id}/overview"))


def test_messages_of_others_move_nothing(stock: Any, site: Site) -> None:
    page = stock
    page.goto(site.stock(f"/weir/r/{site.rich.other_id}/overview"))
    frame_of(page).get_by_role("heading", name="About").wait_for()
    before = hash_of(page)
    page.evaluate(
        """() => {
            const to = "#/experiments/0"
            postMessage({weir: "go", hash: to}, "*")
            postMessage({weir: "url", path: "/e/0", query: "", title: "x", push: true}, "*")
            const frame = document.createElement("iframe")
            frame.id = "other"
            document.body.append(frame)
            frame.contentWindow.parent.postMessage({weir: "go", hash: to}, "*")
        }"""
    )
    page.frames[1].evaluate(
        """() => {
            for (const bad of [{weir: "go", hash: "javascript:alert(1)"}, {weir: "url", path: 1},
                {weir: "url", path: "x", query: "", title: "", push: true}, null, "go"]) {
                parent.postMessage(bad, location.origin)
            }
        }"""
    )
    page.evaluate("() => new Promise((done) => setTimeout(done))")  # after those messages
    assert hash_of(page) == before
