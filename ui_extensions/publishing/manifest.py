"""What was written where: a list beside the pages, for the next time and for taking them away.

It is read back from a place that others may write to, so it is checked before anything is done
by it: a name that Weir does not write is refused, and with it the whole list.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir.errors import ConfigError

NAME = "weir-publish.json"
FORMAT = 1
MAX_BYTES = 64 << 20
_FILE = re.compile(
    r"(index\.html|assets/(first-paint|page)-[0-9a-f]{16}\.(js|css)|data/[0-9a-f]{32}\.js)\Z"
)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Written(NamedTuple):
    """A file that was written.

    Attributes:
        sha256: Of its content, in hex.
        size: In bytes.
    """

    sha256: str
    size: int


def describe(folder: Path, names: Iterable[str]) -> dict[str, Written]:
    """Return what files of a folder hold."""
    found = {}
    for name in names:
        content = (folder / name).read_bytes()
        found[name] = Written(hashlib.sha256(content).hexdigest(), len(content))
    return found


def encode(about: Mapping[str, Any], files: Mapping[str, Written]) -> bytes:
    """Return a manifest.

    Args:
        about: What was published, in words that readers may see.
        files: By name, the manifest itself left out.
    """
    listed = {name: one._asdict() for name, one in sorted(files.items())}
    content = {"weir_publish": FORMAT, **about, "files": listed}
    return json.dumps(content, indent=1, ensure_ascii=True).encode() + b"\n"


def decode(content: bytes) -> dict[str, Written]:
    """Return the files that a manifest names.

    Raises:
        ConfigError: It is none of Weir's, or names what Weir does not write.
    """
    try:
        found: Any = json.loads(content) if len(content) <= MAX_BYTES else None
        files = found["files"]
        if found["weir_publish"] != FORMAT:
            raise ConfigError(f"{NAME} is of another version of Weir")
        listed = {
            name: Written(str(one["sha256"]), int(one["size"])) for name, one in files.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ConfigError(f"{NAME} cannot be read: nothing is changed there") from None
    for name, one in listed.items():
        if not _FILE.match(name) or not _SHA256.match(one.sha256):
            raise ConfigError(f"{NAME} names {name!r:.80}: no file of Weir's; nothing is changed")
    return listed
