"""The arrangement of a workspace as a link may show it: without what it names and does not show.

A view is the page's own document, which the server otherwise keeps without looking into it. Here
it is read field by field and written anew from what is known: a field that is not listed below is
left out. Its filter and its search are left out always: the link itself says which runs there are.
Titles and patterns that people wrote stay unless one names a field that is not shown; texts among
the charts are notes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.runs import run_columns
from mlflow_weir.store.sharing.shown import Shown

_MAX_LIST = 2_000
_MAX_TEXT = 600
_MAX_NOTE = 10_000
_MIN_TELLING = 4
_OWN_SECTIONS = frozenset({"", "\u2605", "\u2606", "\u21c4"})
_BY_COLUMNS = frozenset({"bars", "scatter", "parallel", "importance"})
_PARTS = frozenset({"run", "params", "metrics", "code", "environment", "tags"})
_SMOOTHING = ("kind", "amount", "original")
_SETTINGS = ("xLog", "yScale", "outliers", "minMax", "zoom", "zoomY", "yMin", "yMax")
_OF_ALL = ("centre", "band")


def shown_view(
    view: Mapping[str, Any],
    shown: Shown,
    run_ids: Set[str],
    keys: Mapping[str, Collection[str]],
) -> dict[str, Any]:
    """Return a view without what is not shown.

    Args:
        view: A document of the workspace's page.
        shown: Which fields are.
        run_ids: The runs that the link is about.
        keys: ``metrics``, ``params`` and ``tags`` that the runs have.
    """
    return ViewCutter(shown, run_ids, keys).view(view)


class ViewCutter:
    """Writes a view, or parts of one, anew."""

    def __init__(
        self, shown: Shown, run_ids: Set[str], keys: Mapping[str, Collection[str]]
    ) -> None:
        """Take what ``shown_view`` takes."""
        self._shown = shown
        self._run_ids = run_ids
        self._hidden = {
            name
            for kind, names in keys.items()
            for name in names
            if len(name) >= _MIN_TELLING and not shown.has_field(kind, name)
        }

    def view(self, view: Mapping[str, Any]) -> dict[str, Any]:
        """Return a view without what is not shown."""
        eye = _object(view.get("eye"))
        baseline = view.get("baseline")
        colour_by = view.get("colourBy")
        return {
            "version": 1,
            "filter": "",
            "search": "",
            "isRegex": False,
            "order": [one for one in _texts(view.get("order")) if self._is_column(one)],
            "columns": [
                _plain(one, ("name", "width", "isPinned"))
                for one in _list(view.get("columns"))
                if isinstance(one, dict) and self._is_column(one.get("name"))
            ],
            "groupBy": [one for one in _texts(view.get("groupBy")) if self._is_column(one)],
            "colourBy": colour_by if self._is_column(colour_by) else "",
            "eye": {
                **_plain(eye, ("base", "n")),
                "shown": self._runs(eye.get("shown")),
                "hidden": self._runs(eye.get("hidden")),
            },
            "pins": self._runs(view.get("pins")),
            "baseline": baseline if baseline in self._run_ids else None,
            "hidesCrashed": view.get("hidesCrashed") is True,
            "showsDeleted": False,
            "higherIsBetter": self._metrics(view.get("higherIsBetter")),
            "side": _plain(_object(view.get("side")), ("width", "isTable", "isClosed")),
            "chartSearch": "",
            "settings": self.settings(view.get("settings")),
            "layout": self._layout(view.get("layout")),
            **_plain(view, _OF_ALL),
        }

    def settings(self, value: Any) -> dict[str, Any] | None:
        """Return settings of charts without what is not shown."""
        if not isinstance(value, dict):
            return None
        found = _plain(value, (*_SETTINGS, *_OF_ALL))
        if isinstance(value.get("smoothing"), dict):
            found["smoothing"] = _plain(value["smoothing"], _SMOOTHING)
        x = value.get("x")
        if isinstance(x, str) and (not x.startswith("m:") or self._shown.has_metric(x[2:])):
            found["x"] = x[:_MAX_TEXT]
        return found

    def _layout(self, value: Any) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return None
        sections = []
        for section in map(_object, _list(value.get("sections"))):
            prefix = section.get("prefix")
            cards = [card for one in _list(section.get("cards")) for card in self.card(one)]
            if isinstance(prefix, str) and (cards or prefix in _OWN_SECTIONS):
                sections.append(
                    {**_plain(section, ("prefix", "isOpen", "columns")), "cards": cards}
                )
        return {"sections": sections, "favourites": self._metrics(value.get("favourites"))}

    def card(self, value: Any) -> list[dict[str, Any]]:
        """Return the card, or nothing where nothing of it is shown."""
        card = _object(value)
        kind = card.get("kind")
        if kind == "text":
            return self._text_card(card)
        if kind in _BY_COLUMNS or kind in {"compare", "media"}:
            return self._panel_card(card)
        keys = self._metrics(card.get("keys"))
        pattern = card.get("pattern")
        has_pattern = isinstance(pattern, str) and bool(pattern) and self._tells_nothing(pattern)
        if not keys and not has_pattern:
            return []
        found = _plain(card, ("kind", "isOwn", "aggregate", "w", "h"))
        # A card that is there because of its metric is called by it.
        name = card.get("id")
        if not isinstance(name, str) or not self._tells_nothing(name):
            name = keys[0] if keys else str(pattern)
        found |= {"id": name[:_MAX_TEXT], "keys": keys}
        if has_pattern:
            found["pattern"] = str(pattern)[:_MAX_TEXT]
        title = card.get("title")
        if isinstance(title, str) and self._tells_nothing(title):
            found["title"] = title[:_MAX_TEXT]
        settings = self.settings(card.get("settings"))
        return [found if settings is None else {**found, "settings": settings}]

    def _text_card(self, card: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a text among the charts, which is a note that somebody wrote."""
        text, name = card.get("text"), card.get("id")
        if not self._shown.notes or not isinstance(text, str) or not isinstance(name, str):
            return []
        found = _plain(card, ("kind", "isOwn", "w", "h", "title"))
        return [{**found, "id": name[:_MAX_TEXT], "keys": [], "text": text[:_MAX_NOTE]}]

    def _panel_card(self, card: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a panel that compares runs; what it chooses itself it chooses of what is seen."""
        kind, name = card["kind"], card.get("id")
        columns = _texts(card.get("columns"))
        kept = [one for one in columns if self._is_column(one)]
        # Parallel coordinates and importance have an axis, or a row, less; others are about both.
        is_about_all = kind in {"bars", "scatter"} and kept != columns
        if is_about_all or kept[:1] != columns[:1] or (kind == "media" and not self._shown.media):
            return []
        if not isinstance(name, str) or not self._tells_nothing(name):
            name = str(kind)
        found = _plain(card, ("kind", "isOwn", "isUp", "isWhole", "w", "h"))
        found |= {"id": name[:_MAX_TEXT], "keys": []}
        if kind == "media":
            found["keys"] = [key for key in _texts(card.get("keys")) if self._tells_nothing(key)]
        if kind in _BY_COLUMNS and kept:
            found["columns"] = kept
        if kind == "compare":
            found["parts"] = [one for one in _texts(card.get("parts")) if one in _PARTS]
        title = card.get("title")
        if isinstance(title, str) and self._tells_nothing(title):
            found["title"] = title[:_MAX_TEXT]
        settings = self.settings(card.get("settings"))
        return [found if settings is None else {**found, "settings": settings}]

    def _is_column(self, name: Any) -> bool:
        if not isinstance(name, str):
            return False
        try:
            column = run_columns.parse(name.removeprefix("-"))
        except ConfigError:
            return False
        return self._shown.has_field(column.kind, column.key)

    def _metrics(self, value: Any) -> list[str]:
        return [key for key in _texts(value) if self._shown.has_metric(key)]

    def _runs(self, value: Any) -> list[str]:
        return [run_id for run_id in _texts(value) if run_id in self._run_ids]

    def _tells_nothing(self, text: str) -> bool:
        return not any(key in text for key in self._hidden)


def _plain(value: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return those fields that hold a short text, a number, a truth value or numbers."""
    found = {}
    for name in names:
        one = value.get(name)
        is_pair = isinstance(one, list) and len(one) <= 2 and all(map(_is_number, one))
        is_text = isinstance(one, str) and len(one) <= _MAX_TEXT
        if one is None or is_pair or is_text or isinstance(one, bool) or _is_number(one):
            found[name] = one
    return {name: one for name, one in found.items() if name in value}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value[:_MAX_LIST] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [one for one in _list(value) if isinstance(one, str)]
