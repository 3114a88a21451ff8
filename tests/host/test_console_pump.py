"""The pump beside a real process: what it prints comes out as before, and is kept."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consoles import OTHER, RUN, Consoles, consoles
from mlflow_weir.plugin.capture.console.pump import Mover, Waiting
from mlflow_weir.plugin.capture.console.rescue import SAID

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

TOKEN = "ghp_" + "aB3" * 12


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Consoles]:
    with consoles(tmp_path) as found:
        yield found


def test_what_is_printed_comes_out_as_it_was_and_is_kept(console: Consoles) -> None:
    done = console.good(
        r"""
print("before")
begin()
print("one", flush=True); print("two", file=sys.stderr)
subprocess.run(["sh", "-c", "echo three; echo four >&2"])
os.write(1, b"raw \xff\xfe\xc3 bytes\n")
os.system("printf 'no end\n'")
end()
print("after")
"""
    )
    assert done.out == b"before\none\nthree\nraw \xff\xfe\xc3 bytes\nno end\nafter\n"
    assert done.err == b"two\nfour\n"
    kept = console.lines()
    assert {(1, "one"), (2, "two"), (1, "three"), (2, "four")} <= set(kept)
    assert any("raw \ufffd\ufffd\ufffd bytes" in text for _, text in kept)
    assert not {"before", "after"} & {text for _, text in kept}
    assert console.text().splitlines() == [text for _, text in kept]


def test_runs_have_the_lines_of_their_own_time_and_of_runs_within(console: Consoles) -> None:
    console.good(
        """
def say(text): print(text, flush=True)
begin(); say("first"); end(); say("between")
begin(OTHER); say("outer"); begin("c" * 32); say("inner"); end("c" * 32); say("outer again")
end(OTHER); say("after")
"""
    )
    assert console.texts() == ["first"]
    assert console.texts(OTHER) == ["outer", "inner", "outer again"]
    assert console.texts("c" * 32) == ["inner"]


def test_stdout_and_stderr_keep_their_order_in_a_file_they_share(console: Consoles) -> None:
    path = console.folder / "both.log"
    with open(path, "wb") as file:
        console.good(
            """
begin()
for i in range(5000): os.write(1 + i % 2, b"%d\\n" % i)
""",
            stdout=file,
            stderr=file,
        )
    assert path.read_bytes() == b"".join(b"%d\n" % i for i in range(5000))
    assert console.texts() == [str(i) for i in range(5000)]


def test_the_end_comes_after_the_last_line(console: Consoles) -> None:
    command = console.command("begin(); sys.stdout.write(('y' * 99 + chr(10)) * 20000)")
    done = subprocess.run(
        ["sh", "-c", '"$0" "$@"; echo PROMPT', *command],
        env=console.environment,
        capture_output=True,
        timeout=120,
    )
    assert done.stdout.endswith(b"y\nPROMPT\n")
    assert done.stdout.count(b"y\n") == 20_000
    assert done.stderr == b""


def test_the_end_hears_both_answers_of_the_pump_at_once(console: Consoles) -> None:
    console.good(
        """
import socket
hears = console._wait_for_input
def hears_late(control):
    is_there = hears(control)
    while console._pump is None:  # it ends: until the last word is there too
        words = control.recv(1 << 16, socket.MSG_PEEK)
        if not words or b"journals" in words:
            break
        time.sleep(0.001)
    return is_there
console._wait_for_input = hears_late
begin()
print("said", flush=True)
kept()
(folder, end), = console.flush(is_last=True)
assert end > 0
"""
    )
    assert console.texts() == ["said"]


def test_megabytes_from_c_with_the_gil_held_do_not_wait_for_python(console: Consoles) -> None:
    done = console.good(
        """
begin()
data = b"".join(b"%07d\\n" % i for i in range(1 << 19))
libc = ctypes.PyDLL(None)  # PyDLL keeps the GIL
at = 0
while at < len(data):
    at += libc.write(1, ctypes.c_char_p(data[at:]), len(data) - at)
"""
    )
    assert done.out == b"".join(b"%07d\n" % i for i in range(1 << 19))
    assert console.text().startswith("0000000\n0000001\n")
    assert console.text().endswith("0524286\n0524287\n")


@pytest.mark.parametrize("which", ["leader", "standby", "both", "stopped"])
def test_a_pump_that_is_gone_costs_the_training_nothing(console: Consoles, which: str) -> None:
    done = console.good(
        f"""
which = {which!r}
begin()
for i in range(100): print(i, flush=True)
kept()
leader, standby = pumps()
if which in ("leader", "both"): os.kill(leader, signal.SIGKILL)
if which in ("standby", "both"): os.kill(standby, signal.SIGKILL)
if which == "stopped": os.kill(leader, signal.SIGSTOP)
child = subprocess.Popen(["sh", "-c", "sleep 1; echo child"])
for i in range(100, 1000): print(i, flush=True)
sys.stdout.write("z" * 3_000_000 + "\\n"); sys.stdout.flush()
child.wait()
print("end")
"""
    )
    lines = done.out.split(b"\n")
    assert [one for one in lines if one.isdigit()] == [b"%d" % i for i in range(1000)]
    assert b"z" * 3_000_000 in lines
    assert b"child" in lines
    assert b"end" in lines
    assert done.err == b""
    text = console.text().splitlines()
    assert text == console.texts()
    assert [one for one in text if one.isdigit()] == [str(i) for i in range(1000)]
    assert text[-1] == "end"
    assert text.count(SAID) == (which != "standby")


def test_what_a_child_prints_last_comes_out_though_no_pump_is_left(console: Consoles) -> None:
    done = console.good(
        r"""
console._N_LIVES = 1  # as where no process can be started
console._pass_on = lambda way: None  # the thread never has its turn
begin()
for i in range(100): print(i, flush=True)
kept()
last = r"read word; head -c 50000 /dev/zero | tr '\0' y; echo; echo child"
child = subprocess.Popen(["sh", "-c", last], stdin=subprocess.PIPE)
for pid in reversed(pumps()): os.kill(pid, signal.SIGKILL)
pump, give_up_s = console._pump, time.monotonic() + 60
while not pump._is_lost: assert time.monotonic() < give_up_s
child.communicate(b"go\n")
print("end")
"""
    )
    assert done.out.startswith(b"".join(b"%d\n" % i for i in range(100)))
    assert [done.out.count(one) for one in (b"y", b"child", b"end")] == [50_000, 1, 1]
    assert done.err == b""


def test_runs_that_begin_and_end_while_no_pump_is_there(console: Consoles) -> None:
    console.good(
        """
begin(); begin(OTHER); print("of both", flush=True)
kept()
pump = console._pump
with pump._news:  # nothing is noticed meanwhile
    for pid in reversed(pumps()): os.kill(pid, signal.SIGKILL)
    end(OTHER); begin("c" * 32)
print("of two", flush=True); end(); print("of one")
"""
    )
    assert console.texts() == ["of both", SAID, "of two"]
    assert console.text().splitlines() == console.texts()
    assert console.texts(OTHER) == ["of both", SAID]
    assert console.text(OTHER).splitlines() == ["of both", SAID]
    assert console.texts("c" * 32) == ["of two", "of one"]


def test_a_pump_killed_again_and_again_in_many_runs(console: Consoles) -> None:
    console.good(
        """
begin(OTHER); print("of the other", flush=True); end(OTHER)
for run_id in ("c" * 32, RUN): begin(run_id)
print("\\r1 of 2", flush=True); print("API_TOKEN=" + "aB3" * 12, flush=True)
kept()
os.kill(pumps()[0], signal.SIGKILL)
print("2 of 2", flush=True); end("c" * 32); print("after", flush=True)
"""
    )
    assert console.texts(OTHER) == ["of the other"]
    assert console.text(OTHER) == "of the other\n"
    first = ["1 of 2", "API_TOKEN=[redacted]", SAID, "2 of 2"]
    assert console.texts("c" * 32) == first
    assert console.text("c" * 32).splitlines() == first
    assert console.text().splitlines() == console.texts() == [*first, "after"]


def test_runs_end_where_they_ended_before_the_pump_has_begun(console: Consoles) -> None:
    done = console.good(
        """
begin()
os.kill(console._pump._process.pid, signal.SIGSTOP)  # it is being started
print("first", flush=True)
waits = []
console._pump._news.wait = waits.append
end(); print("between", flush=True); begin(OTHER); print("second", flush=True); end(OTHER)
print("after", flush=True)
print(waits, file=sys.stderr)
del console._pump._news.wait
os.kill(console._pump._process.pid, signal.SIGCONT)
"""
    )
    assert done.out == b"first\nbetween\nsecond\nafter\n"
    assert done.err == b"[]\n"  # the training waited for nothing
    assert (console.texts(), console.texts(OTHER)) == (["first"], ["second"])


def test_a_pump_that_ends_before_it_has_begun_leaves_each_run_its_lines(
    console: Consoles,
) -> None:
    console.good(
        """
path = f"{os.environ['KEPT']}.py"
with open(path, "w") as file: file.write("import signal; signal.pause()")
real, console._PUMP = console._PUMP, path
begin(OTHER); print("first", flush=True); end(OTHER); print("between", flush=True)
begin("c" * 32); print("second", flush=True); end("c" * 32)
begin(); print("third", flush=True)
console._PUMP = real
os.kill(console._pump._process.pid, signal.SIGKILL)
give_up_s = time.monotonic() + 90
while console._pump._n_lives < 2: assert time.monotonic() < give_up_s
kept()
print("fourth", flush=True)
"""
    )
    found = {run_id: console.texts(run_id) for run_id in (OTHER, "c" * 32, RUN)}
    assert found == {OTHER: ["first"], "c" * 32: ["second"], RUN: ["third", "fourth"]}
    assert console.text(OTHER) == "first\n"


def test_two_hundred_runs_in_one_process(console: Consoles) -> None:
    done = console.good(
        """
for i in range(200):
    begin(f"{i:032x}"); print("run", i, flush=True); end(f"{i:032x}")
import threading
print(threading.active_count(), len(os.listdir("/proc/self/fd")), file=sys.stderr)
"""
    )
    n_threads, n_files = map(int, done.err.split())
    assert (n_threads, n_files < 12) == (2, True)
    operations = console.operations()
    found = {
        one.fields["run_id"]: [text for _, _, text in one.fields["lines"]]
        for one in operations
        if one.name == "console"
    }
    assert found == {f"{i:032x}": [f"run {i}"] for i in range(200)}


def test_the_pump_is_no_part_of_the_training_that_is_measured(console: Consoles) -> None:
    done = console.good(
        """
from mlflow_weir.plugin.capture.processes import ProcessTable
begin()
give_up_s = time.monotonic() + 90
while len(pumps()) < 2: assert time.monotonic() < give_up_s
print([one.pid - os.getpid() for one in ProcessTable.read().tree(os.getpid())])
"""
    )
    assert done.out == b"[0]\n"


def test_a_bar_on_stderr_does_not_write_over_stdout(console: Consoles) -> None:
    console.good(
        """
from tqdm import tqdm
begin()
for i in tqdm(range(20), desc="outer"):
    for j in tqdm(range(30), desc="inner", leave=False, mininterval=0): pass
    print(f"epoch {i}", flush=True)
"""
    )
    texts = [text for stream, text in console.lines() if stream == 1]
    assert texts == [f"epoch {i}" for i in range(20)]
    assert sum("outer: 100%" in text for text in console.texts()) == 1


ODD = {
    "exec": ("print(1, flush=True); os.execvp('sh', ['sh', '-c', 'echo 2; echo 3'])", "123"),
    "fork": (
        "print(1, flush=True)\nif os.fork() == 0: print(2); sys.exit()\nos.wait(); print(3)",
        "123",
    ),
    "close": ("print(1, flush=True); os.close(1); os.write(2, b'2\\n3\\n')", "123"),
    "reopen": (
        "print(1, flush=True); sys.stdout.reconfigure(encoding='latin-1'); print(23)",
        "1 23",
    ),
    "redirect": (
        "import contextlib as c, io\nwith c.redirect_stdout(io.StringIO()): print('no')\nprint(1)",
        "1",
    ),
    "nul": ("os.write(1, b'1\\0\\0 \\n\\0'); print('\u4f60')", "1  \u4f60"),
}


@pytest.mark.parametrize("what", ODD)
def test_what_programs_do_with_their_output(console: Consoles, what: str) -> None:
    script, wanted = ODD[what]
    console.good(f"begin()\n{script}\n")
    found = console.text().splitlines()
    assert (" " if " " in wanted else "").join(found) == wanted


DEATHS = {
    "segfault": ("ctypes.string_at(0)", -11, "Segmentation fault"),
    "abort": ("os.abort()", -6, "Aborted"),
    "kill": ("os.write(2, b'last words'); os.kill(os.getpid(), 9)", -9, "last words"),
    "exit": ("os.write(2, b'last words'); os._exit(3)", 3, "last words"),
    "exception": ("raise ValueError('last words')", 1, "ValueError: last words"),
}


@pytest.mark.parametrize("how", DEATHS)
def test_the_last_words_are_kept(console: Consoles, how: str) -> None:
    what, code, words = DEATHS[how]
    done = console.run(
        f"""
import faulthandler
faulthandler.enable()
begin()
os.write(1, b"a line\\n" * 10_000)
{what}
"""
    )
    assert done.code == code
    assert words.encode() in done.err
    assert done.out == b"a line\n" * 10_000
    assert words in console.text()
    assert console.text().count("a line\n") == 10_000


def test_what_the_training_leaves_behind_goes_on_printing(console: Consoles) -> None:
    done = console.good(
        """
begin()
child = subprocess.Popen(["sh", "-c", "cat; echo late; echo later"], stdin=subprocess.PIPE)
child.returncode = 0  # it reads until the training is gone
print("end")
"""
    )
    assert done.out == b"end\nlate\nlater\n"


def test_nobody_reads_is_told_as_before(console: Consoles) -> None:
    script = """
{}
try:
    for i in range(200_000): print("line", i)
    sys.stdout.flush()
except BrokenPipeError:
    os._exit(32)
"""
    codes = []
    for first in ("pass", "begin()"):
        command = console.command(script.format(first))
        done = subprocess.run(
            ["bash", "-c", '"$0" "$@" | head -1; echo ${PIPESTATUS[0]}', *command],
            env=console.environment,
            capture_output=True,
            timeout=120,
        )
        codes.append(done.stdout)
    assert codes == [b"line 0\n32\n"] * 2


def test_a_file_that_has_the_number_of_stdout_is_left_alone(console: Consoles) -> None:
    command = console.command("""
file = open("data", "wb")
assert file.fileno() == 1
begin()
file.write(b"data")
file.flush()
os.write(2, b"said\\n")
kept()
end()
""")
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" >&-', *command],
        cwd=console.folder,
        env=console.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, b"said\n")
    assert (console.folder / "data").read_bytes() == b"data"
    assert console.text() == "said\n"


def test_a_secret_is_found_however_it_was_written(console: Consoles) -> None:
    key = "\n".join(
        ["-----BEGIN RSA PRIVATE KEY-----", *(f"MIIE{i}{'kQ7x' * 15}" for i in range(5))]
    )
    console.good(
        f"""
begin()
token, key = {TOKEN!r}, {key!r}
sys.stdout.write("key: " + token[:11]); sys.stdout.flush(); kept()
sys.stdout.write(token[11:] + "\\n")
for line in key.split("\\n"): print(line, flush=True); kept()
print("-----END RSA PRIVATE KEY-----")
print("\\x1b[31mAPI_\\x1b[0mTOKEN=" + token[:6] + "\\x1b[1m" + token[6:], flush=True)
sys.stdout.write("\\r10% " + token); sys.stdout.flush(); kept()
sys.stdout.write("\\r20% " + token + "\\n")
print("harmless")
"""
    )
    kept = console.everything()
    assert TOKEN.encode() not in kept
    assert b"kQ7x" not in kept
    assert TOKEN[:11].encode() not in kept
    assert console.texts()[0] == "key: [redacted]"
    assert console.texts()[-1] == "harmless"
    assert console.counts()[RUN] == 4


def test_progress_bars_are_lines_and_not_a_flood(console: Consoles) -> None:
    console.good(
        """
from tqdm import tqdm
from rich.progress import track
from rich.console import Console
begin()
for i in tqdm(range(3000), mininterval=0, desc="one"): pass
bars = [tqdm(total=200, position=i, desc=f"bar {i}", mininterval=0) for i in range(3)]
for _ in range(200):
    for bar in bars: bar.update()
for bar in bars: bar.close()
console_ = Console(force_terminal=True, width=80)
for i in track(range(300), console=console_, description="rich"): pass
print("done")
"""
    )
    texts = console.texts()
    assert len(texts) < 20
    assert any(text.startswith("one: 100%|") and "3000/3000" in text for text in texts)
    for i in range(3):
        assert any(text.startswith(f"bar {i}: 100%|") and "200/200" in text for text in texts)
    assert any("rich" in text and "100%" in text for text in texts)
    assert "done" in texts


def test_a_bar_is_seen_while_it_moves(console: Consoles) -> None:
    console.good(
        """
begin()
for i in range(8): sys.stdout.write(f"\\r{i} of 8"); sys.stdout.flush(); kept()
os.kill(pumps()[0], 9)
"""
    )
    text, said = console.texts()
    assert text.endswith(" of 8")
    assert said == SAID


def test_the_last_word_on_a_flush_is_what_was_kept() -> None:
    """However quick the thread that keeps is: the training waits for its answer."""
    training, control = socket.socketpair()
    mover = Mover(control, [])

    class AtOnce(Waiting):
        def mark(self, said: dict[str, Any]) -> None:
            if said["do"] == "flush":
                mover.say({"n": said["n"], "journals": []})

    mover.waiting = AtOnce()
    training.sendall(b'{"do": "begin", "n": 1}\n{"do": "flush", "n": 2}\n')
    training.shutdown(socket.SHUT_WR)
    mover.run()
    control.close()
    with training, training.makefile() as words:
        said = [json.loads(line) for line in words]
    assert said[-1] == {"n": 2, "journals": []}


def test_a_long_console_keeps_head_and_tail_and_says_so(console: Consoles) -> None:
    done = console.good(
        """
begin()
for i in range(40_000): print("line", i, "." * 40)
""",
        variables={"WEIR_CAPTURE_CONSOLE_MAX_BYTES": "256KiB"},
    )
    assert done.out.count(b"\n") == 40_000
    text = console.text().splitlines()
    said = [one for one in text if one.startswith("[weir: ")]
    assert len(said) == 1
    at = text.index(said[0])
    assert text[:at] == [f"line {i} {'.' * 40}" for i in range(at)]
    rest = len(text) - at - 1
    assert text[at + 1 :] == [f"line {i} {'.' * 40}" for i in range(40_000 - rest, 40_000)]
    assert f"{40_000 - at - rest:,} lines not kept" in said[0]
    assert 100_000 < len(console.text()) < 256 << 10
    assert console.texts() == text[:at] + text[at + 1 :]


def test_a_line_without_an_end_is_cut_and_says_so(console: Consoles) -> None:
    console.good("begin(); sys.stdout.write('x' * 3_000_000 + chr(10)); print('next')")
    first, *rest = console.texts()
    assert first == "x" * 16_384 + " [weir: 2,983,616 characters more]"
    assert rest == ["next"]


def test_a_hundred_thousand_lines_are_kept(console: Consoles) -> None:
    console.good("begin()\nfor i in range(120_000): print(f'epoch {i} loss 0.123')")
    assert console.text().splitlines() == [f"epoch {i} loss 0.123" for i in range(120_000)]


def test_fifty_megabytes_come_out_whole(console: Consoles) -> None:
    flood(console, 50)


@pytest.mark.long
def test_a_gigabyte_comes_out_whole(console: Consoles) -> None:
    flood(console, 1000)


def flood(console: Consoles, n_mb: int) -> None:
    path = console.folder / "out"
    with open(path, "wb") as file:
        console.good(
            f"""
begin()
data = b"".join(b"%09d\\n" % i for i in range(100_000))
for _ in range({n_mb}): os.write(1, data)
""",
            stdout=file,
            timeout_s=600,
        )
    assert path.stat().st_size == n_mb * 1_000_000
    text = console.text()
    assert text.startswith("000000000\n000000001\n")
    assert text.endswith("000099998\n000099999\n")
    assert "lines not kept here]" in text
    assert len(text) < 17 << 20


def test_forked_and_spawned_workers_print_to_the_run(console: Consoles) -> None:
    done = console.good(
        """
import multiprocessing
begin()
for how in ("fork", "spawn"):
    worker = multiprocessing.get_context(how).Process(target=os.system, args=(f"echo {how}",))
    worker.start(); worker.join()
    assert worker.exitcode == 0
print("end")
""".replace("begin()\nfor", "if __name__ == '__main__':\n  begin()\n  for")
        .replace("\n    worker", "\n      worker")
        .replace("\n    assert", "\n      assert")
        .replace("\nprint", "\n  print")
    )
    assert done.out == b"fork\nspawn\nend\n"
    assert console.texts() == ["fork", "spawn", "end"]


def test_pytests_own_capture_is_left_alone(console: Consoles) -> None:
    (console.folder / "test_it.py").write_text(
        """
import os, sys
exec(open(os.environ["PRELUDE"]).read())
def test_it(capfd):
    begin(); print("one"); os.write(2, b"two"); end()
    assert capfd.readouterr() == ("one\\n", "two")
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=console.folder,
        env={**console.environment, "PRELUDE": console.command("")[1]},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout.decode()


def test_wrapped_streams_are_kept_without_the_pump_in_the_way(console: Consoles) -> None:
    done = console.good(
        """
begin()
print("one", flush=True); print("two", file=sys.stderr)
os.write(1, b"not seen\\n")
end()
print("after")
""",
        variables={"WEIR_CAPTURE_CONSOLE": "wrap"},
    )
    assert done.out == b"one\nnot seen\nafter\n"
    assert console.lines() == [(1, "one"), (2, "two")]


def test_off_is_off(console: Consoles) -> None:
    done = console.good(
        "begin(); print('x'); assert console._pump is None",
        variables={"WEIR_CAPTURE_CONSOLE": "off"},
    )
    assert done.out == b"x\n"
    assert os.listdir(console.spool) == ["agent"]
