"""Who may see an experiment: private, its team's, or public.

*Private* is made of MLflow's own permissions: who was not named for the experiment gets a row that
denies it, in the same table that MLflow's own API writes and each of its routes asks. So it holds
for all of them, and with Weir switched off. Users who come later get theirs when MLflow makes them
(``mlflow_private.join_auth``), and at the latest by the next turn of housekeeping.

*Public* is a link of its own to the experiment (``visitors.py`` lets it open while the experiment
is public). *Team* is what MLflow's permissions say without either.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.guard import never_raises
from mlflow_weir.settings import PUBLIC_LINKS
from mlflow_weir.store.sharing import links, visibility
from mlflow_weir.store.sharing.links import Terms
from mlflow_weir.store.sharing.shown import Shown
from mlflow_weir.store.sharing.visibility import PRIVATE, PUBLIC, TEAM, Visibility
from mlflow_weir.ui_extensions import access, deliveries, mlflow_private
from mlflow_weir.ui_extensions.mlflow_private import DENY, KnownUser

_busy = threading.local()


def why_not_private() -> str | None:
    """Say why no experiment can be private here; None where one can."""
    if not access.can_ask_of_others():
        return "the server's app decides who may see what, and Weir cannot tell it"
    if not mlflow_private.is_auth_on():
        return "this server has no login: everybody who reaches it sees everything"
    if not mlflow_private.can_deny():
        return "this MLflow cannot deny what its default allows: 3.17 and later can"
    return None


def make_private(engine: sa.Engine, chosen: Visibility, by: str) -> None:
    """Let nobody see an experiment who was not named for it, but administrators.

    Raises:
        ConfigError: That cannot be here.
    """
    why_not = why_not_private()
    if why_not is not None:
        raise ConfigError(why_not)
    users = mlflow_private.users(chosen.workspace)
    was_private = chosen.level == PRIVATE
    denied = tuple(one.name for one in users if one.own(chosen.experiment_id) == DENY)
    visibility.write(
        engine,
        chosen._replace(
            level=PRIVATE,
            denied_before=chosen.denied_before if was_private else denied,
            changed_ms=links.now_ms(),
            changed_by=by,
        ),
    )
    _deny(chosen, users)


def make_team(engine: sa.Engine, chosen: Visibility, by: str) -> None:
    """Let MLflow's permissions alone say who may see an experiment."""
    _write(engine, chosen, TEAM, by)
    _allow(chosen)


def make_public(
    engine: sa.Engine,
    chosen: Visibility,
    by: str,
    *,
    name: str,
    title: str,
    shown: Shown,
    replaces_names: bool,
) -> None:
    """Let anybody with its address see what is ticked of an experiment.

    The address is the one it had before, if it had one.

    Raises:
        ConfigError: No link may open on this server.
    """
    if PUBLIC_LINKS.get() == "off":
        raise ConfigError("this server's policy lets no links open")
    if not access.can_ask_of_others():
        raise ConfigError("links need a server app that Weir can ask who may see what")
    share = None if chosen.share_id is None else links.read(engine, chosen.share_id)
    if share is not None and share.revoked_ms is None:
        links.set_shown(
            engine,
            share.share_id,
            shown=shown,
            title=title,
            replaces_names=replaces_names,
            by=by,
        )
    else:
        terms = Terms(
            kind="experiment",
            title=title,
            experiment_ids=[chosen.experiment_id],
            workspace=chosen.workspace,
            is_live=True,
            as_of_ms=None,
            shown=shown,
            run_filter=links.Filter(),
            view=None,
            replaces_names=replaces_names,
            expires_ms=None,
            password=None,
            is_preview=False,
            created_by=by,
        )
        share, token = links.create(engine, terms, None, token=links.named_token(name))
        chosen = chosen._replace(share_id=share.share_id, address=token)
    _write(engine, chosen, PUBLIC, by)
    if chosen.level == PRIVATE:
        _allow(chosen)


def name_somebody(chosen: Visibility, user: KnownUser, permission: str | None) -> None:
    """Give a user a permission of their own for an experiment, or take it away.

    Args:
        chosen: The experiment.
        user: Whose.
        permission: By MLflow's name, ``DENY`` too; None for none of their own, which a private
            experiment answers by denying them.
    """
    if permission is None and chosen.level == PRIVATE:
        permission = DENY
    with _mine():
        if permission is None:
            mlflow_private.revoke(user.name, chosen.experiment_id)
        else:
            mlflow_private.grant(user.name, chosen.experiment_id, permission)


@never_raises(None)
def keep_private() -> None:
    """Deny private experiments to users who have come since, where that is possible."""
    if getattr(_busy, "is_mine", False) or why_not_private() is not None:
        return
    engine = deliveries.engine_if_any()
    if engine is None:
        return
    for chosen in visibility.private_ones(engine):
        with mlflow_private.in_workspace(chosen.workspace):
            denied = _deny(chosen, mlflow_private.users(chosen.workspace))
            now = visibility.read(engine, [chosen.experiment_id])[chosen.experiment_id]
            if now.level != PRIVATE:  # it was changed meanwhile, and these are left over
                for name in denied:
                    mlflow_private.revoke(name, chosen.experiment_id)


def is_private(experiment_id: str) -> bool:
    """Say whether an experiment is private; what is no experiment's id is none."""
    engine = deliveries.engine_if_any()
    if engine is None or not (experiment_id.isascii() and experiment_id.isdecimal()):
        return False
    return visibility.is_any_private(engine, [experiment_id])


def _deny(chosen: Visibility, users: Iterable[KnownUser]) -> list[str]:
    """Deny an experiment to whoever was not named for it, and return whom."""
    experiment_id = chosen.experiment_id
    with _mine():
        return [
            user.name
            for user in users
            if not (user.is_admin or user.is_named(experiment_id))
            and user.is_present
            and user.own(experiment_id) is None
            and mlflow_private.deny(user.name, experiment_id)
        ]


def _allow(chosen: Visibility) -> None:
    """Take back the rows that made an experiment private, and no others."""
    if not (mlflow_private.is_auth_on() and mlflow_private.can_deny()):
        return
    with _mine():
        for user in mlflow_private.users(chosen.workspace):
            is_ours = user.own(chosen.experiment_id) == DENY
            if chosen.level == PRIVATE and is_ours and user.name not in chosen.denied_before:
                mlflow_private.revoke(user.name, chosen.experiment_id)


def _write(engine: sa.Engine, chosen: Visibility, level: str, by: str) -> None:
    visibility.write(
        engine,
        chosen._replace(level=level, denied_before=(), changed_ms=links.now_ms(), changed_by=by),
    )


class _mine:
    """What this thread writes to MLflow's permissions meanwhile is nobody's news."""

    def __enter__(self) -> None:
        self._before = getattr(_busy, "is_mine", False)
        _busy.is_mine = True

    def __exit__(self, *_: object) -> None:
        _busy.is_mine = self._before
