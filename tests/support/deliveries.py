"""The same calls on stock MLflow's store and, through a journal, on another database.

``Both`` performs each call on MLflow's ``SqlAlchemyStore`` at once and writes it as a record;
``deliver`` applies the records to the other database, in drains of any size, and
``compare`` fails where the two differ in what MLflow's tables or a metric's history hold. What
MLflow refused must have been refused on delivery, and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from databases import DatabaseServer
from mlflow_weir.store.delivery.apply import Outcome, apply
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.delivery.records import encode_operation, encode_points
from mlflow_weir.store.metrics.points import stored_value
from mlflow_weir.store.tracking_store import WeirStore
from pairs import CLOCK_FIELDS, comparable, settle_ties

ARTIFACTS = "/nowhere/artifacts"
Pairs = Sequence[tuple[str, str]]


class JournalOfRecords:
    """Records in memory with the positions a journal's would have.

    Attributes:
        journal_id: 32 hex digits.
        payloads: All records.
        delivered: How many of them are known to be applied.
    """

    def __init__(self, seed: int = 1) -> None:
        self.journal_id = f"{random.Random(seed).getrandbits(128):032x}"
        self.payloads: list[bytes] = []
        self.delivered = 0

    def add(self, payload: bytes) -> None:
        """Write a record."""
        self.payloads.append(payload)

    def operation(self, name: str, /, **fields: Any) -> None:
        """Write an operation."""
        self.add(encode_operation(name, fields))

    def position(self, number: int) -> int:
        """Return where the record of a number begins."""
        return sum(8 + len(payload) for payload in self.payloads[:number])

    def number_at(self, position: int) -> int:
        """Return the number of the record that begins at a position."""
        for number in range(len(self.payloads) + 1):
            if self.position(number) == position:
                return number
        raise AssertionError(f"no record begins at {position}")

    def apply(self, engine: sa.Engine, first: int, last: int, fencing: int | None = 1) -> Outcome:
        """Apply the records from ``first`` (inclusive) to ``last`` (exclusive)."""
        return apply(
            engine,
            self.journal_id,
            fencing,
            self.position(first),
            self.position(last),
            self.payloads[first:last],
        )

    def deliver(self, engine: sa.Engine, rng: random.Random | None = None) -> list[Outcome]:
        """Apply what is left, in drains of random sizes."""
        outcomes = []
        while self.delivered < len(self.payloads):
            left = len(self.payloads) - self.delivered
            last = self.delivered + (rng.randint(1, left) if rng else left)
            outcomes.append(self.apply(engine, self.delivered, last))
            self.delivered = last
        return outcomes


class Both:
    """Stock MLflow on one database, a journal on another.

    Attributes:
        stock: MLflow's store.
        weir: Ours, on the other database, for what is not journaled and for reading.
        engine: Of the other database, as the agent opens it.
        journal: The records so far.
        refusals: What MLflow refused, and why.
        rejected: What was refused on delivery.
        keys: Runs and metrics that were logged.
    """

    def __init__(self, server: DatabaseServer, seed: int = 1) -> None:
        self.stock: Any = SqlAlchemyStore(server.new_mlflow_database(), ARTIFACTS)
        url = server.new_mlflow_database()
        self.weir: Any = WeirStore(url, ARTIFACTS)
        self.engine = open_engine(url)
        self.journal = JournalOfRecords(seed)
        self.rng = random.Random(seed)
        self.refusals: list[str] = []
        self.rejected: list[Any] = []
        self.keys: set[tuple[str, str]] = set()

    def close(self) -> None:
        """Give back all connections."""
        self.stock._dispose_engine()
        self.weir._dispose_engine()
        self.engine.dispose()

    def deliver(self) -> None:
        """Apply the journal so far, in random drains."""
        for outcome in self.journal.deliver(self.engine, self.rng):
            self.rejected += outcome.rejected

    def _stock(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self.stock, method)(*args, **kwargs)
        except MlflowException as exc:
            self.refusals.append(f"{method}: {exc}")
            return None

    # The calls

    def create_experiment(self, name: str, location: str | None, tags: Pairs) -> str:
        """Create an experiment; in the journal it goes by an alias."""
        entities = [ExperimentTag(key, value) for key, value in tags]
        experiment_id = str(self._stock("create_experiment", name, location, entities))
        self.journal.operation(
            "create_experiment",
            experiment_id=f"alias-{experiment_id}",
            name=name,
            artifact_location=location,
            artifact_root=ARTIFACTS,
            tags=[list(tag) for tag in tags],
            at_ms=1,
        )
        return experiment_id

    def create_run(
        self, experiment_id: str, alias: str, start_time: int, tags: Pairs, name: str | None
    ) -> str:
        """Create a run under the id that MLflow drew."""
        entities = [RunTag(key, value) for key, value in tags]
        run = self._stock("create_run", experiment_id, "somebody", start_time, entities, name)
        self.journal.operation(
            "create_run",
            run_id=run.info.run_id,
            experiment_id=alias,
            experiment_name=None,
            user_id="somebody",
            start_time=start_time,
            tags=[list(tag) for tag in tags],
            run_name=run.info.run_name,
            artifact_uri=None,
        )
        return str(run.info.run_id)

    def update_run(
        self, run_id: str, status: str | None, end_time: int | None, name: str | None
    ) -> None:
        """Change a run's status, end time or name."""
        number = None if status is None else RunStatus.from_string(status)
        self._stock("update_run_info", run_id, number, end_time, name)
        self.journal.operation(
            "update_run",
            run_id=run_id,
            status=status,
            end_time=end_time,
            run_name=name,
            is_provisional=False,
            is_revival=False,
        )

    def log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Log metrics; those of a logged model go there too."""
        self._stock("log_batch", run_id, list(metrics), [], [])
        self.keys |= {(run_id, metric.key) for metric in metrics}
        points = [(m.key, m.timestamp, m.step, stored_value(m.value)) for m in metrics]
        self.journal.add(encode_points(run_id, points))
        of_models = [
            {
                "key": metric.key,
                "value": metric.value,
                "timestamp": metric.timestamp,
                "step": metric.step,
                "model_id": metric.model_id,
                "dataset_name": metric.dataset_name,
                "dataset_digest": metric.dataset_digest,
            }
            for metric in metrics
            if metric.model_id is not None
        ]
        if of_models:
            self.journal.operation("model_metrics", run_id=run_id, metrics=of_models)

    def log_params(self, run_id: str, params: Pairs) -> None:
        """Log params."""
        self._stock("log_batch", run_id, [], [Param(key, value) for key, value in params], [])
        self.journal.operation("log_params", run_id=run_id, params=[list(pair) for pair in params])

    def set_tags(self, run_id: str, tags: Pairs) -> None:
        """Set tags."""
        self._stock("log_batch", run_id, [], [], [RunTag(key, value) for key, value in tags])
        self.journal.operation("set_tags", run_id=run_id, tags=[list(pair) for pair in tags])

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag."""
        self._stock("delete_tag", run_id, key)
        self.journal.operation("delete_tag", run_id=run_id, key=key)

    def set_experiment_tag(self, experiment_id: str, alias: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""
        self._stock("set_experiment_tag", experiment_id, ExperimentTag(key, value))
        self.journal.operation("set_experiment_tag", experiment_id=alias, key=key, value=value)

    def log_inputs(
        self, run_id: str, datasets: Sequence[tuple[Dataset, Pairs]], models: Sequence[str]
    ) -> None:
        """Link data sets and models to a run."""
        inputs = [
            DatasetInput(dataset, [InputTag(key, value) for key, value in tags])
            for dataset, tags in datasets
        ]
        self._stock("log_inputs", run_id, inputs, [LoggedModelInput(model) for model in models])
        self.journal.operation(
            "log_inputs",
            run_id=run_id,
            datasets=[
                {
                    "name": dataset.name,
                    "digest": dataset.digest,
                    "source_type": dataset.source_type,
                    "source": dataset.source,
                    "schema": dataset.schema,
                    "profile": dataset.profile,
                    "tags": [list(tag) for tag in tags],
                }
                for dataset, tags in datasets
            ],
            models=list(models),
        )

    def log_outputs(self, run_id: str, models: Sequence[tuple[str, int]]) -> None:
        """Link models that a run made."""
        outputs = [LoggedModelOutput(model_id, step) for model_id, step in models]
        self._stock("log_outputs", run_id, outputs)
        self.journal.operation("log_outputs", run_id=run_id, models=[list(one) for one in models])

    def create_logged_model(
        self, experiment_id: str, alias: str, name: str | None, run_id: str | None, tags: Pairs
    ) -> str:
        """Create a logged model under the id that MLflow drew."""
        model = self._stock(
            "create_logged_model",
            experiment_id,
            name,
            run_id,
            [LoggedModelTag(key, value) for key, value in tags],
            [LoggedModelParameter(f"p {key}", value) for key, value in tags],
            "a type",
        )
        self.journal.operation(
            "create_logged_model",
            model_id=model.model_id,
            experiment_id=alias,
            name=model.name,
            source_run_id=run_id,
            artifact_location=None,
            tags=[list(tag) for tag in tags],
            params=[[f"p {key}", value] for key, value in tags],
            model_type="a type",
            at_ms=1,
        )
        return str(model.model_id)

    def finalize_logged_model(self, model_id: str, status: str) -> None:
        """Set the status of a logged model."""
        self._stock("finalize_logged_model", model_id, LoggedModelStatus(status))
        self.journal.operation("finalize_logged_model", model_id=model_id, status=status, at_ms=2)

    def set_logged_model_tags(self, model_id: str, tags: Pairs) -> None:
        """Set tags of a logged model."""
        entities = [LoggedModelTag(key, value) for key, value in tags]
        self._stock("set_logged_model_tags", model_id, entities)
        listed = [list(tag) for tag in tags]
        self.journal.operation("set_logged_model_tags", model_id=model_id, tags=listed)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Delete a tag of a logged model."""
        self._stock("delete_logged_model_tag", model_id, key)
        self.journal.operation("delete_logged_model_tag", model_id=model_id, key=key)

    def log_logged_model_params(self, model_id: str, params: Pairs) -> None:
        """Log params of a logged model."""
        entities = [LoggedModelParameter(key, value) for key, value in params]
        self._stock("log_logged_model_params", model_id, entities)
        listed = [list(param) for param in params]
        self.journal.operation("log_logged_model_params", model_id=model_id, params=listed)

    def delete_run(self, run_id: str) -> None:
        """Delete a run in both, as somebody else does: not by the journal."""
        self.deliver()
        self.stock.delete_run(run_id)
        self.weir.delete_run(run_id)

    # What became of them

    def compare(self) -> None:
        """Compare every row of MLflow's tables, and every metric's history."""
        self.deliver()
        assert len(self.rejected) == len(self.refusals), (self.rejected, self.refusals)
        expected, found = mlflow_rows(self.stock.engine), mlflow_rows(self.engine)
        for name, rows in expected.items():
            assert found[name] == rows, name
        for run_id, key in sorted(self.keys):
            histories = [
                settle_ties(comparable(list(store.get_metric_history(run_id, key))))
                for store in (self.stock, self.weir)
            ]
            assert histories[1] == histories[0], (run_id, key)


def mlflow_rows(engine: sa.Engine) -> dict[str, list[Any]]:
    """Read MLflow's tables but for the metric history; drawn ids are named by what they are of."""
    tables: dict[str, list[dict[str, Any]]] = {}
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name != "metrics":
                rows = connection.execute(sa.select(table)).mappings()
                tables[table.name] = [dict(row) for row in rows]
    names: dict[Any, Any] = {}
    for row in tables["datasets"]:
        named = (row["experiment_id"], row["name"], row["digest"])
        names[row["dataset_uuid"]] = f"data set {named}"
    for row in tables["inputs"]:
        source = names.get(row["source_id"], row["source_id"])
        names[row["input_uuid"]] = f"link {source} {row['source_type']} {row['destination_id']}"
    return {
        name: sorted(
            (
                [
                    (column, item is None)
                    if column in CLOCK_FIELDS
                    else (column, comparable(names.get(item, item)))
                    for column, item in sorted(row.items())
                ]
                for row in rows
            ),
            key=repr,
        )
        for name, rows in tables.items()
    }
