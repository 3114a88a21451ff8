"""Deliveries to real servers, most with two workers: uvicorn, gunicorn, prefix, workspaces.

What a caller may not do is in tests/security/test_routes.py.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.entities import Run

import mlflow_weir
from agents import wait_until
from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from mlflow_weir.capture_policy import CLASSES
from mlflow_weir.frames import frame
from senders import ROUTES, Sender, call, create_run, new_id, operation, points

DEADLINE_S = 120.0
TIMEOUT_S = 3.0
PREFIX = "/mlf"

pytestmark = [
    pytest.mark.slow,
    # MLflow warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")  # or a server that is busy for 2 s is given up


class Servers(NamedTuple):
    """One of each kind."""

    plain: ServerProcess
    postgres: ServerProcess
    workspaces: ServerProcess
    stock: ServerProcess
    off: ServerProcess


class Place(NamedTuple):
    """A server with its database."""

    server: ServerProcess
    database: str
    prefix: str

    def sender(self) -> Sender:
        """Return a new journal."""
        return Sender(self.server, prefix=self.prefix)

    def client(self) -> MlflowClient:
        """Return MLflow's own client of the server."""
        return MlflowClient(self.server.address + self.prefix)


@pytest.fixture(scope="module")
def databases_of(sqlite_folder: DatabaseServer, postgres_server: DatabaseServer) -> dict[str, str]:
    return {
        "plain": sqlite_folder.new_mlflow_database(),
        "postgres": postgres_server.new_mlflow_database(),
        "workspaces": sqlite_folder.new_mlflow_database(),
        "stock": sqlite_folder.new_mlflow_database(),
        "off": sqlite_folder.new_mlflow_database(),
    }


def with_weir(url: str) -> str:
    return url.replace("sqlite:", "sqlite+weir:").replace("+psycopg:", "+weir:")


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, databases_of: dict[str, str]
) -> Iterator[Servers]:
    no_jobs = ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    soon = ("WEIR_HEARTBEAT_TIMEOUT_SECONDS", str(TIMEOUT_S))
    base = {
        name: ["server", "--backend-store-uri", with_weir(url)]
        for name, url in databases_of.items()
    }
    folder = {name: tmp_path_factory.mktemp(name) for name in databases_of}
    gunicorn = ["--gunicorn-opts", "--timeout 60"]
    specs = [
        ServerSpec(base["plain"], folder["plain"], (no_jobs, soon), 2),
        ServerSpec([*base["postgres"], *gunicorn], folder["postgres"], (no_jobs, soon), 2, PREFIX),
        ServerSpec(
            [*base["workspaces"], "--enable-workspaces", "--app-name", "weir"],
            folder["workspaces"],
            (no_jobs,),
        ),
        ServerSpec(
            ["server", "--backend-store-uri", databases_of["stock"], "--app-name", "weir"],
            folder["stock"],
            (no_jobs,),
        ),
        ServerSpec(base["off"], folder["off"], (no_jobs, ("WEIR_UI", "off"))),
    ]
    with start_servers(*specs) as started:
        yield Servers(*started)


@pytest.fixture(params=["plain", "postgres"])
def place(request: pytest.FixtureRequest, servers: Servers, databases_of: dict[str, str]) -> Place:
    prefix = PREFIX if request.param == "postgres" else ""
    return Place(getattr(servers, request.param), databases_of[request.param], prefix)


def scalar(place: Place, query: str) -> Any:
    engine = sa.create_engine(place.database)
    try:
        with engine.connect() as connection:
            return connection.execute(sa.text(query)).scalar()
    finally:
        engine.dispose()


def test_a_client_recognises_a_server_that_runs_weir(servers: Servers, place: Place) -> None:
    answer = call(place.server, "GET", f"{place.prefix}{ROUTES}/info")
    assert (answer.status, answer.body) == (
        200,
        {"weir": mlflow_weir.__version__, "api": 1, "capture": sorted(CLASSES)},
    )
    assert call(servers.off, "GET", f"{ROUTES}/info").status == 404


def test_mlflow_shows_what_was_delivered(place: Place) -> None:
    sender, run_id, alias = place.sender(), new_id(), new_id()
    name = f"delivered {run_id}"
    answer = sender.send(
        operation(
            "create_experiment", experiment_id=alias, name=name, tags=[["kind", "test"]], at_ms=1
        ),
        create_run(run_id, alias, run_name="first", tags=[["a", "b"]]),
        operation("log_params", run_id=run_id, params=[["lr", "0.1"]]),
        *points(run_id, "loss", [3.0, 2.0, float("nan")]),
        operation("update_run", run_id=run_id, status="FINISHED", end_time=1_700_000_001_000),
    )
    assert (answer["was_applied"], answer["n_records"], answer["n_points"]) == (False, 7, 3)
    assert answer["rejected"] == []
    client = place.client()
    run = client.get_run(run_id)
    experiment_id = run.info.experiment_id
    experiment = client.get_experiment(experiment_id)
    assert answer["aliases"] == {
        alias: experiment_id,
        f"weir-pending:{alias}": experiment.artifact_location,
        f"weir-pending:{experiment_id}": experiment.artifact_location,
    }
    assert (experiment.name, experiment.tags["kind"]) == (name, "test")
    assert run.info.artifact_uri == f"{experiment.artifact_location}/{run_id}/artifacts"
    assert (run.info.run_name, run.info.status, run.data.tags["a"]) == ("first", "FINISHED", "b")
    assert run.data.params == {"lr": "0.1"}
    history = client.get_metric_history(run_id, "loss")
    assert [(point.step, point.value) for point in history][:2] == [(0, 3.0), (1, 2.0)]
    assert len(history) == 3
    # The end of a run has its points compacted, beside the answer.
    chunks = f"SELECT count(*) FROM weir_chunk WHERE run_uuid = '{run_id}'"
    wait_until(lambda: scalar(place, chunks), "its points are in chunks", DEADLINE_S)
    assert len(client.get_metric_history(run_id, "loss")) == 3


def test_a_delivery_is_applied_once_and_answered_alike_each_time(place: Place) -> None:
    sender, run_id = place.sender(), new_id()
    request = sender.request(
        [
            create_run(run_id),
            operation("delete_tag", run_id=run_id, key="none"),
            *points(run_id, "m", [1, 2]),
        ]
    )
    first, again = sender.post(*request).body, sender.post(*request).body
    assert (first.pop("was_applied"), again.pop("was_applied")) == (False, True)
    assert first == again
    assert first["n_points"] == 2
    assert len(first["rejected"]) == 1
    assert len(place.client().get_metric_history(run_id, "m")) == 2


def test_of_many_at_once_one_is_applied(place: Place) -> None:
    sender, run_id = place.sender(), new_id()
    request = sender.request([create_run(run_id), *points(run_id, "m", range(1000))])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: sender.post(*request), range(16)))
    # One may have found the row half made by another: it is told to ask again.
    while any(answer.status == 503 for answer in answers):
        answers = [sender.post(*request) if answer.status == 503 else answer for answer in answers]
    assert [answer.status for answer in answers] == [200] * 16
    assert sum(not answer.body["was_applied"] for answer in answers) == 1
    assert scalar(place, f"SELECT count(*) FROM weir_batch WHERE run_uuid = '{run_id}'") <= 1
    assert len(place.client().get_metric_history(run_id, "m")) == 1000


def test_a_sender_that_did_not_hear_the_answer_is_told_again(place: Place) -> None:
    sender, run_id = place.sender(), new_id()
    body, headers = sender.request([create_run(run_id), *points(run_id, "m", [1, 2, 3])])
    address = urllib.parse.urlsplit(place.server.address)
    head = f"POST {place.prefix}{ROUTES}/ingest HTTP/1.1\r\nHost: {address.netloc}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((address.hostname, address.port)) as wire:
        wire.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        count = f"SELECT count(*) FROM weir_journal WHERE journal_id = '{sender.journal_id}'"
        wait_until(lambda: scalar(place, count), "applied, with the answer unread", DEADLINE_S)
    answer = sender.post(body, headers)
    assert (answer.status, answer.body["was_applied"], answer.body["n_points"]) == (200, True, 3)


def test_a_journal_that_stands_elsewhere_is_said_to(place: Place) -> None:
    sender, run_id = place.sender(), new_id()
    answer = sender.post(*sender.request(points(run_id, "m", [1.0]), 100))
    assert (answer.status, answer.body["position"]) == (409, 0)
    sender.send(create_run(run_id))
    answer = sender.post(*sender.request(points(run_id, "m", [1.0]), sender.position + 8))
    assert (answer.status, answer.body["position"]) == (409, sender.position)


def test_a_newer_lease_closes_the_journal_to_the_older(place: Place) -> None:
    sender, run_id = place.sender(), new_id()
    sender.headers = {"X-Weir-Fencing": "7"}
    sender.send(create_run(run_id))
    sender.headers = {"X-Weir-Fencing": "6"}
    assert sender.post(*sender.request(points(run_id, "m", [1.0]))).status == 423


def test_a_refused_record_is_refused_alone(place: Place) -> None:
    sender, run_id, missing = place.sender(), new_id(), new_id()
    rejected = sender.send(
        create_run(run_id),
        operation("log_params", run_id=run_id, params=[["lr", "1"]]),
        operation("log_params", run_id=run_id, params=[["lr", "2"]]),
        operation("set_tags", run_id=run_id, tags=[["k" * 300, "v"]]),
        operation("set_tags", run_id=run_id, tags=[["kept", "yes"]]),
        *points(missing, "m", [1.0]),
        *points(run_id, "../m", [1.0, 2.0]),
        *points(run_id, "m", [1.0]),
        b"?",
    )["rejected"]
    reasons = " | ".join(one["reason"] for one in rejected)
    assert len(rejected) == 5
    for words in ("unknown kind", "cannot be changed", "length", "does not exist", "../m"):
        assert words in reasons
    run = place.client().get_run(run_id)
    assert (run.data.params, run.data.metrics) == ({"lr": "1"}, {"m": 1.0})
    assert run.data.tags["kept"] == "yes"


def test_where_artifacts_lie_is_not_the_clients_choice(place: Place) -> None:
    sender, run_id, model_id = place.sender(), new_id(), f"m-{new_id()}"
    model = {"model_id": model_id, "experiment_id": "0", "name": "net", "at_ms": 1}
    assert not sender.rejections(
        create_run(run_id, artifact_uri="/etc"),
        operation("create_logged_model", **model, artifact_location="/etc", source_run_id=run_id),
    )
    client = place.client()
    assert client.get_run(run_id).info.artifact_uri.endswith(f"/0/{run_id}/artifacts")
    assert client.get_logged_model(model_id).artifact_location.endswith(
        f"/models/{model_id}/artifacts"
    ) or client.get_logged_model(model_id).artifact_location.endswith(f"/{model_id}/artifacts/")
    # MLflow's own rules for the place of an experiment hold, and name the fault.
    name = f"elsewhere {run_id}"
    fields = {"name": name, "artifact_location": "s3://bucket/x#y", "at_ms": 1, "tags": []}
    assert sender.rejections(operation("create_experiment", experiment_id="x", **fields))
    assert client.get_experiment_by_name(name) is None


@pytest.mark.parametrize("is_packed", [True, False])
def test_bytes_that_are_no_frames_are_refused_whole(place: Place, is_packed: bool) -> None:
    sender, run_id = place.sender(), new_id()
    body, headers = sender.request([create_run(run_id)], is_packed=is_packed)
    for at in range(0, len(body), 7):
        flipped = bytearray(body)
        flipped[at] ^= 0x10
        answer = sender.post(bytes(flipped), headers)
        if is_packed and answer.status == 200:
            assert at in range(4, 10)  # gzip's time and system, which say nothing
            return
        assert answer.status == 400, (at, answer)
    assert sender.post(body[:-1], headers).status == 400
    assert sender.post(body + b"x", headers).status == 400
    assert sender.post(b"", headers).status == 400


def test_headers_that_make_no_sense_are_refused(place: Place) -> None:
    sender = place.sender()
    body, headers = sender.request([create_run(new_id())])
    for name, value in (
        ("X-Weir-Journal", "../../etc/passwd"),
        ("X-Weir-Journal", sender.journal_id.upper() + "0"),
        ("X-Weir-Start", "-1"),
        ("X-Weir-Start", "1e3"),
        ("X-Weir-End", "9" * 30),
        ("X-Weir-End", "0"),
        ("X-Weir-Fencing", "x"),
    ):
        assert sender.post(body, {**headers, name: value}).status == 400, (name, value)
    assert sender.post(body, {**headers, "Content-Encoding": "br"}).status == 415


def test_a_body_has_limits_packed_and_unpacked(place: Place) -> None:
    sender = place.sender()
    _, headers = sender.request([b"x"])
    large = frame(bytes(33 << 20))
    headers["X-Weir-End"] = str(len(large))
    assert sender.post(gzip.compress(large), headers).status == 413
    # A bomb that says it is small: no more is unpacked than it says.
    headers["X-Weir-End"] = "1000"
    assert sender.post(gzip.compress(bytes(1 << 30), 9), headers).status == 400
    headers["X-Weir-End"] = str(9 << 20)
    del headers["Content-Encoding"]
    assert sender.post(bytes(9 << 20), headers).status == 413


def test_a_body_of_no_said_length_has_the_same_limits(servers: Servers) -> None:
    """Under gunicorn chunks come as sent; uvicorn's bridge to Flask knows no such body."""
    sender = Sender(servers.postgres, prefix=PREFIX)
    body, headers = sender.request([create_run(new_id())], is_packed=False)
    address = urllib.parse.urlsplit(servers.postgres.address)
    for sent, status in ((body, 200), (bytes(9 << 20), 413)):
        wire = http.client.HTTPConnection(address.hostname or "", address.port, timeout=300)
        parts = (sent[start : start + 65_536] for start in range(0, len(sent), 65_536))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.request("POST", f"{PREFIX}{ROUTES}/ingest", parts, headers, encode_chunked=True)
        assert wire.getresponse().status == status
        wire.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"journal": "x", "runs": []}',
        b'{"journal": 1, "runs": []}',
    ],
)
def test_a_heartbeat_that_makes_no_sense_is_refused(place: Place, body: bytes) -> None:
    path, headers = f"{place.prefix}{ROUTES}/heartbeat", {"Content-Type": "application/json"}
    assert call(place.server, "POST", path, body, headers).status == 400
    runs = {"journal": new_id(), "runs": ["../x"]}
    assert call(place.server, "POST", path, runs, headers).status == 400
    assert call(place.server, "POST", path, bytes(2 << 20), headers).status == 413


def test_a_locked_database_is_asked_again_later(
    servers: Servers, databases_of: dict[str, str]
) -> None:
    place = Place(servers.plain, databases_of["plain"], "")
    sender, run_id = place.sender(), new_id()
    request = sender.request([create_run(run_id)])
    lock = sqlite3.connect(
        place.database.removeprefix("sqlite:///"), isolation_level=None, timeout=120
    )
    lock.execute("BEGIN IMMEDIATE")
    try:
        answer = sender.post(*request)
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert sender.post(*request).body["was_applied"] is False


def test_a_run_without_signs_of_life_is_marked_until_one_comes(place: Place) -> None:
    sender, silent, quiet = place.sender(), new_id(), new_id()
    sender.send(create_run(silent), create_run(quiet))
    assert sender.beat(silent, new_id())["runs"] == [silent]
    client = place.client()

    def status() -> str:
        found: str = client.get_run(silent).info.status
        return found

    wait_until(lambda: status() == "FAILED", "it is marked", DEADLINE_S)
    run = client.get_run(silent)
    assert run.data.tags["weir.exit_cause"].startswith("node lost: no sign of life since 20")
    assert run.info.end_time is not None
    # Nobody answered for this one.
    assert client.get_run(quiet).info.status == "RUNNING"
    assert sender.beat(silent)["revived"] == [silent]

    def goes_on() -> Run | None:
        sender.beat(silent)
        found = client.get_run(silent)
        return found if found.info.status == "RUNNING" else None

    run = wait_until(goes_on, "it goes on", DEADLINE_S)
    assert run.info.end_time is None
    assert "weir.exit_cause" not in run.data.tags
    # What a person says of a lost run stays.
    wait_until(lambda: status() == "FAILED", "it is marked again", DEADLINE_S)
    client.set_terminated(silent, "KILLED")
    assert sender.beat(silent)["revived"] == []
    assert status() == "KILLED"


def test_the_end_that_a_lost_run_had_after_all_is_its_end(place: Place) -> None:
    sender, run_id = place.sender(), new_id()
    sender.send(create_run(run_id))
    sender.beat(run_id)
    client = place.client()
    wait_until(lambda: client.get_run(run_id).info.status == "FAILED", "it is marked", DEADLINE_S)
    sender.send(operation("update_run", run_id=run_id, status="FINISHED", end_time=5))
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time) == ("FINISHED", 5)
    assert "weir.exit_cause" not in run.data.tags


def test_a_workspace_is_the_requests_and_no_other(servers: Servers) -> None:
    server = servers.workspaces
    call(server, "POST", "/api/3.0/mlflow/workspaces", {"name": "team-a"})
    inside, outside = Sender(server, headers={"X-MLFLOW-WORKSPACE": "team-a"}), Sender(server)
    run_id, name = new_id(), f"both have it {new_id()}"
    created = operation("create_experiment", experiment_id="mine", name=name, at_ms=1, tags=[])
    assert not inside.rejections(created, create_run(run_id, "mine"), *points(run_id, "m", [1.0]))
    assert not outside.rejections(created)
    theirs, ours = (
        sender.send(operation("own_run", run_id=new_id(), how="client"))["aliases"]["mine"]
        for sender in (inside, outside)
    )
    assert theirs != ours
    for record in (
        *points(run_id, "m", [2.0], 1),
        operation("set_tags", run_id=run_id, tags=[["t", "x"]]),
        create_run(new_id(), theirs),
        operation("set_experiment_tag", experiment_id=theirs, key="t", value="x"),
    ):
        assert len(outside.rejections(record)) == 1
    assert outside.beat(run_id)["runs"] == []
    assert inside.beat(run_id)["runs"] == [run_id]
    path = f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=m"
    history = call(server, "GET", path, headers=inside.headers).body["metrics"]
    assert [point["value"] for point in history] == [1.0]


def test_points_come_in_by_the_hundred_thousand(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    sender, run_id, n_points = place.sender(), new_id(), 0
    sender.send(create_run(run_id))
    requests = []
    for part in range(10):
        payloads = [
            record
            for key in range(4)
            for record in points(run_id, f"metric {key}", range(5_000), 5_000 * part)
        ]
        request = sender.request(payloads, sender.position)
        requests.append(request)
        sender.position = int(request[1]["X-Weir-End"])
    began = time.monotonic()
    for request in requests:
        answer = sender.post(*request)
        assert answer.status == 200, answer
        n_points += answer.body["n_points"]
    rate = n_points / (time.monotonic() - began)
    record_property("points per second through ingest", round(rate))
    print(f"\n{place.database.partition(':')[0]}: {rate:,.0f} points/s through ingest")
    assert n_points == 200_000


def test_a_store_that_is_not_ours_takes_no_deliveries(servers: Servers) -> None:
    """``--app-name weir`` on a stock database: what is not Weir's store would not show points."""
    answer = call(servers.stock, "GET", f"{ROUTES}/info")
    assert (answer.status, answer.body) == (
        404,
        {"error": "this server's tracking store is not Weir's"},
    )
    sender = Sender(servers.stock)
    assert sender.post(*sender.request([create_run(new_id())])).status == 404
    assert MlflowClient(servers.stock.address).create_run("0").info.status == "RUNNING"


def test_a_server_that_has_been_told_so_goes_without_us(servers: Servers, tmp_path: Path) -> None:
    for path in ("info", "ingest", "heartbeat"):
        assert call(servers.off, "POST", f"{ROUTES}/{path}", {}).status == 404
    assert call(servers.off, "GET", "/weir/").status == 404
    assert "weir" not in call(servers.off, "GET", "/").body
