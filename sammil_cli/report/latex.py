"""Tables as LaTeX that needs no package: a plain `tabular`, every letter of its own escaped."""

from sammil_cli.report.tables import Table
from sammil_cli.storage.shown_text import shown

_ESCAPED = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": "$\\pm$",
    "×": "$\\times$",
    "≤": "$\\leq$",
    "≥": "$\\geq$",
    "α": "$\\alpha$",
    "β": "$\\beta$",
    "µ": "$\\mu$",
    "–": "--",
    "−": "$-$",
    "…": "\\dots{}",
}


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands, whatever it holds; what nobody sees is written out."""
    apart = shown(text).replace("--", "-\0-").replace("--", "-\0-")  # or two become a dash
    return "".join("{}" if letter == "\0" else _ESCAPED.get(letter, letter) for letter in apart)


def as_latex(table: Table) -> str:
    """A `table` with its title as caption; the note stands below, in small print. The first column is flush left."""
    columns = "l" + "r" * (len(table.header) - 1)
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escaped(table.title)}}}",
        f"\\begin{{tabular}}{{{columns}}}",
    ]
    lines += ["\\hline", _row(table.header), "\\hline", *map(_row, table.rows), "\\hline", "\\end{tabular}"]
    if table.note:
        lines.append(f"\\par\\footnotesize {escaped(table.note)}")
    return "\n".join([*lines, "\\end{table}", ""])


def _row(cells: tuple[str, ...]) -> str:
    text = " & ".join(map(escaped, cells)) + " \\\\"
    return f"{{}}{text}" if text.startswith(("[", "*")) else text  # or it is read as an option of the \\\\ before it
