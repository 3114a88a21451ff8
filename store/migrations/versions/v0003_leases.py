"""Leases on work that one of many servers does.

The table is written out here rather than taken from ``schema.py``: a migration says what was true
when it was written.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table if it is missing: a process may have died before the revision was set."""
    if "weir_lease" not in sa.inspect(op.get_bind()).get_table_names():
        op.create_table(
            "weir_lease",
            sa.Column("name", sa.String(64), primary_key=True),
            sa.Column("holder", sa.String(64), nullable=False),
            sa.Column("since_ms", sa.BigInteger, nullable=False),
            sa.Column("until_ms", sa.BigInteger, nullable=False),
        )


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
