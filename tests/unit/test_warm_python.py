"""A script forked from the Python that waits does what it does in a Python of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from warm_python import warm_python

SCRIPTS = {
    "says": "import sys; print('out', flush=True); print('err', file=sys.stderr)",
    "is-main": "import sys; print(__name__, sys.argv, sys.path[0], __import__('__main__').a)",
    "is-elsewhere": "import os; print(os.getcwd(), sorted(os.environ.items()))",
    "has-no-input": "import sys; print(repr(sys.stdin.read()))",
    "has-no-file-open": "import os; print(len(os.listdir('/dev/fd')))",
    "ends-with-a-code": "import sys; sys.exit(3)",
    "ends-with-words": "import sys; sys.exit('words')",
    "raises": "raise ValueError('boom')",
    "is-interrupted": "raise KeyboardInterrupt",
    "is-killed": "import os; os.kill(os.getpid(), 9)",
    "is-terminated": "import os; os.kill(os.getpid(), 15)",
    "does-something-at-the-end": "import atexit; atexit.register(print, 'bye')",
    "waits-for-a-thread": "import threading; threading.Timer(0.01, print, ('late',)).start()",
    "starts-another": "import os; print(os.waitstatus_to_exitcode(os.system('exit 7')))",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_it_ends_and_prints_as_in_a_python_of_its_own(script: str, tmp_path: Path) -> None:
    script = f"a = 1\n{script}"
    environment = {"PATH": os.environ["PATH"], "A": "ü", "LC_CTYPE": "C.UTF-8"}
    code, out, err = warm_python().outcome(script, ["x", "y"], environment, tmp_path)
    own = subprocess.run(
        [sys.executable, "-c", script, "x", "y"],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (code, out) == (own.returncode, own.stdout)
    assert err.splitlines()[-1:] == own.stderr.splitlines()[-1:]
