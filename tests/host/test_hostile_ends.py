"""Runs that end in the middle of things: exceptions, deletions, impatience, a folder gone."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import ViewType

from databases import DatabaseServer
from mlflow_server import free_port
from trainings import Place, Training, begin, with_weir

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]


@pytest.fixture
def training(tmp_path: Path, sqlite_folder: DatabaseServer) -> Iterator[Training]:
    yield from begin(tmp_path, Place(with_weir(sqlite_folder.new_mlflow_database()), {}))


def test_an_exception_that_leaves_a_run_is_its_cause(training: Training) -> None:
    """MLflow's context manager ends the run before anybody else hears of the exception."""
    out = training.run_new(
        """
import contextlib, json
ids = {}

@contextlib.contextmanager
def a_run(name, **options):
    with mlflow.start_run(run_name=name, **options) as run:
        ids[name] = run.info.run_id
        yield

def fails():
    raise ValueError("boom password=hunter2secret")

with contextlib.suppress(ValueError), a_run("outer"), a_run("inner", nested=True):
    fails()
with contextlib.suppress(SystemExit), a_run("exits"):
    sys.exit(3)
with a_run("handled"):
    try:
        fails()
    except ValueError:
        mlflow.end_run("FAILED")
with a_run("fine"):
    with contextlib.suppress(ValueError):
        fails()
with contextlib.suppress(ValueError), a_run("revived"):
    fails()
with mlflow.start_run(run_id=ids["revived"]):
    pass

# And where the folder that the training was started in is gone.
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
with a_run("nowhere"):
    mlflow.log_metric("loss", 1)
    mlflow.log_text("hello", "a.txt")
print(json.dumps(ids))
""",
        WEIR_CAPTURE="on",
        WEIR_CAPTURE_HARDWARE="off",
        WEIR_CAPTURE_GIT="off",
    )
    ids = json.loads(out.splitlines()[-1])
    training.settle()
    runs = {name: training.client().get_run(run_id) for name, run_id in ids.items()}
    boom = "ValueError: boom password=[redacted]"
    ends = {
        "outer": ("FAILED", f"uncaught {boom}"),
        "inner": ("FAILED", f"uncaught {boom}"),
        "exits": ("FAILED", "exit code 3"),
        "handled": ("FAILED", boom),
        "fine": ("FINISHED", None),
        "revived": ("FINISHED", None),
        "nowhere": ("FINISHED", None),
    }
    assert ends == {
        name: (run.info.status, run.data.tags.get("weir.exit_cause")) for name, run in runs.items()
    }
    for name in ("outer", "inner", "handled"):
        traceback = runs[name].data.tags["weir.exit_traceback"]
        assert "in fails" in traceback
        assert "hunter2secret" not in traceback
    assert runs["nowhere"].data.metrics == {"loss": 1.0}
    listed = training.client().list_artifacts(ids["nowhere"])
    assert "a.txt" in [one.path for one in listed]


def test_a_run_that_somebody_deletes_under_its_training_can_be_restored(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")  # here, as in another client
    process = training.start("""
import mlflow_weir
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0, step=0)
    assert mlflow_weir.finish()
    print(run.info.run_id, flush=True)
    sys.stdin.readline()
    for step in range(1, 100): mlflow.log_metric("loss", step, step=step)
    mlflow.set_tag("kind", "late")
print("over")
""")
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    training.client().delete_run(run_id)
    out, err = process.communicate("go\n", timeout=300)
    assert (process.returncode, out) == (0, "over\n"), err
    assert "refused" not in err
    training.settle()
    client = training.client()
    assert client.search_runs(["0"]) == []
    (deleted,) = client.search_runs(["0"], run_view_type=ViewType.DELETED_ONLY)
    assert (deleted.info.run_id, deleted.info.status) == (run_id, "FINISHED")
    client.restore_run(run_id)
    assert [one.step for one in client.get_metric_history(run_id, "loss")] == list(range(100))
    assert client.get_run(run_id).data.tags["kind"] == "late"


def test_who_interrupts_the_wait_at_the_end_is_told_what_is_left(tmp_path: Path) -> None:
    place = Place(f"http://127.0.0.1:{free_port()}", {"WEIR_EXIT_WAIT_SECONDS": "250"})
    for training in begin(tmp_path, place):
        process = training.start("""
mlflow.set_experiment("away")
mlflow.start_run()
mlflow.log_metric("loss", 1)
mlflow.end_run()
""")
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while "left to deliver" not in lines[-1]:  # it waits
            assert lines[-1], lines
            lines.append(process.stderr.readline())
        assert re.search(r"weir: [1-9]\S* (bytes|KiB) left to deliver: ", lines[-1]), lines
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=120)
        assert "goes on with it" in rest
        assert "Traceback" not in rest


def test_a_wait_that_cannot_be_read_is_said_and_the_usual_one_made(training: Training) -> None:
    code, _, err = training.outcome_of_new(
        "with mlflow.start_run(): mlflow.log_metric('loss', 1)", WEIR_EXIT_WAIT_SECONDS="soon"
    )
    assert code == 0
    assert "WEIR_EXIT_WAIT_SECONDS='soon'" in err
    assert "Traceback" not in err
    (run,) = training.client().search_runs(["0"])
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})
