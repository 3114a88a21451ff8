"""How a report is named on a command line: ``report:ID``, or the address of its page."""

from __future__ import annotations

import re

_REPORT = re.compile(r"(?:report:|https?://[^\s?#]+/weir/reports/)([0-9a-f]{32})(?:[/?#].*)?\Z")


def report_id_of(word: str) -> str | None:
    """Return the id of the report that a word names; None where it names none."""
    found = _REPORT.match(word)
    return None if found is None else found[1]
