"""The workspace page in Chromium, from an empty cache to the last line of the first screen.

A time ends only when every run's line is counted on the page in every chart of the first screen:
each chart says how many lines its bitmap holds, and when it was put together.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from measuring import Row, Sizes, quantile, say
from places import Place
from playwright.sync_api import Page, sync_playwright
from servers import Server, running

import browser
from mlflow_weir.store.tracking_store import WeirStore
from workspace_data import seed_grid

TITLE = "Workspace page"
ABOUT = """\
Chromium without a GPU, 1500 × 950, cold cache, warm server (one worker, the page asked for once
before), every run drawn on every chart of the first screen. *First screen* is from the beginning
of the navigation until all lines of all its charts are on the page. *Toggle* is from the click on
a run's eye until every chart on the page is without its line, and back. *Hover* moves the pointer
over a chart once a frame. Stock MLflow's chart page is asked for on the same server and data,
until the first chart and until no more requests are under way; it draws 10 runs, 320 points each.
"""

_REPEATS = 5
_FIRST_SCREEN_S, _TOGGLE_S, _FRAME_S, _SERIES_S = 1.5, 0.050, 0.016, 0.6
_DEADLINE_S = 180.0
_N_CARDS = 6

_TOGGLE = """async () => {
    const eye = document.querySelector('button[aria-pressed][aria-label^="Draw "]')
    const counts = () => window.__weirCharts(false).charts.map((chart) => chart.nDrawn)
    const settle = async () => {
        for (;;) {
            await new Promise((done) => setTimeout(done, 400))
            if (window.__weirCharts(false).charts.every((chart) => chart.isComplete)) return
        }
    }
    const turn = async (by) => {
        const wanted = counts().map((n) => n + by)
        const start = performance.now()
        eye.click()
        for (;;) {
            await new Promise(requestAnimationFrame)
            const now = counts()
            if (now.every((n, at) => n === wanted[at])) return performance.now() - start
            if (performance.now() - start > 20000) return NaN
        }
    }
    const times = []
    for (let round = 0; round < 8; round += 1) {
        await settle()
        times.push(await turn(-1))
        await settle()
        times.push(await turn(1))
    }
    return times
}"""

_HOVER = """async () => {
    const over = document.querySelector('.w-chart .u-over')
    const box = over.getBoundingClientRect()
    const frames = []
    let before = performance.now()
    for (let at = 0; at < 90; at += 1) {
        const share = 0.05 + (0.9 * at) / 90
        over.dispatchEvent(new PointerEvent('pointermove', {
            bubbles: true,
            clientX: box.left + share * box.width,
            clientY: box.top + (0.3 + 0.4 * Math.sin(at / 9) ** 2) * box.height,
        }))
        await new Promise(requestAnimationFrame)
        const now = performance.now()
        frames.push(now - before)
        before = now
    }
    return frames.slice(10)
}"""


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Fill an experiment, and look at it."""
    browser.build_pages()
    url = place.new_database()
    store = WeirStore(url, "mlflow-artifacts:/")
    n_runs, n_points = sizes.page_runs, sizes.page_points
    start_s = time.monotonic()
    experiment_id, run_ids = seed_grid(
        store, n_runs, long_metrics=sizes.page_metrics, points=n_points
    )
    store.engine.dispose()
    say(f"{place.name}: {n_runs * sizes.page_metrics * n_points:,} points written in "
        f"{time.monotonic() - start_s:.0f} s")  # fmt: skip
    scheme, rest = url.split(":", 1)
    backend = f"{scheme.partition('+')[0]}+weir:{rest}"
    of = f"{n_runs:,} runs × {sizes.page_metrics} × {n_points:,}"
    with tempfile.TemporaryDirectory() as folder:
        server = Server(backend, Path(folder) / "server")
        with running(server):
            rows = [_series_row(server.address, run_ids, place, of)]
            rows += _page_rows(server.address, experiment_id, n_runs, place, of)
    return rows


def _series_row(address: str, run_ids: list[str], place: Place, of: str) -> Row:
    question = {
        "runs": run_ids,
        "parts": [{"key": f"train/m{at:02d}"} for at in range(_N_CARDS)],
        "x": "step",
        "buckets": 64,
        "want": ["count"],
    }
    body = json.dumps(question).encode()
    times = []
    size = 0
    for _ in range(_REPEATS + 1):
        request = urllib.request.Request(
            f"{address}/ajax-api/3.0/weir/series", body, {"Content-Type": "application/json"}
        )
        start_s = time.perf_counter()
        with urllib.request.urlopen(request, timeout=_DEADLINE_S) as answer:
            size = len(answer.read())
        times.append(time.perf_counter() - start_s)
    ours_s = statistics.median(times[1:])
    return Row(
        f"{of}: series of {_N_CARDS} charts, 64 buckets",
        place.name, "s", None, ours_s, f"≤ {1e3 * _SERIES_S:.0f} ms", ours_s <= _SERIES_S,
        f"{size / 1e6:.1f} MB; cold {times[0]:.2f} s",
    )  # fmt: skip


def _page_rows(address: str, experiment_id: str, n_runs: int, place: Place, of: str) -> list[Row]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path is not None, "no Chromium on this machine"
    firsts: list[float] = []
    toggles: list[float] = []
    frames: list[float] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path, headless=True, args=browser.FLAGS
        )
        for turn in range(_REPEATS + 1):
            context = chromium.new_context(viewport={"width": 1500, "height": 950})
            page = context.new_page()
            page.goto(f"{address}/weir/e/{experiment_id}")
            first_s = _first_screen_s(page, n_runs)
            say(f"{place.name}: first screen {first_s:.2f} s")
            if turn:  # the first one warms the server
                firsts.append(first_s)
            if turn == _REPEATS:
                page.wait_for_timeout(2_000)
                toggles = [ms / 1e3 for ms in page.evaluate(_TOGGLE)]
                frames = [ms / 1e3 for ms in page.evaluate(_HOVER)]
            context.close()
        stock_first_s, stock_all_s = _stock_page_s(chromium, address, experiment_id)
        chromium.close()
    first_s = statistics.median(firsts)
    toggle_s, frame_s = statistics.median(toggles), quantile(frames, 0.95)
    return [
        Row(
            f"{of}: first screen",
            place.name, "s", stock_all_s, first_s, f"≤ {_FIRST_SCREEN_S} s",
            first_s <= _FIRST_SCREEN_S, f"{n_runs:,} lines on each chart; stock's first chart "
            f"after {stock_first_s:.1f} s, 10 runs drawn",
        ),
        Row(
            f"{of}: toggle a run",
            place.name, "s", None, toggle_s, f"≤ {1e3 * _TOGGLE_S:.0f} ms",
            toggle_s <= _TOGGLE_S, f"slowest of {len(toggles)}: {1e3 * max(toggles):.0f} ms",
        ),
        Row(
            f"{of}: hover, a frame (p95)",
            place.name, "s", None, frame_s, f"≤ {1e3 * _FRAME_S:.0f} ms",
            frame_s <= 1.1 * _FRAME_S,
            f"median {1e3 * statistics.median(frames):.1f} ms, slowest "
            f"{1e3 * max(frames):.0f} ms; a frame of the display is 16.7",
        ),
    ]  # fmt: skip


def _first_screen_s(page: Page, n_runs: int) -> float:
    """Return when the last chart of the first screen had all lines, since the navigation."""
    give_up = time.monotonic() + _DEADLINE_S
    while time.monotonic() < give_up:
        found: Any = page.evaluate(
            "() => window.__weirCharts ? window.__weirCharts(false).charts : null"
        )
        if (
            found
            and len(found) >= _N_CARDS
            and all(chart["isComplete"] and chart["nDrawn"] == n_runs for chart in found)
        ):
            return float(max(chart["paintedAt"] for chart in found)) / 1e3
        page.wait_for_timeout(50)
    raise RuntimeError("not all lines were drawn")


def _stock_page_s(chromium: Any, address: str, experiment_id: str) -> tuple[float, float]:
    """Return when stock's chart page shows its first chart, and when it asks for no more."""
    page = chromium.new_context(viewport={"width": 1500, "height": 950}).new_page()
    start_s = time.monotonic()
    page.goto(f"{address}/#/experiments/{experiment_id}/runs?compareRunsMode=CHART")
    page.wait_for_selector(".js-plotly-plot", timeout=1e3 * _DEADLINE_S)
    first_s = time.monotonic() - start_s
    page.wait_for_load_state("networkidle", timeout=1e3 * _DEADLINE_S)
    return first_s, time.monotonic() - start_s - 0.5  # "idle" is half a second of silence
