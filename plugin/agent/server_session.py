"""Requests to a tracking server, whether it runs Weir or not.

Requests carry what the owner's own would: its headers, its certificates, its proxies, none of
which is in the agent's environment. What a server says to the contrary is put in words a person
understands, and nothing that a request carried is in them. A server that asks for patience
(``Retry-After``) or refuses the credentials is left alone for that long, whoever is in a hurry.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import NoReturn

import requests

from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.plugin import servers
from mlflow_weir.plugin.agent.targets import Address

TIMEOUTS_S = (5.0, 60.0)
"""To connect, and for an answer."""

REFUSED_PAUSE_S = 30.0
"""How long a server is left alone that lets nobody in."""

_MAX_PAUSE_S = 600.0


class ServerSession:
    """The connection to one server, with what its owner's requests carry.

    Attributes:
        base: The server's address, without user and password.
    """

    def __init__(self, address: Address, timeouts_s: tuple[float, float] = TIMEOUTS_S) -> None:
        """Read the address; nothing is connected.

        Args:
            address: Of the server, with the headers of its requests.
            timeouts_s: To connect, and for an answer.
        """
        self.base = servers.address_of(address.uri)
        self._address, self._timeouts_s = address, timeouts_s
        self._session: requests.Session | None = None
        self._is_fresh = True
        self._pause: tuple[float, str] = (0.0, "")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request and return its answer.

        Args:
            method: ``GET`` or another.
            path: Below the server's address, from its first slash on.
            body: What is sent.
            headers: Beside those of all requests.

        Raises:
            StoreUnavailable: There was none, or the server is not to be asked yet.
        """
        if time.monotonic() < self._pause[0]:
            raise StoreUnavailable(self._pause[1])
        while True:
            if self._session is None:
                self._session = self._open()
            is_fresh, self._is_fresh = self._is_fresh, False
            try:
                return self._session.request(
                    method,
                    f"{self.base}{path}",
                    data=body,
                    headers=headers,
                    timeout=self._timeouts_s,
                )
            except requests.RequestException as exc:
                self.close()
                is_silent = isinstance(exc, requests.Timeout)
                if not is_fresh and isinstance(exc, requests.ConnectionError) and not is_silent:
                    continue  # the server had closed a connection that was idle
                raise StoreUnavailable(f"{self.base}: {self._in_words(exc)}") from None
            except OSError as exc:  # a certificate's file that is not there
                self.close()
                raise StoreUnavailable(f"{self.base}: {exc}") from None

    def refuse(self, answer: requests.Response, words: str) -> NoReturn:
        """Say what is wrong with an answer, and leave the server alone where it asks for that.

        Args:
            answer: One that is of no use.
            words: The server's own, where they are known not to be a proxy's.

        Raises:
            StoreUnavailable: Always.
        """
        status, words = answer.status_code, words or answer.reason or "no reason given"
        if status in {401, 403}:
            fault = (
                "the server does not accept the user name, password or token (401)"
                if status == 401
                else f"the server does not permit it (403): {words}"
            )
            self._leave_alone(REFUSED_PAUSE_S, fault)
        elif status in {429, 503}:
            fault = f"the server asks for patience ({status}): {words}"
            self._leave_alone(_seconds(answer.headers.get("Retry-After", "")), fault)
        elif status >= 500:
            fault = f"the server or a proxy before it fails ({status}): {words}"
        elif answer.history:
            fault = f"the server redirects to {_origin(answer.url)}: use its address"
        else:
            fault = f"the server answers {status}: {words}"
            self._leave_alone(REFUSED_PAUSE_S, fault)
        raise self.unavailable(fault)

    def unavailable(self, fault: str, pause_s: float = 0.0) -> StoreUnavailable:
        """Return the error that says so of this server, which is left alone for ``pause_s``."""
        if pause_s:
            self._leave_alone(pause_s, fault)
        return StoreUnavailable(f"{self.base}: {fault}")

    def close(self) -> None:
        """Close the connection; a later request opens another."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> requests.Session:
        """Return a session that owes nothing to the agent's own environment."""
        session = requests.Session()
        environment = dict(self._address.environment)
        session.trust_env = False
        session.headers.update(self._address.headers)
        session.proxies.update(_proxies(self.base, environment))
        if environment.get("MLFLOW_TRACKING_INSECURE_TLS"):
            session.verify = False
            # The owner chose so, and MLflow has warned about it.
            requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined]
        else:
            bundles = map(
                environment.get,
                ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
            )
            session.verify = next(filter(None, bundles), True)
        session.cert = environment.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
        self._is_fresh = True
        return session

    def _leave_alone(self, seconds: float, fault: str) -> None:
        until_s = time.monotonic() + min(seconds, _MAX_PAUSE_S)
        self._pause = (until_s, f"{self.base}: {fault}")

    def _in_words(self, error: requests.RequestException) -> str:
        """Say what kept a request from its answer.

        An exception's own words may hold a proxy's URL.
        """
        if isinstance(error, requests.exceptions.SSLError):
            return f"its certificate is not accepted: {_innermost(error)}"
        if isinstance(error, requests.exceptions.ProxyError):
            return "the proxy does not let the request through"
        if isinstance(error, requests.ConnectTimeout):
            return f"no connection within {self._timeouts_s[0]:g} s"
        if isinstance(error, requests.Timeout):
            return f"no answer within {self._timeouts_s[1]:g} s"
        inner = _innermost(error)
        if isinstance(inner, ConnectionRefusedError):
            return "connection refused"
        if isinstance(inner, socket.gaierror):
            return "its name cannot be resolved"
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror.lower()
        if isinstance(error, requests.ConnectionError):
            return "the connection was closed before an answer"
        return type(error).__name__


def _origin(url: str) -> str:
    """Return where a redirection leads, without the path, which may hold a token."""
    return "/".join(servers.address_of(url).split("/")[:3])


def _proxies(base: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that the owner's ``requests`` would have used."""

    def named(name: str) -> str | None:
        return environment.get(name) or environment.get(name.upper())

    if requests.utils.should_bypass_proxies(base, no_proxy=named("no_proxy") or ""):
        return {}
    scheme = base.partition(":")[0]
    proxy = named(f"{scheme}_proxy") or named("all_proxy")
    return {scheme: proxy} if proxy else {}


def _seconds(retry_after: str) -> float:
    """Read a ``Retry-After``; one that is a date, or nothing, as the shortest pause."""
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        return 0.0


def _innermost(error: BaseException) -> BaseException:
    """Follow the causes of an error down, through urllib3's ``reason`` and ``args`` too."""
    for _ in range(10):
        inside = [
            getattr(error, "reason", None),
            error.__cause__,
            error.__context__,
            *error.args[::-1],
        ]
        found = next((one for one in inside if isinstance(one, BaseException)), None)
        if found is None or found is error:
            break
        error = found
    return error
