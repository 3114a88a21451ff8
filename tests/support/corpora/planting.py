"""Plants drawn credentials in the templates of contexts.py."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from corpora import contexts

Item = dict[str, Any]
Drawn = tuple[str, str, list[str]]
Draw = Callable[[random.Random], Drawn]
PLAN = {"patch": 15, "argv": 6, "console": 9, "environment": 5, "notebook": 5}


def simple(draw: Callable[[random.Random], str], *names: str) -> Draw:
    """A drawer whose value is the secret itself, under one of some names."""

    def inner(rng: random.Random) -> Drawn:
        value = draw(rng)
        return value, rng.choice(names), [value]

    return inner


def flat(template: Any) -> str:
    """A template as one text, whether a string or a list of words."""
    return template if isinstance(template, str) else "\n".join(template)


def pool(where: str) -> list[tuple[str, Any]]:
    """The common templates of a place, each with its file or language ("" outside patches)."""
    if where != "patch":
        return [("", template) for template in getattr(contexts, where.upper())]
    by_file: dict[str, list[str]] = {"py": contexts.PY, "yaml": contexts.YAML}
    by_file |= {"json": contexts.JSON, "sh": contexts.SH, **contexts.OTHER}
    return [(file, template) for file, templates in by_file.items() for template in templates]


def environment(rng: random.Random, line: str) -> str:
    """Put a NAME=value line among ordinary ones."""
    lines = [
        "CUDA_VISIBLE_DEVICES=0,1",
        "HOME=/home/trainer",
        "NCCL_DEBUG=WARN",
        f"SLURM_JOB_ID={rng.randint(10**5, 10**7)}",
        "LANG=C.UTF-8",
    ]
    lines = [other for other in lines if other.split("=")[0] != line.split("=")[0]]
    lines = rng.sample(lines, rng.randint(1, 4))
    lines.insert(rng.randint(0, len(lines)), line)
    return "\n".join(lines)


def console(rng: random.Random, text: str) -> str:
    """Put console output between two ordinary lines, every other time."""
    around = [f"step {rng.randint(1, 9999)} loss {rng.random():.4f}", "loading data ...", "done"]
    before, after = rng.sample(around, 2)
    return "\n".join([before, text, after]) if rng.random() < 0.5 else text


def patched(rng: random.Random, file: str, slot: str, other: str | None = None) -> Item:
    """A patch around a slot, its mode drawn; file may name a language instead.

    Args:
        rng: The source of randomness.
        file: A path, or a key of contexts.FILES.
        slot: The planted lines.
        other: The lines that a rotation puts in place of the slot, if it may be rotated.

    Returns:
        The patch, with "mode" to tell what was drawn.
    """
    file = rng.choice(contexts.FILES[file]) if file in contexts.FILES else file
    mode = rng.choice(contexts.MODES)
    if mode == "context" and "private_key_id" in slot and slot.count("\n") > 6:
        mode = "remove"  # the three lines of context would not reach the key
    if mode == "rotate" and other is None:
        mode = "add"
    if mode == "header" and ("\n" in slot or len(slot) > 78 or not slot[:1].isalpha()):
        mode = "remove"
    return {**contexts.patch(rng, file, slot, mode, other or ""), "mode": mode}


def place(
    rng: random.Random, where: str, file: str, template: Any, drawn: Drawn, spare: Drawn
) -> Item:
    """Plant a drawn value and list the forms that must not survive.

    Args:
        rng: The source of randomness.
        where: patch, argv, console, environment or notebook.
        file: For a patch, the file or language.
        template: The template, a string or a list of words.
        drawn: The value, its name and its secrets.
        spare: A second one, for a line whose secret is rotated.

    Returns:
        An item without id and kind.
    """
    value, name, secrets = drawn
    found = contexts.secrets_of(flat(template), value, secrets)
    if where == "argv":
        text: Any = [contexts.fill(word, value, name) for word in template]
        return {"secret": found, "where": where, "text": text}
    text = contexts.fill(template, value, name)
    if where == "patch":
        text = patched(rng, file, text, contexts.fill(template, spare[0], name))
        if text.pop("mode") == "rotate":
            found += contexts.secrets_of(flat(template), spare[0], spare[2])
    elif where == "environment":
        text = environment(rng, text)
    elif where == "console":
        text = console(rng, text)
    return {"secret": found, "where": where, "text": text}


def token_items(
    rng: random.Random,
    draw: Draw,
    *,
    named: bool = False,
    bearer: bool = True,
    whole: bool = False,
    plan: dict[str, int] | None = None,
    extra: dict[str, list[Any]] | None = None,
) -> list[Item]:
    """Plant drawn values, using each template of a place once before any twice.

    Args:
        rng: The source of randomness.
        draw: Gives a value, its name in UPPER_SNAKE and the secrets inside the value.
        named: See contexts.fits.
        bearer: See contexts.fits.
        whole: See contexts.fits.
        plan: How many items for each place; PLAN if None.
        extra: This kind's own templates, used first; for patches pairs (file, template).

    Returns:
        The items, without id and kind.
    """
    items: list[Item] = []
    for where, count in (plan or PLAN).items():
        own = (extra or {}).get(where, [])
        queue: list[tuple[str, Any]] = [t if where == "patch" else ("", t) for t in own]
        first = len(queue)
        for number in range(count):
            drawn, spare = draw(rng), draw(rng)
            short = min(drawn[0], spare[0], key=len)
            if number == first:
                queue = rng.sample(pool(where), len(pool(where)))
            fitting = [
                pair
                for pair in queue
                if number < first or contexts.fits(flat(pair[1]), short, named, bearer, whole)
            ]
            if not fitting:
                queue = rng.sample(pool(where), len(pool(where)))
                fitting = [
                    p for p in queue if contexts.fits(flat(p[1]), short, named, bearer, whole)
                ]
            queue.remove(fitting[0])
            items.append(place(rng, where, *fitting[0], drawn, spare))
    return items
