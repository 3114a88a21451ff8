"""The grammar of the run list's filter."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.search_utils import SearchUtils

from mlflow_weir.store.runs import filter_language
from mlflow_weir.store.runs.filter_language import Condition, FilterError, Group, parse, text_of
from mlflow_weir.store.sharing.frozen_runs import FrozenRuns
from tree import ROOT

MLFLOWS_OWN = [
    "metrics.loss < 0.5",
    "metric.`a b` >= -1e-3",
    'metrics."val/loss" != 3',
    "params.lr = '0.001'",
    'parameters.x != "it\'s"',
    "params.x = 'a''b'",
    "param.model LIKE '%Net%'",
    "tags.team ilike 'VIS%'",
    "tag.mlflow.user = 'someone'",
    "params.x IS NULL",
    "tags.x is not null",
    "attributes.status = 'FINISHED'",
    "status != 'FAILED'",
    "attr.`Run name` like 'a%'",
    "run.start_time > 1664067852747",
    "created <= 1664067852747",
    "run_id IN ('a', 'b')",
    "attributes.run_id NOT IN ('a')",
    "datasets.name = 'mnist'",
    "dataset.context LIKE 'tr%'",
    "user_id = 'x' AND metrics.a > 1 and params.b = 'c'",
]


@pytest.mark.parametrize("text", MLFLOWS_OWN)
def test_mlflows_filter_strings_mean_what_they_mean_there(text: str) -> None:
    expected = []
    for one in SearchUtils.parse_search_filter(text):
        value = one["value"]
        # Before MLflow 3.17 what IN names is a list.
        values = [] if value is None else value if isinstance(value, (list, tuple)) else [value]
        expected.append(
            (
                {"parameter": "param"}.get(one["type"], one["type"]),
                SearchUtils.translate_key_alias(one["key"]),
                one["comparator"].upper(),
                tuple(map(str, values)),
            )
        )
    tree = parse(text)
    found = tree.parts if isinstance(tree, Group) else [tree]
    same_words = {"IS MISSING": "IS NULL", "IS NOT MISSING": "IS NOT NULL"}
    for condition, (kind, key, comparator, values) in zip(found, expected, strict=True):
        assert isinstance(condition, Condition)
        assert condition.kind.rstrip("s") == kind
        assert condition.key == key
        word = condition.comparator.upper()
        assert same_words.get(word, word) == comparator
        if kind == "metric":
            assert [float(v) for v in condition.values] == [float(v) for v in values]
        else:
            assert tuple(map(str, condition.values)) == values


@pytest.mark.parametrize(
    ("text", "position", "length", "message"),
    [
        ("metrics.loss", 12, 1, "expected a comparison"),
        ("metrics.loss > ", 15, 1, "expected a number"),
        ("metrics.loss > 'x'", 15, 3, "expected a number"),
        ("metrics.loss ~ 'x'", 13, 1, "cannot be asked of metrics"),
        ("lr > 1", 0, 2, "written params.lr"),
        ("nothing.lr > 1", 0, 10, "none of metrics"),
        ("status = 'a", 9, 2, "quote that is not closed"),
        ("(status = 'a'", 13, 1, "expected )"),
        ("status = 'a' status = 'b'", 13, 6, "expected `and`"),
        ("status in ()", 11, 1, "expected a value"),
        ("start_time within last 7 y", 23, 1, "none of s, m, h, d, w"),
        ("min(params.x) > 1", 4, 8, "takes a metric"),
        ("status = ; drop", 11, 4, "expected `and`"),  # a word is a value
        ("not", 3, 1, "expected a field"),
        ("(" * 30 + "status = 'a'" + ")" * 30, 21, 1, "deeper"),
        (" or ".join(["status = 'a'"] * 101), 1600, 6, "more than 100"),
        ("x" * 9_000, 8_000, 1, "at most"),
    ],
)
def test_a_fault_is_told_with_its_place(
    text: str, position: int, length: int, message: str
) -> None:
    with pytest.raises(FilterError, match=re.escape(message)) as raised:
        parse(text)
    assert (raised.value.position, raised.value.length) == (position, length)


_keys = st.sampled_from(["loss", "a b", "val/loss", "a`b", "Größe", "a:min", "or", "x-1", 'a`"b'])
_texts = st.one_of(st.text(max_size=20), st.text("'\"` x", max_size=8))
_numbers = st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False))
_conditions = st.one_of(
    st.builds(
        Condition,
        st.just("metrics"),
        _keys,
        st.sampled_from(["latest", "min", "max"]),
        st.sampled_from(["<", ">=", "=", "!="]),
        st.tuples(_numbers),
    ),
    st.builds(
        Condition,
        st.sampled_from(["params", "tags"]),
        _keys,
        st.just(""),
        st.sampled_from(["=", "!=", "<", "in", "not in"]),
        st.tuples(st.one_of(_texts, _numbers)),
    ),
    st.builds(
        Condition,
        st.just("attributes"),
        st.sampled_from(["status", "run_name"]),
        st.just(""),
        st.sampled_from(["~", "!~", "like", "="]),
        st.tuples(_texts),
    ),
    st.builds(
        Condition,
        st.just("attributes"),
        st.just("start_time"),
        st.just(""),
        st.just("within last"),
        st.tuples(st.integers(0, 100), st.sampled_from("smhdw")),
    ),
)
_trees = st.recursive(
    _conditions,
    lambda inner: st.one_of(
        st.builds(
            Group,
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=2, max_size=3).map(tuple),
        ),
        st.builds(Group, st.just("not"), st.tuples(inner)),
    ),
    max_leaves=8,
)


@given(_trees)
def test_a_tree_that_is_written_reads_as_itself(tree: filter_language.Tree) -> None:
    assert parse(text_of(tree)) == tree


@given(st.text(max_size=60))
def test_no_text_does_more_than_fail_to_be_a_filter(text: str) -> None:
    position = 0
    try:
        tree = parse(text)
    except FilterError as exc:
        position = exc.position
    else:
        assert parse(text_of(tree)) == tree
    assert 0 <= position <= len(text)


CORPUS = json.loads((ROOT / "tests/support/corpora/filters.json").read_text(encoding="utf-8"))


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


def _corpus_runs() -> FrozenRuns:
    return FrozenRuns(
        {
            run["id"]: {
                **{name: run[name] for name in ("name", "user", "status", "params", "tags")},
                "experiment": 0,
                "start_ms": run["start"],
                "end_ms": run["end"],
                "metrics": {
                    key: [_number(latest), 0, 0, _number(low), _number(high)]
                    for key, (latest, low, high) in run["metrics"].items()
                },
            }
            for run in CORPUS["runs"]
        }
    )


def _words(value: Any) -> Any:
    """Return a tree as JSON can hold it: numbers that it has not as words."""
    if isinstance(value, dict):
        return {key: _words(one) for key, one in value.items()}
    if isinstance(value, list):
        return list(map(_words, value))
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


@pytest.mark.parametrize("one", CORPUS["filters"], ids=lambda one: one["text"])
def test_published_pages_are_held_to_what_the_server_makes_of_a_filter(one: Any) -> None:
    """The other side is ``web/src/published/filter.test.ts``."""
    tree = parse(one["text"])
    assert _words(None if tree is None else tree.as_json()) == one["tree"]
    runs = [run["id"] for run in CORPUS["runs"]]
    found = _corpus_runs().find(now_ms=CORPUS["now"], tree=tree).run_ids
    assert sorted(map(runs.index, found)) == one["matching"]


@pytest.mark.parametrize("one", CORPUS["faults"], ids=lambda one: one["message"])
def test_published_pages_are_held_to_the_servers_faults(one: Any) -> None:
    with pytest.raises(FilterError) as raised:
        parse(one["text"])
    fault = raised.value
    assert (fault.position, fault.length, str(fault)) == (
        *(one["position"], one["length"]),
        one["message"],
    )
