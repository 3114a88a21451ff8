"""How much several servers on one PostgreSQL take at once, and what a delivery costs them.

    python benchmarks/run.py --only ingest
    python benchmarks/ingest.py --servers 1,2,4 --agents 64 --seconds 30 --steps 10,300

Each agent sends the next delivery when the last is answered, as Weir's does, and comes again when
it is told to. Agents are processes of their own, so that they do not wait for each other; the
database is durable. Points are counted in the database.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import sqlalchemy as sa

_SUPPORT = Path(__file__).resolve().parent.parent / "tests" / "support"
sys.path.insert(0, str(_SUPPORT))

from measuring import Row, Sizes, say  # noqa: E402
from places import Place, PostgresPlace  # noqa: E402

from databases import run_postgres  # noqa: E402
from mlflow_server import RUNS_NO_JOB, ServerProcess, ServerSpec, start_servers  # noqa: E402

TITLE = "Deliveries to servers"
ABOUT = """\
Servers of one process each on one PostgreSQL, all on this machine together with those who send:
agents that deliver without a pause, 50 metrics a record, the next when the last is answered, and
that come again when they are told to. The small delivery is of 10 records, what half a second of
a fast training is; the large one of 300. *CPU* is what the processes have used, divided by the
deliveries; it is what an estimate for other machines can be made of, throughput on a machine with
two cores that all share is not. *Syncs* are PostgreSQL's of its log.
"""
COLUMNS = ("1 server", "2 servers", "4 servers")

_METRICS = 50
_SIZES = (10, 300)
_PROCESSES = 4

# Arguments: addresses, agents in this process, seconds, points a record, records a delivery.
_AGENTS = """
import gzip, http.client, json, random, sys, threading, time, urllib.parse, uuid
from mlflow_weir.frames import frame
from mlflow_weir.store.delivery.records import OPERATIONS, encode_operation, encode_points

addresses, n_agents, seconds, n_keys, n_records = sys.argv[1].split(","), *map(int, sys.argv[2:])
took, n_sent, n_away = [], [0], [0]
lock = threading.Lock()
end = time.monotonic() + seconds

def deliver(number):
    journal, run_id, position, step = uuid.uuid4().hex, uuid.uuid4().hex, 0, 0
    address = urllib.parse.urlsplit(addresses[number % len(addresses)])
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
    fields = dict.fromkeys(OPERATIONS["create_run"])
    fields |= dict(run_id=run_id, experiment_id="0", user_id="b", start_time=1, tags=[])
    payloads = [encode_operation("create_run", fields)]
    while time.monotonic() < end:
        if not payloads:
            for step in range(step, step + n_records):
                points = [(f"m{k}", step, step, k / 3 + step / 7) for k in range(n_keys)]
                payloads.append(encode_points(run_id, points))
            step += 1
        frames = b"".join(map(frame, payloads))
        headers = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip",
                   "X-Weir-Journal": journal, "X-Weir-Start": str(position),
                   "X-Weir-End": str(position + len(frames)), "X-Weir-Fencing": "1"}
        body = gzip.compress(frames, 1)
        began = time.monotonic()
        connection.request("POST", "/ajax-api/3.0/weir/ingest", body, headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 503:
            with lock:
                n_away[0] += 1
            time.sleep(float(answer.headers["Retry-After"]))
            continue
        assert answer.status == 200, body
        with lock:
            took.append(time.monotonic() - began)
            n_sent[0] += json.loads(body)["n_points"]
        position, payloads = position + len(frames), []

threads = [threading.Thread(target=deliver, args=[n]) for n in range(n_agents)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps([took, n_sent[0], n_away[0]]))
"""


class Load(NamedTuple):
    """What is sent to servers.

    Attributes:
        agents: That deliver at once.
        seconds: For which they begin deliveries.
        steps: Records of a delivery.
        workers: Processes of a server.
    """

    agents: int
    seconds: int
    steps: int
    workers: int = 1


class Taken(NamedTuple):
    """What became of it.

    Attributes:
        took: Seconds of each delivery, as its sender has them.
        points: That are in the database.
        away: How often an agent was told to come again.
        seconds: From the first delivery to the last answer.
        server_s: Processor time of the servers.
        database_s: Processor time of PostgreSQL.
        commits: Transactions.
        syncs: Of PostgreSQL's log to the disk.
    """

    took: list[float]
    points: int
    away: int
    seconds: float
    server_s: float
    database_s: float
    commits: int
    syncs: int

    def quantile_s(self, per_cent: int) -> float:
        """Return the seconds that so many per cent of deliveries took at most."""
        return statistics.quantiles(self.took, n=100)[per_cent - 1]


def versions() -> dict[str, str]:
    """Nothing takes part that is not named for all sections."""
    return {}


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Measure on PostgreSQL only: on SQLite one process writes at a time."""
    if not isinstance(place, PostgresPlace):
        return []
    rows = []
    for steps in _SIZES:
        found = {}
        for n_servers in sizes.ingest_servers:
            load = Load(sizes.ingest_agents, sizes.ingest_s, steps)
            name = f"{n_servers} server" + ("s" if n_servers > 1 else "")
            found[name] = taken(place.new_database(), n_servers, load)
            say(f"{steps} records a delivery, {name}: {found[name].points} points")
        rows += _rows(
            f"{sizes.ingest_agents} agents, {steps * _METRICS:,} points a delivery", found
        )
    return rows


def _rows(of: str, found: dict[str, Taken]) -> list[Row]:
    def row(what: str, unit: str, figures: dict[str, float], note: str = "") -> Row:
        return Row(f"{of}: {what}", "PostgreSQL", unit, None, None, note=note, beside=figures)

    away = ", ".join(str(one.away) for one in found.values())
    shares = [
        f"{one.commits / len(one.took):.1f} transactions and {one.syncs / len(one.took):.2f} syncs"
        for one in found.values()
    ]
    return [
        row("taken", "points/s", {name: one.points / one.seconds for name, one in found.items()}),
        row(
            "deliveries",
            "points/s",
            {name: len(one.took) / one.seconds for name, one in found.items()},
            f"told to come again: {away}",
        ),
        *(
            row(f"a delivery, p{n}", "s", {name: one.quantile_s(n) for name, one in found.items()})
            for n in (50, 95, 99)
        ),
        row(
            "CPU of the servers, a delivery",
            "s",
            {name: one.server_s / len(one.took) for name, one in found.items()},
        ),
        row(
            "CPU of PostgreSQL, a delivery",
            "s",
            {name: one.database_s / len(one.took) for name, one in found.items()},
            f"a delivery: {'; '.join(shares)}",
        ),
    ]


def taken(url: str, n_servers: int, load: Load) -> Taken:
    """Start servers on a database, have all agents deliver, and count what is there.

    Raises:
        RuntimeError: What is in the database is not what was acknowledged.
    """
    engine = sa.create_engine(url)
    with contextlib.ExitStack() as stack:
        specs = []
        for _ in range(n_servers):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            uri = url.replace("postgresql+psycopg:", "postgresql+weir:")
            command = ["server", "--backend-store-uri", uri]
            specs.append(ServerSpec(command, folder, (RUNS_NO_JOB,), workers=load.workers))
        servers = stack.enter_context(start_servers(*specs))
        before = _used(engine, servers)
        began_s = time.monotonic()
        took, n_points, n_away = _delivered([one.address for one in servers], load)
        seconds = time.monotonic() - began_s
        used = [now - then for now, then in zip(_used(engine, servers), before, strict=True)]
    with engine.connect() as connection:
        stored = connection.execute(
            sa.text(
                "SELECT (SELECT coalesce(sum(n_points), 0) FROM weir_chunk)"
                " + (SELECT coalesce(sum(n_points), 0) FROM weir_batch)"
            )
        ).scalar_one()
    engine.dispose()
    if stored != n_points:
        raise RuntimeError(f"{n_points} points were acknowledged, {stored} are there")
    return Taken(took, n_points, n_away, seconds, used[0], used[1], int(used[2]), int(used[3]))


def _used(engine: sa.Engine, servers: Sequence[ServerProcess]) -> list[float]:
    """Return processor time of the servers and of PostgreSQL, transactions, and syncs so far."""
    groups = {server.group for server in servers}
    server_s = 0.0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) in groups:
                times = process.cpu_times()
                server_s += times.user + times.system
    query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    with engine.connect() as connection:
        folder = connection.exec_driver_sql("SHOW data_directory").scalar_one()
        commits = connection.exec_driver_sql(query).scalar_one()
        syncs = connection.exec_driver_sql("SELECT wal_sync FROM pg_stat_wal").scalar_one()
    postmaster = psutil.Process(int(Path(folder, "postmaster.pid").read_text().split()[0]))
    ended = postmaster.cpu_times()
    database_s = ended.children_user + ended.children_system
    for child in postmaster.children():
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            database_s += times.user + times.system
    return [server_s, database_s, commits, syncs]


def _delivered(addresses: Sequence[str], load: Load) -> tuple[list[float], int, int]:
    """Have all agents deliver; return the seconds of each delivery, points, and 503s."""
    sizes = [load.agents // _PROCESSES + (n < load.agents % _PROCESSES) for n in range(_PROCESSES)]
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", _AGENTS, ",".join(addresses)),
                *map(str, (size, load.seconds, _METRICS, load.steps)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for size in sizes
        if size
    ]
    took: list[float] = []
    n_points = n_away = 0
    for process in processes:
        told, _ = process.communicate()
        if process.returncode:
            raise RuntimeError("an agent failed")
        some, points, away = json.loads(told)
        took, n_points, n_away = took + some, n_points + points, n_away + away
    return took, n_points, n_away


def main() -> None:
    """Measure what the command line says, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", default="1,2,4", help="numbers of servers")
    parser.add_argument("--workers", type=int, default=1, help="processes of a server")
    parser.add_argument("--agents", type=int, default=64, help="that deliver at once")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--steps", default="10,300", help="records of a delivery")
    given = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; {vars(given)}")
    for steps in map(int, given.steps.split(",")):
        found: dict[str, Taken] = {}
        load = Load(given.agents, given.seconds, steps, given.workers)
        for n_servers in given.servers.split(","):
            with _durable() as url:
                found[n_servers] = taken(url, int(n_servers), load)
        for row in _rows(f"{given.agents} agents, {steps * _METRICS:,} points", found):
            figures = "  ".join(f"{value:12.5g}" for value in row.beside.values())
            print(f"{row.measure:60} {figures}  {row.note}")


@contextlib.contextmanager
def _durable() -> Iterator[str]:
    with run_postgres(Path(tempfile.gettempdir())) as postgres:
        yield postgres.new_mlflow_database()


if __name__ == "__main__":
    main()
