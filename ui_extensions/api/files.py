"""``POST files``, ``POST file``, ``POST media``: what lies beside a run.

    files   {"run_id", "path"?}         {"entries": [{"path", "is_folder", "size"}], "is_cut"}
    file    {"run_id", "path", "most"?} the file's first ``most`` bytes (default 1 MiB)
    media   {"run_id"}                  {"series": [{"key", "kind", "items": [{"step", "at_ms",
                                         "path", "small", "size"}]}], "is_cut"}

A file goes out as an attachment that no browser takes for another type or runs
(``nosniff``, a sandboxing policy); ``X-Weir-Cut: 1`` says that there is more of it. ``small`` is
the path of a smaller picture of the same, or null. A folder of more than 10,000 entries, and files
deeper than what 300 folders hold, are cut.
"""

from __future__ import annotations

from typing import Any

import flask

from mlflow_weir.media_names import MediaName, read_media_name
from mlflow_weir.store.delivery.fields import Fields
from mlflow_weir.ui_extensions import access, artifacts
from mlflow_weir.ui_extensions.questions import SMALL_BYTES, read_question
from mlflow_weir.ui_extensions.sights import Member, Sight

MAX_ENTRIES = 10_000
MAX_MEDIA = 20_000
MAX_FOLDERS = 300
MAX_FILE_BYTES = 64 << 20
_DEFAULT_FILE_BYTES = 1 << 20
# What a page shows; all else are bytes. SVG only ever in <img>, where nothing of it runs.
_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "avif": "image/avif",
    "svg": "image/svg+xml",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "webm": "video/webm",
    "ogv": "video/ogg",
    "mov": "video/quicktime",
}


def add_to(routes: flask.Blueprint) -> None:
    """Add the routes."""

    @access.route(routes, "/files", "POST", content_type="application/json")
    def files() -> flask.Response:
        return flask.jsonify(answer_files(read_question(SMALL_BYTES), Member()))

    @access.route(routes, "/file", "POST", content_type="application/json")
    def file() -> flask.Response:
        return answer_file(read_question(SMALL_BYTES), Member())

    @access.route(routes, "/media", "POST", content_type="application/json")
    def media() -> flask.Response:
        return flask.jsonify(answer_media(read_question(SMALL_BYTES), Member()))


def answer_files(fields: Fields, sight: Sight) -> dict[str, Any]:
    """Answer ``POST files``."""
    run_id = fields.text("run_id")
    path = artifacts.checked_path(fields.text_or_none("path") or "", may_be_root=True)
    sight.require_run(run_id)
    entries = sight.list_folder(run_id, path)
    return {
        "entries": [entry._asdict() for entry in entries[:MAX_ENTRIES]],
        "is_cut": len(entries) > MAX_ENTRIES,
    }


def answer_file(fields: Fields, sight: Sight) -> flask.Response:
    """Answer ``POST file``."""
    run_id, path = fields.text("run_id"), artifacts.checked_path(fields.text("path"))
    most = fields.whole_or_none("most")
    most = _DEFAULT_FILE_BYTES if most is None else most
    limit = MAX_FILE_BYTES // sight.share_of_limits
    if not 0 < most <= limit:
        return access.refusal(413, f"{most} bytes, at most {limit} at once")
    sight.require_run(run_id)
    content = sight.read_file(run_id, path, most)
    if content is None:
        return access.refusal(404, "the run has no such file")
    return _sent(path, content)


def answer_media(fields: Fields, sight: Sight) -> dict[str, Any]:
    """Answer ``POST media``."""
    run_id = fields.text("run_id")
    sight.require_run(run_id)
    if not (sight.shown.is_everything or sight.shown.media):
        return {"series": [], "is_cut": False}
    return _media(run_id, sight)


def _sent(path: str, content: artifacts.Content) -> flask.Response:
    answer = flask.Response(content.body)
    end = path.rpartition(".")[2].lower()
    answer.headers["Content-Type"] = _TYPES.get(end, "application/octet-stream")
    answer.headers["Content-Disposition"] = "attachment"
    answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Cache-Control"] = "private, no-store"
    if content.is_cut:
        answer.headers["X-Weir-Cut"] = "1"
    return answer


def _media(run_id: str, sight: Sight) -> dict[str, Any]:
    found: list[tuple[MediaName, artifacts.Entry]] = []
    is_cut = False
    for _, entries in sight.walk(run_id, max_folders=MAX_FOLDERS):
        is_cut = is_cut or any(entry.path == "" for entry in entries)
        for entry in entries:
            name = None if entry.is_folder else read_media_name(entry.path)
            if name is not None:
                found.append((name, entry))
        if len(found) > MAX_MEDIA:
            is_cut = True
            break
    small = {name.original: entry for name, entry in found if name.original != entry.path}
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, entry in found:
        if name.original != entry.path:
            continue
        lesser = small.get(entry.path)
        series.setdefault((name.kind, name.key), []).append(
            {
                "step": name.step,
                "at_ms": name.timestamp_ms,
                "path": entry.path,
                "small": None if lesser is None else lesser.path,
                "size": entry.size,
            }
        )
    for items in series.values():
        items.sort(key=lambda item: (item["step"] is None, item["step"] or 0, item["at_ms"] or 0))
    return {
        "series": [
            {"kind": kind, "key": key, "items": items}
            for (kind, key), items in sorted(series.items())
        ],
        "is_cut": is_cut,
    }
