"""The run list of the workspace: its queries one by one, and the list in Chromium."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import page_steps
import search_runs
from measuring import Row, Sizes, quantile, say
from mlflow.entities import ViewType
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from places import Place, SqlitePlace
from servers import Server, running

import browser
from mlflow_weir.store.runs import filter_language, grouping, listing, ordinals, run_columns
from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.tracking_store import WeirStore

TITLE = "The list of runs"
ABOUT = """\
What a page of 200 rows with three columns takes on the server, the ids of *all* matching runs and
the counts included; runs as in *Searching runs*. Beside it, on SQLite, stock MLflow's store on the
same database, our indexes in it: the page of 100 runs that its own table asks for, in the same
order or by the same filter where it has one, asked once, and not where it would take over 20 s.
*CPU* is what this process used; PostgreSQL's own is not in it. In Chromium (1500 × 950, no GPU,
cold cache, warm server with one worker): from the beginning of the navigation until the first
rows are there, stock MLflow's table of runs beside it; and frames while the list is scrolled
through by 40 screens a second for five seconds.
"""

_REPEATS = 3
_LIMITS_S = (0.250, 0.400)  # at 10,000 and at 100,000 runs
_FIRST_ROWS_S, _FRAME_S = 1.5, 0.050
_ANSWER_LIMIT_S = 60.0
_STOCK_LIMIT_S = 20.0
_COLUMNS = ["metrics.metric_1", "params.param_2", "metrics.metric_3:min"]


class _Query(NamedTuple):
    """What the list is asked, and how stock is, where it can be: a filter and an order."""

    name: str
    text: str = ""
    order: Sequence[str] = ()
    search: str = ""
    stock: tuple[str, list[str]] | None = None


_QUERIES = (
    _Query("default order", stock=("", [])),
    _Query("by a metric", order=("-metrics.metric_3",), stock=("", ["metrics.metric_3 DESC"])),
    _Query("by a param", order=("params.param_3",), stock=("", ["params.param_3"])),
    _Query("a metric or a param as a number", text="metrics.metric_1 > 0.5 or params.param_2 > 3"),
    _Query("a tag by pattern", text="tags.tag_1 ~ '[45]$'"),
    _Query("a part of the name", search="77", stock=("attributes.run_name ILIKE '%77%'", [])),
)


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Ask every query at each size; open the pages on the largest on SQLite."""
    rows: list[Row] = []
    stock_s: dict[str, float] = {}
    counts = sizes.searched_runs[:2]
    for n_runs, limit_s in zip(counts, _LIMITS_S, strict=True):
        url = place.new_database()
        experiment_id = search_runs.build_database(url, n_runs)
        search_runs.migrate(url)
        place.tidy(url)
        say(f"{place.name}: {n_runs:,} runs written")
        growth = n_runs / counts[0]
        stock_s = {name: s for name, s in stock_s.items() if growth * s <= _STOCK_LIMIT_S}
        if isinstance(place, SqlitePlace):
            asked = [one for one in _QUERIES if n_runs == counts[0] or one.name in stock_s]
            stock_s = _ask_stock(url, experiment_id, asked)
        for name, ask in _questions(url, experiment_id):
            spent_s, cpu_s = _timed(ask)
            note = f"CPU {1e3 * cpu_s:.0f} ms"
            target, passed = f"≤ {1e3 * limit_s:.0f} ms", spent_s <= limit_s
            measure = f"{n_runs:,} runs: {name}"
            stock = stock_s.get(name)
            rows.append(Row(measure, place.name, "s", stock, spent_s, target, passed, note))
            say(f"{measure}: {1e3 * spent_s:.0f} ms, {note}, stock {stock}")
        if isinstance(place, SqlitePlace) and n_runs == counts[-1]:
            rows += _served(place, url, experiment_id, n_runs, limit_s)
        place.drop_all()
    return rows


def _timed(ask: Callable[[], object]) -> tuple[float, float]:
    """Return the medians of wall-clock and CPU seconds, after one that warms."""
    ask()
    walls, cpus = [], []
    for _ in range(_REPEATS):
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        ask()
        walls.append(time.perf_counter() - wall_s)
        cpus.append(time.process_time() - cpu_s)
    return statistics.median(walls), statistics.median(cpus)


def _ask_stock(url: str, experiment_id: str, queries: Sequence[_Query]) -> dict[str, float]:
    """Return the seconds of stock's own page, by the query's name."""
    store = SqlAlchemyStore(url, "weir-bench-artifacts")
    found = {}
    for query in queries:
        if query.stock is None:
            continue
        filter_string, order_by = query.stock
        start_s = time.perf_counter()
        store.search_runs([experiment_id], filter_string, ViewType.ACTIVE_ONLY, 100, order_by)
        found[query.name] = time.perf_counter() - start_s
    store.engine.dispose()
    return found


def _questions(url: str, experiment_id: str) -> list[tuple[str, Callable[[], object]]]:
    store = WeirStore(url, "weir-bench-artifacts")
    scope = Scope([int(experiment_id)], ["active"])
    dialect = store.engine.dialect.name
    columns = [run_columns.parse(name) for name in _COLUMNS]

    def page(text: str = "", order: Sequence[str] = (), search: str = "") -> listing.Found:
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
        found = page()
        with store.ManagedSessionMaker() as session:
            return grouping.group(
                session,
                scope,
                dialect,
                found.run_ids,
                [run_columns.parse("params.param_1")],
                columns[:1],
            )

    def asking(query: _Query) -> Callable[[], object]:
        return lambda: page(query.text, query.order, query.search)

    asked = [(query.name, asking(query)) for query in _QUERIES]
    return [*asked, ("in groups", in_groups)]


def _served(place: Place, url: str, experiment_id: str, n_runs: int, limit_s: float) -> list[Row]:
    """Measure what a server answers, and its pages."""
    browser.build_pages()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(url.replace("sqlite:", "sqlite+weir:"), Path(folder) / "server")
        with running(server):
            rows = [_answer_row(server.address, experiment_id, n_runs, place, limit_s)]
            found = page_steps.measured("list", server.address, experiment_id, n_runs)
            return rows + (_page_rows(found, n_runs, place) if found else [])


def _answer_row(
    address: str, experiment_id: str, n_runs: int, place: Place, limit_s: float
) -> Row:
    question = {
        "experiments": [experiment_id],
        "columns": _COLUMNS,
        "order": ["-metrics.metric_3"],
        "ids": True,
    }
    size = 0

    def ask() -> None:
        nonlocal size
        request = urllib.request.Request(
            f"{address}/ajax-api/3.0/weir/runs",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_ANSWER_LIMIT_S) as answer:
            size = len(answer.read())

    spent_s, _ = _timed(ask)
    return Row(
        f"{n_runs:,} runs: by a metric, the whole answer over HTTP",
        place.name, "s", None, spent_s, f"≤ {1e3 * limit_s:.0f} ms", spent_s <= limit_s,
        f"{size / 1e6:.1f} MB",
    )  # fmt: skip


def _page_rows(found: Mapping[str, Sequence[float]], n_runs: int, place: Place) -> list[Row]:
    ours, stocks, frames = (
        found.get(name, ()) for name in ("first rows", "stock's first rows", "scroll")
    )
    ours_s = statistics.median(ours) if ours else None
    worst_s = quantile(frames, 0.95) if frames else None
    return [
        Row(
            f"{n_runs:,} runs: first rows on the page",
            place.name, "s", statistics.median(stocks) if stocks else None, ours_s,
            f"≤ {_FIRST_ROWS_S} s", ours_s is not None and ours_s <= _FIRST_ROWS_S,
        ),
        Row(
            f"{n_runs:,} runs: a frame while scrolling, p95 of {len(frames)}",
            place.name, "s", None, worst_s, f"≤ {1e3 * _FRAME_S:.0f} ms",
            worst_s is not None and worst_s <= _FRAME_S,
        ),
    ]  # fmt: skip
