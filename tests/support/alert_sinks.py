"""Real servers that alerts are sent to: one of HTTP and one of mail, for tests."""

from __future__ import annotations

import base64
import contextlib
import datetime
import email
import email.policy
import http.server
import ipaddress
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents import wait_until
from senders import Answer, User, call


class Taken(NamedTuple):
    """A request that the sink got."""

    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes


class HttpSink:
    """Takes what is posted; answers 200, or by path ``/500``, ``/302``, …: what the path says.

    ``/once/STATUS`` answers that to the first request with a body and 200 from then on. While
    ``holds`` is set, no request is answered.
    """

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.holds = threading.Event()
        self._released = threading.Event()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(raw)
                headers = {name.lower(): value for name, value in self.headers.items()}
                is_new = self.path not in [one.path for one in sink.taken]
                sink.taken.append(Taken(self.path, headers, body, raw))
                if sink.holds.is_set():
                    sink._released.wait()
                    return
                last = self.path.rpartition("/")[2]
                status = int(last) if last.isdigit() else 200
                if "/once/" in self.path and not is_new:
                    status = 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{sink.address}/redirected")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """Without a last slash."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def at(self, path: str) -> list[Taken]:
        """Return what was posted to a path."""
        return [one for one in self.taken if one.path == path]

    def wait(self, path: str, n: int = 1) -> list[Taken]:
        """Return what was posted to a path once it is so many."""
        wait_until(lambda: len(self.at(path)) >= n, f"{n} at {path}", 120.0)
        return self.at(path)

    def close(self) -> None:
        """End it."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


class MailSink:
    """A mail server with STARTTLS that wants a login, by a certificate of its own.

    Attributes:
        certificate: File that its certificate is held against.
        logins: User and password of each login.
    """

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "mail.pem"
        key = folder / "mail.key"
        _write_certificate(self.certificate, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.messages: list[EmailMessage] = []
        self.logins: list[tuple[str, str]] = []
        self.recipients: list[str] = []
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.is_tls = self.has_login = False
                self.say("220 sink ESMTP")
                while line := self.rfile.readline():
                    words = line.decode().strip()
                    verb = words.partition(" ")[0].upper()
                    if verb == "QUIT":
                        self.say("221 bye")
                        return
                    getattr(self, f"do_{verb}", self.refuse)(words)

            def finish(self) -> None:
                super().finish()
                self.connection.close()

            def say(self, *lines: str) -> None:
                self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

            def refuse(self, words: str) -> None:
                self.say("502 what?")

            def do_EHLO(self, words: str) -> None:
                more = "250 AUTH PLAIN" if self.is_tls else "250 STARTTLS"
                self.say("250-sink", "250-8BITMIME", more)

            def do_STARTTLS(self, words: str) -> None:
                self.say("220 go on")
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", 0)
                self.is_tls = True

            def do_AUTH(self, words: str) -> None:
                _, user, password = base64.b64decode(words.split()[2]).decode().split("\0")
                sink.logins.append((user, password))
                self.has_login = password == "right"
                self.say("235 ok" if self.has_login else f"535 {user} {password} is wrong")

            def do_MAIL(self, words: str) -> None:
                self.say("250 ok" if self.has_login else "530 log in first")

            def do_RCPT(self, words: str) -> None:
                sink.recipients.append(words.partition(":")[2].strip("<>"))
                self.say("250 ok")

            def do_RSET(self, words: str) -> None:
                self.say("250 ok")

            def do_DATA(self, words: str) -> None:
                self.say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                content = b"".join(line.removeprefix(b".") for line in lines)
                sink.messages.append(
                    email.message_from_bytes(content, policy=email.policy.default)
                )
                self.say("250 taken")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


def _write_certificate(certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sink")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("sink.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@contextlib.contextmanager
def sinks(folder: Path) -> Iterator[tuple[HttpSink, MailSink]]:
    """Run one of each."""
    http_sink, mail_sink = HttpSink(), MailSink(folder)
    try:
        yield http_sink, mail_sink
    finally:
        http_sink.close()
        mail_sink.close()


def ask(address: Any, route: str, body: dict[str, Any], user: User | None = None) -> Answer:
    """Ask one of the routes of alerts."""
    return call(address, "POST", f"/ajax-api/3.0/weir/alerts{route}", body, user=user)


def make_target(server: Any, name: str, url: str, kind: str = "webhook", **more: Any) -> str:
    """Make a target; return its id."""
    body = {"action": "add", "name": name, "kind": kind, "url": url, **more}
    answer = ask(server, "/targets/change", body)
    assert answer.status == 200, answer
    return str(answer.body["target"]["id"])


def make_rule(server: Any, experiment_id: str | None, kind: str, *targets: str, **of: Any) -> str:
    """Make a rule; return its id."""
    body = {"action": "add", "experiment_id": experiment_id, "kind": kind, **of}
    answer = ask(server, "/rules/change", {**body, "targets": list(targets)})
    assert answer.status == 200, answer
    return str(answer.body["rule"]["id"])
