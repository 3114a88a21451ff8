"""``POST code``: what ran, from what was captured beside a run (docs/capture.md).

    request  {"run_id"}
    200      {"state": git's facts or null, "patch": {"text", "is_cut"} or null, "upstream": same,
              "untracked": [name], "environment": facts or null, "requirements": [line],
              "tags": {"weir.git.…": text}}

What is not there is null or empty; a file that is no JSON object counts as not there. Binary
contents of a patch stay in it; a page shows their sizes.
"""

from __future__ import annotations

import json
from typing import Any

import flask
import sqlalchemy as sa

from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.ui_extensions import access, artifacts, deliveries
from mlflow_weir.ui_extensions.questions import SMALL_BYTES, read_question
from mlflow_weir.ui_extensions.readable import require_readable_runs

MAX_PATCH_BYTES = 6 << 20  # captured ones have 5 MiB at most
MAX_FACTS_BYTES = 1 << 20
MAX_LINES = 20_000
FOLDER = "weir"


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/code", "POST", content_type="application/json")
    def code() -> flask.Response:
        run_id = read_question(SMALL_BYTES).text("run_id")
        require_readable_runs([run_id])
        there = {entry.path for entry in artifacts.list_folder(run_id, FOLDER)}
        if f"{FOLDER}/git" in there:
            there |= {entry.path for entry in artifacts.list_folder(run_id, f"{FOLDER}/git")}

        def text(name: str, most: int) -> tuple[str, bool] | None:
            path = f"{FOLDER}/{name}"
            if path not in there:
                return None
            found = artifacts.read_file(run_id, path, most)
            return None if found is None else (found.body.decode("utf-8", "replace"), found.is_cut)

        return flask.jsonify(
            {
                "state": _object(text("git/state.json", MAX_FACTS_BYTES)),
                "patch": _patch(text("git/diff.patch", MAX_PATCH_BYTES)),
                "upstream": _patch(text("git/upstream.patch", MAX_PATCH_BYTES)),
                "untracked": _lines(text("git/untracked.txt", MAX_FACTS_BYTES)),
                "environment": _object(text("environment.json", MAX_FACTS_BYTES)),
                "requirements": _lines(text("requirements.txt", MAX_FACTS_BYTES)),
                "tags": _tags(run_id),
            }
        )


def _object(text: tuple[str, bool] | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text[0]) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _patch(text: tuple[str, bool] | None) -> dict[str, Any] | None:
    return None if text is None else {"text": text[0], "is_cut": text[1]}


def _lines(text: tuple[str, bool] | None) -> list[str]:
    return [] if text is None else [one for one in text[0].split("\n") if one][:MAX_LINES]


def _tags(run_id: str) -> dict[str, str]:
    columns = tables.tags.c
    query = sa.select(columns.key, columns.value).where(
        columns.run_uuid == run_id, columns.key.like("weir.git.%")
    )
    with deliveries.require_store().ManagedSessionMaker() as session:
        return {key: value for key, value in session.execute(query)}
