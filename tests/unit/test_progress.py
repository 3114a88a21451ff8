"""The line of progress: on a terminal, over itself, and nowhere else."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from mlflow_weir.plugin import progress
from mlflow_weir.plugin.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    return now_s


def written(file: io.StringIO, now_s: list[float], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", file)
    line = ProgressLine()
    for _ in range(30):
        line.show(f"at {now_s[0]:g}")
        now_s[0] += 0.1
    line.end()
    return file.getvalue()


def test_it_is_written_over_itself_once_a_second(
    now_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = written(Terminal(), now_s, monkeypatch)
    assert text.count("\n") == 1
    assert text.endswith("\n")
    seen = [part.strip() for part in text.split("\r")[1:]]
    assert [round(float(part.removeprefix("weir: at "))) for part in seen] == [1, 2]


def test_a_log_has_none_of_it(now_s: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(io.StringIO(), now_s, monkeypatch) == ""


def test_what_is_short_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    line = ProgressLine()
    line.show("soon over")
    line.end()
    assert terminal.getvalue() == ""
