"""What a process has spooled and may not be uploaded yet, by the URIs that its files will have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from mlflow_weir.plugin.journal.files import Waiting

_PRUNE_AT = 1024


class Spooled(NamedTuple):
    """The files of one call.

    Attributes:
        waiting: Where they wait, if they do.
        uris: Theirs.
        size: Of all of them, in bytes.
    """

    waiting: Waiting
    uris: frozenset[str]
    size: int


class SpooledNames:
    """The calls under each URI. Threads may share it."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Spooled]] = {}
        self._n_noted, self._prune_at = 0, _PRUNE_AT

    def note(self, spooled: Spooled) -> None:
        """Remember a call until its files are uploaded."""
        for uri in spooled.uris:
            self._calls.setdefault(uri, []).append(spooled)
        self._n_noted += len(spooled.uris)
        if self._n_noted > self._prune_at:
            calls = {uri: _that_wait(calls) for uri, calls in list(self._calls.items())}
            self._calls = {uri: calls for uri, calls in calls.items() if calls}
            self._n_noted = sum(map(len, self._calls.values()))
            self._prune_at = max(2 * self._n_noted, _PRUNE_AT)

    def waiting(
        self, folder: Path, uris: Iterable[str], real: Callable[[str], str]
    ) -> list[Spooled]:
        """Return the calls whose files wait under some of these URIs.

        Args:
            folder: Of the files of this process's journal; a parent's do not count.
            uris: With the names that the store has given.
            real: Puts those in the place of others.
        """
        wanted = set(uris)
        found = {
            one.waiting: one._replace(uris=frozenset(map(real, one.uris)))
            for uri, calls in list(self._calls.items())
            if uri in wanted or real(uri) in wanted
            for one in list(calls)
            if one.waiting.path.parent == folder
        }
        return _that_wait(found.values())


def _that_wait(calls: Iterable[Spooled]) -> list[Spooled]:
    return [one for one in list(calls) if one.waiting.path.is_dir()]
