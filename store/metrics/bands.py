"""Groups of runs as one line with a band: at each cell of x, every run counts once.

A run's value in a cell is the mean of its finite values there, whatever their number; centre and
band are over the runs that have one. Nothing is carried over to cells where a run has no point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mlflow_weir.store.metrics.lines import Lines
from mlflow_weir.store.metrics.points import Float64Column, Int64Column

Centre = Literal["mean", "median", "min", "max"]
Band = Literal["minmax", "sd", "se", "p10p90", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """One metric of some groups of runs.

    Attributes:
        group: (G,) index of the group, ascending; groups without values are absent.
        start: (G + 1,) where each group's cells begin.
        x: (B,) largest x of a point in the cell.
        n: (B,) runs that have a value in the cell.
        centre: (B,) of their values.
        low: (B,) lower edge of the band; NaN where there is none.
        high: (B,) upper edge; NaN where there is none.
    """

    group: Int64Column
    start: Int64Column
    x: Int64Column
    n: Int64Column
    centre: Float64Column
    low: Float64Column
    high: Float64Column


def make_bands(lines: Lines, group_of_run: Int64Column, centre: Centre, band: Band) -> Bands:
    """Combine runs into groups.

    Args:
        lines: Of all members.
        group_of_run: (n_runs,) each run's group; -1 for none.
        centre: What the line is.
        band: What the band is: all, ± one standard deviation (n - 1), ± one standard error, or
            from the 10th to the 90th percentile (interpolated linearly). One run has no band.
    """
    group, cell, x, value = _values(lines, group_of_run)
    if not len(value):
        empty = np.empty(0, dtype=np.int64)
        none = np.empty(0, dtype=np.float64)
        return Bands(empty, np.zeros(1, dtype=np.int64), empty, empty, none, none, none)
    order = np.lexsort((value, cell, group))
    group, cell, x, value = group[order], cell[order], x[order], value[order]
    is_start = np.append(True, (group[1:] != group[:-1]) | (cell[1:] != cell[:-1]))
    starts = np.flatnonzero(is_start)
    n = np.diff(np.append(starts, len(value)))
    # As shares, so that the sum of large values does not overflow.
    mean = np.add.reduceat(value / np.repeat(n, n), starts)

    def quantile(q: float) -> Float64Column:
        place = q * (n - 1)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, n - 1)
        lower, upper = value[starts + below], value[starts + above]
        found: Float64Column = lower + (upper - lower) * (place - below)
        return found

    smallest, largest = value[starts], value[starts + n - 1]
    if centre == "median":
        middle = quantile(0.5)
    else:
        middle = {"mean": mean, "min": smallest, "max": largest}[centre]
    low = high = np.full(len(n), np.nan)
    if band == "minmax":
        low, high = smallest, largest
    elif band == "p10p90":
        low, high = quantile(0.1), quantile(0.9)
    elif band in {"sd", "se"}:
        deviation = value - np.repeat(mean, n)
        spread = np.sqrt(np.add.reduceat(deviation**2, starts) / np.maximum(n - 1, 1))
        if band == "se":
            spread = spread / np.sqrt(n)
        low, high = middle - spread, middle + spread
    low, high = np.where(n > 1, low, np.nan), np.where(n > 1, high, np.nan)
    first_of_group = np.flatnonzero(np.append(True, np.diff(group[starts]) != 0))
    return Bands(
        group[starts[first_of_group]],
        np.append(first_of_group, len(starts)),
        np.maximum.reduceat(x, starts),
        n,
        middle,
        low,
        high,
    )


def _values(
    lines: Lines, group_of_run: Int64Column
) -> tuple[Int64Column, Int64Column, Int64Column, Float64Column]:
    """Return group, cell, x and value of each run in each cell, in no order."""
    owner = lines.owner_of_bucket()
    finite: npt.NDArray[np.bool_] = np.isfinite(lines.mean) & (group_of_run[owner] >= 0)
    owner, x = owner[finite], lines.x[finite]
    mean = lines.mean[finite]
    weight = lines.n_finite[finite].astype(np.float64)
    cell = lines.cell[finite]
    # A run has several buckets in a cell where its steps went back, or each is a point.
    order = np.lexsort((x, cell, owner))
    owner, cell, x = owner[order], cell[order], x[order]
    mean, weight = mean[order], weight[order]
    if not len(owner):
        return owner, cell, x, mean
    starts = np.flatnonzero(np.append(True, (owner[1:] != owner[:-1]) | (cell[1:] != cell[:-1])))
    sizes = np.diff(np.append(starts, len(owner)))
    share = weight / np.repeat(np.add.reduceat(weight, starts), sizes)
    return (
        group_of_run[owner[starts]],
        cell[starts],
        np.maximum.reduceat(x, starts),
        np.add.reduceat(mean * share, starts),
    )
