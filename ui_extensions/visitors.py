"""Visitors of links: who opens a link is nobody but what its token says, and sees what it shows.

``admit`` runs before every public route (``access.guard``) and is the one place that decides. It
throws away what else a request says of its sender, finds the link by its token, and lets it pass
where the link opens now: it is active, the server's policy lets links open, its experiments are
there, and whoever made it may still read them. Every other case is one and the same answer.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass

import flask
import sqlalchemy as sa

from mlflow_weir.settings import PUBLIC_LINKS, PUBLIC_LINKS_MAX_DAYS
from mlflow_weir.store.sharing import invites, links, reports, visibility
from mlflow_weir.store.sharing.invites import Invite
from mlflow_weir.store.sharing.links import Share
from mlflow_weir.ui_extensions import access, deliveries, mlflow_private
from mlflow_weir.ui_extensions.rate_limits import RateLimit, network_of

KEY_HEADER = "X-Weir-Key"
NOTHING_HERE = "there is nothing here"
OFF = "off"
ONLY_OF_INVITES = ("weir_public.invite", "weir_public.accept")
OF_INVITES = ("weir_public.page", *ONLY_OF_INVITES)
"""Endpoints that an invitation opens."""
_CREDENTIALS = ("HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_X_MLFLOW_WORKSPACE", "REMOTE_USER")
_CREATOR_S = 10.0
_log = logging.getLogger(__name__)

of_address = RateLimit(burst=1_000, per_second=50)
of_link = RateLimit(burst=2_000, per_second=100)
misses = RateLimit(burst=100, per_second=1)
"""Of an address: tokens that open nothing."""
passwords_of_address = RateLimit(burst=10, per_second=1 / 6)
passwords_of_link = RateLimit(burst=30, per_second=1 / 5)


@dataclass(frozen=True)
class Visitor:
    """Whoever holds a token.

    Attributes:
        share: The link that it opens.
        engine: Of the server's database.
        is_unlocked: The link has no password, or the request carries a key for it.
    """

    share: Share
    engine: sa.Engine
    is_unlocked: bool


def who_asks() -> str:
    """Return what limits count the present request by: the network that it comes from."""
    return network_of(flask.request.remote_addr or "")


def is_let_in_unasked() -> bool:
    """Say whether the present request is for a public route and policy asks nobody for a login.

    Who is invited has none yet, whatever policy says of links.
    """
    if not access.is_public():
        return False
    return PUBLIC_LINKS.get() != "authenticated" or _invite() is not None


def current() -> Visitor:
    """Return the visitor of a request that ``admit`` let pass."""
    found: Visitor = flask.g.weir_visitor
    return found


def current_invite() -> Invite:
    """Return the invitation that a request came with, which ``admit`` let pass."""
    found: Invite = flask.g.weir_invite
    return found


def is_invited() -> bool:
    """Say whether the request came with an invitation."""
    return flask.g.get("weir_invite") is not None


def admit(content_type: str | None) -> flask.Response | None:
    """Let a request to a public route pass, or answer it."""
    is_known = mlflow_private.authenticated_user() is not None
    is_asked = PUBLIC_LINKS.get() == "authenticated" and not is_let_in_unasked()
    for name in _CREDENTIALS:
        flask.request.environ.pop(name, None)
    if flask.request.method == "OPTIONS":
        return None  # Flask's own answer: which methods there are
    if is_asked and mlflow_private.is_auth_on() and not is_known:
        return access.refusal(401, "not authenticated")
    refused = access.refuse_form(content_type)
    if refused is not None:
        return refused
    address = who_asks()
    if not of_address.take(address) or misses.is_empty(address):
        return slow_down()
    token = (flask.request.view_args or {}).get("token")
    if token is None:
        return None  # an asset, or an address below /weir/s/ that is none
    engine = deliveries.require_store().engine
    share = links.find_by_token(engine, token)
    invite = invites.find_by_token(engine, token)
    if flask.request.endpoint in OF_INVITES and is_open(invite):
        flask.g.weir_invite = invite
        return None
    outcome = None if share is None else state_of(engine, share)
    if share is None or outcome != links.ACTIVE or flask.request.endpoint in ONLY_OF_INVITES:
        misses.take(address)
        if share is not None and outcome is not None:
            note(engine, share, outcome)
        return nothing_here()
    if not of_link.take(share.share_id):
        return slow_down()
    key = flask.request.headers.get(KEY_HEADER, "")
    is_unlocked = share.secret is None or links.is_key(share, key, links.now_ms())
    flask.g.weir_visitor = Visitor(share, engine, is_unlocked)
    return None


def is_open(invite: Invite | None) -> bool:
    """Say whether an invitation can be taken up now: whoever made it may still invite.

    Raises:
        StoreUnavailable: It cannot be told now.
    """
    if invite is None or invite.state(links.now_ms()) != invites.OPEN:
        return False
    if not mlflow_private.is_auth_on() or not access.can_ask_of_others():
        return False
    return access.may_user_invite(invite.created_by, invite.experiment_id, invite.workspace)


def _invite() -> Invite | None:
    """Return the invitation that the present request names, in whatever state."""
    token = (flask.request.view_args or {}).get("token")
    if token is None or flask.request.endpoint not in OF_INVITES:
        return None
    return invites.find_by_token(deliveries.require_store().engine, token)


def nothing_here() -> flask.Response:
    """Return the one answer to all that does not open: a page's address gets a page."""
    from mlflow_weir.ui_extensions import public

    if flask.request.method == "POST":
        return access.refusal(404, NOTHING_HERE)
    return public.nothing_page()


def state_of(engine: sa.Engine, share: Share) -> str:
    """Return ``active``, or why a link does not open, as its managers see it.

    Raises:
        StoreUnavailable: It cannot be told now.
    """
    at_ms = links.now_ms()
    state = share.state(at_ms)
    if state == links.REVOKED:
        return state
    if PUBLIC_LINKS.get() == "off":
        return OFF
    expires_ms = expiry_of(share)
    if expires_ms is not None and expires_ms <= at_ms:
        return links.EXPIRED
    if share.report is not None and reports.read(engine, share.report.report_id) is None:
        return OFF
    if not links.are_experiments_there(engine, share) or not _is_let_open(engine, share):
        return OFF
    return OFF if not _may_creator_read(share) else state


def _is_let_open(engine: sa.Engine, share: Share) -> bool:
    """Say whether no experiment of a link is private, and the one public whose address it is."""
    chosen = visibility.of_link(engine, share)
    return not any(
        one.level == visibility.PRIVATE
        or (one.share_id == share.share_id and one.level != visibility.PUBLIC)
        for one in chosen
    )


def expiry_of(share: Share) -> int | None:
    """Return when a link ends: as it was made, or earlier where the server's policy says so."""
    most_days = PUBLIC_LINKS_MAX_DAYS.get()
    if most_days is None or math.isinf(most_days):
        return share.expires_ms
    latest_ms = share.created_ms + round(most_days * links.MS_A_DAY)
    return latest_ms if share.expires_ms is None else min(share.expires_ms, latest_ms)


def note(engine: sa.Engine, share: Share, outcome: str) -> None:
    """Write to a link's access log, once a minute for an address; a fault is nobody's business."""
    if share.is_preview:
        return
    address = flask.request.remote_addr or ""
    if not _noted.is_first((share.share_id, outcome, address)):
        return
    try:
        links.note_visit(engine, share.share_id, outcome, address)
    except sa.exc.SQLAlchemyError as exc:
        _log.warning("the access log of a link cannot be written: %s", type(exc).__name__)


def note_hit(engine: sa.Engine, share: Share) -> None:
    """Count that a visitor was shown a link's page."""
    if share.is_preview:
        return
    try:
        links.note_hit(engine, share.share_id)
    except sa.exc.SQLAlchemyError as exc:
        _log.warning("the hits of a link cannot be counted: %s", type(exc).__name__)
    note(engine, share, "opened")


def slow_down() -> flask.Response:
    """Return the answer to who asks too often."""
    answer = access.refusal(429, "too many requests: wait a little")
    answer.headers["Retry-After"] = "10"
    return answer


def _may_creator_read(share: Share) -> bool:
    """Say whether who made a link may read all its experiments, asked at most every 10 s."""
    if not access.can_ask_of_others():
        return False
    if not mlflow_private.is_auth_on():
        return True
    if not share.created_by:
        return False  # made when the server asked nobody: now nobody answers for it
    return all(_may_read(share.created_by, one, share.workspace) for one in share.experiment_ids)


def _may_read(user: str, experiment_id: str, workspace: str | None) -> bool:
    question = (user, experiment_id, workspace)
    with _lock:
        asked_at, answer = _answers.get(question, (-_CREATOR_S, False))
    if time.monotonic() - asked_at < _CREATOR_S:
        return answer
    answer = access.may_user_read(user, experiment_id, workspace)
    with _lock:
        if len(_answers) > 10_000:
            _answers.clear()
        _answers[question] = (time.monotonic(), answer)
    return answer


class _Noted:
    """What was written to access logs in the present minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._seen: set[tuple[str, str, str]] = set()

    def is_first(self, visit: tuple[str, str, str]) -> bool:
        minute = int(time.monotonic() // 60)
        with self._lock:
            if minute != self._minute:
                self._minute, self._seen = minute, set()
            if visit in self._seen or len(self._seen) > 10_000:
                return False
            self._seen.add(visit)
            return True


_lock = threading.Lock()
_answers: dict[tuple[str, str, str | None], tuple[float, bool]] = {}
_noted = _Noted()
