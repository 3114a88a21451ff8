"""Asking a server's own routes: what comes back, what is refused, how often it is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlflow_weir.plugin.weir_routes import Refused, ask

N_AWAY = 3


class Busy(ThreadingHTTPServer):
    """Answers 503 three times, then what it was asked for."""

    n_asked = 0


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.n_asked += 1
            self.rfile.read(int(self.headers["Content-Length"]))
            is_away = server.n_asked <= N_AWAY
            body = b"" if is_away else b'{"lines": 7}'
            self.send_response(503 if is_away else 404 if self.path.endswith("new") else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    with Busy(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_what_may_be_asked_again_is_asked_as_often_as_mlflow_asks(busy: Busy) -> None:
    server = f"http://127.0.0.1:{busy.server_port}"
    assert ask(server, "console", {}, max_retries=None) == {"lines": 7}
    assert busy.n_asked == N_AWAY + 1


def test_what_makes_something_is_given_up_soon(busy: Busy) -> None:
    server = f"http://127.0.0.1:{busy.server_port}"
    with pytest.raises(Refused, match=r"does not answer|answers 503"):
        ask(server, "shares/create", {})
    assert busy.n_asked == 2


def test_a_server_without_the_route_is_told_by_its_name(busy: Busy) -> None:
    busy.n_asked = N_AWAY
    with pytest.raises(Refused, match=r"runs no Weir, or one that has no 'shares/new' yet"):
        ask(f"http://127.0.0.1:{busy.server_port}", "shares/new", {})
