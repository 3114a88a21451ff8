"""The ``weir`` command; one module a command, imported when it is asked for.

``weir --help`` and ``weir --version`` answer without importing MLflow, SQLAlchemy or NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import click

from mlflow_weir import __version__
from mlflow_weir.errors import WeirError

__all__ = ["COMMANDS", "main"]


class LazyCommand(NamedTuple):
    """Where a command is, and the line that ``weir --help`` shows for it."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, LazyCommand] = {
    "agent": LazyCommand(
        "mlflow_weir.plugin.cli.agent",
        "agent",
        "Start or stop the background process by hand, or read its log.",
    ),
    "alert": LazyCommand(
        "mlflow_weir.plugin.cli.alert",
        "alert",
        "Show alerts; say what is one and to whom it is sent.",
    ),
    "db": LazyCommand(
        "mlflow_weir.plugin.cli.db",
        "db",
        "Upgrade, compact, check, archive, retain or eject a tracking database.",
    ),
    "demo": LazyCommand(
        "mlflow_weir.plugin.cli.demo",
        "demo",
        "Train small real models with plain MLflow calls, then open the UI on them.",
    ),
    "doctor": LazyCommand(
        "mlflow_weir.plugin.cli.doctor",
        "doctor",
        "Check the installation and a store; say what to do.",
    ),
    "export": LazyCommand(
        "mlflow_weir.plugin.cli.export",
        "export",
        "Write runs as files: JSON, every metric point, artifacts.",
    ),
    "hardware": LazyCommand(
        "mlflow_weir.plugin.cli.hardware",
        "hardware",
        "Show GPUs, processors and memory of a run.",
    ),
    "import": LazyCommand(
        "mlflow_weir.plugin.cli.import_history",
        "import_history",
        "Bring in history of wandb, TensorBoard or stock MLflow.",
    ),
    "journal": LazyCommand(
        "mlflow_weir.plugin.cli.journal",
        "journal",
        "Look for damage in journals, and salvage damaged ones.",
    ),
    "logs": LazyCommand(
        "mlflow_weir.plugin.cli.logs",
        "logs",
        "Show what a run printed; --follow goes on.",
    ),
    "publish": LazyCommand(
        "mlflow_weir.plugin.cli.publish",
        "publish",
        "Write runs as pages that need no server, to a folder or to S3.",
    ),
    "restore": LazyCommand(
        "mlflow_weir.plugin.cli.restore",
        "restore",
        "Bring back the code that a run was trained with, in a new folder.",
    ),
    "share": LazyCommand(
        "mlflow_weir.plugin.cli.share",
        "share",
        "Make and manage links that anyone may open.",
    ),
    "status": LazyCommand(
        "mlflow_weir.plugin.cli.status",
        "status",
        "Show the agent, its journals, what is to be delivered, what was dropped.",
    ),
    "stop": LazyCommand(
        "mlflow_weir.plugin.cli.stop",
        "stop",
        "Stop a run as Ctrl-C would: SIGINT to its process.",
    ),
    "sync": LazyCommand(
        "mlflow_weir.plugin.cli.sync",
        "sync",
        "Deliver journals left behind: offline, crashed, or copied from elsewhere.",
    ),
    "ui": LazyCommand(
        "mlflow_weir.plugin.cli.ui",
        "ui",
        "Serve MLflow's UI on an embedded or named store.",
    ),
}


class LazyGroup(click.Group):
    """A command group that imports a command only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        lazy = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(lazy.module), lazy.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in sorted(COMMANDS)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours ends it with one line instead of a traceback."""
        try:
            return super().invoke(ctx)
        except WeirError as exc:
            raise click.ClickException(str(exc)) from exc


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="weir")
def main() -> None:
    """Weir: an MLflow plugin that keeps every metric point and answers at once.

    A store is named by its tracking URI: `weir:` (the current folder, or WEIR_HOME),
    `weir:///abs/dir`, `sqlite+weir:///abs/file.db`, `postgresql+weir://...` or
    `mysql+weir://...`.
    """
