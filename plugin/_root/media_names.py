"""What the path of an artifact says of a picture, a sound or a film: which series, which step.

``mlflow.log_image(key=…, step=…)`` writes two files, the full one and a smaller one to look at:

    images/KEY+step+STEP+timestamp+MS+UUID.png               "/" in the key is written "~"
    images/KEY+step+STEP+timestamp+MS+UUID+compressed.webp   ("%" and "#" before MLflow 3)

For all else, ``log_figure(figure, "confusion_step_000100.png")`` and files of any folder, a step
is a number behind one of the words ``step``, ``global_step``, ``iteration``, ``iter`` and
``epoch``, in a folder's name or in the file's (``samples/step_100/cat.png``,
``epoch=3-step=100.wav``), or a number of four digits and more at the very end
(``sample_000100.png``). What is left of the path without the step is the series.
"""

from __future__ import annotations

import re
from typing import NamedTuple

KINDS = {
    "image": ("png", "jpg", "jpeg", "gif", "webp", "bmp", "svg", "avif"),
    "audio": ("wav", "mp3", "ogg", "oga", "opus", "flac", "m4a"),
    "video": ("mp4", "webm", "mov", "m4v", "ogv"),
    "figure": ("html",),
}
"""The ends of names of each kind; a figure is a page that a plot library made."""

_KIND_OF = {end: kind for kind, ends in KINDS.items() for end in ends}
_LOGGED = re.compile(
    r"images/(?P<key>[^/]+?)(?P<mark>[+%])step(?P=mark)(?P<step>-?\d{1,15})"
    r"(?P=mark)timestamp(?P=mark)(?P<timestamp>\d{1,15})(?P=mark)(?P<id>[0-9a-fA-F-]{36})"
    r"(?P<small>(?P=mark)compressed)?\.(?P<end>png|webp)"
)
_SPACE = r"[ _.=+-]"
_WORDED = re.compile(
    rf"(?i)(?:(?<=/)|^|{_SPACE}+)(global_step|step|iteration|iter|epoch){_SPACE}{{0,3}}"
    rf"(\d{{1,15}})(?=/|$|{_SPACE})"
)
_WORDS = ("step", "iteration", "epoch")  # what counts where a name has several
_AT_END = re.compile(rf"(?:(?<=/)|^|{_SPACE}+)(\d{{4,15}})$")


class MediaName(NamedTuple):
    """A file that can be looked at or listened to.

    Attributes:
        key: The series that it is of; its files differ in their step.
        kind: ``image``, ``audio``, ``video`` or ``figure``.
        step: None where the name has none.
        timestamp_ms: When it was logged, on the wall clock; None where the name does not say.
        original: Path of the full file; another than its own where this is the smaller one.
    """

    key: str
    kind: str
    step: int | None
    timestamp_ms: int | None
    original: str


def read_media_name(path: str) -> MediaName | None:
    """Return what an artifact's path says of it; None where it is nothing to look at.

    >>> read_media_name("figures/confusion_step_000100.png")[:3]
    ('figures/confusion', 'image', 100)

    Args:
        path: Below the run's artifact root, with ``/``.
    """
    stem, dot, end = path.rpartition(".")
    kind = _KIND_OF.get(end.lower())
    if kind is None or not dot or not stem.rpartition("/")[2]:
        return None
    logged = _LOGGED.fullmatch(path)
    if logged is not None:
        mark = logged["mark"]
        older = "#" if mark == "%" else "~"
        key = logged["key"].replace("~", "/").replace(older, "/")
        full = f"{path.removesuffix(f'{mark}compressed.{end}')}.png" if logged["small"] else path
        return MediaName(key, kind, int(logged["step"]), int(logged["timestamp"]), full)
    key, step = _without_step(stem)
    return MediaName(key or kind, kind, step, None, path)


def _without_step(stem: str) -> tuple[str, int | None]:
    found: dict[str, int] = {}

    def note(match: re.Match[str]) -> str:
        word = match[1].lower().removeprefix("global_")
        found["iteration" if word == "iter" else word] = int(match[2])
        return ""

    rest = _WORDED.sub(note, stem)
    for word in _WORDS:
        if word in found:
            return _tidy(rest), found[word]
    at_end = _AT_END.search(stem)
    if at_end is not None:
        return _tidy(stem[: at_end.start()]), int(at_end[1])
    return stem, None


def _tidy(rest: str) -> str:
    parts = (part.strip(" _.=+-") for part in rest.split("/"))
    return "/".join(part for part in parts if part)
