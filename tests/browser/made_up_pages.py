"""Pages of made-up slides, as `evaluate`, `visualize` and `predict` write them, with pictures beside them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from made_up_report import CLASSES, FOLDS, SUMMARY, predictions, slide_rows

from sammil_cli.report.curve_bands import roc_bands
from sammil_cli.report.figures import confusion, pooled_curves
from sammil_cli.report.listing import listing
from sammil_cli.report.page import Lists, write_page
from sammil_cli.report.slide_rows import SlideRow, Trouble, pictures_in
from sammil_cli.report.slides_page import write_slides_page
from sammil_cli.report.verdicts_page import verdicts_page
from sammil_cli.storage.files import write_text

HOSTILE = '</script><img src=x onerror="window.hacked=1">'  # of a slide that has no file: a name with a slash
ODD = "<img src=x onerror=window.hacked=1>#%? .tif"  # of one that has
UNDRAWN = "slide_003"
TROUBLE = Trouble(slide_id=f"cut {HOSTILE}", code="E_OPEN", message=f"no slide {HOSTILE}", remedy="copy it again")


def write_pages(folder: Path, count: int) -> None:
    """Writes `report/index.html`, `report/slides/` and `verdicts/index.html`; every slide but two has a picture."""
    rows = predictions(count, named={0: ODD, 1: HOSTILE})
    listed = slide_rows(rows)
    drawn = [row.name for row in listed if row.name not in (HOSTILE, UNDRAWN)]
    _draw(folder / "report/slides", drawn)
    write_slides_page(folder / "report/slides", listed, [TROUBLE], positive_class="tumour", mark=None)
    roc = pooled_curves([], roc_bands(rows, CLASSES, level=0.95, draws=20), ("x", "y"), diagonal=True)
    counts = confusion(np.array([[9, 1], [1, 9]]), CLASSES)
    patients = [replace(row, name=f"P {row.name}", patient="", slides="2", remarks=()) for row in listed]
    lists = Lists(
        slides=listing(listed, "tumour", linked=set(rows.slides)),
        undone=[TROUBLE],
        patients=listing(patients, "tumour", of="patients"),
    )
    summary = SUMMARY | {"notice": "n too small: 19 patients cannot tell models apart"}
    write_page(folder / "report/index.html", summary, FOLDS, {"ROC": roc, "Confusion": counts}, (), lists)
    verdicts = [_verdict(row) for row in listed]
    pictures = pictures_in(folder / "report/slides", drawn, prefix="../report/slides/")
    text = verdicts_page("sammil: predictions", ["a note"], [TROUBLE], verdicts, pictures, positive_class="tumour")
    write_text(folder / "verdicts/index.html", text)


def _verdict(row: SlideRow) -> SlideRow:
    return replace(row, truth="", outcome="", fold="", more={"over models": "0.100–0.900", "in sample": "no"})


def _draw(folder: Path, names: list[str]) -> None:
    ok, png = cv2.imencode(".png", np.full((300, 720, 3), 240, np.uint8))
    assert ok
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.png").write_bytes(png.tobytes())
