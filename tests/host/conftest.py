"""What takes minutes more than it tells: the journaled store on the servers is for test-long."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        words = item.name.partition("[")[2].rstrip("]").split("-")
        if item.path.name == "test_same_answers.py" and "journaled" in words:
            # What a journal adds is the same on every database; delivery to each of them is held
            # against stock in test_delivery_rows.py.
            if not {"sqlite"} & set(words):
                item.add_marker(pytest.mark.long)
