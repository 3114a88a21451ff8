"""The tracking stores of a training process: MLflow's calls, with a journal in front.

``docs/journal.md`` tells the whole way of a record.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from mlflow.entities import Run
from mlflow.utils.uri import resolve_uri_if_local

from mlflow_weir import settings
from mlflow_weir.plugin import exits, mlflow_lookups, mlflow_private
from mlflow_weir.plugin.contact import FIRST_WAIT_S, IS_BOUNDED, IS_SETTLED, Away
from mlflow_weir.plugin.journal.spool import Credentials, Target
from mlflow_weir.plugin.journaled_calls import JournaledCalls
from mlflow_weir.plugin.journaled_reads import SETTLE_WAIT_S
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.plugin.uri import without_secrets
from mlflow_weir.store.tracking_store import WeirStore, WorkspaceAwareWeirStore

_FILE_WAIT_S = 2.0
_CREATE_WAIT_S = 20.0
_LOCK_WAIT_S = 0.05
_PROBE_S = 5
# What database drivers read beside a URI.
_DATABASE_ENVIRONMENT = frozenset(
    "PGUSER PGPASSWORD PGPASSFILE PGHOST PGPORT PGDATABASE PGSERVICE PGSERVICEFILE PGSSLMODE "
    "PGSSLCERT PGSSLKEY PGSSLROOTCERT MLFLOW_MYSQL_SSL_CA MLFLOW_MYSQL_SSL_CERT "
    "MLFLOW_MYSQL_SSL_KEY".split()
)


_stores: weakref.WeakSet[_LazySql] = weakref.WeakSet()


def _start_afresh() -> None:
    for store in _stores:
        store._free_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


class _LazySql(JournaledCalls):
    """Opens the database on the first call that needs it; comes before an SQL store."""

    def __init__(
        self,
        db_uri: str,
        default_artifact_root: str,
        read_db_uri: str | None = None,
        *,
        recorder: Recorder,
    ) -> None:
        """Take note of where the database is.

        Args:
            db_uri: SQLAlchemy URI without ``weir`` in it.
            default_artifact_root: Where runs of new experiments keep their artifacts.
            read_db_uri: Read replica for reads, as in MLflow.
            recorder: This process's journal for that database.
        """
        self._begin_journaling(recorder)
        _stores.add(self)
        # As from here: whoever begins a run later may have changed the folder, or removed it.
        self._arguments = (db_uri, resolve_uri_if_local(default_artifact_root), read_db_uri)
        self._opening = threading.RLock()
        self._opener: int | None = None  # the thread that opens; None before and after
        self._is_open = False
        self._is_file = sa.make_url(db_uri).get_backend_name() == "sqlite"
        if self._is_file:
            # No network between, and its readers wait for nobody.
            self._log_wait_s = _FILE_WAIT_S

    def _free_locks(self) -> None:
        """In a forked child, let go of what another thread of the parent held."""
        self._opening, self._opener = threading.RLock(), None
        self._lock = threading.RLock()

    @property
    def _first_wait_s(self) -> float:  # type: ignore[override]
        # To create a file's tables takes as long as it takes.
        return FIRST_WAIT_S if self._is_open or not self._is_file else _CREATE_WAIT_S

    def _found(self, run_id: str) -> Run:
        """Return a run for a log call, which may wait for a database but for no silence of it."""
        db_uri = self._arguments[0]
        if self._is_file:
            refuse_locked(db_uri)
            return self._glance(self._first_wait_s, run_id)
        if self._is_open:
            return super()._found(run_id)
        sa.create_engine(db_uri).dispose()  # imports its driver
        self._contact.glance(self._log_wait_s, _probe, db_uri)
        return self._glance(self._first_wait_s, run_id)

    def _place(self) -> dict[str, str]:
        place = {"artifact_root": self._arguments[1]}
        workspace = mlflow_private.active_workspace()
        return place if workspace is None else {**place, "workspace": workspace}

    def __getattr__(self, name: str) -> Any:
        # What SqlAlchemyStore.__init__ would have set, on the first look at any of it.
        known = self.__dict__
        if (
            name.startswith("__")
            or known.get("_is_open", True)
            or known["_opener"] == threading.get_ident()  # __init__ looks for it
        ):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._open()
        return getattr(self, name)

    def _open(self) -> None:
        with self._opening:
            if self._is_open:
                return
            self._opener = threading.get_ident()
            try:
                db_uri, artifact_root, read_db_uri = self._arguments
                _probe(db_uri)
                super().__init__(db_uri, artifact_root, read_db_uri=read_db_uri)  # type: ignore[call-arg]
                self._is_open = True
            finally:
                self._opener = None

    @property
    def ManagedSessionMaker(self) -> Callable[..., Any]:
        """MLflow's sessions; what this machine wrote before is in the store first."""
        sessions: Callable[..., Any] = self._session_maker
        if not IS_SETTLED.get():
            self.recorder.settle(SETTLE_WAIT_S)
        return sessions

    @ManagedSessionMaker.setter
    def ManagedSessionMaker(self, sessions: Callable[..., Any]) -> None:
        self._session_maker = sessions

    def _hard_delete_run(self, run_id: str) -> None:
        super()._hard_delete_run(run_id)  # type: ignore[misc]
        self._views.pop(run_id, None)

    def _hard_delete_experiment(self, experiment_id: str) -> None:
        super()._hard_delete_experiment(experiment_id)  # type: ignore[misc]
        self._forget_experiment(experiment_id)


def _named(stock: type) -> Any:
    """Return what comes before a store that journals nothing: its calls, by names of ours, too."""

    def method(name: str) -> Any:
        @functools.wraps(getattr(stock, name))
        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            settled = self.names.settled_all
            answer = getattr(super(made, self), name)(*settled(arguments), **settled(options))
            if not IS_BOUNDED.get():
                self._contact.try_again()
            return answer

        return call

    public = (name for name, _ in inspect.getmembers(stock, inspect.isfunction) if name[0] != "_")
    made = type(f"Named{stock.__name__}", (), {name: method(name) for name in public})
    return made


class JournaledWeirStore(_LazySql, _named(WeirStore), WeirStore):  # type: ignore[misc]
    """``WeirStore`` in a training process."""


class _ByWorkspace:
    """An attribute with a dictionary for each workspace: nothing is seen from another."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"{name} by workspace"

    def __get__(self, store: Any, owner: type) -> dict[str, Any]:
        found: dict[str | None, dict[str, Any]] = store.__dict__[self._name]
        return found.setdefault(mlflow_private.active_workspace(), {})

    def __set__(self, store: Any, found: dict[str, Any]) -> None:
        store.__dict__[self._name] = {mlflow_private.active_workspace(): found}


class WorkspaceAwareJournaledWeirStore(
    _LazySql,
    _named(WorkspaceAwareWeirStore),  # type: ignore[misc]
    WorkspaceAwareWeirStore,
):
    """The same where MLflow's workspaces are on."""

    _views = _ByWorkspace()
    _experiments = _ByWorkspace()
    _models = _ByWorkspace()


def sql_store(
    db_uri: str,
    default_artifact_root: Any,
    read_db_uri: str | None,
    *,
    has_workspaces: bool,
    **options: Any,
) -> WeirStore | WorkspaceAwareWeirStore:
    """Build the store of a training process on a database.

    Args:
        db_uri: SQLAlchemy URI without ``weir`` in it.
        default_artifact_root: Where runs of new experiments keep their artifacts.
        read_db_uri: Read replica for reads, or None.
        has_workspaces: MLflow's workspaces are on.
        options: What a later MLflow may add; passed on.
    """
    if is_in_memory(db_uri) or is_file_uri(db_uri):  # which nobody else could deliver into
        plain = WorkspaceAwareWeirStore if has_workspaces else WeirStore
        return plain(db_uri, default_artifact_root, read_db_uri, **options)
    settings.WRITE_DEADLINE_SECONDS.get()  # a value that cannot work is told at once
    mlflow_lookups.spare_lookups()
    recorder = Recorder(*sql_target(db_uri), when_opened=exits.arm)
    store = WorkspaceAwareJournaledWeirStore if has_workspaces else JournaledWeirStore
    return store(db_uri, default_artifact_root, read_db_uri, recorder=recorder, **options)


def is_in_memory(db_uri: str) -> bool:
    """Say whether a SQLite database has no file."""
    url = sa.make_url(db_uri)
    database = url.database or ""
    return url.get_backend_name() == "sqlite" and (
        database in ("", ":memory:") or "mode=memory" in f"{database}{url.query}"
    )


def is_file_uri(db_uri: str) -> bool:
    """Say whether a SQLite database is named by a URI of its own (``file:…?uri=true``).

    The agent and the commands know such databases by their path alone; and what the URI says,
    such as ``mode=ro``, is for whoever opens it.
    """
    url = sa.make_url(db_uri)
    return url.get_backend_name() == "sqlite" and (url.database or "").startswith("file:")


def _probe(db_uri: str) -> None:
    """Connect once: where nobody answers, MLflow would try for two minutes and log each try.

    Raises:
        sqlalchemy.exc.DBAPIError: Nobody answers.
    """
    url = sa.make_url(db_uri)
    if url.get_backend_name() != "sqlite":
        engine = sa.create_engine(
            url, poolclass=sa.NullPool, connect_args={"connect_timeout": _PROBE_S}
        )
        with engine.connect():
            pass


def refuse_locked(db_uri: str) -> None:
    """Find out whether a file can be read now; one that is not there yet can.

    Raises:
        Away: Somebody holds it for himself, or the disk fails.
    """
    path = sa.make_url(db_uri).database or ""
    if not os.path.isfile(path):
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_LOCK_WAIT_S)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as exc:
        raise Away(str(exc)) from exc


def sql_target(db_uri: str) -> tuple[Target, Credentials]:
    """Return what a journal says of a database, and what only the agent may know."""
    url = sa.make_url(db_uri)
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=os.path.abspath(url.database))
    whole = url.render_as_string(hide_password=False)
    return Target("sql", without_secrets(whole)), Credentials(
        whole, settings.pick_environment(_DATABASE_ENVIRONMENT)
    )
