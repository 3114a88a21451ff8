"""``POST ingest``: consecutive records of a journal, each applied exactly once.

    X-Weir-Journal    32 hex digits
    X-Weir-Start      position of the first record, in bytes
    X-Weir-End        position after the last
    X-Weir-Fencing    number of the sender's lease, or none for a copy of a journal
    X-Weir-Patient    1: apply nothing rather than refuse a run that does not exist
    Content-Encoding  gzip, or none
    body              frames as in the journal's segments (``mlflow_weir.frames``)

    200  {"position", "was_applied", "n_records", "n_points", "rejected": [{"what", "reason"}],
         "aliases": {alias: experiment id}, "open_runs", "provisional"}
    400  the body is no whole frames, or not as long as the positions say
    403  somebody else delivers this journal
    409  {"position"}: the journal is applied up to elsewhere; nothing was done
    413  more than 8 MiB, or 32 MiB unpacked
    425  a run does not exist, or is not the caller's, and the sender is patient; nothing was done
    423  somebody with a higher fencing number delivers it; nothing was done
    503  Retry-After: the database is away, nothing was done, or all of it; or there are too many
         deliveries at once (``admission.py``), and nothing was done

Whoever did not hear an answer asks again with the same positions and is told the same.
"""

from __future__ import annotations

import re
import zlib

import flask
import sqlalchemy as sa

from mlflow_weir.errors import LeaseLost, PositionMismatch, RunNotThereYet, WeirError
from mlflow_weir.frames import parse
from mlflow_weir.store.delivery.apply import Outcome, apply
from mlflow_weir.store.delivery.gathering import gather
from mlflow_weir.ui_extensions import access, admission, deliveries, metrics
from mlflow_weir.ui_extensions.alerting import keeper
from mlflow_weir.ui_extensions.ids import is_id
from mlflow_weir.ui_extensions.review import JournalReview

MAX_BYTES = 8 << 20
MAX_UNPACKED_BYTES = 32 << 20

_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_GZIP = 31  # zlib's number for a gzip wrapper and nothing else
_MAX_TOLD = 1_000


class _BadBody(WeirError):
    """The request is not one that this route understands."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def add_to(routes: flask.Blueprint) -> None:
    """Add the route."""

    @access.route(routes, "/ingest", "POST", content_type="application/octet-stream")
    def ingest() -> flask.Response:
        engine = deliveries.engine()
        journal_id = flask.request.headers.get("X-Weir-Journal", "")
        if not is_id(journal_id):
            return access.refusal(400, "X-Weir-Journal: expected 32 hexadecimal digits")
        try:
            with admission.gate.turn(journal_id):
                answer = _take(engine, journal_id)
        except admission.TurnedAway as exc:
            answer = access.refusal(503, str(exc))
            answer.headers["Retry-After"] = str(exc.retry_after_s)
        return answer


def _take(engine: sa.Engine, journal_id: str) -> flask.Response:
    """Take a delivery whose turn it is."""
    try:
        start, end = _number("X-Weir-Start"), _number("X-Weir-End")
        fencing = _number("X-Weir-Fencing") if "X-Weir-Fencing" in flask.request.headers else None
        payloads = _records(start, end)
    except _BadBody as exc:
        return access.refusal(exc.status, str(exc))
    review = JournalReview(access.Access())
    gathered = gather(payloads)
    review.prepare(engine, journal_id, gathered)
    try:
        outcome = apply(
            engine,
            journal_id,
            fencing,
            start,
            end,
            payloads,
            principal=access.principal(),
            review=review,
            is_patient=flask.request.headers.get("X-Weir-Patient") == "1",
        )
    except PositionMismatch as exc:
        return access.refusal(409, str(exc), position=exc.position)
    except LeaseLost as exc:
        return access.refusal(423, str(exc))
    except RunNotThereYet as exc:
        return access.refusal(425, str(exc), run=exc.run_id)
    deliveries.keep_house(outcome)
    if any(operation.name == "alert" for _, operation in gathered.operations):
        keeper.hurry()
    _count(outcome)
    return flask.jsonify(_answer(outcome))


def _count(outcome: Outcome) -> None:
    meters = metrics.meters()
    if meters is None or outcome.was_applied:
        return
    meters.ingest_bytes.observe(flask.request.content_length or 0)
    meters.points.inc(outcome.n_points)
    meters.records.inc(outcome.n_records)
    meters.rejected.inc(len(outcome.rejected))


def _answer(outcome: Outcome) -> dict[str, object]:
    told = outcome.rejected[:_MAX_TOLD]
    return {
        "position": outcome.position,
        "was_applied": outcome.was_applied,
        "n_records": outcome.n_records,
        "n_points": outcome.n_points,
        "n_rejected": len(outcome.rejected),
        "rejected": [{"what": one.what, "reason": one.reason} for one in told],
        "aliases": outcome.aliases,
        "open_runs": outcome.open_runs,
        "provisional": outcome.provisional,
    }


def _number(header: str) -> int:
    text = flask.request.headers.get(header, "")
    if not _NUMBER.match(text):
        raise _BadBody(f"{header}: expected a number")
    return int(text)


def _records(start: int, end: int) -> list[bytes]:
    """Read the body's records."""
    length = end - start
    if not 0 < length <= MAX_UNPACKED_BYTES:
        raise _BadBody(
            f"from position {start} to {end}: expected 1 to {MAX_UNPACKED_BYTES} bytes",
            413 if length > 0 else 400,
        )
    body = deliveries.read_body(MAX_BYTES)
    if body is None:
        raise _BadBody(f"more than {MAX_BYTES} bytes", 413)
    encoding = flask.request.headers.get("Content-Encoding", "").strip().lower()
    if encoding == "gzip":
        body = _unpack(body, length)
    elif encoding not in {"", "identity"}:
        raise _BadBody(f"Content-Encoding {encoding:.20}: expected gzip", 415)
    if len(body) != length:
        raise _BadBody(f"{len(body)} bytes, where the positions say {length}")
    found = parse(body)
    if found.end != length:
        raise _BadBody(f"no whole and good frame at byte {found.end}")
    return found.payloads


def _unpack(body: bytes, length: int) -> bytes:
    """Undo gzip, and make no more of it than ``length`` bytes and one."""
    unpacker = zlib.decompressobj(_GZIP)
    try:
        unpacked = unpacker.decompress(body, length + 1)
    except zlib.error as exc:
        raise _BadBody("the body is not gzip") from exc
    if len(unpacked) <= length and not unpacker.eof:
        raise _BadBody("the body's gzip is cut short")
    if unpacker.unused_data:
        raise _BadBody("bytes behind the body's gzip")
    return unpacked
