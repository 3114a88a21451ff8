"""MLflow's workspaces, below a prefix: our pages show one workspace and keep to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import NO_JOBS, axe_violations
from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from senders import call

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

PREFIX = "/some/where"
ROUTES = f"{PREFIX}/ajax-api/2.0/mlflow"


@pytest.fixture(scope="module")
def server(
    pages_are_built: None, sqlite_folder: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Run a server with workspaces below a prefix."""
    folder: Path = tmp_path_factory.mktemp("workspaces")
    database = sqlite_folder.new_mlflow_database().replace("sqlite:", "sqlite+weir:")
    arguments = ["server", "--enable-workspaces", "--backend-store-uri", database]
    with start_servers(ServerSpec(arguments, folder, (NO_JOBS,), prefix=PREFIX)) as (started,):
        yield started


def make_run(server: ServerProcess, workspace: str, name: str) -> tuple[str, str]:
    """Make an experiment with one finished run; return their ids."""

    def ask(path: str, body: dict[str, Any]) -> Any:
        headers = {"X-MLFLOW-WORKSPACE": workspace}
        answer = call(server, "POST", f"{ROUTES}/{path}", body, headers)
        assert answer.status == 200, answer
        return answer.body

    experiment_id = ask("experiments/create", {"name": f"sweep of {workspace}"})["experiment_id"]
    body = {"experiment_id": experiment_id, "run_name": name, "start_time": 1_760_000_000_000}
    run_id = ask("runs/create", body)["run"]["info"]["run_id"]
    metric = {"run_id": run_id, "key": "loss", "value": 0.5, "timestamp": 1, "step": 1}
    ask("runs/log-metric", metric)
    ask("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 1_760_000_009_000})
    return experiment_id, run_id


def test_a_workspaces_pages_stay_in_it(
    server: ServerProcess, page: Any, allow_errors: Callable[[str], None]
) -> None:
    allow_errors("users/current")  # MLflow asks for users on a server that has none
    allow_errors("404")  # of the other workspace's run, below
    made = call(server, "POST", f"{PREFIX}/ajax-api/3.0/mlflow/workspaces", {"name": "team-a"})
    assert made.status < 300, made
    experiment_id, run_id = make_run(server, "team-a", "ours")
    other_experiment, other_run = make_run(server, "default", "theirs")
    page.goto(f"{server.address}{PREFIX}/#/experiments?workspace=team-a")
    page.locator("aside").wait_for()
    page.evaluate(f"location.hash = '#/experiments/{experiment_id}/runs?workspace=team-a'")
    # The dock, MLflow's own link, and the entry of the side bar: each keeps the workspace.
    page.locator("weir-dock").get_by_role("link", name="Charts").wait_for()
    entry = page.locator("[data-weir-nav=workspace] a")
    assert entry.get_attribute("href") == f"#/weir/e/{experiment_id}?workspace=team-a"
    page.evaluate("window.isTheSame = true")
    entry.click()
    frame = page.frame_locator("iframe[data-weir-frame]")
    ours = frame.get_by_role("grid", name="Runs").get_by_title("ours", exact=True)
    ours.wait_for()
    assert "workspace=team-a" in page.evaluate("location.hash")
    ours.get_by_role("link").click()
    frame.get_by_role("region", name="Metrics").get_by_text("0.5").first.wait_for()
    assert page.evaluate("location.hash").startswith(f"#/weir/r/{run_id}/overview?")
    href = frame.get_by_role("tab", name="Console").get_attribute("href")
    assert href == f"{PREFIX}/#/weir/r/{run_id}/console?workspace=team-a"
    # What the palette finds is of this workspace alone.
    frame.get_by_role("button", name="Go to…").click()
    frame.get_by_role("option", name="sweep of team-a").wait_for()
    assert frame.get_by_role("option", name="sweep of default").count() == 0
    page.keyboard.press("Escape")
    # Back to the list, back to MLflow's page; never a reload.
    page.go_back()
    ours.wait_for()
    page.go_back()
    page.locator("weir-dock nav").wait_for()
    assert page.evaluate("window.isTheSame") is True
    # Standalone the same holds; what is in another workspace is not there for who knows its id.
    page.goto(f"{server.address}{PREFIX}/weir/?workspace=team-a")
    page.get_by_role("link", name="sweep of team-a").wait_for()
    assert page.get_by_role("link", name="sweep of default").count() == 0
    assert axe_violations(page) == []
    page.get_by_role("link", name="sweep of team-a").click()
    listed = page.get_by_role("grid", name="Runs")
    listed.get_by_title("ours", exact=True).wait_for()
    assert "workspace=team-a" in page.url
    page.goto(f"{server.address}{PREFIX}/weir/r/{other_run}/overview?workspace=team-a")
    page.get_by_role("alert").wait_for()
    assert page.get_by_text("theirs").count() == 0
    page.goto(f"{server.address}{PREFIX}/weir/e/{other_experiment}")
    listed.get_by_title("theirs", exact=True).wait_for()
