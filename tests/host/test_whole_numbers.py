"""What MLflow's own store takes as a time, a step or an id, of any type, the journal takes too."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from mlflow.entities import LoggedModelOutput, Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException

from databases import DatabaseServer
from mlflow_weir.store.tracking_store import WeirStore
from pairs import open_journaled

pytestmark = pytest.mark.slow

NOW_MS = 1_795_389_576_341
GIVEN = {
    "int": NOW_MS,
    "float": NOW_MS + 0.25,
    "numpy int": numpy.int64(NOW_MS),
    "numpy float": numpy.float64(NOW_MS),
    "digits": str(NOW_MS),
}


class Stores:
    """A store as a training process has it, and one that reads the same database."""

    def __init__(self, url: str, root: str) -> None:
        self.journaled: Any = open_journaled(url, root)
        self._direct = WeirStore(url, root)

    def begin(self, start_time: Any) -> str:
        run = self.journaled.create_run("0", "somebody", start_time, [], "a run")
        return str(run.info.run_id)

    def delivered(self, run_id: str) -> Run:
        assert self.journaled.recorder.deliver(30)
        assert self.journaled.recorder.n_refused() == 0
        found: Run = self._direct.get_run(run_id)
        return found


@pytest.fixture
def stores(sqlite_folder: DatabaseServer, tmp_path: Path) -> Iterator[Stores]:
    opened = Stores(sqlite_folder.new_mlflow_database(), tmp_path.as_uri())
    yield opened
    opened.journaled._dispose_engine()
    opened._direct._dispose_engine()


@pytest.mark.parametrize("kind", GIVEN)
def test_a_run_begins_and_ends_at_times_of_any_type(kind: str, stores: Stores) -> None:
    run_id = stores.begin(GIVEN[kind])
    stores.journaled.update_run_info(run_id, RunStatus.FINISHED, GIVEN[kind], None)
    stores.journaled.log_batch(
        run_id, [Metric("m", 1.0, 1, 1)], [Param("p", "1")], [RunTag("t", "1")]
    )
    info = stores.delivered(run_id).info
    assert (info.start_time, info.end_time, info.status) == (NOW_MS, NOW_MS, "FINISHED")


def test_a_time_that_is_no_number_counts_as_not_given(stores: Stores) -> None:
    before_ms = int(time.time() * 1000) - 1
    run_id = stores.begin(math.nan)
    stores.journaled.update_run_info(run_id, RunStatus.FINISHED, math.nan, None)
    info = stores.delivered(run_id).info
    assert info.start_time >= before_ms
    assert info.status == "FINISHED"


@pytest.mark.parametrize("given", [1e300, "soon", [1]], ids=str)
def test_a_time_that_no_database_takes_is_refused_at_once(given: Any, stores: Stores) -> None:
    with pytest.raises(MlflowException, match="start_time"):
        stores.begin(given)


def test_a_models_step_may_be_a_number_of_numpys(stores: Stores) -> None:
    run_id = stores.begin(NOW_MS)
    model = stores.journaled.create_logged_model("0", "net", run_id)
    step: Any = numpy.int64(3)
    output = LoggedModelOutput(model.model_id, step)
    stores.journaled.log_outputs(run_id, [output])
    outputs = stores.delivered(run_id).outputs
    assert outputs is not None
    assert [(one.model_id, one.step) for one in outputs.model_outputs] == [(model.model_id, 3)]


def test_ids_and_names_may_be_numbers(stores: Stores) -> None:
    given: Any = 0
    model = stores.journaled.create_logged_model(given, "net", model_type=given)
    run_id = stores.journaled.create_run(given, 7, NOW_MS, [], 5).info.run_id
    info = stores.delivered(run_id).info
    assert (info.experiment_id, info.user_id, info.run_name) == ("0", "7", "5")
    stores.journaled.update_run_info(run_id, RunStatus.FINISHED, NOW_MS, 6)
    info = stores.delivered(run_id).info
    assert (info.status, info.run_name) == ("FINISHED", "6")
    assert stores.journaled.get_logged_model(model.model_id).model_type == "0"
