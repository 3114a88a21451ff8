"""Experiments as a training process sees them: the store's, or an alias until it is back."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from mlflow.entities import Experiment, ExperimentTag, LifecycleStage, LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.utils.time import get_current_time_millis

from mlflow_weir import settings
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.contact import FIRST_WAIT_S, Away, Contact
from mlflow_weir.plugin.overlay import RunView
from mlflow_weir.plugin.pending_names import (
    PENDING_ARTIFACTS,
    PENDING_EXPERIMENT,
    PendingNames,
)
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.plugin.trimming import Trimmer
from mlflow_weir.store.delivery import records

T = TypeVar("T")

_RUN_ID_LENGTH = 32


def texts(found: Iterable[Any] | None) -> list[list[str]]:
    """Return keys and values as the databases keep them: text; None becomes "".

    Raises:
        MlflowException: A text holds half a character (a surrogate), which no database takes.
    """
    return [[_text(one.key), _text(one.value)] for one in found or ()]


def text_or_none(value: Any) -> str | None:
    """Return a value as the databases keep it in a column of text; None for None.

    Raises:
        MlflowException: As ``texts``.
    """
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise MlflowException.invalid_parameter_value(
            f"{text!r:.200} cannot be stored: it is no valid Unicode"
        ) from exc
    return text


def _unseen(experiment_id: str) -> Experiment:
    """Return what stands for an experiment of which nothing but the id is known."""
    return Experiment(
        experiment_id=experiment_id,
        name="",
        artifact_location=f"{PENDING_ARTIFACTS}{experiment_id}",
        lifecycle_stage=LifecycleStage.ACTIVE,
    )


class JournaledExperiments:
    """The calls about experiments, and what every journaled call needs.

    Attributes:
        recorder: This process's journal for the store.
    """

    recorder: Recorder
    _first_wait_s = FIRST_WAIT_S
    _gives_ids = False
    _log_wait_s: float

    def _begin_journaling(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._contact = Contact()
        self._views: dict[str, RunView] = {}
        self._trimmer = Trimmer()
        self._experiments: dict[str, Experiment] = {}
        self._models: dict[str, LoggedModel] = {}
        self._known_models: set[str | None] = set()
        self._lock = threading.RLock()
        self._names = PendingNames(
            lambda: self.recorder,
            gives_ids=self._gives_ids,
            stored_root=self._stored_root,
            is_back=self._contact.try_again,
        )

    @property
    def names(self) -> PendingNames:
        """What stands for names that only the store can give."""
        return self._names

    def _stored_root(self, owner: str) -> str:
        """Ask the store for the artifact root of a run, logged model or experiment, by its id.

        Raises:
            Away: It does not answer.
            MlflowException: It has no such thing.
        """
        if owner.isdigit() and len(owner) < _RUN_ID_LENGTH:
            look: Callable[[str], Experiment] = super().get_experiment  # type: ignore[misc]
            return str(self._directly(look, owner).artifact_location)
        return str(self._directly(_stored_artifact_root, self, owner))

    def _place(self) -> dict[str, str]:
        """Return where new experiments belong, as far as this process says and not the store."""
        return {}

    def _write(self, operation: str, /, **fields: Any) -> None:
        self.recorder.append(records.encode_operation(operation, fields))

    def has_answered(self) -> bool:
        """Say whether the store did, the last time it was asked."""
        return self._contact.has_answered

    def _directly(
        self, call: Callable[..., T], *arguments: Any, timeout_s: float | None = None
    ) -> T:
        return self._contact.ask(timeout_s or self._first_wait_s, call, *arguments)

    def create_experiment(
        self,
        name: str,
        artifact_location: str | None = None,
        tags: list[ExperimentTag] | None = None,
    ) -> str:
        """Create an experiment; with the store away, one that exists from its delivery on."""
        mlflow_private.validate_experiment(name, artifact_location, tags)
        try:
            experiment_id: str = self._directly(
                super().create_experiment,  # type: ignore[misc]
                name,
                artifact_location,
                tags,
            )
            return experiment_id
        except Away:
            pass
        alias = f"{PENDING_EXPERIMENT}{uuid.uuid4().hex}"
        now_ms = get_current_time_millis()
        self._write(
            "create_experiment",
            experiment_id=alias,
            name=name,
            artifact_location=artifact_location,
            tags=texts(tags),
            at_ms=now_ms,
            **self._place(),
        )
        self._names.note(alias)
        self._experiments[alias] = Experiment(
            experiment_id=alias,
            name=name,
            artifact_location=artifact_location or f"{PENDING_ARTIFACTS}{alias}",
            lifecycle_stage=LifecycleStage.ACTIVE,
            tags=tags,
            creation_time=now_ms,
            last_update_time=now_ms,
        )
        return alias

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment, as it was last seen where the store is away."""
        alias, experiment_id = experiment_id, self._names.real(str(experiment_id))
        known = self._experiments.get(experiment_id) or self._experiments.get(alias)
        if known is not None and experiment_id.startswith(PENDING_EXPERIMENT):
            return known
        look: Callable[[str], Experiment] = super().get_experiment  # type: ignore[misc]

        def remember(one: str) -> Experiment:
            return self._remember(look(one))  # also when nobody waits for it any more

        try:
            if known is not None and mlflow_private.is_asked_for_always(experiment_id):
                return self._contact.glance(self._log_wait_s, remember, experiment_id)
            return self._directly(remember, experiment_id)
        except Away as away:
            if known is not None:
                return self._shown_experiment(known)
            if experiment_id == settings.foreign("MLFLOW_EXPERIMENT_ID"):
                # MLflow begins no run and no trace without.
                return self._remember(_unseen(experiment_id))
            raise away.as_mlflow_error() from away

    def get_experiment_by_name(self, experiment_name: str) -> Experiment | None:
        """Return an experiment, None where none has the name or none is known."""
        named = [one for one in self._experiments.values() if one.name == experiment_name]
        for one in named:
            if self._names.real(one.experiment_id).startswith(PENDING_EXPERIMENT):
                return one
        try:
            found = self._directly(super().get_experiment_by_name, experiment_name)  # type: ignore[misc]
        except Away:
            return self._shown_experiment(named[-1]) if named else None
        return None if found is None else self._remember(found)

    def set_experiment_tag(self, experiment_id: str, tag: ExperimentTag) -> None:
        """Set a tag of an experiment; with the store away, on delivery."""
        mlflow_private.validate_experiment("any", None, [tag])
        experiment_id = self._names.real(str(experiment_id))
        try:
            if not experiment_id.startswith(PENDING_EXPERIMENT):
                self._directly(super().set_experiment_tag, experiment_id, tag)  # type: ignore[misc]
                return
        except Away:
            pass
        ((key, value),) = texts([tag])
        self._write("set_experiment_tag", experiment_id=experiment_id, key=key, value=value)

    def _shown_experiment(self, known: Experiment) -> Experiment:
        """Return what is known of an experiment, by the store's names for it if it has some."""
        real = self._names.real(known.experiment_id)
        if real == known.experiment_id:
            return known
        return Experiment(
            experiment_id=real,
            name=known.name,
            artifact_location=self._names.real(known.artifact_location),
            lifecycle_stage=known.lifecycle_stage,
            tags=[ExperimentTag(key, value) for key, value in known.tags.items()],
            creation_time=known.creation_time,
            last_update_time=known.last_update_time,
        )

    def _remember(self, experiment: Experiment) -> Experiment:
        self._experiments[str(experiment.experiment_id)] = experiment
        return experiment

    def _experiment(self, experiment_id: str) -> Experiment:
        """Return what a new run needs to know of its experiment, known or made up."""
        experiment_id, alias = self._names.real(experiment_id), experiment_id
        known = self._experiments.get(experiment_id)
        if known is not None:
            return known
        try:
            return self._remember(self._directly(super().get_experiment, experiment_id))  # type: ignore[misc]
        except Away:
            known = self._experiments.get(alias)
            return self._shown_experiment(known) if known else _unseen(experiment_id)

    # Changes that are not a training's: done at once, and what is known of the run forgotten

    def delete_run(self, run_id: str) -> None:
        """Put a run into the bin."""
        super().delete_run(run_id)  # type: ignore[misc]
        self._views.pop(run_id, None)

    def restore_run(self, run_id: str) -> None:
        """Take a run out of the bin."""
        super().restore_run(run_id)  # type: ignore[misc]
        self._views.pop(run_id, None)

    def delete_experiment(self, experiment_id: str) -> None:
        """Put an experiment and its runs into the bin."""
        super().delete_experiment(experiment_id)  # type: ignore[misc]
        self._forget_experiment(experiment_id)

    def restore_experiment(self, experiment_id: str) -> None:
        """Take an experiment and its runs out of the bin."""
        super().restore_experiment(experiment_id)  # type: ignore[misc]
        self._forget_experiment(experiment_id)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Rename an experiment."""
        super().rename_experiment(experiment_id, new_name)  # type: ignore[misc]
        self._forget_experiment(experiment_id)

    def _forget_experiment(self, experiment_id: str) -> None:
        ids = {str(experiment_id), self._names.real(str(experiment_id))}
        with self._lock:
            for one in ids:
                self._experiments.pop(one, None)
            for run_id, view in list(self._views.items()):
                if view.info.experiment_id in ids:
                    del self._views[run_id]


def _stored_artifact_root(store: Any, owner: str) -> str:
    """Return the artifact root of a run or logged model, as a journaled store's database has it.

    Raises:
        MlflowException: There is no such run or model yet.
    """
    from mlflow_weir.plugin.journaled_calls import JournaledCalls

    behind: Any = super(JournaledCalls, store) if isinstance(store, JournaledCalls) else store
    if owner.startswith("m-"):
        return str(behind.get_logged_model(owner).artifact_location)
    return str(behind.get_run(owner).info.artifact_uri)
