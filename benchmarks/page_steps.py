"""Pages in Chromium, step by step, in a process of its own that can be ended at any moment.

A browser that hangs, or a page that never comes to rest, must cost one figure and not the
benchmark. So each step runs in a child that starts Playwright and Chromium, prints what it
measured as one line of JSON, and is killed with all it started when a step takes too long; what
was printed before stays.

    python page_steps.py STEPS ADDRESS EXPERIMENT_ID N_RUNS
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from measuring import say

import browser

N_CARDS = 6
STEP_LIMIT_S = 75.0
"""How long one step may take, the start of Chromium included."""

_WIDE = {"width": 1500, "height": 950}
_N_LOADS = 3

_TOGGLE = """async () => {
    const eye = document.querySelector('button[aria-pressed][aria-label^="Draw "]')
    const counts = () => window.__weirCharts(false).charts.map((chart) => chart.nDrawn)
    const settle = async () => {
        for (let waits = 0; waits < 20; waits += 1) {
            await new Promise((done) => setTimeout(done, 300))
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
            if (performance.now() - start > 5000) return null
        }
    }
    const times = []
    for (let round = 0; round < 6; round += 1) {
        await settle()
        times.push(await turn(-1))
        await settle()
        times.push(await turn(1))
    }
    return times
}"""

# Of each run one point is 100, and no other is near that.
_LOST = """() => {
    const chart = window.__weirCharts(true).charts.find((one) => one.name === "train/m00")
    const isThere = (line) => line.painted > 0 && Math.abs(Math.max(...line.high) - 100) < 0.01
    return chart.lines.length - chart.lines.filter(isThere).length + (chart.y.max < 100 ? 1e9 : 0)
}"""

_HOVER = """async () => {
    const over = document.querySelector('.w-chart .u-over')
    const box = over.getBoundingClientRect()
    // From the first callback of a frame until the browser has painted it and takes other work.
    const frame = () => new Promise((done) => requestAnimationFrame(() => {
        const start = performance.now()
        const channel = new MessageChannel()
        channel.port1.onmessage = () => done(performance.now() - start)
        channel.port2.postMessage(null)
    }))
    const frames = []
    const begun = performance.now()
    for (let at = 0; at < 90 && performance.now() - begun < 20000; at += 1) {
        const share = 0.05 + (0.9 * at) / 90
        const painted = frame()
        const start = performance.now()
        over.dispatchEvent(new PointerEvent('pointermove', {
            bubbles: true,
            clientX: box.left + share * box.width,
            clientY: box.top + (0.3 + 0.4 * Math.sin(at / 9) ** 2) * box.height,
        }))
        const handled = performance.now() - start
        frames.push(handled + (await painted))
    }
    return frames.slice(10)
}"""

_SCROLL = """async () => {
    const list = document.querySelector('.w-runs-scroll')
    const frames = []
    const start = performance.now()
    let before = start
    while (performance.now() - start < 5000) {
        await new Promise(requestAnimationFrame)
        const now = performance.now()
        frames.push(now - before)
        list.scrollTop += list.clientHeight * 40 * (now - before) / 1000
        before = now
    }
    return frames
}"""


def measured(plan: str, address: str, experiment_id: str, n_runs: int) -> dict[str, list[float]]:
    """Measure the steps of a plan in a child process.

    Args:
        plan: One of ``PLANS``.
        address: Of a server.
        experiment_id: Whose page is opened.
        n_runs: How many runs it has.

    Returns:
        Seconds of each step that came to its end, by its name (of *lost spikes* how many); empty
        where there is no Chromium.
    """
    if _chromium() is None:
        say("no Chromium: the pages are left out")
        return {}
    command = [sys.executable, __file__, plan, address, experiment_id, str(n_runs)]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    found: dict[str, list[float]] = {}
    try:
        while (line := lines.get(timeout=STEP_LIMIT_S)) is not None:
            step = json.loads(line)
            found[step["name"]] = step["seconds"]
            say(f"{step['name']}: " + ", ".join(f"{s:.3f}" for s in step["seconds"][:8]) + " s")
    except queue.Empty:
        say(f"{plan}: nothing for {STEP_LIMIT_S:.0f} s; what was measured so far is kept")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return found


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def _main(plan: str, address: str, experiment_id: str, n_runs: int) -> None:
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=_chromium(), headless=True, args=browser.FLAGS
        )
        site = _Site(chromium, address, experiment_id, n_runs)
        try:
            for name, seconds in PLANS[plan](site):
                print(json.dumps({"name": name, "seconds": seconds}), flush=True)
        except Error as exc:
            say(f"{plan}: {exc.message.splitlines()[0]}")
        chromium.close()


class _Site:
    """Opens pages, each with a cache of its own, and times them."""

    def __init__(self, chromium: Any, address: str, experiment_id: str, n_runs: int) -> None:
        self._chromium = chromium
        self.address = address
        self.experiment_id = experiment_id
        self.n_runs = n_runs

    def new_page(self) -> Any:
        """Return a page with a cache of its own."""
        context = self._chromium.new_context(viewport=_WIDE)
        context.set_default_timeout(1e3 * (STEP_LIMIT_S - 15))
        return context.new_page()

    def open(self, path: str, ready: str) -> tuple[Any, float]:
        """Open a page; return it and the seconds until ``ready`` held in it."""
        page = self.new_page()
        start_s = time.perf_counter()
        page.goto(f"{self.address}{path}", wait_until="commit")
        page.wait_for_function(ready, polling=50)
        return page, time.perf_counter() - start_s

    def loads(self, path: str, ready: str, n_loads: int) -> list[float]:
        """Open a page again and again, and close it; the first time only warms the server."""
        spent = []
        for _ in range(n_loads + 1):
            page, seconds = self.open(path, ready)
            page.context.close()
            spent.append(seconds)
        return spent[1:]


def _workspace(site: _Site) -> Iterator[tuple[str, list[float]]]:
    path = f"/weir/e/{site.experiment_id}"
    all_drawn = f"""() => {{
        const found = window.__weirCharts ? window.__weirCharts(false).charts : []
        return found.length >= {N_CARDS} &&
            found.every((chart) => chart.isComplete && chart.nDrawn === {site.n_runs})
    }}"""
    painted = "() => Math.max(...window.__weirCharts(false).charts.map((c) => c.paintedAt)) / 1e3"
    firsts = []
    for turn in range(_N_LOADS + 1):
        page, _ = site.open(path, all_drawn)
        firsts.append(float(page.evaluate(painted)))
        yield "first screen", firsts[1:] or firsts  # the first one warms the server
        if turn < _N_LOADS:
            page.context.close()
    yield "lost spikes", [float(page.evaluate(_LOST))]
    page.wait_for_timeout(2_000)
    yield "toggle", [ms / 1e3 for ms in page.evaluate(_TOGGLE) if ms is not None]
    yield "hover", [ms / 1e3 for ms in page.evaluate(_HOVER)]
    page.context.close()
    stock = f"/#/experiments/{site.experiment_id}/runs?compareRunsMode=CHART"
    # Not until it asks for nothing more: it never comes to rest.
    yield (
        "stock's first chart",
        [site.open(stock, "() => document.querySelector('.js-plotly-plot')")[1]],
    )


def _list(site: _Site) -> Iterator[tuple[str, list[float]]]:
    path = f"/weir/e/{site.experiment_id}"
    rows_there = "() => document.querySelectorAll('.w-run-name').length >= 10"
    yield "first rows", site.loads(path, rows_there, _N_LOADS)
    page, _ = site.open(path, rows_there)
    page.get_by_role("button", name="Show as a table").click()
    yield "scroll", [ms / 1e3 for ms in page.evaluate(_SCROLL)]
    page.context.close()
    stock_there = f"() => document.body.innerText.includes('run-{site.n_runs - 5}')"
    stock = f"/#/experiments/{site.experiment_id}/runs"
    yield "stock's first rows", [site.open(stock, stock_there)[1]]


STOCK_PAGES = ("list of experiments", "table of runs", "page of a run")

_CONTENT = """(wanted) => {
    if (window.at === undefined && document.body && document.body.innerText.includes(wanted))
        window.at = performance.now()
    return window.at
}"""

_TRANSFERRED = """() => [
    ...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource"),
].reduce((sum, entry) => sum + entry.transferSize, 0)"""


def _stock_pages(site: _Site) -> Iterator[tuple[str, list[float]]]:
    """Open each of MLflow's pages on two servers in turn; ``n_runs`` is how many rounds count."""
    addresses = dict(zip(("with", "without"), site.address.split(","), strict=True))
    experiment_id, run_id = site.experiment_id.split(",")
    pages = {
        "list of experiments": ("/#/experiments", "grid-"),
        "table of runs": (f"/#/experiments/{experiment_id}/runs", "run-00"),
        "page of a run": (f"/#/experiments/{experiment_id}/runs/{run_id}", "train/m00"),
    }
    found: dict[str, list[float]] = {}
    for turn in range(site.n_runs + 1):
        for name, (path, wanted) in pages.items():
            for which in ("with", "without") if turn % 2 else ("without", "with"):
                page = site.new_page()
                page.goto(f"{addresses[which]}{path}", wait_until="commit")
                at_ms = page.wait_for_function(_CONTENT, arg=wanted, polling="raf").json_value()
                page.wait_for_timeout(1_000)
                n_bytes = float(page.evaluate(_TRANSFERRED))
                page.context.close()
                if turn:  # the first one warms the servers
                    found.setdefault(f"{name}, {which}", []).append(at_ms / 1e3)
                    found.setdefault(f"{name}, bytes {which}", []).append(n_bytes)
                yield f"{name}, {which}", found.get(f"{name}, {which}", [])
    yield from found.items()


PLANS: dict[str, Callable[[_Site], Iterator[tuple[str, list[float]]]]] = {
    "workspace": _workspace,
    "list": _list,
    "stock pages": _stock_pages,
}

if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
