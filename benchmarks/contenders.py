"""Who logs side by side: each library in a process of its own, driven over pipes.

The peers have an environment of their own beside ours (`make bench` fills it from the group
``bench``), so that what they depend on cannot change what is measured. One that is not installed
there is left out, and the results say so.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_HERE = Path(__file__).resolve().parent
PEERS_PYTHON = Path(sys.prefix) / "peers" / "bin" / "python"
_FOREIGN = ("MLFLOW_", "_MLFLOW_", "WEIR_", "WANDB_", "TRACKIO_")
# Nobody's telemetry, and work in one thread, for all alike.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
_ANSWER_S = 600.0
PEERS = {"wandb": "wandb offline", "tensorboardX": "tensorboardX", "trackio": "Trackio"}
"""The peers' distributions, and what the results call them."""


@dataclass(frozen=True)
class Contender:
    """A library and where it logs to.

    Attributes:
        name: As the results call it.
        library: Its name in ``libraries.py``.
        environment: Variables on top of ours.
        database: SQLAlchemy URL of the database it writes, where there is one to look into.
        is_weir: The database is Weir's.
    """

    name: str
    library: str = "mlflow"
    environment: Mapping[str, str] = field(default_factory=dict)
    database: str = ""
    is_weir: bool = False

    def start(self, folder: Path) -> Worker:
        """Start a process that has begun a run; its files and output are in ``folder``."""
        return Worker(self, folder)


class Worker:
    """A process of a contender.

    Attributes:
        contender: Whose it is.
        run_id: The run it has begun.
        pid: Of the process.
    """

    def __init__(self, contender: Contender, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.contender = contender
        self._log = folder / f"{contender.library}.log"
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)
        }
        trackio = {"TRACKIO_DIR": str(folder / "trackio")}
        python = PEERS_PYTHON if contender.library in PEERS else Path(sys.executable)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(python), str(_HERE / "worker.py"), contender.library],
                cwd=folder,
                env={**inherited, **QUIET, **trackio, **contender.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.pid = self._process.pid
        self.run_id: str = self.answer()["run_id"]

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Let it do something and return its answer."""
        self.tell(do, **fields)
        return self.answer()

    def tell(self, do: str, **fields: Any) -> None:
        """Let it do something; ``answer`` waits for what it says."""
        _pipe(self._process.stdin).write(json.dumps({"do": do, **fields}).encode() + b"\n")
        _pipe(self._process.stdin).flush()

    def answer(self, timeout_s: float = _ANSWER_S) -> dict[str, Any]:
        """Wait for an answer.

        Raises:
            RuntimeError: It ended instead, or said nothing for too long.
        """
        output = _pipe(self._process.stdout)
        is_there, _, _ = select.select([output], [], [], timeout_s)
        line = output.readline() if is_there else b""
        if not line:
            self.kill()
            tail = self._log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"no answer of {self.contender.name}:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self, timeout_s: float = _ANSWER_S) -> float:
        """Let it end its run and itself; return the seconds until it was gone."""
        start_s = time.monotonic()
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(timeout_s)
        finally:
            self.kill()
        return time.monotonic() - start_s

    def kill(self) -> None:
        """End it at once, where it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the process has no such pipe")
    return pipe


def peer_versions() -> dict[str, str]:
    """Return the versions of the peers, ``not installed`` for those that are not."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: found.get(n.lower(), '') for n in sys.argv[1:]}))"
    )
    found: dict[str, str] = {}
    if PEERS_PYTHON.exists():
        words = [str(PEERS_PYTHON), "-c", code, *PEERS]
        found = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return {name: found.get(name) or "not installed" for name in PEERS}


def peers() -> Sequence[Contender]:
    """Return the peers that are installed."""
    versions = peer_versions()
    return [
        Contender(name, library)
        for library, name in PEERS.items()
        if versions[library] != "not installed"
    ]
