"""A notebook keeps what its cells print, of the time of their runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notebooks import run_cell, start_kernel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("agent"),
    pytest.mark.filterwarnings("default"),  # of Jupyter and what it stands on
]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("GIT", "ENVIRONMENT", "HARDWARE", "NOTEBOOK"):
        monkeypatch.setenv(f"WEIR_CAPTURE_{name}", "off")
    monkeypatch.setenv("WEIR_CAPTURE", "on")
    yield from start_kernel(tmp_path, monkeypatch)


def test_a_notebooks_cells_are_kept(kernel: Any, tmp_path: Path) -> None:
    code = """
import mlflow, sys
run = mlflow.start_run(); print("one"); print("two", file=sys.stderr)
"""
    _, written = run_cell(kernel, code)
    assert written.endswith("two\n")
    run_cell(kernel, "print('three')")
    run_cell(kernel, "mlflow.end_run(); print('four'); import mlflow_weir; mlflow_weir.finish()")
    run_cell(kernel, "print('five')")
    (path,) = (tmp_path / "store").rglob("console.log")
    assert path.read_text().splitlines() == ["one", "two", "three"]
