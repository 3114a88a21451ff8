"""What runs printed.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    """Create the tables that are missing: a process may have died between the two."""
    names = sa.inspect(op.get_bind()).get_table_names()
    if "weir_console" not in names:
        op.create_table(
            "weir_console",
            sa.Column("run_uuid", _ID, primary_key=True),
            sa.Column("source", _ID, primary_key=True),
            sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("first_line", sa.BigInteger, nullable=False),
            sa.Column("n_lines", sa.Integer, nullable=False),
            sa.Column("size_bytes", sa.Integer, nullable=False),
            sa.Column("crc32", sa.BigInteger, nullable=False),
            sa.Column("payload", _BLOB, nullable=False),
        )
    if "weir_console_source" not in names:
        op.create_table(
            "weir_console_source",
            sa.Column("run_uuid", _ID, primary_key=True),
            sa.Column("source", _ID, primary_key=True),
            sa.Column("node", sa.String(255), nullable=False),
            sa.Column("process_rank", sa.Integer, nullable=True),
            sa.Column("pid", sa.Integer, nullable=False),
            sa.Column("began_ms", sa.BigInteger, nullable=False),
            sa.Column("n_lines", sa.BigInteger, nullable=False),
            sa.Column("cut_from", sa.BigInteger, nullable=False),
            sa.Column("cut_to", sa.BigInteger, nullable=False),
            sa.Column("last_seq", sa.BigInteger, nullable=False),
        )


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
