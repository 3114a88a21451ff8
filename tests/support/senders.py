"""Deliveries to a server as an agent makes them, for tests."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import json
import urllib.parse
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_server import ServerProcess
from mlflow_weir.frames import frame
from mlflow_weir.store.delivery import records

ROUTES = "/ajax-api/3.0/weir"


class Answer(NamedTuple):
    """What a server said: ``body`` is decoded JSON, or text; headers in lower case."""

    status: int
    body: Any
    headers: dict[str, str]


class User(NamedTuple):
    """Credentials."""

    name: str
    password: str

    def header(self) -> dict[str, str]:
        """Return them as a request carries them."""
        words = base64.b64encode(f"{self.name}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {words}"}


def login_variables(
    folder: Path, admin: User, *, remembers: bool = True
) -> tuple[tuple[str, str], ...]:
    """Write what MLflow's basic-auth app reads, and return the variables that name it.

    Args:
        folder: Of the server; users are kept there too.
        admin: The administrator, whom MLflow makes.
        remembers: A password is verified once, not with each request, for 90 ms.
    """
    config = folder / "auth.ini"
    kept = "auth_cache_ttl_seconds = 600\n" if remembers else ""
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\n{kept}"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {admin.name}\nadmin_password = {admin.password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    return (
        ("MLFLOW_AUTH_CONFIG_PATH", str(config)),
        ("MLFLOW_FLASK_SERVER_SECRET_KEY", "for the test"),
    )


def call(
    server: ServerProcess,
    method: str,
    path: str,
    body: bytes | dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    user: User | None = None,
) -> Answer:
    """Send one request."""
    address = urllib.parse.urlsplit(server.address)
    sent = {**(headers or {}), **(user.header() if user else {})}
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=300)
    try:
        # A server may answer a body that is too large without reading it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, sent)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        found = {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()
    try:
        return Answer(answer.status, json.loads(text), found)
    except ValueError:
        return Answer(answer.status, text, found)


def operation(name: str, /, **fields: Any) -> bytes:
    """Return the record of an operation; fields that are not given are null."""
    given = dict.fromkeys(records.OPERATIONS[name]) | fields
    return records.encode_operation(name, given)


def points(run_id: str, key: str, values: Sequence[float], first_step: int = 0) -> list[bytes]:
    """Return records of one point each."""
    return [
        records.encode_points(run_id, [(key, 1_700_000_000_000 + step, step, value)])
        for step, value in enumerate(values, first_step)
    ]


def create_run(run_id: str, experiment_id: str = "0", **fields: Any) -> bytes:
    """Return the record that begins a run."""
    return operation(
        "create_run",
        **{
            "run_id": run_id,
            "experiment_id": experiment_id,
            "user_id": "tester",
            "start_time": 1_700_000_000_000,
            "tags": [],
            **fields,
        },
    )


def new_id() -> str:
    """Return 32 hexadecimal digits nobody has used."""
    return uuid.uuid4().hex


@dataclass
class Sender:
    """A journal that is delivered to a server."""

    server: ServerProcess
    user: User | None = None
    prefix: str = ""
    journal_id: str = field(default_factory=new_id)
    position: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def request(
        self, payloads: Sequence[bytes], start: int | None = None, *, is_packed: bool = True
    ) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of a delivery that begins at a position, or at the next."""
        start = self.position if start is None else start
        body = b"".join(map(frame, payloads))
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Weir-Journal": self.journal_id,
            "X-Weir-Start": str(start),
            "X-Weir-End": str(start + len(body)),
            "X-Weir-Fencing": "1",
            **self.headers,
        }
        if is_packed:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 1)
        return body, headers

    def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send a delivery as it is."""
        path = f"{self.prefix}{ROUTES}/ingest"
        return call(self.server, "POST", path, body, headers, self.user)

    def send(self, *payloads: bytes) -> dict[str, Any]:
        """Deliver the next records; they must be taken."""
        answer = self.post(*self.request(payloads))
        assert answer.status == 200, answer
        self.position = answer.body["position"]
        found: dict[str, Any] = answer.body
        return found

    def rejections(self, *payloads: bytes) -> list[str]:
        """Deliver the next records; return the reasons for those that were not taken."""
        return [one["reason"] for one in self.send(*payloads)["rejected"]]

    def beat(self, *run_ids: str) -> dict[str, Any]:
        """Send a heartbeat."""
        answer = call(
            self.server,
            "POST",
            f"{self.prefix}{ROUTES}/heartbeat",
            {"journal": self.journal_id, "runs": list(run_ids), "host": "tester"},
            self.headers,
            self.user,
        )
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.body
        return found
