"""The values of tensors, and which of them a histogram's range is found from."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

BINS = 64
"""Of a histogram."""

SAMPLE = 512
"""Values of a segment that its histogram's range is found from."""


def dense(tensor: Any) -> Any:
    """Return the values of a tensor as a plain real one of this process: no copy but of sparse.

    Of a distributed tensor the local shard, of a sparse one the values that it stores, of a
    complex one real and imaginary parts.
    """
    tensor = tensor.detach()
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce().values()
    elif tensor.layout is not torch.strided:
        tensor = tensor.values()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


@functools.lru_cache(maxsize=32)
def sampled(
    shape: tuple[tuple[int, int], ...],
) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], ...]:
    """Choose the values that the ranges of histograms are found from.

    One random position of each of ``SAMPLE`` equal parts of a segment, so that no pattern in
    memory is met again and again; the same ones for the same shape.

    Args:
        shape: (segment, values) of each tensor.

    Returns:
        Of each tensor positions of values, ascending, and of each its place in a sample of
        (distinct segments x ``SAMPLE``).
    """
    rng = np.random.default_rng(0)
    total: dict[int, int] = {}
    for segment, n in shape:
        total[segment] = total.get(segment, 0) + n
    rows = {segment: row for row, segment in enumerate(total)}
    whole: dict[int, npt.NDArray[np.int64]] = {}
    for segment, n in total.items():
        parts = np.linspace(0, n, min(SAMPLE, n) + 1)
        drawn = parts[:-1] + rng.random(len(parts) - 1) * np.diff(parts)
        whole[segment] = np.minimum(drawn.astype(np.int64), n - 1)
    offsets = dict.fromkeys(total, 0)
    found = []
    for segment, n in shape:
        start = offsets[segment]
        first, last = np.searchsorted(whole[segment], [start, start + n])
        places = np.arange(first, last, dtype=np.int64) + rows[segment] * SAMPLE
        found.append((whole[segment][first:last] - start, places))
        offsets[segment] += n
    return tuple(found)


def flat(tensor: Any) -> Any:
    """Return a tensor's values as they lie in memory where they lie without gaps."""
    if tensor.is_contiguous():
        return tensor.view(-1)
    is_dense = sorted(zip(tensor.stride(), tensor.shape, strict=True))
    reach = 1
    for stride, size in is_dense:
        if size != 1:
            if stride != reach:
                return tensor.reshape(-1)
            reach *= size
    return tensor.as_strided((tensor.numel(),), (1,))
