"""The console's screen: however text arrives, the same lines come of it."""

from __future__ import annotations

import random

import pytest

from mlflow_weir.plugin.capture.console.screen import Screen
from mlflow_weir.store.console.lines import without_styles

COLOURS = ["abc", "hello world", "\n", "\n", "\x1b[31m", "\x1b[0m", "\x1b[1;32m", "\x1b[m", "\t"]
MOVES = ["\r", "\x1b[A", "\x1b[K", "\x1b]0;title\x07", "\x1b[2C", "\x1b[2K", "\b"]


def shown(text: str, cuts: list[int]) -> dict[int, str]:
    screen = Screen()
    found: dict[int, str] = {}
    for first, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        screen.feed(text[first:end])
        found.update((n, line) for n, line, _ in screen.take())
    screen.new_page()
    found.update((n, line) for n, line, _ in screen.take(is_last=True))
    return found


@pytest.mark.parametrize("words", [COLOURS, COLOURS + MOVES], ids=["colours", "moves"])
def test_lines_are_the_same_however_the_text_is_cut(words: list[str]) -> None:
    for seed in range(300):
        chosen = random.Random(seed)
        text = "".join(chosen.choice(words) for _ in range(chosen.randint(1, 400)))
        whole = shown(text, [])
        cuts = sorted(chosen.sample(range(len(text)), min(5, len(text))))
        for pieces in (shown(text, cuts), shown(text, list(range(1, len(text))))):
            plain = {n: without_styles(line) for n, line in pieces.items()}
            assert plain == {n: without_styles(line) for n, line in whole.items()}, (seed, text)
            if words is COLOURS:
                assert pieces == whole, (seed, text)


def test_a_colour_lasts_into_what_is_written_over() -> None:
    assert shown("\x1b[31mone\x1b[0m\n\x1b[32mtwo\rT", []) == {
        0: "\x1b[31mone\x1b[0m",
        1: "\x1b[32mTwo\x1b[0m",
    }


def test_a_line_that_is_cut_is_not_cut_within_a_colour() -> None:
    line = "x" * 16_382 + "\x1b[31m" + "y" * 10 + "\n"
    for text in (line, line * 100):
        first = shown(text, [])[0]
        assert first.startswith("x" * 16_382 + " [weir: ")
