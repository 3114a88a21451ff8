"""Tokens of a search's next page: MLflow's, with the last run of the page before in them.

MLflow's token is a number of runs to pass over, so that each page costs all those before it.
Ours has that number where MLflow has it, and beside it what the search sorted the last run by:
the next page begins behind that run, at the price of the first. MLflow's own stores read our
tokens and this one reads theirs. What runs come and go between two pages moves nothing: no run is
given twice or left out for it, as an offset does.

A token comes back from whoever kept it: one of another search, or without a sort key of the
right length, is taken as an offset.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlflow.utils.search_utils import SearchUtils

_LONGEST = 2_000  # characters; a param that is sorted by may have 8,000

SortKey = tuple[Any, ...]
"""The values that a run was sorted by, as the database gives them, the run id last."""


class PageStart(NamedTuple):
    """Where a page begins.

    Attributes:
        offset: Runs before it.
        after: What the last of them was sorted by; None where the token does not say.
    """

    offset: int
    after: SortKey | None


def read(page_token: Any, asked: Sequence[Any]) -> PageStart:
    """Read a token of ours or MLflow's.

    Args:
        page_token: The token; None for the first page.
        asked: What is searched for, as JSON has it; a sort key of another search is not used.

    Raises:
        MlflowException: MLflow's own, for what is no token.
    """
    offset = SearchUtils.parse_start_offset_from_page_token(page_token)
    if not offset:
        return PageStart(0, None)
    content = json.loads(base64.b64decode(page_token))
    after = content.get("after")
    if content.get("of") != _digest(asked) or not isinstance(after, list):
        return PageStart(offset, None)
    return PageStart(offset, tuple(after))


def write(offset: int, last: SortKey, asked: Sequence[Any]) -> bytes:
    """Write the token of the page that begins with so many runs before it.

    Args:
        offset: Runs before the page.
        last: What the last of them was sorted by.
        asked: What is searched for.
    """
    content = {"offset": offset, "after": list(last), "of": _digest(asked)}
    text = json.dumps(content)
    if len(text) > _LONGEST:
        return bytes(SearchUtils.create_page_token(offset))
    return base64.b64encode(text.encode())


def _digest(asked: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()[:16]
