"""Where databases for the benchmarks live: SQLite files and a PostgreSQL, both on a real disk.

Both are as durable as their defaults make them (fsync on), unlike the databases of the tests,
whose module this builds on. PostgreSQL has its default configuration.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import databases


class Place(ABC):
    """A kind of database: makes new ones and knows how large they are.

    Attributes:
        name: As the results call it.
    """

    name: str

    def __init__(self, server: databases.DatabaseServer, kept: Path | None = None) -> None:
        """Take where databases are made.

        Args:
            server: Makes them.
            kept: A folder of what databases hold that ``filled`` keeps; None keeps none.
        """
        self._server = server
        self._kept = kept

    def new_database(self) -> str:
        """Create a database with MLflow's tables in it and return its SQLAlchemy URL."""
        return self._server.new_mlflow_database()

    def filled(
        self, name: str, fill: Callable[[str], dict[str, Any]], *, like: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Return a database that takes long to fill: filled now, or by an earlier run.

        Args:
            name: What it holds, in lower case letters, digits and underscores.
            fill: Fills the database at the URL that it is given, and returns what one has to know
                to find one's way in it, as JSON has it. One that was broken off is begun anew.
            like: The URL of a database to begin with a copy of, in place of an empty one.

        Returns:
            Its URL, and what ``fill`` returned.
        """
        note = self._kept / f"{self.name}_{name}.json" if self._kept is not None else None
        if note is not None and note.is_file():
            return self._server.url(name), json.loads(note.read_text())
        url = self._server.new_mlflow_database(name if note is not None else None)
        if like is not None:
            self._copy(like, url)
        content = fill(url)
        if note is not None:
            note.write_text(json.dumps(content))
        return url, content

    def drop_all(self) -> None:
        """Drop all databases made so far, but for those that are kept."""
        self._server.drop_all()

    @abstractmethod
    def tidy(self, url: str) -> None:
        """Do what the database itself does to tables in the long run: vacuum and analyse."""

    @abstractmethod
    def size_bytes(self, url: str) -> int:
        """Return what the database takes on disk."""

    @abstractmethod
    def _copy(self, url: str, new_url: str) -> None:
        """Put a copy of a database that nobody is connected to in place of another."""

    @abstractmethod
    def forget(self, url: str) -> bool:
        """Drop the database from the system's file cache; say whether that was possible."""


class SqlitePlace(Place):
    """SQLite files."""

    name = "SQLite"

    def tidy(self, url: str) -> None:
        with _autocommit(url) as connection:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def size_bytes(self, url: str) -> int:
        path = _path(url)
        with _autocommit(url) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.stat().st_size

    def _copy(self, url: str, new_url: str) -> None:
        with _autocommit(url) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(_path(url), _path(new_url))

    def forget(self, url: str) -> bool:
        with _path(url).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return True


class PostgresPlace(Place):
    """Databases of one PostgreSQL server."""

    name = "PostgreSQL"

    def tidy(self, url: str) -> None:
        with _autocommit(url) as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")

    def size_bytes(self, url: str) -> int:
        with _autocommit(url) as connection:
            return int(
                connection.exec_driver_sql(
                    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
                    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                ).scalar_one()
            )

    def _copy(self, url: str, new_url: str) -> None:
        old, new = sa.make_url(url).database, sa.make_url(new_url).database
        with _autocommit(sa.make_url(url).set(database="postgres")) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {new}")
            # As files: the other way writes all of it to the log as well.
            connection.exec_driver_sql(f"CREATE DATABASE {new} TEMPLATE {old} STRATEGY file_copy")

    def forget(self, url: str) -> bool:
        return False  # its own buffers outlive connections


@contextlib.contextmanager
def _autocommit(url: str | sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def _path(url: str) -> Path:
    return Path(str(sa.make_url(url).database))


@contextlib.contextmanager
def open_places(folder: Path, kept: Path | None) -> Iterator[list[Place]]:
    """Make both kinds of database below a folder, until the block ends.

    Args:
        folder: On the disk to measure; readable by the user that PostgreSQL runs as.
        kept: Put them here in its place, and leave those that take long to fill.

    Raises:
        MissingComponent: PostgreSQL is not installed.
    """
    postgres = folder
    if kept is not None:
        folder, postgres = kept, kept / "postgresql"
        postgres.mkdir(parents=True, exist_ok=True)
    with databases.run_postgres(durable_in=postgres, kept=kept is not None) as server:
        files = databases.SqliteFolder(folder)
        try:
            yield [SqlitePlace(files, kept), PostgresPlace(server, kept)]
        finally:
            for one in (files, server):
                one.drop_all()
                one.drop_template()
