"""HTML pages from templates: what text and links must be to stand in one is settled here, once for all of them."""

import os
import re
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sammil_cli.report import templates
from sammil_cli.storage.shown_text import shown

if TYPE_CHECKING:
    from jinja2 import Environment

_PNG, _HEAD = b"\x89PNG\r\n\x1a\n", 24  # bytes up to the size
_NUMBER = re.compile(r"[<+−-]?\s?\d")


def page(template: str, **values: object) -> str:
    """A whole page.

    Args:
        template: its name, without `.html.j2`. values: what it shows; text may be anything, it never becomes HTML.
    """
    return _environment().get_template(f"{template}.html.j2").render(values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here: commands that write no page need none

    folder = Path(next(iter(templates.__path__)))
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    made.filters |= {"address": address, "fragment": fragment, "size": picture_size, "numbers": number_columns}
    return made


def _visible(value: object) -> object:
    """What stands between braces: HTML of a macro as it is, all else as text without what nobody sees."""
    return value if hasattr(value, "__html__") else shown(str(value))


def address(path: str) -> str:
    """The link to a file beside the page, whatever its name: `#`, `?`, `%` and `:` mean nothing."""
    return quote(os.fsencode(path))


def fragment(name: str) -> str:
    """The id of a named part of a page: letters of ASCII without blanks, another one for each name."""
    return quote(os.fsencode(name), safe="")


def picture_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG by its first bytes, so that a page keeps its place free; None for other bytes."""
    if len(head) < _HEAD or not head.startswith(_PNG):
        return None
    width, height = struct.unpack(">II", head[16:_HEAD])
    return width, height


def size_of_file(path: Path) -> tuple[int, int] | None:
    """As `picture_size`, of a file; None, too, of one that cannot be read."""
    try:
        with path.open("rb") as stream:
            return picture_size(stream.read(_HEAD))
    except OSError:
        return None


def number_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Of each column whether it holds numbers, and nothing but a dash beside them: these are set right."""
    columns = [[cell for cell in column if cell not in ("", "–")] for column in zip(*rows, strict=True)]
    return [bool(cells) and all(_NUMBER.match(cell) for cell in cells) for cells in columns]
