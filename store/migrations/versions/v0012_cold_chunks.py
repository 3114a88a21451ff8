"""Where chunks are that have moved out of the database.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0012"
down_revision = "0011"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_DIGEST = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_INDEXES = (
    ("weir_cold", "weir_cold_object_id", ["object_id"]),
    ("weir_cold", "weir_cold_run", ["run_uuid"]),
)


def upgrade() -> None:
    """Add what is missing: a process may have died before the revision was set."""
    found = sa.inspect(op.get_bind())
    names = set(found.get_table_names())
    if "weir_cold_object" not in names:
        op.create_table(
            "weir_cold_object",
            sa.Column("object_id", _ID, primary_key=True),
            sa.Column("dataset", _ID, nullable=False),
            sa.Column("root", sa.String(500), nullable=False),
            sa.Column("name", sa.String(500), nullable=False),
            sa.Column("experiment_id", sa.BigInteger, nullable=False),
            sa.Column("state", sa.String(8), nullable=False),
            sa.Column("n_chunks", sa.Integer, nullable=False),
            sa.Column("n_points", sa.BigInteger, nullable=False),
            sa.Column("size_bytes", sa.BigInteger, nullable=False),
            sa.Column("sha256", _DIGEST, nullable=False),
            sa.Column("footer", _BLOB, nullable=False),
            sa.Column("created_ms", sa.BigInteger, nullable=False),
        )
    if "weir_cold" not in names:
        op.create_table(
            "weir_cold",
            sa.Column("chunk_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("run_uuid", _ID, nullable=False),
            sa.Column("object_id", _ID, nullable=False),
            sa.Column("row_group", sa.Integer, nullable=False),
            sa.Column("first_row", sa.Integer, nullable=False),
            sa.Column("range_start", sa.BigInteger, nullable=False),
            sa.Column("range_bytes", sa.Integer, nullable=False),
            sa.Column("crc32", sa.BigInteger, nullable=False),
            sa.Column("level", sa.SmallInteger, nullable=False),
            sa.Column("size_bytes", sa.Integer, nullable=False),
        )
    for table, index, columns in _INDEXES:
        there = {one["name"] for one in found.get_indexes(table)} if table in names else set()
        if index not in there:
            op.create_index(index, table, columns)


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
