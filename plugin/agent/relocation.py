"""A journal delivered to another place than the one it was written for (``weir sync --to``).

Its records name artifact roots and experiments of the first place. In the second, runs and logged
models get the roots that it gives them, and experiments are found by name: one that has the same
number there is another. Journals from elsewhere get no say in where artifacts lie at all, since
`mlflow gc` deletes what lies there.

Records keep their length, by spaces at the end, so that positions stay what they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow_weir.plugin.agent.targets import DeliveryTarget

if TYPE_CHECKING:
    from mlflow_weir.store.delivery.apply import Outcome
    from mlflow_weir.store.delivery.positions import JournalState

PENDING = "weir-pending:"

_ROOTS = ("artifact_uri", "artifact_location", "artifact_root")
_NAMES_PLACES = frozenset(
    ("create_run", "create_experiment", "create_logged_model", "set_experiment_tag")
)
_DIGITS = str.maketrans("0123456789", "ghijklmnop")
_LETTERS = str.maketrans("ghijklmnop", "0123456789")
_MODEL = re.compile(r"(?:.*/)?(m-[0-9a-f]{32})/artifacts(?:/(.*))?")
_RUN = re.compile(r"(?:.*/)?([0-9a-f]{32})/artifacts(?:/(.*))?")
_TRACE = re.compile(r"(?:.*/)?([0-9]+)/(traces/[^/]+/artifacts(?:/.*)?)")


class RelocatedTarget:
    """A target that journals are delivered to which were written for another."""

    def __init__(self, target: DeliveryTarget, *, is_elsewhere: bool) -> None:
        """Stand before a target.

        Args:
            target: Where the records go.
            is_elsewhere: It is not the one that they were written for, so that the numbers of
                experiments mean nothing there.
        """
        self._target, self._is_elsewhere = target, is_elsewhere
        self._named: set[str] = set()

    def state(self, journal_id: str) -> JournalState | None:
        """Say how far a journal is delivered."""
        state = self._target.state(journal_id)
        if state is not None:
            self._named.update(state.aliases)
        return state

    def apply(
        self,
        journal_id: str,
        fencing: int | None,
        start: int,
        end: int,
        payloads: Sequence[bytes],
        *,
        is_patient: bool,
    ) -> Outcome:
        """Deliver records, with nothing in them that the first place decided."""
        payloads = [self._relocated(one) for one in payloads]
        return self._target.apply(journal_id, fencing, start, end, payloads, is_patient=is_patient)

    def beat(
        self, journal_id: str, host: str, run_ids: Sequence[str], at_ms: int
    ) -> Sequence[str]:
        """Say that runs are alive."""
        return self._target.beat(journal_id, host, run_ids, at_ms)

    def compact(self, run_id: str, *, is_final: bool) -> bool:
        """Do a step of a run's housekeeping."""
        return self._target.compact(run_id, is_final=is_final)

    def close(self) -> None:
        """Give back connections."""
        self._target.close()

    def _relocated(self, payload: bytes) -> bytes:
        if payload[:1] != b"O":
            return payload
        from mlflow_weir.store.delivery.records import Operation, RecordError, decode

        try:
            found = decode(payload)
        except RecordError:
            return payload  # the target says what is wrong with it
        if not isinstance(found, Operation) or found.name not in _NAMES_PLACES:
            return payload
        fields = {
            name: "" if name in _ROOTS and value is not None else value
            for name, value in found.fields.items()
        }
        if self._is_elsewhere:
            self._name_experiment(found.name, fields)
        text = json.dumps([found.name, fields], separators=(",", ":"))
        return b"O" + text.encode("ascii").ljust(len(payload) - 1)

    def _name_experiment(self, operation: str, fields: dict[str, Any]) -> None:
        number = fields.get("experiment_id")
        if not isinstance(number, str) or not number.isdigit():
            return
        lettered = number.translate(_DIGITS)
        if operation == "create_run" and fields.get("experiment_name"):
            self._named.add(lettered)
        if lettered in self._named:
            fields["experiment_id"] = lettered


def aliases_elsewhere(aliases: Mapping[str, str]) -> dict[str, str]:
    """Return the ids that a process used and what they became, numbers of experiments too."""
    numbers = {
        alias.translate(_LETTERS): real
        for alias, real in aliases.items()
        if alias and set(alias) <= set("ghijklmnop")
    }
    return {**aliases, **numbers}


def pending_root(uri: str) -> str | None:
    """Return the root that stands for "wherever this run's artifacts are", or a model's.

    Args:
        uri: The root that a call was made on, in the place that the journal was written for.

    Returns:
        None where it is not known what the artifacts belong to.
    """
    if uri.startswith(PENDING):
        return uri
    for pattern in (_MODEL, _RUN, _TRACE):
        if found := pattern.fullmatch(uri):
            return PENDING + "/".join(filter(None, found.groups()))
    return None


def is_below(path: str) -> bool:
    """Say whether a path from elsewhere, of forward slashes, leads nowhere but down."""
    parts = path.split("/")
    return not path.startswith("/") and not any(
        part in {".", ".."} or "\\" in part or "\0" in part for part in parts
    )
