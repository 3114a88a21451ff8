"""What an id of ours, or of a run of MLflow's, looks like."""

from __future__ import annotations

import re

_ID = re.compile(r"[0-9a-f]{32}\Z")


def is_id(text: str) -> bool:
    """Say whether a text is 32 hexadecimal digits, as ids are."""
    return _ID.match(text) is not None
