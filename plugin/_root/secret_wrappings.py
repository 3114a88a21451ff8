"""Text in which a secret does not stand as it is: coloured, escaped, or in base64.

A line is looked at in its plainer writings as well; where one of them shows a secret, that
writing, with the secret taken out, takes the line's place. It is a line of output or of a patch
that lost its meaning there anyway.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

WRAPPINGS = (b"\x1b", b"%2", b"%3", b"%4", b"\\/", b"\\u00", b"&quot;", b"&#")
"""One of these is in every line that has a plainer writing."""

_ANSI = re.compile(
    rb"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|[@-Z\\-_])"
)
_ESCAPE = re.compile(rb"\\(?:u00([0-9a-fA-F]{2})|/)")
# Of a text in ASCII each third byte, the first of four characters, begins with a 0.
_BASE64 = re.compile(
    rb"(?<![A-Za-z0-9+/_-])(?=(?:[A-Za-f][A-Za-z0-9+/_-]{3}){4})[A-Za-z0-9+/_-]{20,}={0,2}"
)
_HEX = re.compile(rb"(?<![0-9A-Za-z])(?:[2-7][0-9a-f]){16,}(?![0-9A-Za-z])")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]+")
_MAX_BASE64 = 65_536


def plainer(line: bytes) -> Iterator[bytes]:
    """Give the plainer writings of a line; each is one line too."""
    if b"\x1b" in line:
        line = _ANSI.sub(b"", line)
        yield line
    if b"\\" in line:
        plain = _ESCAPE.sub(_unescaped, line)
        if plain != line:
            yield _one_line(plain)
    if b"&" in line:
        text = html.unescape(line.decode("utf-8", "surrogateescape"))
        yield _one_line(text.encode("utf-8", "surrogateescape"))
    if b"%" in line:
        for _ in range(2):  # addresses within addresses
            plain = unquote_to_bytes(line)
            if plain == line:
                return
            line = _one_line(plain)
            yield line


def has_base64_text(text: bytes) -> bool:
    """Say whether a text holds what ``base64_texts`` would give of its lines."""
    return next(base64_texts(text), None) is not None


def base64_texts(line: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give what stands in a line in base64 or hexadecimal and is text: as written, and plain."""
    for match in _HEX.finditer(line):
        text = bytes.fromhex(match[0].decode())
        if _is_text(text):
            yield match[0], text
    for match in _BASE64.finditer(line):
        written = match[0]
        if len(written) > _MAX_BASE64 or not _is_text(_decoded(written[:16])):
            continue
        found = _decoded(written)
        if found is not None and _is_text(found[:-3]):
            yield written, found


def _decoded(written: bytes) -> bytes | None:
    whole = written.rstrip(b"=").translate(_STANDARD)
    if len(whole) % 4 == 1:
        whole = whole[:-1]
    try:
        return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))
    except binascii.Error:
        return None


def _is_text(found: bytes | None) -> bool:
    return bool(found) and found is not None and _TEXT.fullmatch(found) is not None


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)]) if match[1] else b"/"


def _one_line(text: bytes) -> bytes:
    return text.replace(b"\n", b" ").replace(b"\r", b" ")
