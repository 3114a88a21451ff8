"""Statistics of all tensors of a device in a few kernels, and one transfer back.

All values are copied, as they lie in memory, into rows of a work space of bounded size, so that
one kernel serves all tensors, however many and small they are. Row by row it takes count, sum, sum
of squares about the row's mean, least and greatest; rows are put together by the rule of Chan,
Golub and LeVeque (1979), which does not cancel where a mean is large beside the deviation, as that
of normalisation weights is.

On CUDA nothing waits: the result is copied to pinned memory behind the computation, with an event
that says when it is there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mlflow_weir.plugin.capture.tensor_values import BINS, SAMPLE, sampled

STATS = 7
"""Reals of a segment: norm, mean, standard deviation, least, greatest, ends of the histogram."""

COUNTS = 2
"""Whole numbers of a segment before its bins: finite values, NaN."""

_WIDTH = 256  # values of a row
# Work space: on a CPU it stays in the cache, elsewhere few kernels matter more (4 Mi values).
_CPU_ROWS, _DEVICE_ROWS = 512, 16_384


class Part(NamedTuple):
    """Segments of one device and type on their way to the host."""

    segments: list[int]
    numbers: list[int]  # values of each
    n_padding: npt.NDArray[np.int64]
    packed: Any  # host tensor (s, STATS + COUNTS + BINS) of integers
    is_wide: bool  # 64 bits
    event: Any  # None where it is there


class _Piece(NamedTuple):
    """A run of values of one tensor in a work space."""

    tensor: int
    start: int
    end: int
    at: int  # in the work space


class _Chunk(NamedTuple):
    """What one filling of the work space holds.

    Attributes:
        pieces: What to copy into it.
        n_rows: Rows of it in use.
        rows: (n_rows,) segment of each.
        first: The first segment in it.
        n_segments: From there on.
        picked: (k,) positions of the sample's values.
        places: (k,) where they go in the sample.
    """

    pieces: list[_Piece]
    n_rows: int
    rows: Any
    first: int
    n_segments: int
    picked: Any
    places: Any


class Layout:
    """Where the values of some tensors go; made once, on the host.

    Attributes:
        shape: (segment, values) of each tensor.
        segments: The distinct ones.
        numbers: Values of each.
        n_padding: Of each, places in its rows that hold none of its values.
        chunks: One after the other.
        rows: Segments of the rows of all chunks.
    """

    def __init__(self, shape: tuple[tuple[int, int], ...], device: Any) -> None:
        self.shape = shape
        self.segments = list(dict.fromkeys(segment for segment, _ in shape))
        local = {segment: i for i, segment in enumerate(self.segments)}
        self.numbers = [0] * len(self.segments)
        padding = np.zeros(len(self.segments), dtype=np.int64)
        for segment, n in shape:
            self.numbers[local[segment]] += n
            padding[local[segment]] += -n % _WIDTH
        self.n_padding = padding
        chosen = sampled(shape)
        limit = _CPU_ROWS if device.type == "cpu" else _DEVICE_ROWS
        self.chunks: list[_Chunk] = []
        pieces: list[_Piece] = []
        rows: list[npt.NDArray[np.int64]] = []
        picked: list[npt.NDArray[np.int64]] = []
        places: list[npt.NDArray[np.int64]] = []
        n_rows = 0

        def close() -> None:
            nonlocal n_rows
            of_rows = np.concatenate(rows)
            self.chunks.append(
                _Chunk(
                    list(pieces),
                    n_rows,
                    _on(device, of_rows),
                    int(of_rows[0]),
                    int(of_rows[-1] - of_rows[0]) + 1,
                    _on(device, np.concatenate(picked)),
                    _on(device, np.concatenate(places)),
                )
            )
            for one in (pieces, rows, picked, places):
                one.clear()
            n_rows = 0

        for tensor, (segment, n) in enumerate(shape):
            positions, slots = chosen[tensor]
            start = 0
            while start < n:
                if n_rows == limit:
                    close()
                end = min(n, start + (limit - n_rows) * _WIDTH)
                at = n_rows * _WIDTH
                used = -(-(end - start) // _WIDTH)
                pieces.append(_Piece(tensor, start, end, at))
                rows.append(np.full(used, local[segment], dtype=np.int64))
                here = slice(*np.searchsorted(positions, [start, end]))
                picked.append(positions[here] - start + at)
                places.append(slots[here])
                n_rows += used
                start = end
        close()
        self.rows = torch.cat([chunk.rows for chunk in self.chunks])


def _on(device: Any, array: npt.NDArray[np.int64]) -> Any:
    """Bring numbers to a device without waiting for what it does."""
    host = torch.from_numpy(array)
    if device.type == "cuda":
        return host.pin_memory().to(device, non_blocking=True)
    return host.to(device)


def measure(
    layout: Layout, tensors: Sequence[Any], device: Any, is_wide: bool, scale: Any
) -> Part:
    """Begin to measure.

    Args:
        layout: Of these tensors, on this device.
        tensors: Each flat.
        device: Where they are.
        is_wide: They are float64.
        scale: Divide by this, a tensor of one number, or None.
    """
    real = torch.float64 if is_wide else torch.float32
    # Sums over rows are few numbers: wide ones cost nothing where there are some.
    wide = torch.float32 if device.type == "mps" else torch.float64
    n_segments = len(layout.segments)
    work = torch.empty(
        (max(chunk.n_rows for chunk in layout.chunks), _WIDTH), dtype=real, device=device
    )
    zeros = functools.partial(torch.zeros, device=device)
    sample = torch.full((n_segments * SAMPLE,), math.nan, dtype=real, device=device)
    n_nan = zeros(n_segments, dtype=torch.int64)
    low = torch.full((n_segments,), math.inf, dtype=real, device=device)
    high = torch.full((n_segments,), -math.inf, dtype=real, device=device)
    numbers, sums, squares = [], [], []
    x: Any = None
    finite: Any = None
    for chunk in layout.chunks:
        x, finite = _filled(work, chunk, tensors)
        n_finite = finite.sum(1)
        n_nan.index_add_(0, chunk.rows, torch.isnan(x).sum(1))
        row_low = torch.where(finite, x, math.inf).amin(1)
        row_high = torch.where(finite, x, -math.inf).amax(1)
        low.scatter_reduce_(0, chunk.rows, row_low, "amin")
        high.scatter_reduce_(0, chunk.rows, row_high, "amax")
        row_sum = torch.where(finite, x, 0).sum(1)
        centre = (row_sum / n_finite.clamp(min=1)).unsqueeze(1)
        away = torch.where(finite, x - centre, 0)
        numbers.append(n_finite.to(wide))
        sums.append(row_sum.to(wide))
        # Squares of very small or large float32 values are none any more.
        size = torch.maximum(row_high, -row_low).clamp(min=torch.finfo(real).tiny)
        square = away.div_(size.unsqueeze(1)).square_().sum(1).to(wide)
        squares.append(torch.where(n_finite > 0, square * size.to(wide).square(), 0))
        sample.index_copy_(0, chunk.places, x.reshape(-1).index_select(0, chunk.picked))
    row_n, row_sum, row_square = torch.cat(numbers), torch.cat(sums), torch.cat(squares)
    n = zeros(n_segments, dtype=wide).index_add_(0, layout.rows, row_n)
    some = n.clamp(min=1)
    mean = zeros(n_segments, dtype=wide).index_add_(0, layout.rows, row_sum) / some
    apart = row_sum / row_n.clamp(min=1) - mean.index_select(0, layout.rows)
    square = zeros(n_segments, dtype=wide)
    square.index_add_(0, layout.rows, row_square + row_n * apart.square())
    first, last = _range(sample.view(n_segments, SAMPLE), low, high)
    per_bin = (BINS / (last.to(wide) - first.to(wide))).to(real)
    counts = zeros(n_segments * BINS, dtype=torch.int64)
    for chunk in layout.chunks:
        if len(layout.chunks) > 1:
            x, finite = _filled(work, chunk, tensors)
        of_row = chunk.rows.unsqueeze(1)
        x.sub_(first[of_row]).mul_(per_bin[of_row]).clamp_(0, BINS - 1).floor_()
        x.add_((of_row - chunk.first) * BINS)
        bins = chunk.n_segments * BINS
        there = counts[chunk.first * BINS : chunk.first * BINS + bins]
        there.add_(_count(torch.where(finite, x, bins), bins))
    norm, std = (square + n * mean.square()).sqrt(), (square / some).sqrt()
    found = (norm, mean, std, low, high, first, last)
    stats = torch.stack([value.to(real) for value in found], dim=1)
    if scale is not None:
        stats /= scale.to(device, non_blocking=True)
    whole = torch.int64 if is_wide else torch.int32
    packed = torch.cat(
        [
            stats.view(whole),
            torch.stack([n.to(whole), n_nan.to(whole)], dim=1),
            counts.view(n_segments, BINS).to(whole),
        ],
        dim=1,
    )
    host, event = _to_host(packed)
    return Part(layout.segments, layout.numbers, layout.n_padding, host, is_wide, event)


def _filled(work: Any, chunk: _Chunk, tensors: Sequence[Any]) -> tuple[Any, Any]:
    """Copy a chunk's values into the work space; return its rows and which values are finite."""
    x = work[: chunk.n_rows]
    x.fill_(math.nan)
    space = x.view(-1)
    places = [space[one.at : one.at + one.end - one.start] for one in chunk.pieces]
    values = [tensors[one.tensor][one.start : one.end] for one in chunk.pieces]
    torch._foreach_copy_(places, values)
    return x, torch.isfinite(x)


def _range(sample: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Return the ends of the histograms of (s, ``SAMPLE``) values, NaN where there is none."""
    ordered = torch.where(torch.isfinite(sample), sample, math.nan).sort(dim=1).values
    last_one = (torch.isfinite(ordered).sum(1, keepdim=True) - 1).clamp(min=0)
    a = ordered.gather(1, (last_one * 0.01).floor().to(torch.int64)).squeeze(1)
    b = ordered.gather(1, (last_one * 0.99).ceil().to(torch.int64)).squeeze(1)
    half = (b - a) / 2
    is_spread = b > a  # and so not NaN
    first = torch.where(is_spread, torch.maximum(a - half, low), low)
    last = torch.where(is_spread, torch.minimum(b + half, high), high)
    is_there = high >= low
    first, last = torch.where(is_there, first, 0), torch.where(is_there, last, 0)
    margin = torch.where(last > first, 0, torch.clamp(first.abs() * 1e-3, min=0.5))
    return first - margin, last + margin


def _count(numbers: Any, bins: int) -> Any:
    """Count whole numbers from 0 to ``bins`` (exclusive), of any shape; larger ones are left out.

    Those of a chunk are few enough for float32 to count.
    """
    if numbers.device.type == "cpu":
        return _by_bincount(numbers, bins)
    if numbers.device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
        return _by_histc(numbers, bins)  # in shared memory; bincount would wait for the device
    return _by_scatter(numbers, bins)


def _by_bincount(numbers: Any, bins: int) -> Any:
    return torch.bincount(numbers.view(-1).to(torch.int64), minlength=bins + 1)[:bins]


def _by_histc(numbers: Any, bins: int) -> Any:
    return torch.histc(numbers + 0.5, bins, 0, bins).to(torch.int64)


def _by_scatter(numbers: Any, bins: int) -> Any:
    found = torch.zeros(bins + 1, dtype=torch.int64, device=numbers.device)
    ones = torch.ones((), dtype=torch.int64, device=numbers.device).expand(numbers.numel())
    return found.scatter_add_(0, numbers.view(-1).clamp(max=bins).to(torch.int64), ones)[:bins]


def _to_host(packed: Any) -> tuple[Any, Any]:
    """Return a copy on the host, and the event that says that it is there, or None."""
    if packed.device.type != "cuda":
        return packed.cpu(), None
    host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
    host.copy_(packed, non_blocking=True)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(packed.device))
    return host, event
