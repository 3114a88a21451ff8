"""What a log call costs a training: ours beside stock MLflow, and beside other libraries."""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from contenders import PEERS, Contender, Worker, peer_versions, peers
from measuring import Row, Sizes, quantile, say
from meters import stop_agent
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from places import Place, SqlitePlace
from servers import Server, running

from mlflow_weir.store.tracking_store import WeirStore

TITLE = "Log calls"
ABOUT = """\
Each library in a process of its own, the same calls in a loop, one process after the other in
several rounds, every second one in reverse; times of single calls of all rounds together. A
round begins with 20 calls that are not timed and a second of rest. *Floor* is MLflow with a store
that does nothing, as it is and with a registry URI set (docs/decisions/004-registry-lookup.md).
*HTTP* is `mlflow server` on SQLite on this machine with one worker. tensorboardX logs 20 metrics
by 20 calls, which are timed as one. *End* is from the last call until the process is gone: the
end of the run, delivery, the interpreter's exit. Every point that MLflow and Weir had accepted was
then counted in the store.
"""

FLOOR, FLOOR_REGISTRY = "Floor", "Floor, registry URI set"
STOCK, ASYNC, STOCK_HTTP = "Stock MLflow", "Stock, async", "Stock, HTTP"
WEIR, WEIR_HTTP = "Weir", "Weir, HTTP"
WEIR_REGISTRY = "Weir, registry URI set"
_WARM_UP = 20  # calls that worker.py makes before it times some
_PERIOD_S = 0.05
_AROUND_S = 2.0  # of calls before an outage and after it
_RESTART_S = 15.0  # what a server needs to answer again
_OUTAGE_ANSWER_S = 400.0


class _Outage(NamedTuple):
    """What log calls did while something was away.

    Attributes:
        longest_s: The longest call.
        n_calls: Calls made.
        n_errors: Calls that raised.
        error: What the first of them raised.
        n_missing: Points of calls that raised nothing which are not in the store at the end.
    """

    longest_s: float
    n_calls: int
    n_errors: int
    error: str
    n_missing: int


def versions() -> dict[str, str]:
    """Return the versions of the peers."""
    return peer_versions()


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Time log calls of everybody, on SQLite only."""
    if not isinstance(place, SqlitePlace):
        return []
    folder = Path.cwd() / "logging"
    folder.mkdir()
    with _contenders(place, folder) as field:
        section = _Section(folder, field)
        try:
            rows = section.calls(sizes)
            rows += section.outages(sizes)
        finally:
            stop_agent(folder / "spool")
    return rows


@contextlib.contextmanager
def _contenders(place: Place, folder: Path) -> Iterator[_Field]:
    plain = {"WEIR_DISABLE": "1", "WEIR_CLIENT": "off"}
    stock, asynchronous = place.new_database(), place.new_database()
    behind = place.new_database()
    weir = folder / "weir"
    spool = {"WEIR_SPOOL": str(folder / "spool")}
    null = {"MLFLOW_TRACKING_URI": "null:"}
    registry = {"MLFLOW_REGISTRY_URI": f"sqlite:///{folder}/registry.db"}
    everybody = [
        Contender(FLOOR_REGISTRY, environment={**null, **registry}),
        Contender(FLOOR, environment=null),
        Contender(STOCK, environment={"MLFLOW_TRACKING_URI": stock, **plain}, database=stock),
        Contender(
            ASYNC,
            environment={
                "MLFLOW_TRACKING_URI": asynchronous,
                "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
                **plain,
            },
            database=asynchronous,
        ),
        Contender(
            WEIR,
            environment={"MLFLOW_TRACKING_URI": f"weir://{weir}", **spool},
            database=f"sqlite:///{weir}/weir.db",
            is_weir=True,
        ),
        Contender(
            WEIR_REGISTRY,
            environment={"MLFLOW_TRACKING_URI": f"weir://{weir}", **registry, **spool},
            database=f"sqlite:///{weir}/weir.db",
            is_weir=True,
        ),
        *peers(),
    ]
    with contextlib.ExitStack() as stack:
        servers = {STOCK_HTTP: stack.enter_context(running(Server(behind, folder / "stock")))}
        everybody.append(_client(STOCK_HTTP, servers, behind, plain))
        if has_http_client():
            ours = place.new_database()
            uri = ours.replace("sqlite:", "sqlite+weir:", 1)
            servers[WEIR_HTTP] = stack.enter_context(running(Server(uri, folder / "server")))
            everybody.append(_client(WEIR_HTTP, servers, ours, spool))
        say(f"side by side: {', '.join(one.name for one in everybody)}")
        yield _Field(everybody, servers)


class _Field(NamedTuple):
    """Everybody who takes part, and the servers that some log to."""

    everybody: list[Contender]
    servers: dict[str, Server]

    def some(self, *names: str) -> list[Contender]:
        return [one for one in self.everybody if one.name in names]


def _client(
    name: str, servers: dict[str, Server], database: str, environment: dict[str, str]
) -> Contender:
    return Contender(
        name,
        environment={"MLFLOW_TRACKING_URI": servers[name].address, **environment},
        database=database,
        is_weir=name == WEIR_HTTP,
    )


def has_http_client() -> bool:
    """Say whether log calls to a server go through the journal in this version."""
    return bool(metadata.entry_points(group="mlflow.tracking_store", name="http"))


class _Section:
    """Measures, and remembers which points have to be in which store."""

    def __init__(self, folder: Path, field: _Field) -> None:
        self._folder, self._field = folder, field
        self._n = 0

    def calls(self, sizes: Sizes) -> list[Row]:
        """Time calls without a pause."""
        everybody, n = self._field.everybody, sizes.log_calls
        one = self._rounds(everybody, "one", n, sizes.log_rounds)
        many = self._rounds(everybody, "many", n // 2, sizes.log_rounds - 1)
        quick = [one for one in everybody if one.name not in (STOCK, ASYNC, STOCK_HTTP)]
        long = self._rounds(quick, "one", sizes.long_calls, 1)
        stores = self._field.some(FLOOR_REGISTRY, STOCK, WEIR, WEIR_HTTP)
        direct = self._rounds(stores, "direct", n, 1)
        return [
            _against_floor("log_metric, p50", one, 0.5, 1.25),
            _against_floor("log_metric, p99", one, 0.99, 2.0),
            _against_floor("log_metrics of 20, p50", many, 0.5, 1.25),
            _row("log_metrics of 20, p99", _quantiles(many, 0.99)),
            _own_part(direct),
            _row(f"{n:,} log_metric: the calls", _of(one, lambda run: sum(run.times))),
            _row(f"{n:,} log_metric: the end", _of(one, lambda run: run.end_s)),
            _row(f"{n // 2:,} log_metrics of 20: the end", _of(many, lambda run: run.end_s)),
            _row(f"{sizes.long_calls:,} log_metric without a pause, p50", _quantiles(long, 0.5)),
            _row(f"{sizes.long_calls:,} log_metric without a pause, p99", _quantiles(long, 0.99)),
            _row(f"{sizes.long_calls:,} log_metric: the end", _of(long, lambda run: run.end_s)),
        ]

    def _rounds(
        self, everybody: Sequence[Contender], how: str, n_calls: int, n_rounds: int
    ) -> dict[str, list[_Burst]]:
        found: dict[str, list[_Burst]] = {one.name: [] for one in everybody}
        for i in range(n_rounds):
            for contender in everybody if i % 2 == 0 else reversed(everybody):
                found[contender.name].append(self._burst(contender, how, n_calls))
            say(f"{n_calls:,} calls ({how}), round {i + 1} of {n_rounds}")
        return found

    def _burst(self, contender: Contender, how: str, n_calls: int) -> _Burst:
        worker = self._start(contender)
        times = worker.ask("burst", how=how, n_calls=n_calls)["times"]
        end_s = worker.end()
        keys = {"one": "loss", "many": "train/metric_19"}
        if contender.database and how in keys:
            n = len(_steps(contender, worker.run_id, keys[how]))
            if n != n_calls + _WARM_UP:
                raise RuntimeError(f"{contender.name}: {n} points stored of {n_calls + _WARM_UP}")
        return _Burst(times, end_s)

    def _start(self, contender: Contender) -> Worker:
        self._n += 1
        return contender.start(self._folder / f"{self._n:03d}")

    def outages(self, sizes: Sizes) -> list[Row]:
        """Log a call every 50 ms while the database or the server is away."""
        rows = []
        for_s = f"for {sizes.outage_s:.0f} s, longest"
        locked = {
            one.name: self._outage(one, sizes.outage_s, _locked(one.database))
            for one in self._field.some(STOCK, ASYNC, WEIR)
        }
        rows.append(_outage_row(f"a log call, the database locked {for_s}", locked, WEIR))
        gone = {
            one.name: self._outage(one, sizes.outage_s, self._killed(one.name), _RESTART_S)
            for one in self._field.some(STOCK_HTTP, WEIR_HTTP)
        }
        rows.append(_outage_row(f"a log call, the server gone {for_s}", gone, WEIR_HTTP))
        return rows

    @contextlib.contextmanager
    def _killed(self, name: str) -> Iterator[None]:
        server = self._field.servers[name]
        server.kill()
        try:
            yield
        finally:
            server.start()

    def _outage(
        self,
        contender: Contender,
        outage_s: float,
        away: contextlib.AbstractContextManager[None],
        restart_s: float = 0.0,
    ) -> _Outage:
        worker = self._start(contender)
        worker.ask("paced", how="one", seconds=1.0, period_s=_PERIOD_S)
        seconds = outage_s + 2 * _AROUND_S + restart_s
        worker.tell("paced", how="one", seconds=seconds, period_s=_PERIOD_S)
        time.sleep(_AROUND_S)
        with away:
            time.sleep(outage_s)
        calls = worker.answer(_OUTAGE_ANSWER_S)["calls"]
        worker.end()
        accepted = {step for step, _, _, error in calls if error is None}
        errors = [error for _, _, _, error in calls if error is not None]
        stored = set(_steps(contender, worker.run_id, "loss"))
        say(f"{contender.name}: {len(calls)} calls through an outage, {len(errors)} raised")
        return _Outage(
            max(seconds for _, _, seconds, _ in calls),
            len(calls),
            len(errors),
            errors[0] if errors else "",
            len(accepted - stored),
        )


class _Burst(NamedTuple):
    """One round of one contender: seconds of each call, and of the end."""

    times: list[float]
    end_s: float


def _of(found: dict[str, list[_Burst]], of: Callable[[_Burst], float]) -> dict[str, float]:
    return {name: statistics.median(map(of, runs)) for name, runs in found.items() if runs}


def _quantiles(found: dict[str, list[_Burst]], q: float) -> dict[str, float]:
    return {
        name: quantile([seconds for run in runs for seconds in run.times], q)
        for name, runs in found.items()
    }


def _row(measure: str, figures: dict[str, float], **fields: Any) -> Row:
    """Make a row of everybody's figures."""
    return Row(
        measure, "SQLite", "s", figures.get(STOCK), figures.get(WEIR), beside=figures, **fields
    )


def _against_floor(measure: str, found: dict[str, list[_Burst]], q: float, allowed: float) -> Row:
    figures = _quantiles(found, q)
    floor = min(figures[FLOOR], figures[FLOOR_REGISTRY])
    ours = {
        name: figures[name] / floor for name in (WEIR, WEIR_REGISTRY, WEIR_HTTP) if name in figures
    }
    return _row(
        measure,
        figures,
        target=f"≤ {allowed:g} x the lower floor",
        passed=max(ours.values()) <= allowed,
        note=", ".join(f"{name}: {times:.2f} x" for name, times in ours.items()),
    )


def _own_part(found: dict[str, list[_Burst]]) -> Row:
    figures = _quantiles(found, 0.5)
    nothing = figures.pop(FLOOR_REGISTRY)
    ours = [value - nothing for name, value in figures.items() if name in (WEIR, WEIR_HTTP)]
    return _row(
        "the store's own log_metric, p50",
        figures,
        target="≤ 8 µs",
        passed=max(ours) <= 8e-6,
        note=f"of it {nothing * 1e6:.1f} µs are the timer and a call that does nothing",
    )


def _outage_row(what: str, found: dict[str, _Outage], ours: str) -> Row:
    def story(name: str, outage: _Outage) -> str:
        text = f"{name}: {outage.n_calls} calls, {outage.n_errors} raised"
        if outage.error:
            text += f" (`{outage.error.partition(chr(10))[0].replace('|', '/')[:60]}`)"
        return text + f", {outage.n_missing} accepted points missing"

    weir = found.get(ours)
    return _row(
        what,
        {name: outage.longest_s for name, outage in found.items()},
        target="≤ 100 ms, never an exception",
        passed=None
        if weir is None
        else weir.longest_s <= 0.1 and not weir.n_errors and not weir.n_missing,
        note="; ".join(story(name, outage) for name, outage in found.items()),
    )


@contextlib.contextmanager
def _locked(database: str) -> Iterator[None]:
    path = str(sa.make_url(database).database)
    with contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield
        holder.execute("ROLLBACK")


def _steps(contender: Contender, run_id: str, key: str) -> list[int]:
    kind = WeirStore if contender.is_weir else SqlAlchemyStore
    store: Any = kind(contender.database, "/nowhere")
    try:
        return [metric.step for metric in store.get_metric_history(run_id, key)]
    finally:
        store.engine.dispose()


COLUMNS = [
    FLOOR_REGISTRY, FLOOR, STOCK, ASYNC, STOCK_HTTP,
    WEIR, WEIR_REGISTRY, WEIR_HTTP, *PEERS.values(),
]  # fmt: skip
"""The order of the figures in the results."""
