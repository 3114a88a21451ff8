"""``search_runs`` on one database, asked through MLflow's own store and through Weir's.

Both stores read the same rows, so that any difference is the search's. What SQL leaves open is
left open: items inside a run are compared as sets of a run, all else exactly.
"""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.search_utils import SearchUtils
from mlflow.utils.workspace_context import WorkspaceContext

from databases import DatabaseServer
from mlflow_weir.store.runs import searching
from mlflow_weir.store.tracking_store import WeirStore, WorkspaceAwareWeirStore

EVERY_STAGE = (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL)
FIRST_START_MS = 1_700_000_000_000
KEYS = (
    "loss",
    "a.b/c d",
    "Größe-µ-損失",
    "a:b-c_d",
    "Loss",
    "tags.nested",
    "k" * 200,
)
VALUES = (0.0, -0.0, 1.0, -1.5, 1e-9, math.nan, math.inf, -math.inf, 1e300, 5.0)
WORDS = ("adam", "Adam", "ADAM", "a%b", "a_b", "", "0.1", "ünïcode", "it's", '"q"', "x" * 300)


class Searched:
    """Both stores on one database, and what it holds.

    Attributes:
        stock: MLflow's store.
        weir: Weir's.
        experiments: Ids of all experiments; the last one has no runs.
        run_ids: Every run's id.
    """

    def __init__(self, url: str, artifacts: str) -> None:
        self.stock = SqlAlchemyStore(url, artifacts)
        self.weir = WeirStore(url, artifacts)
        self.experiments: list[str] = []
        self.run_ids: list[str] = []

    def check(
        self,
        filter_string: str | None = None,
        order_by: list[str] | None = None,
        *,
        experiments: list[Any] | None = None,
        view: int = ViewType.ACTIVE_ONLY,
        max_results: int | None = 1000,
        token: Any = None,
    ) -> Any:
        """Ask both, fail where they differ, and return what they agree on, with Weir's token."""
        ids = self.experiments if experiments is None else experiments
        arguments = (ids, filter_string, view, max_results, order_by, token)
        expected, _ = _outcome(self.stock, arguments)
        found, next_token = _outcome(self.weir, arguments)
        assert found == expected, arguments
        return found[0], next_token

    def check_pages(self, page_size: int, *arguments: Any, **options: Any) -> int:
        """Follow Weir's tokens to the end on both; return how many runs there were."""
        token, n_runs = None, 0
        while True:
            runs, token = self.check(*arguments, max_results=page_size, token=token, **options)
            n_runs += len(runs)
            if token is None:
                return n_runs


def _outcome(store: Any, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return what two stores must agree on, and the token itself."""
    try:
        runs, token = store._search_runs(*arguments)
    except MlflowException as exc:
        if getattr(exc.__cause__, "connection_invalidated", False):
            raise  # the connection is lost, which is no answer of a store
        # A driver may quote the statement, in which names and numbers of parameters differ.
        words = exc.message.partition("[SQL:")[0].partition("\nLINE ")[0]
        return (exc.error_code, words), None
    except Exception as exc:  # noqa: BLE001 - both must raise the same, whatever it is
        return (type(exc), str(exc)), None
    offset = SearchUtils.parse_start_offset_from_page_token(token)
    return ([_contents(run) for run in runs], offset), token


def _contents(run: Run) -> dict[str, Any]:
    """Lay a run open, so that == compares all of it and NaN equals NaN."""
    assert run.inputs is not None
    assert run.outputs is not None
    return {
        "info": dict(run.info),
        "metrics": {key: repr(value) for key, value in run.data.metrics.items()},
        "metric_objects": sorted(repr(metric) for metric in run.data._metric_objs),
        "params": run.data.params,
        "tags": run.data.tags,
        "inputs": sorted(
            (repr(taken.dataset), sorted(map(repr, taken.tags)))
            for taken in run.inputs.dataset_inputs
        ),
        "model_inputs": run.inputs.model_inputs,
        "outputs": sorted(map(repr, run.outputs.model_outputs)),
        "types": [type(value) for _, value in run.info],
    }


def _fill(searched: Searched) -> None:
    """Write three experiments' runs through stock, with every oddity a search can meet."""
    store, rng = searched.stock, random.Random(7)
    searched.experiments = [
        store.create_experiment(name) for name in ("one", "two", "three", "none")
    ]
    for number in range(60):
        run = store.create_run(
            searched.experiments[number % 3],
            user_id="someone",
            # Many equal start times: the id breaks the tie.
            start_time=FIRST_START_MS + (number % 5) * 1_000,
            tags=[RunTag("mlflow.user", "someone")],
            run_name=rng.choice([f"run {number}", "same", "Same", "ünï"]),
        )
        run_id = run.info.run_id
        searched.run_ids.append(run_id)
        keys = _sample_keys(store, rng, rng.randrange(len(KEYS)))
        store.log_batch(
            run_id,
            metrics=[
                Metric(key, rng.choice(VALUES), FIRST_START_MS + step, step)
                for key in keys
                for step in range(rng.randrange(1, 3))
            ],
            params=[Param(key, rng.choice(WORDS)) for key in _sample_keys(store, rng, 3)],
            tags=[RunTag(key, rng.choice(WORDS)) for key in _sample_keys(store, rng, 3)],
        )
        if number % 4 == 0:
            store.log_inputs(run_id, [_dataset(rng.randrange(3), rng) for _ in range(2)])
        if number % 5 == 0:
            model = store.create_logged_model(searched.experiments[number % 3])
            store.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=number)])
            store.log_inputs(run_id, models=[LoggedModelInput(model.model_id)])
        if number % 3 == 0:
            store.update_run_info(
                run_id, rng.choice([RunStatus.FINISHED, RunStatus.FAILED]), FIRST_START_MS, None
            )
        if number % 7 == 0:
            store.delete_run(run_id)


def _sample_keys(store: SqlAlchemyStore, rng: random.Random, n_keys: int) -> list[str]:
    """Draw keys for one run; MySQL's primary keys know no case, so there ``Loss`` is ``loss``."""
    keys = rng.sample(KEYS, n_keys)
    if store.engine.dialect.name == "mysql" and "loss" in keys:
        keys = [key for key in keys if key != "Loss"]
    return keys


def _dataset(number: int, rng: random.Random) -> DatasetInput:
    dataset = Dataset(
        name=f"data {number}",
        digest=f"digest{number}",
        source_type="local",
        source="here",
        schema="{}" if number else None,
        profile=None,
    )
    context = InputTag("mlflow.data.context", rng.choice(["train", "eval"]))
    return DatasetInput(dataset, [context, InputTag("other", rng.choice(WORDS))])


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def searched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Searched]:
    fixture = {"sqlite": "sqlite_folder", "postgresql": "postgres_server"}
    server: DatabaseServer = request.getfixturevalue(fixture.get(request.param, "mariadb_server"))
    both = Searched(server.new_mlflow_database(), str(tmp_path_factory.mktemp("artifacts")))
    _fill(both)
    yield both
    server.drop_all()


@pytest.fixture(
    params=[
        "as planned",
        # No other database has these ways: there it is the same once more.
        pytest.param("few rows are many", marks=pytest.mark.quick_on("sqlite")),
    ]
)
def planner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also take the ways that SQLite goes on large experiments only."""
    if request.param != "as planned":
        monkeypatch.setattr(searching, "_FEW_ROWS", 5)


FIXED_FILTERS = (
    "",
    "metrics.loss > 0",
    "metrics.loss <= 1",
    "metrics.loss = 0",
    "metrics.loss != 0",
    "metrics.loss != 1 and metrics.loss < 100",
    "metrics.loss > 0 and metrics.Loss > 0",
    "metrics.`a.b/c d` >= 0",
    'metrics."a.b/c d" >= 0',
    "metrics.`it's` > -2",
    "metrics.`Größe-µ-損失` < 10",
    "metrics.never = 1",
    "params.loss = 'adam'",
    "params.loss != 'adam'",
    "params.loss LIKE 'a%'",
    "params.loss ILIKE 'A%'",
    "params.loss ILIKE 'a_b'",
    "params.Loss IS NULL",
    "params.Loss IS NOT NULL and tags.loss IS NULL",
    'params.`a.b/c d` = "it\'s"',
    "tags.loss = 'ADAM'",
    "tags.`tags.nested` LIKE '%'",
    "tags.tags.nested != 'x'",
    "tags.loss = 'adam' and params.loss = 'adam' and metrics.loss > -100",
    "attributes.status = 'FINISHED'",
    "attributes.status != 'FINISHED'",
    "attributes.run_name = 'same'",
    "run_name ILIKE 'SAME'",
    "attributes.`Run name` = 'ünï'",
    "attributes.run_id IN ('x', 'y')",
    "attributes.artifact_uri LIKE '%artifacts'",
    "attributes.user_id = 'someone'",
    f"attributes.start_time >= {FIRST_START_MS + 2_000}",
    "attributes.end_time > 0",
    "attributes.Created > 1",
    "dataset.name = 'data 1'",
    "dataset.name != 'data 1'",
    "datasets.digest IN ('digest0', 'digest2')",
    "dataset.context = 'train'",
    "dataset.context LIKE 't%' and dataset.name = 'data 0'",
    "dataset.name = 'data 1' and metrics.loss > -100",
)

FIXED_ORDERS: tuple[list[str] | None, ...] = (
    None,
    [],
    ["attributes.start_time DESC"],
    ["attributes.start_time ASC"],
    ["start_time ASC", "metrics.loss DESC"],
    ["Created"],
    ["metrics.loss"],
    ["metrics.loss DESC"],
    ["metrics.loss DESC", "metrics.Loss ASC", "params.loss"],
    ["metrics.`a.b/c d`", "attributes.start_time ASC"],
    ["metrics.`it's` DESC", "tags.loss DESC"],
    ["metrics.never"],
    ["metrics.`Größe-µ-損失`", "attributes.status"],
    ["params.loss DESC"],
    ["tags.`tags.nested`", "metrics.loss"],
    ["attributes.status", "attributes.end_time DESC"],
    ["attributes.run_id"],
    ["attributes.artifact_uri DESC"],
)


@pytest.mark.usefixtures("planner")
def test_answers_as_stock(searched: Searched) -> None:
    for filter_string in FIXED_FILTERS:
        searched.check(filter_string)
        searched.check(filter_string, ["metrics.loss DESC"])
    for order_by in FIXED_ORDERS:
        for view in EVERY_STAGE:
            searched.check(None, order_by, view=view)
        searched.check("metrics.loss > -100", order_by)
        searched.check("tags.loss != 'no'", order_by, experiments=searched.experiments[:1])


# A page of one asks hundreds of times, for what a page of seven shows of a database as well.
@pytest.mark.parametrize(
    "page_sizes",
    [
        pytest.param((7, 52), id="a-few-pages"),
        pytest.param((1, 51), id="many-pages", marks=pytest.mark.quick_on("sqlite")),
    ],
)
@pytest.mark.usefixtures("planner")
def test_pages_and_tokens_are_stocks(searched: Searched, page_sizes: tuple[int, ...]) -> None:
    for order_by in FIXED_ORDERS:
        for page_size in page_sizes:
            if page_size == 1 and order_by and len(order_by) > 1:
                continue
            n_runs = searched.check_pages(page_size, None, order_by)
            assert n_runs == 51
    searched.check_pages(4, "metrics.loss != 1", ["metrics.loss"], view=ViewType.ALL)
    searched.check(None, ["metrics.loss"], max_results=None)
    searched.check(
        None, ["metrics.loss"], token=SearchUtils.create_page_token(20), max_results=None
    )
    searched.check(None, ["metrics.loss"], token=SearchUtils.create_page_token(10_000))
    # Fewer than none: SQLite takes it for none, the servers refuse it.
    for n_before in (-1, -100_000, 2**62):
        token = SearchUtils.create_page_token(n_before)
        searched.check("metrics.loss > -100", ["metrics.loss"], token=token)


@pytest.mark.parametrize("order_by", [None, ["start_time ASC"], ["metrics.loss DESC"]], ids=str)
@pytest.mark.usefixtures("planner")
def test_runs_that_come_and_go_move_no_page(
    searched: Searched, order_by: list[str] | None
) -> None:
    def page(token: Any) -> tuple[list[str], Any]:
        found, following = _outcome(
            searched.weir, (searched.experiments, None, ViewType.ACTIVE_ONLY, 10, order_by, token)
        )
        return [run["info"]["run_id"] for run in found[0]], following

    wanted = [run["info"]["run_id"] for run in searched.check(None, order_by)[0]]
    ids, token = page(None)
    at_the_start = wanted[3]
    searched.stock.delete_run(at_the_start)
    try:
        while token is not None:
            more, token = page(token)
            ids += more
    finally:
        searched.stock.restore_run(at_the_start)
    assert ids == wanted


def test_a_token_that_does_not_fit_is_an_offset(searched: Searched) -> None:
    by_loss, by_param = ["metrics.loss"], ["params.loss DESC"]
    _, token = searched.check(None, by_loss, max_results=10)
    content = json.loads(base64.b64decode(token))
    assert len(content["after"]) == 4
    changes: list[dict[str, Any]] = [
        {},
        {"of": "another search"},
        {"after": None},
        {"after": []},
        {"after": content["after"][1:]},
    ]
    for changed in changes:
        altered = base64.b64encode(json.dumps(content | changed).encode())
        searched.check(None, by_loss, max_results=10, token=altered)
    searched.check(None, by_param, max_results=10, token=token)
    searched.check("metrics.loss > 0", by_loss, max_results=10, token=token)
    searched.check(None, by_loss, experiments=searched.experiments[:1], token=token)


def test_a_value_too_long_for_a_token_is_left_out_of_it(
    sqlite_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    both = Searched(sqlite_url, str(tmp_path_factory.mktemp("artifacts")))
    both.experiments = [both.stock.create_experiment("long")]
    for number in range(3):
        run = both.stock.create_run(both.experiments[0], "me", FIRST_START_MS, [], "run")
        both.stock.log_param(run.info.run_id, Param("text", "x" * 5_000 + str(number)))
    assert both.check_pages(1, None, ["params.text"]) == 3
    _, token = both.check(None, ["params.text"], max_results=1)
    assert token == SearchUtils.create_page_token(1)


def test_scopes_are_stocks(searched: Searched) -> None:
    one, two, _, none = searched.experiments
    for experiments in ([], [none], [one], [one, one], [two, one], [none, two], ["12345"], [1]):
        for view in EVERY_STAGE:
            searched.check(None, None, experiments=experiments, view=view)
            searched.check(
                "metrics.loss > 0", ["metrics.loss"], experiments=experiments, view=view
            )


BAD_ARGUMENTS: tuple[dict[str, Any], ...] = (
    {"filter_string": "metrics.loss"},
    {"filter_string": "metrics.loss > 'x'"},
    {"filter_string": "metrics.loss LIKE 'x'"},
    {"filter_string": "metrics.loss IS NULL"},
    {"filter_string": "params.loss > '1'"},
    {"filter_string": "params.loss = 1"},
    {"filter_string": "params.loss RLIKE 'a.*'"},
    {"filter_string": "attributes.nothing = '1'"},
    {"filter_string": "dataset.nothing = '1'"},
    {"filter_string": "what.is = '1'"},
    {"filter_string": "metrics.loss > 0 or metrics.loss < 0"},
    {"filter_string": "metrics.loss > 0; drop table runs"},
    {"filter_string": "attributes.status IN ('FINISHED')"},
    {"filter_string": "attributes.start_time = 'soon'"},
    {"order_by": ["metrics.loss", "metrics.loss DESC"]},
    {"order_by": ["metrics.loss UPWARDS"]},
    {"order_by": ["nonsense"]},
    {"order_by": ["dataset.name"]},
    {"order_by": [""]},
    {"order_by": ["attributes.nothing"]},
    {"max_results": 0},
    {"max_results": -1},
    {"max_results": 50_001},
    {"token": "not base64!"},
    {"token": "e30="},
    {"token": "bnVsbA=="},
    {"token": "eyJvZmZzZXQiOiAieCJ9"},
    {"experiments": ["abc"]},
    {"experiments": [None]},
    {"filter_string": "metrics.loss", "order_by": ["nonsense"], "token": "x", "max_results": 0},
    {"filter_string": "metrics.loss", "order_by": ["nonsense"], "token": "x"},
    {"order_by": ["nonsense"], "token": "x", "experiments": ["abc"]},
    {"filter_string": "metrics.loss LIKE 'x'", "token": "x", "experiments": ["abc"]},
    {"token": "x", "experiments": ["abc"]},
)


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS, ids=str)
def test_errors_are_stocks(searched: Searched, arguments: dict[str, Any]) -> None:
    searched.check(**arguments)


def test_largest_page_is_allowed(searched: Searched) -> None:
    searched.check(max_results=50_000)


def test_rows_that_no_api_call_writes(searched: Searched) -> None:
    """A run without a name, a start time or a stage as stock would meet it in an old database."""
    with searched.stock.engine.begin() as connection:
        victim = searched.run_ids[1]
        connection.execute(
            sa.text("UPDATE runs SET name = '' WHERE run_uuid = :id"), {"id": victim}
        )
    searched.check()
    with searched.stock.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE runs SET name = 'same', start_time = NULL WHERE run_uuid = :id"),
            {"id": victim},
        )
    try:
        for order_by in FIXED_ORDERS:
            for page_size in (5, 1000):
                searched.check(None, order_by, max_results=page_size)
    finally:
        with searched.stock.engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE runs SET start_time = :ms WHERE run_uuid = :id"),
                {"id": victim, "ms": FIRST_START_MS},
            )


@pytest.mark.parametrize("searched", ["postgresql"], indirect=True)
def test_no_statement_of_a_search_is_compiled(searched: Searched) -> None:
    """PostgreSQL compiles what it reckons dear, which takes longer than a page of runs."""
    compiled = {}

    def ask(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            other = connection.connection.cursor()
            compiled[statement] = other.execute("SHOW jit").fetchone()[0]

    with searched.weir.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW jit").scalar_one() == "on"
    sa.event.listen(searched.weir.engine, "after_cursor_execute", ask)
    try:
        searched.weir.search_runs(searched.experiments, "", ViewType.ACTIVE_ONLY)
    finally:
        sa.event.remove(searched.weir.engine, "after_cursor_execute", ask)
    of_rows = {text: jit for text, jit in compiled.items() if "latest_metrics" in text}
    assert set(of_rows.values()) == {"off"}


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


_keys = st.sampled_from([*KEYS, "absent"]).map(lambda key: f"`{key}`")
_words = st.sampled_from([word for word in WORDS if '"' not in word]).map(_quoted)
_comparisons = st.one_of(
    st.builds(
        "metrics.{} {} {}".format,
        _keys,
        st.sampled_from(["<", "<=", "=", "!=", ">=", ">"]),
        st.sampled_from(["0", "1", "-1.5", "1e-9", "5", "100000"]),
    ),
    st.builds(
        "{}.{} {} {}".format,
        st.sampled_from(["params", "tags"]),
        _keys,
        st.sampled_from(["=", "!=", "LIKE", "ILIKE"]),
        _words,
    ),
    st.builds(
        "{}.{} {}".format,
        st.sampled_from(["params", "tags"]),
        _keys,
        st.sampled_from(["IS NULL", "IS NOT NULL"]),
    ),
    st.builds(
        "attributes.{} {} {}".format,
        st.sampled_from(["run_name", "status", "user_id"]),
        st.sampled_from(["=", "!=", "LIKE", "ILIKE"]),
        st.sampled_from(["'same'", "'FINISHED'", "'%a%'"]),
    ),
    st.builds(
        "dataset.{} {} {}".format,
        st.sampled_from(["name", "digest", "context"]),
        st.sampled_from(["=", "!=", "LIKE"]),
        st.sampled_from(["'data 1'", "'digest2'", "'train'", "'%a%'"]),
    ),
)
_filters = st.lists(_comparisons, max_size=4).map(" and ".join)
_orders = st.lists(
    st.builds(
        "{} {}".format,
        st.one_of(
            st.builds("{}.{}".format, st.sampled_from(["metrics", "params", "tags"]), _keys),
            st.sampled_from(["attributes.start_time", "attributes.status", "attributes.end_time"]),
        ),
        st.sampled_from(["ASC", "DESC"]),
    ),
    max_size=3,
)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    filter_string=_filters,
    order_by=_orders,
    view=st.sampled_from(EVERY_STAGE),
    n_experiments=st.integers(1, 4),
    max_results=st.integers(1, 60),
    offset=st.integers(0, 60),
    few_rows=st.sampled_from([1, 5, 20_000]),
)
def test_generated_searches_are_answered_as_stock(
    searched: Searched,
    filter_string: str,
    order_by: list[str],
    view: int,
    n_experiments: int,
    max_results: int,
    offset: int,
    few_rows: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_FEW_ROWS", few_rows)
        searched.check(
            filter_string,
            order_by,
            experiments=searched.experiments[:n_experiments],
            view=view,
            max_results=max_results,
            token=SearchUtils.create_page_token(offset) if offset else None,
        )


def test_pages_larger_than_a_statement_and_the_paused_block(
    tmp_path_factory: pytest.TempPathFactory, sqlite_url: str
) -> None:
    """Over 2,000 runs that started in the same millisecond."""
    both = Searched(sqlite_url, str(tmp_path_factory.mktemp("artifacts")))
    both.experiments = [both.stock.create_experiment("many")]
    rng = random.Random(3)
    runs = [
        {
            "id": f"{rng.getrandbits(128):032x}",
            "name": f"run {n}",
            "experiment": both.experiments[0],
        }
        for n in range(2_100)
    ]
    with both.stock.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time,"
                " lifecycle_stage, artifact_uri, experiment_id) VALUES (:id, :name, 'LOCAL', 'me',"
                f" 'RUNNING', {FIRST_START_MS}, 'active', 'a', :experiment)"
            ),
            runs,
        )
        connection.execute(
            sa.text(
                'INSERT INTO latest_metrics ("key", value, timestamp, step, is_nan, run_uuid)'
                " VALUES ('m', :value, 1, 1, :is_nan, :id)"
            ),
            [
                {"id": run["id"], "value": n % 7, "is_nan": n % 7 == 0}
                for n, run in enumerate(runs[:1_500])
            ],
        )
    for order_by in (None, ["metrics.m"], ["metrics.m DESC"]):
        assert both.check_pages(600, None, order_by) == 2_100
        both.check(None, order_by, max_results=2_100)


def test_workspaces_stay_apart(
    sqlite_url: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    artifacts = str(tmp_path_factory.mktemp("artifacts"))
    stock = WorkspaceAwareSqlAlchemyStore(sqlite_url, artifacts)
    weir = WorkspaceAwareWeirStore(sqlite_url, artifacts)
    experiments = []
    for workspace in ("left", "right"):
        with WorkspaceContext(workspace):
            experiments.append(stock.create_experiment("same name"))
            stock.create_run(experiments[-1], "me", FIRST_START_MS, [], workspace)
    for workspace in ("left", "right"):
        with WorkspaceContext(workspace):
            arguments = (experiments, None, ViewType.ALL, 10, ["metrics.m"], None)
            found, _ = _outcome(weir, arguments)
            assert found == _outcome(stock, arguments)[0]
            assert [run["info"]["run_name"] for run in found[0]] == [workspace]
