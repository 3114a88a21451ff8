"""The files of a journal that goes to another place than the one it was written for.

They may come from another machine, and anybody may have put them together. So they are copied
first, into a folder of this user's: regular files alone, without following a link on the way, no
more than the disk has room for, and to be uploaded nowhere but below the root that the new place
gives their run or model. The variables that lie beside them are not looked at. The copies go the
way of all uploads (``uploads.py``); where one is there with its size it is left alone, so that
nothing is sent twice when a journal is delivered again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.agent.relocation import aliases_elsewhere, is_below, pending_root
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.plugin.agent.uploads import upload_now
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.files import Upload, Waiting
from mlflow_weir.plugin.journal.owner import create_lock, release_lock
from mlflow_weir.plugin.journal.spool import Delivered, JournalFolder, Spool, write_private

_MAX_ENTRY_BYTES = 1 << 20
_MAX_TRACE_BYTES = 256 << 20
_MAX_FILES = 100_000
_BATCH_CALLS, _BATCH_BYTES = 64, 64 << 20
_SPARE_BYTES = 64 << 20  # of the disk
_END = (1 << 63) - 1
_CHUNK_BYTES = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Where a store keeps what belongs to a trace: the new one says it itself.
_PLACES_OF_TRACES = ("mlflow.artifactLocation", "mlflow.trace.spansLocation")


@dataclass
class Copied:
    """What became of a journal's files.

    Attributes:
        n_files: Calls whose files, or parts of traces, are in the new place.
        error: Why not all are; "" where they are.
    """

    n_files: int = 0
    error: str = ""


def upload_copies(
    address: Address,
    folder: JournalFolder,
    aliases: Mapping[str, str],
    spool: Spool,
    *,
    is_own: bool,
    progress: Callable[[int], None],
) -> Copied:
    """Upload what waits beside a journal to wherever its runs are in another place.

    Args:
        address: The place.
        folder: The journal, delivered there to its end.
        aliases: Ids of its process, and what they have become.
        spool: This user's own, where the copies are made.
        is_own: It is this user's own: what has arrived is removed.
        progress: Called with the number of calls whose files are there.

    Raises:
        JournalError: The folder cannot be read, or the process that uploads did not live.
    """
    copied = Copied()
    problems: dict[str, str] = {}
    with _folder_at(folder.path, "files") as source:
        names = [] if source is None else sorted(filter(files.is_waiting, os.listdir(source)))
        while names and source is not None:
            with _scratch(spool) as made:
                batch, names = _copy_batch(source, names, made, problems)
                staged = JournalFolder(made)
                staged.write_delivered(Delivered(aliases=aliases_elsewhere(aliases)))
                reason = upload_now(address, staged, _END, only_missing=True) if batch else ""
                left = {one.path.name for one in files.list_waiting(staged.files)}
            for name in batch:
                if name in left:
                    problems[name] = reason
                    continue
                copied.n_files += 1
                if is_own:
                    Waiting.at(folder.files / name).remove()
            progress(copied.n_files)
            if left and len(left) == len(batch):
                problems.update(dict.fromkeys(names, reason))
                break  # the store is away, or takes nothing
    if problems:
        last = next(iter(problems.values()))
        copied.error = f"the files of {len(problems):,} calls are not uploaded: {last}"
    return copied


@contextlib.contextmanager
def _scratch(spool: Spool) -> Iterator[Path]:
    """Make a folder; should this process be killed, the next agent removes it."""
    made = spool.new_path(f"sync-{secrets.token_hex(8)}")
    made.mkdir(mode=0o700)
    lock = create_lock(made)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        release_lock(lock)


def _copy_batch(
    source: int, names: list[str], made: Path, problems: dict[str, str]
) -> tuple[list[str], list[str]]:
    """Copy some calls' files; return their names, and those that are left."""
    batch: list[str] = []
    total = 0
    while names and len(batch) < _BATCH_CALLS and total < _BATCH_BYTES:
        name, *names = names
        new = made / "files" / f".new-{name}"
        try:
            total += _copy(source, name, new)
        except (JournalError, OSError, ValueError) as exc:
            problems[name] = str(exc)
            shutil.rmtree(new, ignore_errors=True)
            continue
        os.rename(new, made / "files" / name)
        batch.append(name)
    return batch, names


def _copy(source: int, name: str, new: Path) -> int:
    """Copy the files of a call; return how large they are."""
    (new / "data").mkdir(parents=True, mode=0o700)
    with _folder_at(source, name) as entry:
        if entry is None:
            raise JournalError(f"{name}: gone")
        found = json.loads(_read(entry, "entry.json", _MAX_ENTRY_BYTES))
        if not isinstance(found, dict):
            raise JournalError(f"{name}: not what this version writes")
        upload = files.upload_of(found, name)
        is_trace = name.endswith("-trace")
        if is_trace:
            size = _copy_trace(entry, upload, new)
            root = upload.artifact_uri
        else:
            size = _copy_data(entry, new / "data")
            if size != upload.size:
                raise JournalError(f"{name}: its files are not as they were logged")
            root = pending_root(upload.artifact_uri) or ""
    if not root:
        raise JournalError(f"{name}: of no run or logged model of the journal")
    for path in filter(None, (root, upload.artifact_path, upload.name)):
        if not is_below(path):
            raise JournalError(f"{name}: leads out of the run's folder")
    copy = Upload(root, upload.artifact_path, upload.name, size)
    write_private(new / "entry.json", asdict(copy))
    return size


def _copy_data(entry: int, data: Path) -> int:
    """Copy the regular files below ``data``; a link or anything else is an error."""
    size = n_files = 0
    for top, folders, names, here in os.fwalk("data", dir_fd=entry, onerror=_raise):
        below = data / os.path.relpath(top, "data")
        for folder in folders:
            if stat.S_ISLNK(os.lstat(folder, dir_fd=here).st_mode):
                raise JournalError(f"{folder}: a link")
            (below / folder).mkdir(mode=0o700)
        for name in names:
            n_files += 1
            if n_files > _MAX_FILES:
                raise JournalError(f"more than {_MAX_FILES:,} files in one call")
            size += _copy_file(here, name, below / name)
    return size


def _copy_file(folder: int, name: str, path: Path) -> int:
    with _opened(folder, name) as (original, size):
        room = os.statvfs(path.parent)
        if size + _SPARE_BYTES > room.f_bavail * room.f_frsize:
            raise JournalError(f"{name}: the disk has no room for a copy of its {size:,} bytes")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        left = size
        with os.fdopen(os.open(path, flags, 0o600), "wb") as copy:
            while left and (chunk := os.read(original, min(left, _CHUNK_BYTES))):
                copy.write(chunk)
                left -= len(chunk)
    return size - left


def _copy_trace(entry: int, upload: Upload, new: Path) -> int:
    """Copy a part of a trace, without what says where its first place kept things."""
    with _folder_at(entry, "data") as data:
        if data is None:
            raise JournalError("gone")
        if not is_below(upload.name) or not upload.name:
            raise JournalError("not what this version writes")
        text = _read(data, upload.name, _MAX_TRACE_BYTES)
    if len(text) != upload.size:
        raise JournalError("a trace is not as it was written")
    document = json.loads(text)
    info = document.get("info") if isinstance(document, dict) else None
    tags = info.get("tags") if isinstance(info, dict) else None
    if isinstance(tags, dict):
        for name in _PLACES_OF_TRACES:
            tags.pop(name, None)
    text = json.dumps(document).encode()
    (new / "data" / upload.name).write_bytes(text)
    return len(text)


def _read(folder: int, name: str, max_bytes: int) -> bytes:
    with _opened(folder, name) as (file, size):
        if size > max_bytes:
            raise JournalError(f"{name}: larger than {max_bytes >> 20} MiB")
        with os.fdopen(os.dup(file), "rb") as found:
            return found.read(size)


@contextlib.contextmanager
def _opened(folder: int, name: str) -> Iterator[tuple[int, int]]:
    """Open a regular file that is directly in a folder; give it and its size in bytes."""
    try:
        file = os.open(name, _FILE, dir_fd=folder)
    except OSError as exc:
        raise JournalError(f"{name}: not a file that can be read: {exc.strerror}") from exc
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise JournalError(f"{name}: not a regular file")
        yield file, found.st_size
    finally:
        os.close(file)


@contextlib.contextmanager
def _folder_at(parent: Path | int, name: str) -> Iterator[int | None]:
    """Open a folder that is directly in another, and no link; None where there is none."""
    try:
        if isinstance(parent, int):
            found = os.open(name, _FOLDER, dir_fd=parent)
        else:
            found = os.open(parent / name, _FOLDER)
    except FileNotFoundError:
        yield None
        return
    except OSError as exc:
        raise JournalError(f"{name}: not a folder: {exc.strerror}") from exc
    try:
        yield found
    finally:
        os.close(found)


def _raise(error: OSError) -> None:
    raise error
