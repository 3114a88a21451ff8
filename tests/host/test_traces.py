"""Traces of a training: journaled, delivered by the agent, and the same as without a journal.

Scripts know nothing of Weir. They trace to a SQLite file and to an MLflow server that runs Weir;
what arrived is read by MLflow's own client, without a journal.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Trace
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from agents import agents_of, kill_agents, wait_until
from databases import put_mlflow_tables
from disks import mounted
from mlflow_server import ServerProcess, ServerSpec, free_port, start_servers
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.agent.trace_uploads import TraceSender
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.spool import Spool
from trainings import COUNT_QUESTIONS
from warm_python import warm_python, weir_command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

DEADLINE_S = 120.0
AT_ONCE = {"MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false"}

PRELUDE = """
import json, mlflow, os, sys, time

@mlflow.trace
def first(x):
    return x

@mlflow.trace(name="traced")
def traced(x):
    with mlflow.start_span("inner") as span:
        span.set_inputs({"x": x})
        return x + 1
"""

ALL_KINDS = """
import asyncio, threading
from mlflow.entities import SpanType

mlflow.set_experiment(sys.argv[1])

@mlflow.trace(span_type=SpanType.CHAT_MODEL, attributes={"model": "m", "n": 3})
def ask(words):
    span = mlflow.get_current_active_span()
    span.set_attribute(
        "mlflow.chat.tokenUsage", {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    )
    span.add_event(mlflow.entities.SpanEvent("asked", attributes={"words": 2}))
    return {"answer": "ja \\u00fc", "nan": float("nan")}

@mlflow.trace
def nested(words):
    with mlflow.start_span("middle") as span:
        span.set_inputs({"words": words})
        mlflow.update_current_trace(tags={"who": "me"}, metadata={"mlflow.trace.session": "s1"})
        mlflow.log_feedback(
            trace_id=mlflow.get_active_trace_id(), name="good", value=0.5, rationale="why"
        )
        span.set_outputs([ask(words), ask(words)])
    return "done"

@mlflow.trace
def fails():
    with mlflow.start_span("unhappy"):
        raise ValueError("no such thing")

@mlflow.trace
async def waits(x):
    await asyncio.sleep(0.01)
    return await other(x)

@mlflow.trace
async def other(x):
    return x * 2

@mlflow.trace
def big(words):
    return len(words)

nested("outside of any run")
with mlflow.start_run() as run:
    nested("in a run")
    try:
        fails()
    except ValueError:
        pass
    asyncio.run(waits(4))
    threads = [threading.Thread(target=ask, args=(str(i),)) for i in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    big("x" * 3_000_000)
    mlflow.log_metric("m", 1.0)
print(run.info.run_id)
"""


class Place:
    """Where scripts trace to.

    Attributes:
        uri: As users write it.
        database: The SQLite file behind it.
    """

    def __init__(self, folder: Path, uri: str, database: Path) -> None:
        self.folder, self.uri, self.database = folder, uri, database
        self.spool = Spool.open(Path(tempfile.mkdtemp(prefix="weir-tr-")) / "s")

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        ours = {"WEIR_CLIENT", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
        return {
            **{name: value for name, value in os.environ.items() if name not in ours},
            "MLFLOW_TRACKING_URI": self.uri,
            "WEIR_SPOOL": str(self.spool.root),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
            **variables,
        }

    def start(self, script: str, *words: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, *words],
            env=self._environment(variables),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *words: str, **variables: str) -> tuple[str, str]:
        """Run a script to its good end; return its last line and what it complained of."""
        code, out, err = warm_python().outcome(
            PRELUDE + script, words, self._environment(variables), self.folder
        )
        assert code == 0, err
        return (out.splitlines() or [""])[-1], err

    def settle(self) -> None:
        """Wait until no journal is left, which is after its last trace."""

        def none_is_left() -> bool:
            agent.ensure_agent(self.spool.root)
            agent.nudge(self.spool.root)
            return not self.spool.journals()

        wait_until(none_is_left, "no journal is left", DEADLINE_S)

    def waiting(self) -> list[files.Waiting]:
        """Return the parts of traces that wait."""
        return [
            one
            for folder in self.spool.journals()
            for one in files.list_waiting(folder.files)
            if one.is_trace
        ]

    def client(self) -> MlflowClient:
        """Return MLflow's own client, without a journal (see ``no_journal_here``)."""
        return MlflowClient(self.uri)

    def traces(self, experiment: str) -> list[Trace]:
        found = self.client().get_experiment_by_name(experiment)
        assert found is not None
        traces = self.client().search_traces(locations=[found.experiment_id], max_results=500)
        return sorted(traces, key=lambda trace: trace.info.request_time)

    def weir(self, *words: str) -> str:
        return weir_command(*words, WEIR_SPOOL=str(self.spool.root)).stdout


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


def server_spec(folder: Path, port: int = 0) -> ServerSpec:
    if not (folder / "mlflow.db").exists():
        put_mlflow_tables(folder / "mlflow.db")
    return ServerSpec(
        ["server", "--backend-store-uri", f"sqlite+weir:///{folder}/mlflow.db"],
        folder,
        (("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),),
        port=port,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with start_servers(server_spec(tmp_path_factory.mktemp("server"))) as (started,):
        yield started


def end(place: Place) -> None:
    agent.nudge(place.spool.root, agent.STOP)
    wait_until(lambda: not agents_of(place.spool), "the agent is gone", DEADLINE_S)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Place]:
    """A SQLite file, in which MLflow has made its tables."""
    put_mlflow_tables(tmp_path / "mlflow.db")
    made = Place(tmp_path, f"sqlite+weir:///{tmp_path}/mlflow.db", tmp_path / "mlflow.db")
    MlflowClient(made.uri).search_experiments()
    yield made
    end(made)


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "file":
        yield request.getfixturevalue("file")
        return
    server: ServerProcess = request.getfixturevalue("server")
    made = Place(tmp_path, server.address, server.folder / "mlflow.db")
    yield made
    end(made)


class Moving(Place):
    """A server that comes and goes at one address."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "server"
        self.home.mkdir()
        self.port = free_port()
        super().__init__(folder, f"http://127.0.0.1:{self.port}", self.home / "mlflow.db")

    def served(self) -> Any:
        return start_servers(server_spec(self.home, self.port))


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    made = Moving(tmp_path)
    yield made
    end(made)


def told(trace: Trace, run_id: str) -> str:
    """Return all that a trace says, but for ids and times, as text: NaN equals nothing."""
    names = {span.span_id: span.name for span in trace.data.spans}
    spans = [
        {
            "name": span.name,
            "parent": names.get(span.parent_id or ""),
            "type": span.span_type,
            "status": (span.status.status_code, span.status.description),
            "attributes": {
                key: value for key, value in span.attributes.items() if "equestId" not in key
            },
            "events": [
                (event.name, {k: v for k, v in event.attributes.items() if "stack" not in k})
                for event in span.events
            ],
            "has_times": span.start_time_ns <= (span.end_time_ns or 0),
        }
        for span in trace.data.spans
    ]
    info = trace.info
    own = {run_id: "RUN", info.trace_id: "TRACE", info.experiment_id: "EXPERIMENT"}
    found = {
        "spans": sorted(spans, key=repr),
        "state": info.state,
        "previews": (info.request_preview, info.response_preview),
        "tags": {
            key: "there" if key in ("mlflow.artifactLocation", "service.instance.id") else value
            for key, value in info.tags.items()
        },
        "metadata": {
            key: value if "version" in key else own.get(value, _size(key, value))
            for key, value in info.trace_metadata.items()
        },
        "usage": info.token_usage,
        "assessments": [
            (
                one.name,
                getattr(one, "value", None),
                one.rationale,
                one.source.source_type,
                own[one.trace_id],
            )
            for one in info.assessments
        ],
        "client_request_id": info.client_request_id,
    }
    return json.dumps(found, indent=1, sort_keys=True, default=str)


def _size(key: str, value: str) -> str:
    """Return a value that does not depend on how long an id is."""
    return "there" if "size" in key.lower() else value


def artifact_location(place: Place, trace: Trace) -> str:
    experiment = place.client().get_experiment(trace.info.experiment_id or "")
    return f"{experiment.artifact_location}/traces/{trace.info.trace_id}/artifacts"


@pytest.mark.parametrize(
    "variables",
    [pytest.param({}, id="async"), pytest.param(AT_ONCE, id="at-once", marks=pytest.mark.long)],
)
def test_traces_are_what_they_are_without_a_journal(
    place: Place, variables: dict[str, str]
) -> None:
    variables = {**variables, "OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,where=here"}
    name = place.folder.name  # one server has the experiments of several tests
    stock_run, _ = place.run(ALL_KINDS, f"stock {name}", WEIR_CLIENT="off", **variables)
    our_run, err = place.run(ALL_KINDS, f"ours {name}", **variables)
    place.settle()
    assert "not all is delivered" not in err
    stock, ours = place.traces(f"stock {name}"), place.traces(f"ours {name}")
    assert len(stock) == 8
    expected = sorted(told(trace, stock_run) for trace in stock)
    for found, wanted in zip(
        sorted(told(trace, our_run) for trace in ours), expected, strict=True
    ):
        assert found.splitlines() == wanted.splitlines()
    for trace in ours:
        assert trace.info.tags["mlflow.artifactLocation"] == artifact_location(place, trace)
    of_the_run = [
        trace for trace in ours if trace.info.trace_metadata.get("mlflow.sourceRun") == our_run
    ]
    assert len(of_the_run) == 7


READS = """
mlflow.set_experiment(sys.argv[1])
traced(1)
trace_id = mlflow.get_last_active_trace_id()
mlflow.flush_trace_async_logging()
trace = mlflow.get_trace(trace_id)
assert [span.name for span in trace.data.spans] == ["traced", "inner"], trace
mlflow.set_trace_tag(trace_id, "colour", "blue")
mlflow.log_feedback(trace_id=trace_id, name="good", value=True)
traced(2)
second = mlflow.get_last_active_trace_id()
found = mlflow.search_traces(return_type="list", flush=True)
assert {one.info.trace_id for one in found} == {trace_id, second}, found
mlflow.set_trace_tag(second, "mlflow.traceName", "renamed")
mlflow.delete_trace_tag(trace_id, "colour")
mlflow.set_trace_tag(trace_id, "colour", "red")
trace = mlflow.get_trace(trace_id)
assert trace.info.tags["colour"] == "red"
assert [one.value for one in trace.info.assessments] == [True]
traced(3)
third = mlflow.get_last_active_trace_id()
assert mlflow.get_trace(third, flush=True) is not None
client = mlflow.MlflowClient()
client.delete_traces(trace.info.experiment_id, trace_ids=[third])
assert mlflow.get_trace(third, silent=True) is None
print("saw it all")
"""


def test_reads_and_changes_see_the_traces_before_them(place: Place) -> None:
    last, _ = place.run(READS, "reads")
    assert last == "saw it all"
    place.settle()
    first, second = place.traces("reads")
    assert first.info.tags["colour"] == "red"
    assert second.info.tags["mlflow.traceName"] == "renamed"


def test_finish_delivers_what_mlflow_still_holds(file: Place) -> None:
    out, _ = file.run("""
import mlflow_weir
mlflow.set_experiment("finish")
traced(1)
print(mlflow_weir.finish())
import sqlite3
print(sqlite3.connect(sys.argv[1]).execute("select count(*) from spans").fetchone()[0])
""", str(file.database))  # fmt: skip
    assert out == "2"


TRACES_AWAY = """
mlflow.set_experiment("away")
first(0)
print("ready", flush=True)
sys.stdin.readline()
for x in range(20):
    traced(x)
print("traced", flush=True)
os._exit(0) if sys.argv[1:] else None
"""


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()


def go_on(process: subprocess.Popen[str]) -> str:
    """Let a script trace to its end, with nobody to answer; return its complaints."""
    out, err = process.communicate("go\n", timeout=300)
    assert process.returncode == 0, err
    assert out == "traced\n"
    return err


@pytest.mark.parametrize(
    "variables",
    [pytest.param({}, id="async"), pytest.param(AT_ONCE, id="at-once", marks=pytest.mark.long)],
)
def test_a_locked_database_holds_up_no_traced_call(file: Place, variables: dict[str, str]) -> None:
    process = file.start(TRACES_AWAY, WEIR_EXIT_WAIT_SECONDS="0", **variables)
    wait_ready(process)
    locker = sqlite3.connect(file.database, isolation_level=None, timeout=120)
    locker.execute("begin immediate")
    err = go_on(process)
    complaints = [line for line in err.splitlines() if "WARNING" in line or "ERROR" in line]
    assert complaints == []
    assert len(file.waiting()) >= 40  # spans and traces; the first may have arrived
    status = json.loads(file.weir("status", "--json"))["journals"][0]
    assert status["n_files"] >= status["n_traces"] >= 40
    assert "of traces)" in file.weir("status")
    locker.execute("rollback")
    locker.close()
    file.settle()
    assert [len(trace.data.spans) for trace in file.traces("away")] == [1] + 20 * [2]


@pytest.mark.long
def test_a_silent_server_holds_up_no_traced_call(moving: Moving) -> None:
    with moving.served() as (server,):
        process = moving.start(TRACES_AWAY, WEIR_EXIT_WAIT_SECONDS="0", **AT_ONCE)
        wait_ready(process)
        os.killpg(server.group, signal.SIGSTOP)
        try:
            err = go_on(process)
        finally:
            os.killpg(server.group, signal.SIGCONT)
        assert "WARNING" not in err
        moving.settle()
        assert [len(trace.data.spans) for trace in moving.traces("away")] == [1] + 20 * [2]


def test_traces_begun_while_the_server_was_away_find_their_run(moving: Moving) -> None:
    script = """
mlflow.set_experiment("offline")
with mlflow.start_run(run_name="offline") as run:
    traced(1)
    traced(2)
traced(3)
client = mlflow.MlflowClient()
client.link_traces_to_run([mlflow.get_last_active_trace_id()], run.info.run_id)
try:
    client.link_traces_to_run(["tr-1"] * 101, run.info.run_id)
except mlflow.exceptions.MlflowException as exc:
    assert "more than 100" in str(exc), exc
print(run.info.run_id)
"""
    run_id, _ = moving.run(script, WEIR_EXIT_WAIT_SECONDS="0", **AT_ONCE)
    assert len(moving.waiting()) == 10
    with moving.served():
        moving.settle()
        found = moving.traces("offline")
        runs = [trace.info.trace_metadata.get("mlflow.sourceRun") for trace in found]
        assert runs == [run_id, run_id, None]
        assert moving.client().get_run(run_id).info.experiment_id == found[0].info.experiment_id
        assert [len(trace.data.spans) for trace in found] == [2, 2, 2]
        for trace in found:
            location = trace.info.tags["mlflow.artifactLocation"]
            assert location == artifact_location(moving, trace)
        of_run = moving.client().search_traces(
            locations=[found[0].info.experiment_id],
            filter_string=f"attribute.run_id = '{run_id}'",
        )
        assert len(of_run) == 3, "the one that was linked is the run's, too"


@pytest.mark.long
def test_attachments_of_a_trace_begun_while_the_server_was_away_find_it(moving: Moving) -> None:
    moving.run(
        """
from mlflow.tracing.attachments import Attachment

@mlflow.trace
def draws():
    return {"picture": Attachment(content_type="text/plain", content_bytes=b"a picture")}

mlflow.set_experiment("attached")
draws()
""",
        WEIR_EXIT_WAIT_SECONDS="0",
        **AT_ONCE,
    )
    with moving.served():
        moving.settle()
        (trace,) = moving.traces("attached")
        location = trace.info.tags["mlflow.artifactLocation"]
        repository = get_artifact_repository(location, tracking_uri=moving.uri)
        sizes = [info.file_size for info in repository.list_artifacts("attachments")]
        assert sizes == [len("a picture")]


@pytest.mark.long
def test_what_is_delivered_twice_is_there_once(moving: Moving) -> None:
    with moving.served():
        experiment_id = moving.client().create_experiment("twice")
    moving.run(
        """
@mlflow.trace
def judged(x):
    mlflow.log_feedback(trace_id=mlflow.get_active_trace_id(), name="good", value=x)
    return traced(x)

judged(1)
traced(2)
""",
        WEIR_EXIT_WAIT_SECONDS="0",
        MLFLOW_EXPERIMENT_ID=experiment_id,
        **AT_ONCE,
    )
    kill_agents(moving.spool)
    batch = {one.path.name: (one, one.read()) for one in moving.waiting()}
    assert len(batch) == 7
    with moving.served():
        sender = TraceSender(moving.uri)
        done, failed = sender.send(batch, {}, lambda exc: False)
        assert (set(done), failed) == (set(batch), {})
        once = [told(trace, "") for trace in moving.traces("twice")]
        assert sender.send(batch, {}, lambda exc: False) == (done, {})
        assert [told(trace, "") for trace in moving.traces("twice")] == once
        assert "good" in once[0]
        moving.settle()  # and a third time
        assert [told(trace, "") for trace in moving.traces("twice")] == once


@pytest.mark.long
def test_the_experiment_that_the_environment_names_is_taken_on_trust(moving: Moving) -> None:
    with moving.served():
        experiment_id = moving.client().create_experiment("named")
    with socket.create_server(("127.0.0.1", moving.port)):  # accepts, and says nothing
        run_id, err = moving.run(
            COUNT_QUESTIONS
            + """
traced(0)
with mlflow.start_run() as run:
    before = n_asked
    for x in range(30):
        traced(x)
assert n_asked - before < 30, "who does not answer is not asked by each call"
print(run.info.run_id)
""",
            WEIR_EXIT_WAIT_SECONDS="0",
            MLFLOW_EXPERIMENT_ID=experiment_id,
            **AT_ONCE,
        )
    assert "WARNING" not in err
    with moving.served():
        moving.settle()
        runs = [
            trace.info.trace_metadata.get("mlflow.sourceRun") for trace in moving.traces("named")
        ]
        assert runs == [None, *30 * [run_id]]


@pytest.mark.long
def test_a_read_says_that_the_store_is_away(moving: Moving) -> None:
    with moving.served():
        moving.run("mlflow.set_experiment('e'); first(0)", **AT_ONCE)
        moving.settle()
    _, err = moving.run(
        """
mlflow.set_experiment("e")
traced(1)
assert mlflow.get_trace(mlflow.get_last_active_trace_id()) is None
""",
        WEIR_EXIT_WAIT_SECONDS="0",
        **AT_ONCE,
    )
    assert "The tracking store is away" in err
    with moving.served():
        moving.settle()
        assert len(moving.traces("e")) == 2


def test_a_trace_that_was_handed_over_outlives_a_killed_training_and_agent(file: Place) -> None:
    process = file.start(
        """
mlflow.set_experiment("killed")
print("ready", flush=True)
for x in range(1000):
    traced(x)
    print(x, flush=True)
""",
        **AT_ONCE,
    )
    wait_ready(process)
    assert process.stdout is not None
    n_traced = 0
    for line in process.stdout:
        n_traced = int(line) + 1
        if n_traced % 10 == 0:
            kill_agents(file.spool)
        if n_traced == 40:
            process.kill()
            break
    rest, _ = process.communicate()
    n_traced += len(rest.splitlines())
    for _ in range(3):  # and while it delivers
        agent.ensure_agent(file.spool.root)
        before = len(file.waiting())

        def is_less(least: int = before) -> bool:
            agent.ensure_agent(file.spool.root)  # the one that was there may have just been killed
            return len(file.waiting()) < least or not file.waiting()

        wait_until(
            is_less,
            "some are delivered",
            DEADLINE_S,
        )
        kill_agents(file.spool)
    file.settle()
    found = file.traces("killed")
    assert n_traced <= len(found) <= n_traced + 1  # the call that was under way
    whole = [trace for trace in found if trace.info.response_preview is not None]
    assert [len(trace.data.spans) for trace in whole] == len(whole) * [2]
    assert len(whole) >= n_traced


def test_traces_that_are_lost_are_counted_and_said(file: Place, tmp_path: Path) -> None:
    """No room, and the store away: spans of 100 kB do not fit, what is known of traces does."""
    _, err = file.run(
        """
with mlflow.start_run() as run:
    for _ in range(3):
        first("x" * 100_000 if _ else 1)
first("x" * 100_000)
print("ok")""",
        MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}",
        WEIR_CLIENT="on",
        WEIR_SPOOL_MAX_BYTES="64KiB",
        WEIR_EXIT_WAIT_SECONDS="0.2",
        **AT_ONCE,
    )
    assert err.count("No room to keep traces") == 1
    assert "weir: 3 traces are lost, wholly or in part" in err
    (journal,) = json.loads(file.weir("status", "--json"))["journals"]
    assert journal["n_traces_dropped"] == 3
    assert "dropped: 3 traces" in file.weir("status")
    other = f"weir://{tmp_path}/other"
    assert "not delivered" not in file.weir("sync", "--to", other)
    (run,) = MlflowClient(other).search_runs(["0"])
    assert run.data.tags["weir.traces_dropped"] == "2"
    assert "3 traces dropped" in file.weir("status")


@pytest.mark.long
def test_without_room_traces_go_to_the_store_at_once(file: Place) -> None:
    with mounted("1m") as disk:  # less than is kept free for records
        last, err = file.run(
            "mlflow.set_experiment('full'); traced(1); traced(2); print('ok')",
            WEIR_SPOOL=str(disk / "s"),
            **AT_ONCE,
        )
        assert last == "ok"
        assert err.count("No room to keep traces") == 1
        agent.nudge(disk / "s", agent.STOP)
        wait_until(lambda: not agents_of(Spool(disk / "s")), "the agent is gone", DEADLINE_S)
    wait_until(lambda: len(file.traces("full")) == 2, "both are there", DEADLINE_S)
