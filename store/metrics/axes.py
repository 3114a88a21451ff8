"""What the x of a chart can be: step, wall time, time since a run began, or another metric.

Times are whole milliseconds. ``process`` is time since the run began without the pauses in which
nobody was running: distances over ``PAUSE_FACTOR`` times the run's median one, and over a minute,
are taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from mlflow_weir.store.metrics.lines import Lines, make_lines
from mlflow_weir.store.metrics.points import (
    Float64Column,
    Int64Column,
    Series,
    concatenate,
    step_order,
)
from mlflow_weir.store.metrics.rollup_atoms import Atoms, atoms_of_points

Axis = Literal["step", "wall", "relative", "process"]

PAUSE_FACTOR = 20
PAUSE_MS = 60_000


def x_of(atoms: Atoms, axis: Axis, first_ms: Int64Column) -> tuple[Int64Column, Int64Column]:
    """Return x of each atom's first and last point.

    Args:
        atoms: As ``CurveReader`` returns them.
        axis: What x is.
        first_ms: (n_runs,) when each run's first point was logged; for the last two axes.
    """
    if axis == "step":
        return atoms.first_step, atoms.last_step
    if axis == "wall":
        return atoms.first_ms, atoms.last_ms
    origin = first_ms[atoms.owner]
    if axis == "process":
        origin = origin + _paused_before(atoms)
    return atoms.first_ms - origin, atoms.last_ms - origin


def _paused_before(atoms: Atoms) -> Int64Column:
    """Return (n,) how many ms of pauses lie before each atom in its run."""
    paused = np.zeros(len(atoms), dtype=np.int64)
    bounds = np.flatnonzero(np.diff(atoms.owner, prepend=-1, append=-1))
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if stop - start < 3:
            continue
        distance = atoms.first_ms[start + 1 : stop] - atoms.last_ms[start : stop - 1]
        # Between points: a bucket's own points lie closer than it is to the next bucket.
        usual = float(np.median(distance))
        is_pause = distance > max(PAUSE_MS, PAUSE_FACTOR * usual)
        paused[start + 1 : stop] = np.cumsum(np.where(is_pause, distance - round(usual), 0))
    return paused


class Joined(NamedTuple):
    """Lines over another metric.

    Attributes:
        lines: Buckets of neighbours in step order; their ``x`` is a place, not a value.
        x: (B,) the other metric's value at the bucket's last point.
    """

    lines: Lines
    x: Float64Column


class Celled(NamedTuple):
    """Lines over another metric, in cells along its values, which all runs share.

    Attributes:
        lines: Their ``x`` is a place on a grid; ``values_of`` has the values.
        first: The other metric's smallest value, at place 0.
        share: Distance of two places.
    """

    lines: Lines
    first: float
    share: float

    def values_of(self, place: Int64Column) -> Float64Column:
        """Return the other metric's values at places of the grid."""
        return np.asarray(self.first + place * self.share, dtype=np.float64)


def join(y: Mapping[int, Series], x: Mapping[int, Series], n_runs: int, n_buckets: int) -> Joined:
    """Draw a metric over another of the same run, point by point in step order.

    A point's x is the other metric's value at the same step, or else at the nearest earlier step
    within one logging interval (the median distance of its steps); without one it is left out, and
    so are points whose x is not finite.

    Args:
        y: Points of each run.
        x: Points of each run of the other metric.
        n_runs: Number of runs.
        n_buckets: Most buckets of a line.
    """
    atoms, values, sizes = _paired(y, x)
    place = np.concatenate([np.arange(n, dtype=np.int64) for n in sizes] or [_NO_PLACES])
    level = max(0, (max(sizes, default=1) - 1) // n_buckets).bit_length()
    lines = make_lines(atoms, place, place, level, np.zeros(n_runs, dtype=np.bool_))
    ends = np.cumsum(lines.count) - 1
    return Joined(lines, values[ends])


def join_in_cells(
    y: Mapping[int, Series], x: Mapping[int, Series], n_runs: int, n_buckets: int
) -> Celled:
    """Draw a metric over another as ``join`` does, in cells of equal width along the other."""
    atoms, values, _ = _paired(y, x)
    first, last = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    n_places = n_buckets << _PLACES_LEVEL
    # Halves, so that the distance of large values does not overflow.
    share = 2 * ((last / 2 - first / 2) / n_places) or 1.0
    place = np.rint(2 * ((values / 2 - first / 2) / share)).astype(np.int64)
    lines = make_lines(atoms, place, place, _PLACES_LEVEL, np.zeros(n_runs, dtype=np.bool_))
    return Celled(lines, float(first), float(share))


def _paired(
    y: Mapping[int, Series], x: Mapping[int, Series]
) -> tuple[Atoms, Float64Column, list[int]]:
    """Return the points that have an x, what that is, and how many points each run has."""
    owners: list[int] = []
    kept: list[Series] = []
    values: list[Float64Column] = []
    for owner in sorted(y.keys() & x.keys()):
        points, found = _at_steps(step_order(y[owner]), step_order(x[owner]))
        if len(points):
            owners.append(owner)
            kept.append(points)
            values.append(found)
    sizes = [len(points) for points in kept]
    atoms = atoms_of_points(np.repeat(np.array(owners, dtype=np.int64), sizes), concatenate(kept))
    return atoms, np.concatenate(values or [np.empty(0)]), sizes


_PLACES_LEVEL = 32
_NO_PLACES = np.empty(0, dtype=np.int64)


def _at_steps(points: Series, other: Series) -> tuple[Series, Float64Column]:
    place = np.searchsorted(other.step, points.step, side="right") - 1
    interval = float(np.median(np.diff(other.step))) if len(other) > 1 else 0.0
    before = np.maximum(place, 0)
    distance = points.step - other.step[before]
    value = other.value[before]
    usable = (place >= 0) & (distance <= interval) & (np.abs(value) < 1.7e308)
    return points.take(usable), value[usable]
