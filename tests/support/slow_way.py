"""A way to a server on which every answer takes its time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from urllib.parse import urlsplit


class SlowWay:
    """Passes connections on to a server, and each part of an answer after a delay.

    Attributes:
        uri: Where the server is found by this way.
    """

    def __init__(self, uri: str, *, delay_s: float) -> None:
        parts = urlsplit(uri)
        self._server = (parts.hostname or "", parts.port or 80)
        self._delay_s = delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.uri = parts._replace(netloc=f"127.0.0.1:{port}").geturl()
        self._sockets = [self._listener]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> SlowWay:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # which is the end
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(self._server)
                self._sockets += [here, there]
                for source, sink, delay_s in ((here, there, 0.0), (there, here, self._delay_s)):
                    words = (source, sink, delay_s)
                    threading.Thread(target=_pass_on, args=words, daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, delay_s: float) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(1 << 16):
            time.sleep(delay_s)
            sink.sendall(part)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
