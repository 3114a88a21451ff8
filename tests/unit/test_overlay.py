"""A run's view follows MLflow's rules for latest metrics, params, tags and name."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
from mlflow.entities import (
    Dataset,
    DatasetInput,
    LifecycleStage,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
    RunTag,
)
from mlflow.exceptions import MlflowException

from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.store.metrics.points import Point


def info(**changes: Any) -> RunInfo:
    facts: dict[str, Any] = {
        "run_id": "a" * 32,
        "experiment_id": "1",
        "user_id": "someone",
        "status": "RUNNING",
        "start_time": 5,
        "end_time": None,
        "lifecycle_stage": LifecycleStage.ACTIVE,
        "artifact_uri": "file:///x",
        "run_name": "swift-fox",
    }
    return RunInfo(**{**facts, **changes})


def view() -> RunView:
    return RunView(info(), tags={"mlflow.runName": "swift-fox"}, is_verified=True)


@pytest.mark.parametrize(
    ("points", "latest"),
    [
        ([("m", 1, 1, 0.5), ("m", 1, 2, 0.1)], 0.1),
        ([("m", 1, 2, 0.1), ("m", 9, 1, 0.5)], 0.1),
        ([("m", 1, 2, 0.1), ("m", 2, 2, 0.5)], 0.5),
        ([("m", 1, 2, 0.5), ("m", 1, 2, 0.1)], 0.5),
        ([("m", 1, 2, -1.0), ("m", 1, 2, math.nan)], math.nan),
        ([("m", 1, 2, math.nan), ("m", 1, 2, 0.0)], math.nan),
    ],
    ids=["step", "step-before-time", "time", "value", "nan-is-0", "tie-keeps-the-first"],
)
def test_the_latest_metric_is_by_step_then_time_then_value(
    points: list[tuple[str, int, int, float]], latest: float
) -> None:
    seen = view()
    for point in points:
        seen.note_points([Point(*point)])
    assert seen.to_run().data.metrics == pytest.approx({"m": latest}, nan_ok=True)


def test_a_changed_param_is_named_with_both_values() -> None:
    seen = view()
    seen.note_params([Param("a", "1")])
    assert seen.changed_params([Param("a", "1"), Param("b", "2")]) == []
    assert seen.changed_params([Param("a", "2")]) == [
        {"key": "a", "old_value": "1", "new_value": "2"}
    ]


def test_the_name_tag_names_the_run_and_a_new_name_sets_the_tag() -> None:
    seen = view()
    seen.note_tags([RunTag("mlflow.runName", "calm-owl")])
    assert seen.to_run().info.run_name == "calm-owl"
    seen.note_info(None, None, "bold-cat")
    assert seen.to_run().data.tags["mlflow.runName"] == "bold-cat"


def test_a_run_handed_out_does_not_change_any_more() -> None:
    seen = view()
    before = seen.to_run()
    seen.note_points([Point("m", 1, 1, 0.5)])
    seen.note_info(RunStatus.FINISHED, 9, None)
    assert before.data.metrics == {}
    assert (before.info.status, before.info.end_time) == ("RUNNING", None)


def test_an_end_closes_the_view_and_running_opens_it_again() -> None:
    seen = view()
    opened = [seen.is_open]
    assert seen.note_info(RunStatus.FAILED, 9, None).end_time == 9
    opened.append(seen.is_open)
    seen.note_info(RunStatus.RUNNING, None, None)
    opened.append(seen.is_open)
    assert opened == [True, False, True]


def test_what_the_store_answers_late_goes_below_what_was_noted_since() -> None:
    seen = RunView.of_unknown("a" * 32)
    assert not seen.is_verified
    seen.note_points([Point("m", 1, 7, 0.7)])
    seen.note_tags([RunTag("t", "ours")])
    seen.learn(
        Run(
            info(),
            RunData(
                [Metric("m", 0.1, 1, 1), Metric("n", 3.0, 1, 1)],
                [Param("a", "1")],
                [RunTag("t", "theirs"), RunTag("u", "theirs")],
            ),
        )
    )
    run = seen.to_run()
    assert run.data.metrics == {"m": 0.7, "n": 3.0}
    assert run.data.params == {"a": "1"}
    assert run.data.tags == {"t": "ours", "u": "theirs"}
    assert run.info.experiment_id == "1"
    assert seen.is_verified


def test_a_run_in_the_bin_is_seen_as_such() -> None:
    deleted = Run(info(lifecycle_stage=LifecycleStage.DELETED), RunData())
    assert RunView.of_run(deleted).is_deleted


def test_a_rewound_view_says_what_it_lacks_until_the_store_has_told() -> None:
    seen = RunView.of_run(stored())
    seen.note_points([Point("kept", 1, 3, 0.5)])
    seen.rewind(4)
    assert seen.behind == {"m"}
    seen.learn(stored())  # read before the rewind was delivered
    assert (seen.behind, seen.to_run().data.metrics) == ({"m"}, {"kept": 0.5, "system/gpu": 9.0})
    rewound = Run(info(), RunData([Metric("m", 0.4, 1, 4)], [], []))
    seen.learn(rewound)
    assert (seen.behind, seen.to_run().data.metrics["m"]) == (set(), 0.4)
    seen.rewind(3)
    seen.replace(rewound)
    assert seen.behind == set()


def stored(**tags: str) -> Run:
    """Return a run as the store answers, with two metrics."""
    metrics = [Metric("m", 1.0, 1, 5), Metric("system/gpu", 9.0, 1, 50)]
    return Run(info(), RunData(metrics, [], [RunTag(key, value) for key, value in tags.items()]))


def test_a_deleted_tag_does_not_come_back_with_a_late_answer() -> None:
    seen = view()
    seen.note_tags([RunTag("a", "1"), RunTag("b", "1")])
    seen.note_deleted_tag("a")
    seen.note_deleted_tag("c")
    seen.learn(stored(a="1", b="0", c="1"))
    assert {"a", "c"}.isdisjoint(seen.tags)
    assert seen.tags["b"] == "1"
    seen.note_tags([RunTag("a", "2")])
    seen.learn(stored(a="1"))
    assert seen.tags["a"] == "2"
    seen.note_deleted_tag("a")
    seen.replace(stored(a="3"))  # all that was noted here is in it: somebody has set it again
    seen.learn(stored(a="3"))
    assert seen.tags["a"] == "3"


def test_what_is_rewound_does_not_come_back_with_a_late_answer() -> None:
    seen = view()
    seen.note_points([Point("m", 1, 9, 2.0), Point("n", 1, 2, 3.0)])
    seen.rewind(4)
    seen.learn(stored())
    assert seen.to_run().data.metrics == {"n": 3.0, "system/gpu": 9.0}
    seen.note_points([Point("m", 1, 5, 7.0)])
    assert seen.to_run().data.metrics["m"] == 7.0
    seen.replace(stored())
    assert seen.to_run().data.metrics["m"] == 1.0


def dataset(name: str, digest: str) -> DatasetInput:
    return DatasetInput(Dataset(name, digest, "code", "{}"), [])


def test_inputs_and_outputs_are_there_once_also_after_a_late_answer() -> None:
    first, second = dataset("a", "1"), dataset("a", "2")
    seen = view()
    seen.note_inputs([first, dataset("a", "1")], [LoggedModelInput("m-1")])
    seen.note_inputs([dataset("a", "1"), second], [LoggedModelInput("m-1")])
    seen.note_outputs([LoggedModelOutput("m-2", 1)])
    answer = Run(
        info(),
        RunData(),
        RunInputs([first], [LoggedModelInput("m-1")]),
        RunOutputs([LoggedModelOutput("m-2", 1)]),
    )
    for _ in range(2):
        run = seen.to_run()
        assert run.inputs is not None
        assert run.outputs is not None
        assert run.inputs.dataset_inputs == [first, second]
        assert [one.model_id for one in run.inputs.model_inputs] == ["m-1"]
        assert [one.model_id for one in run.outputs.model_outputs] == ["m-2"]
        seen.learn(answer)


def test_a_model_that_came_out_before_is_refused() -> None:
    seen = view()
    with pytest.raises(MlflowException, match="m-2"):
        seen.refuse_repeated_outputs([LoggedModelOutput("m-2", 1), LoggedModelOutput("m-2", 2)])
    seen.refuse_repeated_outputs([LoggedModelOutput("m-2", 1)])
    seen.note_outputs([LoggedModelOutput("m-2", 1)])
    with pytest.raises(MlflowException, match="m-2"):
        seen.refuse_repeated_outputs([LoggedModelOutput("m-3", 1), LoggedModelOutput("m-2", 2)])


def seen() -> Run:
    """A run with one of each, as a view tells it."""
    known = view()
    known.note_points([Point("loss", 10, 1, 0.5), Point("odd", 11, 2, math.nan)])
    known.note_params([Param("lr", "0.1")])
    return known.to_run()


def test_a_run_that_is_told_stays_as_it_was_told_whenever_it_is_read() -> None:
    known = view()
    known.note_points([Point("loss", 10, 1, 0.5)])
    known.note_params([Param("lr", "0.1")])
    told = known.to_run()
    known.note_points([Point("loss", 20, 2, 0.25)])
    known.note_params([Param("seed", "1")])
    known.note_tags([RunTag("late", "yes")])
    assert told.data.metrics == {"loss": 0.5}
    assert (told.data.params, told.data.tags) == ({"lr": "0.1"}, {"mlflow.runName": "swift-fox"})


def test_nothing_is_made_of_a_runs_values_before_they_are_read() -> None:
    told = seen()
    assert list(vars(told.data)) == ["_late"]
    assert told.data.params == {"lr": "0.1"}
    assert "_late" not in vars(told.data)


@pytest.mark.parametrize(
    "of", [lambda data: data, copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))]
)
def test_a_runs_values_are_mlflows_own_in_every_way(of: Any) -> None:
    data, plain = (
        of(seen().data),
        RunData(
            [Metric("loss", 0.5, 10, 1), Metric("odd", math.nan, 11, 2)],
            [Param("lr", "0.1")],
            [RunTag("mlflow.runName", "swift-fox")],
        ),
    )
    assert isinstance(data, RunData)
    assert repr(data) == repr(plain)
    assert repr(dict(data)) == repr(dict(plain))
    assert data.to_proto().SerializeToString() == plain.to_proto().SerializeToString()
    assert seen().to_dictionary()["data"]["params"] == plain.params
    with pytest.raises(AttributeError, match="no_such"):
        getattr(data, "no_such")  # noqa: B009
