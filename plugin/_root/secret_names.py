"""Secrets that are known by the name beside them, and what such a value looks like.

``password = …`` says it all; ``token``, ``key`` and ``session`` are everyday words of machine
learning too, so that there the value has to look like a secret as well.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

MARK = b"[redacted]"
"""What stands in a secret's place."""

# Names that say that a secret follows, as the last part of a name (``DB_PASSWORD``, ``api-key``).
CERTAIN = (
    rb"pass(?:word|wort|wd|phrase|code)?|pwd|(?<![a-z0-9])(?:pw|psk)|"
    rb"secret(?:[_.-]?(?:key(?:[_-]?base)?|access[_.-]?key|token|value))?|"
    rb"kennwort|contrase(?:n|\xc3\xb1)a|senha|mot[_-]?de[_-]?passe|"
    # 密码 and пароль, in UTF-8
    rb"\xe5\xaf\x86\xe7\xa0\x81|\xd0[\x9f\xbf]\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c"
)
_SERVICES = (
    rb"wandb|kaggle|comet(?:ml)?|neptune|clearml|openai|anthropic|claude|gemini|google|hf|hub|gcp|"
    rb"azure|aws|stripe|twilio|sendgrid|slack|github|gitlab|datadog|dd|pinecone|cohere|mistral|groq|"
    rb"replicate|together|tavily|serp|langsmith|langfuse|deploy|tls|ssh|ssl|gpg|pgp|rsa|hmac|storage|"
    rb"consumer|subscription|admin|app(?:lication)?|jwt|fernet|shared|functions"
)
_KEYS = (
    rb"token|api[_.-]?key(?:[_-]?private)?|access[_.-]?key(?:[_-]?id)?|auth[_-]?key|private[_-]?key|"
    rb"encryption[_-]?key|signing[_-]?key|master[_-]?key|license[_-]?key|account[_-]?key|"
    rb"service[_-]?key"
)
_OTHERS = (
    rb"credentials?|cred|auth|bearer|sas|dsn|"
    rb"connection[_-]?string|conn[_-]?str|webhook(?:[_-]?url)?|pat|"
    rb"service[_-]?account[_-]?info"
)
LIKELY = _KEYS + rb"|(?:" + _SERVICES + rb")[_.-]?key|" + _OTHERS
# What every telling name begins with, in small letters. Alternatives of letters, each case by
# itself, are found several times as fast as the names, which may be in capitals.
_BEGINNING = re.compile(
    b"|".join(
        (
            rb"pass|pwd|pw|psk|secret|kennwort|contrase|senha|mot[_-]?de[_-]|\xe5\xaf\x86|\xd0[\x9f\xbf]",
            *(_KEYS, _SERVICES, _OTHERS),
        )
    )
)
# What a value is said to be written in, and what for; and what it is put through.
_WRITTEN = (
    rb"(?:[_.-]?(?:b64|base64|enc(?:oded)?|hex))?"
    rb"(?:[_.-]?(?:[0-9]{1,2}|prod(?:uction)?|staging|dev(?:elopment)?|test|live|local|primary|"
    rb"secondary|backup|old|new|eu|us|admin|root))?"
)
_DECODERS = (
    rb"(?:(?:[\w]{1,20}\.)?(?:(?:urlsafe_|standard_)?b64decode|fromhex|unhexlify|a2b_base64|"
    rb"SecretStr|Secret|unquote(?:_plus)?|from|atob|str|bytes)\(\s{0,4}){0,3}"
)
NAMED = re.compile(
    rb"(?ix)"
    rb"(?:(?P<certain>" + CERTAIN + rb")|" + LIKELY + rb")" + _WRITTEN + rb"(?P<end>"
    rb"""
    (?:\\?["'])?\]?  \s{0,20}                                # the name's end
    (?: :\s{0,4}[&\w.\[\]|\ ]{1,40}?\s{0,4}=(?!=)            # : str =
      | :\s{0,4}\{\s{0,4}\\?["']value\\?["']\s{0,4}:            # {"value": ...
      | \xef\xbc\x9a | => | := | \|\|= | \?\?= | \?= | =(?!=) | :(?!:)
      | (?:(?<=["']),|[=!]==?)(?=\s{0,4}\\?["']) | (?<=[\w"'])>(?=[^\s<>=@][^<\r\n]{0,4000}</)
      | \|(?=\s) | \xe2\x94\x82(?=\s) )
    \s{0,20} )(?:"""
    + _DECODERS
    + rb""") [rbfu]{0,2}
    (?: (?P<quote>\\?["']) (?P<quoted>(?:(?!(?P=quote))[^\r\n]){1,4000}) (?P=quote)
      | (?P<bare>[^\s"',;)\]}&<]{1,4000}) )
    """
)
TELLING_END = re.compile(
    rb"(?i)(?:(?P<certain>" + CERTAIN + rb")|" + LIKELY + rb")" + _WRITTEN + rb"\Z"
)
NAME_STEMS = (
    b"pass", b"pwd", b"pw", b"secret", b"token", b"key", b"cred", b"auth", b"cookie", b"session",
    b"sas", b"dsn", b"connection", b"conn_", b"connstr", b"webhook", b"bearer", b"_pat", b"-pat",
    b"service_account", b"service-account", b"psk", b"kennwort", b"contrase", b"senha",
    b"\xe5\xaf\x86\xe7\xa0\x81", b"\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c",
)  # fmt: skip
ASSIGNED = re.compile(
    rb"[a-z0-9_.\x80-\xff-]{1,40}\\?[\"']?\]?[ \t]{0,20}"
    rb"(?:[:=>|?!]|(?<=\xef\xbc\x9a)|\xe2\x94\x82|,[ \t]{0,4}\\?[\"'])"
    rb"|(?:passw?|secret|token|key)[a-z0-9_.]{0,14}[ \t]{1,8}[\"']?"
    rb"(?=[^\s\"']{8})(?=[^\s\"']{0,100}[0-9])"
)
OPTION_NAME = re.compile(rb"--[a-z0-9_.-]{3,60}[ \t]")
OPTION = re.compile(
    rb"(?i)(?<![\w-])--?[\w.-]{0,40}(?:(?P<certain>"
    + CERTAIN
    + rb")|token|api[_-]?key|access[_-]?key|account[_-]?key|encryption[_-]?key|credentials?|(?:"
    + _SERVICES
    + rb")[_-]?key)"
    + _WRITTEN
    + rb"\s{1,4}(?![-=:])(?P<quote>[\"']?)(?P<secret>[^\s\"']{4,400})"
)
SECRET_FLAG = re.compile(
    rb"-{1,2}(?:[\w.-]*[_.-])?(?:(?P<certain>"
    + CERTAIN
    + rb"|[pP]ass[\w-]{0,6})|token|api[_-]?key|"
    rb"access[_-]?key|account[_-]?key|auth|credentials?|private[_-]?key|encryption[_-]?key|bearer|cookie|dsn|"
    rb"webhook(?:[_-]?url)?|(?:" + _SERVICES + rb")[_-]?key)" + _WRITTEN + rb"\Z"
    rb"|-{1,2}[\w.-]*(?:password|passwd|secret|secretkey|token|apikey|accesskey|privatekey)"
    + _WRITTEN
    + rb"\Z",
    re.IGNORECASE,
)
# ``- name: DB_PASSWORD`` and, on this line or the next, ``value: …``.
PAIR = re.compile(
    rb"(?i)\b(?:name|key(?==))\\?[\"']?\s{0,4}[:=>]\s{0,4}\\?[\"']?[\w.-]{0,60}?(?:(?P<certain>"
    + CERTAIN
    + rb")|"
    + LIKELY
    + rb")"
    + _WRITTEN
    + rb"(?:</name>)?\\?[\"']?\s{0,4},?[ \t]{0,4}(?:\r?\n[+\- ]?[ \t]{0,40})?"
    rb"<?\\?[\"']?value\\?[\"']?\s{0,4}[:=>]\s{0,4}\\?[\"']?(?P<secret>[^\s\"',}<]{4,4000})"
)
# ``add_argument("--api-key", type=str, default="…")``, ``variable "password" {default = "…"}``
DEFAULT = re.compile(
    rb"(?i)(?:[\"']-{1,2}|\bvariable\s{1,4}[\"'])[\w.-]{0,40}?(?:(?P<certain>"
    + CERTAIN
    + rb")|"
    + LIKELY
    + rb")"
    + _WRITTEN
    + rb"[\"'](?:[^\r\n]{0,200}?|\s{0,4}\{[^{}]{0,400}?)\bdefault\s{0,4}=\s{0,4}"
    rb"[\"'](?P<secret>[^\"'\r\n]{4,400})[\"']"
)


def name_starts(line: bytes) -> Iterator[int]:
    """Give where ``CERTAIN`` or ``LIKELY`` names may begin in a line, in order."""
    lower = line.lower()
    found = _BEGINNING.search(lower)
    while found is not None:
        yield found.start()
        found = _BEGINNING.search(lower, found.start() + 1)


_PAIR_BYTES = 256  # at most, from the name to the value's own name


def pair_starts(lower: bytes) -> Iterator[int]:
    """Give where ``PAIR`` may match, in order; of a text in small letters."""
    yield from sorted([*_pair_starts(lower, b"name"), *_pair_starts(lower, b"key=")])


def _pair_starts(lower: bytes, word: bytes) -> Iterator[int]:
    at, value = lower.find(word), 0
    while at >= 0:
        if value < at:
            value = lower.find(b"value", at)
            if value < 0:
                return
        if value - at <= _PAIR_BYTES:
            yield at
            at = lower.find(word, at + 4)
        else:
            at = lower.find(word, value - _PAIR_BYTES)


def option_starts(block: bytes) -> list[int]:
    """Return where ``DEFAULT`` may match, in order."""
    found = [match.start() for match in _OPTION_START.finditer(block)]
    if b'variable "' in block:
        found += [match.start() for match in _VARIABLE.finditer(block)]
        found.sort()
    return found


# ``ENV DB_PASSWORD hunter22``, ``spark.hadoop.fs.s3a.secret.key …``, a table's row.
SPACED = re.compile(
    rb"(?i)(?:(?P<certain>"
    + CERTAIN
    + rb")|token|api[_.-]?key|access[_.-]?key)"
    + _WRITTEN
    + rb"[ \t]{1,8}(?P<quote>[\"']?)(?P<secret>[^\s\"'`,;:()\[\]{}<>=|]{8,400})(?P=quote)(?=\s|\Z)"
)
# ``API_KEYS = ["…", "…"]``
LIST = re.compile(
    rb"(?i)(?:passwords|secrets|tokens|credentials?|creds|(?:api|access|secret|auth)[_-]?(?:keys|tokens))"
    rb"\\?[\"']?\]?\s{0,4}[:=]\s{0,4}[\[({]\s{0,4}(?=[rbfu]{0,2}\\?[\"'])([^\])}\r\n]{8,4000})"
)
LITERAL = re.compile(rb"(?<=[\"'])(?P<secret>[^\s\"'\\,]{12,400})(?=\\?[\"'])")

_HARMLESS = re.compile(
    rb"""(?ix)
    (?: true|false|none|null|nil|undefined|yes|no|on|off|str|int|float|bool|bytes|string|any
      | optional|required|default|auto|empty|unset|todo|change[_-]?me|example|dummy|fake|test
      | placeholder|redacted|hidden|masked|secret|password|passwd|token|key|x+|\*+|\.+|-+|_+
      | \[redacted\b.* | <[^>]*>? | \$\{?.* | %\(?\w*\)?s?%? | \{\{.* | \{[\w.\[\]!:"']*\}
      | (?:your|insert|enter)[_\ -].* | my[_-](?:password|token|key|secret)
      | [a-z_-]*(?:secret|password|passwd|passphrase|pass|pwd)
      | (?-i:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)
      | urn:.* | :.*
      | arn:aws.* | (?:op|sm|vault|secrets?manager|keyvault|awssm|ssm|env|file|ref)(?:://|:).*
      | projects/[\w-]+/secrets/.* | @microsoft\.keyvault.*
      | !(?:vault|ref|sub|getatt|secret|env(?:_var)?|reference|include|importvalue|join|file)\b.*
      | \.[*+?].* | \\[swd][*+].*
      | \d{1,9}(?:\.\d*)?(?:e-?\d+)?%? | 0x[0-9a-f]{1,8}
    )\Z"""
)
_CODE = re.compile(
    rb"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[a-z_]\w*_\w*|.*[(\[{<].*|[a-z_]+(?:_[a-z]+)*|[A-Z][A-Z_]*[A-Z]|lambda.*|[a-z_]\w*=\w+"
    rb"|self\b.*"
)
_PATH = re.compile(rb"(?:~|\.{1,2}|[A-Za-z]:)?[/\\][\w.-]+(?:[/\\][\w .@-]+)+")
_OPTION_START, _VARIABLE = re.compile(rb"[\"'](?=-)"), re.compile(rb"\bvariable(?= )")
# ``--eos-token "</s>"``, ``--max-token 5``: what language models call a token.
_VOCABULARY = re.compile(
    rb"(?i)(?<![a-z])(?:eos|bos|pad|unk|cls|sep|mask|max|min|num|n|per|special|image|begin|end|stop|start|"
    rb"new|page|prompt|padding|separator|by)[_-]token\Z"
)
# ``min-12-chars``, ``auth_v2``: words with a number among them.
_HYPHENATED = re.compile(rb"[A-Za-z]*\d{0,3}(?:[_./-][A-Za-z]*\d{0,4})+|\d+[A-Za-z]{1,6}")
_PLAIN_WORDS = re.compile(rb"[A-Za-z]+(?:[ _./:-]+[A-Za-z]+)*[.!?:]?")
_KINDS = (re.compile(rb"[0-9]"), re.compile(rb"[A-Z]"), re.compile(rb"[a-z]"))
_SWITCH = re.compile(rb"[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])")
# Drawn from 62 characters, 0.6 of them are of another class than the one before.
_CLASS_SWITCH = re.compile(rb"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
_MIN_SWITCHES = 0.38
_MIN_BITS = 4.0  # a character; 32 random ones of base64 have 4.2 to 4.8, a long name 3.4 to 4.1


def is_given(value: bytes, flag: bytes) -> bool:
    """Say whether what an option that is named like a secret is given is one."""
    return not _HARMLESS.match(value) and not is_vocabulary(flag)


def is_vocabulary(name: bytes) -> bool:
    """Say whether a text ends in a name such as ``pad_token``, which no secret follows."""
    return _VOCABULARY.search(name[-40:]) is not None


def is_harmless(value: bytes) -> bool:
    """Say whether a value is a placeholder, a type, a small number: never a secret."""
    return _HARMLESS.match(value) is not None


def is_value(value: bytes, is_certain: bool, is_quoted: bool, is_shell: bool) -> bool:
    """Say whether what stands beside a secret's name is one."""
    value = value.strip()
    if _HARMLESS.match(value):
        return False
    if is_certain:
        if is_quoted or is_shell:
            return len(value) >= 4 and not (
                is_quoted and b" " in value and _PLAIN_WORDS.fullmatch(value)
            )
        return len(value) >= 6 and not _is_code(value)
    if len(value) < 12 or b" " in value or (_PATH.fullmatch(value) and not is_random(value)):
        return False
    has_digit = any(48 <= byte <= 57 for byte in value)
    if is_shell or is_quoted:
        return (has_digit and not _is_code(value)) or is_random(value)
    has_sign = any(byte in b"!#$%&*+^~" for byte in value)
    return has_digit and (len(value) >= 16 or has_sign) and not _is_code(value)


def _is_code(value: bytes) -> bool:
    return _CODE.fullmatch(value) is not None and not is_drawn(value, 12)


def is_told(value: bytes, is_certain: bool) -> bool:
    """Say whether what stands behind a name and a space, as words do, is a secret."""
    if is_harmless(value) or _PATH.fullmatch(value) or value.endswith((b".", b"?", b"%")):
        return False
    if is_drawn(value, 20) or is_random(value):
        return True
    has_letter = any(65 <= byte <= 90 or 97 <= byte <= 122 for byte in value)
    has_digit = any(48 <= byte <= 57 for byte in value)
    return is_certain and has_letter and has_digit and _HYPHENATED.fullmatch(value) is None


def is_random(value: bytes) -> bool:
    """Say whether a string looks drawn, not written: capitals, small letters, digits, all mixed.

    Hexadecimal digests and identifiers are left alone: code and lock files are full of them.
    """
    return (
        not (value.islower() or value.isupper())
        and all(kind.search(value) for kind in _KINDS)
        and len(_CLASS_SWITCH.findall(value)) + _signs(value) >= _MIN_SWITCHES * len(value)
        and _bits(value) >= _MIN_BITS
    )


def is_drawn(value: bytes, at_least: int = 16) -> bool:
    """Say whether a string changes between letters and digits as often as a drawn one does.

    True of hexadecimal digests too: for places where no digest is expected.
    """
    return len(value) >= at_least and len(_SWITCH.findall(value)) * 6 >= len(value)


def _signs(value: bytes) -> int:
    """Count what stands between letters and digits in base64, and in no name."""
    return value.count(b"+") + value.count(b"=")


def _bits(value: bytes) -> float:
    """Return Shannon's entropy of a string, in bits a character."""
    n = len(value)
    return -sum(k / n * math.log2(k / n) for k in Counter(value).values())
