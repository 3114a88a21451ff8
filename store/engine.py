"""Engines and write transactions on the tracking database.

SQLite is put into write-ahead mode, so that readers never wait for a writer, where the file is on
a local file system: the mode needs shared memory, which network file systems do not give. Commits
are synced to disk (``synchronous=FULL``, SQLite's default): what a call logged survives a power
cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError, StoreUnavailable

T = TypeVar("T")

_log = logging.getLogger(__name__)
_NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p afs ceph glusterfs lustre gpfs beegfs fuse.sshfs fuse.s3fs "
    "fuse.gcsfuse fuse.glusterfs fuse.ceph virtiofs".split()
)
# "weir" in ASCII: PostgreSQL's advisory locks are numbers, MySQL's are names.
_LOCK_NUMBER = 0x77656972
_LOCK_NAME = "weir_schema"
_LOCK_WAIT_SECONDS = 300
_CACHE_KIB = 65_536


def file_system_of(path: Path) -> str:
    """Return the type of the file system that holds a path, such as ``ext4``; "" if unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    target = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        folder = fields[1].replace("\\040", " ")
        inside = target == folder or target.startswith(folder.rstrip("/") + "/")
        if inside and len(folder) >= len(best):
            best, kind = folder, fields[2]
    return kind


def prepare_sqlite(engine: sa.Engine) -> None:
    """Give SQLite a cache, and put the file into write-ahead mode where that is safe.

    Raises:
        ConfigError: The file is in that mode, and this user can write neither it nor its folder.
    """
    database = engine.url.database
    if not database or database == ":memory:" or database.startswith("file:"):
        return
    sa.event.listen(engine, "connect", _set_cache)
    engine.dispose()  # the pool may hold a connection from before
    if file_system_of(Path(database).parent) in _NETWORK_FILE_SYSTEMS:
        _log.warning(
            "%s is on a network file system: write-ahead logging stays off, and writers wait for "
            "readers. A database server (postgresql+weir://) serves several machines better",
            database,
        )
        return
    try:
        with engine.connect() as connection:
            if connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal":
                return
            # Locked by another process that starts at the same moment: it sets the mode as well.
            # Not ours to write: it is read in the mode it has.
            with contextlib.suppress(sa.exc.OperationalError):
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    except sa.exc.OperationalError as exc:
        if is_transient(exc):
            return
        raise ConfigError(
            f"{database}: {exc.orig}",
            hint="even to read, SQLite writes beside a file in write-ahead mode: allow this "
            "user to write the file and its folder, or open a copy",
        ) from exc


def _set_cache(connection: sqlite3.Connection, record: object) -> None:
    # Of SQLite's own 2 MB, a page of runs deep in 100,000 drops and reads again most of what it
    # looks up: 376 ms instead of 282. Taken as it is needed, not at once.
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


@contextlib.contextmanager
def schema_lock(engine: sa.Engine) -> Iterator[None]:
    """Let one process at a time create or migrate tables.

    On PostgreSQL the lock belongs to a transaction, which a connection pooler keeps in one
    place; on SQLite it is a file lock, gone with the process that holds it.

    Raises:
        StoreUnavailable: Another process held it for five minutes.
    """
    dialect = engine.dialect.name
    if dialect == "postgresql":
        with engine.connect() as connection, connection.begin():
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_NUMBER)))
            yield
    elif dialect in {"mysql", "mariadb"}:
        with engine.connect() as connection:
            lock = sa.func.get_lock(_LOCK_NAME, _LOCK_WAIT_SECONDS)
            if connection.execute(sa.select(lock)).scalar() != 1:
                raise StoreUnavailable(
                    f"the schema lock {_LOCK_NAME!r} stayed taken for {_LOCK_WAIT_SECONDS} s",
                    hint="another process is migrating this database",
                )
            try:
                yield
            finally:
                connection.execute(sa.select(sa.func.release_lock(_LOCK_NAME)))
    else:
        # One name for one file, however its path is written.
        with _file_lock(os.path.realpath(engine.url.database or "")):
            yield


@contextlib.contextmanager
def _file_lock(name: str) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: SQLite's own locks have to do
        yield
        return
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    try:
        path = Path(tempfile.gettempdir()) / f"weir-schema-{os.getuid()}-{digest}.lock"
        file = path.open("a")
    except OSError:  # no temporary folder: SQLite's own locks have to do
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_transient(error: BaseException | None) -> bool:
    """Say whether the same transaction may succeed when it is run again."""
    while error is not None:
        if isinstance(error, StoreUnavailable):
            return True
        if isinstance(error, sa.exc.DBAPIError):
            original = error.orig
            if getattr(original, "sqlstate", None) in {"40001", "40P01", "55P03"}:
                return True  # PostgreSQL: serialization, deadlock, lock not available
            code = original.args[0] if original is not None and original.args else None
            if code in {1205, 1213, 1020}:
                return True  # MySQL: lock wait, deadlock, record changed
            return "database is locked" in str(original) or "database table is locked" in str(
                original
            )
        error = error.__cause__
    return False


def retrying(transaction: Callable[[], T], deadline_s: float) -> T:
    """Run a transaction again while the database is locked, until the deadline.

    Args:
        transaction: Opens, commits or rolls back by itself; each run starts afresh.
        deadline_s: Seconds after which the last error is raised.
    """
    give_up = time.monotonic() + deadline_s
    pause_s = 0.005
    while True:
        try:
            return transaction()
        except Exception as exc:
            if not is_transient(exc) or time.monotonic() + pause_s > give_up:
                raise
        time.sleep(pause_s * random.uniform(0.5, 1.5))
        pause_s = min(2 * pause_s, 0.5)
