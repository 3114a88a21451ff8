"""Work on the database by the servers themselves, on a schedule.

    retention   WEIR_RETENTION: what ``weir db retain --apply`` is told
    archive     WEIR_ARCHIVE: what ``weir db archive`` is told
    indexes     those of PostgreSQL's large tables that are missing or were broken off; always

Each is the work of one process of all: whoever holds its lease (``store/leases.py``), which a
thread renews while the work goes on. When the holder dies another takes over after a term, and
goes on where it was: both do whole transactions. A holder that was stopped, and wakes up when
another has taken over, finds out in its next transaction that removes, or at its next step. At the
end of a round the lease rests until the next is due; after a failure that is sooner.

Each process that serves has a daemon thread for it, where there is work.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple

import sqlalchemy as sa

from mlflow_weir.errors import ConfigError, LeaseLost, StoreUnavailable, WeirError
from mlflow_weir.guard import never_raises
from mlflow_weir.settings import (
    ARCHIVE,
    COLD_STORE,
    MAINTENANCE_HOURS,
    RETENTION,
)
from mlflow_weir.store import leases
from mlflow_weir.store.delivery.connection import clock_ms, transaction
from mlflow_weir.store.maintenance import cold, retention
from mlflow_weir.store.maintenance.database import opened
from mlflow_weir.store.maintenance.retention import Outlived, Policy
from mlflow_weir.store.runs import indexes
from mlflow_weir.ui_extensions.housekeeping import turn_s

_log = logging.getLogger(__name__)

_LEASE_TURNS = 4
_RETRY_S = 900.0
_STOPPED_S = 60


class Hold:
    """A lease while its work goes on; the progress that the work tells of is where it may end."""

    def __init__(self, engine: sa.Engine, name: str, holder: str, lease_ms: int) -> None:
        """Take what ``leases.take_due`` has just given.

        Args:
            engine: Of the database, for a connection beside the work's own.
            name: What work it is for.
            holder: Whose it is.
            lease_ms: Its term.
        """
        self._engine, self._lease, self._lease_ms = engine, (name, holder), lease_ms
        self._ended = threading.Event()
        self._is_lost = False
        self._thread = threading.Thread(target=self._keep, name=f"weir-{name}-lease", daemon=True)

    def __enter__(self) -> Hold:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def start(self, what: str, total: int) -> None:
        """End the work where the lease is lost."""
        self.advance(0)

    def advance(self, n: int) -> None:
        """End the work where the lease is lost."""
        if self._is_lost:
            raise self._lost()

    def begin(self, connection: sa.Connection) -> None:
        """Renew the lease in a transaction, whose work is done while nobody else can take it.

        Raises:
            LeaseLost: Another process has it.
        """
        if connection.dialect.name == "postgresql":
            # Should this process be stopped in the middle, others get its locks.
            limit = "idle_in_transaction_session_timeout"
            connection.execute(sa.select(sa.func.set_config(limit, f"{_STOPPED_S}s", True)))
        if not leases.renew(connection, *self._lease, clock_ms(connection), self._lease_ms):
            raise self._lost()

    def _keep(self) -> None:
        while not self._ended.wait(self._lease_ms / 1000 / _LEASE_TURNS):
            try:
                with transaction(self._engine) as connection:
                    self.begin(connection)
            except StoreUnavailable:
                continue  # or the work's own transaction has just renewed it
            except LeaseLost:
                self._is_lost = True
                return

    def _lost(self) -> LeaseLost:
        return LeaseLost(f"another process has taken over: {self._lease[0]}")


class _Work(NamedTuple):
    """What is done now and then.

    Attributes:
        name: Of its lease.
        do: Does it.
        dialect: Of the databases that it is done on; empty for all.
    """

    name: str
    do: Callable[[sa.Engine, Hold], None]
    dialect: str = ""


class Maintainer:
    """The thread of one process."""

    def __init__(self) -> None:
        self._holder = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread where there is none."""
        works = _works()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, args=[works], name="weir-maintenance", daemon=True
                )
                self._thread.start()

    def _run(self, works: Sequence[_Work]) -> None:
        while True:
            for work in works:
                self._turn(work)
            time.sleep(turn_s())

    @never_raises(None)
    def _turn(self, work: _Work) -> None:
        from mlflow_weir.ui_extensions import deliveries

        engine = deliveries.engine_if_any()
        if engine is None or work.dialect not in ("", engine.dialect.name):
            return
        lease_ms = round(1000 * turn_s() * _LEASE_TURNS)
        try:
            with transaction(engine) as connection:
                now_ms = clock_ms(connection)
                if not leases.take_due(connection, work.name, self._holder, now_ms, lease_ms):
                    return
            with Hold(engine, work.name, self._holder, lease_ms) as hold:
                pause_s = _do(work, engine.url, hold)
            with transaction(engine) as connection:
                pause_ms = round(1000 * pause_s)
                leases.rest(connection, work.name, self._holder, clock_ms(connection), pause_ms)
        except (StoreUnavailable, LeaseLost) as exc:
            _log.debug("%s is put off: %s", work.name, exc)


def _do(work: _Work, database: sa.URL, hold: Hold) -> float:
    """Do a piece of work; return the seconds until it is due again.

    Raises:
        LeaseLost: Another process does it by now.
    """
    pause_s = 3600 * MAINTENANCE_HOURS.get()
    try:
        # As the commands do, with connections of its own: deliveries are not to wait for these.
        with opened(database.render_as_string(hide_password=False)) as engine:
            work.do(engine, hold)
    except LeaseLost:
        raise
    except WeirError as exc:
        pause_s = min(pause_s, _RETRY_S)
        _log.warning("%s failed, and is tried again in %.0f s: %s", work.name, pause_s, exc)
    return pause_s


def _works() -> list[_Work]:
    """Return what the settings ask for.

    Raises:
        ConfigError: One of them cannot work.
    """
    works = [_Work("indexes", _index, "postgresql")]  # on others, who opens the store makes them
    if RETENTION.get():
        works.append(_Work("retention", _retain))
    archive = ARCHIVE.get()
    if archive is not None:
        if not (archive.address or COLD_STORE.get()):
            raise ConfigError(
                "WEIR_ARCHIVE does not say where chunks are to go",
                hint="add --to, or set WEIR_COLD_STORE",
            )
        works.append(_Work("archive", _archive))
    return works


def _index(engine: sa.Engine, hold: Hold) -> None:
    try:
        for name in indexes.create_missing(engine):
            _log.warning("created index %s", name)
    except sa.exc.ProgrammingError as exc:  # by a user who may not; nothing but time is lost
        _log.warning("indexes are left to `weir db upgrade`: %s", exc.orig)


def _retain(engine: sa.Engine, hold: Hold) -> None:
    for words in RETENTION.get():
        statuses = words.statuses or retention.ENDED
        policy = Policy(words.older_than_ms, statuses, words.tags, words.experiments)
        try:
            report = retention.retain(
                engine,
                policy,
                hold,
                who=f"{platform.node()} (WEIR_RETENTION)",
                dry_run=False,
                mark_only=words.mark_only,
                with_models=words.with_models,
                begun=hold.begin,
                told=_tell,
            )
        except ConfigError as exc:  # an experiment that is not there; other policies go on
            _log.warning("retention, %s: %s", words.text, exc)
            continue
        if report.gone:
            n_gone, n_kept = len(report.gone), len(report.kept)
            _log.warning("retention, %s: %d runs gone, %d kept", words.text, n_gone, n_kept)


def _tell(gone: Sequence[Outlived]) -> None:
    for run in gone:
        _log.warning(
            "run %s of experiment %s: marked as deleted by retention (%d points, %d bytes)",
            *(run.run_id, run.experiment_id, run.n_points, run.size_bytes),
        )


def _archive(engine: sa.Engine, hold: Hold) -> None:
    words = ARCHIVE.get()
    if words is None:
        return
    place = words.address or COLD_STORE.get()
    report = cold.archive(engine, place, hold, older_than_ms=words.older_than_ms)
    for note in report.notes:
        _log.warning("archive: %s", note)
    if report.n_chunks or report.n_returned or report.n_removed:
        _log.warning(
            "archive: %d points of %d runs moved to %d objects at %s; "
            "%d chunks came back, %d objects taken away",
            *(report.n_points, report.n_runs, report.n_objects, place),
            *(report.n_returned, report.n_removed),
        )


_maintainer = Maintainer()


def start() -> None:
    """Start this process's thread."""
    _maintainer.start()


def _replace() -> None:
    """Begin anew in a forked child, which has the parent's state without its thread."""
    global _maintainer
    _maintainer = Maintainer()


os.register_at_fork(after_in_child=_replace)
