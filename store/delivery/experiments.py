"""Operations on experiments, with the rows that MLflow's store writes for the same calls."""

from __future__ import annotations

import posixpath
from urllib.parse import urlsplit, urlunsplit

import sqlalchemy as sa

from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.delivery import Delivery, ExperimentFacts, require_active
from mlflow_weir.store.delivery.fields import Fields, Refused

DEFAULT_WORKSPACE = "default"


def create_experiment(delivery: Delivery, fields: Fields) -> None:
    """Get or create an experiment by its name, and note what became of its alias."""
    alias = fields.text("experiment_id")
    found = get_or_create(
        delivery,
        fields.text("name"),
        fields.text_or_none("workspace") or DEFAULT_WORKSPACE,
        location=fields.text_or_none("artifact_location"),
        root=fields.text_or_none("artifact_root"),
        tags=fields.pairs("tags"),
        at_ms=fields.whole("at_ms"),
    )
    delivery.state.aliases[alias] = str(found.experiment_id)
    delivery.note_location(alias, found)


def set_experiment_tag(delivery: Delivery, fields: Fields) -> None:
    """Set a tag of an experiment."""
    experiment = delivery.active_experiment(fields.text("experiment_id"))
    delivery.upsert_pairs(
        tables.experiment_tags,
        "key",
        "value",
        {"experiment_id": experiment.experiment_id},
        [(fields.text("key"), fields.text("value"))],
    )


def get_or_create(
    delivery: Delivery,
    name: str,
    workspace: str,
    *,
    location: str | None,
    root: str | None,
    tags: list[tuple[str, str]],
    at_ms: int,
) -> ExperimentFacts:
    """Return the active experiment of a name, creating it where there is none.

    Args:
        delivery: In whose transaction.
        name: The experiment's.
        workspace: In which the name is unique.
        location: Where its artifacts go; None puts them below the root.
        root: Where artifacts of experiments go; None is where the database's first one has them.
        tags: Of a new experiment.
        at_ms: When it was created.

    Raises:
        Refused: It is deleted, or there is no place for its artifacts.
    """
    columns = tables.experiments.c
    by_name = sa.select(columns.experiment_id, columns.name).where(
        columns.workspace == workspace, columns.name == name
    )
    if delivery.is_locking:
        by_name = by_name.with_for_update()
    # One that a collation takes for it is another; the insert is refused then, as MLflow's is.
    found = [row for row in delivery.connection.execute(by_name) if row.name == name]
    if found:
        return delivery.active_experiment(str(found[0].experiment_id))
    if not location and not root:
        root = _root(delivery)
    delivery.connection.execute(
        sa.insert(tables.experiments).values(
            name=name,
            workspace=workspace,
            artifact_location=location,
            lifecycle_stage=tables.ACTIVE,
            creation_time=at_ms,
            last_update_time=at_ms,
        )
    )
    experiment_id = delivery.connection.execute(by_name).one().experiment_id
    if not location:
        # Named after the id, which the insert has just drawn.
        delivery.connection.execute(
            sa.update(tables.experiments)
            .where(columns.experiment_id == experiment_id)
            .values(artifact_location=append_path(root or "", str(experiment_id)))
        )
    rows = [
        {"key": key, "value": value, "experiment_id": experiment_id}
        for key, value in dict(tags).items()
    ]
    if rows:
        delivery.connection.execute(sa.insert(tables.experiment_tags), rows)
    delivery.forget_experiment(experiment_id)
    return require_active(delivery.active_experiment(str(experiment_id)))


def _root(delivery: Delivery) -> str:
    """Return the folder that holds the default experiment's artifacts."""
    default = delivery.find_experiment("0")
    if default is None or not default.artifact_location.endswith("/0"):
        raise Refused("nothing says where artifacts of a new experiment go")
    return default.artifact_location.removesuffix("/0")


def append_path(uri: str, *parts: str) -> str:
    """Append to the path of a URI, or to a path, as MLflow's ``append_to_uri_path`` does."""
    address = urlsplit(uri)
    if not address.scheme:
        return posixpath.join(uri, *parts)
    path = posixpath.join(address.path, *parts) if address.path else "/".join(parts)
    if not address.path.startswith("/") and not address.netloc:
        rest = urlunsplit(address._replace(scheme="", path=path))
        return f"{address.scheme}:{rest}"
    return urlunsplit(address._replace(path=path))
