"""A CSV file as it stands: rows with their line numbers, whatever is wrong with it."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.cohort.finding import Finding
from sammil_cli.storage.csv_text import is_for_excel, no_table, separator_of, unguarded


@dataclass(frozen=True, kw_only=True)
class RawRow:
    """One row: the line on which it begins, counted from 1, and its cells with their blanks."""

    line: int
    cells: tuple[str, ...]


def read_raw(path: Path, first_line: str) -> tuple[list[RawRow], list[Finding]]:
    """The rows that are not blank, and what is wrong with the file as a whole.

    A table with another separator than the comma is read by it all the same, so that the rest can be looked at.

    Args:
        first_line: how the file should begin, for the fix.
    """
    file = str(path)
    if not path.exists():
        return [], [Finding(file=file, kind="no-file", message="does not exist", fix=f"write it; begin: {first_line}")]
    if not path.is_file():
        return [], [Finding(file=file, kind="no-file", message="is no file", fix=f"write a table; begin: {first_line}")]
    try:
        data = path.read_bytes()
    except PermissionError as error:
        message = f"cannot be read: {error.strerror}"
        return [], [Finding(file=file, kind="no-file", message=message, fix="look at its permissions")]
    if trouble := no_table(data):
        return [], [_unreadable(file, trouble)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        word = data[: error.start].rsplit(b"\n", 1)[-1][-20:] + data[error.start : error.start + 10].split(b"\n")[0]
        shown = word.decode("utf-8", errors="replace")
        return [], [_unreadable(file, f"is not UTF-8 text ({error.reason}) at {shown!r}", line, shown)]
    if not text.strip():
        return [], [Finding(file=file, kind="empty-file", message="is empty", fix=f"write it; begin: {first_line}")]
    return _rows(file, text, first_line)


def _unreadable(file: str, message: str, row: int | None = None, text: str = "") -> Finding:
    return Finding(file=file, kind="encoding", row=row, text=text, message=message, fix='save it as "CSV UTF-8"')


def _rows(file: str, text: str, first_line: str) -> tuple[list[RawRow], list[Finding]]:
    findings = []
    head = text.lstrip().split("\n", 1)[0].rstrip()
    separator, message = separator_of(text)
    if message:
        fix = f"save it with commas; begin: {first_line}"
        findings.append(Finding(file=file, kind="separator", row=1, text=head, message=message, fix=fix))
    rows = []
    line = 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for cells in reader:
            open_quote = False
            if long := next((cell for cell in cells if "\n" in cell), None):
                open_quote = text.count('"') % 2 == 1
                findings.append(
                    Finding(
                        file=file,
                        kind="quote",
                        severity="error" if open_quote else "warning",
                        row=line,
                        text=long.split("\n")[0],
                        message=f"a cell goes on to line {reader.line_num}: is a quote not closed?",
                        fix='close or delete the " in this row',
                    )
                )
            if any(cell.strip() for cell in cells) and not open_quote and not is_for_excel(separator.join(cells)):
                rows.append(RawRow(line=line, cells=tuple(map(unguarded, cells))))
            line = reader.line_num + 1
    except csv.Error as error:
        findings.append(Finding(file=file, kind="quote", row=line, message=f"is no table: {error}", fix="mend the row"))
    return rows, findings
