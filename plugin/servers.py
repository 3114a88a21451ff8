"""Tracking servers that run Weir, as far as this user's machine has met them.

    SPOOL/servers.json    {"format": 1, "servers": {address: when it was met, in ms}}
    SPOOL/captures.json   {address: [classes of capture that it allows]}, where not all are

A server that runs Weir is asked once and remembered by its address, so that later processes ask
nobody and a training can begin while it is away. A stock server is not remembered, and leaves
nothing on disk. The agent forgets one that does not take deliveries any more. Whoever loses a race
for the file asks again the next time.

Nothing here imports MLflow.
"""

from __future__ import annotations

import contextlib
import enum
import os
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mlflow_weir.capture_policy import CLASSES, known_classes
from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.journal.spool import Spool, read_object, write_private

ROUTES = "/ajax-api/3.0/weir"
"""Where a server's routes of ours begin, below its address."""

API_HEADER = "X-Weir-Api"
"""In every answer of a server that runs Weir."""


class Kind(enum.Enum):
    """What a server is."""

    WEIR = "runs Weir"
    STOCK = "does not"
    UNKNOWN = "does not answer"


_FORMAT = 1
_MAX_SERVERS = 1_000
_CAPTURES = "captures.json"


def address_of(uri: str) -> str:
    """Return the address of a server: its URI without user, password, query and last slash."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2].lower()
    return urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), "", ""))


def is_known(uri: str) -> bool:
    """Say whether the server is remembered as one that runs Weir; makes no folder."""
    with contextlib.suppress(OSError, WeirError):
        spool = Spool.look()
        return spool is not None and address_of(uri) in _read(spool.root)
    return False


def known() -> list[str]:
    """Return the addresses of servers that are remembered, the newest first; makes no folder."""
    with contextlib.suppress(OSError, WeirError):
        spool = Spool.look()
        if spool is not None:
            found = _read(spool.root)
            return sorted(found, key=lambda address: -found[address])
    return []


def remember(uri: str) -> None:
    """Note that a server runs Weir; where that cannot be written, it is asked again."""
    with contextlib.suppress(OSError, WeirError):
        root = Spool.open().root
        known = _read(root)
        known[address_of(uri)] = time.time_ns() // 1_000_000
        newest = sorted(known.items(), key=lambda one: one[1])[-_MAX_SERVERS:]
        _write(root, dict(newest))


def note_captures(uri: str, allowed: frozenset[str]) -> None:
    """Remember what a server allows to be captured; where that cannot be written, it is asked."""
    with contextlib.suppress(OSError, WeirError):
        spool = Spool.look()
        said = {} if spool is None else read_object(spool.root / _CAPTURES, is_private=True) or {}
        before = dict(said)
        said.pop(address_of(uri), None)
        if allowed != CLASSES:
            said[address_of(uri)] = sorted(allowed)
        if said != before:
            _write_file(Spool.open().root, _CAPTURES, said)


def allowed_captures(uri: str) -> frozenset[str]:
    """Return what a server allows to be captured, as it said last; all where it said nothing."""
    with contextlib.suppress(OSError, WeirError):
        spool = Spool.look()
        if spool is not None:
            said = read_object(spool.root / _CAPTURES, is_private=True) or {}
            return known_classes(said.get(address_of(uri)))
    return CLASSES


def forget(root: Path, uri: str) -> None:
    """Forget a server that does not run Weir any more.

    Args:
        root: The spool's folder.
        uri: The server's.
    """
    with contextlib.suppress(OSError, WeirError):
        known = _read(root)
        if known.pop(address_of(uri), None) is not None:
            _write(root, known)


def _read(root: Path) -> dict[str, int]:
    found = read_object(root / "servers.json", is_private=True) or {}
    servers = found.get("servers")
    if found.get("format") != _FORMAT or not isinstance(servers, dict):
        return {}
    return {address: at for address, at in servers.items() if isinstance(at, int)}


def _write(root: Path, servers: dict[str, int]) -> None:
    _write_file(root, "servers.json", {"format": _FORMAT, "servers": servers})


def _write_file(root: Path, name: str, content: dict[str, Any]) -> None:
    new = root / f"{name}.{os.getpid()}-{threading.get_ident()}"
    try:
        write_private(new, content)
        os.replace(new, root / name)
    finally:
        new.unlink(missing_ok=True)
