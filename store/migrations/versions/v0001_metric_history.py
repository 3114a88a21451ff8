"""Metric history: batches, chunks, series and rollups.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_KEY = sa.LargeBinary().with_variant(mysql.VARBINARY(1000), "mysql", "mariadb")
_RUN = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    """Create the tables that are missing.

    SQLite (as Python drives it) and MySQL keep each table as soon as it is created: a process
    that dies here leaves the first of them, without a revision, and the next one starts again.
    """
    found = sa.inspect(op.get_bind())
    names = set(found.get_table_names())
    for name, create in _TABLES.items():
        if name not in names:
            create()
    for name, table, columns in _INDEXES:
        if table not in names or name not in {index["name"] for index in found.get_indexes(table)}:
            op.create_index(name, table, columns)
    if op.get_bind().dialect.name == "postgresql":
        # Compressed already: PostgreSQL would try again on each write, for nothing.
        for name in ("weir_batch", "weir_chunk", "weir_rollup"):
            op.execute(f"ALTER TABLE {name} ALTER COLUMN payload SET STORAGE EXTERNAL")


def _create_batch() -> None:
    op.create_table(
        "weir_batch",
        sa.Column("batch_id", _ID, primary_key=True, autoincrement=True),
        sa.Column("run_uuid", _RUN, nullable=False),
        sa.Column("n_points", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("crc32", sa.BigInteger, nullable=False),
        sa.Column("payload", _BLOB, nullable=False),
        sqlite_autoincrement=True,
    )


def _create_chunk() -> None:
    op.create_table(
        "weir_chunk",
        sa.Column("chunk_id", _ID, primary_key=True, autoincrement=True),
        sa.Column("run_uuid", _RUN, nullable=False),
        sa.Column("level", sa.SmallInteger, nullable=False),
        sa.Column("pack", sa.BigInteger, nullable=False),
        sa.Column("n_points", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("crc32", sa.BigInteger, nullable=False),
        sa.Column("payload", _BLOB, nullable=False),
        sqlite_autoincrement=True,
    )


def _create_series() -> None:
    op.create_table(
        "weir_series",
        sa.Column("run_uuid", _RUN, primary_key=True),
        sa.Column("key_hash", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("chunk_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first_row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n_points", sa.Integer, nullable=False),
        sa.Column("min_step", sa.BigInteger, nullable=False),
        sa.Column("max_step", sa.BigInteger, nullable=False),
        sa.Column("min_timestamp", sa.BigInteger, nullable=False),
        sa.Column("max_timestamp", sa.BigInteger, nullable=False),
        sa.Column("key", _KEY, nullable=False),
        sqlite_with_rowid=False,
    )


def _create_rollup() -> None:
    op.create_table(
        "weir_rollup",
        sa.Column("chunk_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first_row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("resolution", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("crc32", sa.BigInteger, nullable=False),
        sa.Column("payload", _BLOB, nullable=False),
    )


_TABLES = {
    "weir_batch": _create_batch,
    "weir_chunk": _create_chunk,
    "weir_series": _create_series,
    "weir_rollup": _create_rollup,
}
_INDEXES = (
    ("weir_batch_run", "weir_batch", ["run_uuid"]),
    ("weir_chunk_run", "weir_chunk", ["run_uuid", "level"]),
)


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
