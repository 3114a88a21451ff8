"""Lines that runs printed, from records to rows and back: every database, any order of drains."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mlflow.artifacts import load_text

from databases import DatabaseServer
from deliveries import JournalOfRecords
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import schema
from mlflow_weir.store.console import reading, writing
from mlflow_weir.store.console.document import text_of
from mlflow_weir.store.console.lines import Line, decode
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.delivery.connection import reading as connected
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.tracking_store import WeirStore

pytestmark = pytest.mark.slow

RUN, SOURCE, OTHER = "a" * 32, "b" * 32, "0" * 32


@pytest.fixture
def url(database_server: DatabaseServer, tmp_path: Path) -> str:
    made = database_server.new_mlflow_database()
    store: Any = WeirStore(made, str(tmp_path / "artifacts"))
    store._dispose_engine()
    return made


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    opened = open_engine(url)
    yield opened
    opened.dispose()


class Console:
    """A run that prints through a journal, and what is in the database of it."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine, self.journal = engine, JournalOfRecords()
        self.journal.operation(
            "create_run", run_id=RUN, experiment_id="0", experiment_name=None, user_id="me",
            start_time=1, tags=[], run_name="a run", artifact_uri=None,
        )  # fmt: skip

    def prints(self, first: int, *texts: str, cut: Any = None, **fields: Any) -> None:
        lines = [[i, 1 + i % 2, text] for i, text in enumerate(texts)]
        given = {
            "run_id": RUN, "source": SOURCE, "node": "here", "rank": None, "pid": 7,
            "first": first, "at_ms": 1_000 + first, "lines": lines, "cut": cut,
        }  # fmt: skip
        self.journal.operation("console", **{**given, **fields})

    def deliver(self, rng: random.Random | None = None) -> list[str]:
        outcomes = self.journal.deliver(self.engine, rng)
        return [one.reason for outcome in outcomes for one in outcome.rejected]

    def source(self, which: str = SOURCE) -> reading.ConsoleSource:
        with connected(self.engine) as connection:
            found = reading.list_sources(connection, RUN)
        return next(one for one in found if one.source == which)

    def lines(self, first: int = 0, n: int = 1_000_000) -> list[Line]:
        with connected(self.engine) as connection:
            return reading.read_lines(connection, RUN, self.source(), first, n)

    def texts(self, first: int = 0, n: int = 1_000_000) -> list[str]:
        return [line.text for line in self.lines(first, n)]

    def n_rows(self) -> int:
        with connected(self.engine) as connection:
            query = sa.select(sa.func.count()).select_from(schema.console)
            return int(connection.execute(query).scalar_one())


@pytest.fixture
def console(engine: sa.Engine) -> Console:
    return Console(engine)


def test_lines_come_back_with_their_number_time_and_stream(console: Console) -> None:
    console.prints(0, "one", "zwei \u00fc \U0001d49c \x1b[31mred\x1b[0m")
    console.prints(2, "three")
    assert console.deliver() == []
    assert console.lines() == [
        Line(0, 1_000, 1, "one"),
        Line(1, 1_001, 2, "zwei \u00fc \U0001d49c \x1b[31mred\x1b[0m"),
        Line(2, 1_002, 1, "three"),
    ]
    assert console.source()[:6] == (SOURCE, "here", None, 7, 1_000, 3)
    assert console.texts(1, 1) == ["zwei \u00fc \U0001d49c \x1b[31mred\x1b[0m"]
    assert console.texts(-2) == ["zwei \u00fc \U0001d49c \x1b[31mred\x1b[0m", "three"]


def test_a_line_that_comes_again_is_replaced_and_takes_no_room(console: Console) -> None:
    console.prints(0, "begin")
    for percent in range(500):
        console.prints(1, f"{percent} %")
    assert console.deliver() == []
    assert console.texts() == ["begin", "499 %"]
    assert console.n_rows() == 2


@pytest.mark.parametrize("seed", range(3))
def test_small_rows_become_few_and_say_the_same(console: Console, seed: int) -> None:
    rng = random.Random(seed)
    expected: list[str] = []
    for _ in range(400):  # as a pump sends: what is settled, and again what was still moving
        first = max(len(expected) - rng.randint(0, 3), 0)
        del expected[first:]
        texts = [f"{rng.random()} at {first + i}" for i in range(rng.randint(1, 6))]
        expected += texts
        console.prints(first, *texts)
    assert console.deliver(rng) == []
    assert console.texts() == expected
    assert [line.n for line in console.lines()] == list(range(len(expected)))
    assert console.n_rows() < 80
    assert check(console.engine, Silent()).problems == []


def test_what_is_cut_is_gone_and_counted(console: Console) -> None:
    for first in range(0, 300, 10):
        console.prints(first, *(f"line {first + i}" for i in range(10)))
    console.prints(300, "end", cut=[15, 255])
    assert console.deliver() == []
    expected = [f"line {i}" for i in (*range(15), *range(255, 300))] + ["end"]
    assert console.texts() == expected
    assert console.source()[5:8] == (301, 15, 255)
    text = "".join(text_of(console.lines(), 301)).splitlines()
    assert text == [*expected[:15], "[weir: 240 lines not kept here]", *expected[15:]]


def test_a_reader_asks_for_what_is_new(console: Console) -> None:
    console.prints(0, "one", "50 %")
    console.deliver()
    seq = console.source().seq
    console.prints(1, "100 %", "two")
    console.deliver()
    with connected(console.engine) as connection:
        new = reading.read_since(connection, RUN, console.source(), seq)
        assert [(line.n, line.text) for line in new] == [(1, "100 %"), (2, "two")]
        assert reading.read_since(connection, RUN, console.source(), console.source().seq) == []


def test_a_search_looks_through_case_and_colours(console: Console) -> None:
    console.prints(0, *(f"step {i}" for i in range(1_000)), "\x1b[1mERR\x1b[31mOR\x1b[0m: boom")
    console.deliver()
    with connected(console.engine) as connection:
        found = reading.search_lines(connection, RUN, console.source(), "error: B")
        assert [line.n for line in found] == [1_000]
        some = reading.search_lines(connection, RUN, console.source(), "STEP", 10, 5)
        assert [line.n for line in some] == [10, 11, 12, 13, 14]


def test_two_processes_of_a_run_have_their_own_lines(console: Console) -> None:
    console.prints(0, "rank 0")
    console.prints(0, "rank 1", source=OTHER, rank=1, pid=8, at_ms=999)
    console.deliver()
    with connected(console.engine) as connection:
        first, second = reading.list_sources(connection, RUN)
        assert (first.source, first.rank, second.source) == (OTHER, 1, SOURCE)
        (line,) = reading.read_lines(connection, RUN, first, 0, 10)
    assert line.text == "rank 1"


WRONG: list[dict[str, Any]] = [
    {"source": "x"},
    {"first": -1},
    {"pid": 1 << 40},
    {"rank": "0"},
    {"at_ms": -1},
    {"lines": [["0", 1, "x"]]},
    {"lines": [[0, 9, "x"]]},
    {"lines": [[0, 1]]},
    {"lines": [[0, 1, "x" * 70_000]]},
    {"lines": [[0, 1, ""]] * 20_001},
    {"cut": [5, 2]},
    {"cut": [1]},
    {"run_id": "f" * 32},
]


def test_a_record_that_is_none_is_refused_alone(console: Console) -> None:
    console.prints(0, "before")
    for wrong in WRONG:
        given = {"first": 1, **wrong}
        console.prints(given.pop("first"), "wrong", **given)
    console.prints(1, "after \ud800 \0")
    assert len(console.deliver()) == len(WRONG)
    before, after = console.texts()
    assert before == "before"
    assert after.startswith("after")


def test_what_is_redacted_is_counted_once(console: Console) -> None:
    for n in (2, 3):
        console.journal.operation("redacted", run_id=RUN, n=n)
    assert console.deliver() == []
    with connected(console.engine) as connection:
        query = sa.text("SELECT value FROM tags WHERE tags.key = 'weir.redacted'")
        if connection.dialect.name == "mysql":
            query = sa.text("SELECT value FROM tags WHERE tags.`key` = 'weir.redacted'")
        assert connection.execute(query).scalar() == "5"


def test_check_names_a_row_that_is_not_what_it_was(console: Console) -> None:
    console.prints(0, "one")
    console.deliver()
    with console.engine.begin() as connection:
        connection.execute(sa.update(schema.console).values(payload=b"nothing"))
    (problem,) = check(console.engine, Silent()).problems
    assert f"weir_console {RUN}/{SOURCE}/1" in problem
    assert console.texts() == []


def test_a_deleted_runs_lines_are_swept_with_it(console: Console, url: str) -> None:
    console.prints(0, "one")
    console.deliver()
    with console.engine.begin() as connection:
        for table in ("tags", "params", "metrics", "latest_metrics"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
        connection.execute(sa.text("DELETE FROM runs"))
    assert any(RUN in one for one in check(console.engine, Silent()).problems)
    result = CliRunner().invoke(main, ["db", "compact", url], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert console.n_rows() == 0
    with connected(console.engine) as connection:
        assert reading.list_sources(connection, RUN) == []


def test_eject_keeps_the_lines_as_the_runs_artifact(
    console: Console, url: str, tmp_path: Path
) -> None:
    uri = f"file://{tmp_path}/of-the-run"
    console.journal.payloads.clear()
    console.journal.operation(
        "create_run", run_id=RUN, experiment_id="0", experiment_name=None, user_id="me",
        start_time=1, tags=[], run_name="a run", artifact_uri=uri,
    )  # fmt: skip
    console.prints(0, "one", "\x1b[31mtwo\x1b[0m")
    console.prints(0, "of another", source=OTHER, rank=1, at_ms=1)
    assert console.deliver() == []
    result = CliRunner().invoke(main, ["db", "eject", "--yes", "--json", url])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output[result.output.index("{") :])["n_consoles"] == 1
    assert load_text(f"{uri}/weir/console.log").splitlines() == [
        "[weir: process 7 on here, rank 1]",
        "of another",
        "[weir: process 7 on here]",
        "one",
        "two",
    ]
    engine = sa.create_engine(url)
    assert not [name for name in sa.inspect(engine).get_table_names() if "weir" in name]
    engine.dispose()


def test_a_hundred_thousand_lines_are_read_by_page(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []  # the first line of each row that is read

    def decoding(payload: bytes, first: int, what: str) -> list[Line]:
        rows.append(first)
        return decode(payload, first, what)

    monkeypatch.setattr(reading, "decode", decoding)
    n = 120_000
    for first in range(0, n, 2_000):
        console.prints(first, *(f"epoch {first + i} loss 0.12345" for i in range(2_000)))
    assert console.deliver() == []
    assert console.texts(100_000, 3) == [
        f"epoch {i} loss 0.12345" for i in range(100_000, 100_003)
    ]
    assert len(rows) <= 2  # a page does not read all
    rows.clear()
    with connected(console.engine) as connection:
        assert sum(1 for _ in reading.iter_lines(connection, RUN, console.source())) == n
    assert len(rows) >= console.n_rows() > 20
    assert writing.MAX_LINES >= 2_000
