"""Reports: documents about experiments, with a draft, published revisions, comments and pictures.

The draft is saved as it is written and counts its saves; a save names the draft that it began from
and is refused where there is a later one, so that nobody's work is lost without a word. Publishing
makes a revision of the draft, which never changes; a revision is restored by making it the draft.
A scope is the sorted ids of the experiments that a report is about.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.store import schema
from mlflow_weir.store.sharing import report_document
from mlflow_weir.store.sharing.report_panels import PANEL_ID

MAX_TITLE_CHARACTERS = 250
MAX_REPORTS = 2_000
"""Of one set of experiments."""
MAX_REVISIONS = 500
MAX_COMMENTS = 2_000
MAX_COMMENT_CHARACTERS = 5_000
MAX_QUOTE_CHARACTERS = 250
MAX_IMAGE_BYTES = 4 << 20
MAX_IMAGES_BYTES = 64 << 20
MAX_SCOPE_CHARACTERS = 500
_KINDS_OF_IMAGE = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


class Report(NamedTuple):
    """A report without its content.

    Attributes:
        workspace: Of its experiments; None where the server has none.
        created_by: "" where the server did not ask, as in ``saved_by``.
        draft: Grows with every save.
        title: Of the draft.
        revision: The last one that was published; 0 where none was.
        published_draft: The draft that it was made of.
    """

    report_id: str
    experiment_ids: tuple[str, ...]
    workspace: str | None
    created_ms: int
    created_by: str
    draft: int
    title: str
    saved_ms: int
    saved_by: str
    revision: int
    published_draft: int


class Revision(NamedTuple):
    """What was published, without its content."""

    revision: int
    title: str
    author: str
    at_ms: int


class Comment(NamedTuple):
    """What somebody says of a report, of the words they quote, or of a panel.

    Attributes:
        quote: The words; of a panel what it was called then.
        panel: Its id; None where it is about words, or was said of a panel when these had no ids.
    """

    comment_id: str
    author: str
    at_ms: int
    quote: str
    panel: str | None
    text: str
    resolved_ms: int | None
    resolved_by: str


class Image(NamedTuple):
    """A picture."""

    content_type: str
    body: bytes


class ReportConflict(WeirError):
    """Somebody saved the draft since.

    Attributes:
        report: What it is now.
        document: JSON text of what the draft is now.
    """

    def __init__(self, report: Report, document: str) -> None:
        super().__init__("the report has been changed since")
        self.report = report
        self.document = document


def scope_of(experiment_ids: Sequence[str]) -> str:
    """Return the scope of experiments.

    Raises:
        ConfigError: There are none, or too many.
    """
    scope = ",".join(map(str, sorted({int(one) for one in experiment_ids})))
    if not scope or len(scope) > MAX_SCOPE_CHARACTERS:
        raise ConfigError("a report is about one experiment or a few")
    return scope


def create(
    engine: sa.Engine,
    experiment_ids: Sequence[str],
    workspace: str | None,
    title: str,
    document: Any,
    author: str,
) -> Report:
    """Begin a report.

    Args:
        engine: That may write.
        experiment_ids: At least one.
        workspace: Of the experiments.
        title: What readers see first.
        document: As ``report_document.check`` takes it.
        author: Who begins it.

    Raises:
        ConfigError: A title or document that cannot be, or too many reports.
    """
    row = {
        "report_id": secrets.token_hex(16),
        "scope": scope_of(experiment_ids),
        "workspace": workspace,
        "created_ms": _now_ms(),
        "created_by": author[:255],
        "draft": 1,
        "title": _title(title),
        "document": _written(document),
        "saved_ms": _now_ms(),
        "saved_by": author[:255],
        "revision": 0,
        "published_draft": 0,
    }
    columns = schema.report.c
    with engine.begin() as connection:
        count = sa.select(sa.func.count()).where(columns.scope == row["scope"])
        if connection.execute(count).scalar_one() >= MAX_REPORTS:
            raise ConfigError(f"{MAX_REPORTS:,} reports are kept of these experiments")
        connection.execute(sa.insert(schema.report).values(**row))
    return _report_of(row)


def read(engine: sa.Engine, report_id: str) -> Report | None:
    """Return a report without its content; None where there is none."""
    with engine.connect() as connection:
        return _read(connection, report_id)


def list_reports(engine: sa.Engine, workspace: str | None) -> list[Report]:
    """Return the reports of a workspace, the last saved first."""
    columns = schema.report.c
    query = sa.select(*_HEADS).order_by(columns.saved_ms.desc(), columns.report_id)
    if workspace is not None:
        query = query.where(columns.workspace == workspace)
    with engine.connect() as connection:
        return [_report_of(row) for row in connection.execute(query).mappings()]


def read_draft(engine: sa.Engine, report_id: str) -> str | None:
    """Return the draft as JSON text; None where there is no such report."""
    query = sa.select(schema.report.c.document).where(schema.report.c.report_id == report_id)
    with engine.connect() as connection:
        found: str | None = connection.execute(query).scalar()
        return found


def read_revision(engine: sa.Engine, report_id: str, revision: int) -> tuple[Revision, str] | None:
    """Return what was published, with its content as JSON text; None where nothing was."""
    columns = schema.report_revision.c
    query = sa.select(*_REVISION, columns.document).where(
        columns.report_id == report_id, columns.revision == revision
    )
    with engine.connect() as connection:
        row = connection.execute(query).first()
    return None if row is None else (Revision(*row[:4]), row[4])


def list_revisions(engine: sa.Engine, report_id: str) -> list[Revision]:
    """Return what was published, the newest first."""
    columns = schema.report_revision.c
    query = (
        sa.select(*_REVISION)
        .where(columns.report_id == report_id)
        .order_by(columns.revision.desc())
    )
    with engine.connect() as connection:
        return [Revision(*row) for row in connection.execute(query)]


def published_titles(engine: sa.Engine, report_ids: Sequence[str]) -> dict[str, str]:
    """Return what reports were called when they were last published."""
    report, columns = schema.report.c, schema.report_revision.c
    found: dict[str, str] = {}
    with engine.connect() as connection:
        for start in range(0, len(report_ids), 500):
            query = (
                sa.select(columns.report_id, columns.title)
                .join(
                    schema.report,
                    sa.and_(
                        report.report_id == columns.report_id,
                        report.revision == columns.revision,
                    ),
                )
                .where(columns.report_id.in_(report_ids[start : start + 500]))
            )
            found |= {row[0]: row[1] for row in connection.execute(query)}
    return found


def save(
    engine: sa.Engine, report_id: str, draft: int, title: str, document: Any, author: str
) -> Report:
    """Replace the draft.

    Args:
        engine: That may write.
        report_id: Of a report that exists.
        draft: The one it began from.
        title: What readers will see first.
        document: As ``report_document.check`` takes it.
        author: Who saves it.

    Raises:
        ReportConflict: Somebody saved it since.
        ConfigError: A title or document that cannot be, or the report is gone.
    """
    named = _title(title)
    before = read_draft(engine, report_id)
    written = _written(document, None if before is None else json.loads(before))
    with engine.begin() as connection:
        values = {"title": named, "document": written}
        return _save(connection, report_id, draft, values, author)


def append(engine: sa.Engine, report_id: str, blocks: Sequence[Any], author: str) -> Report:
    """Add nodes at the end of the draft, whatever it is by now.

    Raises:
        ConfigError: Nodes that cannot be, a report that would be too large, or is gone.
    """
    added = report_document.check_blocks(list(blocks))
    for _ in range(20):
        with engine.begin() as connection:
            report = _read(connection, report_id)
            if report is None:
                raise ConfigError(GONE)
            columns = schema.report.c
            text = connection.execute(
                sa.select(columns.document).where(columns.report_id == report_id)
            ).scalar_one()
            content = json.loads(text)["content"]
            if content and content[-1] == {"type": "paragraph"}:
                content = content[:-1]  # the line that an editor keeps at the end
            document = {"type": "doc", "content": [*content, *added]}
            try:
                values = {"document": _written(document)}
                return _save(connection, report_id, report.draft, values, author)
            except ReportConflict:
                continue  # saved in this very moment
    raise ConfigError("the report is being saved all the time: try again")


def publish(engine: sa.Engine, report_id: str, draft: int, author: str) -> Report:
    """Make a revision of the draft.

    Raises:
        ReportConflict: Somebody saved it since ``draft``.
        ConfigError: It is gone, or has too many revisions.
    """
    columns = schema.report.c
    with engine.begin() as connection:
        report = _read(connection, report_id)
        if report is None:
            raise ConfigError(GONE)
        if report.revision >= MAX_REVISIONS:
            raise ConfigError(f"a report is published {MAX_REVISIONS} times at most: clone it")
        changed = connection.execute(
            sa.update(schema.report)
            .where(
                columns.report_id == report_id,
                columns.draft == draft,
                columns.revision == report.revision,
            )
            .values(revision=report.revision + 1, published_draft=draft)
        )
        if changed.rowcount != 1:
            raise _conflict(connection, report_id)
        # Of the row as it is now: it is locked, and was not before.
        title, document = connection.execute(
            sa.select(columns.title, columns.document).where(columns.report_id == report_id)
        ).one()
        connection.execute(
            sa.insert(schema.report_revision).values(
                report_id=report_id,
                revision=report.revision + 1,
                title=title,
                author=author[:255],
                at_ms=_now_ms(),
                document=document,
            )
        )
        found = _read(connection, report_id)
    assert found is not None
    return found


def restore(engine: sa.Engine, report_id: str, revision: int, draft: int, author: str) -> Report:
    """Make what was published the draft; the revisions stay.

    Raises:
        ReportConflict: Somebody saved the draft since.
        ConfigError: There is no such revision.
    """
    found = read_revision(engine, report_id, revision)
    if found is None:
        raise ConfigError("there is no such version")
    before = read_draft(engine, report_id)
    written = _written(json.loads(found[1]), None if before is None else json.loads(before))
    values = {"title": found[0].title, "document": written}
    with engine.begin() as connection:
        return _save(connection, report_id, draft, values, author)


def clone(engine: sa.Engine, report: Report, title: str, author: str) -> Report:
    """Begin a report with the draft and the pictures of another.

    Raises:
        ConfigError: The other is gone, a title that cannot be, or too many reports.
    """
    text = read_draft(engine, report.report_id)
    if text is None:
        raise ConfigError(GONE)
    document = json.loads(text)
    made = create(engine, report.experiment_ids, report.workspace, title, document, author)
    columns = schema.report_image.c
    wanted = report_document.images(document)
    if wanted:
        copied = sa.select(
            sa.literal(made.report_id), *(one for one in columns if one.name != "report_id")
        ).where(columns.report_id == report.report_id, columns.image_id.in_(sorted(wanted)))
        names = ["report_id", *(one.name for one in columns if one.name != "report_id")]
        with engine.begin() as connection:
            connection.execute(sa.insert(schema.report_image).from_select(names, copied))
    return made


def delete(engine: sa.Engine, report_id: str) -> None:
    """Delete a report with all that belongs to it."""
    with engine.begin() as connection:
        for table in (
            *(schema.report_image, schema.report_comment),
            *(schema.report_revision, schema.report),
        ):
            connection.execute(sa.delete(table).where(table.c.report_id == report_id))


def list_comments(engine: sa.Engine, report_id: str) -> list[Comment]:
    """Return what is said of a report, the oldest first."""
    columns = schema.report_comment.c
    query = (
        sa.select(*(columns[name] for name in Comment._fields))
        .where(columns.report_id == report_id)
        .order_by(columns.at_ms, columns.comment_id)
    )
    with engine.connect() as connection:
        return [Comment(*row) for row in connection.execute(query)]


def read_comment(engine: sa.Engine, report_id: str, comment_id: str) -> Comment | None:
    """Return a comment of a report; None where there is none."""
    found = [one for one in list_comments(engine, report_id) if one.comment_id == comment_id]
    return found[0] if found else None


def add_comment(
    engine: sa.Engine,
    report_id: str,
    author: str,
    text: str,
    quote: str,
    panel: str | None = None,
) -> None:
    """Say something of a report, or of a panel by its id.

    Raises:
        ConfigError: Nothing is said, too much, or there are too many comments.
    """
    said = _sound(text).strip()
    if not said or len(said) > MAX_COMMENT_CHARACTERS:
        raise ConfigError(f"a comment has 1 to {MAX_COMMENT_CHARACTERS:,} characters")
    if panel is not None and not PANEL_ID.match(panel):
        raise ConfigError("panel: expected the id of a panel")
    columns = schema.report_comment.c
    with engine.begin() as connection:
        count = sa.select(sa.func.count()).where(columns.report_id == report_id)
        if connection.execute(count).scalar_one() >= MAX_COMMENTS:
            raise ConfigError(f"a report has at most {MAX_COMMENTS:,} comments")
        connection.execute(
            sa.insert(schema.report_comment).values(
                comment_id=secrets.token_hex(16),
                report_id=report_id,
                author=author[:255],
                at_ms=_now_ms(),
                quote=_sound(quote)[:MAX_QUOTE_CHARACTERS],
                panel=panel,
                text=said,
                resolved_ms=None,
                resolved_by="",
            )
        )


def resolve_comment(engine: sa.Engine, comment_id: str, author: str, is_resolved: bool) -> None:
    """Say that a comment is settled, or that it is not after all."""
    columns = schema.report_comment.c
    with engine.begin() as connection:
        connection.execute(
            sa.update(schema.report_comment)
            .where(columns.comment_id == comment_id)
            .values(
                resolved_ms=_now_ms() if is_resolved else None,
                resolved_by=author[:255] if is_resolved else "",
            )
        )


def delete_comment(engine: sa.Engine, comment_id: str) -> None:
    """Take a comment away."""
    columns = schema.report_comment.c
    with engine.begin() as connection:
        connection.execute(
            sa.delete(schema.report_comment).where(columns.comment_id == comment_id)
        )


def kind_of_image(body: bytes) -> str | None:
    """Return the content type of a picture by what it begins with; None where it is none."""
    for start, content_type in _KINDS_OF_IMAGE:
        if body.startswith(start):
            return content_type
    return "image/webp" if body[:4] == b"RIFF" and body[8:12] == b"WEBP" else None


def add_image(engine: sa.Engine, report_id: str, body: bytes) -> str:
    """Keep a picture; the same content has the same id.

    Returns:
        Its id, for a node ``image``.

    Raises:
        ConfigError: It is no raster picture that browsers show, or too large.
    """
    content_type = kind_of_image(body)
    if content_type is None:
        raise ConfigError("a picture is PNG, JPEG, GIF or WebP")
    if len(body) > MAX_IMAGE_BYTES:
        raise ConfigError(f"a picture has at most {MAX_IMAGE_BYTES >> 20} MiB")
    image_id = hashlib.blake2b(body, digest_size=16).hexdigest()
    columns = schema.report_image.c
    try:
        with engine.begin() as connection:
            kept = dict(
                connection.execute(
                    sa.select(columns.image_id, columns.n_bytes).where(
                        columns.report_id == report_id
                    )
                ).all()
            )
            if image_id in kept:
                return image_id
            if sum(kept.values()) + len(body) > MAX_IMAGES_BYTES:
                raise ConfigError(
                    f"the pictures of a report have at most {MAX_IMAGES_BYTES >> 20} MiB"
                )
            connection.execute(
                sa.insert(schema.report_image).values(
                    report_id=report_id,
                    image_id=image_id,
                    content_type=content_type,
                    n_bytes=len(body),
                    body=body,
                )
            )
    except sa.exc.IntegrityError:
        pass  # the same, kept at the same moment
    return image_id


def read_image(engine: sa.Engine, report_id: str, image_id: str) -> Image | None:
    """Return a picture of a report; None where there is none."""
    columns = schema.report_image.c
    query = sa.select(columns.content_type, columns.body).where(
        columns.report_id == report_id, columns.image_id == image_id
    )
    with engine.connect() as connection:
        row = connection.execute(query).first()
    return None if row is None else Image(row[0], bytes(row[1]))


GONE = "there is no such report any more"
_HEADS = [column for column in schema.report.c if column.name != "document"]
_REVISION = [schema.report_revision.c[name] for name in Revision._fields]


def _save(
    connection: sa.Connection, report_id: str, draft: int, values: dict[str, Any], author: str
) -> Report:
    columns = schema.report.c
    changed = connection.execute(
        sa.update(schema.report)
        .where(columns.report_id == report_id, columns.draft == draft)
        .values(draft=draft + 1, saved_ms=_now_ms(), saved_by=author[:255], **values)
    )
    if changed.rowcount != 1:
        raise _conflict(connection, report_id)
    found = _read(connection, report_id)
    assert found is not None
    return found


def _conflict(connection: sa.Connection, report_id: str) -> WeirError:
    columns = schema.report.c
    row = (
        connection.execute(sa.select(schema.report).where(columns.report_id == report_id))
        .mappings()
        .first()
    )
    return ConfigError(GONE) if row is None else ReportConflict(_report_of(row), row["document"])


def _read(connection: sa.Connection, report_id: str) -> Report | None:
    query = sa.select(*_HEADS).where(schema.report.c.report_id == report_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else _report_of(row)


def _report_of(row: Any) -> Report:
    values = {name: row[name] for name in Report._fields if name != "experiment_ids"}
    return Report(experiment_ids=tuple(row["scope"].split(",")), **values)


def _title(title: str) -> str:
    found = _sound(title).strip()
    if not found or len(found) > MAX_TITLE_CHARACTERS:
        raise ConfigError(f"a report's title has 1 to {MAX_TITLE_CHARACTERS} characters")
    return found


def _written(document: Any, before: Any = None) -> str:
    checked = report_document.check(document)
    report_document.name_panels(checked, before)
    return json.dumps(checked, separators=(",", ":"), ensure_ascii=False)


def _sound(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
