"""Invitations, each used once, and the marks of users who are jobs.

The users themselves are MLflow's. Of an invitation's token only its SHA-256 is kept, as of a
link's (``links.py``).
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.store import schema
from mlflow_weir.store.sharing import links

MAX_DAYS = 30
MAX_OPEN = 1_000
MAX_NOTE_CHARACTERS = 250
OPEN, USED, EXPIRED, REVOKED = "open", "used", "expired", "revoked"
_FORGET_MS = 90 * 86_400_000


class Invite(NamedTuple):
    """A link by which somebody becomes a user.

    Attributes:
        workspace: Of the request that made it; None where the server has none.
        experiment_id: Which the invited may see, or None.
        permission: What they may there; None with no experiment.
        note: Whom it is for, in the words of who made it.
        used_by: The name that the invited chose.
    """

    invite_id: str
    workspace: str | None
    experiment_id: str | None
    permission: str | None
    note: str
    created_ms: int
    created_by: str
    expires_ms: int
    used_ms: int | None
    used_by: str | None
    revoked_ms: int | None

    def state(self, now_ms: int) -> str:
        """Return ``open``, or why it does not open."""
        if self.used_ms is not None:
            return USED
        if self.revoked_ms is not None:
            return REVOKED
        return OPEN if now_ms < self.expires_ms else EXPIRED


class ServiceAccount(NamedTuple):
    """A user of MLflow's that is a job.

    Attributes:
        rotated_ms: When its password was made.
        disabled_ms: Since when nobody has its password; None while it works.
    """

    username: str
    workspace: str | None
    note: str
    created_ms: int
    created_by: str
    rotated_ms: int
    disabled_ms: int | None


def create(
    engine: sa.Engine,
    *,
    workspace: str | None,
    experiment_id: str | None,
    permission: str | None,
    note: str,
    created_by: str,
    expires_ms: int,
) -> tuple[Invite, str]:
    """Make an invitation.

    Returns:
        It, and its token, which is nowhere after this.

    Raises:
        ConfigError: A note too long, a time that cannot be, too many open ones.
    """
    token, invite_id, at_ms = secrets.token_urlsafe(32), secrets.token_hex(16), links.now_ms()
    note = " ".join(note.replace("\0", "").split())
    if len(note) > MAX_NOTE_CHARACTERS:
        raise ConfigError(f"a note has at most {MAX_NOTE_CHARACTERS} characters")
    if not at_ms < expires_ms <= at_ms + (MAX_DAYS * 24 + 1) * 3_600_000:
        raise ConfigError(f"an invitation lasts {MAX_DAYS} days at most")
    columns = schema.invite.c
    with engine.begin() as connection:
        ended_ms = sa.func.coalesce(columns.used_ms, columns.revoked_ms, columns.expires_ms)
        connection.execute(sa.delete(schema.invite).where(ended_ms <= at_ms - _FORGET_MS))
        is_open = sa.and_(
            columns.used_ms.is_(None), columns.revoked_ms.is_(None), columns.expires_ms > at_ms
        )
        count = sa.select(sa.func.count()).select_from(schema.invite).where(is_open)
        if connection.execute(count).scalar_one() >= MAX_OPEN:
            raise ConfigError("too many open invitations: revoke some")
        connection.execute(
            sa.insert(schema.invite).values(
                invite_id=invite_id,
                token_sha256=links.hash_token(token),
                workspace=workspace,
                experiment_id=None if experiment_id is None else int(experiment_id),
                permission=permission,
                note=note,
                created_ms=at_ms,
                created_by=created_by[:255],
                expires_ms=expires_ms,
            )
        )
    found = read(engine, invite_id)
    assert found is not None
    return found, token


def find_by_token(engine: sa.Engine, token: str) -> Invite | None:
    """Return the invitation that a token opens, in whatever state; None where there is none.

    What is no token at all is looked up like one, so that it takes the same time.
    """
    digest = links.hash_token(links.plausible(token))
    return _one(engine, schema.invite.c.token_sha256 == digest)


def read(engine: sa.Engine, invite_id: str) -> Invite | None:
    """Return an invitation by its id."""
    return _one(engine, schema.invite.c.invite_id == invite_id)


def list_invites(engine: sa.Engine, workspace: str | None) -> list[Invite]:
    """Return the invitations of a workspace, the newest first."""
    columns = schema.invite.c
    query = sa.select(schema.invite).order_by(columns.created_ms.desc(), columns.invite_id)
    if workspace is not None:
        query = query.where(columns.workspace == workspace)
    with engine.connect() as connection:
        return [_invite_of(row) for row in connection.execute(query).mappings()]


def take(engine: sa.Engine, invite_id: str, username: str) -> bool:
    """Use an open invitation up; False where another request has done so, or it was revoked."""
    columns, at_ms = schema.invite.c, links.now_ms()
    with engine.begin() as connection:
        changed = connection.execute(
            sa.update(schema.invite)
            .where(
                columns.invite_id == invite_id,
                columns.used_ms.is_(None),
                columns.revoked_ms.is_(None),
                columns.expires_ms > at_ms,
            )
            .values(used_ms=at_ms, used_by=username)
        )
    return changed.rowcount == 1


def give_back(engine: sa.Engine, invite_id: str, username: str) -> None:
    """Make an invitation usable again whose taker could not become a user."""
    columns = schema.invite.c
    with engine.begin() as connection:
        connection.execute(
            sa.update(schema.invite)
            .where(columns.invite_id == invite_id, columns.used_by == username)
            .values(used_ms=None, used_by=None)
        )


def revoke(engine: sa.Engine, invite_id: str) -> bool:
    """End an open invitation; False where there is none."""
    columns = schema.invite.c
    with engine.begin() as connection:
        changed = connection.execute(
            sa.update(schema.invite)
            .where(
                columns.invite_id == invite_id,
                columns.used_ms.is_(None),
                columns.revoked_ms.is_(None),
            )
            .values(revoked_ms=links.now_ms())
        )
    return changed.rowcount == 1


def list_accounts(engine: sa.Engine, workspace: str | None) -> list[ServiceAccount]:
    """Return the marks of a workspace's users who are jobs, by name."""
    columns = schema.service_account.c
    query = sa.select(schema.service_account).order_by(columns.username)
    if workspace is not None:
        query = query.where(columns.workspace == workspace)
    with engine.connect() as connection:
        return [ServiceAccount(**row) for row in connection.execute(query).mappings()]


def read_account(engine: sa.Engine, username: str) -> ServiceAccount | None:
    """Return a user's mark; None of one who is no job."""
    query = sa.select(schema.service_account).where(schema.service_account.c.username == username)
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else ServiceAccount(**row)


def mark_account(engine: sa.Engine, account: ServiceAccount) -> None:
    """Mark a user as a job, in the place of a mark of that name."""
    table = schema.service_account
    with engine.begin() as connection:
        connection.execute(sa.delete(table).where(table.c.username == account.username))
        connection.execute(sa.insert(table).values(**account._asdict()))


def unmark_account(engine: sa.Engine, username: str) -> None:
    """Forget that a user was a job."""
    table = schema.service_account
    with engine.begin() as connection:
        connection.execute(sa.delete(table).where(table.c.username == username))


def _one(engine: sa.Engine, which: sa.ColumnElement[bool]) -> Invite | None:
    with engine.connect() as connection:
        row = connection.execute(sa.select(schema.invite).where(which)).mappings().first()
    return None if row is None else _invite_of(row)


def _invite_of(row: sa.RowMapping) -> Invite:
    values = {name: row[name] for name in Invite._fields}
    if values["experiment_id"] is not None:
        values["experiment_id"] = str(values["experiment_id"])
    return Invite(**values)
