"""MLflow's own pages in Chromium, with the extension on the server and without, in turn."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import page_steps
from measuring import Row, Sizes
from paired import estimate
from places import Place, SqlitePlace
from servers import Server, running

import browser
from mlflow_weir.store.tracking_store import WeirStore
from workspace_data import seed_grid

TITLE = "MLflow's own pages"
ABOUT = """\
Two servers on the same database, one with the extension (its script is on MLflow's page) and one
with `WEIR_UI=off`, asked in turn in another order each round; Chromium without a GPU, 1500 × 950,
each time with an empty cache. A time is from the beginning of the navigation until the page shows
what it is about: the experiment's name in the list, a run's name in the table, the latest value of
a metric on the run's page. *Stock* is without the extension. The difference is the median of the
rounds', with its interval of 95 %; where that has the target within it, the machine was not quiet
enough to tell. Bytes are all that was transferred until a second later.
"""

_RUNS, _METRICS, _POINTS = 100, 10, 100
_AT_MOST = 0.05


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Open each page on both servers, round by round; on SQLite only."""
    if not isinstance(place, SqlitePlace):
        return []
    browser.build_pages()
    url = place.new_database()
    store = WeirStore(url, "mlflow-artifacts:/")
    experiment_id, run_ids = seed_grid(store, _RUNS, long_metrics=_METRICS, points=_POINTS)
    store.engine.dispose()
    uri = url.replace("sqlite:", "sqlite+weir:")
    with tempfile.TemporaryDirectory() as folder:
        ours = Server(uri, Path(folder) / "with")
        stock = Server(uri, Path(folder) / "without", {"WEIR_UI": "off"})
        with running(ours), running(stock):
            found = page_steps.measured(
                "stock pages",
                f"{ours.address},{stock.address}",
                f"{experiment_id},{run_ids[-1]}",
                sizes.stock_page_rounds,
            )
    return [
        row
        for name in page_steps.STOCK_PAGES
        if f"{name}, with" in found and f"{name}, without" in found
        for row in _rows(name, found, place)
    ]


def _rows(name: str, found: Mapping[str, Sequence[float]], place: Place) -> list[Row]:
    ours, stock = found[f"{name}, with"], found[f"{name}, without"]
    stock_s = statistics.median(stock)
    more = estimate([mine - theirs for mine, theirs in zip(ours, stock, strict=True)])
    target = f"≤ {100 * _AT_MOST:.0f} % more"
    bytes_ours, bytes_stock = (
        statistics.median(found[f"{name}, bytes {which}"]) for which in ("with", "without")
    )
    # Neither where the interval has both: the machine was not quiet enough to tell.
    most_s = _AT_MOST * stock_s
    passed = True if more.high <= most_s else False if more.low > most_s else None
    said = f"{len(ours)} rounds: {1e3 * more.median:+.0f} ms "
    said += f"({1e3 * more.low:+.0f} to {1e3 * more.high:+.0f})"
    more_kb = (bytes_ours - bytes_stock) / 1e3
    return [
        Row(
            name, place.name, "s", stock_s, statistics.median(ours),
            target, passed, said,
        ),
        Row(
            f"{name}: transferred", place.name, "MB", bytes_stock / 1e6, bytes_ours / 1e6,
            note=f"{more_kb:+.0f} kB",
        ),
    ]  # fmt: skip
