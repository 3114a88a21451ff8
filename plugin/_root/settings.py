"""Every environment variable the package reads, each as a ``Setting``.

A setting is read when it is used, never at import, so that a test or a notebook can change it.
``tests/docs/test_settings.py`` compares this list with docs/configuration.md and looks for other
places that touch ``os.environ``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from mlflow_weir.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One environment variable: its name, default, parser and meaning."""

    name: str
    default: T
    parse: Callable[[str], T]
    meaning: str

    def get(self) -> T:
        """Return the value now in the environment.

        Raises:
            ConfigError: The variable is set to something ``parse`` does not accept.
        """
        raw = os.environ.get(self.name)
        if raw is None or raw == "":
            return self.default
        try:
            return self.parse(raw)
        except ValueError as exc:
            raise ConfigError(f"{self.name}={raw!r}: {exc}", hint=self.meaning) from None


def child_environment(**overrides: str) -> dict[str, str]:
    """Return the environment for a child process: ours, with ``overrides`` on top."""
    return {**os.environ, **overrides}


def pick_environment(names: Collection[str], prefixes: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the variables that are set, of these names or beginning with one of ``prefixes``."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in names or name.startswith(prefixes)
    }


def switch(text: str) -> bool:
    """Parse on/off, 1/0, true/false, yes/no."""
    lowered = text.strip().lower()
    if lowered in {"1", "on", "true", "yes"}:
        return True
    if lowered in {"0", "off", "false", "no"}:
        return False
    raise ValueError("expected on or off")


def seconds(text: str) -> float:
    """Parse a duration between 0 (exclusive) and a day."""
    value = float(text)
    if not 0 < value < 86_400:
        raise ValueError("expected seconds between 0 and 86400")
    return value


DISABLE = Setting(
    "WEIR_DISABLE",
    False,
    switch,
    "1 keeps Weir out: its URIs are opened by MLflow's own stores, which do not see its history.",
)
HOME = Setting(
    "WEIR_HOME", "", str, "Folder that `weir:` keeps its files in, instead of the current one."
)
STOCK_SAMPLING = Setting(
    "WEIR_STOCK_SAMPLING",
    False,
    switch,
    "1 makes MLflow's bulk-interval call choose the points stock MLflow would choose.",
)
WRITE_DEADLINE_SECONDS = Setting(
    "WEIR_WRITE_DEADLINE_SECONDS",
    60.0,
    seconds,
    "Longest time a write waits for a locked database before it fails.",
)

ALL: tuple[Setting[bool] | Setting[str] | Setting[float], ...] = (
    DISABLE,
    HOME,
    STOCK_SAMPLING,
    WRITE_DEADLINE_SECONDS,
)
