"""Points, params and tags of runs on their way into ``runs/log-batch``, within MLflow's limits."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_LIMITS = {"params": 100, "tags": 100, "metrics": 1_000}
_MAX_ITEMS = 1_000
_MAX_BYTES = 900_000  # MLflow: a million, with all around them


class Item(NamedTuple):
    """One of them.

    Attributes:
        kind: ``params``, ``tags`` or ``metrics``.
        key: Its name.
        text: As JSON.
    """

    kind: str
    key: str
    text: str


@dataclass
class Batch:
    """What waits to be sent of one run."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Item] = field(default_factory=list)

    def is_full(self) -> bool:
        """Say whether there is enough for a request."""
        return (
            len(self.metrics) >= _LIMITS["metrics"]
            or len(self.params) >= _LIMITS["params"]
            or len(self.tags) >= _LIMITS["tags"]
        )

    def changes_params(self, pairs: Iterable[tuple[str, str]]) -> bool:
        """Say whether one of these is here with another value, which the server has to judge."""
        return any(self.params.get(key, value) != value for key, value in pairs)

    def requests(self) -> Iterator[list[Item]]:
        """Give what waits, as much at a time as MLflow takes."""
        items = [
            *(_pair("params", *pair) for pair in self.params.items()),
            *(_pair("tags", *pair) for pair in self.tags.items()),
            *self.metrics,
        ]
        found: list[Item] = []
        size, counts = 0, Counter[str]()
        for item in items:
            if found and (
                len(found) == _MAX_ITEMS
                or counts[item.kind] == _LIMITS[item.kind]
                or size + len(item.text) > _MAX_BYTES
            ):
                yield found
                found, size, counts = [], 0, Counter()
            found.append(item)
            size += len(item.text) + 2
            counts[item.kind] += 1
        if found:
            yield found


def halves(items: Sequence[Item]) -> list[list[Item]]:
    """Part a request that was denied: by kind, or else in the middle."""
    kinds = {kind: [one for one in items if one.kind == kind] for kind in _LIMITS}
    parts = [part for part in kinds.values() if part]
    if len(parts) > 1:
        return parts
    half = len(items) // 2
    return [list(items[:half]), list(items[half:])]


def body_of(run_id: str, items: Iterable[Item]) -> bytes:
    """Return the request that logs these to a run."""
    parts: dict[str, list[str]] = {}
    for item in items:
        parts.setdefault(item.kind, []).append(item.text)
    lists = [f"{json.dumps(kind)}:[{','.join(texts)}]" for kind, texts in parts.items()]
    whole = ",".join([f'"run_id":{json.dumps(run_id)}', *lists])
    return f"{{{whole}}}".encode("ascii")


def metric(
    key: str, timestamp: int, step: int, value: float, model: dict[str, str | None] | None = None
) -> Item:
    """Return a point; ``model`` says what else it belongs to, by MLflow's names."""
    fields: dict[str, object] = {"key": key, "value": _number(value)}
    fields |= {"timestamp": timestamp, "step": step}
    fields |= {name: said for name, said in (model or {}).items() if said is not None}
    return Item("metrics", key, json.dumps(fields))


def _number(value: float) -> float | str:
    """Return a number as JSON has it: protocol buffers write what it has not in words."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _pair(kind: str, key: str, value: str) -> Item:
    return Item(kind, key, json.dumps({"key": key, "value": value}))
