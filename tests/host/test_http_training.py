"""A training as users write it on a tracking server that runs Weir, and on one that does not.

Scripts know nothing of Weir. What they wrote is read by MLflow's own client, without a journal,
once the agent says that all is delivered.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient

from agents import agents_of, kill_agents, wait_until
from databases import DatabaseServer
from gateways import Authority, Gateway, Proxy
from mlflow_server import ServerProcess, ServerSpec, start_servers
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool
from senders import User, call, login_variables
from slow_way import SlowWay
from trainings import (
    COUNT_QUESTIONS,
    NO_JOBS,
    Moving,
    Place,
    Training,
    begin,
    ends,
    error_of,
    server_command,
    with_weir,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

PREFIX = "/mlf"
ADMIN = User("admin", "password1234567")


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN.name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN.password)


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> Iterator[dict[str, Place]]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("plain", "auth", "stock")}
    auth_variables = login_variables(folders["auth"], ADMIN)
    urls = {name: sqlite_folder.new_mlflow_database() for name in folders}
    specs = [
        ServerSpec(
            server_command(with_weir(urls["plain"])), folders["plain"], (NO_JOBS,), prefix=PREFIX
        ),
        ServerSpec(
            [*server_command(with_weir(urls["auth"])), "--app-name", "basic-auth"],
            folders["auth"],
            (NO_JOBS, *auth_variables),
        ),
        ServerSpec(server_command(urls["stock"]), folders["stock"], (NO_JOBS,)),
    ]
    with start_servers(*specs) as (plain, auth, stock):
        yield {
            "plain": Place(plain.address + PREFIX, {}),
            "auth": Place(
                auth.address,
                {
                    "MLFLOW_TRACKING_USERNAME": ADMIN.name,
                    "MLFLOW_TRACKING_PASSWORD": ADMIN.password,
                },
            ),
            "stock": Place(stock.address, {}),
        }


@pytest.fixture(params=[pytest.param("plain", marks=pytest.mark.long), "auth"])
def training(
    request: pytest.FixtureRequest, tmp_path: Path, places: dict[str, Place]
) -> Iterator[Training]:
    yield from begin(tmp_path, places[request.param])


@pytest.fixture
def plain(tmp_path: Path, places: dict[str, Place]) -> Iterator[Training]:
    yield from begin(tmp_path, places["plain"])


@pytest.fixture
def auth(tmp_path: Path, places: dict[str, Place]) -> Iterator[Training]:
    yield from begin(tmp_path, places["auth"])


@pytest.fixture
def stock(tmp_path: Path, places: dict[str, Place]) -> Iterator[Training]:
    yield from begin(tmp_path, places["stock"])


@pytest.fixture
def moving(tmp_path: Path, sqlite_folder: DatabaseServer) -> Iterator[Moving]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Moving(folder, with_weir(sqlite_folder.new_mlflow_database()))
    yield server
    server.close()


@pytest.fixture
def away(tmp_path: Path, moving: Moving) -> Iterator[Training]:
    """A training on a server that has not started."""
    yield from begin(tmp_path, moving.place)


def test_what_a_script_logs_is_on_the_server(training: Training) -> None:
    run_id, artifact_uri, experiment_name = training.run("""
name = f"first {os.getpid()}"
mlflow.set_experiment(name)
with mlflow.start_run(run_name="parent") as run:
    mlflow.log_text("hello", "notes/a.txt")          # before anything is delivered
    with open("b.txt", "w") as file: file.write("b")
    mlflow.log_artifact("b.txt", "notes")
    mlflow.log_params({"lr": 0.1, "layers": 3})
    mlflow.set_tags({"a": "1", "b": "2"})
    mlflow.delete_tag("b")
    for step in range(500):
        mlflow.log_metric("loss", 1 / (1 + step), step=step)
        mlflow.log_metrics({"x": step, "y": -step}, step=step)
    with mlflow.start_run(nested=True, run_name="child"):
        mlflow.log_metric("loss", 7.0)
    found = mlflow.search_runs(experiment_names=[name])
    assert len(found) == 2, found
    assert len(mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")) == 500
    assert len(mlflow.artifacts.list_artifacts(run_id=run.info.run_id)) == 1
print(run.info.run_id); print(run.info.artifact_uri); print(name)
""").splitlines()[-3:]
    parent = training.run_named(run_id)
    client = training.client()
    experiment = client.get_experiment_by_name(experiment_name)
    assert experiment is not None
    assert parent.info.artifact_uri == artifact_uri
    (child,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'child'")
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert parent.data.params == {"lr": "0.1", "layers": "3"}
    assert parent.data.tags["a"] == "1"
    assert "b" not in parent.data.tags
    assert child.data.tags["mlflow.parentRunId"] == run_id
    history = client.get_metric_history(run_id, "loss")
    assert [point.step for point in history] == list(range(500))
    assert parent.data.metrics == {"loss": 1 / 500, "x": 499.0, "y": -499.0}
    notes = [item.path for item in client.list_artifacts(run_id, "notes")]
    assert notes == ["notes/a.txt", "notes/b.txt"]


def test_a_stock_server_sends_no_alert_which_is_said_once(stock: Training) -> None:
    code, out, err = stock.outcome("""
import mlflow_weir
with mlflow.start_run():
    print([mlflow_weir.alert(f"title {n}", level="error") for n in range(3)])
""")
    assert (code, "[False, False, False]" in out) == (0, True), err
    assert err.count("does not run Weir, and nobody delivers it") == 1


def test_the_end_of_a_run_waits_for_no_delivery_and_asks_nothing(plain: Training) -> None:
    """MLflow's client asks for the run once more, to print where it is."""
    out = plain.run("""
from mlflow_weir.plugin import journaled_reads
from mlflow_weir.plugin.recorder import Recorder
stock, settled = Recorder.settle, []
Recorder.settle = lambda *arguments: settled.append(1) or stock(*arguments)
journaled_reads._REFRESH_S = 0  # as after a second
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1)
client = mlflow.MlflowClient()
other = client.create_run(run.info.experiment_id).info.run_id
client.log_metric(other, "m", 1)
client.set_terminated(other)
print(len(settled))
""")
    assert out.split()[-1] == "0"


def test_models_and_autolog_work_right_after_the_start(training: Training) -> None:
    run_id = training.run("""
import numpy as np
from sklearn.linear_model import LinearRegression
mlflow.sklearn.autolog()
mlflow.models.infer_pip_requirements = lambda *_, **__: ["scikit-learn"]  # by another Python
x = np.arange(20.0).reshape(-1, 1)
with mlflow.start_run() as run:
    mlflow.sklearn.log_model(LinearRegression().fit(x, x[:, 0]), name="by-hand")
    LinearRegression().fit(x, 2 * x[:, 0])
model = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/by-hand")
assert abs(model.predict([[3.0]])[0] - 3.0) < 1e-6
print(run.info.run_id)
""").splitlines()[-1]
    run = training.run_named(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["fit_intercept"] == "True"
    assert run.data.metrics["training_r2_score"] == 1.0
    assert run.outputs is not None
    models = [training.client().get_logged_model(o.model_id) for o in run.outputs.model_outputs]
    assert {(model.name, str(model.status)) for model in models} >= {("by-hand", "READY")}


def test_a_stock_server_gets_mlflows_own_store_and_nothing_is_on_disk(stock: Training) -> None:
    out = stock.run_new("""
from mlflow.store.tracking.rest_store import RestStore
from mlflow.tracking._tracking_service.utils import _get_store
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1)
store = _get_store()
loaded = [name for name in sys.modules if name.startswith("mlflow_weir.plugin.journaled")]
print(type(store) is RestStore, sorted(vars(store)), loaded)
print(sorted(vars(RestStore(store.get_host_creds))))
""").splitlines()
    assert out[-2] == f"True {out[-1]} []"
    assert not stock.spool.exists()


@pytest.mark.parametrize("variable", ["WEIR_CLIENT=off", "WEIR_DISABLE=1"])
def test_switched_off_nothing_is_asked_nor_journaled(plain: Training, variable: str) -> None:
    name, _, value = variable.partition("=")
    out = plain.run_new(
        """
from mlflow.store.tracking.rest_store import RestStore
from mlflow.tracking._tracking_service.utils import _get_store
print(type(_get_store()) is RestStore)
with mlflow.start_run(): mlflow.log_metric("m", 1)
""",
        **{name: value},
    )
    assert out.splitlines()[0] == "True"
    assert not plain.spool.exists()


def test_a_store_is_built_without_asking_and_known_ones_are_never_asked(
    away: Training, moving: Moving
) -> None:
    script = """
from mlflow.tracking._tracking_service.utils import _get_store
store = _get_store(); built = type(store).__name__
import threading
kinds = []
threads = [threading.Thread(target=lambda: kinds.append(store.get_experiment("0").name))
           for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(built, set(kinds), type(store).__name__)
"""
    moving.start()
    assert away.run_new(script).strip() == "UndecidedRestStore {'Default'} JournaledRestStore"
    log = moving.spec.folder / "server.log"
    assert log.read_text().count("weir/info") == 1
    assert away.run_new(script).strip() == "UndecidedRestStore {'Default'} JournaledRestStore"
    assert log.read_text().count("weir/info") == 1
    assert (away.spool / "servers.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("ending", "code", "status", "cause"), ends())
def test_a_run_ends_as_its_process_does(
    ending: str, code: int, status: str, cause: str | None, auth: Training
) -> None:
    found_code, out, err = auth.outcome_of_new(f"""
print(mlflow.start_run().info.run_id, flush=True)
mlflow.log_metric("m", 1)
{ending}
""")
    assert found_code == code, err
    run = auth.run_named(out.splitlines()[0])
    assert (run.info.status, run.data.tags.get("weir.exit_cause")) == (status, cause)
    assert run.data.metrics == {"m": 1.0}
    assert run.info.end_time is not None


def test_a_forked_child_logs_to_its_parents_run(training: Training) -> None:
    run_id = training.run_new("""
import multiprocessing
def work(run_id, start):
    client = mlflow.MlflowClient()
    for step in range(start, start + 100):
        client.log_metric(run_id, "m", step, step=step)
with mlflow.start_run() as run:
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=work, args=(run.info.run_id, 100 * i)) for i in range(2)]
    for child in children: child.start()
    for step in range(200, 300): mlflow.log_metric("m", step, step=step)
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0, 0]
print(run.info.run_id)
""").splitlines()[-1]
    assert training.run_named(run_id).info.status == "FINISHED"
    history = training.client().get_metric_history(run_id, "m")
    assert sorted(point.step for point in history) == list(range(300))


LOG_FOR_A_WHILE = f"""
{COUNT_QUESTIONS}
run = mlflow.start_run()
mlflow.log_metric("m", -1, step=-1)
print(run.info.run_id, flush=True)
before, step, n_reads = n_asked, 0, 0
while not os.path.exists(sys.argv[1]):
    mlflow.log_metric("m", step, step=step)
    if step % 100 == 0:
        mlflow.log_param(f"p{{step}}", step)
        mlflow.set_tag("at", step)
        assert mlflow.get_run(run.info.run_id).data.metrics["m"] == step
        n_reads += 1
    step += 1
    time.sleep(0.001)
print(step, n_asked - before <= n_reads)
"""


def test_a_server_that_is_killed_in_mid_training_costs_nothing(
    away: Training, moving: Moving, tmp_path: Path
) -> None:
    moving.start()
    process = away.start(LOG_FOR_A_WHILE, str(tmp_path / "end"))
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()

    def delivered() -> int:
        (folder,) = Spool(away.spool).journals()
        return folder.delivered().n_points

    def is_beyond(least: int) -> bool:
        return delivered() > least

    def is_refused(folder: JournalFolder) -> bool:
        return "connection refused" in error_of(folder)

    for _ in range(2):
        before = delivered()
        wait_until(partial(is_beyond, before), "the server gets points")
        moving.kill()
        (folder,) = Spool(away.spool).journals()
        # Where it is killed in the middle of an answer, that is what is said first.
        wait_until(partial(is_refused, folder), "the agent says why")
        moving.start()
    last = delivered()
    wait_until(lambda: delivered() > last, "the server gets points again")
    (tmp_path / "end").touch()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    n_points, only_reads_ask = out.splitlines()[0].split()
    assert only_reads_ask == "True"
    run = away.run_named(run_id)
    history = away.client().get_metric_history(run_id, "m")
    assert [point.step for point in history] == list(range(-1, int(n_points)))
    assert run.info.status == "FINISHED"
    assert run.data.tags["at"] == str((int(n_points) - 1) // 100 * 100)


TRAIN_OFFLINE = f"""
{COUNT_QUESTIONS}
mlflow.set_experiment("offline")
with mlflow.start_run(run_name="begun offline") as run:
    before = n_asked
    for step in range(200):
        mlflow.log_metric("m", step, step=step)
    mlflow.log_param("a", 1)
    assert n_asked == before, "log calls ask nothing"
    assert mlflow.get_run(run.info.run_id).data.params == {{"a": "1"}}
print(run.info.run_id)
"""


@pytest.mark.parametrize("by", ["agent", "sync"])
def test_a_training_runs_to_its_end_while_the_server_is_away(
    by: str, away: Training, moving: Moving
) -> None:
    code, out, err = away.outcome(TRAIN_OFFLINE, WEIR_EXIT_WAIT_SECONDS="0.5")
    assert code == 0, err
    assert "weir sync" in err
    run_id = [line for line in out.splitlines() if line[:1] in "0123456789abcdef"][-1]
    assert not (away.spool / "servers.json").exists()
    if by == "sync":
        kill_agents(Spool(away.spool))
    moving.start()
    if by == "sync":
        done = away.weir("sync")
        assert done.returncode == 0, done.stdout + done.stderr
    run = away.run_named(run_id)
    experiment = away.client().get_experiment_by_name("offline")
    assert experiment is not None
    assert run.info.experiment_id == experiment.experiment_id
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1"})
    assert run.info.artifact_uri == f"{experiment.artifact_location}/{run_id}/artifacts"
    assert len(away.client().get_metric_history(run_id, "m")) == 200


def test_a_wrong_password_is_seen_in_the_status_and_harms_nothing(auth: Training) -> None:
    out = auth.run(
        """
with mlflow.start_run() as run:
    for step in range(100): mlflow.log_metric("m", step, step=step)
print(run.info.run_id)
""",
        MLFLOW_TRACKING_PASSWORD="not-the-password",
        WEIR_EXIT_WAIT_SECONDS="2",
    )
    run_id = out.splitlines()[-1]
    (folder,) = Spool(auth.spool).journals()
    wait_until(lambda: folder.delivered().error, "the agent says why")
    status = auth.weir("status")
    assert "does not accept the user name, password or token (401)" in status.stdout
    done = auth.weir("sync", "--to", auth.place.uri)  # with the right one
    assert done.returncode == 0, done.stdout + done.stderr
    run = auth.run_named(run_id)
    assert run.info.status == "FINISHED"
    assert len(auth.client().get_metric_history(run_id, "m")) == 100


HEADER_PLUGIN = """
import os
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider

class Team(RequestHeaderProvider):
    def in_context(self):
        return "TEAM" in os.environ

    def request_headers(self):
        return {"X-Team": os.environ["TEAM"]}
"""


def test_all_requests_go_the_way_that_the_trainings_environment_says(
    places: dict[str, Place], tmp_path: Path
) -> None:
    """A proxy, an authority of one's own, a password, and a header of a plugin of MLflow's."""
    provider = tmp_path / "provider" / "team_header-1.dist-info"
    provider.mkdir(parents=True)
    (provider.parent / "team_header.py").write_text(HEADER_PLUGIN)
    (provider / "METADATA").write_text("Metadata-Version: 2.1\nName: team-header\nVersion: 1\n")
    (provider / "entry_points.txt").write_text(
        "[mlflow.request_header_provider]\nteam = team_header:Team\n"
    )
    authority = Authority(tmp_path)
    server = places["auth"]
    with (
        contextlib.closing(Proxy()) as proxy,
        contextlib.closing(Gateway(server.uri, authority, "X-Team", "vision")) as gateway,
    ):
        variables = {
            **server.variables,
            "HTTPS_PROXY": proxy.uri,
            "https_proxy": proxy.uri,
            "NO_PROXY": "",
            "no_proxy": "",
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(authority.path),
            "PYTHONPATH": str(provider.parent),
            "TEAM": "vision",
        }
        for training in begin(tmp_path, Place(gateway.uri, variables)):
            out = training.run_new("""
mlflow.set_experiment("behind a gateway")
with mlflow.start_run() as run:
    for step in range(50): mlflow.log_metric("m", step, step=step)
    mlflow.log_text("hello", "a.txt")
    with mlflow.start_span("asked"): pass
assert mlflow.MlflowClient().download_artifacts(run.info.run_id, "a.txt")
print(run.info.run_id)
""")
            training.settle()
        run_id = out.splitlines()[-1]
        client = MlflowClient(server.uri)
        run = client.get_run(run_id)
        assert (run.info.status, run.data.metrics) == ("FINISHED", {"m": 49.0})
        assert len(client.get_metric_history(run_id, "m")) == 50
        assert [one.path for one in client.list_artifacts(run_id)] == ["a.txt"]
        assert client.search_traces(locations=[run.info.experiment_id])
        assert gateway.refused == []
        assert any(one.startswith("PUT ") for one in gateway.let_in), "the artifact's"
        assert set(proxy.asked) == {f"CONNECT {gateway.uri.removeprefix('https://')}"}
        assert len(proxy.asked) == gateway.n_connections, "none went past the proxy"


def test_a_token_that_runs_out_is_replaced_by_the_one_that_requests_carry_then(
    tmp_path: Path, places: dict[str, Place]
) -> None:
    """MLflow asks for it with each request, so that jobs of a day live with tokens of an hour."""
    authority, server = Authority(tmp_path), places["plain"]
    with contextlib.closing(
        Gateway(server.uri, authority, "Authorization", "Bearer first")
    ) as gateway:
        variables = {
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(authority.path),
            "MLFLOW_TRACKING_TOKEN": "first",
        }
        for training in begin(tmp_path, Place(gateway.uri + urlsplit(server.uri).path, variables)):
            process = training.start("""
import mlflow_weir
mlflow.set_experiment("a new token")
run = mlflow.start_run()
mlflow.log_metric("m", 0, step=0)
assert mlflow_weir.finish(120)
print(run.info.run_id, flush=True)
sys.stdin.readline()
mlflow.log_metric("m", 1, step=1)
mlflow.log_text("hello", "a.txt")
print("logged", flush=True)
sys.stdin.readline()
os.environ["MLFLOW_TRACKING_TOKEN"] = "second"
mlflow.log_metric("m", 2, step=2)
assert mlflow_weir.finish(300)
print("delivered")
""")
            assert process.stdin is not None
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            assert run_id, process.communicate()
            gateway.value = "Bearer second"
            print("go on", file=process.stdin, flush=True)
            assert process.stdout.readline() == "logged\n"
            wait_until(lambda: gateway.refused, "the first is not good any more")
            out, err = process.communicate("go on\n", timeout=600)
            assert process.returncode == 0, err
            assert out.startswith("delivered\n")
            training.settle()
        client = MlflowClient(server.uri)
        found = client.get_metric_history(run_id, "m")
        assert [point.step for point in found] == [0, 1, 2]
        assert [one.path for one in client.list_artifacts(run_id)] == ["a.txt"]


def test_credentials_are_nowhere_but_in_the_private_file(auth: Training, tmp_path: Path) -> None:
    secret = ADMIN.password
    words = [secret.encode(), _basic(ADMIN).encode()]
    by_uri = auth.place.uri.replace("://", f"://{ADMIN.name}:{secret}@")
    script = f"""
mlflow.start_run(); mlflow.log_metric("m", 1); print("ready", flush=True)
while not os.path.exists({str(tmp_path / "end")!r}): time.sleep(0.01)
"""
    nothing = {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}
    process = auth.start(script, MLFLOW_TRACKING_URI=by_uri, **nothing)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    (folder,) = Spool(auth.spool).journals()
    wait_until(lambda: folder.delivered().n_points, "it is delivered")
    assert _files_with(auth.spool, words) == {"credentials.json": 0o600}
    status = auth.weir("status", "--json").stdout
    (pid,) = agents_of(Spool(auth.spool))
    seen = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    for text in [*seen, status.encode()]:
        assert not any(word in text for word in words)
    assert auth.place.uri in json.dumps(json.loads(status))
    (tmp_path / "end").touch()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert secret not in err
    auth.settle()
    # A journal is emptied after it has left its place.
    wait_until(lambda: not _files_with(auth.spool, words), "no file has them")


def _files_with(folder: Path, words: list[bytes]) -> dict[str, int]:
    """Return the names of files that have a word in them, and the files' permissions."""
    found = {}
    for top, _, names in os.walk(folder):  # which passes over what goes meanwhile
        for path in (Path(top) / name for name in names):
            with contextlib.suppress(OSError):  # it has gone, or is a socket
                if any(word in path.read_bytes() for word in words):
                    found[path.name] = path.stat().st_mode & 0o777
    return found


def _basic(user: User) -> str:
    return user.header()["Authorization"].removeprefix("Basic ")


def test_another_users_journal_is_not_shown(auth: Training, places: dict[str, Place]) -> None:
    process = auth.start("mlflow.start_run(); print('ready', flush=True); time.sleep(600)")
    assert process.stdout is not None
    process.stdout.readline()
    (folder,) = Spool(auth.spool).journals()
    wait_until(lambda: folder.delivered().position, "it is delivered")
    address = places["auth"].uri
    server = ServerProcess(address, auth.folder, auth.folder, 0)
    bob = User("bob", "password-of-bob")
    body = {"username": bob.name, "password": bob.password}
    assert call(server, "POST", "/api/2.0/mlflow/users/create", body, user=ADMIN).status == 200
    path = f"/ajax-api/3.0/weir/journals/{folder.path.name}"
    answers = [call(server, "GET", path, user=user).status for user in (ADMIN, bob)]
    assert answers == [200, 403]
    process.kill()
    process.communicate(timeout=300)
    auth.settle()


REWOUND = """
import mlflow_weir
client = mlflow.MlflowClient()
run_id = sys.argv[1]

def steps():
    return [point.step for point in client.get_metric_history(run_id, "loss")]

with mlflow.start_run(run_id=run_id):
    assert steps() == list(range(100))
    mlflow_weir.rewind(run_id, 49)
    assert steps() == list(range(50))
    assert client.get_run(run_id).data.metrics["loss"] == 49
    for step in range(50, 60):
        mlflow.log_metric("loss", -step, step=step)
    assert client.get_run(run_id).data.metrics["loss"] == -59
    assert steps() == list(range(60))
"""


def test_a_training_goes_on_from_its_checkpoint(training: Training) -> None:
    """Killed at step 100, begun again at 49: the points, the latest values, a model's scores."""
    code, out, _ = training.outcome("""
with mlflow.start_run() as run:
    model = mlflow.initialize_logged_model(name="net")
    print(run.info.run_id, model.model_id, flush=True)
    for step in range(100):
        mlflow.log_metrics({"loss": step, "system/gpu": step}, step=step)
        if step in (40, 80):
            mlflow.log_metric("score", step, step=step, model_id=model.model_id)
    os.kill(os.getpid(), 9)
""")
    assert code == -9
    run_id, model_id = out.split()
    training.run(REWOUND, run_id)
    run = training.run_named(run_id)
    client = training.client()
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"loss": -59, "system/gpu": 99, "score": 40}
    history = client.get_metric_history(run_id, "loss")
    assert [point.value for point in history] == [*range(50), *(-step for step in range(50, 60))]
    assert len(client.get_metric_history(run_id, "system/gpu")) == 100
    scores = client.get_logged_model(model_id).metrics or []
    assert [(score.step, score.value) for score in scores] == [(40, 40.0)]
    found = client.search_runs([run.info.experiment_id], "metrics.loss = -59")
    assert [one.info.run_id for one in found] == [run_id]


def test_a_rewind_waits_for_a_server_that_takes_its_time(plain: Training) -> None:
    """It is seen by all reads once it returns, though no answer comes within a log call's wait."""
    run_id = plain.run("""
with mlflow.start_run() as run:
    for step in range(100): mlflow.log_metric("loss", step, step=step)
print(run.info.run_id)
""").split()[-1]
    plain.settle()
    with SlowWay(plain.place.uri, delay_s=0.4) as way:
        plain.run(REWOUND, run_id, MLFLOW_TRACKING_URI=way.uri)
    assert plain.run_named(run_id).data.metrics == {"loss": -59}


# All that an agent which gets no time can leave to a reader: what is in the store, and the rest.
READ_BESIDE_A_STOPPED_AGENT = """
import mlflow_weir, signal
from pathlib import Path
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.agent.lease import holder_of
client = mlflow.MlflowClient()
experiment_id = mlflow.set_experiment(f"beside {os.getpid()}").experiment_id
with mlflow.start_run(run_name="other") as other:
    mlflow.log_metric("loss", 1)
with mlflow.start_run(run_name="closed") as closed:
    for step in range(20): mlflow.log_metric("loss", step, step=step)
with mlflow.start_run(run_name="open") as run:
    for step in range(100): mlflow.log_metric("loss", step, step=step)
    assert mlflow_weir.finish()
    agent = int(holder_of(AgentFiles(Path(os.environ["WEIR_SPOOL"])))["pid"])
    os.kill(agent, signal.SIGSTOP)
    try:
        for step in range(100, 110): mlflow.log_metric("loss", step, step=step)
        mlflow_weir.rewind(closed.info.run_id, 9)
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
        assert steps == list(range(110)), steps
        found = {one.info.run_name for one in client.search_runs([experiment_id])}
        assert found == {"other", "closed", "open"}, found
        latest = {one: client.get_run(one).data.metrics["loss"]
                  for one in (other.info.run_id, closed.info.run_id, run.info.run_id)}
        assert list(latest.values()) == [1, 9, 109], latest
        mlflow_weir.rewind(run.info.run_id, 49)
        assert client.get_run(run.info.run_id).data.metrics["loss"] == 49
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
        assert steps == list(range(50)), steps
    finally:
        os.kill(agent, signal.SIGCONT)
print(run.info.run_id)
"""


def test_reads_are_whole_while_the_agent_gets_no_time(plain: Training) -> None:
    run_id = plain.run(READ_BESIDE_A_STOPPED_AGENT).split()[-1]
    assert plain.run_named(run_id).data.metrics == {"loss": 49}


def test_who_may_not_edit_a_run_may_not_rewind_it(auth: Training) -> None:
    out = auth.run("""
with mlflow.start_run() as run:
    for step in range(100): mlflow.log_metric("loss", step, step=step)
print(run.info.run_id)
""")
    run_id = out.split()[-1]
    auth.settle()
    eve = User("eve", "password-of-eve")  # who may read it
    server = ServerProcess(auth.place.uri, auth.folder, auth.folder, 0)
    body = {"username": eve.name, "password": eve.password}
    assert call(server, "POST", "/api/2.0/mlflow/users/create", body, user=ADMIN).status == 200
    code, out, err = auth.outcome(
        """
import mlflow_weir
mlflow_weir.rewind(sys.argv[1], 9)
print(len(mlflow.MlflowClient().get_metric_history(sys.argv[1], "loss")))
""",
        run_id,
        MLFLOW_TRACKING_USERNAME=eve.name,
        MLFLOW_TRACKING_PASSWORD=eve.password,
    )
    assert (code, out) == (0, "100\n"), err
    assert "weir: the store refused 1 records" in err
    assert f"rewind of run {run_id}" in auth.weir("status").stdout
    run = auth.run_named(run_id)
    assert run.data.metrics == {"loss": 99}
    assert len(auth.client().get_metric_history(run_id, "loss")) == 100
