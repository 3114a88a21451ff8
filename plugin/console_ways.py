"""Where a training's output is put so that the pump reads it: pipes, terminals, wrapped streams.

``plugin/console.py`` decides which; here is how each is put on, put back and closed.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import stat
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any

_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; Python names it from 3.10 on, on Linux alone
_HIGH = 64  # descriptors of ours are not where programs expect theirs
_BOTH = 0
STREAMS = {1: "stdout", 2: "stderr"}
"""Their names, by descriptor."""


class Way:
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
        self._is_terminal = is_terminal = os.isatty(original)
        self._ours, self._pumps = _open_terminal(original) if is_terminal else _open_pipe()
        self._identity = _identity(self._ours)
        self.words = f"{stream}{'t' if is_terminal else 'p'}:{self._pumps}:{original}"
        self.shared = (self._pumps, original)
        self._passing = threading.Lock()

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

    @property
    def has_pumps_end(self) -> bool:
        """Say whether another pump could read from it."""
        return self._pumps >= 0

    def pass_on(self) -> bool:
        """Do the pump's work, once; False where there is nothing more to come."""
        with self._passing:
            return self._pass_on()

    def _pass_on(self) -> bool:
        if self._pumps < 0:
            return False
        target = self._saved[self.numbers[0]]
        try:
            os.set_blocking(self._pumps, False)  # another thread may have read what there was
            data = os.read(self._pumps, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        while data:
            try:
                data = data[os.write(target, data) :]
            except BlockingIOError:
                select.select([], [target], [])
            except OSError:
                return False
        return True

    def drain(self, give_up_s: float) -> None:
        """Pass on what is there, and what a thread has read of it and not written.

        Args:
            give_up_s: Until when, on the monotonic clock.
        """
        while self._passing.acquire(timeout=max(give_up_s - time.monotonic(), 0)):
            try:
                if not self._has_input() or not self._pass_on():
                    return
            finally:
                self._passing.release()

    def _has_input(self) -> bool:
        if self._pumps < 0:
            return False
        poll = select.poll()
        poll.register(self._pumps, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll(0))

    def n_unread(self) -> int | None:
        """Return how many bytes wait in it; None where the kernel does not tell."""
        return None if self._is_terminal else _n_unread(self._pumps)

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


class Wrapped:
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
        found = shell()
        if found is not None:
            # IPython puts streams back to what they were before each cell.
            found.events.register("pre_run_cell", self._listen_again)

    def n_unread(self) -> int | None:
        """Return how many bytes wait to be read; None where the kernel does not tell."""
        return _n_unread(self._ours) if sys.platform == "linux" else None

    def _listen_again(self, *_: Any) -> None:
        for number, name in STREAMS.items():
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
        found = shell()
        if found is not None:
            with contextlib.suppress(ValueError):
                found.events.unregister("pre_run_cell", self._listen_again)
        for stream, wrapped, before in self._wrapped:
            if vars(stream).get("write") is wrapped:
                with contextlib.suppress(AttributeError):
                    if before is None:
                        del stream.write
                    else:
                        stream.write = before
        self._wrapped.clear()


def ways() -> list[Way]:
    """Return what descriptors 1 and 2 are to be put on: one where they are the same file."""
    there = [number for number in STREAMS if is_open(number)]
    if are_shared():
        return [Way(_BOTH, (1, 2))]
    return [Way(number, (number,)) for number in there]


def are_shared() -> bool:
    """Say whether stdout and stderr are one file or terminal."""
    return is_open(1) and is_open(2) and _identity(1) == _identity(2)


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


def _n_unread(file: int) -> int | None:
    size = array.array("i", [0])
    try:
        fcntl.ioctl(file, termios.FIONREAD, size)
    except OSError:
        return None
    return size[0]


def _high(file: int) -> int:
    return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _HIGH)


def _identity(file: int) -> tuple[int, int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino, found.st_rdev if stat.S_ISCHR(found.st_mode) else 0


def is_open(file: int) -> bool:
    """Say whether a descriptor is open, and is stdout or stderr.

    Where the process was begun without them, the first files that are opened have their numbers:
    a database, or our own journal.
    """
    stream = getattr(sys, f"__{STREAMS[file]}__")
    try:
        if stream is None or stream.closed:
            return False
    except ValueError:  # its buffer was detached: somebody writes to that
        pass
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def shell() -> Any:
    """Return IPython's shell, where the process is one's."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()
