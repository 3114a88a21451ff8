"""Runs of other trackers on their way into a store: by the same door as what trainings log.

Each part of a run that only grows is delivered as a journal of its own, whose id follows from what
it is of: the target knows how far it has it, so that an import that was broken off goes on, one
that is repeated changes nothing, and one of a run that has gone on adds what is new. What a run is
as a whole (its state, its params) is delivered again when it has become another.

Artifacts go by MLflow's own repositories, those that are there with their size are left alone.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mlflow_weir.errors import ConfigError
from mlflow_weir.frames import FRAME_HEADER_BYTES
from mlflow_weir.plugin.agent.drain import STEP_BYTES
from mlflow_weir.plugin.agent.targets import DeliveryTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_LONGEST_RECORDS = 10_000  # of one transaction, where they are short


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
        content: Where it is, or what is in it.
    """

    path: str
    content: Path | bytes


class Source(Protocol):
    """One run of another tracker.

    Attributes:
        run_id: Its id here, 32 hex digits.
        title: What a person calls it.
        experiment: Name of the experiment that it goes to unless somebody says otherwise.
        left_out: What of it has no place here, and how often it was met; complete in the end.
    """

    run_id: str
    title: str
    experiment: str
    left_out: Counter[str]

    def creation(self, experiment_id: str) -> bytes:
        """Return the record that creates the run."""
        ...

    def parts(self) -> Iterable[Part]:
        """Return what grows; read one after the other, each to its end."""
        ...

    def facts(self) -> Sequence[bytes]:
        """Return the records of what it is as a whole, once the parts have been read."""
        ...

    def files(self) -> Iterable[File]:
        """Return its artifacts, once the parts have been read."""
        ...


@dataclass
class Brought:
    """What became of one run.

    Attributes:
        n_points: Points that were new to the store.
        n_files: Artifacts that were.
        refused: What the store did not take, with its reason.
        left_out: What has no place in it, and how often it was met.
        error: Why not all of it is there; "" where it is.
    """

    run_id: str
    title: str
    experiment: str
    n_points: int = 0
    n_files: int = 0
    refused: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    error: str = ""


Progress = Callable[[Brought], None]


class Bringer:
    """Brings runs into a store, one after the other."""

    def __init__(self, target: DeliveryTarget, client: MlflowClient, progress: Progress) -> None:
        """Prepare to bring.

        Args:
            target: Where records go.
            client: MLflow's, for the same place.
            progress: Called after each transaction and file.
        """
        self._target, self._client, self._progress = target, client, progress
        self._experiments: dict[str, str] = {}

    def bring(self, source: Source, experiment: str | None = None) -> Brought:
        """Bring a run, or what is new of it.

        Args:
            source: The run.
            experiment: Name of the experiment, in place of the source's.

        Raises:
            ConfigError: Its files are not what they were when they were last brought.
            StoreUnavailable: The store took no more; the same call goes on from there.
        """
        name = experiment or source.experiment
        brought = Brought(source.run_id, source.title, name)
        experiment_id = self._experiment(name)
        run = source.run_id
        self._deliver(brought, (run, "created"), [source.creation(experiment_id)])
        for part in source.parts():
            self._deliver(brought, (run, "part", part.name), part.records)
        facts = source.facts()
        digest = hashlib.sha256(b"\0".join(facts)).hexdigest()
        self._deliver(brought, (run, "facts", digest), facts)
        while self._target.compact(run, is_final=True):
            time.sleep(0.01)  # a child is at it
        self._upload(brought, source.files())
        brought.left_out = dict(sorted(source.left_out.items()))
        return brought

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage != "active":
                raise ConfigError(
                    f"experiment {name!r} is deleted", hint="restore it, or name another one"
                )
            made = self._client.create_experiment(name) if found is None else found.experiment_id
            self._experiments[name] = str(made)
        return self._experiments[name]

    def _deliver(self, brought: Brought, words: Sequence[str], records: Iterable[bytes]) -> None:
        """Deliver records that the target has not yet."""
        journal_id = hashlib.sha256("\0".join(("import", *words)).encode()).hexdigest()[:32]
        state = self._target.state(journal_id)
        there = 0 if state is None else state.position
        at, batch, n_bytes = 0, list[bytes](), 0
        for record in records:
            at += FRAME_HEADER_BYTES + len(record)
            if at <= there:
                continue
            if at - FRAME_HEADER_BYTES - len(record) < there:
                raise _changed(brought)
            batch.append(record)
            n_bytes += FRAME_HEADER_BYTES + len(record)
            if n_bytes >= STEP_BYTES or len(batch) >= _LONGEST_RECORDS:
                self._apply(brought, journal_id, at - n_bytes, batch)
                batch, n_bytes = [], 0
        if at < there:
            raise _changed(brought)
        if batch:
            self._apply(brought, journal_id, at - n_bytes, batch)

    def _apply(
        self, brought: Brought, journal_id: str, start: int, records: Sequence[bytes]
    ) -> None:
        end = start + sum(FRAME_HEADER_BYTES + len(record) for record in records)
        outcome = self._target.apply(journal_id, None, start, end, records, is_patient=False)
        brought.n_points += outcome.n_points
        brought.refused += [f"{one.what}: {one.reason}" for one in outcome.rejected]
        self._progress(brought)

    def _upload(self, brought: Brought, files: Iterable[File]) -> None:
        repository = artifacts_of(self._client, brought.run_id)
        known: dict[str | None, dict[str, int | None]] = {}
        for path, content in files:
            folder = path.rpartition("/")[0] or None
            if folder not in known:
                known[folder] = _sizes(repository, folder)
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            if known[folder].get(path) == size:
                continue
            with tempfile.TemporaryDirectory() as made:
                local = Path(made) / PurePosixPath(path).name
                if isinstance(content, bytes):
                    local.write_bytes(content)
                else:
                    local.symlink_to(content.resolve())
                repository.log_artifact(str(local), folder)
            brought.n_files += 1
            self._progress(brought)


def artifacts_of(client: MlflowClient, run_id: str) -> ArtifactRepository:
    """Return where the artifacts of a run are, in the place that the client is for.

    The client's own calls remember a run's place by its id alone, and a run that is brought has
    one id in two places.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    root = client.get_run(run_id).info.artifact_uri
    return get_artifact_repository(root, tracking_uri=client.tracking_uri)


def _sizes(repository: ArtifactRepository, folder: str | None) -> dict[str, int | None]:
    return {one.path: one.file_size for one in repository.list_artifacts(folder) if not one.is_dir}


def _changed(brought: Brought) -> ConfigError:
    return ConfigError(
        f"{brought.title}: its files are not those that were imported before, continued",
        hint="delete the imported run for good (`mlflow gc`), then import it again",
    )
