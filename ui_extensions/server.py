"""``mlflow server`` on a Weir store: started, watched until it answers, and stopped whole.

MLflow's command line starts a supervisor, its workers and, for background jobs, a runner with
its own children. All of them live in one process group (``mlflow_weir.processes``), so that
none is left when the server stops, however it was stopped.
"""

from __future__ import annotations

import http.client
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.processes import POLL_S, start_group, stop_event, stop_group
from mlflow_weir.settings import child_environment

# MLflow takes 8 to 27 s to its first answer on two cores, the longer the busier they are.
START_DEADLINE_S = 180.0
LOG_TAIL_LINES = 30


class ServerFailed(WeirError):
    """The server ended by itself, or never answered."""


@dataclass(frozen=True)
class ServerOptions:
    """How to start the server.

    Attributes:
        store_uri: A database URI, as ``--backend-store-uri`` takes it.
        artifact_root: Where new experiments keep artifacts; MLflow's default when None.
        host: Address to listen on.
        port: Port to listen on, free at this moment.
        workers: Number of worker processes, at least 1.
    """

    store_uri: str
    artifact_root: str | None
    host: str
    port: int
    workers: int

    @property
    def address(self) -> str:
        """The URL to open in a browser on this machine."""
        return f"http://{reachable_host(self.host)}:{self.port}"

    def command(self) -> list[str]:
        """Return the command line, on the interpreter that runs us."""
        words = [sys.executable, "-m", "mlflow", "server"]
        words += ["--backend-store-uri", self.store_uri]
        if self.artifact_root is not None:
            # Both: new experiments get a path that `weir:` clients can use as well, and what
            # still goes through the server lands in the same folder.
            words += ["--default-artifact-root", self.artifact_root]
            words += ["--artifacts-destination", self.artifact_root]
        words += ["--host", self.host, "--port", str(self.port)]
        # The address of a shared link is all that opening it takes: it is written to no log.
        words += ["--uvicorn-opts", "--no-access-log"]
        return [*words, "--workers", str(self.workers)]


def reachable_host(host: str) -> str:
    """Return an address at which a server listening on ``host`` answers from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)


def choose_port(host: str, wanted: int, *, or_free: bool) -> int:
    """Return ``wanted`` if it can be listened on.

    Args:
        host: Address to listen on.
        wanted: Port number; 0 lets the system choose.
        or_free: Where ``wanted`` is taken, return a free one instead of raising.

    Raises:
        ConfigError: The port is taken and ``or_free`` is false, or the host is not ours.
    """
    try:
        return _bindable_port(host, wanted)
    except OSError as exc:
        if not or_free:
            raise ConfigError(
                f"cannot listen on {host}:{wanted}: {exc.strerror or exc}",
                hint="choose another with --port, or --port 0 for any free one",
            ) from exc
    return _bindable_port(host, 0)


def _bindable_port(host: str, port: int) -> int:
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, or a port in TIME_WAIT from the last run would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        chosen: int = probe.getsockname()[1]
    return chosen


def serve(options: ServerOptions, *, announce: Callable[[str, Path], None]) -> None:
    """Run the server until SIGINT, SIGTERM or SIGHUP; then leave no process behind.

    Args:
        options: What to start.
        announce: Called once, when the server answers, with its address and the file that
            takes what it prints. The file is removed when the server was stopped, and stays
            when it failed.

    Raises:
        ServerFailed: It ended by itself or did not answer in time; the message holds the last
            lines it printed.
    """
    with stop_event() as asked:
        with tempfile.NamedTemporaryFile("w", prefix="weir-ui-", suffix=".log", delete=False) as f:
            log = Path(f.name)
            process = start_group(options.command(), env=child_environment(), output=f)
        try:
            deadline = time.monotonic() + START_DEADLINE_S
            answered = False
            while not asked.wait(POLL_S):
                if process.poll() is not None:
                    raise ServerFailed(
                        f"the server ended with status {process.returncode}:\n{_tail(log)}"
                    )
                if answered:
                    continue
                answered = is_healthy(options.host, options.port)
                if answered:
                    announce(options.address, log)
                elif time.monotonic() > deadline:
                    raise ServerFailed(
                        f"no answer from {options.address} in {START_DEADLINE_S:.0f} s:\n"
                        f"{_tail(log)}"
                    )
        finally:
            stop_group(process)
        log.unlink()


def _tail(log: Path) -> str:
    """Return where the log is, and its last lines."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([*lines[-LOG_TAIL_LINES:], f"(all of it: {log})"])


def is_healthy(host: str, port: int) -> bool:
    """Say whether MLflow's ``/health`` answers 200 at that address, waiting at most 2 s."""
    # Not urllib: it would send the request through a proxy named in the environment.
    connection = http.client.HTTPConnection(reachable_host(host).strip("[]"), port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
