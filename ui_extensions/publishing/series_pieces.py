"""Lines of metrics as published pages read them: what ``POST series`` answers, packed closer.

    piece    u32 LE bytes of the header, header (JSON), columns
    column   all first bytes of its numbers, then all second ones, …

The header is the part's, with ``same`` beside it: columns that are left out, being as another one
is. Bytes of one rank are much alike, so that deflating takes a third less than of whole numbers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlflow_weir.ui_extensions import series_parts

_WIDTHS = {"u8": 1, "u32": 4, "f32": 4, "f64": 8}
_ALIKE = ("low", "high", "mean")
_PREFIX = struct.Struct("<II")


def read_parts(body: bytes) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Yield header and columns of each part of an answer.

    Raises:
        ValueError: It is none, or it ends with an error, which the message tells.
    """
    if not body.startswith(series_parts.MAGIC):
        raise ValueError("the answer is no series")
    at = len(series_parts.MAGIC)
    while at < len(body):
        size, header_size = _PREFIX.unpack_from(body, at)
        end, start = at + 4 + size, at + _PREFIX.size
        header = json.loads(body[start : start + header_size])
        if "error" in header:
            raise ValueError(header["error"])
        columns, place = {}, start + header_size
        for name, kind, n in header["columns"]:
            n_bytes = n * _WIDTHS[kind]
            columns[name] = body[place : place + n_bytes]
            place += n_bytes + -n_bytes % 8
        yield header, columns
        at = end


def pack(header: dict[str, Any], columns: dict[str, bytes]) -> bytes:
    """Return a part as a piece."""
    kinds = {name: (kind, n) for name, kind, n in header["columns"]}
    same = {
        name: "last" for name in _ALIKE if name in columns and columns[name] == columns["last"]
    }
    kept = [name for name in kinds if name not in same]
    listed = {
        **header,
        "columns": [[name, *kinds[name]] for name in kept],
        "same": same,
    }
    text = json.dumps(listed, separators=(",", ":"), sort_keys=True).encode()
    pieces = [struct.pack("<I", len(text)), text]
    for name in kept:
        rows = np.frombuffer(columns[name], dtype=np.uint8).reshape(-1, _WIDTHS[kinds[name][0]])
        pieces.append(np.ascontiguousarray(rows.T).tobytes())
    return b"".join(pieces)
