"""Runs that retention leaves alone, and why.

    still owned    a living process answers for the run
    registered     a registered model version was made of it, or of a model that it logged
    shared         a link shows it, by name or by the filter of an experiment; expired ones aside
    in a report    a panel of a draft or of a published revision names it or its experiment
    pinned         somebody's own view, or a named one, has it pinned in the workspace

What shows runs by a filter keeps all runs of its experiments: what the filter finds changes, and
nobody is to find a report or a link empty. A published page (``weir publish``) is a copy and needs
no run; the report it may have been made of does.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.sharing import views

_versions = sa.table(
    "model_versions", *map(sa.column, ("name", "version", "run_id", "source", "current_stage"))
)
_DELETED_VERSION = "Deleted_Internal"  # mlflow.entities.model_registry: STAGE_DELETED_INTERNAL
_IN_LIST = 500


class _Shown(NamedTuple):
    """What one report or link shows: these runs, or all of these experiments."""

    what: str
    run_ids: frozenset[str]
    experiment_ids: frozenset[str]


def reasons(
    connection: sa.Connection, runs: Mapping[str, str], now_ms: int
) -> dict[str, list[str]]:
    """Say why runs are kept.

    Args:
        connection: Reading.
        runs: The experiment of each run that is asked about, by run id.
        now_ms: By which a link has expired or not.

    Returns:
        For each run that is kept every reason, in words; others are absent.
    """
    found: dict[str, list[str]] = defaultdict(list)
    run_ids = sorted(runs)
    for start in range(0, len(run_ids), _IN_LIST):
        ids = run_ids[start : start + _IN_LIST]
        owner = schema.owner.c.run_uuid
        owned = sa.select(owner).where(owner.in_(ids)).distinct()
        for run_id in connection.execute(owned).scalars():
            found[run_id].append("a process answers for it")
        for run_id, name, version in _registered(connection, ids):
            found[run_id].append(f"registered as {name!r} version {version}")
    for shown in [*_links(connection, now_ms), *_reports(connection)]:
        for run_id in shown.run_ids & runs.keys():
            found[run_id].append(shown.what)
        if shown.experiment_ids:
            for run_id, experiment_id in runs.items():
                if experiment_id in shown.experiment_ids:
                    found[run_id].append(f"{shown.what}, by a filter")
    for run_id in _pinned(connection) & runs.keys():
        found[run_id].append("pinned in a view")
    return {run_id: list(dict.fromkeys(why)) for run_id, why in found.items()}


def _registered(
    connection: sa.Connection, run_ids: Sequence[str]
) -> Iterator[tuple[str, str, int]]:
    columns, models = _versions.c, tables.logged_models.c
    is_there = columns.current_stage.is_distinct_from(_DELETED_VERSION)
    for run_id, name, version in connection.execute(
        sa.select(columns.run_id, columns.name, columns.version)
        .where(columns.run_id.in_(run_ids), is_there)
        .order_by(columns.run_id, columns.name, columns.version)
    ):
        yield run_id, name, version
    logged = {
        model_id: run_id
        for model_id, run_id in connection.execute(
            sa.select(models.model_id, models.source_run_id).where(
                models.source_run_id.in_(run_ids)
            )
        )
    }
    sources = [f"models:/{model_id}" for model_id in logged]
    for start in range(0, len(sources), _IN_LIST):
        for source, name, version in connection.execute(
            sa.select(columns.source, columns.name, columns.version)
            .where(columns.source.in_(sources[start : start + _IN_LIST]), is_there)
            .order_by(columns.name, columns.version)
        ):
            model_id = source.removeprefix("models:/")
            if model_id in logged:  # MySQL's collations match more than the same text
                yield logged[model_id], name, version


def _links(connection: sa.Connection, now_ms: int) -> Iterator[_Shown]:
    columns, named = schema.share.c, schema.share_run.c
    is_open = sa.and_(
        columns.revoked_ms.is_(None),
        columns.is_preview.is_(False),
        sa.or_(columns.expires_ms.is_(None), columns.expires_ms > now_ms),
    )
    of_link: dict[str, set[str]] = defaultdict(set)
    for share_id, run_id in connection.execute(
        sa.select(named.share_id, named.run_uuid).where(
            named.share_id.in_(sa.select(columns.share_id).where(is_open))
        )
    ):
        of_link[share_id].add(run_id)
    for share_id, title, scope, n_runs in connection.execute(
        sa.select(columns.share_id, columns.title, columns.scope, columns.n_runs)
        .where(is_open)
        .order_by(columns.created_ms, columns.share_id)
    ):
        yield _Shown(
            f"shown by the link {title!r}",
            frozenset(of_link[share_id]),
            frozenset(scope.split(",") if n_runs is None else ()),
        )


def _reports(connection: sa.Connection) -> Iterator[_Shown]:
    drafts, published = schema.report.c, schema.report_revision.c
    for query in (
        sa.select(drafts.title, drafts.document).order_by(drafts.report_id),
        sa.select(published.title, published.document).order_by(
            published.report_id, published.revision
        ),
    ):
        for title, document in connection.execute(query):
            run_ids: set[str] = set()
            experiment_ids: set[str] = set()
            for panel in _panels(json.loads(document)):
                runs = panel["runs"]
                if runs["ids"] is None:
                    experiment_ids.update(map(str, runs["experiments"]))
                else:
                    run_ids.update(runs["ids"])
            yield _Shown(f"in the report {title!r}", frozenset(run_ids), frozenset(experiment_ids))


def _panels(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if node.get("type") == "panel":
        yield node["attrs"]["panel"]
    for child in node.get("content", ()):
        yield from _panels(child)


def _pinned(connection: sa.Connection) -> set[str]:
    view, revision = schema.view.c, schema.view_revision.c
    found: set[str] = set()
    for (document,) in connection.execute(
        sa.select(revision.document)
        .join_from(
            schema.view,
            schema.view_revision,
            sa.and_(revision.view_id == view.view_id, revision.revision == view.revision),
        )
        .where(view.kind.in_([views.PERSONAL, views.NAMED]))
    ):
        pins = json.loads(document).get("pins")
        found.update(one for one in pins or () if isinstance(one, str))
    return found
