"""``weir ui``: MLflow's UI on an embedded or named store."""

from __future__ import annotations

from pathlib import Path

import click

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.cli.stores import is_server, store_at
from mlflow_weir.plugin.uri import without_secrets

DEFAULT_PORT = 5000


@click.command()
@click.argument("uri", default="weir:", envvar="MLFLOW_TRACKING_URI")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=None,
    help=f"Port to listen on, 0 for any free one.  [default: {DEFAULT_PORT}, or a free one]",
)
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes."
)
def ui(uri: str, host: str, port: int | None, workers: int) -> None:
    """Serve MLflow's UI on the store at URI until Ctrl-C.

    URI is `weir:` (the default unless MLFLOW_TRACKING_URI is set), `weir:///abs/dir`, or a
    database such as `sqlite+weir:///abs/mlflow.db`.
    """
    run_ui(
        uri,
        host=host,
        port=DEFAULT_PORT if port is None else port,
        or_free_port=port is None,
        workers=workers,
    )


def run_ui(uri: str, *, host: str, port: int, or_free_port: bool, workers: int) -> None:
    """Serve the store at ``uri`` until a stop signal, and say where and how to stop it.

    Raises:
        ConfigError: ``uri`` names no store, or the port is taken and must be that one.
        ServerFailed: MLflow's server ended by itself or never answered.
    """
    shown = without_secrets(uri)
    if is_server(uri):
        raise ConfigError(f"{shown}: this is a server already", hint="open it in a browser")
    store_uri, artifact_root = store_at(uri)
    if artifact_root is not None:
        ensure_folder(uri, store_uri)
    # Here and not at the top: this is the one layer that may reach ui_extensions, and lazily.
    from mlflow_weir.ui_extensions.server import ServerOptions, choose_port, serve

    chosen = choose_port(host, port, or_free=or_free_port)
    if chosen != port != 0:
        click.echo(f"Port {port} is taken; using {chosen}.")
    click.echo(f"Starting MLflow's UI on {shown} (several seconds) ...")
    serve(
        ServerOptions(store_uri, artifact_root, host, chosen, workers),
        announce=lambda address, log: click.echo(
            f"Open {address}\n(Ctrl-C stops it; the server's log is {log})"
        ),
    )
    click.echo("Stopped.")


def ensure_folder(uri: str, database_uri: str) -> None:
    """Make the folder of an embedded store, which SQLite would not.

    Raises:
        ConfigError: It cannot be made.
    """
    folder = Path(database_uri.removeprefix("sqlite+weir:///")).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"{without_secrets(uri)}: cannot use the folder {folder}: {exc.strerror}",
            hint="set WEIR_HOME to a folder you can write, or name one as weir:///abs/dir",
        ) from exc
