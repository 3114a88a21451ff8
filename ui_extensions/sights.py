"""What one request may see: the answers of the API are cut to it, whoever asks.

A ``Sight`` says which runs there are, which fields of them, and up to when. ``Member`` is
somebody whom MLflow lets in: whole runs of the experiments that they may read. What a link's
visitor may see is in ``link_sight.py``. The views of the API answer a question and a sight, so
that visitors get what members get, less what the link does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import flask

from mlflow_weir.store.console.reading import ConsoleSource
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.runs.listing import Row
from mlflow_weir.store.runs.reading_runs import ReadableRuns, StoredRuns
from mlflow_weir.store.sharing.shown import EVERYTHING, Shown
from mlflow_weir.ui_extensions import access, artifacts, deliveries, readable


class Sight(Protocol):
    """What may be seen.

    Attributes:
        shown: Which fields.
        share_of_limits: The most that one request may ask for is divided by this.
    """

    shown: Shown
    share_of_limits: int

    def require_run(self, run_id: str) -> None:
        """End the request with 404 where a run is not to be seen, as where there is none."""
        ...

    def readable_runs(self, run_ids: Sequence[str]) -> list[str]:
        """Return those that are to be seen, in the order given."""
        ...

    def runs_of(self, question: Fields) -> ReadableRuns:
        """Return the runs of the experiments that a question names."""
        ...

    def named_runs(self, run_ids: Sequence[str]) -> ReadableRuns:
        """Return the runs among these that are to be seen."""
        ...

    def shown_row(self, row: Row, number: int) -> dict[str, Any]:
        """Return what a row says of its run, its cells left out."""
        ...

    def until_ms(self, run_ids: Sequence[str]) -> list[int] | None:
        """Return of each run the last timestamp that is to be seen; None where all are."""
        ...

    def facts(self, run_id: str) -> dict[str, Any] | None:
        """Return a run as it was when it was frozen; None where it is to be seen as it is."""
        ...

    def console_sources(self, found: list[ConsoleSource], run_id: str) -> list[ConsoleSource]:
        """Return the consoles of a run as far as they are to be seen."""
        ...

    def list_folder(self, run_id: str, path: str) -> list[artifacts.Entry]:
        """Return what is in a folder of a run's artifacts."""
        ...

    def walk(
        self, run_id: str, *, max_folders: int
    ) -> Iterator[tuple[str, list[artifacts.Entry]]]:
        """Return folder after folder with what is in it, as ``artifacts.walk`` does."""
        ...

    def read_file(self, run_id: str, path: str, most_bytes: int) -> artifacts.Content | None:
        """Return the beginning of an artifact; None where there is none to be seen."""
        ...

    def fetch(self, path: str) -> flask.Response:
        """Have MLflow answer a GET about a run that is to be seen; what comes is yet to be cut."""
        ...


class Member:
    """Somebody whom MLflow lets in."""

    shown = EVERYTHING
    share_of_limits = 1

    def __init__(self) -> None:
        """Ask MLflow about each experiment once."""
        self.caller = access.Access()

    def require_run(self, run_id: str) -> None:
        """End the request with 404 where a run is not to be seen, as where there is none."""
        readable.require_readable_runs([run_id], self.caller)

    def readable_runs(self, run_ids: Sequence[str]) -> list[str]:
        """Return those that are to be seen, in the order given."""
        return list(readable.readable_runs(run_ids, self.caller))

    def runs_of(self, question: Fields) -> StoredRuns:
        """Return the runs of the experiments that a question names."""
        experiments = question.texts("experiments")
        if not experiments:
            raise Refused("it names no experiment")
        ids = readable.require_readable_experiments(experiments, self.caller)
        stages = ["deleted"] if question.flag("deleted") else ["active"]
        store = deliveries.require_store()
        return StoredRuns(
            store.ManagedSessionMaker, store.engine, Scope([int(one) for one in ids], stages)
        )

    def named_runs(self, run_ids: Sequence[str]) -> StoredRuns:
        """Return the runs among these that are to be seen."""
        found = readable.readable_runs(run_ids, self.caller)
        store = deliveries.require_store()
        scope = Scope(sorted({int(one) for one in found.values()}), ["active", "deleted"])
        return StoredRuns(store.ManagedSessionMaker, store.engine, scope, list(found))

    def shown_row(self, row: Row, number: int) -> dict[str, Any]:
        """Return what a row says of its run, its cells left out."""
        return {
            "id": row.run_id,
            "name": row.name,
            "experiment": str(row.experiment_id),
            "ordinal": number,
            "user": row.user,
            "status": row.status,
            "start": row.start_ms,
            "end": row.end_ms,
            "stage": row.stage,
            **row.info,
        }

    def until_ms(self, run_ids: Sequence[str]) -> None:
        """Return of each run the last timestamp that is to be seen; None where all are."""

    def facts(self, run_id: str) -> None:
        """Return a run as it was when it was frozen; None where it is to be seen as it is."""

    def console_sources(self, found: list[ConsoleSource], run_id: str) -> list[ConsoleSource]:
        """Return the consoles of a run as far as they are to be seen."""
        return found

    def list_folder(self, run_id: str, path: str) -> list[artifacts.Entry]:
        """Return what is in a folder of a run's artifacts."""
        return artifacts.list_folder(run_id, path)

    def walk(
        self, run_id: str, *, max_folders: int
    ) -> Iterator[tuple[str, list[artifacts.Entry]]]:
        """Return folder after folder with what is in it, as ``artifacts.walk`` does."""
        return artifacts.walk(run_id, max_folders=max_folders)

    def read_file(self, run_id: str, path: str, most_bytes: int) -> artifacts.Content | None:
        """Return the beginning of an artifact; None where there is none to be seen."""
        folder, _, _ = path.rpartition("/")
        if not any(one.path == path for one in artifacts.list_folder(run_id, folder)):
            return None
        return artifacts.read_file(run_id, path, most_bytes)

    def fetch(self, path: str) -> flask.Response:
        """Have MLflow answer a GET about a run that is to be seen; what comes is yet to be cut."""
        return artifacts.for_caller(path)
