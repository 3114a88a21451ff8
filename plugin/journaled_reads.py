"""The reads of a training: of the store, with what waits on this machine laid over its answers.

What waits is always read first, then the store: what is delivered in between is in both, which
changes nothing, and never in none. What a read can wait for is waited for before the store is
asked, so that the time for its answer is all the store's.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence

from mlflow.entities import LifecycleStage, Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.store.tracking import SEARCH_MAX_RESULTS_DEFAULT
from mlflow.utils.search_utils import SearchUtils

from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.contact import Away, as_it_is, says_unknown
from mlflow_weir.plugin.journaled_experiments import JournaledExperiments
from mlflow_weir.plugin.overlay import RunView, in_history_order, is_about, with_waiting
from mlflow_weir.plugin.pending_names import PENDING_EXPERIMENT
from mlflow_weir.plugin.waiting_runs import records_about, waiting_view
from mlflow_weir.store.delivery.records import Operation, Points
from mlflow_weir.store.metrics.points import Point
from mlflow_weir.threads import start_soon

_logger = logging.getLogger("mlflow_weir")

SETTLE_WAIT_S = 2.0
"""How long a read waits for what is on its way to the store."""

_ANSWER_WAIT_S = 60.0
"""How long a read takes at most where a part of the answer, or none, would be a wrong one."""

_LOG_WAIT_S = 0.08
_REFRESH_S = 1.0
_LOOKED_THROUGH_BYTES = 2 << 20  # of journals, by a log call: 20 ms
_BESIDE_S = 10.0  # to be done with a look beside a log call, which takes 4 s at most
_RECALL_S = 10.0  # for the latest values that a rewind goes back to

_LOG_CALLS = ("log_metric", "log_metrics")
"""MLflow's functions that look at a run's inputs and outputs before they log to it."""


_FIRST_AND_LAST = ("start_run", "end_run")


class JournaledReads(JournaledExperiments):
    """What a training asks of its runs."""

    _log_wait_s = _LOG_WAIT_S

    def get_run(self, run_id: str) -> Run:
        """Return a run; one that is open in this process is answered from what is known here.

        So is one that this process logs to and another began: ``log_metric(run_id=…)`` asks, and
        ``log_artifact(…, run_id=…)`` for where its artifacts are.
        """
        view = self._views.get(run_id)
        if view is not None and view.is_open and view.is_verified:
            self._refresh(view)
            return view.to_run()
        if mlflow_private.is_logging_artifacts():
            return (view or self._adopted(run_id)).to_run()
        caller = mlflow_private.fluent_caller()
        if caller in _LOG_CALLS:
            view = view or self._adopted(run_id)
            self._refresh(view)
            return view.to_run()
        if view is not None and caller in _FIRST_AND_LAST and not self._contact.has_answered:
            return view.to_run()  # which it asks for after it has done all, to show it
        has_time = view is None and caller != "start_run"
        if has_time:
            self._contact.try_again()  # nothing else will do
        try:
            run = self._stored_or_waiting(run_id, _ANSWER_WAIT_S if has_time else None)
        except Away as away:
            if view is None and caller == "start_run":  # which is settled on delivery
                experiment_id = mlflow_private.active_experiment_id() or ""
                view = RunView.of_unknown(run_id, experiment_id).name_by(self._names)
            if view is None:
                raise away.as_mlflow_error() from away
            return view.to_run()
        if view is not None and not self.recorder.is_delivered():
            view.learn(run)
            return view.to_run()
        return run

    def _stored_or_waiting(self, run_id: str, timeout_s: float | None = None) -> Run:
        """Return a run as the store and the journals of this machine have it.

        Args:
            run_id: Which.
            timeout_s: How long the store may take to answer; as where a training begins, if None.

        Raises:
            Away: The store is, and nothing here tells of the run.
            MlflowException: The store does not know the run, nor does a journal here.
        """
        get_run: Callable[[str], Run] = super().get_run  # type: ignore[misc]
        waiting: list[Points | Operation] = []
        stored: Run | None = None
        failure: Away | MlflowException | None = None
        if self._contact.is_away() or not self.recorder.settle(SETTLE_WAIT_S):
            waiting = list(records_about(self.recorder, run_id, _ANSWER_WAIT_S))
        try:
            with as_it_is():
                stored = self._directly(get_run, run_id, timeout_s=timeout_s)
        except (Away, MlflowException) as exc:
            if not (isinstance(exc, Away) or says_unknown(exc)):
                raise
            failure = exc
        view = waiting_view(waiting, stored)
        if view is not None:
            self._recall(view, waiting)
            return view.name_by(self._names).to_run()
        if stored is None:
            assert failure is not None
            raise failure
        return stored

    def _recall(self, view: RunView, waiting: Sequence[Points | Operation]) -> None:
        """Find in the history what a rewind on its way to the store leaves of each metric.

        Args:
            view: Which is behind; as far as the store answers, it is not afterwards.
            waiting: What waits of the run on this machine.
        """
        give_up_s = time.monotonic() + _RECALL_S
        for key in sorted(view.behind):
            if time.monotonic() > give_up_s:
                return
            try:
                found = self._history(view.run_id, key, waiting)
            except (Away, MlflowException):
                return  # what is known has to do
            view.note_points(Point(key, one.timestamp, one.step, one.value) for one in found)
            view.behind.discard(key)

    def catch_up(self, view: RunView) -> None:
        """Learn, after a rewind, what the store had before: once it is there or by its history."""
        self._contact.try_again()
        if view.behind and self.recorder.settle(SETTLE_WAIT_S):
            self._look(view, _RECALL_S)
        if view.behind:
            waiting = list(records_about(self.recorder, view.run_id, SETTLE_WAIT_S))
            self._recall(view, waiting)

    def _refresh(self, view: RunView) -> None:
        """Look, now and then, what other processes have written to a run of ours.

        Once a second at most. MLflow asks for the run inside ``log_metric(run_id=…)`` too, where
        nobody waits: a thread looks, and a later call takes over what it found.
        """
        now_s = time.monotonic()
        if now_s - view.seen_s < _REFRESH_S and not view.behind:
            return
        if mlflow_private.is_printing_address():  # of a run that is about to end
            return
        if mlflow_private.fluent_caller() in _LOG_CALLS:
            self._look_beside(view, now_s)
            return
        view.seen_s = now_s  # also where others go on writing, so that it is never settled
        with contextlib.suppress(OSError):  # the process may open no more files, for one
            if self.recorder.settle(_LOG_WAIT_S):
                self._look(view, self._log_wait_s)

    def _look_beside(self, view: RunView, now_s: float) -> None:
        found, view.found_beside = view.found_beside, None
        if isinstance(found, MlflowException):
            self._views.pop(view.run_id, None)  # somebody may begin it still
            raise found
        if found is not None:
            was_deleted = view.is_deleted
            view.add(found)
            _say_deleted(view, was_deleted)
        if now_s < view.next_beside_s:
            return
        view.next_beside_s = now_s + _BESIDE_S  # or when it is done
        context = contextvars.copy_context()  # MLflow's workspace, for one
        with contextlib.suppress(RuntimeError):  # no more threads, or the end of the interpreter
            look = threading.Thread(
                target=context.run, args=(self._find_beside, view), name="weir-look", daemon=True
            )
            start_soon(look)

    @never_raises(None)
    def _find_beside(self, view: RunView) -> None:
        """Ask the store for a run, in a thread of its own."""
        try:
            with contextlib.suppress(OSError, Away), as_it_is():
                if self.recorder.settle(SETTLE_WAIT_S):
                    view.found_beside = self._glance(self._first_wait_s, view.run_id)
        except MlflowException as exc:
            # A run that a training has resumed goes on: another machine may have to deliver it.
            if says_unknown(exc) and not (view.is_verified or view.is_fluent):
                view.found_beside = exc
        view.next_beside_s = time.monotonic() + _REFRESH_S

    def _look(self, view: RunView, timeout_s: float) -> None:
        """Take over what the store says of a run, where it has all that was written here."""
        end = self.recorder.end
        if not self.recorder.is_delivered():
            return
        try:
            with as_it_is():
                run = self._contact.glance(timeout_s, super().get_run, view.run_id)  # type: ignore[misc]
        except (Away, MlflowException):
            return  # what is known has to do
        if self.recorder.end == end and not self.recorder.n_held:  # no thread has logged meanwhile
            was_deleted = view.is_deleted
            view.replace(run)
            _say_deleted(view, was_deleted)

    def _found(self, run_id: str) -> Run:
        """Return what the store has of a run, where a log call asks: soon or not at all."""
        return self._glance(self._log_wait_s, run_id)

    def _glance(self, timeout_s: float, run_id: str) -> Run:
        get_run: Callable[[str], Run] = super().get_run  # type: ignore[misc]
        with as_it_is():
            return self._contact.glance(timeout_s, get_run, run_id)

    def _adopted(self, run_id: str) -> RunView:
        """Begin to follow a run that this process did not begin."""
        try:
            view = RunView.of_run(self._found(run_id))
        except (Away, MlflowException) as exc:
            # Perhaps begun by another process of this machine, or MLflow cannot show it.
            enough = _LOOKED_THROUGH_BYTES if isinstance(exc, Away) else sys.maxsize
            about_run = records_about(self.recorder, run_id, SETTLE_WAIT_S, enough)
            waiting = waiting_view(about_run, None)
            if waiting is not None:
                view = waiting.name_by(self._names)
            elif says_unknown(exc):
                view = self._known_by_now(run_id)
            else:
                view = RunView.of_unknown(run_id).name_by(self._names)
        with self._lock:
            self._trimmer.look(self._views, self.recorder.journal)
            return self._views.setdefault(run_id, view)

    def _known_by_now(self, run_id: str) -> RunView:
        """Look again for a run that the store did not know a moment ago.

        Raises:
            MlflowException: It does not.
        """
        try:
            return RunView.of_run(self._stored_or_waiting(run_id))
        except Away:
            return RunView.of_unknown(run_id).name_by(self._names)

    # What is not delivered yet

    def get_metric_history(
        self,
        run_id: str,
        metric_key: str,
        max_results: int | None = None,
        page_token: str | None = None,
    ) -> PagedList[Metric]:
        """Return a metric's points, those included that wait on this machine."""
        read: Callable[..., PagedList[Metric]] = super().get_metric_history  # type: ignore[misc]
        if self.recorder.settle(SETTLE_WAIT_S):
            return read(run_id, metric_key, max_results, page_token)
        about_run = records_about(self.recorder, run_id, _ANSWER_WAIT_S)
        waiting = [one for one in about_run if is_about(one, run_id, metric_key)]
        try:
            found = self._history(run_id, metric_key, waiting)
        except Away as away:
            if run_id not in self._views and not waiting:
                raise away.as_mlflow_error() from away
            found = _history_of([], metric_key, waiting, run_id)
        start = SearchUtils.parse_start_offset_from_page_token(page_token)
        end = len(found) if max_results is None else start + max_results
        token = SearchUtils.create_page_token(end) if end < len(found) else None
        return PagedList(found[start:end], token)

    def _history(
        self, run_id: str, key: str, waiting: Sequence[Points | Operation]
    ) -> list[Metric]:
        """Return a metric's points, with what waits laid over those that the store has.

        Raises:
            Away: The store is.
            MlflowException: The store does not show the run, though nothing of its beginning
                waits.
        """
        read: Callable[..., PagedList[Metric]] = super().get_metric_history  # type: ignore[misc]
        stored: Sequence[Metric] = []
        try:
            with as_it_is():
                stored = self._directly(read, run_id, key)
        except MlflowException as exc:
            if not (waiting and says_unknown(exc)):
                raise
        return _history_of(stored, key, waiting, run_id)

    def search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str | None,
        run_view_type: int,
        max_results: int = SEARCH_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Run]:
        """Search runs; what this process has yet to deliver is laid over the first page."""
        search: Callable[..., PagedList[Run]] = super().search_runs  # type: ignore[misc]
        is_settled = self.recorder.settle(SETTLE_WAIT_S)
        experiment_ids = list(dict.fromkeys(map(self._names.real, map(str, experiment_ids))))
        arguments = (
            experiment_ids, filter_string, run_view_type, max_results, order_by, page_token
        )  # fmt: skip
        there = [one for one in experiment_ids if not one.startswith(PENDING_EXPERIMENT)]
        if page_token or (is_settled and there == experiment_ids):
            return search(*arguments)
        ours = self._seen_runs(experiment_ids, filter_string, run_view_type)
        stored: PagedList[Run] = PagedList([], None)
        if there:
            with contextlib.suppress(Away), as_it_is():
                stored = self._directly(search, there, *arguments[1:])
        viewed = self._viewed()
        rest = [run for run in stored if run.info.run_id not in viewed]
        found = SearchUtils.sort([*ours, *rest], order_by)
        return PagedList(found[:max_results], stored.token)

    def _seen_runs(
        self, experiment_ids: Sequence[str], filter_string: str | None, run_view_type: int
    ) -> list[Run]:
        stages = LifecycleStage.view_type_to_stages(run_view_type)
        seen = [
            view.to_run()
            for view in list(self._views.values())
            if view.is_verified
            and view.info.experiment_id in experiment_ids
            and view.info.lifecycle_stage in stages
        ]
        return list(SearchUtils.filter(seen, filter_string))

    def _viewed(self) -> set[str]:
        """Return the runs that are known here, by the store's ids of them too."""
        return set(self._views)


def _history_of(
    stored: Sequence[Metric],
    key: str,
    waiting: Sequence[Points | Operation],
    run_id: str,
) -> list[Metric]:
    whole = with_waiting(stored, waiting, run_id)
    return in_history_order([one for one in whole if one.key == key])


def _say_deleted(view: RunView, was_deleted: bool) -> None:
    """Say that a run is in the bin now; of one that is not ours the calls say so."""
    if view.is_ours and view.is_deleted and not was_deleted:
        _logger.warning(
            "run %s was deleted while it is logged to: what is logged goes with it; "
            "restore it to see it",
            view.run_id,
        )
