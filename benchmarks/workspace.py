"""The workspace page in Chromium, from an empty cache to the last line of the first screen.

A time ends only when every run's line is counted on the page in every chart of the first screen:
each chart says how many lines its bitmap holds, and when it was put together.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import page_steps
from measuring import Row, Sizes, quantile, say
from places import Place, SqlitePlace
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
over a chart once a frame. Stock MLflow's chart page is asked for once on the same server and data,
until its first chart is there; it draws 10 runs, 320 points each, and never stops asking.
*Spikes* are one point of each run, far above all others, at a step of its own: lost are those
that no line on the page goes up to, and for stock those that its choice of points leaves out.
On SQLite. The points of the first nine metrics are each run's own; those of the others, which only
fill the database, are one of 20 runs'. A step that takes more than 75 s is left out.
"""

_REPEATS = 5
_FIRST_SCREEN_S, _TOGGLE_S, _FRAME_S, _SERIES_S = 1.5, 0.050, 0.016, 0.6
_ANSWER_LIMIT_S = 60.0
_RUNS_A_CALL, _STOCK_POINTS = 100, 320  # of stock's page
_OWN_METRICS = 9  # three rows of three: what the first screen asks for, with its margin


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Fill an experiment, and look at it."""
    if not isinstance(place, SqlitePlace):
        return []
    browser.build_pages()
    url = place.new_database()
    store = WeirStore(url, "mlflow-artifacts:/")
    n_runs, n_points = sizes.page_runs, sizes.page_points
    start_s = time.monotonic()
    experiment_id, run_ids = seed_grid(
        store,
        n_runs,
        long_metrics=sizes.page_metrics,
        points=n_points,
        own_metrics=_OWN_METRICS,
    )
    store.engine.dispose()
    say(f"{place.name}: {n_runs * sizes.page_metrics * n_points:,} points written in "
        f"{time.monotonic() - start_s:.0f} s")  # fmt: skip
    of = f"{n_runs:,} runs × {sizes.page_metrics} × {n_points:,}"
    with tempfile.TemporaryDirectory() as folder:
        server = Server(url.replace("sqlite:", "sqlite+weir:"), Path(folder) / "server")
        with running(server):
            rows = [_series_row(server.address, run_ids, place, of)]
            found = page_steps.measured("workspace", server.address, experiment_id, n_runs)
            rows += _page_rows(found, n_runs, place, of)
        # The same data as stock's page would draw it: the points that stock's own choice leaves.
        backend = url.replace("sqlite:", "sqlite+weir:")
        stock = Server(backend, Path(folder) / "stock", {"WEIR_STOCK_SAMPLING": "1"})
        with running(stock):
            return [*rows, _spikes_row(stock.address, run_ids, found, place)]


def _series_row(address: str, run_ids: list[str], place: Place, of: str) -> Row:
    question = {
        "runs": run_ids,
        "parts": [{"key": f"train/m{at:02d}"} for at in range(page_steps.N_CARDS)],
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
        with urllib.request.urlopen(request, timeout=_ANSWER_LIMIT_S) as answer:
            size = len(answer.read())
        times.append(time.perf_counter() - start_s)
    ours_s = statistics.median(times[1:])
    return Row(
        f"{of}: series of {page_steps.N_CARDS} charts, 64 buckets",
        place.name, "s", None, ours_s, f"≤ {1e3 * _SERIES_S:.0f} ms", ours_s <= _SERIES_S,
        f"{size / 1e6:.1f} MB; cold {times[0]:.2f} s",
    )  # fmt: skip


def _spikes_row(
    address: str, run_ids: list[str], found: Mapping[str, Sequence[float]], place: Place
) -> Row:
    """Count the runs whose one spike is not among what is drawn of them."""
    n_stock = 0
    for start in range(0, len(run_ids), _RUNS_A_CALL):
        some = run_ids[start : start + _RUNS_A_CALL]
        query = [("run_ids", one) for one in some]
        query += [("metric_key", "train/m00"), ("max_results", str(_STOCK_POINTS))]
        url = f"{address}/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?"
        with urllib.request.urlopen(
            url + urllib.parse.urlencode(query), timeout=_ANSWER_LIMIT_S
        ) as answer:
            points = json.load(answer).get("metrics", [])
        n_stock += len(some) - len({p["run_id"] for p in points if p["value"] == 100.0})
    n_ours = found["lost spikes"][0] if "lost spikes" in found else None
    return Row(
        f"{len(run_ids):,} runs with one spike of one point each: spikes not drawn",
        place.name, "runs", float(n_stock), n_ours, "0", n_ours == 0,
        f"stock: not among the {_STOCK_POINTS} points a run that its page gets",
    )  # fmt: skip


def _page_rows(
    found: Mapping[str, Sequence[float]], n_runs: int, place: Place, of: str
) -> list[Row]:
    first_s = _median(found.get("first screen"))
    toggles, frames = found.get("toggle", ()), found.get("hover", ())
    toggle_s = _median(toggles)
    frame_s = quantile(frames, 0.95) if frames else None
    stock_first_s = _median(found.get("stock's first chart"))
    stock_said = "stock: its first chart, 10 runs drawn"
    if stock_first_s is None:
        stock_said = "stock's page showed no chart in a minute"
    return [
        Row(
            f"{of}: first screen",
            place.name, "s", stock_first_s, first_s, f"≤ {_FIRST_SCREEN_S} s",
            first_s is not None and first_s <= _FIRST_SCREEN_S,
            f"{n_runs:,} lines on each chart; {stock_said}",
        ),
        Row(
            f"{of}: toggle a run",
            place.name, "s", None, toggle_s, f"≤ {1e3 * _TOGGLE_S:.0f} ms",
            toggle_s is not None and toggle_s <= _TOGGLE_S,
            f"slowest of {len(toggles)}: {1e3 * max(toggles, default=0):.0f} ms",
        ),
        Row(
            f"{of}: hover, a frame (p95)",
            place.name, "s", None, frame_s, f"≤ {1e3 * _FRAME_S:.0f} ms",
            frame_s is not None and frame_s <= _FRAME_S,
            f"median {1e3 * (_median(frames) or 0):.1f} ms, slowest "
            f"{1e3 * max(frames, default=0):.0f} ms; the event, scripts, layout and painting",
        ),
    ]  # fmt: skip


def _median(seconds: Sequence[float] | None) -> float | None:
    return statistics.median(seconds) if seconds else None
