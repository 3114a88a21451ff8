"""Scripts run by a Python that has imported MLflow already: each in a child forked from one.

``import mlflow`` and Weir's store behind it take seconds, and hundreds of tests run a training of
a few lines. One process a test session imports them and waits; for each script it forks a child
that is a process like any other: its own arguments, environment, folder, standard streams and exit
code, Python's own ending with its exit handlers. What such a child cannot tell is what starting
and importing do, and what its command line or its parent say: tests of these start a Python.

``outcome`` is the way in; this file is also what the waiting process runs.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

LENGTH = struct.Struct("!Q")
TIMEOUT_S = 300.0


class _Job(NamedTuple):
    """What a child does, as it travels: JSON behind its length.

    Attributes:
        code: Python source, run as ``python -c`` runs it.
        words: ``sys.argv``.
        environment: All of it.
        folder: The current directory.
        leads_session: It is the leader of a session of its own.
    """

    code: str
    words: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    leads_session: bool = False


class WarmProcess:
    """A child that runs a script.

    Attributes:
        pid: Its process id, also once it has ended.
    """

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self.pid = _number(_read(answers, LENGTH.size))
        self._returncode: int | None = None

    def poll(self) -> int | None:
        """Return what ``wait`` does, or None while it runs."""
        if self._returncode is None and select.select([self._answers], [], [], 0)[0]:
            return self.wait()
        return self._returncode

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for its end; return its exit code, or the negative number of a signal.

        Raises:
            TimeoutError: It has not ended by then.
        """
        if self._returncode is None:
            self._answers.settimeout(timeout_s)
            status = _number(_read(self._answers, LENGTH.size))
            self._returncode = os.waitstatus_to_exitcode(status)
            self._answers.close()
        return self._returncode


class WarmPython:
    """The waiting process, as those who use it see it."""

    def __init__(self) -> None:
        self._way, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
                stdin=subprocess.DEVNULL,
            )

    def outcome(
        self, code: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> tuple[int, str, str]:
        """Run a script to its end, with nothing on stdin.

        Returns:
            Its exit code, or the negative number of the signal that ended it; what it wrote on
            stdout, and on stderr.
        """
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out,
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as err,
        ):
            job = _Job(code, ["-c", *arguments], environment, str(folder))
            returncode = self._start(job, out, err).wait()
            out.seek(0)
            err.seek(0)
            return returncode, out.read(), err.read()

    def start_session(
        self,
        code: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        output: IO[Any],
    ) -> WarmProcess:
        """Start a script as the leader of a session of its own, with all output in one file.

        Args:
            code: The script.
            words: Its ``sys.argv``.
            environment: All of its environment.
            folder: Its current directory.
            output: Where its stdout and stderr go.
        """
        return self._start(_Job(code, words, environment, str(folder), True), output, output)

    def _start(self, job: _Job, out: IO[Any], err: IO[Any]) -> WarmProcess:
        body = json.dumps(job).encode()
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            fds = [theirs.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(self._way, [LENGTH.pack(len(body))], fds)
            self._way.sendall(body)
        return WarmProcess(ours)

    def close(self) -> None:
        """End the waiting process; children that run go on."""
        self._way.close()
        self._process.wait(TIMEOUT_S)


@functools.cache
def warm_python() -> WarmPython:
    """Return the one of this test process, started on first use."""
    return WarmPython()


def weir_command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``weir`` to its end, with variables on top of the test's."""
    script = "from mlflow_weir.plugin.cli import main; main()"
    environment = {**os.environ, **variables}
    found = warm_python().outcome(script, words, environment, Path.cwd())
    return subprocess.CompletedProcess(words, *found)


def close_warm_python() -> None:
    """End it, if it was started."""
    if warm_python.cache_info().currsize:
        warm_python().close()
        warm_python.cache_clear()


def _number(packed: bytes) -> int:
    (number,) = LENGTH.unpack(packed)
    return int(number)


def _read(way: socket.socket, n_bytes: int) -> bytes:
    parts = []
    while n_bytes:
        part = way.recv(n_bytes)
        if not part:
            raise EOFError
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def _wait_for_a_job(way: socket.socket) -> _Job:
    """Fork for each job that comes; return it in the child, and never return in the parent."""
    while True:
        head, fds, _, _ = socket.recv_fds(way, LENGTH.size, 3)
        if not head:
            os._exit(0)  # whoever asks has gone; exit handlers are the children's
        body = _read(way, _number(head + _read(way, LENGTH.size - len(head))))
        if os.fork() == 0:
            way.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            job = _Job(*json.loads(body))
            _report_on_child(*fds, leads_session=job.leads_session)
            return job
        for fd in fds:
            os.close(fd)


def _report_on_child(answers_fd: int, out: int, err: int, *, leads_session: bool) -> None:
    """Fork: return in the child, which tells its id; here wait, and tell how it ended."""
    pid = os.fork()
    with socket.socket(fileno=answers_fd) as answers:
        if pid == 0:
            if leads_session:
                os.setsid()
            answers.sendall(LENGTH.pack(os.getpid()))
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.close(out)
            os.close(err)
            return
        _, status = os.waitpid(pid, 0)
        answers.sendall(LENGTH.pack(status))
    os._exit(0)


def _begin(job: _Job) -> dict[str, object]:
    """Make this process the job's; return the namespace of its ``__main__``."""
    os.environ.clear()
    os.environ.update(job.environment)
    os.chdir(job.folder)
    sys.argv[:] = job.words
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    return vars(main)


def _serve() -> _Job:
    sys.path[0] = ""  # as `python -c` has it
    for name in ("mlflow", "mlflow_weir.store.tracking_store", "flask", "graphene", "uvicorn"):
        importlib.import_module(name)
    # Or each child looks through all that was imported for garbage when it ends, for a second.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who report
    return _wait_for_a_job(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    # At module level, so that what a script raises ends the process as it always does.
    _job = _serve()
    exec(compile(_job.code, "<string>", "exec"), _begin(_job))
