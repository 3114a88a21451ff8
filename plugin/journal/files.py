"""The files of a journal that wait for an artifact store.

    JOURNAL/files/POSITION-NUMBER/   one call: the journal's end at its time, and a count
        entry.json                   where to, and the variables that the upload needs; 0600
        data/                        a file, or what is in a folder
    JOURNAL/files/POSITION-NUMBER-trace/    the same of a trace, for the tracking store
    JOURNAL/files/problem.json       why uploads do not go on

A folder has its name once it is whole, and loses it before anything in it is removed. The names
sort in the order of the calls. Everything before POSITION has to be delivered first: the run that
the files belong to is in it. The standard library alone; threads may share all of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.spool import read_object, replace_private, write_private

_TRACE = "-trace"
_NAME = re.compile(rf"(\d{{20}})-(\d{{8}})(?:{_TRACE})?")
_NEW, _GONE, _PROBLEM = ".new-", ".gone-", "problem.json"
_FICLONE = 0x40049409  # linux/fs.h
_MAX_REASON = 500
_numbers = itertools.count()


@dataclass(frozen=True)
class Upload:
    """What is to be done with the files of one call.

    Attributes:
        artifact_uri: Root of the repository that the call was made on.
        artifact_path: Folder below it, or "".
        name: Of the file; "" where it is what is in a folder.
        size: Of all its files, in bytes.
        environment: Variables that artifact stores are reached with.
    """

    artifact_uri: str
    artifact_path: str
    name: str
    size: int
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def destination(self) -> str:
        """The URI of the file, or of the folder that the files go into."""
        parts = [part.strip("/") for part in (self.artifact_path, self.name)]
        return join_uri(self.artifact_uri, "/".join(filter(None, parts)))


class Waiting(NamedTuple):
    """One call's files, as they lie in the folder; ``position`` is to be delivered first."""

    path: Path
    position: int

    @classmethod
    def at(cls, path: Path | str) -> Waiting:
        """Return the one at a path."""
        path = Path(path)
        return cls(path, int(path.name.partition("-")[0]))

    @property
    def is_trace(self) -> bool:
        """Say whether it is part of a trace."""
        return self.path.name.endswith(_TRACE)

    @property
    def data(self) -> Path:
        """The folder of the files."""
        return self.path / "data"

    def read(self) -> Upload:
        """Read what is to be done.

        Raises:
            JournalError: It cannot be read.
        """
        path = self.path / "entry.json"
        return upload_of(read_object(path, is_private=True) or {}, str(path))

    def files(self) -> dict[str, int]:
        """Return the size of each file in bytes, by its path below ``data``.

        Raises:
            OSError: It is gone.
        """
        found = {}
        for root, _, names in os.walk(self.data, onerror=_raise):
            for name in names:
                path = Path(root, name)
                found[path.relative_to(self.data).as_posix()] = path.lstat().st_size
        return found

    def size_bytes(self) -> int:
        """Return how large its files are together; 0 when it is gone."""
        try:
            return sum(self.files().values())
        except OSError:
            return 0

    def remove(self) -> None:
        """Remove it, delivered; it is out of sight at once."""
        gone = self.path.with_name(f"{_GONE}{self.path.name}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path, gone)
        shutil.rmtree(gone, ignore_errors=True)


def add(files: Path, position: int, upload: Upload, sources: Iterable[tuple[str, str]]) -> Waiting:
    """Keep copies of files; when this returns, their owner may do with them as he likes.

    Args:
        files: The journal's folder of files.
        position: The journal's end.
        upload: What is to be done with them.
        sources: Each file, and its path below ``data``.

    Raises:
        JournalError: The spool has no room for them, or cannot be written.
        OSError: One of the files cannot be opened.
    """
    with _entry(files, position, upload) as (data, waiting):
        for source, below in sources:
            with open(source, "rb") as original, _spool_errors(files):
                copy = data / below
                copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _copy(original.fileno(), copy)
    return waiting


def renew(waiting: Waiting, environment: Mapping[str, str]) -> None:
    """Give files that wait other variables to be uploaded with.

    Raises:
        JournalError: They are uploaded at this moment.
        OSError: So they are, or the disk is full.
    """
    upload = replace(waiting.read(), environment=environment)
    replace_private(waiting.path / "entry.json", asdict(upload))


def add_trace(files: Path, position: int, upload: Upload, text: bytes) -> Waiting:
    """Keep a part of a trace; when this returns, it outlives a killed process.

    Args:
        files: The journal's folder of files.
        position: The journal's end.
        upload: Where it belongs.
        text: Goes into the file ``upload.name``.

    Raises:
        JournalError: The spool has no room for it, or cannot be written.
    """
    with _entry(files, position, upload, _TRACE) as (data, waiting), _spool_errors(files):
        with open(data / upload.name, "xb", opener=_open_private) as file:
            file.write(text)
    return waiting


@contextlib.contextmanager
def _entry(
    files: Path, position: int, upload: Upload, suffix: str = ""
) -> Iterator[tuple[Path, Waiting]]:
    """Make a folder, which gets its name when all is in it."""
    name = f"{position:020}-{next(_numbers):08}{suffix}"
    new, path = files / f"{_NEW}{name}", files / name
    try:
        with _spool_errors(files):
            (new / "data").mkdir(parents=True, mode=0o700)
        yield new / "data", Waiting(path, position)
        with _spool_errors(files):
            write_private(new / "entry.json", asdict(upload))
            os.rename(new, path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def upload_of(found: Mapping[str, Any], path: str) -> Upload:
    """Return what is to be done, as ``entry.json`` says it.

    Args:
        found: What is in the file.
        path: The file's, for a message.

    Raises:
        JournalError: It is not what this version writes.
    """
    try:
        upload = Upload(**found)
    except TypeError as exc:
        raise JournalError(f"{path}: {exc}") from exc
    texts = (upload.artifact_uri, upload.artifact_path, upload.name)
    is_text = all(isinstance(text, str) for text in texts)
    if not is_text or "/" in upload.name or not isinstance(upload.size, int):
        raise JournalError(f"{path}: not what this version writes")
    return upload


def is_waiting(name: str) -> bool:
    """Say whether a name in the folder of files is one of a call's."""
    return _NAME.fullmatch(name) is not None


def list_waiting(files: Path) -> list[Waiting]:
    """Return what waits, in the order of the calls; links and others' folders are left out."""
    found = []
    with contextlib.suppress(OSError), os.scandir(files) as entries:
        for entry in entries:
            name = _NAME.fullmatch(entry.name)
            if name and entry.is_dir(follow_symlinks=False):
                found.append(Waiting(Path(entry.path), int(name[1])))
    return sorted(found)


def sweep(files: Path) -> None:
    """Remove what a process that died in the middle of a removal left."""
    for path in files.glob(f"{_GONE}*"):
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class Problem:
    """Why uploads do not go on; ``error`` is "" while they do."""

    error: str = ""
    at_ms: int = 0


def read_problem(files: Path) -> Problem:
    """Return why the uploads of a journal do not go on."""
    try:
        found = read_object(files / _PROBLEM) or {}
    except JournalError:
        return Problem()
    error, at_ms = found.get("error"), found.get("at_ms")
    if not isinstance(error, str) or not isinstance(at_ms, int):
        return Problem()
    return Problem(error, at_ms)


def note_problem(files: Path, error: str) -> None:
    """Say why the uploads of a journal do not go on; "" takes it back."""
    if read_problem(files).error == error[:_MAX_REASON]:
        return
    with contextlib.suppress(OSError):  # a full disk, or the journal is gone
        if not error:
            (files / _PROBLEM).unlink(missing_ok=True)
            return
        new = files / f"{_PROBLEM}.new"
        at_ms = time.time_ns() // 1_000_000
        write_private(new, {"error": error[:_MAX_REASON], "at_ms": at_ms})
        os.replace(new, files / _PROBLEM)


def join_uri(root: str, path: str) -> str:
    """Return the URI of something below a root, which may be a bare ``scheme:``."""
    path = path.strip("/")
    if not path:
        return root.rstrip("/")
    return f"{root}{path}" if root.endswith(":") else f"{root.rstrip('/')}/{path}"


def is_within(uri: str, root: str) -> bool:
    """Say whether something is at a URI or below it."""
    root = root.rstrip("/")
    return uri == root or uri.startswith(root if root.endswith(":") else f"{root}/")


def _copy(original: int, path: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as copy:
        if stat.S_ISREG(os.fstat(original).st_mode):
            # Shared blocks where the file system can: no hard link, which would follow what the
            # user writes into the file afterwards.
            with contextlib.suppress(OSError):
                fcntl.ioctl(copy.fileno(), _FICLONE, original)
                return
        with os.fdopen(os.dup(original), "rb") as source:
            shutil.copyfileobj(source, copy, 1 << 20)


@contextlib.contextmanager
def _spool_errors(files: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise JournalError(f"{files}: {exc.strerror}") from exc


def _raise(error: OSError) -> None:
    raise error
