"""A real PgBouncer in transaction mode before a PostgreSQL of the tests."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa

from databases import (
    START_DEADLINE_S,
    MissingComponent,
    _connect_to_postgres,
    _free_port,
    _spawn,
    _unprivileged,
    _work_folder,
)

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={postgres}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
"""


class Pooler:
    """A PgBouncer that a test may kill and start again.

    Started by the main thread alone: it dies with the thread that started it.
    """

    def __init__(self, program: str, folder: Path, user: str | None, port: int) -> None:
        self._command: list[str | Path] = [program, folder / "pgbouncer.ini"]
        self._folder, self._user, self._port = folder, user, port
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database_url: str, driver: str = "psycopg") -> str:
        """Return the way to a database through it."""
        url = sa.make_url(database_url).set(port=self._port, drivername=f"postgresql+{driver}")
        return url.render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it and wait until it answers."""
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            # Also again: somebody's connection may have the port for a moment, as its own end.
            if self._process is None or self._process.poll() is not None:
                self._process = _spawn(self._command, self._folder, self._user)
            with contextlib.suppress(psycopg.OperationalError):
                _connect_to_postgres(self._port)
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"no answer:\n{(self._folder / 'log').read_text()[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once; its clients lose their connections."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def run_pooler(postgres_url: str, pool_size: int) -> Iterator[Pooler]:
    """Run one until the block ends.

    Args:
        postgres_url: A database on the server that it stands before.
        pool_size: Connections that it opens to one database at most.

    Raises:
        MissingComponent: It is not installed.
    """
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        raise MissingComponent("PgBouncer is not installed (package pgbouncer)")
    user = _unprivileged("postgres", "nobody")
    port = _free_port()
    with _work_folder("wpb", user) as folder:
        (folder / "users").write_text('"postgres" ""\n')
        text = CONFIGURATION.format(
            postgres=sa.make_url(postgres_url).port, port=port, folder=folder, pool_size=pool_size
        )
        (folder / "pgbouncer.ini").write_text(text)
        pooler = Pooler(program, folder, user, port)
        pooler.start()
        try:
            yield pooler
        finally:
            pooler.kill()
