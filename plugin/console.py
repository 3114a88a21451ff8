"""Gives what the training prints to the pump, for as long as it has runs.

The pump (``capture/console/pump.py``) is another process. With the first run of the fluent API the
file descriptors 1 and 2 are put on a pipe that it reads, or on a terminal of its own where they
were one, and it writes what comes to where they were before. So subprocesses and C code are
captured too, and ``isatty``, colours and sizes are as before. Where one output is shared by both
(a terminal, ``2>&1``) they share the pipe, so that their order stays.

At the end of the process the descriptors are put back once the pump has passed everything on: the
shell's prompt comes after the last line. If the pump is gone, they are put back at once, and a
thread passes on what was on its way.

Where descriptors are not what the user sees, or a pump could be noticed, only ``sys.stdout`` and
``sys.stderr`` are listened to (*wrap*): notebooks, interactive interpreters, the first process of
a container, with which every other process ends. Under pytest nothing is captured.

docs/decisions/010-console.md says why this way.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin.exits import dies_with_container
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.store.console.document import NAME

_PUMP = Path(__file__).parent / "capture" / "console" / "pump.py"
_BOUNDARY_S = 0.1  # a run's begin and end wait so long for what was printed before
_START_S = 1.0  # longer only for a run that ends before the pump has begun
_EXIT_S, _KEEP_S = 10.0, 5.0
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; Python names it from 3.10 on, on Linux alone
_HIGH = 64  # descriptors of ours are not where programs expect theirs
_STREAMS = {1: "stdout", 2: "stderr"}
_BOTH = 0


class Mode(NamedTuple):
    """How this process is captured: ``descriptors``, ``wrap`` or ``off``, and why."""

    name: str
    why: str


def mode() -> Mode:
    """Return how a run that begins in this process now would be captured.

    Raises:
        ConfigError: A setting has a value that cannot be used.
    """
    asked = settings.CAPTURE_CONSOLE.get()
    if not settings.CAPTURE.get():
        return Mode("off", "WEIR_CAPTURE is off")
    if asked == "off":
        return Mode("off", "WEIR_CAPTURE_CONSOLE is off")
    if settings.foreign("PYTEST_CURRENT_TEST") is not None:
        return Mode("off", "pytest captures it")
    if not sys.executable:
        return Mode("off", "the interpreter does not know its program")
    if asked == "wrap":
        return Mode("wrap", "WEIR_CAPTURE_CONSOLE is wrap")
    if _is_notebook():
        return Mode("wrap", "a notebook's output is no file descriptor")
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return Mode("wrap", "the interpreter is interactive")
    if dies_with_container():
        return Mode("wrap", "this process is its container's first, with which all others end")
    if not any(_is_open(number) for number in _STREAMS):
        return Mode("off", "stdout and stderr are closed")
    return Mode("descriptors", "")


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _is_notebook() -> bool:
    return getattr(_shell(), "kernel", None) is not None


class _Way:
    """A pipe or terminal between this process and the pump.

    Attributes:
        numbers: The descriptors that were put on it: 1, 2 or both.
        words: What the pump is told.
        shared: Descriptors that the pump inherits.
    """

    def __init__(self, stream: int, numbers: tuple[int, ...]) -> None:
        self.numbers = numbers
        self._saved = {number: _high(number) for number in numbers}
        original = self._saved[numbers[0]]
        self._before = {number: _identity(saved) for number, saved in self._saved.items()}
        is_terminal = os.isatty(original)
        self._ours, self._pumps = _open_terminal(original) if is_terminal else _open_pipe()
        self._identity = _identity(self._ours)
        self.words = f"{stream}{'t' if is_terminal else 'p'}:{self._pumps}:{original}"
        self.shared = (self._pumps, original)

    def put_on(self) -> None:
        """Let the descriptors be ours from here on."""
        for number in self.numbers:
            os.dup2(self._ours, number)
        os.close(self._ours)
        self._ours = -1

    def put_back(self) -> None:
        """Let them be what they were, but for one that somebody has changed meanwhile."""
        for number, saved in self._saved.items():
            with contextlib.suppress(OSError):
                if (
                    _identity(number) == self._identity
                    and _identity(saved) == self._before[number]
                ):
                    os.dup2(saved, number)

    def let_go(self) -> None:
        """Close the pump's end here, so that a write fails where nobody reads."""
        if self._pumps >= 0:
            with contextlib.suppress(OSError):
                os.close(self._pumps)
            self._pumps = -1

    def pass_on(self) -> bool:
        """Do the pump's work, once; False where there is nothing more to come."""
        if self._pumps < 0:
            return False
        try:
            data = os.read(self._pumps, 1 << 16)
            while data:
                data = data[os.write(self._saved[self.numbers[0]], data) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def wait(self) -> bool:
        """Wait until there is something to pass on; False where nobody writes any more."""
        poll = select.poll()
        poll.register(self._pumps, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll())

    def close(self) -> None:
        """Close what is ours, in a child that has its parent's copies."""
        for file in (self._ours, self._pumps, *self._saved.values()):
            if file >= 0:
                with contextlib.suppress(OSError):
                    os.close(file)


class _Pump:
    """The pump of this process, as long as it lives."""

    def __init__(self, how: str) -> None:
        self.pid = os.getpid()
        self.runs: dict[str, None] = {}
        self._ways = _ways() if how == "descriptors" else []
        self._wrapped = _Wrapped() if how == "wrap" else None
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._answers: dict[int, dict[str, Any]] = {}
        self._news = threading.Condition()
        self._n_asked = 0
        self._is_lost = self._is_ending = self._has_answered = False
        words = [way.words for way in self._ways]
        shared = [file for way in self._ways for file in way.shared]
        if self._wrapped is not None:
            words.append(f"0w:{self._wrapped.pumps}:{self._wrapped.pumps}")
            shared.append(self._wrapped.pumps)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-E", "-S", "-B", str(_PUMP), str(theirs.fileno()), *words],
                cwd="/",
                pass_fds=(theirs.fileno(), *dict.fromkeys(shared)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            theirs.close()
        self._process.returncode = 0  # nobody waits for it, and no warning about that

    def start(self, first: dict[str, Any]) -> None:
        """Say what is to be kept and put the descriptors on the pump."""
        program = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
        path = [os.path.abspath(one) for one in sys.path]
        self._send({"do": "hello", "path": path, "program": f"{program or 'python'} (console)"})
        self._send(first)
        _flush_streams()
        for way in self._ways:
            way.put_on()
        if self._wrapped is not None:
            self._wrapped.put_on()
        threading.Thread(target=self._listen, name="weir-console", daemon=True).start()

    def ask(self, said: dict[str, Any], timeout_s: float, *, is_whole: bool = False) -> Any:
        """Say something and wait for the answer; None where it does not come.

        Args:
            said: What to do.
            timeout_s: Seconds.
            is_whole: Wait for what was kept as well, not only for what was passed on.
        """
        _flush_streams()
        number = self._send(said)
        if not self._has_answered:  # it has just been started
            timeout_s = max(timeout_s, _START_S)
        give_up_s = time.monotonic() + timeout_s
        with self._news:
            while not self._is_lost:
                answer = self._answers.get(number)
                if answer is not None and (not is_whole or "journals" in answer):
                    return self._answers.pop(number)
                left_s = give_up_s - time.monotonic()
                if left_s <= 0 or not self._news.wait(left_s):
                    return None
        return None

    def _send(self, said: dict[str, Any]) -> int:
        self._n_asked += 1
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps({**said, "n": self._n_asked}).encode() + b"\n")
        return self._n_asked

    def _listen(self) -> None:
        """Hear what the pump says; do its work where it is gone."""
        heard = b""
        while True:
            try:
                data = self._control.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            *lines, heard = (heard + data).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "broken" in said:
                    self._ways[said["broken"]].let_go()
                    continue
                with self._news:
                    self._has_answered = True
                    self._answers[said["n"]] = said
                    for number in [one for one in self._answers if one < said["n"] - 16]:
                        del self._answers[number]
                    self._news.notify_all()
        with self._news:
            self._is_lost = True
            self._news.notify_all()
        if not self._is_ending:
            for way in self._ways:
                way.put_back()
                threading.Thread(
                    target=_pass_on, args=(way,), name="weir-console", daemon=True
                ).start()
            if self._wrapped is not None:
                self._wrapped.take_off()

    def end(self) -> list[tuple[Path, int]]:
        """Pass everything on, put the descriptors back, and keep what is to be kept."""
        self._is_ending = True
        answer = None
        _flush_streams()
        for way in self._ways:
            way.put_back()
        if self._wrapped is not None:
            self._wrapped.take_off()
        if not self._is_lost:
            number = self._n_asked + 1
            if self.ask({"do": "finish"}, _EXIT_S) is not None:
                answer = self._wait_for(number, _KEEP_S)
        return _journals_of(answer)

    def _wait_for(self, number: int, timeout_s: float) -> Any:
        give_up_s = time.monotonic() + timeout_s
        with self._news:
            while "journals" not in self._answers.get(number, {}):
                left_s = give_up_s - time.monotonic()
                if self._is_lost or left_s <= 0 or not self._news.wait(left_s):
                    return self._answers.get(number)
            return self._answers[number]

    def flush(self) -> list[tuple[Path, int]]:
        """Bring what was printed so far to the journal."""
        return _journals_of(self.ask({"do": "flush"}, _KEEP_S, is_whole=True))

    def forget(self) -> None:
        """In a forked child, close the parent's end of everything."""
        for way in self._ways:
            way.close()
        with contextlib.suppress(OSError):
            os.close(self._control.detach())
        if self._wrapped is not None:
            self._wrapped.take_off()


class _Wrapped:
    """Listens to ``sys.stdout`` and ``sys.stderr``, and never waits for who is told."""

    def __init__(self) -> None:
        self._ours, self._pumps_end = _open_pipe()
        os.set_blocking(self._ours, False)
        self.pumps = self._pumps_end
        # Of each stream: what it has now, and what it had of its own before.
        self._wrapped: list[tuple[Any, Callable[..., Any], Any]] = []

    def put_on(self) -> None:
        """Listen from here on."""
        os.close(self._pumps_end)
        self._listen_again()
        shell = _shell()
        if shell is not None:
            # IPython puts streams back to what they were before each cell.
            shell.events.register("pre_run_cell", self._listen_again)

    def _listen_again(self, *_: Any) -> None:
        for number, name in _STREAMS.items():
            stream = getattr(sys, name)
            with contextlib.suppress(AttributeError, TypeError):  # none, or one of no attributes
                before = vars(stream).get("write")
                if not any(before is wrapped for _, wrapped, _ in self._wrapped):
                    wrapped = self._listening(number, stream.write)
                    stream.write = wrapped
                    self._wrapped = [one for one in self._wrapped if one[0] is not stream]
                    self._wrapped.append((stream, wrapped, before))

    def _listening(self, number: int, write: Callable[[str], Any]) -> Callable[[str], Any]:
        def listening(text: str) -> Any:
            done = write(text)
            try:
                data = text.encode("utf-8", "replace")
                for at in range(0, len(data), 3_000):
                    part = data[at : at + 3_000]  # whole or not at all: below what a pipe splits
                    os.write(self._ours, struct.pack("<BI", number, len(part)) + part)
            except (OSError, AttributeError, ValueError):
                pass  # the pump is slow or gone, or it was no text
            return done

        return listening

    def take_off(self) -> None:
        """Listen no more, where nobody has wrapped the stream again meanwhile."""
        shell = _shell()
        if shell is not None:
            with contextlib.suppress(ValueError):
                shell.events.unregister("pre_run_cell", self._listen_again)
        for stream, wrapped, before in self._wrapped:
            if vars(stream).get("write") is wrapped:
                with contextlib.suppress(AttributeError):
                    if before is None:
                        del stream.write
                    else:
                        stream.write = before
        self._wrapped.clear()


_pump: _Pump | None = None
_lock = threading.Lock()
_is_failing = False


def _start_afresh() -> None:
    global _pump, _lock
    before, _pump, _lock = _pump, None, threading.Lock()
    if before is not None:
        before.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


@never_raises(None)
def begin(recorder: Recorder, info: Any, *, is_new: bool) -> None:
    """Keep what is printed for a run from here on; returns at once.

    Args:
        recorder: The journal of the run's store.
        info: MLflow's facts of the run.
        is_new: It was begun now, not taken up again.
    """
    global _pump, _is_failing
    try:
        how = mode()
        limit, patterns = settings.CAPTURE_CONSOLE_MAX_BYTES.get(), settings.REDACT.get()
    except ConfigError:
        return  # said by the capture of git and environment
    if how.name == "off" or _is_failing:
        return
    said = _run(recorder, info, is_new, limit, patterns)
    with _lock:
        if info.run_id in (_pump.runs if _pump is not None else ()):
            return
        try:
            if _pump is None:
                started = _Pump(how.name)
                started.start(said)
                _pump = started
            else:
                _pump.ask(said, _BOUNDARY_S)
        except OSError:  # no more processes, files or terminals
            _is_failing = True
            return
        _pump.runs[info.run_id] = None


@never_raises(None)
def end(run_id: str) -> None:
    """Keep nothing more for a run; of no effect for one that is not open here."""
    with _lock:
        if _pump is not None and run_id in _pump.runs:
            del _pump.runs[run_id]
            _pump.ask({"do": "end", "run_id": run_id}, _BOUNDARY_S)


_NONE: list[tuple[Path, int]] = []


@never_raises(_NONE)
def flush(*, is_last: bool) -> list[tuple[Path, int]]:
    """Bring what was printed to the journals of the pump.

    Args:
        is_last: The process ends; nothing is captured from here on.

    Returns:
        The folder of each journal and the position after its last record.
    """
    global _pump
    with _lock:
        if _pump is None:
            return []
        if not is_last:
            return _pump.flush()
        ending, _pump = _pump, None
        return ending.end()


def _run(
    recorder: Recorder, info: Any, is_new: bool, limit: int, patterns: tuple[str, ...]
) -> dict[str, Any]:
    uri = str(info.artifact_uri)
    if ":" not in uri.partition("/")[0]:
        uri = os.path.abspath(uri)
    is_local = uri.startswith(("/", "file:"))
    stamp = time.strftime("%Y%m%d-%H%M%S")
    stem, _, suffix = NAME.partition(".")
    credentials, spool = recorder.credentials, recorder.spool_root
    return {
        "do": "begin",
        "run_id": info.run_id,
        "target": list(recorder.target),
        "credentials": None if credentials is None else asdict(credentials),
        "spool": None if spool is None else str(spool),
        "artifact_uri": uri,
        "name": NAME if is_new else f"{stem}-{stamp}-{os.getpid()}.{suffix}",
        "environment": {} if is_local else _upload_environment(),
        "node": settings.NODE.get().strip()[:255] or os.uname().nodename,
        "rank": _rank(),
        "pid": os.getpid(),
        "limit": limit,
        "patterns": list(patterns),
    }


def _upload_environment() -> dict[str, str]:
    from mlflow_weir.plugin.upload_environment import upload_environment

    return upload_environment()


def _rank() -> int | None:
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        found = settings.foreign(name)
        if found is not None and found.isascii() and found.isdigit() and len(found) < 9:
            return int(found)
    return None


def _ways() -> list[_Way]:
    """Return what descriptors 1 and 2 are to be put on: one where they are the same file."""
    there = [number for number in _STREAMS if _is_open(number)]
    if are_shared():
        return [_Way(_BOTH, (1, 2))]
    return [_Way(number, (number,)) for number in there]


def are_shared() -> bool:
    """Say whether stdout and stderr are one file or terminal."""
    return _is_open(1) and _is_open(2) and _identity(1) == _identity(2)


def _open_pipe() -> tuple[int, int]:
    """Return our end and the pump's."""
    read, write = os.pipe()
    with contextlib.suppress(OSError):  # Linux, as far as the user may
        fcntl.fcntl(write, _F_SETPIPE_SZ, _PIPE_BYTES)
    ours, pumps = _high(write), _high(read)
    os.close(read)
    os.close(write)
    return ours, pumps


def _open_terminal(original: int) -> tuple[int, int]:
    """Return our end and the pump's of a terminal that is like another one.

    The other one does what is to be done to the text, such as its line ends.
    """
    master, slave = os.openpty()
    attributes = termios.tcgetattr(original)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    size = fcntl.ioctl(original, termios.TIOCGWINSZ, b"\0" * 8)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    ours, pumps = _high(slave), _high(master)
    os.close(master)
    os.close(slave)
    return ours, pumps


def _high(file: int) -> int:
    return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _HIGH)


def _identity(file: int) -> tuple[int, int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino, found.st_rdev if stat.S_ISCHR(found.st_mode) else 0


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def _flush_streams() -> None:
    """Write what Python holds back, so that it is before what comes now."""
    for name in _STREAMS.values():
        with contextlib.suppress(Exception):
            getattr(sys, name).flush()


def _journals_of(answer: Any) -> list[tuple[Path, int]]:
    found = [] if not isinstance(answer, dict) else answer.get("journals", [])
    return [(Path(folder), int(end)) for folder, end in found]


def _pass_on(way: _Way) -> None:
    """Do the pump's work for as long as somebody writes."""
    with contextlib.suppress(OSError):
        while way.wait() and way.pass_on():
            pass
