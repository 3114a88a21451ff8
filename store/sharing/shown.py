"""Which fields of a run somebody may see: all, or those that were ticked when a link was made.

Everything a visitor sees, sorts by, filters by or searches goes through one ``Shown``. Tags of
MLflow's and of Weir's own that tell of machine, user, paths or code belong to tick boxes; of these
systems' other tags none is ever shown, whatever a link names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.runs.filter_language import Condition, Group, Tree
from mlflow_weir.store.runs.run_columns import Column

MAX_KEYS = 5_000
MAX_KEY_CHARACTERS = 600
ANY = "*"
_MAX_WORDS = 300
NOT_SHOWN = "this link does not show that field"
HARDWARE_PREFIXES = ("system/",)
HISTOGRAM_PREFIXES = ("gradients/", "parameters/")
NOTE_TAG = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"
NAME_TAG = "mlflow.runName"
_SYSTEM_PREFIXES = ("mlflow.", "weir.")
_BOX_OF_TAG = {
    NOTE_TAG: "notes",
    "weir.exit_cause": "console",
    "weir.exit_traceback": "console",
    "weir.git.remote": "git_url",
    "weir.git.repositories": "code",
    "weir.git.commit": "code",
    "weir.git.branch": "code",
    "weir.git.dirty": "code",
    "weir.git.untracked": "code",
    "mlflow.source.git.commit": "code",
    "mlflow.source.git.branch": "code",
    "mlflow.source.git.repoURL": "git_url",
    "mlflow.gitRepoURL": "git_url",
    "mlflow.gitBranch": "code",
    "mlflow.source.name": "command",
    "mlflow.source.type": "command",
    "mlflow.project.entryPoint": "command",
    "mlflow.user": "host",
    "weir.host": "host",
    "weir.python": "code",
    "weir.redacted": "code",
    "weir.gpu": "hardware",
    "weir.hardware": "hardware",
    "weir.nan": "histograms",
    "mlflow.runColor": "",
}
"""Tags of the systems' own by the tick box that shows them; "" is shown always."""

_OPEN_ATTRIBUTES = frozenset({"run_id", "status", "start_time", "end_time", "duration"})


@dataclass(frozen=True)
class Shown:
    """What is shown; nothing by default.

    Attributes:
        metrics: Keys; ``*`` among them stands for all that are neither hardware's nor gradients'.
        params: Keys.
        tags: Keys of users' own tags.
        notes: What users wrote about a run.
        code: Commit, branch, names of untracked files, packages.
        patch: What differed from the commit.
        console: What a run printed, why it ended.
        command: Command line, script.
        host: User, machine, interpreter, operating system.
        git_url: Address of the repository.
        files: Artifacts, without those that were captured.
        hardware: Metrics of the machine.
        histograms: Of gradients and parameters, and their norms.
        media: Pictures, sound and films among the artifacts.
        names: Runs' names; otherwise they are numbered. Not a tick box of its own.
        is_everything: All, whatever it is: for whoever MLflow lets in.
    """

    metrics: frozenset[str] = field(default_factory=frozenset)
    params: frozenset[str] = field(default_factory=frozenset)
    tags: frozenset[str] = field(default_factory=frozenset)
    notes: bool = False
    code: bool = False
    patch: bool = False
    console: bool = False
    command: bool = False
    host: bool = False
    git_url: bool = False
    files: bool = False
    hardware: bool = False
    histograms: bool = False
    media: bool = False
    names: bool = True
    is_everything: bool = False

    def has_metric(self, key: str) -> bool:
        """Say whether a metric is shown, whether or not there is one of that name."""
        if self.is_everything or (key in self.metrics and key != ANY):
            return True
        if key.startswith(HARDWARE_PREFIXES):
            return self.hardware
        if key.startswith(HISTOGRAM_PREFIXES):
            return self.histograms
        return ANY in self.metrics

    def has_param(self, key: str) -> bool:
        """Say whether a param is shown."""
        return self.is_everything or key in self.params

    def has_tag(self, key: str) -> bool:
        """Say whether a tag is shown."""
        if self.is_everything:
            return True
        if key == NAME_TAG:
            return self.names
        box = _BOX_OF_TAG.get(key)
        if box is not None:
            return box == "" or bool(getattr(self, box))
        return not key.startswith(_SYSTEM_PREFIXES) and key in self.tags

    def has_attribute(self, name: str) -> bool:
        """Say whether an attribute of a run, by MLflow's name, is shown."""
        if self.is_everything or name in _OPEN_ATTRIBUTES:
            return True
        if name == "run_name":
            return self.names
        return name == "user_id" and self.host

    def has_field(self, kind: str, key: str) -> bool:
        """Say whether a column or the field of a condition is shown."""
        if kind == "metrics":
            return self.has_metric(key)
        if kind == "params":
            return self.has_param(key)
        if kind == "tags":
            return self.has_tag(key)
        return self.has_attribute(key) if kind == "attributes" else self.is_everything

    def require_columns(self, columns: Iterable[Column]) -> None:
        """Refuse columns that are not shown.

        Raises:
            ConfigError: One is not; what it says is the same whether or not any run has it.
        """
        if not all(self.has_field(column.kind, column.key) for column in columns):
            raise ConfigError(NOT_SHOWN)

    def require_tree(self, tree: Tree | None) -> None:
        """Refuse a filter that asks about what is not shown, as ``require_columns`` does."""
        if isinstance(tree, Condition) and not self.has_field(tree.kind, tree.key):
            raise ConfigError(NOT_SHOWN)
        if isinstance(tree, Group):
            for part in tree.parts:
                self.require_tree(part)

    def in_words(self) -> str:
        """Return the tick boxes by the words of ``--show``, cut where they are many."""
        keyed = (
            kind if key == ANY else f"{kind}.{key}"
            for kind in _LISTS
            for key in sorted(getattr(self, kind))
        )
        text = ", ".join([*keyed, *(box for box in BOXES if getattr(self, box))])
        return text if len(text) <= _MAX_WORDS else f"{text[: _MAX_WORDS - 1]}…"

    def as_json(self) -> dict[str, Any]:
        """Return the tick boxes, as ``read_shown`` takes them."""
        boxes: dict[str, Any] = {name: getattr(self, name) for name in BOXES}
        return boxes | {name: sorted(getattr(self, name)) for name in _LISTS}


_LISTS = ("metrics", "params", "tags")
BOXES = tuple(
    one.name for one in fields(Shown) if one.name not in {*_LISTS, "names", "is_everything"}
)
"""The tick boxes that are on or off, in the order in which they are shown."""

EVERYTHING = Shown(is_everything=True)


def read_shown(given: Mapping[str, Any], *, names: bool) -> Shown:
    """Return what tick boxes say.

    Args:
        given: As ``Shown.as_json`` gives it; what is left out is closed.
        names: Runs keep their names.

    Raises:
        ConfigError: A box that is unknown, or is neither open nor closed; lists that are none.
    """
    unknown = given.keys() - {*BOXES, *_LISTS}
    if unknown:
        raise ConfigError(f"shown: unknown field {min(unknown):.40}")
    found: dict[str, Any] = {}
    for name in _LISTS:
        keys = given.get(name) or []
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ConfigError(f"shown.{name}: expected a list of keys")
        if len(keys) > MAX_KEYS or any(len(key) > MAX_KEY_CHARACTERS for key in keys):
            raise ConfigError(f"shown.{name}: at most {MAX_KEYS:,} keys")
        found[name] = frozenset(keys)
    for name in BOXES:
        value = given.get(name, False)
        if not isinstance(value, bool):
            raise ConfigError(f"shown.{name}: expected true or false")
        found[name] = value
    return Shown(**found, names=names)
