"""Charts under fingers, and pages on a screen of 3840 by 2160."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from browser import PHONE, poll
from drawn import card, chart

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser import Site

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

LOSS = "train/loss"
SMALL = {"width": 360, "height": 740}


def fingers(page: Page, *moments: list[tuple[float, float]]) -> None:
    """Put fingers on the page, move them through moments, and lift them."""
    session = page.context.new_cdp_session(page)
    for at, places in enumerate(moments):
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
        kind = "touchMove" if at else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()


def test_a_tap_tells_values_and_two_fingers_zoom(
    site: Site, open_page: Callable[..., Page]
) -> None:
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    place = page.locator(f'.w-grid-place[data-card="{LOSS}"]')
    place.wait_for()
    place.scroll_into_view_if_needed()
    whole = poll(page, lambda: chart(page, LOSS))
    one = card(page, LOSS)
    over = one.locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] * 0.8

    # The spike alone goes so high up: its run is told, with what the bucket holds.
    spiked, step = site.sweep.spiked
    share = step / whole["x"]["max"]
    page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + box["height"] * 0.5)
    tip = one.locator(".w-chart-tip-pinned")
    tip.wait_for()
    first = tip.locator(".w-chart-tip-first").inner_text()
    name = MlflowClient(site.server.address).get_run(spiked).info.run_name
    assert first.startswith(str(name))
    assert "40 in" in first
    tip.get_by_role("button", name="Unpin").tap()
    tip.wait_for(state="detached")

    # What lay under two fingers lies under them still.
    def at(share: float) -> tuple[float, float]:
        return box["x"] + share * box["width"], middle

    fingers(page, [at(0.4), at(0.6)], [at(0.3), at(0.7)], [at(0.2), at(0.8)])
    size = whole["x"]["max"] - whole["x"]["min"]

    def is_at(low: float, high: float) -> bool:
        x = chart(page, LOSS)["x"]
        wanted = [whole["x"]["min"] + share * size for share in (low, high)]
        return [x["min"], x["max"]] == pytest.approx(wanted, abs=0.02 * size)

    third = 0.2 / 0.6
    poll(page, lambda: is_at(0.5 - third / 2, 0.5 + third / 2))
    assert page.evaluate("visualViewport.scale") == 1
    assert over.locator("canvas").first.evaluate("one => one.style.transform") == ""
    # And back together: beyond all there is, it is all there is.
    fingers(page, [at(0.1), at(0.9)], [at(0.3), at(0.7)], [at(0.4), at(0.6)])
    poll(page, lambda: is_at(0, 1))
    assert "z=" not in page.url

    # On the run's page a panel of the hardware tells its values at a tap.
    page.goto(site.pages(f"/r/{site.rich.run_id}/hardware"))
    page.locator(".w-panel-slot").first.scroll_into_view_if_needed()
    figure = page.locator("figure").first
    figure.locator("canvas").wait_for()
    value = figure.locator("[data-line]").first
    before = value.inner_text()
    plot = figure.locator(".u-over").bounding_box()
    assert plot is not None

    def is_another() -> bool:
        page.touchscreen.tap(plot["x"] + 0.1 * plot["width"], plot["y"] + 0.5 * plot["height"])
        return value.inner_text() != before

    poll(page, is_another)


def test_a_scatter_and_a_heat_map_keep_what_was_tapped(
    site: Site, open_page: Callable[..., Page]
) -> None:
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    page.locator('[data-prefix="\u229a"], .w-grid-section').first.wait_for()
    page.get_by_role("button", name="Compare runs").first.click()
    scatter = page.get_by_role("article", name="Scatter: val/loss over lr")
    scatter.scroll_into_view_if_needed()
    dot = scatter.locator("circle").nth(20)
    dot.wait_for()
    poll(page, lambda: scatter.locator("circle").count() > 50)
    run_id = dot.get_attribute("data-run")
    place = dot.bounding_box()
    assert place is not None
    page.touchscreen.tap(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    tip = scatter.locator(".w-chart-tip")
    tip.wait_for()
    name = str(MlflowClient(site.server.address).get_run(str(run_id)).info.run_name)
    assert name in tip.inner_text()

    page.goto(site.pages(f"/r/{site.rich.run_id}/gradients"))
    heat = page.locator(".w-heat").first
    cells = heat.get_by_role("img", name="Norms of").bounding_box()
    assert cells is not None
    page.touchscreen.tap(cells["x"] + cells["width"] * 0.5, cells["y"] + 10)
    poll(page, lambda: "step" in heat.locator(".w-heat-at").inner_text())
    # Its colours are told, by the ends of what is there.
    scale = heat.get_by_role("img", name="Colours by magnitude").get_attribute("aria-label") or ""
    low, high = (float(word.replace(",", "")) for word in scale.split()[-3:] if word != "to")
    assert 0 < low < high


def test_a_screen_of_3840_by_2160_is_used(site: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(viewport={"width": 3840, "height": 2160})
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    poll(page, lambda: chart(page, LOSS)["nDrawn"] == 59)
    # Three charts beside one another, none wider than is good to read.
    places = page.locator('[data-prefix="train"] .w-grid-place').evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect())"
        ".map(({ top, width }) => [Math.round(top), width])"
    )
    assert len({top for top, _ in places}) == 1
    assert all(500 < width < 900 for _, width in places)
    # The buttons above the list are in one row.
    tops = page.locator(".w-runs-buttons > .w-button").evaluate_all(
        "all => all.map((one) => Math.round(one.getBoundingClientRect().top))"
    )
    assert len(tops) == 5
    assert len(set(tops)) == 1
    for tab in ("overview", "charts", "hardware", "gradients"):
        page.goto(site.pages(f"/r/{site.rich.run_id}/{tab}"))
        page.get_by_role("tabpanel").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab
    # The overview's parts stand beside one another up to its edge, each as wide as can be read.
    page.goto(site.pages(f"/r/{site.rich.run_id}/overview"))
    page.get_by_role("region", name="Params").wait_for()
    parts = (
        page.get_by_role("tabpanel")
        .locator(".w-overview-columns section")
        .evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect())"
            ".map(({ left, right }) => [left, right])"
        )
    )
    assert max(right for _, right in parts) > 3700
    assert len({left for left, _ in parts}) >= 4
    assert sum(right - left > 1300 for left, right in parts) <= 1  # the notes' own lines are short


def test_the_bar_above_the_charts_is_one_row(site: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(viewport=SMALL, has_touch=True)
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    bar = page.locator(".w-charts-bar")
    page.locator(".w-chart-lines").first.wait_for()
    bar.get_by_role("combobox", name="Smoothing").select_option("twema")
    look = """(bar) => {
        const middles = [...bar.querySelectorAll("select, button, .w-check")].map((one) => {
            const { top, height } = one.getBoundingClientRect()
            return top + height / 2
        })
        return {
            isOneRow: Math.max(...middles) - Math.min(...middles) < 8,
            isScrolled: bar.scrollWidth > bar.clientWidth + 1,
            isPageWide: document.documentElement.scrollWidth > innerWidth,
        }
    }"""

    def is_as(wanted: dict[str, bool]) -> bool:
        return bool(bar.evaluate(look) == wanted)

    for width, is_scrolled in ((1280, False), (SMALL["width"], True)):
        page.set_viewport_size({"width": width, "height": SMALL["height"]})
        wanted = {"isOneRow": True, "isScrolled": is_scrolled, "isPageWide": False}
        poll(page, partial(is_as, wanted))
    # What adds a panel is in sight with its words on one line, and what is last comes by a swipe.
    add = bar.get_by_role("button", name="Add panel")
    box = add.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= SMALL["width"]
    assert box["height"] < 40
    last = bar.get_by_label("Log y")
    last.scroll_into_view_if_needed()
    last.tap()
    poll(page, last.is_checked)


def test_runs_are_compared_on_a_phone_two_at_a_time(
    site: Site, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")  # what it writes is there when it returns
    client = MlflowClient(site.server.address)
    experiment_id = client.create_experiment("compared on a phone")
    stem = "a-name-that-says-much-of-the-model-and-of-its-data-"
    ids = []
    for at in range(3):
        run = client.create_run(experiment_id, run_name=f"{stem * (1 + at // 2)}seed-{at}")
        client.log_param(run.info.run_id, "a.param.with.quite.a.name.width", str(at))
        ids.append(run.info.run_id)
    page = open_page(viewport=SMALL, has_touch=True)
    page.goto(site.pages(f"/e/{experiment_id}/compare?runs={','.join(ids)}"))
    table = page.locator(".w-beside-table")
    table.wait_for()
    places = (
        "all => all.map((one) => one.getBoundingClientRect())"
        ".map(({ left, right }) => [Math.round(left), Math.round(right)])"
    )
    key, *runs = table.locator("thead th").evaluate_all(places)
    assert key[0] == 0
    assert runs[0][0] == key[1]
    assert runs[1][1] <= SMALL["width"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Names differ at their end, which is in sight; a swipe brings the third run beside its keys.
    ends = table.locator("thead .w-name > :last-child")
    assert [one[-2:] for one in ends.all_inner_texts()] == ["-0", "-1", "-2"]
    assert all(right <= SMALL["width"] for _, right in ends.evaluate_all(places)[:2])
    assert table.locator("tbody .w-name-tail").first.inner_text().endswith("width")
    page.locator(".w-beside-scroll").evaluate("one => one.scrollBy(one.scrollWidth, 0)")
    poll(page, lambda: table.locator("thead th").evaluate_all(places)[3][1] <= SMALL["width"])
    assert table.locator("thead th").evaluate_all(places)[0] == key
