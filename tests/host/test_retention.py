"""``weir db retain``: what a policy has outlived goes, what somebody relies on stays."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mlflow.entities import Metric, RunStatus, RunTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry

from databases import DatabaseServer
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.maintenance import retention
from mlflow_weir.store.maintenance.database import in_transaction
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.sharing import links, reports, views
from mlflow_weir.store.sharing.shown import Shown
from mlflow_weir.store.tracking_store import WeirStore
from reports import document, panel
from warm_python import warm_python

pytestmark = pytest.mark.slow

DAY_MS = 86_400_000
HISTORY = (schema.batch, schema.chunk, schema.series, schema.histogram)


def retain(url: str, *options: str) -> dict[str, Any]:
    done = CliRunner().invoke(
        main, ["db", "retain", url, "--json", *options], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def names(runs: list[dict[str, Any]]) -> list[str]:
    return sorted(run["name"] for run in runs)


def make_run(
    store: Any, name: str, *, age_days: int = 100, status: int = RunStatus.FINISHED, **more: Any
) -> str:
    """Make a run of some points that ended so long ago."""
    ended = time.time_ns() // 1_000_000 - age_days * DAY_MS
    experiment_id = more.get("experiment_id", "0")
    run = store.create_run(experiment_id, "alice", ended - 1000, [], name)
    run_id = str(run.info.run_id)
    points = [Metric("loss", i / 7, ended + i, i) for i in range(100)]
    store.log_batch(run_id, points, [], [RunTag(*one) for one in more.get("tags", {}).items()])
    if status != RunStatus.RUNNING:
        store.update_run_info(run_id, status, ended, None)
    return run_id


def rows_of(engine: sa.Engine, run_id: str) -> int:
    """Count the rows that tell of a run's history."""
    with engine.connect() as connection:
        counts = [
            connection.execute(
                sa.select(sa.func.count()).select_from(table).where(table.c.run_uuid == run_id)
            ).scalar_one()
            for table in (*HISTORY, schema.mlflow_metrics)
        ]
    return sum(counts)


def stage_of(engine: sa.Engine, run_id: str) -> str:
    query = sa.select(tables.runs.c.lifecycle_stage).where(tables.runs.c.run_uuid == run_id)
    with engine.connect() as connection:
        return str(connection.execute(query).scalar_one())


def deeds(engine: sa.Engine) -> list[str]:
    columns = schema.audit.c
    query = sa.select(columns.target).where(columns.action == retention.ACTION)
    with engine.connect() as connection:
        return sorted(connection.execute(query).scalars())


def link_to(store: Any, title: str, run_ids: list[str] | None, **changed: Any) -> str:
    terms = links.Terms(
        **{
            "kind": "experiment" if run_ids is None else "runs",
            "title": title,
            "experiment_ids": ["0"],
            "workspace": None,
            "is_live": True,
            "as_of_ms": None,
            "shown": Shown(),
            "run_filter": links.Filter() if run_ids is None else None,
            "view": None,
            "replaces_names": False,
            "expires_ms": None,
            "password": None,
            "is_preview": False,
            "created_by": "alice",
            **changed,
        }
    )
    return links.create(store.engine, terms, run_ids)[0].share_id


@pytest.mark.quick_on("sqlite", "postgresql")
def test_what_is_relied_on_stays_and_the_rest_goes(
    mlflow_database_url: str, tmp_path: Path
) -> None:
    url = mlflow_database_url
    store: Any = WeirStore(url, tmp_path.as_uri())
    engine = store.engine
    other = store.create_experiment("other")
    specified: dict[str, dict[str, Any]] = {
        "plain": {},
        "young": {"age_days": 1},
        "failed": {"status": RunStatus.FAILED, "tags": {"kind": "sweep"}},
        "tagged": {"tags": {"kind": "final"}},
        "running": {"status": RunStatus.RUNNING},
        "elsewhere": {"experiment_id": other},
        "pinned": {},
        "linked": {},
        "registered": {},
        "in a report": {},
        "once in a report": {},
        "formerly linked": {},
    }
    ids = {name: make_run(store, name, **more) for name, more in specified.items()}
    with engine.begin() as connection:  # as stock MLflow wrote it
        connection.execute(
            sa.insert(schema.mlflow_metrics),
            [
                dict(
                    run_uuid=ids["plain"], key="old", timestamp=i, step=i, value=1.0, is_nan=False
                )
                for i in range(3)
            ],
        )
    views.save_personal(engine, "0", "alice", json.dumps({"pins": [ids["pinned"]]}), 0)
    link_to(store, "for you", [ids["linked"]])
    links.revoke(engine, link_to(store, "past", [ids["formerly linked"]]))
    link_to(store, "a look", [ids["formerly linked"]], is_preview=True)
    report = reports.create(
        engine,
        ["0"],
        None,
        "Findings",
        document(panel("0", "runs", runs={"ids": [ids["once in a report"]]})),
        "alice",
    )
    reports.publish(engine, report.report_id, report.draft, "alice")
    reports.save(
        engine,
        report.report_id,
        report.draft,
        "Findings",
        document(panel("0", "runs", runs={"ids": [ids["in a report"]]})),
        "alice",
    )
    registry: Any = Registry(url)
    registry.create_registered_model("net")
    registry.create_model_version("net", "somewhere", ids["registered"])

    before = retain(url, "--older-than", "30d")
    going = ["elsewhere", "failed", "formerly linked", "plain", "tagged"]
    assert before["dry_run"]
    assert names(before["gone"]) == going
    kept = {run["name"]: run["kept_because"] for run in before["kept"]}
    assert kept == {
        "pinned": ["pinned in a view"],
        "linked": ["shown by the link 'for you'"],
        "in a report": ["in the report 'Findings'"],
        "once in a report": ["in the report 'Findings'"],
        "registered": ["registered as 'net' version 1"],
    }
    plain = next(run for run in before["gone"] if run["name"] == "plain")
    assert (plain["n_points"], plain["n_metric_rows"]) == (103, 3)
    assert plain["size_bytes"] > 400
    assert {stage_of(engine, run_id) for run_id in ids.values()} == {"active"}
    assert deeds(engine) == []

    assert names(retain(url, "--tag", "kind=sweep")["gone"]) == ["failed"]
    assert names(retain(url, "--tag", "kind")["gone"]) == ["failed", "tagged"]
    assert names(retain(url, "--status", "failed", "--tag", "kind=final")["gone"]) == []
    assert names(retain(url, "--experiment", "other")["gone"]) == ["elsewhere"]
    assert names(retain(url, "--status", "RUNNING", "--older-than", "99d")["gone"]) == ["running"]
    store.log_batch(ids["failed"], [Metric("more", 1.0, 1, 1)], [], [])  # a batch, too

    after = retain(url, "--older-than", "30d", "--apply")
    assert names(after["gone"]) == going
    assert names(after["kept"]) == sorted(kept)
    for name, run_id in ids.items():
        is_gone = name in going
        assert (rows_of(engine, run_id) == 0) == is_gone, name
        assert stage_of(engine, run_id) == ("deleted" if is_gone else "active")
        assert len(store.get_metric_history(run_id, "loss")) == (0 if is_gone else 100)
    assert deeds(engine) == sorted(ids[name] for name in going)
    # What MLflow keeps is there until its own gc, and the run can be taken back with it.
    store.restore_run(ids["plain"])
    assert store.get_run(ids["plain"]).data.metrics["loss"] == 99 / 7
    checked = CliRunner().invoke(main, ["db", "check", url], catch_exceptions=False)
    assert "all well" in checked.output
    # A link by a filter may show any run of the experiment.
    link_to(store, "everything", None)
    again = retain(url, "--older-than", "30d")
    assert again["gone"] == []
    assert {run["name"]: run["kept_because"] for run in again["kept"]}["plain"] == [
        "shown by the link 'everything', by a filter"
    ]
    store._dispose_engine()


@pytest.mark.quick_on("mariadb")
def test_one_that_is_relied_on_since_the_plan_stays(
    mlflow_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = WeirStore(mlflow_database_url, "file:///nowhere")
    shared, resumed, plain = (make_run(store, name) for name in ("shared", "resumed", "plain"))

    def after_others(engine: sa.Engine, action: Any) -> Any:
        link_to(store, "late", [shared])
        store.update_run_info(resumed, RunStatus.RUNNING, None, None)
        return in_transaction(engine, action)

    monkeypatch.setattr(retention, "in_transaction", after_others)
    report = retention.retain(
        store.engine, retention.Policy(0), Silent(), who="alice", dry_run=False
    )
    assert [run.run_id for run in report.gone] == [plain]
    assert {run.run_id: run.kept_because for run in report.kept} == {
        shared: ["shown by the link 'late'"],
        resumed: ["changed meanwhile"],
    }
    assert [stage_of(store.engine, one) for one in (shared, resumed)] == ["active", "active"]
    store._dispose_engine()


@pytest.mark.quick_on("sqlite")
def test_gc_removes_what_is_left(mlflow_database_url: str, tmp_path: Path) -> None:
    scheme, _, rest = mlflow_database_url.partition("://")
    weir = f"{scheme.partition('+')[0]}+weir://{rest}"
    store: Any = WeirStore(mlflow_database_url, (tmp_path / "artifacts").as_uri())
    old, marked, young = (
        make_run(store, name, age_days=age, tags={"name": name})
        for name, age in (("old", 100), ("marked", 100), ("young", 0))
    )
    folder = tmp_path / "artifacts" / "0" / old / "artifacts"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "model.bin").write_bytes(b"x" * 1000)
    (found,) = retain(weir, "--older-than", "30d", "--count-artifacts", "--tag", "name=old")[
        "gone"
    ]
    assert (found["n_files"], found["artifact_bytes"]) == (1, 1000)
    retain(weir, "--tag", "name=marked", "--apply", "--mark-only")
    store.restore_run(marked)  # nothing is lost yet
    assert len(store.get_metric_history(marked, "loss")) == 100
    retain(weir, "--tag", "name=marked", "--apply", "--mark-only")
    retain(weir, "--older-than", "30d", "--apply")
    assert (rows_of(store.engine, old), rows_of(store.engine, marked)) == (0, 2)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mlflow",
            "gc",
            "--backend-store-uri",
            weir,
            "--tracking-uri",
            weir,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not folder.exists()
    with store.engine.connect() as connection:
        left = connection.execute(sa.select(tables.runs.c.run_uuid)).scalars().all()
        counts = [
            connection.execute(
                sa.select(sa.func.count()).where(table.c.run_uuid != young)
            ).scalar()
            for table in schema.OF_A_RUN
        ]
    assert left == [young]
    assert counts == [0] * len(counts)
    assert deeds(store.engine) == sorted([old, marked, marked])  # what was done is still told
    store._dispose_engine()


@pytest.mark.quick_on("sqlite")
def test_no_condition_is_no_policy(mlflow_database_url: str) -> None:
    done = CliRunner().invoke(main, ["db", "retain", mlflow_database_url, "--apply"])
    assert done.exit_code == 1
    assert "at least one of --older-than" in done.output
    CliRunner().invoke(main, ["db", "upgrade", mlflow_database_url])
    wrong = ["--experiment", "nowhere"]
    done = CliRunner().invoke(main, ["db", "retain", mlflow_database_url, *wrong])
    assert "no experiment has the name or id 'nowhere'" in done.output


# The command, killed where it is about to send its n-th statement or commit.
KILLED_AT = """
import os, sys
import sqlalchemy as sa
from mlflow_weir.plugin.cli import main
from mlflow_weir.store.maintenance import retention
retention.RUNS_AT_ONCE = 1
left = int(sys.argv.pop())
def count(*_):
    global left
    left -= 1
    if left < 0: os.kill(os.getpid(), 9)
sa.event.listen(sa.Engine, "before_cursor_execute", count)
sa.event.listen(sa.Engine, "commit", count)
main()
"""


@pytest.mark.quick_on("sqlite")
@pytest.mark.parametrize("stride", [41, pytest.param(3, marks=pytest.mark.long)])
def test_a_killed_one_has_done_whole_runs(
    database_server: DatabaseServer, tmp_path: Path, stride: int
) -> None:
    url = database_server.new_mlflow_database()
    store: Any = WeirStore(url, tmp_path.as_uri())
    ids = [make_run(store, f"run {i}") for i in range(3)]
    words = ["db", "retain", url, "--older-than", "30d", "--apply"]
    seen = set()
    for at in itertools.count(20, stride):
        code, out, err = warm_python().outcome(
            KILLED_AT, [*words, str(at)], dict(os.environ), tmp_path
        )
        gone = [run_id for run_id in ids if stage_of(store.engine, run_id) == "deleted"]
        assert deeds(store.engine) == sorted(gone)
        for run_id in ids:
            assert (rows_of(store.engine, run_id) == 0) == (run_id in gone)
        seen.add(len(gone))
        if code == 0:
            break
        assert code == -signal.SIGKILL, (out, err)
    assert len(gone) == 3
    assert seen - {3}  # it was killed on the way
    store._dispose_engine()
