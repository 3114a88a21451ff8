"""A clock that is set while a training runs: of its process, or of the agent's.

A library before the C library (``shifted_clock.c``) tells another time from one call to the next,
by hours, days and years, forwards and back. The monotonic clock goes on, as the kernel's does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient

import agents
from agents import agents_of, start_agent, wait_until
from kills import note_campaign
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.xdist_group("agent")]

DAY_S = 86_400
JUMPS_S = (3_600, -3_600, 40 * DAY_S, -40 * DAY_S, 3_650 * DAY_S, -3_650 * DAY_S, 0)

TRAINING = """
import json, os, sys, threading, time
import mlflow
asked = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), asked.set()), daemon=True).start()
run = mlflow.start_run()
print(run.info.run_id, flush=True)
step, clocks = 0, set()
while not asked.is_set():
    mlflow.log_metric("m", step, step=step)
    if step % 50 == 0:
        mlflow.set_tag("step", step)
        mlflow.log_param(f"p{step}", step)
    clocks.add(time.gmtime().tm_year)
    step += 1
    time.sleep(0.005)
print(json.dumps({"n": step, "clocks": sorted(clocks)}), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
"""


class Clock:
    """The time that a process is told."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)
        self.variables = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._file)}

    def set(self, offset_s: int) -> None:
        """Let it differ from the real one by so much from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}")
        os.replace(new, self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("missing component: a C compiler, on Linux")
    library = tmp_path / "clock.so"
    source = Path(agents.__file__).with_name("shifted_clock.c")
    words = [compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(words, check=True)
    return Clock(library, tmp_path)


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    for made in agents.fresh_spool():
        monkeypatch.setenv("WEIR_SPOOL", str(made.root))
        monkeypatch.setenv("WEIR_CLIENT", "off")  # of this process
        yield made


def has_points(folder: JournalFolder, n: int) -> bool:
    """Say whether so many points are delivered."""
    return folder.delivered().n_points > n


@pytest.mark.parametrize("end", ["finished", "killed"])
@pytest.mark.parametrize("whose", ["trainer", "agent"])
def test_a_clock_that_is_set_costs_no_point_and_stops_nothing(
    spool: Spool, clock: Clock, tmp_path: Path, whose: str, end: str
) -> None:
    pid = start_agent(spool, **(clock.variables if whose == "agent" else {}))
    mine = clock.variables if whose == "trainer" else {}
    uri = f"weir://{tmp_path}/home"
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING, end],
        env={**os.environ, "WEIR_CLIENT": "auto", "MLFLOW_TRACKING_URI": uri, **mine},
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    run_id = training.stdout.readline().strip()
    assert run_id, training.communicate()[1]
    (folder,) = spool.journals()
    for offset_s in JUMPS_S:
        clock.set(offset_s)
        enough = folder.delivered().n_points + 20
        wait_until(partial(has_points, folder, enough), f"points after {offset_s:+d} s", 120)
    out, err = training.communicate("end\n", timeout=300)
    assert training.returncode == (-signal.SIGKILL if end == "killed" else 0), err
    said = json.loads(out)
    assert (len(said["clocks"]) > 1) == (whose == "trainer"), "the clock was set"
    assert agents_of(spool) == [pid], "the agent goes on, and is the only one"
    wait_until(lambda: not spool.journals(), "all is delivered", 120)
    client = MlflowClient(uri)
    history = client.get_metric_history(run_id, "m")
    assert sorted(point.step for point in history) == list(range(said["n"]))
    run = client.get_run(run_id)
    assert run.data.metrics["m"] == said["n"] - 1
    figures = {"jumps": len(JUMPS_S), "points_accepted": said["n"]}
    note_campaign("clock jumps", {**figures, "points_stored_once": len(history)})
    assert len(run.data.params) == (said["n"] + 49) // 50
    cause = run.data.tags.get("weir.exit_cause")
    expected = ("KILLED", "signal SIGKILL") if end == "killed" else ("FINISHED", None)
    assert (run.info.status, cause) == expected
