"""What this process knows of its runs: the last state read, plus what its journal holds since.

MLflow asks for a run in the middle of a training (``log_metric(run_id=…)``, ``end_run``,
autologgers), when its latest records may not be in the store yet, or the store be away. A
``RunView`` answers at once, and is what a param that changes, or a run that is deleted, is told
from. It follows MLflow's rules for a run's latest metrics, params, tags and name.

A view is changed by the thread that logs, under the lock of the store that owns it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from mlflow.entities import (
    DatasetInput,
    LifecycleStage,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.late_run_data import LateRunData
from mlflow_weir.plugin.pending_names import PENDING_ARTIFACTS, PendingNames, changed
from mlflow_weir.plugin.repeated_metrics import Again, RepeatedMetrics
from mlflow_weir.store.delivery.records import Operation, Points
from mlflow_weir.store.delivery.rewinding import is_rewound
from mlflow_weir.store.metrics.points import Point


class RunView:
    """One run as this process sees it.

    Attributes:
        run_id: 32 hex digits.
        repeated: Metrics that are logged together again and again.
        params: Key to value.
        tags: Key to value, ``mlflow.runName`` included.
        is_verified: The store has confirmed that the run exists, or this process began it.
        is_ours: This process began or resumed it, and has seen all there was before; while it
            ``is_open``, reads are answered from here.
        is_open: It has not been ended.
        is_deleted: It was in the bin when it was last looked at.
        is_fluent: This process began or resumed it with ``mlflow.start_run``.
        is_resting: Nothing was written to it since it was last looked at whether it can go.
        behind: Metrics that a rewind took back to a point which only the store knows, until it
            is learned.
    """

    def __init__(
        self,
        info: RunInfo,
        *,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        is_verified: bool,
        is_ours: bool = False,
    ) -> None:
        self.run_id: str = info.run_id
        self.repeated = RepeatedMetrics(self.run_id)
        self.params = params or {}
        self.tags = tags or {}
        self.is_verified = is_verified
        self.is_ours = is_ours
        self.is_fluent = False
        self.is_resting = False
        self.behind: set[str] = set()
        self.seen_s = -math.inf  # monotonic moment of the last look at the store
        self.next_beside_s = -math.inf  # the same of the next look in a thread beside a log call
        # What that found, until a log call takes it over; or raises that there is no such run.
        self.found_beside: Run | MlflowException | None = None
        self.is_open = not RunStatus.is_terminated(RunStatus.from_string(info.status))
        self._take_info(info)
        # What the store may still show, until it has all that was noted here.
        self._deleted_tags: set[str] = set()
        self._rewound_to: int | None = None
        # key -> (step, timestamp, value or 0 for NaN), value
        self._noted: dict[str, tuple[tuple[int, int, float], float]] = {}
        # What a loop logged last of metrics that it logs at each step; and whether it is noted.
        self._repeated: tuple[tuple[str, ...], tuple[int, int], Sequence[float]] | None = None
        self._noted_repeated: object = None
        self._dataset_inputs: list[DatasetInput] = []
        self._model_inputs: list[LoggedModelInput] = []
        self._model_outputs: list[LoggedModelOutput] = []

    @classmethod
    def of_run(cls, run: Run) -> RunView:
        """Begin from what the store answered."""
        view = cls(
            run.info, params=dict(run.data.params), tags=dict(run.data.tags), is_verified=True
        )
        view.note_points(
            Point(metric.key, metric.timestamp, metric.step, metric.value)
            for metric in mlflow_private.latest_metrics_of(run.data)
        )
        if run.inputs is not None:
            view.note_inputs(run.inputs.dataset_inputs or [], run.inputs.model_inputs or [])
        if run.outputs is not None:
            view.note_outputs(run.outputs.model_outputs or [])
        return view

    @classmethod
    def of_unknown(cls, run_id: str, experiment_id: str = "") -> RunView:
        """Begin from nothing: the store could not be asked about this run."""
        info = RunInfo(
            run_id=run_id,
            experiment_id=experiment_id,
            user_id="",
            status=RunStatus.to_string(RunStatus.RUNNING),
            start_time=0,
            end_time=None,
            lifecycle_stage=LifecycleStage.ACTIVE,
            artifact_uri=f"{PENDING_ARTIFACTS}{run_id}",
        )
        return cls(info, is_verified=False)

    def name_by(self, names: PendingNames) -> RunView:
        """Tell what becomes of names that are pending; return the view."""
        self._take_info(names.info(self._info))
        return self

    def learn(self, run: Run) -> None:
        """Put what the store answered late below what was noted since."""
        base = RunView.of_run(run)
        base.params.update(self.params)
        for key in self._deleted_tags:
            base.tags.pop(key, None)
        base.tags.update(self.tags)
        if self._rewound_to is not None:
            base.rewind(self._rewound_to)
        base.note_points(
            Point(key, rank[1], rank[0], value) for key, (rank, value) in self._latest.items()
        )
        self._take_values(base)
        self.behind = base.behind
        base.note_inputs(self._dataset_inputs, self._model_inputs)
        base.note_outputs(self._model_outputs)
        self._dataset_inputs = base._dataset_inputs
        self._model_inputs, self._model_outputs = base._model_inputs, base._model_outputs
        self._take_info(base._info)
        self.is_verified = True

    def add(self, run: Run) -> None:
        """Put what the store answered below what was noted since; it may be of a moment before."""
        info = changed(self._info, lifecycle_stage=run.info.lifecycle_stage)
        is_known = self.is_verified or not self.is_open
        self.learn(run)
        if is_known:
            self._take_info(info)

    def replace(self, run: Run) -> None:
        """Take over what the store answered, which has all that was noted here."""
        base = RunView.of_run(run)
        self._take_values(base)
        self._dataset_inputs = base._dataset_inputs
        self._model_inputs, self._model_outputs = base._model_inputs, base._model_outputs
        self._take_info(base._info)
        self._deleted_tags.clear()
        self._rewound_to = None
        self.behind.clear()

    def _take_values(self, other: RunView) -> None:
        self.params, self.tags, self._noted = other.params, other.tags, other._latest
        self._repeated = self._noted_repeated = None

    @property
    def info(self) -> RunInfo:
        """The run's facts."""
        return self._info

    def _take_info(self, info: RunInfo) -> None:
        self._info = info
        self.is_deleted = info.lifecycle_stage != LifecycleStage.ACTIVE

    def note_points(self, points: Iterable[Point]) -> None:
        """Keep each point that is its metric's latest: by (step, timestamp, value), NaN as 0."""
        _note(self._latest, points)

    def note_point(self, key: str, timestamp: int, step: int, value: float) -> None:
        """The same for one point, without a list of it."""
        # Without a call, where there is nothing to catch up with.
        latest = self._noted if self._repeated is self._noted_repeated else self._latest
        rank = (step, timestamp, value if value == value else 0.0)
        known = latest.get(key)
        if known is None or rank > known[0]:
            latest[key] = (rank, value)

    def note_again(self, again: Again) -> None:
        """The same for metrics that are logged together again, and likely to be once more."""
        moment, keys = again.moment, again.keys
        if moment is None:
            self.note_points(map(Point, keys, again.timestamps, again.steps, again.values))
            return
        last = self._repeated
        if last is None or last[0] is not keys:
            _ = self._latest  # in the order in which they came
        elif moment <= last[1]:  # not later than all of the last ones
            self.note_points(map(Point, keys, again.timestamps, again.steps, again.values))
            return
        self._repeated = (keys, moment, again.values)

    @property
    def _latest(self) -> dict[str, tuple[tuple[int, int, float], float]]:
        """Each metric's latest; not for a thread to change while another may."""
        last = self._repeated
        if last is not self._noted_repeated and last is not None:
            keys, (step, timestamp), values = last
            _note(
                self._noted,
                ((key, timestamp, step, v) for key, v in zip(keys, values, strict=True)),
            )
            self._noted_repeated = last
        return self._noted

    def last_step(self, prefix: str) -> int:
        """Return the last step of the metrics whose names begin so; -1 where there are none."""
        steps = [rank[0] for key, (rank, _) in self._latest.items() if key.startswith(prefix)]
        return max(steps, default=-1)

    def rewind(self, step: int) -> None:
        """Forget latest metrics of a later step; what came before them the store knows."""
        gone = {
            key
            for key, (rank, _) in list(self._latest.items())
            if rank[0] > step and is_rewound(key)
        }
        for key in gone:
            del self._latest[key]
        self.behind |= gone
        self._rewound_to = step if self._rewound_to is None else min(step, self._rewound_to)

    def changed_params(self, params: Sequence[Param]) -> list[dict[str, str]]:
        """Return those whose value is another than the one logged before, as MLflow names them."""
        return [
            {"key": param.key, "old_value": self.params[param.key], "new_value": param.value}
            for param in params
            if self.params.get(param.key, param.value) != param.value
        ]

    def note_params(self, params: Iterable[Param]) -> None:
        """Add params that were found to be new or unchanged."""
        self.params.update((param.key, param.value) for param in params)

    def note_tags(self, tags: Iterable[RunTag]) -> None:
        """Set tags; ``mlflow.runName`` names the run as well."""
        for tag in tags:
            self.tags[tag.key] = tag.value
            self._deleted_tags.discard(tag.key)
            if tag.key == MLFLOW_RUN_NAME:
                self._take_info(changed(self._info, run_name=tag.value))

    def note_deleted_tag(self, key: str) -> None:
        """Take a tag away, though the store may show it for a while."""
        self.tags.pop(key, None)
        self._deleted_tags.add(key)

    def note_inputs(
        self, datasets: Iterable[DatasetInput], models: Iterable[LoggedModelInput]
    ) -> None:
        """Add inputs that the run does not have yet; of those it has, MLflow keeps the first."""
        known = {_named(one) for one in self._dataset_inputs}
        for one in datasets:
            if _named(one) not in known:
                known.add(_named(one))
                self._dataset_inputs.append(one)
        _add_models(self._model_inputs, models)

    def refuse_repeated_outputs(self, models: Iterable[LoggedModelOutput]) -> None:
        """Raise as MLflow does where a model would come out of the run a second time."""
        known = {one.model_id for one in self._model_outputs}
        for one in models:
            if one.model_id in known:
                raise MlflowException(
                    f"Model {one.model_id} is an output of run {self.run_id} already.", BAD_REQUEST
                )
            known.add(one.model_id)

    def note_outputs(self, models: Iterable[LoggedModelOutput]) -> None:
        """Add models that came out."""
        _add_models(self._model_outputs, models)

    def note_info(self, status: int | None, end_time: int | None, run_name: str | None) -> RunInfo:
        """Change status (one of ``RunStatus``), end (ms) and name where they are given."""
        changes: dict[str, Any] = {}
        if status is not None:
            changes["status"] = RunStatus.to_string(status)
        if end_time is not None:
            changes["end_time"] = end_time
        if run_name:
            changes["run_name"] = run_name
        self._take_info(changed(self._info, **changes))
        if run_name:
            self.tags[MLFLOW_RUN_NAME] = run_name
        if status is not None:
            self.is_open = not RunStatus.is_terminated(status)
        return self._info

    def to_run(self) -> Run:
        """Return MLflow's entity; later changes of the view do not reach it."""
        return Run(
            changed(self._info),
            # Copied at once: another thread may be logging.
            LateRunData(dict(self._latest), dict(self.params), dict(self.tags)),
            RunInputs(list(self._dataset_inputs), list(self._model_inputs)),
            RunOutputs(list(self._model_outputs)),
        )


def _named(dataset_input: DatasetInput) -> tuple[str, str]:
    """Return what MLflow tells data sets apart by."""
    return dataset_input.dataset.name, dataset_input.dataset.digest


def _add_models(known: list[Any], models: Iterable[Any]) -> None:
    """Append models whose ids are not there yet."""
    ids = {one.model_id for one in known}
    for one in models:
        if one.model_id not in ids:
            ids.add(one.model_id)
            known.append(one)


def with_waiting(
    stored: Iterable[Metric], waiting: Iterable[Points | Operation], run_id: str
) -> list[Metric]:
    """Return a run's points as they will be once what waits is in the store.

    Args:
        stored: What the store has, read after ``waiting``: what is in both comes twice.
        waiting: Records, in order; those of other runs are passed over.
        run_id: Whose points.
    """
    found = list(stored)
    for record in waiting:
        if isinstance(record, Points):
            if record.run_id == run_id:
                found += [Metric(k, value, at, step) for k, at, step, value in record.points()]
        elif record.name == "rewind" and record.fields["run_id"] == run_id:
            last = record.fields["step"]
            found = [one for one in found if one.step <= last or not is_rewound(one.key)]
    return found


def is_about(record: Points | Operation, run_id: str, key: str) -> bool:
    """Say whether a record changes the history of a run's metric."""
    if isinstance(record, Points):
        return record.run_id == run_id and key in record.keys
    return record.name == "rewind" and record.fields["run_id"] == run_id


def in_history_order(metrics: list[Metric]) -> list[Metric]:
    def rank(metric: Metric) -> tuple[int, int, float, bool]:
        is_nan = metric.value != metric.value
        return metric.timestamp, metric.step, 0.0 if is_nan else metric.value, is_nan

    found = {rank(metric): metric for metric in reversed(metrics)}  # duplicates: the first stays
    return [found[key] for key in sorted(found)]


def _note(
    latest: dict[str, tuple[tuple[int, int, float], float]],
    points: Iterable[tuple[str, int, int, float]],
) -> None:
    for key, timestamp, step, value in points:
        rank = (step, timestamp, value if value == value else 0.0)
        known = latest.get(key)
        if known is None or rank > known[0]:
            latest[key] = (rank, value)
