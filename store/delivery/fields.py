"""The fields of an operation, with their types checked.

A journal may come from another machine or version, so nothing read from it reaches the database
before it is known to be what the database expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_INT64 = range(-(2**63), 2**63)


class Refused(Exception):
    """A record that MLflow's rules or the database do not allow; its text tells a person why."""


class Fields:
    """Typed access to the fields of one operation.

    Every method raises ``Refused`` where the field is missing or of another type; those that end
    in ``_or_none`` take null and a missing field too.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def raw(self, name: str) -> Any:
        """Return a field as it is, None where there is none, for who checks it."""
        return self._values.get(name)

    def text(self, name: str) -> str:
        """Return a string."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise Refused(f"its field {name!r} is not a text: {value!r:.100}")
        return value

    def text_or_none(self, name: str) -> str | None:
        """Return a string, or None."""
        return None if self._values.get(name) is None else self.text(name)

    def whole(self, name: str) -> int:
        """Return an integer of 64 bits."""
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value not in _INT64:
            raise Refused(f"its field {name!r} is not a whole number: {value!r:.100}")
        return value

    def whole_or_none(self, name: str) -> int | None:
        """Return an integer of 64 bits, or None."""
        return None if self._values.get(name) is None else self.whole(name)

    def number(self, name: str) -> float:
        """Return a number; NaN and infinities are some."""
        value = self._values.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise Refused(f"its field {name!r} is not a number: {value!r:.100}")
        try:
            return float(value)
        except OverflowError as exc:
            raise Refused(f"its field {name!r} is too large a number") from exc

    def flag(self, name: str) -> bool:
        """Return a truth value; a missing one is false."""
        value = self._values.get(name)
        if value not in (None, True, False):
            raise Refused(f"its field {name!r} is neither true nor false: {value!r:.100}")
        return bool(value)

    def items(self, name: str) -> list[Any]:
        """Return a list; null and a missing one are empty."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, list):
            raise Refused(f"its field {name!r} is not a list: {value!r:.100}")
        return value or []

    def texts(self, name: str) -> list[str]:
        """Return a list of strings, each once, in the order of their first appearance."""
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise Refused(f"its field {name!r} is not a list of texts: {values!r:.100}")
        return list(dict.fromkeys(values))

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """Return a list of (key, value), both strings, as they come."""
        values = self.items(name)
        for pair in values:
            if not (
                isinstance(pair, list)
                and len(pair) == 2
                and all(isinstance(part, str) for part in pair)
            ):
                raise Refused(f"its field {name!r} holds no key and value: {pair!r:.100}")
        return [(key, value) for key, value in values]

    def mapping(self, name: str) -> Fields:
        """Return fields within a field; null and a missing one have none."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, dict):
            raise Refused(f"its field {name!r} holds no fields: {value!r:.100}")
        return Fields(value or {})

    def records(self, name: str) -> list[Fields]:
        """Return a list of fields."""
        values = self.items(name)
        if not all(isinstance(value, dict) for value in values):
            raise Refused(f"its field {name!r} is not a list of fields: {values!r:.100}")
        return [Fields(value) for value in values]
