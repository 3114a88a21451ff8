"""Journals for tests: made, read to their end, and written by processes that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlflow_weir.plugin.journal.format import list_segments, segment_name
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import Credentials, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal

TARGET = Target("sql", "sqlite:////somewhere/a.db")
SECRETS = Credentials("sqlite:////somewhere/a.db?password=SECRET", {"TOKEN": "SECRET"})


def new_journal(root: Path) -> Journal:
    """Make a journal in a spool at ``root``."""
    return Journal.create(Spool.open(root), TARGET, SECRETS)


def read_all(folder: Path, *, is_final: bool = True, max_bytes: int = 4 << 20) -> list[bytes]:
    """Read a journal from its beginning until there is nothing."""
    payloads: list[bytes] = []
    with JournalReader(folder, is_final=is_final) as reader:
        while (records := reader.read(max_bytes)).payloads:
            payloads += records.payloads
        assert reader.is_at_end()
    return payloads


def put_segments(folder: Path, *contents: bytes) -> Path:
    """Make a folder of segments that hold these bytes, one behind the other."""
    folder.mkdir(exist_ok=True)
    for start in list_segments(folder):
        (folder / segment_name(start)).unlink()
    position = 0
    for content in contents:
        (folder / segment_name(position)).write_bytes(content)
        position += len(content)
    return folder


def start_python(
    code: str, *arguments: str, wrapper: tuple[str, ...] = ()
) -> subprocess.Popen[bytes]:
    """Run ``code`` in a process of its own, with pipes."""
    support = str(Path(__file__).parent)
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": support},
    )


def run_python(code: str, *arguments: str) -> str:
    """Run ``code`` to its end, which has to be a good one; return what it printed."""
    process = start_python(code, *arguments)
    output, error = process.communicate(timeout=300)
    assert process.returncode == 0, error.decode()
    return output.decode()
