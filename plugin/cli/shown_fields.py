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

show_option = click.option(
    "--show",
    multiple=True,
    metavar="FIELD",
    help="A field to show, and nothing else: metrics.KEY, params.KEY, tags.KEY, `metrics` for all "
    f"metrics, or one of {', '.join(_BOXES)}.",
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
        elif field in _BOXES:
            shown[field] = True
        else:
            raise ConfigError(
                f"--show {field!r:.100}: no such field",
                hint=f"metrics.KEY, params.KEY, tags.KEY, metrics, {', '.join(_BOXES)}",
            )
    return shown
