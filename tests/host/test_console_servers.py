"""What a user has of a console through tracking servers, one with Weir and one without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from agents import wait_until
from databases import DatabaseServer
from mlflow_server import ServerSpec, start_servers
from trainings import NO_JOBS, Moving, Place, Training, begin, server_command, with_weir

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

ON = {"WEIR_CAPTURE": "on", "WEIR_CAPTURE_GIT": "off", "WEIR_CAPTURE_ENVIRONMENT": "off"}
ON |= {"WEIR_CAPTURE_HARDWARE": "off"}
SCRIPT = """
import pathlib
with mlflow.start_run() as run:
    print("\\x1b[31mbegin\\x1b[0m", flush=True)
    os.system("echo from a subprocess; echo token ghp_" + "aB3" * 12 + " >&2")
    pathlib.Path("run_id").write_text(run.info.run_id)
    while not pathlib.Path("go_on").exists(): time.sleep(0.05)
    for i in range(11_000): print("line", i)
    print("last", flush=True)
"""


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.fixture(params=["weir", "stock"])
def training(
    request: pytest.FixtureRequest, tmp_path: Path, sqlite_folder: DatabaseServer
) -> Iterator[Training]:
    url, variables = sqlite_folder.new_mlflow_database(), {}
    if request.param == "weir":
        url = with_weir(url)
    else:
        variables = {"WEIR_CLIENT": "on"}
    with start_servers(ServerSpec(server_command(url), tmp_path, (NO_JOBS,))) as (server,):
        yield from begin(tmp_path, Place(server.address, variables))


def test_a_run_on_a_server_keeps_what_it_printed(
    training: Training, request: pytest.FixtureRequest
) -> None:
    process = training.start(SCRIPT, **ON)
    path = training.folder / "run_id"
    wait_until(lambda: path.exists() and len(path.read_text()) == 32, "the run begins", 60)
    run_id = path.read_text()
    follower = training.start(
        "from mlflow_weir.plugin.cli import main; main()", "logs", run_id, "-f"
    )
    if "weir" in request.node.name:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "begin\n"
    (training.folder / "go_on").touch()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "last\n" in out
    assert len([line for line in err.splitlines() if line.startswith("weir:")]) <= 1
    followed, said = follower.communicate(timeout=120)
    assert follower.returncode == 0, said
    done = training.weir("logs", run_id)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for wanted in ("begin", "from a subprocess", "token [redacted]", "line 10999", "last"):
        assert lines.count(wanted) == 1, wanted
    numbered = [f"line {i}" for i in range(11_000)]
    assert [line for line in lines if line.startswith("line ")] == numbered
    assert [line for line in followed.splitlines() if line.startswith("line ")] == numbered
    assert "not kept" not in followed
    path = Path(
        download_artifacts(
            run_id=run_id,
            artifact_path="weir/console.log",
            dst_path=str(training.folder / "artifacts"),
            tracking_uri=training.place.uri,
        )
    )
    assert path.read_text().splitlines() == lines


@pytest.fixture
def moving(tmp_path: Path, sqlite_folder: DatabaseServer) -> Iterator[Moving]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Moving(folder, with_weir(sqlite_folder.new_mlflow_database()))
    yield server
    server.close()


@pytest.fixture
def away(tmp_path: Path, moving: Moving) -> Iterator[Training]:
    yield from begin(tmp_path, moving.place)


@pytest.mark.long
def test_a_server_that_comes_later_gets_the_text_all_the_same(
    away: Training, moving: Moving
) -> None:
    run_id = away.run_new(
        "mlflow.set_experiment('later')\n"
        "with mlflow.start_run() as run: print('begin', flush=True)\n"
        "print(run.info.run_id)",
        **ON,
    ).split()[-1]
    assert "begin\n" in away.weir("logs", run_id).stdout  # what waits here
    moving.start()

    def is_there() -> bool:
        with contextlib.suppress(MlflowException):
            found = away.client().list_artifacts(run_id, "weir")
            return [one.path for one in found] == ["weir/console.log"]
        return False

    wait_until(is_there, "the text is delivered", 90)
    assert "begin\n" in away.weir("logs", run_id).stdout
