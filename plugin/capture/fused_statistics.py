"""Statistics of all tensors of a device in a few kernels, and one transfer back.

Starting a kernel costs the host more than a small tensor costs the device. So all values are
copied, as they lie in memory, into rows of a work space of bounded size, where one kernel serves
all tensors, however many and small they are. Row by row it takes count, sum, sum of squares about
the row's mean, least and greatest; rows are put together by the rule of Chan, Golub and LeVeque
(1979), which does not cancel where a mean is large beside the deviation, as that of normalisation
weights is. What can be computed from few numbers is left to the host.

On CUDA nothing waits: the result is copied to pinned memory behind the computation, with an event
that says when it is there. Work space and pinned memory come from torch's own caches and go back
there: keeping them would take from a training, all the time, what is needed for a moment.
"""

from __future__ import annotations

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

# Rows of a work space, and values of a row. There are two: 98 MB of float32 in all, and on a CPU
# 1 MB, which stays in the cache.
_CPU_SPACE, _DEVICE_SPACE = (512, 256), (12_000, 1024)
_MAX_SEGMENTS = 180  # of a chunk: its bins fit into a multiprocessor's shared memory, 48 KiB
# What is known of each row of values; the first six are summed up in float64.
_N, _NAN, _SUM, _CENTRE, _SIZE, _NORM, _LOW, _HIGH = range(8)
_QUANTILES = (0.01, 0.99)


class Found(NamedTuple):
    """What is known of segments of one device and type.

    Attributes:
        segments: Which.
        numbers: Values of each.
        stats: (s, ``STATS``)
        whole: (s, ``COUNTS`` + ``BINS``)
    """

    segments: list[int]
    numbers: list[int]
    stats: npt.NDArray[np.float64]
    whole: npt.NDArray[np.int64]

    def is_ready(self) -> bool:
        """Say that ``read`` returns at once."""
        return True

    def read(self) -> Found:
        """Return it."""
        return self


class OnItsWay(NamedTuple):
    """The same, before it is there.

    Attributes:
        layout: What was measured.
        host: All bytes, (s, 3) and (s,) wide, (s, 4) real, (s, ``BINS``) integers, and the scale.
        wide: Type of sums.
        real: Type of values.
        has_scale: There is one.
        event: Tells when it is there; None where it is.
    """

    layout: Layout
    host: Any
    wide: Any
    real: Any
    has_scale: bool
    event: Any

    def is_ready(self) -> bool:
        """Say whether ``read`` returns at once; asks the device, does not wait for it."""
        return self.event is None or bool(self.event.query())

    def read(self) -> Found:
        """Return it, waiting for the device where that is not done."""
        if not self.is_ready():
            self.event.synchronize()
        n_segments, at = len(self.layout.segments), 0

        def take(width: int, kind: Any) -> npt.NDArray[Any]:
            nonlocal at
            start, at = at, at + n_segments * width * kind.itemsize
            taken: npt.NDArray[Any] = (
                self.host[start:at].view(kind).view(n_segments, width).numpy()
            )
            return taken

        square, sums = (take(width, self.wide).astype(np.float64) for width in (1, 3))
        bounds = take(4, self.real).astype(np.float64)
        counts = take(BINS, torch.int32)
        scale = float(self.host[at:].view(torch.float32)) if self.has_scale else 1.0
        n, n_nan, total = sums.T
        some = np.maximum(n, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = total / some
            norm = np.sqrt(square[:, 0] + n * np.square(mean))
            std = np.sqrt(square[:, 0] / some)
            stats = np.column_stack([norm, mean, std, bounds]) / scale
        n_nan = n_nan - self.layout.n_padding
        whole = np.column_stack([n, n_nan, counts]).astype(np.int64)
        return Found(self.layout.segments, self.layout.numbers, stats, whole)


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
        rows: Which of all rows.
        first: The first segment in it.
        n_segments: From there on.
        bins: (rows, 1) the middle of the first bin of each, among the bins of the chunk.
        picked: (k,) positions of the sample's values.
        places: Which of all picked values these are.
    """

    pieces: list[_Piece]
    rows: slice
    first: int
    n_segments: int
    bins: Any
    picked: Any
    places: slice


class Layout:
    """Where the values of some tensors go; made once, on the host.

    Attributes:
        shape: (segment, values) of each tensor.
        width: Values of a row.
        segments: The distinct ones.
        numbers: Values of each.
        n_padding: Of each, places in its rows that hold none of its values.
        chunks: One after the other.
        rows: Segment of each row of all chunks.
        places: Where the picked values go in the sample.
        quantile, up: (2,) so that ``trunc(k * quantile + up)`` is which of k + 1 values.
        sign: (2,) -1 and 1.
    """

    def __init__(
        self, shape: tuple[tuple[int, int], ...], device: Any, *, is_wide: bool = False
    ) -> None:
        self.shape = shape
        self.segments = list(dict.fromkeys(segment for segment, _ in shape))
        local = {segment: i for i, segment in enumerate(self.segments)}
        self.numbers = [0] * len(self.segments)
        limit, width = _CPU_SPACE if device.type == "cpu" else _DEVICE_SPACE
        limit //= 2 if is_wide else 1
        self.width = width
        padding = np.zeros(len(self.segments), dtype=np.int64)
        for segment, n in shape:
            self.numbers[local[segment]] += n
            padding[local[segment]] += -n % width
        self.n_padding = padding
        chosen = sampled(shape)
        real = np.float64 if is_wide else np.float32
        self.chunks: list[_Chunk] = []
        pieces: list[_Piece] = []
        rows: list[npt.NDArray[np.int64]] = []
        picked: list[npt.NDArray[np.int64]] = []
        all_rows: list[npt.NDArray[np.int64]] = []
        places: list[npt.NDArray[np.int64]] = []
        n_rows = n_before = n_placed = n_picked = 0

        def close() -> None:
            nonlocal n_rows, n_before, n_placed, n_picked
            of_rows = np.concatenate(rows)
            first = int(of_rows[0])
            self.chunks.append(
                _Chunk(
                    list(pieces),
                    slice(n_before, n_before + n_rows),
                    first,
                    int(of_rows[-1]) - first + 1,
                    _on(device, ((of_rows - first) * BINS + 0.5).astype(real)[:, None]),
                    _on(device, np.concatenate(picked)),
                    slice(n_placed, n_picked),
                )
            )
            for one in (pieces, rows, picked):
                one.clear()
            n_before += n_rows
            n_rows, n_placed = 0, n_picked

        for tensor, (segment, n) in enumerate(shape):
            positions, slots = chosen[tensor]
            if rows and local[segment] - rows[0][0] >= _MAX_SEGMENTS:
                close()
            start = 0
            while start < n:
                if n_rows == limit:
                    close()
                end = min(n, start + (limit - n_rows) * width)
                at = n_rows * width
                used = -(-(end - start) // width)
                pieces.append(_Piece(tensor, start, end, at))
                rows.append(np.full(used, local[segment], dtype=np.int64))
                all_rows.append(rows[-1])
                here = slice(*np.searchsorted(positions, [start, end]))
                picked.append(positions[here] - start + at)
                places.append(slots[here])
                n_picked += len(places[-1])
                n_rows += used
                start = end
        close()
        self.rows = _on(device, np.concatenate(all_rows))
        self.places = _on(device, np.concatenate(places))
        self.quantile = _on(device, np.array(_QUANTILES, dtype=real))
        self.up = _on(device, np.array([0.0, 0.999], dtype=real))
        self.sign = _on(device, np.array([-1.0, 1.0], dtype=real))


def _on(device: Any, array: npt.NDArray[Any]) -> Any:
    """Bring numbers to a device without waiting for what it does."""
    host = torch.from_numpy(array)
    if device.type == "cuda":
        return host.pin_memory().to(device, non_blocking=True)
    return host.to(device)


def measure(
    layout: Layout, tensors: Sequence[Any], device: Any, is_wide: bool, scale: Any
) -> OnItsWay:
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
    n_segments, n_rows = len(layout.segments), layout.rows.numel()
    n_most = max(chunk.rows.stop - chunk.rows.start for chunk in layout.chunks)
    work = torch.empty((2, n_most, layout.width), dtype=real, device=device)
    known = torch.empty((8, n_rows), dtype=real, device=device)
    picked = torch.empty(layout.places.numel(), dtype=real, device=device)
    for chunk in layout.chunks:
        _know(_filled(work, chunk, tensors), work[1], known[:, chunk.rows])
        values = work[0].view(-1)
        torch.index_select(values, 0, chunk.picked, out=picked[chunk.places])
    of_row = known[: _NORM + 1].to(wide)
    sums = torch.zeros((3, n_segments), dtype=wide, device=device)
    sums.index_add_(1, layout.rows, of_row[: _SUM + 1])
    mean = sums[_SUM] / sums[_N].clamp(min=1)
    apart = (of_row[_CENTRE] - mean.index_select(0, layout.rows)).square_()
    of_row = of_row[_NORM].mul_(of_row[_SIZE]).square_().addcmul_(apart, of_row[_N])
    square = torch.zeros(n_segments, dtype=wide, device=device)
    square.index_add_(0, layout.rows, of_row)
    known[_HIGH].neg_()
    limits = torch.full((2, n_segments), math.inf, dtype=real, device=device)
    limits.scatter_reduce_(1, layout.rows.expand(2, -1), known[_LOW:], "amin").neg_()
    sample = torch.full((n_segments * SAMPLE,), math.nan, dtype=real, device=device)
    sample.index_copy_(0, layout.places, picked)
    limits = limits.t()
    ends = _range(sample.view(n_segments, SAMPLE), limits, layout)
    far = ends.to(wide)
    per_bin = (BINS / (far[:, 1] - far[:, 0])).to(real)
    first_of_row = ends[:, 0].index_select(0, layout.rows).unsqueeze(1)
    per_bin_of_row = per_bin.index_select(0, layout.rows).unsqueeze(1)
    counts = torch.zeros(n_segments * BINS, dtype=torch.int32, device=device)
    for chunk in layout.chunks:
        x = work[0, : chunk.rows.stop - chunk.rows.start]
        if len(layout.chunks) > 1:
            _without_infinity(_filled(work, chunk, tensors))
        x.sub_(first_of_row[chunk.rows]).mul_(per_bin_of_row[chunk.rows])
        x.clamp_(0, BINS - 1).floor_().add_(chunk.bins).nan_to_num_(nan=-1.0)
        bins = chunk.n_segments * BINS
        counts[chunk.first * BINS : chunk.first * BINS + bins].add_(_count(x, bins))
    found = [square, sums.t(), torch.cat([limits * layout.sign, ends], dim=1), counts]
    if scale is not None:
        found.append(scale.to(device, torch.float32, non_blocking=True))
    packed = torch.cat([one.reshape(-1).view(torch.uint8) for one in found])
    host, event = _to_host(packed)
    return OnItsWay(layout, host, wide, real, scale is not None, event)


def _filled(work: Any, chunk: _Chunk, tensors: Sequence[Any]) -> Any:
    """Copy a chunk's values into the first work space; return its rows, padded with NaN."""
    x = work[0, : chunk.rows.stop - chunk.rows.start]
    x.fill_(math.nan)
    space = x.view(-1)
    places = [space[one.at : one.at + one.end - one.start] for one in chunk.pieces]
    values = [tensors[one.tensor][one.start : one.end] for one in chunk.pieces]
    torch._foreach_copy_(places, values)
    return x


def _without_infinity(x: Any) -> None:
    """Make NaN of all that is not finite."""
    x.nan_to_num_(nan=math.nan, posinf=math.nan, neginf=math.nan)


def _know(x: Any, work: Any, known: Any) -> None:
    """Take what there is to know of rows.

    All in place or into the second work space; masks are numbers, because a sum of ``bool``
    would first make 64 bits of each.

    Args:
        x: (rows, width) values; what is not finite is NaN afterwards.
        work: As large or larger.
        known: (8, rows) written.
    """
    work = work[: len(x)]
    torch.sum(torch.ne(x, x, out=work), 1, out=known[_NAN])
    _without_infinity(x)
    torch.sum(torch.eq(x, x, out=work), 1, out=known[_N])
    torch.amin(torch.nan_to_num(x, nan=math.inf, posinf=math.inf, out=work), 1, out=known[_LOW])
    torch.amax(torch.nan_to_num(x, nan=-math.inf, out=work), 1, out=known[_HIGH])
    torch.nansum(x, 1, out=known[_SUM])
    centre, size = known[_CENTRE], known[_SIZE]
    torch.div(known[_SUM], torch.clamp(known[_N], min=1, out=centre), out=centre)
    away = torch.sub(x, centre.unsqueeze(1), out=work).nan_to_num_(nan=0.0)
    # Squares of very small or large float32 values are none any more.
    torch.linalg.vector_norm(away, math.inf, dim=1, out=size)
    away.div_(size.clamp_(min=torch.finfo(x.dtype).tiny).unsqueeze(1))
    torch.linalg.vector_norm(away, dim=1, out=known[_NORM])


def _range(sample: Any, limits: Any, layout: Layout) -> Any:
    """Return the ends of the histograms.

    Args:
        sample: (s, ``SAMPLE``) values, NaN where there is none.
        limits: (s, 2) least value, its sign turned, and greatest; -inf where there is none.
        layout: Theirs.

    Returns:
        (s, 2) first and last.
    """
    ordered = sample.sort(dim=1).values
    last_one = ordered.eq(ordered).sum(1, keepdim=True).sub_(1).clamp_(min=0)
    which = (last_one * layout.quantile).add_(layout.up).to(torch.int64)
    # With the sign of the lower end turned, both ends are found alike.
    ends = ordered.gather(1, which) * layout.sign
    half = ends.sum(1, keepdim=True) * 0.5
    ends = torch.where(half > 0, torch.minimum(ends + half, limits), limits)
    ends.nan_to_num_(neginf=0.0)
    margin = ends.abs().mul_(1e-3).clamp_(min=0.5)
    margin.masked_fill_(ends.sum(1, keepdim=True) > 0, 0.0)
    return ends.add_(margin).mul_(layout.sign)


def _count(numbers: Any, bins: int) -> Any:
    """Count, of any shape, the numbers i + 1/2 for i from 0 to ``bins`` (exclusive).

    Negative ones are left out. Those of a chunk are few enough for float32 to count.
    """
    if numbers.device.type == "cpu":
        return _by_bincount(numbers, bins)
    if numbers.device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
        return _by_histc(numbers, bins)  # in shared memory; bincount would wait for the device
    return _by_scatter(numbers, bins)


def _by_bincount(numbers: Any, bins: int) -> Any:
    return torch.bincount(_places(numbers), minlength=bins + 1)[1:]


def _by_histc(numbers: Any, bins: int) -> Any:
    return torch.histc(numbers, bins, 0, bins).to(torch.int32)


def _by_scatter(numbers: Any, bins: int) -> Any:
    found = torch.zeros(bins + 1, dtype=torch.int64, device=numbers.device)
    ones = torch.ones((), dtype=torch.int64, device=numbers.device).expand(numbers.numel())
    return found.scatter_add_(0, _places(numbers), ones)[1:]


def _places(numbers: Any) -> Any:
    """Return i + 1 of each, and 0 of those that are left out."""
    return numbers.view(-1).add(1).to(torch.int64)


def _to_host(packed: Any) -> tuple[Any, Any]:
    """Return a copy on the host, and the event that says that it is there, or None."""
    if packed.device.type != "cuda":
        return packed.cpu(), None
    host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
    host.copy_(packed, non_blocking=True)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(packed.device))
    return host, event
