"""What ``weir db check`` and ``weir db eject`` do with the consoles of runs."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mlflow_weir.errors import ChunkCorrupt, StoreUnavailable
from mlflow_weir.store import schema
from mlflow_weir.store.console.document import FOLDER, NAME, text_of
from mlflow_weir.store.console.lines import decode
from mlflow_weir.store.console.reading import iter_lines, list_sources
from mlflow_weir.store.delivery import mlflow_tables as tables

_PAGE = 500
_FALLBACK = "weir-console"


class Console(NamedTuple):
    """A run that printed something, and where its artifacts are."""

    run_id: str
    artifact_uri: str


def list_consoles(connection: sa.Connection) -> list[Console]:
    """Return the runs that have lines in the database."""
    ours, runs = schema.console_source.c, tables.runs.c
    rows = connection.execute(
        sa.select(runs.run_uuid, runs.artifact_uri)
        .where(runs.run_uuid.in_(sa.select(ours.run_uuid)))
        .order_by(runs.run_uuid)
    )
    return [Console(*row) for row in rows]


def keep_as_artifact(engine: sa.Engine, console: Console) -> str:
    """Write a run's console where stock MLflow shows it, unless it is there.

    Returns:
        A note for the person where it went somewhere else; "" where not.

    Raises:
        StoreUnavailable: It could not be written anywhere.
    """
    path = f"{FOLDER}/{NAME}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, NAME)
        with engine.connect() as connection, open(file, "w", encoding="utf-8") as text:
            for piece in _text(connection, console.run_id):
                text.write(piece)
        try:
            repository = get_artifact_repository(console.artifact_uri)
            if not any(one.path == path for one in repository.list_artifacts(FOLDER)):
                repository.log_artifact(str(file), FOLDER)
            return ""
        except (MlflowException, OSError, ImportError) as exc:
            reason = " ".join(str(exc).split())[:200]
        kept = Path.cwd() / _FALLBACK / f"{console.run_id}.log"
        try:
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(file.read_bytes())
        except OSError as exc:
            raise StoreUnavailable(
                f"the console of run {console.run_id} cannot be written: {exc.strerror}",
                hint="run this in a folder that you may write to",
            ) from exc
    return f"the console of run {console.run_id} is in {kept}, not among its artifacts: {reason}"


def _text(connection: sa.Connection, run_id: str) -> Iterator[str]:
    sources = list_sources(connection, run_id)
    for source in sources:
        if len(sources) > 1:
            rank = "" if source.rank is None else f", rank {source.rank}"
            yield f"[weir: process {source.pid} on {source.node}{rank}]\n"
        yield from text_of(iter_lines(connection, run_id, source), source.n_lines)


def problems(connection: sa.Connection) -> Iterator[str]:
    """Say which rows do not hold what they say."""
    columns = schema.console.c
    last = ("", "", -1)
    key = (columns.run_uuid, columns.source, columns.seq)
    while rows := connection.execute(
        sa.select(*key, columns.first_line, columns.n_lines, columns.crc32, columns.payload)
        .where(sa.tuple_(*key) > last)
        .order_by(*key)
        .limit(_PAGE)
    ).all():
        for row in rows:
            what = f"weir_console {row.run_uuid}/{row.source}/{row.seq}"
            if zlib.crc32(row.payload) != row.crc32:
                yield f"{what}: its checksum does not hold"
                continue
            try:
                found = len(decode(row.payload, row.first_line, what))
            except ChunkCorrupt as exc:
                yield str(exc)
                continue
            if found != row.n_lines:
                yield f"{what}: {found} lines, its row says {row.n_lines}"
        last = (rows[-1].run_uuid, rows[-1].source, rows[-1].seq)
