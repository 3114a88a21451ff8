"""Charts in a real browser on a real server: what is drawn is what MLflow's client returns."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from browser import BrowserErrors, new_context, watch
from series_answers import Line, check_line, in_drawn_order
from workspace_data import append_points, curve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from browser import Site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),  # MLflow warns about itself
]
DEADLINE_S = 120.0
LOSS = "train/loss"


# What the page gives, without the values nobody asked for: a sweep's are tens of megabytes.
DRAWN = """wanted => {
    if (!window.__weirCharts) return null
    const found = window.__weirCharts(wanted !== null)
    for (const chart of found.charts) for (const line of chart.lines) {
        if (wanted.includes(line.runId)) continue
        for (const column of ["x", "low", "high", "last", "count"]) delete line[column]
    }
    return found
}"""


def drawn(page: Page, values_of: Sequence[str] | None = None) -> Any:
    """Return what the page's charts have drawn, or None before there are any.

    Args:
        page: The workspace.
        values_of: Runs whose lines have their values; None leaves the lines out.
    """
    return page.evaluate(DRAWN, None if values_of is None else list(values_of))


def wait_for(
    page: Page, is_there: Callable[[Any], bool], values_of: Sequence[str] | None = None
) -> Any:
    """Poll until what is drawn is as wanted, and return it."""
    give_up = time.monotonic() + DEADLINE_S
    while True:
        found = drawn(page, values_of)
        if found is not None and is_there(found):
            return found
        assert time.monotonic() < give_up, drawn(page)
        page.wait_for_timeout(100)


def chart(found: Any, name: str) -> Any:
    """Return one chart of what was drawn."""
    (one,) = [chart for chart in found["charts"] if chart["name"] == name]
    return one


def is_complete(found: Any, name: str = LOSS, n_lines: int = 1) -> bool:
    """Say whether a chart is on the page with at least so many lines."""
    named = [chart for chart in found["charts"] if chart["name"] == name]
    return bool(named) and named[0]["isComplete"] and named[0]["nDrawn"] >= n_lines


def line_of(found: Any, run_id: str, name: str = LOSS) -> Line:
    """Return a line on the page, in the form that is held against MLflow's points."""
    (one,) = [line for line in chart(found, name)["lines"] if line["runId"] == run_id]
    columns = {
        key: np.array([math.nan if v is None else v for v in one[key]], dtype=np.float64)
        for key in ("x", "low", "high", "last", "count")
    }
    return Line(one["total"], True, True, columns)


def card(page: Page, name: str) -> Locator:
    """Return a card by its metric."""
    return page.locator(f'.w-card[data-keys="{name}"]')


@pytest.fixture
def client(site: Site) -> MlflowClient:
    """MLflow's own client of the server."""
    return MlflowClient(site.server.address)


def runs_with(client: MlflowClient, site: Site, name: str) -> set[str]:
    """Return the runs that have a metric, as MLflow's client has it."""
    runs = client.search_runs([site.sweep.experiment_id], max_results=1_000)
    return {run.info.run_id for run in runs if name in run.data.metrics}


class Workspace:
    """The one page of these tests: each leaves it as it was, or it is opened anew."""

    def __init__(self, chromium: Browser) -> None:
        self._chromium = chromium
        self.errors = BrowserErrors([], [])
        self.page: Page | None = None

    def open(self) -> Page:
        """Return the page, of a browser context of its own."""
        if self.page is None:
            self.page = new_context(self._chromium, color_scheme="light").new_page()
            watch(self.page, self.errors)
        return self.page

    def close(self) -> None:
        """Close what is open."""
        if self.page is not None:
            self.page.context.close()
        self.page, self.errors.seen[:] = None, []


@pytest.fixture(scope="module")
def shared(chromium: Browser) -> Iterator[Workspace]:
    made = Workspace(chromium)
    yield made
    made.close()


@pytest.fixture
def workspace(
    shared: Workspace, site: Site, client: MlflowClient, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """Show the workspace and wait for all lines of a chart."""
    is_new, page = shared.page is None, shared.open()
    if is_new:
        page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    n_lines = len(runs_with(client, site, LOSS))
    wait_for(page, lambda found: is_complete(found, n_lines=n_lines))
    n_failed = request.session.testsfailed
    yield page
    # The URL follows a frame after what was changed.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    errors = shared.errors.unexpected()
    if errors or request.session.testsfailed > n_failed or "?" in page.url:
        shared.close()
    assert errors == []


def finite_points(history: list[Metric]) -> bool:
    return all(math.isfinite(m.value) and abs(m.value) < 1e308 for m in history)


def test_every_line_that_is_drawn_is_what_was_logged(
    workspace: Page, site: Site, client: MlflowClient
) -> None:
    ids = site.sweep.run_ids
    spiked, step = site.sweep.spiked
    some = (ids[0], ids[12], ids[33], ids[45], site.sweep.crashed)
    having = {name: runs_with(client, site, name) for name in (LOSS, "train/accuracy")}
    found = wait_for(
        workspace,
        lambda found: all(is_complete(found, name, len(of)) for name, of in having.items()),
        [*some, spiked],
    )
    for name, expected in having.items():
        one = chart(found, name)
        assert len(expected) >= 59  # one run of sixty died before it logged anything
        assert one["nDrawn"] == len(expected)
        assert {line["runId"] for line in one["lines"]} == expected
        assert all(line["painted"] > 0 for line in one["lines"])
        for run_id in some:
            history = in_drawn_order(client.get_metric_history(run_id, name), is_by_step=True)
            assert finite_points(history)
            check_line(line_of(found, run_id, name), history, x=[m.step for m in history])
    line = line_of(found, spiked)
    assert line.columns["high"].max() == 40.0
    at = int(line.columns["high"].argmax())
    assert (line.columns["x"][at - 1]) < step <= line.columns["x"][at]
    assert chart(found, LOSS)["y"]["max"] > 40.0


def eye(page: Page, name: str) -> Locator:
    """Return the switch that shows and hides a run."""
    return page.get_by_role("button", name=f"Draw {name}", exact=True).first


# Of the second chart, whose lines lie side by side.
_PIXELS = """() => {
    const canvas = document.querySelectorAll('.w-chart-lines')[1]
    return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
}"""
_KEEP_PIXELS = f"() => {{ window.__pixels = ({_PIXELS})() }}"
_OTHER_PIXELS = f"""() => ({_PIXELS})().reduce(
    (n, value, at) => n + (Math.abs(value - window.__pixels[at]) > 32), 0
)"""


def test_hiding_a_run_takes_its_line_from_every_chart_and_asks_for_nothing(
    workspace: Page, site: Site
) -> None:
    workspace.wait_for_function("() => !document.querySelector('.w-chart[data-loading=true]')")
    before = wait_for(
        workspace,
        lambda found: all(one["isComplete"] and one["nDrawn"] > 0 for one in found["charts"]),
    )
    run_id = site.sweep.run_ids[57]  # near the top of the list, newest first
    workspace.evaluate(_KEEP_PIXELS)
    eye(workspace, "sgd-lr0.1-s2").click()
    n_lines = chart(before, LOSS)["nDrawn"]
    n_before = {one["name"]: one["nDrawn"] for one in before["charts"]}
    after = wait_for(
        workspace,
        lambda found: {one["name"]: one["nDrawn"] + 1 for one in found["charts"]} == n_before,
        (),
    )
    for one in after["charts"]:
        shown = {line["runId"] for line in one["lines"] if line["painted"] >= 0}
        assert run_id not in shown
    workspace.wait_for_function(f"() => ({_OTHER_PIXELS})() > 200")
    eye(workspace, "sgd-lr0.1-s2").click()
    again = wait_for(workspace, lambda found: chart(found, LOSS)["nDrawn"] == n_lines)
    assert again["counts"]["points"] == before["counts"]["points"]
    # It is under those lines again that it was under before, but for the roundness of an edge.
    workspace.wait_for_function(f"() => ({_OTHER_PIXELS})() < 40")
    # Twice is that run alone, on every chart.
    eye(workspace, "sgd-lr0.1-s2").dblclick()
    alone = wait_for(
        workspace, lambda found: all(one["nDrawn"] <= 1 for one in found["charts"]), ()
    )
    for one in alone["charts"]:
        shown = {line["runId"] for line in one["lines"] if line["painted"] >= 0}
        assert shown <= {run_id}, one["name"]
    eye(workspace, "sgd-lr0.1-s2").dblclick()
    wait_for(workspace, lambda found: chart(found, LOSS)["nDrawn"] == n_lines)


def test_the_cursor_is_on_every_chart_and_raises_one_run(
    workspace: Page, site: Site, client: MlflowClient
) -> None:
    spiked, step = site.sweep.spiked
    found = drawn(workspace)
    one = chart(found, LOSS)
    box = card(workspace, LOSS).locator(".u-over").bounding_box()
    assert box is not None
    share = (step - one["x"]["min"]) / (one["x"]["max"] - one["x"]["min"])
    # The spike alone goes so high up.
    workspace.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] * 0.4)
    workspace.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] * 0.5)
    after = wait_for(workspace, lambda found: found["raised"] == spiked)
    assert abs(after["hoverX"] - step) < 0.02 * one["x"]["max"]
    tip = card(workspace, LOSS).locator(".w-chart-tip")
    first = tip.locator(".w-chart-tip-first").inner_text()
    name = client.get_run(spiked).info.run_name
    assert first.startswith(str(name))
    assert "40 in" in first, "the bucket's largest value is told"
    assert workspace.locator(".w-chart-lines.w-chart-pale").count() >= 3
    workspace.mouse.move(2, 2)
    wait_for(workspace, lambda found: found["raised"] is None)
    assert workspace.locator(".w-chart-lines.w-chart-pale").count() == 0


# Each visit ends a little later after the list was told of the run that was raised.
VISITS = """async ([over, x, y]) => {
    const at = { clientX: x, clientY: y, bubbles: true }
    const left = []
    for (let late = 0; late < 40; late += 4) {
        over.dispatchEvent(new PointerEvent("pointermove", at))
        if (window.__weirCharts().raised === null) throw new Error("no run is under the pointer")
        await new Promise((done) => setTimeout(done, 60 + late))
        over.dispatchEvent(new PointerEvent("pointerleave", at))
        // As many turns as it takes until nothing is told or rendered any more.
        const row = () => document.querySelector(".w-run-raised")
        for (let turn = 0; turn < 500 && (row() !== null || turn < 10); turn += 1)
            await new Promise((done) => setTimeout(done, 20))
        left.push(window.__weirCharts().raised, row() && row().textContent)
    }
    return left
}"""


def test_a_visit_of_any_length_leaves_no_run_raised(workspace: Page, site: Site) -> None:
    _, step = site.sweep.spiked
    one = chart(drawn(workspace), LOSS)
    over = card(workspace, LOSS).locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    share = (step - one["x"]["min"]) / (one["x"]["max"] - one["x"]["min"])
    x, y = box["x"] + share * box["width"], box["y"] + box["height"] * 0.5
    left = workspace.evaluate(VISITS, [over.element_handle(), x, y])
    assert left == [None] * 20


def test_a_drag_zooms_all_charts_to_every_point(
    workspace: Page, site: Site, client: MlflowClient
) -> None:
    box = card(workspace, LOSS).locator(".u-over").bounding_box()
    assert box is not None
    axis = chart(drawn(workspace), LOSS)["x"]
    scale = box["width"] / (axis["max"] - axis["min"])
    left, y = box["x"] - axis["min"] * scale, box["y"] + box["height"] / 2
    workspace.mouse.move(left + 1_000 * scale, y)
    workspace.mouse.down()
    workspace.mouse.move(left + 1_060 * scale, y, steps=3)
    workspace.mouse.move(left + 1_100 * scale, y, steps=3)
    workspace.mouse.up()
    run_id = site.sweep.run_ids[57]
    found = wait_for(
        workspace,
        lambda found: (
            is_complete(found) and max(line_of(found, run_id).columns["count"], default=9) == 1
        ),
        [run_id],
    )
    one = chart(found, LOSS)
    low, high = one["x"]["min"], one["x"]["max"]
    assert 950 < low < 1_050 < high < 1_150
    assert chart(found, "train/accuracy")["x"] == one["x"]
    inside = [
        m
        for m in client.get_metric_history(run_id, LOSS)
        if math.floor(low) <= m.step <= math.ceil(high)
    ]
    check_line(
        line_of(found, run_id)._replace(total=len(inside)), inside, x=[m.step for m in inside]
    )
    card(workspace, LOSS).locator(".u-over").dblclick()
    wait_for(workspace, lambda found: chart(found, LOSS)["x"]["max"] > 1_900)


def test_a_running_run_grows_and_what_is_there_is_not_asked_for_again(
    workspace: Page, site: Site, client: MlflowClient
) -> None:
    from mlflow_weir.store.tracking_store import WeirStore

    run_id = site.sweep.running
    # The poller's first answer says where everything stands.
    workspace.wait_for_event("response", lambda one: one.url.endswith("/weir/changes"))
    before = drawn(workspace)
    last = client.get_metric_history(run_id, LOSS)[-1]
    store = WeirStore(f"sqlite:///{site.server.folder}/mlflow.db", "mlflow-artifacts:/")
    more = curve(
        np.random.default_rng(3),
        50,
        first_step=last.step + 1,
        first_ms=last.timestamp + 1 - 120 * (last.step + 1),
        ms_a_step=120,
    )
    append_points(store, run_id, {LOSS: more})
    store.engine.dispose()
    found = wait_for(
        workspace,
        lambda found: line_of(found, run_id).columns["x"].max() == last.step + 50,
        [run_id],
    )
    history = client.get_metric_history(run_id, LOSS)
    check_line(line_of(found, run_id), history, x=[m.step for m in history])
    n_new = found["counts"]["points"] - before["counts"]["points"]
    assert 50 <= n_new < 400, "no more than the end of the running run's lines"


def test_a_chart_is_a_table_and_a_file_too(
    workspace: Page, site: Site, client: MlflowClient, tmp_path: Path
) -> None:
    run_id = site.sweep.run_ids[57]
    name = "val/loss"
    workspace.locator(f'[data-card="{name}"]').scroll_into_view_if_needed()
    wait_for(workspace, lambda found: is_complete(found, name, 59))
    history = client.get_metric_history(run_id, name)
    card(workspace, name).get_by_role("button", name=f"Menu of {name}").click()
    workspace.get_by_role("menuitem", name="Show as table").click()
    row = workspace.get_by_role("row", name="sgd-lr0.1-s2")
    assert row.locator("td").first.get_attribute("title") is not None
    told = float(row.locator("td").first.get_attribute("title") or "nan")
    assert told == pytest.approx(history[-1].value, rel=1e-6)
    workspace.keyboard.press("Escape")
    with workspace.expect_download() as download:
        card(workspace, name).get_by_role("button", name=f"Menu of {name}").click()
        workspace.get_by_role("menuitem", name="Save as CSV").click()
    path = tmp_path / "chart.csv"
    download.value.save_as(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [one for one in csv.DictReader(file) if one["run_id"] == run_id]
    assert [float(one["x (step)"]) for one in rows] == [m.step for m in history]
    np.testing.assert_allclose(
        [float(one["last"]) for one in rows], [m.value for m in history], rtol=1e-6
    )
    with workspace.expect_download() as download:
        card(workspace, name).get_by_role("button", name=f"Menu of {name}").click()
        workspace.get_by_role("menuitem", name="Save as SVG").click()
    assert download.value.suggested_filename == "val-loss.svg"
    download.value.save_as(tmp_path / "chart.svg")
    svg = (tmp_path / "chart.svg").read_text(encoding="utf-8")
    assert "<script" not in svg
    assert svg.count("<path d=") >= 59


def test_a_search_leaves_the_charts_that_match(workspace: Page) -> None:
    workspace.get_by_role("textbox", name="Search charts").fill("accuracy")
    found = wait_for(
        workspace,
        lambda found: (
            {one["name"] for one in found["charts"]} == {"train/accuracy", "val/accuracy"}
        ),
    )
    assert len(found["charts"]) == 2
    workspace.get_by_role("textbox", name="Search charts").fill("")
    wait_for(workspace, lambda found: LOSS in {one["name"] for one in found["charts"]})


def test_keys_move_the_cursor_and_say_the_value(
    workspace: Page, site: Site, client: MlflowClient
) -> None:
    plot = card(workspace, "train/accuracy").locator(".w-chart")
    n_lines = len(runs_with(client, site, "train/accuracy"))
    label = f'[data-keys="train/accuracy"] .w-chart[aria-label*="{n_lines} lines"]'
    workspace.locator(label).wait_for()  # the summary comes after a rest
    plot.focus()
    for _ in range(3):
        plot.press("ArrowRight")
    spoken = card(workspace, "train/accuracy").locator("[aria-live=polite]")
    spoken.filter(has_text="step").wait_for(state="attached")
