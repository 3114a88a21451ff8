"""The filter of the run list: a text, parsed to a tree; nothing of it is ever evaluated.

    or         := and ("or" and)*
    and        := not ("and" not)*
    not        := "not" not | "(" or ")" | condition
    condition  := field comparator value | field ["not"] "in" "(" value ("," value)* ")"
                | field "is" ["not"] ("null" | "missing") | field "within" "last" number unit
    field      := [kind "."] key | ("latest" | "min" | "max") "(" "metrics" "." key ")"
    comparator := = == != < <= > >= like ilike ~ !~
    value      := number | 'text' | "text" | a word such as FINISHED
    unit       := s m h d w

MLflow's own filter strings are all in it and mean what they mean there: kinds and their other
names, keys in backticks or double quotes, attributes without a kind, text in either quotes (read
as it stands, without escapes). What is ours: two double quotes in a text between double quotes
are one, so that every text can be written; ``or``, ``not``, parentheses, ``in`` for every field,
``~`` (a regular expression found anywhere), ``is missing``, ``within last``, keys with ``/`` and
``-`` without quotes, a param or tag compared with a number *as* a number, and a metric's smallest
and largest value. Words of the grammar are written in either case.

``Condition.text()`` and ``text_of`` write a tree back; parsing that gives the same tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlflow_weir.errors import ConfigError

MAX_CHARACTERS = 8_000
MAX_CONDITIONS = 100
MAX_DEPTH = 20
MAX_VALUES = 1_000

KINDS = {
    **dict.fromkeys(("metric", "metrics"), "metrics"),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), "params"),
    **dict.fromkeys(("tag", "tags"), "tags"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attributes"),
    **dict.fromkeys(("dataset", "datasets"), "datasets"),
}
ATTRIBUTES = {
    "run_id": "run_id",
    "id": "run_id",
    "run_name": "run_name",
    "run name": "run_name",
    "name": "run_name",
    "user_id": "user_id",
    "user": "user_id",
    "status": "status",
    "start_time": "start_time",
    "created": "start_time",
    "started": "start_time",
    "end_time": "end_time",
    "ended": "end_time",
    "artifact_uri": "artifact_uri",
}
NUMERIC_ATTRIBUTES = frozenset({"start_time", "end_time"})
DATASET_KEYS = frozenset({"name", "digest", "context"})
AGGREGATES = frozenset({"latest", "min", "max"})
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
ORDERINGS = frozenset({"<", "<=", ">", ">="})
EQUALITIES = frozenset({"=", "!="})
_TEXT_COMPARATORS = frozenset({"=", "!=", "like", "ilike", "~", "!~"})
_LISTS = frozenset({"in", "not in"})
_PRESENCE = frozenset({"is missing", "is not missing"})

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>'[^']*(?:''[^']*)*'|"[^"]*(?:""[^"]*)*")
    |(?P<ticked>`[^`]*`)
    |(?P<comparator>==|!=|<>|<=|>=|!~|=|<|>|~)
    |(?P<mark>[(),])
    |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w./:@-]))
    |(?P<word>[^\s'"`()<>=!~,]+)""",
    re.VERBOSE,
)
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w./:@-]*\Z")
_RESERVED = frozenset({"and", "or", "not", "in", "is", "like", "ilike", "within"})


class FilterError(ConfigError):
    """A filter that cannot be read.

    Attributes:
        position: Where, in characters from 0.
        length: How many characters are meant, at least 1.
    """

    def __init__(self, message: str, position: int, length: int = 1) -> None:
        super().__init__(message)
        self.position = position
        self.length = max(1, length)


@dataclass(frozen=True)
class Condition:
    """One comparison.

    Attributes:
        kind: ``metrics``, ``params``, ``tags``, ``attributes`` or ``datasets``.
        key: Of the metric, param or tag, or MLflow's name of the attribute.
        aggregate: For metrics ``latest``, ``min`` or ``max``; else empty.
        comparator: As the grammar has it, in lower case, ``is missing`` and ``within last`` too.
        values: What is compared with: one, several for ``in``, none for ``is missing``; the
            number and the unit for ``within last``.
    """

    kind: str
    key: str
    aggregate: str
    comparator: str
    values: tuple[float | int | str, ...]

    def text(self) -> str:
        """Write the condition so that it parses to itself."""
        field = _field_text(self.kind, self.key, self.aggregate)
        if self.comparator in _LISTS:
            return f"{field} {self.comparator} ({', '.join(map(_value_text, self.values))})"
        if self.comparator in _PRESENCE:
            return f"{field} {self.comparator}"
        if self.comparator == "within last":
            return f"{field} within last {_value_text(self.values[0])} {self.values[1]}"
        return f"{field} {self.comparator} {_value_text(self.values[0])}"

    def as_json(self) -> dict[str, Any]:
        """Return the condition as the page's builder has it."""
        return {
            "kind": self.kind,
            "key": self.key,
            "aggregate": self.aggregate,
            "comparator": self.comparator,
            "values": list(self.values),
        }


@dataclass(frozen=True)
class Group:
    """Parts joined by one word.

    Attributes:
        joined: ``and``, ``or``, or ``not`` of one part.
        parts: At least one.
    """

    joined: str
    parts: tuple[Tree, ...]

    def text(self) -> str:
        """Write the group so that it parses to itself."""
        inner = [
            f"({part.text()})" if isinstance(part, Group) else part.text() for part in self.parts
        ]
        return f"not ({self.parts[0].text()})" if self.joined == "not" else _joined(self, inner)

    def as_json(self) -> dict[str, Any]:
        """Return the group as the page's builder has it."""
        return {"joined": self.joined, "parts": [part.as_json() for part in self.parts]}


Tree = Condition | Group


def parse(text: str) -> Tree | None:
    """Read a filter; None where there is nothing to filter by.

    Raises:
        FilterError: It is not one, or longer or deeper than it may be.
    """
    if len(text) > MAX_CHARACTERS:
        raise FilterError(f"a filter has at most {MAX_CHARACTERS:,} characters", MAX_CHARACTERS)
    tokens = _tokens(text)
    if len(tokens) == 1:
        return None
    reader = _Reader(tokens)
    tree = reader.read_or(0)
    reader.expect_end()
    return tree


def text_of(tree: Tree | None) -> str:
    """Write a tree as a filter."""
    return "" if tree is None else tree.text()


def conjoined(*trees: Tree | None) -> Tree | None:
    """Return what holds where all of the given hold."""
    parts = tuple(tree for tree in trees if tree is not None)
    if len(parts) < 2:
        return parts[0] if parts else None
    return Group("and", parts)


class _Token(NamedTuple):
    kind: str
    text: str
    position: int

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.lower() == word


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "a quote that is not closed" if text[at] in "'\"`" else "not understood"
            raise FilterError(f"{what}: {text[at:][:30]}", at, len(text) - at)
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(_Token(kind, match.group(), at))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._n_conditions = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._at += 1
        return token

    def _try_word(self, word: str) -> bool:
        if self._next.is_word(word):
            self._at += 1
            return True
        return False

    def _try_mark(self, mark: str) -> bool:
        if self._next.kind == "mark" and self._next.text == mark:
            self._at += 1
            return True
        return False

    def _fail(self, message: str, token: _Token | None = None) -> FilterError:
        token = token or self._next
        return FilterError(message, token.position, len(token.text))

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise self._fail(f"expected `and`, `or` or the end, found {self._next.text!r:.40}")

    def read_or(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise self._fail(f"deeper than {MAX_DEPTH} parentheses")
        parts = [self._read_and(depth)]
        while self._try_word("or"):
            parts.append(self._read_and(depth))
        return parts[0] if len(parts) == 1 else Group("or", tuple(parts))

    def _read_and(self, depth: int) -> Tree:
        parts = [self._read_not(depth)]
        while self._try_word("and"):
            parts.append(self._read_not(depth))
        return parts[0] if len(parts) == 1 else Group("and", tuple(parts))

    def _read_not(self, depth: int) -> Tree:
        if self._try_word("not"):
            if depth > MAX_DEPTH:
                raise self._fail(f"deeper than {MAX_DEPTH} parentheses")
            return Group("not", (self._read_not(depth + 1),))
        if self._try_mark("("):
            inner = self.read_or(depth + 1)
            if not self._try_mark(")"):
                raise self._fail("expected )")
            return inner
        return self._read_condition()

    def _read_condition(self) -> Condition:
        self._n_conditions += 1
        if self._n_conditions > MAX_CONDITIONS:
            raise self._fail(f"more than {MAX_CONDITIONS} conditions")
        kind, key, aggregate = self._read_field()
        start = self._next
        comparator = self._read_comparator()
        if comparator not in _comparators_of(kind, key):
            raise self._fail(f"{comparator!r} cannot be asked of {kind}", start)
        if comparator in _PRESENCE:
            return Condition(kind, key, aggregate, comparator, ())
        if comparator == "within last":
            return Condition(kind, key, aggregate, comparator, self._read_duration())
        if comparator in _LISTS:
            return Condition(kind, key, aggregate, comparator, self._read_list(kind, key))
        token = self._next
        value = self._read_value(kind, key)
        if comparator in {"like", "ilike", "~", "!~"} and not isinstance(value, str):
            raise self._fail(f"expected text in quotes after {comparator}", token)
        return Condition(kind, key, aggregate, comparator, (value,))

    def _read_field(self) -> tuple[str, str, str]:
        token = self._take()
        word = token.text.lower()
        if token.kind == "word" and word in AGGREGATES and self._try_mark("("):
            inner = self._next
            kind, key, _ = self._read_field()
            if kind != "metrics":
                raise self._fail(f"{word}() takes a metric", inner)
            if not self._try_mark(")"):
                raise self._fail("expected )")
            return kind, key, word
        if token.kind in {"ticked", "text"} and token.text[0] in '`"':
            return self._field_of("attributes", _unquoted(token.text), token)
        if token.kind != "word":
            found = f", found {token.text!r:.40}" if token.text else ""
            raise self._fail(f"expected a field such as metrics.loss{found}", token)
        name, dot, rest = token.text.partition(".")
        if not dot:
            return self._field_of("attributes", name, token)
        kind = KINDS.get(name.lower(), "")
        if not kind:
            raise self._fail(
                f"{name!r:.40} is none of metrics, params, tags, attributes, datasets", token
            )
        if not rest:
            quoted = self._take()
            if quoted.kind not in {"ticked", "text"} or quoted.text[0] not in '`"':
                raise self._fail("expected a key after the dot", quoted)
            rest = _unquoted(quoted.text)
        return self._field_of(kind, rest, token)

    def _field_of(self, kind: str, key: str, token: _Token) -> tuple[str, str, str]:
        if kind == "attributes":
            known = ATTRIBUTES.get(key.lower())
            if known is None:
                raise self._fail(
                    f"{key!r:.40} is no attribute of a run: a param is written params.{key:.40}",
                    token,
                )
            return kind, known, ""
        if kind == "datasets" and key not in DATASET_KEYS:
            raise self._fail("of a data set: name, digest or context", token)
        return kind, key, "latest" if kind == "metrics" else ""

    def _read_comparator(self) -> str:
        token = self._take()
        if token.kind == "comparator":
            return {"==": "=", "<>": "!="}.get(token.text, token.text)
        word = token.text.lower() if token.kind == "word" else ""
        if word in {"like", "ilike", "in"}:
            return word
        if word == "not" and self._try_word("in"):
            return "not in"
        if word == "is":
            is_not = self._try_word("not")
            if not (self._try_word("missing") or self._try_word("null")):
                raise self._fail("expected `missing` after `is`")
            return "is not missing" if is_not else "is missing"
        if word == "within":
            if not self._try_word("last"):
                raise self._fail("expected `last` after `within`")
            return "within last"
        found = f", found {token.text!r:.40}" if token.text else ""
        raise self._fail(f"expected a comparison such as = or >{found}", token)

    def _read_duration(self) -> tuple[float | int | str, ...]:
        token = self._take()
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", token.text)
        if match is None:
            raise self._fail("expected a number and s, m, h, d or w, such as 7 d", token)
        number, unit = match.groups()
        unit = unit or self._take().text
        if unit.lower() not in UNITS_S:
            raise self._fail(f"the unit {unit!r:.20} is none of s, m, h, d, w", token)
        return _number(number), unit.lower()

    def _read_list(self, kind: str, key: str) -> tuple[float | int | str, ...]:
        if not self._try_mark("("):
            raise self._fail("expected ( and values after `in`")
        values = [self._read_value(kind, key)]
        while self._try_mark(","):
            values.append(self._read_value(kind, key))
            if len(values) > MAX_VALUES:
                raise self._fail(f"more than {MAX_VALUES:,} values")
        if not self._try_mark(")"):
            raise self._fail("expected , or )")
        return tuple(values)

    def _read_value(self, kind: str, key: str) -> float | int | str:
        token = self._take()
        needs_number = kind == "metrics" or (key in NUMERIC_ATTRIBUTES and kind == "attributes")
        if token.kind == "number" or (token.kind == "word" and _is_special(token.text)):
            number = _number(token.text)
            return number if needs_number or kind in {"params", "tags"} else token.text
        if needs_number and kind == "attributes" and token.kind == "text":
            return _unquoted(token.text)  # a date, read by who compares
        if needs_number:
            raise self._fail(f"expected a number, found {token.text!r:.40}", token)
        if token.kind == "text":
            return _unquoted(token.text)
        if token.kind == "word" and token.text.lower() not in _RESERVED:
            return token.text
        raise self._fail("expected a value", token)


def _comparators_of(kind: str, key: str) -> frozenset[str]:
    if kind == "metrics":
        return ORDERINGS | EQUALITIES | _LISTS | _PRESENCE
    if kind == "attributes" and key in NUMERIC_ATTRIBUTES:
        return ORDERINGS | EQUALITIES | _PRESENCE | {"within last"}
    if kind in {"params", "tags"}:
        return ORDERINGS | _TEXT_COMPARATORS | _LISTS | _PRESENCE
    if kind == "datasets":
        return _TEXT_COMPARATORS - {"~", "!~"} | _LISTS
    return _TEXT_COMPARATORS | _LISTS | _PRESENCE


def _is_special(word: str) -> bool:
    return word.lower().lstrip("+-") in {"nan", "inf", "infinity"}


def _number(text: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _field_text(kind: str, key: str, aggregate: str) -> str:
    if kind == "attributes":
        return key
    if not _PLAIN_KEY.match(key):
        key = _double_quoted(key) if "`" in key else f"`{key}`"
    field = f"{kind}.{key}"
    return f"{aggregate}({field})" if aggregate in {"min", "max"} else field


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    return inner.replace('""', '"') if text[0] == '"' else inner


def _double_quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _value_text(value: float | int | str) -> str:
    if isinstance(value, str):
        return _double_quoted(value) if "'" in value else f"'{value}'"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return repr(value)


def _joined(group: Group, inner: Sequence[str]) -> str:
    return f" {group.joined} ".join(inner)
