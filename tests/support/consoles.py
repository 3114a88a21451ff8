"""Scripts whose output goes through the pump, without MLflow: what they print and what is kept.

Each test has a spool of its own with a socket where an agent would listen, so that none is
started; what is kept is read from the journals and the run's artifact.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from agents import wait_until
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.store.delivery.records import Operation, decode

RUN, OTHER = "a" * 32, "b" * 32

PRELUDE = """
import atexit, ctypes, os, signal, subprocess, sys, time, types
from mlflow_weir.plugin import console
from mlflow_weir.plugin.journal.spool import Target
from mlflow_weir.plugin.recorder import Recorder
RUN, OTHER = "a" * 32, "b" * 32
recorder = Recorder(Target("sql", "sqlite:////nowhere.db"), None)
atexit.register(lambda: console.flush(is_last=True))

def begin(run_id=RUN):
    uri = f"file://{os.environ['KEPT']}/{run_id}"
    info = types.SimpleNamespace(run_id=run_id, artifact_uri=uri)
    console.begin(recorder, info, is_new=True)

def end(run_id=RUN):
    console.end(run_id)

def pumps():
    leader = console._pump._process.pid
    with open(f"/proc/{leader}/task/{leader}/children") as file:
        return [leader, *map(int, file.read().split())]

def kept():
    # until all that was printed is where it goes, and in the journal
    assert console._pump.ask({"do": "flush"}, 90, is_whole=True) is not None

def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
"""


class Printed(NamedTuple):
    """What became of a script."""

    code: int
    out: bytes
    err: bytes


class Consoles:
    """Runs scripts and reads what is kept."""

    def __init__(self, folder: Path, spool: Path) -> None:
        self.folder, self.spool = folder, spool
        self.environment = {
            **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
            "WEIR_SPOOL": str(spool),
            "WEIR_CAPTURE": "on",
            "WEIR_CAPTURE_CONSOLE": "auto",
            "KEPT": str(folder / "kept"),
        }

    def command(self, script: str) -> list[str]:
        """Return the command line of a script."""
        path = self.folder / "script.py"
        path.write_text(PRELUDE + script)
        return [sys.executable, str(path)]

    def run(self, script: str, *, timeout_s: float = 120, **options: Any) -> Printed:
        """Run a script to its end, its outputs being pipes unless said otherwise."""
        variables = options.pop("variables", {})
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        done = subprocess.run(
            self.command(script),
            env={**self.environment, **variables},
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            **given,
        )
        return Printed(done.returncode, done.stdout or b"", done.stderr or b"")

    def good(self, script: str, **options: Any) -> Printed:
        """Run a script, which must end well."""
        done = self.run(script, **options)
        assert done.code == 0, done.err.decode(errors="replace")
        return done

    def text(self, run_id: str = RUN) -> str:
        """Return the artifact, once it is there."""
        path = self.folder / "kept" / run_id / "weir" / "console.log"
        wait_until(path.exists, f"{path} is written", 60)
        return path.read_text(encoding="utf-8")

    def operations(self) -> list[Operation]:
        """Return all records of the pumps, once they have given their journals up."""
        folders = Spool(self.spool).journals()
        wait_until(lambda: all(one.owner_is_gone() for one in folders), "the pumps end", 60)
        found: list[Operation] = []
        for folder in folders:
            reader = JournalReader(folder.path, 0)
            reader.is_final = True
            while (part := reader.read()).payloads:
                found += [one for one in map(decode, part.payloads) if isinstance(one, Operation)]
            reader.close()
        return found

    def lines(self, run_id: str = RUN) -> list[tuple[int, str]]:
        """Return stream and text of the lines that a database would have, in order."""
        found: dict[tuple[str, int], tuple[int, str]] = {}
        for one in self.operations():
            if one.name == "console" and one.fields["run_id"] == run_id:
                source, first = one.fields["source"], one.fields["first"]
                for i, (_, stream, text) in enumerate(one.fields["lines"]):
                    found[source, first + i] = (stream, text)
                first, last = one.fields["cut"] or (0, 0)
                for n in range(first, last):
                    found.pop((source, n), None)
        return [found[key] for key in sorted(found)]

    def texts(self, run_id: str = RUN) -> list[str]:
        """Return the texts of those lines."""
        return [text for _, text in self.lines(run_id)]

    def counts(self) -> dict[str, int]:
        """Return what was said of secrets, by run."""
        found: dict[str, int] = defaultdict(int)
        for one in self.operations():
            if one.name == "redacted":
                found[one.fields["run_id"]] += one.fields["n"]
        return dict(found)

    def everything(self) -> bytes:
        """Return every byte that is on the disk of what was kept."""
        paths = [*self.spool.rglob("*"), *(self.folder / "kept").rglob("*")]
        return b"".join(path.read_bytes() for path in paths if path.is_file())


@contextmanager
def consoles(folder: Path) -> Iterator[Consoles]:
    """Give a folder and a spool, and stand in the agent's place."""
    spool = Path(tempfile.mkdtemp(prefix="weir-c-", dir="/tmp"))
    files = AgentFiles(spool)
    files.folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(files.socket))
        try:
            yield Consoles(folder, spool)
        finally:
            shutil.rmtree(spool, ignore_errors=True)
