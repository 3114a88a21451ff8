"""What a server's settings say of retention and archive: the words of the commands."""

from __future__ import annotations

import click
import pytest

from mlflow_weir.plugin.cli.db_archive import archive
from mlflow_weir.plugin.cli.db_retain import retain
from mlflow_weir.policy_words import ArchiveWords, archive_words, retention_policies

DAY_MS = 86_400_000
# What a command says, shows or needs once is no policy.
NO_POLICY = {"--apply", "--count-artifacts", "--back", "--dry-run", "--json"}
VALUES = {"--older-than": "90d", "--status": "failed", "--tag": "kind=sweep"}


def options(command: click.Command) -> list[str]:
    """Return an option of each kind that a command has, with a value where it takes one."""
    found = []
    for one in command.params:
        if isinstance(one, click.Option) and not NO_POLICY & set(one.opts):
            (name,) = one.opts
            found.append(name if one.is_flag else f"{name} {VALUES.get(name, 'some')}")
    return found


def test_every_option_of_a_command_that_is_a_policy_is_one_of_the_setting() -> None:
    (words,) = retention_policies(" ".join(options(retain)))
    assert words[1:] == (
        *(90 * DAY_MS, ("FAILED",), (("kind", "sweep"),), ("some",)),
        *(True, True),
    )
    assert archive_words(" ".join(options(archive))) == ArchiveWords(90 * DAY_MS, "some")


def test_policies_stand_one_a_line_and_are_quoted_as_for_a_shell() -> None:
    text = "\n--older-than 1.5h --tag 'to go' --tag a=b=c\n  --older-than 30m --experiment 'a b'\n"
    first, second = retention_policies(text)
    assert first.text == "--older-than 1.5h --tag 'to go' --tag a=b=c"
    assert (first.older_than_ms, first.tags) == (5_400_000, (("to go", None), ("a", "b=c")))
    assert (second.older_than_ms, second.experiments) == (1_800_000, ("a b",))
    assert (first.statuses, first.mark_only, first.with_models) == ((), False, False)
    assert archive_words("--older-than 7d") == ArchiveWords(7 * DAY_MS, "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("--status FAILED", "--older-than"),  # of any age: as soon as it has failed
        ("--older-than 90", "'90' is no age"),
        ("--older-than 90d --apply", "--apply"),
        ("--older 90d", "--older"),
        ("--older-than 90d --status GONE", "GONE"),
        ("--older-than 90d --tag =x", "'=x' is no tag"),
        ("--older-than 90d runs", "runs"),
        ("--older-than '90d", "quotation"),
    ],
)
def test_what_the_command_does_not_know_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        retention_policies(f"--older-than 1d\n{text}")


@pytest.mark.parametrize("text", ["--to s3://bucket/x", "--older-than 3d --back", "now"])
def test_what_archive_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"required|unrecognized"):
        archive_words(text)
