"""What the visitor of a link may see: its runs and its fields, live or as they were.

Experiments have no ids here: they are "1", "2" and so on, in the link's order. Runs are named only
where the link says so; otherwise they are numbered. Of a live link by a filter at most the 5,000
newest runs are shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import flask
import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.media_names import read_media_name
from mlflow_weir.store.console.reading import ConsoleSource
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.runs import (
    changes,
    comparison,
    filter_language,
    grouping,
    listing,
    metric_keys,
)
from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.runs.listing import Row
from mlflow_weir.store.runs.reading_runs import ReadableRuns, StoredRuns
from mlflow_weir.store.runs.run_columns import Column
from mlflow_weir.store.sharing import frozen_runs, links
from mlflow_weir.store.sharing.frozen_runs import FrozenRuns
from mlflow_weir.store.sharing.links import Share
from mlflow_weir.store.sharing.shown import NOT_SHOWN
from mlflow_weir.ui_extensions import access, artifacts, deliveries
from mlflow_weir.ui_extensions.ids import is_id
from mlflow_weir.ui_extensions.readable import MAX_RUNS

MAX_LIVE_RUNS = 5_000
CAPTURED = "weir"
"""The folder of what was captured, which no tick box for files opens."""


def runs_of_filter(
    experiment_ids: Sequence[str],
    run_filter: links.Filter,
    now_ms: int,
    order: Sequence[listing.OrderTerm] = (),
) -> list[str]:
    """Return the active runs that a filter selects, in an order; the newest first without one.

    Raises:
        ConfigError: The filter cannot be read.
    """
    store = deliveries.require_store()
    scope = Scope([int(one) for one in experiment_ids], ["active"])
    with store.ManagedSessionMaker() as session:
        found = listing.find(
            session,
            scope,
            store.engine.dialect.name,
            now_ms=now_ms,
            tree=filter_language.parse(run_filter.text),
            search=run_filter.search,
            is_regex=run_filter.is_regex,
            order=order,
        )
    return found.run_ids


class LinkSight:
    """What the visitor of a link may see, for one request."""

    share_of_limits = 4

    def __init__(self, share: Share, engine: sa.Engine) -> None:
        """Find the runs that the link is about.

        Args:
            share: One that opens now.
            engine: Of the server's database.
        """
        self.share = share
        self.shown = share.shown
        self._facts: dict[str, dict[str, Any]] | None = None
        if not share.is_live:
            self._facts = links.read_facts(engine, share)
            self._run_ids = dict.fromkeys(self._facts)
        elif share.run_filter is None:
            self._run_ids = dict.fromkeys(links.named_runs(engine, share))
        else:
            found = runs_of_filter(share.experiment_ids, share.run_filter, _now_ms())
            self._run_ids = dict.fromkeys(found[:MAX_LIVE_RUNS])

    @property
    def run_ids(self) -> list[str]:
        """The runs that the link is about, those that are there."""
        return list(self._run_ids)

    @property
    def experiments(self) -> list[str]:
        """What the experiments are called here."""
        return [str(n) for n in range(1, self._n_places + 1)]

    @property
    def _n_places(self) -> int:
        report = self.share.report
        return len(self.share.experiment_ids if report is None else report.panels)

    def ids_of(self, experiments: Sequence[str]) -> list[str]:
        """Return the runs of what questions call experiments: of a report these are its panels."""
        if self.share.report is None or not experiments:
            return self.run_ids
        wanted = {
            run_id for one in experiments for run_id in self.share.report.panels[int(one) - 1]
        }
        return [run_id for run_id in self._run_ids if run_id in wanted]

    def require_run(self, run_id: str) -> None:
        """End the request with 404 where a run is not to be seen, as where there is none."""
        if run_id not in self._run_ids:
            if not is_id(run_id):
                flask.abort(access.refusal(400, "a run id that is not 32 hexadecimal digits"))
            flask.abort(access.refusal(404, f"run {run_id} does not exist"))

    def readable_runs(self, run_ids: Sequence[str]) -> list[str]:
        """Return those that are to be seen, in the order given."""
        if len(run_ids) > MAX_RUNS:
            flask.abort(access.refusal(413, f"{len(run_ids)} runs, at most {MAX_RUNS} at once"))
        return [run_id for run_id in run_ids if run_id in self._run_ids]

    def require_experiments(self, experiments: Sequence[str]) -> None:
        """End the request with 404 where it names what is none of the link's."""
        for one in experiments:
            if one not in self.experiments:
                flask.abort(access.refusal(404, f"experiment {one:.40} does not exist"))

    def runs_of(self, question: Fields) -> ReadableRuns:
        """Return the runs of the experiments that a question names; of all where it names none."""
        experiments = question.texts("experiments")
        self.require_experiments(experiments)
        if question.flag("deleted"):
            raise Refused("a link shows no deleted runs")
        return self._runs(self.ids_of(experiments), question.whole_or_none("at"))

    def named_runs(self, run_ids: Sequence[str]) -> ReadableRuns:
        """Return the runs among these that are to be seen."""
        return self._runs(self.readable_runs(run_ids))

    def _runs(self, run_ids: Sequence[str], at_ms: int | None = None) -> ReadableRuns:
        if self._facts is not None:
            facts = {one: frozen_runs.at(self._facts[one], at_ms) for one in run_ids}
            found: ReadableRuns = FrozenRuns(facts)
        else:
            store = deliveries.require_store()
            scope = Scope([int(one) for one in self.share.experiment_ids], ["active"])
            found = StoredRuns(store.ManagedSessionMaker, store.engine, scope, run_ids)
        return found if self.shown.names else NumberedRuns(found, self)

    def name_of(self, experiment_id: int | str, number: int, name: str) -> str:
        """Return what a run is called here."""
        if self.shown.names:
            return name
        alias = self.alias_of(experiment_id)
        is_alone = len(self.share.experiment_ids) == 1
        return f"Run {number + 1}" if is_alone else f"Run {alias}.{number + 1}"

    def alias_of(self, experiment_id: int | str) -> str:
        """Return what an experiment of the link's is called here."""
        return str(self.share.experiment_ids.index(str(experiment_id)) + 1)

    def shown_row(self, row: Row, number: int) -> dict[str, Any]:
        """Return what a row says of its run, its cells left out."""
        info = dict(row.info)
        if not self.shown.notes:
            info.pop("note", None)
        if not self.shown.console:
            info.pop("cause", None)
        if info.get("parent") not in self._run_ids:
            info.pop("parent", None)
        return {
            "id": row.run_id,
            "name": self.name_of(row.experiment_id, number, row.name),
            "experiment": self.alias_of(row.experiment_id),
            "ordinal": number,
            "user": row.user if self.shown.host else "",
            "status": row.status,
            "start": row.start_ms,
            "end": row.end_ms,
            "stage": row.stage,
            **info,
        }

    def until_ms(self, run_ids: Sequence[str]) -> list[int] | None:
        """Return of each run the last timestamp that is to be seen; None where all are."""
        if self._facts is None:
            return None
        facts = self._facts
        return [facts[one]["until_ms"] if one in facts else 0 for one in run_ids]

    def facts(self, run_id: str) -> dict[str, Any] | None:
        """Return a run as it was when it was frozen; None where it is to be seen as it is."""
        return None if self._facts is None else self._facts[run_id]

    def console_sources(self, found: list[ConsoleSource], run_id: str) -> list[ConsoleSource]:
        """Return the consoles of a run as far as they are to be seen; machines only if shown."""
        facts = self.facts(run_id)
        if facts is not None:
            there = {one.source for one in found}
            found = [one for one in frozen_runs.console_sources(facts) if one.source in there]
        return found if self.shown.host else [one._replace(node="", pid=0) for one in found]

    def list_folder(self, run_id: str, path: str) -> list[artifacts.Entry]:
        """Return what is in a folder of a run's artifacts, what was captured left out."""
        if not self.shown.files:
            refuse_field()
        return self._folder(run_id, path)

    def walk(
        self, run_id: str, *, max_folders: int
    ) -> Iterator[tuple[str, list[artifacts.Entry]]]:
        """Return folder after folder with what is in it, as ``artifacts.walk`` does."""
        facts = self.facts(run_id)
        if facts is not None:
            yield "", [artifacts.Entry(path, False, size) for path, size in facts["files"]]
            return
        for folder, entries in artifacts.walk(run_id, max_folders=max_folders, fetch=self.fetch):
            if not is_captured(folder):
                yield folder, [entry for entry in entries if not is_captured(entry.path)]

    def read_file(self, run_id: str, path: str, most_bytes: int) -> artifacts.Content | None:
        """Return the beginning of an artifact; None where there is none to be seen."""
        may_be_media = self.shown.media and read_media_name(path) is not None
        if not self.shown.files and not may_be_media:
            refuse_field()
        folder, _, _ = path.rpartition("/")
        there = [one for one in self._folder(run_id, folder) if one.path == path]
        if not there or there[0].is_folder:
            return None
        content = artifacts.read_file(run_id, path, most_bytes, self.fetch)
        if content is not None and self._facts is not None:
            n_bytes = len(content.body)
            if not content.is_cut and there[0].size not in {None, n_bytes}:
                flask.abort(access.refusal(404, "the file has changed since this was frozen"))
        return content

    def fetch(self, path: str) -> flask.Response:
        """Have MLflow answer a GET about a run that is to be seen; what comes is yet to be cut."""
        return access.fetch_for_visitor(path, self.share.workspace)

    def _folder(self, run_id: str, path: str) -> list[artifacts.Entry]:
        if is_captured(path):
            return []
        facts = self.facts(run_id)
        if facts is not None:
            return _folder_of(facts["files"], path)
        found = artifacts.list_folder(run_id, path, self.fetch)
        return [entry for entry in found if not is_captured(entry.path)]


class NumberedRuns:
    """Runs that are called by their numbers: what is searched for is looked up in those names."""

    def __init__(self, runs: ReadableRuns, sight: LinkSight) -> None:
        """Take the runs, and what they are called by."""
        self._runs = runs
        self._sight = sight

    def find(
        self,
        *,
        now_ms: int,
        tree: filter_language.Tree | None,
        search: str,
        is_regex: bool,
        order: Sequence[listing.OrderTerm],
    ) -> listing.Found:
        """Find those that match, by the names that they have here."""
        if is_regex and search:
            raise ConfigError(NOT_SHOWN)
        found = self._runs.find(now_ms=now_ms, tree=tree, search="", is_regex=False, order=order)
        if not search:
            return found
        rows = self._runs.rows(found.run_ids, [])
        numbers = self._runs.numbers(rows)
        wanted = search.casefold()
        kept = [
            row.run_id
            for row in rows
            if row.run_id.startswith(search)
            or wanted
            in self._sight.name_of(row.experiment_id, numbers.get(row.run_id, 0), "").casefold()
        ]
        return listing.Found(kept, found.total)

    def rows(
        self, run_ids: Sequence[str], columns: Sequence[Column], at_ms: int | None = None
    ) -> list[Row]:
        """Return rows of those that are among these runs, their names left out."""
        return [row._replace(name="") for row in self._runs.rows(run_ids, columns, at_ms)]

    def group(
        self, run_ids: Sequence[str], keys: Sequence[Column], columns: Sequence[Column]
    ) -> grouping.Grouped:
        """Group runs that have been found."""
        return self._runs.group(run_ids, keys, columns)

    def known_keys(self) -> dict[str, list[grouping.KnownKey]]:
        """Say which params, tags and metrics they have."""
        return self._runs.known_keys()

    def metric_keys(self) -> metric_keys.KeyCounts:
        """Count their metrics."""
        return self._runs.metric_keys()

    def standing(self) -> changes.Standing:
        """Say how many there are, and what tells when that changes."""
        return self._runs.standing()

    def contents(
        self, run_ids: Sequence[str], at_ms: int | None = None
    ) -> dict[str, comparison.Contents]:
        """Return all that runs among them were given and logged, now or as of a moment."""
        return self._runs.contents(run_ids, at_ms)

    def numbers(self, rows: Sequence[Row]) -> dict[str, int]:
        """Return each run's number in its experiment."""
        return self._runs.numbers(rows)


def is_captured(path: str) -> bool:
    """Say whether a path is of what was captured."""
    # Whatever its case: some file systems mind none.
    return path.partition("/")[0].casefold() == CAPTURED


def refuse_field() -> None:
    """End the request, which asks for a field that is not shown."""
    flask.abort(access.refusal(404, NOT_SHOWN))


def _folder_of(files: Sequence[Sequence[Any]], path: str) -> list[artifacts.Entry]:
    """Return what is in a folder of files that were written down, folders first."""
    start = f"{path}/" if path else ""
    found: dict[str, artifacts.Entry] = {}
    for name, size in files:
        if not name.startswith(start):
            continue
        first, mark, _ = name[len(start) :].partition("/")
        entry = artifacts.Entry(start + first, bool(mark), None if mark else size)
        found.setdefault(entry.path, entry)
    return sorted(found.values(), key=lambda entry: (not entry.is_folder, entry.path))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
