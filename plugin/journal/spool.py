"""The folder that holds this user's journals until they are delivered, and what lies beside them.

    SPOOL/journals/JOURNAL_ID/
        header.json         which process writes it, and for which target; never changes
        owner.lock          held by the process that writes it
        credentials.json    what delivery needs and nobody else may read
        NNNN….seg           the records
        exit-code           how the process ended, by its own account (exit_code.py)
        delivered.json      how far they are delivered; a copy, the database holds the truth
        files/              artifacts that wait
        reserve             room for how its runs end, given back when the disk is full to the last

Everything is readable by its owner alone (0700, 0600). A spool is never another user's folder, nor
a link. A journal may come from another machine (``weir sync``): its files are read as untrusted
input, without following links, up to a size, and every field is checked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, JournalError
from mlflow_weir.filesystems import NETWORK_FILE_SYSTEMS, file_system_of
from mlflow_weir.plugin.journal.format import list_segments, segment_name
from mlflow_weir.plugin.journal.owner import is_owned
from mlflow_weir.plugin.journal.usage import Usage

_log = logging.getLogger(__name__)

FORMAT = 1
MAX_REJECTED = 100
_VAR_TMP = Path("/var/tmp")
_SHARED_MEMORY = Path("/dev/shm")
_MAX_FILE_BYTES = 16 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_ABANDONED_S = 60.0
_JOURNAL_ID = re.compile(r"[0-9a-f]{32}")
_LOCAL_ADVICE = "name a folder on a local disk that is yours, or unset WEIR_SPOOL"


class Target(NamedTuple):
    """Where the records go.

    Attributes:
        kind: ``sql`` or ``http``.
        uri: Without user, password and secrets of the query.
    """

    kind: str
    uri: str


@dataclass(frozen=True)
class Credentials:
    """What delivery needs beyond the header.

    Attributes:
        uri: The target's whole URI.
        environment: The variables that the owner's MLflow would use.
        headers: Those of the owner's requests to a server, the one that says who it is included.
    """

    uri: str
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "Credentials(...)"


@dataclass(frozen=True)
class Header:
    """Who writes a journal: a process, told apart by more than its number.

    Attributes:
        node: Label of the machine among several, as the owner gave it.
        boot_id: Of the kernel; "" where unknown, as is ``pid_start_ticks`` 0.
        program: Name of the script, without arguments.
        may_stop: Who may edit its runs may have it interrupted.
    """

    journal_id: str
    target: Target
    created_ms: int
    host: str
    node: str
    boot_id: str
    pid: int
    pid_start_ticks: int
    program: str
    may_stop: bool = True


@dataclass(frozen=True)
class Delivered:
    """How far a journal is delivered, written by whoever delivers.

    Attributes:
        position: Everything before it is applied.
        at_ms: When that was; 0 if it never was.
        n_dropped: Points that the process could not keep, as its records say.
        n_traces_dropped: Traces of which it could not keep a part.
        n_artifacts_dropped: Files that it could not keep.
        rejected: The last 100 records that the target refused, each ``{"what", "reason"}``.
        error: Why delivery does not go on, or "".
        aliases: Local names of experiments and runs, and their ids in the target.
        open_runs: Runs of this journal that have not ended, ``fluent`` or ``client``.
    """

    position: int = 0
    at_ms: int = 0
    n_records: int = 0
    n_points: int = 0
    n_rejected: int = 0
    n_dropped: int = 0
    n_traces_dropped: int = 0
    n_artifacts_dropped: int = 0
    rejected: list[dict[str, str]] = field(default_factory=list)
    error: str = ""
    error_at_ms: int = 0
    aliases: dict[str, str] = field(default_factory=dict)
    open_runs: dict[str, str] = field(default_factory=dict)

    def has_dropped(self) -> bool:
        """Say whether the process could not keep something."""
        return bool(self.n_dropped or self.n_traces_dropped or self.n_artifacts_dropped)


class JournalFolder:
    """One journal's folder, of this spool or from elsewhere."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def files(self) -> Path:
        """The folder of the artifacts that wait."""
        return self.path / "files"

    def header(self) -> Header:
        """Read who wrote it and for which target.

        Raises:
            JournalError: It is missing, unreadable, or not what this version writes.
        """
        path = self.path / "header.json"
        found = read_object(path)
        if found is None:
            raise JournalError(f"{path}: missing", hint="is this a journal's folder?")
        if found.get("format") != FORMAT:
            raise JournalError(
                f"{path}: format {found.get('format')!r}, this version reads {FORMAT}",
                hint="use the release that wrote it, or newer",
            )
        target = _get(found, "target", dict, path)
        header = Header(
            journal_id=_get(found, "journal_id", str, path),
            target=Target(_get(target, "kind", str, path), _get(target, "uri", str, path)),
            **{name: _get(found, name, str, path) for name in _HEADER_TEXTS},
            **{name: _get(found, name, int, path) for name in _HEADER_NUMBERS},
            may_stop=found.get("may_stop") is not False,
        )
        if header.target.kind not in {"sql", "http"}:
            raise JournalError(f"{path}: target kind {header.target.kind!r}")
        if not _JOURNAL_ID.fullmatch(header.journal_id):
            raise JournalError(f"{path}: journal_id {header.journal_id!r} is not 32 hex digits")
        return header

    def credentials(self) -> Credentials | None:
        """Read what delivery needs; None if the journal carries nothing.

        Raises:
            JournalError: It cannot be read, or others than its owner may read it.
        """
        path = self.path / "credentials.json"
        found = read_object(path, is_private=True)
        if found is None:
            return None
        environment = _texts(found, "environment", path)
        headers = _texts(found, "headers", path) if "headers" in found else {}
        return Credentials(_get(found, "uri", str, path), environment, headers)

    def credentials_ns(self) -> int:
        """Return when they were written, wall time in ns; 0 where there are none."""
        with contextlib.suppress(OSError):
            return os.stat(self.path / "credentials.json", follow_symlinks=False).st_mtime_ns
        return 0

    def delivered(self) -> Delivered:
        """Read how far it is delivered; zeros if nobody said yet.

        Raises:
            JournalError: It cannot be read.
        """
        path = self.path / "delivered.json"
        found = read_object(path)
        if found is None:
            return Delivered()
        for name in ("n_traces_dropped", "n_artifacts_dropped"):
            found.setdefault(name, 0)  # written by an older version
        rejected = _get(found, "rejected", list, path)
        for one in rejected:
            if not isinstance(one, dict) or not all(isinstance(v, str) for v in one.values()):
                raise JournalError(f"{path}: rejected holds {one!r}")
        return Delivered(
            rejected=rejected,
            error=_get(found, "error", str, path),
            aliases=_texts(found, "aliases", path),
            open_runs=_texts(found, "open_runs", path),
            **{name: _get(found, name, int, path) for name in _DELIVERED_NUMBERS},
        )

    def write_delivered(self, delivered: Delivered) -> None:
        """Replace what ``delivered`` returns, whole; not synced to disk.

        Where the disk is full it is overwritten in place, in the blocks that it has: who reads it
        at that moment finds damage, and what is true with the next look.

        Raises:
            JournalError: It cannot be written; what was there before still is.
        """
        record = asdict(delivered)
        record["rejected"] = delivered.rejected[-MAX_REJECTED:]
        path = self.path / "delivered.json"
        try:
            replace_private(path, record)
        except OSError as exc:
            if exc.errno in _FULL and _try_overwrite(path, record):
                return
            raise JournalError(f"{path}: {exc.strerror}") from exc

    def owner_is_gone(self) -> bool:
        """Say whether no process writes it any more; False for a journal of this process.

        Raises:
            JournalError: Its lock cannot be looked at.
        """
        try:
            return not is_owned(self.path)
        except OSError as exc:
            raise JournalError(f"{self.path}: {exc.strerror}") from exc

    def sync(self, position: int = 0) -> None:
        """Make everything from ``position`` on survive a power cut.

        Raises:
            JournalError: The disk says that it could not.
        """
        try:
            starts = list_segments(self.path)
            first = max((s for s in starts if s <= position), default=0)
            grown = [self.path / segment_name(start) for start in starts if start >= first]
            if position <= max(starts, default=0):  # the folder knows the last one since then
                grown += [self.path, self.path.parent]
            for path in grown:
                with contextlib.suppress(FileNotFoundError):  # delivered and removed meanwhile
                    _fsync(path)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise JournalError(f"{self.path}: {exc.strerror}") from exc

    def remove(self) -> None:
        """Remove it with all that it holds; it is out of sight at once.

        Raises:
            JournalError: It cannot be removed.
        """
        gone = self.path.with_name(f".gone-{self.path.name}")
        try:
            os.rename(self.path, gone)
            while gone.exists():
                with contextlib.suppress(FileNotFoundError):  # an upload removes its files too
                    shutil.rmtree(gone)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise JournalError(f"{self.path}: {exc.strerror}") from exc


_HEADER_TEXTS = ("host", "node", "boot_id", "program")
_HEADER_NUMBERS = ("created_ms", "pid", "pid_start_ticks")
_DELIVERED_NUMBERS = (
    "position",
    "at_ms",
    "n_records",
    "n_points",
    "n_rejected",
    "n_dropped",
    "n_traces_dropped",
    "n_artifacts_dropped",
    "error_at_ms",
)


class Spool:
    """A folder of journals. ``Spool(root)`` looks at nothing; ``Spool.open`` chooses and checks.

    Attributes:
        root: The folder.
        agent: Its part for the agent.
        usage: What ``usage_bytes`` says, for calls that may not wait for it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.agent = self.root / "agent"
        self._journals = self.root / "journals"
        self.usage = Usage(self.usage_bytes)

    @classmethod
    def open(
        cls,
        root: Path | None = None,
        *,
        file_system_of: Callable[[Path], str] = file_system_of,
    ) -> Spool:
        """Return a spool whose folders exist and are this user's alone.

        Args:
            root: The folder to use; WEIR_SPOOL, or else the first default that works, when None.
            file_system_of: Says on which kind of file system a path lies.

        Raises:
            ConfigError: The folder that was named, or every default, cannot be used.
        """
        if root is not None:
            return cls._prepare(root)
        named = settings.SPOOL.get()
        if named:
            root = Path(os.path.abspath(os.path.expanduser(named)))
            kind = file_system_of(root)
            if kind not in NETWORK_FILE_SYSTEMS:
                return cls._prepare(root)
            _warn_once(f"WEIR_SPOOL={named} is on a network file system ({kind})")
        return cls._open_default(file_system_of)

    @classmethod
    def open_any(cls) -> Spool:
        """Return the spool that ``open`` does, or a default one where that cannot be used.

        Raises:
            ConfigError: No folder of this machine can be used.
        """
        try:
            return cls.open()
        except ConfigError as exc:
            _warn_once(str(exc))
            return cls._open_default(file_system_of)

    @classmethod
    def _open_default(cls, file_system_of: Callable[[Path], str]) -> Spool:
        reasons = []
        for candidate in _default_roots():
            if file_system_of(candidate) in NETWORK_FILE_SYSTEMS:
                reasons.append(f"{candidate}: on a network file system")
                continue
            try:
                return cls._prepare(candidate)
            except ConfigError as exc:
                reasons.append(str(exc))
        raise ConfigError(f"no folder for the spool: {'; '.join(reasons)}", hint=_LOCAL_ADVICE)

    @classmethod
    def look(cls) -> Spool | None:
        """Return the spool that ``open`` would give if it is there already; make nothing."""
        named = settings.SPOOL.get()
        roots = [Path(os.path.abspath(os.path.expanduser(named)))] if named else []
        if not named or file_system_of(roots[0]) in NETWORK_FILE_SYSTEMS:
            roots = _default_roots()
        for root in roots:
            with contextlib.suppress(OSError):
                found = os.lstat(root)
                if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                    return cls(root)
        return None

    @classmethod
    def _prepare(cls, root: Path) -> Spool:
        spool = cls(root)
        with contextlib.suppress(OSError):  # told below, with the folder's name
            root.parent.mkdir(parents=True, exist_ok=True)
        for folder in (root, spool.agent, spool._journals):
            _ensure_private(folder, is_root=folder == root)
        return spool

    def journals(self) -> list[JournalFolder]:
        """Return this user's journals, in no order; links and others' folders are left out."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._journals):
                if _JOURNAL_ID.fullmatch(entry.name) and _is_own_folder(entry):
                    found.append(JournalFolder(Path(entry.path)))
        return found

    def new_path(self, journal_id: str) -> Path:
        """Return where a journal is put together, out of everybody's sight."""
        return self._journals / f".new-{journal_id}"

    def publish(self, folder: Path, journal_id: str) -> Path:
        """Give a folder at ``new_path``, complete, its place among the journals."""
        path = self.path_of(journal_id)
        os.rename(folder, path)
        return path

    def path_of(self, journal_id: str) -> Path:
        """Return where a journal is that is complete."""
        return self._journals / journal_id

    def sweep(self) -> None:
        """Remove what processes that died in the middle of a creation or removal left."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._journals):
                if not _is_own_folder(entry):
                    continue
                path = Path(entry.path)
                if entry.name.startswith(".gone-") or (
                    entry.name.startswith(".new-")
                    and time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S
                    and not is_owned(path)
                ):
                    shutil.rmtree(path, ignore_errors=True)

    def usage_bytes(self) -> int:
        """Return how much disk the journals and their artifacts take, in bytes."""
        return sum(_sizes(self._journals))


def _sizes(folder: Path | str) -> Iterator[int]:
    """Give the size of each file below, those gone meanwhile left out."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path)
            else:
                yield entry.stat(follow_symlinks=False).st_size


def _default_roots() -> list[Path]:
    state, user = settings.state_home(), os.geteuid()
    roots = [] if state is None else [state / "weir"]
    roots.append(_VAR_TMP / f"weir-{user}")
    with contextlib.suppress(FileNotFoundError):  # no usable temporary folder at all
        roots.append(Path(tempfile.gettempdir()) / f"weir-{user}")
    roots.append(_SHARED_MEMORY / f"weir-{user}")  # all else is read-only in some containers
    return roots


_warned: set[str] = set()


def _warn_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        _log.warning("%s: using a local folder instead", text)


def _ensure_private(folder: Path, *, is_root: bool) -> None:
    """Make a folder of mode 0700, or see to it that the one there is safe.

    A root that somebody named may be readable by others, what is inside is not; it must not be
    writable by them, who could exchange what is inside.

    Raises:
        ConfigError: It is a link, another user's or no folder, or it cannot be made or written.
    """
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = os.lstat(folder)
        if stat.S_ISLNK(found.st_mode):
            raise ConfigError(f"{folder}: a symbolic link", hint=_LOCAL_ADVICE)
        if not stat.S_ISDIR(found.st_mode):
            raise ConfigError(f"{folder}: not a folder", hint=_LOCAL_ADVICE)
        if found.st_uid != os.geteuid():
            raise ConfigError(f"{folder}: belongs to user {found.st_uid}", hint=_LOCAL_ADVICE)
        if is_root and found.st_mode & 0o022:
            raise ConfigError(f"{folder}: other users may write it", hint=f"chmod 700 {folder}")
        if not is_root and stat.S_IMODE(found.st_mode) != 0o700:
            os.chmod(folder, 0o700)
    except OSError as exc:
        raise ConfigError(f"{folder}: {exc.strerror}", hint=_LOCAL_ADVICE) from exc
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: not writable", hint=_LOCAL_ADVICE)


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _fsync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_private(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON object into a file of mode 0600, in place of what it held.

    Raises:
        OSError: It cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
        json.dump(record, file)


def replace_private(path: Path, record: Mapping[str, Any]) -> None:
    """Do the same, so that whoever reads finds the one or the other whole."""
    new = path.with_name(f"{path.name}.new")
    write_private(new, record)
    os.replace(new, path)


def _try_overwrite(path: Path, record: Mapping[str, Any]) -> bool:
    """Write a JSON object over a file without asking for more disk; say whether that went."""
    data = json.dumps(record).encode("ascii")
    try:
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(file)
        if len(data) > 512 * found.st_blocks:
            return False
        data = data.ljust(found.st_size)
        return os.pwrite(file, data, 0) == len(data)
    except OSError:
        return False
    finally:
        os.close(file)


def read_object(path: Path, *, is_private: bool = False) -> dict[str, Any] | None:
    """Read a JSON object; None if there is no such file.

    Raises:
        JournalError: It is no regular file, too large, no object, or readable by others.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise JournalError(f"{path}: not a regular file")
            if is_private and stat.S_IMODE(found.st_mode) & 0o077:
                raise JournalError(f"{path}: others may read it", hint=f"chmod 600 {path}")
            text = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise JournalError(f"{path}: {exc.strerror}") from exc
    if len(text) > _MAX_FILE_BYTES:
        raise JournalError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MiB")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise JournalError(f"{path}: not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise JournalError(f"{path}: not a JSON object")
    return value


def _get(record: Mapping[str, Any], name: str, kind: type, path: Path) -> Any:
    value = record.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise JournalError(f"{path}: {name} is {value!r}")
    return value


def _texts(record: Mapping[str, Any], name: str, path: Path) -> dict[str, str]:
    found: dict[str, Any] = _get(record, name, dict, path)
    for key, value in found.items():
        if not isinstance(value, str):
            raise JournalError(f"{path}: {name}[{key!r}] is not text")
    return found
