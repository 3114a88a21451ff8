"""The workspace: values' extremes beside the series, runs' numbers, saved views.

The tables are written out here rather than taken from ``schema.py``: a migration says what was
true when it was written.
"""

from collections import defaultdict

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store.metrics.batch_encoding import verified
from mlflow_weir.store.metrics.chunks import value_range
from mlflow_weir.store.metrics.encoding import decode_chunk

revision = "0007"
down_revision = "0006"

_ID = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_SERIES = sa.table(
    "weir_series",
    *map(sa.column, ("run_uuid", "chunk_id", "first_row", "n_points", "low", "high")),
)
_CHUNK = sa.table("weir_chunk", *map(sa.column, ("chunk_id", "crc32", "payload")))


def upgrade() -> None:
    """Add what is missing: a process may have died before the revision was set."""
    found = sa.inspect(op.get_bind())
    names = set(found.get_table_names())
    there = {column["name"] for column in found.get_columns("weir_series")}
    for name in ("low", "high"):
        if name not in there:
            op.add_column("weir_series", sa.Column(name, sa.Double, nullable=True))
    _fill_extremes(op.get_bind())
    if "weir_ordinal" not in names:
        op.create_table(
            "weir_ordinal",
            sa.Column("experiment_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("run_uuid", _ID, nullable=False, unique=True),
        )
    if "weir_view" not in names:
        op.create_table(
            "weir_view",
            sa.Column("view_id", _ID, primary_key=True),
            sa.Column("kind", sa.String(16), nullable=False),
            sa.Column("scope", sa.String(500), nullable=False),
            sa.Column("owner", sa.String(255), nullable=False),
            sa.Column("name", sa.String(250), nullable=False),
            sa.Column("revision", sa.Integer, nullable=False),
            sa.Column("at_ms", sa.BigInteger, nullable=False),
        )
    if "weir_view" not in names or "weir_view_scope" not in {
        index["name"] for index in found.get_indexes("weir_view")
    }:
        op.create_index("weir_view_scope", "weir_view", ["scope"])
    if "weir_view_revision" not in names:
        op.create_table(
            "weir_view_revision",
            sa.Column("view_id", _ID, primary_key=True),
            sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("author", sa.String(255), nullable=False),
            sa.Column("at_ms", sa.BigInteger, nullable=False),
            sa.Column("document", _LONG_TEXT, nullable=False),
        )


def _fill_extremes(connection: sa.Connection) -> None:
    """Read the extremes of what was compacted before; a chunk that cannot be read has none."""
    columns = _SERIES.c
    pieces = defaultdict(list)
    for row in connection.execute(sa.select(_SERIES).where(columns.low.is_(None))):
        pieces[row.chunk_id].append(row)
    for chunk_id, rows in pieces.items():
        chunk = connection.execute(
            sa.select(_CHUNK.c.crc32, _CHUNK.c.payload).where(_CHUNK.c.chunk_id == chunk_id)
        ).first()
        if chunk is None:
            continue
        what = f"weir_chunk {chunk_id}"
        try:
            points = decode_chunk(verified(chunk.payload, chunk.crc32, what), what)
        except ChunkCorrupt:
            continue  # `weir db check` names it
        for row in rows:
            low, high = value_range(points.rows(row.first_row, row.first_row + row.n_points))
            connection.execute(
                sa.update(_SERIES)
                .where(
                    columns.run_uuid == row.run_uuid,
                    columns.chunk_id == chunk_id,
                    columns.first_row == row.first_row,
                )
                .values(low=low, high=high)
            )


def downgrade() -> None:
    """Refuse: ``weir db eject`` is the way back, and it keeps every point."""
    raise NotImplementedError("use `weir db eject URI`, which writes every point back")
