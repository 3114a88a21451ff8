"""Where a server may send something to: public hosts, and those that its administrator allows.

Who names the address of a webhook would otherwise have the server ask its own network for them.
So a name is resolved here, every address it has must be allowed, and the connection goes to the
address that was looked at, whatever the name stands for a moment later.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from mlflow_weir.errors import ConfigError
from mlflow_weir.settings import ALERT_HOSTS

MAX_URL = 2_000
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAME = re.compile(r"(?:[a-z0-9_][a-z0-9_-]{0,62}\.)*[a-z0-9_][a-z0-9_-]{0,62}\Z")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Place(NamedTuple):
    """A webhook's address, taken apart.

    Attributes:
        host: Name or address, in lower case.
        path: With the query.
    """

    is_tls: bool
    host: str
    port: int
    path: str


class NotAllowed(Exception):
    """The server may not send there; its text tells a person why."""


class NotResolved(Exception):
    """The name stands for no address at this moment."""


def read_url(url: str) -> Place:
    """Take a webhook's URL apart.

    Raises:
        ConfigError: It is none that is sent to.
    """
    if len(url) > MAX_URL or not url.isascii() or re.search(r"[\s\\\x00-\x20\x7f]", url):
        raise ConfigError(f"url: expected at most {MAX_URL} characters, none of them white space")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise ConfigError("url: expected https://host/path") from None
    if parts.scheme not in {"https", "http"}:
        raise ConfigError("url: expected https://host/path")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ConfigError("url: expected no user, no password and no fragment")
    if _as_address(host) is None and not _NAME.match(host):
        raise ConfigError("url: expected the name or address of a host")
    is_tls = parts.scheme == "https"
    if not is_tls and not _is_named(host):
        raise ConfigError("url: expected https, but for hosts of WEIR_ALERT_HOSTS")
    path = parts.path or "/"
    return Place(
        is_tls,
        host,
        port or (443 if is_tls else 80),
        f"{path}?{parts.query}" if parts.query else path,
    )


def resolve(host: str, port: int) -> str:
    """Return an address of a host that may be sent to.

    Raises:
        NotAllowed: It has an address that may not.
        NotResolved: It has none now.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotResolved(f"{host}: its name cannot be resolved") from None
    found = [str(answer[4][0]).partition("%")[0] for answer in answers]
    if not found:
        raise NotResolved(f"{host}: its name cannot be resolved")
    for text in found:
        address = ipaddress.ip_address(text)
        if not (_is_named(host) or _is_allowed(address) or is_public(address)):
            raise NotAllowed(f"{host} is no public host (WEIR_ALERT_HOSTS allows others)")
    return found[0]


def is_public(address: _Address) -> bool:
    """Say whether an address is one of the public internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if int(address) >> 32 == 0:  # IPv4-compatible, long out of use
            inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if not all(is_public(one) for one in inside if one is not None):
            return False
        if address.ipv4_mapped is not None or address in _NAT64:
            return True
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and not address.is_loopback
        and not address.is_link_local
        and not getattr(address, "is_site_local", False)
    )


def _is_named(host: str) -> bool:
    """Say whether the administrator allows a host by name, or by the address it is written as."""
    address = _as_address(host)
    return host in ALERT_HOSTS.get() or (address is not None and _is_allowed(address))


def _is_allowed(address: _Address) -> bool:
    for one in ALERT_HOSTS.get():
        try:
            network = ipaddress.ip_network(one)
        except ValueError:  # a name
            continue
        if address.version == network.version and address in network:
            return True
    return False


def _as_address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
