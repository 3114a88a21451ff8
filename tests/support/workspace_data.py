"""Experiments with many runs and points, written through the store in bulk.

``seed_grid`` makes runs × metrics × points for measuring, ``seed_sweep`` a sweep as somebody has
it after a week: kinds of params, groups, spikes, NaN and infinities, crashed, resumed and running
runs, names nobody should give. What is written is what logging and compaction would have left;
``tests/host/test_workspace_data.py`` holds it against MLflow's client and ``weir db check``.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.metrics import batches, chunks, compaction
from mlflow_weir.store.metrics.points import (
    Series,
    columns_of_series,
    history_order,
    stored_values,
)
from mlflow_weir.store.tracking_store import WeirStore

FIRST_START_MS = 1_760_000_000_000
_RUNS_A_COMMIT = 20
_LEVEL = 0
_N_PATTERNS = 20


@dataclass(frozen=True)
class SeededRun:
    """A run to be written.

    Attributes:
        name: As ``mlflow.runName``.
        metrics: Points of each metric, in history order.
        params: Text to text.
        tags: Beside the name.
        status: MLflow's word.
        start_ms: Of the run.
        end_ms: Of the run; None where it has not ended.
        is_compacted: Its points are in chunks; otherwise they wait in batches, as a running run's
            last points do.
        run_id: 32 hex digits.
    """

    name: str
    metrics: Mapping[str, Series]
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str = "FINISHED"
    start_ms: int = FIRST_START_MS
    end_ms: int | None = FIRST_START_MS + 3_600_000
    is_compacted: bool = True
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def write_runs(store: WeirStore, experiment_id: str, runs: Iterable[SeededRun]) -> list[str]:
    """Write runs into an experiment that exists; return their ids in the order given."""
    location = store.get_experiment(experiment_id).artifact_location
    written: list[str] = []
    waiting: list[SeededRun] = []

    def commit() -> None:
        with store.ManagedSessionMaker(read_only=False) as session:
            for table, rows in _rows(int(experiment_id), location, waiting).items():
                if rows:
                    session.execute(sa.insert(table), rows)
            for run in waiting:
                _write_points(session, run)
        written.extend(run.run_id for run in waiting)
        waiting.clear()

    for run in runs:
        waiting.append(run)
        if len(waiting) == _RUNS_A_COMMIT:
            commit()
    if waiting:
        commit()
    return written


def _rows(
    experiment_id: int, location: str, runs: Iterable[SeededRun]
) -> dict[sa.TableClause, list[dict[str, object]]]:
    rows: dict[sa.TableClause, list[dict[str, object]]] = {
        tables.runs: [],
        tables.params: [],
        tables.tags: [],
    }
    for run in runs:
        rows[tables.runs].append(
            {
                "run_uuid": run.run_id,
                "name": run.name,
                "source_type": "LOCAL",
                "source_name": "train.py",
                "entry_point_name": "",
                "user_id": "ada",
                "status": run.status,
                "start_time": run.start_ms,
                "end_time": run.end_ms,
                "deleted_time": None,
                "source_version": "",
                "lifecycle_stage": "active",
                "artifact_uri": f"{location}/{run.run_id}/artifacts",
                "experiment_id": experiment_id,
            }
        )
        rows[tables.params] += [
            {"run_uuid": run.run_id, "key": key, "value": value}
            for key, value in run.params.items()
        ]
        tags = {"mlflow.runName": run.name, "mlflow.user": "ada", **run.tags}
        rows[tables.tags] += [
            {"run_uuid": run.run_id, "key": key, "value": value} for key, value in tags.items()
        ]
    return rows


def _write_points(session: sa.orm.Session, run: SeededRun) -> None:
    if not run.metrics:
        return
    if not run.is_compacted:
        batches.append_columns(session, run.run_id, columns_of_series(run.metrics))
        return
    # What a batch of everything and its compaction leave, without the bytes in between.
    latest = [
        row
        for key, series in run.metrics.items()
        for row in batches.latest_rows(run.run_id, columns_of_series({key: series}))
    ]
    session.execute(sa.insert(schema.mlflow_latest_metrics), latest)
    chunks.write(session, run.run_id, run.metrics, _LEVEL)


def append_points(store: WeirStore, run_id: str, metrics: Mapping[str, Series]) -> None:
    """Log more points to a run, which wait in a batch."""
    with store.ManagedSessionMaker(read_only=False) as session:
        batches.append_columns(session, run_id, columns_of_series(metrics))


def compact_run(store: WeirStore, run_id: str) -> None:
    """Turn a run's batches into chunks."""
    with store.ManagedSessionMaker(read_only=False) as session:
        compaction.compact_batches(session, run_id)


def curve(
    random: np.random.Generator,
    n_points: int,
    *,
    start: float = 2.5,
    end: float = 0.3,
    noise: float = 0.05,
    step_size: int = 1,
    first_ms: int = FIRST_START_MS,
    ms_a_step: int = 50,
    first_step: int = 0,
) -> Series:
    """Return a noisy curve from one value towards another, as float32 trainings log it."""
    step = first_step + step_size * np.arange(n_points, dtype=np.int64)
    jitter = random.integers(0, max(1, ms_a_step * step_size // 2), n_points)
    timestamp = first_ms + ms_a_step * step + jitter
    share = np.linspace(0.0, 1.0, n_points)
    value = end + (start - end) * np.exp(-5.0 * share)
    value = value * (1.0 + noise * random.standard_normal(n_points))
    return history_order(Series(timestamp, step, value.astype(np.float32).astype(np.float64)))


def seed_grid(
    store: WeirStore,
    n_runs: int,
    *,
    long_metrics: int,
    points: int,
    short_metrics: int = 0,
    short_points: int = 20,
    own_metrics: int | None = None,
    name: str = "grid",
) -> tuple[str, list[str]]:
    """Write ``n_runs`` runs with many long metrics and some short ones.

    Each long metric has in each run one spike of one point, 40 times its start, at a step of the
    run's own: whoever loses one lost an extreme.

    Args:
        store: Empty or not.
        n_runs: Runs of a new experiment.
        long_metrics: Metrics of each, ``train/m00`` and so on.
        points: Points of each of those.
        short_metrics: Metrics ``val/s00`` and so on.
        short_points: Points of each of those.
        own_metrics: Long metrics whose points are each run's own; the others' are those of one of
            the first 20 runs, copied as they lie in the tables. None for all.
        name: Begins the experiment's.

    Returns:
        Experiment id, and run ids in order of start (the last began last).
    """
    experiment_id = store.create_experiment(f"{name}-{uuid.uuid4().hex[:8]}")
    keys = [f"train/m{at:02d}" for at in range(long_metrics)]
    own_keys = keys[:own_metrics]
    short_keys = [f"val/s{at:02d}" for at in range(short_metrics)]
    random = np.random.default_rng(20)

    def runs() -> Iterator[SeededRun]:
        for at in range(n_runs):
            first_ms = FIRST_START_MS + 60_000 * at
            metrics = {}
            for key in keys if at < _N_PATTERNS else own_keys:
                series = curve(random, points, end=0.2 + random.random(), first_ms=first_ms)
                series.value[(at * 7919 + 13) % points] = 100.0
                metrics[key] = series
            for key in short_keys:
                metrics[key] = curve(
                    random,
                    short_points,
                    step_size=max(1, points // short_points),
                    first_ms=first_ms,
                )
            yield SeededRun(
                f"run-{at:04d}",
                metrics,
                params={
                    "lr": f"{10 ** -(1 + at % 4):g}",
                    "seed": str(at),
                    "optimizer": ("adam", "adamw", "sgd")[at % 3],
                },
                start_ms=first_ms,
                end_ms=first_ms + 50 * points,
            )

    run_ids = write_runs(store, experiment_id, runs())
    copied = set(keys) - set(own_keys)
    if copied:
        with store.ManagedSessionMaker() as session:
            patterns = [_Rows.read(session, run_id, copied) for run_id in run_ids[:_N_PATTERNS]]
        rest = run_ids[_N_PATTERNS:]
        for start in range(0, len(rest), _RUNS_A_COMMIT):
            with store.ManagedSessionMaker(read_only=False) as session:
                for at, run_id in enumerate(rest[start : start + _RUNS_A_COMMIT], start):
                    patterns[at % len(patterns)].write(session, run_id)
    return experiment_id, run_ids


@dataclass(frozen=True)
class _Rows:
    """Chunks of one metric each, with all that belongs to them, as they lie in the tables."""

    latest: list[dict[str, Any]]
    chunks: list[dict[str, Any]]
    series: list[dict[str, Any]]
    rollups: list[dict[str, Any]]

    @classmethod
    def read(cls, session: sa.orm.Session, run_id: str, keys: set[str]) -> _Rows:
        """Read those of some metrics of a run."""

        def rows(table: Any, *where: Any) -> list[dict[str, Any]]:
            query = sa.select(table).where(*where)
            return [dict(row) for row in session.execute(query).mappings()]

        index, names = schema.series.c, {key.encode() for key in keys}
        of_run = rows(schema.series, index.run_uuid == run_id)
        series = [row for row in of_run if row["key"] in names]
        chunk_ids = [row["chunk_id"] for row in series]
        latest = rows(
            schema.mlflow_latest_metrics, schema.mlflow_latest_metrics.c.run_uuid == run_id
        )
        return cls(
            [row for row in latest if row["key"] in keys],
            rows(schema.chunk, schema.chunk.c.chunk_id.in_(chunk_ids)),
            series,
            rows(schema.rollup, schema.rollup.c.chunk_id.in_(chunk_ids)),
        )

    def write(self, session: sa.orm.Session, run_id: str) -> None:
        """Write them as another run's; on SQLite, whose next ids follow the largest."""
        last = session.execute(sa.select(sa.func.max(schema.chunk.c.chunk_id))).scalar_one()
        new_ids = {row["chunk_id"]: last + 1 + at for at, row in enumerate(self.chunks)}
        for table, rows in (
            (schema.mlflow_latest_metrics, self.latest),
            (schema.chunk, self.chunks),
            (schema.series, self.series),
            (schema.rollup, self.rollups),
        ):
            changed = []
            for row in rows:
                new = {**row, "run_uuid": run_id} if "run_uuid" in row else dict(row)
                if "chunk_id" in row:
                    new["chunk_id"] = new_ids[row["chunk_id"]]
                changed.append(new)
            if changed:  # few points have no rollup
                session.execute(sa.insert(table), changed)


LONG_NAME = "an-experiment-name-that-somebody-built-from-every-parameter-" + "lr0.001-" * 24
HOSTILE_NAMES = (
    "<script>window.__hostile = 1</script>",
    '"><img src=x onerror="window.__hostile = 1">',
    "‮gnp.evil‬ and ​zero​ width",
    "名前が長い実行・训练·тест-δοκιμή",
    "'; DROP TABLE runs; --",
    "${run} `x` {{7*7}}",
    LONG_NAME[:250],
)


@dataclass(frozen=True)
class Sweep:
    """What ``seed_sweep`` wrote.

    Attributes:
        experiment_id: Of all its runs.
        name: Of the experiment.
        run_ids: In order of start.
        spiked: A run whose ``train/loss`` has one point of 40.0, and that point's step.
        broken: A run with NaN and infinities in ``train/loss``.
        resumed: A run whose steps went back once.
        running: A run that has not ended.
        crashed: A run that was killed for memory.
    """

    experiment_id: str
    name: str
    run_ids: list[str]
    spiked: tuple[str, int]
    broken: str
    resumed: str
    running: str
    crashed: str


def seed_sweep(store: WeirStore, *, n_points: int = 2_000, name: str = "resnet-sweep") -> Sweep:
    """Write 60 runs of a sweep over learning rate, optimizer, depth and seed."""
    experiment_id = store.create_experiment(name)
    random = np.random.default_rng(7)
    found: list[SeededRun] = []
    at = 0
    for lr in ("0.0001", "0.001", "0.01", "0.1"):
        for optimizer in ("adam", "adamw", "sgd"):
            for seed in range(5):
                found.append(_sweep_run(random, at, lr, optimizer, seed, n_points))
                at += 1
    found[12] = _with_spike(found[12], n_points // 3)
    found[25] = _with_odd_values(found[25])
    found[33] = _resumed(random, found[33], n_points)
    for offset, hostile in enumerate(HOSTILE_NAMES):
        run = found[40 + offset]
        found[40 + offset] = _changed(run, name=hostile, tags={**run.tags, "note": hostile})
    crashed = found[50]
    found[50] = _changed(
        crashed,
        status="FAILED",
        tags={
            **crashed.tags,
            "weir.exit_cause": "OOM-killed at step 1,200 (62.9 of 64 GiB)",
            "mlflow.note.content": "Batch size was **too large** for this box.",
        },
        metrics={k: s.rows(0, max(1, len(s) * 3 // 5)) for k, s in crashed.metrics.items()},
    )
    found[51] = _changed(
        found[51],
        status="KILLED",
        tags={**found[51].tags, "weir.exit_cause": "SIGINT: stopped by ada"},
    )
    found[58] = _changed(found[58], metrics={}, status="FAILED")
    found[59] = _changed(
        found[59],
        status="RUNNING",
        end_ms=None,
        is_compacted=False,
        metrics={k: s.rows(0, len(s) // 2) for k, s in found[59].metrics.items()},
    )
    ids = write_runs(store, experiment_id, found)
    return Sweep(
        experiment_id,
        name,
        ids,
        (ids[12], n_points // 3),
        ids[25],
        ids[33],
        ids[59],
        ids[50],
    )


def _changed(run: SeededRun, **fields: Any) -> SeededRun:
    return replace(run, **fields)


def _sweep_run(
    random: np.random.Generator, at: int, lr: str, optimizer: str, seed: int, n_points: int
) -> SeededRun:
    first_ms = FIRST_START_MS + 600_000 * at
    quality = 0.25 + 0.15 * abs(math.log10(float(lr)) + 3) + 0.05 * (optimizer == "sgd")

    def noisy(start: float, end: float, noise: float, every: int = 1) -> Series:
        return curve(
            random,
            max(2, n_points // every),
            start=start,
            end=end,
            noise=noise,
            step_size=every,
            first_ms=first_ms,
            ms_a_step=120,
        )

    end = quality * (1 + 0.05 * random.standard_normal())
    metrics = {
        "train/loss": noisy(2.5, end, 0.06),
        "train/accuracy": noisy(0.1, 0.95 - 0.2 * quality, 0.01),
        "train/lr": noisy(float(lr), float(lr) / 10, 0.0),
        "val/loss": noisy(2.6, end * 1.15, 0.02, 50),
        "val/accuracy": noisy(0.1, 0.9 - 0.2 * quality, 0.01, 50),
        "epoch": noisy(0.0, 10.0, 0.0, 100),
        "gradients/layer1.weight/norm": noisy(5.0, 0.4, 0.2, 20),
        "gradients/layer2.weight/norm": noisy(3.0, 0.2, 0.2, 20),
        "system/cpu_utilization_percentage": noisy(60.0, 85.0, 0.1, 40),
        "system/gpu_0_memory_usage_megabytes": noisy(18_000.0, 22_000.0, 0.01, 40),
    }
    return SeededRun(
        f"{optimizer}-lr{float(lr):g}-s{seed}",
        metrics,
        params={
            "lr": lr,
            "optimizer": optimizer,
            "depth": str((18, 34, 50)[at % 3]),
            "seed": str(seed),
            "amp": str(seed % 2 == 0),
            "schedule": "cosine" if at % 2 else "linear",
        },
        tags={"team": "vision" if at % 3 else "speech", "weir.git_branch": "main"},
        start_ms=first_ms,
        end_ms=first_ms + 120 * n_points,
    )


def _with_spike(run: SeededRun, at: int) -> SeededRun:
    value = run.metrics["train/loss"].value.copy()
    value[at] = 40.0
    series = run.metrics["train/loss"]
    changed = {**run.metrics, "train/loss": Series(series.timestamp, series.step, value)}
    return _changed(run, metrics=changed)


def _with_odd_values(run: SeededRun) -> SeededRun:
    series = run.metrics["train/loss"]
    value = series.value.copy()
    value[100:110] = np.nan
    value[300] = np.inf
    value[301] = -np.inf
    value[-1] = np.nan
    changed = Series(series.timestamp, series.step, stored_values(value))
    return _changed(run, metrics={**run.metrics, "train/loss": changed})


def _resumed(random: np.random.Generator, run: SeededRun, n_points: int) -> SeededRun:
    first = run.metrics["train/loss"].rows(0, n_points // 2)
    back = curve(
        random,
        n_points - n_points // 3,
        start=1.0,
        end=0.3,
        first_ms=int(first.timestamp[-1]) + 3_600_000,
        first_step=n_points // 3,
        ms_a_step=120,
    )
    whole = Series(
        np.concatenate([first.timestamp, back.timestamp]),
        np.concatenate([first.step, back.step]),
        np.concatenate([first.value, back.value]),
    )
    return _changed(run, metrics={**run.metrics, "train/loss": history_order(whole)})
