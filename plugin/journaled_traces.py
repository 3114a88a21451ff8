"""Traces of a training process: kept beside the journal, delivered by the agent, read after that.

MLflow hands a trace over to the store in several calls, from threads of its own unless it is told
otherwise: ``log_spans`` for spans that have ended, ``start_trace`` for the trace once its root
span has. Each is written beside the journal, as artifacts are, and the agent brings it to MLflow's
own store (``agent/trace_uploads.py``). The store takes either of them again without harm.

What reads or changes traces goes to the store directly, once those that wait on this machine are
there, which is waited for while the store answers.
"""

from __future__ import annotations

import copy
import functools
import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracing.constant import SpansLocation, TraceMetadataKey, TraceTagKey
from mlflow.tracking.fluent import flush_trace_async_logging
from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION

from mlflow_weir.errors import WeirError
from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.contact import IS_SETTLED, Away, says_unknown
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.files import join_uri
from mlflow_weir.plugin.journaled_experiments import JournaledExperiments
from mlflow_weir.plugin.pending_names import PENDING_ARTIFACTS
from mlflow_weir.plugin.recorder import Recorder, recorders
from mlflow_weir.plugin.upload_environment import upload_environment
from mlflow_weir.store.delivery import records

_log = logging.getLogger("mlflow_weir")

TRACE_URI = "weir-trace:"
"""What stands before a trace's id where an artifact has its repository's root."""

FILE_NAME = "trace.json"

_WAIT_S = 60.0
_AWAY_WAIT_S = 3.0  # long enough for an agent that waits to try again
_EXPORTER = "mlflow.tracing.export.mlflow_v3"  # imported with the first trace
_MOST_LINKED = 100  # in one call, by MLflow's rules
_has_warned = False


def _after_delivery(name: str) -> Any:
    """Return a method that does what the store's own does, once waiting traces are there."""

    def method(self: JournaledTraces, *arguments: Any, **options: Any) -> Any:
        call = getattr(super(JournaledTraces, self), name)
        return self._after_traces(call, *arguments, **options)

    method.__name__ = name
    return method


class JournaledTraces(JournaledExperiments):
    """The calls about traces."""

    def _begin_journaling(self, recorder: Recorder) -> None:
        super()._begin_journaling(recorder)
        deliver_on_flush()

    def start_trace(self, trace_info: Any) -> Any:
        """Keep what is known of a trace whose root span has ended."""
        stored: Callable[..., Any] = super().start_trace  # type: ignore[misc]
        experiment_id, trace_id = trace_info.experiment_id, trace_info.trace_id
        if experiment_id is None:  # it belongs elsewhere
            return stored(trace_info)
        artifacts = join_uri(self._trace_root(experiment_id), f"traces/{trace_id}/artifacts")
        mlflow_private.name_assessments(trace_info)
        fields = mlflow_private.trace_fields(trace_info)
        run_id = trace_info.trace_metadata.get(TraceMetadataKey.SOURCE_RUN)
        self._keep_trace(trace_id, {"info": fields}, lambda: stored(trace_info), run_id)
        if run_id is not None and self.recorder.has_lost_trace(trace_id):  # its spans, before
            self.recorder.note_lost_trace(trace_id, run_id)
        found = copy.copy(trace_info)
        found.tags = {
            **trace_info.tags,
            # Without it MLflow would upload the spans as a file, too.
            TraceTagKey.SPANS_LOCATION: SpansLocation.TRACKING_STORE.value,
            MLFLOW_ARTIFACT_LOCATION: artifacts,
        }
        return found

    def log_spans(self, location: str, spans: list[Any], tracking_uri: str | None = None) -> Any:
        """Keep spans that have ended."""
        stored: Callable[..., Any] = super().log_spans  # type: ignore[misc]
        by_trace: dict[str, list[Any]] = {}
        for span in spans:
            by_trace.setdefault(span.trace_id, []).append(span)
        for trace_id, found in by_trace.items():
            document = {
                "location": str(location),
                "spans": [span.to_dict() for span in found],
                "resource": mlflow_private.resource_of(found[0]),
            }
            self._keep_trace(trace_id, document, functools.partial(stored, location, found))
        return spans

    def link_traces_to_run(self, trace_ids: list[str], run_id: str) -> None:
        """Keep which traces belong to a run, too; it goes to the store after them."""
        stored: Callable[..., Any] = super().link_traces_to_run  # type: ignore[misc]
        trace_ids = list(trace_ids)
        if not trace_ids:
            return
        if len(trace_ids) > _MOST_LINKED:
            stored(trace_ids, run_id)  # which says that these are too many, before it looks
            return
        try:
            self.get_run(run_id)  # type: ignore[attr-defined]
        except MlflowException as exc:
            if says_unknown(exc):
                stored(trace_ids, run_id)  # only in a workspace does it ask whether there is one
                return
        document = {"link": {"trace_ids": trace_ids, "run_id": str(run_id)}}
        self._keep_trace(trace_ids[0], document, lambda: stored(trace_ids, run_id))

    def _trace_root(self, experiment_id: str) -> str:
        """Return where an experiment keeps its artifacts.

        Raises:
            MlflowException: There is no such experiment.
        """
        experiment_id = self._names.real(str(experiment_id))
        known = self._experiments.get(experiment_id)
        if known is None:
            look: Callable[..., Any] = super().get_experiment
            try:
                known = self._remember(
                    self._directly(look, experiment_id, timeout_s=self._log_wait_s)
                )
            except Away:
                return f"{PENDING_ARTIFACTS}{experiment_id}"
        return str(known.artifact_location)

    def _keep_trace(
        self,
        trace_id: str,
        document: dict[str, Any],
        directly: Callable[[], Any],
        run_id: str | None = None,
    ) -> None:
        """Write a part of a trace beside the journal; where there is no room, to the store."""
        text = mlflow_private.trace_json(document).encode()
        uri = f"{TRACE_URI}{trace_id}"
        try:
            folder, position = self.recorder.room_for(len(text))
            upload = files.Upload(uri, "", FILE_NAME, len(text), upload_environment())
            files.add_trace(folder, position, upload, text)
        except WeirError as exc:
            _say_full(exc)
            try:
                self._directly(directly, timeout_s=self._log_wait_s)
            except Away as away:
                _log.debug("trace %s: %s", trace_id, away)
                self.recorder.note_lost_trace(trace_id, run_id)
            return
        fields = {
            "run_id": None,
            "artifact_uri": uri,
            "artifact_path": "",
            "name": FILE_NAME,
            "size": len(text),
        }
        self.recorder.append(records.encode_operation("log_artifact", fields))

    def _after_traces(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a method of the store when it has the traces that wait on this machine.

        Raises:
            MlflowException: It does not answer; and what it answers.
        """
        if IS_SETTLED.get() or bring_traces(self.recorder, _WAIT_S):
            return call(*arguments, **options)
        token = IS_SETTLED.set(True)  # no further wait on the way
        try:
            return self._directly(functools.partial(call, *arguments, **options))
        except Away as away:
            raise away.as_mlflow_error() from away
        finally:
            IS_SETTLED.reset(token)

    get_trace_info = _after_delivery("get_trace_info")
    get_trace = _after_delivery("get_trace")
    batch_get_traces = _after_delivery("batch_get_traces")
    batch_get_trace_infos = _after_delivery("batch_get_trace_infos")
    search_traces = _after_delivery("search_traces")
    query_trace_metrics = _after_delivery("query_trace_metrics")
    calculate_trace_filter_correlation = _after_delivery("calculate_trace_filter_correlation")
    set_trace_tag = _after_delivery("set_trace_tag")
    delete_trace_tag = _after_delivery("delete_trace_tag")
    delete_traces = _after_delivery("delete_traces")
    get_assessment = _after_delivery("get_assessment")
    create_assessment = _after_delivery("create_assessment")
    update_assessment = _after_delivery("update_assessment")
    delete_assessment = _after_delivery("delete_assessment")
    unlink_traces_from_run = _after_delivery("unlink_traces_from_run")
    link_prompts_to_trace = _after_delivery("link_prompts_to_trace")


def bring_traces(recorder: Recorder, timeout_s: float) -> bool:
    """Wait until the traces that wait on this machine are in the store.

    Gives up some seconds after the agent was last heard to say that the store does not take them.

    Returns:
        Whether they are.
    """
    give_up_s = time.monotonic() + timeout_s
    for folder in recorder.folders():
        waiting = [one for one in files.list_waiting(folder.files) if one.is_trace]
        if not waiting:
            continue
        left_s = max(give_up_s - time.monotonic(), 0.0)
        if not client.wait_delivered(folder.path, waiting[-1].position, left_s, _while_it_may):
            return False
        left_s = max(give_up_s - time.monotonic(), 0.0)
        if not client.wait_uploaded(folder.path, waiting, left_s, _while_it_may):
            return False
    return True


@never_raises(None)
def hand_over() -> None:
    """Have MLflow hand over to the store what it holds of traces that have ended."""
    if _EXPORTER in sys.modules:
        flush_trace_async_logging()


def deliver_on_flush() -> None:
    """Let ``mlflow.flush_trace_async_logging()`` wait until the traces are in the store."""
    mlflow_private.follow_trace_flush(lambda: _deliver(list(recorders)))


@never_raises(None)
def _deliver(found: Sequence[Recorder]) -> None:
    for recorder in found:
        bring_traces(recorder, _WAIT_S)


def _while_it_may(state: client.DeliveryState) -> bool:
    return not state.error or state.waited_s < _AWAY_WAIT_S


def _say_full(reason: WeirError) -> None:
    global _has_warned
    if not _has_warned:
        _has_warned = True
        _log.warning(
            "No room to keep traces until they are delivered (%s): they go to the store at once, "
            "and are lost while it does not answer (`weir status` counts them)",
            reason,
        )
