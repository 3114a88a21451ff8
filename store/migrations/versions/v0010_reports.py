"""Reports: their drafts and versions, what is said of them, and their pictures.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0010"
down_revision = "0009"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_INDEXES = (
    ("weir_report", "weir_report_scope", ["scope"]),
    ("weir_report_comment", "weir_report_comment_report", ["report_id", "at_ms"]),
)


def upgrade() -> None:
    """Add what is missing: a process may have died before the revision was set."""
    found = sa.inspect(op.get_bind())
    names = set(found.get_table_names())
    if "weir_report" not in names:
        op.create_table(
            "weir_report",
            sa.Column("report_id", _ID, primary_key=True),
            sa.Column("scope", sa.String(500), nullable=False),
            sa.Column("workspace", sa.String(255), nullable=True),
            sa.Column("created_ms", sa.BigInteger, nullable=False),
            sa.Column("created_by", sa.String(255), nullable=False),
            sa.Column("draft", sa.Integer, nullable=False),
            sa.Column("title", sa.String(250), nullable=False),
            sa.Column("document", _LONG_TEXT, nullable=False),
            sa.Column("saved_ms", sa.BigInteger, nullable=False),
            sa.Column("saved_by", sa.String(255), nullable=False),
            sa.Column("revision", sa.Integer, nullable=False),
            sa.Column("published_draft", sa.Integer, nullable=False),
        )
    if "weir_report_revision" not in names:
        op.create_table(
            "weir_report_revision",
            sa.Column("report_id", _ID, primary_key=True),
            sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("title", sa.String(250), nullable=False),
            sa.Column("author", sa.String(255), nullable=False),
            sa.Column("at_ms", sa.BigInteger, nullable=False),
            sa.Column("document", _LONG_TEXT, nullable=False),
        )
    if "weir_report_comment" not in names:
        op.create_table(
            "weir_report_comment",
            sa.Column("comment_id", _ID, primary_key=True),
            sa.Column("report_id", _ID, nullable=False),
            sa.Column("author", sa.String(255), nullable=False),
            sa.Column("at_ms", sa.BigInteger, nullable=False),
            sa.Column("quote", sa.String(250), nullable=False),
            sa.Column("text", _LONG_TEXT, nullable=False),
            sa.Column("resolved_ms", sa.BigInteger, nullable=True),
            sa.Column("resolved_by", sa.String(255), nullable=False),
        )
    if "weir_report_image" not in names:
        op.create_table(
            "weir_report_image",
            sa.Column("report_id", _ID, primary_key=True),
            sa.Column("image_id", _ID, primary_key=True),
            sa.Column("content_type", sa.String(32), nullable=False),
            sa.Column("n_bytes", sa.Integer, nullable=False),
            sa.Column("body", _BLOB, nullable=False),
        )
    for table, index, columns in _INDEXES:
        there = {one["name"] for one in found.get_indexes(table)} if table in names else set()
        if index not in there:
            op.create_index(index, table, columns)


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
