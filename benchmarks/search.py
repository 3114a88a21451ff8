"""Searching runs: each query of the table of numbers, one by one."""

from __future__ import annotations

import search_runs
from measuring import Row, Sizes, say
from places import Place
from report import as_line

TITLE = "Searching runs"
ABOUT = """\
A page of 1,000 runs through `search_runs`, each run with 20 metrics, 10 params and 6 tags.
*90 % in* is the page that starts nine tenths down the result. Both stores returned the same runs
in the same order. Stock is timed once, at the first size after a warm-up; ours is
the median of 7 after one. Stock is not asked to sort 100,000 runs by a metric: on SQLite it
was stopped after ten minutes without an answer.
"""

_LIMIT_S = 0.250
_REPEATS = 7
_GROWTH_LIMITS = (1.3, 2.0)  # at 10 and at 100 times the first size
_MOST_FOR_STOCK = 100_000
_MOST_FOR_STOCK_BY_METRIC = 10_000


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Fill an experiment of each size and ask every query of both stores."""
    rows: list[Row] = []
    base_ms: dict[str, float] = {}
    for size_index, n_runs in enumerate(sizes.searched_runs):
        stock_url = place.new_database() if n_runs <= _MOST_FOR_STOCK else None
        if stock_url is not None:
            experiment_id = search_runs.build_database(stock_url, n_runs, with_indexes=False)
            weir_url = place.copy(stock_url)
        else:
            weir_url = place.new_database()
            experiment_id = search_runs.build_database(weir_url, n_runs, with_indexes=True)
        say(f"{place.name}: {n_runs:,} runs written")
        for query in search_runs.QUERIES:
            asks_stock = not query.order_by or n_runs <= _MOST_FOR_STOCK_BY_METRIC
            (timing,) = search_runs.measure(
                stock_url if asks_stock else None,
                weir_url,
                experiment_id,
                n_runs,
                queries=[query],
                repeats=_REPEATS,
                stock_asks=2 if size_index == 0 else 1,
            )
            rows.append(_row(place, timing, base_ms, size_index))
            say(as_line(rows[-1]))
        place.drop_all()
    return rows


def _row(
    place: Place,
    timing: search_runs.Timing,
    base_ms: dict[str, float],
    size_index: int,
) -> Row:
    ours_ms = timing.weir_ms
    note = ""
    if size_index == 0:
        base_ms[timing.query] = ours_ms
        target, passed = f"≤ {_LIMIT_S * 1e3:.0f} ms", ours_ms <= 1e3 * _LIMIT_S
    else:
        limit = _GROWTH_LIMITS[min(size_index, len(_GROWTH_LIMITS)) - 1]
        ratio = ours_ms / base_ms[timing.query]
        target, passed = f"≤ {limit:g} x the first size", ratio <= limit
        note = f"{ratio:.2f} x the first size"
    return Row(
        f"{timing.n_runs:,} runs: {timing.query}",
        place.name,
        "s",
        None if timing.stock_ms is None else timing.stock_ms / 1e3,
        ours_ms / 1e3,
        target,
        passed,
        note,
    )
