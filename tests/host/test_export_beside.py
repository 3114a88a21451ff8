"""``weir export``: what Weir has of a run beside MLflow's, and what lies beside its traces.

The same from a database and from a server in front of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.tracing.attachments import Attachment

from histogram_tables import KEYS, rows_of, table_of
from mlflow_server import ServerSpec, start_servers
from mlflow_weir.plugin import exported_beside
from mlflow_weir.plugin.cli import main
from mlflow_weir.store.alerts.alerts import Alert
from mlflow_weir.store.console import writing as console
from mlflow_weir.store.console.lines import Line
from mlflow_weir.store.histograms import writing as histograms
from mlflow_weir.store.tracking_store import WeirStore
from trainings import NO_JOBS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore", "error:::mlflow_weir"
    ),  # MLflow's tracing warns of itself
]

STEPS = (*range(0, 700, 5), -7, 1 << 40)  # some turned about, some not
LINES = [Line(n, 10**12 + n, 1 + n % 2, f"Zeile {n} \x1b[31mrot\x1b[0m") for n in range(60)]
PICTURE = b"\x89PNG bytes"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Give a database's URI and the address of a server in front of it."""
    folder = tmp_path_factory.mktemp("server")
    uri = f"sqlite+weir:///{folder}/a.db"
    arguments = ["server", "--backend-store-uri", uri]
    with start_servers(ServerSpec(arguments, folder, (NO_JOBS,))) as (server,):
        yield uri, server.address


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    monkeypatch.setattr(exported_beside, "_STEPS_AT_ONCE", 50)
    monkeypatch.setattr(exported_beside, "_LINES_AT_ONCE", 7)


def export(uri: str, folder: Path, *words: str) -> dict[str, Any]:
    done = CliRunner().invoke(
        main, ["export", "--uri", uri, "--to", str(folder), "--json", *words]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def fill(uri: str, run_id: str) -> None:
    """Write what a training's console, ``watch`` and alerts would have become."""
    store = WeirStore(uri.replace("+weir", ""), "/nowhere")
    with store.engine.begin() as connection:
        for step in STEPS:
            histograms.append(connection, run_id, table_of(step))
        histograms.append(connection, run_id, table_of(3, KEYS[:1], "parameters"))
        for i in range(2):
            source = console.Source(f"{i}" * 32, f"node-{i}", i, 70 + i)
            console.append(connection, run_id, source, LINES[: 60 - 20 * i])
    store.log_alert(Alert(run_id, run_id, "warning", "loss is high", "3.2", 10**12))
    store._dispose_engine()


@pytest.mark.parametrize("by", [0, 1], ids=["database", "server"])
def test_lines_histograms_and_alerts_come_along(
    both: tuple[str, str], tmp_path: Path, by: int
) -> None:
    client = MlflowClient(both[1])
    run_id = client.create_run("0").info.run_id
    empty = client.create_run("0").info.run_id
    fill(both[0], run_id)
    for one in (run_id, empty):
        client.set_terminated(one)
    report = export(both[by], tmp_path, run_id, empty)
    assert (report["n_lines"], report["n_alerts"]) == (100, 1)
    assert report["n_histograms"] == len(STEPS) * len(KEYS) + 1
    assert report["left_out"] == {}
    folder = tmp_path / "0" / run_id
    facts = json.loads((folder / "run.json").read_text("utf-8"))
    assert [(one["rank"], one["n_lines"]) for one in facts["printed_by"]] == [(0, 60), (1, 40)]
    assert [one["title"] for one in facts["alerts"]] == ["loss is high"]
    lines = [
        json.loads(line) for line in (folder / "console.jsonl").read_text("utf-8").splitlines()
    ]
    wanted = [("0" * 32, line) for line in LINES] + [("1" * 32, line) for line in LINES[:40]]
    assert lines == [{"source": source, **line.as_json()} for source, line in wanted]
    rows = pq.read_table(folder / "histograms.parquet").to_pylist()
    assert {row["run_id"] for row in rows} == {run_id}
    of_kind = [row for row in rows if row["kind"] == "gradients"]
    names = ("key", "step", "timestamp", "norm", "first", "last", "n_nan", "n_inf", "counts")
    found = [tuple(row[name] for name in names) for row in of_kind]
    logged = [row for step in sorted(STEPS) for row in rows_of(table_of(step))]
    assert found == sorted(logged, key=lambda row: (row[0], row[1]))
    assert [(row["kind"], row["key"], row["step"]) for row in rows if row not in of_kind] == [
        ("parameters", KEYS[0], 3)
    ]
    assert sorted(one.name for one in (tmp_path / "0" / empty).iterdir()) == [
        "metrics.parquet",
        "run.json",
    ]
    # Again: nothing. Lines that come late are a change.
    assert export(both[by], tmp_path, run_id)["n_same"] == 1
    store = WeirStore(both[0].replace("+weir", ""), "/nowhere")
    with store.engine.begin() as connection:
        late = console.Source("1" * 32, "node-1", 1, 71)
        console.append(connection, run_id, late, LINES[40:])
    store._dispose_engine()
    assert export(both[by], tmp_path, run_id)["n_lines"] == 120


def test_a_server_that_gives_pictures_alone_is_told(
    both: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of an older version would, which takes no notice of what it does not know."""
    client = MlflowClient(both[1])
    run_id = client.create_run("0").info.run_id
    fill(both[0], run_id)
    ask = exported_beside._Server._ask

    def older(self: Any, route: str, body: dict[str, Any]) -> Any:
        return ask(self, route, {key: value for key, value in body.items() if key != "after"})

    monkeypatch.setattr(exported_beside._Server, "_ask", older)
    words = ["export", "--uri", both[1], "--to", str(tmp_path), run_id]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "upgrade it" in done.stdout
    assert not (tmp_path / "0" / run_id).exists()


@pytest.mark.parametrize("by", [0, 1], ids=["database", "server"])
def test_attachments_of_traces_come_with_artifacts(
    both: tuple[str, str], tmp_path: Path, by: int
) -> None:
    client = MlflowClient(both[1])
    experiment = client.create_experiment(
        f"traced {by}", (tmp_path / "store").as_uri() if by == 0 else None
    )
    run_id = client.create_run(experiment).info.run_id
    client.set_terminated(run_id)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(both[by])
    root = client.start_trace("ask", inputs={"q": 1}, experiment_id=experiment)
    picture = Attachment(content_type="image/png", content_bytes=PICTURE)
    client.end_trace(root.trace_id, outputs={"a": picture})
    mlflow.flush_trace_async_logging()
    mlflow.set_tracking_uri(before)
    client.link_traces_to_run([root.trace_id], run_id)

    report = export(both[by], tmp_path / "without", run_id)
    assert (report["n_traces"], report["n_attachments"]) == (1, 0)
    assert report["left_out"] == {"attachments of traces (--artifacts downloads them)": 1}
    report = export(both[by], tmp_path / "with", "--artifacts", run_id)
    assert (report["n_traces"], report["n_attachments"], report["left_out"]) == (1, 1, {})
    folder = tmp_path / "with" / experiment / run_id
    (file,) = (folder / "traces" / root.trace_id / "attachments").iterdir()
    assert file.read_bytes() == PICTURE
    assert file.name in (folder / "traces.json").read_text("utf-8")


def test_files_behind_a_server_are_said_to_be_compared_by_size(
    both: tuple[str, str], tmp_path: Path
) -> None:
    client = MlflowClient(both[1])
    run_id = client.create_run("0").info.run_id
    client.log_text(run_id, "one", "a.txt")
    client.set_terminated(run_id)
    assert export(both[1], tmp_path, "--artifacts", run_id)["left_out"] == {}
    report = export(both[1], tmp_path, "--artifacts", run_id)
    assert (report["n_same"], report["left_out"]) == (1, {"files compared by size alone": 1})
