"""Stock MLflow's store and ours get the same calls and must give the same answers.

Each test runs on SQLite, PostgreSQL and MariaDB, with both stores on a database of their own
(``support/pairs.py``), and compares the answers of every call, then MLflow's own tables.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException

from databases import DatabaseServer
from mlflow_weir.store.tracking_store import WeirStore
from pairs import (
    StorePair,
    comparable,
    log_from_another_process,
    open_journaled,
    open_pair,
)

numbers = itertools.count()  # for names: hypothesis seeds ``random`` anew for each example

pytestmark = pytest.mark.slow

INT64_MAX = 2**63 - 1

# A NaN that is there already makes stock 3.15 refuse a call, with all else in it; ours takes it,
# as MLflow does from 3.16 on (docs/decisions/003-metric-history.md).
REFUSES_REPEATED_NAN = mlflow.__version__.startswith("3.15.")
drawn_nan = [] if REFUSES_REPEATED_NAN else [math.nan]


def examples(pair: StorePair) -> settings:
    """Say how many examples there are: half of them on SQLite, a part on what is slower.

    ``make test-long`` has all everywhere. The pair outlives an example on purpose: each logs to
    runs of its own.
    """
    is_quick = pair.is_direct and pair.stock.engine.dialect.name == "sqlite"
    has_all = settings.get_current_profile_name() == "long"
    return settings(
        max_examples=15 if has_all else 8 if is_quick else 3,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


values = st.one_of(
    st.sampled_from(
        [
            *drawn_nan,
            math.inf,
            -math.inf,
            0.0,
            -0.0,
            5e-324,
            -5e-324,
            1e-310,
            1.7976931348623157e308,
        ]
    ),
    st.floats(allow_nan=not REFUSES_REPEATED_NAN),
    st.floats(width=32, allow_nan=not REFUSES_REPEATED_NAN),
    # Beyond 2**53 stock refuses the repetition of a whole number, which it has stored rounded.
    st.integers(-(2**53), 2**53),
)
steps = st.one_of(
    st.integers(-3, 6),
    st.sampled_from([2**62, -(2**62), INT64_MAX, -INT64_MAX - 1, 2**31, 2**53 + 1]),
    st.integers(-INT64_MAX - 1, INT64_MAX),
)
timestamps = st.one_of(
    st.integers(0, 4),
    st.integers(1_700_000_000_000, 1_700_000_000_010),
    st.sampled_from([2**62, INT64_MAX]),
)
keys = st.sampled_from(["loss", "val/loss", "a b", "c.d-e_f:g", "système", "ключ", "x" * 250])
points = st.builds(Metric, key=keys, value=values, timestamp=timestamps, step=steps)


def many_points(seed: int, n_points: int, n_keys: int, spread: int) -> list[Metric]:
    """Draw points that collide often where ``spread`` is small."""
    source = random.Random(seed)
    special = [*drawn_nan, math.inf, -math.inf, 0.0, -0.0]
    return [
        Metric(
            f"k{source.randrange(n_keys)}",
            source.choice(
                [source.gauss(0, 1), float(source.randrange(3)), source.choice(special)]
            ),
            source.randrange(spread),
            source.randrange(-spread, spread),
        )
        for _ in range(n_points)
    ]


batches = st.one_of(
    st.lists(points, max_size=12),
    st.builds(
        many_points,
        seed=st.integers(0, 2**32),
        n_points=st.sampled_from([40, 200]),
        n_keys=st.sampled_from([1, 3, 40]),
        spread=st.sampled_from([1, 3, 1000]),
    ),
)
calls = st.one_of(
    st.tuples(st.just("log_metric"), points),
    st.tuples(st.just("log_batch"), batches),
    st.tuples(st.just("repeat"), st.integers(0, 10)),
    st.tuples(st.just("delete_run")),
    st.tuples(st.just("restore_run")),
)


@pytest.fixture(params=[WeirStore, open_journaled], ids=["direct", "journaled"])
def pair(
    request: pytest.FixtureRequest, database_server: DatabaseServer, tmp_path: Path
) -> Iterator[StorePair]:
    """Open stock MLflow's store and ours, as a server and as a training process have it."""
    with open_pair(database_server, tmp_path.as_uri(), open_weir=request.param) as opened:
        yield opened


@pytest.fixture
def direct_pair(database_server: DatabaseServer, tmp_path: Path) -> Iterator[StorePair]:
    """The same without a journal, for what a database refuses only when it is there."""
    with open_pair(database_server, tmp_path.as_uri()) as opened:
        yield opened


def log(pair: StorePair, run_id: str, metrics: Sequence[Metric]) -> None:
    pair.call("log_batch", run_id, list(metrics), [], [])


def forget(pair: StorePair, run_id: str) -> None:
    """Remove a run for good and check that nothing answers for it."""
    pair.call("_hard_delete_run", run_id)
    pair.call("get_run", run_id)
    pair.call("get_metric_history", run_id, "loss")
    pair.call("get_max_step_for_metric", run_id, "loss")


def test_logged_metrics_are_read_alike(pair: StorePair) -> None:
    @examples(pair)
    @given(sequence=st.lists(calls, min_size=1, max_size=8))
    @example(sequence=[("log_batch", [Metric("loss", math.nan, 0, 0), Metric("loss", 0.0, 0, 0)])])
    @example(sequence=[("log_batch", [Metric("loss", 0.0, 0, 0), Metric("loss", math.nan, 0, 0)])])
    @example(sequence=[("log_batch", [Metric("loss", -0.0, 0, 0), Metric("loss", 0.0, 0, 0)])])
    @example(
        sequence=[
            ("log_batch", [Metric("loss", math.inf, 0, 0)]),
            ("log_batch", [Metric("loss", 1.7976931348623157e308, 0, 0), Metric("loss", 1, 0, 0)]),
        ]
    )
    def check(sequence: list[tuple[Any, ...]]) -> None:
        runs = [pair.new_run(), pair.new_run()]
        batches_so_far: list[list[Metric]] = []
        seen_keys = {"absent"}
        for name, *arguments in sequence:
            run_id = runs[len(batches_so_far) % 2]
            if name == "log_metric":
                pair.call("log_metric", run_id, arguments[0])
                batches_so_far.append([arguments[0]])
            elif name == "log_batch":
                log(pair, run_id, arguments[0])
                batches_so_far.append(arguments[0])
            elif name == "repeat" and batches_so_far:
                log(pair, run_id, batches_so_far[arguments[0] % len(batches_so_far)])
            elif name != "repeat":
                pair.call(name, runs[0])
        for batch in batches_so_far:
            seen_keys.update(metric.key for metric in batch)
        for run_id in runs:
            pair.compare_history(run_id, sorted(seen_keys)[:8])
        pair.compare_tables()
        for run_id in runs:
            forget(pair, run_id)
        pair.compare_tables()

    check()


@pytest.mark.quick_on("sqlite")
def test_a_repeated_nan_is_taken_once(direct_pair: StorePair) -> None:
    pair = direct_pair
    run_id = pair.new_run()
    twice = [Metric("loss", math.nan, 5, 1), Metric("acc", 0.5, 5, 1)]
    for store, refuses in ((pair.stock, REFUSES_REPEATED_NAN), (pair.weir, False)):
        store.log_batch(run_id, twice[:1], [], [])
        if refuses:
            with pytest.raises(MlflowException) as refusal:
                store.log_batch(run_id, twice, [], [])
            assert refusal.value.error_code == "BAD_REQUEST"
            store.log_batch(run_id, twice[1:], [], [])
        else:
            store.log_batch(run_id, twice, [], [])
    pair.compare_history(run_id, ["acc", "loss"])
    pair.compare_tables()


limits = st.one_of(st.integers(1, 12), st.sampled_from([0, 100, 320, 2_500, 25_000]))
intervals = st.one_of(
    st.just((None, None)),
    st.tuples(steps, steps),
    st.just((0, 0)),
    st.just((None, 3)),
    st.just((5, -5)),
)


@pytest.mark.quick_on("sqlite", "postgresql")
def test_limits_and_intervals_are_stocks_with_stock_sampling(
    pair: StorePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    @examples(pair)
    @given(
        history=batches, limit=limits, interval=intervals, chosen_steps=st.lists(steps, max_size=9)
    )
    def check(
        history: list[Metric],
        limit: int,
        interval: tuple[int | None, int | None],
        chosen_steps: list[int],
    ) -> None:
        monkeypatch.setenv("WEIR_STOCK_SAMPLING", "1")
        runs = [pair.new_run(), pair.new_run(), pair.new_run()]
        log(pair, runs[0], history)
        log(pair, runs[1], history[::2])
        for key in sorted({metric.key for metric in history})[:3] or ["absent"]:
            pair.call("get_metric_history_bulk_interval", runs, key, limit, *interval)
            pair.call("get_metric_history_bulk_interval", [runs[1]], key, limit, *interval)
            pair.call("get_metric_history_bulk_limited", runs, key, limit)
            pair.call("get_metric_history_bulk_limited", [*runs, "0" * 32, runs[0]], key, limit)
            pair.call(
                "get_metric_history_bulk_interval_from_steps_limited",
                runs[0],
                key,
                chosen_steps,
                limit,
            )
            pair.call("get_metric_history_limited", runs[0], key, limit)
            pair.read_pages(runs[0], key, max(limit, 1 + len(history) // 20))
        for run_id in runs:
            forget(pair, run_id)

    check()


def test_the_bulk_interval_call_keeps_extremes_in_stocks_size(pair: StorePair) -> None:
    @examples(pair)
    @given(history=batches, limit=limits, interval=intervals)
    def check(history: list[Metric], limit: int, interval: tuple[int | None, int | None]) -> None:
        run_id = pair.new_run()
        log(pair, run_id, history)
        try:
            if None in interval and interval != (None, None):
                pair.call("get_metric_history_bulk_interval", [run_id], "k0", limit, *interval)
                return
            for key in sorted({metric.key for metric in history})[:3]:
                logged = [
                    metric
                    for metric in pair.stock.get_metric_history(run_id, key)
                    if interval[0] is None or interval[0] <= metric.step <= interval[1]
                ]
                arguments = ([run_id], key, limit, *interval)
                found = pair.weir.get_metric_history_bulk_interval(*arguments)
                stock = pair.stock.get_metric_history_bulk_interval(*arguments)
                check_sample(found, stock, logged, max(1, limit))
        finally:
            forget(pair, run_id)

    check()


def place(metric: Metric) -> tuple[int, int, float, bool]:
    """Give what stock orders a sample by."""
    is_nan = math.isnan(metric.value)
    return (metric.step, metric.timestamp, 0.0 if is_nan else metric.value, is_nan)


def check_sample(
    found: list[Any], stock: list[Any], logged: list[Metric], max_points: int
) -> None:
    """Check what our choice of points promises about a sample of ``logged``."""
    assert len(found) == len(stock) == min(max_points, len(logged))
    places, possible = [place(metric) for metric in found], [place(metric) for metric in logged]
    assert places == sorted(places)
    assert set(places) <= set(possible)
    assert len(set(places)) == len(places)
    if not logged:
        return
    assert places[-1] == max(possible)
    if max_points >= 2:
        assert places[0] == min(possible)
    finite = [metric.value for metric in logged if not math.isnan(metric.value)]
    if max_points >= 4 and finite:
        sampled = [metric.value for metric in found if not math.isnan(metric.value)]
        assert (min(sampled), max(sampled)) == (min(finite), max(finite))


# MariaDB's default collation takes letters of one kind for equal: a number tells keys apart.
any_key = st.builds(
    lambda number, text: f"{number:03d}{text}"[:250],
    st.integers(0, 999),
    st.one_of(
        st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=250),
        st.text(st.characters(codec="utf-8", categories=["Lo", "Nd"]), min_size=247, max_size=247),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
        st.sampled_from(
            [
                "\U0001d518\U0001d52b\U0001d526",
                "e\u0301",
                "שלום/עולם",
                "مرحبا",
                "\U0001f469\u200d\U0001f4bb",
                "it's",
                'say "hi"',
                *("a//b", "../up", "a/./b", "trailing/", " ", "  x  ", "\t"),
                *("%", "_", "\\", "`x`", "ß", "İ", "ﬁ"),
            ],
        ),
    ),
)


def test_keys_in_any_script_are_taken_or_refused_alike(pair: StorePair) -> None:
    @examples(pair)
    @given(
        names=st.lists(any_key, min_size=1, max_size=6, unique_by=lambda key: key[:3]),
        together=st.booleans(),
    )
    def check(names: list[str], together: bool) -> None:
        run_id = pair.new_run()
        metrics = [Metric(name, index / 3, index, index) for index, name in enumerate(names)]
        if together:
            log(pair, run_id, metrics)
        for metric in metrics:
            pair.call("log_metric", run_id, metric)
            pair.call("log_metric", run_id, Metric(metric.key, 9.0, 9, 9))
        pair.compare_history(run_id, names)
        pair.compare_tables()
        forget(pair, run_id)

    check()


ALIKE = {
    "case": ("Loss", "loss"),
    "combining": ("e\u0301", "é"),
    "accent": ("a", "á"),
    "sharp s": ("ß", "ss"),
    "astral ideographs": ("\U00020000", "\U00020001"),
    "astral letters": ("\U0001d518", "\U0001d519"),
}


# Cases of a table share a pair of stores, which takes longer to make than a case.
@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "two-calls"])
def test_keys_that_a_collation_may_take_for_one(direct_pair: StorePair, together: bool) -> None:
    pair = direct_pair
    # Where MariaDB refuses the second key, stock MLflow finds the first under its name as well;
    # Weir compares keys themselves (docs/decisions/003-metric-history.md).
    on_mariadb = pair.weir.engine.dialect.name in {"mysql", "mariadb"}
    for name, alike in ALIKE.items():
        run_id = pair.new_run(name=name)
        metrics = [Metric(key, index, index, index) for index, key in enumerate(alike)]
        if together:
            log(pair, run_id, metrics)
        else:
            for metric in metrics:
                pair.call("log_metric", run_id, metric)
        pair.compare_history(run_id, alike[:1] if on_mariadb else alike)
        pair.compare_tables()


def test_metrics_of_logged_models_and_data_sets(direct_pair: StorePair) -> None:
    pair = direct_pair
    fails = REFUSES_REPEATED_NAN and pair.stock.engine.dialect.name != "sqlite"

    @examples(pair)
    @given(
        sequence=st.lists(
            st.lists(
                st.tuples(st.integers(0, 2), st.integers(0, 2), values, st.integers(0, 2)),
                max_size=8,
                # Stock 3.15 fails there on a point that two models have, or one twice, in a batch.
                unique_by=(lambda point: (point[1], point[3])) if fails else None,
            ),
            min_size=1,
            max_size=5,
        ),
        one_by_one=st.booleans(),
    )
    def check(sequence: list[list[tuple[int, int, Any, int]]], one_by_one: bool) -> None:
        experiment_id = pair.new_experiment(f"models {next(numbers)}")
        run_id = pair.new_run(experiment_id)
        models = [
            pair.call("create_logged_model", experiment_id, f"model{index}", run_id).model_id
            for index in range(2)
        ]
        data_set = Dataset("data", "digest", "local", "here")
        pair.call("log_inputs", run_id, [DatasetInput(data_set, [])])
        for batch in sequence:
            metrics = [
                Metric(
                    f"k{key}",
                    value,
                    step,
                    step,
                    model_id=None if which == 2 else models[which],
                    dataset_name="data" if key == 1 else None,
                    dataset_digest="digest" if key == 1 else None,
                    run_id=run_id,
                )
                for which, key, value, step in batch
            ]
            if one_by_one:
                for metric in metrics:
                    pair.call("log_metric", run_id, metric)
            else:
                log(pair, run_id, metrics)
        for model_id in models:
            pair.call("get_logged_model", model_id)
        order = [{"field_name": "metrics.k0", "ascending": False}]
        pair.call("search_logged_models", [experiment_id], "metrics.k0 > 0", None, 10, order)
        pair.compare_history(run_id, ["k0", "k1", "k2"])
        pair.compare_tables()
        for model_id in models:
            pair.call("delete_logged_model", model_id)
        forget(pair, run_id)
        pair.compare_tables()

    check()


BAD_POINTS: dict[str, tuple[Any, ...]] = {
    "no-key": (None, 1.0, 0, 0),
    "empty-key": ("", 1.0, 0, 0),
    "key-of-251": ("x" * 251, 1.0, 0, 0),
    "key-with-a-quote": ("it's", 1.0, 0, 0),
    "key-that-goes-up": ("../x", 1.0, 0, 0),
    "key-with-two-slashes": ("a//b", 1.0, 0, 0),
    "no-value": ("k", None, 0, 0),
    "text-value": ("k", "1.0", 0, 0),
    "true-value": ("k", True, 0, 0),
    "complex-value": ("k", 1j, 0, 0),
    "no-step": ("k", 1.0, 0, None),
    "text-step": ("k", 1.0, 0, "1"),
    "no-timestamp": ("k", 1.0, None, 0),
    "text-timestamp": ("k", 1.0, "now", 0),
    "timestamp-before-1970": ("k", 1.0, -1, 0),
    "value-beyond-a-double": ("k", 10**400, 0, 0),
    "whole-step-as-a-float": ("k", 1.0, 0, 2.0),
}

# What stock's validation lets through and its databases then take each in a way of its own:
# SQLite keeps a fraction and refuses 65 bits, PostgreSQL rounds or refuses by the number of points
# in the call, MariaDB stores the nearest number of 64 bits without a word.
ODD_NUMBERS: dict[str, tuple[Any, Any]] = {
    "step-of-65-bits": (0, 2**64),
    "step-below-64-bits": (0, -(2**63) - 1),
    "timestamp-of-65-bits": (2**64, 0),
    "step-nan": (0, math.nan),
    "step-infinite": (0, math.inf),
    "timestamp-infinite": (math.inf, 0),
}


def test_bad_points_are_refused_alike(pair: StorePair) -> None:
    for name, (key, value, timestamp, step) in BAD_POINTS.items():
        run_id = pair.new_run(name=name)
        log(pair, run_id, [Metric("k", 0.5, 0, 0)])
        metric = Metric(key, value, timestamp, step)
        pair.call("log_metric", run_id, metric)
        log(pair, run_id, [Metric("good", 1.0, 1, 1), metric, Metric("good", 2.0, 2, 2)])
        pair.call("log_batch", run_id, [metric], [Param("p", "1")], [RunTag("t", "1")])
        pair.compare_history(run_id, ["k", "good"])
        pair.compare_tables()


def test_numbers_that_no_column_holds_are_refused_in_words(pair: StorePair) -> None:
    for (name, odd), n_others in itertools.product(ODD_NUMBERS.items(), (0, 2)):
        run_id = pair.new_run(name=name)
        others = [Metric("good", 1.0, index, index) for index in range(n_others)]
        with pytest.raises(MlflowException, match=r"step|timestamp") as refused:
            pair.weir.log_batch(run_id, [*others, Metric("k", 1.0, *odd)], [], [])
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE", name
        assert pair.weir.get_metric_history(run_id, "k") == [], name
        assert pair.weir.get_metric_history(run_id, "good") == [], name
        assert pair.weir.get_run(run_id).data.metrics == {}, name


def test_too_many_are_refused_alike(pair: StorePair) -> None:
    run_id = pair.new_run()
    metrics = [Metric("k", index, index, index) for index in range(1001)]
    log(pair, run_id, metrics)
    log(pair, run_id, metrics[:1000])
    pair.call(
        "log_batch", run_id, metrics[:900], [], [RunTag(f"t{index}", "x") for index in range(101)]
    )
    pair.call("log_batch", run_id, [], [Param(f"p{index}", "x") for index in range(101)], [])
    pair.call(
        "log_batch", run_id, metrics[:950], [Param(f"p{index}", "x") for index in range(51)], []
    )
    pair.call("log_batch", run_id, metrics[:1], [Param("p", "1"), Param("p", "2")], [])
    pair.call("log_batch", run_id, "not a list", [], [])
    pair.call("log_batch", run_id, [{"key": "k"}], [], [])
    pair.call("log_batch", run_id, None, [], [])
    pair.call("log_batch", run_id, [], [], [])
    pair.compare_history(run_id, ["k"])
    pair.compare_tables()


UNKNOWN = ("0" * 32, "", "not/an/id", None, "x" * 300)


def test_unknown_runs_answer_alike(pair: StorePair) -> None:
    for run_id in UNKNOWN:
        metric = Metric("k", 1.0, 0, 0)
        pair.call("log_metric", run_id, metric)
        pair.call("log_metric", run_id, Metric("k", 1.0, 0, 0, model_id="m-" + "0" * 32))
        pair.call("log_batch", run_id, [metric], [Param("p", "1")], [RunTag("t", "1")])
        pair.call("log_batch", run_id, [], [], [])
        pair.call("get_run", run_id)
        pair.call("get_metric_history", run_id, "k")
        pair.call("get_metric_history", run_id, "k", 5, None)
        pair.call("get_metric_history", run_id, "k", 5, "no such page")
        pair.call("get_metric_history_bulk", [run_id], "k", 10)
        pair.call("get_metric_history_bulk", [], "k", 10)
        pair.call("get_metric_history_bulk_interval", [run_id], "k", 10, None, None)
        pair.call("get_metric_history_bulk_interval", [], "k", 10, None, None)
        pair.call("get_metric_history_bulk_interval_from_steps", run_id, "k", [0], 10)
        pair.call("get_max_step_for_metric", run_id, "k")
        pair.call("delete_run", run_id)
        pair.call("restore_run", run_id)
        pair.call("_hard_delete_run", run_id)
        pair.compare_tables()


def test_page_tokens_and_limits_answer_alike(pair: StorePair) -> None:
    run_id = pair.new_run()
    log(pair, run_id, [Metric("k", index, index, index) for index in range(10)])
    first = pair.call("get_metric_history", run_id, "k", 4)
    pair.call("get_metric_history", run_id, "k", 4, first.token)
    pair.call("get_metric_history", run_id, "k", None, first.token)
    for limit in (0, 1, 9, 10, 11):
        pair.call("get_metric_history", run_id, "k", limit)
        pair.call("get_metric_history_bulk", [run_id], "k", limit)
        pair.call("get_metric_history_bulk_interval_from_steps", run_id, "k", [3, 3, 99, 0], limit)
    for token in ("no such page", "", "MTA="):
        pair.call("get_metric_history", run_id, "k", 4, token)
    pair.call("get_metric_history_bulk_interval", [run_id], "k", 3, 2, None)
    pair.call("get_metric_history_bulk_interval", [run_id], "k", 3, None, 2)


def test_deletion_and_restoration_of_runs_and_experiments(pair: StorePair) -> None:
    experiment_id = pair.new_experiment("one")
    other_id = pair.new_experiment("two")
    runs = [pair.new_run(experiment_id), pair.new_run(experiment_id), pair.new_run(other_id)]
    metrics = [Metric(key, step / 3, step, step) for key in ("a", "b") for step in range(30)]
    for run_id in runs:
        pair.call("log_batch", run_id, metrics, [Param("p", "1")], [RunTag("t", "1")])

    def look() -> None:
        for run_id in runs:
            pair.compare_history(run_id, ["a", "absent"])
            pair.call("log_metric", run_id, Metric("a", 1.5, 99, 99))
            pair.call("log_metric", run_id, Metric("a", 1.5, 99, 99, model_id="m-" + "0" * 32))
            pair.call("log_batch", run_id, metrics[:2], [], [])
        pair.call("get_metric_history_bulk", runs, "a", 1_000)
        pair.call("_get_deleted_runs")
        for experiment in (experiment_id, other_id):
            pair.call("get_experiment", experiment)
            for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL):
                pair.call("search_runs", [experiment], "metrics.a > 1", view, 10, ["metrics.b"])
        pair.compare_tables()

    look()
    for call in (
        ("delete_run", runs[0]),
        ("delete_experiment", other_id),
        ("restore_run", runs[0]),
        ("restore_experiment", other_id),
        ("delete_run", runs[1]),
        ("_hard_delete_run", runs[1]),
        ("delete_experiment", experiment_id),
        ("set_experiment_tag", experiment_id, ExperimentTag("t", "1")),
        ("_hard_delete_experiment", experiment_id),
        ("_hard_delete_run", runs[2]),
        ("_hard_delete_experiment", "4711"),
    ):
        pair.call(*call)
        look()


def test_a_run_id_that_comes_back_has_no_history(pair: StorePair) -> None:
    run_id = pair.new_run()
    log(pair, run_id, [Metric("k", index, index, index) for index in range(500)])
    pair.call("_hard_delete_run", run_id)
    from mlflow.store.tracking.dbmodels.models import SqlRun

    for store in (pair.stock, pair.weir):
        with store.ManagedSessionMaker(read_only=False) as session:
            session.add(SqlRun(run_uuid=run_id, name="again", experiment_id=0, start_time=0))
    pair.compare_history(run_id, ["k"])
    log(pair, run_id, [Metric("k", 3.0, 3, 3)])
    pair.compare_history(run_id, ["k"])
    pair.compare_tables()


@pytest.mark.quick_on("sqlite", "mariadb")
def test_thousands_of_keys(pair: StorePair) -> None:
    run_id = pair.new_run()
    for first in range(0, 3_000, 1_000):
        metrics = [Metric(f"layer/{key}", key / 7, 5, 1) for key in range(first, first + 1_000)]
        log(pair, run_id, metrics)
        log(pair, run_id, [Metric(m.key, -m.value, 6, 0) for m in metrics[::3]])
    pair.call("get_run", run_id)
    pair.compare_history(run_id, ["layer/0", "layer/1", "layer/2999", "layer/3000"])
    pair.compare_tables()


@pytest.mark.quick_on("sqlite", "postgresql")
def test_many_batches_overlap_in_one_run(pair: StorePair) -> None:
    run_id = pair.new_run()
    source = random.Random(1)
    for _ in range(40):  # two batches each: more than are kept waiting
        first = source.randrange(900)
        log(
            pair,
            run_id,
            [Metric("k", math.sin(step), step, step) for step in range(first, first + 60)],
        )
        pair.call("log_metric", run_id, Metric("other", source.random(), first, first))
    pair.compare_history(run_id, ["k", "other"])
    pair.compare_tables()
    pair.reopen()
    pair.compare_history(run_id, ["k", "other"])


@pytest.mark.quick_on("sqlite", "postgresql")
def test_a_reopened_store_goes_on(pair: StorePair) -> None:
    run_id = pair.new_run()
    for round_ in range(4):
        log(pair, run_id, many_points(round_, 400, 3, 40))
        pair.compare_history(run_id, ["k0", "k1", "k2"])
        pair.reopen()
    log(pair, run_id, many_points(0, 400, 3, 40))
    pair.compare_history(run_id, ["k0", "k1", "k2"])
    pair.compare_tables()


def test_a_database_that_stock_filled_is_read_alike_and_goes_on(
    database_server: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_STOCK_SAMPLING", "1")
    with open_pair(database_server, tmp_path.as_uri(), begin_as_stock=True) as pair:
        runs = [pair.new_run(), pair.new_run(), pair.new_run()]
        for seed, run_id in enumerate(runs):
            log(pair, run_id, many_points(seed, 700, 4, 25))
        pair.reopen()

        def look() -> None:
            for run_id in runs:
                pair.compare_history(run_id, ["k0", "k1", "k2", "k3", "new"])
            for limit in (1, 2, 7, 300, 5_000):
                pair.call("get_metric_history_bulk_limited", runs, "k1", limit)
                pair.call("get_metric_history_bulk_interval", runs, "k1", limit, None, None)
                pair.call("get_metric_history_bulk_interval", runs, "k1", limit, -5, 12)
            pair.compare_tables()

        look()
        # Some repeat old rows, some lie between them; the second run stays as it was.
        log(pair, runs[0], many_points(0, 500, 4, 25))
        log(pair, runs[0], many_points(9, 500, 4, 60))
        log(pair, runs[2], [Metric("new", 1.0, 1, 1)])
        pair.call("log_metric", runs[2], many_points(2, 1, 4, 25)[0])
        look()
        pair.reopen()
        look()
        pair.call("_hard_delete_run", runs[0])
        pair.call("get_metric_history", runs[0], "k0")
        pair.compare_tables()


def race(workers: list[Any]) -> None:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
        assert not worker.is_alive()


def compare_after_a_race(pair: StorePair, run_id: str, n_writers: int) -> None:
    """Log to stock, in order, what the writers logged to ours at once, and compare the two."""
    for step in range(0, 200 * n_writers, 200):
        pair.stock.log_batch(
            run_id,
            [Metric(key, at / 7, at, at) for at in range(step, step + 200) for key in ("a", "b")],
            [],
            [],
        )
    pair.compare_history(run_id, ["a", "b"])
    pair.compare_tables()


def test_threads_log_to_one_run(pair: StorePair) -> None:
    run_id = pair.new_run()
    failures: list[Exception] = []

    def write(first: int) -> None:
        try:
            for step in range(first, first + 200, 5):
                pair.weir.log_batch(
                    run_id,
                    [
                        Metric(k, at / 7, at, at)
                        for at in range(step, step + 5)
                        for k in ("a", "b")
                    ],
                    [],
                    [],
                )
        except Exception as exc:  # noqa: BLE001 - shown by the test's own thread
            failures.append(exc)

    race([threading.Thread(target=write, args=(200 * index,)) for index in range(4)])
    assert failures == []
    compare_after_a_race(pair, run_id, 4)


@pytest.mark.quick_on("sqlite", "postgresql")
def test_processes_log_to_one_run(pair: StorePair, tmp_path: Path) -> None:
    run_id = pair.new_run()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pairs"])
    writers = [
        context.Process(
            target=log_from_another_process,
            args=(pair.weir_url, tmp_path.as_uri(), run_id, 200 * index),
        )
        for index in range(2)
    ]
    race(writers)
    assert [writer.exitcode for writer in writers] == [0, 0]
    # A run that is open in a training is answered from what that process knows of it.
    pair.call("update_run_info", run_id, RunStatus.FINISHED, 1_700_000_000_009, None)
    compare_after_a_race(pair, run_id, 2)


def test_the_comparison_itself_sees_a_difference(pair: StorePair) -> None:
    run_id = pair.new_run()
    log(pair, run_id, [Metric("k", 1.0, 1, 1)])
    pair.weir.log_metric(run_id, Metric("k", 5e-324, 2, 2))
    with pytest.raises(AssertionError, match="get_metric_history"):
        pair.call("get_metric_history", run_id, "k")
    with pytest.raises(AssertionError, match="latest_metrics"):
        pair.compare_tables()
    assert comparable(5e-324) != comparable(0.0)
