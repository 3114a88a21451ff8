"""MLflow's artifact repositories in a process that journals: their log calls copy and return.

A log call puts copies of its files beside the journal and writes one record; the agent uploads
them through MLflow's own repository (``agent/uploads.py``). Reads lay what still waits, of this
machine, over what the store has, so that they see the writes before them without waiting for the
upload. What is larger than ``DIRECT_BYTES`` goes to the store directly where that answers, so that
it is not copied for nothing; so does everything when the disk has no room for it, and is dropped,
counted and said where the store does not answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import posixpath
import re
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository, verify_artifact_path
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.tracking.rest_store import RestStore

from mlflow_weir.errors import JournalError, WeirError
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.byte_counts import byte_count
from mlflow_weir.plugin.contact import (
    FIRST_WAIT_S,
    Away,
    Begun,
    Contact,
    NotDelivered,
    is_answer,
)
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.files import is_within, join_uri
from mlflow_weir.plugin.pending_names import PENDING_ARTIFACTS
from mlflow_weir.plugin.presence import GLANCE_S, Presence
from mlflow_weir.plugin.progress import ProgressLine
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.plugin.spooled_names import Spooled, SpooledNames
from mlflow_weir.plugin.upload_environment import upload_environment
from mlflow_weir.store.delivery import records

_log = logging.getLogger("mlflow_weir")

DIRECT_BYTES = 256 << 20
"""What is larger goes directly where the store answers; with less left, room is short."""

_RUN_ID = re.compile("[0-9a-f]{32}")
_LOOK_S = 0.25
_LARGE_BYTES = 16 << 20  # may keep a slow line so busy that nothing else is answered meanwhile
_LARGE_PATIENCE_S = 30.0
_DELETE_WAIT_S = 60.0

_classes: dict[type, type] = {}
_contacts: weakref.WeakKeyDictionary[Recorder, Contact] = weakref.WeakKeyDictionary()
_presences: weakref.WeakKeyDictionary[Recorder, dict[type, Presence]] = weakref.WeakKeyDictionary()
_names: weakref.WeakKeyDictionary[Recorder, SpooledNames] = weakref.WeakKeyDictionary()
_logged: dict[str, dict[str, int]] = {}  # URIs of files that this process logged, by its own roots
_has_warned = False


def spool(repository: ArtifactRepository, artifact_uri: str, tracking_uri: str | None) -> None:
    """Let a repository's log calls spool, if this process journals to the store it belongs to."""
    store = mlflow_private.cached_tracking_store(tracking_uri)
    recorder = getattr(store, "recorder", None)
    if not isinstance(recorder, Recorder):
        return
    stock = type(repository)
    if stock not in _classes:
        names = {"__module__": __name__}
        _classes[stock] = type(f"Spooled{stock.__name__}", (_Spooled, stock), names)
    repository.__class__ = _classes[stock]
    assert isinstance(repository, _Spooled)
    repository._begin(store, artifact_uri)


def pending(
    artifact_uri: str, tracking_uri: str | None, registry_uri: str | None
) -> PendingRepository:
    """Return the repository of something that was begun while the store was away.

    Raises:
        MlflowException: This process does not journal to that store.
    """
    store = mlflow_private.cached_tracking_store(tracking_uri)
    recorder = getattr(store, "recorder", None)
    if not isinstance(recorder, Recorder):
        raise MlflowException.invalid_parameter_value(
            f"{artifact_uri}: where these artifacts are is known once their run is delivered"
        )
    repository = PendingRepository(artifact_uri, tracking_uri, registry_uri)
    repository._begin(store, artifact_uri)
    return repository


def ask_ahead(recorder: Recorder, artifact_uri: str) -> None:
    """Find out whether a run's artifact store answers, where there may soon be no room.

    A log call that finds none has no time for that: a store in the cloud takes longer to answer
    for the first time than such a call may be held.
    """
    with contextlib.suppress(WeirError):  # none is left
        recorder.room_for(0)
    if recorder.left_bytes < DIRECT_BYTES:
        with contextlib.suppress(MlflowException):  # of another store than the current one
            repository = get_artifact_repository(artifact_uri)
            if isinstance(repository, _Spooled) and repository._weir_recorder is recorder:
                repository._weir_answers(glance_s=0)


class _Spooled:
    """Comes before MLflow's class; all its names begin with ``_weir`` that are not MLflow's."""

    _weir_store: Any
    _weir_recorder: Recorder
    _weir_named: str
    _weir_direct: threading.local

    def _begin(self, store: Any, artifact_uri: str) -> None:
        self._weir_store, self._weir_recorder = store, store.recorder
        self._weir_named = artifact_uri
        self._weir_direct = threading.local()

    @property
    def _weir_uri(self) -> str:
        """Where the artifacts are, as far as is known by now."""
        return self._weir_real(self._weir_named)

    def _weir_real(self, uri: str) -> str:
        return str(self._weir_store.names.real(uri))

    # Writes

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Keep a copy of a file, to be uploaded by the agent."""
        upload: Callable[..., None] = super().log_artifact  # type: ignore[misc]
        if self._weir_is_direct():
            upload(local_file, artifact_path)
            return
        if isinstance(self, HttpArtifactRepository):
            verify_artifact_path(artifact_path)
        name = os.path.basename(local_file)
        sources = [(os.fspath(local_file), name)]
        self._weir_log(sources, artifact_path, name, lambda: upload(local_file, artifact_path))

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Keep copies of what is in a folder, to be uploaded by the agent."""
        upload: Callable[..., None] = super().log_artifacts  # type: ignore[misc]
        if self._weir_is_direct():
            upload(local_dir, artifact_path)
            return
        if isinstance(self, HttpArtifactRepository):
            verify_artifact_path(artifact_path)
        top = os.path.abspath(local_dir)
        sources = [
            (path, os.path.relpath(path, top))
            for folder, _, names in os.walk(top)
            for path in (os.path.join(folder, name) for name in names)
        ]
        if sources:
            self._weir_log(sources, artifact_path, "", lambda: upload(local_dir, artifact_path))

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete artifacts, those included that are on their way."""
        if self._weir_waiting():
            self._weir_recorder.deliver(_DELETE_WAIT_S)
        super().delete_artifacts(artifact_path)  # type: ignore[misc]

    def flush_async_logging(self) -> None:
        """Wait until what was logged is uploaded, for a minute at most."""
        super().flush_async_logging()  # type: ignore[misc]
        self._weir_recorder.deliver(_DELETE_WAIT_S)

    def _weir_is_direct(self) -> bool:
        return getattr(self._weir_direct, "is_on", False)

    def _weir_log(
        self,
        sources: list[tuple[str, str]],
        artifact_path: str | None,
        name: str,
        directly: Callable[[], None],
    ) -> None:
        size = sum(os.stat(path).st_size for path, _ in sources)

        def goes_directly() -> bool:
            # What is copied for seconds otherwise may wait to be told.
            glance_s = FIRST_WAIT_S if size > DIRECT_BYTES else GLANCE_S
            if not self._weir_answers(glance_s=glance_s):
                return False
            # What waits under these names comes first, and that may take any time.
            is_next = not self._weir_before(sources, artifact_path)
            return is_next and self._weir_upload(directly, size)

        if not (size > DIRECT_BYTES and goes_directly()):
            try:
                self._weir_spool(sources, artifact_path, name, size)
            except WeirError as exc:
                self._weir_say_full(exc)
                is_spooled = self._weir_replace(sources, artifact_path, name, size)
                if not is_spooled and not goes_directly():
                    self._weir_recorder.note_lost_files(len(sources), self._weir_run())
                    return
        self._weir_note(sources, artifact_path)

    def _weir_spool(
        self, sources: list[tuple[str, str]], artifact_path: str | None, name: str, size: int
    ) -> None:
        """Copy files and write their record.

        Raises:
            WeirError: The disk or the quota is full, or no folder can hold a journal.
        """
        recorder = self._weir_recorder
        folder, position = recorder.room_for(size)
        path, root = artifact_path or "", self._weir_uri
        upload = files.Upload(root, path, name, size, upload_environment())
        line = ProgressLine()
        try:
            waiting = files.add(folder, position, upload, _shown(sources, size, line))
        finally:
            line.end()
        uris = self._weir_uris(sources, artifact_path)
        _names.setdefault(recorder, SpooledNames()).note(Spooled(waiting, uris, size))
        recorder.append(
            records.encode_operation(
                "log_artifact",
                {
                    "run_id": _run_of(root),
                    "artifact_uri": root,
                    "artifact_path": path,
                    "name": name,
                    "size": size,
                },
            )
        )
        if recorder.left_bytes < DIRECT_BYTES:
            self._weir_answers(glance_s=0)  # for when there is no room

    def _weir_replace(
        self, sources: list[tuple[str, str]], artifact_path: str | None, name: str, size: int
    ) -> bool:
        """Spool files in place of what waits under their names, where that makes the room.

        Of a checkpoint that is logged again and again, the last one is wanted.
        """
        uris = self._weir_uris(sources, artifact_path)
        before = [one for one in self._weir_before(sources, artifact_path) if one.uris <= uris]
        freed = sum(one.size for one in before)
        if not before or self._weir_recorder.left_bytes + freed < size:
            return False
        for one in before:
            one.waiting.remove()
        self._weir_recorder.give_back(freed)
        try:
            self._weir_spool(sources, artifact_path, name, size)
        except WeirError:  # somebody else has taken the room
            return False
        return True

    def _weir_uris(
        self, sources: list[tuple[str, str]], artifact_path: str | None
    ) -> frozenset[str]:
        root = join_uri(self._weir_uri, artifact_path or "")
        return frozenset(join_uri(root, below) for _, below in sources)

    def _weir_before(
        self, sources: list[tuple[str, str]], artifact_path: str | None
    ) -> list[Spooled]:
        """Return what this process logged before under the same names and is not uploaded."""
        journal, names = self._weir_recorder.journal, _names.get(self._weir_recorder)
        if journal is None or names is None:
            return []
        uris = self._weir_uris(sources, artifact_path)
        return names.waiting(journal.folder / "files", uris, self._weir_real)

    def _weir_note(self, sources: list[tuple[str, str]], artifact_path: str | None) -> None:
        """Remember what is there of a run that this process began, for when the store is away."""
        known = self._weir_known()
        if known is not None:
            root = join_uri(self._weir_uri, artifact_path or "")
            for path, below in sources:
                with contextlib.suppress(OSError):
                    known[join_uri(root, below)] = os.stat(path).st_size

    def _weir_known(self) -> dict[str, int] | None:
        """Return the files logged below a root that this process began; None of any other."""
        uri = self._weir_uri
        for root in self._weir_recorder.own_roots:
            if is_within(uri, self._weir_real(root)):
                return _logged.setdefault(root, {})
        return None

    def _weir_run(self) -> str | None:
        """Return the run whose artifacts, or whose model's, these are; None where not known."""
        uri = self._weir_uri
        for root, run_id in list(self._weir_recorder.own_roots.items()):
            if is_within(uri, self._weir_real(root)):
                return run_id
        named = [part for part in uri.split("/") if _RUN_ID.fullmatch(part)]
        return _run_of(uri) or (named[-1] if named else None)

    def _weir_answers(self, patience_s: float = FIRST_WAIT_S, glance_s: float = GLANCE_S) -> bool:
        """Say whether the store answers; waits for ``glance_s`` where nothing is known yet."""
        by_kind = _presences.setdefault(self._weir_recorder, {})
        presence = by_kind.setdefault(type(self), Presence())
        journal = self._weir_recorder.journal
        if journal is not None:
            problem = files.read_problem(journal.folder / "files")
            if problem.error:
                since_s = time.time() - problem.at_ms / 1000
                presence.assume(answers=False, since_s=since_s)
        store = self._weir_store
        is_same = isinstance(self, HttpArtifactRepository) and isinstance(store, RestStore)
        if is_same and self._weir_store.has_answered():
            presence.assume(answers=True)
        lists: Callable[..., object] = super().list_artifacts  # type: ignore[misc]
        return presence.is_there(lists, patience_s, glance_s)

    def _weir_upload(self, upload: Callable[[], None], size: int) -> bool:
        """Upload through MLflow's repository while the store answers; say whether that went.

        Raises:
            MlflowException: The store refuses it.
        """

        def directly() -> None:
            self._weir_direct.is_on = True  # MLflow's log_artifacts may call log_artifact
            try:
                upload()
            finally:
                self._weir_direct.is_on = False

        patience_s = FIRST_WAIT_S if size < _LARGE_BYTES else _LARGE_PATIENCE_S
        line, began_s = ProgressLine(), time.monotonic()
        begun = Begun(directly)
        try:
            while not begun.wait(_LOOK_S):
                line.show(f"uploading {byte_count(size)}: {time.monotonic() - began_s:.0f} s")
                if not self._weir_answers(patience_s):
                    return False
            begun.result()
        except Exception as exc:
            if is_answer(exc):
                raise
            _log.debug("%s: %s", self._weir_uri, exc)
            return False
        finally:
            line.end()
        return True

    def _weir_say_full(self, reason: WeirError) -> None:
        global _has_warned
        if not _has_warned:
            _has_warned = True
            _log.warning(
                "No room to keep artifacts until they are uploaded (%s): they are uploaded at "
                "once, which the training waits for, and are lost while the store does not "
                "answer (`weir status` counts them)",
                reason,
            )

    # Reads

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """List a folder, with what is on its way to the store."""
        waiting = self._weir_waiting()  # before the store is asked: it may get there meanwhile
        lists: Callable[..., list[FileInfo]] = super().list_artifacts  # type: ignore[misc]
        found = {}
        try:
            found = {info.path: info for info in self._weir_ask(lists, path)}
        except Away as away:
            if (known := self._weir_known()) is None:
                raise away.as_mlflow_error() from away
            known = {self._weir_real(uri): size for uri, size in known.items()}
            found = _children(known, self._weir_uri, path)
        except MlflowException:
            if not waiting:
                raise
        sizes = {uri: file.lstat().st_size for uri, file in waiting.items() if file.exists()}
        found.update(_children(sizes, self._weir_uri, path))
        return sorted(found.values(), key=lambda info: info.path)

    def _is_directory(self, artifact_path: str) -> bool:
        return len(self.list_artifacts(artifact_path)) > 0

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        file = self._weir_waiting().get(join_uri(self._weir_uri, str(remote_file_path)))
        if file is not None:
            with contextlib.suppress(FileNotFoundError):  # uploaded at this moment
                shutil.copyfile(file, local_path)
                return
        super()._download_file(remote_file_path, local_path)  # type: ignore[misc]

    def _weir_waiting(self) -> dict[str, Any]:
        """Return the files that wait on this machine, by the URI they will have."""
        found = {}
        for folder in self._weir_recorder.folders():
            for waiting in files.list_waiting(folder.files):
                try:
                    upload = waiting.read()
                    if upload.name:
                        found[self._weir_real(upload.destination)] = waiting.data / upload.name
                        continue
                    folder_uri = self._weir_real(upload.destination)
                    for below in waiting.files():
                        found[join_uri(folder_uri, below)] = waiting.data / below
                except (JournalError, OSError):  # uploaded at this moment
                    continue
        return found

    def _weir_ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Ask the store: as MLflow does, but for so long only where it can be done without.

        Raises:
            Away: It does not answer.
        """
        if self._weir_known() is None:
            return call(*arguments)
        journal = self._weir_recorder.journal
        if journal is not None and files.read_problem(journal.folder / "files").error:
            raise Away("the agent cannot reach it")
        return _contact(self._weir_recorder).ask(FIRST_WAIT_S, call, *arguments)


class _Nowhere(ArtifactRepository):
    """Where ``weir-pending:`` artifacts go: to the root that the store gave their run."""

    _weir_store: Any

    def _there(self) -> ArtifactRepository:
        """Return the repository of the root that the store gave.

        Raises:
            Away: It has not yet.
        """
        uri = str(self._weir_store.names.settled(str(self.artifact_uri)))
        if uri.startswith(PENDING_ARTIFACTS):
            raise NotDelivered("the run is not delivered yet")
        return get_artifact_repository(uri, tracking_uri=self.tracking_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        self._there().log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        self._there().log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        found: list[FileInfo] = self._there().list_artifacts(path)
        return found

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._there()._download_file(remote_file_path, local_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        self._there().delete_artifacts(artifact_path)


class PendingRepository(_Spooled, _Nowhere):
    """Artifacts of what was begun while the store was away."""


def _shown(
    sources: list[tuple[str, str]], size: int, line: ProgressLine
) -> Iterator[tuple[str, str]]:
    """Give the files to copy, and say how far that is."""
    done = 0
    for path, below in sources:
        line.show(f"copying {byte_count(done)} of {byte_count(size)}")
        yield path, below
        with contextlib.suppress(OSError):
            done += os.stat(path).st_size


def _contact(recorder: Recorder) -> Contact:
    return _contacts.setdefault(recorder, Contact())


def _run_of(artifact_uri: str) -> str | None:
    """Return the run whose root a pending URI is, None for any other: models, experiments."""
    if not artifact_uri.startswith(PENDING_ARTIFACTS):
        return None
    owner = artifact_uri.removeprefix(PENDING_ARTIFACTS).partition("/")[0]
    return owner if _RUN_ID.fullmatch(owner) else None


def _children(sizes: dict[str, int], root: str, path: str | None) -> dict[str, FileInfo]:
    """Return what is directly in a folder, of files given by their URIs."""
    folder = join_uri(root, path or "")
    found: dict[str, FileInfo] = {}
    for uri, size in sizes.items():
        if not is_within(uri, folder) or uri == folder:
            continue
        child, _, below = uri[len(folder) :].lstrip("/").partition("/")
        name = posixpath.join(path, child) if path else child
        found[name] = FileInfo(name, bool(below), None if below else size)
    return found
