"""`weir logs` for a run of a stock server, whose lines are a text in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_server import free_port
from mlflow_weir.plugin.cli import logs
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.console.lines import Line

RUN = "0123456789abcdef" * 2


def lines(*numbers: int, source: str = "s") -> logs.Lines:
    return {(source, n): Line(n, 0, 0, f"line {n}") for n in numbers}


def test_a_text_that_waits_for_its_upload_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_SPOOL", str(tmp_path / "spool"))
    server = f"http://127.0.0.1:{free_port()}"  # away
    made = Journal.create(Spool.open(tmp_path / "spool"), Target("http", server), None)
    (tmp_path / "text").write_text("said\n")
    for run, name in ((RUN[::-1], "console.log"), (RUN, "other.log"), (RUN, "console.log")):
        upload = files.Upload(f"mlflow-artifacts:/0/{run}/artifacts", "weir", name, 5)
        files.add(JournalFolder(made.folder).files, 0, upload, [(str(tmp_path / "text"), name)])
    shown = CliRunner().invoke(logs.logs, [RUN, "--uri", server])
    assert (shown.exit_code, shown.output) == (0, "said\n")


def test_what_comes_after_a_gap_is_left_to_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    show = logs._Output(as_json=False)
    show.lines(lines(0, 1, 2), is_last=False, past_gaps=False)
    show.lines(lines(5, 6), is_last=False, past_gaps=False)  # 2 to 4 were delivered meanwhile
    assert capsys.readouterr().out == "line 0\nline 1\n"
    gone = "[weir: 3 lines not kept here]"
    show.rest_of("\n".join(["line 0", "line 1", "line 2", gone, "line 6", "line 7"]) + "\n")
    assert capsys.readouterr().out == f"line 2\n{gone}\nline 6\nline 7\n"


def test_a_gap_of_what_a_server_keeps_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    show = logs._Output(as_json=False)
    show.lines(lines(0, 3), is_last=True)
    assert capsys.readouterr().out == "line 0\n[weir: 2 lines not kept here]\nline 3\n"
