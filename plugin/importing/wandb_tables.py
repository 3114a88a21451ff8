"""Texts and tables of wandb's history as tables of MLflow's: what ``mlflow.load_table`` reads.

    a text or list, step by step    ``text/KEY.json``, with the columns ``step`` and ``text``
    ``wandb.Table``                 ``table/KEY/step_N.json``

The run's tag ``mlflow.loggedArtifacts`` lists them, as MLflow's own ``log_table`` does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlflow_weir.plugin.importing.bringing import File
from mlflow_weir.plugin.importing.names import Keys

TAG = "mlflow.loggedArtifacts"
_MOST_CHARACTERS = 64 << 20  # of all texts of a run, which are held until its end


class WandbTables:
    """What a run has logged of texts and tables."""

    def __init__(self, left_out: Counter[str], keys: Keys) -> None:
        """Begin with none.

        Args:
            left_out: Counts what is too much, or no table.
            keys: Of the run.
        """
        self._left_out, self._keys = left_out, keys
        self._texts: dict[str, list[list[Any]]] = {}
        self._tables: dict[str, str] = {}
        self._n_characters = 0

    def add_text(self, name: str, step: int, value: str | list[Any]) -> None:
        """Take a text or list of the history."""
        text = value if isinstance(value, str) else json.dumps(value)
        self._n_characters += len(text)
        if self._n_characters > _MOST_CHARACTERS:
            self._left_out[f"{name}: texts beyond {_MOST_CHARACTERS:,} characters of a run"] += 1
            return
        self._texts.setdefault(f"text/{self._folder(name)}.json", []).append([step, text])

    def add_table(self, name: str, step: int, path: str) -> None:
        """Take a table, by the path of its file below the run's files."""
        self._tables[f"table/{self._folder(name)}/step_{step}.json"] = path

    def tag(self, most: int) -> str:
        """Return the tag that lists them, "" where there are none.

        Args:
            most: Characters of a tag; of more tables the last ones are listed.
        """
        paths = [*self._texts, *self._tables]
        listed: list[str] = []
        left = most - len("[]")
        for path in reversed(paths):
            item = json.dumps({"path": path, "type": "table"})
            left -= len(item) + len(", ")
            if left < 0:
                n = len(paths) - len(listed)
                self._left_out["tables that the tag has no room to list"] += n
                break
            listed.insert(0, item)
        return f"[{', '.join(listed)}]" if listed else ""

    def files(self, find: Callable[[str], Path | None]) -> Iterator[File]:
        """Give them.

        Args:
            find: Returns the file at a path below the run's files, None where it has none.
        """
        for path, rows in self._texts.items():
            yield File(path, _split(["step", "text"], rows), may_change=True)
        for path, source in self._tables.items():
            found = find(source)
            if found is None:
                continue
            try:
                table = json.loads(found.read_bytes())
                columns = [str(one) for one in table["columns"]]
                rows = [list(row) for row in table["data"]]
            except (ValueError, TypeError, KeyError, RecursionError):
                self._left_out["tables whose files cannot be read"] += 1
                continue
            yield File(path, _split(columns, rows))

    def _folder(self, name: str) -> str:
        return self._keys.of(name).replace(":", "_")


def _split(columns: list[str], rows: list[list[Any]]) -> bytes:
    return json.dumps({"columns": columns, "data": rows}).encode()
