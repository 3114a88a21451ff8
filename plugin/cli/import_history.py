"""``weir import``: history of other trackers, brought in."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.plugin.cli.stores import delivery_address, is_server
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.plugin.uri import is_weir, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mlflow_weir.plugin.importing.bringing import Bringer, Brought, Step

_DRAW_S = 0.1
_FOLLOW_S = 2.0
_FOLLOW_SHARE = 4  # rests so many times as long as a round took
_SHOWN = 8  # of what was refused or left out, a run
_WHAT_IS_NEW = {
    "experiment": "{0.n_new:,} new tags",
    "logged models": "{0.n_new:,} new, {0.n_files:,} new files",
    "traces": "{0.n_new:,} new",
    "registered model": "{0.n_new:,} new versions",
    "prompt": "{0.n_new:,} new versions",
    "links": "",
    "rest": "",
}

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _options(command: _Command) -> _Command:
    """Give a command the options that all share."""
    for option in reversed(
        (
            click.option(
                "--to",
                "uri",
                default="weir:",
                envvar="MLFLOW_TRACKING_URI",
                show_default=True,
                help="Store or server to bring them to; MLFLOW_TRACKING_URI when left out.",
            ),
            click.option("--experiment", help="Experiment for all runs, by name."),
            click.option("--json", "as_json", is_flag=True, help="Print what came as JSON."),
        )
    ):
        command = option(command)
    return command


@click.group("import", context_settings={"help_option_names": ["-h", "--help"]})
def import_history() -> None:
    """Bring in the history of other trackers.

    Repeatable without harm: what is there is left alone, what was broken off goes on, and of a
    run that has gone on since, what is new comes. In the end it is said what could not be brought.
    """


@import_history.command("wandb")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@_options
def import_wandb(paths: tuple[Path, ...], uri: str, experiment: str | None, as_json: bool) -> None:
    """Bring in runs of Weights & Biases from the folders that its client leaves.

    PATH is a folder `wandb`, the folder of one run, or its file `run-ID.wandb`, of a run that was
    logged offline or online. The client itself is not needed. A run's project is its experiment.
    """
    from mlflow_weir.plugin.importing.bringing import step_of
    from mlflow_weir.plugin.importing.wandb_run import WandbRun, find_runs

    files = [file for path in paths for file in find_runs(path)]
    steps = [step_of(partial(WandbRun, file), str(file), experiment) for file in files]
    _bring(uri, steps, as_json)


@import_history.command("tensorboard")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--follow", is_flag=True, help="Go on with what is written until Ctrl-C.")
@_options
def import_tensorboard(
    paths: tuple[Path, ...], follow: bool, uri: str, experiment: str | None, as_json: bool
) -> None:
    """Bring in runs of TensorBoard from a log directory.

    Each folder below PATH that holds event files is a run; PATH's name is the experiment.
    TensorBoard itself is not needed.
    """
    from mlflow_weir.plugin.importing.bringing import step_of
    from mlflow_weir.plugin.importing.tensorboard_run import TensorboardRun, find_runs, state_of

    def steps(*, is_over: bool, known: dict[Path, object] | None = None) -> list[Step]:
        found = [(folder, path) for path in paths for folder in find_runs(path)]
        if known is not None:
            states = {folder: state_of(folder) for folder, _ in found}
            found = [one for one in found if states[one[0]] != known.get(one[0])]
            known.update(states)
        return [
            step_of(
                partial(TensorboardRun, folder, path, is_over=is_over), str(folder), experiment
            )
            for folder, path in found
        ]

    if follow:
        known: dict[Path, object] = {}
        try:
            while True:
                began_s = time.monotonic()
                new = steps(is_over=False, known=known)
                if new and not _bring(uri, new, as_json, is_quiet=True):
                    known.clear()
                time.sleep(max(_FOLLOW_S, _FOLLOW_SHARE * (time.monotonic() - began_s)))
        except KeyboardInterrupt:
            click.echo("no longer followed: the runs are over", err=True)
    _bring(uri, steps(is_over=True), as_json)


@import_history.command("mlflow")
@click.argument("source")
@click.option(
    "--from", "names", multiple=True, metavar="EXPERIMENT", help="Only this; repeatable."
)
@_options
def import_mlflow(
    source: str, names: tuple[str, ...], uri: str, experiment: str | None, as_json: bool
) -> None:
    """Bring in what stock MLflow has: runs, logged models, traces, registered models, prompts.

    SOURCE is a database URI, a folder `mlruns`, or the address of a tracking server. Runs, models
    and traces keep their ids, versions their numbers. With --from the registry stays where it is.
    A database that shall stay where it is needs none of this: `weir db compact` it.
    """
    from mlflow_weir.plugin.importing.mlflow_place import Place, require_place, source_of
    from mlflow_weir.plugin.importing.mlflow_steps import steps_of

    place_uri = source_of(source)
    if place_uri == uri:
        raise ConfigError(f"{without_secrets(uri)} cannot be brought into itself")
    require_place(place_uri)
    place = Place(_client(place_uri))
    try:
        _bring(uri, steps_of(place, names, experiment), as_json)
    finally:
        place.close()


def _bring(uri: str, steps: Iterable[Step], as_json: bool, *, is_quiet: bool = False) -> bool:
    """Go one step after the other, and say what became of each; return whether all went well."""
    from mlflow_weir.plugin.importing.bringing import Step

    line = _ProgressLine(len(steps) if isinstance(steps, list) else None)
    found: list[Brought] = []
    with _bringer(uri, line.draw) as bringer:
        for step in _as_far_as_known(steps, found):
            line.begin()
            found.append(_bring_one(bringer, step))
        last = _bring_one(bringer, Step("compaction", lambda bringer, _: bringer.finish()))
        if last.error:
            found.append(replace(last, kind="rest"))
    line.end()
    faulty = [one for one in found if one.error]
    if is_quiet:
        for one in faulty:
            click.echo(plain(f"{one.title}: {one.error}"), err=True)
        return not faulty
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        click.echo("\n".join(map(plain, _report(found))))
    if faulty:
        raise SystemExit(1)
    return True


def _as_far_as_known(steps: Iterable[Step], found: list[Brought]) -> Iterator[Step]:
    """Give steps until the source tells of no more, which is not to hide what was brought."""
    from mlflow.exceptions import MlflowException

    from mlflow_weir.plugin.importing.bringing import Brought

    try:
        yield from steps
    except (WeirError, MlflowException, OSError) as exc:
        if not found:
            raise
        found.append(Brought(title="what comes after", kind="rest", error=str(exc)))


def _bring_one(bringer: Bringer, step: Step) -> Brought:
    """Go a step; what goes wrong with it stops none of the others."""
    from mlflow.exceptions import MlflowException

    from mlflow_weir.plugin.importing.bringing import Brought

    brought = Brought(title=step.title)
    try:
        step.bring(bringer, brought)
    except (WeirError, MlflowException, OSError, ValueError) as exc:
        brought.error = str(exc)
    return brought


@contextmanager
def _bringer(uri: str, progress: Callable[[Brought], None]) -> Iterator[Bringer]:
    import mlflow

    from mlflow_weir.plugin.agent.targets import open_target
    from mlflow_weir.plugin.importing.bringing import Bringer
    from mlflow_weir.plugin.journal.spool import Spool

    if not is_server(uri) and not is_weir(uri):
        raise ConfigError(
            f"{without_secrets(uri)} is no store of Weir's",
            hint="weir:, weir:///DIR, sqlite+weir:///FILE, or a server's address",
        )
    if is_server(uri):
        _require_weir(uri)
    target = open_target(delivery_address(uri), Spool.open().root)
    client = _client(uri)
    mlflow.set_tracking_uri(uri)  # where a database's registry looks for logged models
    try:
        yield Bringer(target, client, progress)
    finally:
        target.close()


def _require_weir(uri: str) -> None:
    """Refuse a stock server, before anything is made there; one that is away tells so later.

    Raises:
        ConfigError: It is one.
    """
    from mlflow.utils.credentials import get_default_host_creds

    from mlflow_weir.plugin.servers import Kind
    from mlflow_weir.plugin.undecided_rest import ask

    if ask(get_default_host_creds(uri)) is Kind.STOCK:
        raise ConfigError(
            f"{without_secrets(uri)} does not run Weir: it would give runs other ids and times",
            hint="bring them to a store of Weir's; the database behind the server can be one "
            "(postgresql+weir://…)",
        )


def _client(uri: str) -> MlflowClient:
    """Return MLflow's client, which writes without a journal of ours before it."""
    import mlflow

    settings.adopt_environment(
        {settings.CLIENT.name: "off", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    )
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _report(found: Sequence[Brought]) -> Iterator[str]:
    runs = [one for one in found if one.kind == "run"]
    for one in found:
        if one in runs:
            what = f"{one.n_points:,} new points, {one.n_files:,} new files"
            yield f"{one.title} -> {one.experiment} ({one.run_id}): {one.error or what}"
        elif one.error:
            yield f"{one.title}: {one.error}"
        elif one.n_new or one.n_files or one.refused or one.left_out:
            yield f"{one.title}: {_WHAT_IS_NEW[one.kind].format(one)}"
        yield from _some("refused by the store", one.refused)
        left = [f"{what} ({n:,})" for what, n in one.left_out.items()]
        yield from _some("not brought", left)
    n_points, n_files = sum(one.n_points for one in found), sum(one.n_files for one in found)
    n_faults = sum(bool(one.error) for one in found)
    faults = f", {n_faults:,} with faults" if n_faults else ""
    yield f"{len(runs):,} runs: {n_points:,} new points, {n_files:,} new files{faults}"


def _some(title: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines[:_SHOWN]:
        yield f"  {title}: {line}"
    if len(lines) > _SHOWN:
        yield f"  {title}: {len(lines) - _SHOWN:,} more; --json has all"


class _ProgressLine:
    """One line on a terminal that says how far it is; nothing elsewhere."""

    def __init__(self, n_steps: int | None) -> None:
        self._of = "" if n_steps is None else f" of {n_steps:,}"
        self._number, self._drawn_s = 0, float("-inf")
        self._is_shown = sys.stderr.isatty()

    def begin(self) -> None:
        """Go on to the next step."""
        self._number += 1

    def draw(self, brought: Brought) -> None:
        """Say how far the step is, at most ten times a second."""
        if not self._is_shown or time.monotonic() - self._drawn_s < _DRAW_S:
            return
        self._drawn_s = time.monotonic()
        new = f", {brought.n_new:,} new" if brought.n_new else ""
        text = f"{brought.title}: {brought.n_points:,} points, {brought.n_files:,} files{new}"
        click.echo(f"\r\033[K{self._number:,}{self._of}: {plain(text)[:60]}", nl=False, err=True)

    def end(self) -> None:
        """Take the line away."""
        if self._is_shown and self._drawn_s > float("-inf"):
            click.echo("\r\033[K", nl=False, err=True)
