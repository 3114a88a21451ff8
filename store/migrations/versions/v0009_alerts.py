"""Alerts of runs, the rules that raise them, where they are sent, and what became of that.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_INDEXES = (
    ("weir_alert", "weir_alert_run", ["run_uuid", "at_ms"]),
    ("weir_alert", "weir_alert_routed", ["is_routed", "received_ms"]),
    ("weir_alert_rule", "weir_alert_rule_experiment", ["experiment_id"]),
    ("weir_alert_delivery", "weir_alert_delivery_due", ["state", "due_ms"]),
    ("weir_alert_delivery", "weir_alert_delivery_run", ["run_uuid"]),
    ("weir_alert_delivery", "weir_alert_delivery_target", ["target_id", "tried_ms"]),
)


def upgrade() -> None:
    """Add what is missing: a process may have died before the revision was set."""
    found = sa.inspect(op.get_bind())
    names = set(found.get_table_names())
    if "weir_alert" not in names:
        op.create_table(
            "weir_alert",
            sa.Column("alert_id", _ID, primary_key=True),
            sa.Column("run_uuid", _ID, nullable=False),
            sa.Column("level", sa.String(16), nullable=False),
            sa.Column("title", sa.String(250), nullable=False),
            sa.Column("text", _LONG_TEXT, nullable=False),
            sa.Column("at_ms", sa.BigInteger, nullable=False),
            sa.Column("received_ms", sa.BigInteger, nullable=False),
            sa.Column("rule_id", _ID, nullable=True),
            sa.Column("is_routed", sa.Boolean, nullable=False),
        )
    if "weir_alert_rule" not in names:
        op.create_table(
            "weir_alert_rule",
            sa.Column("rule_id", _ID, primary_key=True),
            sa.Column("experiment_id", sa.BigInteger, nullable=True),
            sa.Column("workspace", sa.String(255), nullable=True),
            sa.Column("kind", sa.String(16), nullable=False),
            sa.Column("document", _LONG_TEXT, nullable=False),
            sa.Column("is_paused", sa.Boolean, nullable=False),
            sa.Column("created_ms", sa.BigInteger, nullable=False),
            sa.Column("created_by", sa.String(255), nullable=False),
        )
    if "weir_alert_target" not in names:
        op.create_table(
            "weir_alert_target",
            sa.Column("target_id", _ID, primary_key=True),
            sa.Column("workspace", sa.String(255), nullable=True),
            sa.Column("name", sa.String(100), nullable=False),
            sa.Column("kind", sa.String(16), nullable=False),
            sa.Column("document", _LONG_TEXT, nullable=False),
            sa.Column("is_paused", sa.Boolean, nullable=False),
            sa.Column("created_ms", sa.BigInteger, nullable=False),
            sa.Column("created_by", sa.String(255), nullable=False),
        )
    if "weir_alert_delivery" not in names:
        op.create_table(
            "weir_alert_delivery",
            sa.Column("delivery_id", _ID, primary_key=True),
            sa.Column("alert_id", _ID, nullable=False),
            sa.Column("target_id", _ID, nullable=False),
            sa.Column("run_uuid", _ID, nullable=False),
            sa.Column("state", sa.String(16), nullable=False),
            sa.Column("n_tries", sa.Integer, nullable=False),
            sa.Column("due_ms", sa.BigInteger, nullable=False),
            sa.Column("tried_ms", sa.BigInteger, nullable=True),
            sa.Column("told", sa.String(250), nullable=False),
        )
    for table, index, columns in _INDEXES:
        there = {one["name"] for one in found.get_indexes(table)} if table in names else set()
        if index not in there:
            op.create_index(index, table, columns)


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
