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
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError, StoreUnavailable
from mlflow_weir.filesystems import NETWORK_FILE_SYSTEMS, file_system_of

T = TypeVar("T")

_log = logging.getLogger(__name__)
_LOCK_NUMBER = 0x77656972  # "weir" in ASCII: PostgreSQL's advisory locks are numbers
_LOCK_WAIT_SECONDS = 300.0
_COLD_LOCK_WAIT_SECONDS = 5.0
_CACHE_KIB = 65_536
_LOG_BYTES = 16 << 20


def require_file(db_uri: str) -> None:
    """Refuse a SQLite URI that names what MLflow would try to open for minutes.

    Raises:
        ConfigError: It names a folder, or a file that this user may not read.
    """
    url = sa.make_url(db_uri)
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    try:
        is_folder = stat.S_ISDIR(os.stat(url.database).st_mode)
    except PermissionError:  # of a folder above it
        is_folder, is_readable = False, False
    except (OSError, ValueError):
        return  # not there yet, or no path at all: SQLite says what it makes of it
    else:
        # Not by opening it: to close it again would give up the locks that SQLite has on it.
        is_readable = os.access(url.database, os.R_OK)
    if is_folder:
        raise ConfigError(f"{url.database}: a folder, not a file", hint="check the path")
    if not is_readable:
        raise ConfigError(
            f"{url.database}: permission denied",
            hint="check the path in the URI, and who may read the file",
        )


def require_folder(db_uri: str) -> None:
    """Refuse a SQLite URI of a file to be made where this user cannot, which MLflow tries as long.

    Raises:
        ConfigError: It is one.
    """
    url = sa.make_url(db_uri)
    if url.get_backend_name() != "sqlite" or not url.database or os.path.exists(url.database):
        return
    folder = os.path.dirname(url.database)
    if os.path.isdir(folder) and not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{url.database}: cannot be made, nothing can be written in its folder",
            hint="name one in a folder that you can write; for weir:, WEIR_HOME names it",
        )


def prepare_no_statements(engine: sa.Engine) -> None:
    """Keep psycopg from preparing statements on PostgreSQL's side; other drivers are left alone.

    A statement is prepared in one session, and PgBouncer's transaction mode gives each transaction
    whatever session is free: "prepared statement _pg3_0 does not exist", or already does.
    """
    if engine.dialect.driver != "psycopg":
        return

    def prepare_none(connection: Any, record: object) -> None:
        connection.prepare_threshold = None

    sa.event.listen(engine, "connect", prepare_none)
    engine.dispose()  # the pool may hold a connection from before


def compile_nothing(session: Session) -> None:
    """Keep PostgreSQL from compiling this transaction's statements; other databases have no such.

    What it reckons to be dear, and the 500 runs of a page among a million are, it compiles first:
    60 to 150 ms a statement, for rows that take 10.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.text("SET LOCAL jit = off"))


def prepare_missing_tables(
    engine: sa.Engine, as_error: Callable[[StoreUnavailable], Exception]
) -> None:
    """Say in words that tables of ours are gone, instead of the statement that looked for them.

    Args:
        engine: Of a store that has found them when it was opened.
        as_error: What callers know for one of our errors.
    """

    @sa.event.listens_for(engine, "handle_error")
    def say(context: sa.ExceptionContext) -> None:
        asked = context.execution_context
        if asked is not None and asked.execution_options.get("skip_user_error_events"):
            return  # SQLAlchemy itself, which finds out on MySQL whether a table is there
        if _lacks_our_table(context.original_exception):
            gone = StoreUnavailable(
                "the weir tables are gone from this database: somebody has run `weir db eject` "
                "since it was opened here",
                hint="`weir db upgrade URI` makes them again; before an eject, stop what writes",
            )
            raise as_error(gone) from context.sqlalchemy_exception


def _lacks_our_table(error: BaseException) -> bool:
    code = error.args[0] if error.args else None
    text = str(error)
    return (
        text.startswith("no such table: weir_")
        or (getattr(error, "sqlstate", None) == "42P01" and 'relation "weir_' in text)
        or (code == 1146 and ".weir_" in text)
    )


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
    if file_system_of(Path(database).parent) in NETWORK_FILE_SYSTEMS:
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
    except sa.exc.DatabaseError as exc:
        raise ConfigError(f"{database}: {exc.orig}", hint="check the path in the URI") from exc


def _set_cache(connection: sqlite3.Connection, record: object) -> None:
    # Of SQLite's own 2 MB, a page of runs deep in 100,000 drops and reads again most of what it
    # looks up: 376 ms instead of 282. Taken as it is needed, not at once.
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    limit_log(connection)


def limit_log(connection: sqlite3.Connection) -> None:
    """Have SQLite cut its write-ahead log when that begins anew.

    A long read keeps it from beginning anew, and it would stay as large as it became then.
    """
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")


@contextlib.contextmanager
def schema_lock(engine: sa.Engine) -> Iterator[None]:
    """Let one process at a time create or migrate tables.

    On PostgreSQL the lock belongs to a transaction, which a connection pooler keeps in one
    place, and who waits for it holds no connection meanwhile: of a pool of twenty, twenty workers
    that start together would leave none for the one that has the lock. On SQLite it is a file
    lock, gone with the process that holds it.

    Raises:
        StoreUnavailable: Another process held it for five minutes.
    """
    taken = StoreUnavailable(
        f"another process holds the schema lock since {_LOCK_WAIT_SECONDS:.0f} s",
        hint="it is migrating this database, or was stopped in the middle: look for it",
    )
    with _lock(engine, "schema", _LOCK_NUMBER, _LOCK_WAIT_SECONDS, taken):
        yield


@contextlib.contextmanager
def cold_lock(engine: sa.Engine) -> Iterator[None]:
    """Let one process at a time move chunks out of the database and back; as ``schema_lock``.

    Raises:
        StoreUnavailable: Another process holds it.
    """
    taken = StoreUnavailable(
        "another process moves chunks of this database at the moment",
        hint="wait for that `weir db archive` to end",
    )
    with _lock(engine, "cold", _LOCK_NUMBER + 1, _COLD_LOCK_WAIT_SECONDS, taken):
        yield


@contextlib.contextmanager
def _lock(
    engine: sa.Engine, name: str, number: int, wait_s: float, taken: StoreUnavailable
) -> Iterator[None]:
    dialect = engine.dialect.name
    if dialect == "postgresql":
        with _postgres_lock(engine, number, wait_s, taken):
            yield
    elif dialect in {"mysql", "mariadb"}:
        # The server has one space of names for the locks of all its databases.
        named = f"weir_{name}_{_digest(engine.url.database or '')}"
        with engine.connect() as connection:
            lock = sa.func.get_lock(named, wait_s)
            if connection.execute(sa.select(lock)).scalar() != 1:
                raise taken
            try:
                yield
            finally:
                connection.execute(sa.select(sa.func.release_lock(named)))
    else:
        # One name for one file, however its path is written.
        with _file_lock(name, os.path.realpath(engine.url.database or ""), wait_s, taken):
            yield


@contextlib.contextmanager
def _postgres_lock(
    engine: sa.Engine, number: int, wait_s: float, taken: StoreUnavailable
) -> Iterator[None]:
    give_up = time.monotonic() + wait_s
    is_taken = sa.select(sa.func.pg_try_advisory_xact_lock(number))
    # The connection does nothing while another one migrates, and is to keep the lock.
    patience = sa.select(sa.func.set_config("idle_in_transaction_session_timeout", "0", True))
    while True:
        with engine.connect() as connection, connection.begin():
            if connection.execute(is_taken).scalar_one():
                connection.execute(patience)
                yield
                return
        if time.monotonic() > give_up:
            raise taken
        time.sleep(random.uniform(0.05, 0.2))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _file_lock(name: str, database: str, wait_s: float, taken: StoreUnavailable) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: SQLite's own locks have to do
        yield
        return
    try:
        file_name = f"weir-{name}-{os.getuid()}-{_digest(database)}.lock"
        path = Path(tempfile.gettempdir()) / file_name
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:  # no temporary folder to write: SQLite's own locks have to do
        yield
        return
    try:
        give_up = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise taken from None
                time.sleep(0.02)
        yield
    finally:
        os.close(file)


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
