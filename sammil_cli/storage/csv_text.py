"""Tables as people save them: what is wrong with a file's encoding or with what separates its cells, in words.

And what is done to a cell that a spreadsheet would run when it opens the table: a name of a slide or a class that
begins like a formula. It gets an apostrophe before it, which our readers take off again. Names that are in use, such as
`-`, `+ve` and `-5`, are no such ones: they call nothing, and stay.
"""

import re

from sammil_cli.storage.content import content_of_bytes

_NAMES = {";": "semicolons", "\t": "tabs", "|": "bars"}
_SPREADSHEET = b"PK\x03\x04"  # .xlsx and .ods are zip files
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_HEAD = 4096  # bytes
_EXCEL = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # a first line that Excel reads and others take for the header

_FORMULA = r"\s*(?:[=@]|[+-].*[(|!])"  # a spreadsheet passes over blanks; without ( | ! no function and no program runs
_RUNS = re.compile(f"'*{_FORMULA}", re.DOTALL)
_GUARDED = re.compile(f"''*{_FORMULA}", re.DOTALL)
_FIRST = frozenset("=@+-' \t\r\n\f\v")  # of a cell that needs a look: most do not


def guarded(cell: object) -> object:
    """A cell as it is written: an apostrophe before what a spreadsheet would run, and before such apostrophes."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in _FIRST and _RUNS.match(cell) else cell


def unguarded(cell: str) -> str:
    """A cell as it was before `guarded`."""
    return cell[1:] if cell[:1] == "'" and _GUARDED.match(cell) else cell


def no_table(data: bytes) -> str:
    """Why the bytes of a file are no table (`is a spreadsheet, no text`); "" where they may be one."""
    if data.startswith(_SPREADSHEET):
        return "is a spreadsheet, no text"
    if data.startswith(_UTF16):
        return "is not UTF-8 text but UTF-16"
    content = content_of_bytes(data[:_HEAD], len(data)) if data else None
    if content is not None and not content.plain:
        return f"is no table but {content.what}"
    return "is not UTF-8 text but UTF-16 or binary" if b"\0" in data else ""


def separator_of(text: str) -> tuple[str, str]:
    """What separates the cells of a table, by its first line, and what is wrong with that ("" = commas, nothing)."""
    head = text.lstrip("\r\n ").split("\n", 1)[0].rstrip("\r\n ")
    if told := _EXCEL.fullmatch(head):
        sign = told.group(1)
        more = "" if sign == "," else f", and the cells are separated by {_NAMES.get(sign, repr(sign))}"
        return sign, f"the first line {head!r} is for Excel only{more}"
    sign = max((",", *_NAMES), key=head.count)
    return sign, "" if sign == "," else f"the cells are separated by {_NAMES[sign]}"


def is_for_excel(line: str) -> bool:
    """Whether a line only tells Excel what separates the cells."""
    return _EXCEL.fullmatch(line) is not None
