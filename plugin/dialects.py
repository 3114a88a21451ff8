"""SQLAlchemy dialects for ``sqlite+weir://``, ``postgresql+weir://`` and ``mysql+weir://``.

SQLAlchemy resolves *dialect+driver* through entry points; ours are the drivers underneath, so
that the parts of MLflow which open the URI themselves (``mlflow db upgrade``, the job store,
trace rollups) work as they are. Weir's own store never sees them: it is given the URI without
``weir``.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql as mysql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL

__all__ = ["mysql", "postgresql", "sqlite"]


class postgresql(PGDialect_psycopg):
    """PostgreSQL without prepared statements, which PgBouncer's transaction mode loses."""

    supports_statement_cache = True  # not inherited: SQLAlchemy looks in the class itself

    def create_connect_args(self, url: URL) -> Any:
        """Return what ``psycopg.connect`` gets."""
        words, options = super().create_connect_args(url)  # type: ignore[no-untyped-call]
        return words, {**options, "prepare_threshold": None}


class sqlite(SQLiteDialect_pysqlite):
    """SQLite that makes the database's folder, as MLflow does for ``sqlite:///`` alone."""

    supports_statement_cache = True  # not inherited: SQLAlchemy looks in the class itself

    def create_connect_args(self, url: URL) -> Any:
        """Return what ``sqlite3.connect`` gets, with the file's folder in place.

        Raises:
            OSError: The folder is missing and cannot be made.
        """
        if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
            os.makedirs(os.path.dirname(os.path.abspath(url.database)), exist_ok=True)
        return super().create_connect_args(url)
