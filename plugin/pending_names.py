"""What stands for a name that only the store can give, and what has become of it.

What is begun while the store is away, or too slow to wait for, gets names of this process's
choosing: an experiment ``pending-…``, an artifact root ``weir-pending:…``, and, where the server
chooses the ids itself, those of runs and logged models. None of them means anything to the store
or to its registry of models. So whatever asks one of these directly passes through here: what it
names is delivered first, which is waited for while the store answers, and the store's own name
is put in the place of ours.

What became of a name is told by the delivery (``aliases`` in ``delivered.json``), so that it is
known without asking anybody.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.entities import RunInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.utils.uri import append_to_uri_path

from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.contact import IS_BOUNDED, Away, NotDelivered
from mlflow_weir.plugin.recorder import Recorder

PENDING_ARTIFACTS = "weir-pending:"
"""Artifact root of what was begun while the store was away."""

PENDING_EXPERIMENT = "pending-"
"""How the alias of an experiment begins that the store does not know yet."""

_NAME = re.compile(rf"{PENDING_ARTIFACTS}[0-9A-Za-z-]+|(?:m-|{PENDING_EXPERIMENT})?[0-9a-f]{{32}}")
_WAIT_S = 60.0
_AWAY_S = 10.0  # so long an agent may need that waits before it tries again
_MOST = 4096


class _Begun(NamedTuple):
    """What this process has begun.

    Attributes:
        experiment_id: In which; as it was named then. "" for an experiment.
        folder: Of the journal that tells of it; None where none does yet.
        position: In the journal, after that.
    """

    experiment_id: str
    folder: Path | None
    position: int


class PendingNames:
    """The names of one store.

    Threads may share it: nothing is kept but what is found again.
    """

    def __init__(
        self,
        recorder: Callable[[], Recorder],
        *,
        gives_ids: bool,
        stored_root: Callable[[str], str],
        is_back: Callable[[], None],
    ) -> None:
        """Begin with nothing.

        Args:
            recorder: Gives this process's journal for the store.
            gives_ids: The store may choose the ids of runs and logged models itself.
            stored_root: Asks the store for the artifact root of a run, logged model or experiment.
            is_back: Called when what was pending got there, so that the store answers again.
        """
        self._recorder, self._gives_ids, self._stored_root = recorder, gives_ids, stored_root
        self._is_back = is_back
        self._aliases: dict[str, str] = {}
        self._roots: dict[str, str] = {}
        self._begun: dict[str, _Begun] = {}

    def note(self, name: str, experiment_id: str = "") -> None:
        """Take note of what has just been written to the journal as begun.

        Args:
            name: Our id of an experiment, run or logged model.
            experiment_id: That it is in; "" for an experiment.
        """
        journal = self._recorder().journal
        folder, end = (None, 0) if journal is None else (journal.folder, journal.end)
        self._begun[name] = _Begun(experiment_id, folder, end)
        if len(self._begun) > _MOST:
            del self._begun[next(iter(self._begun))]

    def real(self, text: str) -> str:
        """Put the store's names in the place of ours, as far as they are known; never waits."""
        names = set(_NAME.findall(text))
        if not names:
            return text
        if any(self._now(one) is None for one in names):
            self._learn()
        return _NAME.sub(lambda found: self._now(found[0]) or found[0], text)

    def settled(self, text: str) -> str:
        """Return the text as the store understands it, once what it names is there.

        Raises:
            NotDelivered: It is not yet, in a call that is not to wait for it.
            MlflowException: It is not, though it was waited for.
        """
        text = self.real(text)
        pending = [one for one in dict.fromkeys(_NAME.findall(text)) if self._is_pending(one)]
        if not pending:
            return text
        if IS_BOUNDED.get():
            if any(map(_is_ours, pending)):
                raise NotDelivered(f"{pending[0]} is not delivered yet")
            return text
        self._bring(pending)
        self._is_back()
        text = self.real(text)
        for one in dict.fromkeys(_NAME.findall(text)):
            if one.startswith(PENDING_ARTIFACTS) and (root := self._ask(one)):
                text = text.replace(one, root)
        return text

    def settled_all(self, found: Any) -> Any:
        """Do the same for each text in a call's arguments."""
        if isinstance(found, str):
            return self.settled(found)
        if isinstance(found, (list, tuple)):
            return type(found)(map(self.settled_all, found)) if _is_plain(found) else found
        if isinstance(found, dict):
            return {key: self.settled_all(value) for key, value in found.items()}
        return found

    def info(self, info: RunInfo) -> RunInfo:
        """Return a run's facts; where names in them are pending, what has become of these."""
        if not _is_ours(f"{info.experiment_id}") and not _is_ours(f"{info.artifact_uri}"):
            return info
        if info.run_id not in self._begun:  # by another process of this machine
            self._begun[info.run_id] = _Begun(info.experiment_id, None, 0)
        return PendingRunInfo.of(info, self)

    # How

    def _now(self, name: str) -> str | None:
        """Return the store's name, as far as is known; None where it is not."""
        if name.startswith(PENDING_ARTIFACTS):
            return self._root(name.removeprefix(PENDING_ARTIFACTS))
        if name.startswith(PENDING_EXPERIMENT) or self._gives_ids:
            return self._aliases.get(name)
        return name

    def _root(self, owner: str) -> str | None:
        begun = self._begun.get(owner)
        experiment_id = owner if begun is None else begun.experiment_id or owner
        location = self._aliases.get(f"{PENDING_ARTIFACTS}{experiment_id}")
        if location is None:
            return self._roots.get(owner)
        if experiment_id == owner:
            return location
        real = self._now(owner)
        if real is None and begun is not None and _is_there(begun):
            real = owner  # the server takes it as it is
        if real is None:
            return None
        models = ("models",) if owner.startswith("m-") else ()
        root: str = append_to_uri_path(location, *models, real, "artifacts")
        return root

    def _learn(self) -> None:
        """Look what the deliveries of this machine's journals have told."""
        for folder in self._recorder().folders():
            with contextlib.suppress(WeirError):
                self._aliases.update(folder.delivered().aliases)

    def _is_pending(self, name: str) -> bool:
        if _is_ours(name):
            return True  # what is known has been put in its place
        begun = self._begun.get(name)
        return begun is not None and not _is_there(begun)

    def _bring(self, names: Iterable[str]) -> None:
        """Wait until what the names stand for is in the store.

        Raises:
            MlflowException: It does not get there.
        """
        errors: list[str] = [""]

        def goes_on(state: client.DeliveryState) -> bool:
            errors[0] = state.error
            return not state.error or state.waited_s < _AWAY_S

        give_up_s = time.monotonic() + _WAIT_S
        for name in names:
            left_s = max(give_up_s - time.monotonic(), 0.0)
            begun = self._begun.get(name.removeprefix(PENDING_ARTIFACTS))
            if begun is not None and begun.folder is not None:
                is_there = client.wait_delivered(begun.folder, begun.position, left_s, goes_on)
            else:
                is_there = self._recorder().settle(left_s, goes_on)
            if is_there or self.real(name) != name:
                continue
            what = "experiment" if name.startswith(PENDING_EXPERIMENT) else "run or model"
            reason = errors[0] or f"not delivered within {_WAIT_S:g} s"
            raise MlflowException(
                f"This call names something that the tracking store does not have yet ({what} "
                f"{name.removeprefix(PENDING_ARTIFACTS)}, begun while the store was away): "
                f"{reason}. Nothing is lost: it waits on this machine and is delivered when the "
                "store is back; call again then. `weir status` shows what waits.",
                TEMPORARILY_UNAVAILABLE,
            )

    def _ask(self, name: str) -> str | None:
        """Ask the store for a root of which the delivery has not told."""
        owner = name.removeprefix(PENDING_ARTIFACTS)
        if owner not in self._roots:
            with contextlib.suppress(Away, MlflowException):
                root = self._stored_root(self.real(owner))
                if not _is_ours(root):
                    self._roots[owner] = root
        return self._roots.get(owner)


class PendingRunInfo(RunInfo):
    """A run's facts, of which some are known once the run is delivered; a copy is a ``RunInfo``.

    The object that ``mlflow.start_run`` returned tells them then, too.
    """

    names: PendingNames

    @classmethod
    def of(cls, info: RunInfo, names: PendingNames) -> PendingRunInfo:
        """Return the facts of a run, with what is pending in them."""
        made = cls(**_facts(info))
        made.names = names
        return made

    @property
    def experiment_id(self) -> str:
        """As MLflow's."""
        return self.names.real(self._experiment_id)

    @property
    def artifact_uri(self) -> str | None:
        """As MLflow's."""
        return self._artifact_uri and self.names.real(self._artifact_uri)

    @classmethod
    def _properties(cls) -> list[str]:
        return list(RunInfo._properties())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunInfo) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # as MLflow's

    def __reduce__(self) -> Any:
        return _plain, (_facts(self),)


def changed(info: RunInfo, **changes: Any) -> RunInfo:
    """Return a copy of a run's facts, with some of them changed."""
    made = RunInfo(**{**_facts(info), **changes})
    return info.names.info(made) if isinstance(info, PendingRunInfo) else made


def _plain(facts: dict[str, Any]) -> RunInfo:
    return RunInfo(**facts)


def _facts(info: RunInfo) -> dict[str, Any]:
    return {
        "run_id": info.run_id,
        "experiment_id": info.experiment_id,
        "user_id": info.user_id,
        "status": info.status,
        "start_time": info.start_time,
        "end_time": info.end_time,
        "lifecycle_stage": info.lifecycle_stage,
        "artifact_uri": info.artifact_uri,
        "run_name": info.run_name,
    }


def _is_ours(name: str) -> bool:
    return name.startswith((PENDING_ARTIFACTS, PENDING_EXPERIMENT))


def _is_there(begun: _Begun) -> bool:
    return begun.folder is not None and client.wait_delivered(begun.folder, begun.position, 0)


def _is_plain(found: object) -> bool:
    return type(found) in (list, tuple)
