"""What a report consists of: a closed tree of nodes, each with the fields listed here alone.

The tree is what the editor (ProseMirror) writes as JSON. Nothing in it is markup: text is text,
formulas are TeX, an address is http, https or mailto, a picture is one that was uploaded, and a
panel is a question about runs that the page puts with its reader's own rights. What is not
listed is refused with its place in the document, so that no page ever meets what it does not know.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.sharing.report_panels import check_panel

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 24
MAX_PANELS = 60
MAX_IMAGES = 200
MAX_TEX_CHARACTERS = 10_000
MAX_URL_CHARACTERS = 2_000
CALLOUTS = ("note", "tip", "warning", "danger")
_IMAGE = re.compile(r"[0-9a-f]{32}\Z")
_LANGUAGE = re.compile(r"[A-Za-z0-9+#._-]{1,40}\Z")
_SCHEMES = ("http", "https", "mailto")
EMPTY: dict[str, Any] = {"type": "doc", "content": [{"type": "paragraph"}]}

_Check = Callable[[Any], Any]


class _Attribute(NamedTuple):
    """A field of a node: what it may be, and what it is where it is left out."""

    check: _Check
    default: Any = None


class _Node(NamedTuple):
    """What a node holds.

    Attributes:
        content: Which kind of nodes, by the groups below; "" for none.
        least: How many of them.
    """

    content: str = ""
    attributes: Mapping[str, _Attribute] = {}
    least: int = 0


def _text(most: int) -> _Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"expected a text of at most {most:,} characters")
        return value

    return check


def _whole(least: int, most: int) -> _Check:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most:,}")
        return value

    return check


def _choice(choices: Sequence[str]) -> _Check:
    def check(value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(f"expected one of {', '.join(choices)}")
        return value

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _matching(pattern: re.Pattern[str], what: str) -> _Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.match(value):
            raise ValueError(f"expected {what}")
        return value

    return check


def _or_none(check: _Check) -> _Check:
    return lambda value: None if value is None else check(value)


def check_address(value: Any) -> str:
    """Return the address of a link.

    Raises:
        ValueError: It is none that a reader may be led to.
    """
    if not isinstance(value, str) or len(value) > MAX_URL_CHARACTERS:
        raise ValueError(f"expected an address of at most {MAX_URL_CHARACTERS:,} characters")
    # Browsers drop controls and spaces from what they read a scheme in.
    if any(one <= " " or one == "\\" or not one.isprintable() for one in value):
        raise ValueError("expected an address without spaces and control characters")
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("expected an address") from None
    if parts.scheme not in _SCHEMES or not (parts.netloc or parts.scheme == "mailto"):
        raise ValueError("expected an address that begins with http://, https:// or mailto:")
    return value


def _widths(value: Any) -> list[int | None]:
    check = _or_none(_whole(1, 10_000))
    if not isinstance(value, list) or len(value) > 100:
        raise ValueError("expected a list of widths")
    return [check(one) for one in value]


_CELL = {
    "colspan": _Attribute(_whole(1, 100), 1),
    "rowspan": _Attribute(_whole(1, 1_000), 1),
    "colwidth": _Attribute(_or_none(_widths)),
}
_NODES: dict[str, _Node] = {
    "doc": _Node("blocks", least=1),
    "paragraph": _Node("inlines"),
    "heading": _Node("inlines", {"level": _Attribute(_whole(1, 3), 1)}),
    "blockquote": _Node("blocks", least=1),
    "bulletList": _Node("items", least=1),
    "orderedList": _Node("items", {"start": _Attribute(_whole(0, 1_000_000), 1)}, least=1),
    "listItem": _Node("blocks", least=1),
    "taskList": _Node("tasks", least=1),
    "taskItem": _Node("blocks", {"checked": _Attribute(_flag, False)}, least=1),
    "codeBlock": _Node(
        "texts",
        {
            "language": _Attribute(
                _or_none(_matching(_LANGUAGE, "the name of a programming language"))
            )
        },
    ),
    "mathBlock": _Node("", {"tex": _Attribute(_text(MAX_TEX_CHARACTERS), "")}),
    "callout": _Node("blocks", {"kind": _Attribute(_choice(CALLOUTS), "note")}, least=1),
    "table": _Node("rows", least=1),
    "tableRow": _Node("cells", least=1),
    "tableCell": _Node("blocks", _CELL, least=1),
    "tableHeader": _Node("blocks", _CELL, least=1),
    "horizontalRule": _Node(),
    "contents": _Node(),
    "image": _Node(
        "",
        {
            "image": _Attribute(_matching(_IMAGE, "the id of a picture that was uploaded")),
            "alt": _Attribute(_text(1_000), ""),
            "caption": _Attribute(_text(2_000), ""),
            "width": _Attribute(_or_none(_whole(16, 4_000))),
        },
    ),
    "panel": _Node("", {"panel": _Attribute(check_panel)}),
    "text": _Node(),
    "hardBreak": _Node(),
    "math": _Node("", {"tex": _Attribute(_text(MAX_TEX_CHARACTERS), "")}),
}
_GROUPS = {
    "": frozenset[str](),
    "texts": frozenset({"text"}),
    "inlines": frozenset({"text", "hardBreak", "math"}),
    "items": frozenset({"listItem"}),
    "tasks": frozenset({"taskItem"}),
    "rows": frozenset({"tableRow"}),
    "cells": frozenset({"tableCell", "tableHeader"}),
    "blocks": frozenset(
        {
            *("paragraph", "heading", "blockquote", "bulletList", "orderedList", "taskList"),
            *("codeBlock", "mathBlock", "callout", "table", "horizontalRule", "contents"),
            *("image", "panel"),
        }
    ),
}
_MARKS: dict[str, Mapping[str, _Attribute]] = {
    "bold": {},
    "italic": {},
    "strike": {},
    "underline": {},
    "code": {},
    "link": {"href": _Attribute(check_address)},
}


def check(document: Any) -> dict[str, Any]:
    """Return a report's content with nothing in it but what is listed above.

    Args:
        document: As it was read from JSON.

    Raises:
        ConfigError: It is no report; the message says where and why.
    """
    checker = _Checker()
    if not isinstance(document, dict) or document.get("type") != "doc":
        raise ConfigError('a report is an object with "type": "doc"')
    found = checker.node(document, "report", 0)
    n_bytes = len(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    if n_bytes > MAX_BYTES:
        raise ConfigError(f"a report has at most {MAX_BYTES:,} bytes, this has {n_bytes:,}")
    return found


def check_blocks(blocks: Any) -> list[dict[str, Any]]:
    """Return what is to be added to a report, as ``check`` does."""
    found: list[dict[str, Any]] = check({"type": "doc", "content": blocks})["content"]
    return found


def walk(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return a node and all below it, in the order of the document."""
    yield node
    for child in node.get("content", ()):
        yield from walk(child)


def panels(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a report that was checked, in order."""
    return [node["attrs"]["panel"] for node in walk(document) if node["type"] == "panel"]


def name_panels(document: dict[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Give each panel an id that no other of the report has; those that are there stay.

    Args:
        document: One that was checked; changed.
        before: What it takes the place of: a panel without an id has that of the one of its kind
            and title there, so that a program which writes a report anew keeps what is said of it.
    """
    named: list[dict[str, Any]] = []
    nameless: list[dict[str, Any]] = []
    used: set[str] = set()
    for panel in panels(document):
        is_first = panel.get("id") is not None and panel["id"] not in used
        (named if is_first else nameless).append(panel)
        used |= {panel["id"]} if is_first else set()
    known: dict[tuple[str, str], list[str]] = {}
    for panel in panels(before or EMPTY):
        if panel.get("id") is not None and panel["id"] not in used:
            known.setdefault((panel["kind"], panel["title"]), []).append(panel["id"])
    for panel in nameless:
        same = known.get((panel["kind"], panel["title"]))
        panel["id"] = same.pop(0) if same else secrets.token_hex(8)


def images(document: Mapping[str, Any]) -> set[str]:
    """Return the ids of the pictures in a report that was checked."""
    return {node["attrs"]["image"] for node in walk(document) if node["type"] == "image"}


class _Checker:
    """Reads one document."""

    def __init__(self) -> None:
        self._n_nodes = 0
        self._n_of = {"panel": 0, "image": 0}

    def node(self, value: Mapping[str, Any], place: str, depth: int) -> dict[str, Any]:
        kind = value.get("type")
        spec = _NODES.get(kind) if isinstance(kind, str) else None
        if spec is None or not isinstance(kind, str):
            raise ConfigError(f"{place}: unknown node {kind!r:.60}")
        self._count(kind, place, depth)
        known = {"type", "attrs", "content", "marks", "text"}
        _refuse_unknown(value.keys() - known, place, "field")
        found: dict[str, Any] = {"type": kind}
        given = value.get("attrs")
        if spec.attributes or given:
            found["attrs"] = _attributes(given, spec.attributes, place)
        if kind == "text":
            text = value.get("text")
            if not isinstance(text, str) or not text:
                raise ConfigError(f"{place}: expected a text with something in it")
            found["text"] = _sound(text)
        elif "text" in value:
            raise ConfigError(f"{place}: a node {kind} has no text of its own")
        if value.get("marks"):
            found["marks"] = _marks(value["marks"], kind, place)
        content = self._content(value.get("content"), kind, spec, place, depth)
        if content:
            found["content"] = content
        return found

    def _content(
        self, value: Any, kind: str, spec: _Node, place: str, depth: int
    ) -> list[dict[str, Any]]:
        children = [] if value is None else value
        if not isinstance(children, list):
            raise ConfigError(f"{place}.content: expected a list of nodes")
        if len(children) < spec.least:
            raise ConfigError(f"{place}: a node {kind} is never empty")
        found = []
        for at, child in enumerate(children):
            where = f"{place}.content[{at}]"
            if not isinstance(child, dict):
                raise ConfigError(f"{where}: expected a node")
            named = child.get("type")
            if isinstance(named, str) and named in _NODES and named not in _GROUPS[spec.content]:
                raise ConfigError(f"{where}: a node {named} does not belong in {kind}")
            found.append(self.node(child, where, depth + 1))
            if kind == "codeBlock" and "marks" in found[-1]:
                raise ConfigError(f"{where}: code has no marks")
        return found

    def _count(self, kind: str, place: str, depth: int) -> None:
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            raise ConfigError(f"a report has at most {MAX_NODES:,} nodes")
        if depth > MAX_DEPTH:
            raise ConfigError(f"{place:.200}: deeper than {MAX_DEPTH} nodes")
        if kind in self._n_of:
            self._n_of[kind] += 1
            most = MAX_PANELS if kind == "panel" else MAX_IMAGES
            if self._n_of[kind] > most:
                raise ConfigError(f"a report has at most {most} nodes {kind}")


def _marks(value: Any, kind: str, place: str) -> list[dict[str, Any]]:
    if kind not in {"text", "math", "hardBreak"} or not isinstance(value, list):
        raise ConfigError(f"{place}: marks belong to text")
    found: dict[str, dict[str, Any]] = {}
    for one in value:
        name = one.get("type") if isinstance(one, dict) else None
        if not isinstance(name, str) or name not in _MARKS:
            raise ConfigError(f"{place}: unknown mark {name!r:.60}")
        _refuse_unknown(one.keys() - {"type", "attrs"}, place, "field")
        attributes = _attributes(one.get("attrs"), _MARKS[name], f"{place}.{name}")
        found[name] = {"type": name, **({"attrs": attributes} if attributes else {})}
    return list(found.values())


def _attributes(given: Any, known: Mapping[str, _Attribute], place: str) -> dict[str, Any]:
    if given is not None and not isinstance(given, dict):
        raise ConfigError(f"{place}.attrs: expected an object")
    values = given or {}
    _refuse_unknown(values.keys() - known.keys(), place, "attribute")
    found = {}
    for name, attribute in known.items():
        try:
            if name in values:
                value = attribute.check(values[name])
            elif attribute.default is None:
                value = attribute.check(None)
            else:
                value = attribute.default
        except ValueError as exc:
            raise ConfigError(f"{place}.{name}: {exc}") from None
        found[name] = _sound(value) if isinstance(value, str) else value
    return found


def _refuse_unknown(names: set[Any], place: str, what: str) -> None:
    if names:
        raise ConfigError(f"{place}: unknown {what} {min(map(str, names)):.60}")


def _sound(text: str) -> str:
    """Return a text that every database takes: PostgreSQL has no NUL, UTF-8 no lone surrogate."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
