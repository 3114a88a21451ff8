"""Which panel of a report a comment is on; those from before quote its name, and keep that."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0013"
down_revision = "0012"

_PANEL = sa.String(16).with_variant(
    mysql.VARCHAR(16, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)


def upgrade() -> None:
    """Add what is missing: a process may have died before the revision was set."""
    there = {one["name"] for one in sa.inspect(op.get_bind()).get_columns("weir_report_comment")}
    if "panel" not in there:
        op.add_column("weir_report_comment", sa.Column("panel", _PANEL, nullable=True))


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
