"""Statistics and histograms of tensors, made where they are.

On a CPU large tensors one by one, without a copy (``host_statistics.py``); many small ones, and on
other devices all, together, with one transfer back that nobody waits for
(``fused_statistics.py``). What is
not finite is counted and left out of everything else. float64 is measured as it is, every other
type as float32.

A histogram has ``BINS`` equal bins on a range that outliers do not stretch. Of a stratified random
sample of ``SAMPLE`` values, ``a`` and ``b`` are the quantiles of 1 % and 99 %::

    range = [max(min, a - (b - a) / 2), min(max, b + (b - a) / 2)]

which for a normal distribution is mean ± 4.65 standard deviations. Where ``a = b`` it is
[min, max]; where these are equal too, half a unit to each side, as NumPy has it. What lies beyond
is counted in the outermost bins: about 2 % of the values at most, as the sample has it; min and
max tell how far out they are.

Depends on torch and NumPy alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mlflow_weir.plugin.capture import fused_statistics, host_statistics
from mlflow_weir.plugin.capture.fused_statistics import COUNTS, STATS, Found, OnItsWay
from mlflow_weir.plugin.capture.tensor_values import BINS, flat

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Statistics:
    """Of each segment, in order; a segment is one tensor or several taken together.

    Attributes:
        n: (s,) values.
        n_nan: (s,) of them NaN.
        n_inf: (s,) of them infinite.
        norm: (s,) Euclidean, of the finite values, as all below; 0 where there is none.
        mean: (s,) NaN where no value is finite, as are the next three.
        std: (s,) the population's.
        low: (s,) least value.
        high: (s,) greatest value.
        first: (s,) lower edge of the histogram's first bin; 0 where no value is finite.
        last: (s,) upper edge of the last.
        counts: (s, ``BINS``) values in each bin.
    """

    n: Counts
    n_nan: Counts
    n_inf: Counts
    norm: Floats
    mean: Floats
    std: Floats
    low: Floats
    high: Floats
    first: Floats
    last: Floats
    counts: Counts


class Measured:
    """What was measured and may still be on its way."""

    def __init__(self, n_segments: int, parts: list[Found | OnItsWay]) -> None:
        self._n_segments = n_segments
        self._parts = parts

    def is_ready(self) -> bool:
        """Say whether ``read`` returns at once; asks the device, does not wait for it."""
        return all(part.is_ready() for part in self._parts)

    def read(self) -> Statistics:
        """Return it, waiting for the device where that is not done."""
        stats = np.zeros((self._n_segments, STATS))
        whole = np.zeros((self._n_segments, COUNTS + BINS), dtype=np.int64)
        n = np.zeros(self._n_segments, dtype=np.int64)
        for part in self._parts:
            segments, numbers, stats_of_part, whole_of_part = part.read()
            stats[segments], whole[segments], n[segments] = stats_of_part, whole_of_part, numbers
        stats[whole[:, 0] == 0] = [0.0, np.nan, np.nan, np.nan, np.nan, 0.0, 0.0]
        norm, mean, std, low, high, first, last = stats.T
        n_finite, n_nan = whole[:, 0], whole[:, 1]
        counts = whole[:, COUNTS:]
        n_inf = n - n_finite - n_nan
        return Statistics(n, n_nan, n_inf, norm, mean, std, low, high, first, last, counts)


# On a CPU the calls for one tensor cost as much as 4,000 values, those for all as much as 16.
_SMALL, _MANY = 4096, 16


class Measurer:
    """Measures the same tensors again and again; keeps how they are laid out."""

    def __init__(self, *, fuses_on_cpu: bool | None = None) -> None:
        """Begin.

        Args:
            fuses_on_cpu: Do on a CPU what is done on other devices; by default where that is
                quicker.
        """
        self._fuses_on_cpu = fuses_on_cpu
        self._layouts: dict[Any, fused_statistics.Layout] = {}

    def measure(
        self, tensors: Sequence[Any], segments: Sequence[int], scale: Any = None
    ) -> Measured:
        """Begin to measure.

        Args:
            tensors: As ``tensor_values.dense`` returns them.
            segments: Of each tensor, ascending from 0. Those of a segment must be on one device,
                and all float64 or none.
            scale: Divide all values by this, a tensor of one positive number.
        """
        is_fused = self._fused(tensors, segments)
        groups: dict[Any, list[int]] = defaultdict(list)
        for number, (tensor, fused) in enumerate(zip(tensors, is_fused, strict=True)):
            if tensor.numel():
                groups[tensor.device, tensor.dtype == torch.float64, fused].append(number)
        layouts: dict[Any, fused_statistics.Layout] = {}
        parts: list[Found | OnItsWay] = []
        with torch.no_grad():
            for (device, is_wide, fused), numbers in groups.items():
                values = [flat(tensors[i]) for i in numbers]
                shape = tuple((segments[i], tensors[i].numel()) for i in numbers)
                if not fused:
                    parts.append(host_statistics.measure(shape, values, is_wide, scale))
                    continue
                layout = self._layouts.get((device, is_wide))
                if layout is None or layout.shape != shape:
                    layout = fused_statistics.Layout(shape, device, is_wide=is_wide)
                layouts[device, is_wide] = layout
                parts.append(fused_statistics.measure(layout, values, device, is_wide, scale))
        self._layouts = layouts
        return Measured(segments[-1] + 1 if segments else 0, parts)

    def _fused(self, tensors: Sequence[Any], segments: Sequence[int]) -> list[bool]:
        """Say of each tensor whether it is measured with others; those of a segment are alike."""
        if self._fuses_on_cpu is not None:
            return [t.device.type != "cpu" or self._fuses_on_cpu for t in tensors]
        sizes: dict[int, int] = defaultdict(int)
        for segment, tensor in zip(segments, tensors, strict=True):
            sizes[segment] += tensor.numel()
        are_many = sum(size <= _SMALL for size in sizes.values()) >= _MANY
        return [
            tensor.device.type != "cpu" or (are_many and sizes[segment] <= _SMALL)
            for segment, tensor in zip(segments, tensors, strict=True)
        ]
