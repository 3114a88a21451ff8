"""``POST histograms``: what ``mlflow_weir.watch`` saw of a run's gradients or parameters.

    request   {"run_id": 32 hex digits, "kind": "gradients" or "parameters",
               "key": one series, or none for the norms of all, "max_steps": 500, "after"?: a step}

    200  without a key: a matrix, one row a series
         {"kind", "keys": […], "steps": […], "timestamps": [ms, …],
          "norms": float32, NaN where there is none, "bad": uint32, values NaN or infinite}
    200  with a key: one histogram of 64 bins a step
         {"kind", "key", "steps", "timestamps", "norms", "first", "last": float32,
          "nan", "inf": uint32, "counts": uint32, 64 a step}
    400  a field is missing or not what it should be
    404  no such run, or not the caller's to see; nothing was watched: empty lists
    413  more than 4,000 steps asked for

Numbers of a named type are base64 of little-endian bytes, row by row. Of more steps than asked for
an even choice is returned, first and last among them; ``bad`` of a column counts all steps since
the one before, so that no NaN is passed over. ``first`` and ``last`` are the outer edges; values
beyond them are in the outermost bins.

With a key and ``after``, a step, the answer has the first ones that are greater, none left out,
and ``after`` again; ``norms``, ``first`` and ``last`` are float64, as they are kept. So all of a
series is asked for.
"""

from __future__ import annotations

import base64
from typing import Any

import flask
import numpy as np
import numpy.typing as npt

from mlflow_weir.store.delivery.connection import reading
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.histograms.encoding import KINDS, Table
from mlflow_weir.store.histograms.reading import read_norms, read_series
from mlflow_weir.store.sharing.shown import NOT_SHOWN
from mlflow_weir.ui_extensions import access, deliveries
from mlflow_weir.ui_extensions.questions import read_question
from mlflow_weir.ui_extensions.sights import Member, Sight

MAX_STEPS = 4_000
_DEFAULT_STEPS = 500
_MAX_BYTES = 1 << 16


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/histograms", "POST", content_type="application/json")
    def histograms() -> flask.Response:
        return answer_histograms(read_question(_MAX_BYTES), Member())


def answer_histograms(fields: Fields, sight: Sight) -> flask.Response:
    """Answer ``POST histograms``."""
    engine = deliveries.engine()
    try:
        run_id, kind = fields.text("run_id"), fields.text("kind")
        key, steps = fields.text_or_none("key"), fields.whole_or_none("max_steps")
        after = fields.whole_or_none("after")
    except Refused as exc:
        return access.refusal(400, str(exc))
    max_steps = _DEFAULT_STEPS if steps is None else steps
    if kind not in KINDS:
        return access.refusal(400, f"kind: expected {' or '.join(KINDS)}")
    if max_steps < 2:
        return access.refusal(400, "max_steps: expected 2 or more")
    if max_steps > MAX_STEPS:
        return access.refusal(413, f"{max_steps} steps, at most {MAX_STEPS} at once")
    sight.require_run(run_id)
    if not sight.shown.is_everything and not sight.shown.histograms:
        return access.refusal(404, NOT_SHOWN)
    until = sight.until_ms([run_id])
    last_ms = None if until is None else until[0]
    with reading(engine) as connection:
        if key is None:
            return flask.jsonify(_norms(connection, run_id, kind, max_steps, last_ms))
        found = read_series(connection, run_id, kind, key, max_steps, after)
    if found is not None and last_ms is not None:
        found = found.take(found.timestamp <= last_ms)
    shown = {"kind": kind, "key": _shown(key), **_series(found, "<f4" if after is None else "<f8")}
    return flask.jsonify(shown if after is None else {**shown, "after": after})


def _norms(
    connection: Any, run_id: str, kind: str, max_steps: int, last_ms: int | None
) -> dict[str, Any]:
    found = read_norms(connection, run_id, kind, max_steps)
    if found is not None and last_ms is not None:
        found = found.at(found.timestamp <= last_ms)
    if found is None:
        nothing = {"keys": [], "steps": [], "timestamps": [], "norms": "", "bad": ""}
        return {"kind": kind, **nothing}
    return {
        "kind": kind,
        "keys": [_shown(key) for key in found.keys],
        "steps": found.step.tolist(),
        "timestamps": found.timestamp.tolist(),
        "norms": _bytes(found.norm, "<f4"),
        "bad": _bytes(found.n_bad, "<u4"),
    }


def _series(found: Table | None, number: str) -> dict[str, Any]:
    names = ("norms", "first", "last", "nan", "inf", "counts")
    if found is None:
        return {"steps": [], "timestamps": [], **dict.fromkeys(names, "")}
    return {
        "steps": found.step.tolist(),
        "timestamps": found.timestamp.tolist(),
        "norms": _bytes(found.norm, number),
        "first": _bytes(found.first, number),
        "last": _bytes(found.last, number),
        "nan": _bytes(found.n_nan, "<u4"),
        "inf": _bytes(found.n_inf, "<u4"),
        "counts": _bytes(found.counts, "<u4"),
    }


def _bytes(numbers: npt.NDArray[Any], kind: str) -> str:
    if kind == "<u4":
        numbers = np.minimum(numbers, 0xFFFF_FFFF)
    with np.errstate(over="ignore"):
        return base64.b64encode(numbers.astype(kind).tobytes()).decode("ascii")


def _shown(key: str) -> str:
    """Return a key as UTF-8 can carry it."""
    return key.encode("utf-8", "replace").decode("utf-8")
