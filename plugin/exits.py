"""How a training process ends: what it can say itself about why, and the wait for delivery.

MLflow's exit handler ends an open run as FINISHED whatever happened before. Here is noted what the
interpreter knows by then: an exception that nobody caught, the code given to ``sys.exit``. A run
that ends while the interpreter exits is therefore written as what it was, and as *provisional*:
the agent corrects it once it knows the exit code (docs/journal.md, "How a run ended").

Order at exit (Python calls the handlers last come, first served): ``_note_exiting`` (armed with
the first journal, after MLflow's import), MLflow's ``_safe_end_run``, and ``wait_for_delivery``
(armed by the entry points, which MLflow loads before it registers its own).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, cast

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import containers, mlflow_private, run_address
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.agent.client import DeliveryState
from mlflow_weir.plugin.byte_counts import byte_count
from mlflow_weir.plugin.journal import exit_code
from mlflow_weir.plugin.recorder import Recorder, recorders

TRACEBACK_TAG = "weir.exit_traceback"

_MAX_TEXT_CHARACTERS = 500
_MAX_TRACEBACK_CHARACTERS = 8_000  # as long as a tag may be
_MAX_HELD_CHARACTERS = 64_000  # cut to what is kept once the secrets are out, not through one
_SILENT_S = 0.1
_SILENT_IN_LOGS_S = 2.0
_WAIT_ANSWERING_S = 60.0
_WAIT_AWAY_S = 10.0
_WAIT_EPHEMERAL_S = 300.0
_CAPTURE_S = 5.0


class Cause(NamedTuple):
    """Why the process ends.

    Attributes:
        status: ``FAILED`` or ``KILLED``.
        text: One line for a person.
        details: More of it, such as a traceback; "" where there is none.
        n_redacted: Secrets that were taken out of both.
    """

    status: str
    text: str
    details: str
    n_redacted: int = 0


_cause: Cause | None = None
_is_exiting = False
_is_armed = False
_has_said_where = False


def is_exiting() -> bool:
    """Say whether the interpreter has begun to exit."""
    return _is_exiting


def cause_of_exit() -> Cause | None:
    """Return why the process exits, if it does and something went wrong; without secrets.

    What an exception says, and the lines of code that led to it, are what the console shows too.
    """
    return _redacted(_cause) if _is_exiting and _cause is not None else None


@never_raises(cast("Cause | None", None))
def cause_in_flight() -> Cause | None:
    """Return the exception for which a run is being ended as failed; without secrets.

    It leaves the run's ``with`` block, as far as is known at this moment uncaught, or is handled
    by who ends the run.
    """
    kind, value, trace = sys.exc_info()
    if kind is None or value is None:
        return None
    if isinstance(value, SystemExit):
        cause = Cause("FAILED", f"exit code {_code_of(value.code)}", _text_of(value.code))
    else:
        text = "".join(traceback.format_exception_only(kind, value)).strip()
        if mlflow_private.leaves_a_run(value):
            text = f"uncaught {text}"
        details = "".join(traceback.format_exception(kind, value, trace))
        cause = Cause("FAILED", text[:4_000], details[-_MAX_HELD_CHARACTERS:])
    return _redacted(cause)


def leaves_a_run() -> bool:
    """Say whether an exception is on its way out of a run's ``with`` block, in this thread."""
    error = sys.exc_info()[1]
    return error is not None and mlflow_private.leaves_a_run(error)


def _redacted(cause: Cause) -> Cause:
    from mlflow_weir.redaction import Redactor  # not with every import: it takes a moment

    try:
        redactor = Redactor(settings.REDACT.get())
        is_kept = settings.CAPTURE.get() and settings.CAPTURE_CONSOLE.get() != "off"
    except ConfigError:  # said by the captures, which then keep nothing
        return cause._replace(text=cause.text.partition(":")[0], details="")
    text = redactor.text(cause.text)[:_MAX_TEXT_CHARACTERS]
    n_in_text = redactor.n_redacted
    details = redactor.text(cause.details)[-_MAX_TRACEBACK_CHARACTERS:] if is_kept else ""
    return Cause(cause.status, text, details, max(n_in_text, redactor.n_redacted - n_in_text))


def arm(recorder: Recorder) -> None:
    """Watch how this process ends, which a journal of it was begun for."""
    global _is_armed
    if journal := recorder.journal:
        recorder.beside["exit code"] = exit_code.note_in
        with contextlib.suppress(OSError):  # the kernel may tell it
            exit_code.note_in(journal.folder)
    if _is_armed:
        return
    _is_armed = True
    atexit.register(_note_exiting)
    _hook_exceptions()
    _hook_exit_codes()


def _start_afresh() -> None:
    global _cause, _is_exiting
    _cause, _is_exiting = None, False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def _note_exiting() -> None:
    global _is_exiting
    _is_exiting = True


def _hook_exceptions() -> None:
    before: Callable[..., Any] = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        _note_exception(kind, value, trace)
        before(kind, value, trace)

    sys.excepthook = hook


@never_raises(None)
def _note_exception(
    kind: type[BaseException], value: BaseException, trace: TracebackType | None
) -> None:
    global _cause
    if not _ends_the_process():
        return
    text = "".join(traceback.format_exception_only(kind, value)).strip()
    details = "".join(traceback.format_exception(kind, value, trace))
    status = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
    _cause = Cause(status, f"uncaught {text}"[:4_000], details[-_MAX_HELD_CHARACTERS:])


class _Exit(SystemExit):
    """A ``SystemExit`` that tells, when it is gone, whether somebody caught it.

    The interpreter drops an exception that reached the top when no Python frame is left; one that
    was caught goes while the frame that caught it runs.
    """

    def __del__(self) -> None:
        global _cause
        with contextlib.suppress(Exception):
            ends = threading.current_thread() is threading.main_thread()
            if ends and sys._getframe(0).f_back is None and _code_of(self.code):
                _cause = Cause("FAILED", f"exit code {_code_of(self.code)}", _text_of(self.code))


def _ends_the_process() -> bool:
    """Say whether an exception that nobody caught is the end: not another thread's, not a typo."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and not sys.flags.interactive and not hasattr(sys, "ps1")


def _hook_exit_codes() -> None:
    # So that the run is ended as failed at once; the agent hears of other ways of exiting
    # (``journal/exit_code.py``, the kernel) once the process is gone.
    def exit(status: Any = None, /) -> NoReturn:
        raise _Exit(status)

    exit.__doc__ = sys.exit.__doc__
    sys.exit = exit


def _code_of(code: Any) -> int:
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def _text_of(code: Any) -> str:
    return "" if code is None or isinstance(code, int) else str(code)[:_MAX_HELD_CHARACTERS]


def say_where(info: Any, target_uri: str, experiment_name: str) -> None:
    """Say which run this is and how to look at it: once a process, in a notebook once a run."""
    global _has_said_where
    line = run_address.say(info, target_uri, experiment_name, is_first=not _has_said_where)
    _has_said_where = True
    if line is not None:
        _print(line)


def _print(line: str, *, end: str = "\n") -> None:
    if sys.stderr is None:  # `print` would take stdout
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed
        print(line, end=end, file=sys.stderr, flush=True)


def wait_for_delivery() -> None:
    """Wait until what this process wrote is in the store, within limits; say what is left."""
    try:
        deliver_all(None, is_last=True)
    except KeyboardInterrupt:  # who is in a hurry need not wait: the agent goes on with it
        with contextlib.suppress(ValueError, OSError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # there is nothing more to interrupt
        for recorder in list(recorders):
            _say_left(recorder)
    if captures := _captures():
        captures.close()


def deliver_all(timeout_s: float | None, *, is_last: bool = False) -> bool:
    """Wait until what this process wrote is in the store, and say whether it is.

    Args:
        timeout_s: Seconds for each store; None for the limits of a process's end.
        is_last: The process ends, and with it what is captured.
    """
    if captures := _captures():
        captures.wait(_CAPTURE_S if timeout_s is None else min(timeout_s, _CAPTURE_S))
    if notebook := sys.modules.get("mlflow_weir.plugin.notebook"):
        notebook.wait(_CAPTURE_S)
    if follows := sys.modules.get("mlflow_weir.plugin.follows"):
        follows.wait(_CAPTURE_S, is_exit=is_last)
    console = sys.modules.get("mlflow_weir.plugin.console")
    printed: list[tuple[Path, int]] = []
    if console is not None:
        printed = console.flush(is_last=is_last)
    is_delivered = all(
        [_wait_for(recorder, timeout_s, is_last=is_last) for recorder in list(recorders)]
    )
    return is_delivered and all(
        [_wait_for_console(folder, end, timeout_s) for folder, end in printed]
    )


def _captures() -> Any:
    """Return the module of captures, where this process has begun one."""
    return sys.modules.get("mlflow_weir.plugin.captures")


@never_raises(False)
def _wait_for_console(folder: Path, end: int, timeout_s: float | None) -> bool:
    """Wait for the journal of what was printed, which another process writes."""
    wait = _ExitWait(timeout_s)
    is_delivered = client.wait_delivered(folder, end, wait.longest_s, wait.goes_on)
    wait.end_line()
    return is_delivered


@never_raises(False)
def _wait_for(recorder: Recorder, timeout_s: float | None, *, is_last: bool) -> bool:
    if recorder.journal is None and not recorder.n_held:
        return True
    wait = _ExitWait(timeout_s)
    is_delivered = recorder.deliver(wait.longest_s, wait.goes_on)
    wait.end_line()
    journal = recorder.journal
    if journal is None:
        return _deliver_held(recorder)
    if is_last and journal.n_held and recorder.is_file_delivered():
        is_delivered = _deliver_held(recorder)
    elif is_last and (journal.n_held or journal.n_dropped):
        recorder.take_held()
        _say_lost(recorder.save_what_fits(), "the spool's disk is full")
    _say_left(recorder)
    if is_last and recorder.n_lost_traces:
        _print(f"weir: {recorder.n_lost_traces:,} traces are lost, wholly or in part: no room")
    if is_last and recorder.n_lost_files:
        _print(f"weir: {recorder.n_lost_files:,} files are lost: no room")
    if n_refused := recorder.n_refused():
        _print(f"weir: the store refused {n_refused} records; `weir status` says why")
    return is_delivered


@never_raises(None)
def _say_left(recorder: Recorder) -> None:
    journal = recorder.journal
    if journal is not None and (recorder.n_files() or not recorder.is_file_delivered()):
        _print(f"weir: not all is delivered yet; `weir sync {journal.folder}` goes on with it")


def _deliver_held(recorder: Recorder) -> bool:
    try:
        is_all = recorder.deliver_held()
        why = "memory was full"
    except WeirError as exc:
        is_all, why = False, str(exc)
    if not is_all:
        where = "no folder of this machine took a journal"
        if recorder.journal is not None:
            where = "the spool's disk is full"
        _say_lost(recorder.save_what_fits(), f"{where}, and {why}")
    return is_all


def _say_lost(n_records: int, why: str) -> None:
    if n_records:
        _print(f"weir: {n_records} records are lost: {why}")


def _exit_wait_s() -> float | None:
    try:
        return settings.EXIT_WAIT_SECONDS.get()
    except ConfigError as exc:
        _print(f"weir: {exc}")
        return None


class _ExitWait:
    """How long the exit waits, and the line that says so."""

    def __init__(self, timeout_s: float | None) -> None:
        override_s = _exit_wait_s() if timeout_s is None else timeout_s
        is_patient = containers.ends_with_us()
        self.longest_s = _WAIT_EPHEMERAL_S if is_patient else _WAIT_ANSWERING_S
        self._away_s = _WAIT_EPHEMERAL_S if is_patient else _WAIT_AWAY_S
        if override_s is not None:  # 0 looks once
            self.longest_s = self._away_s = override_s
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._next_line_s = _SILENT_S if self._is_terminal else _SILENT_IN_LOGS_S
        self._is_in_line = False

    def goes_on(self, state: DeliveryState) -> bool:
        if state.waited_s >= self._next_line_s:
            self._next_line_s = state.waited_s + (1.0 if self._is_terminal else self.longest_s)
            why = f": {state.error}" if state.error else ""
            left = f"weir: {byte_count(state.wanted - state.position)} left to deliver{why}"
            if self._is_terminal:
                _print(f"\r{left[:100]:<100}", end="")
                self._is_in_line = True
            else:
                _print(left)
        return state.waited_s < (self._away_s if state.error else self.longest_s)

    def end_line(self) -> None:
        if self._is_in_line:
            _print("")
