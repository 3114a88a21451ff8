"""Weir's tables: the metric history, what runs printed and what has been delivered.

    weir_batch      one row a write: every point of one call for one run, in log order
    weir_chunk      Parquet: points of one run, one metric or many short ones together
    weir_series     which rows of which chunk belong to a metric (one row a metric and chunk)
    weir_cold       where a chunk is that has moved to an object (its payload is empty)
    weir_cold_object    Parquet files with chunks of many runs, in a folder or S3
    weir_rollup     a metric's buckets within one chunk, at one resolution
    weir_histogram  histograms of tensors by step (histograms/writing.py tells the forms of a row)
    weir_journal    how far each journal has been applied, which makes that exactly once
    weir_heartbeat  runs that a process answers for: when it was last seen, what Weir said of it
    weir_owner      living processes that answer for a run: one row a run and journal
    weir_lease      work that one of many servers does: which, and until when
    weir_console    lines that a run printed: one row some hundred lines of one source
    weir_console_source  who printed them: one row a run and process
    weir_ordinal    each run's number in its experiment, which its colour follows from
    weir_view       saved arrangements of the workspace: personal ones, named ones, states of links
    weir_view_revision  what each view was at each of its revisions
    weir_share      links that anyone may open: what they show, until when, and who made them
    weir_share_run  runs that a link names; as they were, where it is frozen
    weir_share_visit    who opened a link, or was turned away
    weir_alert      what trainings and rules had to say of a run
    weir_alert_rule     what of an experiment's runs is to be said, and to whom
    weir_alert_target   where alerts can be sent
    weir_alert_delivery one row an alert and target: whether it was sent, and when it is tried next
    weir_report     documents about experiments: each one's draft, and how often it was published
    weir_report_revision    what each report was when it was published
    weir_report_comment     what readers say of a report
    weir_report_image   pictures in reports, by the digest of their content
    weir_visibility     experiments that are private or public; all others are their team's
    weir_invite     links by which somebody becomes a user of MLflow's, once
    weir_service_account    users of MLflow's that are jobs, and who made them
    weir_audit      who did what to whom, and from where; only added to

A point moves from batches to chunks and never back, and a reader looks at batches first, so it
meets a moving point at least once; exact duplicates are dropped on reading. No foreign key points
to MLflow's tables: on SQLite its migrations recreate them, which would empty children that
cascade. ``metrics`` and ``latest_metrics`` are MLflow's; tests/host/test_schema.py holds the
columns named here, and in delivery/mlflow_tables.py, against MLflow's models.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData()

# SQLite gives automatic ids to INTEGER primary keys only.
_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_Blob = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_KeyBytes = sa.LargeBinary().with_variant(mysql.VARBINARY(1000), "mysql", "mariadb")
# Ids are hexadecimal: compared by bytes, whatever the database's collation is.
_RunId = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_PanelId = sa.String(16).with_variant(
    mysql.VARCHAR(16, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_Digest = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)

batch = sa.Table(
    "weir_batch",
    metadata,
    sa.Column("batch_id", _Id, primary_key=True, autoincrement=True),
    sa.Column("run_uuid", _RunId, nullable=False),
    sa.Column("n_points", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
    sa.Column("payload", _Blob, nullable=False),
    sa.Index("weir_batch_run", "run_uuid"),
    sqlite_autoincrement=True,
)

chunk = sa.Table(
    "weir_chunk",
    metadata,
    sa.Column("chunk_id", _Id, primary_key=True, autoincrement=True),
    sa.Column("run_uuid", _RunId, nullable=False),
    sa.Column("level", sa.SmallInteger, nullable=False),
    sa.Column("pack", sa.BigInteger, nullable=False),
    sa.Column("n_points", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
    sa.Column("payload", _Blob, nullable=False),
    sa.Index("weir_chunk_run", "run_uuid", "level"),
    sqlite_autoincrement=True,
)

series = sa.Table(
    "weir_series",
    metadata,
    sa.Column("run_uuid", _RunId, primary_key=True),
    sa.Column("key_hash", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("chunk_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("n_points", sa.Integer, nullable=False),
    sa.Column("min_step", sa.BigInteger, nullable=False),
    sa.Column("max_step", sa.BigInteger, nullable=False),
    sa.Column("min_timestamp", sa.BigInteger, nullable=False),
    sa.Column("max_timestamp", sa.BigInteger, nullable=False),
    sa.Column("key", _KeyBytes, nullable=False),
    sa.Column("low", sa.Double, nullable=True),
    sa.Column("high", sa.Double, nullable=True),
    sqlite_with_rowid=False,
)

rollup = sa.Table(
    "weir_rollup",
    metadata,
    sa.Column("chunk_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("resolution", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
    sa.Column("payload", _Blob, nullable=False),
)

cold = sa.Table(
    "weir_cold",
    metadata,
    sa.Column("chunk_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run_uuid", _RunId, nullable=False),
    sa.Column("object_id", _RunId, nullable=False),
    sa.Column("row_group", sa.Integer, nullable=False),
    sa.Column("first_row", sa.Integer, nullable=False),
    sa.Column("range_start", sa.BigInteger, nullable=False),
    sa.Column("range_bytes", sa.Integer, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
    sa.Column("level", sa.SmallInteger, nullable=False),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sa.Index("weir_cold_object_id", "object_id"),
    sa.Index("weir_cold_run", "run_uuid"),
)

cold_object = sa.Table(
    "weir_cold_object",
    metadata,
    sa.Column("object_id", _RunId, primary_key=True),
    sa.Column("dataset", _RunId, nullable=False),
    sa.Column("root", sa.String(500), nullable=False),
    sa.Column("name", sa.String(500), nullable=False),
    sa.Column("experiment_id", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("n_chunks", sa.Integer, nullable=False),
    sa.Column("n_points", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", _Digest, nullable=False),
    sa.Column("footer", _Blob, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
)

histogram = sa.Table(
    "weir_histogram",
    metadata,
    sa.Column("histogram_id", _Id, primary_key=True, autoincrement=True),
    sa.Column("run_uuid", _RunId, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("form", sa.SmallInteger, nullable=False),
    sa.Column("key_hash", sa.BigInteger, nullable=False),
    sa.Column("key", _KeyBytes, nullable=False),
    sa.Column("first_step", sa.BigInteger, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("n_steps", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
    sa.Column("payload", _Blob, nullable=False),
    sa.Index("weir_histogram_run", "run_uuid", "kind", "form", "key_hash"),
    sqlite_autoincrement=True,
)

journal = sa.Table(
    "weir_journal",
    metadata,
    sa.Column("journal_id", _RunId, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("fencing", sa.BigInteger, nullable=False),
    sa.Column("n_records", sa.BigInteger, nullable=False),
    sa.Column("n_points", sa.BigInteger, nullable=False),
    sa.Column("n_rejected", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("state", _LongText, nullable=False),
)

heartbeat = sa.Table(
    "weir_heartbeat",
    metadata,
    sa.Column("run_uuid", _RunId, primary_key=True),
    sa.Column("journal_id", _RunId, nullable=True),
    sa.Column("host", sa.String(255), nullable=True),
    sa.Column("at_ms", sa.BigInteger, nullable=True),
    sa.Column("provisional_status", sa.String(20), nullable=True),
    sa.Column("provisional_by", sa.String(16), nullable=True),
)

owner = sa.Table(
    "weir_owner",
    metadata,
    sa.Column("run_uuid", _RunId, primary_key=True),
    sa.Column("journal_id", _RunId, primary_key=True),
    sa.Column("how", sa.String(8), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

lease = sa.Table(
    "weir_lease",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
)

console = sa.Table(
    "weir_console",
    metadata,
    sa.Column("run_uuid", _RunId, primary_key=True),
    sa.Column("source", _RunId, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_line", sa.BigInteger, nullable=False),
    sa.Column("n_lines", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
    sa.Column("payload", _Blob, nullable=False),
)

console_source = sa.Table(
    "weir_console_source",
    metadata,
    sa.Column("run_uuid", _RunId, primary_key=True),
    sa.Column("source", _RunId, primary_key=True),
    sa.Column("node", sa.String(255), nullable=False),
    sa.Column("process_rank", sa.Integer, nullable=True),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("began_ms", sa.BigInteger, nullable=False),
    sa.Column("n_lines", sa.BigInteger, nullable=False),
    sa.Column("cut_from", sa.BigInteger, nullable=False),
    sa.Column("cut_to", sa.BigInteger, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
)

ordinal = sa.Table(
    "weir_ordinal",
    metadata,
    sa.Column("experiment_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_uuid", _RunId, nullable=False, unique=True),
)

view = sa.Table(
    "weir_view",
    metadata,
    sa.Column("view_id", _RunId, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("scope", sa.String(500), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("name", sa.String(250), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Index("weir_view_scope", "scope"),
)

view_revision = sa.Table(
    "weir_view_revision",
    metadata,
    sa.Column("view_id", _RunId, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("document", _LongText, nullable=False),
)

share = sa.Table(
    "weir_share",
    metadata,
    sa.Column("share_id", _RunId, primary_key=True),
    sa.Column("token_sha256", _Digest, nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("title", sa.String(250), nullable=False),
    sa.Column("scope", sa.String(500), nullable=False),
    sa.Column("workspace", sa.String(255), nullable=True),
    sa.Column("is_live", sa.Boolean, nullable=False),
    sa.Column("as_of_ms", sa.BigInteger, nullable=True),
    sa.Column("n_runs", sa.Integer, nullable=True),
    sa.Column("document", _LongText, nullable=False),
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
    sa.Index("weir_share_scope", "scope"),
)

share_run = sa.Table(
    "weir_share_run",
    metadata,
    sa.Column("share_id", _RunId, primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_uuid", _RunId, nullable=False),
    sa.Column("facts", _Blob, nullable=True),
    sa.Index("weir_share_run_run", "run_uuid"),
)

share_visit = sa.Table(
    "weir_share_visit",
    metadata,
    sa.Column("visit_id", _Id, primary_key=True, autoincrement=True),
    sa.Column("share_id", _RunId, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Index("weir_share_visit_share", "share_id", "visit_id"),
)

alert = sa.Table(
    "weir_alert",
    metadata,
    sa.Column("alert_id", _RunId, primary_key=True),
    sa.Column("run_uuid", _RunId, nullable=False),
    sa.Column("level", sa.String(16), nullable=False),
    sa.Column("title", sa.String(250), nullable=False),
    sa.Column("text", _LongText, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("rule_id", _RunId, nullable=True),
    sa.Column("is_routed", sa.Boolean, nullable=False),
    sa.Index("weir_alert_run", "run_uuid", "at_ms"),
    sa.Index("weir_alert_routed", "is_routed", "received_ms"),
)

alert_rule = sa.Table(
    "weir_alert_rule",
    metadata,
    sa.Column("rule_id", _RunId, primary_key=True),
    sa.Column("experiment_id", sa.BigInteger, nullable=True),
    sa.Column("workspace", sa.String(255), nullable=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("document", _LongText, nullable=False),
    sa.Column("is_paused", sa.Boolean, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Index("weir_alert_rule_experiment", "experiment_id"),
)

alert_target = sa.Table(
    "weir_alert_target",
    metadata,
    sa.Column("target_id", _RunId, primary_key=True),
    sa.Column("workspace", sa.String(255), nullable=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("document", _LongText, nullable=False),
    sa.Column("is_paused", sa.Boolean, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
)

alert_delivery = sa.Table(
    "weir_alert_delivery",
    metadata,
    sa.Column("delivery_id", _RunId, primary_key=True),
    sa.Column("alert_id", _RunId, nullable=False),
    sa.Column("target_id", _RunId, nullable=False),
    sa.Column("run_uuid", _RunId, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("n_tries", sa.Integer, nullable=False),
    sa.Column("due_ms", sa.BigInteger, nullable=False),
    sa.Column("tried_ms", sa.BigInteger, nullable=True),
    sa.Column("told", sa.String(250), nullable=False),
    sa.Index("weir_alert_delivery_due", "state", "due_ms"),
    sa.Index("weir_alert_delivery_run", "run_uuid"),
    sa.Index("weir_alert_delivery_target", "target_id", "tried_ms"),
)

report = sa.Table(
    "weir_report",
    metadata,
    sa.Column("report_id", _RunId, primary_key=True),
    sa.Column("scope", sa.String(500), nullable=False),
    sa.Column("workspace", sa.String(255), nullable=True),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("draft", sa.Integer, nullable=False),
    sa.Column("title", sa.String(250), nullable=False),
    sa.Column("document", _LongText, nullable=False),
    sa.Column("saved_ms", sa.BigInteger, nullable=False),
    sa.Column("saved_by", sa.String(255), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("published_draft", sa.Integer, nullable=False),
    sa.Index("weir_report_scope", "scope"),
)

report_revision = sa.Table(
    "weir_report_revision",
    metadata,
    sa.Column("report_id", _RunId, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("title", sa.String(250), nullable=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("document", _LongText, nullable=False),
)

report_comment = sa.Table(
    "weir_report_comment",
    metadata,
    sa.Column("comment_id", _RunId, primary_key=True),
    sa.Column("report_id", _RunId, nullable=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("quote", sa.String(250), nullable=False),
    sa.Column("text", _LongText, nullable=False),
    sa.Column("resolved_ms", sa.BigInteger, nullable=True),
    sa.Column("resolved_by", sa.String(255), nullable=False),
    sa.Column("panel", _PanelId, nullable=True),
    sa.Index("weir_report_comment_report", "report_id", "at_ms"),
)

report_image = sa.Table(
    "weir_report_image",
    metadata,
    sa.Column("report_id", _RunId, primary_key=True),
    sa.Column("image_id", _RunId, primary_key=True),
    sa.Column("content_type", sa.String(32), nullable=False),
    sa.Column("n_bytes", sa.Integer, nullable=False),
    sa.Column("body", _Blob, nullable=False),
)

visibility = sa.Table(
    "weir_visibility",
    metadata,
    sa.Column("experiment_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("workspace", sa.String(255), nullable=True),
    sa.Column("level", sa.String(16), nullable=False),
    sa.Column("denied_before", _LongText, nullable=False),
    sa.Column("share_id", _RunId, nullable=True),
    sa.Column("address", sa.String(128), nullable=True),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.String(255), nullable=False),
)

invite = sa.Table(
    "weir_invite",
    metadata,
    sa.Column("invite_id", _RunId, primary_key=True),
    sa.Column("token_sha256", _Digest, nullable=False, unique=True),
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

service_account = sa.Table(
    "weir_service_account",
    metadata,
    sa.Column("username", sa.String(255), primary_key=True),
    sa.Column("workspace", sa.String(255), nullable=True),
    sa.Column("note", sa.String(250), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("rotated_ms", sa.BigInteger, nullable=False),
    sa.Column("disabled_ms", sa.BigInteger, nullable=True),
)

audit = sa.Table(
    "weir_audit",
    metadata,
    sa.Column("entry_id", _Id, primary_key=True, autoincrement=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("experiment_id", sa.BigInteger, nullable=True),
    sa.Column("workspace", sa.String(255), nullable=True),
    sa.Column("target", sa.String(255), nullable=False),
    sa.Column("detail", _LongText, nullable=False),
    sa.Index("weir_audit_experiment", "experiment_id", "entry_id"),
    sa.Index("weir_audit_who", "who", "entry_id"),
)

OF_A_RUN = (
    *(batch, chunk, series, cold, histogram, heartbeat, owner),
    *(console, console_source, ordinal, share_run, alert, alert_delivery),
)
"""The tables whose rows go with their run; ``weir_rollup`` goes with its chunk."""

# MLflow's own, by the columns used here.
mlflow_metrics = sa.table(
    "metrics",
    sa.column("run_uuid", sa.String),
    sa.column("key", sa.String),
    sa.column("timestamp", sa.BigInteger),
    sa.column("step", sa.BigInteger),
    sa.column("value", sa.Float(precision=53)),
    sa.column("is_nan", sa.Boolean),
)
mlflow_latest_metrics = sa.table(
    "latest_metrics",
    sa.column("run_uuid", sa.String),
    sa.column("key", sa.String),
    sa.column("timestamp", sa.BigInteger),
    sa.column("step", sa.BigInteger),
    sa.column("value", sa.Float(precision=53)),
    sa.column("is_nan", sa.Boolean),
)
mlflow_runs = sa.table("runs", sa.column("run_uuid", sa.String))
