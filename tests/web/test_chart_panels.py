"""Panels, own charts, groups, full screen, arranging and files of charts, in a real browser.

Each is held against what MLflow's client returns; no request is intercepted.
"""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from browser import axe_violations, own_view, poll
from drawn import chart, menu

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities import Metric, Run
    from playwright.sync_api import FloatRect, Locator, Page

    from browser import Site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),  # MLflow warns about itself
]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move and let go."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=4)
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def settled_box(page: Page, of: Locator) -> FloatRect:
    """Return where an element is, once it is there for two frames."""
    before: list[FloatRect | None] = [None]

    def look() -> FloatRect | None:
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        last, before[0] = before[0], of.bounding_box()
        return last if last == before[0] else None

    found: FloatRect = poll(page, look)
    return found


def middle(page: Page, of: Locator) -> tuple[float, float]:
    """Return the middle of an element on the page."""
    box = settled_box(page, of)
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def query(page: Page) -> dict[str, str]:
    """Return the query of the page's URL."""
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


@pytest.fixture
def runs(site: Site) -> dict[str, Run]:
    """All runs of the sweep, as MLflow's client has them."""
    client = MlflowClient(site.server.address)
    found = client.search_runs([site.sweep.experiment_id], max_results=1_000)
    return {run.info.run_id: run for run in found}


def ranks(values: list[float]) -> np.ndarray[Any, Any]:
    """Return ranks; those that are equal share the mean of theirs."""
    array = np.array(values)
    return np.array([(array < v).sum() + ((array == v).sum() + 1) / 2 for v in array])


def titles(of: Locator) -> list[float]:
    """Return the exact values of a table's last column, from the top, all of one moment."""
    found: list[str] = of.locator("td:last-child").evaluate_all("all => all.map(one => one.title)")
    return [float(title) for title in found]


def dots(of: Locator) -> dict[str, tuple[float, float]]:
    """Return where each run's dot is, all of one moment."""
    found: list[tuple[str, float, float]] = of.locator("circle").evaluate_all(
        "all => all.map((one) => [one.dataset.run, one.cx.baseVal.value, one.cy.baseVal.value])"
    )
    return {run_id: (x, y) for run_id, x, y in found}


def is_along(places: list[float], values: list[float]) -> bool:
    """Say whether places lie along an axis of values, to a tenth of a pixel."""
    slope, at = np.polyfit(values, places, 1)
    return bool(abs(slope) > 1 and np.abs(np.polyval([slope, at], values) - places).max() < 0.1)


def upright_ticks(of: Locator) -> list[tuple[float, float]]:
    """Return the numbers beside the upright axis of a scatter, and where they stand."""
    found: list[tuple[str, float]] = of.locator(".w-figure-axis text").evaluate_all(
        """all => all.filter((one) => one.x.baseVal[0].value < 56)
            .map((one) => [one.textContent, one.y.baseVal[0].value - 4])"""
    )
    return [(float(text.replace("\u2212", "-")), at) for text, at in found]


def test_panels_compare_the_runs_as_mlflow_has_them(
    page: Page, site: Site, runs: dict[str, Run]
) -> None:
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    page.get_by_role("button", name=re.compile("^Compare runs")).click()
    having = {k: run for k, run in runs.items() if "val/loss" in run.data.metrics}
    losses = {k: run.data.metrics["val/loss"] for k, run in having.items()}
    lrs = {k: float(run.data.params["lr"]) for k, run in having.items()}
    bars = page.get_by_role("article", name="Bars: val/loss")
    poll(page, lambda: titles(bars) == pytest.approx(sorted(losses.values()), rel=1e-6))
    scatter = page.get_by_role("article", name="Scatter: val/loss over lr")
    found = poll(page, lambda: len(found := dots(scatter)) == len(having) and found)
    assert is_along([found[k][0] for k in having], [float(np.log10(lrs[k])) for k in having])
    assert is_along([found[k][1] for k in having], [losses[k] for k in having])
    # And so do the numbers beside the axis.
    marked = upright_ticks(scatter)
    assert len(marked) > 2
    values, places = zip(*marked, *[(losses[k], found[k][1]) for k in having], strict=True)
    assert is_along(list(places), list(values))
    parallel = page.get_by_role("article", name="Parallel coordinates: Params and val/loss")
    # A run without it has its params.
    poll(page, lambda: parallel.locator("polyline").count() == len(runs))
    ends: list[tuple[str, str]] = parallel.locator("polyline").evaluate_all(
        "all => all.map((one) => [one.dataset.run, one.getAttribute('points').split(' ').at(-1)])"
    )
    last = {k: float(end.split(",")[1]) for k, end in ends if k in having}
    assert is_along([last[k] for k in having], [losses[k] for k in having])
    # The upper half of its axis alone.
    brush = parallel.locator('.w-figure-axis[data-axis="metrics.val/loss:latest"] .w-figure-brush')
    parallel.scroll_into_view_if_needed()
    place = settled_box(page, brush)
    x, half = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    drag(page, (x, place["y"] + 1), (x, half))
    top, height = (float(brush.get_attribute(name) or "") for name in ("y", "height"))
    kept = {k for k, y in last.items() if y <= top + height / 2}
    assert 0 < len(kept) < len(having)
    drawn = parallel.locator("polyline:not([data-out])")
    poll(page, lambda: {one.get_attribute("data-run") for one in drawn.all()} == kept)
    told = f"{len(kept)} of {len(runs)} runs in range"
    assert parallel.get_by_text(told).is_visible()
    parallel.get_by_role("button", name="All runs").click()
    poll(page, lambda: drawn.count() == len(runs))
    importance = page.get_by_role("article", name="Param importance: What goes with val/loss")
    row = importance.get_by_role("row").filter(has=page.get_by_role("rowheader", name="lr"))
    told_rho = float((row.locator("td").nth(2).text_content() or "").replace("\u2212", "-"))
    rho = np.corrcoef(ranks([lrs[k] for k in having]), ranks([losses[k] for k in having]))[0, 1]
    assert told_rho == pytest.approx(rho, abs=0.006)
    page.locator('.w-grid-place[data-card="panel-compare"]').scroll_into_view_if_needed()
    beside = page.get_by_role("article", name="Runs side by side")
    heads = beside.get_by_role("columnheader").get_by_role("link")
    poll(page, lambda: heads.count() == 20)
    links = [head.get_attribute("href") or "" for head in heads.all()]
    compared = [runs[urlsplit(link).path.split("/")[-2]].data.params for link in links]
    depths = beside.get_by_role("row").filter(has=page.get_by_role("rowheader", name="depth"))
    assert depths.get_by_role("cell").all_inner_texts() == [of["depth"] for of in compared]

    # By a param: the mean of each, from its smallest to its largest.
    bars.get_by_role("button", name="by: run").click()
    page.get_by_role("combobox", name="Search: by").fill("optim")
    page.keyboard.press("Enter")
    by = page.get_by_role("article", name="Bars: val/loss by optimizer")
    members = defaultdict(list)
    for k, loss in losses.items():
        members[having[k].data.params["optimizer"]].append(loss)
    means = sorted(statistics.fmean(of) for of in members.values())
    cells = by.locator("td:last-child")
    poll(page, lambda: cells.count() == len(members))
    read = [(cell.get_attribute("title") or "").replace(",", "").split() for cell in cells.all()]
    assert [float(one[0]) for one in read] == pytest.approx(means, rel=1e-6)
    by_mean = sorted(members.values(), key=statistics.fmean)
    assert [float(one[2]) for one in read] == pytest.approx([min(of) for of in by_mean], rel=1e-6)
    assert [float(one[4]) for one in read] == pytest.approx([max(of) for of in by_mean], rel=1e-6)

    # One number a run, in a panel of one's own.
    page.get_by_role("button", name="Add panel").click()
    dialog = page.get_by_role("dialog", name="Add a panel")
    dialog.get_by_role("button", name="One number a run").click()
    dialog.get_by_role("button", name="smallest", exact=True).click()
    dialog.get_by_role("textbox", name="Search metrics").fill("val/loss")
    dialog.get_by_role("checkbox", name="val/loss").check()
    dialog.get_by_role("button", name="Add", exact=True).click()
    client = MlflowClient(site.server.address)
    scalar = page.get_by_role("article", name="val/loss (smallest)")
    told_values = poll(page, lambda: len(found := titles(scalar)) == len(having) and found)
    assert told_values == sorted(told_values, reverse=True)
    best = min(
        m.value for m in client.get_metric_history(min(losses, key=losses.__getitem__), "val/loss")
    )
    assert told_values[-1] <= best + 1e-9
    row = scalar.locator("tr[data-run]").nth(7)
    history = client.get_metric_history(row.get_attribute("data-run") or "", "val/loss")
    assert told_values[7] == pytest.approx(min(m.value for m in history), rel=1e-6)
    assert axe_violations(page, ".w-charts") == []


def test_a_panel_is_a_card_like_any_other_and_a_link_has_it(
    page: Page, site: Site, runs: dict[str, Run], open_page: Callable[..., Page]
) -> None:
    page.set_viewport_size({"width": 1500, "height": 1500})
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    poll(page, lambda: chart(page, "train/loss"))
    page.get_by_role("button", name="Add panel").click()
    dialog = page.get_by_role("dialog", name="Add a panel")
    dialog.get_by_role("button", name=re.compile("^Scatter")).click()
    dialog.get_by_role("button", name=re.compile("^y: ")).click()
    page.get_by_role("combobox", name="Search: y").fill("val/accuracy (max)")
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name=re.compile("^x: ")).click()
    page.get_by_role("combobox", name="Search: x").fill("lr")
    page.get_by_role("option", name="lr", exact=True).click()
    assert axe_violations(page, "dialog") == []
    dialog.get_by_role("button", name="Add", exact=True).click()
    scatter = page.get_by_role("article", name="Scatter: val/accuracy (max) over lr")
    client = MlflowClient(site.server.address)
    key = "val/accuracy"
    best = {
        run_id: max(m.value for m in client.get_metric_history(run_id, key))
        for run_id, run in runs.items()
        if key in run.data.metrics
    }

    def is_drawn(on: Page) -> bool:
        found = dots(on.get_by_role("article", name="Scatter: val/accuracy (max) over lr").last)
        return set(found) == set(best) and is_along(
            [found[k][1] for k in best], [best[k] for k in best]
        )

    poll(page, lambda: is_drawn(page))

    # Among the line charts, by pointer and by keys, and back to where it was.
    def order(prefix: str) -> list[str]:
        places = page.locator(f'.w-grid-section[data-prefix="{prefix}"] .w-grid-place')
        found: list[str] = places.evaluate_all("all => all.map((one) => one.dataset.card)")
        return found

    (panel,) = order("\u2606")
    train = ["train/accuracy", "train/loss", "train/lr"]
    grip = scatter.locator(".w-grid-grip")
    drag(
        page,
        middle(page, grip),
        middle(page, page.locator('.w-grid-place[data-card="train/loss"] .w-chart')),
    )
    poll(page, lambda: order("train") == ["train/accuracy", panel, "train/loss", "train/lr"])
    assert order("\u2606") == []
    grip.press("Alt+ArrowRight")
    poll(page, lambda: order("train") == ["train/accuracy", "train/loss", panel, "train/lr"])
    place = page.locator(f'.w-grid-place[data-card="{panel}"]')
    before = settled_box(page, place)
    grip.press("Alt+Shift+ArrowDown")
    poll(page, lambda: settled_box(page, place)["height"] == before["height"] + 20)
    corner = settled_box(page, place)
    end = (corner["x"] + corner["width"] - 8, corner["y"] + corner["height"] - 8)
    drag(page, end, (end[0] + 0.7 * corner["width"], end[1]))
    poll(page, lambda: settled_box(page, place)["width"] > 1.8 * before["width"])
    for _ in range(2):
        grip.press("Alt+ArrowLeft")
    poll(page, lambda: order("train") == [panel, *train])
    # Beyond the first place is the section before, and the keys go on with it.
    grip.press("Alt+ArrowLeft")
    poll(page, lambda: order("train") == train and order("")[-1] == panel)
    poll(page, lambda: grip.evaluate("one => one === document.activeElement"))
    grip.press("Alt+ArrowRight")
    poll(page, lambda: order("train") == [panel, *train])
    poll(page, lambda: is_drawn(page))

    # Its dots can be gone through, and their run is the one that is raised everywhere.
    figure = scatter.get_by_role("application")
    figure.press("End")
    raised = poll(
        page, lambda: scatter.locator("circle.w-figure-raised").get_attribute("data-run")
    )
    assert dots(scatter)[raised][0] == max(x for x, _ in dots(scatter).values())
    tip = scatter.locator(".w-chart-tip")
    assert f"lr\n{runs[raised].data.params['lr']}" in tip.inner_text()
    assert page.evaluate("window.__weirCharts(false).raised") == raised
    figure.press("Escape")
    tip.wait_for(state="detached")

    # Its files have what was logged.
    with page.expect_download() as download:
        menu(page, scatter, "Save as CSV")
    rows = list(csv.reader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert rows[0] == ["run", "run_id", "params.lr", f"metrics.{key}:max"]
    assert {row[1]: float(row[3]) for row in rows[1:] if row[3]} == pytest.approx(best)
    assert {row[1]: row[2] for row in rows[1:]} == {
        k: r.data.params["lr"] for k, r in runs.items()
    }
    with page.expect_download() as download:
        menu(page, scatter, "Save as SVG")
    svg = download.value.path().read_text(encoding="utf-8")
    inside = {
        run_id: float(y)
        for run_id, y in re.findall(r'data-run="(\w+)" cx="[\d.]+" cy="([\d.]+)"', svg)
    }
    assert inside == pytest.approx({k: y for k, (_, y) in dots(scatter).items()}, abs=0.01)
    assert "var(" not in svg
    with page.expect_download() as download:
        menu(page, scatter, "Save as PNG")
    picture = Image.open(download.value.path()).convert("RGB")
    assert picture.width == int(re.search(r'<svg [^>]*width="(\d+)', svg)[1])  # type: ignore[index]
    assert len(picture.getcolors(1 << 20) or []) > 8

    # Alone, as a place of its own, and changed there.
    scatter.get_by_role("button", name=re.compile("^Full screen")).click()
    full = page.get_by_role("dialog", name=re.compile("^Full screen: "))
    poll(page, lambda: query(page)["fs"] == panel)
    lrs = [float(runs[k].data.params["lr"]) for k in best]
    logs = [float(np.log10(lr)) for lr in lrs]
    poll(page, lambda: is_along([dots(full)[k][0] for k in best], logs))
    full.get_by_role("button", name=re.compile("^Menu of ")).click()
    page.get_by_role("menuitemradio", name="Logarithmic x", checked=True).click()
    poll(page, lambda: is_along([dots(full)[k][0] for k in best], lrs))
    page.keyboard.press("Escape")
    poll(page, lambda: "fs" not in query(page))
    menu(page, scatter, "Edit\u2026")
    dialog = page.get_by_role("dialog", name="Change the panel")
    dialog.get_by_label("Title").fill("Mine <b>")
    dialog.get_by_role("button", name="Change").click()
    mine = page.get_by_role("article", name="Scatter: Mine <b>")
    mine.wait_for()
    poll(page, lambda: '"xLog":false' in own_view(page) and "Mine <b>" in own_view(page))

    # What is taken away comes back with undo, and goes with redo.
    menu(page, mine, "Remove")
    mine.wait_for(state="detached")
    poll(page, lambda: "Mine <b>" not in own_view(page))
    page.get_by_role("button", name=re.compile("^Undo")).click()
    mine.wait_for()
    assert order("train") == [panel, *train]
    page.get_by_role("button", name=re.compile("^Redo")).click()
    mine.wait_for(state="detached")
    page.get_by_role("button", name=re.compile("^Undo")).click()
    mine.wait_for()
    poll(page, lambda: "Mine <b>" in own_view(page))

    # A link, and a report, have it as it is here.
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    link = poll(page, lambda: page.evaluate("navigator.clipboard.readText()"))
    other = open_page(color_scheme="dark", viewport={"width": 360, "height": 800})
    other.goto(link.replace("/#/weir/", "/weir/"))
    there = other.get_by_role("article", name="Scatter: Mine <b>")
    there.scroll_into_view_if_needed()
    poll(other, lambda: len(dots(there)) == len(best))
    assert axe_violations(other, f'[data-card="{panel}"]') == []
    page.reload()
    poll(page, lambda: len(dots(mine)) == len(best))
    menu(page, mine, "Add to report\u2026")
    dialog = page.get_by_role("dialog", name=re.compile("^Add to report"))
    dialog.get_by_role("combobox", name="Report").select_option("")
    dialog.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("dialog", name="Added").get_by_role("link").click()
    poll(
        page, lambda: len(dots(page.get_by_role("article", name="Scatter: Mine <b>"))) == len(best)
    )


def test_groups_are_the_mean_of_their_runs_and_colours_follow_a_param(
    page: Page, site: Site, runs: dict[str, Run]
) -> None:
    name = "val/accuracy"
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}?g=params.optimizer&c=val"))
    found = poll(page, lambda: len((it := chart(page, name, True))["lines"]) == 3 and it)
    client = MlflowClient(site.server.address)
    members = defaultdict(list)
    for run_id, run in runs.items():
        if name in run.data.metrics:
            members[run.data.params["optimizer"]].append(run_id)
    for line in found["lines"]:
        (optimizer,) = [word for word in members if f'"{word}"' in line["runId"]]
        values = defaultdict(list)
        for run_id in members[optimizer]:
            for point in client.get_metric_history(run_id, name):
                values[point.step].append(point.value)
        expected = {step: statistics.fmean(of) for step, of in values.items()}
        drawn = dict(zip(line["x"], line["last"], strict=True))
        assert set(drawn) == set(expected)
        np.testing.assert_allclose(
            [drawn[step] for step in sorted(drawn)],
            [expected[step] for step in sorted(expected)],
            rtol=1e-5,
        )
    # By a param instead: the same colour for the same value.
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}?g=&c=val&cb=params.optimizer"))
    poll(page, lambda: len(set(_colours(page, name, runs).values())) == 3)


def _colours(page: Page, name: str, runs: dict[str, Run]) -> dict[str, str]:
    """Return the colour of each optimizer's lines; raise where they have not one each."""
    colours = defaultdict(set)
    for line in chart(page, name, True)["lines"]:
        colours[runs[line["runId"]].data.params["optimizer"]].add(line["colour"])
    assert all(len(own) == 1 for own in colours.values())
    return {optimizer: own.pop() for optimizer, own in colours.items()}


def test_cards_are_moved_sized_zoomed_and_shown_alone_and_a_link_has_it_all(
    page: Page, site: Site
) -> None:
    page.set_viewport_size({"width": 1500, "height": 1500})
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    poll(page, lambda: chart(page, "train/loss"))
    section = page.get_by_role("region", name="Charts: train", exact=True)

    def order() -> list[str]:
        return [p.get_attribute("data-card") or "" for p in section.locator(".w-grid-place").all()]

    poll(page, lambda: order() == ["train/accuracy", "train/loss", "train/lr"])
    drag(
        page,
        middle(page, section.locator('[data-card="train/lr"] .w-grid-grip')),
        middle(page, section.locator('[data-card="train/accuracy"] .w-chart')),
    )
    poll(page, lambda: order() == ["train/lr", "train/accuracy", "train/loss"])
    # The same with keys.
    section.locator('[data-card="train/lr"] .w-grid-grip').press("Alt+ArrowRight")
    poll(page, lambda: order() == ["train/accuracy", "train/lr", "train/loss"])
    place = section.locator('[data-card="train/loss"]')
    box = settled_box(page, place)
    corner = (box["x"] + box["width"] - 8, box["y"] + box["height"] - 8)
    drag(page, corner, (corner[0] + 20, corner[1] + 60))
    poll(page, lambda: (place.bounding_box() or box)["height"] == box["height"] + 60)
    place.locator(".w-grid-grip").press("Alt+Shift+ArrowRight")
    poll(page, lambda: (place.bounding_box() or box)["width"] > 1.8 * box["width"])

    # A rectangle is this card's own; a click pins the cursor; Esc lets go of it.
    for name in ("train/loss", "train/lr"):
        section.locator(f'[data-card="{name}"] .w-chart[data-loading=false]').wait_for()
    plot = place.locator(".u-over")
    area = settled_box(page, plot)
    whole = poll(page, lambda: chart(page, "train/loss"))
    other = poll(page, lambda: chart(page, "train/lr"))

    def at(x: float, y: float) -> tuple[float, float]:
        return area["x"] + x * area["width"], area["y"] + y * area["height"]

    page.keyboard.down("Shift")
    drag(page, at(0.2, 0.5), at(0.6, 0.9))
    page.keyboard.up("Shift")
    size = {axis: whole[axis]["max"] - whole[axis]["min"] for axis in ("x", "y")}
    zoomed = poll(
        page,
        lambda: (
            (found := chart(page, "train/loss"))
            and found["y"]["max"] < whole["y"]["min"] + 0.6 * size["y"]
            and found
        ),
    )
    assert zoomed["x"]["min"] == pytest.approx(whole["x"]["min"] + 0.2 * size["x"], rel=0.02)
    assert zoomed["y"]["min"] == pytest.approx(whole["y"]["min"] + 0.1 * size["y"], rel=0.05)
    assert poll(page, lambda: chart(page, "train/lr"))["x"] == other["x"]
    plot.dblclick()
    poll(page, lambda: chart(page, "train/loss")["y"] == whole["y"])
    page.mouse.click(*at(0.5, 0.8))
    tip = place.locator(".w-chart-tip-pinned")
    tip.wait_for()
    page.mouse.move(*at(0.1, 0.1))

    def is_in_order() -> bool:
        told = tip.locator(".w-chart-tip-value").all_inner_texts()
        finite = [v for v in (float(one.split(" ")[0]) for one in told) if v == v]
        return len(finite) > 20 and finite == sorted(finite, reverse=True)

    poll(page, is_in_order)
    assert tip.locator(".w-chart-tip-first").count() == 1
    step = float(poll(page, lambda: query(page)["cx"]).split(",")[0])
    assert step == pytest.approx(whole["x"]["min"] + 0.5 * size["x"], rel=0.01)
    menu(page, place, "Axis ranges…")
    page.get_by_label("y from").fill("0.5")
    page.get_by_label("y to").fill("1.5")
    page.get_by_role("button", name="Done").click()
    wanted = {"min": 0.5, "max": 1.5, "kind": "linear"}
    poll(page, lambda: chart(page, "train/loss")["y"] == wanted)

    # Alone, as a place of its own; what is seen there is what a link shows.
    place.get_by_role("button", name=re.compile("^Full screen")).click()
    full = page.get_by_role("dialog", name="Full screen: train/loss")
    full.wait_for()
    poll(page, lambda: query(page)["fs"] == "train/loss")
    full.locator(".w-chart[data-loading=false]").wait_for()
    whole_plot = settled_box(page, full.locator(".u-over"))
    drag(page, *[_within(whole_plot, share) for share in (0.1, 0.2)])
    poll(page, lambda: "z" in query(page))
    low, high = (float(end) for end in query(page)["z"].split(".."))
    assert low < high < 0.6 * whole["x"]["max"]
    page.goto(page.url)
    full.wait_for()
    poll(page, lambda: chart(page, "train/loss")["x"]["min"] == pytest.approx(low, rel=1e-6))
    hover_x = "window.__weirCharts(false).hoverX"
    poll(page, lambda: page.evaluate(hover_x) == pytest.approx(step, rel=1e-6))
    page.get_by_role("button", name="Next chart").click()
    poll(page, lambda: query(page)["fs"] != "train/loss")
    page.keyboard.press("Escape")
    poll(page, lambda: "cx" not in query(page))
    page.keyboard.press("Escape")
    poll(page, lambda: "fs" not in query(page))


def _within(box: FloatRect, share: float) -> tuple[float, float]:
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


def test_a_chart_of_many_metrics_is_kept_and_its_files_are_what_was_logged(
    page: Page, site: Site
) -> None:
    run_id = site.rich.run_id
    client = MlflowClient(site.server.address)
    page.goto(site.pages(f"/e/{site.rich.experiment_id}"))
    page.get_by_role("button", name="Add panel").click()
    dialog = page.get_by_role("dialog", name="Add a panel")
    dialog.get_by_role("button", name=re.compile("^Text")).click()
    dialog.get_by_label("Text, in Markdown").fill(
        "# Why these\n<b>no</b> *markup* [x](javascript:1)"
    )
    dialog.get_by_role("button", name="Add", exact=True).click()
    text = page.get_by_role("article", name="Why these")
    text.get_by_role("heading", name="Why these").wait_for()
    assert text.locator("em").inner_text() == "markup"
    assert text.locator("b, a[href^=javascript]").count() == 0
    page.get_by_role("button", name="Add panel").click()
    dialog.get_by_role("button", name="Lines by expression").click()
    # One that would never end is ended; one that cannot be read is told of.
    dialog.get_by_label("Regular expression").fill("(a")
    dialog.get_by_text(re.compile("Invalid regular expression")).wait_for()
    dialog.get_by_label("Regular expression").fill("^(train|val)/loss$")
    dialog.get_by_text(re.compile("^2 of ")).wait_for()
    dialog.get_by_label("Title").fill("Both <b>losses</b>")
    dialog.get_by_role("button", name="Add", exact=True).click()
    name = "train/loss\nval/loss"
    text.wait_for()
    own = page.get_by_role("article", name="Both <b>losses</b>")
    own.wait_for()
    own.locator(".w-chart[data-loading=false]").wait_for()
    found = poll(page, lambda: chart(page, name, True))
    histories = {key: client.get_metric_history(run_id, key) for key in ("train/loss", "val/loss")}
    lines = {line["key"]: line for line in found["lines"] if line["runId"] == run_id}
    assert set(lines) == set(histories)
    for key, history in histories.items():
        assert lines[key]["total"] == len(history)
        assert lines[key]["last"][-1] == pytest.approx(history[-1].value, rel=1e-6)

    with page.expect_download() as download:
        menu(page, own, "Save as CSV")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    mine = [r for r in rows if r["run_id"] == run_id and r["metric"] == "val/loss"]
    np.testing.assert_allclose(
        [float(r["last"]) for r in mine], [m.value for m in histories["val/loss"]], rtol=1e-6
    )
    counted = sum(
        int(r["points"]) for r in rows if r["run_id"] == run_id and r["metric"] == "train/loss"
    )
    assert counted == len(histories["train/loss"])
    with page.expect_download() as download:
        menu(page, own, "Save as SVG")
    svg = download.value.path().read_text(encoding="utf-8")
    assert "Both &lt;b&gt;losses&lt;/b&gt;" in svg
    paths = re.findall(r'<path d="([^"]+)" stroke="#[0-9a-f]{6}">', svg)
    assert len(paths) == found["nDrawn"]
    # The path of a line goes through its points, where the axes of the chart place them.
    size = re.search(r'<rect width="([\d.]+)" height="([\d.]+)"/></clipPath>', svg)
    assert size is not None
    wide, high = float(size[1]), float(size[2])
    x, y = found["x"], found["y"]
    end = histories["val/loss"][-1]
    px = wide * (end.step - x["min"]) / (x["max"] - x["min"])
    py = high * (1 - (end.value - y["min"]) / (y["max"] - y["min"]))
    ends = [tuple(map(float, re.findall(r"[\d.]+", path)[-2:])) for path in paths]
    assert any(abs(a - px) < 0.1 and abs(b - py) < 0.1 for a, b in ends), (ends, px, py)
    with page.expect_download() as download:
        menu(page, own, "Save as PNG")
    picture = Image.open(download.value.path()).convert("RGB")
    box = own.locator(".w-chart").bounding_box()
    assert box is not None
    assert picture.width == round(box["width"])
    seen = {colour for _, colour in picture.getcolors(1 << 20) or []}
    colours = {line["colour"] for line in found["lines"]}
    assert {tuple(bytes.fromhex(c[1:])) for c in colours} <= seen

    poll(page, lambda: "losses" in own_view(page))

    # Smoothing that takes long is a worker's, and by the formula that is told.
    page.goto(site.pages(f"/e/{site.rich.experiment_id}?fs=train%2Floss&s=gauss:200"))
    check_gaussian(
        poll(page, lambda: smoothed(page, "train/loss")), run_id, histories["train/loss"]
    )
    page.keyboard.press("Escape")

    # Pictures, run beside run, by step.
    page.get_by_role("button", name=re.compile("^Compare runs")).click()
    page.locator('.w-grid-place[data-card="panel-media"]').scroll_into_view_if_needed()
    panel = page.get_by_role("article", name="Images: samples/cats")
    panel.locator("img").first.wait_for()
    steps = panel.locator("input[type=range]")
    first = panel.locator("figcaption .w-secondary").first.inner_text()
    steps.press("Home")
    poll(page, lambda: panel.locator("figcaption .w-secondary").first.inner_text() != first)
    # Not decode(): that fails where the picture is changed for another meanwhile.
    poll(page, lambda: panel.locator("img").first.evaluate("i => i.complete && i.naturalWidth"))

    # The chart is there again where the view is; it goes when it is taken away.
    page.reload()
    own.wait_for()
    assert axe_violations(page, ".w-charts") == []
    menu(page, own, "Remove")
    own.wait_for(state="detached")
    poll(page, lambda: "losses" not in own_view(page))


def smoothed(page: Page, name: str) -> list[dict[str, Any]] | None:
    """Return the lines of a chart in full screen, once all are smoothed."""
    for one in page.evaluate("window.__weirCharts ? window.__weirCharts(true).charts : []"):
        lines: list[dict[str, Any]] = one["lines"]
        is_fine = any(len(line["x"]) > 1_000 for line in lines)
        if one["name"] == name and is_fine and all(line["smoothed"] for line in lines):
            return lines
    return None


def check_gaussian(lines: list[dict[str, Any]], run_id: str, history: list[Metric]) -> None:
    """Hold a smoothed line against the formula over what was logged, at some of its buckets."""
    (line,) = [line for line in lines if line["runId"] == run_id]
    x, count = np.array(line["x"]), np.array(line["count"])
    steps = np.array([m.step for m in history])
    values = np.array([m.value for m in history])
    ends = np.searchsorted(steps, x, side="right")
    assert (np.diff(ends, prepend=0) == count).all()
    means = np.array([part.mean() for part in np.split(values, ends[:-1])])
    span = max(line["x"][-1] for line in lines) - min(line["x"][0] for line in lines)
    sigma = 0.2 * span
    for at in (0, len(x) // 3, len(x) - 1):
        distance = x - x[at]
        weight = count * np.exp(-(distance**2) / (2 * sigma**2)) * (abs(distance) <= 3 * sigma)
        expected = (weight * means).sum() / weight.sum()
        assert line["smoothed"][at] == pytest.approx(expected, rel=1e-5)
