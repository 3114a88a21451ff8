"""Every place where MLflow looks at a tracking URI's scheme: ours answers as the stock one does.

Each test asks the same of two databases of one kind, one behind MLflow's own URI and one behind
ours, and compares. ``test_server.py`` does the same for what needs a server: GraphQL's model
versions, jobs run to their end, artifacts through the proxy and their removal by ``mlflow gc``, a
client that logs over http and the addresses it prints.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pytest
import sqlalchemy
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from mlflow.artifacts import list_artifacts
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities import Metric, gateway_endpoint
from mlflow.exceptions import MlflowException
from mlflow.genai import datasets as data_sets
from mlflow.genai.labeling import stores as labeling
from mlflow.genai.scorers import ResponseLength, get_scorer, list_scorers, scorer
from mlflow.genai.utils import gateway_utils
from mlflow.projects import databricks, docker
from mlflow.server import gateway_api, handlers
from mlflow.server.jobs import utils as job_utils
from mlflow.store.db import utils as db_utils
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.tracking.gateway import config_resolver
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.tracing.display import display_handler
from mlflow.tracking import fluent
from mlflow.tracking._tracking_service import utils as tracking_service
from mlflow.utils import server_cli_utils
from mlflow.utils.uri import extract_db_type_from_uri, get_uri_scheme, is_local_uri

from databases import DatabaseServer
from mlflow_weir.plugin import journaled_store
from mlflow_weir.plugin.journaled_store import (
    JournaledWeirStore,
    WorkspaceAwareJournaledWeirStore,
)

pytestmark = [
    pytest.mark.slow,
    # MLflow warns about itself, and where a warning is an error its tracing swallows the span.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

Probe = Callable[[str], Any]


class Uris(NamedTuple):
    """Two databases of one kind."""

    stock: str
    ours: str


def with_weir(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}+weir://{rest}"


@pytest.fixture(autouse=True)
def client_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Start and end without a tracking URI, an experiment or a run, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    # A busy machine is no store that is away, from which an experiment would get its id late.
    monkeypatch.setattr(journaled_store, "FIRST_WAIT_S", 60.0)
    engines: set[sqlalchemy.Engine] = set()

    def remember(connection: sqlalchemy.Connection) -> None:
        engines.add(connection.engine)

    sqlalchemy.event.listen(sqlalchemy.Engine, "engine_connect", remember)
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    sqlalchemy.event.remove(sqlalchemy.Engine, "engine_connect", remember)
    for engine in engines:  # MLflow caches them for as long as the process lives
        engine.dispose()


@pytest.fixture
def uris(database_server: DatabaseServer) -> Uris:
    stock, ours = (database_server.new_mlflow_database() for _ in range(2))
    return Uris(stock, with_weir(ours))


@pytest.fixture
def sqlite_uris(sqlite_folder: DatabaseServer) -> Iterator[Uris]:
    stock, ours = (sqlite_folder.new_mlflow_database() for _ in range(2))
    yield Uris(stock, with_weir(ours))
    sqlite_folder.drop_all()


def same(probe: Probe, uris: Uris) -> Any:
    """Ask both, compare, and return the answer."""
    stock, ours = probe(uris.stock), probe(uris.ours)
    assert ours == stock
    return ours


def use(uri: str) -> MlflowClient:
    """Point MLflow at the store and a new experiment in it, as a script would."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("probe")
    return MlflowClient()


def error_of(call: Callable[[], Any], uri: str) -> tuple[str, str]:
    """The kind and text of what a call raises, the URI taken out."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  any; it is compared
        call()
    return type(caught.value).__name__, str(caught.value).replace(uri, "<uri>")


def outcome(call: Callable[[], Any], uri: str) -> Any:
    """What a call returns, or the kind and text of what it raises, the URI taken out."""
    try:
        return call()
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is compared
        return type(exc).__name__, str(exc).replace(uri, "<uri>")


def command(*arguments: str, exit_code: int = 0) -> Result:
    """Run ``mlflow`` with the arguments."""
    from mlflow.cli import cli  # warns while it is imported, which pytest forgives in tests alone

    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result


def test_the_scheme_reads_as_the_databases_own(uris: Uris) -> None:
    def probe(uri: str) -> tuple[str, str, str]:
        artifact_root = server_cli_utils.resolve_default_artifact_root(True, "", uri)
        return get_uri_scheme(uri), extract_db_type_from_uri(uri), artifact_root

    same(probe, uris)


def test_the_clients_tracking_store(uris: Uris) -> None:
    def probe(uri: str) -> tuple[Any, ...]:
        store = tracking_service._get_store(uri)
        again = tracking_service._get_store(uri)
        return (
            store.db_type,
            store.artifact_root_uri,
            store.engine.url.drivername,
            again is store,
            store.supports_workspaces,
            store.supports_trace_archival,
        )

    same(probe, uris)
    assert type(tracking_service._get_store(uris.ours)) is JournaledWeirStore
    assert type(tracking_service._get_store(uris.stock)) is SqlAlchemyStore


def test_isinstance_checks_take_ours_for_an_sql_store(uris: Uris) -> None:
    for uri in uris:
        assert isinstance(tracking_service._get_store(uri), SqlAlchemyStore)


def test_the_servers_stores_and_what_its_own_client_finds(
    uris: Uris, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def probe(uri: str) -> list[Any]:
        for name in ("_tracking_store", "_model_registry_store", "_job_store"):
            monkeypatch.setattr(handlers, name, None)
        monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
        monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", f"{tmp_path}/servers")
        handlers.initialize_backend_stores(uri, uri, f"{tmp_path}/servers")
        assert mlflow.get_tracking_uri() == mlflow.get_registry_uri() == uri
        own = MlflowClient()
        own.create_registered_model("in the server")
        return [
            getattr(handlers._get_tracking_store(), "artifact_root_uri", None),
            getattr(own._tracking_client.store, "artifact_root_uri", None),
            type(handlers._get_model_registry_store()).__module__,
            type(handlers._get_job_store()),
            [m.name for m in handlers._get_model_registry_store().search_registered_models()],
            extract_db_type_from_uri(os.environ["MLFLOW_TRACKING_URI"]),
        ]

    try:
        same(probe, uris)
    finally:
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]


def test_the_model_registry_with_versions_aliases_and_loading(sqlite_uris: Uris) -> None:
    from sklearn.linear_model import LinearRegression

    quickly: dict[str, Any] = {"pip_requirements": ["scikit-learn"], "name": "m"}

    def probe(uri: str) -> list[Any]:
        client = use(uri)
        model = LinearRegression().fit(np.array([[1.0], [2.0]]), np.array([2.0, 4.0]))
        with mlflow.start_run():
            mlflow.sklearn.log_model(model, registered_model_name="line", **quickly)
        client.set_registered_model_alias("line", "best", "1")
        client.set_model_version_tag("line", "1", "checked", "yes")
        loaded = mlflow.pyfunc.load_model("models:/line@best")
        version = client.get_model_version_by_alias("line", "best")
        return [
            loaded.predict(np.array([[3.0]])).round(6).tolist(),
            version.version,
            version.tags,
            [m.name for m in client.search_registered_models("name = 'line'")],
        ]

    assert same(probe, sqlite_uris)[0] == [6.0]


def test_prompts(sqlite_uris: Uris) -> None:
    def probe(uri: str) -> list[Any]:
        use(uri)
        mlflow.genai.register_prompt("greet", "Hello {{name}}", commit_message="first")
        mlflow.genai.register_prompt("greet", "Good day {{name}}")
        mlflow.genai.set_prompt_alias("greet", "best", 2)
        return [
            mlflow.genai.load_prompt("prompts:/greet/1").template,
            mlflow.genai.load_prompt("prompts:/greet@best").format(name="you"),
            [p.name for p in mlflow.genai.search_prompts()],
        ]

    assert same(probe, sqlite_uris)[1] == "Good day you"


def test_webhooks(sqlite_uris: Uris, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    )

    def probe(uri: str) -> list[Any]:
        client = use(uri)
        made = client.create_webhook("hook", "https://1.1.1.1/h", ["registered_model.created"])
        client.update_webhook(made.webhook_id, description="changed")
        listed = [(w.name, w.url, w.description, str(w.status)) for w in client.list_webhooks()]
        client.delete_webhook(made.webhook_id)
        return [listed, list(client.list_webhooks())]

    same(probe, sqlite_uris)


def test_autologging_keeps_its_metrics_and_registers_its_model(
    sqlite_uris: Uris, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.linear_model import LogisticRegression

    # MLflow would load the model in a process of its own to see what it needs, seconds each time.
    monkeypatch.setenv("MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT", "1")

    def probe(uri: str) -> list[Any]:
        client = use(uri)
        mlflow.sklearn.autolog(registered_model_name="auto")
        try:
            with mlflow.start_run() as run:
                x = np.arange(20.0).reshape(-1, 1)
                LogisticRegression().fit(x, (x[:, 0] > 9).astype(int))
        finally:
            mlflow.sklearn.autolog(disable=True)
        found = client.get_run(run.info.run_id)
        return [
            sorted(found.data.metrics),
            sorted(found.data.params),
            [m.name for m in client.search_registered_models()],
            sorted(f.path for f in client.list_artifacts(run.info.run_id)),
        ]

    assert same(probe, sqlite_uris)[0]


def test_artifacts_beside_a_database_and_those_of_a_proxy(sqlite_uris: Uris) -> None:
    def probe(uri: str) -> list[Any]:
        client = use(uri)
        with mlflow.start_run() as run:
            mlflow.log_text("x", "a/x.txt")
            mlflow.log_image(np.zeros((2, 2, 3), dtype=np.uint8), key="picture", step=1)
        proxied = client.create_experiment("proxied", artifact_location="mlflow-artifacts:/p")

        def upload() -> None:
            with mlflow.start_run(experiment_id=proxied):
                mlflow.log_text("x", "x.txt")

        return [
            str(Path(run.info.artifact_uri).parents[2]),
            sorted(f.path for f in list_artifacts(run_id=run.info.run_id)),
            len(client.list_artifacts(run.info.run_id, "images")),
            error_of(upload, uri)[0],
        ]

    same(probe, sqlite_uris)


def test_traces_and_assessments(sqlite_uris: Uris) -> None:
    def probe(uri: str) -> list[Any]:
        client = use(uri)

        @mlflow.trace
        def answer(question: str) -> str:
            with mlflow.start_span("inner", span_type="LLM") as span:
                span.set_attribute("tokens", 7)
            return question.upper()

        answer("why?")
        mlflow.flush_trace_async_logging()
        trace_id = mlflow.get_last_active_trace_id()
        assert trace_id is not None
        mlflow.log_feedback(trace_id=trace_id, name="good", value=True)
        mlflow.set_trace_tag(trace_id, "kind", "probe")
        experiment = mlflow.get_experiment_by_name("probe")
        assert experiment is not None
        found = client.search_traces(
            locations=[experiment.experiment_id], filter_string="tags.kind = 'probe'"
        )
        return [
            [
                [(s.name, s.span_type, s.attributes.get("tokens")) for s in t.data.spans]
                for t in found
            ],
            [[(a.name, a.feedback.value) for a in t.info.assessments] for t in found],
            [(t.info.request_preview, t.info.response_preview) for t in found],
        ]

    assert len(same(probe, sqlite_uris)[0][0]) == 2


def test_scorers_built_in_and_custom(sqlite_uris: Uris) -> None:
    @scorer
    def is_short(outputs: str) -> bool:
        return len(outputs) < 5

    def probe(uri: str) -> list[Any]:
        use(uri)
        ResponseLength(max_length=5).register(name="length")
        custom = error_or_value(lambda: is_short.register(name="short").name)
        return [sorted(s.name for s in list_scorers()), get_scorer(name="length").name, custom]

    def error_or_value(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except MlflowException as exc:
            return exc.error_code

    assert "length" in same(probe, sqlite_uris)[0]


def test_scorers_on_the_embedded_store(sqlite_uris: Uris, tmp_path: Path) -> None:
    os.symlink(sqlite_uris.ours.partition(":///")[2], tmp_path / "weir.db")

    def probe(uri: str) -> list[str]:
        use(uri)
        ResponseLength(max_length=5).register(name="length")
        return [s.name for s in list_scorers()]

    assert same(probe, Uris(sqlite_uris.stock, "weir:")) == ["length"]


def test_workspaces_keep_experiments_models_and_runs_apart(
    uris: Uris, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")

    def probe(uri: str) -> list[Any]:
        mlflow.set_tracking_uri(uri)
        client = MlflowClient()
        answers: list[Any] = [tracking_service._get_store(uri).supports_workspaces]
        mlflow.create_workspace("team-a")
        for name in ("team-a", "default"):
            mlflow.set_workspace(name)
            experiment = client.create_experiment("same name")
            run = client.create_run(experiment)
            client.log_metric(run.info.run_id, "loss", 0.5)
            client.create_registered_model(f"model of {name}")
            answers += [
                sorted(e.name for e in client.search_experiments()),
                [m.name for m in client.search_registered_models()],
                [r.data.metrics for r in client.search_runs([experiment])],
            ]
        mlflow.set_workspace("team-a")
        answers.append(error_of(lambda: client.get_run(run.info.run_id), run.info.run_id))
        answers.append(sorted(w.name for w in mlflow.list_workspaces()))
        return answers

    try:
        same(probe, uris)
        assert type(tracking_service._get_store(uris.ours)) is WorkspaceAwareJournaledWeirStore
        assert type(tracking_service._get_store(uris.stock)) is WorkspaceAwareSqlAlchemyStore
    finally:
        mlflow.set_workspace(None)


def test_search_data_sets_logged_models_and_the_asynchronous_queue(sqlite_uris: Uris) -> None:
    def probe(uri: str) -> list[Any]:
        client = use(uri)
        data = from_numpy(np.arange(4.0), name="numbers")
        with mlflow.start_run(run_name="one") as run:
            mlflow.log_input(data, context="training")
            model = mlflow.initialize_logged_model(name="lm")
            mlflow.log_metric("loss", 0.25, step=4, model_id=model.model_id, dataset=data)
            mlflow.log_metric("async", 1.5, step=2, synchronous=False)
            mlflow.log_params({"a": 1}, synchronous=False)
            mlflow.flush_async_logging()
            changed = mlflow.log_params({"a": 2}, synchronous=False)
            assert changed is not None
            with pytest.raises(MlflowException, match="Changing param values"):
                changed.wait()
        mlflow.flush_async_logging()
        experiment = [run.info.experiment_id]
        models = client.search_logged_models(experiment, "metrics.loss < 1")
        inputs = client.get_run(run.info.run_id).inputs
        assert inputs is not None
        return [
            [r.info.run_name for r in client.search_runs(experiment, "datasets.name = 'numbers'")],
            [r.data.metrics for r in client.search_runs(experiment, "metrics.async > 1")],
            [r.data.params for r in client.search_runs(experiment, "params.a = '1'")],
            [[(m.key, m.value, m.step) for m in found.metrics or []] for found in models],
            [found.dataset.name for found in inputs.dataset_inputs],
            [(m.value, m.step) for m in client.get_metric_history(run.info.run_id, "loss")],
        ]

    assert same(probe, sqlite_uris)[0] == ["one"]


def test_regular_expressions_in_a_search(sqlite_uris: Uris) -> None:
    def probe(uri: str) -> list[Any]:
        client = use(uri)
        for value in ("alpha-1", "beta-2"):
            with mlflow.start_span(value) as span:
                span.set_inputs(value)
        mlflow.flush_trace_async_logging()
        experiment = mlflow.get_experiment_by_name("probe")
        assert experiment is not None
        found = client.search_traces(
            locations=[experiment.experiment_id], filter_string="trace.name RLIKE '^al.*[0-9]$'"
        )
        return [t.info.tags.get("mlflow.traceName") for t in found]

    assert same(probe, sqlite_uris) == ["alpha-1"]


def test_data_sets_to_evaluate_on(sqlite_uris: Uris) -> None:
    def probe(uri: str) -> list[Any]:
        client = use(uri)
        other = client.create_experiment("other")
        made = data_sets.create_dataset(name="questions", tags={"kind": "probe"})
        made.merge_records(
            [
                {"inputs": {"question": text}, "expectations": {"answer": text.upper()}}
                for text in ("why?", "when?", "why?")
            ]
        )
        data_sets.add_dataset_to_experiments(made.dataset_id, [other])
        (found,) = data_sets.search_datasets(
            experiment_ids=other, filter_string="name = 'questions'"
        )
        table = found.to_df()
        rows = [
            (asked["question"], (expected or {}).get("answer"))
            for asked, expected in zip(table["inputs"], table["expectations"], strict=True)
        ]
        data_sets.remove_dataset_from_experiments(made.dataset_id, [other])
        answers = [
            sorted(rows),
            found.tags,
            len(found.experiment_ids),
            data_sets.search_datasets(experiment_ids=other),
        ]
        data_sets.delete_dataset(dataset_id=made.dataset_id)
        return [*answers, error_of(lambda: client.get_dataset(made.dataset_id), made.dataset_id)]

    assert same(probe, sqlite_uris)[0] == [("when?", "WHEN?"), ("why?", "WHY?")]


def test_the_gateway_finds_its_endpoints(
    sqlite_uris: Uris, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_CRYPTO_KEK_PASSPHRASE", "a passphrase of this test's")
    one = gateway_endpoint.GatewayModelLinkageType.PRIMARY

    def probe(uri: str) -> list[Any]:
        mlflow.set_tracking_uri(uri)
        store: Any = tracking_service._get_store()
        secret = store.create_gateway_secret("key", {"api_key": "sk-1"}, provider="openai")
        model = store.create_gateway_model_definition("m", secret.secret_id, "openai", "gpt-4o")
        linked = gateway_endpoint.GatewayEndpointModelConfig(model.model_definition_id, one)
        store.create_gateway_endpoint("answers", [linked])
        gateway_api._validate_store(store)
        found = config_resolver.get_endpoint_config("answers")
        return [
            found.endpoint_name,
            [(m.provider, m.model_name, m.secret_value) for m in found.models],
            [e.name for e in store.list_gateway_endpoints()],
            error_of(lambda: config_resolver.get_endpoint_config("absent"), uri),
        ]

    assert same(probe, sqlite_uris)[1] == [("openai", "gpt-4o", {"api_key": "sk-1"})]


def test_what_runs_on_servers_alone_refuses_a_database_alike(
    sqlite_uris: Uris, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway of judges, scorers with code, labeling, notebooks, projects on Databricks."""
    monkeypatch.delenv("MLFLOW_GATEWAY_URI", raising=False)

    @scorer
    def is_short(outputs: str) -> bool:
        return len(outputs) < 5

    def probe(uri: str) -> dict[str, Any]:
        mlflow.set_tracking_uri(uri)
        return {
            "gateway": outcome(gateway_utils._resolve_gateway_uri, uri),
            "scorers": outcome(is_short._check_can_be_registered, uri),
            "labeling": outcome(lambda: labeling._get_labeling_store(uri), uri),
            "projects": outcome(lambda: databricks.before_run_validations(uri, {}), uri),
            "notebooks": display_handler.is_using_tracking_server(),
            "hint to agents": is_local_uri(uri),
        }

    on_database = same(probe, sqlite_uris)
    for name in ("gateway", "labeling", "projects"):
        assert "<uri>" in on_database[name][1], name
    assert on_database["scorers"] is not None
    assert on_database["notebooks"] is False
    address = "http://127.0.0.1:9"
    on_server = probe(address)
    assert on_server["gateway"] == address
    assert on_server["projects"] is None
    assert on_server["notebooks"] is True


def test_a_project_in_docker_is_not_given_the_file_alone(sqlite_uris: Uris) -> None:
    # docs/decisions/001-entry-points.md: a file in write-ahead mode is no whole database.
    options, variables = docker.get_docker_tracking_cmd_and_envs(sqlite_uris.stock)
    assert options[0] == "-v"
    assert variables
    for uri in (sqlite_uris.ours, "weir:"):
        assert docker.get_docker_tracking_cmd_and_envs(uri) == ([], {})


@pytest.mark.quick_on("sqlite")  # test_metric_history.py deletes runs for good on every database
def test_gc_removes_deleted_runs_with_their_artifacts_and_jobs(uris: Uris) -> None:
    def probe(uri: str) -> list[Any]:
        client = use(uri)
        with mlflow.start_run() as kept:
            mlflow.log_metric("loss", 1.0)
        with mlflow.start_run() as run:
            client.log_batch(run.info.run_id, [Metric("loss", i, i, i) for i in range(10)])
            mlflow.log_text("x", "x.txt")
        files = Path(run.info.artifact_uri)
        assert (files / "x.txt").is_file()
        client.delete_run(run.info.run_id)
        gone = client.create_experiment("gone")
        client.delete_experiment(gone)
        job = SqlAlchemyJobStore(uri).create_job("probe", json.dumps({}))
        SqlAlchemyJobStore(uri).start_job(job.job_id)
        SqlAlchemyJobStore(uri).finish_job(job.job_id, "1")
        output = command(
            "gc", "--backend-store-uri", uri, "--tracking-uri", uri, "--jobs"
        ).output.splitlines()
        names = {run.info.run_id: "<run>", gone: "<experiment>", job.job_id: "<job>"}
        lines = [next((n for i, n in names.items() if f" {i} " in line), "") for line in output]
        return [
            sorted(line for line in lines if line),
            files.exists(),
            error_of(lambda: client.get_run(run.info.run_id), run.info.run_id),
            client.get_run(kept.info.run_id).data.metrics,
            list(SqlAlchemyJobStore(uri).list_jobs()),
        ]

    answer = same(probe, uris)
    assert "<job>" in answer[0]
    assert answer[1] is False


def test_db_upgrade_makes_the_schema_and_can_be_repeated(database_server: DatabaseServer) -> None:
    stock = database_server.new_database()
    uris = Uris(stock, with_weir(database_server.new_database()))

    def probe(uri: str) -> list[Any]:
        command("db", "upgrade", uri)
        command("db", "upgrade", uri)
        engine = db_utils.create_sqlalchemy_engine(uri)
        with engine.connect() as connection:
            version = connection.execute(sqlalchemy.text("SELECT * FROM alembic_version")).all()
        tables = set(sqlalchemy.inspect(engine).get_table_names())
        engine.dispose()
        return [version, sorted(t for t in tables if "weir" not in t)]

    assert len(same(probe, uris)[1]) > 20


def test_an_sqlite_file_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    def probe(uri: str) -> list[Any]:
        engine = db_utils.create_sqlalchemy_engine_with_retry(uri)
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text("SELECT 'a1' REGEXP '^a[0-9]$'")).scalar()
        engine.dispose()
        return [found, Path(engine.url.database or "").parent.is_dir()]

    uris = Uris(f"sqlite:///{tmp_path}/s/t/x.db", f"sqlite+weir:///{tmp_path}/w/e/x.db")
    assert same(probe, uris) == [1, True]


def test_the_registry_opened_before_the_tracking_store_makes_the_folder_too(
    tmp_path: Path,
) -> None:
    store = handlers._model_registry_store_registry.get_store(f"sqlite+weir:///{tmp_path}/w/x.db")
    assert store.search_registered_models() == []
    assert (tmp_path / "w" / "x.db").is_file()


def test_jobs_count_the_uri_as_a_database(uris: Uris) -> None:
    for uri in uris:
        job_utils._check_requirements(uri)
    with pytest.raises(MlflowException, match="database backend store URI but got weir:"):
        job_utils._check_requirements("weir:")


def test_periodic_server_tasks_find_the_store(
    uris: Uris, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def probe(uri: str) -> tuple[str, bool]:
        monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
        monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", str(tmp_path))
        store = job_utils.initialize_periodic_tasks_tracking_store()
        return store.artifact_root_uri, hasattr(store, "engine")

    if not hasattr(job_utils, "initialize_periodic_tasks_tracking_store"):
        pytest.skip("this MLflow has no periodic tasks on the tracking store")
    assert same(probe, uris) == (str(tmp_path), True)


def test_a_server_start_is_refused_over_trace_rollups_left_behind(uris: Uris) -> None:
    rollups = pytest.importorskip("mlflow.tracing.trace_rollup_service")

    def probe(uri: str) -> tuple[str, str]:
        rollups.validate_sql_trace_rollup_startup(uri)
        engine = db_utils.create_sqlalchemy_engine(uri)
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO sql_trace_metric_daily_rollups (experiment_id, rollup_day,"
                    " metric_name, grouping_set, sample_count)"
                    " VALUES (0, '2026-01-01', 'm', 'g', 1)"
                )
            )
        engine.dispose()
        return error_of(lambda: rollups.validate_sql_trace_rollup_startup(uri), uri)

    assert "cannot be disabled" in same(probe, uris)[1]


def test_migrating_a_file_store_takes_the_plain_uri_alone(tmp_path: Path) -> None:
    source = tmp_path / "files"
    (source / "mlruns").mkdir(parents=True)
    target = "sqlite+weir:///new.db"
    command("migrate-filestore", "--source", str(source), "--target", target, exit_code=2)
    assert not list(tmp_path.rglob("*.db"))


def test_telemetry_calls_every_database_a_custom_scheme(uris: Uris) -> None:
    # The price of entry points named after MLflow's schemes: docs/decisions/001-entry-points.md.
    assert same(tracking_service._get_tracking_scheme, uris) == "custom_scheme"
