"""SQLAlchemy dialects for ``sqlite+weir://``, ``postgresql+weir://`` and ``mysql+weir://``.

SQLAlchemy resolves *dialect+driver* through entry points; ours name the drivers underneath, so
that commands which open the URI themselves (``mlflow db upgrade``) work as they are.
"""

from __future__ import annotations

from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql as mysql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg as postgresql
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as sqlite

__all__ = ["mysql", "postgresql", "sqlite"]
