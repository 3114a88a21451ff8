"""``weir demo``: real training scripts that know nothing of Weir, then the UI on their runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.cli.ui import DEFAULT_PORT, run_ui
from mlflow_weir.processes import POLL_S, start_group, stop_event, stop_group
from mlflow_weir.settings import child_environment

SCRIPTS = ("train_sklearn.py", "train_numpy.py")
SCRIPTS_FOLDER = Path(__file__).resolve().parent.parent / "demo"
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


@click.command()
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default="demo-data",
    show_default=True,
    help="Folder for the demo's store.",
)
@click.option("--serve/--no-serve", default=True, show_default=True, help="Open the UI after it.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the UI; a free one where it is taken.",
)
def demo(home: Path, serve: bool, port: int) -> None:
    """Train small real models with plain MLflow calls, then open the UI on them.

    The scripts import MLflow, NumPy and scikit-learn alone; MLFLOW_TRACKING_URI=weir: is all
    that makes them log to Weir.
    """
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    for script in SCRIPTS:
        if not run_script(SCRIPTS_FOLDER / script, home):
            click.echo("Stopped before the end of the training.")
            sys.exit(INTERRUPTED)
    click.echo(f"The runs are in {home}; `weir ui weir://{home}` shows them again.")
    if serve:
        run_ui(f"weir://{home}", host="127.0.0.1", port=port, or_free_port=True, workers=1)


def run_script(script: Path, home: Path) -> bool:
    """Run a training script that logs to the store in ``home``.

    Returns:
        True when it ran to its end, False when a signal asked us to stop it.

    Raises:
        WeirError: The script failed; what it printed says why.
    """
    click.echo(f"$ MLFLOW_TRACKING_URI=weir: WEIR_HOME={home} python {script.name}")
    started = time.monotonic()
    with stop_event() as asked:
        process = start_group(
            [sys.executable, str(script)],
            env=child_environment(MLFLOW_TRACKING_URI="weir:", WEIR_HOME=str(home)),
        )
        try:
            while process.poll() is None and not asked.wait(POLL_S):
                pass
        finally:
            stop_group(process)
        if asked.is_set():
            return False
    if process.returncode != 0:
        raise WeirError(f"{script.name} ended with status {process.returncode}")
    click.echo(f"  {time.monotonic() - started:.0f} s")
    return True
