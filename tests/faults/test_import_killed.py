"""``weir import``, killed inside its writes again and again: what is there in the end is the same.

Each source is brought once without a kill, and once with; both are compared value by value.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Metric

from dying_imports import BETWEEN, import_killed_inside
from histogram_tables import rows_of
from kills import note_campaign
from mlflow_places import T0, fill, require_same
from mlflow_server import ServerSpec, start_servers
from mlflow_weir.plugin.cli import main
from mlflow_weir.plugin.exported_beside import beside
from trainings import NO_JOBS

pytestmark = [
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.slow,
    # MLflow's client in this process warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

IMPORTED = Path(__file__).parents[1] / "host" / "imported"
N_KILLS = 12
WRITES_A_KILL = {"mlflow": 7, "wandb": 3, "tensorboard": 3}  # so that all of an import is hit
LARGE = 8 << 20


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIR_CLIENT", "off")


def fill_much(uri: str, artifacts: str | None) -> None:
    """Log one of everything, a long history, and a file that takes a while to copy."""
    fill(uri, artifacts)
    client = MlflowClient(uri)
    run_id = client.create_run("0", run_name="long").info.run_id
    for first in range(0, 10_000, 1_000):
        steps = range(first, first + 1_000)
        client.log_batch(run_id, [Metric("loss", step / 7, T0 + step, step) for step in steps])
    client.set_terminated(run_id)
    (experiment,) = client.search_experiments(filter_string="name = 'all kinds'")
    (one, *_) = client.search_runs([experiment.experiment_id])
    text = random.Random(1).randbytes(LARGE // 2).hex()
    client.log_text(one.info.run_id, text, "deep/large.txt")


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """Give the words of the command that say what to bring."""
    kind = request.param
    if kind in ("wandb", "tensorboard"):
        yield [kind, str(IMPORTED / kind)]
        return
    (tmp_path / "stock").mkdir()
    database = f"sqlite:///{tmp_path}/stock/stock.db"
    if kind == "a database":
        fill_much(database, (tmp_path / "stock" / "artifacts").as_uri())
        yield ["mlflow", database]
        return
    arguments = ["server", "--backend-store-uri", database]
    with start_servers(ServerSpec(arguments, tmp_path / "stock", (NO_JOBS,))) as (server,):
        fill_much(server.address, None)
        yield ["mlflow", server.address]


def beside_mlflow(uri: str) -> dict[str, str]:
    """Return what Weir has of each run beside MLflow's."""
    client, place = MlflowClient(uri), beside(uri)
    assert place is not None
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = {}
    for run in client.search_runs(experiments):
        run_id = run.info.run_id
        sources = place.sources(run_id)
        lines = [list(place.lines(run_id, one)) for one in sources]
        histograms = [rows_of(one) for one in place.histograms(run_id)]
        found[run_id] = repr((sources, lines, histograms))  # NaN is like no other
    place.close()
    return found


def run_weir(*words: str) -> str:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done.output


def compare(uri: str, reference: str, words: list[str], tmp_path: Path) -> None:
    require_same(reference, uri, tmp_path)
    assert beside_mlflow(uri) == beside_mlflow(reference)
    run_weir("db", "check", uri)
    said = run_weir("import", *words, "--to", uri).splitlines()[-1]
    assert said.endswith("0 new points, 0 new files"), said


@pytest.mark.parametrize(
    "source", ["a database", "a server", "wandb", "tensorboard"], indirect=True
)
def test_an_import_killed_inside_its_writes_brings_the_same(
    source: list[str], empty_store: Path, tmp_path: Path
) -> None:
    reference = f"weir://{shutil.copytree(empty_store, tmp_path / 'whole')}"
    run_weir("import", *source, "--to", reference)
    counts: Counter[str] = Counter()
    for number in range(N_KILLS):
        if counts.total() >= N_KILLS:
            break
        uri = f"weir://{shutil.copytree(empty_store, tmp_path / f'killed-{number}')}"
        left = N_KILLS - counts.total()
        words = [*source, "--to", uri]
        counts += import_killed_inside(words, tmp_path, number, left, WRITES_A_KILL[source[0]])
        compare(uri, reference, source, tmp_path)
    assert counts.total() >= N_KILLS
    assert counts.total() > counts[BETWEEN]
    note_campaign("kills inside an import", {"kills": dict(sorted(counts.items()))})
