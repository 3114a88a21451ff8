"""A filter on runs that are not in the database as they are to be looked at: by columns in memory.

What it means is what it means to ``selection.py``: text is compared as text, a param or tag with
a number as a number, and a field that a run does not have meets no condition but ``is missing``.
LIKE minds case, ILIKE does not. NaN is in no order with anything.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Sequence, Set

from mlflow_weir.store.runs.filter_language import (
    NUMERIC_ATTRIBUTES,
    UNITS_S,
    Condition,
    Tree,
)
from mlflow_weir.store.runs.run_columns import Cell, Column, Reader
from mlflow_weir.store.runs.selection import is_sql, matches, number_test, passing, time_ms


def select(tree: Tree | None, run_ids: Sequence[str], reader: Reader, now_ms: int) -> list[str]:
    """Return the runs that a filter selects, in their order.

    Args:
        tree: The filter; None selects all.
        run_ids: Those that are looked at.
        reader: Of their columns.
        now_ms: The clock, for ``within last``.

    Raises:
        ConfigError: A regular expression or a date that is none.
    """
    if tree is None:
        return list(run_ids)
    kept = _Selector(run_ids, reader, now_ms).ids(tree)
    return [run_id for run_id in run_ids if run_id in kept]


def search(text: str, run_ids: Sequence[str], reader: Reader, *, is_regex: bool) -> list[str]:
    """Return the runs whose name has a text in it, in any case, or whose id begins with it."""
    if not text:
        return list(run_ids)
    names = reader.read(Column("attributes", "run_name", ""), run_ids)
    if is_regex:
        found = matches([str(names.get(run_id) or "") for run_id in run_ids], text)
        return [run_id for run_id, is_found in zip(run_ids, found, strict=True) if is_found]
    wanted = text.casefold()
    return [
        run_id
        for run_id in run_ids
        if wanted in str(names.get(run_id) or "").casefold() or run_id.startswith(text)
    ]


class _Selector:
    """Turns trees into sets of ids."""

    def __init__(self, run_ids: Sequence[str], reader: Reader, now_ms: int) -> None:
        self._run_ids = run_ids
        self._reader = reader
        self._now_ms = now_ms

    def ids(self, tree: Tree) -> Set[str]:
        if isinstance(tree, Condition):
            return self._of(tree)
        sets = [self.ids(part) for part in tree.parts]
        if tree.joined == "not":
            return frozenset(self._run_ids) - sets[0]
        return functools.reduce(operator.and_ if tree.joined == "and" else operator.or_, sets)

    def _of(self, condition: Condition) -> Set[str]:
        column = Column(condition.kind, condition.key, condition.aggregate)
        read = self._reader.read(column, self._run_ids)
        there = {
            run_id: value for run_id in self._run_ids if (value := read.get(run_id)) is not None
        }
        if condition.comparator == "is missing":
            return frozenset(self._run_ids) - there.keys()
        if condition.comparator == "is not missing":
            return frozenset(there)
        met = self._met(condition, set(there.values()))
        return frozenset(run_id for run_id, value in there.items() if value in met)

    def _met(self, condition: Condition, values: set[Cell]) -> Set[Cell]:
        """Return those of the different values that meet a condition."""
        comparator = condition.comparator
        if comparator == "within last":
            number, unit = condition.values
            since_ms = self._now_ms - int(float(number) * UNITS_S[str(unit)] * 1_000)
            return {value for value in values if isinstance(value, int) and value >= since_ms}
        if condition.kind == "metrics":
            return set(filter(number_test(condition), values))
        if condition.kind == "attributes" and condition.key in NUMERIC_ATTRIBUTES:
            at = Condition("metrics", "", "", comparator, (time_ms(condition.values[0]),))
            return set(filter(number_test(at), values))
        texts = {str(value) for value in values}
        if comparator in {"like", "ilike"}:
            ordered = list(texts)
            pattern = _as_regex(str(condition.values[0]), is_any_case=comparator == "ilike")
            found = matches(ordered, pattern)
            met = {text for text, is_found in zip(ordered, found, strict=True) if is_found}
        else:
            met = set(passing(condition, texts, is_exact=is_sql(condition)))
        return {value for value in values if str(value) in met}


def _as_regex(pattern: str, *, is_any_case: bool) -> str:
    """Return a pattern of LIKE as a regular expression of RE2's."""
    marks = {"%": ".*", "_": "."}
    body = "".join(marks.get(one) or re.escape(one) for one in pattern)
    return f"(?{'i' if is_any_case else ''}s)^{body}$"
