"""The built pages as the server has them: a folder of files, known by the build's own manifest.

A file is found by its name among those the build left, never by a path made of a request's words.
A rebuild is noticed by the digest that the build leaves last, so a server that runs from a source
tree shows what was built since it started.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "static"
_MARK = "sources.sha256"
_PAGE = "index.html"
_PUBLIC = "public"
_PUBLISHED = "published"
_PUBLISHED_KINDS = ("runs", "report")
_PUBLIC_PAGE = "public.html"
_GONE_PAGE = "gone.html"
_INVITE_PAGE = "invite.html"
_STOCK_SOURCE = "src/stock/main.ts"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_COMPRESSED_FROM = 1_024


@dataclass(frozen=True)
class Asset:
    """One file of the build.

    Attributes:
        content: Its bytes.
        packed: The same, gzipped; None where that would gain nothing.
        content_type: By its name's ending.
    """

    content: bytes
    packed: bytes | None
    content_type: str


@dataclass(frozen=True)
class PublicBundle:
    """What visitors of shared links get, built apart: no part of it writes, or knows MLflow.

    Attributes:
        page: The HTML of a shared link; its assets' addresses begin with ``./assets/``.
        gone: The one HTML for every link that does not work; no script in it.
        invite: The HTML of an invitation.
        assets: By name; none of the other bundle's.
    """

    page: str
    gone: str
    invite: str
    assets: dict[str, Asset]


@dataclass(frozen=True)
class PublishedPage:
    """One kind of published page.

    Attributes:
        script: A classic script.
        style: Its style sheet.
    """

    script: bytes
    style: bytes


@dataclass(frozen=True)
class PublishedBundle:
    """What published pages are made of, built apart: they need no server.

    Attributes:
        pages: Of ``runs``, and of a ``report``.
        first_paint: A script that sets the theme before anything is painted.
        icon: SVG.
    """

    pages: dict[str, PublishedPage]
    first_paint: bytes
    icon: bytes


@dataclass(frozen=True)
class Bundle:
    """What one build left.

    Attributes:
        page: The HTML of every page; its assets' addresses begin with ``./assets/``.
        assets: By name.
        stock_script: Name of the asset that MLflow's own page gets.
        public: For visitors of shared links.
        published: For pages without a server.
    """

    page: str
    assets: dict[str, Asset]
    stock_script: str
    public: PublicBundle
    published: PublishedBundle

    def page_at_depth(self, depth: int) -> bytes:
        """Return the page for an address ``depth`` folders below the pages' root.

        Relative addresses hold behind a proxy that mounts the server below a path of its own.
        """
        return self.page.replace('"./assets/', f'"{"../" * depth or "./"}assets/').encode()


_lock = threading.Lock()
_held: tuple[tuple[int, int], Bundle] | None = None


def read() -> Bundle | None:
    """Return the pages as they were last built; None where they were not."""
    global _held
    try:
        mark = (FOLDER / _MARK).stat()
    except OSError:
        return None
    version = (mark.st_mtime_ns, mark.st_ino)
    with _lock:
        if _held is None or _held[0] != version:
            try:
                _held = (version, _load())
            except (OSError, ValueError, KeyError):
                return None  # a build is going on, or was cut short
        return _held[1]


def etag(content: bytes) -> str:
    """Return a strong validator of a body."""
    return hashlib.sha256(content).hexdigest()[:32]


def _load() -> Bundle:
    manifest = json.loads((FOLDER / "manifest.json").read_bytes())
    public, published = FOLDER / _PUBLIC, FOLDER / _PUBLISHED
    return Bundle(
        (FOLDER / _PAGE).read_text(encoding="utf-8"),
        _assets(FOLDER / "assets"),
        Path(manifest[_STOCK_SOURCE]["file"]).name,
        PublicBundle(
            (public / _PUBLIC_PAGE).read_text(encoding="utf-8"),
            (public / _GONE_PAGE).read_text(encoding="utf-8"),
            (public / _INVITE_PAGE).read_text(encoding="utf-8"),
            _assets(public / "assets"),
        ),
        PublishedBundle(
            {
                kind: PublishedPage(
                    (published / f"{kind}.js").read_bytes(),
                    (published / f"{kind}.css").read_bytes(),
                )
                for kind in _PUBLISHED_KINDS
            },
            (published / "first-paint.js").read_bytes(),
            (published / "icon.svg").read_bytes(),
        ),
    )


def _assets(folder: Path) -> dict[str, Asset]:
    """Read a build's files, by name."""
    assets = {}
    for path in sorted(folder.iterdir()):
        content_type = _TYPES.get(path.suffix)
        if content_type is None or not path.is_file():
            continue
        content = path.read_bytes()
        # Packed once: the addresses name the content, so each browser asks once.
        packed = gzip.compress(content, 9, mtime=0) if len(content) >= _COMPRESSED_FROM else None
        assets[path.name] = Asset(content, packed, content_type)
    return assets
