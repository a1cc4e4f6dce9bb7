"""Tables as text of a given width: no number and no short word is broken in two.

A table that is too wide is narrowed, the widest columns first: their texts go on in the next line. What is too wide
even so is cut between columns into tables one below the other, each of which begins with the columns that name a row.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Cells = Sequence[str]  # of one row; each may have several lines
Measure = Callable[[str], int]  # how many columns of a terminal a text takes

_LONGEST_WORD = 24  # characters; longer ones are paths, ids and check sums, which may be broken
_COMFORTABLE = 32  # of a column, where a table is cut anyway
_BETWEEN, _EDGE = 3, 1  # `│ cell ` for each column, and the last `│`
_MOST_NAMING = 3
_NUMBER = r"[-+−–<>≤≥~]*\d[\d.,:]*"
_SEVERAL = rf"{_NUMBER} (?:±|to|→) {_NUMBER}(?: %)?"
# What stays in one piece: 0.95 ± 0.02, 0.91 to 0.98, 0.2 → 0.7, 12 %, an interval in brackets, a word.
_PIECE = re.compile(rf"{_SEVERAL}\S*|{_NUMBER} %\S*|[^\s\[(]*[\[(]{_NUMBER}[^\[\]()]{{0,20}}[\])]\S*|\S+")
_IS_NUMBER = re.compile(rf"(?:–|(?:{_NUMBER}(?: ± {_NUMBER})?(?: ?%)?)|inf|nan)")
_ONLY_NUMBERS = re.compile(r"(?=.*\d)(?:[^a-zA-Z]| to )+")
_BREAK_AFTER = "/\\_-.,:;=|"


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table, or a part of one, whose cells are broken into lines that fit their columns.

    `numeric`: by column, whether it holds numbers only, which are set to the right.
    """

    header: Cells
    rows: Sequence[Cells]
    widths: Sequence[int]
    numeric: Sequence[bool]

    @property
    def width(self) -> int:
        """Of the whole, with its lines."""
        return sum(self.widths) + _BETWEEN * len(self.widths) + _EDGE


def fit(header: Cells, rows: Sequence[Cells], width: int, measure: Measure = len) -> list[TextTable]:
    """The table in parts that are at most `width` wide, unless numbers or short words alone are wider."""
    columns = [[name, *(row[index] for row in rows)] for index, name in enumerate(header)]
    sizes = [_Size.of(column, measure) for column in columns]
    numeric = [bool(rows) and all(_IS_NUMBER.fullmatch(cell) for cell in column[1:]) for column in columns]
    parts = []
    for chosen in _cut(sizes, _naming(rows), width):
        room = width - _EDGE - _BETWEEN * len(chosen)
        broken = _broken_columns(
            [columns[index] for index in chosen], [sizes[index] for index in chosen], room, measure
        )
        parts.append(
            TextTable(
                header=[column[0] for column in broken],
                rows=[[column[number] for column in broken] for number in range(1, len(rows) + 1)],
                widths=[_longest(column, measure) for column in broken],
                numeric=[numeric[index] for index in chosen],
            )
        )
    return parts


def broken_lines(text: str, width: int, measure: Measure = len) -> list[str]:
    """A text in lines of at most `width`, broken between words, and within words that are longer."""
    lines, line = [], ""
    for word in _PIECE.findall(text):
        if line and measure(f"{line} {word}") <= width:
            line += f" {word}"
            continue
        lines += [line] if line else []
        *full, line = _broken_word(word, width, measure)
        lines += full
    return [*lines, line]


@dataclass(frozen=True)
class _Size:
    """Of a column: as wide as its longest word that stays whole, and as wide as its longest line."""

    least: int
    most: int

    @classmethod
    def of(cls, column: Cells, measure: Measure) -> "_Size":
        lines = [line for cell in column for line in cell.split("\n")]
        words = (word for line in lines for word in _PIECE.findall(line))
        least = max((_whole(word, measure) for word in words), default=1)
        return cls(least, max(least, *map(measure, lines)))


def _whole(word: str, measure: Measure) -> int:
    """How much of a word is not broken: all of numbers, and of other ones so much as a short word has."""
    return measure(word) if _ONLY_NUMBERS.fullmatch(word) else min(measure(word), _LONGEST_WORD)


def _naming(rows: Sequence[Cells]) -> int:
    """How many of the first columns name a row, so that no two have the same name."""
    for count in range(1, _MOST_NAMING + 1):
        if len({tuple(row[:count]) for row in rows}) == len(rows):
            return count
    return 1


def _cut(sizes: Sequence[_Size], naming: int, width: int) -> list[list[int]]:
    """Which columns go into which part: all into one, if that can be."""
    every = list(range(len(sizes)))
    if _width([size.least for size in sizes]) <= width:
        return [every]
    first = every[:naming]
    parts, part = [], list(first)
    for index in every[naming:]:
        wanted = [min(sizes[one].most, max(sizes[one].least, _COMFORTABLE)) for one in (*part, index)]
        if part != first and _width(wanted) > width:
            parts.append(part)
            part = list(first)
        part.append(index)
    return [*parts, part]


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + _BETWEEN * len(widths) + _EDGE


def _broken_columns(
    columns: Sequence[Cells], sizes: Sequence[_Size], room: int, measure: Measure
) -> list[Sequence[str]]:
    """The cells of each column in lines; what these leave of its share goes to columns that need fewer with it."""

    def broken(index: int, width: int) -> list[str]:
        return [_broken(cell, width, measure) for cell in columns[index]]

    found: list[Sequence[str]] = [broken(index, width) for index, width in enumerate(_share(sizes, room))]
    widths = [_longest(column, measure) for column in found]
    left, lacks = room - sum(widths), [size.most - width for size, width in zip(sizes, widths, strict=True)]
    for index in sorted(range(len(columns)), key=lacks.__getitem__):
        wider = broken(index, widths[index] + left) if left > 0 < lacks[index] else found[index]
        if _lines(wider) < _lines(found[index]):
            left -= _longest(wider, measure) - widths[index]
            found[index] = wider
    return found


def _longest(column: Cells, measure: Measure) -> int:
    """How wide a column must be for its lines."""
    return max(1, *(measure(line) for cell in column for line in cell.split("\n")))


def _lines(column: Cells) -> int:
    return sum(cell.count("\n") for cell in column)


def _share(sizes: Sequence[_Size], room: int) -> list[int]:
    """Widths: each column its least, and what is left in equal shares to those that lack something."""
    widths = [size.least for size in sizes]
    lacking = [index for index, size in enumerate(sizes) if size.most > size.least]
    spare = room - sum(widths)
    while lacking and spare > 0:
        share = max(1, spare // len(lacking))
        for index in lacking:
            more = min(share, sizes[index].most - widths[index], spare)
            widths[index] += more
            spare -= more
        lacking = [index for index in lacking if widths[index] < sizes[index].most]
    return widths


def _broken(cell: str, width: int, measure: Measure) -> str:
    lines = ([line] if measure(line) <= width else broken_lines(line, width, measure) for line in cell.split("\n"))
    return "\n".join(line for broken in lines for line in broken)


def _broken_word(word: str, width: int, measure: Measure) -> list[str]:
    """A word in pieces, after a mark in it where there is one not too early."""
    pieces = []
    while measure(word) > width:
        end = max(1, next((n for n in range(len(word), 0, -1) if measure(word[:n]) <= width), 1))
        mark = max(word.rfind(mark, 0, end) for mark in _BREAK_AFTER) + 1
        end = mark if mark > end // 2 else end
        pieces.append(word[:end])
        word = word[end:]
    return [*pieces, word]
