"""Statistics of tensors against NumPy, on both ways: one by one, and fused as on a GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_here import torch

if True:  # after torch is known to be there
    from mlflow_weir.plugin.capture import fused_statistics
    from mlflow_weir.plugin.capture.tensor_statistics import Measurer, Statistics
    from mlflow_weir.plugin.capture.tensor_values import BINS, dense

WAYS = pytest.mark.parametrize("fuses", [False, True], ids=["one by one", "fused"])


TINY = 1e-42  # of float32


def measured(fuses: bool, *tensors: Any, scale: Any = None) -> Statistics:
    measurer = Measurer(fuses_on_cpu=fuses)
    result = measurer.measure([dense(t) for t in tensors], list(range(len(tensors))), scale)
    assert result.is_ready()
    return result.read()


def expect(found: Statistics, row: int, tensor: Any, *, close: float = 3e-6) -> None:
    """Compare a row with what NumPy says in double precision."""
    values = tensor.detach().to(torch.float64).reshape(-1).numpy()
    finite = values[np.isfinite(values)]
    assert found.n[row] == len(values)
    assert found.n_nan[row] == np.isnan(values).sum()
    assert found.n_inf[row] == np.isinf(values).sum()
    assert found.counts[row].sum() == len(finite)
    if not len(finite):
        assert found.norm[row] == 0
        assert np.isnan([found.mean[row], found.std[row], found.low[row], found.high[row]]).all()
        return
    largest = float(np.abs(finite).max()) or 1.0
    assert found.low[row] == finite.min()
    assert found.high[row] == finite.max()
    assert found.norm[row] == pytest.approx(
        math.sqrt(np.square(finite).sum()), rel=close, abs=TINY
    )
    assert found.mean[row] == pytest.approx(finite.mean(), rel=close, abs=close * largest + TINY)
    # Differences between large values: as good as they can be told in the type.
    assert found.std[row] == pytest.approx(finite.std(), rel=1e-4, abs=close * largest + TINY)
    first, last = found.first[row], found.last[row]
    assert first < last
    ordered = np.sort(np.clip(finite, first, last))
    edges = np.linspace(first, last, BINS + 1)[1:-1]
    below = np.cumsum(found.counts[row])[:-1]
    # A value on an edge, as rounding has it, may be on either side of it: all that equal it, too.
    near = 1e-6 * max(abs(first), abs(last))
    assert (below >= np.searchsorted(ordered, edges - near, side="left")).all()
    assert (below <= np.searchsorted(ordered, edges + near, side="right")).all()


def normal(*shape: int) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@WAYS
def test_tensors_of_every_shape_and_type(fuses: bool) -> None:
    odd = normal(1000)
    odd[3], odd[5], odd[7] = math.nan, math.inf, -math.inf
    outlier = torch.cat([normal(5000), torch.tensor([1e8])])
    tensors = [
        normal(300, 70),
        normal(5) * 1e-30,
        torch.ones(10) * 1e-3 + normal(10) * 1e-6 + 1,
        torch.zeros(1000),
        normal(4, 8, 3, 3).to(memory_format=torch.channels_last),
        normal(100, 100)[:, ::3],
        normal(140_000) + 5,  # more than one filling of the work space
        torch.full((3,), math.nan),
        odd,
        outlier,
        normal(1000).bfloat16(),
        normal(1000).half(),
        normal(1000).double() * 1e100,
        normal(1000).to(torch.float8_e4m3fn),
        normal(),
        torch.tensor([math.inf, 2.0]),
    ]
    found = measured(fuses, *tensors)
    for row, tensor in enumerate(tensors):
        expect(found, row, tensor)
    assert found.last[9] < 100  # an outlier does not stretch the range
    assert found.counts[9][-1] >= 1


@WAYS
def test_the_range_of_a_normal_distribution_is_as_said(fuses: bool) -> None:
    found = measured(fuses, normal(100_000))
    ends = (found.first[0], found.last[0])
    assert ends == pytest.approx((-4.5, 4.5), abs=0.7)  # or the extreme values
    beyond = found.counts[0][[0, -1]].sum()
    assert beyond < 0.02 * 100_000


@WAYS
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(
            st.floats(width=32, min_value=-(2.0**60), max_value=2.0**60)
            | st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
            min_size=1,
            max_size=300,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_the_values(fuses: bool, values: list[list[float]]) -> None:
    tensors = [torch.tensor(one, dtype=torch.float32) for one in values]
    found = measured(fuses, *tensors)
    for row, tensor in enumerate(tensors):
        expect(found, row, tensor)


@WAYS
def test_tensors_taken_together_are_as_one(fuses: bool) -> None:
    parts = [normal(300), normal(70_000) * 2, normal(7) + 3]
    measurer = Measurer(fuses_on_cpu=fuses)
    found = measurer.measure([*parts, normal(3)], [0, 0, 0, 1]).read()
    expect(found, 0, torch.cat(parts))
    expect(found, 1, normal(3))


def test_on_a_cpu_many_small_tensors_are_measured_together(monkeypatch: Any) -> None:
    fused: list[int] = []
    measure = fused_statistics.measure

    def noted(layout: Any, tensors: Any, *rest: Any) -> Any:
        fused.append(len(tensors))
        return measure(layout, tensors, *rest)

    monkeypatch.setattr(fused_statistics, "measure", noted)
    few = [normal(50 + i) for i in range(15)]
    for small, wanted in ((few, []), ([*few, normal(1000)], [16])):
        tensors = [normal(5000), *small, normal(3000), normal(3000)]
        segments = [*range(len(small) + 2), len(small) + 1]  # the last two are taken together
        fused.clear()
        found = Measurer().measure(tensors, segments).read()
        assert fused == wanted
        for row, tensor in enumerate(tensors[:-2]):
            expect(found, row, tensor)
        expect(found, len(small) + 1, torch.cat(tensors[-2:]))


@WAYS
def test_everything_is_divided_by_a_scale(fuses: bool) -> None:
    tensor = normal(500)
    found = measured(fuses, tensor * 1024, scale=torch.tensor(1024.0))
    expect(found, 0, tensor)


@WAYS
def test_the_same_measurer_meets_other_shapes(fuses: bool) -> None:
    measurer = Measurer(fuses_on_cpu=fuses)
    for size in (10, 10, 999, 3):
        tensor = normal(size)
        expect(measurer.measure([tensor, normal(4)], [0, 1]).read(), 0, tensor)
    assert len(measurer.measure([], []).read().norm) == 0


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_sparse_complex_and_deterministic(is_deterministic: bool) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(is_deterministic)
    try:
        embedding = torch.nn.Embedding(50, 4, sparse=True)
        embedding(torch.tensor([1, 3, 3])).sum().backward()
        found = measured(True, embedding.weight.grad, torch.complex(normal(40), normal(41)[:40]))
    finally:
        torch.use_deterministic_algorithms(before)
    assert (found.n[0], found.high[0]) == (8, 2.0)  # two rows, one of them twice
    assert found.n[1] == 80
    assert found.norm[1] == pytest.approx(
        float(torch.linalg.vector_norm(torch.complex(normal(40), normal(41)[:40]))), rel=1e-5
    )


def test_every_way_of_counting_counts_alike() -> None:
    numbers = torch.randint(-1, 128, (1000,)).float()
    wanted = np.bincount(numbers.numpy().astype(int) + 1, minlength=129)[1:].tolist()
    numbers = torch.where(numbers < 0, numbers, numbers + 0.5)
    for way in (
        fused_statistics._by_bincount,
        fused_statistics._by_histc,
        fused_statistics._by_scatter,
    ):
        assert way(numbers, 128).tolist() == wanted
