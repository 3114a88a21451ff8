"""1,000 harmless look-alikes of 50 kinds, 20 each: a capture must not alter any of them."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from corpora import generate, harmless_lines, planting
from corpora import values as make

Item = planting.Item
EACH = 20


def _group(rng: random.Random, mark: str) -> str:
    """The text for one mark of harmless_lines, such as @sha256@ or @int@."""
    if mark in harmless_lines.CHOICES:
        return rng.choice(harmless_lines.CHOICES[mark])
    hexes = {"hex6": 6, "hex8": 8, "hex16": 16, "sha1": 40, "md5": 32, "sha256": 64, "sha512": 128}
    if mark in hexes:
        return make.pick(rng, make.HEX, hexes[mark])
    if mark == "uuid":
        digits = make.pick(rng, make.HEX, 30)
        variant = rng.choice("89ab")
        return "-".join(
            [digits[:8], digits[8:12], "4" + digits[12:15], variant + digits[15:18], digits[18:]]
        )
    if mark == "png":
        head = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000200000002008060000007370a3be")
        return make.b64(head + rng.randbytes(rng.choice([60, 120, 240])))
    if mark == "jpeg":
        head = bytes.fromhex("ffd8ffe000104a46494600010101006000600000ffdb0043000302020302")
        return make.b64(head + rng.randbytes(150))
    if mark == "sri":
        return "sha512-" + make.b64(rng.randbytes(64))
    if mark == "fingerprint":
        return "SHA256:" + make.b64(rng.randbytes(32)).rstrip("=")
    if mark == "sshpub":
        head = bytes.fromhex("0000000b7373682d6564323535313900000020")
        return "ssh-ed25519 " + make.b64(head + rng.randbytes(32))
    if mark == "cert":
        body = make.b64(bytes.fromhex("308201a230820149a003020102021400") + rng.randbytes(260))
        rows = [body[i : i + 64] for i in range(0, len(body), 64)]
        edges = [f"-----{edge} CERTIFICATE-----" for edge in ("BEGIN", "END")]
        return "\n".join([edges[0], *rows, edges[1]])
    if mark == "dna":
        return make.pick(rng, "ACGT", rng.choice([40, 64, 90]))
    if mark == "protein":
        size = rng.choice([44, 70])
        return "M" + "".join(rng.choice("ACDEFGHIKLMNPQRSTVWY") for _ in range(size))
    if mark == "run8":
        return make.pick(rng, make.BASE36, 8)
    if mark == "floats":
        return ", ".join(f"{rng.random():.4f}" for _ in range(rng.randint(4, 8)))
    if mark == "float":
        return f"{rng.random():.4f}"
    if mark == "stamp":
        day, hour = rng.randint(10, 28), rng.randint(10, 23)
        return f"2026-11-{day}T{hour}:{rng.randint(10, 59)}:{rng.randint(10, 59)}Z"
    if mark == "big":
        return str(rng.randint(10**9, 10**12))
    if mark == "int":
        return str(rng.randint(2, 9999))
    raise KeyError(mark)


def expand(rng: random.Random, line: str) -> str:
    """Replace a line's marks, each by a fresh draw."""
    return re.sub(r"@([a-z]+[0-9]*)@", lambda m: _group(rng, m[1]), line)


def _item(rng: random.Random, where: str, file: str, text: str) -> Item:
    body: Any = text
    if where == "patch":
        body = planting.patched(rng, file, text)
        del body["mode"]
    elif where == "argv":
        body = text.split()
    elif where == "environment":
        body = planting.environment(rng, text)
    elif where == "console":
        body = planting.console(rng, text)
    elif rng.random() < 0.6:
        extra = rng.choice(["import torch", "%matplotlib inline", "model.eval()", "x = step + 1"])
        body = f"{extra}\n{text}\n# cell {rng.randint(1, 60)}"
    return {"where": where, "text": body}


def _kind(rng: random.Random, file: str, places: str, lines: list[str]) -> list[Item]:
    """Twenty items: every line at least once if it can be, no text twice."""
    names = {where[0]: where for where in generate.WHERES}
    found: dict[str, Item] = {}
    number = 0
    while len(found) < EACH:
        line = lines[number % len(lines)]
        where = places[(number + number // len(lines)) % len(places)]
        if line[1:2] == "|":
            where, line = line[0], line[2:]
        if where == "e" and not re.match(r"\w+=", line):
            where = "p"
        item = _item(rng, names[where], file, expand(rng, line))
        found.setdefault(json.dumps(item["text"], sort_keys=True), item)
        number += 1
    return list(found.values())


def items(seed: int = generate.SEED) -> list[Item]:
    """The 1,000 look-alikes.

    Args:
        seed: One seed gives one corpus.

    Returns:
        Dictionaries of id, kind, where and text (no secret), as README.md describes them.
    """
    return [
        {"id": f"{kind}-{number:03}", "kind": kind, **item}
        for kind, spec in harmless_lines.KINDS.items()
        for number, item in enumerate(_kind(random.Random(f"{seed}:{kind}"), *spec), 1)
    ]
