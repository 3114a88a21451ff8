"""What a binary file's part of a patch holds, in every form in which a secret could be read in it.

Git writes the file as it is now and as it was, each whole (*literal*) or as what differs from the
other (*delta*), deflated and in base 85. A delta alone may hold all of a secret but its beginning,
so that the file is put together again. Of a text in UTF-16 each second byte is zero; what is
packed, as in an archive, is looked at unpacked. All of it as ``strings`` gives it: among random
bytes anything stands somewhere, ``pw=…`` once in each two megabytes.
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_BASE85 = re.compile(rb"[A-Za-z][0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]+\Z")
_TEXT = re.compile(rb"[\t\x20-\x7e]{8,}")
_MAX_UNPACKED_BYTES = 16 << 20  # of a file; text packs to a quarter, a patch has 5 MiB
_MAX_FILE_BYTES = 16 << 20
_MAX_XZ_BYTES = 128 << 20  # of memory


def contents(body: bytes, path: Path) -> Iterator[bytes]:
    """Give what can be read in a binary patch, as lines.

    Args:
        body: What follows ``GIT binary patch``.
        path: The file as it is now.
    """
    now: bytes | None = None
    parts = re.split(rb"^(literal|delta) \d+\n", body, flags=re.MULTILINE)
    for kind, part in zip(parts[1::2], parts[2::2], strict=True):
        try:
            content = zlib.decompressobj().decompress(_base85(part), _MAX_UNPACKED_BYTES)
            if kind == b"delta":
                if now is None:
                    now = _read(path)
                    yield from _readable(now)
                content = _patched(now, content)
        except (ValueError, IndexError, zlib.error):
            content = part
        yield from _readable(content)


def _base85(part: bytes) -> bytes:
    return b"".join(
        base64.b85decode(line[1:])[: _length(line[0])]
        for line in part.split(b"\n")
        if _BASE85.match(line)
    )


def _length(letter: int) -> int:
    """Return how many bytes a line holds: A to Z are 1 to 26, a to z 27 to 52."""
    return letter - 64 if letter <= 90 else letter - 70


def _read(path: Path) -> bytes:
    try:
        if path.is_symlink() or not path.is_file():
            return b""
        with open(path, "rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError:
        return b""


def _patched(source: bytes, delta: bytes) -> bytes:
    """Return what a delta makes of its source; of another one, what it adds stays readable.

    Raises:
        IndexError: It is cut.
    """
    at = 0
    for _ in range(2):  # how long the source is, and the result
        while delta[at] & 0x80:
            at += 1
        at += 1
    found = []
    while at < len(delta):
        what, at = delta[at], at + 1
        if not what & 0x80:  # so many bytes that are new
            found.append(delta[at : at + what])
            at += what
            continue
        start = size = 0
        for bit in range(7):  # four bytes say from where to copy, three how many
            if what >> bit & 1:
                if bit < 4:
                    start |= delta[at] << 8 * bit
                else:
                    size |= delta[at] << 8 * (bit - 4)
                at += 1
        found.append(source[start : start + (size or 0x10000)])
    return b"".join(found)


def _readable(content: bytes) -> Iterator[bytes]:
    yield from _texts(content)
    with contextlib.suppress(OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        for unpacked in _unpacked(content):
            yield from _texts(unpacked)


def _texts(content: bytes) -> Iterator[bytes]:
    yield b"\n".join(_TEXT.findall(content))
    if b"\0" in content:
        yield b"\n".join(_TEXT.findall(content.replace(b"\0", b"")))


def _unpacked(content: bytes) -> Iterator[bytes]:
    """Give what is in a compressed file or an archive, the first 16 MiB of it."""
    if content.startswith(b"\x1f\x8b"):
        yield zlib.decompressobj(wbits=31).decompress(content, _MAX_UNPACKED_BYTES)
    elif content.startswith(b"BZh"):
        yield bz2.BZ2Decompressor().decompress(content, _MAX_UNPACKED_BYTES)
    elif content.startswith(b"\xfd7zXZ\0"):
        unpack = lzma.LZMADecompressor(memlimit=_MAX_XZ_BYTES).decompress
        yield unpack(content, _MAX_UNPACKED_BYTES)
    elif content.startswith(b"PK\3\4"):
        left = _MAX_UNPACKED_BYTES
        with contextlib.suppress(zipfile.BadZipFile, NotImplementedError, RuntimeError):
            archive = zipfile.ZipFile(io.BytesIO(content))
            for name in archive.namelist():
                with archive.open(name) as file:
                    unpacked = file.read(left)
                yield unpacked
                left -= len(unpacked)
                if left <= 0:
                    return
