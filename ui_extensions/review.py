"""What of a journal from outside is let into the database, record by record.

A journal's records were checked where they were written; on a server that says nothing. So here
each is asked about again, in the transaction that applies it: may this caller do that to this run,
logged model or experiment (``access.py``), and does it hold to MLflow's rules for names and sizes.
What a caller must not choose is taken out: where artifacts lie, which is a path on the server, and
the workspace, which is the request's.

A run or model id is the client's choice, so what counts is whose it is when the record is applied:
one that is there in the transaction and was not created by this very delivery needs the permission
to edit it, whatever was true a moment ago.

Experiments are created before the transaction, by MLflow itself (``prepare``), which gives them
their place for artifacts and their owner.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from mlflow.exceptions import MlflowException

from mlflow_weir import settings
from mlflow_weir.capture_policy import class_of_tag
from mlflow_weir.errors import RunNotThereYet
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery import positions
from mlflow_weir.store.delivery.connection import reading
from mlflow_weir.store.delivery.delivery import Delivery
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.delivery.gathering import Gathered
from mlflow_weir.store.delivery.records import Operation
from mlflow_weir.ui_extensions import access, mlflow_private
from mlflow_weir.ui_extensions.access import NOT_PERMITTED, Access

T = TypeVar("T")

_DEFAULT_WORKSPACE = "default"
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}\Z")
_NAMED_MODEL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_MAX_IN = 500
_MAX_CAUSE_CHARACTERS = 8_000
_HTTP_FORBIDDEN = (401, 403)
_ALREADY_EXISTS = "already exists"


class JournalReview:
    """Reviews one delivery; an implementation of ``apply.Review``."""

    def __init__(self, caller: Access) -> None:
        self._caller = caller
        self._workspace = mlflow_private.request_workspace()
        self._run_answers: dict[tuple[str, int], bool] = {}
        self._workspaces: dict[int, str | None] = {}
        self._not_created: dict[str, str] = {}
        self._delivery: Delivery | None = None
        self._created_runs: set[str] = set()
        self._created_models: set[str] = set()
        self._checked: dict[str, str | None] = {}
        self._operations: dict[str, Callable[[Delivery, Fields], Mapping[str, Any]]] = {
            "create_experiment": self._create_experiment,
            "create_run": self._create_run,
            "update_run": self._edit_run,
            "log_params": self._log_params,
            "set_tags": self._set_tags,
            "delete_tag": self._edit_run,
            "set_experiment_tag": self._set_experiment_tag,
            "log_inputs": self._log_inputs,
            "log_outputs": self._log_outputs,
            "model_metrics": self._model_metrics,
            "create_logged_model": self._create_logged_model,
            "finalize_logged_model": self._edit_model,
            "set_logged_model_tags": self._edit_model,
            "delete_logged_model_tag": self._delete_model_tag,
            "log_logged_model_params": self._edit_model,
            "log_artifact": lambda delivery, fields: {},  # nothing of it is written
            "own_run": self._edit_run,
            "exit": self._exit,
            "points_dropped": self._add_to_count,
            "traces_dropped": self._add_to_count_of_any,
            "artifacts_dropped": self._add_to_count_of_any,
            "rewind": self._edit_run,
            "redacted": self._add_to_count,
            "console": self._console,
            "alert": self._edit_run,
        }

    def prepare(self, engine: sa.Engine, journal_id: str, gathered: Gathered) -> None:
        """Create experiments that are missing, and ask about runs, before the transaction.

        Raises:
            StoreUnavailable: The database or MLflow does not answer.
        """
        for _, operation in gathered.operations:
            try:
                if operation.name == "create_experiment":
                    fields = Fields(operation.fields)
                    self._ensure_experiment(
                        engine,
                        fields.text("name"),
                        fields.text_or_none("artifact_location"),
                        fields.pairs("tags"),
                    )
                elif operation.name == "create_run":
                    self._ensure_experiment_of_run(engine, journal_id, Fields(operation.fields))
            except Refused:
                continue  # and it will be, for the same fault
        wanted = sorted(gathered.run_ids())
        columns = tables.runs.c
        with reading(engine) as connection:
            found: list[Any] = []
            for start in range(0, len(wanted), _MAX_IN):
                part = wanted[start : start + _MAX_IN]
                query = sa.select(columns.run_uuid, columns.experiment_id)
                found += connection.execute(query.where(columns.run_uuid.in_(part))).all()
        for run_id, experiment_id in found:
            self._may_edit(run_id, experiment_id)

    def operation(self, delivery: Delivery, operation: Operation) -> Operation:
        """Return the operation as it may be performed."""
        self._enter(delivery)
        review = self._operations.get(operation.name)
        if review is None:
            raise Refused(NOT_PERMITTED)
        fields = _by_mlflows_rules(lambda: review(delivery, Fields(operation.fields)))
        return Operation(operation.name, {**operation.fields, **fields})

    def points(self, delivery: Delivery, run_id: str, keys: Iterable[str]) -> Mapping[str, str]:
        """Return the metrics of a run that are not taken, with the reason."""
        self._enter(delivery)
        self._require_run(delivery, run_id)
        refused = {}
        for key in keys:
            if key not in self._checked:
                self._checked[key] = mlflow_private.metric_name_fault(key)
            fault = self._checked[key]
            if fault is not None:
                refused[key] = fault
        return refused

    def _enter(self, delivery: Delivery) -> None:
        """Forget what an attempt before had created: its transaction is rolled back."""
        if delivery is not self._delivery:
            self._delivery = delivery
            self._created_runs.clear()
            self._created_models.clear()

    # Experiments

    def _ensure_experiment_of_run(
        self, engine: sa.Engine, journal_id: str, fields: Fields
    ) -> None:
        """Have MLflow create a run's experiment by its name, where the id is none."""
        name = fields.text_or_none("experiment_name")
        if name is None:
            return
        with reading(engine) as connection:
            state = positions.read(connection, journal_id) or positions.JournalState()
            delivery = Delivery(connection, journal_id, state)
            is_known = delivery.find_experiment(fields.text("experiment_id")) is not None
        if not is_known:
            self._ensure_experiment(engine, name, None, [])

    def _ensure_experiment(
        self, engine: sa.Engine, name: str, location: str | None, tags: list[tuple[str, str]]
    ) -> None:
        """Have MLflow create an experiment that is not there; note why where it does not."""
        with reading(engine) as connection:
            is_there = self._named(connection, name) is not None
        if is_there or name in self._not_created:
            return
        status, message = access.create_experiment(name, location, tags)
        if status in _HTTP_FORBIDDEN:
            self._not_created[name] = NOT_PERMITTED
        elif status != 200 and _ALREADY_EXISTS not in message:  # made by another one meanwhile
            self._not_created[name] = message or f"MLflow answers {status}"

    def _named(self, connection: sa.Connection, name: str) -> int | None:
        columns = tables.experiments.c
        rows = connection.execute(
            sa.select(columns.experiment_id, columns.name).where(
                columns.workspace == (self._workspace or _DEFAULT_WORKSPACE), columns.name == name
            )
        )
        # One that a collation takes for it is another.
        return next((row.experiment_id for row in rows if row.name == name), None)

    def _require_named(self, delivery: Delivery, name: str) -> str:
        """Return the id of an experiment that the caller may see."""
        found = self._named(delivery.connection, name)
        if found is None:
            raise Refused(self._not_created.get(name, f"experiment {name!r:.300} does not exist"))
        if not self._caller.may_read_experiment(str(found)):
            raise Refused(NOT_PERMITTED)
        return str(found)

    def _require_experiment(self, delivery: Delivery, experiment_id: str) -> str:
        """Return the id of an experiment in the request's workspace, which may be an alias."""
        found = delivery.find_experiment(experiment_id)
        if found is None or not self._is_here(delivery, found.experiment_id):
            raise Refused(f"experiment {experiment_id:.100} does not exist")
        return str(found.experiment_id)

    def _is_here(self, delivery: Delivery, experiment_id: int) -> bool:
        """Say whether an experiment is in the request's workspace."""
        if self._workspace is None:
            return True
        if experiment_id not in self._workspaces:
            columns = tables.experiments.c
            query = sa.select(columns.workspace).where(columns.experiment_id == experiment_id)
            self._workspaces[experiment_id] = delivery.connection.execute(query).scalar()
        return self._workspaces[experiment_id] == self._workspace

    def _create_experiment(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_named(delivery, fields.text("name"))
        return {
            "workspace": self._workspace or _DEFAULT_WORKSPACE,
            "artifact_root": None,
            "artifact_location": None,
        }

    def _set_experiment_tag(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        experiment_id = self._require_experiment(delivery, fields.text("experiment_id"))
        if not self._caller.may_edit_experiment(experiment_id):
            raise Refused(NOT_PERMITTED)
        mlflow_private.check_experiment_tag(fields.text("key"), fields.text("value"))
        return {}

    # Runs

    def _may_edit(self, run_id: str, experiment_id: int) -> bool:
        # By both: a run that was deleted for good may have come again elsewhere.
        if (run_id, experiment_id) not in self._run_answers:
            self._run_answers[run_id, experiment_id] = Access().may_edit_run(run_id)
        return self._run_answers[run_id, experiment_id]

    def _require_run(self, delivery: Delivery, run_id: str) -> None:
        """Refuse a run that is not there, and one that the caller may not edit, alike."""
        run = delivery.find_run(run_id)
        if run_id in self._created_runs and run is not None:
            return
        if delivery.is_patient and not self._is_theirs(delivery, run_id):
            # Alike for one that is not theirs: who may not look at a run learns nothing of it.
            raise RunNotThereYet(run_id)
        if run is None or not self._is_here(delivery, run.experiment_id):
            known = access.principal() is not None or self._workspace is not None
            raise Refused(NOT_PERMITTED if known else f"run {run_id:.100} does not exist")
        if not self._may_edit(run_id, run.experiment_id):
            raise Refused(NOT_PERMITTED)

    def _is_theirs(self, delivery: Delivery, run_id: str) -> bool:
        run = delivery.find_run(run_id)
        return (
            run is not None
            and self._is_here(delivery, run.experiment_id)
            and self._may_edit(run_id, run.experiment_id)
        )

    def _edit_run(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_run(delivery, fields.text("run_id"))
        return {}

    def _create_run(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        run_id, name = fields.text("run_id"), fields.text_or_none("experiment_name")
        if delivery.find_run(run_id) is not None:
            self._require_run(delivery, run_id)
            return {}  # to be refused for being there
        experiment_id = fields.text("experiment_id")
        if name is not None and delivery.find_experiment(experiment_id) is None:
            experiment_id = self._require_named(delivery, name)
        experiment_id = self._require_experiment(delivery, experiment_id)
        if not self._caller.may_create_run(experiment_id):
            raise Refused(NOT_PERMITTED)
        tags = mlflow_private.checked_tags(fields.pairs("tags"))
        self._created_runs.add(run_id)
        return {
            "experiment_id": experiment_id,
            "experiment_name": None,
            "tags": tags,
            "artifact_uri": None,
        }

    def _log_params(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_run(delivery, fields.text("run_id"))
        return {"params": mlflow_private.checked_params(fields.pairs("params"))}

    def _set_tags(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_run(delivery, fields.text("run_id"))
        allowed = {None, *settings.SERVER_CAPTURE.get()}
        kept = [
            (key, value) for key, value in fields.pairs("tags") if class_of_tag(key) in allowed
        ]
        return {"tags": mlflow_private.checked_tags(kept)}

    def _console(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        if "console" not in settings.SERVER_CAPTURE.get():
            raise Refused("this server keeps no console output (WEIR_SERVER_CAPTURE)")
        return self._edit_run(delivery, fields)

    def _exit(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_run(delivery, fields.text("run_id"))
        return {"cause": (fields.text_or_none("cause") or "")[:_MAX_CAUSE_CHARACTERS]}

    def _add_to_count(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_run(delivery, fields.text("run_id"))
        if fields.whole("n") < 0:
            raise Refused("a negative number")
        return {}

    def _add_to_count_of_any(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        if fields.text_or_none("run_id") is None:
            return {}  # nothing of it is written
        return self._add_to_count(delivery, fields)

    def _log_inputs(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_run(delivery, fields.text("run_id"))
        for dataset in fields.records("datasets"):
            found: dict[str, Any] = {
                name: dataset.text(name) for name in ("name", "digest", "source_type", "source")
            }
            found |= {name: dataset.text_or_none(name) for name in ("schema", "profile")}
            mlflow_private.check_dataset(found, dataset.pairs("tags"))
        for model_id in fields.texts("models"):
            self._require_model(delivery, model_id)
        return {}

    def _log_outputs(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_run(delivery, fields.text("run_id"))
        for pair in fields.items("models"):
            if isinstance(pair, list) and pair and isinstance(pair[0], str):
                self._require_model(delivery, pair[0])
            else:
                raise Refused(f"its field 'models' holds no model and step: {pair!r:.100}")
        return {}

    # Logged models

    def _model_metrics(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_run(delivery, fields.text("run_id"))
        metrics = fields.records("metrics")
        for model_id in {metric.text("model_id") for metric in metrics}:
            self._require_model(delivery, model_id)
        for key in {metric.text("key") for metric in metrics}:
            fault = mlflow_private.metric_name_fault(key)
            if fault is not None:
                raise Refused(fault)
        return {}

    def _experiment_of(self, delivery: Delivery, model_id: str) -> int | None:
        columns = tables.logged_models.c
        found: int | None = delivery.connection.execute(
            sa.select(columns.experiment_id).where(columns.model_id == model_id)
        ).scalar()
        return found

    def _require_model(
        self, delivery: Delivery, model_id: str, may: Callable[[str], bool] | None = None
    ) -> None:
        """Refuse a model that is not there, and one that the caller may not edit, alike."""
        if not _NAMED_MODEL_ID.match(model_id):
            raise Refused(NOT_PERMITTED)
        experiment_id = self._experiment_of(delivery, model_id)
        if model_id in self._created_models and experiment_id is not None:
            return
        if experiment_id is None or not self._is_here(delivery, experiment_id):
            known = access.principal() is not None or self._workspace is not None
            raise Refused(NOT_PERMITTED if known else f"logged model {model_id} does not exist")
        if not (may or self._caller.may_edit_model)(model_id):
            raise Refused(NOT_PERMITTED)

    def _edit_model(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        self._require_model(delivery, fields.text("model_id"))
        return {}

    def _delete_model_tag(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        may = self._caller.may_delete_model_tag
        self._require_model(delivery, fields.text("model_id"), may)
        return {}

    def _create_logged_model(self, delivery: Delivery, fields: Fields) -> Mapping[str, Any]:
        model_id, source = fields.text("model_id"), fields.text_or_none("source_run_id")
        if not _MODEL_ID.match(model_id):
            raise Refused(f"logged model id {model_id!r:.100} is not m- and 32 hexadecimal digits")
        if self._experiment_of(delivery, model_id) is not None:
            self._require_model(delivery, model_id)
            return {}  # to be refused for being there
        experiment_id = self._require_experiment(delivery, fields.text("experiment_id"))
        asked = None if source in self._created_runs else source
        if not self._caller.may_create_model(experiment_id, asked):
            raise Refused(NOT_PERMITTED)
        mlflow_private.check_logged_model_name(fields.text_or_none("name"))
        self._created_models.add(model_id)
        return {"experiment_id": experiment_id, "artifact_location": None}


def _by_mlflows_rules(action: Callable[[], T]) -> T:
    """Do something; what MLflow's rules forbid is refused with MLflow's words."""
    try:
        return action()
    except MlflowException as exc:
        raise Refused(str(exc.message)) from exc


def runs_to_edit(engine: sa.Engine, caller: Access, run_ids: Sequence[str]) -> list[str]:
    """Return those of some runs that are there, in the request's workspace, and the caller's."""
    workspace = mlflow_private.request_workspace()
    columns, experiments = tables.runs.c, tables.experiments.c
    found: list[str] = []
    with reading(engine) as connection:
        for start in range(0, len(run_ids), _MAX_IN):
            query = (
                sa.select(columns.run_uuid)
                .join(tables.experiments, experiments.experiment_id == columns.experiment_id)
                .where(columns.run_uuid.in_(run_ids[start : start + _MAX_IN]))
            )
            if workspace is not None:
                query = query.where(experiments.workspace == workspace)
            found += connection.execute(query).scalars()
    return [run_id for run_id in found if caller.may_edit_run(run_id)]
