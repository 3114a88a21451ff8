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
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.store.sharing.shown import Shown
from mlflow_weir.ui_extensions import access, artifacts, deliveries
from mlflow_weir.ui_extensions.questions import SMALL_BYTES, read_question
from mlflow_weir.ui_extensions.sights import Member, Sight

MAX_PATCH_BYTES = 6 << 20  # captured ones have 5 MiB at most
MAX_FACTS_BYTES = 1 << 20
MAX_LINES = 20_000
FOLDER = "weir"


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/code", "POST", content_type="application/json")
    def code() -> flask.Response:
        return flask.jsonify(answer_code(read_question(SMALL_BYTES), Member()))


def answer_code(question: Fields, sight: Sight) -> dict[str, Any]:
    """Answer ``POST code``; what is not shown is null or empty, as what is not there."""
    run_id = question.text("run_id")
    sight.require_run(run_id)
    shown = sight.shown
    has_code = shown.is_everything or shown.code
    has_patch = shown.is_everything or shown.patch
    has_environment = shown.is_everything or shown.command or shown.host
    there: set[str] = set()
    if has_code or has_patch or has_environment:
        there = {e.path for e in artifacts.list_folder(run_id, FOLDER, sight.fetch)}
    if f"{FOLDER}/git" in there:
        there |= {e.path for e in artifacts.list_folder(run_id, f"{FOLDER}/git", sight.fetch)}

    def text(name: str, most: int, is_shown: bool) -> tuple[str, bool] | None:
        path = f"{FOLDER}/{name}"
        if not is_shown or path not in there:
            return None
        found = artifacts.read_file(run_id, path, most, sight.fetch)
        return None if found is None else (found.body.decode("utf-8", "replace"), found.is_cut)

    state = _object(text("git/state.json", MAX_FACTS_BYTES, has_code))
    environment = _object(text("environment.json", MAX_FACTS_BYTES, has_environment))
    requirements = _lines(text("requirements.txt", MAX_FACTS_BYTES, has_code))
    has_addresses = shown.is_everything or shown.git_url
    return {
        "state": state if shown.is_everything else _only(state, _state_fields(shown)),
        "patch": _patch(text("git/diff.patch", MAX_PATCH_BYTES, has_patch)),
        "upstream": _patch(text("git/upstream.patch", MAX_PATCH_BYTES, has_patch)),
        "untracked": _lines(text("git/untracked.txt", MAX_FACTS_BYTES, has_code)),
        "environment": environment
        if shown.is_everything
        else _only(environment, _environment_fields(shown)),
        "requirements": requirements if has_addresses else _without_addresses(requirements),
        "tags": _tags(run_id, sight),
    }


def _only(found: dict[str, Any] | None, names: frozenset[str]) -> dict[str, Any] | None:
    """Return the fields of those names: a field that a later version adds is not among them."""
    return None if found is None else {key: found[key] for key in names if key in found}


def _without_addresses(requirements: list[str]) -> list[str]:
    """Return the packages without where they came from, which may be a folder or a repository."""
    return [line.partition(" @ ")[0] for line in requirements if not line.startswith("#")]


def _state_fields(shown: Shown) -> frozenset[str]:
    named = {"commit", "branch", "is_dirty", "tags", "ahead", "behind", "upstream_commit"}
    return frozenset(named | ({"remote"} if shown.git_url else set()))


def _environment_fields(shown: Shown) -> frozenset[str]:
    command = {"argv", "working_directory", "executable"}
    host = {
        *("python", "implementation", "platform", "system", "host", "cpu", "memory_bytes"),
        *("container", "container_image"),
    }
    return frozenset((command if shown.command else set()) | (host if shown.host else set()))


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


def _tags(run_id: str, sight: Sight) -> dict[str, str]:
    facts = sight.facts(run_id)
    if facts is not None:
        return {k: v for k, v in facts["tags"].items() if k.startswith("weir.git.")}
    columns = tables.tags.c
    query = sa.select(columns.key, columns.value).where(
        columns.run_uuid == run_id, columns.key.like("weir.git.%")
    )
    with deliveries.require_store().ManagedSessionMaker() as session:
        return {key: value for key, value in session.execute(query) if sight.shown.has_tag(key)}
