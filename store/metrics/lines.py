"""Curves reduced to the buckets that a chart draws, along a grid of x.

A bucket's nominal width is a power of two, and cells start at multiples of it, so that panning and
growth meet the same buckets again. What stands for many points already (a stored rollup) is never
cut: it goes to the cell of its first point. So every bucket is exact for the points that it says
it stands for (its count, in order), whatever they were read from, and no extreme is lost.

A run with no more points in view than there are buckets keeps every point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlflow_weir.store.metrics.points import INFINITY, Float64Column, Int64Column
from mlflow_weir.store.metrics.rollup_atoms import Atoms

MAX_PIECES = 16
"""Steps that go back more often than this are no resumed run: its points are sorted by step."""

MAX_LEVEL = 63
"""At this level a cell is half of what 64 bits hold."""

PLUS_INFINITY, MINUS_INFINITY = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """One metric of many runs, as lines of buckets.

    Columns are of ``n_lines`` (``L``) or, all lines after one another, of ``n_buckets`` (``B``).

    Attributes:
        owner: (L,) index of the run in the request, ascending.
        start: (L + 1,) where each line's buckets begin; the last is ``B``.
        cell: (B,) the cell of its first point; cell ``c`` begins at ``c * 2 ** level``.
        x: (B,) x of the bucket's last point.
        count: (B,) points it stands for.
        n_finite: (B,) how many of them are finite.
        n_nan: (B,) how many of them are NaN.
        infinities: (B,) bits: PLUS_INFINITY, MINUS_INFINITY.
        low: (B,) smallest finite value; NaN where there is none.
        high: (B,) largest finite value; NaN where there is none.
        last: (B,) value of the last point, NaN, or ±inf.
        mean: (B,) of the finite values; NaN where there are none.
        piece: (B,) how often x had gone back before it, in its line.
        level: The width of a cell is ``2 ** level``.
    """

    owner: Int64Column
    start: Int64Column
    cell: Int64Column
    x: Int64Column
    count: Int64Column
    n_finite: Int64Column
    n_nan: Int64Column
    infinities: npt.NDArray[np.uint8]
    low: Float64Column
    high: Float64Column
    last: Float64Column
    mean: Float64Column
    piece: Int64Column
    level: int

    def __len__(self) -> int:
        """Return the number of buckets of all lines."""
        return len(self.x)

    def owner_of_bucket(self) -> Int64Column:
        """Return (B,) the run of each bucket."""
        return np.repeat(self.owner, np.diff(self.start))


def choose_level(first_x: Int64Column, last_x: Int64Column, n_buckets: int) -> int:
    """Return the finest level at which everything fits into ``n_buckets`` cells."""
    if not len(first_x):
        return 0
    # Python's numbers: the distance of two 64-bit steps may need 65.
    low, high = int(min(first_x.min(), last_x.min())), int(max(first_x.max(), last_x.max()))
    level = max(0, ((high - low) // n_buckets).bit_length() - 1)
    # At the widest there are two cells, below and from 0.
    while level < MAX_LEVEL and (high >> level) - (low >> level) + 1 > n_buckets:
        level += 1
    return level


def make_lines(
    atoms: Atoms,
    first_x: Int64Column,
    last_x: Int64Column,
    level: int,
    is_pointwise: npt.NDArray[np.bool_],
) -> Lines:
    """Reduce curves to buckets.

    Args:
        atoms: As ``CurveReader`` returns them.
        first_x: (n,) x of the first point of each atom.
        last_x: (n,) x of the last point of each atom.
        level: Cells are ``2 ** level`` wide.
        is_pointwise: (n_runs,) runs of which every atom is a bucket of its own.
    """
    atoms, first_x, last_x, piece = _in_pieces(atoms, first_x, last_x)
    n = len(atoms)
    if not n:
        whole, number = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
        start, bits = np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.uint8)
        numbers = (number, number, number, number)
        return Lines(whole, start, whole, whole, whole, whole, whole, bits, *numbers, whole, level)
    cell = first_x >> level
    new_owner = np.append(True, atoms.owner[1:] != atoms.owner[:-1])
    is_start = new_owner | is_pointwise[atoms.owner]
    is_start[1:] |= (cell[1:] != cell[:-1]) | (piece[1:] != piece[:-1])
    starts = np.flatnonzero(is_start)
    ends = np.append(starts[1:], n) - 1

    finite = atoms.count - atoms.n_nan - atoms.n_inf
    n_finite = np.add.reduceat(finite, starts)
    share = finite / np.repeat(np.maximum(n_finite, 1), np.diff(np.append(starts, n)))
    mean = np.add.reduceat(np.where(finite > 0, atoms.mean, 0.0) * share, starts)
    infinities = np.bitwise_or.reduceat(
        (atoms.high == INFINITY) * np.uint8(PLUS_INFINITY)
        | (atoms.low == -INFINITY) * np.uint8(MINUS_INFINITY),
        starts,
    )
    first_of_line = np.flatnonzero(new_owner[starts])
    return Lines(
        atoms.owner[starts[first_of_line]],
        np.append(first_of_line, len(starts)),
        cell[starts],
        last_x[ends],
        np.add.reduceat(atoms.count, starts),
        n_finite,
        np.add.reduceat(atoms.n_nan, starts),
        infinities,
        _extreme(atoms.low, starts, np.minimum, np.inf),
        _extreme(atoms.high, starts, np.maximum, -np.inf),
        _with_infinities(atoms.last[ends]),
        np.where(n_finite > 0, mean, np.nan),
        piece[starts],
        level,
    )


def _extreme(
    value: Float64Column, starts: Int64Column, better: np.ufunc, neutral: float
) -> Float64Column:
    # ±inf is free as a stand-in: stored infinities are finite numbers, and passed over.
    usable = np.where(np.isnan(value) | (np.abs(value) == INFINITY), neutral, value)
    best: Float64Column = better.reduceat(usable, starts)
    return np.where(np.isinf(best), np.nan, best)


def _with_infinities(value: Float64Column) -> Float64Column:
    return np.where(np.abs(value) == INFINITY, np.copysign(np.inf, value), value)


def _in_pieces(
    atoms: Atoms, first_x: Int64Column, last_x: Int64Column
) -> tuple[Atoms, Int64Column, Int64Column, Int64Column]:
    """Number the pieces between which x goes back; sort lines that have too many of them."""
    goes_back = _backward_steps(atoms, first_x, last_x)
    if not goes_back.any():
        return atoms, first_x, last_x, np.zeros(len(atoms), dtype=np.int64)
    per_owner = np.bincount(atoms.owner[goes_back])
    tangled = np.flatnonzero(per_owner >= MAX_PIECES)
    if len(tangled):
        # A run whose steps go back is read by points, so that sorting cuts no bucket.
        key = np.where(np.isin(atoms.owner, tangled), first_x, np.int64(0))
        order = np.lexsort((key, atoms.owner))
        atoms, first_x, last_x = atoms.take(order), first_x[order], last_x[order]
        goes_back = _backward_steps(atoms, first_x, last_x)
    piece = np.cumsum(goes_back)
    start = np.flatnonzero(np.append(True, atoms.owner[1:] != atoms.owner[:-1]))
    sizes = np.diff(np.append(start, len(atoms)))
    return atoms, first_x, last_x, piece - np.repeat(piece[start], sizes)


def _backward_steps(
    atoms: Atoms, first_x: Int64Column, last_x: Int64Column
) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(atoms), dtype=np.bool_)
    if len(atoms):
        found[1:] = (atoms.owner[1:] == atoms.owner[:-1]) & (first_x[1:] < last_x[:-1])
    return found
