"""The process that captures, where one part of what it asks does not answer."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mlflow_weir.plugin.capture import __main__ as capture


def test_a_gpu_that_does_not_answer_takes_nothing_else_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    def hardware() -> Any:
        is_over.wait()
        return {}, ""

    asked = {
        "argv": ["python", "train.py"],
        "working_folder": str(tmp_path),
        "folder": str(tmp_path),
        "git": False,
        "environment": True,
        "hardware": True,
        "patterns": [],
    }
    said = io.StringIO()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "nice", lambda by: 0)
    monkeypatch.setattr(capture, "hardware", hardware)
    monkeypatch.setattr(capture, "_HARDWARE_S", 0.2)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
    monkeypatch.setattr(sys, "stdout", said)
    try:
        capture.main()
    finally:
        is_over.set()
    found = json.loads(said.getvalue())
    assert found["tags"]["weir.python"]
    assert found["tags"]["weir.gpu"] == "a GPU's library did not answer"
    assert {"environment.json", "requirements.txt", "hardware.json"} == set(found["files"])
