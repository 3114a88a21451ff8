"""Real database servers for tests, and a fresh database on them for each test.

A pytest plugin (``pytest_plugins = ["databases"]``). PostgreSQL and MariaDB are started once a
session (once a worker under pytest-xdist), on first use, in a folder of their own on a memory file
system where there is one, as an unprivileged user where the tests run as root, and without any
durability: a test of crash durability needs a server of its own. They listen on a free port of
127.0.0.1, die with the process that started them, and their folders are removed at the end.

Fixtures:

* ``sqlite_url``, ``postgres_url``, ``mariadb_url``: a new empty database;
* ``database_url``: the three in turn, with the ids ``sqlite``, ``postgresql``, ``mariadb``;
* ``mlflow_database_url``: the three in turn, each with MLflow's tables already in it (copied from
  one that MLflow migrated once a session; creating them takes MLflow seconds);
* ``database_server``: the three in turn, for tests that need several databases: it has
  ``new_database()`` and ``new_mlflow_database()``.

URLs are in SQLAlchemy's form with the drivers that MLflow users have: ``sqlite:///…``,
``postgresql+psycopg://…``, ``mysql+pymysql://…``. A server that is not installed skips the test,
or fails it where ``WEIR_REQUIRE_COMPONENTS=1``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import psycopg
import pymysql
import pytest
import sqlalchemy
from pymysql.constants import CLIENT

Running = TypeVar("Running")

START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 60.0
START_ATTEMPTS = 5  # another process can take the free port before the server does


class MissingComponent(Exception):
    """A program that these tests run is not on this machine."""


class DatabaseServer(ABC):
    """A place that holds databases: a running server, or a folder of SQLite files.

    Attributes:
        dialect: ``sqlite``, ``postgresql`` or ``mariadb``.
    """

    dialect: str

    def __init__(self) -> None:
        self._template: str | None = None
        self._names: set[str] = set()

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"weir_{uuid.uuid4().hex[:16]}"
        self._create(name)
        self._names.add(name)
        return self.url(name)

    def new_mlflow_database(self, name: str | None = None) -> str:
        """Create a database that holds MLflow's tables, without rows, and return its URL.

        Args:
            name: Call it so, in place of one that is there, and leave it when all are dropped.
        """
        if self._template is None:
            template = f"weir_template_{uuid.uuid4().hex[:16]}"
            self._create(template)
            create_mlflow_tables(self.url(template))
            self._prepare_template(template)
            self._template = template
        if name is None:
            name = f"weir_{uuid.uuid4().hex[:16]}"
            self._names.add(name)
        else:
            self._drop(name)
        self._copy(self._template, name)
        return self.url(name)

    def drop_all(self) -> None:
        """Drop every database handed out so far, whoever is connected to it."""
        while self._names:
            self._drop(self._names.pop())

    def drop_template(self) -> None:
        """Drop what databases with MLflow's tables are copied from; the next makes it anew."""
        if self._template is not None:
            self._drop(self._template)
            self._template = None

    @abstractmethod
    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of the database ``name``."""

    @abstractmethod
    def _create(self, name: str) -> None: ...

    @abstractmethod
    def _copy(self, template: str, name: str) -> None: ...

    @abstractmethod
    def _drop(self, name: str) -> None: ...

    def _prepare_template(self, name: str) -> None:  # noqa: B027 - most need nothing
        """Read what ``_copy`` needs from the template, once."""


class SqliteFolder(DatabaseServer):
    """SQLite files in one folder."""

    dialect = "sqlite"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def url(self, name: str) -> str:
        return f"sqlite:///{self._path(name)}"

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.db"

    def _create(self, name: str) -> None:
        """Do nothing: SQLite creates the file when it is first opened."""

    def _copy(self, template: str, name: str) -> None:
        shutil.copyfile(self._path(template), self._path(name))

    def _drop(self, name: str) -> None:
        for path in self._folder.glob(f"{name}.db*"):
            path.unlink(missing_ok=True)


class PostgresServer(DatabaseServer):
    """A running PostgreSQL."""

    dialect = "postgresql"

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/{name}"

    def _execute(self, statement: str) -> None:
        address = f"host=127.0.0.1 port={self._port} user=postgres dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)

    def _create(self, name: str) -> None:
        self._execute(f"CREATE DATABASE {name}")

    def _copy(self, template: str, name: str) -> None:
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def _drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class CrashingPostgres(PostgresServer):
    """A PostgreSQL that can be killed, all of its processes, and started again on its data.

    Started by the main thread alone: it dies with the thread that started it.
    """

    def __init__(
        self,
        command_for: Callable[[int], Sequence[str | Path]],
        folder: Path,
        user: str | None,
    ) -> None:
        super().__init__(_free_port())
        self._command = command_for(self._port)
        self._folder, self._user = folder, user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it has recovered and answers."""
        self._process = _spawn(self._command, self._folder, self._user)
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                _connect_to_postgres(self._port)
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "log").read_text()[-4000:]
                    raise RuntimeError(f"no answer:\n{log}") from None
                time.sleep(0.02)

    def kill(self) -> None:
        """Kill every process of the server at once: nothing is flushed, nobody is told."""
        if self._process is None:
            return
        pid = self._process.pid
        self._process.send_signal(signal.SIGSTOP)  # or it starts others meanwhile
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + STOP_DEADLINE_S
        while any(Path(f"/proc/{child}").exists() for child in children):
            if time.monotonic() > deadline:
                raise RuntimeError(f"some of {children} did not go")
            time.sleep(0.005)
        self._process = None


class MariadbServer(DatabaseServer):
    """A running MariaDB."""

    dialect = "mariadb"

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._template_sql = ""

    def url(self, name: str) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self._port}/{name}"

    @contextlib.contextmanager
    def _connect(self, name: str | None = None) -> Iterator[pymysql.cursors.Cursor]:
        connection = pymysql.connect(
            host="127.0.0.1",
            port=self._port,
            user="root",
            database=name,
            charset="utf8mb4",
            autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS,
        )
        with connection, connection.cursor() as cursor:
            yield cursor

    def _create(self, name: str) -> None:
        with self._connect() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")

    def _prepare_template(self, name: str) -> None:
        """Keep the template as one script: every table as it is, then every row of it."""
        statements = ["SET FOREIGN_KEY_CHECKS = 0"]
        with self._connect(name) as cursor:
            cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
            for table, _ in cursor.fetchall():
                cursor.execute(f"SHOW CREATE TABLE `{table}`")
                statements.append(cursor.fetchall()[0][1])
                cursor.execute(f"SELECT * FROM `{table}`")
                for row in cursor.fetchall():
                    values = ", ".join(cursor.mogrify("%s", (value,)) for value in row)
                    statements.append(f"INSERT INTO `{table}` VALUES ({values})")
        statements.append("SET FOREIGN_KEY_CHECKS = 1")
        self._template_sql = ";\n".join(statements)

    def _copy(self, template: str, name: str) -> None:
        self._create(name)
        with self._connect(name) as cursor:
            cursor.execute(self._template_sql)
            while cursor.nextset():
                pass

    def _drop(self, name: str) -> None:
        with self._connect() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
            for (connection_id,) in cursor.fetchall():
                with contextlib.suppress(pymysql.err.OperationalError):  # it has gone by itself
                    cursor.execute(f"KILL {connection_id}")
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")


@functools.cache
def _sqlite_file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="weir-template-") as folder:
        create_mlflow_tables(f"sqlite:///{folder}/a.db")
        return Path(folder, "a.db").read_bytes()


def put_mlflow_tables(path: Path) -> None:
    """Put a SQLite database with MLflow's tables there, without rows, and the folder with it.

    A store at the end of a path, or one that a server is to open there, then begins in a moment;
    one without takes MLflow seconds to make.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_sqlite_file())


def create_mlflow_tables(url: str) -> None:
    """Create MLflow's tables in the empty database at ``url``, as MLflow's own migrations do."""
    # MLflow takes more than a second to import: only tests that use it pay.
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    engine: sqlalchemy.Engine = create_sqlalchemy_engine(url)
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()


@contextlib.contextmanager
def _work_folder(
    prefix: str, user: str | None, parent: Path | None = None, *, kept: bool = False
) -> Iterator[Path]:
    """Make a folder for a server, in memory unless told where, and remove it after.

    Args:
        prefix: Its name begins so.
        user: Whose it is; None for ours.
        parent: What it is in; None for memory.
        kept: Take the parent itself, and leave it.
    """
    if kept and parent is not None:
        if user is not None:
            shutil.chown(parent, user, pwd.getpwnam(user).pw_gid)
        yield parent
        return
    memory = Path("/dev/shm")
    if parent is None and os.access(memory, os.W_OK):
        parent = memory
    # Short, because a Unix socket in it must have a path of at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        if user is not None:
            shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(*candidates: str) -> str | None:
    """Name the user to run a server as; None (ourselves) unless we are root, which servers refuse.

    Raises:
        MissingComponent: We are root and there is none of ``candidates``.
    """
    if os.geteuid() != 0:
        return None
    for name in candidates:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise MissingComponent(f"none of the users {', '.join(candidates)} exists")


def _spawn(
    command: Sequence[str | Path], folder: Path, user: str | None
) -> subprocess.Popen[bytes]:
    """Start ``command`` in ``folder`` as ``user``, its output going to the file ``log`` there."""
    words = [str(word) for word in command]
    if shutil.which("setpriv"):
        # Should the tests be killed, no fixture will stop the server: it goes with its parent.
        words = ["setpriv", "--pdeathsig", "QUIT", *words]
    gid = pwd.getpwnam(user).pw_gid if user is not None else None
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            words,
            cwd=folder,
            env={
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "LC_ALL": "C.UTF-8",
                "HOME": str(folder),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            group=gid,
            extra_groups=[] if user is not None else None,
        )


def _run_to_end(command: Sequence[str | Path], folder: Path, user: str | None) -> None:
    """Run ``command`` as ``_spawn`` does and raise with its output where it fails."""
    if _spawn(command, folder, user).wait(timeout=START_DEADLINE_S) != 0:
        raise RuntimeError(f"{command[0]} failed:\n{(folder / 'log').read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server at once, but let it take its shared memory along."""
    process.send_signal(signal.SIGQUIT)  # PostgreSQL's immediate shutdown; MariaDB's usual one
    try:
        process.wait(timeout=STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def _serving(
    command_for: Callable[[int], Sequence[str | Path]],
    folder: Path,
    user: str | None,
    connect: Callable[[int], None],
) -> Iterator[int]:
    """Run a server on a free port until the block ends, and yield the port once it answers.

    Args:
        command_for: The command that serves a port in the foreground.
        folder: Where it runs and logs.
        user: Whom it runs as.
        connect: Connects to the port; raises while nothing answers there.
    """
    for attempt in range(START_ATTEMPTS):
        port = _free_port()
        process = _spawn(command_for(port), folder, user)
        try:
            deadline = time.monotonic() + START_DEADLINE_S
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    connect(port)
                except (psycopg.OperationalError, pymysql.err.OperationalError):
                    time.sleep(0.02)
                else:
                    # Whoever answers may be a stranger who took the port before our server.
                    if process.poll() is None:
                        yield port
                        return
            if process.poll() is None or attempt == START_ATTEMPTS - 1:
                raise RuntimeError(f"no answer:\n{(folder / 'log').read_text()[-4000:]}")
        finally:
            _stop(process)


@contextlib.contextmanager
def run_postgres(
    durable_in: Path | None = None, *, kept: bool = False
) -> Iterator[PostgresServer]:
    """Run a PostgreSQL until the block ends.

    Args:
        durable_in: Keep the data below this folder, with the durability that PostgreSQL has by
            default (the benchmarks time writes); None is for tests: in memory, without any.
        kept: Keep them in the folder itself, and go on with what is there.

    Raises:
        MissingComponent: PostgreSQL is not installed.
    """
    with _postgres_data(durable_in, kept) as (folder, user, command_for):
        with _serving(command_for, folder, user, _connect_to_postgres) as port:
            yield PostgresServer(port)


@contextlib.contextmanager
def run_crashing_postgres(durable_in: Path) -> Iterator[CrashingPostgres]:
    """Run a PostgreSQL, as durable as it is by default, that a test may kill and start again.

    Args:
        durable_in: Keep the data below this folder.

    Raises:
        MissingComponent: PostgreSQL is not installed.
    """
    with _postgres_data(durable_in) as (folder, user, command_for):
        server = CrashingPostgres(command_for, folder, user)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def _postgres_data(
    durable_in: Path | None, kept: bool = False
) -> Iterator[tuple[Path, str | None, Callable[[int], Sequence[str | Path]]]]:
    """Make a data folder; give its parent, whom to serve it as, and with which command."""
    programs = _find_postgres()
    user = _unprivileged("postgres", "nobody")
    with _work_folder("wpg", user, durable_in, kept=kept) as folder:
        data = folder / "data"
        options = ("-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--no-locale")
        if not (data / "PG_VERSION").is_file():
            shutil.rmtree(data, ignore_errors=True)
            _run_to_end([programs / "initdb", "-D", data, *options], folder, user)

        def command_for(port: int) -> Sequence[str | Path]:
            options = {
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": str(folder),
                "max_connections": "200",
            }
            if durable_in is None:
                options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
            words = [word for item in options.items() for word in ("-c", "=".join(item))]
            return [programs / "postgres", "-D", data, "-p", str(port), *words]

        yield folder, user, command_for


def _connect_to_postgres(port: int) -> None:
    psycopg.connect(
        f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=5"
    ).close()


def postgres_program(name: str) -> Path:
    """Return a program of the installed server's version, such as ``pg_dump``.

    Raises:
        MissingComponent: PostgreSQL is not installed.
    """
    return _find_postgres() / name


def _find_postgres() -> Path:
    """Return the folder of the newest installed server's programs."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: float(path.parents[1].name),
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise MissingComponent("PostgreSQL's server is not installed (package postgresql)")
    return Path(on_path).resolve().parent


@contextlib.contextmanager
def run_mariadb() -> Iterator[MariadbServer]:
    """Run a MariaDB until the block ends.

    Raises:
        MissingComponent: MariaDB is not installed.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    server, install = (
        shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db")
    )
    if server is None or install is None:
        raise MissingComponent("MariaDB's server is not installed (package mariadb-server)")
    user = _unprivileged("mysql", "nobody")
    with _work_folder("wma", user) as folder:
        data = folder / "data"
        password_less = "--auth-root-authentication-method=normal"
        # --no-defaults comes first, or the files of /etc/mysql are read.
        _run_to_end(
            [install, "--no-defaults", f"--datadir={data}", "--skip-test-db", password_less],
            folder,
            user,
        )

        def command_for(port: int) -> Sequence[str | Path]:
            return [
                server,
                "--no-defaults",
                f"--datadir={data}",
                f"--socket={folder / 's.sock'}",
                f"--pid-file={folder / 'pid'}",
                "--bind-address=127.0.0.1",
                f"--port={port}",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=128M",
                "--skip-log-bin",
                "--skip-name-resolve",
                "--character-set-server=utf8mb4",
                "--max-connections=200",
            ]

        def connect(port: int) -> None:
            pymysql.connect(host="127.0.0.1", port=port, user="root", connect_timeout=5).close()

        with _serving(command_for, folder, user, connect) as port:
            yield MariadbServer(port)


@contextlib.contextmanager
def or_skip(
    server: contextlib.AbstractContextManager[Running],
) -> Iterator[Running]:
    """Enter ``server``; skip the test where its program is missing, or fail where it must not."""
    with contextlib.ExitStack() as stack:
        try:
            entered = stack.enter_context(server)
        except MissingComponent as exc:
            if os.environ.get("WEIR_REQUIRE_COMPONENTS") == "1":
                pytest.fail(f"missing component: {exc}")
            pytest.skip(f"missing component: {exc}")
        yield entered


@pytest.fixture(scope="session")
def sqlite_folder() -> Iterator[DatabaseServer]:
    """Keep SQLite files of this session."""
    with _work_folder("wsq", None) as folder:
        yield SqliteFolder(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[DatabaseServer]:
    """Run one PostgreSQL for this session."""
    with or_skip(run_postgres()) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[DatabaseServer]:
    """Run one MariaDB for this session."""
    with or_skip(run_mariadb()) as server:
        yield server


_SERVER_FIXTURES = {
    "sqlite": "sqlite_folder",
    "postgresql": "postgres_server",
    "mariadb": "mariadb_server",
}


@pytest.fixture(params=list(_SERVER_FIXTURES))
def database_server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """Give each kind of database in turn; what a test creates there is dropped after it."""
    server: DatabaseServer = request.getfixturevalue(_SERVER_FIXTURES[request.param])
    yield server
    server.drop_all()


@pytest.fixture
def database_url(database_server: DatabaseServer) -> str:
    """Give an empty database of each kind in turn."""
    return database_server.new_database()


@pytest.fixture
def mlflow_database_url(database_server: DatabaseServer) -> str:
    """Give a database with MLflow's tables, of each kind in turn."""
    return database_server.new_mlflow_database()


@pytest.fixture
def sqlite_url(sqlite_folder: DatabaseServer) -> Iterator[str]:
    """Give a new SQLite database."""
    yield sqlite_folder.new_database()
    sqlite_folder.drop_all()


@pytest.fixture
def postgres_url(postgres_server: DatabaseServer) -> Iterator[str]:
    """Give a new PostgreSQL database."""
    yield postgres_server.new_database()
    postgres_server.drop_all()


@pytest.fixture
def mariadb_url(mariadb_server: DatabaseServer) -> Iterator[str]:
    """Give a new MariaDB database."""
    yield mariadb_server.new_database()
    mariadb_server.drop_all()


@contextlib.contextmanager
def run_read_replica(postgres_url: str) -> Iterator[str]:
    """Run a streaming replica of a PostgreSQL until the block ends; yield a database's URL there.

    Args:
        postgres_url: A database of the primary, which is on this machine.
    """
    programs, user = _find_postgres(), _unprivileged("postgres", "nobody")
    primary = sqlalchemy.make_url(postgres_url)
    with _work_folder("wpr", user) as folder:
        data = folder / "data"
        words = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-R"]
        words += ["-X", "stream", "-c", "fast"]
        _run_to_end([programs / "pg_basebackup", "-D", data, *words], folder, user)

        def command_for(port: int) -> Sequence[str | Path]:
            options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}"]
            options += ["max_connections=200", "fsync=off"]  # as many as the primary's at least
            words = [word for one in options for word in ("-c", one)]
            return [programs / "postgres", "-D", data, "-p", str(port), *words]

        with _serving(command_for, folder, user, _connect_to_postgres) as port:
            yield primary.set(port=port).render_as_string(hide_password=False)
