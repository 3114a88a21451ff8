"""Which experiments are private, and which public; all others are their team's.

A row says what somebody chose. That a private experiment is one is MLflow's permissions' doing
(``ui_extensions/visibility.py``); that a public one opens is its link's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from mlflow_weir.store import schema
from mlflow_weir.store.sharing.links import Share

PRIVATE, TEAM, PUBLIC = "private", "team", "public"
LEVELS = (PRIVATE, TEAM, PUBLIC)
_IN_LIST = 500


class Visibility(NamedTuple):
    """Who may see an experiment.

    Attributes:
        denied_before: Users who were denied before it became private, and stay so after.
        share_id: Of the link of its public address; it stays the same while the experiment does.
        address: Last part of that address; None where it never was public.
    """

    experiment_id: str
    level: str
    workspace: str | None = None
    denied_before: tuple[str, ...] = ()
    share_id: str | None = None
    address: str | None = None
    changed_ms: int = 0
    changed_by: str = ""


def read(engine: sa.Engine, experiment_ids: Sequence[str]) -> dict[str, Visibility]:
    """Return what was chosen for each experiment, in the order given."""
    columns = schema.visibility.c
    found: dict[str, Visibility] = {}
    with engine.connect() as connection:
        for start in range(0, len(experiment_ids), _IN_LIST):
            ids = [int(one) for one in experiment_ids[start : start + _IN_LIST]]
            query = sa.select(schema.visibility).where(columns.experiment_id.in_(ids))
            found |= {
                str(row["experiment_id"]): _visibility_of(row)
                for row in connection.execute(query).mappings()
            }
    return {one: found.get(one, Visibility(one, TEAM)) for one in experiment_ids}


def private_ones(engine: sa.Engine) -> list[Visibility]:
    """Return all that are private, of every workspace."""
    query = sa.select(schema.visibility).where(schema.visibility.c.level == PRIVATE)
    with engine.connect() as connection:
        return [_visibility_of(row) for row in connection.execute(query).mappings()]


def is_any_private(engine: sa.Engine, experiment_ids: Collection[str]) -> bool:
    """Say whether one of a link's experiments is private."""
    return any(one.level == PRIVATE for one in read(engine, list(experiment_ids)).values())


def of_link(engine: sa.Engine, share: Share) -> list[Visibility]:
    """Return what was chosen for a link's experiments, and for the one whose address it is."""
    columns = schema.visibility.c
    query = sa.select(schema.visibility).where(
        sa.or_(
            columns.experiment_id.in_([int(one) for one in share.experiment_ids]),
            columns.share_id == share.share_id,
        )
    )
    with engine.connect() as connection:
        return [_visibility_of(row) for row in connection.execute(query).mappings()]


def of_address(engine: sa.Engine, share: Share) -> Visibility | None:
    """Return whose public address a link is; None of a link that is nobody's."""
    found = [one for one in of_link(engine, share) if one.share_id == share.share_id]
    return found[0] if found else None


def write(engine: sa.Engine, chosen: Visibility) -> None:
    """Keep what was chosen, in the place of what was."""
    values = {
        "experiment_id": int(chosen.experiment_id),
        "workspace": chosen.workspace,
        "level": chosen.level,
        "denied_before": json.dumps(chosen.denied_before),
        "share_id": chosen.share_id,
        "address": chosen.address,
        "changed_ms": chosen.changed_ms,
        "changed_by": chosen.changed_by[:255],
    }
    columns = schema.visibility.c
    with engine.begin() as connection:
        changed = connection.execute(
            sa.update(schema.visibility)
            .where(columns.experiment_id == values["experiment_id"])
            .values(**values)
        )
        if not changed.rowcount:
            connection.execute(sa.insert(schema.visibility).values(**values))


def _visibility_of(row: sa.RowMapping) -> Visibility:
    return Visibility(
        str(row["experiment_id"]),
        row["level"],
        row["workspace"],
        tuple(json.loads(row["denied_before"])),
        row["share_id"],
        row["address"],
        row["changed_ms"],
        row["changed_by"],
    )
