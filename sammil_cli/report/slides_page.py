"""The page of pictures that `sammil visualize` writes: slides in a table, wrong ones first, and their pictures."""

import json
from collections.abc import Sequence
from pathlib import Path

from sammil_cli.report.document import fragment, page
from sammil_cli.report.listing import facts_of, listing
from sammil_cli.report.slide_rows import SlideRow, Trouble, pictures_in
from sammil_cli.storage.files import write_text

INDEX, DRAWN = "index.html", "drawn.js"


def write_slides_page(
    folder: Path, rows: Sequence[SlideRow], undone: Sequence[Trouble], *, positive_class: str | None, mark: str | None
) -> None:
    """Writes the page of the pictures that lie in a folder, and the list of them that the report reads.

    Args:
        rows: judged slides, in the order of the page; those that have a picture and no row come last.
        undone: slides that could not be drawn. mark: what the pictures carry, see `report.tables.stamp`.
    """
    pictures = pictures_in(folder, [row.name for row in rows])
    drawn = {picture.name for picture in pictures}
    judged = {row.name for row in rows}
    shown = [*rows, *(SlideRow(name=picture.name) for picture in pictures if picture.name not in judged)]
    how = "each by the model of the fold that did not see it in training, new slides by all models together"
    html = page(
        "slides",
        title="Slides and their pictures",
        warnings=[f"Epoch and threshold were chosen on these very slides: {mark}."] if mark else [],
        notes=[f"{len(pictures)} slides, {how}."],
        undone=undone,
        undone_title="Not drawn",
        patients=None,
        slides=listing(shown, positive_class, linked=drawn) if shown else None,
        pictures=pictures,
        facts={row.name: facts_of(row, positive_class) for row in rows},
        back=bool(rows),
    )
    write_text(folder / INDEX, html)
    write_text(folder / DRAWN, f"window.drawn = {json.dumps([fragment(picture.name) for picture in pictures])};\n")
