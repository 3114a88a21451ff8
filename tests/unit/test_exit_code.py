"""The exit code that a process leaves beside its journal, however it comes to exit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_weir.plugin.journal import exit_code

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only glibc tells of the code")

PROGRAM = """
import os, signal, sys
from pathlib import Path
from sys import exit as leave
from mlflow_weir.plugin.journal import exit_code
exit_code.note_in(Path(sys.argv[1]))
"""


def code_left(folder: Path, ending: str) -> tuple[int, int | None]:
    """Return how a program ended, and what it left of that."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + ending, str(folder)],
        capture_output=True,
        timeout=300,
        check=False,
    )
    return done.returncode, exit_code.read(folder)


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("raise SystemExit(1)", 1),
        ("exit(2)", 2),
        ("leave(3)", 3),
        ("sys.exit('why')", 1),
        ("raise SystemExit(-1)", 255),
        ("raise ValueError('no')", 1),
        ("raise SystemExit", 0),
        ("", 0),
        ("import ctypes; ctypes.CDLL(None).exit(9)", 9),
        # Everything is closed, and what was closed is opened again: it stays as it is.
        ("os.closerange(3, 10_000); os.open(os.devnull, os.O_RDONLY); leave(4)", None),
        ("os._exit(5)", None),
        ("os.kill(os.getpid(), signal.SIGKILL)", None),
        ("os.execv('/bin/sh', ['sh', '-c', 'exit 6'])", None),
    ],
)
def test_what_exits_leaves_its_code(tmp_path: Path, ending: str, code: int | None) -> None:
    ended, found = code_left(tmp_path, ending)
    assert found == code
    assert code in (None, ended)


def test_a_forked_child_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    ending = "child = os.fork(); child and os.waitpid(child, 0); sys.exit(7 if child else 3)"
    assert code_left(tmp_path, ending) == (7, 7)


def test_what_two_have_written_tells_of_neither(tmp_path: Path) -> None:
    ending = "import ctypes; c = ctypes.CDLL(None).fork(); c and os.waitpid(c, 0); leave(3)"
    assert code_left(tmp_path, ending) == (3, None)


def test_a_journal_that_is_put_back_has_the_code(tmp_path: Path) -> None:
    ending = "exit_code.note_in(Path(sys.argv[1])); leave(3)"
    assert code_left(tmp_path, ending) == (3, 3)


@pytest.mark.parametrize("content", [b"", b"\n", b"\x03", b"\n\x03\x03", b"x\x03"])
def test_what_makes_no_sense_is_no_code(tmp_path: Path, content: bytes) -> None:
    assert exit_code.read(tmp_path) is None
    (tmp_path / "exit-code").write_bytes(content)
    assert exit_code.read(tmp_path) is None
