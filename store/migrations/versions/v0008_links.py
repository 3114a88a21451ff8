"""Links that anyone may open: what they show, which runs, and who opened them.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_DIGEST = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_INDEXES = {
    "weir_share": ("weir_share_scope", ["scope"]),
    "weir_share_run": ("weir_share_run_run", ["run_uuid"]),
    "weir_share_visit": ("weir_share_visit_share", ["share_id", "visit_id"]),
}


def upgrade() -> None:
    """Add what is missing: a process may have died before the revision was set."""
    found = sa.inspect(op.get_bind())
    names = set(found.get_table_names())
    if "weir_share" not in names:
        op.create_table(
            "weir_share",
            sa.Column("share_id", _ID, primary_key=True),
            sa.Column("token_sha256", _DIGEST, nullable=False, unique=True),
            sa.Column("kind", sa.String(16), nullable=False),
            sa.Column("title", sa.String(250), nullable=False),
            sa.Column("scope", sa.String(500), nullable=False),
            sa.Column("workspace", sa.String(255), nullable=True),
            sa.Column("is_live", sa.Boolean, nullable=False),
            sa.Column("as_of_ms", sa.BigInteger, nullable=True),
            sa.Column("n_runs", sa.Integer, nullable=True),
            sa.Column("document", _LONG_TEXT, nullable=False),
            sa.Column("replaces_names", sa.Boolean, nullable=False),
            sa.Column("is_preview", sa.Boolean, nullable=False),
            sa.Column("created_ms", sa.BigInteger, nullable=False),
            sa.Column("created_by", sa.String(255), nullable=False),
            sa.Column("expires_ms", sa.BigInteger, nullable=True),
            sa.Column("secret", sa.String(255), nullable=True),
            sa.Column("is_paused", sa.Boolean, nullable=False),
            sa.Column("revoked_ms", sa.BigInteger, nullable=True),
            sa.Column("hits", sa.BigInteger, nullable=False),
            sa.Column("last_seen_ms", sa.BigInteger, nullable=True),
        )
    if "weir_share_run" not in names:
        op.create_table(
            "weir_share_run",
            sa.Column("share_id", _ID, primary_key=True),
            sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("run_uuid", _ID, nullable=False),
            sa.Column("facts", _BLOB, nullable=True),
        )
    if "weir_share_visit" not in names:
        op.create_table(
            "weir_share_visit",
            sa.Column("visit_id", _NUMBER, primary_key=True, autoincrement=True),
            sa.Column("share_id", _ID, nullable=False),
            sa.Column("at_ms", sa.BigInteger, nullable=False),
            sa.Column("outcome", sa.String(20), nullable=False),
            sa.Column("address", sa.String(64), nullable=False),
        )
    for table, (index, columns) in _INDEXES.items():
        there = {one["name"] for one in found.get_indexes(table)} if table in names else set()
        if index not in there:
            op.create_index(index, table, columns)


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
