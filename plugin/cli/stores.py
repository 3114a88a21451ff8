"""The URI that a command was given: which store it names, found out before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from mlflow_weir.plugin.agent.targets import Address

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


def delivery_address(uri: str) -> Address:
    """Return where records for a store or server are delivered.

    A store is made, or brought up to date, if need be.
    """
    from mlflow_weir.plugin.agent.targets import Address

    if is_server(uri):
        return _server(uri)
    backend = store_at(uri)
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH

    from mlflow_weir.store.tracking_store import WeirStore

    database_uri = strip(backend.database_uri)
    # Where MLflow's own clients of a database have the artifacts of experiments that they make.
    root = backend.artifact_root or DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    store = WeirStore(database_uri, root)
    store._dispose_engine()
    return Address("sql", _absolute(database_uri))


def _server(uri: str) -> Address:
    """Return the address of a server, with the credentials that MLflow would use here."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.workspace_context import get_request_workspace

    from mlflow_weir.plugin.agent.targets import address_with
    from mlflow_weir.plugin.journaled_rest import server_target

    workspace = get_request_workspace()
    return address_with(*server_target(uri, get_default_host_creds(uri), workspace))


def _absolute(database_uri: str) -> str:
    """Return the URI with a SQLite file's path made absolute."""
    import sqlalchemy as sa

    url = sa.make_url(database_uri)
    if url.get_backend_name() != "sqlite" or not url.database:
        return database_uri
    return url.set(database=str(Path(url.database).absolute())).render_as_string(
        hide_password=False
    )
