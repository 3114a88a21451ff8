"""The pages as a browser sees them: theme before the first paint, policy kept, keyboard, axe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from browser import PHONE, Site, axe_violations, poll

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

BACKGROUND = "getComputedStyle(document.body).backgroundColor"
DARK, LIGHT = "rgb(17, 23, 28)", "rgb(255, 255, 255)"


@pytest.mark.parametrize(
    ("system", "stored", "expected"),
    [
        ("light", None, LIGHT),
        ("dark", None, DARK),
        ("light", "true", DARK),
        ("dark", "false", LIGHT),
    ],
)
def test_the_theme_is_mlflows_choice_else_the_systems_before_the_first_paint(
    system: str, stored: str | None, expected: str, site: Site, open_page: Callable[..., Any]
) -> None:
    page = open_page(color_scheme=system)
    if stored is not None:
        key = "_mlflow_dark_mode_toggle_enabled"
        page.add_init_script(f"localStorage.setItem('{key}', '{stored}')")
    # What the first paint would show, before the application has drawn anything.
    page.add_init_script(
        """new MutationObserver((_, observer) => {
            if (document.body === null) return
            observer.disconnect()
            window.themeAtBody = document.documentElement.dataset.theme
        }).observe(document, {childList: true, subtree: true})"""
    )
    page.goto(site.pages("/nothing"))
    page.get_by_role("heading", name="Not found").wait_for()
    assert page.evaluate("window.themeAtBody") == ("dark" if expected == DARK else "light")
    assert page.evaluate(BACKGROUND) == expected


def test_choosing_a_theme_holds_for_the_next_page(site: Site, page: Any) -> None:
    page.goto(site.pages("/nothing"))
    page.get_by_role("button", name="Use the dark theme").click()
    poll(page, lambda: page.evaluate(BACKGROUND) == DARK)
    page.reload()
    page.get_by_role("button", name="Use the light theme").wait_for()
    assert page.evaluate(BACKGROUND) == DARK


def test_the_policy_lets_no_script_of_a_page_in(
    site: Site, page: Any, allow_errors: Callable[[str], None]
) -> None:
    allow_errors("Content Security Policy")
    page.goto(site.pages("/nothing"))
    page.get_by_role("heading", name="Not found").wait_for()
    page.evaluate(
        """() => {
            const script = document.createElement("script")
            script.textContent = "window.wasRun = true"
            document.body.append(script)
            const image = document.createElement("img")
            image.setAttribute("onerror", "window.wasRun = true")
            const tried = new Promise((done) => image.addEventListener("error", done))
            image.src = "nothing.png"
            document.body.append(image)
            return tried
        }"""
    )
    assert page.evaluate("window.wasRun") is None


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, PHONE])
def test_a_page_that_is_not_there_says_so_and_is_accessible(
    system: str, viewport: dict[str, int] | None, site: Site, open_page: Callable[..., Any]
) -> None:
    page = open_page(color_scheme=system, **({"viewport": viewport} if viewport else {}))
    page.goto(site.pages("/nothing/here"))
    page.get_by_role("heading", name="Not found").wait_for()
    poll(page, lambda: page.title() == "Not found · Weir")
    assert axe_violations(page) == []


def test_the_first_page_lists_the_experiments_with_their_runs(site: Site, page: Any) -> None:
    page.goto(site.pages("/"))
    row = page.get_by_role("row").filter(has_text=site.sweep.name)
    row.wait_for()
    shown = int(row.get_by_role("cell").nth(1).inner_text())
    assert shown >= len(site.sweep.run_ids)
    assert axe_violations(page) == []
    row.get_by_role("link").click()
    page.wait_for_url(f"**/weir/e/{site.sweep.experiment_id}")
    # Several in one workspace; one by its name and Enter.
    page.go_back()
    for name in (site.sweep.name, "rich runs"):
        page.get_by_role("checkbox", name=f"Choose {name}", exact=True).check()
    page.get_by_role("button", name="Open 2 in one workspace").click()
    both = f"{site.sweep.experiment_id},{site.rich.experiment_id}"
    page.wait_for_url(f"**/weir/e/{both}")
    page.get_by_text("2 experiments").wait_for()
    page.go_back()
    page.get_by_role("textbox", name="Search experiments").fill("rich r")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/weir/e/{site.rich.experiment_id}")


def test_the_keyboard_reaches_the_content_first(site: Site, page: Any) -> None:
    page.goto(site.pages("/nothing"))
    page.get_by_role("heading", name="Not found").wait_for()
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.textContent === 'Skip to the content'")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'w-main'")
