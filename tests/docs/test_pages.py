"""What the pages say exists: commands, options, make targets, links."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from mlflow_weir.plugin.cli import COMMANDS, main
from tree import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EACH_PAGE = pytest.mark.parametrize(
    "page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES]
)
CLI_PAGE = (ROOT / "docs" / "cli.md").read_text()
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands() -> dict[str, click.Command]:
    """Return every command by what one types after `weir`; groups by their members."""
    found: dict[str, click.Command] = {}
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": one for inner, one in command.commands.items()}
        else:
            found[name] = command
    return found


def section(name: str) -> str:
    """Return what docs/cli.md says about one command, its heading left out."""
    found = re.search(rf"^## `weir {name}\b[^`]*`\n(.*?)(?=^## |\Z)", CLI_PAGE, re.M | re.S)
    assert found is not None, f"docs/cli.md has no section on `weir {name}`"
    return found[1]


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_documented(name: str) -> None:
    text = section(name)
    for parameter in commands()[name].params:
        if isinstance(parameter, click.Option) and "--json" not in parameter.opts:
            for option in [*parameter.opts, *parameter.secondary_opts]:
                assert f"`{option}`" in text, option


def test_no_command_is_documented_that_does_not_exist() -> None:
    headings = re.findall(r"^## `weir ([a-z ]+?)(?: \[?[A-Z].*)?`$", CLI_PAGE, re.M)
    assert sorted(headings) == sorted(commands())


@EACH_PAGE
def test_weir_commands_on_the_pages_exist(page: Path) -> None:
    for code in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S):
        for words in re.findall(r"^weir ((?:[a-z]+ ?)+)", code, re.M):
            names = words.split()
            assert any(" ".join(names[:n]) in commands() for n in (1, 2)), words


@EACH_PAGE
def test_make_targets_on_the_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.M)
    assert set(named) <= targets


@EACH_PAGE
def test_links_resolve(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


@EACH_PAGE
def test_no_page_installs_from_an_index_what_is_not_there(page: Path) -> None:
    assert not re.search(r"pip install (-U )?mlflow-weir", page.read_text())


def test_the_readme_names_every_exception_from_stocks_answers() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    for words in ("extremes of a curve", "not whole are rounded", "-0.0", "matched exactly"):
        assert words in readme
    assert "docs/decisions/003-metric-history.md" in readme


@pytest.mark.parametrize("name", ["cli.md", "database.md"])
def test_the_pages_say_that_writers_wait_while_the_file_is_rebuilt(name: str) -> None:
    page = " ".join((ROOT / "docs" / name).read_text().split())
    assert re.search(r"On SQLite it ends with rebuilding the file, [a-z ]*writers wait", page)


def test_the_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme


def test_make_help_lists_every_phony_target_for_people() -> None:
    makefile = (ROOT / "Makefile").read_text()
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.M))
    assert {"demo", "test", "test-long", "check", "bench", "host-suite", "clean"} <= described


def test_every_picture_is_shown_described_and_small() -> None:
    shown: set[str] = set()
    for page in PAGES:
        for described, path in re.findall(r"!\[([^\]]*)\]\(([^)\s]+\.png)\)", page.read_text()):
            assert described, (page, path)
            shown.add(Path(path).stem)
    pictures = {one.stem: one.stat().st_size for one in (ROOT / "docs" / "images").glob("*.png")}
    assert shown <= pictures.keys(), shown - pictures.keys()
    # Of the other theme's there need not be a place.
    themes = re.compile("-(light|dark)$")
    of_no_use = {themes.sub("", one) for one in pictures} - {themes.sub("", one) for one in shown}
    assert of_no_use == set()
    assert sum(pictures.values()) < 6_000_000
    assert max(pictures.values()) < 300_000
