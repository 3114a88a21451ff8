"""The command line's frame: what answers without MLflow, and how errors look."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_weir import __version__
from mlflow_weir.plugin.cli import COMMANDS, main


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


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = CliRunner().invoke(main, ["ui", f"weir://{tmp_path}/file/below"])
    assert found.exit_code == 1
    assert f"cannot use the folder {tmp_path}/file/below" in found.output
