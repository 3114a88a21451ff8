"""Which runs a filter selects: in SQL as far as it goes, the rest on columns in memory.

A condition that MLflow's own search knows becomes MLflow's own clause (``mlflow_private``), so it
means what the installed version says: case, NaN and all. What SQL cannot say the same way on every
database is decided here on the values of one key: regular expressions, and params and tags
compared as numbers. Regular expressions are RE2's (pyarrow), whose time is linear in the text, so
none can hold up the server; the smallest and largest values of metrics come from ``extremes``.

Nothing of a filter's text becomes SQL: keys and values are bound parameters.
"""

from __future__ import annotations

import datetime
import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from mlflow.store.tracking.dbmodels.models import SqlRun
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from sqlalchemy.orm import Session

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.runs import extremes, plain_rows, run_columns
from mlflow_weir.store.runs.conditions import Filters, Scope, table_of
from mlflow_weir.store.runs.filter_language import (
    EQUALITIES,
    NUMERIC_ATTRIBUTES,
    ORDERINGS,
    UNITS_S,
    Condition,
    Group,
    Tree,
)
from mlflow_weir.store.runs.run_columns import Column, ColumnReader

MAX_PATTERN_CHARACTERS = 500

_runs = SqlRun.__table__
_KIND_NAMES = {
    "metrics": "metric",
    "params": "parameter",
    "tags": "tag",
    "attributes": "attribute",
    "datasets": "dataset",
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Selection(NamedTuple):
    """What a filter comes to.

    Attributes:
        clauses: Conditions on ``runs``, all of which hold.
        sets: Sets of run ids, in all of which a run is.
    """

    clauses: Sequence[sa.ColumnElement[bool]]
    sets: Sequence[Set[str]]

    def keeps(self, run_ids: list[str]) -> list[str]:
        """Return those of the ids that are in all sets, in their order."""
        for kept in self.sets:
            run_ids = [run_id for run_id in run_ids if run_id in kept]
        return run_ids


class Selector:
    """Turns trees into selections, for one session and one scope.

    Of few runs, what SQL can say is said in one statement. Of many, every condition on a metric,
    param or tag is a statement of its own along that key's rows, and the sets are joined here:
    a look-up for every run and condition costs several times as much.
    """

    def __init__(self, session: Session, scope: Scope, dialect: str, now_ms: int) -> None:
        """Take what is the same for all trees.

        Args:
            session: Reading.
            scope: Which runs are looked at.
            dialect: As MLflow's store names it.
            now_ms: The server's clock, for ``within last``.
        """
        self._session = session
        self._scope = scope
        self._dialect = dialect
        self._now_ms = now_ms

    @functools.cached_property
    def n_runs(self) -> int:
        """How many runs there are in scope."""
        query = sa.select(sa.func.count()).select_from(_runs).where(*self._scope.clauses())
        return int(self._session.execute(query).scalar_one())

    def newest_first(self, clauses: Sequence[sa.ColumnElement[bool]]) -> list[str]:
        """Return the runs in scope of which all clauses hold, in MLflow's default order."""
        query = (
            sa.select(_runs.c.run_uuid)
            .where(*self._scope.clauses(), *clauses)
            .order_by(_runs.c.start_time.desc(), _runs.c.run_uuid)
        )
        return [run_id for (run_id,) in plain_rows.read(self._session, query)]

    @functools.cached_property
    def all_newest_first(self) -> list[str]:
        """All runs in scope, in MLflow's default order."""
        found = self.newest_first(())
        self.__dict__["n_runs"] = len(found)
        return found

    def select(self, tree: Tree | None) -> Selection:
        """Return what a tree comes to.

        Raises:
            ConfigError: A regular expression that cannot be read, a date that is none.
        """
        parts: Sequence[Tree] = () if tree is None else (tree,)
        if isinstance(tree, Group) and tree.joined == "and":
            parts = tree.parts
        clauses, sets = [], []
        for part in parts:
            if self._is_one_clause(part):
                clauses.append(self._clause(part))
            else:
                sets.append(self._ids(part))
        return Selection(clauses, sets)

    def _is_one_clause(self, tree: Tree) -> bool:
        """Say whether the database is asked for this, run by run."""
        if not is_sql(tree):
            return False
        return self.n_runs <= run_columns.FEW_RUNS or not any(map(_has_key, _conditions(tree)))

    def search(self, text: str, *, is_regex: bool) -> Selection:
        """Select runs by name: a part of it in any case or of the id, or a regular expression."""
        if not text:
            return Selection((), ())
        if is_regex:
            return self.select(Condition("attributes", "run_name", "", "~", (text,)))
        pattern = f"%{_escaped(text)}%"
        named = _runs.c.name.ilike(pattern, escape="\\")
        return Selection(
            [sa.or_(named, _runs.c.run_uuid.like(f"{_escaped(text)}%", escape="\\"))], ()
        )

    @functools.cached_property
    def _all_ids(self) -> Set[str]:
        return frozenset(self.all_newest_first)

    def _ids(self, tree: Tree) -> Set[str]:
        """Return the runs in scope that a tree selects; runs outside of it may be among them."""
        if self._is_one_clause(tree):
            found = sa.select(_runs.c.run_uuid).where(*self._scope.clauses(), self._clause(tree))
            return frozenset(run_id for (run_id,) in plain_rows.read(self._session, found))
        if isinstance(tree, Condition):
            return frozenset(self._ids_of(tree))
        sets = [self._ids(part) for part in tree.parts]
        if tree.joined == "not":
            return self._all_ids - sets[0]
        return functools.reduce(operator.and_ if tree.joined == "and" else operator.or_, sets)

    def _ids_of(self, condition: Condition) -> Iterable[str]:
        by_sql = is_sql(condition)
        if condition.comparator == "is missing" and by_sql:
            return self._all_ids - self._ids(replace(condition, comparator="is not missing"))
        if condition.kind == "metrics":
            return self._along_key(condition) if by_sql else self._by_extreme(condition)
        if by_sql and condition.comparator not in {"=", "!=", "in", "not in"}:
            return self._along_key(condition)
        if by_sql and condition.key == "run_name":
            # MLflow compares the tag: the column is empty in runs of its first versions.
            condition = replace(condition, kind="tags", key=MLFLOW_RUN_NAME)
        reader = ColumnReader(self._session, self._scope, self._dialect)
        column = Column(condition.kind, condition.key, condition.aggregate)
        if condition.kind in {"params", "tags"}:
            ids = reader.ids_by_text(column, self.n_runs)
            passed_texts = passing(condition, {*ids}, is_exact=by_sql)
            return run_columns.split_ids("".join(ids[text] for text in passed_texts))
        found = reader.read_scope(column, self.n_runs)
        # Many runs, few different values: each is tested once.
        different = set(found.values())
        texts = passing(condition, set(map(str, different)), is_exact=by_sql)
        passed = {value for value in different if str(value) in texts}
        return (run_id for run_id, value in found.items() if value in passed)

    def _along_key(self, condition: Condition) -> Iterable[str]:
        """Return the runs of a condition that SQL decides on the rows of its key."""
        kind, key, comparator = condition.kind, condition.key, condition.comparator
        if comparator == "not in":
            there = self._ids(replace(condition, comparator="is not missing", values=()))
            return there - self._ids(replace(condition, comparator="in"))
        if comparator == "is not missing":
            run_id, is_met = self._presence(kind, key)
        else:
            compared = "=" if comparator == "in" else comparator.upper()
            rows = [
                row
                for value in condition.values
                for row in self._stock_filters(kind, key, compared, value).on_keys
            ]
            run_id = table_of(rows[0]).c.run_uuid
            is_met = sa.or_(*(row.whereclause for row in rows if row.whereclause is not None))
        reader = ColumnReader(self._session, self._scope, self._dialect)
        query = reader.of_many(sa.select(run_id).where(is_met), run_id, self.n_runs)
        return (found for (found,) in plain_rows.read(self._session, query))

    def _by_extreme(self, condition: Condition) -> Iterable[str]:
        found = extremes.read_all(self._session, self._scope, condition.key)
        if condition.comparator == "is missing":
            return self._all_ids - found.keys()
        if condition.comparator == "is not missing":
            return found.keys()
        at = 0 if condition.aggregate == "min" else 1
        test = number_test(condition)
        return (run_id for run_id, pair in found.items() if test(pair[at]))

    def _clause(self, tree: Tree) -> sa.ColumnElement[bool]:
        if isinstance(tree, Condition):
            return self._clause_of(tree)
        clauses = [self._clause(part) for part in tree.parts]
        if tree.joined == "not":
            # NULL, as of an end time that is not there, is no match, and so its opposite is one.
            return sa.func.coalesce(clauses[0], sa.false()) == sa.false()
        return sa.and_(*clauses) if tree.joined == "and" else sa.or_(*clauses)

    def _clause_of(self, condition: Condition) -> sa.ColumnElement[bool]:
        kind, key, comparator = condition.kind, condition.key, condition.comparator
        if comparator in {"is missing", "is not missing"} and kind == "attributes":
            column: sa.Column[Any] = _runs.c[SqlRun.get_attribute_name(key)]
            return column.is_(None) if comparator == "is missing" else column.is_not(None)
        if comparator == "within last":
            number, unit = condition.values
            since_ms = self._now_ms - int(float(number) * UNITS_S[str(unit)] * 1_000)
            time: sa.Column[int] = _runs.c[SqlRun.get_attribute_name(key)]
            return time >= since_ms
        if comparator in {"in", "not in"} and kind != "datasets":
            return self._one_of(condition)
        value: Any = condition.values[0] if condition.values else None
        if kind == "attributes" and key in NUMERIC_ATTRIBUTES:
            value = time_ms(value)
        if kind == "datasets" and comparator in {"in", "not in"}:
            value = tuple(map(str, condition.values))
        comparator = {"is missing": "IS NULL", "is not missing": "IS NOT NULL"}.get(
            comparator, comparator.upper()
        )
        return self._stock(kind, key, comparator, value)

    def _one_of(self, condition: Condition) -> sa.ColumnElement[bool]:
        """Compare with each, as MLflow compares with one; ``not in`` needs the key to be there."""
        kind, key = condition.kind, condition.key
        one = sa.or_(*(self._stock(kind, key, "=", value) for value in condition.values))
        if condition.comparator == "in":
            return one
        if kind == "attributes":
            column = _runs.c[SqlRun.get_attribute_name(key)]
            return sa.and_(column.is_not(None), sa.not_(one))
        return sa.and_(self._stock(kind, key, "IS NOT NULL", None), sa.not_(one))

    def _stock(self, kind: str, key: str, comparator: str, value: Any) -> sa.ColumnElement[bool]:
        """Return MLflow's own clause for one comparison."""
        if kind == "metrics" and comparator in {"IS NULL", "IS NOT NULL"}:
            run_id, is_key = self._presence(kind, key)
            rows = sa.select(run_id).where(is_key, run_id == _runs.c.run_uuid)
            there = rows.correlate(_runs).exists()
            return ~there if comparator == "IS NULL" else there
        return sa.and_(*self._stock_filters(kind, key, comparator, value).clauses())

    def _stock_filters(self, kind: str, key: str, comparator: str, value: Any) -> Filters:
        parsed = {"type": _KIND_NAMES[kind], "key": key, "comparator": comparator, "value": value}
        return Filters.build([parsed], self._session, self._dialect)

    def _presence(
        self, kind: str, key: str
    ) -> tuple[sa.ColumnElement[str], sa.ColumnElement[bool]]:
        """Return the run id of a table of keys, and the condition that a row has this key."""
        model = run_columns.MODELS[kind]
        if kind == "metrics":
            return model.run_uuid, run_columns.is_key(model, key, self._dialect)
        return model.run_uuid, model.key == key  # as MLflow has IS NOT NULL


def matches(values: Sequence[str], pattern: str) -> list[bool]:
    """Say of each text whether a regular expression is found in it.

    Raises:
        ConfigError: It is none that RE2 takes, or too long.
    """
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ConfigError(f"a pattern has at most {MAX_PATTERN_CHARACTERS} characters")
    texts = pa.array([value.encode("utf-8", "replace").decode() for value in values], pa.string())
    try:
        found = pc.match_substring_regex(texts, pattern=pattern)
    except (pa.ArrowException, ValueError) as exc:
        raise ConfigError(f"not a regular expression: {pattern:.60}: {exc}") from exc
    return cast("list[bool]", found.to_pylist())


def try_number(text: str) -> float | None:
    """Return the number that a text is; None where it is none, NaN included."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def passing(condition: Condition, texts: set[str], *, is_exact: bool) -> Set[str]:
    """Return the texts that meet a condition.

    Args:
        condition: On a text; not whether there is one.
        texts: Of many runs, each once.
        is_exact: Text is compared with text, character by character, as databases do.
    """
    comparator = condition.comparator
    if comparator in {"~", "!~"}:
        ordered = list(texts)
        is_found = matches(ordered, str(condition.values[0]))
        wanted = comparator == "~"
        return {text for text, one in zip(ordered, is_found, strict=True) if one == wanted}
    if is_exact:
        named = texts.intersection(map(str, condition.values))
        return named if comparator in {"=", "in"} else texts - named
    return set(filter(number_test(condition), texts))


def _conditions(tree: Tree) -> Iterator[Condition]:
    if isinstance(tree, Condition):
        yield tree
    else:
        for part in tree.parts:
            yield from _conditions(part)


def _has_key(condition: Condition) -> bool:
    """Say whether a condition is decided by the rows of a key, as the name's tag is one."""
    if condition.kind != "attributes":
        return condition.kind != "datasets"
    return condition.key == "run_name" and "missing" not in condition.comparator


def is_sql(tree: Tree) -> bool:
    """Say whether a database decides all of it as MLflow's search does, text by text."""
    if isinstance(tree, Group):
        return all(map(is_sql, tree.parts))
    if tree.kind == "metrics":
        return tree.aggregate == "latest" or not tree.aggregate
    if tree.comparator in {"~", "!~"}:
        return False
    if tree.kind in {"params", "tags"}:
        if tree.comparator in ORDERINGS:
            return False
        is_number = any(not isinstance(value, str) for value in tree.values)
        return not (is_number and (tree.comparator in EQUALITIES or "in" in tree.comparator))
    return True


def number_test(condition: Condition) -> Callable[[Any], bool]:
    """Return a test of a value by number where both sides are one; text is compared as text."""
    comparator = condition.comparator
    if comparator in {"in", "not in"}:
        tests = [_one_test("=", value) for value in condition.values]
        if comparator == "in":
            return lambda found: any(test(found) for test in tests)
        return lambda found: not any(test(found) for test in tests)
    return _one_test(comparator, condition.values[0])


def _one_test(comparator: str, value: float | int | str) -> Callable[[Any], bool]:
    compare = _COMPARE[comparator]
    number = try_number(value) if isinstance(value, str) else float(value)

    def test(found: Any) -> bool:
        found_number = try_number(found) if isinstance(found, str) else found
        if number is not None and found_number is not None:
            return compare(found_number, number)
        # Text and a number have no order, but are not the same.
        if not (isinstance(value, str) and isinstance(found, str)):
            return comparator == "!="
        return compare(found, value)

    return test


def time_ms(value: float | int | str) -> float | int:
    """Return a time given as milliseconds, or as a date of ISO 8601, UTC unless it says else."""
    if not isinstance(value, str):
        return value
    try:
        # Python 3.10 reads no Z.
        found = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise ConfigError(
            f"{value!r:.40} is no date such as 2026-01-31 or 2026-01-31T12:00"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.timezone.utc)
    return int(found.timestamp() * 1_000)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
