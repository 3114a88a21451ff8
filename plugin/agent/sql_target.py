"""A tracking database as a target.

The connection settings of the journal's owner (``PG*``, ``MLFLOW_MYSQL_SSL_*``) go with the
address, because the agent's own environment serves everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError, StoreUnavailable
from mlflow_weir.plugin.agent.compactor import Compactor
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.plugin.uri import expand, strip
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import apply as applying
from mlflow_weir.store.delivery import heartbeats, positions
from mlflow_weir.store.delivery.connection import open_engine, transaction
from mlflow_weir.store.engine import schema_lock

# What libpq would read from its environment, by the name of the argument.
_LIBPQ = {
    "PGCHANNELBINDING": "channel_binding",
    "PGDATABASE": "dbname",
    "PGGSSENCMODE": "gssencmode",
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGKRBSRVNAME": "krbsrvname",
    "PGOPTIONS": "options",
    "PGPASSFILE": "passfile",
    "PGPASSWORD": "password",
    "PGPORT": "port",
    "PGSERVICE": "service",
    "PGSSLCERT": "sslcert",
    "PGSSLCRL": "sslcrl",
    "PGSSLKEY": "sslkey",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGUSER": "user",
}


class SqlTarget:
    """Delivers into a tracking database."""

    def __init__(self, address: Address) -> None:
        """Read the address; nothing is connected.

        Raises:
            ConfigError: It names no database that others than its process could reach.
        """
        self._url = database_url(address)
        if self._url.get_backend_name() == "sqlite":
            file = self._url.database or ""
            if not Path(file).is_absolute():
                raise ConfigError(f"{file or 'a database in memory'}: only its process has it")
        self._address = address
        self._engine: sa.Engine | None = None
        self._compactor: Compactor | None = None
        self._file: tuple[int, int] | None = None

    def state(self, journal_id: str) -> positions.JournalState | None:
        """Read the journal's row."""
        with transaction(self._open()) as connection:
            return positions.read(connection, journal_id)

    def apply(
        self,
        journal_id: str,
        fencing: int | None,
        start: int,
        end: int,
        payloads: Sequence[bytes],
        *,
        is_patient: bool,
    ) -> applying.Outcome:
        """Apply records in one transaction."""
        return applying.apply(
            self._open(), journal_id, fencing, start, end, payloads, is_patient=is_patient
        )

    def beat(
        self, journal_id: str, host: str, run_ids: Sequence[str], at_ms: int
    ) -> Sequence[str]:
        """Write the runs' heartbeats, by the database's clock; return those to stop."""
        heartbeats.beat(self._open(), run_ids, journal_id, host)
        return heartbeats.take_stops(self._open(), run_ids, journal_id)

    def compact(self, run_id: str, *, is_final: bool) -> bool:
        """Turn batches into chunks, and merge chunks."""
        if self._compactor is None:
            self._compactor = Compactor(self._address)
        return self._compactor.step(run_id, is_final=is_final)

    def close(self) -> None:
        """Close the connection, and wait for nobody."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._compactor is not None:
            self._compactor.close()

    def _open(self) -> sa.Engine:
        if self._url.get_backend_name() == "sqlite":
            self._look_at_file(Path(self._url.database or ""))
        if self._engine is None:
            engine = engine_at(self._address)
            _ensure_tables(engine)
            self._engine = engine
        return self._engine

    def _look_at_file(self, path: Path) -> None:
        """Let go of a database file that was moved or removed: it takes writes for ever.

        Raises:
            ConfigError: There is none at the path.
        """
        try:
            found = path.stat()
        except OSError as exc:
            self.close()
            raise ConfigError(f"{path}: {exc.strerror}", hint="was the database moved?") from exc
        identity = (found.st_dev, found.st_ino)
        if identity != self._file:
            self.close()
            self._file = identity


def database_url(address: Address) -> sa.URL:
    """Return the database behind an address, with the settings of the journal's owner in it.

    Raises:
        ConfigError: It is no database URI.
    """
    try:
        url = sa.make_url(strip(expand(address.uri).database_uri))
    except (sa.exc.ArgumentError, ValueError) as exc:  # what they say may hold the password
        raise ConfigError(f"{address.shown} is not a database URI") from exc
    if url.get_backend_name() != "postgresql":
        return url
    # What the URI says goes before what its owner's environment said, as in libpq.
    named = {
        "user": url.username,
        "password": url.password,
        "host": url.host,
        "port": url.port,
        "dbname": url.database,
    }
    said = {name for name, value in named.items() if value} | set(url.query)
    return url.update_query_dict(
        {
            _LIBPQ[name]: value
            for name, value in address.environment
            if name in _LIBPQ and _LIBPQ[name] not in said
        }
    )


def engine_at(address: Address) -> sa.Engine:
    """Return an engine on the database of an address.

    Raises:
        ConfigError: The URI names a driver that is not installed, or a folder.
    """
    uri = database_url(address).render_as_string(hide_password=False)
    try:
        return open_engine(uri, dict[str, str](address.environment))
    except (ImportError, sa.exc.ArgumentError) as exc:
        raise ConfigError(f"{address.shown}: {exc}") from exc


def _ensure_tables(engine: sa.Engine) -> None:
    """Create our tables beside MLflow's, where the training could not reach the database.

    Raises:
        StoreUnavailable: The database cannot be reached, or MLflow has no tables there yet.
    """
    with transaction(engine) as connection:
        inspector = sa.inspect(connection)
        if set(schema.metadata.tables) <= set(inspector.get_table_names()):
            return
        if not inspector.has_table(schema.mlflow_runs.name):
            raise StoreUnavailable(
                "MLflow has no tables there yet", hint="`mlflow db upgrade URI` creates them"
            )
    from mlflow_weir.store import migrations  # Alembic, which is seldom needed

    try:
        with schema_lock(engine):
            migrations.upgrade(engine)
    except sa.exc.DBAPIError as exc:
        raise StoreUnavailable(f"its tables cannot be created: {exc.orig}") from exc
