"""The values of a Kubernetes secret's manifest, which have harmless names and are in base64."""

from __future__ import annotations

import re
from collections import Counter

from mlflow_weir.secret_names import MARK

_BEGINS = re.compile(rb"^(?P<lead>[+\- ]?[ \t]*)(?:data|stringData|encryptedData):[ \t\r]*$")
_ENTRY = re.compile(
    rb"^(?P<lead>[+\- ]?[ \t]+)[\"']?[\w.-]{1,250}[\"']?:[ \t]+[\"']?(?P<value>[^\s\"'#{}|>]{4,})"
)
_INLINE = re.compile(rb"([\"'](?:data|stringData)[\"']\s{0,4}:\s{0,4}\{)([^{}\r\n]{1,4000})(\})")
_INLINE_VALUE = re.compile(rb"(:\s{0,4}[\"'])([^\"'\r\n]{4,4000})([\"'])")


def redact(block: bytes, counts: Counter[str]) -> bytes:
    """Take the values below ``data:`` and ``stringData:`` out of a text that has a manifest."""

    def inline(match: re.Match[bytes]) -> bytes:
        values, n = _INLINE_VALUE.subn(rb"\1" + MARK + rb"\3", match[2])
        counts["Kubernetes secret"] += n
        return match[1] + values + match[3]

    lines = _INLINE.sub(inline, block).split(b"\n")
    depth: int | None = None
    for number, line in enumerate(lines):
        begins = _BEGINS.match(line)
        if begins is not None:
            depth = len(begins["lead"])
            continue
        entry = _ENTRY.match(line) if depth is not None else None
        if entry is None or depth is None or len(entry["lead"]) <= depth:
            if line.strip(b" +-\r\t"):
                depth = None
            continue
        start, end = entry.span("value")
        lines[number] = line[:start] + MARK + line[end:]
        counts["Kubernetes secret"] += 1
    return b"\n".join(lines)
