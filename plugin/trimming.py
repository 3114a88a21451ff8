"""Forgetting runs that this process is done with, so that thousands cost no memory.

A view of a run is needed while the run is open here, and for as long as something that was written
to it is not in the store. So from time to time the views of other runs are noted with the end of
the journal; once the journal is delivered that far, those that were not written to since are
dropped. A run that is written to again is looked up in the store, as one of another process is.
"""

from __future__ import annotations

from typing import NamedTuple

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.spool import JournalFolder
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.plugin.overlay import RunView

_KEPT = 256
_EACH = 64  # between two looks at how far the journal is delivered


class _Resting(NamedTuple):
    """Runs that were done with when the journal ended at ``end``."""

    views: dict[str, RunView]
    run_ids: list[str]
    journal: Journal
    end: int


class Trimmer:
    """What is to be forgotten of one store; the caller holds the store's lock."""

    def __init__(self) -> None:
        self._resting: _Resting | None = None
        self._n_calls = 0

    def look(self, views: dict[str, RunView], journal: Journal | None) -> None:
        """Forget what may be forgotten; to be called for each run that is added.

        Args:
            views: The store's.
            journal: This process's; None where it has none.
        """
        self._n_calls += 1
        if len(views) <= _KEPT or self._n_calls % _EACH or journal is None:
            return
        resting = self._resting
        if resting is not None and resting.journal is journal:
            if _position(journal) < resting.end:
                return
            for run_id in resting.run_ids:
                view = resting.views.get(run_id)
                if view is not None and view.is_resting:
                    del resting.views[run_id]
        run_ids = []
        for run_id, view in views.items():
            if not (view.is_open and view.is_ours):
                view.is_resting = True
                run_ids.append(run_id)
        self._resting = _Resting(views, run_ids, journal, journal.end)


def _position(journal: Journal) -> int:
    try:
        return JournalFolder(journal.folder).delivered().position
    except JournalError:  # being replaced, or the spool is gone
        return 0
