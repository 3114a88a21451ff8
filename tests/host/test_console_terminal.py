"""The pump on a real terminal: what a program asks of it, and what its user sees and types."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consoles import Consoles, consoles

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

DEADLINE_S = 60.0


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Consoles]:
    with consoles(tmp_path) as found:
        yield found


class Terminal:
    """A terminal with a program in its foreground."""

    def __init__(self, console: Consoles, script: str) -> None:
        self._master, slave = os.openpty()
        self.resize(24, 80)
        self.shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", LEADER, *console.command(script)],
            env={**console.environment, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def resize(self, rows: int, columns: int) -> None:
        """Give it another size, as a window does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def read_until(self, text: bytes) -> None:
        """Read what is shown until a text is in it."""
        give_up_s = time.monotonic() + DEADLINE_S
        while text not in self.shown:
            assert time.monotonic() < give_up_s, self.shown
            assert self._read() or self.process.poll() is None, self.shown

    def end(self) -> int:
        """Read to the program's end."""
        give_up_s = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < give_up_s, self.shown
            self._read()
        while self._read():
            pass
        return int(self.process.returncode)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.1)[0]:
            return False
        with contextlib.suppress(OSError):
            data = os.read(self._master, 1 << 16)
            self.shown += data
            return bool(data)
        return False


# As a shell does: the terminal is the session's, and the program its foreground.
LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_program_finds_the_terminal_as_it_was(console: Consoles) -> None:
    terminal = Terminal(
        console,
        """
def look():
    size = os.get_terminal_size(1)
    return [os.isatty(n) for n in (0, 1, 2)], tuple(size), sys.stdout.line_buffering
before = look()
begin()
assert look() == before, look()
print("one \\x1b[31mred\\x1b[0m"); print("two", file=sys.stderr)
subprocess.run(["sh", "-c", "test -t 1 && echo three"])
print("ready")
while os.get_terminal_size(1).columns != 132: time.sleep(0.05)
print("wide", os.get_terminal_size(2).columns)
assert input("name? ") == "me"
print("bye")
""",
    )
    terminal.read_until(b"ready")
    terminal.resize(50, 132)
    terminal.read_until(b"name? ")
    terminal.type(b"me\n")
    assert terminal.end() == 0, terminal.shown
    lines = (
        b"one \x1b[31mred\x1b[0m",
        b"two",
        b"three",
        b"ready",
        b"wide 132",
        b"name? me",
        b"bye",
    )
    assert terminal.shown == b"".join(line + b"\r\n" for line in lines)
    kept = console.lines()
    assert (0, "one \x1b[31mred\x1b[0m") in kept
    assert kept[-1] == (0, "name? bye")  # what is typed is the terminal's, not the program's


def test_ctrl_c_stops_the_training_and_not_its_last_words(console: Consoles) -> None:
    terminal = Terminal(
        console,
        """
begin()
print("ready")
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("saved")
    sys.exit(5)
""",
    )
    terminal.read_until(b"ready")
    terminal.type(b"\x03")
    assert terminal.end() == 5
    assert terminal.shown.endswith(b"saved\r\n")
    assert console.texts() == ["ready", "saved"]


def test_a_terminal_that_is_closed_ends_the_training_as_before(console: Consoles) -> None:
    script = """
begin()
print('ready')
try:
    while True: print('x' * 100); time.sleep(0.01)
except OSError as exc:
    with open(os.environ['KEPT'] + '.errno', 'w') as file: file.write(str(exc.errno))
    raise
"""
    terminal = Terminal(console, script)
    terminal.read_until(b"ready")
    os.close(terminal._master)
    # SIGHUP; or EIO, for a print between the kernel's two steps: it closes files, then sends it.
    ended = terminal.process.wait(DEADLINE_S)
    assert ended == -signal.SIGHUP or (
        ended == 1 and (console.folder / "kept.errno").read_text() == str(errno.EIO)
    )


def test_a_shell_stops_it_and_brings_it_back(console: Consoles) -> None:
    script = """
resumed = os.path.dirname(os.environ['KEPT']) + '/resumed'
begin()
for i in range(60):
    print('tick', i)
    while i == 5 and not os.path.exists(resumed): time.sleep(0.05)
print('done')
"""
    python, path = console.command(script)
    training = Path(path).rename(console.folder / "training.py")
    command = f"{python} {training}"
    terminal = Terminal(
        console, "os.environ['PS1'] = '$ '; os.execvp('bash', ['bash', '--norc', '-i'])"
    )
    terminal.read_until(b"$ ")
    terminal.type(command.encode() + b"\n")
    terminal.read_until(b"tick 5\r\n")
    terminal.type(b"\x1a")
    terminal.read_until(b"Stopped")
    terminal.type(b"echo SHELL$((40 + 2))\n")
    terminal.read_until(b"SHELL42\r\n")
    after = terminal.shown.rpartition(b"Stopped")[2]
    assert b"tick" not in after.replace(command.encode(), b"")
    terminal.type(b"bg\n")
    terminal.type(b"fg\n")
    (console.folder / "resumed").touch()
    terminal.read_until(b"done\r\n")
    terminal.type(b"echo code $?; exit\n")
    assert terminal.end() == 0
    assert b"code 0\r\n" in terminal.shown
    assert console.texts() == [*(f"tick {i}" for i in range(60)), "done"]
