"""Processes that open and write tracking databases at once.

They are forked from a process that has imported this module and done nothing else, which a test
session starts once: they share no connection, and none of them imports MLflow for seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from multiprocessing import get_context
from typing import Any

from mlflow.entities import Metric

from mlflow_weir.store.metrics import batches, chunks, compaction, rollups
from mlflow_weir.store.tracking_store import WeirStore

ARTIFACTS = "/nowhere/artifacts"
KEYS = ("loss", "acc")


def make_small(patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make batches, packs and sealed chunks so small that a few points go through all of them."""
    patch(batches, "MAX_WAITING_BATCHES", 4)
    patch(chunks, "PACK_POINTS", 64)
    patch(chunks, "SEALED_POINTS", 256)
    patch(compaction, "FAN_OUT", 2)
    patch(rollups, "RESOLUTIONS", (4, 16))


def run_at_once(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> list[str]:
    """Run ``work(barrier, *arguments[i])`` in a process each; return what any of them raised."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier = context.Barrier(len(arguments))
    errors = context.SimpleQueue()
    processes = [
        context.Process(target=_guarded, args=(errors, work, barrier, *own)) for own in arguments
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(250)
    found = [f"exit code {p.exitcode}" for p in processes if p.exitcode != 0]
    while not errors.empty():
        found.append(errors.get())
    return found


def _guarded(errors: Any, work: Callable[..., None], barrier: Any, *arguments: Any) -> None:
    try:
        work(barrier, *arguments)
    except Exception as exc:
        errors.put(f"{type(exc).__name__}: {exc}")
        raise


def points_of(writer: int, n_batches: int, size: int) -> Iterable[list[Metric]]:
    """Give the batches that a writer logs: steps of its own, and one step shared by all."""
    for batch in range(n_batches):
        first = writer * 1_000_000 + batch * size
        yield [
            Metric(key, step / 7 + writer, 1_700_000_000_000 + step, step)
            for step in range(first, first + size)
            for key in KEYS
        ] + [Metric("shared", float(batch), 5, 5)]


def log_to_runs(
    barrier: Any, url: str, run_ids: Sequence[str], writer: int, n_batches: int, size: int
) -> None:
    """Log a writer's batches to each run, in turn."""
    make_small()
    store = WeirStore(url, ARTIFACTS)
    barrier.wait()
    for points in points_of(writer, n_batches, size):
        for run_id in run_ids:
            store.log_batch(run_id, points, [], [])
    store._dispose_engine()


def open_new_databases(barrier: Any, urls: Sequence[str]) -> None:
    """Open each database at the same moment as the other processes, and log a point to it."""
    for url in urls:
        barrier.wait()
        store = WeirStore(url, ARTIFACTS)
        run = store.create_run("0", "somebody", 0, [], "a run")
        store.log_batch(run.info.run_id, [Metric("loss", 1.0, 1, 1)], [], [])
        assert len(store.get_metric_history(run.info.run_id, "loss")) == 1
        store._dispose_engine()
