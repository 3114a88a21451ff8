"""Taking up an invitation: the invited names themselves and becomes a user of MLflow's."""

from __future__ import annotations

import re

import flask
import sqlalchemy as sa
from mlflow.exceptions import MlflowException

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.sharing import invites
from mlflow_weir.store.sharing.invites import Invite
from mlflow_weir.ui_extensions import access, audit, mlflow_private

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}\Z")
_MAX_PASSWORD_CHARACTERS = 200


def checked_name(name: str) -> str:
    """Return a name that a new user may have.

    Raises:
        ConfigError: It is none.
    """
    if not _NAME.match(name):
        raise ConfigError("a name has 1 to 100 letters, digits and . _ @ + -")
    return name


def accept(engine: sa.Engine, invite: Invite, name: str, password: str) -> None:
    """Make whoever was invited a user; the invitation is used up, by one alone.

    Ends the request where the name is taken, or somebody else was faster.

    Raises:
        ConfigError: No name, or no password, that MLflow takes.
    """
    checked_name(name)
    if len(password) > _MAX_PASSWORD_CHARACTERS:
        raise ConfigError(f"a password has at most {_MAX_PASSWORD_CHARACTERS} characters")
    with mlflow_private.in_workspace(invite.workspace):
        # Before anything is made: of two at once, one finds it used.
        if not invites.take(engine, invite.invite_id, name):
            flask.abort(access.refusal(409, "this invitation was used or taken back just now"))
        try:
            mlflow_private.create_user(name, password, invite.workspace)
        except MlflowException as exc:
            invites.give_back(engine, invite.invite_id, name)
            if exc.error_code == "RESOURCE_ALREADY_EXISTS":
                flask.abort(access.refusal(409, "this name is taken: choose another"))
            raise ConfigError(exc.message) from exc
        except BaseException:
            invites.give_back(engine, invite.invite_id, name)
            raise
        if invite.experiment_id is not None and invite.permission is not None:
            mlflow_private.grant(name, invite.experiment_id, invite.permission)
        audit.note(
            "invite.accept",
            who=name,
            target=invite.invite_id,
            experiment_id=invite.experiment_id,
            permission=invite.permission,
            invited_by=invite.created_by,
        )


def experiment_name(engine: sa.Engine, invite: Invite) -> str | None:
    """Return what the experiment is called that an invitation is for; None of one for none."""
    if invite.experiment_id is None:
        return None
    columns = tables.experiments.c
    query = sa.select(columns.name).where(columns.experiment_id == int(invite.experiment_id))
    with engine.connect() as connection:
        found = connection.execute(query).scalar()
    return None if found is None else str(found)
