"""What a figure depends on besides the code: the machine and the versions."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib import metadata
from pathlib import Path

import sqlalchemy as sa

from mlflow_weir.filesystems import file_system_of

_DISTRIBUTIONS = (
    "mlflow", "mlflow-weir", "SQLAlchemy", "pyarrow", "numpy", "psycopg",
)  # fmt: skip


def describe_machine(folder: Path) -> dict[str, str]:
    """Describe the processor, memory and the disk that holds ``folder``, and how busy it is."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "disk": _disk(folder),
        "system": platform.system(),
        "load average at the start (1, 5, 15 min)": load,
    }


def describe_versions(postgres_url: str) -> dict[str, str]:
    """Return the versions of everything that takes part."""
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        postgres = connection.exec_driver_sql("SHOW server_version").scalar_one()
        fsync = connection.exec_driver_sql("SHOW fsync").scalar_one()
        buffers = connection.exec_driver_sql("SHOW shared_buffers").scalar_one()
    found = {"Python": platform.python_version()}
    found |= {name: metadata.version(name) for name in _DISTRIBUTIONS}
    found["SQLite"] = sqlite3.sqlite_version
    found["PostgreSQL"] = f"{postgres} (fsync {fsync}, shared_buffers {buffers}: its defaults)"
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _disk(folder: Path) -> str:
    kind = file_system_of(folder) or "unknown file system"
    device = folder.stat().st_dev
    node = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    for candidate in (node, node.parent):
        rotational = candidate / "queue" / "rotational"
        if rotational.is_file():
            spins = rotational.read_text().strip() == "1"
            # Virtual disks often say so whatever they are; the Writing section has a sync timed.
            return f"{kind}, reported as {'rotational' if spins else 'not rotational'}"
    return kind
