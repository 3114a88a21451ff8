"""Reports as tests write them."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from mlflow_server import ServerProcess
from senders import Answer, User, call

ROUTES = "/ajax-api/3.0/weir/reports"


def paragraph(text: str, *marks: dict[str, Any]) -> dict[str, Any]:
    """Return a paragraph of one text."""
    node: dict[str, Any] = {"type": "text", "text": text}
    return {"type": "paragraph", "content": [{**node, "marks": list(marks)} if marks else node]}


def document(*blocks: dict[str, Any]) -> dict[str, Any]:
    """Return a report's content."""
    return {"type": "doc", "content": list(blocks)}


def panel(experiment_id: str, kind: str = "charts", **more: Any) -> dict[str, Any]:
    """Return a node with a panel; ``runs`` holds what is special of its runs."""
    runs = {"experiments": [experiment_id], **more.pop("runs", {})}
    return {"type": "panel", "attrs": {"panel": {"kind": kind, "runs": runs, **more}}}


def png(width: int = 4, height: int = 4, grey: int = 128) -> bytes:
    """Return a picture of one grey."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([grey]) * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def ask(
    server: ServerProcess,
    name: str,
    body: dict[str, Any],
    user: User | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Ask one of the routes, such as ``/read``."""
    return call(server, "POST", f"{ROUTES}{name}", body, headers, user)


def write_report(
    server: ServerProcess,
    experiment_id: str,
    title: str,
    *blocks: dict[str, Any],
    user: User | None = None,
    headers: dict[str, str] | None = None,
    picture: bytes | None = None,
    is_published: bool = True,
) -> tuple[str, str]:
    """Write a report, and publish it.

    Returns:
        Its id, and that of the picture, which is its last block; "" without one.
    """
    body = {"experiment_ids": [experiment_id], "title": title}
    made = ask(server, "/create", body, user, headers)
    assert made.status == 200, made
    report, image_id = made.body["report"], ""
    about = {"id": report["id"]}
    content = list(blocks)
    if picture is not None:
        sent = {**about, "action": "picture", "body": base64.b64encode(picture).decode()}
        kept = ask(server, "/change", sent, user, headers)
        assert kept.status == 200, kept
        image_id = kept.body["image"]
        content.append({"type": "image", "attrs": {"image": image_id, "alt": "a picture"}})
    save = {"action": "save", "draft": 1, "title": title, "document": document(*content)}
    saved = ask(server, "/change", {**about, **save}, user, headers)
    assert saved.status == 200, saved
    if is_published:
        draft = saved.body["report"]["draft"]
        done = ask(
            server, "/change", {**about, "action": "publish", "draft": draft}, user, headers
        )
        assert done.status == 200, done
    return report["id"], image_id
