"""The page of `sammil predict`: what could not be judged, then every slide with its verdict and its picture."""

from collections.abc import Sequence

from sammil_cli.report.document import page
from sammil_cli.report.listing import Listing, facts_of, listing
from sammil_cli.report.slide_rows import Picture, SlideRow, Trouble


def verdicts_page(
    title: str,
    notes: Sequence[str],
    troubles: Sequence[Trouble],
    rows: Sequence[SlideRow],
    pictures: Sequence[Picture] = (),
    *,
    patients: Listing | None = None,
    positive_class: str | None = None,
) -> str:
    """The page: one file; its pictures lie beside it and are loaded when they are seen.

    Args:
        notes: what holds of all slides; those that begin with `!` are warnings.
        pictures: of the slides that have one.
    """
    return page(
        "slides",
        title=title,
        warnings=[note[1:] for note in notes if note.startswith("!")],
        notes=[note for note in notes if not note.startswith("!")],
        undone=troubles,
        undone_title="Not judged",
        patients=patients,
        slides=listing(rows, positive_class, linked={one.name for one in pictures}) if rows else None,
        pictures=pictures,
        facts={row.name: facts_of(row, positive_class) for row in rows},
        back=False,
    )
