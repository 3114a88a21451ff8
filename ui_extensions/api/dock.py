"""``POST run/dock``: the little that the short cuts on MLflow's own page of a run say of it.

    request  {"run_id"}
    200      {"n_lines": of its consoles, "is_changed": its code differed from the commit,
              "n_untracked": files that git did not know}

Read from a few rows; the console and the patch themselves are not touched.
"""

from __future__ import annotations

import flask
import sqlalchemy as sa

from mlflow_weir.store.console import reading
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.connection import reading as connected
from mlflow_weir.ui_extensions import access, deliveries
from mlflow_weir.ui_extensions.questions import SMALL_BYTES, read_question
from mlflow_weir.ui_extensions.readable import require_readable_runs

_DIRTY, _UNTRACKED = "weir.git.dirty", "weir.git.untracked"


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/run/dock", "POST", content_type="application/json")
    def run_dock() -> flask.Response:
        run_id = read_question(SMALL_BYTES).text("run_id")
        require_readable_runs([run_id])
        columns = tables.tags.c
        with connected(deliveries.engine()) as connection:
            n_lines = sum(one.n_lines for one in reading.list_sources(connection, run_id))
            query = sa.select(columns.key, columns.value).where(
                columns.run_uuid == run_id, columns.key.in_([_DIRTY, _UNTRACKED])
            )
            tags: dict[str, str] = dict(connection.execute(query).tuples().all())
        untracked = tags.get(_UNTRACKED, "")
        return flask.jsonify(
            {
                "n_lines": n_lines,
                "is_changed": tags.get(_DIRTY) == "true",
                # A tag is anybody's to write.
                "n_untracked": int(untracked) if untracked.isdecimal() else 0,
            }
        )
