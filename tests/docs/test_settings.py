"""Settings are documented, and read in one module."""

from __future__ import annotations

import ast
import re

import pytest

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from tree import ROOT, Module, modules

PAGE = (ROOT / "docs" / "configuration.md").read_text()
ROWS = dict(re.findall(r"^\| `(WEIR_\w+)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE))
MODULES = [module for module in modules() if module.name != "mlflow_weir.settings"]


def defined() -> dict[str, settings.Setting[object]]:
    found = [value for value in vars(settings).values() if isinstance(value, settings.Setting)]
    return {setting.name: setting for setting in found}


def test_the_page_lists_the_settings_with_their_meaning() -> None:
    assert {name: text.strip() for name, text in ROWS.items()} == {
        name: setting.meaning for name, setting in defined().items()
    }


def test_all_holds_every_setting_by_name() -> None:
    names = [setting.name for setting in settings.ALL]
    assert names == sorted(defined())


@pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])
def test_no_other_module_reads_the_environment(module: Module) -> None:
    names = {"environ", "environb", "getenv", "putenv", "unsetenv"}
    for node in ast.walk(ast.parse(module.path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert not (node.value.id == "os" and node.attr in names), f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert names.isdisjoint(alias.name for alias in node.names), f"line {node.lineno}"


@pytest.mark.parametrize("name", sorted(defined()))
def test_a_value_that_cannot_work_is_refused_by_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = defined()[name]
    if setting.parse is str:
        return
    monkeypatch.setenv(name, "neither(")
    with pytest.raises(ConfigError, match=re.escape(f"{name}='neither('")):
        setting.get()


@pytest.mark.parametrize("name", sorted(defined()))
def test_an_empty_variable_is_an_unset_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    assert defined()[name].get() == defined()[name].default
