"""Weir's tracking URIs: what each means, and the SQLAlchemy URI or the folder behind it.

    weir:                     weir.db and weir-artifacts/ in WEIR_HOME or the current directory
    weir:///abs/dir           the same two in that directory (percent-encoding is undone)
    sqlite+weir:///…          that database, through the driver MLflow would use
    postgresql+weir://…       through psycopg 3
    mysql+weir://…            through PyMySQL

A database URI is changed in its scheme alone: passwords, percent-encoding, hosts, socket paths,
``:memory:`` and query strings stay as they are, to the letter. Nothing here imports MLflow or
SQLAlchemy, and nothing touches the disk.
"""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import NamedTuple
from urllib.parse import unquote

from mlflow_weir.errors import ConfigError
from mlflow_weir.settings import HOME

EMBEDDED = "weir"
DATABASE_FILE = "weir.db"
ARTIFACT_FOLDER = "weir-artifacts"

_DRIVERS = {
    "sqlite+weir": "sqlite",
    "postgresql+weir": "postgresql+psycopg",
    "mysql+weir": "mysql+pymysql",
}
_WAY_OUT = {
    "mariadb+weir": "MariaDB speaks MySQL's protocol: write mysql+weir://",
    "postgres+weir": "write postgresql+weir://",
    "mssql+weir": "Weir keeps SQLite, PostgreSQL and MySQL; MLflow itself also mssql://",
}
FORMS = (
    "write weir: for the current directory, weir:///abs/dir for another, "
    "or sqlite+weir:///file.db, postgresql+weir://… or mysql+weir://… for a database"
)


class Backend(NamedTuple):
    """What ``mlflow server`` would be told about a store.

    Attributes:
        database_uri: As a user would write it, ``weir`` included: ``sqlite+weir:////abs/weir.db``.
        artifact_root: Where an embedded store puts runs' artifacts: an absolute path, or a
            ``file:`` URI where the path holds a character that MLflow would read as URI syntax.
            None where the URI is a database's: MLflow's own default applies.
    """

    database_uri: str
    artifact_root: str | None


def scheme_of(uri: str) -> str:
    """Return what stands before the first colon, in lower case; ``""`` when there is none."""
    scheme, colon, _ = uri.partition(":")
    return scheme.lower() if colon else ""


def is_weir(uri: str) -> bool:
    """Say whether the URI asks for Weir, well-formed or not."""
    scheme = scheme_of(uri)
    return scheme == EMBEDDED or scheme.endswith("+weir")


def is_embedded(uri: str) -> bool:
    """Say whether the URI is ``weir:`` or ``weir:///dir``, well-formed or not."""
    return scheme_of(uri) == EMBEDDED


def without_secrets(uri: str) -> str:
    """Return the URI for a message: no user name, no password, no query."""
    scheme, colon, rest = uri.partition("://")
    if not colon:
        return f"…@{uri.rpartition('@')[2]}" if "@" in uri else uri
    authority, slash, path = rest.partition("/")
    if "@" in rest:
        authority, slash, path = rest.rpartition("@")[2].partition("/")
        authority = f"…@{authority}"
    return f"{scheme}://{authority}{slash}{path}".partition("?")[0]


def expand(uri: str) -> Backend:
    """Return the files behind ``weir:`` or ``weir:///abs/dir``; a database URI as it is.

    Raises:
        ConfigError: The URI has another form, or its folder cannot be written in a database URI.
    """
    if not is_embedded(uri):
        strip(uri)  # for its checks
        return Backend(uri, None)
    directory = _directory_of(uri)
    if any(character in directory for character in "?%\0\n\r"):
        raise ConfigError(
            f"{uri!r} stands for the folder {directory!r}, whose name a database URI cannot hold",
            hint="set WEIR_HOME to a folder without ? or % in its path",
        )
    root = os.path.join(directory, ARTIFACT_FOLDER)
    return Backend(
        database_uri=f"sqlite+weir:///{os.path.join(directory, DATABASE_FILE)}",
        artifact_root=PurePath(root).as_uri() if "#" in root else root,
    )


def _directory_of(uri: str) -> str:
    """Return the absolute path of the folder an embedded URI names."""
    rest = uri[len(EMBEDDED) + 1 :]
    if rest == "":
        return os.path.abspath(os.path.expanduser(HOME.get() or "."))
    shown = repr(without_secrets(uri) if "@" in uri else uri)
    if not rest.startswith("///"):
        raise ConfigError(f"{shown} is not an address Weir knows", hint=FORMS)
    if "?" in rest or "#" in rest:
        raise ConfigError(
            f"{shown}: `?` and `#` have no meaning after weir:///",
            hint="write %23 for a # in a folder's name",
        )
    directory = os.path.normpath("/" + unquote(rest).lstrip("/"))
    if directory == "/":
        raise ConfigError(f"{uri!r} names no folder", hint=FORMS)
    return directory


def strip(uri: str) -> str:
    """Return the SQLAlchemy URI behind a database URI; one without ``weir`` as it is.

    Raises:
        ConfigError: The database is not one Weir keeps, or the slashes of an SQLite URI are
            miscounted.
    """
    scheme = scheme_of(uri)
    if not scheme.endswith("+weir"):
        return uri
    if scheme not in _DRIVERS:
        raise ConfigError(
            f"{without_secrets(uri)!r}: Weir has no {scheme!r}",
            hint=_WAY_OUT.get(scheme, FORMS),
        )
    rest = uri[len(scheme) :]
    if not rest.startswith("://"):
        raise ConfigError(
            f"{without_secrets(uri)!r}: expected :// after {scheme!r}",
            hint="write three slashes before a relative path, four before an absolute one"
            if scheme == "sqlite+weir"
            else f"write {scheme}://user:password@host/database",
        )
    if scheme == "sqlite+weir" and rest[3:4] not in ("", "/", "?"):
        raise ConfigError(
            f"{without_secrets(uri)!r}: two slashes make what follows the name of a host",
            hint="write three slashes before a relative path, four before an absolute one",
        )
    return _DRIVERS[scheme] + rest
