"""What a server does not allow to be captured is not captured, and not kept."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from agents import kill_agents, wait_until
from databases import put_mlflow_tables
from mlflow_server import ServerSpec, free_port, start_servers
from mlflow_weir.plugin.journal.spool import Spool

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

TRAIN = """
import importlib.util, mlflow, mlflow_weir, pathlib
with mlflow.start_run() as run:
    if importlib.util.find_spec("torch"):
        import torch
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        mlflow_weir.watch(model, log_freq=1)
        for _ in range(2):
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    pathlib.Path("out.txt").write_text("new")
    mlflow.set_tags({"mine": "1", "weir.git.commit": "of a client that does not ask"})
print(run.info.run_id)
"""


@pytest.fixture
def spool() -> Iterator[Spool]:
    with tempfile.TemporaryDirectory(prefix="weir-policy-") as folder:
        found = Spool.open(Path(folder) / "s")
        yield found
        kill_agents(found)


def test_what_a_server_does_not_allow_is_neither_captured_nor_kept(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, work, port = tmp_path / "server", tmp_path / "work", free_port()
    put_mlflow_tables(home / "mlflow.db")
    work.mkdir()
    subprocess.run(["git", "init", "-q", str(work)], check=True)
    command = [
        *("server", "--backend-store-uri", f"sqlite+weir:///{home}/mlflow.db"),
        *("--artifacts-destination", str(home / "artifacts")),
    ]
    variables = (
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
        ("WEIR_SERVER_CAPTURE", "environment"),
    )
    uri = f"http://127.0.0.1:{port}"
    with start_servers(ServerSpec(command, home, variables, port=port)):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN],
            cwd=work,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": uri,
                "WEIR_SPOOL": str(spool.root),
                "WEIR_CLIENT": "auto",
                "WEIR_CAPTURE": "on",
                "WEIR_FILES": "*.txt",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        run_id = done.stdout.split()[-1]
        monkeypatch.setenv("WEIR_CLIENT", "off")
        client = MlflowClient(uri)
        wait_until(lambda: not spool.journals(), "all is delivered", 120)
        assert client.get_run(run_id).data.metrics == {}
        if importlib.util.find_spec("torch"):
            assert done.stderr.count("its server allows no capture of gradients") == 1
        tags = client.get_run(run_id).data.tags
        assert tags["mine"] == "1"
        assert tags["weir.python"]
        assert [key for key in tags if key.startswith(("weir.git", "weir.hardware"))] == []
        assert {info.path for info in client.list_artifacts(run_id)} == {"weir"}
        assert {info.path for info in client.list_artifacts(run_id, "weir")} == {
            "weir/environment.json",
            "weir/requirements.txt",
        }
