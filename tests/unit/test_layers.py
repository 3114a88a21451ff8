"""Imports point one way; read from the syntax trees, so that lazy ones count too."""

from __future__ import annotations

import sys

import pytest

from tree import Import, Module, imports, modules

MODULES = modules()
ALL = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])

# Loaded by MLflow in every `import mlflow`, while it is itself half imported.
LOADED_BY_MLFLOW = {
    "mlflow_weir",
    "mlflow_weir.plugin",
    "mlflow_weir.plugin.artifact_spool",
    "mlflow_weir.plugin.entry_points",
}


def starting_with(module: Module, *prefixes: str) -> list[Import]:
    return [
        found
        for found in imports(module.path)
        if any(found.target == p or found.target.startswith(f"{p}.") for p in prefixes)
    ]


def layer_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FORBIDDEN else "root"


FORBIDDEN = {
    "root": ("mlflow_weir.plugin", "mlflow_weir.store", "mlflow_weir.ui_extensions", "mlflow"),
    "store": ("mlflow_weir.plugin", "mlflow_weir.ui_extensions"),
    "ui_extensions": ("mlflow_weir.plugin",),
    "plugin": (),
}


def test_the_tree_was_found() -> None:
    names = {module.name for module in MODULES}
    assert {"mlflow_weir.settings", "mlflow_weir.store", "mlflow_weir.plugin.cli"} <= names


@ALL
def test_imports_point_from_plugin_and_ui_to_store_to_root(module: Module) -> None:
    assert starting_with(module, *FORBIDDEN[layer_of(module.name)]) == []


@ALL
def test_only_commands_reach_ui_extensions_and_lazily(module: Module) -> None:
    if layer_of(module.name) != "plugin":
        return
    found = starting_with(module, "mlflow_weir.ui_extensions")
    if module.name.startswith("mlflow_weir.plugin.cli.") or module.name.endswith(".entry_points"):
        found = [one for one in found if not one.lazy]
    assert found == []


@ALL
def test_every_module_has_one_name(module: Module) -> None:
    """The folder's own name, or a relative one, would import a module a second time."""
    assert (
        starting_with(module, "plugin", "store", "ui_extensions", "mlflow_weir.plugin._root") == []
    )
    assert [one for one in imports(module.path) if one.target.startswith(".")] == []


@pytest.mark.parametrize("name", sorted(LOADED_BY_MLFLOW))
def test_what_mlflow_loads_imports_the_standard_library_alone(name: str) -> None:
    (module,) = [module for module in MODULES if module.name == name]
    at_once = [one for one in imports(module.path) if not one.lazy]
    assert [
        one for one in at_once if one.target.split(".")[0] not in sys.stdlib_module_names
    ] == []


@ALL
def test_the_store_never_uses_the_fluent_api(module: Module) -> None:
    if layer_of(module.name) != "store":
        return
    found = [one for one in starting_with(module, "mlflow") if one.target == "mlflow"]
    assert found + starting_with(module, "mlflow.tracking") == []


@ALL
def test_private_names_of_mlflow_live_in_marked_modules(module: Module) -> None:
    if module.name.endswith((".mlflow_private", ".plugin.mlflow_lookups")):
        return
    private = [
        one
        for one in starting_with(module, "mlflow")
        if any(part.startswith("_") for part in one.target.split("."))
    ]
    assert private == []


@ALL
def test_modules_are_short_and_say_what_they_are(module: Module) -> None:
    text = module.path.read_text()
    assert text.startswith('"""'), "a module docstring comes first"
    assert text.count("\n") <= 600
