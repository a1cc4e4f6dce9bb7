"""Rows of CSV files, as texts by column."""

import csv
from pathlib import Path


def rows_of(path: Path) -> list[dict[str, str]]:
    """In the order of the file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def by_slide(path: Path) -> dict[str, dict[str, str]]:
    """One row for each slide."""
    rows = rows_of(path)
    found = {row["slide_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found
