"""One try to send an alert: over HTTP to a pinned address, or by the server's mail server.

Of what a target answers its status is told and nothing else: it may be anything, and an address
may have been chosen to see it.
"""

from __future__ import annotations

import contextlib
import http.client
import smtplib
import socket
import ssl
import time

import requests

from mlflow_weir import __version__, settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.store.alerts.queue import Claimed, Outcome
from mlflow_weir.ui_extensions.alerting import hosts, messages
from mlflow_weir.ui_extensions.alerting.hosts import Place

CONNECT_S, ANSWER_S = 5.0, 10.0
ID_HEADER = "X-Weir-Delivery"
"""Carries the delivery's id: the same each time the delivery is tried."""

_AGAIN = frozenset({408, 425, 429})
_MAIL_PORTS = {"starttls": 587, "tls": 465, "off": 25}


def send(claimed: Claimed) -> Outcome:
    """Try to send a delivery; every fault becomes an outcome."""
    if claimed.target.kind == "email":
        return _mail(claimed)
    is_chat = claimed.target.kind == "slack"
    body = messages.as_slack(claimed) if is_chat else messages.as_json(claimed)
    try:
        place = hosts.read_url(claimed.target.url)
        address = hosts.resolve(place.host, place.port)
    except (hosts.NotAllowed, ConfigError) as exc:
        return Outcome(False, str(exc), is_final=True)
    except hosts.NotResolved as exc:
        return Outcome(False, str(exc))
    signed = {}
    if claimed.target.key:
        key = claimed.target.key
        signed = messages.signature(key, claimed.delivery_id, int(time.time()), body)
    return _post(place, address, body, {ID_HEADER: claimed.delivery_id, **signed})


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was looked at, whatever its host's name stands for now."""

    def __init__(self, place: Place, address: str) -> None:
        super().__init__(place.host, place.port, timeout=ANSWER_S)
        self._place, self._address = place, address
        if place.is_tls:
            self.default_port = 443

    def connect(self) -> None:
        """Connect to the address; the certificate must be the host's."""
        self.sock = socket.create_connection((self._address, self._place.port), CONNECT_S)
        self.sock.settimeout(ANSWER_S)
        if self._place.is_tls:
            self.sock = tls_context().wrap_socket(self.sock, server_hostname=self._place.host)


def tls_context() -> ssl.SSLContext:
    """Return what certificates are held against: the system's, and those of ``requests``."""
    context = ssl.create_default_context()
    context.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)
    return context


def _post(place: Place, address: str, body: bytes, more: dict[str, str]) -> Outcome:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"mlflow-weir/{__version__}",
        **more,
    }
    connection = _Pinned(place, address)
    try:
        connection.request("POST", place.path, body, headers)
        answer = connection.getresponse()
        status, pause = answer.status, answer.headers.get("Retry-After", "")
    except ssl.SSLCertVerificationError:
        return Outcome(False, "its certificate is not accepted")
    except (OSError, http.client.HTTPException) as exc:
        return Outcome(False, _in_words(exc))
    finally:
        connection.close()
    if 200 <= status < 300:
        return Outcome(True, f"answered {status}")
    if 300 <= status < 400:
        return Outcome(False, f"redirects ({status}), which is not followed", is_final=True)
    is_final = 400 <= status < 500 and status not in _AGAIN
    return Outcome(False, f"answered {status}", is_final, _seconds(pause))


def _mail(claimed: Claimed) -> Outcome:
    server, sender = settings.SMTP.get(), settings.SMTP_FROM.get()
    if not server or not sender:
        return Outcome(False, "WEIR_SMTP and WEIR_SMTP_FROM are not set on the server")
    how = settings.SMTP_TLS.get()
    host, _, port = (
        server.rpartition(":") if server.rpartition(":")[2].isdigit() else (server, "", "")
    )
    number = int(port) if port else _MAIL_PORTS[how]
    user, password = settings.SMTP_USER.get(), settings.SMTP_PASSWORD.get()
    connection: smtplib.SMTP | None = None
    try:
        message = messages.as_mail(claimed, sender)
        if how == "tls":
            connection = smtplib.SMTP_SSL(host, number, timeout=ANSWER_S, context=tls_context())
        else:
            connection = smtplib.SMTP(host, number, timeout=ANSWER_S)
        if how == "starttls":
            connection.starttls(context=tls_context())
        if user and how != "off":
            connection.login(user, password)
        refused = connection.send_message(message, sender, list(claimed.target.recipients))
    except smtplib.SMTPResponseException as exc:  # its words may repeat what was sent
        told = f"the mail server answers {exc.smtp_code}"
        return Outcome(False, told, is_final=500 <= exc.smtp_code < 600)
    except smtplib.SMTPRecipientsRefused:
        return Outcome(False, "the mail server refuses all recipients", is_final=True)
    except ssl.SSLCertVerificationError:
        return Outcome(False, "the mail server's certificate is not accepted")
    except (OSError, smtplib.SMTPException) as exc:
        return Outcome(False, f"the mail server: {_in_words(exc)}")
    except ValueError:  # a header that is none
        return Outcome(False, "WEIR_SMTP_FROM is no address", is_final=True)
    finally:
        if connection is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                connection.quit()
    return Outcome(True, f"{len(refused)} recipients were refused" if refused else "accepted")


def _in_words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__


def _seconds(retry_after: str) -> float | None:
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        return None
