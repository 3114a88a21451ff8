"""A load balancer for tests: passes each connection on to one of the servers that answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence

from mlflow_server import free_port


class Balancer:
    """Passes connections on, in turn, until the block of ``run_balancer`` ends."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._turns = itertools.cycle(ports)
        self._n_servers = len(ports)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_up = threading.Event()

    def start(self) -> None:
        self._thread.start()
        assert self._is_up.wait(60)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = asyncio.start_server(self._pass_on, "127.0.0.1", self.port, backlog=1_000)
        server = self._loop.run_until_complete(listening)
        self._is_up.set()
        self._loop.run_forever()
        server.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(self._n_servers):
            with contextlib.suppress(OSError):
                theirs, to_them = await asyncio.open_connection("127.0.0.1", next(self._turns))
                break
        else:
            writer.close()  # nobody is there
            return
        await asyncio.gather(_copy(reader, to_them), _copy(theirs, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def run_balancer(ports: Sequence[int]) -> Iterator[Balancer]:
    """Run one in a thread until the block ends."""
    balancer = Balancer(ports)
    balancer.start()
    try:
        yield balancer
    finally:
        balancer.stop()
