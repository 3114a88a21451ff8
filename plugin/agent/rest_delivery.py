"""The records of a journal as requests to a stock MLflow server.

A stock server chooses the ids of runs, experiments and logged models; those that a process chose
are aliases. It has no place for the journal's position, so a crash may leave requests of which
nobody knows whether they got through. All of them may therefore be sent again:

* a run and a logged model carry the process's id in a tag and are looked for before they are made;
  an experiment is known by its name;
* MLflow drops a point that it has, takes an equal param and overwrites a tag;
* what it would refuse the second time (a tag deleted, an output linked, a model's param) is looked
  at when records may be sent again;
* a count of dropped points is noted before it is sent.

Points, params and tags of consecutive records go together, up to MLflow's limits. What the server
denies is halved until the one to blame is alone, which is noted as rejected with its reason.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from mlflow_weir.plugin.agent import rest_models
from mlflow_weir.plugin.agent.rest_batches import Batch, Item, body_of, halves, metric
from mlflow_weir.plugin.agent.rest_ids import Ids
from mlflow_weir.plugin.agent.rest_state import Part, RestState
from mlflow_weir.plugin.agent.stock_server import RUN_KEY_TAG, Denied, Failed, StockServer, pairs
from mlflow_weir.store.delivery.delivery import PENDING_ARTIFACTS
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.delivery.positions import Rejected
from mlflow_weir.store.delivery.records import Histograms, Points, RecordError, decode
from mlflow_weir.store.delivery.runs import (
    ARTIFACTS_DROPPED_TAG,
    EXIT_CAUSE_TAG,
    PREEMPTING_TAG,
    REDACTED_TAG,
    TRACES_DROPPED_TAG,
    preempted,
)

_SAVE_S = 0.5
_TERMINAL = frozenset({"FINISHED", "FAILED", "KILLED"})
_STATUSES = _TERMINAL | {"RUNNING", "SCHEDULED"}
_DROPPED_TAG = "weir.points_dropped"
_TAG_CHARACTERS = 8000  # MLflow's limit on a tag's value
_FAILED_TRIES = 3


class RestDelivery:
    """One delivery: consecutive records of a journal.

    Attributes:
        server: Where to.
        state: The journal's, changed as records are delivered.
        ids: What the ids of the process are on the server.
        is_repeat: The server may have some of the records already.
    """

    def __init__(
        self,
        server: StockServer,
        state: RestState,
        part: Part,
        known_runs: set[str],
        save: Callable[[], None],
        *,
        is_patient: bool,
        is_repeat: bool,
        is_last_try: bool,
    ) -> None:
        """Begin where an earlier try ended.

        Args:
            server: Where to.
            state: The journal's.
            part: How far an earlier try came.
            known_runs: Runs that are known to be there, by the server's ids; added to.
            save: Writes the state.
            is_patient: Raise ``RunNotThereYet`` rather than reject what is of a run unknown.
            is_repeat: The server may have some of the records already.
            is_last_try: The server has stumbled over what comes first too often to be asked on.
        """
        self.server, self.state, self.is_repeat = server, state, is_repeat
        self.ids = Ids(server, state.aliases, known_runs, is_patient=is_patient)
        self._part, self._save = part, save
        self._is_last_try = is_last_try
        self._batches: dict[str, Batch] = {}
        self._number = part.n_done
        self._saved_s = time.monotonic()

    @property
    def rejected(self) -> list[Rejected]:
        """What the server did not take, of all tries."""
        return [Rejected(what, reason) for what, reason in self._part.rejected]

    def run(self, payloads: Sequence[bytes]) -> None:
        """Send the records that the server does not have.

        Raises:
            RunNotThereYet: One names a run that does not exist, and the delivery is patient.
            StoreUnavailable: The server does not take them; what went before is done.
        """
        for number in range(self._part.n_done, len(payloads)):
            self._number = number
            self._take(payloads[number])
            if not self._batches:
                self._is_done(number + 1)
        self._flush()
        self._part.n_done = len(payloads)

    def _take(self, payload: bytes) -> None:
        try:
            record = decode(payload)
        except RecordError as exc:
            self._reject("a record", str(exc))
            return
        if isinstance(record, Points):
            batch = self._batch(record.run_id)
            batch.metrics += [metric(*point) for point in record.points()]
            if batch.is_full():
                self._flush()
            return
        if isinstance(record, Histograms):
            return  # there is no place for them; the norms and the like went as metrics
        fields = Fields(record.fields)
        try:
            if record.name == "log_params":
                self._add_params(fields.text("run_id"), fields.pairs("params"))
            elif record.name == "set_tags":
                self._add_tags(fields.text("run_id"), fields.pairs("tags"))
            else:
                self._flush()
                self._perform(record.name, fields)
        except Refused as exc:
            self._reject(_describe(record.name, record.fields), str(exc))
        except Denied as exc:
            self._reject(_describe(record.name, record.fields), str(exc))
        except Failed as exc:
            if not self._is_last_try or not self._works(record.fields.get("run_id")):
                raise
            self._reject(_describe(record.name, record.fields), str(exc))

    def _perform(self, name: str, fields: Fields) -> None:
        perform = _OPERATIONS.get(name)
        if perform is None:
            raise Refused("a stock MLflow server cannot do it, or a newer version wrote it")
        perform(self, fields)

    def _reject(self, what: str, reason: str) -> None:
        self._part.rejected.append((what, reason))

    def _is_done(self, n_records: int) -> None:
        """Note that so many records are done, and write it down now and then."""
        self._part.n_done = n_records
        if time.monotonic() - self._saved_s > _SAVE_S:
            self._save()
            self._saved_s = time.monotonic()

    # Points, params and tags

    def _batch(self, run_id: str) -> Batch:
        return self._batches.setdefault(run_id, Batch())

    def _add_params(self, run_id: str, params: list[tuple[str, str]]) -> None:
        if self._batch(run_id).changes_params(params):
            self._flush()
        batch = self._batch(run_id)
        for key, value in params:
            batch.params[key] = value
        if batch.is_full():
            self._flush()

    def _add_tags(self, run_id: str, tags: list[tuple[str, str]]) -> None:
        batch = self._batch(run_id)
        for key, value in tags:
            batch.tags[key] = self.ids.in_tag(key, value)
        if batch.is_full():
            self._flush()

    def _flush(self) -> None:
        """Send what waits."""
        while self._batches:
            run_id = next(iter(self._batches))
            batch = self._batches[run_id]
            n_rejected, n_points = len(self._part.rejected), self._part.n_points
            try:
                self._send_batch(run_id, batch)
            except BaseException:  # the whole of it is sent again, and counted then
                del self._part.rejected[n_rejected:]
                self._part.n_points = n_points
                raise
            del self._batches[run_id]

    def _send_batch(self, run_id: str, batch: Batch) -> None:
        real = self.ids.run(run_id)
        if real is None:
            reason = f"run {run_id} does not exist"
            self._reject_items(run_id, [one for part in batch.requests() for one in part], reason)
            return
        for items in batch.requests():
            self.send(run_id, real, items)

    def send(
        self, run_id: str, real: str, items: list[Item], *, is_counted: bool = True, tries: int = 0
    ) -> None:
        """Send so much of a run as one request takes; what is denied is rejected alone.

        Args:
            run_id: The process's id of the run.
            real: The server's.
            items: What to log.
            is_counted: Points among them are none that were counted before.
            tries: How often the server has stumbled over these.

        Raises:
            StoreUnavailable: Not all of it got there.
        """
        try:
            self.server.call("POST", "runs/log-batch", body_of(real, items))
        except Denied as exc:
            reason = str(exc)
            if exc.code != "TOO_LARGE" and not self.ids.is_active(real):
                self._reject_items(run_id, items, f"run {run_id} is deleted or not there: {exc}")
                return
        except Failed as exc:
            if not self._is_last_try or not self._works(run_id):
                raise
            if tries < _FAILED_TRIES:  # another client may have been in the way
                self.send(run_id, real, items, is_counted=is_counted, tries=tries + 1)
                return
            reason = str(exc)
        else:
            if is_counted:
                self._part.n_points += sum(one.kind == "metrics" for one in items)
            return
        if len(items) == 1:
            self._reject_items(run_id, items, reason)
            return
        for part in halves(items):
            self.send(run_id, real, part, is_counted=is_counted)

    def _reject_items(self, run_id: str, items: Sequence[Item], reason: str) -> None:
        points = [one for one in items if one.kind == "metrics"]
        keys = dict.fromkeys(one.key for one in points)
        if len(keys) > 1:
            self._reject(f"{len(points)} points of run {run_id}", reason)
        elif keys:
            self._reject(f"points of metric {points[0].key!r} of run {run_id}", reason)
        for one in items:
            if one.kind != "metrics":
                self._reject(f"{one.kind[:-1]} {one.key!r} of run {run_id}", reason)

    def _works(self, run_id: object) -> bool:
        """Say whether the server writes other things, so that what it fails at is to blame."""
        if not isinstance(run_id, str):
            return self.server.is_stock()
        real = self.ids.run(run_id)
        if real is None:
            return False
        self._set_tag(real, RUN_KEY_TAG, run_id)
        return True

    def _set_tag(self, real: str, key: str, value: str) -> None:
        self.server.call("POST", "runs/set-tag", {"run_id": real, "key": key, "value": value})

    # Experiments and runs

    def create_experiment(self, fields: Fields) -> None:
        """Get or create an experiment by its name, and note what became of its alias."""
        alias = fields.text("experiment_id")
        self.state.aliases[alias] = self._experiment_named(
            fields.text("name"), fields.text_or_none("artifact_location"), fields.pairs("tags")
        )
        self.note_location(alias)

    def note_location(self, experiment_id: str) -> None:
        """Note where an experiment has its artifacts, for a process that does not know it yet."""
        name = f"{PENDING_ARTIFACTS}{experiment_id}"
        if name not in self.state.aliases:
            with contextlib.suppress(Denied):
                found = self.server.experiment(self.ids.experiment(experiment_id))
                if found is not None:
                    self.state.aliases[name] = str(found["artifact_location"])

    def _experiment_named(
        self, name: str, location: str | None, tags: list[tuple[str, str]]
    ) -> str:
        found = self.server.experiment_named(name)
        if found is None:
            body = {"name": name, "artifact_location": location or None, "tags": pairs(tags)}
            try:
                made = self.server.call("POST", "experiments/create", body)
                return str(made["experiment_id"])
            except Denied as exc:
                if exc.code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self.server.experiment_named(name)  # somebody was faster
        if found is None or found.get("lifecycle_stage") != "active":
            raise Refused(f"experiment {name!r} is deleted; restore it to log to it")
        return str(found["experiment_id"])

    def set_experiment_tag(self, fields: Fields) -> None:
        """Set a tag of an experiment."""
        body = {
            "experiment_id": self.ids.experiment(fields.text("experiment_id")),
            "key": fields.text("key"),
            "value": fields.text("value"),
        }
        self.server.call("POST", "experiments/set-experiment-tag", body)

    def create_run(self, fields: Fields) -> None:
        """Create a run, unless it is there."""
        key = fields.text("run_id")
        experiment_id = self._experiment_of_run(fields)
        if not fields.text_or_none("artifact_uri"):
            self.note_location(fields.text("experiment_id"))
        if self.ids.run_in(key, experiment_id) is not None:
            return
        tags = {name: self.ids.in_tag(name, value) for name, value in fields.pairs("tags")}
        body = {
            "experiment_id": experiment_id,
            "user_id": fields.text_or_none("user_id"),
            "start_time": fields.whole_or_none("start_time"),
            "run_name": fields.text_or_none("run_name"),
            "tags": pairs({**tags, RUN_KEY_TAG: key}.items()),
        }
        made = self.server.call("POST", "runs/create", body)
        self.ids.learn_run(key, str(made["run"]["info"]["run_id"]))

    def _experiment_of_run(self, fields: Fields) -> str:
        """Return the experiment a run was started in, by id or alias, or else by name."""
        experiment_id = fields.text("experiment_id")
        name = fields.text_or_none("experiment_name")
        if experiment_id in self.state.aliases:
            return self.state.aliases[experiment_id]
        if self.server.experiment(experiment_id) is not None:
            return experiment_id
        if name is None:
            raise Refused(f"experiment {experiment_id} does not exist")
        self.state.aliases[experiment_id] = self._experiment_named(name, None, [])
        return self.state.aliases[experiment_id]

    def update_run(self, fields: Fields) -> None:
        """Change a run's status, end time and name: those that are given."""
        run_id, real = self.require_run(fields)
        status, name = fields.text_or_none("status"), fields.text_or_none("run_name")
        end_time = fields.whole_or_none("end_time")
        if fields.flag("is_revival"):
            if self.state.provisional.pop(run_id, None) is not None:
                self._update(real, {"status": "RUNNING"})
            return
        if status is not None and status not in _STATUSES:
            raise Refused(f"{status!r:.100} is not a status of a run")
        changes = {"status": status, "end_time": end_time, "run_name": name or None}
        self._update(real, {field: value for field, value in changes.items() if value is not None})
        if status in _TERMINAL:
            if fields.flag("is_provisional"):
                self.state.provisional[run_id] = str(status)
            else:
                self._forget_open(run_id)
        elif status is not None:
            self.state.provisional.pop(run_id, None)
            self._delete_tag(real, EXIT_CAUSE_TAG, is_lenient=True)
            self._delete_tag(real, PREEMPTING_TAG, is_lenient=True)

    def _update(self, real: str, changes: dict[str, str | int]) -> None:
        self.server.call("POST", "runs/update", {"run_id": real, **changes})

    def _forget_open(self, run_id: str) -> None:
        self.state.open_runs.pop(run_id, None)
        self.state.provisional.pop(run_id, None)

    def own_run(self, fields: Fields) -> None:
        """Note that the journal's process answers for a run."""
        run_id, how = fields.text("run_id"), fields.text("how")
        if how not in {"fluent", "client"}:
            raise Refused(f"{how!r:.100} is no way to own a run")
        if self.state.open_runs.get(run_id) != "fluent":
            self.state.open_runs[run_id] = how

    def exit_run(self, fields: Fields) -> None:
        """End a run whose process is gone, unless it has ended the run itself, and say why."""
        run_id, status = fields.text("run_id"), fields.text("status")
        cause = fields.text_or_none("cause")
        if status not in _STATUSES:
            raise Refused(f"{status!r:.100} is not a status of a run")
        if status not in _TERMINAL:  # the process is gone, and the run is as it was
            self._forget_open(run_id)
            return
        real = self.ids.run(run_id)
        there = None if real is None else self.server.run(real)
        info = {} if there is None else there["info"]
        is_ended = info.get("status") in _TERMINAL
        is_ours = self.state.provisional.get(run_id) == info.get("status")
        is_active = info.get("lifecycle_stage") == "active"
        if (
            real is None
            or not is_active
            or (is_ended and not is_ours)
            or status not in _TERMINAL  # which says no more than that the process is gone
        ):
            self._forget_open(run_id)
            return
        tags = (there or {}).get("data", {}).get("tags", ())
        is_preempted = status != "FINISHED" and any(one["key"] == PREEMPTING_TAG for one in tags)
        if is_preempted:
            status, cause = "KILLED", preempted(cause)
        if cause:  # before the status, by which a second try would know that it was ended
            self._set_tag(real, EXIT_CAUSE_TAG, cause[:_TAG_CHARACTERS])
        end_time = info.get("end_time") if is_ended else None
        if end_time is None:
            end_time = fields.mapping("details").whole_or_none("end_time")
        if end_time is None:
            end_time = time.time_ns() // 1_000_000
        self._update(real, {"status": status, "end_time": int(end_time)})
        if is_preempted:
            self._delete_tag(real, PREEMPTING_TAG, is_lenient=True)
        self._forget_open(run_id)

    def delete_tag(self, fields: Fields) -> None:
        """Delete a tag, which must be there, unless it may have been deleted by an earlier try."""
        _, real = self.require_run(fields)
        self._delete_tag(real, fields.text("key"), is_lenient=self.is_repeat)

    def _delete_tag(self, real: str, key: str, *, is_lenient: bool) -> None:
        try:
            self.server.call("POST", "runs/delete-tag", {"run_id": real, "key": key})
        except Denied as exc:
            if not (is_lenient and exc.is_missing):
                raise

    def points_dropped(self, fields: Fields) -> None:
        """Add to the number of points of a run that its process could not keep."""
        self._add_to_count(fields, _DROPPED_TAG)

    def traces_dropped(self, fields: Fields) -> None:
        """Add to the number of traces of a run that its process could not keep whole."""
        if fields.text_or_none("run_id") is not None:
            self._add_to_count(fields, TRACES_DROPPED_TAG)

    def artifacts_dropped(self, fields: Fields) -> None:
        """Add to the number of files of a run that its process could not keep."""
        if fields.text_or_none("run_id") is not None:
            self._add_to_count(fields, ARTIFACTS_DROPPED_TAG)

    def redacted(self, fields: Fields) -> None:
        """Add to the number of values that were taken out of what was captured of a run."""
        self._add_to_count(fields, REDACTED_TAG)

    def _add_to_count(self, fields: Fields, tag: str) -> None:
        _, real = self.require_run(fields)
        number = str(self._number)
        if number not in self._part.drops:
            run = self.server.run(real) or {}
            tags = {one["key"]: one["value"] for one in run.get("data", {}).get("tags", ())}
            there = str(tags.get(tag, "0"))
            before = int(there) if there.isascii() and there.isdigit() else 0
            self._part.drops[number] = before + fields.whole("n")
            self._save()
        self._set_tag(real, tag, str(self._part.drops[number]))

    def console(self, fields: Fields) -> None:
        """Learn the server's id of the run; the lines are its artifact `console.log`."""
        self.require_run(fields)

    def alert(self, fields: Fields) -> None:
        """Refuse: MLflow has no place for an alert, and sends none.

        Raises:
            Refused: Always.
        """
        self.require_run(fields)
        raise Refused("this server does not run Weir: it keeps no alert and sends none")

    def log_inputs(self, fields: Fields) -> None:
        """Link data sets and models to a run; MLflow leaves those that are linked."""
        _, real = self.require_run(fields)
        datasets = [
            {
                "dataset": {
                    name: one.text_or_none(name)
                    for name in ("name", "digest", "source_type", "source", "schema", "profile")
                    if one.text_or_none(name) is not None
                },
                "tags": pairs(one.pairs("tags")),
            }
            for one in fields.records("datasets")
        ]
        models = [{"model_id": self.ids.model(one)} for one in fields.texts("models")]
        body = {"run_id": real, "datasets": datasets, "models": models}
        self.server.call("POST", "runs/log-inputs", body)

    def require_run(self, fields: Fields) -> tuple[str, str]:
        """Return the run that a record is about, as the process and as the server call it.

        Raises:
            Refused: There is none.
            RunNotThereYet: There is none yet.
        """
        run_id = fields.text("run_id")
        real = self.ids.run(run_id)
        if real is None:
            raise Refused(f"run {run_id} does not exist")
        return run_id, real


_OPERATIONS: dict[str, Callable[[RestDelivery, Fields], None]] = {
    "create_experiment": RestDelivery.create_experiment,
    "set_experiment_tag": RestDelivery.set_experiment_tag,
    "create_run": RestDelivery.create_run,
    "update_run": RestDelivery.update_run,
    "own_run": RestDelivery.own_run,
    "exit": RestDelivery.exit_run,
    "delete_tag": RestDelivery.delete_tag,
    "points_dropped": RestDelivery.points_dropped,
    "traces_dropped": RestDelivery.traces_dropped,
    "artifacts_dropped": RestDelivery.artifacts_dropped,
    "redacted": RestDelivery.redacted,
    "console": RestDelivery.console,
    "alert": RestDelivery.alert,
    "log_inputs": RestDelivery.log_inputs,
    "log_artifact": lambda delivery, fields: None,  # its files go another way
    **rest_models.OPERATIONS,
}


def _describe(name: str, fields: dict[str, object]) -> str:
    """Name an operation to a person, by what it is about."""
    for field in ("run_id", "model_id", "name", "experiment_id"):
        about = fields.get(field)
        if isinstance(about, str):
            kind = {"run_id": "run", "model_id": "logged model"}.get(field, "experiment")
            return f"{name} of {kind} {about:.200}"
    return name
