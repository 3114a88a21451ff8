"""Values that begin on the line of their name and go on, or begin, on the lines after it.

Literals that stand side by side or are joined by ``+``, lines that end with a backslash, blocks of
YAML, and output that a narrow console has wrapped.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mlflow_weir.secret_names import CERTAIN, LIKELY, MARK, is_value, name_starts

_LEAD = rb"^[+\- ]?[ \t]{0,80}"
_LITERAL = re.compile(
    _LEAD + rb"(?:\+[ \t]{0,4})?[rbfu]{0,2}(?P<quote>[\"'])(?P<value>[^\"'\r\n]{3,4000})(?P=quote)"
    rb"(?P<more>[ \t]{0,4}[+\\]{0,2}[ \t]{0,4})(?P<rest>[),;}\].\w()]{0,40})[ \t\r]{0,4}\\?$"
)
_WORD = re.compile(rb"^[+\- ]?[ \t]{1,80}(?P<value>[^\s\"',;(){}\[\]:=<>]{6,400})[ \t\r]{0,4}$")
# A telling name, and then nothing, or a literal, and the sign that more follows.
_OPEN = re.compile(
    rb"(?i)(?:(?P<certain>" + CERTAIN + rb")|" + LIKELY + rb")(?:\\?[\"'])?\]?\s{0,20}"
    rb"(?:(?P<assigned>[:=]{1,2}|=>|:=)\s{0,4})?(?P<block>[|>][-+]?)?(?P<paren>[(\[])?\s{0,4}"
    rb"(?:[rbfu]{0,2}(?P<quote>[\"'])(?P<value>[^\"'\r\n]{1,4000})(?P=quote))?"
    rb"(?P<goes_on>\s{0,4}[+\\]?)\s{0,4}$"
)
_WRAPPED = re.compile(rb"[:=]\s{0,4}\[redacted\]\s{0,4}$")
_BESIDE = re.compile(
    rb"\[redacted\](?P<quote>[\"'])[ \t]{0,4}\+?[ \t]{0,4}[rbfu]{0,2}(?P=quote)"
    rb"(?!\[redacted\])[^\"'\r\n]{3,4000}(?P=quote)"
)
_OPEN_ENDS = frozenset(bytes([byte]) for byte in b"=:(\\+|>-[]\"'")
_MOST_LINES = 8


def opens(line: bytes) -> bool:
    """Say whether the value of a line's name may stand on the lines after it."""
    return _may_go_on(line) and (line.endswith(MARK) or _open(line) is not None)


def _open(line: bytes) -> re.Match[bytes] | None:
    """Return what ``_OPEN.search`` would."""
    found = (_OPEN.match(line, start) for start in name_starts(line))
    return next(filter(None, found), None)


def _may_go_on(line: bytes) -> bool:
    return line.rstrip()[-1:] in _OPEN_ENDS


def redact(lines: list[bytes], first: int, is_token: Callable[[bytes], bool]) -> int:
    """Take out what belongs to the name on a line, beside its value and on the lines after it.

    Args:
        lines: Changed in place; the value on the first line is taken out already, if it was one.
        first: Where the name is.
        is_token: Says whether a value has the form of a token.

    Returns:
        How many more values were taken out.
    """
    n_before = 0
    line = lines[first]
    if MARK in line:
        n = 1
        while n:
            line, n = _BESIDE.subn(rb"[redacted]\g<quote>", line)
            n_before += n
        lines[first] = line
    if not _may_go_on(line):
        return n_before
    if _WRAPPED.search(line):
        return n_before + _redact_words(lines, first, is_certain=True)
    found = _open(line)
    if found is None:
        return n_before
    if found["assigned"] and (found["block"] or not found["goes_on"].strip()):
        n = _redact_words(lines, first, is_certain=found["certain"] is not None)
        if n:
            return n_before + n
    if found["value"] and not found["paren"] and not found["goes_on"].strip():
        return n_before  # the value ends here
    return n_before + _redact_literals(lines, first, found, is_token)


def _redact_words(lines: list[bytes], first: int, *, is_certain: bool) -> int:
    """Take out a lone word on the next line."""
    if first + 1 >= len(lines):
        return 0
    word = _WORD.match(lines[first + 1])
    if word is None or not is_value(word["value"], is_certain, True, False):
        return 0
    lines[first + 1] = _without(lines[first + 1], word)
    return 1


def _redact_literals(
    lines: list[bytes], first: int, opened: re.Match[bytes], is_token: Callable[[bytes], bool]
) -> int:
    """Take out literals that make one value together."""
    pieces: list[tuple[int, re.Match[bytes]]] = []
    for number in range(first + 1, min(first + 1 + _MOST_LINES, len(lines))):
        literal = _LITERAL.match(lines[number])
        if literal is None:
            break
        pieces.append((number, literal))
        if literal["rest"] and not literal["more"].strip():
            break
    if not pieces:
        return 0
    begun = opened["value"] or b""
    whole = begun + b"".join(literal["value"] for _, literal in pieces)
    is_secret = is_value(whole, opened["certain"] is not None, True, False) or is_token(whole)
    if begun != MARK and not is_secret:
        return 0
    for number, literal in pieces:
        lines[number] = _without(lines[number], literal)
    if begun and begun != MARK:
        lines[first] = _without(lines[first], opened)
        return len(pieces) + 1
    return len(pieces)


def _without(line: bytes, match: re.Match[bytes]) -> bytes:
    start, end = match.span("value")
    return line[:start] + MARK + line[end:]
