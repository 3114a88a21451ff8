"""Requests to a server: what they carry, and what is made of every way not to get an answer.

A real server answers what a test has put down, over real sockets; a proxy is a real one too.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from agents import wait_until
from gateways import Authority, Proxy
from mlflow_weir.errors import (
    LeaseLost,
    PositionMismatch,
    RunNotThereYet,
    StoreUnavailable,
)
from mlflow_weir.frames import frame
from mlflow_weir.plugin.agent.http_target import HttpTarget, NotWeir
from mlflow_weir.plugin.agent.server_session import ServerSession
from mlflow_weir.plugin.agent.targets import Address

SECRET = "s3cret-of-the-owner"
WEIR = {"X-Weir-Api": "1", "Content-Type": "application/json"}
SAID = (
    b'{"was_applied": false, "position": %d, "n_records": 1, "n_points": 1, "n_rejected": 0, '
    b'"rejected": [], "aliases": {}, "open_runs": {}, "provisional": {}}'
)


class Answer(NamedTuple):
    """What the server says; ``status`` 0 closes the connection, -1 says nothing."""

    status: int
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    body: bytes = b""


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """Answers the requests, in order, with what ``says`` holds; the last answer stays."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.says: list[Answer] = [Answer(200, WEIR, b"{}")]
        self.asked: list[Asked] = []
        self.silence = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append(Asked(self.command, self.path, dict(self.headers), body))
                said = outer.says.pop(0) if len(outer.says) > 1 else outer.says[0]
                if said.status <= 0:
                    if said.status < 0:
                        outer.silence.wait(300)
                    self.close_connection = True
                    return
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

            do_GET = do_POST = answer

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.uri = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.silence.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def session_of(
    uri: str,
    environment: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    answer_s: float = 5.0,
) -> ServerSession:
    return ServerSession(
        Address(
            "http",
            uri,
            tuple((environment or {}).items()),
            tuple((headers or {"Authorization": f"Bearer {SECRET}", "X-Team": "blue"}).items()),
        ),
        (2.0, answer_s),
    )


def refused(session: ServerSession) -> str:
    """Return the words for what a request ended with."""
    with pytest.raises(StoreUnavailable) as raised:
        HttpTarget(session).state("a" * 32)
    assert SECRET not in str(raised.value)
    return str(raised.value)


def test_requests_carry_the_owners_headers_and_nothing_of_this_process(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    session_of(f"{server.uri}/mlf/").ask("GET", "/x")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/mlf/x")
    assert asked.headers["Authorization"] == f"Bearer {SECRET}"
    assert asked.headers["X-Team"] == "blue"


def test_a_server_that_asks_for_patience_is_left_alone_for_that_long(server: Server) -> None:
    for status in (429, 503):
        server.asked.clear()
        server.says = [Answer(status, {**WEIR, "Retry-After": "600"})]
        session = session_of(server.uri)
        for _ in range(20):
            assert f"asks for patience ({status})" in refused(session)
        assert len(server.asked) == 1


def test_a_server_that_asked_for_patience_is_asked_again(server: Server) -> None:
    server.says = [Answer(429, {**WEIR, "Retry-After": "1"}), Answer(200, WEIR, b"{}")]
    session = session_of(server.uri)
    refused(session)

    def answers() -> bool:
        with contextlib.suppress(StoreUnavailable):
            session.ask("GET", "/")
        return len(server.asked) > 1

    wait_until(answers, "it is asked again")
    assert len(server.asked) == 2


def test_a_retry_after_that_is_a_date_or_nonsense_is_no_pause_and_no_fault(server: Server) -> None:
    for said in ("Wed, 21 Oct 2065 07:28:00 GMT", "soon", "-5", ""):
        server.says = [Answer(503, {**WEIR, "Retry-After": said}), Answer(200, WEIR, b"{}")]
        session = session_of(server.uri)
        refused(session)
        assert session.ask("GET", "/").status_code == 200


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not accept the user name, password or token (401)"),
        (403, "does not permit it (403): not yours"),
    ],
)
def test_a_server_that_lets_nobody_in_is_not_asked_again_at_once(
    server: Server, status: int, words: str
) -> None:
    server.says = [Answer(status, WEIR, b'{"error": "not yours"}')]
    session = session_of(server.uri)
    assert words in refused(session)
    assert words in refused(session)
    assert len(server.asked) == 1


def test_words_of_another_than_weir_are_not_told(server: Server) -> None:
    server.says = [Answer(502, {}, f"<html>{SECRET}</html>".encode())]
    assert "a proxy before it fails (502): Bad Gateway" in refused(session_of(server.uri))


def test_a_redirection_is_told_by_where_it_leads_and_not_by_its_path(server: Server) -> None:
    there = f"{server.uri}/login?token={SECRET}"
    server.says = [Answer(302, {"Location": there}), Answer(200, {}, b"<html>")]
    said = refused(session_of(server.uri))
    assert said.endswith(f"redirects to {server.uri}: use its address")


@pytest.mark.parametrize("status", [200, 404, 405])
def test_an_answer_that_is_not_weirs_is_told_apart(server: Server, status: int) -> None:
    server.says = [Answer(status, {"Content-Type": "text/html"}, b"<html>")]
    with pytest.raises(NotWeir):
        HttpTarget(session_of(server.uri)).state("a" * 32)


def test_a_connection_closed_while_idle_is_opened_again(server: Server) -> None:
    session = session_of(server.uri)
    assert session.ask("GET", "/1").status_code == 200
    server.says = [Answer(0), Answer(200, WEIR, b"{}")]
    assert session.ask("GET", "/2").status_code == 200
    assert [one.path for one in server.asked] == ["/1", "/2", "/2"]


def test_a_new_connection_that_is_closed_is_a_fault_told_at_once(server: Server) -> None:
    server.says = [Answer(0)]
    said = refused(session_of(server.uri))
    assert "closed" in said or "reset" in said
    assert len(server.asked) == 1


def test_a_silent_server_is_given_up_after_a_time(server: Server) -> None:
    session = session_of(server.uri, answer_s=0.3)
    session.ask("GET", "/")
    server.says = [Answer(-1)]
    assert "no answer within 0.3 s" in refused(session)
    assert len(server.asked) == 2  # not asked twice: it may be at work


def test_nobody_there_and_no_such_name_are_told_apart() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "connection refused" in refused(session_of(f"http://127.0.0.1:{port}"))
    said = refused(session_of("http://no-such-host.invalid"))
    assert "its name cannot be resolved" in said


def test_a_password_in_the_address_is_in_no_message(server: Server) -> None:
    server.says = [Answer(500)]
    said = refused(session_of(server.uri.replace("://", f"://me:{SECRET}@")))
    assert said.startswith(server.uri)


# Weir's protocol


def deliver(session: ServerSession, *payloads: bytes) -> int:
    end = sum(len(frame(payload)) for payload in payloads)
    target = HttpTarget(session)
    return target.apply("a" * 32, 7, 0, end, payloads, is_patient=True).position


def test_what_is_too_large_for_a_proxy_goes_in_parts(server: Server) -> None:
    payloads = [b"O" * 10, b"O" * 20, b"O" * 30]
    ends = [sum(len(frame(one)) for one in payloads[:n]) for n in range(4)]
    server.says = [
        Answer(413),
        Answer(200, WEIR, SAID % ends[1]),
        Answer(200, WEIR, SAID % ends[3]),
    ]
    assert deliver(session_of(server.uri), *payloads) == ends[3]
    spans = [(one.headers["X-Weir-Start"], one.headers["X-Weir-End"]) for one in server.asked]
    assert spans == [("0", str(ends[3])), ("0", str(ends[1])), (str(ends[1]), str(ends[3]))]


def test_one_record_that_is_too_large_is_a_fault(server: Server) -> None:
    server.says = [Answer(413)]
    with pytest.raises(StoreUnavailable, match="413"):
        deliver(session_of(server.uri), b"O")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (409, b'{"position": 5}', PositionMismatch),
        (423, b'{"error": "somebody else"}', LeaseLost),
        (425, b'{"run": "r"}', RunNotThereYet),
        (200, b"not JSON", StoreUnavailable),
        (200, b'{"position": "none"}', StoreUnavailable),
    ],
)
def test_each_answer_of_weirs_has_its_meaning(
    server: Server, status: int, body: bytes, error: type[Exception]
) -> None:
    server.says = [Answer(status, WEIR, body)]
    with pytest.raises(error):
        deliver(session_of(server.uri), b"O")


# On the way


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_requests_go_through_the_owners_proxy(server: Server, proxy: Proxy, name: str) -> None:
    session = session_of(server.uri, {name: proxy.uri})
    assert session.ask("GET", "/x").status_code == 200
    session.close()
    assert proxy.asked == [f"GET {server.uri}/x"]
    assert server.asked[0].headers["Authorization"] == f"Bearer {SECRET}"


def test_no_proxy_goes_past_it(server: Server, proxy: Proxy) -> None:
    environment = {"http_proxy": proxy.uri, "no_proxy": "example.org,127.0.0.1"}
    assert session_of(server.uri, environment).ask("GET", "/x").status_code == 200
    assert not proxy.asked


def test_a_proxys_password_is_used_and_in_no_message(
    server: Server, proxy: Proxy, authority: Authority
) -> None:
    proxy.wants = "Basic bWU6b3BlbnNlc2FtZQ=="  # me:opensesame
    good = {"http_proxy": proxy.uri.replace("://", "://me:opensesame@")}
    assert session_of(server.uri, good).ask("GET", "/x").status_code == 200
    wrong = proxy.uri.replace("://", f"://me:{SECRET}@")
    secure = Server(authority.context())
    environment = {"https_proxy": wrong, "REQUESTS_CA_BUNDLE": str(authority.path)}
    said = refused(session_of(secure.uri, environment))
    assert "the proxy does not let the request through" in said
    environment["https_proxy"] = good["http_proxy"]
    session = session_of(secure.uri, environment)
    assert session.ask("GET", "/x").status_code == 200  # through a tunnel
    session.close()
    secure.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_of_the_owners_authority_is_accepted(
    authority: Authority, name: str
) -> None:
    secure = Server(authority.context())
    try:
        session = session_of(secure.uri, {name: str(authority.path)})
        assert session.ask("GET", "/x").status_code == 200
        session.close()
        assert "its certificate is not accepted" in refused(session_of(secure.uri))
        session = session_of(secure.uri, {"MLFLOW_TRACKING_INSECURE_TLS": "true"})
        assert session.ask("GET", "/x").status_code == 200
        session.close()
    finally:
        secure.close()


def test_a_client_certificate_is_shown(authority: Authority) -> None:
    secure = Server(authority.context(wants_client=True))
    environment = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(authority.path)}
    try:
        with pytest.raises(StoreUnavailable):
            session_of(secure.uri, environment).ask("GET", "/x")
        environment["MLFLOW_TRACKING_CLIENT_CERT_PATH"] = str(authority.server)
        session = session_of(secure.uri, environment)
        assert session.ask("GET", "/x").status_code == 200
        session.close()
    finally:
        secure.close()


def test_a_certificate_file_that_is_not_there_is_named(authority: Authority) -> None:
    environment = {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/nowhere/ca.pem"}
    assert "/nowhere/ca.pem" in refused(session_of("https://127.0.0.1:1", environment))
