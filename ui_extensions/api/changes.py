"""``POST changes``: what is new since a watermark; small, and asked every few seconds.

request   {"experiments": [id, …], "since"?: watermark, "runs"?: [run id, …]}
          or {"runs": [run id, …], "since"?: watermark}
200       {"watermark", "runs": {run id: version} of those that may have new points,
           "statuses": {run id: [status, end ms or null]} of the runs that were named,
           "n_runs", "n_running", "last_start_ms", "last_end_ms" of the experiments, "at_ms"}

Another ``version`` of a run than the one before means that points may have come, been moved or
been removed; which, a ``POST series`` with ``from`` tells. The last runs that had points are there
in every answer, whether or not anything is new. ``at_ms`` is the server's clock.
"""

from __future__ import annotations

import re
import time
from typing import Any

import flask

from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.runs import changes as store_changes
from mlflow_weir.store.runs.changes import Watermark
from mlflow_weir.ui_extensions import access, deliveries
from mlflow_weir.ui_extensions.link_sight import LinkSight
from mlflow_weir.ui_extensions.questions import read_question
from mlflow_weir.ui_extensions.readable import readable_runs, require_readable_experiments

_WATERMARK = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})\Z")


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/changes", "POST", content_type="application/json")
    def changes() -> flask.Response:
        question = read_question()
        experiments, named = _asked(question)
        since = _watermark(question)
        store = deliveries.require_store()
        caller = access.Access()
        ids = [int(one) for one in require_readable_experiments(experiments, caller)]
        runs = list(readable_runs(named, caller))
        with store.ManagedSessionMaker() as session:
            # Before anything else: what comes in between is told twice rather than missed.
            watermark = store_changes.current(session)
            news = set(runs)
            if ids:
                # At first too: what a later answer holds again can then be told from news.
                news.update(store_changes.runs_with_news(session, since or watermark, ids))
            answer = {
                "watermark": f"{watermark.batch}.{watermark.chunk}",
                "runs": store_changes.versions(session, sorted(news)),
                "statuses": store_changes.statuses(session, runs),
                "at_ms": time.time_ns() // 1_000_000,
            }
            if ids:
                answer |= store_changes.standing(session, ids)._asdict()
        return flask.jsonify(answer)


def answer_visitor(question: Fields, sight: LinkSight) -> dict[str, Any]:
    """Answer the same for a link: its runs alone, and nothing of how much the server takes in.

    The watermark never moves: every answer holds the versions of the runs that go on, and of
    those that are named.
    """
    experiments, named = _asked(question)
    sight.require_experiments(experiments)
    _watermark(question)
    at_ms = time.time_ns() // 1_000_000
    named = sight.readable_runs(named)
    answer: dict[str, Any] = {"watermark": "0.0", "at_ms": at_ms}
    all_runs = sight.named_runs(sight.ids_of(experiments)) if experiments else None
    if not sight.share.is_live:
        facts = {run_id: sight.facts(run_id) or {} for run_id in named}
        answer["runs"] = dict.fromkeys(named, "frozen")
        answer["statuses"] = {
            run_id: [one["status"], one["end_ms"]] for run_id, one in facts.items()
        }
    else:
        with deliveries.require_store().ManagedSessionMaker() as session:
            going_on = store_changes.running(session, sight.run_ids) if experiments else []
            answer["runs"] = store_changes.versions(session, sorted({*named, *going_on}))
            answer["statuses"] = store_changes.statuses(session, named)
    if all_runs is not None:
        answer |= all_runs.standing()._asdict()
    return answer


def _asked(question: Fields) -> tuple[list[str], list[str]]:
    experiments, named = question.texts("experiments"), question.texts("runs")
    if not experiments and not named:
        raise Refused("no experiments and no runs are asked about")
    return experiments, named


def _watermark(question: Fields) -> Watermark | None:
    given = question.text_or_none("since")
    if given is None:
        return None
    found = _WATERMARK.match(given)
    if found is None:
        raise Refused("since: expected a watermark that was given before")
    return Watermark(int(found[1]), int(found[2]))
