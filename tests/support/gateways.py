"""What stands between a training and its server: a proxy, a certificate, a gateway."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "content-length"})


class _Served:
    """A server of one handler, in a thread, at ``uri``."""

    def __init__(
        self, handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None
    ) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.daemon_threads = True  # connections that are kept open
        scheme = "http" if context is None else "https"
        self.uri = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Proxy(_Served):
    """A forward proxy: plain requests and tunnels, for those who know the password."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.wants = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not self.lets_in():
                    return
                host, _, rest = self.path.removeprefix("http://").partition("/")
                with socket.create_connection(_host_port(host)) as there:
                    lines = [f"{self.command} /{rest} HTTP/1.1", f"Host: {host}"]
                    names = ("Authorization", "X-Team")
                    lines += [f"{name}: {self.headers[name]}" for name in names]
                    there.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
                    while data := there.recv(65536):
                        self.wfile.write(data)

            def do_CONNECT(self) -> None:
                if not self.lets_in():
                    return
                with socket.create_connection(_host_port(self.path)) as there:
                    self.send_response(200)
                    self.end_headers()
                    back = threading.Thread(target=_pump, args=(there, self.connection))
                    back.start()
                    _pump(self.connection, there)
                    back.join()

            def lets_in(self) -> bool:
                outer.asked.append(f"{self.command} {self.path}")
                if outer.wants and self.headers.get("Proxy-Authorization") != outer.wants:
                    self.send_error(407)
                    return False
                return True

            def log_message(self, *arguments: object) -> None:
                pass

        super().__init__(Handler)


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Authority:
    """A certificate authority of one's own, and a certificate for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = datetime.now(timezone.utc)

        def made(
            subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
        ) -> x509.Certificate:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(name)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=1))
                .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
                .add_extension(
                    x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
                )
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()),
                    critical=False,
                )
            )
            if not is_authority:
                alternative = x509.SubjectAlternativeName([address])
                builder = builder.add_extension(alternative, critical=False)
            return builder.sign(root, hashes.SHA256())

        root = ec.generate_private_key(ec.SECP256R1())
        key = ec.generate_private_key(ec.SECP256R1())
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        pem = serialization.Encoding.PEM
        self.path = folder / "ca.pem"
        self.path.write_bytes(made(name, root, is_authority=True).public_bytes(pem))
        self.server = folder / "server.pem"
        self.server.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + made(own, key, is_authority=False).public_bytes(pem)
        )

    def context(self, *, wants_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        if wants_client:
            context.load_verify_locations(self.path)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Gateway(_Served):
    """A server's only door: TLS, and a header without which nobody comes in.

    Attributes:
        uri: Where it is.
        refused: Method and path of each request that it did not let in.
        let_in: The same of those that it did.
        n_connections: How many were made.
        value: Of the header, by which it knows whom to let in.
    """

    def __init__(self, server_uri: str, authority: Authority, header: str, value: str) -> None:
        self.refused: list[str] = []
        self.let_in: list[str] = []
        self.n_connections = 0
        self.value = value
        outer, server = self, urlsplit(server_uri)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.n_connections += 1
                super().setup()

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = f"{self.command} {self.path.partition('?')[0]}"
                if self.headers.get(header) != outer.value:
                    outer.refused.append(asked)
                    self.send_error(403)
                    return
                outer.let_in.append(asked)
                behind = http.client.HTTPConnection(str(server.hostname), server.port)
                behind.request(self.command, self.path, body, _kept(self.headers))
                answer = behind.getresponse()
                found = answer.read()
                self.send_response(answer.status)
                for name, text in _kept(answer.headers).items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)
                behind.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

            def log_message(self, *arguments: object) -> None:
                pass

        super().__init__(Handler, authority.context())


def _kept(headers: Any) -> dict[str, str]:
    return {name: text for name, text in headers.items() if name.lower() not in _HOP}
