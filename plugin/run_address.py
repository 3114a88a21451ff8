"""Where a run can be looked at, said once at its start: a line on stderr, a card in a notebook.

A notebook is told by its kernel: the shell of IPython that has one. IPython is not imported where
nobody has. The card takes the notebook's own colours, and whatever a run, an experiment or a store
is called is text in it.
"""

from __future__ import annotations

import html
import importlib
import shlex
import sys
from typing import Any, NamedTuple, cast
from urllib.parse import quote

from mlflow_weir.guard import never_raises
from mlflow_weir.plugin import mlflow_private

_PENDING = ("weir-pending:", "pending-")
_DEFAULT_WORKSPACE = "default"
_CARD = (
    '<div style="display:inline-block;max-width:100%;box-sizing:border-box;margin:2px 0;'
    "padding:6px 12px;border:1px solid rgba(128,128,128,0.5);border-radius:6px;line-height:1.6;"
    'overflow-wrap:anywhere;color:inherit">{}</div>'
)


class Address(NamedTuple):
    """Where to look.

    Attributes:
        link: An address for a browser; "" where there is none yet or at all.
        words: What to do where there is no link.
        command: What to type, the last of ``words``; "" where there is nothing to type.
    """

    link: str
    words: str
    command: str = ""


def address_of(info: Any, target_uri: str, experiment_name: str, workspace: str | None) -> Address:
    """Find out where a run can be looked at.

    Args:
        info: Its ``RunInfo``.
        target_uri: Of its store, without secrets.
        experiment_name: "" where it is not known.
        workspace: The active one; None where there are none.
    """
    if not target_uri.startswith(("http://", "https://")):
        is_file = target_uri.startswith("sqlite:")
        uri = f"sqlite+weir:{target_uri.removeprefix('sqlite:')}" if is_file else ""
        return Address("", "see it with", f"weir ui {shlex.quote(uri)}" if uri else "weir ui")
    experiment_id = str(info.experiment_id)
    if experiment_id.startswith(_PENDING) or str(info.artifact_uri).startswith(_PENDING):
        # The server gives the experiment its number, and a stock one the run.
        where = f"experiment {experiment_name}" if experiment_name else "its experiment"
        return Address("", f"it will be in {where} once the server has been reached")
    link = f"{target_uri}/#/experiments/{quote(experiment_id)}/runs/{quote(info.run_id)}"
    if workspace and workspace != _DEFAULT_WORKSPACE:
        link += f"?workspace={quote(workspace, safe='')}"
    return Address(link, "see it at")


@never_raises(cast("str | None", None))
def say(info: Any, target_uri: str, experiment_name: str, *, is_first: bool) -> str | None:
    """Show a card, or return the line to print; None where there is nothing to print.

    Args:
        info: Of a run that ``mlflow.start_run`` has just begun.
        target_uri: Of its store, without secrets.
        experiment_name: "" where it is not known.
        is_first: It is the process's first run, the only one that a terminal is told about.
    """
    address = address_of(info, target_uri, experiment_name, mlflow_private.active_workspace())
    line = _line(info, target_uri, address)
    if _show(_card(info, target_uri, address), line):
        return None
    return line if is_first else None


def _line(info: Any, target_uri: str, address: Address) -> str:
    end = address.link or address.command
    text = f"weir: run {info.run_name} ({info.run_id}) in {target_uri}; {address.words} {end}"
    return "".join(
        one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text
    ).strip()


def _card(info: Any, target_uri: str, address: Address) -> str:
    text = html.escape
    if address.link:
        how = (
            f'<a href="{text(address.link)}" target="_blank" rel="noopener noreferrer">'
            "Open the run</a>"
        )
    elif address.command:
        how = f"{text(address.words.capitalize())} <code>{text(address.command)}</code>"
    else:
        how = text(address.words.capitalize())
    return _CARD.format(
        f"<div><b>{text(str(info.run_name))}</b> <code>{text(info.run_id)}</code></div>"
        f"<div>in {text(target_uri)}</div><div>{how}</div>"
    )


@never_raises(False)
def _show(card: str, line: str) -> bool:
    """Show a card where this is a notebook; say whether it is."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return False
    display = importlib.import_module("IPython.display").display
    display({"text/html": card, "text/plain": line}, raw=True)
    return True
