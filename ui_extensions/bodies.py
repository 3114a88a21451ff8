"""How much of deliveries' bodies is in memory at a time, before Flask sees them.

MLflow's bridge from FastAPI to Flask (under uvicorn) has all of a request's body in memory before
the app is called, and so before a delivery can be told that there is no room (``admission.py``).
This stands in front of it: what comes of a body is taken from an allowance, until it is answered.
Where that is used up, bodies give way that have been on their way for longer than most take, and
if that is not enough, the one that finds no room. Who gives way is told 503 with ``Retry-After``;
what still comes of a body without room is read and forgotten, so that the answer is heard. A body
that does not come within half a minute is given up; one that does not come at all takes no room.

Under gunicorn and waitress a body is read where its turn has come, and there is nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from mlflow_weir.ui_extensions import access, admission
from mlflow_weir.ui_extensions.api.ingest import MAX_BYTES
from mlflow_weir.ui_extensions.ids import is_id

HELD_BYTES = 64 << 20
"""Of all bodies of a process: eight of the largest, some hundred of usual ones."""

_PATIENCE_S = 30.0
_USUAL_S = 5.0
_FORGOTTEN_BYTES = 4 * MAX_BYTES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(eq=False)
class _Body:
    """A body that comes.

    Attributes:
        began_s: When it did, by the event loop's clock.
        scope: In which it is waited for.
        n_bytes: Of the allowance.
        gives_way: It has to make room.
    """

    began_s: float
    scope: anyio.CancelScope
    parts: list[bytes] = field(default_factory=list)
    n_bytes: int = 0
    gives_way: bool = False


class Bodies:
    """ASGI middleware: lets deliveries in as long as there is room for their bodies."""

    def __init__(
        self,
        app: App,
        held_bytes: int = HELD_BYTES,
        patience_s: float = _PATIENCE_S,
        usual_s: float = _USUAL_S,
    ) -> None:
        """Stand before an app.

        Args:
            app: What answers.
            held_bytes: Of bodies at a time.
            patience_s: How long a body may take.
            usual_s: How long it may take where there is no room for others.
        """
        self._app, self._free = app, held_bytes
        self._patience_s, self._usual_s = patience_s, usual_s
        self._coming: list[_Body] = []  # the oldest first

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that it is to come again."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_delivery(scope):
            await self._app(scope, receive, send)
            return
        if _length(scope) > MAX_BYTES:
            await self._forget(receive)
            await _answer(send, 413, f"more than {MAX_BYTES} bytes")
            return
        body = _Body(anyio.current_time(), anyio.CancelScope())
        try:
            await self._pass(scope, receive, send, body)
        finally:
            self._free += body.n_bytes

    async def _pass(self, scope: Message, receive: Receive, send: Send, body: _Body) -> None:
        is_there = False
        self._coming.append(body)
        try:
            body.scope.deadline = body.began_s + self._patience_s
            with body.scope:
                is_there = await self._read(receive, body)
        finally:
            self._coming.remove(body)
        if body.gives_way:
            journal_id = _header(scope, b"x-weir-journal")
            told = admission.gate.refuse(journal_id if is_id(journal_id) else "")
            await _answer(send, 503, str(told), told.retry_after_s)
        elif body.scope.cancelled_caught:
            await _answer(send, 408, "the body did not come")
        elif is_there:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive, body: _Body) -> bool:
        """Take a body, cut where it is longer than it may be; say whether the sender is there."""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return False
            part = message.get("body", b"")
            if body.n_bytes <= MAX_BYTES:  # of a longer one Flask's part sees that it is
                if not self._make_room(len(part), body):
                    self._let_go(body)
                    if message.get("more_body", False):
                        await self._forget(receive)
                    return False
                self._free -= len(part)
                body.n_bytes += len(part)
                body.parts.append(part)
            if not message.get("more_body", False):
                return True

    def _make_room(self, n_bytes: int, body: _Body) -> bool:
        """Have others give way that take too long; say whether there is room for a part then."""
        late_s = anyio.current_time() - self._usual_s
        for other in self._coming:
            if n_bytes <= self._free or other.began_s > late_s:
                break
            if other is not body and other.n_bytes:
                self._let_go(other)
                other.scope.cancel()
        return n_bytes <= self._free

    def _let_go(self, body: _Body) -> None:
        self._free += body.n_bytes
        body.gives_way, body.n_bytes = True, 0
        body.parts.clear()

    async def _forget(self, receive: Receive) -> None:
        """Read what the sender is about to send, so that it comes to hear the answer."""
        n_bytes = 0
        with anyio.move_on_after(self._patience_s):
            while n_bytes < _FORGOTTEN_BYTES:
                message = await receive()
                n_bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _replay(body: _Body, receive: Receive) -> Receive:
    """Return what gives a body that is there, and then what comes after it."""
    content = b"".join(body.parts)
    body.parts.clear()
    is_read = False

    async def replay() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": content, "more_body": False}

    return replay


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
