"""Saved views: arrangements of the workspace, kept as JSON that only the pages understand.

    personal  one for each principal and set of experiments; every save replaces it
    named     anybody's who may edit the experiments; a save adds a revision, which never changes
    state     what a link stands for: named by the hash of its content, never changes

A save names the revision it began from and is refused where there is a later one, so that nobody's
work is lost without a word. A scope is the sorted ids of the experiments that a view is about.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.store import schema

MAX_DOCUMENT_BYTES = 262_144
MAX_NAME_CHARACTERS = 250
MAX_NAMED = 500
MAX_STATES = 20_000
MAX_SCOPE_CHARACTERS = 500
PERSONAL, NAMED, STATE = "personal", "named", "state"


class ViewConflict(WeirError):
    """Somebody saved the view since.

    Attributes:
        view: What it is now.
    """

    def __init__(self, view: View) -> None:
        super().__init__(f"the view has been saved since, as revision {view.revision}")
        self.view = view


class View(NamedTuple):
    """One revision of a view.

    Attributes:
        author: Who saved this revision; "" where the server does not ask.
        document: JSON text.
    """

    view_id: str
    kind: str
    scope: str
    name: str
    revision: int
    author: str
    at_ms: int
    document: str


class Listed(NamedTuple):
    """A named view without its content."""

    view_id: str
    name: str
    revision: int
    at_ms: int


def scope_of(experiment_ids: Sequence[str]) -> str:
    """Return the scope of experiments.

    Raises:
        ConfigError: They are too many to save a view of.
    """
    scope = ",".join(map(str, sorted({int(one) for one in experiment_ids})))
    if len(scope) > MAX_SCOPE_CHARACTERS:
        raise ConfigError("too many experiments to keep a view of them")
    return scope


def personal_id(scope: str, owner: str) -> str:
    """Return the id of somebody's own view."""
    return _digest(PERSONAL, owner, scope)


def read(engine: sa.Engine, view_id: str, revision: int | None = None) -> View | None:
    """Return a view as it is, or as it was at a revision; None where there is none."""
    with engine.connect() as connection:
        return _read(connection, view_id, revision)


def list_named(engine: sa.Engine, scope: str) -> list[Listed]:
    """Return the named views of a scope, by name."""
    columns = schema.view.c
    query = (
        sa.select(columns.view_id, columns.name, columns.revision, columns.at_ms)
        .where(columns.scope == scope, columns.kind == NAMED)
        .order_by(columns.name, columns.view_id)
    )
    with engine.connect() as connection:
        return [Listed(*row) for row in connection.execute(query)]


def save_personal(engine: sa.Engine, scope: str, owner: str, document: str, revision: int) -> int:
    """Replace somebody's own view.

    Args:
        engine: That may write.
        scope: As ``scope_of`` gives it.
        owner: Whose it is, never empty.
        document: JSON text of an object.
        revision: The one it began from; 0 for the first.

    Returns:
        The new revision.

    Raises:
        ViewConflict: Saved elsewhere since, in another tab or browser.
        ConfigError: The document is too large or no object.
    """
    view_id = personal_id(scope, owner)
    row = {"view_id": view_id, "kind": PERSONAL, "scope": scope, "owner": owner, "name": ""}
    return _save(engine, row, owner, document, revision, keeps_old=False)


def save_named(
    engine: sa.Engine,
    scope: str,
    name: str,
    author: str,
    document: str,
    view_id: str | None,
    revision: int,
) -> tuple[str, int]:
    """Save a named view, new where ``view_id`` is None.

    Returns:
        Its id and the new revision.

    Raises:
        ViewConflict: Somebody saved it since ``revision``.
        ConfigError: No such view in the scope, a name or document that cannot be, too many views.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise ConfigError(f"a view's name has 1 to {MAX_NAME_CHARACTERS} characters")
    if view_id is None:
        _require_room(engine, scope, NAMED, MAX_NAMED)
        view_id, revision = secrets.token_hex(16), 0
    else:
        before = read(engine, view_id)
        if before is None or before.kind != NAMED or before.scope != scope:
            raise ConfigError("there is no such view")
    row = {"view_id": view_id, "kind": NAMED, "scope": scope, "owner": author, "name": name}
    return view_id, _save(engine, row, author, document, revision, keeps_old=True)


def keep_state(engine: sa.Engine, scope: str, author: str, document: str) -> str:
    """Keep what a link stands for; the same content has the same id.

    Raises:
        ConfigError: Too large, no object, or too many are kept already.
    """
    _require_document(document)
    view_id = _digest(STATE, scope, document)
    if read(engine, view_id) is not None:
        return view_id
    _require_room(engine, scope, STATE, MAX_STATES)
    row = {"view_id": view_id, "kind": STATE, "scope": scope, "owner": author, "name": ""}
    try:
        _save(engine, row, author, document, 0, keeps_old=True)
    except ViewConflict:
        pass  # the same, kept at the same moment
    return view_id


def delete(engine: sa.Engine, view_id: str) -> None:
    """Delete a view with all its revisions."""
    with engine.begin() as connection:
        for table in (schema.view_revision, schema.view):
            connection.execute(sa.delete(table).where(table.c.view_id == view_id))


def _save(
    engine: sa.Engine,
    row: dict[str, Any],
    author: str,
    document: str,
    revision: int,
    *,
    keeps_old: bool,
) -> int:
    _require_document(document)
    view_id, now_ms = row["view_id"], time.time_ns() // 1_000_000
    columns = schema.view.c
    try:
        with engine.begin() as connection:
            if revision == 0:
                connection.execute(sa.insert(schema.view).values(**row, revision=1, at_ms=now_ms))
            else:
                changed = connection.execute(
                    sa.update(schema.view)
                    .where(columns.view_id == view_id, columns.revision == revision)
                    .values(revision=revision + 1, at_ms=now_ms, name=row["name"])
                )
                if changed.rowcount != 1:
                    raise _conflict(connection, view_id)
            if not keeps_old:
                connection.execute(
                    sa.delete(schema.view_revision).where(
                        schema.view_revision.c.view_id == view_id
                    )
                )
            connection.execute(
                sa.insert(schema.view_revision).values(
                    view_id=view_id,
                    revision=revision + 1,
                    author=author,
                    at_ms=now_ms,
                    document=document,
                )
            )
    except sa.exc.IntegrityError:
        with engine.connect() as connection:
            raise _conflict(connection, view_id) from None
    return revision + 1


def _conflict(connection: sa.Connection, view_id: str) -> WeirError:
    view = _read(connection, view_id, None)
    return ConfigError("there is no such view any more") if view is None else ViewConflict(view)


def _read(connection: sa.Connection, view_id: str, revision: int | None) -> View | None:
    view, one = schema.view.c, schema.view_revision.c
    query = (
        sa.select(
            view.view_id,
            view.kind,
            view.scope,
            view.name,
            one.revision,
            one.author,
            one.at_ms,
            one.document,
        )
        .join_from(schema.view, schema.view_revision, one.view_id == view.view_id)
        .where(
            view.view_id == view_id,
            one.revision == (view.revision if revision is None else revision),
        )
    )
    row = connection.execute(query).first()
    return None if row is None else View(*row)


def _require_document(document: str) -> None:
    if len(document.encode("utf-8", "replace")) > MAX_DOCUMENT_BYTES:
        raise ConfigError(f"a view has at most {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        is_object = isinstance(json.loads(document), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise ConfigError("a view is a JSON object")


def _require_room(engine: sa.Engine, scope: str, kind: str, limit: int) -> None:
    columns = schema.view.c
    query = sa.select(sa.func.count()).where(columns.scope == scope, columns.kind == kind)
    with engine.connect() as connection:
        if connection.execute(query).scalar_one() >= limit:
            raise ConfigError(f"{limit:,} views are kept of these experiments: delete some")


def _digest(*parts: str) -> str:
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=16).hexdigest()


def filter_of(document: Mapping[str, Any], more: str = "") -> dict[str, Any]:
    """Return which runs a view shows, as ``POST runs`` takes a filter.

    Args:
        document: The view.
        more: A filter that they have to pass, too.
    """
    texts = [str(document.get("filter") or ""), more]
    if document.get("hidesCrashed") is True:
        texts.append("not status in ('FAILED', 'KILLED')")
    return {
        "filter": " and ".join(f"({text})" for text in texts if text.strip()),
        "search": str(document.get("search") or ""),
        "regex": document.get("isRegex") is True,
    }


def read_named(
    ask: Callable[[str, dict[str, Any]], Any], experiment_ids: Sequence[str], name: str
) -> dict[str, Any]:
    """Return the document of the named view that a server has under a name.

    Args:
        ask: Asks one of the server's routes and returns its answer.
        experiment_ids: Whose view it is.
        name: Matched exactly.

    Raises:
        ConfigError: There is none; the message names those that there are.
    """
    named = ask("views", {"experiments": list(experiment_ids)})["named"]
    ids = [one["id"] for one in named if one["name"] == name]
    if not ids:
        others = ", ".join(sorted(one["name"] for one in named)) or "it has none"
        raise ConfigError(f"the experiment has no view {name!r:.100}: {others:.300}")
    document: dict[str, Any] = json.loads(ask("views/read", {"id": ids[0]})["document"])
    return document
