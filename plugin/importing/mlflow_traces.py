"""Traces of stock MLflow: spans, tags, assessments and attachments. A trace keeps its id.

Spans and what they name go before what is known of the trace as a whole: of a trace of which the
target knows the same as the source, all is there.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import PromptVersion
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import SpansLocation, TraceMetadataKey, TraceTagKey
from mlflow.tracing.utils.artifact_utils import TRACE_DATA_FILE_NAME
from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.artifact_places import repository_at
from mlflow_weir.plugin.importing.bringing import Bringer, Brought
from mlflow_weir.plugin.importing.mlflow_place import Place
from mlflow_weir.plugin.importing.mlflow_run import files_of

if TYPE_CHECKING:
    from mlflow.entities import Assessment, Span, TraceInfo

_PAGE = 100
_MOST_LINKED = 100  # traces in a request, by MLflow's rules
_IN_STORE = (SpansLocation.TRACKING_STORE.value, SpansLocation.ARCHIVE_REPO.value)
# What each store says of its own.
_OF_THE_STORE = {
    MLFLOW_ARTIFACT_LOCATION,
    TraceTagKey.SPANS_LOCATION,
    TraceTagKey.ARCHIVE_LOCATION,
    TraceMetadataKey.TRACE_INFO_FINALIZED,
}
_PROMPT_VERSION: Any = PromptVersion  # abstract by its annotations alone
_EXPERIMENT = "mlflow.experimentId"  # of a span's attributes
_ATTACHMENT = "mlflow-attachment://"


class Traces:
    """The traces of an experiment on their way."""

    def __init__(self, place: Place, bringer: Bringer, brought: Brought, experiment: str) -> None:
        """Prepare to bring.

        Args:
            place: Where they are.
            bringer: Knows where they go.
            brought: Takes note of what became of them.
            experiment: Name of the experiment that they go to.
        """
        self._bringer, self._brought = bringer, brought
        self._source = TracingClient(place.client.tracking_uri)
        self._target = TracingClient(bringer.client.tracking_uri)
        self._clients = place.client, bringer.client
        self._experiment = experiment
        self._experiment_id = ""

    def bring(self, experiment_id: str) -> bool:
        """Bring those of an experiment, or what is new of them; say whether there are any.

        Args:
            experiment_id: Of the experiment there.
        """
        is_any = False
        for page in self._pages(experiment_id):
            is_any = True
            self._experiment_id = self._bringer.experiment_id(self._experiment)
            ids = [one.trace_id for one in page]
            found = self._target.store.batch_get_trace_infos(ids)
            there = {one.trace_id: one for one in found}
            for info in page:
                if not _is_same(info, there.get(info.trace_id)):
                    self._bring_alone(info, there.get(info.trace_id))
        return is_any

    def link(self, experiment_id: str, run_id: str) -> None:
        """Link traces to a run as they are there, beside those that were made in it.

        Args:
            experiment_id: Of the traces.
            run_id: Of the run.
        """
        linked = [
            info.trace_id
            for page in self._pages(experiment_id, f"attribute.run_id = '{run_id}'")
            for info in page
            if info.trace_metadata.get(TraceMetadataKey.SOURCE_RUN) != run_id
        ]
        for first in range(0, len(linked), _MOST_LINKED):
            self._target.store.link_traces_to_run(linked[first : first + _MOST_LINKED], run_id)

    def _pages(self, experiment_id: str, query: str | None = None) -> Iterator[list[TraceInfo]]:
        token: str | None = None
        while True:
            infos, token = self._source.store.search_traces(
                locations=[experiment_id], filter_string=query, max_results=_PAGE,
                order_by=["timestamp_ms ASC"], page_token=token,
            )  # fmt: skip
            if infos:
                yield infos
            if not token:
                return

    def _bring_alone(self, info: TraceInfo, there: TraceInfo | None) -> None:
        """Bring a trace; what is wrong with it stops no other."""
        try:
            spans = self._spans_of(info)
        except MlflowException as exc:
            self._brought.refused.append(f"trace {info.trace_id}: {exc.message}")
            return
        if spans:
            self._target.log_spans(self._experiment_id, spans)
            self._bring_what_spans_name(info, spans)
        known = {one.assessment_id: one for one in (there.assessments if there else ())}
        new = [one for one in info.assessments if not _is_kept(one, known)]
        made = copy.copy(info)
        made.trace_location = copy.deepcopy(info.trace_location)
        made.experiment_id = self._experiment_id
        made.tags = {key: text for key, text in info.tags.items() if key not in _OF_THE_STORE}
        made.assessments = [one for one in new if not one.overrides]
        self._target.start_trace(made)
        # Each of these makes another one invalid, which has to be there.
        for one in sorted(new, key=lambda one: one.create_time_ms or 0):
            if one.overrides and one.assessment_id not in known:
                self._target.store.create_assessment(one)
        self._brought.n_new += there is None
        self._bringer.note(self._brought)

    def _spans_of(self, info: TraceInfo) -> list[Span]:
        if info.tags.get(TraceTagKey.SPANS_LOCATION) in _IN_STORE:
            # What is there of it, rather than waiting for what may never come.
            trace = self._source.store.get_trace(info.trace_id, allow_partial=True)
        else:
            trace = self._source.get_trace(info.trace_id)
        found = []
        for span in trace.data.spans:
            fields = span.to_dict()
            if _EXPERIMENT in fields["attributes"]:
                fields["attributes"][_EXPERIMENT] = json.dumps(self._experiment_id)
            found.append(mlflow_private.span_of(fields, mlflow_private.resource_of(span)))
        return found

    def _bring_what_spans_name(self, info: TraceInfo, spans: Sequence[Span]) -> None:
        """Bring attachments from beside the trace there to beside it here, and link prompts."""
        if any(_ATTACHMENT in json.dumps(span.to_dict()) for span in spans):
            stored = self._target.store.get_trace_info(info.trace_id)
            there, here = (
                repository_at(client, one.tags[MLFLOW_ARTIFACT_LOCATION])
                for client, one in zip(self._clients, (info, stored), strict=True)
            )
            left_out: Counter[str] = Counter()
            files = files_of(there, left_out)
            self._bringer.upload(
                self._brought, here, (one for one in files if one.path != TRACE_DATA_FILE_NAME)
            )
            for what, n in left_out.items():
                self._brought.leave_out(what, n)
        try:
            named = json.loads(info.tags.get(TraceTagKey.LINKED_PROMPTS, "[]"))
            prompts = [_PROMPT_VERSION(one["name"], int(one["version"]), "") for one in named]
        except (ValueError, TypeError, KeyError):
            return  # no tag of MLflow's own making
        if prompts:
            self._target.store.link_prompts_to_trace(info.trace_id, prompts)


def _is_same(info: TraceInfo, there: TraceInfo | None) -> bool:
    """Say whether all that is known of a trace is there."""
    if there is None:
        return False
    known = {one.assessment_id: one for one in there.assessments}
    return (
        all(
            getattr(info, name) == getattr(there, name)
            for name in (
                *("request_time", "execution_duration", "state", "client_request_id"),
                *("request_preview", "response_preview"),
            )
        )
        and _is_part(info.tags, there.tags)
        and _is_part(info.trace_metadata, there.trace_metadata)
        and all(_is_kept(one, known) for one in info.assessments)
    )


def _is_part(wanted: dict[str, str], found: dict[str, str]) -> bool:
    return all(found.get(key) == text for key, text in wanted.items() if key not in _OF_THE_STORE)


def _is_kept(one: Assessment, known: dict[str | None, Assessment]) -> bool:
    there = known.get(one.assessment_id)
    # A folder says of none that it is valid.
    return there is not None and there.to_dictionary() == {"valid": True, **one.to_dictionary()}
