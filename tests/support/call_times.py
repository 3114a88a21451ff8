"""How long the calls of a script hold it up."""

from __future__ import annotations

LONGEST_S = 0.1
"""What is promised of log calls, whatever becomes of the disk and the store."""

# The beginning of a script. That a busy machine gives its processor to others for a while is left
# out of the time: a kernel that does not count it leaves it in.
CALL_TIMES = """
import contextlib as _contextlib, os as _os, time as _time
longest_s = 0.0
_line = None
with _contextlib.suppress(OSError):
    _line = _os.open("/proc/thread-self/schedstat", _os.O_RDONLY | _os.O_CLOEXEC)

def _stood_in_line_s():
    return 0.0 if _line is None else int(_os.pread(_line, 99, 0).split()[1]) / 1e9

def timed(call, *arguments, **options):
    global longest_s
    stood_s, began_s = _stood_in_line_s(), _time.perf_counter()
    call(*arguments, **options)
    held_s = _time.perf_counter() - began_s
    longest_s = max(longest_s, held_s - (_stood_in_line_s() - stood_s))
    return held_s
"""
