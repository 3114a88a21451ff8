"""Journals delivered and runs that are alive.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Create the tables that are missing: a process may have died between the two."""
    names = sa.inspect(op.get_bind()).get_table_names()
    if "weir_journal" not in names:
        op.create_table(
            "weir_journal",
            sa.Column("journal_id", _ID, primary_key=True),
            sa.Column("position", sa.BigInteger, nullable=False),
            sa.Column("fencing", sa.BigInteger, nullable=False),
            sa.Column("n_records", sa.BigInteger, nullable=False),
            sa.Column("n_points", sa.BigInteger, nullable=False),
            sa.Column("n_rejected", sa.BigInteger, nullable=False),
            sa.Column("updated_ms", sa.BigInteger, nullable=False),
            sa.Column("state", _LONG_TEXT, nullable=False),
        )
    if "weir_heartbeat" not in names:
        op.create_table(
            "weir_heartbeat",
            sa.Column("run_uuid", _ID, primary_key=True),
            sa.Column("journal_id", _ID, nullable=True),
            sa.Column("host", sa.String(255), nullable=True),
            sa.Column("at_ms", sa.BigInteger, nullable=True),
            sa.Column("provisional_status", sa.String(20), nullable=True),
            sa.Column("provisional_by", sa.String(16), nullable=True),
        )


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
