"""Where databases for the benchmarks live: SQLite files and a PostgreSQL, both on a real disk.

Both are as durable as their defaults make them (fsync on), unlike the databases of the tests,
whose module this builds on. PostgreSQL has its default configuration.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

import databases


class Place(ABC):
    """A kind of database: makes new ones and knows how large they are.

    Attributes:
        name: As the results call it.
    """

    name: str

    def __init__(self, server: databases.DatabaseServer) -> None:
        self._server = server

    def new_database(self) -> str:
        """Create a database with MLflow's tables in it and return its SQLAlchemy URL."""
        return self._server.new_mlflow_database()

    def drop_all(self) -> None:
        """Drop all databases made so far."""
        self._server.drop_all()

    @abstractmethod
    def tidy(self, url: str) -> None:
        """Do what the database itself does to tables in the long run: vacuum and analyse."""

    @abstractmethod
    def size_bytes(self, url: str) -> int:
        """Return what the database takes on disk."""

    @abstractmethod
    def copy(self, url: str) -> str:
        """Copy a database that nobody is connected to and return the copy's URL."""

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

    def copy(self, url: str) -> str:
        with _autocommit(url) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        new_url = self.new_database()
        shutil.copyfile(_path(url), _path(new_url))
        return new_url

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

    def copy(self, url: str) -> str:
        new_url = self.new_database()
        old, new = sa.make_url(url).database, sa.make_url(new_url).database
        with _autocommit(sa.make_url(url).set(database="postgres")) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {new}")
            connection.exec_driver_sql(f"CREATE DATABASE {new} TEMPLATE {old}")
        return new_url

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
def open_places(folder: Path) -> Iterator[list[Place]]:
    """Make both kinds of database below a folder, until the block ends.

    Args:
        folder: On the disk to measure; readable by the user that PostgreSQL runs as.

    Raises:
        MissingComponent: PostgreSQL is not installed.
    """
    with databases.run_postgres(durable_in=folder) as server:
        yield [SqlitePlace(databases.SqliteFolder(folder)), PostgresPlace(server)]
