"""A run of a project full of secrets: none of them is anywhere in what Weir has written.

A real training, in a real repository whose changes, command line, variables and output carry the
planted secrets. The store is locked while it runs, so that the journal is looked at as well; then
it is delivered, and store, artifacts, logs and what is left of the spool are searched, packed and
unpacked.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from agents import wait_until
from corpora import generate
from corpora.repositories import run_git, write
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import Spool

Item = dict[str, Any]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("agent"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

TRAIN = """
import json, mlflow, os, sys
with open(os.environ["SAID"]) as file:
    said = json.load(file)
mlflow.set_experiment("planted")
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1)
    for number, text in enumerate(said):
        print(text, file=sys.stderr if number % 3 == 0 else sys.stdout, flush=number % 50 == 0)
"""
PREPARE = "import mlflow; mlflow.set_experiment('planted')"


def unpacked(content: bytes) -> Iterator[bytes]:
    """Give what bytes are, as they are and unpacked."""
    yield content
    for unpack in (
        zlib.decompress,
        gzip.decompress,
        lambda packed: pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read(),
    ):
        try:
            yield unpack(content)
        except (OSError, zlib.error, EOFError):
            continue


def everything(*folders: Path) -> tuple[list[bytes], list[bytes]]:
    """Return all that lies in some folders: files of databases as they are, and all the rest.

    The rest is file names, the other files and the cells of databases, each packed and unpacked.
    """
    raw: list[bytes] = []
    found: set[bytes] = set()
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        found.add(os.fsencode(path.name))
        if not path.is_file():
            continue
        content = path.read_bytes()
        if not path.name.startswith("weir.db"):
            found.update(unpacked(content))
            continue
        raw.append(content)
        if path.name == "weir.db":
            found.update(cells(path))
    return raw, sorted(found)


def cells(path: Path) -> Iterator[bytes]:
    """Give the cells of a database that hold text or bytes, the latter unpacked too."""
    with sqlite3.connect(path) as database:
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f'select * from "{table}"'):
                for cell in row:
                    if isinstance(cell, bytes):
                        yield from unpacked(cell)
                    elif isinstance(cell, str):
                        yield cell.encode()


def seen(wanted: list[bytes], text: bytes) -> set[bytes]:
    """Return which of some strings, each of 8 bytes at least, are in a text."""
    beginnings = np.array([np.frombuffer(one[:8], np.uint64)[0] for one in wanted])
    found: set[bytes] = set()
    for offset in range(8):
        n = (len(text) - offset) // 8
        windows = np.frombuffer(text, np.uint64, max(n, 0), offset)
        for at in np.flatnonzero(np.isin(windows, beginnings)):
            start = offset + 8 * int(at)
            found.update(one for one in wanted if text.startswith(one, start))
    return found


def test_no_secret_of_a_project_is_in_what_is_kept_of_its_run(tmp_path: Path) -> None:
    items = generate.items()
    by_where = {where: [i for i in items if i["where"] == where] for where in generate.WHERES}
    project, home, spool = tmp_path / "project", tmp_path / "home", tmp_path / "spool"
    project.mkdir()
    run_git(project, "init", "-q")
    write(project, by_where["patch"], "before")
    (project / "train.py").write_text(TRAIN)
    run_git(project, "add", "-f", ".")
    run_git(project, "commit", "-q", "-m", "before")
    write(project, by_where["patch"], "after")
    said = [item["text"] for item in by_where["console"]]
    (tmp_path / "said.json").write_text(json.dumps(said))
    words = [word for item in by_where["argv"] for word in (*item["text"], "--next")]
    planted = {
        k: v for item in by_where["environment"] for k, v in generate.variables(item).items()
    }
    environment = {
        **planted,
        # Where a test is named, the console is left to pytest.
        **{k: v for k, v in os.environ.items() if k != "WEIR_CAPTURE" and "PYTEST" not in k},
        "MLFLOW_TRACKING_URI": f"weir://{home}",
        "WEIR_SPOOL": str(spool),
        "WEIR_EXIT_WAIT_SECONDS": "1",
        "SAID": str(tmp_path / "said.json"),
    }

    def run(*command: str) -> None:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=project, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]

    run("-c", PREPARE)
    with sqlite3.connect(home / "weir.db", isolation_level=None, timeout=120) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        run("train.py", *words)
        waiting = tmp_path / "waiting"
        shutil.copytree(spool, waiting, ignore=shutil.ignore_patterns("*.sock"))
        lock.execute("ROLLBACK")

    def is_delivered() -> bool:
        agent.ensure_agent(spool)
        agent.nudge(spool)
        return not Spool(spool).journals()

    wait_until(is_delivered, "all is delivered", 120)
    agent.nudge(spool, agent.STOP)
    raw, kept = everything(waiting, home, spool)
    # What is searched is there: a change, a word of the command line, a line of output.
    whole = b"\n".join(kept)
    for sample in (b"def lr_at(step):", b"--next", b"loading data ..."):
        assert sample in whole
    forms = "\0".join(generate.forms(whole.decode("utf-8", "surrogateescape")))
    looked_at = b"\0".join([*raw, forms.encode("utf-8", "surrogateescape")])
    parts: dict[bytes, list[str]] = {}
    for item in items:
        for secret in item["secret"] if item["where"] != "notebook" else ():
            half = len(secret) // 2
            for part in (secret, secret[:half], secret[half:]):
                if len(part) >= 12 or (part == secret and len(part) >= 8):
                    parts.setdefault(part.encode(), []).append(item["id"])
    shown = seen(list(parts), looked_at)
    survived = sorted({name for one in shown for name in parts[one]})
    assert not survived
