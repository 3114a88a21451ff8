"""Metrics that are logged together again are written and shown as the long way would have it."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from mlflow.entities import LifecycleStage, Metric, RunInfo

from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.store.delivery import records
from mlflow_weir.store.tracking_store import validated_points

RUN = "b" * 32
UNUSUAL = {
    "infinite": {"value": math.inf},
    "minus-infinite": {"value": -math.inf},
    "an-integer-value": {"value": 3},
    "a-fraction-of-a-step": {"step": 1.5},
    "a-truth-for-a-step": {"step": True},
    "a-step-of-65-bits": {"step": 1 << 63},
    "before-1970": {"timestamp": -1},
    "of-a-model": {"model_id": "m-1"},
}


def view() -> RunView:
    facts = RunInfo(RUN, "1", "someone", "RUNNING", 5, None, LifecycleStage.ACTIVE)
    return RunView(facts, is_verified=True)


def metric(key: str, **changes: Any) -> Metric:
    facts: dict[str, Any] = {"value": 0.5, "timestamp": 7, "step": 3}
    return Metric(key, **{**facts, **changes})


def learned() -> RunView:
    seen = view()
    seen.repeated.learn(validated_points([metric("a"), metric("b")], is_batch=True))
    return seen


def test_records_and_latest_values_are_those_of_the_long_way() -> None:
    draw = random.Random(3)
    short, long = view(), view()
    sets = [("a", "b", "c"), ("a", "b"), ("c", "d", "e", "f"), ("a",), ("a", "b", "a")]
    values = [0.25, -0.0, math.nan, math.inf, -1.7976931348623157e308, 1e-320]
    n_short = 0
    for moment in range(3_000):
        step = draw.choice([moment // 3, moment // 3, draw.randrange(1_000)])
        one = draw.random() < 0.9
        metrics = [
            metric(
                key,
                value=draw.choice([draw.random(), draw.random(), *values]),
                timestamp=1_000 + (moment // 3 if one else draw.randrange(3_000)),
                step=step if one else draw.randrange(1_000),
            )
            for key in draw.choices(sets, [9, 3, 3, 1, 1])[0]
        ]
        points = validated_points(metrics, is_batch=True)
        long.note_points(points)
        again = short.repeated.again(metrics)
        if again is None:
            short.note_points(points)
            short.repeated.learn(points)
        else:
            n_short += 1
            assert again.record == records.encode_points(RUN, points)
            short.note_again(again)
        if draw.random() < 0.3:  # whoever looks at once, or later
            assert str(latest(short)) == str(latest(long))
        if draw.random() < 0.01:
            for one_view in (short, long):
                one_view.rewind(step)
    assert n_short > 1_000
    assert str(latest(short)) == str(latest(long))


def test_a_metric_alone_is_written_and_shown_as_by_the_long_way() -> None:
    draw = random.Random(4)
    short, long = view(), view()
    values = [0.25, -0.0, math.nan, math.inf, -1.7976931348623157e308, 1e-320]
    n_short = 0
    for moment in range(2_000):
        one = metric(
            draw.choice("abc"),
            value=draw.choice([draw.random(), draw.random(), *values]),
            timestamp=1_000 + draw.randrange(moment + 1),
            step=draw.choice([moment // 3, draw.randrange(1_000), -moment]),
        )
        points = validated_points([one], is_batch=False)
        long.note_points(points)
        again = short.repeated.one_again(one)
        if again is None:
            short.note_points(points)
            short.repeated.learn_one(one.key)
        else:
            n_short += 1
            record, key, timestamp, step, value = again
            assert record == records.encode_points(RUN, points)
            short.note_point(key, timestamp, step, value)
        if draw.random() < 0.1:  # among metrics that come together
            together = [metric("a", step=moment), metric("b", step=moment)]
            for one_view in (short, long):
                one_view.repeated.learn(validated_points(together, is_batch=True))
                both = one_view.repeated.again(together)
                assert both is not None
                one_view.note_again(both)
    assert n_short > 1_000
    assert str(latest(short)) == str(latest(long))


def test_more_metrics_than_are_remembered_go_the_long_way_once_more() -> None:
    seen = view()
    keys = [f"m{n}" for n in range(5_000)]
    for key in keys:
        seen.repeated.learn_one(key)
    assert seen.repeated.one_again(metric(keys[-1])) is not None
    assert seen.repeated.one_again(metric(keys[0])) is None


def latest(seen: RunView) -> dict[str, tuple[int, int, float]]:
    """Return step, timestamp and value of each metric, in an order of its own."""
    found = seen.to_run().data._metric_objs
    return {one.key: (one.step, one.timestamp, one.value) for one in sorted(found, key=str)}


@pytest.mark.parametrize("what", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_goes_the_long_way(what: dict[str, Any]) -> None:
    seen = learned()
    assert seen.repeated.again([metric("a"), metric("b")]) is not None
    assert seen.repeated.again([metric("a"), metric("b", **what)]) is None
    seen.repeated.learn_one("b")
    assert seen.repeated.one_again(metric("b")) is not None
    assert seen.repeated.one_again(metric("b", **what)) is None


def test_metrics_that_are_none_go_the_long_way_whole() -> None:
    seen = learned()
    strange: Any = ["b"]
    assert seen.repeated.again([metric("a"), metric(strange)]) is None
    assert seen.repeated.one_again(metric(strange)) is None
    assert seen.repeated.one_again(metric("never seen")) is None
    metrics: Any = iter([metric("a"), metric("b")])
    assert seen.repeated.again(metrics) is None
    assert len(list(metrics)) == 2


def test_a_store_that_has_all_replaces_what_was_noted() -> None:
    seen, other = learned(), view()
    again = seen.repeated.again([metric("a", step=9), metric("b", step=9)])
    assert again is not None
    seen.note_again(again)
    other.note_points(validated_points([metric("a", step=4)], is_batch=False))
    seen.replace(other.to_run())
    assert latest(seen) == {"a": (4, 7, 0.5)}
