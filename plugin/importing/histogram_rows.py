"""Histograms of other trackers in the bins of ours: 64 equal ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlflow_weir.store.delivery.records import encode_histograms
from mlflow_weir.store.histograms.encoding import BINS, KINDS, Floats, Int64s, Table, encode


class HistogramRow(NamedTuple):
    """One histogram.

    Attributes:
        kind: One of ``KINDS``.
        key: The series, such as ``layer1.weight``.
        first: Lower edge of the first bin.
        last: Upper edge of the last.
        counts: (``BINS``,)
    """

    kind: str
    key: str
    step: int
    timestamp: int
    first: float
    last: float
    counts: Int64s

    @classmethod
    def of(cls, name: str, step: int, at_ms: int, edges: Any, counts: Any) -> HistogramRow | None:
        """Return a histogram of gradients or parameters; None for any other, and for no numbers.

        Args:
            name: Such as ``gradients/layer1.weight``.
            step: Of the training.
            at_ms: When, on the wall clock.
            edges: (n + 1,) ascending.
            counts: (n,) of the values between two edges.
        """
        kind, _, key = name.partition("/")
        if kind not in KINDS or not key:
            return None
        try:
            at = np.asarray(edges, np.float64)
            heights = np.asarray(counts, np.float64)
        except (TypeError, ValueError):
            return None
        good = at.ndim == 1 and heights.shape == (len(at) - 1,) and len(heights) > 0
        if not good or not np.isfinite(at).all() or (np.diff(at) < 0).any() or (heights < 0).any():
            return None
        return cls(kind, key, step, at_ms, float(at[0]), float(at[-1]), _rebinned(at, heights))


def _rebinned(edges: Floats, counts: Floats) -> Int64s:
    """Spread counts over equal bins as if values lay evenly between edges; their sum stays."""
    total = np.concatenate([[0.0], np.cumsum(counts)])
    if len(counts) == BINS and np.allclose(np.diff(edges), (edges[-1] - edges[0]) / BINS):
        same: Int64s = np.rint(counts).astype(np.int64)
        return same
    if edges[0] == edges[-1]:
        found = np.zeros(BINS, np.int64)
        found[BINS // 2] = round(float(total[-1]))
        return found
    # Edges that coincide hold counts at one value: a step up, which interp takes from the right.
    reached = np.interp(np.linspace(edges[0], edges[-1], BINS + 1), edges, total)
    reached[0], reached[-1] = 0.0, total[-1]
    spread: Int64s = np.diff(np.rint(reached)).astype(np.int64)
    return spread


def encode_rows(run_id: str, rows: Sequence[HistogramRow]) -> Iterator[bytes]:
    """Give the records of histograms, one a kind.

    Their norms are not known, and NaN.
    """
    for kind in KINDS if rows else ():
        of_kind = [row for row in rows if row.kind == kind]
        if not of_kind:
            continue
        n = len(of_kind)
        keys = tuple(dict.fromkeys(row.key for row in of_kind))
        number = {key: i for i, key in enumerate(keys)}
        table = Table(
            kind,
            keys,
            np.array([number[row.key] for row in of_kind], np.int64),
            np.array([row.step for row in of_kind], np.int64),
            np.array([row.timestamp for row in of_kind], np.int64),
            np.full(n, np.nan),
            np.array([row.first for row in of_kind]),
            np.array([row.last for row in of_kind]),
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
            np.stack([row.counts for row in of_kind]),
        )
        yield encode_histograms(run_id, encode(table))
