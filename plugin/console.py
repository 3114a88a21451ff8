"""Gives what the training prints to the pump, for as long as it has runs.

The pump (``capture/console/pump.py``) is another process. With the first run of the fluent API the
file descriptors 1 and 2 are put on a pipe that it reads, or on a terminal of its own where they
were one, and it writes what comes to where they were before. So subprocesses and C code are
captured too, and ``isatty``, colours and sizes are as before. Where one output is shared by both
(a terminal, ``2>&1``) they share the pipe, so that their order stays.

At the end of the process the descriptors are put back once the pump has passed everything on: the
shell's prompt comes after the last line. If the pump is gone, and the one that stands by for it
too, another is started, which goes on where they were. Where that cannot be, the descriptors are
put back at once, and a thread passes on what was on its way; the process ends after that is done.

Where descriptors are not what the user sees, or a pump could be noticed, only ``sys.stdout`` and
``sys.stderr`` are listened to (*wrap*): notebooks, interactive interpreters, the first process of
a container, with which every other process ends. Under pytest nothing is captured.

docs/decisions/010-console.md says why this way.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin.console_ways import STREAMS, Way, Wrapped, is_open, shell, ways
from mlflow_weir.plugin.containers import is_first
from mlflow_weir.plugin.launchers import rank
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.store.console.document import NAME

_PUMP = Path(__file__).parent / "capture" / "console" / "pump.py"
_BOUNDARY_S = 0.1  # a run's begin and end wait so long for what was printed before
_EXIT_S, _KEEP_S = 10.0, 5.0
_N_LIVES = 4  # so often a pump is started: one that is killed again and again is not wanted


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
    if is_first():
        return Mode("wrap", "this process is its container's first, with which all others end")
    if not any(is_open(number) for number in STREAMS):
        return Mode("off", "stdout and stderr are closed")
    return Mode("descriptors", "")


def _is_notebook() -> bool:
    return getattr(shell(), "kernel", None) is not None


class _Pump:
    """The pump of this process, as long as it lives."""

    def __init__(self, how: str) -> None:
        self.pid = os.getpid()
        self.runs: dict[str, dict[str, Any]] = {}  # what was said of those that are open
        self._ways = ways() if how == "descriptors" else []
        self._wrapped = Wrapped() if how == "wrap" else None
        self._all: list[Way | Wrapped] = [
            *self._ways,
            *([] if self._wrapped is None else [self._wrapped]),
        ]
        self._answers: dict[int, dict[str, Any]] = {}
        self._news = threading.Condition(threading.RLock())
        self._unsent = bytearray()
        self._unheard: list[dict[str, Any]] = []  # said to a process that has answered nothing
        self._n_asked = 0
        self._is_lost = self._is_ending = self._has_answered = False
        self._n_lives = 0
        self._rescue = os.memfd_create("weir-console") if hasattr(os, "memfd_create") else -1
        self._start_process()

    def _start_process(self) -> None:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        words = [way.words for way in self._ways]
        shared = [file for way in self._ways for file in way.shared]
        if self._wrapped is not None:
            words.append(f"0w:{self._wrapped.pumps}:{self._wrapped.pumps}")
            shared.append(self._wrapped.pumps)
        if self._rescue >= 0:
            shared.append(self._rescue)
        head = [str(theirs.fileno()), str(self._rescue)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-E", "-S", "-B", str(_PUMP), *head, *words],
                cwd="/",
                pass_fds=(theirs.fileno(), *dict.fromkeys(shared)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            control.close()
            raise
        finally:
            theirs.close()
        self._process.returncode = 0  # nobody waits for it, and no warning about that
        self._control = control
        self._n_lives += 1

    def start(self, first: dict[str, Any]) -> None:
        """Say what is to be kept and put the descriptors on the pump."""
        self.runs[first["run_id"]] = first
        self._send(_hello())
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
        with self._news:
            if said["do"] == "begin":
                self.runs[said["run_id"]] = said
            elif said["do"] == "end":
                self.runs.pop(said["run_id"], None)
            sizes, life = self._unread(), self._n_lives
            number = self._send(said if sizes is None else {**said, "sizes": sizes})
        if sizes is not None and said["do"] in ("begin", "end"):
            return None
        give_up_s = time.monotonic() + timeout_s
        with self._news:
            while not self._is_lost and life == self._n_lives:
                answer = self._answers.get(number)
                if answer is not None and (not is_whole or "journals" in answer):
                    return self._answers.pop(number)
                left_s = give_up_s - time.monotonic()
                if left_s <= 0 or not self._news.wait(left_s):
                    return None
        return None

    def _unread(self) -> list[int] | None:
        """Return how much each way holds: all that was printed, while the pump has read nothing.

        So the time of a run has its exact end without waiting for a pump that was just started.
        None where it may have read, or where a way does not tell (a terminal).
        """
        if self._has_answered or _has_input(self._control):
            return None
        sizes = [one.n_unread() for one in self._all]
        if None in sizes or _has_input(self._control):
            return None
        return [size or 0 for size in sizes]

    def _send(self, said: dict[str, Any]) -> int:
        with self._news:
            self._n_asked += 1
            word = {**said, "n": self._n_asked}
            if not self._has_answered:
                self._unheard.append(word)
            self._unsent += json.dumps(word).encode() + b"\n"
            self._push()
            return self._n_asked

    def _push(self) -> None:
        """Send what the socket takes; the rest follows as the pump answers."""
        try:
            while self._unsent:
                del self._unsent[: self._control.send(self._unsent, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            pass
        except OSError:  # it is gone
            self._unsent.clear()

    def _listen(self) -> None:
        """Hear what the pump says; do its work where it is gone for good."""
        while True:
            self._hear()
            with self._news:
                is_back = self._has_started_again()
                self._is_lost = not is_back
                self._news.notify_all()
            if not is_back:
                break
        if not self._is_ending:
            for way in self._ways:
                way.put_back()
                threading.Thread(
                    target=_pass_on, args=(way,), name="weir-console", daemon=True
                ).start()
            if self._wrapped is not None:
                self._wrapped.take_off()

    def _hear(self) -> None:
        """Listen until the pump and the one that stands by for it are gone."""
        heard = b""
        while _wait_for_input(self._control):
            with self._news:  # together: who holds the lock knows what was answered
                try:
                    data = self._control.recv(1 << 16)
                except OSError:
                    data = b""
                *lines, heard = (heard + data).split(b"\n")
                for line in lines:
                    self._take_word(json.loads(line))
                self._push()
            if not data:
                return

    def _has_started_again(self) -> bool:
        """Start another pump, which takes over; what is written meanwhile waits in the pipe."""
        is_whole = all(way.has_pumps_end for way in self._ways) and self._wrapped is None
        if self._is_ending or self._rescue < 0 or not is_whole or self._n_lives == _N_LIVES:
            return False
        gone = self._control
        try:
            self._start_process()
        except OSError:
            return False
        gone.close()
        self._unsent.clear()
        unheard, self._unheard = self._unheard, []
        self._has_answered = False
        # Before its first answer it reads nothing: all that was printed is still there, and with
        # what was said it has the ends of all runs.
        for said in unheard or [{**_hello(), "open": list(self.runs.values())}]:
            self._send(said)
        return True

    def _take_word(self, said: dict[str, Any]) -> None:
        if "broken" in said:
            self._ways[said["broken"]].let_go()
            return
        self._has_answered = True
        self._unheard.clear()
        self._answers[said["n"]] = said
        for number in [one for one in self._answers if one < said["n"] - 16]:
            del self._answers[number]
        self._news.notify_all()

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
            answer = self.ask({"do": "finish"}, _EXIT_S)
            if answer is not None and "journals" not in answer:  # both may have come by now
                answer = self._wait_for(number, _KEEP_S)
        if self._is_lost:
            give_up_s = time.monotonic() + _EXIT_S
            for way in self._ways:
                way.drain(give_up_s)
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
        if self._rescue >= 0:
            os.close(self._rescue)
        if self._wrapped is not None:
            self._wrapped.take_off()


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


@never_raises(None)
def end(run_id: str) -> None:
    """Keep nothing more for a run; of no effect for one that is not open here."""
    with _lock:
        if _pump is not None and run_id in _pump.runs:
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


def _hello() -> dict[str, Any]:
    program = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    path = [os.path.abspath(one) for one in sys.path]
    return {"do": "hello", "path": path, "program": f"{program or 'python'} (console)"}


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
        "rank": rank(),
        "pid": os.getpid(),
        "limit": limit,
        "patterns": list(patterns),
    }


def _upload_environment() -> dict[str, str]:
    from mlflow_weir.plugin.upload_environment import upload_environment

    return upload_environment()


def _has_input(control: socket.socket) -> bool:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    return bool(poll.poll(0))


def _wait_for_input(control: socket.socket) -> bool:
    """Wait until there is a word, or an end, to read."""
    poll = select.poll()
    try:
        poll.register(control, select.POLLIN)
        return bool(poll.poll())
    except (OSError, ValueError):
        return False


def _flush_streams() -> None:
    """Write what Python holds back, so that it is before what comes now."""
    for name in STREAMS.values():
        with contextlib.suppress(Exception):
            getattr(sys, name).flush()


def _journals_of(answer: Any) -> list[tuple[Path, int]]:
    found = [] if not isinstance(answer, dict) else answer.get("journals", [])
    return [(Path(folder), int(end)) for folder, end in found]


def _pass_on(way: Way) -> None:
    """Do the pump's work for as long as somebody writes."""
    with contextlib.suppress(OSError):
        while way.wait() and way.pass_on():
            pass
