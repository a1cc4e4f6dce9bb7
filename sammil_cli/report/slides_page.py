"""The page of pictures that `sammil visualize` writes: slides in a table, wrong ones first, and their pictures."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sammil_cli.report.document import fragment, page
from sammil_cli.report.drawn_by import DrawnBy, drawn_by
from sammil_cli.report.listing import facts_of, listing
from sammil_cli.report.slide_rows import SlideRow, Trouble, pictures_in
from sammil_cli.storage.files import write_text

INDEX, DRAWN = "index.html", "drawn.js"
_IN_SAMPLE = "in-sample: drawn by models that were trained or chosen on it"


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
    by = {picture.name: drawn_by(folder / f"{picture.name}.png") for picture in pictures}
    shown = [*rows, *(SlideRow(name=picture.name) for picture in pictures if picture.name not in judged)]
    shown = _with_who_drew(shown, by)
    html = page(
        "slides",
        title="Slides and their pictures",
        warnings=[f"Epoch and threshold were chosen on these very slides: {mark}."] if mark else [],
        notes=[_who_drew(list(by.values()))],
        undone=undone,
        undone_title="Not drawn",
        patients=None,
        slides=listing(shown, positive_class, linked=drawn) if shown else None,
        pictures=pictures,
        facts={row.name: facts_of(row, positive_class) for row in shown if row.name in judged or row.remarks},
        back=bool(rows),
    )
    write_text(folder / INDEX, html)
    write_text(folder / DRAWN, f"window.drawn = {json.dumps([fragment(picture.name) for picture in pictures])};\n")


def _how(by: DrawnBy | None) -> str:
    """How slides were drawn, in words that follow their number."""
    if by is None:
        return "by models that their pictures do not name"
    if by.seen:
        return "in sample, each by models of which some were trained or chosen on it"
    if by.seen is None:
        return "each by models that may have seen it in training"
    if len(by.models) > 1:
        return "each by several models together that did not see it in training"
    return "each by the model of a fold that did not see it in training"


def _who_drew(found: Sequence[DrawnBy | None]) -> str:
    """One sentence on all pictures, with numbers where not all were drawn alike."""
    kinds = Counter(map(_how, found)).most_common()
    slides = f"{len(found)} slide{'' if len(found) == 1 else 's'}"
    if len(kinds) > 1:
        return f"{slides}: {'; '.join(f'{count} {how}' for how, count in kinds)}."
    return f"{slides}, {kinds[0][0]}." if kinds else "No slide is drawn."


def _with_who_drew(rows: Sequence[SlideRow], found: Mapping[str, DrawnBy | None]) -> list[SlideRow]:
    """The rows, flagged where drawn in sample; with a column that says by whom, where that is not alike."""
    several = len(set(map(_how, found.values()))) > 1

    def with_it(row: SlideRow) -> SlideRow:
        by = found.get(row.name)
        models = by.models if by else ()
        who = {"drawn by": models[0] if len(models) == 1 else f"{len(models)} models" if models else ""}
        said = list(dict.fromkeys([_IN_SAMPLE, *row.remarks])) if by and by.seen else row.remarks
        return replace(row, more={**row.more, **who} if several else row.more, remarks=said)

    return list(map(with_it, rows))
