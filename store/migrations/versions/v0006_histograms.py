"""Histograms of gradients and parameters by step.

The table is written out here rather than taken from ``schema.py``: a migration says what was true
when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_KEY = sa.LargeBinary().with_variant(mysql.VARBINARY(1000), "mysql", "mariadb")
_RUN = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    """Create what is missing: a process may have died before the revision was set."""
    bind = op.get_bind()
    if "weir_histogram" not in sa.inspect(bind).get_table_names():
        op.create_table(
            "weir_histogram",
            sa.Column("histogram_id", _ID, primary_key=True, autoincrement=True),
            sa.Column("run_uuid", _RUN, nullable=False),
            sa.Column("kind", sa.String(16), nullable=False),
            sa.Column("form", sa.SmallInteger, nullable=False),
            sa.Column("key_hash", sa.BigInteger, nullable=False),
            sa.Column("key", _KEY, nullable=False),
            sa.Column("first_step", sa.BigInteger, nullable=False),
            sa.Column("last_step", sa.BigInteger, nullable=False),
            sa.Column("n_steps", sa.Integer, nullable=False),
            sa.Column("size_bytes", sa.Integer, nullable=False),
            sa.Column("crc32", sa.BigInteger, nullable=False),
            sa.Column("payload", _BLOB, nullable=False),
            sqlite_autoincrement=True,
        )
        if bind.dialect.name == "postgresql":
            # They are compressed already: PostgreSQL would try again on every write.
            op.execute("ALTER TABLE weir_histogram ALTER COLUMN payload SET STORAGE EXTERNAL")
    found = {index["name"] for index in sa.inspect(bind).get_indexes("weir_histogram")}
    if "weir_histogram_run" not in found:
        columns = ["run_uuid", "kind", "form", "key_hash"]
        op.create_index("weir_histogram_run", "weir_histogram", columns)


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
