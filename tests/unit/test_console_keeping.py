"""What the console's keeping thread does where its spool is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow_weir.plugin.capture.console.keeping import Keeper
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.store.delivery.records import Operation, decode

RUN = "ab" * 16


def said_of_run(spool: Path) -> dict[str, Any]:
    return {
        "do": "begin",
        "run_id": RUN,
        "target": ["sql", "sqlite:////nowhere/a.db"],
        "credentials": None,
        "spool": str(spool),
        "artifact_uri": str(spool.parent / "artifacts"),
        "name": "console.log",
        "environment": {},
        "node": "here",
        "rank": None,
        "pid": 1,
        "limit": 1 << 20,
        "patterns": [],
    }


def test_what_is_printed_while_there_is_no_spool_is_kept(tmp_path: Path) -> None:
    spool = tmp_path / "s"
    spool.write_text("in the way")
    keeper = Keeper()
    keeper.begin(said_of_run(spool))
    keeper.feed(1_000, 1, b"first\n")
    keeper.flush()
    keeper.feed(2_000, 1, b"second\n")
    keeper.flush()
    spool.unlink()
    keeper.feed(3_000, 1, b"third\n")
    keeper.flush()
    (journal,) = Spool(spool).journals()
    with JournalReader(journal.path, 0) as reader:
        found = [decode(payload) for payload in reader.read().payloads]
    lines = [
        (one.fields["first"] + i, text)
        for one in found
        if isinstance(one, Operation) and one.name == "console"
        for i, (_, _, text) in enumerate(one.fields["lines"])
    ]
    assert lines == [(0, "first"), (1, "second"), (2, "third")]
    keeper.close()
