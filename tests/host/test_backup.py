"""Back-ups as docs/deployment.md has them, taken while somebody writes, are whole."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.entities import Metric, RunStatus

from agents import wait_until
from databases import DatabaseServer, postgres_program
from metric_writers import make_small
from mlflow_weir.errors import PositionMismatch
from mlflow_weir.store.delivery import positions
from mlflow_weir.store.delivery.apply import apply
from mlflow_weir.store.delivery.records import encode_points
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.tracking_store import WeirStore

JOURNAL = "a" * 32
PATIENCE_S = 120.0


def back_up_postgres(url: str, restored: str, folder: Path) -> None:
    where, to = sa.make_url(url), sa.make_url(restored)
    address = ["--host", where.host or "", "--port", str(where.port), "--username", "postgres"]
    dump = folder / "mlflow.dump"
    for words in (
        ["pg_dump", *address, "--format=custom", f"--file={dump}", where.database or ""],
        ["pg_restore", *address, "--exit-on-error", f"--dbname={to.database}", dump],
    ):
        program, *rest = words
        subprocess.run([postgres_program(str(program)), *rest], check=True, timeout=300)


def back_up_sqlite(url: str, restored: str, folder: Path) -> None:
    """Do what ``sqlite3 weir.db ".backup copy.db"`` does."""
    paths = [str(sa.make_url(one).database) for one in (url, restored)]
    with (
        contextlib.closing(sqlite3.connect(paths[0])) as source,
        contextlib.closing(sqlite3.connect(paths[1])) as copy,
    ):
        source.backup(copy)


@contextlib.contextmanager
def writing(store: Any, run_id: str) -> Iterator[Callable[[], int]]:
    """Log one step after the other until the block ends; yield how many are acknowledged."""
    is_over, steps = threading.Event(), [0]

    def write() -> None:
        while not is_over.is_set():
            store.log_batch(run_id, [Metric("m", 1.0, steps[0], steps[0])], [], [])
            steps[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: steps[0]
    finally:
        is_over.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def history(store: Any, run_id: str) -> list[tuple[int, int, float]]:
    return [(m.timestamp, m.step, m.value) for m in store.get_metric_history(run_id, "m")]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_what_is_restored_is_one_moment_of_all(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch.setattr)  # compactions at every turn
    is_postgres = dialect == "postgresql"
    server: DatabaseServer = request.getfixturevalue(
        "postgres_server" if is_postgres else "sqlite_folder"
    )
    url = server.new_mlflow_database(f"weir_backup_{dialect}")
    restored = server.new_database()
    store: Any = WeirStore(url, str(tmp_path / "artifacts"))
    ended, going_on, delivered = (
        str(store.create_run("0", "somebody", 0, [], name).info.run_id) for name in "abc"
    )
    for step in range(60):
        store.log_batch(ended, [Metric("m", step / 3, step, step)], [], [])
    store.update_run_info(ended, RunStatus.FINISHED, 1, None)
    file = tmp_path / "artifacts" / "a.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text("of the run")
    records = [encode_points(delivered, [("m", i, i, i / 7)]) for i in range(20)]
    end = sum(map(len, records[:10]))
    assert apply(store.engine, JOURNAL, 1, 0, end, records[:10]).n_points == 10

    with writing(store, going_on) as n_written:
        wait_until(lambda: n_written() > 5, "the writer has begun")
        before = n_written()
        (back_up_postgres if is_postgres else back_up_sqlite)(url, restored, tmp_path)
        # After the database: of files without a run nobody knows, of runs without files one does.
        shutil.copytree(tmp_path / "artifacts", tmp_path / "copy")
        after = n_written()
        wait_until(
            lambda: n_written() > after, "the writer goes on"
        )  # nobody was held up for good
    rest = sum(map(len, records[10:]))
    apply(store.engine, JOURNAL, 1, end, end + rest, records[10:])

    again: Any = WeirStore(restored, str(tmp_path / "copy"))
    assert check(again.engine, Silent()).problems == []
    assert history(again, ended) == history(store, ended)
    assert again.get_run(ended).info.status == "FINISHED"
    assert (tmp_path / "copy" / "a.txt").read_text() == "of the run"
    kept = history(again, going_on)
    assert before <= len(kept) <= after + 1
    assert kept == history(store, going_on)[: len(kept)]
    # The journal goes on from where the back-up has it, told by a delivery that comes too late.
    with pytest.raises(PositionMismatch) as mismatch:
        apply(again.engine, JOURNAL, 1, end + rest, end + rest + 1, [records[0]])
    assert mismatch.value.position == end
    apply(again.engine, JOURNAL, 1, end, end + rest, records[10:])
    assert history(again, delivered) == history(store, delivered)
    with again.engine.connect() as ours, store.engine.connect() as theirs:
        found = [positions.read(one, JOURNAL) for one in (ours, theirs)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].position == found[1].position == end + rest
    for opened in (store, again):
        opened._dispose_engine()
