"""What a terminal would show of a stream of text: lines, of which the last few may still change.

Progress bars go back and write over themselves. So the last ``ROWS`` lines can be reached by
carriage returns, cursor movements and erasing, and are told again when they changed; what has
scrolled out stays as it is. Colours (SGR) are kept, every other control is obeyed or dropped.

Lines that are only appended to, nearly all, are strings; one becomes a list of cells when
something moves back in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

ROWS, COLUMNS = 32, 4096
MAX_LINE_CHARACTERS = 16_384
"""Most that is kept of a line; how much more there was is said at its end."""

_SPECIAL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
_TOKEN = re.compile(
    "\x1b\\[([0-9:;<=>?]*)[ -/]*([@-~])"  # CSI
    "|\x1b[\\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\\\)"  # OSC, DCS: titles and the like
    "|\x1b[ -/]*[0-~]"
    "|[\x00-\x1f\x7f-\x9f]"
    "|[^\x00-\x1f\x7f-\x9f]+"
)
_UNFINISHED = re.compile(
    "\x1b(?:\\[[0-9:;<=>?]*[ -/]*|[\\]PX^_][^\x07\x1b]{0,4096}\x1b?|[ -/]*)\\Z"
)
_STYLE = re.compile("\x1b\\[[0-9;:]*m")
_HALF_COLOUR = re.compile("\x1b(?:\\[[0-9;:]{0,64})?\\Z")
_HALF_STYLE = re.compile("\x1b[^m]*\\Z")  # what a cut may leave of one
_RESET = "\x1b[0m"


class Row:
    """One line: what was appended, or its cells once something was written over."""

    __slots__ = ("cells", "is_complete", "is_rewritten", "n_more", "parts", "size", "width")

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0  # characters in parts, colours included …
        self.width = 0  # … and what was appended without them
        self.n_more = 0  # characters that were too many
        self.cells: list[tuple[str, str]] | None = None  # style, character
        self.is_complete = self.is_rewritten = False

    def append(self, text: str, width: int) -> None:
        """Add text at the end of a line without cells; it takes so many columns."""
        self.width += width
        room = MAX_LINE_CHARACTERS - self.size
        if len(text) > room:
            self.n_more += len(text) - room
            text = _HALF_STYLE.sub("", text[:room])
        if text:
            self.parts.append(text)
            self.size += len(text)

    def to_cells(self) -> list[tuple[str, str]]:
        """Return the cells, made from the text if need be."""
        if self.cells is None:
            cells: list[tuple[str, str]] = []
            self.cells = cells
            style = ""
            for part in re.split("(\x1b\\[[0-9;:]*m)", "".join(self.parts)):
                if part.startswith("\x1b["):
                    style = restyled(style, part)
                else:
                    cells.extend((style, one) for one in part)
            del cells[COLUMNS:]
            self.parts = []
        return self.cells

    def text(self) -> str:
        """Return the line with its colours, and a word about what was too long."""
        if self.cells is not None:
            found, style = [], ""
            for its, one in self.cells:
                if its != style:
                    found.append((_RESET if style else "") + its)
                    style = its
                found.append(one)
            said = "".join(found).rstrip(" ") + (_RESET if style else "")
        else:
            said = "".join(self.parts)
        return f"{said} [weir: {self.n_more:,} characters more]" if self.n_more else said


def restyled(style: str, sgr: str) -> str:
    """Return the style that is in force after another SGR sequence; "" is the plain one."""
    codes = sgr[2:-1]
    if codes in ("", "0", "00"):
        return ""
    if codes.startswith(("0;", "00;")):
        return sgr
    return (style + sgr)[-128:]


def _style_after(style: str, text: str) -> str:
    """Return the style that is in force after a text with colours and no other control."""
    for sgr in _STYLE.findall(text, max(text.rfind(_RESET), 0)):
        style = restyled(style, sgr)
    return style


def _bounded(text: str) -> str:
    """Return a line as it is kept."""
    if len(text) <= MAX_LINE_CHARACTERS:
        return text
    n_more = len(text) - MAX_LINE_CHARACTERS
    kept = _HALF_STYLE.sub("", text[:MAX_LINE_CHARACTERS])
    return f"{kept} [weir: {n_more:,} characters more]"


class Screen:
    """A terminal that prints, with the numbers of its lines.

    Attributes:
        top: Number of the first line that can still change.
        dirty: Numbers of lines that are new or have changed since they were taken, in order of
            change.
    """

    def __init__(self) -> None:
        self.top = 0
        self.rows = [Row()]
        self.dirty: dict[int, None] = {}
        self._row = self._column = 0
        self._style = ""
        self._rest = ""
        self._left: dict[int, Row | str] = {}  # scrolled out and not taken yet

    @property
    def end(self) -> int:
        """The number after the last line; one that nothing was written to is none."""
        last = self.rows[-1]
        is_empty = not (last.size or last.cells or last.is_complete)
        return self.top + len(self.rows) - (1 if is_empty else 0)

    @property
    def cursor(self) -> int:
        """The number of the line that is written to next."""
        return self.top + self._row

    @property
    def n_scrolled(self) -> int:
        """How many lines have scrolled out since they were last taken."""
        return len(self._left)

    def feed(self, text: str) -> None:
        """Print text."""
        if self._rest:
            text, self._rest = self._rest + text, ""
        half = _HALF_COLOUR.match(text, max(text.rfind("\x1b"), 0))
        if half is not None:
            text, self._rest = text[: half.start()], half[0]
        if "\r\n" in text:
            text = text.replace("\r\n", "\n")
        last = self.rows[-1]
        is_at_end = self._row == len(self.rows) - 1 and self._column == last.width
        if not is_at_end or last.cells is not None:
            self._interpret(text)
        elif not _SPECIAL.search(text):
            self._append(text)
        elif not _SPECIAL.search(plain := _STYLE.sub("", text)):  # colours are all that there is
            self._append(text, plain)
            self._style = _style_after(self._style, text)
        else:
            self._interpret(text)

    def new_page(self) -> None:
        """Let all that was printed stay as it is, and go on with a line of its own."""
        self._rest, self._style = "", ""
        if self.end > self.top:
            self._row = len(self.rows) - 1
            last = self.rows[-1]
            if last.size or last.cells:
                self._new_line()
        while len(self.rows) > 1:
            self._scroll()
        self._row = self._column = 0

    def take(self, *, is_last: bool = False) -> Iterator[tuple[int, str, bool]]:
        """Give number, text and whether it is the line's first time; nothing is dirty after.

        A line that has not ended and was never written over is kept back, so that half a secret is
        not taken for a harmless word.

        Args:
            is_last: Nothing more is printed: what is kept back is given too.
        """
        kept_back = []
        for n in sorted(self.dirty):
            row = self._left.get(n)
            if isinstance(row, str):
                yield n, row, True
                continue
            row = row or self.rows[n - self.top]
            if not (row.is_complete or row.is_rewritten or is_last):
                kept_back.append(n)
                continue
            yield n, row.text(), row.is_complete
        self.dirty = dict.fromkeys(kept_back)
        self._left.clear()

    def _append(self, text: str, plain: str | None = None) -> None:
        first, *others = text.split("\n")
        width, *widths = map(len, (text if plain is None else plain).split("\n"))
        if first:
            self._append_to_last(first, width)
        if len(others) > 2 * ROWS:
            others, widths = self._append_many(others, widths)
        for one, width in zip(others, widths, strict=True):
            self._new_line()
            if one:
                self._append_to_last(one, width)

    def _append_to_last(self, text: str, width: int) -> None:
        self.rows[-1].append(text, width)
        self._column += width
        self.dirty[self.top + self._row] = None

    def _append_many(self, texts: list[str], widths: list[int]) -> tuple[list[str], list[int]]:
        """Let most of many lines scroll by at once; return the last, which are to be appended."""
        self.rows[-1].is_complete = True
        self.dirty[self.top + self._row] = None
        for _ in self.rows[:]:
            self._scroll()
        many = texts[:-ROWS]
        numbers = range(self.top, self.top + len(many))
        self.dirty.update(dict.fromkeys(numbers))
        self._left.update(zip(numbers, map(_bounded, many), strict=True))
        self.top += len(many)
        self.rows, self._row, self._column = [Row()], 0, 0
        # The first of the rest begins in the new row.
        if texts[-ROWS]:
            self._append_to_last(texts[-ROWS], widths[-ROWS])
        return texts[1 - ROWS :], widths[1 - ROWS :]

    def _new_line(self) -> None:
        row = self.rows[self._row]
        if not row.is_complete:
            row.is_complete = True
            self.dirty[self.top + self._row] = None
        self._row += 1
        self._column = 0
        if self._row == len(self.rows):
            self.rows.append(Row())
            if len(self.rows) > ROWS:
                self._scroll()

    def _scroll(self) -> None:
        row = self.rows.pop(0)
        row.is_complete = True
        if self.top in self.dirty:
            self._left[self.top] = row
        self.top += 1
        self._row = max(self._row - 1, 0)

    def _interpret(self, text: str) -> None:
        unfinished = _UNFINISHED.search(text)
        if unfinished is not None:
            text, self._rest = text[: unfinished.start()], unfinished[0][-4100:] + self._rest
        for token in _TOKEN.finditer(text):
            word = token[0]
            if (
                word[0] >= " "
                and word[0] not in "\x7f\x80\x85\x9b"
                and not "\x80" <= word[0] < "\xa0"
            ):
                self._print(word)
            elif token[2] is not None:
                self._control(token[1], token[2], word)
            elif word == "\n":
                self._new_line()
            elif word == "\r":
                self._column = 0
            elif word == "\b":
                self._column = max(self._column - 1, 0)
            elif word == "\t":
                self._print(" " * (8 - self._column % 8) if self._is_inside() else "\t")

    def _is_inside(self) -> bool:
        """Say whether the cursor is not simply at the end of what was appended."""
        row = self.rows[self._row]
        return row.cells is not None or self._column < row.width

    def _print(self, text: str) -> None:
        row = self.rows[self._row]
        number = self.top + self._row
        if row.cells is None:
            if self._column >= row.width:
                n_before = min(self._column - row.width, COLUMNS)
                row.append(" " * n_before + text, self._column - row.width + len(text))
                self._column += len(text)
                self.dirty[number] = None
                return
        cells = row.to_cells()
        row.is_rewritten = True
        at, text = min(self._column, COLUMNS), text[: max(COLUMNS - self._column, 0)]
        if at > len(cells):
            cells.extend([("", " ")] * (at - len(cells)))
        cells[at : at + len(text)] = [(self._style, one) for one in text]
        self._column += len(text)
        self.dirty[number] = None

    def _control(self, words: str, kind: str, whole: str) -> None:
        if kind == "m":
            self._restyle(whole)
            return
        if words[:1] in ("?", ">", "<", "="):
            return
        numbers = [int(one[:6]) if one.isdigit() else 0 for one in words.split(";")]
        n = max(numbers[0], 1)
        if kind == "A":
            self._row = max(self._row - n, 0)
        elif kind == "B":
            self._down(n)
        elif kind == "C":
            self._column = min(self._column + n, COLUMNS)
        elif kind == "D":
            self._column = max(self._column - n, 0)
        elif kind == "E":
            self._down(n)
            self._column = 0
        elif kind == "F":
            self._row, self._column = max(self._row - n, 0), 0
        elif kind in "G`":
            self._column = min(n - 1, COLUMNS)
        elif kind == "K":
            self._erase_in_line(self._row, numbers[0])
        elif kind == "J":
            self._erase_below(numbers[0])
        elif kind == "P":
            cells = self._rewritten(self._row)
            del cells[self._column : self._column + n]
        elif kind in "Hf":
            # An absolute place means a page of its own: rows from its top cannot be known.
            self._row = min(n, len(self.rows)) - 1
            self._column = min(max(numbers[1], 1) - 1, COLUMNS) if len(numbers) > 1 else 0

    def _restyle(self, sgr: str) -> None:
        self._style = restyled(self._style, sgr)
        row = self.rows[self._row]
        if row.cells is None and len(sgr) < 64 and _STYLE.fullmatch(sgr):
            row.append(sgr, 0)
            if row.width:
                self.dirty[self.top + self._row] = None

    def _down(self, n: int) -> None:
        self._row = min(self._row + n, len(self.rows) - 1)

    def _rewritten(self, at: int) -> list[tuple[str, str]]:
        row = self.rows[at]
        row.is_rewritten = True
        self.dirty[self.top + at] = None
        return row.to_cells()

    def _erase_in_line(self, at: int, how: int) -> None:
        row = self.rows[at]
        if row.cells is None and not row.parts:
            return
        if how == 0 and row.cells is None and self._column >= row.width:
            return
        cells = self._rewritten(at)
        row.n_more = 0
        if how == 0:
            del cells[self._column :]
        elif how == 1:
            n = min(self._column + 1, len(cells))
            cells[:n] = [("", " ")] * n
        else:
            cells.clear()

    def _erase_below(self, how: int) -> None:
        if how == 0:
            self._erase_in_line(self._row, 0)
            for at in range(self._row + 1, len(self.rows)):
                self._erase_in_line(at, 2)
        elif how == 2:
            self.new_page()
