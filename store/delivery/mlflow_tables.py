"""MLflow's tables that deliveries write, by their columns.

tests/host/test_schema.py holds them against MLflow's models. Metrics are in ``schema.py``. A row
is inserted with every column that MLflow's models have, so that it is what MLflow would have
written, whatever defaults the database has.
"""

from __future__ import annotations

import sqlalchemy as sa

runs = sa.table(
    "runs",
    sa.column("run_uuid", sa.String),
    sa.column("name", sa.String),
    sa.column("source_type", sa.String),
    sa.column("source_name", sa.String),
    sa.column("entry_point_name", sa.String),
    sa.column("user_id", sa.String),
    sa.column("status", sa.String),
    sa.column("start_time", sa.BigInteger),
    sa.column("end_time", sa.BigInteger),
    sa.column("deleted_time", sa.BigInteger),
    sa.column("source_version", sa.String),
    sa.column("lifecycle_stage", sa.String),
    sa.column("artifact_uri", sa.String),
    sa.column("experiment_id", sa.Integer),
)
experiments = sa.table(
    "experiments",
    sa.column("experiment_id", sa.Integer),
    sa.column("name", sa.String),
    sa.column("workspace", sa.String),
    sa.column("artifact_location", sa.String),
    sa.column("lifecycle_stage", sa.String),
    sa.column("creation_time", sa.BigInteger),
    sa.column("last_update_time", sa.BigInteger),
)
experiment_tags = sa.table(
    "experiment_tags",
    sa.column("key", sa.String),
    sa.column("value", sa.Text),
    sa.column("experiment_id", sa.Integer),
)
tags = sa.table(
    "tags",
    sa.column("key", sa.String),
    sa.column("value", sa.String),
    sa.column("run_uuid", sa.String),
)
params = sa.table(
    "params",
    sa.column("key", sa.String),
    sa.column("value", sa.String),
    sa.column("run_uuid", sa.String),
)
datasets = sa.table(
    "datasets",
    sa.column("dataset_uuid", sa.String),
    sa.column("experiment_id", sa.Integer),
    sa.column("name", sa.String),
    sa.column("digest", sa.String),
    sa.column("dataset_source_type", sa.String),
    sa.column("dataset_source", sa.UnicodeText),
    sa.column("dataset_schema", sa.UnicodeText),
    sa.column("dataset_profile", sa.UnicodeText),
)
inputs = sa.table(
    "inputs",
    sa.column("input_uuid", sa.String),
    sa.column("source_type", sa.String),
    sa.column("source_id", sa.String),
    sa.column("destination_type", sa.String),
    sa.column("destination_id", sa.String),
    sa.column("step", sa.BigInteger),
)
input_tags = sa.table(
    "input_tags",
    sa.column("input_uuid", sa.String),
    sa.column("name", sa.String),
    sa.column("value", sa.String),
)
logged_models = sa.table(
    "logged_models",
    sa.column("model_id", sa.String),
    sa.column("experiment_id", sa.Integer),
    sa.column("name", sa.String),
    sa.column("artifact_location", sa.String),
    sa.column("creation_timestamp_ms", sa.BigInteger),
    sa.column("last_updated_timestamp_ms", sa.BigInteger),
    sa.column("status", sa.Integer),
    sa.column("lifecycle_stage", sa.String),
    sa.column("model_type", sa.String),
    sa.column("source_run_id", sa.String),
    sa.column("status_message", sa.String),
)
logged_model_metrics = sa.table(
    "logged_model_metrics",
    sa.column("model_id", sa.String),
    sa.column("metric_name", sa.String),
    sa.column("metric_timestamp_ms", sa.BigInteger),
    sa.column("metric_step", sa.BigInteger),
    sa.column("metric_value", sa.Float(precision=53)),
    sa.column("experiment_id", sa.Integer),
    sa.column("run_id", sa.String),
    sa.column("dataset_uuid", sa.String),
    sa.column("dataset_name", sa.String),
    sa.column("dataset_digest", sa.String),
)
logged_model_params = sa.table(
    "logged_model_params",
    sa.column("model_id", sa.String),
    sa.column("experiment_id", sa.Integer),
    sa.column("param_key", sa.String),
    sa.column("param_value", sa.Text),
)
logged_model_tags = sa.table(
    "logged_model_tags",
    sa.column("model_id", sa.String),
    sa.column("experiment_id", sa.Integer),
    sa.column("tag_key", sa.String),
    sa.column("tag_value", sa.Text),
)

ALL = (
    runs,
    experiments,
    experiment_tags,
    tags,
    params,
    datasets,
    inputs,
    input_tags,
    logged_models,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
)

ACTIVE = "active"
"""MLflow's lifecycle stage of what is not deleted."""

RUN_NAME_TAG = "mlflow.runName"
