"""Runs as they will be once what waits on this machine is in the store.

A training that was killed and is started again resumes its run at once: before the agent has
brought the first process's records into the store, or while the store is away. What that process
wrote is in its journal, on this machine; here it is laid over what the store says, if anything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

from mlflow.entities import LifecycleStage, Param, Run, RunInfo, RunStatus, RunTag

from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import JournalFolder
from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.plugin.pending_names import PENDING_ARTIFACTS
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.store.delivery import records
from mlflow_weir.store.delivery.records import Histograms, Operation, Points
from mlflow_weir.store.metrics.points import Point

_READ_BYTES = 4 << 20


def waiting_view(waiting: Iterable[Points | Operation], stored: Run | None) -> RunView | None:
    """Return a run with what the machine's processes have yet to deliver of it.

    Args:
        waiting: As of ``records_about``.
        stored: What the store says, read after ``waiting``: so what is delivered in between is
            in both, which changes nothing, and never in none. None where the store does not have
            the run or is away.

    Returns:
        The run; None where nothing waits, or the store did not say what the run began as.
    """
    view = None if stored is None else RunView.of_run(stored)
    is_changed = False
    for record in waiting:
        if isinstance(record, Operation) and record.name == "create_run":
            view = view or _begun(record)
        elif view is not None:
            _note(view, record)
        is_changed = True
    return view if is_changed else None


def records_about(
    recorder: Recorder, run_id: str, timeout_s: float, max_bytes: int = sys.maxsize
) -> Iterator[Points | Operation]:
    """Give points and operations that wait on this machine, of each process in order.

    Args:
        recorder: For the target that the run is in.
        run_id: Whose records.
        timeout_s: After which what was found so far has to do.
        max_bytes: Of records to look through, after which the same.
    """
    looking = _Looking(time.monotonic() + timeout_s, max_bytes)
    sought = str(run_id).encode()  # MLflow asks for whatever a caller gives
    for folder in recorder.folders():
        try:
            for payload in looking.payloads(folder):
                if sought not in payload:
                    continue  # decoding costs a hundred times as much
                record = records.decode(payload)
                if isinstance(record, Histograms):
                    continue  # of which no view of a run knows
                of_run = record.run_id if isinstance(record, Points) else record.fields["run_id"]
                if of_run == run_id:
                    yield record
        except (OSError, WeirError, records.RecordError, KeyError):
            continue  # removed meanwhile, as all of it is delivered; or set aside as corrupt


class _Looking:
    """Reads what waits in journals until the time is over or enough was read."""

    def __init__(self, give_up_s: float, max_bytes: int) -> None:
        self._give_up_s, self._left = give_up_s, max_bytes

    def payloads(self, folder: JournalFolder) -> Iterator[bytes]:
        with JournalReader(folder.path, folder.delivered().position) as reader:
            while self._left > 0 and time.monotonic() < self._give_up_s:
                found = reader.read(min(self._left, _READ_BYTES))
                if not found.payloads:
                    return
                self._left -= found.end - found.start
                yield from found.payloads


def _begun(record: Operation) -> RunView:
    fields = record.fields
    run_id = fields["run_id"]
    info = RunInfo(
        run_id=run_id,
        experiment_id=fields["experiment_id"],
        user_id=fields["user_id"],
        status=RunStatus.to_string(RunStatus.RUNNING),
        start_time=fields["start_time"],
        end_time=None,
        lifecycle_stage=LifecycleStage.ACTIVE,
        artifact_uri=fields["artifact_uri"] or f"{PENDING_ARTIFACTS}{run_id}",
        run_name=fields["run_name"],
    )
    return RunView(info, tags=dict(fields["tags"]), is_verified=True)


def _note(view: RunView, record: Points | Operation) -> None:
    """Do to the view what the record will do to the run; inputs and outputs are left out."""
    if isinstance(record, Points):
        view.note_points(Point(*point) for point in record.points())
        return
    fields = record.fields
    if record.name == "update_run":
        status = fields["status"]
        view.note_info(
            None if status is None else RunStatus.from_string(status),
            fields["end_time"],
            fields["run_name"],
        )
    elif record.name == "log_params":
        view.note_params(Param(key, value) for key, value in fields["params"])
    elif record.name == "set_tags":
        view.note_tags(RunTag(key, value) for key, value in fields["tags"])
    elif record.name == "delete_tag":
        view.note_deleted_tag(fields["key"])
    elif record.name == "rewind":
        view.rewind(fields["step"])
