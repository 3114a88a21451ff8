"""Artifacts of a training whose artifact store is away, slow to come back, or refuses them.

Scripts know nothing of Weir. They log to an embedded store whose experiment keeps its artifacts on
an MLflow server, or to a server that runs Weir; what arrived is read by MLflow's own client.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import mlflow
import pytest
from mlflow import MlflowClient

from agents import agents_of, kill_agents, wait_until
from call_times import CALL_TIMES, LONGEST_S
from databases import put_mlflow_tables
from disks import mounted
from mlflow_server import ServerProcess, ServerSpec, free_port, start_servers
from mlflow_weir.media_names import read_media_name
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.spool import Spool
from warm_python import warm_python, weir_command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

DEADLINE_S = 120.0
PRELUDE = """
import contextlib, json, mlflow, os, sys, time
from pathlib import Path
from typing import ClassVar
folder = Path(sys.argv[1])
if sys.argv[2]:
    if mlflow.get_experiment_by_name("e") is None:
        mlflow.create_experiment("e", artifact_location=sys.argv[2])
mlflow.set_experiment("e")
"""


class Place:
    """An artifact server that comes and goes, and scripts whose artifacts go there.

    Attributes:
        uri: What the scripts track to.
        location: Where their experiment keeps its artifacts; "" leaves it to the store.
        spool: Where they wait.
    """

    def __init__(self, folder: Path, *, is_server: bool) -> None:
        self.folder, self.port = folder, free_port()
        address = f"http://127.0.0.1:{self.port}"
        put_mlflow_tables(folder / "embedded" / "weir.db")
        self.uri = address if is_server else f"weir://{folder}/embedded"
        self.location = "" if is_server else f"{address}/api/2.0/mlflow-artifacts/artifacts/x"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        short = tempfile.mkdtemp(prefix="weir-art-")
        self.spool = Spool.open(Path(short) / "s")

    def served(self) -> AbstractContextManager[list[ServerProcess]]:
        """Run the server that has the artifacts."""
        home = self.folder / "server"
        if not home.exists():
            put_mlflow_tables(home / "mlflow.db")
        command = [
            *("server", "--backend-store-uri", f"sqlite+weir:///{home}/mlflow.db"),
            *("--artifacts-destination", str(home / "artifacts")),
        ]
        quiet = (("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),)
        return start_servers(ServerSpec(command, home, quiet, port=self.port))

    def _words(self) -> list[str]:
        return [str(self.scratch), self.location]

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.uri,
            "WEIR_SPOOL": str(self.spool.root),
            "WEIR_CLIENT": "auto",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
            "MPLBACKEND": "Agg",
            **variables,
        }

    def start(self, script: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, *self._words()],
            env=self._environment(variables),
            cwd=self.scratch,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *words: object, **variables: str) -> tuple[str, str]:
        """Run a script to its good end; return its last line and what it complained of."""
        code, out, err = warm_python().outcome(
            PRELUDE + script,
            [*self._words(), *map(str, words)],
            self._environment(variables),
            self.scratch,
        )
        assert code == 0, err
        return (out.splitlines() or [""])[-1], err

    def weir(self, *words: str) -> subprocess.CompletedProcess[str]:
        return weir_command(*words, WEIR_SPOOL=str(self.spool.root))

    def settle(self) -> None:
        """Wait until no journal is left, which is after its last file."""

        def none_is_left() -> bool:
            agent.ensure_agent(self.spool.root)
            agent.nudge(self.spool.root)
            return not self.spool.journals()

        wait_until(none_is_left, "no journal is left", DEADLINE_S)
        # Removed journals are emptied after they have left their place. By os.walk, which passes
        # over what goes meanwhile.
        wait_until(
            lambda: all("files" not in Path(one).parts for one, _, _ in os.walk(self.spool.root)),
            "no file is left",
            DEADLINE_S,
        )

    def waiting(self) -> list[files.Waiting]:
        """Return what waits to be uploaded."""
        return [
            one for folder in self.spool.journals() for one in files.list_waiting(folder.files)
        ]

    def stored(self) -> dict[str, bytes]:
        """Return the files of all runs that the artifact server keeps, by their last names."""
        top = self.folder / "server" / "artifacts"
        return {
            path.relative_to(top).as_posix().partition("/artifacts/")[2]: path.read_bytes()
            for path in top.rglob("*")
            if path.is_file()
        }


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Callable[[bool], Place]]:
    made: list[Place] = []

    def make(is_server: bool) -> Place:
        made.append(Place(tmp_path, is_server=is_server))
        return made[-1]

    yield make
    for place in made:
        kill_agents(place.spool)
        shutil.rmtree(place.spool.root.parent)


@pytest.fixture
def place(make_place: Callable[[bool], Place]) -> Place:
    return make_place(False)


@pytest.mark.parametrize(
    "is_server",
    [pytest.param(False, id="database", marks=pytest.mark.long), pytest.param(True, id="server")],
)
def test_everything_that_a_training_logs_arrives_and_is_seen_before(
    make_place: Callable[[bool], Place], is_server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(is_server)
    with place.served():
        run_id, err = place.run("""
import matplotlib.pyplot as plt, numpy as np
from sklearn.linear_model import LinearRegression
client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    run_id, uri = run.info.run_id, run.info.artifact_uri
    one = folder / "one.txt"
    for text in ("first", "second"):
        one.write_text(text)
        mlflow.log_artifact(str(one), "texts")
    one.write_text("not logged")
    assert mlflow.artifacts.load_text(uri + "/texts/one.txt") == "second"
    one.unlink()
    tree = folder / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "a.bin").write_bytes(bytes(range(256)) * 100)
    (tree / "deep" / "b.txt").write_text("b")
    mlflow.log_artifacts(str(tree), "kept")
    mlflow.log_artifact(str(tree))
    (tree / "deep" / "b.txt").write_text("changed")
    mlflow.log_text("a text", "notes/a.md")
    mlflow.log_dict({"k": [1, 2]}, "d.json")
    mlflow.log_figure(plt.figure(), "figure.png")
    mlflow.log_figure(plt.figure(), "roc_step_20.png")
    mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), key="k", step=2, synchronous=False)
    mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), "image.png")
    mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), key="k", step=1)
    mlflow.log_table({"a": [1, 2]}, "table.json")
    mlflow.log_table({"a": [3]}, "table.json")
    assert list(mlflow.load_table("table.json", run_ids=[run_id])["a"]) == [1, 2, 3]
    assert {info.path for info in client.list_artifacts(run_id)} >= {
        "texts", "kept", "tree", "notes", "d.json", "figure.png", "image.png", "table.json"
    }
    assert [(i.path, i.is_dir) for i in client.list_artifacts(run_id, "kept")] == [
        ("kept/a.bin", False), ("kept/deep", True)
    ]
    down = Path(client.download_artifacts(run_id, "kept"))
    assert (down / "deep" / "b.txt").read_text() == "b"
    model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    # What it requires named, or MLflow starts a Python to find that out.
    info = mlflow.sklearn.log_model(model, name="model", pip_requirements=[])
    assert abs(mlflow.sklearn.load_model(info.model_uri).predict([[2.0]])[0] - 5) < 1e-9
    mlflow.flush_artifact_async_logging()
print(run_id, info.model_uri)
""")
        run_id, model_uri = run_id.split()
        place.settle()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
        client = MlflowClient(place.uri)
        top = Path(client.download_artifacts(run_id, ""))
        found = {p.relative_to(top).as_posix(): p.read_bytes() for p in top.rglob("*.*")}
        assert found["texts/one.txt"] == b"second"
        assert found["kept/a.bin"] == found["tree/a.bin"] == bytes(range(256)) * 100
        assert found["kept/deep/b.txt"] == found["tree/deep/b.txt"] == b"b"
        assert found["notes/a.md"] == b"a text"
        assert json.loads(found["d.json"]) == {"k": [1, 2]}
        assert json.loads(found["table.json"])["data"] == [[1], [2], [3]]
        assert {"figure.png", "image.png"} <= found.keys()
        media = [one for one in map(read_media_name, found) if one and one.step is not None]
        assert sorted((one.key, one.step) for one in media) == [
            *[("k", 1)] * 2, *[("k", 2)] * 2, ("roc", 20)
        ]  # fmt: skip
        loaded = mlflow.sklearn.load_model(model_uri)
        assert loaded.predict([[2.0]])[0] == pytest.approx(5)
    assert "not all is delivered" not in err


def test_a_store_that_is_away_holds_up_no_log_call(place: Place) -> None:
    _, err = place.run(
        """
with mlflow.start_run() as run:
    file = folder / "file.txt"
    for number in range(30):
        file.write_text(str(number))
        mlflow.log_artifact(str(file))
    mlflow.log_text("x" * 1000, "deep/er/x.txt")
    for row in range(3):
        mlflow.log_table({"row": [row]}, "t.json")
    mlflow.log_metric("m", 1.0)
    names = [info.path for info in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    assert names == ["deep", "file.txt", "t.json"], names
    assert mlflow.artifacts.load_text(run.info.artifact_uri + "/file.txt") == "29"
""",
        WEIR_EXIT_WAIT_SECONDS="1",
    )
    assert "weir sync" in err
    wait_until(lambda: files.read_problem(place.spool.journals()[0].files).error, "it is said")
    report = json.loads(place.weir("status", "--json").stdout)
    (journal,) = report["journals"]
    assert journal["n_files"] == 34
    assert "Connection refused" in journal["file_error"]
    assert not journal["waiting_bytes"], "metrics wait for no upload"
    assert "artifacts are not uploaded" in place.weir("status").stdout
    with place.served():
        place.settle()
        stored = place.stored()
    assert stored["file.txt"] == b"29"
    assert stored["deep/er/x.txt"] == b"x" * 1000
    assert json.loads(stored["t.json"])["data"] == [[0], [1], [2]]


def test_a_run_begun_while_its_server_is_away_finds_its_artifact_root(
    make_place: Callable[[bool], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(True)
    with place.served():
        place.run("with mlflow.start_run(): mlflow.log_metric('m', 1)")
        place.settle()
    out, _ = place.run(
        """
from sklearn.linear_model import LinearRegression
mlflow.set_experiment("begun offline")
with mlflow.start_run() as run:
    assert run.info.artifact_uri.startswith("weir-pending:")
    mlflow.log_text("offline", "a/t.txt")
    mlflow.log_table({"a": [1]}, "t.json")
    mlflow.log_table({"a": [2]}, "t.json")
    assert mlflow.artifacts.load_text(run.info.artifact_uri + "/a/t.txt") == "offline"
    names = [info.path for info in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    assert names == ["a", "t.json"], names
    model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    # What it requires named, or MLflow starts a Python to find that out.
    info = mlflow.sklearn.log_model(model, name="model", pip_requirements=[])
    assert abs(mlflow.sklearn.load_model(info.model_uri).predict([[2.0]])[0] - 5) < 1e-9
print(run.info.run_id, info.model_uri)
""",
        WEIR_EXIT_WAIT_SECONDS="1",
    )
    run_id, model_uri = out.split()
    with place.served():
        place.settle()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
        run = MlflowClient(place.uri).get_run(run_id)
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a/t.txt") == "offline"
        table = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/t.json")
        assert table["data"] == [[1], [2]]
        assert mlflow.sklearn.load_model(model_uri).predict([[2.0]])[0] == pytest.approx(5)
        # The model's own description was written before its place was known.
        root = MlflowClient(place.uri).get_logged_model(model_uri.split("/")[-1]).artifact_location
        described = mlflow.artifacts.load_text(f"{root}/MLmodel")
        assert "pending" not in described
        assert f"artifact_path: {root}\n" in described


def test_what_was_logged_survives_the_kill_of_trainer_and_agent(place: Place) -> None:
    process = place.start("""
with mlflow.start_run():
    for number in range(10**6):
        mlflow.log_text(str(number), f"{number}.txt")
        print(number, flush=True)
""")
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(40)]
    wait_until(lambda: agents_of(place.spool), "an agent runs")
    kill_agents(place.spool)
    process.send_signal(signal.SIGKILL)
    seen += process.stdout.read().splitlines(keepends=True)
    process.communicate()
    acknowledged = [line.strip() for line in seen if line.endswith("\n")]
    with place.served():
        agent.ensure_agent(place.spool.root)
        wait_until(place.stored, "uploads have begun", DEADLINE_S)
        kill_agents(place.spool)
        place.settle()
        stored = place.stored()
    assert [stored[f"{number}.txt"] for number in acknowledged] == [
        number.encode() for number in acknowledged
    ]


@pytest.mark.long
def test_what_a_store_refuses_holds_up_nothing_else(place: Place) -> None:
    with place.served():
        process = place.start("""
with mlflow.start_run():
    mlflow.log_text("good", "before.txt")
    mlflow.create_experiment("bad", artifact_location=sys.argv[2].replace("/api/", "/nothing/"))
with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name("bad").experiment_id):
    mlflow.log_text("bad", "bad.txt")
with mlflow.start_run():
    mlflow.log_text("good", "after.txt")
sys.stdin.read()
""")
        wait_until(lambda: "after.txt" in place.stored(), "the good ones arrive", DEADLINE_S)
        wait_until(lambda: len(place.waiting()) == 1, "they are removed", DEADLINE_S)
        report = json.loads(place.weir("status", "--json").stdout)
        (journal,) = report["journals"]
        assert journal["n_files"] == 1
        assert "404" in journal["file_error"]
        process.kill()
        process.communicate()
        synced = place.weir("sync")
        assert "artifacts of 1 calls wait" in synced.stdout + synced.stderr
    assert len(place.waiting()) == 1


def test_sync_uploads_what_a_dead_process_left(place: Place) -> None:
    place.run(
        "with mlflow.start_run(): mlflow.log_text('a', 'a.txt')", WEIR_EXIT_WAIT_SECONDS="0.1"
    )
    kill_agents(place.spool)
    with place.served():
        synced = place.weir("sync")
        assert synced.returncode == 0, synced.stdout + synced.stderr
        assert place.stored() == {"a.txt": b"a"}
        assert not place.spool.journals()


def test_without_room_artifacts_go_directly_and_it_is_said_once(place: Place) -> None:
    """Once the store is known to answer: it may take longer than a log call waits for that."""
    with place.served():
        _, err = place.run(
            """
def is_stored(name):
    mlflow.log_text("x" * 100_000, name)
    names = [info.path for info in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    return name in names

with mlflow.start_run() as run:
    give_up = time.monotonic() + 60
    while not is_stored("first.txt"):
        assert time.monotonic() < give_up
    for number in range(3):
        assert is_stored(f"{number}.txt")
""",
            WEIR_SPOOL_MAX_BYTES="50000",
        )
        assert err.count("No room to keep artifacts") == 1
        place.settle()
        assert sorted(place.stored()) == ["0.txt", "1.txt", "2.txt", "first.txt"]


# No agent comes while the script runs, so that what is spooled waits.
NO_AGENT = """
from mlflow_weir.plugin import spooled_repository
from mlflow_weir.plugin.agent import client
client.ensure_agent = lambda spool: None
spooled_repository.DIRECT_BYTES = int(sys.argv[3])
answers = spooled_repository._Spooled._weir_answers
file = folder / "last.ckpt"

def log(size, fill):
    file.write_bytes(fill * size)
    began = time.monotonic()
    mlflow.log_artifact(str(file))
    return time.monotonic() - began
"""


def test_what_is_large_is_copied_where_something_of_its_name_waits(place: Place) -> None:
    """To go directly it would have to wait for that, which takes any time."""
    with place.served():
        last, _ = place.run(
            NO_AGENT
            + """
with mlflow.start_run():
    log(10, b"0")
    took = log(2000, b"1")
    assert log(2000, b"2") < 5
    mlflow.log_artifact(str(file), "elsewhere")
print(took)
""",
            1000,
            WEIR_EXIT_WAIT_SECONDS="0",
        )
        assert float(last) < 5
        # What has no name in common with them need not wait.
        assert place.stored() == {"elsewhere/last.ckpt": b"2" * 2000}
        assert len(place.waiting()) == 3
        place.settle()
        assert place.stored()["last.ckpt"] == b"2" * 2000


def test_without_room_what_waits_gives_way_to_what_has_its_name(place: Place) -> None:
    with place.served():
        _, err = place.run(
            NO_AGENT
            + """
with mlflow.start_run():
    log(30_000, b"0")
    (folder / "other").write_bytes(b"other")
    mlflow.log_artifact(str(folder / "other"))
    for fill in (b"1", b"2", b"3"):
        assert log(30_000, fill) < 5
    assert log(60_000, b"4") < 5  # more than there is room for, and it has to wait
""",
            256 << 20,
            WEIR_SPOOL_MAX_BYTES="60000",
            WEIR_EXIT_WAIT_SECONDS="0",
        )
        assert "1 files are lost: no room" in err
        assert sorted(one.read().destination.rpartition("/")[2] for one in place.waiting()) == [
            "last.ckpt",
            "other",
        ]
        place.settle()
        assert place.stored() == {"last.ckpt": b"3" * 30_000, "other": b"other"}


class SlowStore(BaseHTTPRequestHandler):
    """An artifact store that takes half a second to answer, as one in the cloud may."""

    files: ClassVar[dict[str, bytes]] = {}
    answered = threading.Event()

    def do_GET(self) -> None:
        threading.Event().wait(0.5)
        self._answer(b'{"files": []}')
        self.answered.set()

    def do_PUT(self) -> None:
        name = self.path.rpartition("/")[2]
        self.files[name] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_without_room_a_slow_store_is_known_to_be_there_by_the_first_file(place: Place) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", place.port), SlowStore)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    process = place.start(
        """
with mlflow.start_run():
    print("begun", flush=True)
    sys.stdin.readline()
    mlflow.log_text("x" * 100_000, "first.txt")
""",
        WEIR_SPOOL_MAX_BYTES="50000",
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert SlowStore.answered.wait(DEADLINE_S)
        _, err = process.communicate("go on\n", timeout=DEADLINE_S)
        assert "No room to keep artifacts" in err
        assert "files are lost" not in err
        assert SlowStore.files == {"first.txt": b"x" * 100_000}
    finally:
        process.kill()
        process.communicate()
        server.shutdown()
        thread.join()
        server.server_close()


NO_ROOM = (
    CALL_TIMES
    + """
import json, mlflow.pyfunc
from mlflow_weir.plugin import spooled_repository
stock = spooled_repository._Spooled._weir_log
spooled_repository._Spooled._weir_log = lambda *arguments: timed(stock, *arguments)

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str]) -> list[str]:
        return model_input

with mlflow.start_run() as run:
    for number in range(3):
        mlflow.log_text("x" * 100_000, f"{number}.txt")
        timed(mlflow.log_metric, "m", number)
        timed(mlflow.set_tag, "t", number)
    (folder / "big").write_bytes(bytes(200_000))
    mlflow.pyfunc.log_model(
        name="m", python_model=Model(), pip_requirements=[], artifacts={"big": str(folder / "big")}
    )
    timed(mlflow.log_param, "after", 1)
print(run.info.run_id, longest_s)
"""
)


@pytest.mark.parametrize(
    "where",
    [
        "quota refused database",
        "disk refused database",
        pytest.param("quota silent database", marks=pytest.mark.long),
        pytest.param("quota refused server", marks=pytest.mark.long),
    ],
)
def test_without_room_and_store_artifacts_are_dropped_and_counted(
    make_place: Callable[[bool], Place], where: str
) -> None:
    """As with points on a full disk: no wait, no exception, one line, a count on the run."""
    is_server = "server" in where
    place = make_place(is_server)
    variables = {"WEIR_EXIT_WAIT_SECONDS": "0.1"}
    with contextlib.ExitStack() as stack:
        if "disk" in where:
            disk = stack.enter_context(mounted("1m"))  # less than is kept free for records
            stack.callback(setattr, place, "spool", place.spool)
            place.spool = Spool.open(disk / "s")
            stack.callback(kill_agents, place.spool)
        else:
            variables["WEIR_SPOOL_MAX_BYTES"] = "50000"
        with contextlib.ExitStack() as silence:
            if "silent" in where:
                silence.enter_context(socket.create_server(("127.0.0.1", place.port)))
            last, err = place.run(NO_ROOM, **variables)
        assert float(last.split()[1]) <= LONGEST_S
        assert err.count("No room to keep artifacts") == 1
        (line,) = [line for line in err.splitlines() if line.endswith("files are lost: no room")]
        n_lost = int(line.split()[1])
        assert n_lost > 3  # and those of the model
        if is_server:
            assert f"dropped: {n_lost} files" in place.weir("status").stdout
            stack.enter_context(place.served())
        place.settle()
        assert f"{n_lost} files dropped" in place.weir("status").stdout
        run = MlflowClient(place.uri).get_run(last.split()[0])
    assert run.data.tags["weir.artifacts_dropped"] == str(n_lost)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"m": 2.0})
    assert run.data.params["after"] == "1"


def test_what_is_large_goes_directly_where_the_store_answers(place: Place) -> None:
    script = """
from mlflow_weir.plugin import spooled_repository
from mlflow_weir.plugin.journal import files
spooled_repository.DIRECT_BYTES = 1000
copied = []
def add(*arguments, stock=files.add):
    copied.append(arguments[2].size)
    return stock(*arguments)
files.add = add
tree = folder / "tree"
tree.mkdir(exist_ok=True)
for number in range(3):
    (tree / str(number)).write_bytes(b"x" * 1000)
with mlflow.start_run():
    mlflow.log_text("small", "small.txt")
    mlflow.log_artifacts(str(tree), "tree")
print(copied)
"""
    assert place.run(script, WEIR_EXIT_WAIT_SECONDS="0.1")[0] == "[5, 3000]"
    with place.served():
        place.settle()
        before = place.stored()
        assert place.run(script)[0] == "[5]"
        place.settle()
    assert before == {"small.txt": b"small", **{f"tree/{n}": b"x" * 1000 for n in range(3)}}
