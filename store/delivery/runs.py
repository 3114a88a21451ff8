"""Operations on runs, with the rows that MLflow's store writes for the same calls."""

from __future__ import annotations

import re

import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import heartbeats, owners
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.delivery import (
    PENDING_ARTIFACTS,
    TERMINAL,
    Delivery,
    ExperimentFacts,
    RunFacts,
    require_active,
)
from mlflow_weir.store.delivery.experiments import DEFAULT_WORKSPACE, append_path, get_or_create
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.delivery.rewinding import rewind

EXIT_CAUSE_TAG = "weir.exit_cause"
POINTS_DROPPED_TAG = "weir.points_dropped"
TRACES_DROPPED_TAG = "weir.traces_dropped"
ARTIFACTS_DROPPED_TAG = "weir.artifacts_dropped"
REDACTED_TAG = "weir.redacted"
PREEMPTING_TAG = "weir.preempting"
"""Since when the machine is known to be taken away from a run, in ms; gone with its end."""

_STATUSES = TERMINAL | {"RUNNING", "SCHEDULED"}
_TAG_CHARACTERS = 8000  # MLflow's limit on a tag's value
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")


def create_run(delivery: Delivery, fields: Fields) -> None:
    """Create a run with the id that its process chose."""
    run_id = fields.text("run_id")
    if not _RUN_ID.match(run_id):
        raise Refused(f"run id {run_id!r:.100} is not 32 hexadecimal digits")
    # MLflow cannot read a run without these two.
    start_time = fields.whole_or_none("start_time")
    start_time = delivery.now_ms if start_time is None else start_time
    user_id = fields.text_or_none("user_id") or ""
    artifacts = fields.text_or_none("artifact_uri")
    tags = dict(fields.pairs("tags"))
    given = fields.text_or_none("run_name") or tags.get(tables.RUN_NAME_TAG)
    if delivery.find_run(run_id) is not None:
        raise Refused(f"run {run_id} exists already")
    experiment = _experiment_of_run(delivery, fields)
    name = tags[tables.RUN_NAME_TAG] = given or f"run-{run_id[:8]}"
    if not artifacts or artifacts.startswith(PENDING_ARTIFACTS):
        delivery.note_location(fields.text("experiment_id"), experiment)
        artifacts = append_path(experiment.artifact_location, run_id, "artifacts")
    delivery.connection.execute(
        sa.insert(tables.runs).values(
            run_uuid=run_id,
            name=name,
            source_type="UNKNOWN",
            source_name="",
            entry_point_name="",
            user_id=user_id,
            status="RUNNING",
            start_time=start_time,
            end_time=None,
            deleted_time=None,
            source_version="",
            lifecycle_stage=tables.ACTIVE,
            artifact_uri=artifacts,
            experiment_id=experiment.experiment_id,
        )
    )
    rows = [{"key": key, "value": value, "run_uuid": run_id} for key, value in tags.items()]
    delivery.connection.execute(sa.insert(tables.tags), rows)
    delivery.add_run(RunFacts(run_id, experiment.experiment_id, tables.ACTIVE, "RUNNING", None))


def _experiment_of_run(delivery: Delivery, fields: Fields) -> ExperimentFacts:
    """Return the experiment a run was started in, by id or alias, or else by name."""
    experiment_id, name = fields.text("experiment_id"), fields.text_or_none("experiment_name")
    found = delivery.find_experiment(experiment_id)
    if found is not None:
        return require_active(found)
    if name is None:
        raise Refused(f"experiment {experiment_id} does not exist")
    named = get_or_create(
        delivery,
        name,
        fields.text_or_none("workspace") or DEFAULT_WORKSPACE,
        location=None,
        root=fields.text_or_none("artifact_root"),
        tags=[],
        at_ms=delivery.now_ms,
    )
    # What the journal says of this experiment from here on is of the one that bears its name.
    delivery.state.aliases[experiment_id] = str(named.experiment_id)
    return named


def update_run(delivery: Delivery, fields: Fields) -> None:
    """Change a run's status, end time and name: those that are given.

    A provisional end is what MLflow's exit handler writes, before the exit code is known. A
    revival brings back a run that Weir had ended; what anybody else has ended stays as it is.
    """
    run = delivery.active_run(fields.text("run_id"))
    status, name = fields.text_or_none("status"), fields.text_or_none("run_name")
    end_time = fields.whole_or_none("end_time")
    if fields.flag("is_revival"):
        _revive(delivery, run)
        return
    if status is not None and status not in _STATUSES:
        raise Refused(f"{status!r:.100} is not a status of a run")
    is_provisional = fields.flag("is_provisional")
    if status in TERMINAL and is_provisional and _goes_on(delivery, run):
        # This process's part is over; the run is for the others to end.
        delivery.state.provisional[run.run_id] = status
        owners.forget(delivery.connection, delivery.journal_id, run.run_id)
        status = end_time = None
    values: dict[str, str | int] = {}
    if status is not None:
        values["status"] = status
    if end_time is not None:
        values["end_time"] = end_time
    if name:
        values["name"] = name
    if values:
        _update(delivery, run, values)
    if name:
        _set_tags(delivery, run.run_id, [(tables.RUN_NAME_TAG, name)])
    if status is not None:
        _note_status(delivery, run, status, is_provisional=is_provisional)
    run.status = status or run.status
    run.end_time = end_time if end_time is not None else run.end_time


def _update(delivery: Delivery, run: RunFacts, values: dict[str, str | int]) -> None:
    delivery.connection.execute(
        sa.update(tables.runs).where(tables.runs.c.run_uuid == run.run_id).values(**values)
    )


def _note_status(delivery: Delivery, run: RunFacts, status: str, *, is_provisional: bool) -> None:
    state, run_id = delivery.state, run.run_id
    if status not in TERMINAL:
        heartbeats.set_provisional(delivery.connection, run_id, None)
        _delete_tag(delivery, run_id, EXIT_CAUSE_TAG)
        _delete_tag(delivery, run_id, PREEMPTING_TAG)
        state.provisional.pop(run_id, None)
        return
    if heartbeats.was_lost(delivery.connection, run_id):
        _delete_tag(delivery, run_id, EXIT_CAUSE_TAG)
    if is_provisional:
        heartbeats.set_provisional(delivery.connection, run_id, status, by="exit handler")
        state.provisional[run_id] = status
        owners.forget(delivery.connection, delivery.journal_id, run_id)
    else:
        delivery.connection.execute(
            sa.delete(schema.heartbeat).where(schema.heartbeat.c.run_uuid == run_id)
        )
        _forget_open(delivery, run_id)
    delivery.ended_runs[run_id] = None


def _forget_open(delivery: Delivery, run_id: str) -> None:
    if delivery.state.open_runs.pop(run_id, None) is not None:
        delivery.let_go.add(run_id)
    delivery.state.provisional.pop(run_id, None)
    owners.forget(delivery.connection, delivery.journal_id, run_id)


def _goes_on(delivery: Delivery, run: RunFacts) -> bool:
    """Say whether another living process has as good a claim on a run as the journal's."""
    delivery.lock_run(run)
    how = delivery.state.open_runs.get(run.run_id, "client")
    return owners.goes_on(delivery.connection, run.run_id, delivery.journal_id, how)


def _revive(delivery: Delivery, run: RunFacts) -> None:
    if run.status not in TERMINAL or not heartbeats.is_provisional(
        delivery.connection, run.run_id, run.status
    ):
        return
    heartbeats.revive(delivery.connection, run.run_id)
    delivery.state.provisional.pop(run.run_id, None)
    run.status, run.end_time = "RUNNING", None


def exit_run(delivery: Delivery, fields: Fields) -> None:
    """End a run whose process is gone, and say why.

    Not one that the process has ended itself, nor one that another living process answers for. A
    status that is no end says no more than that the process is gone.
    """
    run_id, status = fields.text("run_id"), fields.text("status")
    cause = fields.text_or_none("cause")
    if status not in _STATUSES:
        raise Refused(f"{status!r:.100} is not a status of a run")
    run = delivery.find_run(run_id)
    if run is None or not delivery.takes(run) or status not in TERMINAL:
        _forget_open(delivery, run_id)
        return
    if _goes_on(delivery, run):
        _forget_open(delivery, run_id)
        return
    connection = delivery.connection
    if run.status in TERMINAL and not heartbeats.is_provisional(connection, run_id, run.status):
        _forget_open(delivery, run_id)
        return
    if status != "FINISHED" and _read_tags(delivery, run_id, [PREEMPTING_TAG]):
        status, cause = "KILLED", preempted(cause)
        _delete_tag(delivery, run_id, PREEMPTING_TAG)
    end_time = run.end_time
    if run.status not in TERMINAL or end_time is None:
        end_time = _end_time(fields, delivery.now_ms)
    _update(delivery, run, {"status": status, "end_time": end_time})
    if cause:
        _set_tags(delivery, run_id, [(EXIT_CAUSE_TAG, cause[:_TAG_CHARACTERS])])
    heartbeats.set_provisional(connection, run_id, status, by="exit")
    run.status, run.end_time = status, end_time
    _forget_open(delivery, run_id)
    delivery.ended_runs[run_id] = None


def preempted(cause: str | None) -> str:
    """Return the cause of the end of a run that was marked as being preempted."""
    return f"preempted ({cause})" if cause else "preempted"


def _end_time(fields: Fields, now_ms: int) -> int:
    """Return when the process was gone, in ms, as far as ``details`` say it."""
    details = fields.mapping("details")
    found = details.whole_or_none("end_time")
    return now_ms if found is None else found


def own_run(delivery: Delivery, fields: Fields) -> None:
    """Note that the journal's process answers for a run."""
    run_id, how = fields.text("run_id"), fields.text("how")
    if how not in {"fluent", "client"}:
        raise Refused(f"{how!r:.100} is no way to own a run")
    if delivery.state.open_runs.get(run_id) != "fluent":
        delivery.state.open_runs[run_id] = how
    delivery.state.since.setdefault(run_id, delivery.now_ms)


def points_dropped(delivery: Delivery, fields: Fields) -> None:
    """Add to the number of points of a run that its process could not keep."""
    _add_to_count(delivery, fields, POINTS_DROPPED_TAG)


def traces_dropped(delivery: Delivery, fields: Fields) -> None:
    """Add to the number of traces of a run that its process could not keep whole."""
    if fields.text_or_none("run_id") is not None:
        _add_to_count(delivery, fields, TRACES_DROPPED_TAG)


def artifacts_dropped(delivery: Delivery, fields: Fields) -> None:
    """Add to the number of files of a run that its process could not keep."""
    if fields.text_or_none("run_id") is not None:
        _add_to_count(delivery, fields, ARTIFACTS_DROPPED_TAG)


def redacted(delivery: Delivery, fields: Fields) -> None:
    """Add to the number of values that were taken out of what was captured of a run."""
    _add_to_count(delivery, fields, REDACTED_TAG)


def _add_to_count(delivery: Delivery, fields: Fields, tag: str) -> None:
    run, n = delivery.active_run(fields.text("run_id")), fields.whole("n")
    owner = {"run_uuid": run.run_id}
    found = delivery.read_pairs(tables.tags, "key", "value", owner, [tag], is_locked=True)
    there = found.get(tag, "0")
    before = int(there) if there.isascii() and there.isdigit() else 0
    _set_tags(delivery, run.run_id, [(tag, str(before + n))])


def rewind_run(delivery: Delivery, fields: Fields) -> None:
    """Take a run's metric history back to a step."""
    run, step = delivery.active_run(fields.text("run_id")), fields.whole("step")
    rewind(delivery.connection, run.run_id, step)


def log_params(delivery: Delivery, fields: Fields) -> None:
    """Write params; a param that has another value already refuses all of them."""
    run = delivery.active_run(fields.text("run_id"))
    wanted: dict[str, str] = {}
    pairs = fields.pairs("params")
    owner = {"run_uuid": run.run_id}
    there = delivery.read_pairs(tables.params, "key", "value", owner, [key for key, _ in pairs])
    for key, value in pairs:
        old = there.get(key, wanted.get(key))
        if old is not None and old != value:
            raise Refused(
                f"param {key!r} of run {run.run_id} has the value {old!r:.200} already; it "
                f"cannot be changed to {value!r:.200}"
            )
        if key not in there:
            wanted[key] = value
    rows = [{**owner, "key": key, "value": wanted[key]} for key in sorted(wanted)]
    if rows:
        delivery.connection.execute(sa.insert(tables.params), rows)


def set_tags(delivery: Delivery, fields: Fields) -> None:
    """Set tags; the run's name is one of them."""
    run = delivery.active_run(fields.text("run_id"))
    # An empty name is no name, and the tag stays as it is: so in MLflow.
    pairs = [
        (key, value) for key, value in fields.pairs("tags") if key != tables.RUN_NAME_TAG or value
    ]
    name = dict(pairs).get(tables.RUN_NAME_TAG)
    if name is not None:
        _update(delivery, run, {"name": name})
    _set_tags(delivery, run.run_id, pairs)


def delete_tag(delivery: Delivery, fields: Fields) -> None:
    """Delete a tag, which must be there."""
    run, key = delivery.active_run(fields.text("run_id")), fields.text("key")
    if key not in _read_tags(delivery, run.run_id, [key]):
        raise Refused(f"run {run.run_id} has no tag {key!r:.300}")
    _delete_tag(delivery, run.run_id, key)


def _read_tags(delivery: Delivery, run_id: str, keys: list[str]) -> dict[str, str]:
    return delivery.read_pairs(tables.tags, "key", "value", {"run_uuid": run_id}, keys)


def _set_tags(delivery: Delivery, run_id: str, pairs: list[tuple[str, str]]) -> None:
    delivery.upsert_pairs(tables.tags, "key", "value", {"run_uuid": run_id}, pairs)


def _delete_tag(delivery: Delivery, run_id: str, key: str) -> None:
    columns = tables.tags.c
    delivery.connection.execute(
        sa.delete(tables.tags).where(columns.run_uuid == run_id, columns.key == key)
    )
