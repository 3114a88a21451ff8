"""The URI that a command was given: which store it names, found out before anything is started."""

from __future__ import annotations

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.uri import (
    FORMS,
    Backend,
    expand,
    is_weir,
    scheme_of,
    strip,
    without_secrets,
)

DATABASES = ("sqlite", "postgresql", "mysql")


def is_server(uri: str) -> bool:
    """Say whether the URI is that of a tracking server."""
    return scheme_of(uri) in {"http", "https"}


def store_at(uri: str) -> Backend:
    """Return what ``uri`` stands for, one of Weir's URIs or a plain database URI.

    Raises:
        ConfigError: It is neither, it cannot be read, or its driver is not installed. The message
            shows the URI without user, password and query.
    """
    shown = repr(without_secrets(uri))
    if is_server(uri):
        raise ConfigError(
            f"{shown} is a tracking server", hint="name the database behind it, where that runs"
        )
    if not is_weir(uri) and scheme_of(uri).partition("+")[0] not in DATABASES:
        raise ConfigError(f"{shown} is no tracking database that Weir knows", hint=FORMS)
    backend = expand(uri)
    _require_dialect(strip(backend.database_uri), shown)
    return backend


def _require_dialect(database_uri: str, shown: str) -> None:
    """Refuse what SQLAlchemy cannot parse or has no driver for; nothing is connected."""
    import sqlalchemy

    try:
        sqlalchemy.create_engine(database_uri).dispose()
    except ImportError as exc:
        raise ConfigError(
            f"{shown} needs the Python module {exc.name!r}, which is not installed",
            hint="postgresql+weir:// and mysql+weir:// use the drivers installed with Weir",
        ) from exc
    except sqlalchemy.exc.NoSuchModuleError:
        raise ConfigError(
            f"{shown} names a driver that SQLAlchemy does not know", hint=FORMS
        ) from None
    except (sqlalchemy.exc.ArgumentError, ValueError):  # what they say may hold the password
        raise ConfigError(
            f"{shown} cannot be read as a database URI",
            hint="percent-encode what is special in a user name or password: @ is %40, / is %2F",
        ) from None
