"""``--show``: which fields of runs a link or a published page shows; closed by default."""

from __future__ import annotations

from typing import Any

import click

from mlflow_weir.errors import ConfigError

_LISTS = ("metrics", "params", "tags")
_BOXES = (
    *("notes", "code", "patch", "console", "command", "host", "git_url"),
    *("files", "hardware", "histograms", "media"),
)
PANELS = "panels"
"""All that a report's panels show."""

show_option = click.option(
    "--show",
    multiple=True,
    metavar="FIELD",
    help="A field to show, and nothing else: metrics.KEY, params.KEY, tags.KEY, `metrics` for all "
    f"metrics, one of {', '.join(_BOXES)}; of a report `panels` for all that its panels show.",
)


def shown_fields(fields: tuple[str, ...]) -> dict[str, Any]:
    """Return what ``--show`` names, as ``shares/create`` takes it.

    Raises:
        ConfigError: There is no such field.
    """
    shown: dict[str, Any] = {}
    for field in fields:
        kind, _, key = field.partition(".")
        if kind in _LISTS and key:
            shown.setdefault(kind, []).append(key)
        elif field == "metrics":
            shown.setdefault("metrics", []).append("*")
        elif field in _BOXES or field == PANELS:
            shown[field] = True
        else:
            raise ConfigError(
                f"--show {field!r:.100}: no such field",
                hint=f"metrics.KEY, params.KEY, tags.KEY, metrics, {', '.join(_BOXES)}, panels",
            )
    return shown
