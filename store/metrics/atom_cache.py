"""Decoded rollups and points kept in memory: a page that is opened again decodes none of them.

What a chunk holds never changes, and ids of chunks are not given out twice, so nothing
here can be out of date: what is asked for is looked up in ``weir_series`` first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from mlflow_weir.store.metrics.rollup_atoms import Atoms

MAX_BYTES = 96 << 20
"""Most of it in a process: 12 metrics of 1,000 runs of 10,000 points."""


class AtomCache:
    """The rows read last, up to a number of bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, tuple[Atoms, int]] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Atoms | None:
        """Return what was put under a key, if it is still there."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, atoms: Atoms) -> None:
        """Keep rows, which nobody changes from now on, and forget the ones used longest ago."""
        # Of points, several columns are one array.
        size = sum({id(column): column.nbytes for column in atoms.columns()}.values())
        if size > self._max_bytes // 4:
            return  # for one, all others would have to go
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = (atoms, size)
            self._n_bytes += size
            while self._n_bytes > self._max_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self._n_bytes -= freed
