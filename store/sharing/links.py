"""Links that anyone may open: made, found by their token, paused, revoked, and who opened them.

A token is 256 random bits. Only its SHA-256 is kept, and a link is found by that alone: nothing
else names it to a visitor, and what the database holds opens nothing. A password is kept as
scrypt's hash. A scope is the sorted ids of the experiments that a link is about; which runs of
them is in ``weir_share_run``, or the filter of a live link.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.sharing.shown import Shown, read_shown

KINDS = ("run", "runs", "view", "experiment", "report")
MAX_TITLE_CHARACTERS = 250
MAX_RUNS = 1_000
MAX_LINKS = 2_000
"""Of one set of experiments, previews apart; what is revoked counts until it is old."""
MAX_PREVIEWS = 200
PREVIEW_MS = 10 * 60_000
MIN_PASSWORD_CHARACTERS, MAX_PASSWORD_CHARACTERS = 4, 200
KEY_MS = 12 * 3_600_000
MAX_VISITS = 1_000
ACTIVE, PAUSED, EXPIRED, REVOKED = "active", "paused", "expired", "revoked"
MS_A_DAY = 86_400_000
_FORGET_REVOKED_MS = 90 * MS_A_DAY
# With a name before it: a public experiment's address.
_TOKEN = re.compile(r"([a-z0-9-]{1,60}\.)?[A-Za-z0-9_-]{43}\Z")
_NO_TOKEN = "-" * 43  # is the hash of none that was ever given out
_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1, "maxmem": 64 << 20}
_IN_LIST = 500


class Filter(NamedTuple):
    """Which runs of its experiments a live link is about."""

    text: str = ""
    search: str = ""
    is_regex: bool = False


class SharedReport(NamedTuple):
    """The report that a link shows.

    Attributes:
        report_id: Where its pictures are; a link ends with it.
        revision: Which was shared.
        document: What of it is shown, as JSON of an object.
        panels: The runs of each of its panels, in order.
    """

    report_id: str
    revision: int
    document: Mapping[str, Any]
    panels: Sequence[Sequence[str]]


class Terms(NamedTuple):
    """What its maker decides about a link.

    Attributes:
        title: What a visitor reads first.
        experiment_ids: At least one.
        workspace: Of the experiments; None where the server has none.
        shown: Which fields.
        run_filter: None where the runs are named.
        view: Arrangement of the page as JSON of an object, or None.
        replaces_names: Runs are numbered rather than named.
        expires_ms: None for never.
    """

    kind: str
    title: str
    experiment_ids: Sequence[str]
    workspace: str | None
    is_live: bool
    as_of_ms: int | None
    shown: Shown
    run_filter: Filter | None
    view: Mapping[str, Any] | None
    replaces_names: bool
    expires_ms: int | None
    password: str | None
    is_preview: bool
    created_by: str
    report: SharedReport | None = None


class Share(NamedTuple):
    """A link as it is kept; ``Terms`` says what most of it means.

    Attributes:
        token_sha256: Hexadecimal.
        n_runs: How many are named; None where a filter says which.
        created_by: "" where the server did not ask.
        secret: scrypt's hash of the password with its salt; None without a password.
    """

    share_id: str
    token_sha256: str
    kind: str
    title: str
    experiment_ids: tuple[str, ...]
    workspace: str | None
    is_live: bool
    as_of_ms: int | None
    n_runs: int | None
    shown: Shown
    run_filter: Filter | None
    view: Mapping[str, Any] | None
    replaces_names: bool
    is_preview: bool
    created_ms: int
    created_by: str
    expires_ms: int | None
    secret: str | None
    is_paused: bool
    revoked_ms: int | None
    hits: int
    last_seen_ms: int | None
    report: SharedReport | None = None

    def state(self, now_ms: int) -> str:
        """Return ``active``, or why it does not open."""
        if self.revoked_ms is not None:
            return REVOKED
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return EXPIRED
        return PAUSED if self.is_paused else ACTIVE


class Visit(NamedTuple):
    """Somebody opened a link or was turned away."""

    at_ms: int
    outcome: str
    address: str


def now_ms() -> int:
    """Return this machine's clock."""
    return time.time_ns() // 1_000_000


def create(
    engine: sa.Engine,
    terms: Terms,
    run_ids: Sequence[str] | None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    token: str | None = None,
) -> tuple[Share, str]:
    """Make a link.

    Args:
        engine: That may write.
        terms: What it shows, to whom, until when.
        run_ids: The runs it is about, in order; None for those of ``terms.run_filter``.
        facts: Of a frozen link, each run as it is now.
        token: Of ``named_token``; one without a name if None.

    Returns:
        The link, and its token, which is nowhere after this.

    Raises:
        ConfigError: Terms that cannot be, too many runs or links.
    """
    _require_possible(terms, run_ids, facts)
    scope = _scope_of(terms.experiment_ids)
    token = token or secrets.token_urlsafe(32)
    share_id, at_ms = secrets.token_hex(16), now_ms()
    expires_ms = at_ms + PREVIEW_MS if terms.is_preview else terms.expires_ms
    document = {
        "shown": terms.shown.as_json(),
        "filter": None if terms.run_filter is None else list(terms.run_filter),
        "view": terms.view,
        "report": terms.report,
    }
    row = {
        "share_id": share_id,
        "token_sha256": hash_token(token),
        "kind": terms.kind,
        "title": terms.title.strip(),
        "scope": scope,
        "workspace": terms.workspace,
        "is_live": terms.is_live,
        "as_of_ms": terms.as_of_ms,
        "n_runs": None if run_ids is None else len(run_ids),
        "document": json.dumps(document, separators=(",", ":")),
        "replaces_names": terms.replaces_names,
        "is_preview": terms.is_preview,
        "created_ms": at_ms,
        "created_by": terms.created_by[:255],
        "expires_ms": expires_ms,
        "secret": None if terms.password is None else hash_password(terms.password),
        "is_paused": False,
        "revoked_ms": None,
        "hits": 0,
        "last_seen_ms": None,
    }
    with engine.begin() as connection:
        _forget_old(connection, at_ms)
        _require_room(connection, scope, is_preview=terms.is_preview)
        connection.execute(sa.insert(schema.share).values(**row))
        rows = [
            {
                "share_id": share_id,
                "place": place,
                "run_uuid": run_id,
                "facts": None if facts is None else _packed(facts[run_id]),
            }
            for place, run_id in enumerate(run_ids or ())
        ]
        for start in range(0, len(rows), _IN_LIST):
            connection.execute(sa.insert(schema.share_run), rows[start : start + _IN_LIST])
    found = read(engine, share_id)
    assert found is not None
    return found, token


def named_token(name: str) -> str:
    """Return a new token that a person can tell from others: a name, as far as it can be had."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-")
    return f"{words or 'experiment'}.{secrets.token_urlsafe(32)}"


def find_by_token(engine: sa.Engine, token: str) -> Share | None:
    """Return the link that a token opens, in whatever state; None where there is none.

    What is no token at all is looked up like one, so that it takes the same time.
    """
    digest = hash_token(plausible(token))
    query = sa.select(schema.share).where(schema.share.c.token_sha256 == digest)
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _share_of(row)


def plausible(token: str) -> str:
    """Return what may be a token as it is, and for all else one that opens nothing."""
    return token if _TOKEN.match(token) else _NO_TOKEN


def hash_token(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read(engine: sa.Engine, share_id: str) -> Share | None:
    """Return a link by its id, which only those know who may manage links."""
    with engine.connect() as connection:
        row = (
            connection.execute(sa.select(schema.share).where(schema.share.c.share_id == share_id))
            .mappings()
            .first()
        )
    return None if row is None else _share_of(row)


def list_links(engine: sa.Engine, experiment_id: str | None, workspace: str | None) -> list[Share]:
    """Return the links of a workspace, or those of it about an experiment, the newest first.

    Previews are left out.
    """
    columns = schema.share.c
    query = sa.select(schema.share).where(columns.is_preview == sa.false())
    if workspace is not None:
        query = query.where(columns.workspace == workspace)
    with engine.connect() as connection:
        rows = connection.execute(
            query.order_by(columns.created_ms.desc(), columns.share_id)
        ).mappings()
        found = [_share_of(row) for row in rows]
    if experiment_id is None:
        return found
    return [share for share in found if experiment_id in share.experiment_ids]


def set_paused(engine: sa.Engine, share_id: str, is_paused: bool) -> None:
    """Pause a link, or let it open again."""
    _change(engine, share_id, is_paused=is_paused)


def revoke(engine: sa.Engine, share_id: str) -> None:
    """End a link for good; a second time changes nothing."""
    _change(engine, share_id, revoked_ms=now_ms())


def rotate(engine: sa.Engine, share_id: str, token: str | None = None) -> str:
    """Give a link another token; the one before, and keys given out for it, open nothing.

    Raises:
        ConfigError: It was revoked.
    """
    token = token or secrets.token_urlsafe(32)
    if not _change(engine, share_id, token_sha256=hash_token(token)):
        raise ConfigError("a link that was revoked stays so: make another")
    return token


def set_shown(
    engine: sa.Engine, share_id: str, *, shown: Shown, title: str, replaces_names: bool, by: str
) -> None:
    """Have a public experiment's address show other fields; who says so answers for it now."""
    document = {"shown": shown.as_json(), "filter": ["", "", False], "view": None}
    _change(
        engine,
        share_id,
        document=json.dumps(document, separators=(",", ":")),
        title=title[:MAX_TITLE_CHARACTERS],
        replaces_names=replaces_names,
        created_by=by[:255],
        is_paused=False,
    )


def note_visit(engine: sa.Engine, share_id: str, outcome: str, address: str) -> None:
    """Write to a link's access log; only the last ``MAX_VISITS`` are kept."""
    columns = schema.share_visit.c
    with engine.begin() as connection:
        connection.execute(
            sa.insert(schema.share_visit).values(
                share_id=share_id, at_ms=now_ms(), outcome=outcome, address=address[:64]
            )
        )
        oldest = connection.execute(
            sa.select(columns.visit_id)
            .where(columns.share_id == share_id)
            .order_by(columns.visit_id.desc())
            .offset(MAX_VISITS)
            .limit(1)
        ).scalar()
        if oldest is not None:
            connection.execute(
                sa.delete(schema.share_visit).where(
                    columns.share_id == share_id, columns.visit_id <= oldest
                )
            )


def note_hit(engine: sa.Engine, share_id: str) -> None:
    """Count that a visitor was shown a link's page."""
    columns = schema.share.c
    with engine.begin() as connection:
        connection.execute(
            sa.update(schema.share)
            .where(columns.share_id == share_id)
            .values(hits=columns.hits + 1, last_seen_ms=now_ms())
        )


def read_visits(engine: sa.Engine, share_id: str) -> list[Visit]:
    """Return the access log, the newest first."""
    columns = schema.share_visit.c
    query = (
        sa.select(columns.at_ms, columns.outcome, columns.address)
        .where(columns.share_id == share_id)
        .order_by(columns.visit_id.desc())
    )
    with engine.connect() as connection:
        return [Visit(*row) for row in connection.execute(query)]


def named_runs(engine: sa.Engine, share: Share) -> list[str]:
    """Return the runs a link names that are still there and not deleted, in its order."""
    named, runs = schema.share_run.c, tables.runs.c
    query = (
        sa.select(named.run_uuid)
        .join_from(schema.share_run, tables.runs, runs.run_uuid == named.run_uuid)
        .where(
            named.share_id == share.share_id,
            runs.lifecycle_stage == tables.ACTIVE,
            runs.experiment_id.in_([int(one) for one in share.experiment_ids]),
        )
        .order_by(named.place)
    )
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def read_facts(engine: sa.Engine, share: Share) -> dict[str, dict[str, Any]]:
    """Return the runs of a frozen link as they were, those that are still there, in its order."""
    there = set(named_runs(engine, share))
    columns = schema.share_run.c
    query = (
        sa.select(columns.run_uuid, columns.facts)
        .where(columns.share_id == share.share_id, columns.facts.is_not(None))
        .order_by(columns.place)
    )
    with engine.connect() as connection:
        return {
            run_id: json.loads(zlib.decompress(packed))
            for run_id, packed in connection.execute(query)
            if run_id in there
        }


def are_experiments_there(engine: sa.Engine, share: Share) -> bool:
    """Say whether every experiment of a link is there and not deleted."""
    columns = tables.experiments.c
    query = sa.select(sa.func.count()).where(
        columns.experiment_id.in_([int(one) for one in share.experiment_ids]),
        columns.lifecycle_stage == tables.ACTIVE,
    )
    with engine.connect() as connection:
        return connection.execute(query).scalar_one() == len(share.experiment_ids)


def hash_password(password: str) -> str:
    """Return a password's hash with a salt of its own."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(password, salt).hex()}"


def is_password(share: Share, password: str) -> bool:
    """Say whether it is a link's password; takes tens of milliseconds."""
    if share.secret is None or len(password) > MAX_PASSWORD_CHARACTERS:
        return False
    salt, _, kept = share.secret.partition("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)).hex(), kept)


def make_key(share: Share, until_ms: int) -> str:
    """Return what stands for the password until a moment, without the server keeping anything."""
    return f"{until_ms}.{_signature(share, until_ms)}"


def is_key(share: Share, key: str, at_ms: int) -> bool:
    """Say whether a key of ``make_key`` is a link's and still holds."""
    until, _, signature = key.partition(".")
    if not re.fullmatch(r"[0-9]{1,16}", until) or not signature.isascii():
        return False
    is_ours = hmac.compare_digest(signature, _signature(share, int(until)))
    return is_ours and int(until) > at_ms


def _signature(share: Share, until_ms: int) -> str:
    # The token is in it: a link that was rotated is opened anew.
    signed = f"{share.share_id}.{share.token_sha256}.{until_ms}".encode()
    return hmac.new((share.secret or "").encode(), signed, hashlib.sha256).hexdigest()


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, **_SCRYPT)


def _scope_of(experiment_ids: Sequence[str]) -> str:
    scope = ",".join(map(str, sorted({int(one) for one in experiment_ids})))
    if not scope or len(scope) > 500:
        raise ConfigError("a link is about one experiment or a few")
    return scope


def _require_possible(
    terms: Terms,
    run_ids: Sequence[str] | None,
    facts: Mapping[str, Mapping[str, Any]] | None,
) -> None:
    if terms.kind not in KINDS:
        raise ConfigError(f"kind: expected one of {', '.join(KINDS)}")
    if not 0 < len(terms.title.strip()) <= MAX_TITLE_CHARACTERS:
        raise ConfigError(f"a link's title has 1 to {MAX_TITLE_CHARACTERS} characters")
    if (terms.kind == "report") != (terms.report is not None):
        raise ConfigError("a link to a report shows one")
    if terms.is_live != (facts is None):
        raise ConfigError("a link is live, or frozen with its runs as they are now")
    if run_ids is None:
        if not terms.is_live:
            raise ConfigError("a frozen link names its runs")
        if terms.run_filter is None:
            raise ConfigError("a link names its runs, or says which by a filter")
    elif not run_ids and terms.report is None:
        raise ConfigError("there is no run to share")
    elif len(run_ids) > MAX_RUNS:
        raise ConfigError(f"{len(run_ids):,} runs, at most {MAX_RUNS:,} in one link")
    if terms.password is not None and not (
        MIN_PASSWORD_CHARACTERS <= len(terms.password) <= MAX_PASSWORD_CHARACTERS
    ):
        raise ConfigError(
            f"a password has {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters"
        )


def _require_room(connection: sa.Connection, scope: str, *, is_preview: bool) -> None:
    columns = schema.share.c
    query = sa.select(sa.func.count()).where(
        columns.scope == scope,
        columns.is_preview == (sa.true() if is_preview else sa.false()),
    )
    if connection.execute(query).scalar_one() >= (MAX_PREVIEWS if is_preview else MAX_LINKS):
        raise ConfigError("too many links to these experiments: revoke some")


def _forget_old(connection: sa.Connection, at_ms: int) -> None:
    """Remove previews that are over, and what was revoked long ago."""
    columns = schema.share.c
    over = connection.execute(
        sa.select(columns.share_id).where(
            sa.or_(
                sa.and_(columns.is_preview == sa.true(), columns.expires_ms <= at_ms),
                columns.revoked_ms <= at_ms - _FORGET_REVOKED_MS,
            )
        )
    ).scalars()
    ids = list(over)
    for start in range(0, len(ids), _IN_LIST):
        for table in (schema.share_visit, schema.share_run, schema.share):
            connection.execute(
                sa.delete(table).where(table.c.share_id.in_(ids[start : start + _IN_LIST]))
            )


def _change(engine: sa.Engine, share_id: str, **values: Any) -> bool:
    """Change a link that was not revoked; say whether there was one."""
    columns = schema.share.c
    with engine.begin() as connection:
        changed = connection.execute(
            sa.update(schema.share)
            .where(columns.share_id == share_id, columns.revoked_ms.is_(None))
            .values(**values)
        )
    return changed.rowcount == 1


def _packed(facts: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps(facts, separators=(",", ":")).encode(), 6)


def _share_of(row: sa.RowMapping) -> Share:
    document = json.loads(row["document"])
    run_filter = document["filter"]
    return Share(
        share_id=row["share_id"],
        token_sha256=row["token_sha256"],
        kind=row["kind"],
        title=row["title"],
        experiment_ids=tuple(row["scope"].split(",")),
        workspace=row["workspace"],
        is_live=bool(row["is_live"]),
        as_of_ms=row["as_of_ms"],
        n_runs=row["n_runs"],
        shown=read_shown(document["shown"], names=not row["replaces_names"]),
        run_filter=None if run_filter is None else Filter(*run_filter),
        view=document["view"],
        replaces_names=bool(row["replaces_names"]),
        is_preview=bool(row["is_preview"]),
        created_ms=row["created_ms"],
        created_by=row["created_by"],
        expires_ms=row["expires_ms"],
        secret=row["secret"],
        is_paused=bool(row["is_paused"]),
        revoked_ms=row["revoked_ms"],
        hits=row["hits"],
        last_seen_ms=row["last_seen_ms"],
        report=None if document.get("report") is None else SharedReport(*document["report"]),
    )
