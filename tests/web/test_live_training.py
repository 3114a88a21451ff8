"""A training of plain MLflow calls, in a process of its own, watched in a browser to its end.

Its points go through the journal and the agent, as everybody's do; the page is never loaded anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from browser import Site, poll
from drawn import as_answered, chart
from series_answers import check_line
from trainings import Place, Training, begin

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
    pytest.mark.xdist_group("agent"),
]

# It logs as many steps as it is told to, one line of the console each ten, until it is told none.
SCRIPT = """
mlflow.set_experiment(sys.argv[1])
step = 0
with mlflow.start_run(run_name="live"):
    while n := int(sys.stdin.readline()):
        for step in range(step, step + n):
            mlflow.log_metrics({"loss": 1 / (1 + step), "lr": 0.5}, step=step)
            if step % 10 == 9:
                print(f"step {step} is done")
        step += 1
        sys.stdout.flush()
    mlflow.log_param("steps", step)
"""
# More than a card has places for: with as many points as places, all come again as buckets once.
FIRST, MORE = 600, 40


@pytest.fixture
def training(site: Site, tmp_path: Path) -> Iterator[Training]:
    variables = {"WEIR_CAPTURE": "on", "WEIR_HARDWARE_INTERVAL_SECONDS": "0.5"}
    yield from begin(tmp_path, Place(site.server.address, variables))


def n_asked(site: Site, word: str) -> int:
    """Return how often the server's log has a route of the data."""
    return site.server.output().count(f"/ajax-api/3.0/weir/{word} HTTP")


def test_a_training_process_is_watched_from_its_start_to_its_end(
    site: Site, page: Any, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    client = MlflowClient(site.server.address)
    name = f"watched {training.folder.name}"
    experiment_id = client.create_experiment(name)
    page.goto(site.pages(f"/e/{experiment_id}"))
    page.get_by_text("No runs yet").wait_for()
    page.evaluate("window.isTheSame = true")
    process = training.start(SCRIPT, name)

    def tell(n: int) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{n}\n")
        process.stdin.flush()

    def counts() -> dict[str, int]:
        found: dict[str, int] = page.evaluate("window.__weirCharts(false).counts")
        return found

    try:
        # The run comes by itself, and is running.
        row = page.get_by_role("row").filter(has=page.get_by_title("live", exact=True))
        row.get_by_title("running").wait_for()
        tell(FIRST)
        n_told = FIRST
        line: dict[str, Any] = {}

        def has_grown(n: int) -> bool:
            (found,) = chart(page, "loss", True)["lines"]
            line.update(found)
            return bool(found["total"] == n and chart(page, "lr", True)["lines"][0]["total"] == n)

        poll(page, lambda: has_grown(n_told))
        whole, n_before = counts(), n_asked(site, "series")
        for _ in range(3):
            tell(MORE)
            n_told += MORE
            poll(page, partial(has_grown, n_told))
        # What was there is not asked for again: of two metrics what is new, and with each question
        # the last place, which may have gone on.
        now = counts()
        n_more = now["requests"] - whole["requests"]
        n_points = now["points"] - whole["points"]
        assert 2 * 3 * MORE <= n_points <= 2 * (3 * MORE + 4 * n_more), (whole, now)
        assert n_asked(site, "series") - n_before == n_more
        (run,) = client.search_runs([experiment_id])
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [m.step for m in history] == list(range(n_told))
        check_line(as_answered(line), history, x=[m.step for m in history])

        row.get_by_title("live", exact=True).get_by_role("link").click()
        panel = page.get_by_role("tabpanel")
        page.get_by_text("RUNNING").first.wait_for()
        page.get_by_role("tab", name="Console").click()
        log = panel.get_by_role("log")
        log.get_by_text(f"step {n_told - 1} is done", exact=True).wait_for()
        tell(MORE)
        n_told += MORE
        log.get_by_text(f"step {n_told - 1} is done", exact=True).wait_for()

        # The machine is sampled twice a second.
        page.get_by_role("tab", name="Hardware").click()
        panel.locator("figure").filter(has_text="Processor of the machine").wait_for()
        key = "system/cpu_utilization_percentage"
        seen: set[str] = set()

        def has_moved() -> bool:
            # One alone may stand still: a processor that is busy is at 100 % each time.
            labels = panel.get_by_role("img").evaluate_all(
                "all => all.map((one) => one.ariaLabel)"
            )
            seen.add(" ".join(labels))
            return len(seen) > 3

        poll(page, has_moved)
        assert len(client.get_metric_history(run.info.run_id, key)) > 3

        tell(0)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        page.get_by_text("FINISHED").first.wait_for()
        page.get_by_role("tab", name="Charts").click()
        poll(page, lambda: has_grown(n_told))
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [m.step for m in history] == list(range(n_told))
        check_line(as_answered(line), history, x=[m.step for m in history])
        page.get_by_role("tab", name="Overview").click()
        params = panel.get_by_role("region", name="Params")
        assert str(n_told) in params.inner_text()
        assert page.evaluate("window.isTheSame") is True
    finally:
        process.kill()
