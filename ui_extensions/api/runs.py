"""``POST runs``: the run list of a workspace.

    request  {"experiments": [id, …], "deleted": false,
              "filter": text, "search": text, "regex": false, "order": ["-metrics.loss:min", …],
              "columns": ["params.lr", …], "offset": 0, "limit": 200, "ids": true, "known": digest,
              "at"?: ms, of which the rows tell, and neither filter nor order}
    or       {"experiments", "deleted", "columns", "run_ids": [id, …], "at"?}   rows of runs by id

    200  {"rows": [{"id", "name", "experiment", "ordinal", "user", "status", "start", "end",
                    "stage", "colour"?, "cause"?, "note"?, "parent"?, "cells": [one a column]}],
          "total": all runs, "matching": those that match, "digest": of their ids,
          "ids": base64 of 16 bytes each, in order (null where the digest is the known one),
          "filter": {"text", "tree"}, "now": the server's clock in ms,
          "standing": of the experiments, just before, as ``POST changes`` has it}
    400  {"error", "position"?, "length"?}: the filter, an order or a column cannot be read
    413  more than is given at once
    404  an experiment that is not there, or not the caller's to see

Cells of metrics are numbers, or "NaN", "Infinity", "-Infinity"; of params and tags text; null
where the run has none.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable
from typing import Any

import flask

from mlflow_weir.errors import ConfigError, TooMuchAsked
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.metrics.points import INFINITY
from mlflow_weir.store.runs import filter_language, listing, run_columns
from mlflow_weir.store.runs.reading_runs import ReadableRuns
from mlflow_weir.store.runs.run_columns import Cell, Column
from mlflow_weir.ui_extensions import access
from mlflow_weir.ui_extensions.ids import is_id
from mlflow_weir.ui_extensions.questions import read_question
from mlflow_weir.ui_extensions.sights import Member, Sight

MAX_ROWS = 2_000
MAX_COLUMNS = 200
MAX_IDS = 500_000
MAX_ORDER_TERMS = 5
MAX_GROUPS = 200
_MAX_BYTES = 4 << 20


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    @access.route(routes, "/runs", "POST", content_type="application/json")
    def runs() -> flask.Response:
        return answered(answer_runs, Member())

    @access.route(routes, "/groups", "POST", content_type="application/json")
    def groups() -> flask.Response:
        return answered(answer_groups, Member())

    @access.route(routes, "/columns", "POST", content_type="application/json")
    def columns() -> flask.Response:
        return answered(answer_columns, Member())


def answered(view: Callable[..., dict[str, Any]], *sight: Sight) -> flask.Response:
    """Read the request's JSON object, and answer what ``view`` makes of it or what is wrong."""
    return answer(view, read_question(_MAX_BYTES), *sight)


def answer(view: Callable[..., dict[str, Any]], question: Fields, *sight: Sight) -> flask.Response:
    """Answer what ``view`` makes of a question, or what is wrong with it."""
    try:
        return flask.jsonify(view(question, *sight))
    except filter_language.FilterError as exc:
        return access.refusal(400, str(exc), position=exc.position, length=exc.length)
    except (ConfigError, Refused) as exc:
        return access.refusal(400, str(exc))


def answer_runs(fields: Fields, sight: Sight) -> dict[str, Any]:
    """Answer ``POST runs``."""
    runs = sight.runs_of(fields)
    columns = _columns_of(fields, sight)
    run_ids, at_ms = fields.texts("run_ids"), fields.whole_or_none("at")
    if run_ids:
        require_ids(run_ids)
        return {"rows": rows_of(runs, run_ids, columns, sight, at_ms), "now": _now_ms()}
    now_ms = _now_ms()
    # Before the list: what comes in between is then told as a change, rather than never.
    standing = runs.standing()
    tree, found = _find(fields, runs, now_ms, sight)
    offset, limit = fields.whole_or_none("offset") or 0, fields.whole_or_none("limit")
    limit = 200 if limit is None else limit
    if not (0 <= offset and 0 <= limit <= MAX_ROWS):
        raise ConfigError(f"rows {offset} to {offset + limit}: at most {MAX_ROWS:,} at once")
    digest = found.digest()
    wants_ids = fields.flag("ids") and fields.text_or_none("known") != digest
    return {
        "rows": rows_of(runs, found.run_ids[offset : offset + limit], columns, sight, at_ms),
        "total": found.total,
        "matching": len(found.run_ids),
        "digest": digest,
        "ids": packed(found.run_ids[:MAX_IDS]) if wants_ids else None,
        "filter": {
            "text": filter_language.text_of(tree),
            "tree": None if tree is None else tree.as_json(),
        },
        "now": now_ms,
        "standing": standing._asdict(),
    }


def answer_groups(fields: Fields, sight: Sight) -> dict[str, Any]:
    """Answer ``POST groups``."""
    runs = sight.runs_of(fields)
    keys = [run_columns.parse(name) for name in fields.texts("by")]
    sight.shown.require_columns(keys)
    columns = _columns_of(fields, sight)
    _, found = _find(fields, runs, _now_ms(), sight)
    grouped = runs.group(found.run_ids, keys, columns)
    return {
        "groups": [
            {
                "values": [list(v) if isinstance(v, tuple) else json_cell(v) for v in one.values],
                "n": len(one.run_ids),
                "ids": packed(one.run_ids),
                "cells": one.summaries,
            }
            for one in grouped.groups
        ],
        "n_groups": grouped.n_groups,
        "matching": len(found.run_ids),
        "total": found.total,
    }


def answer_columns(fields: Fields, sight: Sight) -> dict[str, Any]:
    """Answer ``POST columns``."""
    found = sight.runs_of(fields).known_keys()
    return {
        kind: [key._asdict() for key in keys if sight.shown.has_field(kind, key.key)]
        for kind, keys in found.items()
    }


def _columns_of(fields: Fields, sight: Sight) -> list[Column]:
    names = fields.texts("columns")
    if len(names) > MAX_COLUMNS:
        raise ConfigError(f"{len(names)} columns, at most {MAX_COLUMNS} at once")
    columns = [run_columns.parse(name) for name in names]
    sight.shown.require_columns(columns)
    return columns


def _find(
    fields: Fields, runs: ReadableRuns, now_ms: int, sight: Sight
) -> tuple[filter_language.Tree | None, listing.Found]:
    terms = fields.texts("order")
    if len(terms) > MAX_ORDER_TERMS:
        raise ConfigError(f"{len(terms)} terms to order by, at most {MAX_ORDER_TERMS}")
    order = [
        listing.OrderTerm(run_columns.parse(term.removeprefix("-")), term.startswith("-"))
        for term in terms
    ]
    tree = filter_language.parse(fields.text_or_none("filter") or "")
    sight.shown.require_columns(term.column for term in order)
    sight.shown.require_tree(tree)
    found = runs.find(
        now_ms=now_ms,
        tree=tree,
        search=fields.text_or_none("search") or "",
        is_regex=fields.flag("regex"),
        order=order,
    )
    return tree, found


def rows_of(
    runs: ReadableRuns,
    run_ids: list[str],
    columns: list[Column],
    sight: Sight,
    at_ms: int | None = None,
) -> list[dict[str, Any]]:
    """Return runs as the list shows them; what is not there is left out.

    Args:
        runs: That may be seen.
        run_ids: In the order wanted.
        columns: Of the cells.
        sight: What is shown of them.
        at_ms: As of then; None for now.
    """
    try:
        rows = runs.rows(run_ids, columns, at_ms)
    except TooMuchAsked as exc:
        raise Refused(str(exc)) from exc
    numbers = runs.numbers(rows)
    return [
        {
            **sight.shown_row(row, numbers.get(row.run_id, 0)),
            "cells": [json_cell(cell) for cell in row.cells],
        }
        for row in rows
    ]


def json_cell(value: Cell) -> Cell:
    """Return a cell as JSON can hold it."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if abs(value) >= INFINITY:
            return "Infinity" if value > 0 else "-Infinity"
    return value


def packed(run_ids: list[str]) -> str:
    """Return ids as base64 of their 16 bytes each."""
    return base64.b64encode(bytes.fromhex("".join(run_ids))).decode()


def require_ids(run_ids: list[str]) -> None:
    """Refuse what is no list of runs' ids, or a longer one than is answered."""
    if len(run_ids) > MAX_ROWS:
        raise ConfigError(f"{len(run_ids)} runs, at most {MAX_ROWS:,} at once")
    if not all(is_id(run_id) for run_id in run_ids):
        raise ConfigError("a run id that is not 32 hexadecimal digits")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
