"""A training in a real Jupyter kernel: a card for each run, and nothing on stderr from us."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from notebooks import run_cell, start_kernel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("agent"),
    pytest.mark.filterwarnings("default"),  # of Jupyter and what it stands on
]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from start_kernel(tmp_path, monkeypatch)


def test_the_cells_that_were_run_are_kept_without_outputs_and_secrets(
    kernel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    token = "ghp_" + "aB3" * 12
    run_cell(kernel, "import mlflow, os; os.environ['WEIR_CAPTURE'] = 'on'")
    run_cell(kernel, f"os.environ.update(WEIR_CAPTURE_GIT='off')\nTOKEN = '{token}'\nprint(TOKEN)")
    run_cell(kernel, "run = mlflow.start_run()")
    run_cell(kernel, "x = 1\nprint('the out' + 'put')")
    run_cell(kernel, "mlflow.end_run(); import mlflow_weir; mlflow_weir.finish()")
    client = MlflowClient(f"weir://{tmp_path}/store")
    (run,) = client.search_runs(["0"])
    found = Path(client.download_artifacts(run.info.run_id, "weir/notebook.ipynb")).read_text()
    cells = json.loads(found)["cells"]
    assert [cell["execution_count"] for cell in cells] == [1, 2, 3, 4, 5]
    assert "".join(cells[3]["source"]) == "x = 1\nprint('the out' + 'put')"
    assert "TOKEN = '[redacted]'\n" in cells[1]["source"]
    assert token not in found
    assert "the output" not in found
    assert all(cell["outputs"] == [] for cell in cells)


def test_each_run_gets_a_card(kernel: Any) -> None:
    run_cell(kernel, "import mlflow")
    for name in ("first", "<b>second"):
        shown, written = run_cell(
            kernel, f"with mlflow.start_run(run_name={name!r}): mlflow.log_metric('m', 1)"
        )
        (card,) = shown
        assert html.escape(name) in card["text/html"]
        assert "<b>second" not in card["text/html"]
        assert "<code>weir ui sqlite+weir:///" in card["text/html"]
        assert card["text/plain"].startswith(f"weir: run {name} (")
        assert "weir:" not in written
    # Without a run, nothing is said.
    assert run_cell(kernel, "mlflow.search_runs()")[0] == []
