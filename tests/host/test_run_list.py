"""The run list on every database: what is selected, in which order, and what the cells hold."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag, ViewType
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from databases import DatabaseServer
from mlflow_weir.errors import ConfigError
from mlflow_weir.store import migrations, schema
from mlflow_weir.store.migrations.versions import v0007_workspace
from mlflow_weir.store.runs import filter_language, grouping, listing, ordinals, run_columns
from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.runs.filter_language import AGGREGATES
from mlflow_weir.store.runs.selection import matches, try_number
from mlflow_weir.store.tracking_store import WeirStore

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
N_RUNS = 40
WORDS = ("adam", "Adam", "a%b", "0.1", "1e-1", "10", "9", "", "Größe", "x" * 1_500, "-inf", "nan")
SEPARATED = "a\x1eb"  # by what stands between values that are read together
VALUES = (0.0, 1.0, -1.5, 1e-9, math.nan, math.inf, -math.inf, 5.0)


class Listed:
    """A store with runs of every oddity, and the run list over it."""

    def __init__(self, url: str, artifacts: str) -> None:
        self.store = WeirStore(url, artifacts)
        self.stock = SqlAlchemyStore(url, artifacts)
        self.experiments = [self.store.create_experiment(name) for name in ("one", "two")]
        self.other = self.store.create_experiment("other")
        self._fill()
        self.scope = Scope([int(one) for one in self.experiments], ["active"])
        self.runs = {run.info.run_id: run for run in self.search("")}

    def _fill(self) -> None:
        rng = random.Random(3)
        for number in range(N_RUNS):
            experiment = [*self.experiments, self.other][number % 3]
            run = self.store.create_run(
                experiment,
                user_id=f"user {number % 2}",
                start_time=START_MS + (number % 7) * HOUR_MS,
                tags=[],
                run_name=rng.choice([f"run {number}", "same", "Same", "ünï_%"]),
            )
            run_id = run.info.run_id
            # Some history as stock writes it, some compacted, some still in batches.
            writer = self.stock if number % 5 == 0 else self.store
            for step in range(rng.randrange(1, 4)):
                values = [Metric(k, rng.choice(VALUES), START_MS, step) for k in ("loss", "a b")]
                writer.log_batch(run_id, values[: rng.randrange(3)], [], [])
            self.store.log_batch(
                run_id,
                [],
                [Param(key, rng.choice(WORDS)) for key in ("lr", "a b") if rng.random() < 0.7],
                [RunTag("team", rng.choice(WORDS))] if rng.random() < 0.7 else [],
            )
            if number % 4:
                status = rng.choice([RunStatus.FINISHED, RunStatus.FAILED])
                self.store.update_run_info(run_id, status, START_MS + 10 * HOUR_MS, None)
            if number % 9 == 0:
                self.store.set_tag(run_id, RunTag("split", SEPARATED))
            if number % 11 == 10:
                self.store.delete_run(run_id)
        if self.store.engine.dialect.name == "postgresql":
            with self.store.engine.begin() as connection:
                connection.execute(sa.text("ANALYZE runs"))  # what the number of runs is known by

    def search(self, filter_string: str) -> list[Run]:
        """Ask MLflow's own store."""
        page = self.stock.search_runs(
            self.experiments, filter_string, ViewType.ACTIVE_ONLY, max_results=1_000
        )
        return list(page)

    def find(
        self, text: str = "", order: Sequence[str] = (), *, now_ms: int = START_MS, **more: Any
    ) -> list[str]:
        """Ask the run list."""
        scope = more.pop("scope", self.scope)
        with self.store.ManagedSessionMaker() as session:
            found = listing.find(
                session,
                scope,
                self.store.engine.dialect.name,
                now_ms=now_ms,
                tree=filter_language.parse(text),
                order=[
                    listing.OrderTerm(run_columns.parse(term.lstrip("-")), term.startswith("-"))
                    for term in order
                ],
                **more,
            )
        assert found.total == len(self.runs) or scope is not self.scope
        return found.run_ids

    def rows(self, run_ids: Sequence[str], columns: Sequence[str]) -> list[listing.Row]:
        with self.store.ManagedSessionMaker() as session:
            return listing.read_rows(
                session,
                self.scope,
                self.store.engine.dialect.name,
                run_ids,
                [run_columns.parse(name) for name in columns],
            )

    def history(self, run_id: str, key: str) -> list[float]:
        """Return what MLflow's client would get, NaN left out."""
        points = self.store.get_metric_history(run_id, key)
        return [point.value for point in points if not math.isnan(point.value)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def listed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Listed]:
    names = {"sqlite": "sqlite_folder", "postgresql": "postgres_server"}
    server: DatabaseServer = request.getfixturevalue(names.get(request.param, "mariadb_server"))
    found = Listed(server.new_mlflow_database(), str(tmp_path_factory.mktemp("artifacts")))
    yield found
    found.store.engine.dispose()
    found.stock.engine.dispose()


STOCK_FILTERS = [
    "",
    "metrics.loss > 0.5",
    "metrics.loss != 1",
    "metrics.`a b` <= 0",
    "params.lr = 'adam'",
    "params.lr != 'Adam'",
    "params.lr LIKE 'a%'",
    "tags.team ILIKE 'AD%'",
    "params.lr IS NULL",
    "tags.team IS NOT NULL and metrics.loss < 2",
    "status = 'FINISHED'",
    "attributes.run_name LIKE 'ünï%'",
    f"start_time >= {START_MS + HOUR_MS}",
    "user_id = 'user 1' and params.lr = '10'",
]


@pytest.mark.parametrize("text", STOCK_FILTERS)
def test_mlflows_filters_find_what_mlflow_finds(listed: Listed, text: str) -> None:
    expected = [run.info.run_id for run in listed.search(text)]
    assert listed.find(text) == expected
    # The opposite is all the rest, what has no such key among it.
    if text:
        rest = [run_id for run_id in listed.runs if run_id not in expected]
        assert listed.find(f"not ({text})") == rest


def _param_number(run: Run, key: str) -> float | None:
    return try_number(run.data.params.get(key, "no number"))


def test_params_are_compared_as_numbers_where_both_are(listed: Listed) -> None:
    tests: dict[str, Callable[[float], bool]] = {
        "params.lr >= 0.1": lambda n: n >= 0.1,
        "params.lr < 10": lambda n: n < 10,
        "params.lr = 1e-1": lambda n: n == 0.1,
        "params.lr in (0.1, 9)": lambda n: n in (0.1, 9),
    }
    for text, test in tests.items():
        numbers = {run_id: _param_number(run, "lr") for run_id, run in listed.runs.items()}
        expected = {r for r, number in numbers.items() if number is not None and test(number)}
        assert expected
        assert set(listed.find(text)) == expected, text


def test_conditions_are_joined_by_and_or_and_not(listed: Listed) -> None:
    sets = {text: set(listed.find(text)) for text in ("params.lr > 1", "status = FAILED")}
    number, failed = sets.values()
    one, other = sets
    assert number
    assert failed
    everything = set(listed.runs)
    assert set(listed.find(f"{one} and {other}")) == number & failed
    assert set(listed.find(f"{one} or {other}")) == number | failed
    assert set(listed.find(f"not {one} and not {other}")) == everything - number - failed
    assert set(listed.find(f"not ({one} or {other}) or {one}")) == everything - (failed - number)
    regex = set(listed.find("name ~ '^same$' or params.lr > 1"))
    same = {r for r, run in listed.runs.items() if run.info.run_name == "same"}
    assert regex == same | number


def test_the_other_words_of_the_grammar(listed: Listed) -> None:
    runs = listed.runs
    tag = {run_id: run.data.tags.get("team") for run_id, run in runs.items()}
    assert set(listed.find("tags.team in ('adam', 'a%b')")) == {
        r for r in runs if tag[r] in ("adam", "a%b")
    }
    assert set(listed.find("tags.team not in ('adam')")) == {
        r for r in runs if tag[r] not in (None, "adam")
    }
    assert set(listed.find("tags.team ~ '^[aA]d'")) == {
        r for r in runs if (tag[r] or "").lower().startswith("ad")
    }
    assert set(listed.find("tags.team !~ 'a'")) == {
        r for r, value in tag.items() if value is not None and "a" not in value
    }
    assert set(listed.find("end_time is missing")) == {
        r for r in runs if runs[r].info.end_time is None
    }
    now_ms = START_MS + 6 * HOUR_MS
    assert set(listed.find("started within last 2 h", now_ms=now_ms)) == {
        r for r in runs if runs[r].info.start_time >= START_MS + 4 * HOUR_MS
    }
    assert set(listed.find("start_time < '2023-11-15T00:13:20+01:00'")) == {
        r for r in runs if runs[r].info.start_time < START_MS + HOUR_MS
    }
    assert set(listed.find("metrics.loss is missing")) == {
        r for r in runs if "loss" not in runs[r].data.metrics
    }


def test_names_are_searched_plain_and_by_pattern(listed: Listed) -> None:
    names = {run_id: run.info.run_name for run_id, run in listed.runs.items()}
    assert set(listed.find(search="SAME")) == {r for r in names if names[r].lower() == "same"}
    assert set(listed.find(search="_%")) == {r for r in names if "_%" in names[r]}
    some = next(iter(names))
    assert listed.find(search=some[:12]) == [some]
    assert set(listed.find(search=r"^run \d$", is_regex=True)) == {
        r for r in names if names[r][:-1] == "run " and names[r][-1].isdigit()
    }


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_pattern_takes_longer_than_its_text(pattern: str) -> None:
    # Minutes and more for an engine that goes back; the test's own time limit is the check.
    assert matches(["a" * 100_000 + "!"] * 10, pattern) == [False] * 10


@pytest.mark.parametrize("pattern", ["(", "(?<=a)b", "x" * 501])
def test_a_pattern_that_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        matches(["a"], pattern)


def test_extremes_are_those_of_the_history(listed: Listed) -> None:
    names = ["metrics.loss:min", "metrics.loss:max", "metrics.loss:latest", "metrics.a b"]
    for row in listed.rows(list(listed.runs), names):
        history = listed.history(row.run_id, "loss")
        expected = (min(history), max(history)) if history else (None, None)
        assert tuple(row.cells[:2]) == expected
        metrics = listed.runs[row.run_id].data.metrics
        assert [repr(cell) for cell in row.cells[2:]] == [
            repr(metrics.get(key)) for key in ("loss", "a b")
        ]
    low = {r: min(listed.history(r, "loss"), default=None) for r in listed.runs}
    below = {r for r, value in low.items() if value is not None and value < 0}
    assert below
    assert set(listed.find("min(metrics.loss) < 0")) == below
    assert set(listed.find("max(metrics.loss) is missing")) == {r for r in low if low[r] is None}


def test_extremes_are_read_by_scope_as_by_run(
    listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ["metrics.loss:min", "metrics.loss", "params.lr", "tags.team", "attributes.duration"]
    columns += ["tags.split", "tags.none"]
    one_by_one = listed.rows(list(listed.runs), columns)
    monkeypatch.setattr(run_columns, "FEW_RUNS", 0)
    assert repr(listed.rows(list(listed.runs), columns)) == repr(one_by_one)
    assert any(SEPARATED in row.cells for row in one_by_one)


_TEXT_VALUES = st.sampled_from([*WORDS, "ADAM", "a%", "%1%", "same", "run 1", "user 1"])
_NUMBER_VALUES = st.sampled_from([0.0, 0.1, 1, 9, 10, -1.5, 5.0])


@st.composite
def conditions(draw: st.DrawFn) -> filter_language.Tree:
    """Draw one comparison of every kind that there is."""
    kind, key, aggregate = draw(
        st.sampled_from(
            [
                *(("metrics", "loss", how) for how in sorted(AGGREGATES)),
                *(("params", key, "") for key in ("lr", "a b", "none")),
                ("tags", "team", ""),
                *(("attributes", key, "") for key in ("run_name", "user_id")),
            ]
        )
    )
    comparators = ["=", "!=", "is missing", "is not missing", "in", "not in"]
    is_number = kind == "metrics" or (kind != "attributes" and draw(st.booleans()))
    if is_number:
        comparators += ["<", "<=", ">", ">="]
    else:
        comparators += ["like", "ilike", "~", "!~"]
    comparator = draw(st.sampled_from(comparators))
    value = _NUMBER_VALUES if is_number else _TEXT_VALUES
    if "missing" in comparator:
        values: tuple[Any, ...] = ()
    elif "in" in comparator.split():
        values = tuple(draw(st.lists(value, min_size=1, max_size=3)))
    elif "~" in comparator:
        values = (draw(st.sampled_from(["^a", "[01]$", "(?i)ADAM", "."])),)
    else:
        values = (draw(value),)
    return filter_language.Condition(kind, key, aggregate, comparator, values)


_TREES = st.recursive(
    conditions(),
    lambda parts: st.one_of(
        parts.map(lambda part: filter_language.Group("not", (part,))),
        st.builds(
            filter_language.Group,
            st.sampled_from(["and", "or"]),
            st.lists(parts, min_size=2, max_size=3).map(tuple),
        ),
    ),
    max_leaves=5,
)
_ORDERS = st.lists(
    st.sampled_from(
        [
            f"{sign}{name}"
            for sign in ("", "-")
            for name in (
                *("metrics.loss", "metrics.loss:min", "metrics.a b:max", "params.lr", "tags.team"),
                *("attributes.run_name", "attributes.start_time", "attributes.duration"),
            )
        ]
    ),
    max_size=2,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=_TREES, order=_ORDERS)
def test_many_runs_are_answered_as_few_are(
    listed: Listed, tree: filter_language.Tree, order: list[str]
) -> None:
    """Few are asked for one by one in the database, of many every key is read and joined here."""
    text = filter_language.text_of(tree)
    of_few = listed.find(text, order)
    for factor, look_up in ((0, 20), (1_000, 0)):  # within the scope; every row of the table
        with (
            mock.patch.object(run_columns, "FEW_RUNS", 0),
            mock.patch.object(run_columns, "_SCAN_FACTOR", factor),
            mock.patch.object(run_columns, "_ROWS_A_LOOK_UP", look_up or 10**9),
        ):
            assert listed.find(text, order) == of_few, text


@pytest.mark.parametrize(
    "term", ["metrics.loss", "metrics.loss:max", "params.lr", "tags.team", "attributes.run_name"]
)
def test_orders_put_numbers_before_text_and_the_missing_last(listed: Listed, term: str) -> None:
    def value(run_id: str) -> Any:
        run = listed.runs[run_id]
        if term == "metrics.loss":
            return run.data.metrics.get("loss")
        if term == "metrics.loss:max":
            return max(listed.history(run_id, "loss"), default=None)
        if term == "attributes.run_name":
            return run.info.run_name
        return run.data.params.get("lr") if term == "params.lr" else run.data.tags.get("team")

    def rank(run_id: str, *, is_descending: bool) -> tuple[Any, ...]:
        found = value(run_id)
        sign = -1 if is_descending else 1
        if found is None:
            return (3,)
        if isinstance(found, float):
            return (2,) if math.isnan(found) else (0, sign * found)
        number = try_number(found)
        return (0, sign * number) if number is not None else (sign, found)

    for is_descending in (False, True):
        found = listed.find(order=[("-" if is_descending else "") + term])
        assert sorted(found) == sorted(listed.runs)
        ranks = [rank(run_id, is_descending=is_descending) for run_id in found]
        texts = [rank_[1] for rank_ in ranks if isinstance(rank_[-1], str)]
        assert texts == sorted(texts, reverse=is_descending)
        others = [rank_ for rank_ in ranks if not isinstance(rank_[-1], str)]
        assert others == sorted(others)
        # What is equal stays newest first.
        newest = {run_id: at for at, run_id in enumerate(listed.find())}
        for first, second in itertools.pairwise(zip(ranks, found, strict=True)):
            if first[0] == second[0]:
                assert newest[first[1]] < newest[second[1]]


def test_rows_say_what_a_run_is(listed: Listed) -> None:
    run_id = listed.find()[0]
    listed.store.set_tag(run_id, RunTag("weir.exit_cause", "oom-killed"))
    listed.store.set_tag(run_id, RunTag("mlflow.runColor", "#ff0000"))
    (row,) = listed.rows([run_id, "0" * 32], ["params.lr"])
    info = listed.runs[run_id].info
    assert (row.name, row.user, row.status) == (info.run_name, info.user_id, info.status)
    assert (row.start_ms, row.end_ms) == (info.start_time, info.end_time)
    assert row.info == {"cause": "oom-killed", "colour": "#ff0000"}


def test_numbers_of_runs_never_change(listed: Listed) -> None:
    engine = listed.store.engine
    experiment = listed.store.create_experiment(f"numbered {engine.dialect.name}")

    def create(start_time: int) -> str:
        run = listed.store.create_run(experiment, "u", start_time, [], "r")
        return str(run.info.run_id)

    late, early = create(2_000), create(1_000)
    runs = {late: int(experiment), early: int(experiment)}
    assert ordinals.read(engine, runs) == {late: 1, early: 0}
    earliest = create(1)
    runs[earliest] = int(experiment)
    assert ordinals.read(engine, runs) == {late: 1, early: 0, earliest: 2}
    listed.store.delete_run(early)
    listed.store._hard_delete_run(early)
    assert ordinals.read(engine, {late: int(experiment)}) == {late: 1}
    with engine.connect() as connection:
        gone = sa.select(schema.ordinal).where(schema.ordinal.c.run_uuid == early)
        assert connection.execute(gone).first() is None


def test_groups_say_mean_and_deviation(listed: Listed) -> None:
    run_ids = listed.find()
    with listed.store.ManagedSessionMaker() as session:
        found = grouping.group(
            session,
            listed.scope,
            listed.store.engine.dialect.name,
            run_ids,
            [run_columns.parse("params.lr"), run_columns.parse("attributes.status")],
            [run_columns.parse("metrics.loss"), run_columns.parse("attributes.user_id")],
        )
    assert found.n_groups == len(found.groups) > 3
    assert sorted(r for one in found.groups for r in one.run_ids) == sorted(run_ids)
    for one in found.groups:
        runs = [listed.runs[run_id] for run_id in one.run_ids]
        for run in runs:
            value = run.data.params.get("lr")
            assert (value or "")[:1_000] == (one.values[0] or "")[:1_000]
            assert run.info.status == one.values[1]
        losses = [run.data.metrics["loss"] for run in runs if "loss" in run.data.metrics]
        numbers = [loss for loss in losses if math.isfinite(loss)]
        summary = one.summaries[0]
        if not losses:
            assert summary is None
        elif not numbers:
            assert summary == {"n": 0}
        else:
            assert summary is not None
            assert summary["n"] == len(numbers)
            if max(map(abs, numbers)) < 1e150:
                assert summary["mean"] == pytest.approx(statistics.fmean(numbers))
            if len(numbers) > 1 and max(map(abs, numbers)) < 1e150:
                assert summary["sd"] == pytest.approx(statistics.stdev(numbers))
        users = {run.info.user_id for run in runs}
        assert one.summaries[1] is not None
        assert one.summaries[1]["distinct"] == len(users)
    missing = [one for one in found.groups if one.values[0] is None]
    assert missing == found.groups[-len(missing) :]


def test_many_numbers_are_grouped_by_ranges(listed: Listed) -> None:
    values = {f"{n:032x}": float(n) for n in range(100)}
    labels = grouping._labels(run_columns.parse("metrics.x"), values)
    assert len(set(labels.values())) == 8
    for run_id, (low, high) in labels.items():
        assert low <= values[run_id] <= high


def test_the_same_number_in_all_runs_of_a_group_has_no_deviation() -> None:
    summary = grouping._number_summary(np.full(15, 0.1))
    assert summary == {"n": 15, "mean": 0.1, "sd": 0.0, "min": 0.1, "max": 0.1}


def test_known_keys_have_types_and_values(listed: Listed) -> None:
    with listed.store.ManagedSessionMaker() as session:
        found = grouping.known_keys(session, listed.scope)
    assert [key.key for key in found["metrics"]] == ["a b", "loss"]
    lr = next(key for key in found["params"] if key.key == "lr")
    assert lr.n_runs == sum("lr" in run.data.params for run in listed.runs.values())
    assert not lr.is_number
    assert "adam" in lr.values


def test_an_older_database_gets_its_extremes(listed: Listed) -> None:
    columns = schema.series.c
    wanted = sa.select(columns.run_uuid, columns.chunk_id, columns.first_row, columns.low)
    with listed.store.engine.begin() as connection:
        before = sorted(connection.execute(wanted).all(), key=repr)
        assert any(row[3] is not None for row in before)
        connection.execute(sa.update(schema.series).values(low=None, high=None))
        v0007_workspace._fill_extremes(connection)
        assert sorted(connection.execute(wanted).all(), key=repr) == before
        assert migrations.pending(connection) == []


def test_another_experiments_runs_are_never_found(listed: Listed) -> None:
    scope = Scope([int(listed.other)], ["active"])
    everything = set(listed.runs)
    for text in ("", "params.lr > 0", "not params.lr > 0", "name ~ '.'", "min(metrics.loss) < 9"):
        for found in (listed.find(text, scope=scope), listed.find(text)):
            assert found
        assert not everything & set(listed.find(text, scope=scope))
        assert set(listed.find(text)) <= everything
