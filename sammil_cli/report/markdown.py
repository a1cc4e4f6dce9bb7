"""Tables as Markdown; names of runs, classes and sites stand in them as they are."""

import re
from collections.abc import Sequence

from sammil_cli.report.tables import Table
from sammil_cli.storage.shown_text import shown

_OBEYED = re.compile(r"[\\|]|<(?=[A-Za-z/!?])")  # ends a cell, or begins HTML


def escaped(text: str, *, kept: str = "") -> str:
    """Text for a line or a cell; what nobody sees is written out.

    Args:
        kept: see `shown_text.shown`.
    """
    return _OBEYED.sub(lambda found: f"\\{found[0]}", shown(text, kept=kept))


def as_markdown(tables: Sequence[Table]) -> str:
    """The tables one after the other, each below its title and above its note."""
    parts = []
    for table in tables:
        lines = [f"## {escaped(table.title)}", "", _row(table.header), "|" + "---|" * len(table.header)]
        lines += [_row(row) for row in table.rows]
        parts.append("\n".join([*lines, "", escaped(table.note, kept="\n")]))
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(escaped, cells)) + " |"
