"""Runs of other trackers on their way into a store: by the same door as what trainings log.

Each part of a run that only grows is delivered as a journal of its own, whose id follows from what
it is of: the target knows how far it has it, so that an import that was broken off goes on, one
that is repeated changes nothing, and one of a run that has gone on adds what is new. What a run is
as a whole (its state, its params) is delivered again when it has become another. A database does
not tell in which order its points came: of those, what is not there is found by looking.

Artifacts go by MLflow's own repositories, those that are there with their size are left alone.
"""

from __future__ import annotations

import errno
import hashlib
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, ErrorCode
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

from mlflow_weir.errors import ConfigError, StoreUnavailable
from mlflow_weir.frames import FRAME_HEADER_BYTES
from mlflow_weir.plugin.agent.targets import DeliveryTarget
from mlflow_weir.plugin.artifact_places import repository_at
from mlflow_weir.plugin.contact import says_unknown
from mlflow_weir.plugin.importing.names import is_below
from mlflow_weir.plugin.importing.point_records import History, batches, kept, noted, records_of
from mlflow_weir.store.delivery.records import encode_operation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    from mlflow_weir.store.delivery.positions import JournalState

T = TypeVar("T")

_MOST_WAITING = 8  # runs that are to be compacted, whose batches take room
_SPECIAL = frozenset("#?%")  # what MLflow's client sends as they are, in an address
_PATIENCE_S = 120.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_MOST_UNREADABLE = 10  # files in a row, before their place is taken to be away
_LET_PASS = frozenset({401, 403, 407, 408, 425, 429})  # of 4xx: said of the moment, not of a file


class Part(NamedTuple):
    """A part of a run that only grows, such as one file of its events.

    Attributes:
        name: Tells it apart among the parts of its run, and stays the same.
        records: Records of a journal; of what has not changed, the same bytes each time.
    """

    name: str
    records: Iterator[bytes]


class File(NamedTuple):
    """An artifact.

    Attributes:
        path: Below the run's artifact root, with ``/``.
        content: Where it is, or what is in it; or why it could not be read.
        may_change: It may become another one of the same size.
    """

    path: str
    content: Path | bytes | Exception
    may_change: bool = False


class Source(Protocol):
    """One run of another tracker.

    Attributes:
        run_id: Its id here, 32 hex digits.
        kind: What tracks it, as the tag ``weir.imported_from`` has it.
        title: What a person calls it.
        experiment: Name of the experiment that it goes to unless somebody says otherwise.
        part: Tells the parts of one run apart that are sources of their own.
        left_out: What of it has no place here, and how often it was met; complete in the end.
    """

    run_id: str
    kind: str
    title: str
    experiment: str
    part: str
    left_out: Counter[str]

    def creation(self, experiment_id: str) -> bytes:
        """Return the record that creates the run."""
        ...

    def parts(self) -> Iterable[Part]:
        """Return what grows; read one after the other, each to its end."""
        ...

    def histories(self) -> Iterable[History]:
        """Return its metrics of which any point may be new, each once; asked for more than once.

        The points of one are in the order in which they are to be.
        """
        ...

    def facts(self) -> Sequence[bytes]:
        """Return the records of what it is as a whole, once the parts have been read."""
        ...

    def files(self) -> Iterable[File]:
        """Return its artifacts, once the parts have been read."""
        ...


@dataclass
class Brought:
    """What became of a run, or of other things that belong together.

    Attributes:
        run_id: Of the run; "" of anything else.
        title: What a person calls it.
        experiment: Name of the experiment that it went to; "" of what belongs to none.
        kind: ``run``, or what else it is.
        n_new: Of anything else than a run: how many of it were new to the store.
        n_points: Points that were.
        n_files: Artifacts that were.
        refused: What the store did not take, with its reason.
        left_out: What has no place in it, and how often it was met.
        error: Why not all of it is there; "" where it is.
    """

    run_id: str = ""
    title: str = ""
    experiment: str = ""
    kind: str = "run"
    n_new: int = 0
    n_points: int = 0
    n_files: int = 0
    refused: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    error: str = ""

    def leave_out(self, what: str, n: int = 1) -> None:
        """Count something that has no place in the store."""
        self.left_out[what] = self.left_out.get(what, 0) + n


Progress = Callable[[Brought], None]


class Step(NamedTuple):
    """A part of an import that stands for itself: what goes wrong with it stops no other.

    Attributes:
        title: What it is called as long as nothing is known of it.
        bring: Brings it, and notes what became of it.
    """

    title: str
    bring: Callable[[Bringer, Brought], None]


def step_of(make: Callable[[], Source], title: str, experiment: str | None) -> Step:
    """Return the step that brings a run.

    Args:
        make: Opens it.
        title: As ``Step`` has it.
        experiment: Name of the experiment, in place of the source's.
    """

    def bring(bringer: Bringer, brought: Brought) -> None:
        bringer.bring(make(), experiment, brought)

    return Step(title, bring)


class Bringer:
    """Brings runs into a store, one after the other.

    Attributes:
        client: MLflow's, for the store.
    """

    def __init__(self, target: DeliveryTarget, client: MlflowClient, progress: Progress) -> None:
        """Prepare to bring.

        Args:
            target: Where records go.
            client: MLflow's, for the same place.
            progress: Called after each transaction and file.
        """
        self.client = client
        self._target, self._progress = target, progress
        self._experiments: dict[str, str] = {}
        self._words: dict[str, tuple[str, ...]] = {}
        self._to_compact: deque[str] = deque()

    def bring(self, source: Source, experiment: str | None, brought: Brought) -> None:
        """Bring a run, or what is new of it.

        Args:
            source: The run.
            experiment: Name of the experiment, in place of the source's.
            brought: Takes note of what became of it.

        Raises:
            ConfigError: Its files are not what they were when they were last brought, or a run
                that was not brought has its id.
            StoreUnavailable: The store took no more; the same call goes on from there.
        """
        run = brought.run_id = source.run_id
        brought.title = source.title
        brought.experiment = experiment or source.experiment
        found = _find_run(self.client, run)
        if found is not None and found.info.lifecycle_stage != "active":
            brought.leave_out("runs that are deleted there")
            return
        is_new = found is None
        words = self._words[run] = self._begin(source, brought, is_there=not is_new)
        for part in source.parts():
            self.deliver(brought, (*words, "part", part.name), part.records)
        self._bring_points(source, brought, words, is_new=is_new)
        self.deliver_as_it_is(
            brought, (*words, "facts", source.part), source.facts(), is_new=is_new
        )
        self._to_compact.append(run)
        self._compact(_MOST_WAITING)
        files = iter(source.files())
        first = next(files, None)
        if first is not None:  # of a run without any, nobody need ask where they go
            self.upload(brought, artifacts_of(self.client, run), chain([first], files))
        for what, n in sorted(source.left_out.items()):
            brought.leave_out(what, n)

    def finish(self) -> None:
        """Wait until all runs are as small as they become.

        Raises:
            StoreUnavailable: One could not be; its points are there.
        """
        self._compact(0)

    def _compact(self, most_waiting: int) -> None:
        """Have runs compacted, by a child that works while the next ones are brought."""
        while self._to_compact:
            if not self._target.compact(self._to_compact[0], is_final=True):
                self._to_compact.popleft()
            elif len(self._to_compact) > most_waiting:
                time.sleep(0.01)
            else:
                return

    def bring_more(self, run_id: str, parts: Iterable[Part], brought: Brought) -> None:
        """Bring further parts of a run that ``bring`` has brought; of any other, nothing."""
        words = self._words.get(run_id)
        for part in parts if words else ():
            self.deliver(brought, (*(words or ()), "part", part.name), part.records)

    def _begin(self, source: Source, brought: Brought, *, is_there: bool) -> tuple[str, ...]:
        """Create the run, unless it is there; return what its journals' names begin with.

        A run that was brought, and has been deleted for good since, is brought anew, by journals
        of which the target knows nothing yet.
        """
        words: tuple[str, ...] = (source.run_id,)
        last = words
        time_brought = 0
        while self._state(_journal_of((*words, "created"))) is not None:
            last = words
            time_brought += 1
            words = (source.run_id, f"again {time_brought}")
        if is_there:
            if not time_brought:
                raise ConfigError(
                    f"run {source.run_id} is there, and is none that was imported",
                    hint="it may be the same run, by another way",
                )
            return last
        experiment_id = self.experiment_id(brought.experiment)
        self.deliver_once(brought, (*words, "created"), source.creation(experiment_id))
        return words

    def experiment_id(self, name: str) -> str:
        """Return the id of the experiment of a name, made if need be.

        Raises:
            ConfigError: It is deleted.
        """
        if name not in self._experiments:
            found = self.client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage != "active":
                raise ConfigError(
                    f"experiment {name!r} is deleted", hint="restore it, or name another one"
                )
            made = self.client.create_experiment(name) if found is None else found.experiment_id
            self._experiments[name] = str(made)
        return self._experiments[name]

    def deliver_once(self, brought: Brought, words: Sequence[str], record: bytes) -> bool:
        """Deliver a record, unless one with these words has ever been; say whether it was."""
        if self._state(_journal_of(words)) is not None:
            return False
        end = FRAME_HEADER_BYTES + len(record)
        self._apply(brought, _journal_of(words), 0, end, [record])
        return True

    def _bring_points(
        self, source: Source, brought: Brought, words: Sequence[str], *, is_new: bool
    ) -> None:
        """Bring the points of ``histories`` that are not there.

        A run that is new gets them all as one journal. Of one that is there the target is asked
        for what it has, unless these were all there at the end of an earlier import.
        """
        run = source.run_id
        digest = hashlib.sha256()
        if is_new:
            self.deliver(brought, (*words, "points"), noted(digest, run, source.histories()))
        else:
            for record in noted(digest, run, source.histories()):
                del record
        whole = (*words, "points", digest.hexdigest())
        if digest.digest() == _NOTHING or self._state(_journal_of(whole)) is not None:
            return
        if not is_new:
            missing = records_of(run, self._missing(run, source.histories()))
            for batch in batches(missing):
                of_these = hashlib.sha256(b"\0".join(batch)).hexdigest()
                self.deliver(brought, (*words, "points", "of them", of_these), batch)
        tags = [["weir.imported_from", source.kind]]
        self.deliver_once(
            brought, whole, encode_operation("set_tags", {"run_id": run, "tags": tags})
        )

    def _missing(self, run_id: str, histories: Iterable[History]) -> Iterator[History]:
        for key, points in histories:
            found = self.client.get_metric_history(run_id, key)
            there = {(one.timestamp, one.step, kept(one.value)) for one in found}
            yield key, [one for one in points if (one[1], one[2], kept(one[3])) not in there]

    def deliver_as_it_is(
        self,
        brought: Brought,
        words: Sequence[str],
        records: Sequence[bytes],
        *,
        is_new: bool = False,
    ) -> None:
        """Deliver what something is as a whole, unless it was delivered last as it is.

        Each version has a number, which is taken before it is delivered: what something has become
        again is another version than what it was before.

        Args:
            brought: Takes note of what became of them.
            words: Tell it apart.
            records: All of it.
            is_new: Nothing of it was ever delivered.
        """
        if not records:
            return
        digest = hashlib.sha256(b"\0".join(records)).hexdigest()
        number = 0

        def is_known(*further: str) -> bool:
            return self._state(_journal_of((*words, *further))) is not None

        while not is_new and is_known("version", str(number + 1)):
            number += 1
        if not is_new and not is_known(digest, str(number)):
            number += 1
            self.deliver_once(brought, (*words, "version", str(number)), records[-1])
        self.deliver(brought, (*words, digest, str(number)), records)

    def deliver(self, brought: Brought, words: Sequence[str], records: Iterable[bytes]) -> None:
        """Deliver those of the records that the target has not yet.

        Args:
            brought: Takes note of what became of them.
            words: Tell apart what only grows.
            records: All of it, from its beginning.

        Raises:
            ConfigError: They do not begin with those that were delivered.
        """
        journal_id = _journal_of(words)
        state = self._state(journal_id)
        there = 0 if state is None else state.position
        at = 0

        def new() -> Iterator[bytes]:
            nonlocal at
            for record in records:
                size = FRAME_HEADER_BYTES + len(record)
                at += size
                if at <= there:
                    continue
                if at - size < there:
                    raise _changed(brought)
                yield record

        for batch in batches(new()):
            size = sum(FRAME_HEADER_BYTES + len(record) for record in batch)
            self._apply(brought, journal_id, at - size, at, batch)
        if at < there:
            raise _changed(brought)

    def _state(self, journal_id: str) -> JournalState | None:
        return _patiently(lambda: self._target.state(journal_id))

    def _apply(
        self, brought: Brought, journal_id: str, start: int, end: int, records: Sequence[bytes]
    ) -> None:
        outcome = _patiently(
            lambda: self._target.apply(journal_id, None, start, end, records, is_patient=False)
        )
        brought.n_points += outcome.n_points
        brought.refused += [f"{one.what}: {one.reason}" for one in outcome.rejected]
        self._progress(brought)

    def upload(
        self, brought: Brought, repository: ArtifactRepository, files: Iterable[File]
    ) -> None:
        """Upload those files that are not there with their size.

        What is wrong with one of them stops none of the others.
        """
        known: dict[str | None, dict[str, int | None]] = {}
        unreadable: list[str] = []
        n_in_a_row = 0
        for path, content, may_change in files:
            if not is_below(path):
                brought.leave_out("files whose paths lead elsewhere")
                continue
            if isinstance(content, Exception):
                unreadable.append(f"{path}: {content}")
                n_in_a_row += 1
                if n_in_a_row >= _MOST_UNREADABLE:
                    raise content
                continue
            n_in_a_row = 0
            folder = path.rpartition("/")[0] or None
            if isinstance(repository, HttpArtifactRepository) and _SPECIAL & set(path):
                brought.refused.append(f"artifact {path}: a server takes no name with #, ? or %")
                continue
            try:
                if folder not in known:
                    known[folder] = _sizes(repository, folder)
                size = len(content) if isinstance(content, bytes) else content.stat().st_size
                if known[folder].get(path) == size and not (
                    may_change and _content(repository, path) != content
                ):
                    continue
                _log(repository, folder, path, content)
            except (MlflowException, OSError) as exc:  # those of requests are among the latter
                if not _is_of_the_file(exc):
                    raise
                brought.refused.append(f"artifact {path}: {' '.join(str(exc).split())[:300]}")
                continue
            brought.n_files += 1
            self._progress(brought)
        if unreadable:
            more = f", and {len(unreadable) - 1:,} more" if unreadable[1:] else ""
            raise ConfigError(f"files that cannot be read: {unreadable[0]}{more}")

    def note(self, brought: Brought) -> None:
        """Say that something more of it is there."""
        self._progress(brought)


_NOTHING = hashlib.sha256().digest()


def _patiently(ask: Callable[[], T]) -> T:
    """Ask a target again for as long as it is busy, or away for a moment.

    Raises:
        StoreUnavailable: It was for ``_PATIENCE_S``.
    """
    give_up_s = time.monotonic() + _PATIENCE_S
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return ask()
        except StoreUnavailable:
            if time.monotonic() + pause_s > give_up_s:
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _is_of_the_file(error: Exception) -> bool:
    """Say whether another file may well be taken where one was not."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return 400 <= status < 500 and status not in _LET_PASS
    if isinstance(error, MlflowException):
        return bool(error.error_code == ErrorCode.Name(INVALID_PARAMETER_VALUE))
    return isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.EILSEQ)


def _log(
    repository: ArtifactRepository, folder: str | None, path: str, content: Path | bytes
) -> None:
    with tempfile.TemporaryDirectory() as made:
        local = Path(made) / PurePosixPath(path).name
        if isinstance(content, bytes):
            local.write_bytes(content)
        else:
            local.symlink_to(content.resolve())
        repository.log_artifact(str(local), folder)


def _journal_of(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(("import", *words)).encode()).hexdigest()[:32]


def _find_run(client: MlflowClient, run_id: str) -> Run | None:
    try:
        return client.get_run(run_id)
    except MlflowException as exc:
        if says_unknown(exc):
            return None
        raise


def artifacts_of(client: MlflowClient, run_id: str) -> ArtifactRepository:
    """Return where the artifacts of a run are, in the place that the client is for.

    The client's own calls remember a run's place by its id alone, and a run that is brought has
    one id in two places.
    """
    return repository_at(client, client.get_run(run_id).info.artifact_uri)


def _content(repository: ArtifactRepository, path: str) -> bytes:
    with tempfile.TemporaryDirectory() as made:
        return Path(repository.download_artifacts(path, made)).read_bytes()


def _sizes(repository: ArtifactRepository, folder: str | None) -> dict[str, int | None]:
    return {one.path: one.file_size for one in repository.list_artifacts(folder) if not one.is_dir}


def _changed(brought: Brought) -> ConfigError:
    return ConfigError(
        f"{brought.title}: its files are not those that were imported before, continued",
        hint="delete the imported run for good (`mlflow gc`), then import it again",
    )
