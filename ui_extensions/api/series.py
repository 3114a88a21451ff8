"""``POST series``: metrics of many runs for charts, in one binary answer.

    request   {"runs": [run id, …], "parts": [{"key", "level"?, "from"?: [x or null, …],
               "have"?: [points, …]}, …], "x": "step"|"wall"|"relative"|"process"|"m:KEY",
               "buckets": n, "range"?: [from, to], "want"?: ["mean", "count", "exact"],
               "groups"?: [[index of a run, …], …], "centre"?, "band"?, "at"?: ms}
    200       ``series_parts``: a part a key, in the order asked
    400, 413  the request is none, or asks too much, in words
    503       the database is away

Steps, or milliseconds. A part's header: ``{key, kind: lines | groups, level,
n_points, most_points, most_buckets}``, the last two of one run.
Lines are of runs that have points in range; a run that may not be read, or is not there, has
none.

With ``from`` a line holds what is at or after that x, to take the place of what the caller has
from there on; ``have`` says how many points the caller has before it. Where these are not the
run's points before it any more (late points, a rewind, a resumed run), the line is whole, and
says so.

Whoever goes away is noticed between two parts, and no more is read.

With ``at``, points of runs that had not ended at that moment are left out where they are later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import flask
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from mlflow.exceptions import MlflowException
from sqlalchemy.orm import Session

from mlflow_weir.errors import ChunkCorrupt, TooMuchAsked, WeirError
from mlflow_weir.store.delivery.fields import Fields, Refused
from mlflow_weir.store.metrics import axes
from mlflow_weir.store.metrics.bands import Band, Centre, make_bands
from mlflow_weir.store.metrics.curves import CurveReader, Window, everything
from mlflow_weir.store.metrics.lines import MAX_LEVEL, Lines, choose_level, make_lines
from mlflow_weir.store.metrics.points import Int64Column
from mlflow_weir.store.runs import moment
from mlflow_weir.store.sharing.shown import EVERYTHING, Shown
from mlflow_weir.ui_extensions import access, deliveries, hung_up, metrics, series_parts
from mlflow_weir.ui_extensions.questions import read_question
from mlflow_weir.ui_extensions.sights import Member, Sight

MAX_PARTS = 60
MAX_RUNS = 5_000
MAX_SERIES = 60_000
MAX_BUCKETS = 2_500
MAX_RAW_BUCKETS = 10_000
MAX_TOTAL_BUCKETS = 6_000_000

_WANT = frozenset({"mean", "count", "exact"})
_AXES = ("step", "wall", "relative", "process")
_CENTRES = ("mean", "median", "min", "max")
_BANDS = ("minmax", "sd", "se", "p10p90", "none")
_MIN, _MAX = -(2**63), 2**63 - 1
_NOBODYS = "\0"

_log = logging.getLogger(__name__)


class _Part(NamedTuple):
    key: str
    level: int | None
    since: Int64Column | None
    have: Int64Column | None


class _Question(NamedTuple):
    run_ids: list[str]
    parts: list[_Part]
    axis: axes.Axis
    other_key: str | None
    n_buckets: int
    range: tuple[int, int]
    want: frozenset[str]
    group_of_run: Int64Column | None
    centre: Centre
    band: Band
    at_ms: int | None
    shown: Shown = EVERYTHING
    until_ms: list[int] | None = None

    def source(self, key: str) -> str:
        """Return the name of the metric that is read; of one that is not shown, nobody's."""
        return key if self.shown.has_metric(key) else _NOBODYS

    @property
    def is_by_time(self) -> bool:
        return self.axis != "step"

    @property
    def is_ranged(self) -> bool:
        return self.range != (_MIN, _MAX)


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/series", "POST", content_type="application/json")
    def series() -> flask.Response:
        return answer_series(read_question(), Member())


def answer_series(fields: Fields, sight: Sight) -> flask.Response:
    """Answer ``POST series``; a metric that is not shown has no points, as one that is not."""
    question = _understood(fields, sight.share_of_limits)
    store = deliveries.require_store()
    readable = set(sight.readable_runs(question.run_ids))
    # Places stay as asked, so that what comes back is numbered as the caller's runs are.
    question = question._replace(
        run_ids=[one if one in readable else "" for one in question.run_ids],
        shown=sight.shown,
        until_ms=sight.until_ms(question.run_ids),
    )
    parts = _parts(store.ManagedSessionMaker, question)
    # The first one before the answer begins, so that a fault still is a status.
    first = next(parts)
    if isinstance(first, TooMuchAsked):
        return access.refusal(413, str(first))
    if isinstance(first, WeirError):
        raise first
    answer = flask.Response(
        _body(first, parts), content_type="application/octet-stream", direct_passthrough=True
    )
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


def _body(first: bytes, others: Iterator[bytes | WeirError]) -> Iterator[bytes]:
    yield series_parts.MAGIC
    yield first
    try:
        for part in others:
            if hung_up.is_gone():
                if (meters := metrics.meters()) is not None:
                    meters.given_up.inc()
                return
            yield part if isinstance(part, bytes) else series_parts.encode_error(str(part))
    except (sa.exc.SQLAlchemyError, MlflowException) as exc:
        _log.warning("series: %s", exc)
        yield series_parts.encode_error("the database fails")


def _parts(session_maker: Any, question: _Question) -> Iterator[bytes | WeirError]:
    """Yield the answer's parts, or what is in the way of the next one, and then no more."""
    with session_maker() as session:
        # Not through the session's end, where MLflow makes an error of its own of all others.
        try:
            yield from _read_parts(session, question)
        except (TooMuchAsked, ChunkCorrupt) as exc:
            yield exc


def _read_parts(session: Session, question: _Question) -> Iterator[bytes]:
    keys = [question.source(part.key) for part in question.parts]
    if question.other_key is not None:
        keys.append(question.source(question.other_key))
    until_ms = question.until_ms
    if question.at_ms is not None:
        until_ms = _earlier(until_ms, moment.last_ms(session, question.run_ids, question.at_ms))
    reader = CurveReader(session, question.run_ids, keys, until_ms)
    first_ms = np.zeros(len(question.run_ids), dtype=np.int64)
    if question.axis in {"relative", "process"}:
        first_ms = reader.first_ms()
    other = None
    if question.other_key is not None:
        other = reader.read_points(question.source(question.other_key))
    for part in question.parts:
        if other is not None:
            yield _over_other(reader, question, part, other)
        else:
            yield _over_axis(reader, question, part, first_ms)


def _earlier(one: list[int] | None, other: list[int]) -> list[int]:
    return other if one is None else list(map(min, one, other))


def _over_axis(
    reader: CurveReader, question: _Question, part: _Part, first_ms: Int64Column
) -> bytes:
    n_runs = len(question.run_ids)
    key = question.source(part.key)
    curve = reader.read(key, _window(question, part, first_ms), question.n_buckets)
    is_whole = np.full(n_runs, part.since is None)
    if part.since is not None:
        is_whole = _moved(question, part, curve.atoms.owner, curve.atoms.count, curve.n_total)
        if is_whole.any():
            fresh = part._replace(since=np.where(is_whole, _MIN, part.since))
            window = _window(question, fresh, first_ms)
            curve = reader.read(key, window, question.n_buckets)
    first_x, last_x = axes.x_of(curve.atoms, question.axis, first_ms)
    level = part.level
    if level is None:
        level = choose_level(first_x, last_x, question.n_buckets)
    n_inside = np.bincount(curve.atoms.owner, weights=curve.atoms.count, minlength=n_runs)
    n_each = n_inside if question.is_ranged else curve.n_total
    lines = make_lines(curve.atoms, first_x, last_x, level, n_each <= question.n_buckets)
    return _encode(question, part, lines, lines.x, curve.n_total, is_whole)


def _moved(
    question: _Question,
    part: _Part,
    owner: Int64Column,
    count: Int64Column,
    n_total: Int64Column,
) -> npt.NDArray[np.bool_]:
    """Say of each run whether what the caller has is not the run's beginning any more."""
    assert part.have is not None
    n_before = n_total - np.bincount(owner, count, minlength=len(n_total)).astype(np.int64)
    # Every point was shown, and now there are too many for that.
    outgrown = (part.have <= question.n_buckets) & (n_total > question.n_buckets)
    moved: npt.NDArray[np.bool_] = (n_before != part.have) | outgrown
    return moved


def _window(question: _Question, part: _Part, first_ms: Int64Column) -> Window:
    n_runs = len(question.run_ids)
    low, high = question.range
    if question.axis == "process" or (part.since is None and not question.is_ranged):
        return everything(n_runs, is_by_time=question.is_by_time)
    first = np.full(n_runs, low, dtype=np.int64)
    if part.since is not None:
        first = np.maximum(first, part.since)
    if question.axis == "relative":
        first = np.where(first == _MIN, first, first + first_ms)
        high = high if high == _MAX else high + int(first_ms.max(initial=0))
    return Window(question.is_by_time, first, high)


def _over_other(
    reader: CurveReader, question: _Question, part: _Part, other: dict[int, Any]
) -> bytes:
    n_runs = len(question.run_ids)
    points = reader.read_points(question.source(part.key))
    if question.group_of_run is not None:
        # Steps are each run's own; what a group's runs have in common are the other's values.
        celled = axes.join_in_cells(points, other, n_runs, question.n_buckets)
        return _encode_groups(question, part, celled.lines, celled.values_of)
    joined = axes.join(points, other, n_runs, question.n_buckets)
    totals = np.zeros(n_runs, dtype=np.int64)
    for owner, series in points.items():
        totals[owner] = len(series)
    return _encode(question, part, joined.lines, joined.x, totals, np.full(n_runs, True))


def _encode(
    question: _Question,
    part: _Part,
    lines: Lines,
    x: npt.NDArray[Any],
    totals: Int64Column,
    is_whole: npt.NDArray[np.bool_],
) -> bytes:
    if question.group_of_run is not None:
        return _encode_groups(question, part, lines, lambda x: x)
    columns = series_parts.line_columns(
        lines, x, totals=totals, is_whole=is_whole, want=question.want
    )
    columns, shared = series_parts.shared_once(columns, lines.start)
    header = {**_header(part, lines), "kind": "lines", "shared": shared}
    return series_parts.encode_part(header, columns)


def _encode_groups(
    question: _Question,
    part: _Part,
    lines: Lines,
    x_of: Callable[[Int64Column], npt.NDArray[Any]],
) -> bytes:
    assert question.group_of_run is not None
    bands = make_bands(lines, question.group_of_run, question.centre, question.band)
    return series_parts.encode_part(
        {**_header(part, lines), "kind": "groups"},
        series_parts.band_columns(bands, x_of(bands.x)),
    )


def _header(part: _Part, lines: Lines) -> dict[str, Any]:
    return {
        "key": part.key,
        "level": lines.level,
        "n_points": int(lines.count.sum()),
        "most_points": int(
            np.bincount(lines.owner_of_bucket(), lines.count).max() if len(lines) else 0
        ),
        "most_buckets": int(np.diff(lines.start).max(initial=0)),
    }


def _understood(fields: Fields, share_of_limits: int) -> _Question:
    """Check the request; raises ``Refused``, and ends it with 413 where it asks too much."""
    run_ids = fields.texts("runs")
    n_runs = len(run_ids)
    asked = fields.records("parts")
    n_buckets = fields.whole("buckets")
    want = frozenset(fields.texts("want"))
    if not run_ids or not asked:
        raise Refused("no runs or no parts are asked for")
    if not want <= _WANT:
        raise Refused(f"want: expected some of {', '.join(sorted(_WANT))}")
    limit = MAX_RAW_BUCKETS if n_runs <= 20 else MAX_BUCKETS
    if not 1 <= n_buckets <= limit:
        raise Refused(f"buckets: expected 1 to {limit} for {n_runs} runs")
    for name, n, most in (
        ("runs", n_runs, MAX_RUNS),
        ("metrics", len(asked), MAX_PARTS),
        ("runs times metrics", n_runs * len(asked), MAX_SERIES // share_of_limits),
        (
            "buckets in all",
            n_runs * len(asked) * n_buckets,
            MAX_TOTAL_BUCKETS // share_of_limits,
        ),
    ):
        if n > most:
            flask.abort(access.refusal(413, f"{n:,} {name}, at most {most:,} in one request"))
    axis, other_key = fields.text("x"), None
    if axis.startswith("m:"):
        axis, other_key = "step", axis[2:]
    if axis not in _AXES:
        raise Refused(f"x: expected m:KEY or one of {', '.join(_AXES)}")
    centre, band = fields.text_or_none("centre") or "mean", fields.text_or_none("band") or "minmax"
    if centre not in _CENTRES or band not in _BANDS:
        raise Refused(f"centre is one of {', '.join(_CENTRES)}; band of {', '.join(_BANDS)}")
    group_of_run = _groups(fields, n_runs)
    parts = [_part(one, n_runs) for one in asked]
    if any(part.since is not None for part in parts) and (
        other_key is not None or axis == "process" or group_of_run is not None
    ):
        raise Refused("from: not for this x, and not for groups")
    return _Question(
        run_ids,
        parts,
        cast("axes.Axis", axis),
        other_key,
        n_buckets,
        _range(fields),
        want,
        group_of_run,
        cast("Centre", centre),
        cast("Band", band),
        fields.whole_or_none("at"),
    )


def _part(fields: Fields, n_runs: int) -> _Part:
    level = fields.whole_or_none("level")
    if level is not None and not 0 <= level <= MAX_LEVEL:
        raise Refused(f"level: expected 0 to {MAX_LEVEL}")
    since, have = fields.items("from"), fields.items("have")
    if not since and not have:
        return _Part(fields.text("key"), level, None, None)
    if len(since) != n_runs or len(have) != n_runs:
        raise Refused("from and have: expected one number a run")
    return _Part(
        fields.text("key"),
        level,
        np.array([_MIN if one is None else _whole(one) for one in since], dtype=np.int64),
        np.array([_whole(one) for one in have], dtype=np.int64),
    )


def _groups(fields: Fields, n_runs: int) -> Int64Column | None:
    groups = fields.items("groups")
    if not groups:
        return None
    group_of_run = np.full(n_runs, -1, dtype=np.int64)
    for group, members in enumerate(groups):
        if not isinstance(members, list):
            raise Refused("groups: expected lists of places in runs")
        for member in members:
            place = _whole(member)
            if not 0 <= place < n_runs or group_of_run[place] >= 0:
                raise Refused("groups: a place that is none in runs, or is twice")
            group_of_run[place] = group
    return group_of_run


def _range(fields: Fields) -> tuple[int, int]:
    found = fields.items("range")
    if not found:
        return _MIN, _MAX
    if len(found) != 2:
        raise Refused("range: expected two numbers")
    low, high = _whole(found[0]), _whole(found[1])
    if low > high:
        raise Refused("range: ends before it begins")
    return low, high


def _whole(number: object) -> int:
    """Return a number of JavaScript's as 64 bits; what lies beyond them is cut."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or number != number:
        raise Refused(f"not a number: {number!r:.100}")
    if isinstance(number, float):
        number = min(max(number, -9.3e18), 9.3e18)
    return min(max(int(number), _MIN), _MAX)
