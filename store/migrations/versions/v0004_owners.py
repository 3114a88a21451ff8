"""Processes that answer for a run, each with its own last sign of life.

The table is written out here rather than taken from ``schema.py``: a migration says what was true
when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    """Create the table if it is missing: a process may have died before the revision was set."""
    if "weir_owner" not in sa.inspect(op.get_bind()).get_table_names():
        op.create_table(
            "weir_owner",
            sa.Column("run_uuid", _ID, primary_key=True),
            sa.Column("journal_id", _ID, primary_key=True),
            sa.Column("how", sa.String(8), nullable=False),
            sa.Column("at_ms", sa.BigInteger, nullable=False),
        )


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
