"""What the charts of a page have drawn, to hold it against what MLflow's client has."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from series_answers import Line

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def chart(page: Page, name: str, with_values: bool = False) -> Any:
    """Return a chart that has all its lines on the page, or None."""
    found = page.evaluate(
        "values => window.__weirCharts ? window.__weirCharts(values).charts : []", with_values
    )
    for one in found:
        if one["name"] == name and one["isComplete"] and one["nDrawn"] > 0:
            return one
    return None


def card(page: Page, name: str) -> Locator:
    """Return a card by its metrics."""
    return page.locator(f'.w-card[data-keys="{name}"]')


def menu(page: Page, of: Locator, item: str) -> None:
    """Choose an item of a card's menu."""
    of.get_by_role("button", name=re.compile("^Menu of ")).click()
    page.get_by_role("menu").get_by_text(item, exact=True).click()


def line_of(found: Any, run_id: str) -> dict[str, Any]:
    """Return one run's line of a chart."""
    (one,) = [line for line in found["lines"] if line["runId"] == run_id]
    return dict(one)


def as_answered(line: dict[str, Any]) -> Line:
    """Return a line on the page in the form that ``series_answers.check_line`` takes."""
    columns = {
        key: np.array([math.nan if v is None else v for v in line[key]], dtype=np.float64)
        for key in ("x", "low", "high", "last", "count")
    }
    return Line(line["total"], True, True, columns)


class Drawing(NamedTuple):
    """A chart as a file.

    Attributes:
        width: Of the plot, in pixels.
        height: Of the plot, in pixels.
        lines: Points of each path by the name of its run, (N, 2), from the plot's top left.
        n_pieces: Into how many each path falls.
    """

    width: float
    height: float
    lines: dict[str, npt.NDArray[np.float64]]
    n_pieces: dict[str, int]


def drawing(page: Page, of: Locator) -> Drawing:
    """Save a card as SVG, and read the paths of its lines."""
    with page.expect_download() as download:
        menu(page, of, "Save as SVG")
    svg = download.value.path().read_text(encoding="utf-8")
    size = re.search(r'<rect width="([\d.]+)" height="([\d.]+)"/></clipPath>', svg)
    assert size is not None
    lines, n_pieces = {}, {}
    for path, name in re.findall(r'<path d="([^"]*)" stroke="[^"]+"><title>([^<]*)</title>', svg):
        places = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)
        lines[name] = np.array(places, dtype=np.float64).reshape(-1, 2)
        n_pieces[name] = path.count("M")
    return Drawing(float(size[1]), float(size[2]), lines, n_pieces)
