"""How much of deliveries' bodies is in memory at a time, before Flask sees them.

MLflow's bridge from FastAPI to Flask (under uvicorn) has all of a request's body in memory before
the app is called, and so before a delivery can be told that there is no room (``admission.py``).
This stands in front of it: a body takes its length from an allowance, until it is answered. Who
finds no room there is told 503 with ``Retry-After``; what still comes of such a body is read and
forgotten, so that the answer is heard. A body that does not come within half a minute is given up.

Under gunicorn and waitress a body is read where its turn has come, and there is nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from mlflow_weir.ui_extensions import access, admission
from mlflow_weir.ui_extensions.api.ingest import MAX_BYTES
from mlflow_weir.ui_extensions.ids import is_id

HELD_BYTES = 64 << 20
"""Of all bodies of a process: eight of the largest, some hundred of usual ones."""

_PATIENCE_S = 30.0
_FORGOTTEN_BYTES = 4 * MAX_BYTES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Bodies:
    """ASGI middleware: lets deliveries in as long as there is room for their bodies."""

    def __init__(
        self, app: App, held_bytes: int = HELD_BYTES, patience_s: float = _PATIENCE_S
    ) -> None:
        """Stand before an app.

        Args:
            app: What answers.
            held_bytes: Of bodies at a time.
            patience_s: How long a body may take.
        """
        self._app, self._free, self._patience_s = app, held_bytes, patience_s

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that it is to come again."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_delivery(scope):
            await self._app(scope, receive, send)
            return
        length = _length(scope)
        if length > MAX_BYTES:
            await self._forget(receive)
            await _answer(send, 413, f"more than {MAX_BYTES} bytes")
        elif length > self._free:
            journal_id = _header(scope, b"x-weir-journal")
            told = admission.gate.refuse(journal_id if is_id(journal_id) else "")
            await self._forget(receive)
            await _answer(send, 503, str(told), told.retry_after_s)
        else:
            self._free -= length
            try:
                await self._pass(scope, receive, send, length)
            finally:
                self._free += length

    async def _pass(self, scope: Message, receive: Receive, send: Send, length: int) -> None:
        body: bytes | None = None
        with anyio.move_on_after(self._patience_s):
            body = await _read(receive, length)
            if body is None:
                return  # the sender has gone
        if body is None:
            await _answer(send, 408, "the body did not come")
            return
        is_read = False

        async def replay() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _forget(self, receive: Receive) -> None:
        """Read what the sender is about to send, so that it comes to hear the answer."""
        n_bytes = 0
        with anyio.move_on_after(self._patience_s):
            while n_bytes < _FORGOTTEN_BYTES:
                message = await receive()
                n_bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


async def _read(receive: Receive, most: int) -> bytes | None:
    """Return a body, cut where it is longer than it may be; None where the sender has gone."""
    parts: list[bytes] = []
    n_bytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        if n_bytes <= most:  # of a longer one Flask's part sees that it is
            parts.append(part)
            n_bytes += len(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _is_delivery(scope: Message) -> bool:
    # Under a static prefix, too.
    return bool(scope["path"].endswith(f"{access.PREFIX}/ingest"))


def _header(scope: Message, name: bytes) -> str:
    found = next((value for key, value in scope["headers"] if key == name), b"")
    return str(found.decode("latin-1"))


def _length(scope: Message) -> int:
    """Return the length that a body is said to have; the most it may have where nothing is."""
    said = _header(scope, b"content-length")
    return int(said) if said.isascii() and said.isdigit() else MAX_BYTES


async def _answer(send: Send, status: int, error: str, retry_after_s: int | None = None) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    else:
        headers.append((b"connection", b"close"))  # there may be more of a body
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
