"""The command line's frame: what answers without MLflow, and how errors look."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlflow_weir import __version__
from mlflow_weir.plugin.cli import COMMANDS, main
from mlflow_weir.ui_extensions import server


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"]])
def test_the_frame_answers_without_importing_mlflow(arguments: list[str]) -> None:
    heavy = ["mlflow", "sqlalchemy", "numpy", "pyarrow"]
    code = f"""
import sys
from mlflow_weir.plugin.cli import main
try:
    main({arguments!r})
except SystemExit:
    pass
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_ui_does_not_print_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "postgresql+weir://bob:SECRET@h/d?password=SECRET"
    served = []
    monkeypatch.setattr(server, "serve", lambda options, announce: served.append(options))
    found = CliRunner().invoke(main, ["ui", "--port", "0", uri])
    assert "Starting MLflow's UI on postgresql+weir://…@h/d (" in found.output
    assert "SECRET" not in found.output
    assert [options.store_uri for options in served] == [uri]


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"weir, version {__version__}\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_and_has_help(name: str) -> None:
    found = CliRunner().invoke(main, [name, "--help"])
    assert found.exit_code == 0, found.output
    assert found.output.startswith(f"Usage: main {name}")


def test_an_error_of_ours_is_one_line_with_the_way_out() -> None:
    found = CliRunner().invoke(main, ["ui", "https://tracking.example.com"])
    assert found.exit_code == 1
    assert found.output == (
        "Error: https://tracking.example.com: this is a server already (open it in a browser)\n"
    )


@pytest.mark.parametrize("command", [["ui"], ["db", "check"], ["db", "upgrade"]])
@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("foo", "is no tracking database that Weir knows (write weir:"),
        ("", "is no tracking database that Weir knows (write weir:"),
        ("x://bob:SECRET@h", "is no tracking database that Weir knows (write weir:"),
        ("http://bob:SECRET@h", "server"),
        ("weir://bob:SECRET@h", "is not an address Weir knows"),
        ("sqlite+weir://bob:SECRET@h", "two slashes"),
        ("postgresql+weir://bob:SECRET@h:port/d", "cannot be read as a database URI"),
        ("mysql+no_driver://bob:SECRET@h/d", "names a driver that SQLAlchemy does not know"),
        ("postgresql+asyncpg://bob:SECRET@h/d", "needs the Python module 'asyncpg'"),
    ],
)
def test_what_names_no_store_is_refused_in_a_line_before_anything_starts(
    command: list[str], uri: str, reason: str
) -> None:
    found = CliRunner().invoke(main, [*command, uri])
    assert found.exit_code == 1
    assert found.output.startswith("Error: ")
    assert len(found.output.splitlines()) == 1
    assert reason in found.output
    assert "SECRET" not in found.output


@pytest.mark.slow
@pytest.mark.parametrize("is_terminal", [True, False])
def test_bars_are_drawn_on_a_terminal_alone(sqlite_folder: Any, is_terminal: bool) -> None:
    from mlflow.entities import Metric

    from mlflow_weir.store.tracking_store import WeirStore

    url = sqlite_folder.new_mlflow_database()
    store: Any = WeirStore(url, "/nowhere/artifacts")
    run_id = store.create_run("0", "somebody", 1000, [], "run").info.run_id
    store.log_batch(run_id, [Metric("loss", 0.5, 1000, 0)], [], [])
    store._dispose_engine()
    terminal, stderr = pty.openpty() if is_terminal else os.pipe()
    try:
        weir = str(Path(sys.executable).with_name("weir"))
        done = subprocess.run(
            [weir, "db", "check", url], stdout=subprocess.PIPE, stderr=stderr, check=False
        )
    finally:
        os.close(stderr)
    drawn = b""
    with open(terminal, "rb", buffering=0) as reader, contextlib.suppress(OSError):
        while some := reader.read(4096):  # a terminal that nobody writes to any more is an EIO
            drawn += some
    assert done.returncode == 0
    assert b"1 points in 1 batches" in done.stdout
    if is_terminal:
        assert re.search(rb"batches +\[#+\] +100%", drawn), drawn
    else:
        assert drawn == b""


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = CliRunner().invoke(main, ["ui", f"weir://{tmp_path}/file/below"])
    assert found.exit_code == 1
    assert f"cannot use the folder {tmp_path}/file/below" in found.output
