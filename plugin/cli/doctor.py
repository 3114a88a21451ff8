"""``weir doctor``: what is right and wrong with the installation and a store, and what to do.

Each check returns a ``Finding``; a check that fails says what to do about it. Nothing is created
or changed, but for an empty file that is written to the artifact folder and removed at once.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_weir import __version__
from mlflow_weir.errors import ConfigError, SchemaMismatch
from mlflow_weir.plugin.cli.doctor_alerts import check_alerts
from mlflow_weir.plugin.cli.doctor_capture import (
    as_allowed,
    check_captures,
    check_console,
    check_hardware,
)
from mlflow_weir.plugin.cli.doctor_spool import (
    MIN_FREE_BYTES,
    Finding,
    allowed_captures,
    examine_servers,
    examine_spool,
)
from mlflow_weir.plugin.cli.stores import is_server, store_at
from mlflow_weir.plugin.uri import Backend, strip, without_secrets
from mlflow_weir.settings import ALL

if TYPE_CHECKING:
    import sqlalchemy as sa

CONNECT_TIMEOUT_S = 10
MLFLOW_MINORS = ((3, 15), (3, 17))  # first and last, both supported; as pyproject.toml has it


@click.command()
@click.argument("uri", default="weir:", envvar="MLFLOW_TRACKING_URI")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(uri: str, as_json: bool) -> None:
    """Check the installation and the store at URI; say what to do.

    Exits with status 1 when something needs doing.
    """
    findings = examine(uri)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{'ok ' if finding.ok else 'BAD'}  {finding.check}: {finding.detail}")
            if finding.hint:
                click.echo(f"     {finding.hint}")
    if not all(finding.ok for finding in findings):
        sys.exit(1)


def examine(uri: str) -> list[Finding]:
    """Run every check that applies to ``uri``."""
    findings = [check_versions(), check_settings(), check_git()]
    if all(finding.ok for finding in findings if finding.check == "settings"):
        captures = [*check_captures(), check_console(), check_hardware()]
        findings += as_allowed(captures, allowed_captures(uri)) if is_server(uri) else captures
        findings += examine_spool()
    findings += examine_servers(uri if is_server(uri) else None)
    if is_server(uri):
        return findings
    try:
        backend = store_at(uri)
    except ConfigError as exc:
        return [*findings, Finding("store", False, without_secrets(uri), str(exc))]
    findings += check_database(backend)
    local = local_folder(backend)
    if local is not None:
        findings.append(check_folder(local))
        findings.append(check_disk(local))
    return findings


def check_versions() -> Finding:
    """Is the installed MLflow one that this release is tested with?"""
    version = importlib.metadata.version("mlflow")
    detail = f"Weir {__version__}, MLflow {version}, Python {sys.version.split()[0]}"
    found = re.match(r"(\d+)\.(\d+)", version)
    first, last = MLFLOW_MINORS
    if found is not None and first <= (int(found[1]), int(found[2])) <= last:
        return Finding("versions", True, detail)
    supported = f"{first[0]}.{first[1]} to {last[0]}.{last[1]}"
    return Finding("versions", False, detail, f"Install MLflow {supported}.")


def check_settings() -> Finding:
    """Does every WEIR_* variable hold a value that can work?"""
    changed, faults = [], []
    for setting in ALL:
        try:
            value: Any = setting.get()
        except ConfigError as exc:
            faults.append(str(exc))
        else:
            if value != setting.default:
                changed.append(f"{setting.name}={'(set)' if setting.is_secret else value}")
    if faults:
        return Finding("settings", False, "; ".join(faults), "See docs/configuration.md.")
    return Finding("settings", True, ", ".join(changed) or "all at their defaults")


def check_git() -> Finding:
    """Is git there? MLflow records the commit of a run with it."""
    path = shutil.which("git")
    if path is None:
        return Finding("git", False, "not found", "Install git, or runs carry no commit.")
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return Finding("git", answer.returncode == 0, answer.stdout.strip() or answer.stderr.strip())


def check_database(backend: Backend) -> list[Finding]:
    """Does the database answer, with tables of the installed versions, and are alerts sent?"""
    import sqlalchemy

    shown = without_secrets(backend.database_uri)
    url = sqlalchemy.make_url(strip(backend.database_uri))
    file = database_file(backend)
    if file is not None and not os.path.lexists(file):
        return [Finding("database", True, f"{shown}: not there yet, made on first use")]
    engine = sqlalchemy.create_engine(url, connect_args=_connect_args(url.get_backend_name()))
    try:
        with engine.connect() as connection:
            tables = set(sqlalchemy.inspect(connection).get_table_names())
            if "alembic_version" in tables:
                is_new = "alembic_version_weir" not in tables
                found = [check_schema(connection, shown, is_new=is_new)]
                has_alerts = found[0].ok and "weir_alert_target" in tables
                alerts = check_alerts(connection) if has_alerts else None
                return [*found, alerts] if alerts is not None else found
    except sqlalchemy.exc.SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", None) or exc).strip().splitlines()[0]
        hint = "Check the address, and that it is running."
        return [Finding("database", False, f"{shown}: {reason}", hint)]
    finally:
        engine.dispose()
    return [Finding("database", True, f"{shown}: empty, tables are made on first use")]


def check_schema(connection: sa.Connection, shown: str, *, is_new: bool) -> Finding:
    """Are MLflow's tables and Weir's at the revisions that the installed versions work with?

    Args:
        connection: To a database with MLflow's tables.
        shown: The database's URI for a message.
        is_new: Weir has not been here.
    """
    from alembic.migration import MigrationContext

    from mlflow_weir.plugin.mlflow_private import schema_revisions
    from mlflow_weir.store import migrations

    known = schema_revisions()
    found = MigrationContext.configure(connection).get_current_heads()
    if found != (known[0],):
        if set(found) <= set(known):
            fault, hint = "older than", "Take a back-up, then run `mlflow db upgrade URI`."
        else:
            fault, hint = "unknown to", "Install the MLflow that upgraded this database, or newer."
        detail = f"MLflow's tables are at {', '.join(found) or 'no revision'}, {fault} this MLflow"
        return Finding("database", False, f"{shown}: {detail}", hint)
    if is_new:
        return Finding("database", True, f"{shown}: MLflow's tables, Weir's on first use")
    try:
        steps = migrations.pending(connection)
    except SchemaMismatch as exc:
        return Finding("database", False, f"{shown}: {exc}", exc.hint)
    state = "brought up to date on next use" if steps else "both current"
    return Finding("database", True, f"{shown}: MLflow's tables and Weir's, {state}")


def _connect_args(backend_name: str) -> dict[str, Any]:
    """Limit how long a server that does not answer is waited for."""
    return {} if backend_name == "sqlite" else {"connect_timeout": CONNECT_TIMEOUT_S}


def database_file(backend: Backend) -> Path | None:
    """Return the SQLite file behind ``backend``; None for a server or ``:memory:``."""
    import sqlalchemy

    url = sqlalchemy.make_url(strip(backend.database_uri))
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def local_folder(backend: Backend) -> Path | None:
    """Return the folder that must be writable: the embedded store's, or the SQLite file's."""
    file = database_file(backend)
    return None if file is None else file.absolute().parent


def check_folder(folder: Path) -> Finding:
    """Can a file be written beside the database, where artifacts go too?"""
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.path.isdir(there):
        return Finding(
            "folder", False, f"{there} is not a folder", "Set WEIR_HOME to a folder, or move it."
        )
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".weir-doctor-"):
            pass
    except OSError as exc:
        return Finding(
            "folder",
            False,
            f"{there}: {exc.strerror}",
            "Set WEIR_HOME to a folder you can write, or change this one's owner.",
        )
    return Finding("folder", True, f"{there} is writable")


def check_disk(folder: Path) -> Finding:
    """Is there room for more than a few runs?"""
    free = shutil.disk_usage(existing_parent(folder)).free
    detail = f"{free / (1 << 30):.1f} GiB free"
    if free < MIN_FREE_BYTES:
        return Finding("disk", False, detail, "Free at least 1 GiB, or set WEIR_HOME elsewhere.")
    return Finding("disk", True, detail)


def existing_parent(folder: Path) -> Path:
    """Return the nearest folder at or above ``folder`` that exists."""
    return next(path for path in (folder, *folder.parents) if os.path.isdir(path))
