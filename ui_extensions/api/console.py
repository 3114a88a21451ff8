"""``POST console``: what a run printed.

    request   {"run_id", "source"?, "first"?, "n"?, "search"?, "since"?}
    200       {"sources": [{"source", "node", "rank", "pid", "began_ms", "n_lines", "cut"}],
               "source", "lines": [{"n", "at_ms", "stream", "text"}], "total", "dropped", "seq"}

``source`` is one of ``sources``, the first to print where it is left out. ``first`` is a line's
number from 0, or from the end where it is negative (the default asks for the last lines); ``n`` at
most 10,000. With ``search`` the lines are those from ``first`` on that hold the text, whatever its
case. With ``since``, the ``seq`` of an answer before, they are those that are new or changed; one
that is there already is to be replaced. ``stream`` is "stdout", "stderr" or, where the two share a
terminal or file, "both". ``dropped`` lines of the middle were not kept, numbers ``cut[0]`` to
before ``cut[1]``. A text may hold colours (``ESC [ … m``), and is nobody's but the run's.
"""

from __future__ import annotations

from typing import Any

import flask

from mlflow_weir.store.console import reading
from mlflow_weir.store.console.lines import Line
from mlflow_weir.store.delivery.connection import reading as connected
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.sharing.shown import NOT_SHOWN
from mlflow_weir.ui_extensions import access, deliveries
from mlflow_weir.ui_extensions.questions import read_question
from mlflow_weir.ui_extensions.sights import Member, Sight

_MAX_BYTES = 64 << 10
_MAX_LINES = 10_000
_DEFAULT_LINES = 1_000
_MAX_SEARCH = 1_000


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/console", "POST", content_type="application/json")
    def console() -> flask.Response:
        return answer_console(read_question(_MAX_BYTES), Member())


def answer_console(question: Fields, sight: Sight) -> flask.Response:
    """Answer ``POST console``."""
    try:
        asked = _Asked(question)
    except Refused as exc:
        return access.refusal(400, str(exc))
    if not 0 < asked.n <= _MAX_LINES:
        return access.refusal(413, f"{asked.n} lines, at most {_MAX_LINES} at once")
    if asked.search is not None and not 0 < len(asked.search) <= _MAX_SEARCH:
        return access.refusal(400, f"a search for 1 to {_MAX_SEARCH} characters")
    sight.require_run(asked.run_id)
    if not sight.shown.is_everything and not sight.shown.console:
        return access.refusal(404, NOT_SHOWN)
    return _answer(asked, sight)


class _Asked:
    """A request, its types checked."""

    def __init__(self, fields: Fields) -> None:
        self.run_id = fields.text("run_id")
        self.source = fields.text_or_none("source")
        self.search = fields.text_or_none("search")
        self.since = fields.whole_or_none("since")
        n, first = fields.whole_or_none("n"), fields.whole_or_none("first")
        self.n = _DEFAULT_LINES if n is None else n
        self.first = first
        if self.first is None:
            self.first = 0 if self.search is not None else -self.n


def _answer(asked: _Asked, sight: Sight) -> flask.Response:
    facts = sight.facts(asked.run_id)
    # Of a run that went on after it was frozen: a line that was there may have changed since.
    last_ms = None if facts is None or facts["has_ended"] else facts["until_ms"]
    with connected(deliveries.engine()) as connection:
        found = reading.list_sources(connection, asked.run_id)
        sources = sight.console_sources(found, asked.run_id)
        chosen = _chosen(sources, asked.source)
        lines: list[Line] = []
        if chosen is not None:
            lines = _lines(connection, chosen, asked)
            lines = [one for one in lines if last_ms is None or one.at_ms <= last_ms]
    if chosen is None and asked.source is not None:
        return access.refusal(404, "the run has no such source")
    return flask.jsonify(
        {
            "sources": [one.as_json() for one in sources],
            "source": None if chosen is None else chosen.source,
            "lines": [line.as_json() for line in lines],
            "total": 0 if chosen is None else chosen.n_lines,
            "dropped": 0 if chosen is None else chosen.cut_to - chosen.cut_from,
            "seq": 0 if chosen is None else chosen.seq,
        }
    )


def _chosen(
    sources: list[reading.ConsoleSource], wanted: str | None
) -> reading.ConsoleSource | None:
    if wanted is None:
        return sources[0] if sources else None
    return next((one for one in sources if one.source == wanted), None)


def _lines(connection: Any, chosen: reading.ConsoleSource, asked: _Asked) -> list[Line]:
    first = asked.first or 0
    if asked.search is not None:
        return reading.search_lines(
            connection, asked.run_id, chosen, asked.search, max(first, 0), asked.n
        )
    if asked.since is not None:
        # The newest where there are more: a page that fell behind asks for the rest by number.
        return reading.read_since(connection, asked.run_id, chosen, asked.since)[-asked.n :]
    return reading.read_lines(connection, asked.run_id, chosen, first, asked.n)
