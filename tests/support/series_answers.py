"""Answers of ``POST series`` read back, and held against what MLflow's client returns."""

from __future__ import annotations

import http.client
import itertools
import json
import math
import struct
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from mlflow.entities import Metric

from mlflow_server import ServerProcess
from mlflow_weir.store.metrics.lines import MAX_PIECES
from mlflow_weir.store.metrics.points import INFINITY
from senders import ROUTES, User

_TYPES = {"u8": "<u1", "u32": "<u4", "f32": "<f4", "f64": "<f8"}


class Line(NamedTuple):
    """One run's buckets, as a browser has them: every column has a value a bucket."""

    total: int
    is_whole: bool
    is_single: bool
    columns: dict[str, npt.NDArray[Any]]


class Part(NamedTuple):
    """One metric of the answer."""

    header: dict[str, Any]
    columns: dict[str, npt.NDArray[Any]]

    def lines(self) -> dict[int, Line]:
        """Return each run's buckets, by its place in the request."""
        found = {}
        start = self.columns["start"]
        names = [name for name in self.columns if name not in _OF_LINES]
        for at, owner in enumerate(self.columns["run"].tolist()):
            rows = slice(int(start[at]), int(start[at + 1]))
            shared = self.header.get("shared", ())
            columns = {
                name: self.columns[name][slice(None) if name in shared else rows].astype(
                    np.float64
                )
                for name in names
            }
            for name in ("low", "high", "last", "mean"):
                if name in columns:
                    columns[name] = columns[name] + self.columns["offset"][at]
            found[owner] = Line(
                int(self.columns["total"][at]),
                bool(self.columns["whole"][at]),
                self.columns["last"].dtype == np.float32,
                columns,
            )
        return found


_OF_LINES = {"run", "start", "total", "whole", "offset"}


def read_parts(body: bytes) -> list[Part]:
    """Read an answer."""
    assert body[:4] == b"WS01", body[:100]
    parts, at = [], 4
    while at < len(body):
        size, header_size = struct.unpack_from("<II", body, at)
        part = body[at : at + 4 + size]
        assert len(part) == 4 + size
        header = json.loads(part[8 : 8 + header_size])
        place, columns = 8 + header_size, {}
        for name, kind, n in header.get("columns", []):
            assert place % 8 == 0
            columns[name] = np.frombuffer(part, _TYPES[kind], n, place)
            place += -(-columns[name].nbytes // 8) * 8
        assert place == len(part)
        parts.append(Part(header, columns))
        at += 4 + size
    return parts


def ask_bytes(
    server: ServerProcess,
    question: Mapping[str, Any],
    user: User | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Send ``POST series``; return status and body."""
    address = urllib.parse.urlsplit(server.address)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=300)
    sent = {
        "Content-Type": "application/json",
        **(headers or {}),
        **(user.header() if user else {}),
    }
    try:
        connection.request("POST", f"{ROUTES}/series", json.dumps(question).encode(), sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask(server: ServerProcess, question: Mapping[str, Any]) -> list[Part]:
    """Send ``POST series``, which must be answered."""
    status, body = ask_bytes(server, question)
    assert status == 200, body[:500]
    return read_parts(body)


def in_drawn_order(history: Sequence[Metric], *, is_by_step: bool) -> list[Metric]:
    """Return a metric's points as a line joins them.

    In order of time; by step, a history that goes back too often is sorted by step instead.
    """
    if is_by_step:
        backs = sum(b.step < a.step for a, b in itertools.pairwise(history))
        if backs >= MAX_PIECES:
            return sorted(history, key=lambda m: m.step)
    return list(history)


def check_line(line: Line, points: Sequence[Metric], *, x: Sequence[float]) -> None:
    """Fail unless each bucket is exactly what it stands for, and all points are in one.

    Args:
        line: With counts.
        points: What it was made of, in drawn order.
        x: Of each point.
    """
    columns, single = line.columns, line.is_single
    counts = columns["count"].astype(int).tolist()
    assert sum(counts) == len(points)
    values = np.array([p.value for p in points])
    at = 0
    for bucket, n in enumerate(counts):
        part = values[at : at + n]
        is_inf = np.abs(part) == INFINITY
        finite = part[~np.isnan(part) & ~is_inf]
        own_x = list(x[at : at + n])
        assert own_x == sorted(own_x), "a bucket in which x goes back"
        assert columns["x"][bucket] == float(own_x[-1])
        _close(columns["low"][bucket], finite.min() if len(finite) else math.nan, single)
        _close(columns["high"][bucket], finite.max() if len(finite) else math.nan, single)
        last = part[-1]
        if abs(last) == INFINITY:
            last = math.copysign(math.inf, last)
        _close(columns["last"][bucket], last, single)
        if "mean" in columns and len(finite) and np.abs(finite).max() < 1e300:
            scale = float(np.abs(finite).max())
            error = abs(columns["mean"][bucket] - finite.mean())
            assert error <= max(1e-6 * scale, 1e-300)
        n_nan = columns["nan"][bucket] if "nan" in columns else 0
        assert n_nan == np.isnan(part).sum()
        bits = int(columns["inf"][bucket]) if "inf" in columns else 0
        assert bits == (INFINITY in part) * 1 + (-INFINITY in part) * 2
        at += n


def _close(found: float, expected: float, single: bool) -> None:
    if math.isnan(expected):
        assert math.isnan(found)
    elif not single or math.isinf(expected):
        assert found == expected
    else:
        assert abs(found - expected) <= abs(expected) * 2**-23 + 1e-45
