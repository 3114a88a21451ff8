"""Takes secrets out of what Weir captures, before it is written anywhere.

For patches, console output, command lines and addresses; never for what the user logs. What goes
is replaced by ``[redacted]`` and counted; lines stay lines, so that a patch keeps its shape.

Two kinds of evidence. *Tokens* have a form that their issuer chose so that they can be found:
a prefix, a length, an alphabet. *Named values* stand beside a name that says what they are
(``password = …``); there the value has to look like one, because ``cls_token`` and ``max_tokens``
are everyday words of machine learning.

All works on bytes: output need not be UTF-8. What is fast is done first, by searches that C does
over a whole block. A token has at least twenty of its characters in a row; such runs are few, and
only they are held against the forms. Named values are looked for where the stem of a telling name
begins something that is assigned. The output of a program repeats itself: a line that was harmless
is harmless with other digits in the same places, and is not looked at again.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain

from mlflow_weir.secret_forms import RULES, SAID, Rule

MARK = b"[redacted]"

_KEY_BEGIN = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rb"|PuTTY-User-Key-File-\d"
)
_KEY_END = re.compile(
    rb"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----|Private-MAC: ?[0-9a-f]*"
)
_LEAD = re.compile(rb"[+-]?[ \t]{0,40}(?:(?:#|//|\*)[ \t]{1,4})?")
_MAX_KEY_LINES = 200  # a block that never ends does not swallow the rest

# scheme://userinfo@host; what is before the first colon may be a token as well.
_USERINFO = re.compile(
    rb"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{1,30}://)([^\s/@\"'<>?#]{1,500})@(?=[\w\[.-])"
)

# Names that say that a secret follows, as the last part of a name (``DB_PASSWORD``, ``api-key``).
_CERTAIN = rb"pass(?:word|wd|phrase|code)?|pwd|secret(?:[_-]?(?:key|access[_-]?key|token|value))?"
_LIKELY = (
    rb"token|api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|auth[_-]?key|private[_-]?key|"
    rb"encryption[_-]?key|signing[_-]?key|master[_-]?key|license[_-]?key|account[_-]?key|"
    rb"service[_-]?key|credentials?|cred|auth|bearer|cookie|session[_-]?id|sas|dsn|"
    rb"connection[_-]?string|conn[_-]?str|webhook(?:[_-]?url)?|pat"
)
_NAMED = re.compile(
    rb"(?ix)"
    rb"(?:(?P<certain>" + _CERTAIN + rb")|" + _LIKELY + rb")"
    rb"""
    (?:\\?["'])?\]?  \s{0,20}                                # the name's end
    (?: :\s{0,4}[\w.\[\]|\ ]{1,40}?\s{0,4}=(?!=)             # : str =
      | => | := | =(?!=) | :(?!:) | ,(?=\s{0,4}\\?["']) )
    \s{0,20} [rbfu]{0,2}
    (?: (?P<quote>\\?["']) (?P<quoted>(?:(?!(?P=quote))[^\r\n]){1,4000}) (?P=quote)
      | (?P<bare>[^\s"',;)\]}&\#]{1,4000}) )
    """
)
_NAME_STEMS = (
    b"pass", b"pwd", b"secret", b"token", b"key", b"cred", b"auth", b"cookie", b"session",
    b"sas", b"dsn", b"connection", b"conn_", b"connstr", b"webhook", b"bearer", b"_pat", b"-pat",
)  # fmt: skip
_ASSIGNED = re.compile(rb"[a-z0-9_-]{1,40}\\?[\"']?\]?[ \t]{0,20}(?:[:=]|,[ \t]{0,4}\\?[\"'])")
_HEAD = re.compile(rb"(?<![A-Za-z0-9_])[A-Za-z0-9_].")
_HEADED: dict[bytes, list[Rule]] = {}
for _rule in RULES:
    for _literal in _rule.literals if _rule.is_headed else ():
        _HEADED.setdefault(_literal[:2], []).append(_rule)
_NOT_HEADED = [rule for rule in RULES if not rule.is_headed]
_SAID = tuple(word for rule in SAID for word in rule.literals)
_OPTION_NAME = re.compile(rb"--[a-z0-9_.-]{3,60}[ \t]")
# Every token has so many of its characters in a row.
_RUN = b"a" * 20
_DIGITS_AS_ONE = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_MAX_HARMLESS, _MAX_HARMLESS_BYTES = 20_000, 400
_TOKEN_CHARACTERS = bytes(
    97 if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_-+/=.~%") else 32
    for byte in range(256)
)
_OPTION = re.compile(
    rb"(?i)(?<![\w-])--?[\w.-]{0,40}(?:"
    + _CERTAIN
    + rb"|token|api[_-]?key|access[_-]?key|credentials?)"
    rb"\s{1,4}(?![-=:])(?P<secret>[^\s\"']{4,400})"
)
_HARMLESS = re.compile(
    rb"""(?ix)
    (?: true|false|none|null|nil|undefined|yes|no|on|off|str|int|float|bool|bytes|string|any
      | optional|required|default|auto|empty|unset|todo|change[_-]?me|example|dummy|fake|test
      | placeholder|redacted|hidden|masked|secret|password|passwd|token|key|x+|\*+|\.+|-+|_+
      | \[redacted\].* | <[^>]*>? | \$\{?.* | %\(?\w*\)?s?%? | \{\{.* | \{[\w.\[\]!:"']*\}
      | (?:your|insert|enter)[_\ -].* | my[_-](?:password|token|key|secret)
      | \d{1,9}(?:\.\d*)?(?:e-?\d+)? | 0x[0-9a-f]{1,8}
    )\Z"""
)
_CODE = re.compile(
    rb"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|.*[(\[{<].*|[a-z_]+(?:_[a-z]+)*|[A-Z][A-Z_]*[A-Z]|lambda.*|self\b.*"
)
_PLAIN_WORDS = re.compile(rb"[A-Za-z]+(?:[ _./:-]+[A-Za-z]+)*[.!?:]?")
_SHELL_LINE = re.compile(rb"[+\- ]?\s{0,40}(?:export\s+|set\s+|ENV\s+)?[A-Z][A-Z0-9_]{2,80}=")
_LONG = re.compile(rb"(?<![A-Za-z0-9+/_.%-])[A-Za-z0-9+/_-]{32,200}={0,2}(?![A-Za-z0-9+/_=.-])")
_KINDS = (re.compile(rb"[0-9]"), re.compile(rb"[A-Z]"), re.compile(rb"[a-z]"))
_MIN_BITS = 4.3  # a character; 40 random ones of base64 have 4.6 to 5.2, a long name 3.4 to 4.1
_SECRET_FLAG = re.compile(
    r"(?i)-{1,2}(?:[\w.-]*[_.-])?(?:pass(?:word|wd|phrase)?|pwd|secret(?:[_-]?key)?|token|api[_-]?key|"
    r"apikey|access[_-]?key|auth|credentials?|private[_-]?key|bearer|cookie|dsn|webhook(?:[_-]?url)?)\Z"
)


class Redactor:
    """Replaces secrets, and counts them.

    Args:
        extra: Further patterns of the user's, as Python regular expressions; the group
            ``secret`` is what goes, the whole match where there is none.

    Attributes:
        counts: How many were taken out, by rule.

    Raises:
        ValueError: A pattern is not a regular expression, or matches nothing at all.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self._extra: list[re.Pattern[bytes]] = []
        for text in extra:
            try:
                pattern = re.compile(text.encode())
            except re.error as exc:
                raise ValueError(f"{text!r} is not a regular expression: {exc}") from exc
            if pattern.search(b"") is not None:
                raise ValueError(f"{text!r} matches nothing at all, and so everywhere")
            self._extra.append(pattern)
        self._harmless: set[bytes] = set()  # lines, their digits all alike
        self._n_key_lines = 0  # seen of a private key's block that has not ended

    def another(self) -> Redactor:
        """Return one with the same patterns that has counted nothing."""
        found = Redactor()
        found._extra = self._extra
        return found

    @property
    def n_redacted(self) -> int:
        """How many values were taken out so far."""
        return self.counts.total()

    def text(self, text: str) -> str:
        """Return a text without its secrets; what is no Unicode stays as it is."""
        return self.block(text.encode("utf-8", "surrogateescape")).decode(
            "utf-8", "surrogateescape"
        )

    def block(self, block: bytes, *, is_source: bool = False) -> bytes:
        """Return whole lines without their secrets.

        A private key may go on in the next block. Cut a line that never ends wherever you must.

        Args:
            block: Lines, the last with or without its end.
            is_source: Long random-looking strings go too: in code they are keys more often than
                in the output of a program, where they are checksums.
        """
        for pattern in self._extra:
            block = pattern.sub(self._replace("a pattern of the user's"), block)
        if is_source or self._n_key_lines:
            return self._clean(block, is_source)
        shapes = block.translate(_DIGITS_AS_ONE).split(b"\n")
        known = self._harmless
        new = [number for number, shape in enumerate(shapes) if shape not in known]
        if not new:
            return block
        lines = block.split(b"\n")
        text = block if len(new) == len(lines) else b"\n".join([lines[i] for i in new])
        if _has_key(text):  # whose lines may be like others
            return self._clean(block, is_source)
        clean = self._clean(text, is_source)
        if len(known) > _MAX_HARMLESS:
            known.clear()
        for number, line in zip(new, clean.split(b"\n"), strict=True):
            if lines[number] != line:
                lines[number] = line
            elif len(line) <= _MAX_HARMLESS_BYTES:
                known.add(shapes[number])
        return block if clean == text else b"\n".join(lines)

    def _clean(self, block: bytes, is_source: bool) -> bytes:
        if self._n_key_lines or _has_key(block):
            block = self._without_keys(block)
        lower = block.lower()
        replacements = self._tokens_of(block, is_source)
        addresses = _lines_with(lower, (b"://",), block)
        said = _lines_with(lower, _SAID, block)
        named = _lines_with(lower, _NAME_STEMS, block, _ASSIGNED)
        named |= _lines_with(lower, (b"--",), block, _OPTION_NAME)
        if not (replacements or addresses or said or named):
            return block
        parts, at = [], 0
        for start in sorted({*replacements, *addresses, *said, *named}):
            end = block.find(b"\n", start)
            if end < 0:
                end = len(block)
            line = block[start:end]
            for replace in replacements.get(start, ()):
                line = replace(line)
            if start in said:
                for rule in SAID:
                    line = rule.pattern.sub(self._replace(rule.name), line)
            if start in addresses:
                line = _USERINFO.sub(self._replace_userinfo, line)
            if start in named:
                line = self._named(line)
            parts += [block[at:start], line]
            at = end
        return b"".join([*parts, block[at:]])

    def _tokens_of(
        self, block: bytes, is_source: bool
    ) -> dict[int, list[Callable[[bytes], bytes]]]:
        """Return what is to be done to which lines, by their starts."""
        runs, lines = _runs(block)
        if not runs:
            return {}
        joined = b"\n".join(runs)
        around = b"\n".join([block[start:end] for start, end in lines.items()])
        wanted: list[tuple[tuple[bytes, ...], Callable[[bytes], bytes]]] = []
        headed = (_HEADED.get(head, ()) for head in set(_HEAD.findall(joined)))
        for rule in dict.fromkeys(chain(*headed, _NOT_HEADED)):
            text = joined if rule.is_run else around
            if any(literal in text for literal in rule.literals) and rule.pattern.search(text):
                replace = partial(rule.pattern.sub, self._replace(rule.name))
                wanted.append((rule.literals, replace))
        if is_source and any(
            _is_random(long[0]) for run in runs if len(run) >= 32 for long in _LONG.finditer(run)
        ):
            wanted.append(((b"",), partial(_LONG.sub, self._replace_long)))
        if not wanted:
            return {}
        found: dict[int, list[Callable[[bytes], bytes]]] = {}
        for start, end in lines.items():
            line = block[start:end]
            these = [do for literals, do in wanted if any(one in line for one in literals)]
            if these:
                found[start] = these
        return found

    def argv(self, words: Sequence[str]) -> list[str]:
        """Return a command line without the values of options that are named like secrets."""
        found: list[str] = []
        is_value = False
        for word in words:
            name, equals, value = word.partition("=")
            if is_value and not word.startswith("--"):
                self.counts["option"] += 1
                found.append(MARK.decode())
            elif equals and value and _SECRET_FLAG.match(name):
                self.counts["option"] += 1
                found.append(f"{name}={MARK.decode()}")
            else:
                found.append(self.text(word))
            is_value = bool(_SECRET_FLAG.match(word))
        return found

    # Replacing

    def _replace(self, name: str) -> Callable[[re.Match[bytes]], bytes]:
        def replace(match: re.Match[bytes]) -> bytes:
            self.counts[name] += 1
            if "secret" not in match.re.groupindex or match["secret"] is None:
                return MARK
            start, end = match.span("secret")
            whole, at = match[0], match.start()
            return whole[: start - at] + MARK + whole[end - at :]

        return replace

    def _replace_userinfo(self, match: re.Match[bytes]) -> bytes:
        if match[2] in (b"git", MARK):  # git@host is everybody's
            return match[0]
        self.counts["user and password in an address"] += 1
        return match[1] + MARK + b"@"

    def _replace_long(self, match: re.Match[bytes]) -> bytes:
        if not _is_random(match[0]):
            return match[0]
        self.counts["random-looking value"] += 1
        return MARK

    def _named(self, line: bytes) -> bytes:
        is_shell = bool(_SHELL_LINE.match(line))

        def replace(match: re.Match[bytes]) -> bytes:
            group = "quoted" if match["quoted"] is not None else "bare"
            value = match[group]
            if not _is_value(value, match["certain"] is not None, group == "quoted", is_shell):
                return match[0]
            self.counts["named value"] += 1
            start, end = match.span(group)
            whole, at = match[0], match.start()
            return whole[: start - at] + MARK + whole[end - at :]

        line = _NAMED.sub(replace, line)
        return _OPTION.sub(self._replace("option"), line) if b"-" in line else line

    def _without_keys(self, block: bytes) -> bytes:
        """Replace the lines of private keys, whose block may go over several calls."""
        lines = block.split(b"\n")
        for i, line in enumerate(lines):
            if not self._n_key_lines:
                begin = _KEY_BEGIN.search(line)
                if begin is None:
                    continue
                self.counts["private key"] += 1
                end = _KEY_END.search(line, begin.end())
                if end is not None:  # in one line, its line ends written as \n
                    lines[i] = line[: begin.end()] + MARK + line[end.start() :]
                    continue
                lines[i] = line[: begin.end()] + (MARK if line[begin.end() :].strip() else b"")
                self._n_key_lines = 1
                continue
            end = _KEY_END.search(line)
            if end is not None:
                lines[i] = _lead(line) + line[end.start() :]
                self._n_key_lines = 0
                continue
            is_last = i == len(lines) - 1
            if not (is_last and not line):
                lines[i] = _lead(line) + MARK if line.strip() else line
                self._n_key_lines += 1
            if self._n_key_lines > _MAX_KEY_LINES:
                self._n_key_lines = 0
        return b"\n".join(lines)


def without_userinfo(address: str) -> str:
    """Return an address without user and password, whatever is in them."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _lead(line: bytes) -> bytes:
    """Return what begins a line of a patch, of an indented text, of a comment."""
    found = _LEAD.match(line)
    return found[0] if found else b""


def _is_value(value: bytes, is_certain: bool, is_quoted: bool, is_shell: bool) -> bool:
    """Say whether what stands beside a secret's name is one."""
    value = value.strip()
    if _HARMLESS.match(value):
        return False
    if is_certain:
        if is_quoted or is_shell:
            return len(value) >= 4 and not (
                is_quoted and b" " in value and _PLAIN_WORDS.fullmatch(value)
            )
        return len(value) >= 6 and not _CODE.fullmatch(value)
    if len(value) < 12 or b" " in value:
        return False
    has_digit = any(48 <= byte <= 57 for byte in value)
    if is_shell or is_quoted:
        return (has_digit and not _CODE.fullmatch(value)) or _is_random(value)
    return has_digit and len(value) >= 16 and not _CODE.fullmatch(value)


def _is_random(value: bytes) -> bool:
    """Say whether a string looks drawn, not written: capitals, small letters, digits, all mixed.

    Hexadecimal digests and identifiers are left alone: code and lock files are full of them.
    """
    return all(kind.search(value) for kind in _KINDS) and _bits(value) >= _MIN_BITS


def _bits(value: bytes) -> float:
    """Return Shannon's entropy of a string, in bits a character."""
    n = len(value)
    return -sum(k / n * math.log2(k / n) for k in Counter(value).values())


def _has_key(block: bytes) -> bool:
    return b"PRIVATE KEY" in block or b"PuTTY-User-Key" in block


def _runs(block: bytes) -> tuple[set[bytes], dict[int, int]]:
    """Return the long runs of a token's characters, and start and end of the lines they are in."""
    like = block.translate(_TOKEN_CHARACTERS)
    runs, lines = set(), {}
    at, line_end = like.find(_RUN), -1
    while at >= 0:
        end = like.find(b" ", at)
        if end < 0:
            end = len(block)
        runs.add(block[at:end])
        if at > line_end:
            line_end = block.find(b"\n", end)
            if line_end < 0:
                line_end = len(block)
            lines[block.rfind(b"\n", 0, at) + 1] = line_end
        at = like.find(_RUN, end)
    return runs, lines


def _lines_with(
    text: bytes,
    needles: Iterable[bytes],
    block: bytes,
    follows: re.Pattern[bytes] | None = None,
) -> set[int]:
    """Return where lines of ``block`` start in which ``text``, as long, has one of the needles.

    Args:
        text: The block in another writing.
        needles: What to look for.
        block: Lines.
        follows: What the needle has to begin.
    """
    found: set[int] = set()
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            if follows is not None and not follows.match(text, at):
                at = text.find(needle, at + len(needle))
                continue
            start = block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at)
            if end < 0:
                end = len(block)
            found.add(start)
            at = text.find(needle, end)
    return found
