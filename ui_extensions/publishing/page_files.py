"""The page itself: as a set of files, or as one file that holds all of it.

The set's page is the one file whose content changes under its name; assets and pieces are named by
what they hold. Both carry their policy with them, as no server's headers do: scripts are the set's
own, or those that the page's hashes name; nothing is asked of any address.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from mlflow_weir.errors import ConfigError
from mlflow_weir.ui_extensions import bundle

PAGE = "index.html"
MAX_SINGLE_BYTES = 64 << 20
_END = re.compile(r"</(?=script|style)", re.IGNORECASE)
_PIECE = re.compile(r'weirData\("([0-9a-f]{32})","([A-Za-z0-9+/=]*)"\)\n\Z')


def require_bundle() -> bundle.PublishedBundle:
    """Return the page's script and style sheet.

    Raises:
        ConfigError: They are not built.
    """
    built = bundle.read()
    if built is None:
        raise ConfigError("Weir's pages are not built", hint="install a wheel, or run `make web`")
    return built.published


def write_set(folder: Path, title: str, start: str, kind: str) -> list[str]:
    """Write the page and its assets beside the pieces.

    Args:
        folder: With ``data/`` in it.
        title: What browsers and chat tools show.
        start: Name of the piece that names all others.
        kind: ``runs`` or ``report``.

    Returns:
        The names of all files of the set, the page last.
    """
    built = require_bundle()
    own = built.pages[kind]
    assets = folder / "assets"
    assets.mkdir()
    names = {}
    for stem, end, content in (
        ("first-paint", "js", built.first_paint),
        ("page", "js", own.script),
        ("page", "css", own.style),
    ):
        digest = hashlib.sha256(content).hexdigest()[:16]
        names[f"{stem}.{end}"] = f"assets/{stem}-{digest}.{end}"
        (assets / f"{stem}-{digest}.{end}").write_bytes(content)
    # `file:` as well: what 'self' is in a folder, browsers do not agree about.
    head = (
        f'<link rel="stylesheet" href="./{names["page.css"]}">\n'
        f'<script src="./{names["first-paint.js"]}"></script>\n'
        f'<script defer src="./{names["page.js"]}"></script>\n'
    )
    page = _page(title, start, "'self' file:", "'self' file:", head, "")
    (folder / PAGE).write_text(page, encoding="utf-8")
    data = sorted(f"data/{path.name}" for path in (folder / "data").iterdir())
    return [*data, *names.values(), PAGE]


def write_single(folder: Path, pieces: Path, title: str, start: str, kind: str) -> list[str]:
    """Write the page as one file that holds its pieces.

    Args:
        folder: Takes the file.
        pieces: The folder of the pieces.
        title: What browsers and chat tools show.
        start: Name of the piece that names all others.
        kind: ``runs`` or ``report``.

    Returns:
        The names of all files: one.

    Raises:
        ConfigError: It would be too large for browsers to open at ease.
    """
    built = require_bundle()
    own = built.pages[kind]
    scripts = [_in_page(built.first_paint), _in_page(own.script)]
    style = _in_page(own.style)
    data = []
    n_bytes = 0
    for path in sorted(pieces.iterdir()):
        n_bytes += path.stat().st_size
        if n_bytes > MAX_SINGLE_BYTES:
            raise ConfigError(
                f"more than {MAX_SINGLE_BYTES >> 20} MiB are too much for one file",
                hint="show fewer runs or fields, or publish a page set",
            )
        found = _PIECE.match(path.read_text(encoding="ascii"))
        assert found is not None  # as `Pieces` writes it
        # Data, which no browser runs and no policy is about.
        data.append(
            f'<script type="application/octet-stream" id="weir-{found[1]}">{found[2]}</script>\n'
        )
    head = f"<style>{style}</style>\n<script>{scripts[0]}</script>\n"
    tail = f"{''.join(data)}<script>{scripts[1]}</script>\n"
    page = _page(title, start, _hashes(scripts), _hashes([style]), head, tail)
    (folder / PAGE).write_text(page, encoding="utf-8")
    return [PAGE]


def _page(title: str, start: str, scripts: str, styles: str, head: str, tail: str) -> str:
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            f"style-src {styles}",
            "img-src data: blob:",
            "media-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    shown = html.escape(title)
    icon = quote(require_bundle().icon)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="robots" content="noindex, nofollow">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f'<meta name="weir-data" content="{start}">\n'
        f"<title>{shown}</title>\n"
        f'<meta property="og:title" content="{shown}">\n'
        '<meta property="og:type" content="website">\n'
        f'<link rel="icon" href="data:image/svg+xml,{icon}">\n'
        f'{head}</head>\n<body>\n<div id="root"></div>\n'
        f"<noscript>This page needs JavaScript.</noscript>\n{tail}</body>\n</html>\n"
    )


def _in_page(content: bytes) -> str:
    """Return a script or style sheet so that nothing in it ends its element."""
    text = content.decode("utf-8").replace("<!--", r"<\!--")
    return _END.sub(r"<\\/", text)


def _hashes(contents: Sequence[str]) -> str:
    return " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in contents
    )
