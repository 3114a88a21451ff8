"""A panel of a report: which runs, and what is shown of them.

    {"id": 16 hexadecimal digits,
     "kind": "charts" | "runs" | "compare" | "media" | "code",
     "title": text,
     "runs": {"experiments": [id, …], "ids": [run id, …] or null, "filter", "search", "regex",
              "order": [term, …], "groupBy": [column, …], "centre", "band", "colourBy": column,
              "most": how many are drawn, "at": ms or null},
     "cards": [of the chart grid], "settings": {of the chart grid} or null,   charts
     "columns": [column, …],                                                 runs
     "parts": ["params" | "metrics" | …], "differences": flag,               compare
     "keys": [key of pictures, …]}                                           media

A card of the grid is lines, one number a run, or a text; or it compares runs by ``columns``
(``bars``, ``scatter``, ``parallel``, ``importance``), all of which it names.

Its id is what comments are bound to, and stays with it whatever else of it is changed; a panel
that comes without gets one when its report is kept. A panel holds no data. With ``at`` it is
frozen: runs and points as of that moment; without it is live. Runs are named (``ids``) or found
by the filter, as ``POST runs`` has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.runs import filter_language, run_columns

KINDS = ("charts", "runs", "compare", "media", "code")
PARTS = ("run", "params", "metrics", "code", "environment", "tags")
MAX_NAMED = 200
MAX_DRAWN = 1_000
MAX_CARDS = 24
MAX_KEYS = 40
MAX_KEY_CHARACTERS = 600
MAX_COLUMNS = 40
MAX_CARD_TEXT = 10_000
MAX_CARD_COLUMNS = 61
_BY_COLUMNS = ("bars", "scatter", "parallel", "importance")
PANEL_ID = re.compile(r"[0-9a-f]{16}\Z")
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")
_EXPERIMENT_ID = re.compile(r"[0-9]{1,18}\Z")
_CENTRES = ("mean", "median", "min", "max")
_BANDS = ("minmax", "sd", "se", "p10p90", "none")
_SMOOTHINGS = ("none", "twema", "ema", "gauss", "mean")
_AXES = ("step", "wall", "rel", "relp")


def check_panel(value: Any) -> dict[str, Any]:
    """Return a panel with nothing in it but what is listed above.

    Raises:
        ValueError: It is none; the message says why.
    """
    given = _object(value, "a panel")
    known = ("id", "kind", "title", "runs", "cards", "settings", "columns", "parts")
    _refuse_unknown(given, (*known, "differences", "keys"))
    kind = _choice(given.get("kind"), "kind", KINDS)
    found: dict[str, Any] = {
        "kind": kind,
        "title": _text(given.get("title", ""), "title", 250),
        "runs": _runs(given.get("runs")),
    }
    if given.get("id") is not None:
        if not PANEL_ID.match(_text(given["id"], "id", 16)):
            raise ValueError("id: expected 16 hexadecimal digits")
        found["id"] = given["id"]
    if kind == "charts":
        cards = [_card(one) for one in _list(given.get("cards"), "cards", MAX_CARDS)]
        if not cards:
            raise ValueError("cards: expected one chart at least")
        found |= {"cards": cards, "settings": _settings(given.get("settings"))}
    elif kind == "runs":
        found["columns"] = _columns(given.get("columns"), "columns", MAX_COLUMNS)
    elif kind == "compare":
        parts = _texts(given.get("parts"), "parts", len(PARTS))
        found["parts"] = [_choice(one, "parts", PARTS) for one in parts] or ["params", "metrics"]
        found["differences"] = _flag(given.get("differences", True), "differences")
    elif kind == "media":
        found["keys"] = _texts(given.get("keys"), "keys", MAX_KEYS)
    return found


def _runs(value: Any) -> dict[str, Any]:
    given = _object(value, "runs")
    names = ("experiments", "ids", "filter", "search", "regex", "order", "groupBy", "centre")
    _refuse_unknown(given, (*names, "band", "colourBy", "most", "at"))
    experiments = _texts(given.get("experiments"), "runs.experiments", 50)
    if not experiments or not all(map(_EXPERIMENT_ID.match, experiments)):
        raise ValueError("runs.experiments: expected ids of experiments")
    ids = given.get("ids")
    if ids is not None:
        ids = _texts(ids, "runs.ids", MAX_NAMED)
        if not ids or not all(map(_RUN_ID.match, ids)):
            raise ValueError("runs.ids: expected ids of runs, or null")
    text = _text(given.get("filter", ""), "runs.filter", filter_language.MAX_CHARACTERS)
    try:
        filter_language.parse(text)
    except ConfigError as exc:
        raise ValueError(f"runs.filter: {exc}") from None
    order = _texts(given.get("order"), "runs.order", 5)
    _require_columns([one.removeprefix("-") for one in order], "runs.order")
    colour_by = _text(given.get("colourBy", ""), "runs.colourBy", MAX_KEY_CHARACTERS)
    if colour_by:
        _require_columns([colour_by], "runs.colourBy")
    at_ms = given.get("at")
    if at_ms is not None:
        at_ms = _whole(at_ms, "runs.at", 1, 2**53)
    return {
        "experiments": list(dict.fromkeys(str(int(one)) for one in experiments)),
        "ids": ids,
        "filter": text,
        "search": _text(given.get("search", ""), "runs.search", 1_000),
        "regex": _flag(given.get("regex", False), "runs.regex"),
        "order": order,
        "groupBy": _columns(given.get("groupBy"), "runs.groupBy", 4),
        "centre": _choice(given.get("centre", "mean"), "runs.centre", _CENTRES),
        "band": _choice(given.get("band", "minmax"), "runs.band", _BANDS),
        "colourBy": colour_by,
        "most": _whole(given.get("most", 100), "runs.most", 1, MAX_DRAWN),
        "at": at_ms,
    }


def _card(value: Any) -> dict[str, Any]:
    given = _object(value, "a card")
    names = ("id", "kind", "keys", "isOwn", "title", "pattern", "aggregate", "text")
    _refuse_unknown(given, (*names, "w", "h", "settings", "columns", "isUp"))
    kinds = ("line", "scalar", "text", *_BY_COLUMNS)
    kind = _choice(given.get("kind", "line"), "card.kind", kinds)
    keys = _texts(given.get("keys"), "card.keys", MAX_KEYS)
    found: dict[str, Any] = {
        "id": _text(given.get("id", ""), "card.id", MAX_KEY_CHARACTERS),
        "kind": kind,
        "keys": [_text(one, "card.keys", MAX_KEY_CHARACTERS) for one in keys],
        "w": _whole(given.get("w", 1), "card.w", 1, 6),
        "h": _whole(given.get("h", 15), "card.h", 8, 60),
    }
    for name in ("isOwn", "isUp"):
        if _flag(given.get(name, False), f"card.{name}"):
            found[name] = True
    for name, most in (("title", 500), ("pattern", 500), ("text", MAX_CARD_TEXT)):
        text = _text(given.get(name, ""), f"card.{name}", most)
        if text:
            found[name] = text
    if given.get("aggregate") is not None:
        aggregates = ("latest", "min", "max")
        found["aggregate"] = _choice(given["aggregate"], "card.aggregate", aggregates)
    settings = _settings(given.get("settings"))
    if settings is not None:
        found["settings"] = settings
    if kind in _BY_COLUMNS:
        found["columns"] = _columns(given.get("columns"), "card.columns", MAX_CARD_COLUMNS)
        if not found["columns"]:
            raise ValueError("card: expected columns")
    elif not (keys or found.get("pattern") or found.get("text")):
        raise ValueError("card: expected metrics, a pattern or a text")
    return found


def _settings(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    given = _object(value, "settings")
    flags = ("xLog", "outliers", "minMax")
    ends, ranges = ("yMin", "yMax"), ("zoom", "zoomY")
    _refuse_unknown(given, (*flags, *ends, *ranges, "x", "yScale", "smoothing", "centre", "band"))
    found: dict[str, Any] = {}
    for name, one in given.items():
        place = f"settings.{name}"
        if name == "x":
            found[name] = _text(one, place, MAX_KEY_CHARACTERS + 2)
            if one not in _AXES and not one.startswith("m:"):
                raise ValueError(f"{place}: expected {', '.join(_AXES)} or m:METRIC")
        elif name == "yScale":
            found[name] = _choice(one, place, ("linear", "log", "symlog"))
        elif name == "smoothing":
            found[name] = _smoothing(one)
        elif name in {"centre", "band"}:
            found[name] = _choice(one, place, _CENTRES if name == "centre" else _BANDS)
        elif name in flags:
            found[name] = _flag(one, place)
        elif one is None:
            found[name] = None
        elif name in ends:
            found[name] = _number(one, place)
        else:
            pair = [_number(end, place) for end in _list(one, place, 2)]
            if len(pair) != 2 or pair[0] >= pair[1]:
                raise ValueError(f"{place}: expected a range")
            found[name] = pair
    return found


def _smoothing(value: Any) -> dict[str, Any]:
    given = _object(value, "settings.smoothing")
    _refuse_unknown(given, ("kind", "amount", "original"))
    return {
        "kind": _choice(given.get("kind"), "settings.smoothing.kind", _SMOOTHINGS),
        "amount": _number(given.get("amount", 0.6), "settings.smoothing.amount"),
        "original": _flag(given.get("original", True), "settings.smoothing.original"),
    }


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected an object")
    return value


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = given.keys() - set(known)
    if unknown:
        raise ValueError(f"unknown field {min(map(str, unknown)):.60}")


def _list(value: Any, place: str, most: int) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ValueError(f"{place}: expected a list")
    if len(value or ()) > most:
        raise ValueError(f"{place}: at most {most:,}")
    return value or []


def _texts(value: Any, place: str, most: int) -> list[str]:
    found = [_text(one, place, MAX_KEY_CHARACTERS) for one in _list(value, place, most)]
    return list(dict.fromkeys(found))


def _text(value: Any, place: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{place}: expected a text of at most {most:,} characters")
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _choice(value: Any, place: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{place}: expected one of {', '.join(choices)}")
    return value


def _flag(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{place}: expected true or false")
    return value


def _whole(value: Any, place: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{place}: expected a whole number from {least} to {most:,}")
    return value


def _number(value: Any, place: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{place}: expected a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"{place}: expected a finite number")
    return value


def _columns(value: Any, place: str, most: int) -> list[str]:
    found = _texts(value, place, most)
    _require_columns(found, place)
    return found


def _require_columns(names: list[str], place: str) -> None:
    for name in names:
        try:
            run_columns.parse(name)
        except ConfigError as exc:
            raise ValueError(f"{place}: {exc}") from None
