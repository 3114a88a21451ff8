"""What a journal's records become is, row for row, what stock MLflow writes for the same calls."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
from mlflow.entities import Dataset, LoggedModelStatus, Metric
from mlflow.utils.uri import append_to_uri_path

from databases import DatabaseServer
from deliveries import Both
from mlflow_weir.store.delivery.experiments import append_path
from mlflow_weir.store.delivery.logged_models import STATUSES

pytestmark = pytest.mark.slow

VALUES = (0.0, -0.0, math.nan, math.inf, -math.inf, 1 / 3, 1e-300, -5.0)
LONG = "ä" * 6000
TRICKY = ("a", "a b/c.d-e", "größe", "損失", "x" * 250, "colon:p")
QUOTES = 'quote\'s "%s" \\ :p {} \U0001f600'


@pytest.fixture
def both(database_server: DatabaseServer) -> Iterator[Both]:
    opened = Both(database_server)
    yield opened
    opened.close()


def dataset(name: str, digest: str, profile: str | None = None) -> Dataset:
    return Dataset(name, digest, "local", f"/data/{name} ünï", None if profile else "{}", profile)


def test_every_call_writes_the_rows_of_stock_mlflow(both: Both) -> None:
    first = both.create_experiment("an experiment ü", None, [("k", "v"), ("w", LONG)])
    other = both.create_experiment("another", "s3://bucket/path?a=b", [])
    for experiment, alias in ((first, f"alias-{first}"), (other, f"alias-{other}"), ("0", "0")):
        both.set_experiment_tag(experiment, alias, "k", "changed")
        both.set_experiment_tag(experiment, alias, "new", "")
        run = both.create_run(experiment, alias, 1_700_000_000_000, [("t", "1")], None)
        named = both.create_run(experiment, alias, 0, [("mlflow.runName", "by tag")], None)
        both.create_run(experiment, alias, 0, [("mlflow.runName", "both")], "both")
        nested = both.create_run(
            experiment, alias, 5, [("mlflow.parentRunId", run)], "by argument"
        )
        both.log_params(run, [(key, f"value of {key}") for key in TRICKY])
        both.log_params(run, [("quotes", QUOTES)])
        both.set_tags(nested, [("quotes", QUOTES)])
        both.log_params(run, [("a", "value of a"), ("long", LONG), ("empty", "")])
        both.set_tags(run, [(key, LONG[:5000]) for key in TRICKY])
        both.set_tags(run, [("a", "again"), ("mlflow.note.content", "line\nline"), ("a", "last")])
        both.set_tags(run, [("mlflow.runName", "renamed by a tag")])
        both.delete_tag(run, "a")
        both.update_run(named, None, None, "renamed")
        both.update_run(nested, "FAILED", 1_700_000_000_999, None)
        both.update_run(nested, "RUNNING", None, None)  # resumed: MLflow keeps the end time
        both.update_run(run, "FINISHED", 1_700_000_000_500, "a last name")
        both.log_inputs(
            run,
            [
                (dataset("train", "d1"), [("mlflow.data.context", "training")]),
                (dataset("train", "d2", "{}"), []),
                (dataset("train", "d1", "other"), [("mlflow.data.context", "again")]),
            ],
            [],
        )
        both.log_inputs(run, [(dataset("train", "d1"), [("more", "x")])], [])
        both.log_inputs(nested, [(dataset("train", "d1"), [("mlflow.data.context", "eval")])], [])
        model = both.create_logged_model(
            experiment, alias, "model", run, [("k", "v"), ("l", LONG)]
        )
        unnamed = both.create_logged_model(experiment, alias, None, None, [])
        both.set_logged_model_tags(model, [("k", "changed"), ("n", "new"), ("n", "newer")])
        both.delete_logged_model_tag(model, "l")
        both.log_logged_model_params(model, [("x", LONG), ("y", "")])
        both.finalize_logged_model(model, "READY")
        both.finalize_logged_model(unnamed, "FAILED")
        both.log_inputs(run, [], [model, unnamed, model])
        both.log_inputs(run, [], [model])
        both.log_outputs(run, [(model, 3), (unnamed, 0)])
        both.log_metrics(run, [Metric(key, 0.5, 1, 1) for key in TRICKY])
        both.log_metrics(run, [Metric("v", value, 7, step) for step, value in enumerate(VALUES)])
        both.log_metrics(run, [Metric("same", value, 7, 7) for value in VALUES])
        both.log_metrics(
            run,
            [
                Metric(f"of a model {i}", value, 7, i, model, "train", "d1")
                for i, value in enumerate(VALUES)
            ],
        )
        both.log_metrics(run, [Metric("of a model 5", VALUES[5], 7, 5, model, "train", "d1")])
        both.log_metrics(nested, [Metric("x", 1.0, 2**62, -(2**62)), Metric("x", 2.0, 0, 0)])
    assert both.refusals == []
    both.compare()


def test_what_stock_mlflow_refuses_is_refused(both: Both) -> None:
    run = both.create_run("0", "0", 0, [], "a run")
    gone = both.create_run("0", "0", 0, [], "deleted")
    model = both.create_logged_model("0", "0", "model", run, [("k", "v")])
    both.log_params(run, [("lr", "1"), ("b", "2")])
    both.log_outputs(run, [(model, 0)])
    both.log_metrics(run, [Metric("of", 1.0, 1, 1, model)])
    both.log_metrics(gone, [Metric("a", 1.0, 1, 1)])
    both.delete_run(gone)
    assert both.refusals == []
    both.log_params(run, [("new", "not written"), ("lr", "changed")])
    both.delete_tag(run, "never set")
    both.log_outputs(run, [("m-other", 0), (model, 1)])
    both.log_metrics(run, [Metric("of", 2.0, 1, 1, model)])  # a point, but no second row
    both.log_metrics(run, [Metric("of nobody", 1.0, 1, 1, "m-unknown")])
    both.set_logged_model_tags("m-unknown", [("k", "v")])
    both.delete_logged_model_tag(model, "never set")
    both.log_logged_model_params(model, [("p k", "again")])
    both.finalize_logged_model("m-unknown", "READY")
    for run_id in (gone, "f" * 32):
        both.log_metrics(run_id, [Metric("a", 2.0, 2, 2)])
        both.log_params(run_id, [("p", "1")])
        both.set_tags(run_id, [("t", "1")])
        both.delete_tag(run_id, "mlflow.runName")
        both.update_run(run_id, "FINISHED", 1, None)
        both.log_inputs(run_id, [(dataset("d", "1"), [])], [])
        both.log_outputs(run_id, [(model, 0)])
    both.set_experiment_tag("77", "77", "k", "v")
    assert len(both.refusals) == 24
    both.keys.discard(("f" * 32, "a"))
    both.compare()
    for rejected in both.rejected:
        assert rejected.what
        assert len(rejected.reason) > 15
        assert "Traceback" not in rejected.reason


@pytest.mark.a_seed_a_database
@pytest.mark.parametrize("seed", range(4))
def test_any_calls_write_the_rows_of_stock_mlflow(
    database_server: DatabaseServer, seed: int
) -> None:
    both = Both(database_server, seed)
    rng = random.Random(seed)
    runs = [both.create_run("0", "0", seed, [], f"run {i}") for i in range(2)]
    models = [both.create_logged_model("0", "0", f"model {i}", runs[0], []) for i in range(2)]
    words = ["a", "b", "c", "mlflow.runName"]

    def some(words: list[str]) -> list[tuple[str, str]]:
        keys = rng.sample(words, rng.randint(1, len(words)))
        return [(key, str(rng.randint(0, 2))) for key in keys]

    def metric() -> Metric:
        model = rng.choice([None, None, None, *models])
        named = ("d", "1") if model and rng.random() < 0.5 else (None, None)
        # Stock refuses a NaN and a 0 of a model in one call; here that is one row.
        number = rng.choice([value for value in VALUES if not (model and math.isnan(value))])
        return Metric(
            rng.choice("xyz"), number, rng.randint(0, 2), rng.randint(0, 2), model, *named
        )

    for _ in range(120):
        run, model = rng.choice(runs), rng.choice(models)
        call = rng.randrange(11)
        if call < 4:
            both.log_metrics(run, [metric() for _ in range(rng.randint(1, 6))])
        elif call == 4:
            both.log_params(run, some(words[:3]))
        elif call == 5:
            both.set_tags(run, some(words))
        elif call == 6:
            both.delete_tag(run, rng.choice(words[:3]))
        elif call == 7:
            status = rng.choice([None, "RUNNING", "FINISHED", "KILLED"])
            both.update_run(run, status, rng.choice([None, 5, 6]), rng.choice([None, "", "n"]))
        elif call == 8:
            digests = [rng.choice("12") for _ in range(2)]
            both.log_inputs(run, [(dataset("d", d), some(words[:2])) for d in digests], [model])
        elif call == 9:
            both.set_logged_model_tags(model, some(words))
            both.delete_logged_model_tag(model, rng.choice(words))
        else:
            both.finalize_logged_model(model, rng.choice(["PENDING", "READY", "FAILED"]))
        if rng.random() < 0.1:
            both.deliver()
    both.compare()
    both.close()


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/path",
        "s3://bucket",
        "s3://bucket/path/?query=value&more=1",
        "/absolute/path",
        "/absolute/path/",
        "relative/path",
        "file:///absolute/path",
        "file:relative/path",
        "mlflow-artifacts:/12",
        "mlflow-artifacts://host:80/12",
        "wasbs://container@account.blob.core.windows.net/a",
        "dbfs:/a/b",
        "hdfs://host:8020/a?x#y",
    ],
)
def test_artifact_locations_are_mlflows(uri: str) -> None:
    parts = ("0123", "artifacts")
    assert append_path(uri, *parts) == append_to_uri_path(uri, *parts)


def test_the_states_of_logged_models_are_mlflows() -> None:
    assert {status.value: status.to_int() for status in LoggedModelStatus} == STATUSES
