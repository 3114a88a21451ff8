"""A training in a real Jupyter kernel: a card for each run, and nothing on stderr from us."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlflow_weir.plugin.agent import client as agent

manager = pytest.importorskip("jupyter_client.manager")
pytest.importorskip("ipykernel")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("agent"),
    pytest.mark.filterwarnings("default"),  # of Jupyter and what it stands on
]

DEADLINE_S = 120


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "MLFLOW_TRACKING_URI": f"weir://{tmp_path}/store",
        "WEIR_SPOOL": str(tmp_path / "spool"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "WEIR_CLIENT": "auto",
    }.items():
        monkeypatch.setenv(name, value)
    km, kc = manager.start_new_kernel(startup_timeout=DEADLINE_S, kernel_name="python3")
    try:
        yield kc
    finally:
        kc.stop_channels()
        km.shutdown_kernel(now=True)
        agent.nudge(tmp_path / "spool", agent.STOP)


def run_cell(kernel: Any, code: str) -> tuple[list[dict[str, str]], str]:
    """Return what a cell displayed and what it wrote to stderr."""
    shown: list[dict[str, str]] = []
    written: list[str] = []

    def note(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "display_data":
            shown.append(content["data"])
        elif message["msg_type"] == "stream" and content["name"] == "stderr":
            written.append(content["text"])

    answer = kernel.execute_interactive(code, timeout=DEADLINE_S, output_hook=note)
    assert answer["content"]["status"] == "ok", answer
    return shown, "".join(written)


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
