"""Uploads of files that wait beside journals, in a short-lived process of its own.

Artifact stores are reached through MLflow's own repositories, and traces go to its own tracking
store (``trace_uploads.py``), which take a second and 170 MB to import. So a child does it: it is
told which files, with the variables that the logging process had, and ends when it has had nothing
to do for a while. No secret is in its command line or environment; the variables come through its
pipe. It may be killed at any moment: files are removed once the store lists them with their size,
or has taken the trace, and an upload is repeated without harm.

    to the child      {"uri", "environment", "headers"}, then
                      {"paths": […], "aliases": {…}, "only_missing"} a batch
    from the child    {"done": [names], "failed": {name: reason}, "is_away", "reason"} a batch

Files of one journal go in the order of the calls. What the store refuses is told by `weir status`
and tried again now and then; it holds up nothing but what would go to the same place. Metrics wait
for no upload: this is a thread beside the one that delivers.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import posixpath
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mlflow_weir import settings
from mlflow_weir.errors import JournalError
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.plugin.agent.trace_uploads import NoSpans, TraceSender
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.files import Upload, Waiting, is_within, join_uri
from mlflow_weir.plugin.journal.spool import JournalFolder
from mlflow_weir.processes import is_readable

_log = logging.getLogger(__name__)

_IDLE_S = 10
_BATCH_FILES, _BATCH_BYTES = 64, 64 << 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
_URGED_PAUSE_S = 1.0
_CLOSE_S = 5.0
_POLL_S = 1.0
_LOOK_S = 0.1
_NICE = 5
_MAX_REFUSED = 3  # in one batch, before the rest is put off
_RETRIES = "1"  # MLflow's own: 7 by default, with pauses of minutes; here it is our turn


@dataclass
class _Queue:
    """What is known of one journal's files.

    Attributes:
        position: The journal is delivered up to here.
        next_s: Not before, on the monotonic clock: the store is away, or nothing may go yet.
        retry_s: The same for the files that it refused, which are in ``failed`` with the reason.
    """

    folder: JournalFolder
    position: int
    next_s: float = 0.0
    retry_s: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    failed: dict[str, str] = field(default_factory=dict)


class Uploads:
    """The files of the journals of one target."""

    def __init__(
        self, address: Address, when_done: Callable[[], None], *, only_missing: bool = False
    ) -> None:
        """Prepare; nothing is started.

        Args:
            address: Where the journals go.
            when_done: Called, from a thread, when a journal has no files left.
            only_missing: Leave alone what the store lists with the same size.
        """
        self._address, self._when_done = address, when_done
        self._only_missing = only_missing
        self._queues: dict[str, _Queue] = {}
        self._signal = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._child: _Child | None = None

    def look(self, folder: JournalFolder, position: int) -> bool:
        """See to a journal's files, delivered up to ``position``; True while some wait."""
        if not files.list_waiting(folder.files):
            return False
        with self._signal:
            queue = self._queues.setdefault(str(folder.path), _Queue(folder, -1))
            if position > queue.position:
                queue.position = position
                if not self.is_failing(folder):
                    queue.next_s = 0.0
                self._signal.notify()
            if self._thread is None and not self._is_stopping:
                self._thread = threading.Thread(target=self._run, name="weir-uploads", daemon=True)
                self._thread.start()
        return True

    def urge(self) -> None:
        """Let nobody wait for a long pause to end."""
        soon_s = time.monotonic() + _URGED_PAUSE_S
        with self._signal:
            for queue in self._queues.values():
                queue.next_s = min(queue.next_s, soon_s)
                queue.retry_s = min(queue.retry_s, soon_s)
            self._signal.notify()

    def is_failing(self, folder: JournalFolder) -> bool:
        """Say whether the last try to upload a journal's files failed."""
        with self._signal:
            queue = self._queues.get(str(folder.path))
            return queue is not None and queue.pause_s > _FIRST_PAUSE_S

    def close(self) -> None:
        """End the thread and the child; what was in hand is uploaded again another time."""
        with self._signal:
            self._is_stopping = True
            self._signal.notify()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        self.close_child()

    def close_child(self) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _run(self) -> None:
        while True:
            with self._signal:
                now = time.monotonic()
                moments = [queue.next_s for queue in self._queues.values()]
                if not self._is_stopping and min(moments, default=now + 2 * _IDLE_S) > now:
                    self._signal.wait(min(moments, default=now + 2 * _IDLE_S) - now)
                if self._is_stopping:
                    return
                now = time.monotonic()
                due = [queue for queue in self._queues.values() if queue.next_s <= now]
            if not moments:
                self.close_child()  # it has ended by itself
            for queue in due:
                self._try(queue)

    def _try(self, queue: _Queue) -> None:
        try:
            if self.step(queue):
                return
        except Exception as exc:  # noqa: BLE001 - one journal's fault must not stop the others
            queue.next_s = self._put_off(queue, str(exc) or type(exc).__name__)
            return
        with self._signal:
            if files.list_waiting(queue.folder.files):
                queue.next_s = max(queue.next_s, time.monotonic() + _POLL_S)
                return
            self._queues.pop(str(queue.folder.path), None)
        self._when_done()

    def step(self, queue: _Queue) -> bool:
        """Upload one batch; True when there may be more to do at once.

        Raises:
            JournalError: The journal's files cannot be read, or the child does not live.
        """
        batch, environment = self._batch(queue)
        if not batch:
            return False
        answer = self._ask(queue, batch, environment)
        done = set(answer["done"])
        for one in batch:
            if one.path.name in done:
                one.remove()
                queue.failed.pop(one.path.name, None)
        if answer["is_away"]:
            queue.next_s = self._put_off(queue, answer["reason"])
            return False
        if answer["failed"]:
            queue.failed.update(answer["failed"])
            queue.retry_s = self._put_off(queue, answer["reason"])
        elif not queue.failed:
            queue.pause_s = _FIRST_PAUSE_S
            files.note_problem(queue.folder.files, "")
        return True

    def _ask(
        self, queue: _Queue, batch: list[Waiting], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        known = {**_who(dict(self._address.headers)), **dict(self._address.environment)}
        headers = {k: v for k, v in self._address.headers if k != "Authorization"}  # in ``known``
        key = (self._address.uri, {**known, **environment}, headers)
        aliases = queue.folder.delivered().aliases
        job = {
            "paths": [str(one.path) for one in batch],
            "aliases": aliases,
            "only_missing": self._only_missing,
        }
        while True:
            is_warm = self._child is not None and self._child.is_for(*key)
            if not is_warm or self._child is None:
                self.close_child()
                self._child = _Child(*key)
            try:
                return self._child.ask(job, lambda: self._is_stopping)
            except _Ended:  # one that was idle may end at this very moment
                if not is_warm:
                    raise

    def _batch(self, queue: _Queue) -> tuple[list[Waiting], Mapping[str, str]]:
        """Return the next files to go together: in order, and with the same variables."""
        is_retry = queue.retry_s <= time.monotonic()
        waiting = files.list_waiting(queue.folder.files)
        names = {one.path.name for one in waiting}
        queue.failed = {name: why for name, why in queue.failed.items() if name in names}
        batch: list[Waiting] = []
        environment: Mapping[str, str] = {}
        blocked: list[str] = []
        total = 0
        for one in waiting:
            if one.position > queue.position or len(batch) == _BATCH_FILES:
                break
            try:
                upload = one.read()
            except JournalError as exc:
                if one.path.is_dir() and is_retry:  # else somebody else has uploaded it
                    queue.failed[one.path.name] = str(exc)
                    queue.retry_s = self._put_off(queue, str(exc))
                continue
            if (one.path.name in queue.failed and not is_retry) or _meets(upload, blocked):
                blocked.append(upload.destination)
                continue
            total += upload.size
            if batch and (upload.environment != environment or total > _BATCH_BYTES):
                break
            environment = upload.environment
            batch.append(one)
        return batch, environment

    def _put_off(self, queue: _Queue, reason: str) -> float:
        """Note why files are not uploaded; return when to try again, on the monotonic clock."""
        reason = self._address.redacted(reason)
        if files.read_problem(queue.folder.files).error != reason:
            name = queue.folder.path.name
            _log.warning("journal %s: uploads do not go on: %s", name, reason)
        files.note_problem(queue.folder.files, reason)
        at_s = time.monotonic() + queue.pause_s
        queue.pause_s = min(2 * queue.pause_s, _LONGEST_PAUSE_S)
        return at_s


def upload_now(
    address: Address, folder: JournalFolder, position: int, *, only_missing: bool = False
) -> str:
    """Upload all that waits beside a journal, in this thread.

    Args:
        address: Where the journal goes.
        folder: The journal.
        position: It is delivered up to here.
        only_missing: Leave alone what the store lists with the same size.

    Returns:
        Why it is not all uploaded; "" where it is.
    """
    uploads = Uploads(address, lambda: None, only_missing=only_missing)
    queue = _Queue(folder, position)
    try:
        while uploads.step(queue):
            pass
    finally:
        uploads.close_child()
    left = len(files.list_waiting(folder.files))
    if not left:
        return ""
    reason = files.read_problem(folder.files).error
    return f"artifacts of {left:,} calls wait{': ' if reason else ''}{reason}"


def _meets(upload: Upload, others: Iterable[str]) -> bool:
    """Say whether an upload could write what one to another of these URIs writes."""
    uri = upload.destination
    return any(is_within(uri, other) or is_within(other, uri) for other in others)


def _who(headers: Mapping[str, str]) -> dict[str, str]:
    """Return as MLflow's variables who a journal's requests are from.

    It may have been in the URI, of which the journal keeps no user and password.
    """
    kind, _, words = headers.get("Authorization", "").partition(" ")
    if kind == "Bearer":
        return {"MLFLOW_TRACKING_TOKEN": words}
    if kind != "Basic":
        return {}
    user, _, password = base64.b64decode(words).decode().partition(":")
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}


class _Ended(JournalError):
    """The child has ended."""


class _Child:
    """The process that uploads, with the variables of one training."""

    def __init__(
        self, uri: str, environment: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        self._key = (uri, environment, headers)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow_weir.plugin.agent.uploads"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # MLflow's warnings may name more than a log should
            text=True,
            cwd="/",
        )
        with contextlib.suppress(OSError):
            self._write({"uri": uri, "environment": dict(environment), "headers": dict(headers)})

    def is_for(self, uri: str, environment: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        """Say whether it lives and has these variables and headers."""
        return self._key == (uri, environment, headers) and self._process.poll() is None

    def ask(self, job: dict[str, Any], is_stopping: Callable[[], bool]) -> dict[str, Any]:
        """Hand over a batch and wait for what became of it.

        Raises:
            _Ended: The process has.
            JournalError: The agent ends.
        """
        try:
            self._write(job)
        except OSError as exc:
            raise self._ended() from exc
        assert self._process.stdout is not None
        while not is_readable(self._process.stdout, _LOOK_S):
            if is_stopping():
                raise JournalError("the agent ends")
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _ended(self) -> _Ended:
        status = self._process.wait()
        return _Ended(f"the process that uploads ended with status {status}")

    def _write(self, record: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(record) + "\n")
        self._process.stdin.flush()


def _serve(jobs: IO[str], answers: IO[str]) -> None:
    """Do what comes in until there is nothing for a while, or nobody left to ask."""
    os.nice(_NICE)
    place = json.loads(jobs.readline())
    settings.adopt_environment(
        {
            **place["environment"],
            "MLFLOW_TRACKING_URI": place["uri"],
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": _RETRIES,
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "WEIR_CLIENT": "off",
        }
    )
    if place["headers"]:
        mlflow_private.send_headers(place["headers"])
    uploader = _Uploader(place["uri"])
    while True:
        signal.alarm(_IDLE_S)  # which ends this process
        line = jobs.readline()
        signal.alarm(0)
        if not line:
            return
        job = json.loads(line)
        answers.write(json.dumps(uploader.upload(**job)) + "\n")
        answers.flush()


class _Uploader:
    """What runs in the child."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self._uri, self._client = uri, MlflowClient(uri)
        self._roots: dict[str, str] = {}
        self._repositories: dict[str, Any] = {}
        self._traces = TraceSender(uri)

    def upload(
        self, paths: list[str], aliases: dict[str, str], only_missing: bool
    ) -> dict[str, Any]:
        """Upload a batch, then look whether all of it is there."""
        failed: dict[str, str] = {}
        blocked: list[str] = []
        sent: dict[str, dict[tuple[str, str], int]] = {}
        traces: dict[str, tuple[Waiting, Upload]] = {}
        is_away = False
        for path in paths:
            one = Waiting.at(path)
            try:
                upload = one.read()
            except JournalError as exc:
                if one.path.is_dir():  # else it is uploaded, or the process has replaced it
                    failed[one.path.name] = _reason(exc)
                continue
            if one.is_trace:
                traces[one.path.name] = one, upload
                continue
            if _meets(upload, blocked):
                continue
            try:
                sent[one.path.name] = self._send(one, upload, aliases, only_missing)
            except Exception as exc:  # noqa: BLE001 - told to whoever asked
                if not one.path.is_dir():
                    continue  # uploaded by somebody else meanwhile, or replaced
                failed[one.path.name] = _reason(exc)
                blocked.append(upload.destination)
                is_away = _is_away(exc)
                if is_away or len(failed) >= _MAX_REFUSED:
                    break
        try:
            missing = self._missing(sent)
        except Exception as exc:  # noqa: BLE001
            return {"done": [], "failed": {}, "is_away": True, "reason": _reason(exc)}
        for name, path in missing.items():
            failed[name] = f"the artifact store does not have {path} as it was sent"
        done = [name for name in sent if name not in failed]
        arrived, errors = self._traces.send(traces, aliases, _is_away)
        done += arrived
        failed.update((name, _reason(exc)) for name, exc in errors.items())
        is_away |= any(map(_is_away, errors.values()))
        reason = next(reversed(failed.values()), "")
        return {"done": done, "failed": failed, "is_away": is_away, "reason": reason}

    def _send(
        self, one: Waiting, upload: Upload, aliases: dict[str, str], only_missing: bool
    ) -> dict[tuple[str, str], int]:
        """Upload the files of one call; return (root, path) of each with its size."""
        found = one.files()
        if sum(found.values()) != upload.size:
            raise JournalError("its files are not as they were logged: did the machine crash?")
        root = self._root(upload.artifact_uri, aliases)
        repository = self._repository(root)
        folder = upload.artifact_path or None
        sizes = {
            (root, posixpath.join(upload.artifact_path, name)): size
            for name, size in found.items()
        }
        if only_missing and not self._missing({one.path.name: sizes}):
            return sizes
        if upload.name:
            repository.log_artifact(str(one.data / upload.name), folder)
        else:
            repository.log_artifacts(str(one.data), folder)
        for name, size in found.items():
            if posixpath.basename(name) == _DESCRIPTION and size <= _MAX_DESCRIPTION_BYTES:
                text = (one.data / name).read_text("utf-8", "surrogateescape")
                real = self._with_real_names(text, aliases)
                if real != text:
                    path = posixpath.join(upload.artifact_path, name)
                    sizes[root, path] = _log_text(repository, real, path)
        return sizes

    def _with_real_names(self, text: str, aliases: dict[str, str]) -> str:
        """Put the store's names where a process wrote what it used before it knew them."""
        return _NAME.sub(
            lambda found: (
                self._root(found[0], aliases)
                if found[0].startswith(_PENDING)
                else aliases.get(found[0], found[0])
            ),
            text,
        )

    def _root(self, uri: str, aliases: dict[str, str]) -> str:
        """Return where the artifacts of a URI are, which may stand for a run's own root."""
        if not uri.startswith(_PENDING):
            # Below the id that its process chose, where the server has chosen another.
            return "/".join(aliases.get(part, part) for part in uri.split("/"))
        if uri not in self._roots:
            owner, _, rest = uri.removeprefix(_PENDING).partition("/")
            owner = aliases.get(owner, owner)
            if owner.startswith("m-"):
                root = self._client.get_logged_model(owner).artifact_location
            elif owner.isdigit() and len(owner) < _RUN_ID_LENGTH:  # of a trace's attachments
                root = self._client.get_experiment(owner).artifact_location
            else:
                root = self._client.get_run(owner).info.artifact_uri
            self._roots[uri] = join_uri(root, rest)
        return self._roots[uri]

    def _repository(self, root: str) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if root not in self._repositories:
            self._repositories[root] = get_artifact_repository(root, tracking_uri=self._uri)
        return self._repositories[root]

    def _missing(self, sent: dict[str, dict[tuple[str, str], int]]) -> dict[str, str]:
        """Return the uploads of which a file is not in the store as sent, with the file."""
        last = {where: size for sizes in sent.values() for where, size in sizes.items()}
        there: dict[tuple[str, str], int | None] = {}
        for root, folder in {(root, posixpath.dirname(path)) for root, path in last}:
            for info in self._repository(root).list_artifacts(folder or None):
                there[root, info.path] = info.file_size
        wrong = {
            where
            for where, size in last.items()
            if where not in there or there[where] not in (None, size)
        }
        return {
            name: next(path for root, path in sizes if (root, path) in wrong)
            for name, sizes in sent.items()
            if wrong & sizes.keys()
        }


_PENDING = "weir-pending:"
_RUN_ID_LENGTH = 32
_NAME = re.compile(rf"{_PENDING}[0-9A-Za-z-]+|(?:m-|pending-)?\b[0-9a-f]{{32}}\b")
_MAX_DESCRIPTION_BYTES = 1 << 20
_DESCRIPTION = "MLmodel"  # of a model: names its run, itself, and where it lies


def _log_text(repository: Any, text: str, path: str) -> int:
    """Write a file of an artifact store anew; return its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / posixpath.basename(path)
        file.write_text(text, "utf-8", "surrogateescape")
        repository.log_artifact(str(file), posixpath.dirname(path) or None)
        return file.stat().st_size


def _is_away(error: BaseException) -> bool:
    """Say whether an upload failed for what has nothing to do with the files."""
    from mlflow_weir.plugin.mlflow_private import is_worlds_fault

    if isinstance(error, NoSpans):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status >= 500 or status in {408, 429}
    if isinstance(error, (FileNotFoundError, PermissionError, JournalError)):
        return False
    return is_worlds_fault(error)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


if __name__ == "__main__":
    # What libraries print must not come between the answers.
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _serve(sys.stdin, said)
