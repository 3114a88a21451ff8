"""How much several servers on one PostgreSQL take at once, and how long a delivery is under way.

    python benchmarks/ingest.py --servers 1,2,4 --agents 64 --seconds 30

Each agent sends the next delivery when the last is answered, as Weir's does, and comes again when
it is told to. Agents are processes of their own, so that they do not wait for each other; the
database is durable, on the disk below the temporary folder. Points are counted in the database.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_SUPPORT = Path(__file__).resolve().parent.parent / "tests" / "support"
sys.path.insert(0, str(_SUPPORT))

from databases import run_postgres  # noqa: E402
from mlflow_server import RUNS_NO_JOB, ServerSpec, start_servers  # noqa: E402

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
    while time.monotonic() < end or payloads:
        if not payloads:
            for step in range(step, step + n_records):
                points = [(f"m{k}", step, step, k / 3) for k in range(n_keys)]
                payloads.append(encode_points(run_id, points))
            step += 1
        frames = b"".join(map(frame, payloads))
        headers = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip",
                   "X-Weir-Journal": journal, "X-Weir-Start": str(position),
                   "X-Weir-End": str(position + len(frames)), "X-Weir-Fencing": "1"}
        began = time.monotonic()
        connection.request("POST", "/ajax-api/3.0/weir/ingest", gzip.compress(frames, 1), headers)
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


def main() -> None:
    """Measure each number of servers, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default="1,2", help="numbers of servers")
    parser.add_argument("--workers", type=int, default=1, help="processes of a server")
    parser.add_argument("--agents", type=int, default=32, help="that deliver at once")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--metrics", type=int, default=50, help="points of a record")
    parser.add_argument("--steps", type=int, default=10, help="records of a delivery")
    given = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; {vars(given)}")
    print("servers  deliveries/s   points/s   p50 ms   p95 ms   p99 ms   told to come again")
    for n_servers in map(int, given.servers.split(",")):
        found = _measured(n_servers, given)
        print(
            f"{n_servers:7}  {found['deliveries']:12.0f}  {found['points']:9.0f}"
            f"  {found['p50']:7.0f}  {found['p95']:7.0f}  {found['p99']:7.0f}  {found['away']:10}"
        )


def _measured(n_servers: int, given: argparse.Namespace) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(run_postgres(Path(tempfile.gettempdir())))
        url = postgres.new_mlflow_database()
        specs = []
        for _ in range(n_servers):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            uri = url.replace("postgresql+psycopg:", "postgresql+weir:")
            command = ["server", "--backend-store-uri", uri]
            specs.append(ServerSpec(command, folder, (RUNS_NO_JOB,), workers=given.workers))
        servers = stack.enter_context(start_servers(*specs))
        took, n_points, n_away = _delivered([one.address for one in servers], given)
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            stored = connection.execute(
                sa.text(
                    "SELECT (SELECT coalesce(sum(n_points), 0) FROM weir_chunk)"
                    " + (SELECT coalesce(sum(n_points), 0) FROM weir_batch)"
                )
            ).scalar_one()
        engine.dispose()
        if stored != n_points:
            raise SystemExit(f"{n_points} points were acknowledged, {stored} are there")
    centiles = statistics.quantiles(took, n=100)
    return {
        "deliveries": len(took) / given.seconds,
        "points": n_points / given.seconds,
        **{f"p{n}": 1000 * centiles[n - 1] for n in (50, 95, 99)},
        "away": n_away,
    }


def _delivered(
    addresses: Sequence[str], given: argparse.Namespace
) -> tuple[list[float], int, int]:
    """Have all agents deliver; return the seconds of each delivery, points, and 503s."""
    sizes = [
        given.agents // _PROCESSES + (n < given.agents % _PROCESSES) for n in range(_PROCESSES)
    ]
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", _AGENTS, ",".join(addresses)),
                *map(str, (size, given.seconds, given.metrics, given.steps)),
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
            raise SystemExit("an agent failed")
        some, points, away = json.loads(told)
        took, n_points, n_away = took + some, n_points + points, n_away + away
    return took, n_points, n_away


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s in all")
