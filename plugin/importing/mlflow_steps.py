"""The steps of bringing a place of stock MLflow, in an order in which each finds what it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.importing.bringing import Bringer, Brought, Part, Step, step_of
from mlflow_weir.plugin.importing.mlflow_models import bring_models
from mlflow_weir.plugin.importing.mlflow_place import PAGE, Place, pages
from mlflow_weir.plugin.importing.mlflow_registry import Registered, find_registered
from mlflow_weir.plugin.importing.mlflow_run import MlflowRun
from mlflow_weir.plugin.importing.mlflow_traces import Traces
from mlflow_weir.plugin.uri import scheme_of

if TYPE_CHECKING:
    from mlflow.entities import Experiment


def steps_of(place: Place, names: Sequence[str], experiment: str | None) -> Iterator[Step]:
    """Give the steps: each experiment with its runs, logged models and traces, then the registry.

    Args:
        place: Where all is.
        names: Of the experiments; all, and the registry, where there are none.
        experiment: Name of the one that all goes to, in place of its own.

    Raises:
        ConfigError: There is no such experiment.
    """
    links: dict[str, list[Part]] = {}
    for one in place.experiments(names):
        name = experiment or one.name
        if not experiment:
            yield Step(one.name, partial(_bring_experiment, one))
        for run in place.runs(one.experiment_id):
            title = f"{one.name}/{run.info.run_name}"
            yield step_of(
                partial(_open_run, place, run.info.run_id, one.name, links), title, experiment
            )
        yield Step(f"logged models of {one.name}", partial(_bring_models, place, one, name))
        yield Step(f"traces of {one.name}", partial(_bring_traces, place, one, name))
    if links:
        yield Step("models that went into runs and came out", partial(_bring_links, links))
    if not names:
        for kind, registered in find_registered(place):
            yield Step(registered, partial(_bring_registered, place, kind, registered))
    yield Step("the rest", partial(_count_the_rest, place, names))


def _open_run(
    place: Place, run_id: str, experiment: str, links: dict[str, list[Part]]
) -> MlflowRun:
    """Open a run, and note the models that it names: they may be of any experiment."""
    run = MlflowRun(place, run_id, experiment)
    found = run.links()
    if found:
        links[run_id] = found
    return run


def _bring_links(links: dict[str, list[Part]], bringer: Bringer, brought: Brought) -> None:
    brought.kind = "links"
    for run_id, parts in links.items():
        bringer.bring_more(run_id, parts, brought)


def _bring_experiment(one: Experiment, bringer: Bringer, brought: Brought) -> None:
    """Give the experiment those tags that it lacks here: the others may have been changed."""
    brought.kind, brought.experiment = "experiment", one.name
    there = bringer.client.get_experiment(bringer.experiment_id(one.name))
    for key, text in sorted(one.tags.items()):
        if key not in there.tags:
            bringer.client.set_experiment_tag(there.experiment_id, key, text)
            brought.n_new += 1


def _bring_models(
    place: Place, one: Experiment, name: str, bringer: Bringer, brought: Brought
) -> None:
    brought.kind, brought.experiment = "logged models", name
    bring_models(place, one.experiment_id, name, bringer, brought)


def _bring_traces(
    place: Place, one: Experiment, name: str, bringer: Bringer, brought: Brought
) -> None:
    brought.kind, brought.experiment = "traces", name
    traces = Traces(place, bringer, brought, name)
    if not traces.bring(one.experiment_id):
        return
    # Folders know no links, and would be read once a run.
    if scheme_of(place.client.tracking_uri) != "file":
        for run in place.runs(one.experiment_id):
            traces.link(one.experiment_id, run.info.run_id)


def _bring_registered(
    place: Place, kind: str, name: str, bringer: Bringer, brought: Brought
) -> None:
    brought.kind = kind
    Registered(place, bringer, brought, name).bring()


def _count_the_rest(
    place: Place, names: Sequence[str], bringer: Bringer, brought: Brought
) -> None:
    """Count what stays where it is."""
    brought.kind = "rest"
    client = place.client
    experiments = place.experiments(names)
    for what, n in place.beside_mlflow(experiments).items():
        _leave_out(brought, what, n)
    for one in experiments:
        deleted = place.runs(one.experiment_id, ViewType.DELETED_ONLY)
        _leave_out(brought, "deleted runs", sum(1 for _ in deleted))
    if names:
        _leave_out(brought, "registered models and prompts, with --from", 1)
        return
    deleted = pages(client.search_experiments, PAGE, view_type=ViewType.DELETED_ONLY)
    _leave_out(brought, "deleted experiments", sum(1 for _ in deleted))
    ids = [one.experiment_id for one in experiments]
    tracking = mlflow_private.cached_tracking_store(client.tracking_uri)
    counts: tuple[tuple[str, Callable[[], int]], ...] = (
        ("evaluation data sets", lambda: sum(1 for _ in pages(client.search_datasets, PAGE))),
        ("scorers", lambda: len(tracking.list_scorers_across_experiments(ids))),
        ("webhooks", lambda: sum(1 for _ in pages(client.list_webhooks, PAGE))),
    )
    for what, count in counts:
        try:
            _leave_out(brought, what, count())
        except (MlflowException, NotImplementedError):
            continue  # a place of this kind has none


def _leave_out(brought: Brought, what: str, n: int) -> None:
    if n:
        brought.leave_out(what, n)
