"""Searching runs: each query of the table of numbers, one by one."""

from __future__ import annotations

import search_runs
from measuring import Row, Sizes, say
from places import Place
from report import as_line

TITLE = "Searching runs"
ABOUT = f"""\
A page of 1,000 runs through `search_runs`, each run with 20 metrics, 10 params and 6 tags.
*90 % in* is the page that starts nine tenths down the result. Both stores returned the same runs
in the same order. Stock is timed once, at the first size after a warm-up; ours is
the median of 7 after one. Stock is given up after {search_runs.STOCK_LIMIT_S:.0f} s without an
answer, and not asked at a larger size then; on SQLite its sorting of 100,000 runs by a metric had
none in ten minutes.
"""

_LIMIT_S = 0.250
_REPEATS = 7
_GROWTH_LIMITS = (1.3, 2.0)  # at 10 and at 100 times the first size


def fill(place: Place, sizes: Sizes) -> None:
    """Fill an experiment of each size for each store."""
    for n_runs in sizes.searched_runs:
        _filled(place, n_runs)
        say(f"{place.name}: {n_runs:,} runs are there")


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Fill an experiment of each size and ask every query of both stores."""
    rows: list[Row] = []
    base_ms: dict[str, float] = {}
    stock_gave_up: set[str] = set()
    for size_index, n_runs in enumerate(sizes.searched_runs):
        stock_url, weir_url, experiment_id = _filled(place, n_runs)
        say(f"{place.name}: {n_runs:,} runs are there")
        for query in search_runs.QUERIES:
            (timing,) = search_runs.measure(
                None if query.name in stock_gave_up else stock_url,
                weir_url,
                experiment_id,
                n_runs,
                queries=[query],
                repeats=_REPEATS,
                stock_asks=2 if size_index == 0 else 1,
            )
            if timing.stock_ms is None:
                stock_gave_up.add(query.name)
            rows.append(_row(place, timing, base_ms, size_index))
            say(as_line(rows[-1]))
        place.drop_all()
    return rows


def _filled(place: Place, n_runs: int) -> tuple[str, str, str]:
    """Return the URL of a database for each store, and the id of the experiment in both."""

    def fill(url: str) -> dict[str, str]:
        return {"experiment": search_runs.build_database(url, n_runs)}

    def migrate(url: str) -> dict[str, str]:
        search_runs.migrate(url)
        place.tidy(url)
        return {}

    stock_url, content = place.filled(f"search_{n_runs}_stock", fill)
    weir_url, _ = place.filled(f"search_{n_runs}_weir", migrate, like=stock_url)
    return stock_url, weir_url, content["experiment"]


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
    if timing.stock_ms is None:
        note = f"{note}; stock given up" if note else "stock given up"
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
