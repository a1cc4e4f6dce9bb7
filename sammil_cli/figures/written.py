"""A figure as files: the picture, its numbers as JSON and CSV, and the list of slides that could not be drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sammil_cli import console
from sammil_cli.project.process_list import Row, summarise, write_rows
from sammil_cli.storage.files import replaced_together, write_csv, write_json


def write_figure(
    out: Path, name: str, png: bytes, record: Mapping[str, object], table: Sequence[Mapping[str, object]]
) -> None:
    """Writes `<name>.png`, `.json` and `.csv`, all or none of them.

    Args:
        table: rows of equal keys; None is written as an empty cell.
    """
    header = tuple(table[0]) if table else ()
    with replaced_together() as new:
        new(out / f"{name}.png").write_bytes(png)
        write_json(new(out / f"{name}.json"), record)
        cells = [["" if value is None else value for value in row.values()] for row in table]
        write_csv(new(out / f"{name}.csv"), header, cells)
    console.say(f"figure: {out / name}.png (numbers: {name}.json, {name}.csv)")


def list_slides(process_lists: Path, name: str, rows: Sequence[Row], out: Path) -> list[Row]:
    """Writes and prints what became of each slide; gives the rows back."""
    path = process_lists / f"figure-{name}.csv"
    write_rows(path, rows)
    summarise(f"figure {name}", list(rows), out, path)
    return list(rows)


def rounded(value: float | None, digits: int = 6) -> float | None:
    """A number as the files have it; None stays None."""
    return None if value is None else round(float(value), digits)
