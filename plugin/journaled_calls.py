"""The calls of a training: checked here, noted in an overlay, written to the journal.

Faults of the world (database locked, server away) are met by going on with what is known: no log
call waits longer than ``_LOG_WAIT_S`` for them and none raises. Mistakes (an invalid key, a
changed param, an unknown or deleted run) are raised at once, as MLflow raises them, as far as they
can be known; what could not be checked is settled on delivery and listed by ``weir status``.

Everything not named here is inherited and goes to the store directly, once what this machine has
written so far was delivered (bounded in time), so that reads see the writes before them.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from mlflow.entities import (
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunInfo,
    RunInputs,
    RunStatus,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
)
from mlflow.utils.async_logging.run_operations import RunOperations
from mlflow.utils.uri import append_to_uri_path

from mlflow_weir.plugin import (
    artifact_spool,
    captures,
    exits,
    mlflow_private,
    observing,
    run_context,
)
from mlflow_weir.plugin.contact import Away, says_unknown
from mlflow_weir.plugin.journaled_experiments import text_or_none, texts
from mlflow_weir.plugin.journaled_models import JournaledModels, dataset_fields
from mlflow_weir.plugin.journaled_reads import JournaledReads
from mlflow_weir.plugin.journaled_traces import JournaledTraces
from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.plugin.pending_names import PENDING_ARTIFACTS
from mlflow_weir.plugin.whole_numbers import whole_number
from mlflow_weir.store.alerts.alerts import Alert
from mlflow_weir.store.delivery import records
from mlflow_weir.store.delivery.runs import (
    EXIT_CAUSE_TAG,
    PREEMPTING_TAG,
    REDACTED_TAG,
    preempted,
)
from mlflow_weir.store.metrics.points import Point
from mlflow_weir.store.tracking_store import validated_points

_logger = logging.getLogger(__name__)

FLUSH_WAIT_S = 60.0
"""How long a call waits that asks for delivery."""


class JournaledCalls(JournaledReads, JournaledTraces, JournaledModels):
    """The calls of a training; comes first in the bases of a store."""

    # What a training writes

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """Log one point of a metric."""
        view = self._writable(run_id)
        again = view.repeated.one_again(metric)
        if again is not None:
            record, key, timestamp, step, value = again
            self.recorder.append(record)
            view.note_point(key, timestamp, step, value)
            return
        points = validated_points((metric,), is_batch=False)
        model_id = metric.model_id
        if model_id is not None:
            self._require_models([metric])
        self.recorder.append(records.encode_points(run_id, points))
        view.note_points(points)
        if model_id is None:
            view.repeated.learn_one(metric.key)
        else:
            self._log_model_metrics_of(run_id, [metric], points)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        """Log many values at once; all are checked before one is written."""
        if not params and not tags and self._has_logged_again(run_id, metrics):
            return
        if run_id not in self._views:
            mlflow_private.validate_run_id(run_id)
        metrics = list(metrics)
        params, tags = mlflow_private.validate_batch(metrics, params, tags)
        view = self._writable(run_id)
        try:
            points = validated_points(metrics, is_batch=True)
        except (TypeError, OverflowError) as exc:
            # A number that no float can hold, which MLflow finds only after the params.
            self._log_params_of(view, params)
            raise MlflowException(str(exc), INTERNAL_ERROR) from exc
        has_models = any(metric.model_id is not None for metric in metrics)
        if has_models:
            self._require_models(metrics)
        self._log_params_of(view, params)
        if points:
            self.recorder.append(records.encode_points(run_id, points))
            view.note_points(points)
            if has_models:
                self._log_model_metrics_of(run_id, metrics, points)
            else:
                view.repeated.learn(points)
        if tags:
            self._set_tags_of(view, tags)

    def _has_logged_again(self, run_id: str, metrics: Sequence[Metric]) -> bool:
        """Log metrics that were logged together before; False where they are for the long way."""
        if run_id not in self._views:
            return False
        view = self._writable(run_id)
        again = view.repeated.again(metrics)
        if again is None:
            return False
        self.recorder.append(again.record)
        view.note_again(again)
        return True

    def log_batch_async(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> RunOperations:
        """Log many values; accepted when this returns, and a mistake is raised by ``wait()``."""
        try:
            self.log_batch(run_id, metrics, params, tags)
        except Exception as exc:  # noqa: BLE001 - as MLflow's queue does in its thread
            _logger.error("Run Id %s: Failed to log run data: Exception: %s", run_id, exc)
            failed: Future[None] = Future()
            failed.set_exception(exc)
            return RunOperations([failed])
        return RunOperations([])

    def flush_async_logging(self) -> None:
        """Wait until what was logged is in the store, for a minute at most."""
        self.recorder.deliver(FLUSH_WAIT_S)

    def end_async_logging(self) -> None:
        """Nothing to end: there is no queue in this process."""

    def shut_down_async_logging(self) -> None:
        """Nothing to end: there is no queue in this process."""

    def log_param(self, run_id: str, param: Param) -> None:
        """Log a param, which cannot be changed afterwards."""
        param = mlflow_private.validate_param(param)
        view = self._writable(run_id)
        if changed := view.changed_params([param]):
            raise MlflowException(
                "Changing param values is not allowed. Param with key='{}' was already"
                " logged with value='{}' for run ID='{}'. Attempted logging new value"
                " '{}'.".format(param.key, changed[0]["old_value"], run_id, param.value),
                INVALID_PARAMETER_VALUE,
            )
        self._write_params(view, [param])

    def _log_params_of(self, view: RunView, params: Sequence[Param]) -> None:
        if not params:
            return
        if changed := view.changed_params(params):
            raise MlflowException(
                "Changing param values is not allowed. Params were already"
                f" logged='{changed}' for run ID='{view.run_id}'.",
                INVALID_PARAMETER_VALUE,
            )
        self._write_params(view, params)

    def _write_params(self, view: RunView, params: Sequence[Param]) -> None:
        pairs = texts(params)
        params = [Param(key, value) for key, value in pairs]
        self._write("log_params", run_id=view.run_id, params=pairs)
        view.note_params(params)

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        """Set a tag of a run."""
        self._set_tags_of(self._writable(run_id), [mlflow_private.validate_tag(tag)])

    def _set_tags_of(self, view: RunView, tags: Sequence[RunTag]) -> None:
        pairs = texts(tags)
        tags = [RunTag(key, value) for key, value in pairs]
        self._write("set_tags", run_id=view.run_id, tags=pairs)
        view.note_tags(tags)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag of a run, which must have it."""
        view = self._writable(run_id)
        if view.is_verified and key not in view.tags:
            raise MlflowException(
                f"No tag with name: {key} in run with id {run_id}",
                error_code=RESOURCE_DOES_NOT_EXIST,
            )
        self._write("delete_tag", run_id=run_id, key=key)
        view.note_deleted_tag(key)

    def log_inputs(
        self, run_id: str, datasets: list[Any] | None = None, models: list[Any] | None = None
    ) -> None:
        """Log data sets and models that went into a run."""
        mlflow_private.validate_run_id(run_id)
        mlflow_private.validate_dataset_inputs(datasets)
        view = self._writable(run_id)
        self._write(
            "log_inputs",
            run_id=run_id,
            datasets=[dataset_fields(dataset_input) for dataset_input in datasets or ()],
            models=[model.model_id for model in models or ()],
        )
        view.note_inputs(datasets or (), models or ())

    def log_outputs(self, run_id: str, models: list[Any]) -> None:
        """Log models that came out of a run."""
        view = self._writable(run_id)
        view.refuse_repeated_outputs(models)
        self._write(
            "log_outputs",
            run_id=run_id,
            models=[[model.model_id, whole_number(model.step, "step")] for model in models],
        )
        view.note_outputs(models)

    def record_logged_model(self, run_id: str, mlflow_model: Any) -> None:
        """Note a model in the run's tag that lists them, as MLflow does."""
        view = self._writable(run_id)
        tag = mlflow_private.logged_models_tag(view.tags, mlflow_model)
        self._set_tags_of(view, [tag])

    def log_alert(self, alert: Alert) -> None:
        """Raise an alert of a run."""
        view = self._writable(alert.run_id)
        self._write(
            "alert",
            run_id=view.run_id,
            alert_id=alert.alert_id,
            at_ms=alert.at_ms,
            level=alert.level,
            title=alert.title,
            text=alert.text,
        )
        self.recorder.hurry()

    def _require_models(self, metrics: Sequence[Metric]) -> None:
        """Refuse metrics of logged models that do not exist, as far as that can be known."""
        for model_id in {metric.model_id for metric in metrics} - {None} - self._known_models:
            try:
                self.get_logged_model(str(model_id))
            except MlflowException as exc:
                if says_unknown(exc):
                    raise MlflowException(str(exc), BAD_REQUEST) from exc
                continue  # the store is away
            self._known_models.add(model_id)

    def _log_model_metrics_of(
        self, run_id: str, metrics: Sequence[Metric], points: Sequence[Point]
    ) -> None:
        self._write(
            "model_metrics",
            run_id=run_id,
            metrics=[
                {
                    "key": metric.key,
                    "value": point.value,
                    "timestamp": point.timestamp,
                    "step": point.step,
                    "model_id": metric.model_id,
                    "dataset_name": metric.dataset_name,
                    "dataset_digest": metric.dataset_digest,
                }
                for metric, point in zip(metrics, points, strict=True)
                if metric.model_id is not None
            ],
        )

    # A run's life

    def create_run(
        self,
        experiment_id: str,
        user_id: str,
        start_time: int,
        tags: list[RunTag] | None,
        run_name: str | None,
    ) -> Run:
        """Begin a run, with an id of our own choosing."""
        how = "fluent" if run_context.is_fluent_start() else "client"
        run_id = uuid.uuid4().hex
        return self._begin_run(run_id, how, experiment_id, user_id, start_time, tags, run_name)

    def _begin_run(
        self,
        run_id: str,
        how: str,
        experiment_id: str,
        user_id: str,
        start_time: int,
        tags: list[RunTag] | None,
        run_name: str | None,
    ) -> Run:
        experiment_id = self._names.real(str(experiment_id))
        user_id = text_or_none(user_id) or ""
        began_at_ms = whole_number(start_time, "start_time")
        if began_at_ms is None:
            began_at_ms = int(time.time() * 1000)
        self.recorder.prepare()  # it starts while the store is asked about the experiment
        experiment = self._experiment(experiment_id)
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise MlflowException(
                f"The experiment {experiment_id} must be in the 'active' state. "
                f"Current state is {experiment.lifecycle_stage}.",
                INVALID_PARAMETER_VALUE,
            )
        run_name, tags = mlflow_private.named_run(text_or_none(run_name), tags)
        tags = [RunTag(key, value) for key, value in texts(tags)]
        if experiment.artifact_location.startswith(PENDING_ARTIFACTS):
            artifact_uri = f"{PENDING_ARTIFACTS}{run_id}"
        else:
            artifact_uri = append_to_uri_path(experiment.artifact_location, run_id, "artifacts")
        self._write(
            "create_run",
            run_id=run_id,
            experiment_id=experiment_id,
            experiment_name=experiment.name or None,
            user_id=user_id,
            start_time=began_at_ms,
            tags=[[tag.key, tag.value] for tag in tags],
            run_name=run_name,
            artifact_uri=None if artifact_uri.startswith(PENDING_ARTIFACTS) else artifact_uri,
            **self._place(),
        )
        self._names.note(run_id, experiment_id)
        self._write("own_run", run_id=run_id, how=how)
        view = RunView(
            RunInfo(
                run_id=run_id,
                experiment_id=experiment_id,
                user_id=user_id,
                status=RunStatus.to_string(RunStatus.RUNNING),
                start_time=began_at_ms,
                end_time=None,
                lifecycle_stage=LifecycleStage.ACTIVE,
                artifact_uri=artifact_uri,
                run_name=run_name,
            ),
            tags={tag.key: tag.value for tag in tags},
            is_verified=True,
            is_ours=True,
        ).name_by(self._names)
        self._follow(view, how)
        run = view.to_run()
        return Run(run.info, run.data, RunInputs(dataset_inputs=[]))  # as MLflow: no outputs

    def _follow(self, view: RunView, how: str) -> None:
        """Answer for a run that has just begun."""
        with self._lock:
            self._views[view.run_id] = view
            self._trimmer.look(self._views, self.recorder.journal)
        self.recorder.own_roots[view.info.artifact_uri] = view.run_id
        artifact_spool.ask_ahead(self.recorder, view.info.artifact_uri)
        self.recorder.hurry()  # from here on the agent sees how this process ends
        view.is_fluent = how == "fluent"
        if view.is_fluent:
            self._announce(view)

    def _announce(self, view: RunView) -> None:
        """Say which run this is, and capture what it is run from; returns at once."""
        exits.say_where(view.info, self.recorder.target.uri, self._experiment_name(view))
        captures.begin(self, view)
        observing.begin(self, view, is_new=True)

    def note_captured(self, view: RunView, tags: Sequence[RunTag]) -> None:
        """Set tags that a capture found, which came from no caller; numbers of secrets add up."""
        counted = [tag for tag in tags if tag.key == REDACTED_TAG]
        self._set_tags_of(view, [tag for tag in tags if tag.key != REDACTED_TAG])
        for tag in counted:
            self._write("redacted", run_id=view.run_id, n=int(tag.value))

    def update_run_info(
        self, run_id: str, run_status: Any, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        """Change a run's status, end and name."""
        view = self._writable(run_id)
        end_time, run_name = whole_number(end_time, "end_time"), text_or_none(run_name)
        is_end = run_status is not None and RunStatus.is_terminated(run_status)
        if is_end:
            captures.hand_over(view.run_id)
        cause = exits.cause_of_exit() if is_end else None
        left_by = None
        if cause is not None:
            run_status = RunStatus.from_string(cause.status)
        elif is_end and run_status != RunStatus.FINISHED:
            left_by = exits.cause_in_flight()
            if left_by is not None and PREEMPTING_TAG in view.tags and exits.leaves_a_run():
                run_status = RunStatus.KILLED
                left_by = left_by._replace(text=preempted(left_by.text))
                self.delete_tag(run_id, PREEMPTING_TAG)
        self._write(
            "update_run",
            run_id=run_id,
            status=None if run_status is None else RunStatus.to_string(run_status),
            end_time=end_time,
            run_name=run_name,
            is_provisional=is_end and exits.is_exiting(),
            is_revival=False,
        )
        if cause is not None:
            self._write(
                "exit",
                run_id=run_id,
                status=cause.status,
                cause=cause.text,
                details={},
            )
            self._note_cause(view, cause)
        elif left_by is not None:  # the run is ended by its own process, which says why
            self._note_cause(view, left_by, {EXIT_CAUSE_TAG: left_by.text})
        info = view.note_info(run_status, end_time, run_name)
        if is_end:
            observing.end(self, view)
        if run_status == RunStatus.RUNNING:
            self._resume(view)
            captures.begin_of_launched(self, view)
            observing.begin(self, view, is_new=False)
        return info

    def _note_cause(
        self, view: RunView, cause: exits.Cause, said: Mapping[str, str] | None = None
    ) -> None:
        tags = {**(said or {}), REDACTED_TAG: cause.n_redacted}
        if "console" in observing.allowed(self):
            tags[exits.TRACEBACK_TAG] = cause.details
        self.note_captured(view, [RunTag(k, str(v)) for k, v in tags.items() if v])

    def _resume(self, view: RunView) -> None:
        """Answer for a run from here on, which somebody began before."""
        self._write("own_run", run_id=view.run_id, how="fluent")
        view.is_fluent = True
        if not view.is_ours:
            try:
                view.learn(self._stored_or_waiting(view.run_id))
            except Away:
                return
            view.is_ours = True

    # How

    def _experiment_name(self, view: RunView) -> str:
        """Return what a run's experiment is called; "" where that is not known."""
        known = self._experiments.get(view.info.experiment_id)
        return "" if known is None else str(known.name)

    def can_rewind(self) -> bool:
        """Say whether the store is one that can take points back."""
        return True

    def open_fluent_runs(self) -> list[str]:
        """Return this process's open runs of ``mlflow.start_run``, of all its threads."""
        views = list(self._views.values())
        return [view.run_id for view in views if view.is_fluent and view.is_open]

    def _writable(self, run_id: str) -> RunView:
        """Return the view of a run that may be written to.

        Raises:
            MlflowException: No such run, or it is deleted.
        """
        view = self._views.get(run_id)
        if view is None:
            view = self._adopted(run_id)
        view.is_resting = False
        if not view.is_verified:
            self._look_beside(view, time.monotonic())
        if view.is_deleted and not view.is_ours:
            raise MlflowException(
                f"The run {run_id} must be in the 'active' state. "
                f"Current state is {view.info.lifecycle_stage}.",
                INVALID_PARAMETER_VALUE,
            )
        return view
