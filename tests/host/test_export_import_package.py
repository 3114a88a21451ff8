"""``mlflow-export-import`` between a stock server and one that runs Weir, in each direction.

The package has an environment of its own (``make export-import``): it brings an MLflow of its own
choice. Between two stock servers it loses some things, which are listed here; where one of the two
runs Weir it must lose no others.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param

from mlflow_server import ServerSpec, start_servers
from trainings import NO_JOBS

ENVIRONMENT = Path(__file__).parents[2] / ".venv" / "export-import"

pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ENVIRONMENT / "bin" / "export-experiment").exists(),
        reason="missing component: mlflow-export-import (make export-import)",
    ),
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

T0 = 1_700_000_000_000
Found = dict[str, Any]


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package asks the server, which is to have what was logged.
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give the addresses of two stock servers and of one that runs Weir."""
    folder = tmp_path_factory.mktemp("servers")
    specs = []
    names = {"stock": "sqlite", "other": "sqlite", "ours": "sqlite+weir"}
    for name, scheme in names.items():
        (folder / name).mkdir()
        arguments = ["server", "--backend-store-uri", f"{scheme}:///{folder}/{name}/a.db"]
        specs.append(ServerSpec(arguments, folder / name, (NO_JOBS,)))
    with start_servers(*specs) as found:
        yield {name: one.address for name, one in zip(names, found, strict=True)}


def fill(uri: str, name: str) -> None:
    client = MlflowClient(uri)
    experiment = client.create_experiment(name, tags={"mlflow.note.content": "why"})
    parent = ""
    for number, status in enumerate(["FINISHED", "FAILED", "KILLED"]):
        tags = {"kind": f"n{number}", **({"mlflow.parentRunId": parent} if parent else {})}
        run = client.create_run(experiment, run_name=f"run {number}", tags=tags)
        run_id = run.info.run_id
        parent = parent or run_id
        for first in range(0, 1_500, 1_000):
            points = [
                Metric("loss", step / 7, T0 + step, step)
                for step in range(first, min(first + 1_000, 1_500))
            ]
            client.log_batch(run_id, points)
        client.log_metric(run_id, "odd", math.nan, T0, 0)
        client.log_metric(run_id, "odd", -1e300, T0 + 1, 1)
        client.log_batch(run_id, params=[Param(f"p{i}", f"ü{i}") for i in range(100)])
        client.log_text(run_id, f"words {number}", "deep/er/notes.txt")
        dataset = Dataset("points", "d1ge5t", "http", '{"url": "http://127.0.0.1/x"}')
        client.log_inputs(run_id, [DatasetInput(dataset)])
        client.set_terminated(run_id, status)


def command(name: str, uri: str, *words: str | Path) -> None:
    """Run one of the package's commands on a server."""
    environment = {
        key: text for key, text in os.environ.items() if not key.startswith(("MLFLOW_", "WEIR_"))
    }
    found = subprocess.run(
        [ENVIRONMENT / "bin" / name, *map(str, words)],
        env={**environment, "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Traceback" not in found.stderr, found.stderr


def shown(uri: str, experiment_name: str, tmp_path: Path) -> Found:
    """Return all runs of an experiment by their names, as far as the package brings them."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(experiment_name)
    assert experiment is not None
    found = {}
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: run.info.run_name for run in runs}
    for run in runs:
        run_id = run.info.run_id
        files = tmp_path / "files"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir()
        client.download_artifacts(run_id, "", str(files))
        tags = dict(run.data.tags)
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] = names[tags["mlflow.parentRunId"]]
        found[run.info.run_name] = {
            "status": run.info.status,
            "params": run.data.params,
            "tags": {key: text for key, text in tags.items() if not key.startswith("weir.")},
            "history": {
                key: sorted(
                    (one.step, one.timestamp, repr(one.value))
                    for one in client.get_metric_history(run_id, key)
                )
                for key in run.data.metrics
            },
            "files": {
                str(path.relative_to(files)): path.read_bytes()
                for path in files.rglob("*")
                if path.is_file()
            },
            "data sets": [
                one.dataset.to_dictionary()
                for one in (run.inputs.dataset_inputs if run.inputs else ())
            ],
        }
    return {"runs": found, "tags": experiment.tags}


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Return what differs: the path of each leaf, and its two values."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key in sorted({*wanted, *found})
            for line in differences(wanted.get(key), found.get(key), f"{path}/{key}")
        ]
    return [] if wanted == found else [f"{path}: {wanted!r:.80} is {found!r:.80}"]


@pytest.mark.parametrize("source", ["stock", "ours"])
def test_an_experiment_goes_through_the_package(
    servers: dict[str, str], source: str, tmp_path: Path
) -> None:
    name = f"from {source}"
    fill(servers[source], name)
    wanted = shown(servers[source], name, tmp_path)
    assert len(wanted["runs"]) == 3
    folder = tmp_path / "out"
    command("export-experiment", servers[source], "--experiment", name, "--output-dir", folder)
    lost = []
    for target in ("other", "ours"):
        there = f"{name} to {target}"
        command(
            "import-experiment", servers[target], "--experiment-name", there,
            "--input-dir", folder,
        )  # fmt: skip
        lost.append(differences(wanted, shown(servers[target], there, tmp_path)))
    assert lost[0] == lost[1]
    # What the package loses between two stock servers, and who it says has made the runs.
    of_its_own = re.compile(r"/runs/run \d/(data sets|status|tags/mlflow\.user): ")
    assert [one for one in lost[1] if not of_its_own.match(one)] == []
