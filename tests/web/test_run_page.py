"""The run page in a browser: each tab against what the run holds, hostile content, both themes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient

from browser import PHONE, Site, axe_violations, poll
from mlflow_weir.store.console.lines import without_styles
from mlflow_weir.store.delivery import records
from run_data import (
    BAD_STEP,
    LAYERS,
    LINE_MS,
    N_LINES,
    NAME,
    THROTTLED,
    WATCHED_STEPS,
    XSS,
    console_text,
    watched,
)
from senders import Sender, call, create_run, new_id, operation, points
from workspace_data import FIRST_START_MS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

LAST_LINE = without_styles(console_text(N_LINES - 1)[1])
TABS = ["overview", "charts", "hardware", "console", "code", "gradients", "media", "files"]
COPY = """(of) => new Promise((done) => {
    getSelection().selectAllChildren(document.querySelector(`[aria-labelledby=${of}] table`))
    const tell = (event) => done(event.clipboardData.getData("text/plain"))
    document.addEventListener("copy", tell, {once: true})
    document.execCommand("copy")
})"""


def open_tab(page: Any, site: Site, tab: str, run_id: str = "", query: str = "") -> Any:
    """Open a tab of a run, the rich one where none is named; return its panel."""
    page.goto(site.pages(f"/r/{run_id or site.rich.run_id}/{tab}{query}"))
    panel = page.get_by_role("tabpanel")
    panel.wait_for()
    page.wait_for_load_state("networkidle")
    return panel


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, site: Site) -> MlflowClient:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    return MlflowClient(site.server.address)


def test_the_overview_says_what_mlflow_says_and_why_it_ended(
    site: Site, page: Any, client: MlflowClient
) -> None:
    panel = open_tab(page, site, "overview")
    run = client.get_run(site.rich.run_id)
    page.get_by_text("FAILED", exact=False).first.wait_for()
    why = panel.get_by_role("region", name="Why it ended")
    assert run.data.tags["weir.exit_cause"] in why.inner_text()
    metrics = panel.get_by_role("region", name="Metrics")
    for key in ("train/loss", "val/<b>f1</b>"):
        row = metrics.get_by_role("row").filter(has_text=key)
        row.wait_for()
        cells = row.get_by_role("cell").all()[:3]
        values = [point.value for point in client.get_metric_history(run.info.run_id, key)]
        exact = [run.data.metrics[key], min(values), max(values)]
        # Four digits to read, all of them where the pointer rests.
        assert [one.inner_text() for one in cells] == [f"{value:.4g}" for value in exact]
        assert [float(one.get_attribute("title")) for one in cells] == exact
    # And all of them are copied, as rows.
    copied = page.evaluate(COPY, "w-metrics")
    assert f"{run.data.metrics['train/loss']}" in copied.split("\n")[1].split("\t")
    params = panel.get_by_role("region", name="Params")
    for key in ("lr", "__proto__", "note"):
        row = params.get_by_role("row").filter(has=page.get_by_text(key, exact=True))
        assert row.get_by_role("cell").inner_text() == run.data.params[key]
    lines = panel.get_by_role("region", name="Console")
    lines.get_by_text(LAST_LINE).wait_for()
    alerts = panel.get_by_role("region", name="Alerts")
    alerts.wait_for()
    shown = [one.inner_text() for one in alerts.get_by_role("listitem").all()]
    assert [one.split()[0] for one in shown] == ["error", "warning", "info"]
    assert f"NaN {XSS}" in shown[0]
    assert "line one\nline two" in shown[0]
    alerts.get_by_text("1 more").click()
    alerts.get_by_text("halfway there").wait_for()
    about = panel.get_by_role("region", name="About").inner_text()
    lost = ("Points dropped\t12", "Files dropped\t2")
    for words in ("gpu-node-7", "1 h 02 m", "warm-up", "changed", site.rich.run_id, *lost):
        assert words in about


def test_notes_are_markdown_and_edited_in_place(
    site: Site, page: Any, client: MlflowClient
) -> None:
    run_id = site.rich.bare_id
    panel = open_tab(page, site, "overview", run_id)
    panel.get_by_role("button", name="Write notes").click()
    box = panel.get_by_role("textbox", name="Notes, in Markdown")
    box.fill("**good** [a](javascript:alert(1)) [b](https://example.org)\n\n- [x] done\n- open")
    panel.get_by_role("button", name="Save").click()
    panel.locator("strong", has_text="good").wait_for()
    marks = panel.get_by_role("listitem").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).listStyleType)"
    )
    assert marks == ["none", "disc"]  # a box is its mark
    links = panel.get_by_role("region", name="Notes").get_by_role("link")
    assert [link.get_attribute("href") for link in links.all()] == ["https://example.org/"]
    assert links.first.get_attribute("rel") == "noopener noreferrer nofollow"
    note = client.get_run(run_id).data.tags["mlflow.note.content"]
    assert note.startswith("**good**")
    page.reload()
    panel.locator("strong", has_text="good").wait_for()
    # So are tags: one set, one changed, one taken away.
    panel.get_by_role("button", name="Set tags").click()
    for at, (key, value) in enumerate((("team", "vision"), ("stage", "<i>draft</i>"))):
        if at:
            panel.get_by_role("button", name="Tag", exact=True).click()
        panel.get_by_label("Tag", exact=True).nth(at).fill(key)
        panel.get_by_label(f"Value of {key}").fill(value)
    panel.get_by_role("button", name="Save tags").click()
    tags = panel.get_by_role("region", name="Tags")
    tags.get_by_role("cell", name="<i>draft</i>").wait_for()
    panel.get_by_role("button", name="Edit tags").click()
    panel.get_by_label("Value of stage").fill("final")
    panel.get_by_role("button", name="Remove team").click()
    assert axe_violations(page) == []
    panel.get_by_role("button", name="Save tags").click()
    tags.get_by_role("cell", name="final").wait_for()
    kept = client.get_run(run_id).data.tags
    assert kept["stage"] == "final"
    assert "team" not in kept


def test_hardware_panels_draw_what_mlflows_client_returns(
    site: Site, page: Any, client: MlflowClient
) -> None:
    panel = open_tab(page, site, "hardware")
    panel.locator("figure canvas").first.wait_for()
    # One a GPU: this is the second's.
    figure = panel.locator("figure").filter(has_text="Temperature").nth(1)
    figure.locator("canvas").wait_for()
    history = client.get_metric_history(site.rich.run_id, "system/gpu_1_temperature_celsius")
    values = [point.value for point in history]
    row = figure.locator("li").filter(has_text="chip")
    last = row.locator("[data-line]")
    poll(page, lambda: float(last.inner_text()) == pytest.approx(values[-1], rel=1e-4))
    said = figure.get_by_role("img").get_attribute("aria-label")
    assert f"{max(values):.3g}" in said
    assert f"{min(values):.3g}" in said
    # When it was slowed down, and what the run did, is behind the lines.
    gpu = panel.locator("details").filter(has_text="GPU 1").first
    share = 100 * (THROTTLED.stop - THROTTLED.start) / len(history)
    gpu.locator("summary").get_by_text(f"slowed down {share:.0f} % of the time").wait_for()
    assert "slowed" not in panel.locator("details").filter(has_text="GPU 0").first.inner_text()
    warn = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--w-warn')")
    canvas = figure.locator("canvas").first
    # They are drawn when they are known, which may be after the lines.
    poll(
        page,
        lambda: canvas.evaluate(SHADED_COLUMNS, warn) == pytest.approx(share / 100, abs=0.03),
    )
    phases = page.get_by_role("list", name="Phases of the run").get_by_role("listitem")
    phases.nth(2).wait_for()
    assert [one.inner_text().split()[0] for one in phases.all()] == ["Before", "Steps", "After"]
    # Something is drawn in the line's colour.
    colour = row.locator(".w-dot").evaluate("dot => getComputedStyle(dot).backgroundColor")
    poll(page, lambda: canvas.evaluate(COUNT_PIXELS, colour) > 50)
    # A run that stops three times for 20 s after 20 steps, and then logs its validation.
    sender, run_id = Sender(site.server), new_id()
    metrics = []
    for at in range(60):
        at_ms = FIRST_START_MS + 1_000 * at + 20_000 * (at // 20)
        metrics.append(("train/loss", at_ms, at, 1 / (1 + at)))
        metrics.append(("system/cpu_utilization_percentage", at_ms, at, 40.0 + at))
        if at % 20 == 19:
            metrics.append(("val/loss", at_ms + 20_000, at, 2 / (1 + at)))
    sender.send(
        create_run(run_id, start_time=FIRST_START_MS),
        records.encode_points(run_id, metrics),
        operation("update_run", run_id=run_id, status="FINISHED", end_time=at_ms + 21_000),
    )
    panel = open_tab(page, site, "hardware", run_id)
    phases.filter(has_text="3 validations").get_by_text("1 m", exact=True).wait_for()
    panel.locator("figure canvas").first.wait_for()
    page.locator(".w-phase-validation").wait_for()
    # Two of them are within the panel's time, and take 40 s of its 99: a strip, not the line.
    primary = page.locator(".w-phase-validation").evaluate(
        "(one) => getComputedStyle(one).backgroundColor"
    )
    page.wait_for_function(
        f"colour => ({LONGEST_ROW})(document.querySelector('figure canvas'), colour) > 0.3",
        arg=primary,
    )


LONGEST_ROW = """(canvas, colour) => {
    const [r, g, b] = colour.match(/\\d+/g).map(Number)
    const { width, height } = canvas
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height)
    const rows = new Array(height).fill(0)
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 200 && Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) +
            Math.abs(data[at + 2] - b) < 24) rows[Math.floor(at / 4 / width)] += 1
    }
    const over = canvas.parentElement.querySelector(".u-over").clientWidth * devicePixelRatio
    return Math.max(...rows) / over
}"""
SHADED_COLUMNS = """(canvas, warn) => {
    const { width, height } = canvas
    const { data } = canvas.getContext("2d").getImageData(0, Math.floor(height / 2), width, 1)
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(warn.trim().slice(at, at + 2), 16))
    // The warning's colour at 22 %, and what a line painted over it leaves.
    const isShaded = (at) => data[at + 3] > 30 && data[at + 3] < 90 &&
        Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) + Math.abs(data[at + 2] - b) < 40
    let n = 0
    for (let at = 0; at < data.length; at += 4) if (isShaded(at)) n += 1
    const over = canvas.parentElement.querySelector(".u-over").clientWidth * devicePixelRatio
    return n / over
}"""


def test_charts_are_the_workspaces_grid_of_one_run(site: Site, page: Any) -> None:
    # As high as all cards: those far from the view are not drawn.
    page.set_viewport_size({"width": 1500, "height": 1600})
    panel = open_tab(page, site, "charts")
    for key in ("train/loss", "val/<b>f1</b>"):
        panel.get_by_role("article", name=key, exact=True).locator("canvas").first.wait_for()
    panel.get_by_role("textbox", name="Search charts").fill("f1")
    panel.get_by_role("article", name="train/loss").first.wait_for(state="detached")


COUNT_PIXELS = """(canvas, colour) => {
    const [r, g, b] = colour.match(/\\d+/g).map(Number)
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
    let n = 0
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 200 && Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) +
            Math.abs(data[at + 2] - b) < 24) n += 1
    }
    return n
}"""


def test_a_long_console_is_virtual_and_found_by_line(site: Site, page: Any) -> None:
    panel = open_tab(page, site, "console")
    log = panel.get_by_role("log")
    log.get_by_text(LAST_LINE).wait_for()
    panel.get_by_text(f"{N_LINES:,} lines").wait_for()
    assert log.locator(".w-line").count() < 200
    log.press("Home")
    # The browser goes there smoothly, and would go on with it over a scroll of ours.
    page.wait_for_function("() => document.querySelector('[role=log]').scrollTop === 0")
    log.get_by_text(console_text(0)[1], exact=True).wait_for()
    log.evaluate("(box, n) => box.scrollTo(0, n * 18)", 60_000)
    log.get_by_text(console_text(60_010)[1], exact=True).wait_for()
    panel.get_by_role("textbox", name="Go to line").fill("60010")
    panel.get_by_role("textbox", name="Go to line").press("Enter")
    log.locator(".w-line-marked").get_by_text(console_text(60_010)[1], exact=True).wait_for()
    assert "line=60010" in page.url
    page.reload()
    log.locator(".w-line-marked").get_by_text(console_text(60_010)[1], exact=True).wait_for()


def test_a_line_and_its_moment_on_the_charts_lead_to_one_another(
    site: Site, page: Any, client: MlflowClient
) -> None:
    panel = open_tab(page, site, "console", query="?line=2")
    marked = panel.get_by_role("log").locator(".w-line-marked .w-line-number")
    marked.wait_for()
    panel.get_by_label("Chart", exact=True).check()
    strip = panel.get_by_role("region", name="Chart of the console")
    strip.get_by_label("Metric").select_option("train/loss")
    strip.locator("canvas").first.wait_for()
    slider = strip.get_by_role("slider")
    # The chart's samples in reach of the keys; each leads to what was printed then.
    before = int(marked.inner_text())
    slider.focus()
    slider.press("PageUp")
    page.wait_for_function(
        "n => Number(document.querySelector('.w-line-marked .w-line-number')?.innerText) > n",
        arg=before,
    )
    assert axe_violations(page) == []
    strip.get_by_role("link", name="on all charts").click()
    chart = panel.get_by_role("article", name="train/loss", exact=True)
    chart.locator("canvas").first.wait_for()
    at_ms = int(page.url.split("t=")[1])
    page.wait_for_function("at => window.__weirCharts().hoverX === at", arg=at_ms)
    # And back, from a step: the console at the time at which MLflow's client says it was logged.
    page.locator(".w-chart-bar select").first.select_option("step")
    page.wait_for_function(
        """() => window.__weirCharts().charts.length > 0 && window.__weirCharts().charts.every(
            (one) => one.isComplete && one.nDrawn > 0 && one.x.max < 1e6)"""
    )
    chart.get_by_role("application").focus()
    chart.get_by_role("application").press("Shift+ArrowRight")
    page.wait_for_function("window.__weirCharts().hoverX < 1e6")
    chart.get_by_role("application").press("Enter")
    panel.get_by_role("link", name="Console at").wait_for()
    step = page.evaluate("window.__weirCharts().hoverX")
    history = client.get_metric_history(site.rich.run_id, "train/loss")
    (logged,) = (point.timestamp for point in history if point.step == step)
    link = panel.get_by_role("link", name="Console at")
    # There is one of the moment before until the step's own time is known.
    poll(page, lambda: f"t={logged}" in str(link.get_attribute("href")))
    link.click()
    line = (logged - FIRST_START_MS) // LINE_MS
    page.wait_for_function("n => location.search === `?line=${n}`", arg=line)
    panel.get_by_role("log").locator(".w-line-marked").get_by_text(
        console_text(line)[1]
    ).wait_for()


def test_the_console_shows_colours_and_nothing_else_of_a_terminal(site: Site, page: Any) -> None:
    panel = open_tab(page, site, "console", query="?line=11")
    log = panel.get_by_role("log")
    error = log.locator(".w-line").filter(has_text="ERROR")
    error.wait_for()
    assert error.get_by_text("stderr:").count() == 1
    assert XSS in error.inner_text()
    assert error.locator("a").count() == 0
    assert error.locator(".w-fg-1").inner_text() == "ERROR"
    turned = log.locator(".w-line").filter(has_text="turned")
    assert "\\u{202e}" in turned.inner_text()
    assert "\\u{200b}" in turned.inner_text()
    orange = turned.get_by_text("orange")
    assert orange.evaluate("one => getComputedStyle(one).color") == "rgb(255, 135, 0)"
    assert page.evaluate("window.wasRun") is None


def test_the_console_is_searched_on_the_server(site: Site, page: Any) -> None:
    panel = open_tab(page, site, "console")
    box = panel.get_by_role("textbox", name="Search the console")
    box.fill("loss is HIGH")
    panel.get_by_text(f"1 of {N_LINES // 1_000}").wait_for()
    log = panel.get_by_role("log")
    log.locator(".w-line-marked").get_by_text("at step 999").wait_for()
    box.press("Enter")
    log.locator(".w-line-marked").get_by_text("at step 1999").wait_for()
    box.press("Shift+Enter")
    box.press("Shift+Enter")
    log.locator(".w-line-marked").get_by_text(f"at step {N_LINES - 1}").wait_for()


def test_a_console_is_downloaded_whole_under_a_clean_name(site: Site, page: Any) -> None:
    panel = open_tab(page, site, "console")
    with page.expect_download() as expected:
        panel.get_by_role("button", name="Download").click()
    name = expected.value.suggested_filename
    assert name.startswith("resnet50_")
    assert not set(name) & set('<>"/\\ \u202e')
    lines = expected.value.path().read_text().splitlines()
    assert len(lines) == N_LINES
    assert lines[-1] == LAST_LINE


def test_the_patch_is_a_diff_and_another_runs_is_held_against_it(site: Site, page: Any) -> None:
    panel = open_tab(page, site, "code")
    tree = panel.get_by_role("navigation", name="Changed files")
    tree.get_by_role("button").nth(2).wait_for()
    assert [one.inner_text().split("\n")[0] for one in tree.get_by_role("button").all()] == [
        "train.py",
        "conf/new file.yaml",
        "data.bin",
    ]
    panel.locator(".w-diff-add .w-diff-text").nth(1).wait_for()
    added = panel.locator(".w-diff-add .w-diff-text").all_inner_texts()
    assert added[0].strip() == 'loss = model(batch.to("cuda"))'
    assert f"# {XSS}" in added[1]
    panel.get_by_text("binary · 12 B").first.wait_for()
    panel.get_by_text(f"weir restore {site.rich.run_id}").wait_for()
    assert "CUDA_VISIBLE_DEVICES" in panel.get_by_role("region", name="Command").inner_text()
    # By an address that was pasted; by name below, where pictures are compared.
    picker = panel.get_by_role("combobox", name="Compare with another run")
    picker.fill(site.pages(f"/r/{site.rich.other_id}"))
    picker.press("Enter")
    panel.get_by_role("heading", name="Patches, file by file").wait_for()
    panel.get_by_text("2 more files are changed alike").wait_for()
    changed = panel.locator(".w-diff-file").filter(has_text="conf/new file.yaml")
    assert changed.locator(".w-diff-del").inner_text().split()[-1] == "0.1"
    assert changed.locator(".w-diff-add").inner_text().split()[-1] == "0.2"
    page.go_back()
    panel.get_by_role("heading", name="Changes since the commit").wait_for()


def test_pictures_follow_the_slider_and_stand_beside_another_runs(site: Site, page: Any) -> None:
    panel = open_tab(page, site, "media")
    cats = panel.locator("figure").filter(has_text="samples/cats")
    cats.locator("img").wait_for()
    cats.get_by_text("step 1,000").wait_for()
    slider = panel.get_by_role("slider", name="Step")
    slider.press("Home")
    cats.get_by_text("step 0").wait_for()
    slider.press("ArrowRight")
    cats.get_by_text("step 100", exact=True).wait_for()
    cats.get_by_role("button").click()
    dialog = page.get_by_role("dialog", name="samples/cats")
    dialog.locator("img").wait_for()
    width = "() => document.querySelector('[role=dialog] img, dialog img').naturalWidth === 96"
    page.wait_for_function(width)
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    # The drawing's script is in a picture, where nothing runs.
    panel.get_by_role("img", name="drawing").wait_for()
    assert page.evaluate("window.wasRun") is None
    picker = panel.get_by_role("combobox", name="Compare with another run")
    picker.fill("adamw-lr0.1-s2")
    # In another experiment: all that one may see are looked through.
    panel.get_by_text("Other experiments").wait_for()
    panel.get_by_role("option", name="adamw-lr0.1-s2").wait_for()
    picker.fill("before")
    panel.get_by_role("option", name="resnet50 before").wait_for()
    assert axe_violations(page) == []
    panel.get_by_role("option", name="resnet50 before").click()
    page.wait_for_url(f"**with={site.rich.other_id}")
    panel.get_by_text("none").first.wait_for()
    panel.get_by_role("link", name="resnet50 before").wait_for()


def test_norms_and_distributions_are_what_was_watched(site: Site, page: Any) -> None:
    panel = open_tab(page, site, "gradients")
    names = panel.locator(".w-heat-name")
    names.first.wait_for()
    # What went wrong comes first.
    poll(page, lambda: names.first.inner_text() == LAYERS[-1])
    poll(page, lambda: names.count() == len(LAYERS))
    panel.get_by_text("1 layer has NaN or infinite values").wait_for()
    heat = panel.get_by_role("img", name=f"Norms of {len(LAYERS)} layers")
    box = heat.bounding_box()
    column = len(WATCHED_STEPS) - 1
    heat.hover(position={"x": box["width"] * (column + 0.5) / len(WATCHED_STEPS), "y": 24 + 12})
    at = f"{LAYERS[0]} · step {WATCHED_STEPS[column]:,} · "
    told = panel.locator(".w-heat-at").first
    said = poll(page, lambda: (text := told.inner_text()).startswith(at) and text)
    assert float(said.split(" · ")[2]) == pytest.approx(
        watched(WATCHED_STEPS[column]).norm[0], rel=1e-3
    )
    bad = WATCHED_STEPS.index(BAD_STEP)
    pixel = """(canvas, share) => [...canvas.getContext('2d').getImageData(
        Math.floor(canvas.width * share), 10, 1, 1).data].slice(0, 3)"""
    share = (bad + 0.5) / len(WATCHED_STEPS)
    poll(page, lambda: heat.evaluate(pixel, share) == [200, 45, 76])
    names.nth(3).click()
    panel.get_by_role("img", name="Distribution over").wait_for()
    poll(page, lambda: "layer=" in page.url)
    panel.get_by_role("heading", name=LAYERS[2]).wait_for()
    page.reload()
    panel.get_by_role("heading", name=LAYERS[2]).wait_for()
    panel.get_by_role("button", name="Parameters").click()
    panel.get_by_text("No parameters were watched").wait_for()


def test_files_are_looked_at_without_being_believed(site: Site, page: Any) -> None:
    panel = open_tab(page, site, "files")
    preview = panel.get_by_role("region", name="Preview")
    panel.get_by_role("button", name="config.json").click()
    preview.get_by_text('"layers"').wait_for()
    panel.get_by_role("button", name="page.html").click()
    preview.get_by_text("<h1>hi</h1>").wait_for()
    panel.get_by_role("button", name="table.csv").click()
    preview.get_by_role("cell", name="=1+1").wait_for()
    panel.get_by_role("button", name="drawing.svg").click()
    preview.locator("img").wait_for()
    panel.get_by_role("button", name="weights.bin").click()
    preview.get_by_text("no text").wait_for()
    panel.get_by_role("button", name="odd").click()
    panel.get_by_role("button", name="nnn").click()
    preview.get_by_text("found").wait_for()
    page.reload()
    preview.get_by_text("found").wait_for()
    assert page.evaluate("window.wasRun") is None


def test_a_run_with_nothing_says_so_in_every_tab(site: Site, page: Any) -> None:
    words = {
        "overview": "No metric was logged",
        "charts": "No metric was logged yet",
        "hardware": "Nothing was measured",
        "console": "Nothing this run printed",
        "code": "Nothing was captured",
        "gradients": "mlflow_weir.watch",
        "media": "mlflow.log_image",
        "files": "no files",
    }
    assert list(words) == TABS
    for tab, text in words.items():
        panel = open_tab(page, site, tab, site.rich.bare_id)
        panel.get_by_text(text).first.wait_for()


@pytest.mark.parametrize("system", ["light", "dark"])
def test_every_tab_is_accessible_and_fits_a_phone(
    system: str, site: Site, open_page: Callable[..., Any]
) -> None:
    page = open_page(color_scheme=system)
    found = []
    for tab in TABS:
        panel = open_tab(page, site, tab)
        panel.locator("h2, canvas, [role=log], nav, button").first.wait_for()
        found += [f"{tab}: {violation}" for violation in axe_violations(page)]
    assert "\n".join(found) == ""
    if system == "dark":
        page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        for tab in TABS:
            panel = open_tab(page, site, tab)
            panel.locator("h2, canvas, [role=log], nav, button").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab
            # Where one is, and what there is to do: two lines, whatever the run is called.
            assert page.get_by_role("banner").bounding_box()["height"] < 90, tab
            assert page.get_by_role("tab", selected=True).count() == 1
        page.set_viewport_size({"width": 360, "height": 740})
        page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
        page.get_by_role("group", name="Settings of all charts").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


SIZES = """word => performance.getEntriesByType("resource")
    .filter((entry) => entry.name.endsWith(`/ajax-api/3.0/weir/${word}`))
    .map((entry) => entry.encodedBodySize)"""


def sizes(page: Any, word: str, least: int = 1) -> list[int]:
    """Return the bytes of all answers of a route to a page, once there are so many of them."""
    page.wait_for_function(f"([word, n]) => ({SIZES})(word).length >= n", arg=[word, least])
    found: list[int] = page.evaluate(SIZES, word)
    return found


def test_a_training_is_watched_from_its_start_to_its_end(
    site: Site, page: Any, client: MlflowClient
) -> None:
    sender, run_id = Sender(site.server), new_id()
    experiment_id = client.create_experiment(f"watched {run_id}")
    page.add_init_script("performance.setResourceTimingBufferSize(10_000)")

    def prints(first: int, *texts: str) -> bytes:
        lines = [[0, 1, text] for text in texts]
        fields = {"run_id": run_id, "source": "c" * 32, "node": "n", "pid": 1}
        return operation("console", **fields, first=first, at_ms=5, lines=lines)

    def wait_for_points(key: str, n: int) -> None:
        page.wait_for_function(
            """([key, n]) => window.__weirCharts?.().charts.some((chart) => chart.isComplete &&
                chart.lines.some((line) => line.key === key && line.total === n))""",
            arg=[key, n],
        )

    # An empty workspace, in which the run appears by itself.
    page.goto(site.pages(f"/e/{experiment_id}"))
    page.get_by_text("No runs yet").wait_for()
    page.evaluate("window.isTheSame = true")
    sender.send(create_run(run_id, experiment_id, run_name="watched"))
    page.get_by_role("row").get_by_title("watched", exact=True).get_by_role("link").click()
    page.get_by_role("tab", name="Charts").click()
    panel = page.get_by_role("tabpanel")
    panel.get_by_text("No metric was logged yet").wait_for()
    values = [1 / (1 + step) for step in range(480)]
    sender.send(*points(run_id, "loss", values[:400]))
    wait_for_points("loss", 400)
    whole = sizes(page, "series")
    for n in (440, 480):
        sender.send(*points(run_id, "loss", values[n - 40 : n], n - 40))
        wait_for_points("loss", n)
    # What was there did not come again.
    grown = sizes(page, "series", len(whole) + 2)[len(whole) :]
    assert sum(grown) < max(whole) / 2, (whole, grown)
    drawn = page.evaluate("window.__weirCharts().charts[0].lines[0].last")
    history = client.get_metric_history(run_id, "loss")
    assert drawn == pytest.approx([point.value for point in history][-len(drawn) :], rel=1e-6)

    sender.send(prints(0, *(f"line {n} of what a training prints" for n in range(400)), "0 %"))
    page.get_by_role("tab", name="Console").click()
    log = panel.get_by_role("log")
    log.get_by_text("0 %", exact=True).wait_for()
    whole = sizes(page, "console")
    sender.send(prints(400, "100 %", "and more"))
    log.get_by_text("and more", exact=True).wait_for()
    log.get_by_text("100 %", exact=True).wait_for()
    grown = sizes(page, "console", len(whole) + 1)[len(whole) :]
    assert max(grown) < max(whole) / 2, (whole, grown)

    key = "system/cpu_utilization_percentage"
    sender.send(*points(run_id, key, [50.0 + n % 7 for n in range(300)]))
    page.get_by_role("tab", name="Hardware").click()
    figure = panel.locator("figure").filter(has_text="Processor of the machine")
    figure.get_by_role("img", name="last 55").wait_for()
    # They are told from the loss along time.
    panel.get_by_role("list", name="Phases of the run").wait_for()
    whole = sizes(page, "series")
    sender.send(*points(run_id, key, [99.0], 300))
    figure.get_by_role("img", name="50 to 99, last 99").wait_for()
    grown = sizes(page, "series", len(whole) + 1)[len(whole) :]
    assert sum(grown) < max(whole) / 2, (whole, grown)

    page.get_by_role("tab", name="Overview").click()
    metrics = panel.get_by_role("region", name="Metrics")
    sender.send(*points(run_id, "loss", [0.125], 480))
    metrics.get_by_text("0.125").first.wait_for()
    fields = {"run_id": run_id, "status": "FINISHED", "end_time": 1_700_000_009_000}
    sender.send(operation("update_run", **fields))
    page.get_by_text("FINISHED").first.wait_for()
    assert page.evaluate("window.isTheSame") is True


def test_tabs_are_walked_by_keys(site: Site, page: Any) -> None:
    open_tab(page, site, "overview", site.rich.bare_id)
    page.get_by_role("tab", name="Overview").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("tab", name="Charts", selected=True).wait_for()
    page.wait_for_function("document.activeElement.textContent === 'Charts'")
    page.keyboard.press("End")
    page.get_by_role("tab", name="Files", selected=True).wait_for()


def test_a_hostile_name_is_text_in_heading_and_title(site: Site, page: Any) -> None:
    open_tab(page, site, "overview")
    page.get_by_role("heading", level=1).filter(has_text=XSS).wait_for()
    heading = page.get_by_role("heading", level=1).inner_text()
    assert XSS in heading
    assert "\u202e" not in heading + page.title()
    assert "\\u{202e}" in heading
    assert heading.startswith(NAME[:9])
    assert page.evaluate("window.wasRun") is None


def test_a_run_that_is_not_there_is_said_so(
    site: Site, page: Any, allow_errors: Callable[[str], None]
) -> None:
    allow_errors("404")
    page.goto(site.pages(f"/r/{'0' * 32}/overview"))
    page.get_by_role("alert").get_by_text("does not exist").wait_for()


def test_files_go_out_as_attachments_that_nothing_runs(site: Site) -> None:
    for path, kind in (
        ("drawing.svg", "image/svg+xml"),
        ("page.html", "application/octet-stream"),
    ):
        body = json.dumps({"run_id": site.rich.run_id, "path": path}).encode()
        headers = {"Content-Type": "application/json"}
        answer = call(site.server, "POST", "/ajax-api/3.0/weir/file", body, headers)
        assert answer.status == 200
        assert answer.headers["content-type"] == kind
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    ["../secret", "a/../../b", "/etc/passwd", "a\\b", "a\x00b", "", "a//b", "./a", "%2e%2e/x"],
)
def test_paths_that_lead_out_are_none(path: str, site: Site) -> None:
    for route in ("file", "files"):
        body = json.dumps({"run_id": site.rich.run_id, "path": path}).encode()
        headers = {"Content-Type": "application/json"}
        answer = call(site.server, "POST", f"/ajax-api/3.0/weir/{route}", body, headers)
        if route == "files" and path == "":
            continue
        assert answer.status in {400, 404} or answer.body == {"entries": [], "is_cut": False}
