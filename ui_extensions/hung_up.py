"""Whether whoever asks is still there, for answers that take long to read together.

A page that is left, or whose zoom has moved on, aborts its request. MLflow's bridge from FastAPI
to Flask (under uvicorn) looks at the connection no more once it has the body: the answer would be
read to its end for nobody. This stands in front of it, listens, and tells the thread that answers,
which asks ``is_gone`` between two parts.

Under gunicorn and waitress writing to a connection that is closed ends the answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# The thread that answers has a copy of the context of the request.
_gone: ContextVar[threading.Event | None] = ContextVar("weir_gone", default=None)


def is_gone() -> bool:
    """Say whether nobody waits for the answer to the present request any more."""
    gone = _gone.get()
    return gone is not None and gone.is_set()


class HungUp:
    """ASGI middleware: notices when who asked for series goes away."""

    def __init__(self, app: App) -> None:
        """Stand before an app."""
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, and listen while it is answered."""
        # Of a share, and under a static prefix, too.
        if scope["type"] != "http" or not scope["path"].endswith("/series"):
            await self._app(scope, receive, send)
            return
        gone, is_read, is_over = threading.Event(), asyncio.Event(), asyncio.Event()

        async def relay() -> Message:
            """Give the body on; what comes after it is the listener's."""
            if is_read.is_set():
                await is_over.wait()
                return {"type": "http.disconnect"}
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                is_read.set()
            return message

        async def listen() -> None:
            await is_read.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            is_over.set()

        _gone.set(gone)
        listener = asyncio.create_task(listen())
        try:
            await self._app(scope, relay, send)
        finally:
            listener.cancel()
