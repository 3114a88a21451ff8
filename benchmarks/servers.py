"""A real ``mlflow server`` that can be killed and started again at the same address."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

_START_S = 120.0
_FOREIGN = ("MLFLOW_", "_MLFLOW_", "WEIR_")


class Server:
    """A server on a database, in a session of its own.

    Attributes:
        address: ``http://127.0.0.1:port``.
    """

    def __init__(
        self, backend: str, folder: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        """Choose an address.

        Args:
            backend: What ``--backend-store-uri`` says.
            folder: Its current directory, which is made.
            variables: Environment variables on top of this process's.
        """
        folder.mkdir()
        self._backend, self._folder = backend, folder
        self._variables = dict(variables or {})
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: It does not.
        """
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)
        }
        # Without its job runners, ten processes that would be measured as well.
        switches = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "0"}
        log = self._folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *("--backend-store-uri", self._backend),
                    *("--host", "127.0.0.1", "--port", str(self._port)),
                ],
                cwd=self._folder,
                env={**inherited, **switches, **self._variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        give_up = time.monotonic() + _START_S
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"no server:\n{log.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """End it and everything it started, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Run a server until the block ends."""
    try:
        server.start()
        yield server
    finally:
        server.kill()
