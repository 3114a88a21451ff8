"""How series go over the wire: typed arrays that a browser reads as they are.

    body     b"WS01", then parts until the end
    part     u32 LE bytes that follow, u32 LE bytes of the header, header, columns
    header   JSON, padded with spaces so that the columns begin at a multiple of 8 in the part
    column   little-endian numbers, padded with zeros to a multiple of 8 bytes

The header's ``columns`` lists name, type (``u8 u32 f32 f64``) and length of each column in order.
``shared`` names those that are the same in every line, and are there once.
A header with ``error`` alone says that this part, and what would have followed, could not be read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlflow_weir.store.metrics.bands import Bands
from mlflow_weir.store.metrics.lines import Lines
from mlflow_weir.store.metrics.points import Float64Column, Int64Column

MAGIC = b"WS01"
_PREFIX = struct.Struct("<II")
_TYPES = {"u8": "<u1", "u32": "<u4", "f32": "<f4", "f64": "<f8"}
# Beyond these a single-precision number is infinite, or has lost digits.
_F32_LARGEST, _F32_SMALLEST = 3e38, 2e-38

# Columns of buckets that may be the same in every line; values never are.
_OF_BUCKETS = {"x", "count"}

Column = tuple[str, str, npt.NDArray[Any]]


def shared_once(columns: Sequence[Column], start: Int64Column) -> tuple[list[Column], list[str]]:
    """Keep columns that are the same in every line once: the steps of a sweep are half of it.

    Args:
        columns: Of lines or of their buckets.
        start: (L + 1,) where each line's buckets begin.

    Returns:
        The columns, and the names of those that are shared now.
    """
    sizes = np.diff(start)
    if len(sizes) < 2 or sizes[0] == 0 or bool((sizes != sizes[0]).any()):
        return list(columns), []
    size, kept, shared = int(sizes[0]), [], []
    for name, kind, data in columns:
        rows = data.reshape(-1, size) if name in _OF_BUCKETS else data
        if name in _OF_BUCKETS and bool((rows == rows[0]).all()):
            shared.append(name)
            kept.append((name, kind, rows[0]))
        else:
            kept.append((name, kind, data))
    return kept, shared


def encode_part(header: Mapping[str, Any], columns: Sequence[Column]) -> bytes:
    """Write one part.

    Args:
        header: Plain data.
        columns: Name, type and values of each.
    """
    listed = {**header, "columns": [[name, kind, len(data)] for name, kind, data in columns]}
    text = json.dumps(listed, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(len(text) + _PREFIX.size) % 8)
    pieces = [text]
    for _, kind, data in columns:
        raw = np.ascontiguousarray(data).astype(_TYPES[kind], copy=False).tobytes()
        pieces += [raw, bytes(-len(raw) % 8)]
    body = b"".join(pieces)
    return _PREFIX.pack(len(body) + 4, len(text)) + body


def encode_error(message: str) -> bytes:
    """Write the part that says why there is no other."""
    return encode_part({"error": message}, [])


def line_columns(
    lines: Lines,
    x: Float64Column | Int64Column,
    *,
    totals: Int64Column,
    is_whole: npt.NDArray[np.bool_],
    want: frozenset[str],
) -> list[Column]:
    """Return the columns of lines.

    Args:
        lines: What is drawn.
        x: (B,) of each bucket's last point.
        totals: (n_runs,) all points of each run.
        is_whole: (n_runs,) the line replaces what is there, rather than going on from it.
        want: ``mean`` for means and counts, ``count`` for counts, ``exact`` for double precision.
    """
    sizes = np.diff(lines.start)
    offset, kind = _offsets(lines, sizes, is_exact="exact" in want)
    shift = np.repeat(offset, sizes)
    columns: list[Column] = [
        ("run", "u32", lines.owner),
        ("start", "u32", lines.start),
        ("total", "f64", totals[lines.owner]),
        ("whole", "u8", is_whole[lines.owner]),
        ("offset", "f64", offset),
        ("x", "f64", x),
        ("low", kind, lines.low - shift),
        ("high", kind, lines.high - shift),
        ("last", kind, lines.last - shift),
    ]
    if "mean" in want:
        columns.append(("mean", kind, lines.mean - shift))
    if want & {"mean", "count"}:
        columns.append(("count", "u32", lines.count))
    if lines.n_nan.any():
        columns.append(("nan", "u32", lines.n_nan))
    if lines.infinities.any():
        columns.append(("inf", "u8", lines.infinities))
    if lines.piece.any():
        columns.append(("piece", "u8", np.minimum(lines.piece, 255)))
    return columns


def _offsets(lines: Lines, sizes: Int64Column, *, is_exact: bool) -> tuple[Float64Column, str]:
    """Choose what values are relative to, so that single precision keeps their digits.

    A line that varies by less than half of its distance from zero is written relative to its
    value nearest to zero; others relative to 0, as their small values would lose by it.
    """
    offset = np.zeros(len(sizes))
    if not len(lines):
        return offset, "f64" if is_exact else "f32"
    starts = lines.start[:-1]
    low = np.minimum.reduceat(np.where(np.isnan(lines.low), np.inf, lines.low), starts)
    high = np.maximum.reduceat(np.where(np.isnan(lines.high), -np.inf, lines.high), starts)
    size = np.maximum(np.abs(lines.low), np.abs(lines.high))
    extreme = (size > _F32_LARGEST) | ((size < _F32_SMALLEST) & (size > 0))
    if is_exact or bool(extreme.any()):
        return offset, "f64"
    with np.errstate(invalid="ignore"):  # a line without a finite value: inf - inf
        above = (low > 0) & (high - low < 0.5 * low)
        below = (high < 0) & (high - low < -0.5 * high)
    offset = np.where(above, low, np.where(below, high, 0.0))
    return offset, "f32"


def band_columns(bands: Bands, x: Float64Column | Int64Column) -> list[Column]:
    """Return the columns of groups."""
    return [
        ("group", "u32", bands.group),
        ("start", "u32", bands.start),
        ("x", "f64", x),
        ("n", "u32", bands.n),
        ("centre", "f64", bands.centre),
        ("low", "f64", bands.low),
        ("high", "f64", bands.high),
    ]
