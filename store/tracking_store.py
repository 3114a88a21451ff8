"""The tracking stores MLflow loads for a Weir URI: MLflow's SQL stores with our metric history.

``WeirStore`` and ``WorkspaceAwareWeirStore`` are subclasses of MLflow's stores (never wrappers:
MLflow tests with ``isinstance``), and differ from them in where metric history is kept and in how
runs are searched. Everything else is inherited, and MLflow's tables hold what MLflow would have
written, but for ``metrics``: new points go to the ``weir_*`` tables, old rows there are read too.

A log call returns when its points are committed. Every 64th batch of a run, and the end of a run,
turns the run's batches into chunks in the same call; that is housekeeping after the commit, and a
failure of it is logged and never reaches the caller.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from mlflow.entities import Metric, Run, RunStatus
from mlflow.entities.entity_type import EntityAssociationType
from mlflow.entities.metric import MetricWithRunId
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities import PagedList
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.search_utils import SearchUtils
from sqlalchemy.orm import Session

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, KeyCollision, WeirError
from mlflow_weir.guard import never_raises
from mlflow_weir.store import engine as engines
from mlflow_weir.store import migrations, mlflow_private
from mlflow_weir.store.alerts import alerts
from mlflow_weir.store.alerts.alerts import Alert
from mlflow_weir.store.collector import paused_collector
from mlflow_weir.store.delivery import mlflow_tables, rewinding
from mlflow_weir.store.metrics import batches, chunks, compaction, reading, sampling
from mlflow_weir.store.metrics.points import (
    EMPTY,
    INFINITY,
    Point,
    Series,
    is_int64,
    step_order,
    stored_value,
)
from mlflow_weir.store.runs import indexes, searching

T = TypeVar("T")

# How long housekeeping waits for SQLite's lock, in ms: inside a log call, and at a run's end.
_INLINE_WAIT_MS = 50
_FINAL_WAIT_MS = 5_000
# Metric objects made with the collector paused: a quarter of a second.
_BUILT_AT_ONCE = 250_000
_LARGEST_WHOLE = 1 << 63
_MAX_VALID_KEYS = 100_000
_point = tuple.__new__
_valid_keys: set[str] = set()  # names that MLflow has let pass

_log = logging.getLogger(__name__)


class _WeirMethods:
    """What both stores do differently from MLflow's; comes first in their bases."""

    _weir_engines: dict[str, sa.Engine] = {}  # noqa: RUF012  (one cache a process, as MLflow's)
    _weir_engines_lock = threading.Lock()

    engine: sa.Engine
    ManagedSessionMaker: Callable[..., Any]

    def __init__(
        self, db_uri: str, default_artifact_root: str, read_db_uri: str | None = None
    ) -> None:
        """Open a database, creating or migrating the tables it lacks.

        Args:
            db_uri: SQLAlchemy URI without ``weir`` in it.
            default_artifact_root: Where runs of new experiments keep their artifacts.
            read_db_uri: Read replica for reads, as in MLflow.

        Raises:
            MlflowException: INVALID_STATE where the ``weir_*`` tables were written by a newer
                version, and what MLflow's own store raises.
        """
        try:
            # Read here, where a value that cannot work is told at once and not by a log call.
            self._write_deadline_s = settings.WRITE_DEADLINE_SECONDS.get()
            settings.STOCK_SAMPLING.get()
            engine = self._get_or_create_engine(db_uri)
            arguments = (db_uri, default_artifact_root, read_db_uri)
            if _is_complete(engine):  # dozens of workers that start need not queue for nothing
                super().__init__(*arguments)  # type: ignore[call-arg]
                return
            with engines.schema_lock(engine):
                super().__init__(*arguments)  # type: ignore[call-arg]
                try:
                    if migrations.upgrade(engine):
                        indexes.create_small(engine)
                except sa.exc.DBAPIError as exc:
                    raise ConfigError(
                        f"the weir tables could not be created or migrated: {exc.orig}",
                        hint="`weir db upgrade URI` as a user who may change the schema does it",
                    ) from exc
        except WeirError as exc:
            raise mlflow_private.as_mlflow_error(exc) from exc
        except MlflowException as exc:
            # Behind `weir:` nobody knows it, and `mlflow db upgrade` takes no other.
            if db_uri.startswith("sqlite:"):
                exc.message = exc.message.replace("<database_uri>", db_uri)
                exc.args = (exc.message,)
            raise

    @classmethod
    def _get_or_create_engine(cls, db_uri: str) -> sa.Engine:
        """Return this process's engine for a URI, apart from those of MLflow's own stores."""
        with cls._weir_engines_lock:
            if db_uri not in cls._weir_engines:
                engines.require_file(db_uri)
                engines.require_folder(db_uri)
                engine = mlflow_private.create_engine(db_uri)
                if engine.dialect.name == "sqlite":
                    engines.prepare_sqlite(engine)
                engines.prepare_no_statements(engine)
                engines.prepare_missing_tables(engine, mlflow_private.as_mlflow_error)
                cls._weir_engines[db_uri] = engine
            return cls._weir_engines[db_uri]

    # Writing

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        if not metrics:
            return
        points = validated_points(metrics, is_batch=len(metrics) != 1)

        def write() -> batches.Waiting:
            with self.ManagedSessionMaker(read_only=False) as session:
                self._check_run_is_active(self._get_run(session, run_id))  # type: ignore[attr-defined]
                try:
                    return batches.append(session, run_id, points)
                except KeyCollision as exc:
                    raise mlflow_private.as_mlflow_error(exc) from exc

        if self._retrying(write).is_due:
            self._compact(run_id, is_final=False)

    def update_run_info(
        self, run_id: str, run_status: Any, end_time: int | None, run_name: str | None
    ) -> Any:
        """Update a run as MLflow does; the end of a run also compacts its metric history."""
        info = super().update_run_info(run_id, run_status, end_time, run_name)  # type: ignore[misc]
        if run_status is not None and RunStatus.is_terminated(run_status):
            self._compact(run_id, is_final=True)
        return info

    def rewind_run(self, run_id: str, step: int) -> None:
        """Take away what a run's metrics have of a later step; see ``delivery/rewinding.py``.

        Raises:
            MlflowException: No such run, or it is deleted.
        """

        def rewind(session: Session) -> None:
            self._check_run_is_active(self._get_run(session, run_id))  # type: ignore[attr-defined]
            rewinding.rewind(session, run_id, step)

        self._in_transaction(rewind)

    @never_raises(None)
    def _compact(self, run_id: str, *, is_final: bool) -> None:
        """Turn a run's batches into chunks, and merge what has become many; never raises.

        The points are committed already. Where the database is locked or another process
        compacts the same run, the next compaction goes on from here.
        """
        wait_ms = _FINAL_WAIT_MS if is_final else _INLINE_WAIT_MS
        try:
            self._keep_house(partial(compaction.compact_batches, run_id=run_id), wait_ms)
            if is_final:
                self._keep_house(partial(compaction.merge_all, run_id=run_id), wait_ms)
                return
            while self._keep_house(partial(compaction.merge_due, run_id=run_id), wait_ms):
                pass
        except (sa.exc.SQLAlchemyError, WeirError) as exc:
            if not engines.is_transient(exc):
                raise
            _log.debug("compaction of run %s put off: %s", run_id, exc)

    def _keep_house(self, action: Callable[[Session], T], wait_ms: int) -> T:
        # Not MLflow's session: that waits 20 s for SQLite's lock and logs a traceback.
        with Session(self.engine) as session, session.begin():
            if self.engine.dialect.name == "sqlite":
                session.execute(sa.text(f"PRAGMA busy_timeout = {wait_ms}"))
            return action(session)

    def _in_transaction(self, action: Callable[[Session], T]) -> T:
        def transaction() -> T:
            with self.ManagedSessionMaker(read_only=False) as session:
                return action(session)

        return self._retrying(transaction)

    def _retrying(self, transaction: Callable[[], T]) -> T:
        return engines.retrying(transaction, self._write_deadline_s)

    # Alerts

    def log_alert(self, alert: Alert) -> None:
        """Keep an alert of a run.

        Raises:
            MlflowException: No such run, or it is deleted.
        """

        def add(session: Session) -> None:
            self._check_run_is_active(self._get_run(session, alert.run_id))  # type: ignore[attr-defined]
            connection = session.connection()
            if alerts.count_raised(connection, alert.run_id) < alerts.MAX_OF_A_RUN:
                now_ms = time.time_ns() // 1_000_000
                alerts.add(connection, alert, now_ms, is_routed=False)

        self._in_transaction(add)

    # Deleting

    def _hard_delete_run(self, run_id: str) -> None:
        super()._hard_delete_run(run_id)  # type: ignore[misc]
        self._in_transaction(partial(chunks.delete_runs, run_ids=[run_id]))

    def _hard_delete_experiment(self, experiment_id: str) -> None:
        with self.ManagedSessionMaker(read_only=False) as session:  # a replica may lag
            runs = self._list_run_infos(session, experiment_id)  # type: ignore[attr-defined]
            run_ids = [run.run_uuid for run in runs]
        super()._hard_delete_experiment(experiment_id)  # type: ignore[misc]
        self._in_transaction(partial(chunks.delete_runs, run_ids=run_ids))

    # Reading

    def get_metric_history(
        self,
        run_id: str,
        metric_key: str,
        max_results: int | None = None,
        page_token: str | None = None,
    ) -> PagedList[Metric]:
        """Return all points of a metric by (timestamp, step, value), or a page of them."""
        with self.ManagedSessionMaker() as session:
            self._validate_run_accessible(session, run_id)  # type: ignore[attr-defined]
            offset = SearchUtils.parse_start_offset_from_page_token(page_token)
            series = reading.read_history(session, [run_id], metric_key).get(run_id, EMPTY)
        end = len(series) if max_results is None else offset + max_results
        token = SearchUtils.create_page_token(end) if end < len(series) else None
        return PagedList(_metrics(metric_key, series.rows(offset, end)), token)

    def get_metric_history_bulk(
        self, run_ids: Sequence[str], metric_key: str, max_results: int
    ) -> list[MetricWithRunId]:
        """Return points of a metric of several runs by (run, timestamp, step, value)."""
        with self.ManagedSessionMaker() as session:
            allowed = self._filter_entity_ids(  # type: ignore[attr-defined]
                session, EntityAssociationType.RUN, list(run_ids)
            )
            found: list[MetricWithRunId] = []
            for run_id in sorted(set(allowed)):
                if len(found) >= max_results:
                    break
                series = reading.read_history(session, [run_id], metric_key).get(run_id, EMPTY)
                rest = series.rows(0, max_results - len(found))
                found += _metrics_with_run_id(run_id, metric_key, rest)
        return found

    def get_max_step_for_metric(self, run_id: str, metric_key: str) -> int:
        """Return the largest step of a metric, 0 where it has none."""
        with self.ManagedSessionMaker() as session:
            self._validate_run_accessible(session, run_id)  # type: ignore[attr-defined]
            return reading.read_max_step(session, run_id, metric_key) or 0

    def get_metric_history_bulk_interval_from_steps(
        self, run_id: str, metric_key: str, steps: Sequence[int], max_results: int
    ) -> list[MetricWithRunId]:
        """Return a metric's points at the given steps by (step, timestamp, value)."""
        ordered = step_order(self._read_history(run_id, metric_key))
        wanted = ordered.take(reading.at_steps(ordered, steps))
        return _metrics_with_run_id(run_id, metric_key, wanted.rows(0, max_results))

    def get_metric_history_bulk_interval(
        self,
        run_ids: list[str],
        metric_key: str,
        max_results: int,
        start_step: int | None,
        end_step: int | None,
    ) -> list[MetricWithRunId]:
        """Return up to ``max_results`` points a run, by step, extremes kept.

        A declared deviation from MLflow, which returns as many points but loses what lies
        between them; ``WEIR_STOCK_SAMPLING=1`` gives MLflow's choice.
        """
        if (start_step is None) != (end_step is None):
            raise MlflowException.invalid_parameter_value(
                "Both start_step and end_step must be specified together, "
                "or neither may be specified."
            )
        max_results = max(1, max_results)
        with self.ManagedSessionMaker() as session:
            choose = _sampled_as_stock if settings.STOCK_SAMPLING.get() else _sampled
            for run_id in run_ids:
                self._validate_run_accessible(session, run_id)  # type: ignore[attr-defined]
            chosen = choose(session, run_ids, metric_key, max_results, start_step, end_step)
        with paused_collector():
            return [
                point
                for run_id in run_ids
                if run_id in chosen
                for point in _metrics_with_run_id(run_id, metric_key, chosen[run_id])
            ]

    def _search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str | None,
        run_view_type: int,
        max_results: int | None,
        order_by: list[str] | None,
        page_token: str | None,
    ) -> tuple[list[Run], bytes | None]:
        return searching.search_runs(
            self, experiment_ids, filter_string, run_view_type, max_results, order_by, page_token
        )

    def _read_history(self, run_id: str, key: str) -> Series:
        with self.ManagedSessionMaker() as session:
            self._validate_run_accessible(session, run_id)  # type: ignore[attr-defined]
            return reading.read_history(session, [run_id], key).get(run_id, EMPTY)


class WeirStore(_WeirMethods, SqlAlchemyStore):
    """MLflow's SQL store with metric history in columns."""


class WorkspaceAwareWeirStore(_WeirMethods, WorkspaceAwareSqlAlchemyStore):
    """The same where MLflow's workspaces are on."""


def _is_complete(engine: sa.Engine) -> bool:
    """Say whether opening the database creates nothing: neither tables nor the first experiment.

    A MLflow that has more tables than the database has creates them as it opens it.
    """
    if not mlflow_private.has_all_tables(engine):
        return False
    first = sa.select(mlflow_tables.experiments.c.experiment_id).limit(1)
    with engine.connect() as connection:
        return (
            migrations.current_revision(connection) == migrations.HEAD
            and connection.execute(first).first() is not None
        )


def validated_points(metrics: Sequence[Metric], *, is_batch: bool) -> list[Point]:
    """Return what is stored of metrics, once MLflow's rules have let them pass.

    Args:
        metrics: As the user logged them.
        is_batch: Errors say which one of a list it was.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE.
    """
    points = []
    for i, metric in enumerate(metrics):
        key, value, timestamp, step = metric.key, metric.value, metric.timestamp, metric.step
        # All that MLflow looks at, where nothing is unusual: 0.3 µs a metric instead of 2.3.
        if not (
            type(key) is str
            and key in _valid_keys
            and type(value) is float
            and type(timestamp) is int
            and type(step) is int
            and 0 <= timestamp < _LARGEST_WHOLE
            and -_LARGEST_WHOLE <= step < _LARGEST_WHOLE
            and (-INFINITY <= value <= INFINITY or value != value)
        ):
            mlflow_private.validate_metric(metric, path=f"metrics[{i}]" if is_batch else "")
            timestamp = _whole(timestamp, "timestamp", key)
            step = _whole(step, "step", key)
            if len(_valid_keys) >= _MAX_VALID_KEYS:
                _valid_keys.clear()
            _valid_keys.add(key)
            value = stored_value(value)
        # As Point(…), without its two frames; + 0.0 is what stored_value does to a finite value.
        points.append(_point(Point, (key, timestamp, step, value + 0.0)))
    return points


def _whole(number: float, name: str, key: str) -> int:
    """Return a step or timestamp as the databases keep it: rounded, in 64 bits."""
    try:
        whole = round(number)
    except (ValueError, OverflowError):  # NaN and infinity
        whole = None
    if whole is None or not is_int64(whole):
        raise MlflowException(
            f"Invalid value {number} for parameter {name!r} of metric {key!r}: it is not a number "
            "that fits a 64-bit integer.",
            INVALID_PARAMETER_VALUE,
        )
    return whole


def _sampled(
    session: Session,
    run_ids: Sequence[str],
    key: str,
    max_results: int,
    start_step: int | None,
    end_step: int | None,
) -> dict[str, Series]:
    chosen = {}
    for run_id, buckets in reading.read_buckets(
        session,
        run_ids,
        key,
        max_buckets=max_results,
        start_step=start_step,
        end_step=end_step,
    ).items():
        chosen[run_id] = sampling.choose_with_extremes(buckets, max_results)
    return chosen


def _sampled_as_stock(
    session: Session,
    run_ids: Sequence[str],
    key: str,
    max_results: int,
    start_step: int | None,
    end_step: int | None,
) -> dict[str, Series]:
    chosen = {}
    for run_id, series in reading.read_history(session, run_ids, key).items():
        inside = reading.between(series, start_step, end_step)
        chosen[run_id] = sampling.choose_as_stock(inside, max_results)
    return chosen


def _metrics(key: str, series: Series) -> list[Metric]:
    metrics: list[Metric] = []
    for start in range(0, len(series), _BUILT_AT_ONCE):
        part = series.rows(start, start + _BUILT_AT_ONCE)
        with paused_collector():
            metrics += [
                Metric(key, value, timestamp, step)
                for value, timestamp, step in zip(
                    part.value.tolist(), part.timestamp.tolist(), part.step.tolist(), strict=True
                )
            ]
    return metrics


def _metrics_with_run_id(run_id: str, key: str, series: Series) -> list[MetricWithRunId]:
    return [MetricWithRunId(metric=metric, run_id=run_id) for metric in _metrics(key, series)]
