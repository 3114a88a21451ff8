"""The run list of the workspace: its queries one by one, and the list in Chromium."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import search_runs
from measuring import Row, Sizes, median_of, quantile, say
from places import Place, SqlitePlace
from playwright.sync_api import Page, sync_playwright
from servers import Server, running

import browser
from mlflow_weir.store.runs import filter_language, grouping, listing, ordinals, run_columns
from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.tracking_store import WeirStore

TITLE = "The list of runs"
ABOUT = """\
What a page of 200 rows with three columns takes on the server, the ids of all matching runs and
the counts included; runs as in *Searching runs*. In Chromium (1500 × 950, no GPU, cold cache,
warm server with one worker): from the beginning of the navigation until the first rows are there,
stock MLflow's table of runs beside it; and frames while the list is scrolled through by 40 screens
a second for five seconds.
"""

_REPEATS = 5
_LIMITS_S = (0.250, 0.400)  # at 10,000 and at 100,000 runs
_FIRST_ROWS_S, _FRAME_S = 1.5, 0.050
_DEADLINE_S = 120.0
_COLUMNS = ["metrics.metric_1", "params.param_2", "metrics.metric_3:min"]

_QUERIES: Sequence[tuple[str, str, Sequence[str], str]] = (
    ("default order", "", (), ""),
    ("by a metric", "", ("-metrics.metric_3",), ""),
    ("by a param", "", ("params.param_3",), ""),
    ("a metric or a param as a number", "metrics.metric_1 > 0.5 or params.param_2 > 3", (), ""),
    ("a tag by pattern", "tags.tag_1 ~ '[45]$'", (), ""),
    ("a part of the name", "", (), "77"),
)

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


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Ask every query at each size; open the pages on the largest on SQLite."""
    rows: list[Row] = []
    for size_index, n_runs in enumerate(sizes.searched_runs[:2]):
        url = place.new_database()
        experiment_id = search_runs.build_database(url, n_runs, with_indexes=True)
        say(f"{place.name}: {n_runs:,} runs written")
        limit_s = _LIMITS_S[size_index]
        for name, ask in _questions(url, experiment_id):
            ask()
            spent_s = median_of(_REPEATS, ask)
            target = "" if name == "in groups" else f"≤ {limit_s * 1e3:.0f} ms"
            passed = spent_s <= limit_s if target else None
            rows.append(
                Row(f"{n_runs:,} runs: {name}", place.name, "s", None, spent_s, target, passed)
            )
        if isinstance(place, SqlitePlace):
            rows += _in_chromium(place, url, experiment_id, n_runs)
        place.drop_all()
    return rows


def _questions(url: str, experiment_id: str) -> list[tuple[str, Callable[[], object]]]:
    store = WeirStore(url, "weir-bench-artifacts")
    scope = Scope([int(experiment_id)], ["active"])
    dialect = store.engine.dialect.name
    columns = [run_columns.parse(name) for name in _COLUMNS]

    def page(text: str, order: Sequence[str], search: str) -> listing.Found:
        with store.ManagedSessionMaker() as session:
            found = listing.find(
                session,
                scope,
                dialect,
                now_ms=0,
                tree=filter_language.parse(text),
                search=search,
                order=[
                    listing.OrderTerm(run_columns.parse(term.lstrip("-")), term.startswith("-"))
                    for term in order
                ],
            )
            shown = listing.read_rows(session, scope, dialect, found.run_ids[:200], columns)
        ordinals.read(store.engine, {row.run_id: row.experiment_id for row in shown})
        return found

    def in_groups() -> object:
        found = page("", (), "")
        with store.ManagedSessionMaker() as session:
            return grouping.group(
                session,
                scope,
                dialect,
                found.run_ids,
                [run_columns.parse("params.param_1")],
                columns[:1],
            )

    def asking(text: str, order: Sequence[str], search: str) -> Callable[[], object]:
        return lambda: page(text, order, search)

    asked = [(name, asking(text, order, search)) for name, text, order, search in _QUERIES]
    return [*asked, ("in groups", in_groups)]


def _in_chromium(place: Place, url: str, experiment_id: str, n_runs: int) -> list[Row]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        say("no Chromium: the pages are left out")
        return []
    browser.build_pages()
    folder = Path(tempfile.mkdtemp(prefix="weir-bench-list-", dir=Path.cwd()))
    server = Server(url.replace("sqlite:", "sqlite+weir:"), folder / "server")
    with running(server), sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program, headless=True, args=browser.FLAGS
        )

        def timed_page(path: str, ready: str) -> tuple[float, Page]:
            context = chromium.new_context(viewport={"width": 1500, "height": 950})
            context.set_default_timeout(_DEADLINE_S * 1e3)
            page = context.new_page()
            start_s = time.perf_counter()
            page.goto(f"{server.address}{path}")
            page.wait_for_function(ready)
            return time.perf_counter() - start_s, page

        def median_page(path: str, ready: str, repeats: int) -> float:
            spent = []
            for number in range(repeats + 1):
                seconds, page = timed_page(path, ready)
                page.context.close()
                if number:  # the first warms the server
                    spent.append(seconds)
            return statistics.median(spent)

        ours_ready = "() => document.querySelectorAll('.w-run-name').length >= 10"
        ours_s = median_page(f"/weir/e/{experiment_id}", ours_ready, _REPEATS)
        stock_ready = f"() => document.body.innerText.includes('run-{n_runs - 5}')"
        stock_s = median_page(f"/#/experiments/{experiment_id}/runs", stock_ready, 2)
        _, page = timed_page(f"/weir/e/{experiment_id}", ours_ready)
        page.get_by_role("button", name="Show as a table").click()
        frames: list[Any] = page.evaluate(_SCROLL)
        worst_s = quantile([frame / 1e3 for frame in frames], 0.95)
        chromium.close()
    return [
        Row(
            f"{n_runs:,} runs: first rows on the page",
            place.name,
            "s",
            stock_s,
            ours_s,
            f"≤ {_FIRST_ROWS_S} s",
            ours_s <= _FIRST_ROWS_S,
        ),
        Row(
            f"{n_runs:,} runs: a frame while scrolling, p95 of {len(frames)}",
            place.name,
            "s",
            None,
            worst_s,
            f"≤ {_FRAME_S * 1e3:.0f} ms",
            worst_s <= _FRAME_S,
        ),
    ]
