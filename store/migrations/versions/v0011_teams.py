"""Who may see an experiment, invitations, service accounts, and who did what.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0011"
down_revision = "0010"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_DIGEST = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_INDEXES = (
    ("weir_audit", "weir_audit_experiment", ["experiment_id", "entry_id"]),
    ("weir_audit", "weir_audit_who", ["who", "entry_id"]),
)


def upgrade() -> None:
    """Add what is missing: a process may have died before the revision was set."""
    found = sa.inspect(op.get_bind())
    names = set(found.get_table_names())
    if "weir_visibility" not in names:
        op.create_table(
            "weir_visibility",
            sa.Column("experiment_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("workspace", sa.String(255), nullable=True),
            sa.Column("level", sa.String(16), nullable=False),
            sa.Column("denied_before", _LONG_TEXT, nullable=False),
            sa.Column("share_id", _ID, nullable=True),
            sa.Column("address", sa.String(128), nullable=True),
            sa.Column("changed_ms", sa.BigInteger, nullable=False),
            sa.Column("changed_by", sa.String(255), nullable=False),
        )
    if "weir_invite" not in names:
        op.create_table(
            "weir_invite",
            sa.Column("invite_id", _ID, primary_key=True),
            sa.Column("token_sha256", _DIGEST, nullable=False, unique=True),
            sa.Column("workspace", sa.String(255), nullable=True),
            sa.Column("experiment_id", sa.BigInteger, nullable=True),
            sa.Column("permission", sa.String(16), nullable=True),
            sa.Column("note", sa.String(250), nullable=False),
            sa.Column("created_ms", sa.BigInteger, nullable=False),
            sa.Column("created_by", sa.String(255), nullable=False),
            sa.Column("expires_ms", sa.BigInteger, nullable=False),
            sa.Column("used_ms", sa.BigInteger, nullable=True),
            sa.Column("used_by", sa.String(255), nullable=True),
            sa.Column("revoked_ms", sa.BigInteger, nullable=True),
        )
    if "weir_service_account" not in names:
        op.create_table(
            "weir_service_account",
            sa.Column("username", sa.String(255), primary_key=True),
            sa.Column("workspace", sa.String(255), nullable=True),
            sa.Column("note", sa.String(250), nullable=False),
            sa.Column("created_ms", sa.BigInteger, nullable=False),
            sa.Column("created_by", sa.String(255), nullable=False),
            sa.Column("rotated_ms", sa.BigInteger, nullable=False),
            sa.Column("disabled_ms", sa.BigInteger, nullable=True),
        )
    if "weir_audit" not in names:
        op.create_table(
            "weir_audit",
            sa.Column("entry_id", _NUMBER, primary_key=True, autoincrement=True),
            sa.Column("at_ms", sa.BigInteger, nullable=False),
            sa.Column("who", sa.String(255), nullable=False),
            sa.Column("address", sa.String(64), nullable=False),
            sa.Column("action", sa.String(40), nullable=False),
            sa.Column("experiment_id", sa.BigInteger, nullable=True),
            sa.Column("workspace", sa.String(255), nullable=True),
            sa.Column("target", sa.String(255), nullable=False),
            sa.Column("detail", _LONG_TEXT, nullable=False),
        )
    for table, index, columns in _INDEXES:
        there = {one["name"] for one in found.get_indexes(table)} if table in names else set()
        if index not in there:
            op.create_index(index, table, columns)


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
