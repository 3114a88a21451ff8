"""Groups and colours of charts in a browser: what is drawn is what MLflow's client returns."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mlflow import MlflowClient

if TYPE_CHECKING:
    from mlflow.entities import Run
    from playwright.sync_api import Page

    from browser import Site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),  # MLflow warns about itself
]
DEADLINE_S = 120.0


def poll(page: Page, check: Callable[[], Any]) -> Any:
    """Return what ``check`` returns when it is something; it may fail until then."""
    give_up = time.monotonic() + DEADLINE_S
    while True:
        try:
            if found := check():
                return found
        except (AssertionError, LookupError, TypeError):  # what it looks at is not there yet
            if time.monotonic() > give_up:
                raise
        assert time.monotonic() < give_up, check
        page.wait_for_timeout(100)


def chart(page: Page, name: str, with_values: bool = False) -> Any:
    """Return a chart that has all its lines on the page, or None."""
    found = page.evaluate(
        "values => window.__weirCharts ? window.__weirCharts(values).charts : []", with_values
    )
    for one in found:
        if one["name"] == name and one["isComplete"] and one["nDrawn"] > 0:
            return one
    return None


@pytest.fixture
def runs(site: Site) -> dict[str, Run]:
    """All runs of the sweep, as MLflow's client has them."""
    client = MlflowClient(site.server.address)
    found = client.search_runs([site.sweep.experiment_id], max_results=1_000)
    return {run.info.run_id: run for run in found}


def test_groups_are_the_mean_of_their_runs_and_colours_follow_a_param(
    page: Page, site: Site, runs: dict[str, Run]
) -> None:
    name = "val/accuracy"
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}?g=params.optimizer&c=val"))
    found = poll(page, lambda: chart(page, name, True))
    assert len(found["lines"]) == 3
    client = MlflowClient(site.server.address)
    members = defaultdict(list)
    for run_id, run in runs.items():
        if name in run.data.metrics:
            members[run.data.params["optimizer"]].append(run_id)
    for line in found["lines"]:
        (optimizer,) = [word for word in members if f'"{word}"' in line["runId"]]
        values = defaultdict(list)
        for run_id in members[optimizer]:
            for point in client.get_metric_history(run_id, name):
                values[point.step].append(point.value)
        expected = {step: statistics.fmean(of) for step, of in values.items()}
        drawn = dict(zip(line["x"], line["last"], strict=True))
        assert set(drawn) == set(expected)
        np.testing.assert_allclose(
            [drawn[step] for step in sorted(drawn)],
            [expected[step] for step in sorted(expected)],
            rtol=1e-5,
        )
    # By a param instead: the same colour for the same value.
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}?g=&c=val&cb=params.optimizer"))
    colours = poll(page, lambda: _colours(page, name, runs))
    assert len(set(colours.values())) == 3


def _colours(page: Page, name: str, runs: dict[str, Run]) -> dict[str, str] | None:
    """Return the colour of each optimizer's lines, once they have one each."""
    found = chart(page, name, True)
    if found is None:
        return None
    colours = defaultdict(set)
    for line in found["lines"]:
        colours[runs[line["runId"]].data.params["optimizer"]].add(line["colour"])
    if any(len(own) != 1 for own in colours.values()):
        return None
    return {optimizer: own.pop() for optimizer, own in colours.items()}
