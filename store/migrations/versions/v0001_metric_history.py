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
    """Create the tables."""
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
    op.create_index("weir_batch_run", "weir_batch", ["run_uuid"])
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
    op.create_index("weir_chunk_run", "weir_chunk", ["run_uuid", "level"])
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
    op.create_table(
        "weir_rollup",
        sa.Column("chunk_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first_row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("resolution", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("crc32", sa.BigInteger, nullable=False),
        sa.Column("payload", _BLOB, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Compressed already: PostgreSQL would try again on each write, for nothing.
        for table in ("weir_batch", "weir_chunk", "weir_rollup"):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN payload SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
