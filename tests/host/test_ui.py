"""``weir ui`` on an embedded store: it answers, stops whole, and says what is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions import members, sessions_of_children

WEIR = str(Path(sys.executable).with_name("weir"))
pytestmark = pytest.mark.slow


def start(*arguments: str, **changes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [WEIR, "ui", *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": "1", **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the UI on a new store at a free port."""
    with start("--port", "0", WEIR_HOME=str(tmp_path / "new")) as process:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if found := re.match(r"Open (http://\S+)", line):
            return found[1]
    raise AssertionError("".join(seen))


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.long) for n in (signal.SIGINT, signal.SIGHUP)),
    ],
)
def test_it_serves_and_leaves_no_process_behind(
    ui: subprocess.Popen[str], tmp_path: Path, signum: signal.Signals
) -> None:
    address = address_of(ui)
    body = json.dumps({"name": "seen"}).encode()
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/experiments/create",
        body,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        assert answer.status == 200
    assert (tmp_path / "new" / "weir.db").exists()
    sessions = sessions_of_children(ui)
    assert len(members(sessions)) > 1

    ui.send_signal(signum)

    assert ui.stdout is not None
    output = ui.stdout.read()
    assert ui.wait(timeout=300) == 0, output
    assert output.splitlines()[-1] == "Stopped."
    assert "Traceback" not in output
    assert members(sessions) == []


def test_a_port_that_was_named_must_be_free(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with start("--port", port, WEIR_HOME=str(tmp_path)) as process:
            assert process.stdout is not None
            output = process.stdout.read()
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in output
    assert "--port 0" in output


def test_a_server_that_ends_by_itself_is_reported_with_its_last_words(tmp_path: Path) -> None:
    broken = tmp_path / "mlflow.db"
    broken.write_bytes(b"this is no database" * 100)
    with start(f"sqlite+weir:///{broken}", "--port", "0") as process:
        assert process.stdout is not None
        output = process.stdout.read()
    assert process.returncode == 1
    assert "the server ended with status" in output
    assert "file is not a database" in output
    (log,) = re.findall(r"all of it: (\S+)\)", output)
    Path(log).unlink()
