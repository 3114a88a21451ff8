"""The allowance for bodies of deliveries, before an app that says when it has one and keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from mlflow_weir.ui_extensions.api.ingest import MAX_BYTES
from mlflow_weir.ui_extensions.bodies import Bodies

PATH = "/prefix/ajax-api/3.0/weir/ingest"


class Request:
    """A request whose parts the test sends, and the answer to it."""

    def __init__(self, length: int | None, path: str = PATH, method: str = "POST") -> None:
        headers = [(b"x-weir-journal", b"a" * 32)]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": headers,
        }
        self._parts: list[dict[str, Any]] = []
        self._news = anyio.Event()
        self.n_read = 0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    def send(self, part: bytes, *, is_last: bool = False) -> None:
        self._put({"type": "http.request", "body": part, "more_body": not is_last})

    def hang_up(self) -> None:
        self._put({"type": "http.disconnect"})

    def _put(self, message: dict[str, Any]) -> None:
        self._parts.append(message)
        self._news.set()

    async def receive(self) -> dict[str, Any]:
        while not self._parts:
            self._news = anyio.Event()
            await self._news.wait()
        self.n_read += 1
        return self._parts.pop(0)

    async def answer(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])


class App:
    """Holds each body until the test lets it answer."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.let_go = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        self.bodies.append(body)
        await self.let_go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def settled() -> None:
    await anyio.wait_all_tasks_blocked()


Scene = Callable[[App, Callable[[Request], None]], Awaitable[None]]


def played(
    scene: Scene, held_bytes: int, patience_s: float = 3600.0, usual_s: float = 3600.0
) -> None:
    async def play() -> None:
        app = App()
        bodies = Bodies(app, held_bytes, patience_s, usual_s)
        async with anyio.create_task_group() as tasks:

            def come(one: Request) -> None:
                tasks.start_soon(bodies, one.scope, one.receive, one.answer)

            await scene(app, come)
            app.let_go.set()
        assert (bodies._free, bodies._coming) == (held_bytes, [])

    # Playwright, of an earlier test of this process, may have its loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, play).result()


def test_who_finds_no_room_is_heard_out_and_told_when_to_come_again() -> None:
    async def scene(app: App, come: Callable[[Request], None]) -> None:
        first, second, third = Request(50), Request(60), Request(50)
        for one in (first, second, third):
            come(one)
            one.send(b"x" * 30)
            await settled()
        assert [one.n_read for one in (first, second, third)] == [1, 1, 1]
        second.send(b"x" * 20)
        await settled()
        # There is no room for it any more. The rest is read all the same, and forgotten.
        assert second.status == 0
        second.send(b"x" * 10, is_last=True)
        await settled()
        assert second.status == 503
        assert 1 <= int(second.headers[b"retry-after"]) <= 38
        for one in (first, third):
            one.send(b"y" * 20, is_last=True)
        await settled()
        assert app.bodies == [b"x" * 30 + b"y" * 20] * 2
        fourth = Request(1)  # they are held until they are answered
        come(fourth)
        fourth.send(b"z", is_last=True)
        await settled()
        assert fourth.status == 503
        app.let_go.set()
        await settled()
        assert (first.status, third.status) == (200, 200)
        fifth = Request(100)
        come(fifth)
        fifth.send(b"z" * 100, is_last=True)
        await settled()
        assert fifth.status == 200

    played(scene, held_bytes=100)


def test_what_is_announced_takes_nothing_and_what_takes_long_gives_way() -> None:
    async def scene(app: App, come: Callable[[Request], None]) -> None:
        app.let_go.set()
        announced, slow, quick = Request(100), Request(100), Request(60)
        for one in (announced, slow):
            come(one)
        slow.send(b"x" * 60)
        await settled()
        with anyio.fail_after(60):
            while quick.status != 200:
                quick = Request(60)
                come(quick)
                quick.send(b"y" * 60, is_last=True)
                await settled()
        assert slow.status == 503
        assert app.bodies == [b"y" * 60]
        announced.send(b"z" * 100, is_last=True)
        await settled()
        assert announced.status == 200

    played(scene, held_bytes=100, usual_s=0.05)


def test_what_says_no_length_is_cut_at_the_most() -> None:
    async def scene(app: App, come: Callable[[Request], None]) -> None:
        unsaid, other = Request(None), Request(1)
        come(unsaid)
        for _ in range(12):
            unsaid.send(bytes(1 << 20))
        unsaid.send(b"", is_last=True)
        await settled()
        assert len(app.bodies[0]) == MAX_BYTES + (1 << 20)  # more than it may be, and no more
        come(other)
        other.send(b"x", is_last=True)
        await settled()
        assert other.status == 503

    played(scene, held_bytes=MAX_BYTES + (1 << 20))


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 10**18])
def test_one_that_says_it_is_too_long_is_not_kept(length: int) -> None:
    async def scene(app: App, come: Callable[[Request], None]) -> None:
        large = Request(length)
        come(large)
        for _ in range(64):
            large.send(bytes(1 << 20))
        await settled()
        assert large.status == 413
        assert large.n_read == 32
        assert app.bodies == []

    played(scene, held_bytes=2 * MAX_BYTES)


def test_who_hangs_up_or_sends_nothing_gives_the_room_back() -> None:
    async def scene(app: App, come: Callable[[Request], None]) -> None:
        gone, silent = Request(50), Request(50)
        for one in (gone, silent):
            come(one)
            one.send(b"x")
        gone.hang_up()
        with anyio.fail_after(60):
            while not silent.status:
                await anyio.sleep(0.01)
        assert (gone.status, silent.status) == (0, 408)
        assert app.bodies == []

    played(scene, held_bytes=100, patience_s=0.05)


@pytest.mark.parametrize(("path", "method"), [("/weir/runs/list", "POST"), (PATH, "OPTIONS")])
def test_what_is_no_delivery_passes_untouched(path: str, method: str) -> None:
    async def scene(app: App, come: Callable[[Request], None]) -> None:
        one = Request(1000, path, method)
        come(one)
        one.send(b"x" * 1000, is_last=True)
        app.let_go.set()
        await settled()
        assert one.status == 200

    played(scene, held_bytes=0)
