"""MLflow's autologging through the journal: what it leaves is what stock MLflow leaves.

Each training runs twice as a process of its own, on stock MLflow's SQLite store and on ``weir:``.
Compared is what MLflow's pages show: every run with its params, tags, status, data sets and whole
metric histories, its files, and every logged model with its params, metrics, tags and files. Left
out are ids, names that MLflow draws, and what the clock says. What the two processes print is
compared as well: ours says one line more.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import FileInfo, LoggedModel, Metric, Run, ViewType

from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import Spool

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

DEADLINE_S = 120.0

SKLEARN = """
import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

mlflow.set_experiment("flowers")
mlflow.autolog()
data, labels = load_iris(return_X_y=True, as_frame=True)
train, test, train_labels, test_labels = train_test_split(data, labels, random_state=0)
with mlflow.start_run(run_name="with metrics of its own"):
    model = LogisticRegression(max_iter=200).fit(train, train_labels)
    accuracy_score(test_labels, model.predict(test))
    model.score(test, test_labels)
LogisticRegression(max_iter=3).fit(train, train_labels)
"""

GRID_SEARCH = """
import mlflow.sklearn
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

mlflow.sklearn.autolog(max_tuning_runs=3, registered_model_name="forest")
forest = make_pipeline(StandardScaler(), RandomForestClassifier(random_state=0))
sizes = {f"randomforestclassifier__{name}": [1, 2] for name in ("n_estimators", "max_depth")}
GridSearchCV(forest, sizes, cv=2).fit(*load_iris(return_X_y=True))
"""

LIGHTGBM = """
import lightgbm
import mlflow
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

mlflow.autolog()
data, labels = load_breast_cancer(return_X_y=True)
train, test, train_labels, test_labels = train_test_split(data, labels, random_state=0)
fitted = lightgbm.train(
    {"objective": "binary", "metric": ["auc", "binary_logloss"], "seed": 0, "num_threads": 1,
     "deterministic": True, "verbosity": -1},
    lightgbm.Dataset(train, train_labels),
    num_boost_round=12,
    valid_sets=[lightgbm.Dataset(test, test_labels)],
    callbacks=[lightgbm.early_stopping(4, verbose=False)],
)
lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbosity=-1).fit(train, train_labels)
"""

PYTORCH = """
import mlflow
import torch

mlflow.autolog()
torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
data = torch.rand(64, 4)
labels = data.sum(1, keepdim=True)
with mlflow.start_run(run_name="sum"):
    mlflow.log_params({"lr": 0.01, "layers": 2})
    for step in range(50):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(data), labels)
        loss.backward()
        optimizer.step()
        mlflow.log_metric("loss", loss.item(), step=step)
    mlflow.pytorch.log_model(model, name="net", input_example=data[:2].numpy())
"""

LIGHTNING = """
import warnings
warnings.simplefilter("ignore")
import logging
import mlflow
import pytorch_lightning as pl
import torch

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

mlflow.autolog()
pl.seed_everything(0)
data = torch.rand(64, 4)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(data, data.sum(1, keepdim=True)), batch_size=16
)
trainer = pl.Trainer(
    max_epochs=3, enable_progress_bar=False, logger=False, enable_checkpointing=False,
    accelerator="cpu", default_root_dir=mlflow.get_tracking_uri().partition(":")[0],
)
trainer.fit(Net(), loader)
"""

TRAININGS = {
    "scikit-learn": (SKLEARN, "sklearn"),
    "grid search": (GRID_SEARCH, "sklearn"),
    "LightGBM": (LIGHTGBM, "lightgbm"),
    "PyTorch": (PYTORCH, "torch"),
    "Lightning": (LIGHTNING, "pytorch_lightning"),
}

# Too large for the development environment: their cases run where somebody has them.
OPTIONAL = ("torch", "pytorch_lightning")

# MLflow runs each model in a process of its own, for ten seconds, to see what it imports.
PRELUDE = """
import mlflow
mlflow.models.infer_pip_requirements = lambda *_, **__: ["scikit-learn"]
"""
IDS = re.compile(r"m-[0-9a-f]{32}|[0-9a-f]{32}")
TIMES = re.compile(r"_time$")  # metrics of a grid search
MOMENTS = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?")


def train(script: Path, uri: str, folder: Path) -> tuple[str, list[str]]:
    """Run a training; return its stdout and the lines of its stderr."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=script.parent,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": uri,
            "WEIR_SPOOL": str(folder / "spool"),
            "WEIR_CAPTURE": "off",  # what Weir adds to each run
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "TQDM_DISABLE": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


class Contents:
    """What a store holds, with what MLflow draws and what the clock says made alike."""

    def __init__(self, uri: str) -> None:
        self._client = MlflowClient(uri)
        experiments = self._client.search_experiments(view_type=ViewType.ALL)
        self._names = {one.experiment_id: one.name for one in experiments}
        runs = list(self._client.search_runs(list(self._names), order_by=["start_time ASC"]))
        models = list(self._client.search_logged_models(list(self._names)))
        self._known: dict[str, str] = {}  # ids to what stands for them
        for run in runs:
            facts = [self._names[run.info.experiment_id], sorted(run.data.params.items())]
            facts += [sorted(run.data.metrics)]
            self._known[run.info.run_id] = f"run {facts}"
        for model in models:
            self._known[model.model_id] = f"model {model.name} of {self._id(model.source_run_id)}"
        self.runs = sorted((self._run(run) for run in runs), key=json.dumps)
        self.models = sorted((self._model(model) for model in models), key=json.dumps)
        self.versions = sorted(
            [version.name, self._id(version.run_id), version.status]
            for version in self._client.search_model_versions()
        )

    def _id(self, found: str | None) -> str | None:
        return None if found is None else self._known.get(found, found)

    def _run(self, run: Run) -> dict[str, Any]:
        run_id = run.info.run_id
        assert run.inputs is not None
        assert run.outputs is not None
        tags = dict(run.data.tags)
        if run.data.tags.get("mlflow.parentRunId") or len(run.data.tags["mlflow.runName"]) < 24:
            tags.pop("mlflow.runName")  # drawn
        return {
            "what": self._known[run_id],
            "status": run.info.status,
            "user": run.info.user_id,
            "has_ended": run.info.end_time is not None,
            "params": run.data.params,
            "tags": {key: self._settled(value) for key, value in tags.items()},
            "metrics": {
                key: [
                    (one.step, _unless_timed(one))
                    for one in self._client.get_metric_history(run_id, key)
                ]
                for key in sorted(run.data.metrics)
            },
            "latest": {
                key: value for key, value in run.data.metrics.items() if not TIMES.search(key)
            },
            "datasets": [
                [each.dataset.to_dictionary(), [(tag.key, tag.value) for tag in each.tags]]
                for each in run.inputs.dataset_inputs
            ],
            "models": [[self._id(each.model_id), each.step] for each in run.outputs.model_outputs],
            "used": [self._id(each.model_id) for each in run.inputs.model_inputs],
            "files": self._files(run_id),
        }

    def _model(self, model: LoggedModel) -> dict[str, Any]:
        files = self._client.list_logged_model_artifacts(model.model_id)
        return {
            "what": self._known[model.model_id],
            "status": str(model.status),
            "type": model.model_type,
            "params": model.params,
            "tags": {key: self._settled(value) for key, value in model.tags.items()},
            "metrics": sorted(
                (
                    [one.key, _unless_timed(one), one.step, one.dataset_name, one.dataset_digest]
                    for one in model.metrics or ()
                ),
                key=str,
            ),
            "files": sorted(each.path for each in files),
        }

    def _files(self, run_id: str, folder: str | None = None) -> list[str]:
        found: list[str] = []
        each: FileInfo
        for each in self._client.list_artifacts(run_id, folder):
            found += self._files(run_id, each.path) if each.is_dir else [each.path]
        return sorted(found)

    def _settled(self, text: str) -> str:
        text = IDS.sub(lambda found: self._known.get(found[0], "id"), text)
        text = re.sub(r'"model_uuid": "[^"]*"|"model_size_bytes": \d+', "", text)
        return MOMENTS.sub("moment", text)


def _unless_timed(metric: Metric) -> float:
    return 0.0 if TIMES.search(metric.key) else metric.value


def lines_of(stderr: list[str]) -> list[str]:
    return sorted(re.sub(r"\d+", "0", IDS.sub("id", MOMENTS.sub("", line))) for line in stderr)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "weir" / "spool"
    yield path
    agent.nudge(path, agent.STOP)


def settle(spool: Path) -> None:
    """Wait until no journal is left."""
    deadline = time.monotonic() + DEADLINE_S
    while (left := Spool(spool).journals()) and time.monotonic() < deadline:
        agent.ensure_agent(spool)
        agent.nudge(spool)
        time.sleep(0.02)
    assert not left


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name == "grid search" else ())
        for name in TRAININGS
    ],
)
def test_a_training_leaves_what_it_leaves_with_stock_mlflow(
    name: str, tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, package = TRAININGS[name]
    if importlib.util.find_spec(package) is None:
        why = "" if package in OPTIONAL else "missing component: "
        pytest.skip(f"{why}{package} is not installed")
    script = tmp_path / "train.py"
    script.write_text(PRELUDE + text)
    stock_uri = f"sqlite:///{tmp_path}/stock/mlflow.db"
    weir_uri = f"weir://{tmp_path}/weir"
    stock_out, stock_lines = train(script, stock_uri, tmp_path / "stock")
    weir_out, weir_lines = train(script, weir_uri, tmp_path / "weir")
    settle(spool)
    monkeypatch.setenv("WEIR_CLIENT", "off")
    stock, weir = Contents(stock_uri), Contents(weir_uri)
    assert stock.runs
    assert weir.runs == stock.runs
    assert weir.models == stock.models
    assert weir.versions == stock.versions
    (line,) = [line for line in weir_lines if "see it with" in line]
    weir_lines.remove(line)
    # Said where the end waits for a busy machine.
    weir_lines = [line for line in weir_lines if "left to deliver" not in line]
    assert lines_of(weir_lines) == lines_of(stock_lines)
    assert weir_out == stock_out
