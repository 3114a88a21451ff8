"""A real Jupyter kernel, and what its cells show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflow_weir.plugin.agent import client as agent

DEADLINE_S = 120


def start_kernel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the client of a kernel with a store and a spool of its own; end it afterwards."""
    manager = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    for name, value in {
        "MLFLOW_TRACKING_URI": f"weir://{folder}/store",
        "WEIR_SPOOL": str(folder / "spool"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "WEIR_CLIENT": "auto",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # it is none of the kernel's
    km, kc = manager.start_new_kernel(startup_timeout=DEADLINE_S, kernel_name="python3")
    try:
        yield kc
    finally:
        kc.stop_channels()
        km.shutdown_kernel(now=True)
        agent.nudge(folder / "spool", agent.STOP)


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
