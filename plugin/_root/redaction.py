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

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mlflow_weir import secret_continuations, secret_manifests, secret_names
from mlflow_weir.secret_forms import RULES, SAID, Rule
from mlflow_weir.secret_names import MARK
from mlflow_weir.secret_search import Runs, lines_with, runs_of, sub_at
from mlflow_weir.secret_wrappings import WRAPPINGS, base64_texts, has_base64_text, plainer

_KEY_BEGIN = re.compile(
    rb"-----BEGIN (?:(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V1)-----"
    rb"|PuTTY-User-Key-File-\d"
)
_KEY_END = re.compile(
    rb"-----END (?:(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V1)-----"
    rb"|Private-MAC: ?[0-9a-f]*"
)
_LEAD = re.compile(rb"[+-]?[ \t]{0,40}(?:(?:#|//|\*)[ \t]{1,4})?")
# What ends a block that only looked like one, in code and in texts about keys.
_PROSE = re.compile(rb"\w[.,;:)]?\s+\w+[.,;:)(]?\s+\w|[({]\s*$|=\s")
_KEY_HEADER = re.compile(rb"[+\- ]?\s*[A-Z][\w-]{2,30}: ")
_HUNK = re.compile(rb"@@ -\d|diff --git ")  # what follows is from elsewhere
_KEY_LINE = re.compile(rb"[+\- ]?\s{0,40}[A-Za-z0-9+/=]{4,}\s*\Z")
_MAX_KEY_LINES = 200  # a block that never ends does not swallow the rest

# What looks drawn and is public: certificates, hashes of packages, keys of hosts, pictures.
_PUBLIC_BLOCK = re.compile(
    rb"-----BEGIN (?:CERTIFICATE|(?:[A-Z0-9]{1,12} ){0,2}PUBLIC KEY)[^-]{0,40}-----"
    rb".{0,20000}?(?:-----END|\Z)",
    re.DOTALL,
)
_PUBLIC_BEFORE = re.compile(
    rb"(?:\bsha(?:1|256|384|512)[-:]|\bmd5[-:]|\bssh-[a-z0-9]{3,10} |\becdsa-sha2-[a-z0-9-]{3,20} "
    rb"|;base64,|\bid\\?[\"']?\s?[:=]\s?[\"']|[?&]id=|google\.com/[\w/-]{1,30}/d/|\bh1:)\Z",
    re.IGNORECASE,
)
_PUBLIC = re.compile(
    rb"sha(?:1|256|384|512)-|iVBORw0KGgo|/9j/|R0lGOD|UklGR|AAAA[BCE][23]Nz?aC1|AAAAC3NzaC1|AAAAB3NzaC1|AAAAE2VjZHNh"
    rb"|.*(?:abcdefgh|ABCDEFGH|01234567)",
    re.DOTALL,
)

# scheme://userinfo@host; what is before the first colon may be a token as well.
_USERINFO = re.compile(
    rb"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{1,30}://)([^\s/@\"'<>?#]{1,500})@(?=[\w\[.-])"
)

_MANIFEST = re.compile(rb"kind[\"']?\s{0,4}:\s{0,4}[\"']?(?:Sealed)?Secret\b")
_HEAD = re.compile(rb"(?<![A-Za-z0-9_])(?=([A-Za-z0-9_].{1,7}))")
_HEADED: dict[bytes, list[Rule]] = {}
for _rule in RULES:
    for _literal in _rule.literals if _rule.is_headed else ():
        _HEADED.setdefault(_literal[:2], []).append(_rule)
_HEADS = {
    rule.name: tuple(literal[:8] for literal in rule.literals) for rule in RULES if rule.is_headed
}
_NOT_HEADED = [rule for rule in RULES if not rule.is_headed]
_SAID_WORDS = {word for rule in SAID for word in rule.literals}
# Words that are in every such text, without those that another one is in; and the numbers of the
# rules that may match there.
_SAID = {
    word: [
        number
        for number, rule in enumerate(SAID)
        if any(word in literal for literal in rule.literals)
    ]
    for word in sorted(_SAID_WORDS)
    if not any(other in word for other in _SAID_WORDS - {word})
}
_DIGITS_AS_ONE = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_MAX_HARMLESS, _MAX_HARMLESS_BYTES = 20_000, 400
_SHELL_LINE = re.compile(rb"[+\- ]?\s{0,40}(?:export\s+|set\s+|ENV\s+)?[A-Z][A-Z0-9_]{2,80}=")
_VARIABLE_VALUE = re.compile(rb"(?=[^\s\"']{0,400}?[&<)\]},])[^\s\"'][^\s\"']{3,400}(?=\s|\Z)")
_LONG = re.compile(
    rb"(?<![A-Za-z0-9+/_.%-])[A-Za-z0-9+/_-]{32,400}={0,2}(?![A-Za-z0-9+/_=.-])"
    rb"|(?<=[\"'`])[A-Za-z0-9+/_-]{24,31}(?=[\"'`])"
)
_LONG_AT_LEAST = 24
# Lines about cookies: what looks drawn in them is one.
_COOKIES = (
    b"cookie", b"phpsessid", b"connect.sid", b"connect_sid", b"sessionid", b"_session", b"xsrf",
    b"'session'", b'"session"', b"'session=", b'"session=',
)  # fmt: skip
_BASIC = re.compile(rb"[\w.@+-]{1,64}:[^\s:]{6,200}")
_AUTH = re.compile(rb"(?i)auth|basic|login|registry|docker|cred")
_COOKIE_VALUE = re.compile(rb"(?<![A-Za-z0-9%_.-])[A-Za-z0-9%_.~+/-]{20,4000}={0,2}")
_ARN = re.compile(rb"arn:aws[\w-]{0,20}:secretsmanager:[\w-]{0,30}:\d{0,16}:secret\Z")
# ``hf_xxxxxxxxxxxx``: the form, and nobody's.
_FILLED = re.compile(rb"([xX])\1{11}[A-Za-z0-9=]{0,2}\Z")
# ``https://jane.doe@host``: who, and no more.
_PERSON = re.compile(rb"(?=.{2,24}\Z)[A-Za-z]{2,}(?:[._-][A-Za-z]{2,})*[0-9]{0,2}")
# A name that must not be told from the password of a database: containers, and placeholders.
_CONTAINERS = re.compile(rb"(?:abfss?|wasbs?)://\Z", re.IGNORECASE)
_WORKING_FOLDER = re.compile(rb"(?<![A-Za-z0-9_])(?:OLD)?PWD\Z")
_FOLDER = re.compile(rb"[/~.\\$]|[A-Za-z]:")


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
            elif len(line) <= _MAX_HARMLESS_BYTES and not secret_continuations.opens(line):
                known.add(shapes[number])
        return block if clean == text else b"\n".join(lines)

    def _clean(self, block: bytes, is_source: bool) -> bytes:
        if self._n_key_lines or _has_key(block):
            block = self._without_keys(block)
        return self._unwrapped(*self._looked_at(block, is_source), is_source)

    def _plainly(self, block: bytes, is_source: bool) -> bytes:
        """Take out what stands there as it is."""
        return self._looked_at(block, is_source)[0]

    def _looked_at(self, block: bytes, is_source: bool) -> tuple[bytes, Runs]:
        """Do so, and return the runs of what is left as well."""
        lower = block.lower()
        block = sub_at(
            secret_names.PAIR, secret_names.pair_starts(lower), self._replace_judged, block
        )
        if b"default" in lower:
            block = sub_at(
                secret_names.DEFAULT,
                secret_names.option_starts(block),
                self._replace_judged,
                block,
            )
        if len(lower) != len(block):
            lower = block.lower()
        if b"Secret" in block and _MANIFEST.search(block):
            block = secret_manifests.redact(block, self.counts)
            lower = block.lower()
        runs = runs_of(block)
        replacements = self._tokens_of(block, is_source, runs)
        addresses = lines_with(lower, (b"://",), block)
        said: dict[int, set[int]] = {}
        for word, numbers in _SAID.items():
            for start in lines_with(lower, (word,), block):
                said.setdefault(start, set()).update(numbers)
        cookies = lines_with(lower, _COOKIES, block)
        named = lines_with(lower, secret_names.NAME_STEMS, block, secret_names.ASSIGNED)
        named |= lines_with(lower, (b"--",), block, secret_names.OPTION_NAME)
        starts = sorted({*replacements, *addresses, *said, *cookies, *named})
        if not starts:
            return block, runs
        parts, at = [], 0
        for start in starts:
            end = block.find(b"\n", start)
            if end < 0:
                end = len(block)
            line = block[start:end]
            for replace in replacements.get(start, ()):
                line = replace(line)
            for number in sorted(said.get(start, ())):
                rule = SAID[number]
                line = rule.pattern.sub(self._replace(rule.name), line)
            if start in addresses:
                line = _USERINFO.sub(self._replace_userinfo, line)
            if start in cookies:
                line = _COOKIE_VALUE.sub(self._replace_cookie, line)
            if start in named:
                line = self._named(line)
            parts += [block[at:start], line]
            at = end
        clean = b"".join([*parts, block[at:]])
        clean = self._continued(block, clean, sorted(named | replacements.keys()))
        return clean, runs if clean == block else runs_of(clean)

    def _continued(self, block: bytes, clean: bytes, starts: Sequence[int]) -> bytes:
        """Take out what goes on beside or after the values of lines, given by their old starts."""
        lines: list[bytes] | None = None
        number = at = 0
        for start in starts:
            number, at = number + block.count(b"\n", at, start), start
            if lines is None:
                lines = clean.split(b"\n")
            n = secret_continuations.redact(lines, number, self._is_token)
            if n:
                self.counts["rest of a value"] += n
        return clean if lines is None else b"\n".join(lines)

    def _is_token(self, value: bytes) -> bool:
        return bool(self._tokens_of(value, False, runs_of(value)))

    def _unwrapped(self, block: bytes, runs: Runs, is_source: bool) -> bytes:
        """Take out what a plainer writing of a line shows, or what stands there in base64."""
        wrapped = lines_with(block, WRAPPINGS, block)
        if has_base64_text(b"\n".join(runs.texts)):
            wrapped.update(runs.lines)
        elif b"%" in block:
            wrapped.update(s for s, end in runs.lines.items() if block.find(b"%", s, end) >= 0)
        if not wrapped:
            return block
        lines = {}
        for start in sorted(wrapped):
            end = block.find(b"\n", start)
            lines[start] = block[start : len(block) if end < 0 else end]
        writings = [(start, plain) for start, line in lines.items() for plain in plainer(line)]
        if writings:
            text = b"\n".join([plain for _, plain in writings])
            for (start, plain), clean in zip(
                writings, self._plainly(text, is_source).split(b"\n"), strict=True
            ):
                if clean != plain:
                    lines[start] = clean
        for start, line in lines.items():
            for written, text in base64_texts(line):
                if self._shows(text, line):
                    line = line.replace(written, MARK)
            lines[start] = line
        parts, at = [], 0
        for start in sorted(lines):
            end = block.find(b"\n", start)
            parts += [block[at:start], lines[start]]
            at = len(block) if end < 0 else end
        return b"".join([*parts, block[at:]])

    def _shows(self, text: bytes, line: bytes) -> bool:
        """Say whether a text that stood in base64 holds a secret, and count it."""
        if _has_key(text):
            self.counts["private key"] += 1
            return True
        if _BASIC.fullmatch(text) and _AUTH.search(line):
            self.counts["user and password in base64"] += 1
            return True
        if self._plainly(text, True) != text:
            return True
        return any(self._plainly(inner, True) != inner for _, inner in base64_texts(text))

    def _tokens_of(
        self, block: bytes, is_source: bool, found_runs: Runs
    ) -> dict[int, list[Callable[[bytes], bytes]]]:
        """Return what is to be done to which lines, by their starts."""
        runs, lines = found_runs.texts, dict(found_runs.lines)
        if not runs:
            return {}
        joined = b"\n".join(runs)
        around = b"\n".join([block[start:end] for start, end in lines.items()])
        wanted: list[tuple[tuple[bytes, ...], Callable[[bytes], bytes]]] = []
        for rule in (*_headed(joined), *_NOT_HEADED):
            text = joined if rule.is_run else around
            if any(literal in text for literal in rule.literals) and rule.pattern.search(text):
                replace = partial(rule.pattern.sub, self._replace_token(rule.name))
                wanted.append((rule.literals, replace))
        if is_source and any(
            secret_names.is_random(run[:400]) for run in runs if len(run) >= _LONG_AT_LEAST
        ):
            wanted.append(((b"",), partial(_LONG.sub, self._replace_long)))
        public = _PUBLIC_BLOCK.finditer(block) if is_source and b"-----BEGIN" in block else ()
        for match in public:
            for start in [one for one in lines if match.start() < one < match.end()]:
                del lines[start]
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
        flag: re.Match[bytes] | None = None
        for word in words:
            name, equals, value = word.partition("=")
            own = secret_names.SECRET_FLAG.match(_bytes(name)) if equals and value else None
            if (
                flag is not None
                and not word.startswith("--")
                and secret_names.is_given(_bytes(word), flag[0])
            ):
                self.counts["option"] += 1
                found.append(MARK.decode())
            elif own is not None and secret_names.is_given(_bytes(value), own[0]):
                self.counts["option"] += 1
                found.append(f"{name}={MARK.decode()}")
            else:
                found.append(self.text(word))
            flag = secret_names.SECRET_FLAG.match(_bytes(word))
        return self._said_in(found)

    def _said_in(self, words: list[str]) -> list[str]:
        """Take out what follows certain words, each a word of the command line."""
        line = _bytes(" ".join(words))
        lower = line.lower()
        if not any(word in lower for word in _SAID):
            return words
        secrets = {match["secret"] for rule in SAID for match in rule.pattern.finditer(line)}
        for secret in secrets - {MARK}:
            self.counts["said in a command"] += 1
            text = secret.decode("utf-8", "surrogateescape")
            words = [word.replace(text, MARK.decode()) for word in words]
        return words

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

    def _replace_token(self, name: str) -> Callable[[re.Match[bytes]], bytes]:
        replace = self._replace(name)
        return lambda match: match[0] if _FILLED.search(match[0]) else replace(match)

    def _replace_judged(self, match: re.Match[bytes]) -> bytes:
        if not secret_names.is_value(match["secret"], match["certain"] is not None, True, False):
            return match[0]
        return self._replace("named value")(match)

    def _replace_told(self, match: re.Match[bytes]) -> bytes:
        if not secret_names.is_told(match["secret"], match["certain"] is not None):
            return match[0]
        return self._replace("named value")(match)

    def _replace_listed(self, match: re.Match[bytes]) -> bytes:
        def replace(literal: re.Match[bytes]) -> bytes:
            value = literal["secret"]
            if not (secret_names.is_drawn(value) or secret_names.is_random(value)):
                return literal[0]
            self.counts["named value"] += 1
            return MARK

        return secret_names.LITERAL.sub(replace, match[0])

    def _replace_cookie(self, match: re.Match[bytes]) -> bytes:
        if not (secret_names.is_drawn(match[0]) or secret_names.is_random(match[0])):
            return match[0]
        self.counts["cookie"] += 1
        return MARK

    def _replace_userinfo(self, match: re.Match[bytes]) -> bytes:
        _, colon, password = match[2].partition(b":")
        if match[2] in (b"git", MARK):  # git@host is everybody's
            return match[0]
        if not colon and (
            _CONTAINERS.match(match[1])
            or (_PERSON.fullmatch(match[2]) and not secret_names.is_random(match[2]))
        ):
            return match[0]
        if colon and secret_names.is_harmless(password):
            return match[0]
        self.counts["user and password in an address"] += 1
        return match[1] + MARK + b"@"

    def _replace_long(self, match: re.Match[bytes]) -> bytes:
        before = match.string[max(match.start() - 40, 0) : match.start()]
        if (
            not secret_names.is_random(match[0])
            or _PUBLIC.match(match[0])
            or _PUBLIC_BEFORE.search(before)
        ):
            return match[0]
        self.counts["random-looking value"] += 1
        return MARK

    def _named(self, line: bytes) -> bytes:
        shell = _SHELL_LINE.match(line)
        is_shell = shell is not None
        if shell is not None:
            line = self._without_variable(line, shell.end())

        def replace(match: re.Match[bytes]) -> bytes:
            group = "quoted" if match["quoted"] is not None else "bare"
            value, certain = match[group], match["certain"]
            if not secret_names.is_value(value, certain is not None, group == "quoted", is_shell):
                return match[0]
            end_of_name = match.start("end")
            before = match.string[max(end_of_name - 40, 0) : end_of_name]
            if secret_names.is_vocabulary(before):
                return match[0]
            if before.endswith(b"secret") and _ARN.search(
                match.string, max(end_of_name - 120, 0), end_of_name
            ):
                return match[0]
            if _WORKING_FOLDER.search(before) and _FOLDER.match(value):
                return match[0]
            if certain in (b"pass", b"Pass", b"PASS") and (value.isalpha() or b"`" in value):
                return match[0]  # «forward pass: then …»
            if b"," in match["end"] and value.isalpha():
                return match[0]  # a list of names
            self.counts["named value"] += 1
            start, end = match.span(group)
            whole, at = match[0], match.start()
            return whole[: start - at] + MARK + whole[end - at :]

        def replace_option(match: re.Match[bytes]) -> bytes:
            is_quoted, is_certain = bool(match["quote"]), match["certain"] is not None
            if not secret_names.is_value(match["secret"], is_certain, is_quoted, not is_quoted):
                return match[0]
            return self._replace("option")(match)

        starts, before = list(secret_names.name_starts(line)), line
        line = sub_at(secret_names.NAMED, starts, replace, line)
        if line != before:
            starts = list(secret_names.name_starts(line))
        line = sub_at(secret_names.SPACED, starts, self._replace_told, line)
        if b"[" in line or b"(" in line or b"{" in line:
            line = secret_names.LIST.sub(self._replace_listed, line)
        return secret_names.OPTION.sub(replace_option, line) if b"-" in line else line

    def _without_variable(self, line: bytes, start: int) -> bytes:
        """Take out the whole value of ``NAME=value``, with the signs that end one in code."""
        value = _VARIABLE_VALUE.match(line, start)
        if value is None:
            return line
        name = secret_names.TELLING_END.search(line, 0, start - 1)
        if name is None or not secret_names.is_value(
            value[0], name["certain"] is not None, False, True
        ):
            return line
        self.counts["named value"] += 1
        return line[:start] + MARK + line[value.end() :]

    def _without_keys(self, block: bytes) -> bytes:
        """Replace the lines of private keys, whose block may go over several calls."""
        lines = block.split(b"\n")
        for i, line in enumerate(lines):
            if not self._n_key_lines:
                begin = _KEY_BEGIN.search(line)
                if begin is None:
                    if _KEY_END.search(line):
                        self._redact_before(lines, i)
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
            if _HUNK.match(line):
                self._n_key_lines = 0
                continue
            if end is None and _PROSE.search(line) and not _KEY_HEADER.match(line):
                self._n_key_lines = 0
                continue
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

    def _redact_before(self, lines: list[bytes], end: int) -> None:
        """Replace the lines of a private key that a hunk shows the end of alone."""
        first = end
        while first and _KEY_LINE.match(lines[first - 1]):
            first -= 1
            lines[first] = _lead(lines[first]) + MARK
        self.counts["private key"] += first < end


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


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _has_key(block: bytes) -> bool:
    return any(
        word in block for word in (b"PRIVATE KEY", b"PuTTY-User-Key", b"OpenVPN Static key")
    )


def _headed(joined: bytes) -> Iterable[Rule]:
    """Return the rules one of whose literals begins a word in runs."""
    found: set[str] = set()
    for head in set(_HEAD.findall(joined)):
        for rule in _HEADED.get(head[:2], ()):
            if rule.name not in found and head.startswith(_HEADS[rule.name]):
                found.add(rule.name)
    return [rule for rule in RULES if rule.name in found] if found else []
