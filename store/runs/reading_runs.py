"""Runs as the workspace looks at them, whoever looks: found, ordered, grouped, row by row.

``ReadableRuns`` is what a page may ask of runs. ``StoredRuns`` are those of the database as they
are now, all of a scope or the ones within it that a link is about; those of a frozen link are in
``store/sharing/frozen_runs.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import TooMuchAsked
from mlflow_weir.store.runs import changes, comparison, grouping, listing, metric_keys, ordinals
from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.runs.filter_language import Tree
from mlflow_weir.store.runs.rows_at import rows_at
from mlflow_weir.store.runs.run_columns import Column

SessionMaker = Callable[[], AbstractContextManager[Session]]


class ReadableRuns(Protocol):
    """Runs that somebody may see."""

    def find(
        self,
        *,
        now_ms: int,
        tree: Tree | None,
        search: str,
        is_regex: bool,
        order: Sequence[listing.OrderTerm],
    ) -> listing.Found:
        """Find those that match, as ``listing.find`` does."""
        ...

    def rows(
        self, run_ids: Sequence[str], columns: Sequence[Column], at_ms: int | None = None
    ) -> list[listing.Row]:
        """Return rows of those that are among these runs, now or as of a moment.

        Raises:
            TooMuchAsked: More points would have to be read than one request is given.
        """
        ...

    def group(
        self, run_ids: Sequence[str], keys: Sequence[Column], columns: Sequence[Column]
    ) -> grouping.Grouped:
        """Group runs that have been found."""
        ...

    def known_keys(self) -> dict[str, list[grouping.KnownKey]]:
        """Say which params, tags and metrics they have."""
        ...

    def metric_keys(self) -> metric_keys.KeyCounts:
        """Count their metrics."""
        ...

    def standing(self) -> changes.Standing:
        """Say how many there are, and what tells when that changes."""
        ...

    def contents(
        self, run_ids: Sequence[str], at_ms: int | None = None
    ) -> dict[str, comparison.Contents]:
        """Return all that runs among them were given and logged, now or as of a moment.

        Raises:
            TooMuchAsked: More points would have to be read than one request is given.
        """
        ...

    def numbers(self, rows: Sequence[listing.Row]) -> dict[str, int]:
        """Return each run's number in its experiment."""
        ...


class StoredRuns:
    """Runs of a scope as the database has them."""

    def __init__(
        self,
        session_maker: SessionMaker,
        engine: sa.Engine,
        scope: Scope,
        within: Sequence[str] | None = None,
    ) -> None:
        """Take where to look.

        Args:
            session_maker: Gives sessions that read.
            engine: That may write, for the numbers of runs that have none yet.
            scope: Experiments and stages.
            within: Only these runs of it, the newest first; None for all.
        """
        self._session_maker = session_maker
        self._engine = engine
        self._scope = scope
        self._within = None if within is None else dict.fromkeys(within)

    @property
    def _dialect(self) -> str:
        return self._engine.dialect.name

    def find(
        self,
        *,
        now_ms: int,
        tree: Tree | None = None,
        search: str = "",
        is_regex: bool = False,
        order: Sequence[listing.OrderTerm] = (),
    ) -> listing.Found:
        """Find those that match, as ``listing.find`` does."""
        with self._session_maker() as session:
            found = listing.find(
                session,
                self._scope,
                self._dialect,
                now_ms=now_ms,
                tree=tree,
                search=search,
                is_regex=is_regex,
                order=order,
            )
        if self._within is None:
            return found
        kept = [run_id for run_id in found.run_ids if run_id in self._within]
        return listing.Found(kept, len(self._within))

    def rows(
        self, run_ids: Sequence[str], columns: Sequence[Column], at_ms: int | None = None
    ) -> list[listing.Row]:
        """Return rows of those that are among these runs, now or as of a moment."""
        fault = None
        with self._session_maker() as session:
            rows = listing.read_rows(
                session, self._scope, self._dialect, self._among(run_ids), columns
            )
            try:
                rows = rows if at_ms is None else rows_at(session, rows, columns, at_ms)
            except TooMuchAsked as exc:
                # Not through the session's end, where MLflow makes an error of its own of all.
                fault = exc
        if fault is not None:
            raise fault
        return rows

    def group(
        self, run_ids: Sequence[str], keys: Sequence[Column], columns: Sequence[Column]
    ) -> grouping.Grouped:
        """Group runs that have been found."""
        with self._session_maker() as session:
            return grouping.group(session, self._scope, self._dialect, run_ids, keys, columns)

    def known_keys(self) -> dict[str, list[grouping.KnownKey]]:
        """Say which params, tags and metrics they have."""
        with self._session_maker() as session:
            if self._within is None:
                return grouping.known_keys(session, self._scope)
            return grouping.keys_of(session, list(self._within))

    def metric_keys(self) -> metric_keys.KeyCounts:
        """Count their metrics."""
        with self._session_maker() as session:
            if self._within is None:
                return metric_keys.of_experiments(session, self._scope.experiment_ids)
            return metric_keys.of_runs(session, list(self._within))

    def standing(self) -> changes.Standing:
        """Say how many there are, and what tells when that changes."""
        with self._session_maker() as session:
            if self._within is None:
                return changes.standing(session, self._scope.experiment_ids)
            return changes.standing_of(session, list(self._within))

    def contents(
        self, run_ids: Sequence[str], at_ms: int | None = None
    ) -> dict[str, comparison.Contents]:
        """Return all that runs among them were given and logged, now or as of a moment."""
        fault = None
        with self._session_maker() as session:
            found = comparison.read_contents(session, self._among(run_ids))
            try:
                found = found if at_ms is None else comparison.as_of(session, found, at_ms)
            except TooMuchAsked as exc:
                fault = exc  # as in ``rows``
        if fault is not None:
            raise fault
        return found

    def numbers(self, rows: Sequence[listing.Row]) -> dict[str, int]:
        """Return each run's number in its experiment."""
        return ordinals.read(self._engine, {row.run_id: row.experiment_id for row in rows})

    def _among(self, run_ids: Sequence[str]) -> list[str]:
        if self._within is None:
            return list(run_ids)
        return [run_id for run_id in run_ids if run_id in self._within]
