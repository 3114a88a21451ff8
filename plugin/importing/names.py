"""Names of other trackers as MLflow takes them."""

from __future__ import annotations

import hashlib
import posixpath
import re
from pathlib import PurePosixPath

MAX_KEY = 250
_FOREIGN = re.compile(r"[^\w.\- :/]")


def clean_key(name: str) -> str:
    """Return the key of a metric, param or tag for a name: itself wherever MLflow takes it.

    Characters that it refuses become ``_``, a path is straightened, and what is too long is cut
    and told apart by a digest.

    >>> clean_key("train/loss"), clean_key("loss (val)"), clean_key("/a//b/../c")
    ('train/loss', 'loss _val_', 'a/c')
    """
    key = posixpath.normpath(_FOREIGN.sub("_", name).replace("..", "_") or "_")
    key = key.lstrip("/") or "_"
    if key == ".":
        key = "_"
    if len(key) > MAX_KEY:
        key = _with_digest(key, name)
    return key


class Keys:
    """The keys of one run: two names of it never become one."""

    def __init__(self) -> None:
        """Begin with none."""
        self._names: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the key of a name: ``clean_key``'s, with a digest where another name has that.

        >>> keys = Keys()
        >>> [keys.of(name) for name in ("acc (val)", "acc [val]", "acc (val)")]
        ['acc _val_', 'acc _val_~868910cb', 'acc _val_']
        """
        known = self._known.get(name)
        if known is None:
            key = clean_key(name)
            is_first = self._names.setdefault(key, name) == name
            known = self._known[name] = key if is_first else _with_digest(key, name)
        return known


def _with_digest(key: str, name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{key[: MAX_KEY - 9]}~{digest}"


def run_id_of(*words: str) -> str:
    """Return the id that a run of another tracker has here, always the same: 32 hex digits."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def is_below(path: str) -> bool:
    """Say whether an artifact's path stays below the root that it is relative to."""
    found = PurePosixPath(path)
    return (
        bool(path) and not found.is_absolute() and not {"..", "\\", "\0"} & {*found.parts, *path}
    )
