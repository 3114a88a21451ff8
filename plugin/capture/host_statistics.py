"""Statistics of tensors in the memory of this machine: one by one, without a copy.

There is no device to wait for here, so each number is read where it falls out, and what a tensor
does not need is not computed: ``aminmax`` tells in one pass whether all values are finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mlflow_weir.plugin.capture.fused_statistics import COUNTS, STATS, Found
from mlflow_weir.plugin.capture.tensor_values import BINS, sampled

_EXACT = 1 << 24
_NORM_VALUES = 1 << 16
_SAFE = 1e-15, 1e15  # norms whose squares float32 can hold, rounding errors included
_CANCELS = 100.0  # squared mean over variance, above which the variance is taken about the mean


def measure(
    shape: tuple[tuple[int, int], ...], tensors: Sequence[Any], is_wide: bool, scale: Any
) -> Found:
    """Measure; the arguments are those of ``fused_statistics``.

    Args:
        shape: (segment, values) of each tensor.
        tensors: Each flat.
        is_wide: They are float64.
        scale: As in ``Measurer.measure``.
    """
    segments = list(dict.fromkeys(segment for segment, _ in shape))
    of_segment: dict[int, list[int]] = {segment: [] for segment in segments}
    for number, (segment, _) in enumerate(shape):
        of_segment[segment].append(number)
    positions = sampled(shape)
    stats = np.zeros((len(segments), STATS))
    whole = np.zeros((len(segments), COUNTS + BINS), dtype=np.int64)
    for row, segment in enumerate(segments):
        numbers = of_segment[segment]
        one = _Segment([tensors[i] for i in numbers], is_wide)
        sample = torch.cat([tensors[i][positions[i][0]] for i in numbers])
        first, last = one.range(sample.to(torch.float64).numpy())
        divisor = 1.0 if scale is None else float(scale)
        stats[row] = np.array([*one.moments(), one.low, one.high, first, last]) / divisor
        whole[row, :COUNTS] = one.n, one.n_nan
        whole[row, COUNTS:] = one.counts(first, last)
    counts = [sum(shape[i][1] for i in of_segment[segment]) for segment in segments]
    return Found(segments, counts, stats, whole)


class _Segment:
    """Tensors that are taken together, mostly one.

    Attributes:
        n: Finite values.
        n_nan: NaN.
        low: Least finite value; infinity where there is none.
        high: Greatest.
    """

    def __init__(self, tensors: Sequence[Any], is_wide: bool) -> None:
        self.n = self.n_nan = 0
        self.low, self.high = math.inf, -math.inf
        self._parts: list[Any] = []
        self._real: Any = np.float64 if is_wide else np.float32
        for tensor in tensors:
            values = tensor if is_wide else tensor.to(torch.float32)
            low, high = (bound.item() for bound in torch.aminmax(values))
            if not (math.isfinite(low) and math.isfinite(high)):
                self.n_nan += int(torch.count_nonzero(torch.isnan(values)))
                values = values[torch.isfinite(values)]
                if not values.numel():
                    continue
                low, high = (bound.item() for bound in torch.aminmax(values))
            self.n += values.numel()
            self.low, self.high = min(self.low, low), max(self.high, high)
            self._parts.append(values)

    def moments(self) -> tuple[float, float, float]:
        """Return norm, mean and standard deviation."""
        if not self.n:
            return 0.0, math.nan, math.nan
        sums = [part.sum().item() for part in self._parts]
        norm = math.hypot(*map(_norm, self._parts))
        mean = sum(sums) / self.n
        if math.isinf(norm):
            return norm, mean, norm
        rms = norm / math.sqrt(self.n)
        variance = rms * rms - mean * mean
        if mean * mean > _CANCELS * variance:
            about = [_norm(part - mean) for part in self._parts]
            rms = math.hypot(*about) / math.sqrt(self.n)
            variance = rms * rms
        return norm, mean, math.sqrt(variance) if variance > 0 else 0.0

    def range(self, sample: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Return the ends of the histogram, as ``tensor_statistics`` says."""
        if not self.n:
            return 0.0, 0.0
        first, last = self.low, self.high
        ordered = np.sort(sample[np.isfinite(sample)])
        if len(ordered):
            k = len(ordered) - 1
            a, b = float(ordered[math.floor(0.01 * k)]), float(ordered[math.ceil(0.99 * k)])
            if b > a:
                first, last = max(a - (b - a) / 2, first), min(b + (b - a) / 2, last)
        if not last > first:
            margin = max(0.5, abs(first) * 1e-3)
            first, last = first - margin, last + margin
        # As they are stored, so that the bins are those of the edges that a reader has.
        return float(self._real(first)), float(self._real(last))

    def counts(self, first: float, last: float) -> npt.NDArray[np.int64]:
        """Return the values in each bin."""
        found = np.zeros(BINS, dtype=np.int64)
        for part in self._parts:
            # Whole numbers up to 2^24 are exact in float32: larger tensors by pieces.
            inside = sum(
                torch.histc(piece, BINS, first, last).numpy().astype(np.int64)
                for piece in part.split(_EXACT)
            )
            found += inside
            beyond = part.numel() - int(inside.sum())
            if beyond:
                below = int(torch.count_nonzero(part < first))
                found[0] += below
                found[-1] += beyond - below
        return found


def _norm(values: Any) -> float:
    """Return the Euclidean norm.

    Not torch's own alone, which of 20 million values is off by a ten-thousandth, and 0 where the
    squares are too small for the type.
    """
    n_whole = values.numel() // _NORM_VALUES * _NORM_VALUES
    norms = [torch.linalg.vector_norm(values[n_whole:]).item()]
    if n_whole:
        rows = values[:n_whole].view(-1, _NORM_VALUES)
        norms.append(torch.linalg.vector_norm(torch.linalg.vector_norm(rows, dim=1)).item())
    norm = math.hypot(*norms)
    if _SAFE[0] < norm < _SAFE[1]:
        return norm
    size = max(abs(bound.item()) for bound in torch.aminmax(values))
    if size == 0:
        return 0.0
    return float(size * torch.linalg.vector_norm(values.to(torch.float64) / size).item())
