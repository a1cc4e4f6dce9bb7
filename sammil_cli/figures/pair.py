"""Two trainings beside each other on the same slides: what Figs. 8 and 11 share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import NDArray
from shapely import Polygon

from sammil_cli import console
from sammil_cli.errors import SlideError
from sammil_cli.figures.runs import Training, out_of_fold, same_fold, verdict
from sammil_cli.figures.sheet import Panel, PanelRow, outline, scale_bar, sheet
from sammil_cli.figures.sources import Source, draw_each, find_sources, lesions_in, telling_slides
from sammil_cli.figures.written import list_slides, rounded, write_figure
from sammil_cli.jobs.patch_scores import PatchScores
from sammil_cli.jobs.slide_layers import region_labels
from sammil_cli.patches.file import read_patches
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project
from sammil_cli.regions.file import read_regions
from sammil_cli.report.lesion_agreement import patches_in
from sammil_cli.slides.field import Field, around, read_field
from sammil_cli.slides.files import open_slide

Numbers = dict[str, float | int | None]
_MOST_PX = 1000  # longest side of a panel's picture


@dataclass(frozen=True, kw_only=True)
class View:
    """A slide as two trainings see it. `xy` (n, 2) and `side`: the patches in pixels of the field.

    `region` (n,): the smallest region that covers the patch, -1 = none; `in_lesion` (n,): lesion by half or more.
    """

    slide_id: str
    field: Field
    lesions: Sequence[Polygon]
    labels: NDArray[np.int32]
    xy: NDArray[np.float64]
    side: float
    region: NDArray[np.int32]
    in_lesion: NDArray[np.bool_]
    scores: tuple[PatchScores, PatchScores]
    same_fold: bool


@dataclass(frozen=True, kw_only=True)
class Style:
    """What one figure makes of a view: title, notes, legend, and of each training the panel and its numbers."""

    name: str
    shown_as: str  # the figure of the paper
    title: str
    notes: Sequence[str]
    titles: tuple[str, str]
    legend: Sequence[Sequence[Artist]]
    paint: Callable[[Axes, View, PatchScores], None]
    measure: Callable[[View, PatchScores], Numbers]
    below: Callable[[View, Numbers], Sequence[str]]
    first: Callable[[Axes, View], None]
    first_title: str


def run_pair(
    project: Project, slides: Sequence[str], trainings: tuple[Training, Training], style: Style, out: Path
) -> list[Row]:
    """Draws both trainings on each slide and returns what became of the slides.

    Args:
        slides: ids; none = the tested slides with the largest and the smallest lesion.
    """
    sources, refused = find_sources(project, slides, bags=True)
    first, second = trainings
    tested = [s for s in sources if s.slide_id in first.fold_of and s.slide_id in second.fold_of]
    chosen = sources if slides else telling_slides(tested or sources, healthy=False)
    drawn, rows = draw_each(style.name, chosen, partial(_view, trainings))
    rows = [*refused, *rows]
    if drawn:
        views = [view for _, view in drawn]
        numbers = [tuple(style.measure(view, one) for one in view.scores) for view in views]
        table = _table(views, numbers, trainings, style)
        record = {"figure": style.name, "as": style.shown_as, "trainings": _named(trainings, style), "slides": table}
        write_figure(out, style.name, _picture(views, numbers, style), record, table)
        if any(not view.same_fold for view in views):
            console.say(_OTHER_FOLDS)
    return list_slides(project.process_lists, style.name, rows, out)


_OTHER_FOLDS = "note: the two trainings learned from other slides (other folds): part of any difference comes from that"


def _view(trainings: tuple[Training, Training], source: Source) -> View:
    (bag, one), (_, other) = (out_of_fold(training, source) for training in trainings)
    if (bag.xy < 0).any():
        raise SlideError(
            "E_LEGACY_MISSING",
            f"{source.bag} does not say where its patches lie",
            remedy="convert it anew with coordinates, or run: sammil extract",
        )
    grid, regions = read_patches(source.patches), read_regions(source.regions)
    side = grid.patch_px_level0
    with open_slide(source.slide, grid.slide_mpp, grid.scene) as slide:
        low, high = tuple(bag.xy.min(axis=0)), tuple(bag.xy.max(axis=0) + side)
        field = read_field(slide, around(low, high, 2.0 * side, slide.size_px), _MOST_PX)
        lesions = lesions_in(source, slide.bounds_px)
    return View(
        slide_id=source.slide_id,
        field=field,
        lesions=lesions,
        labels=region_labels(regions, field.origin_px, field.factor, field.size_px),
        xy=field.of_slide(bag.xy),
        side=side / field.factor,
        region=bag.region,
        in_lesion=patches_in(lesions, bag.xy, side),
        scores=(one, other),
        same_fold=same_fold(*trainings, source.slide_id),
    )


def _picture(views: Sequence[View], numbers: Sequence[tuple[Numbers, ...]], style: Style) -> bytes:
    rows = []
    for view, own in zip(views, numbers, strict=True):
        shape = (view.field.size_px[1], view.field.size_px[0])
        panels = [Panel(title=style.first_title, shape=shape, draw=partial(_draw_first, view, style))]
        for title, scores, measured in zip(style.titles, view.scores, own, strict=True):
            panels.append(
                Panel(
                    title=title,
                    shape=shape,
                    draw=partial(_draw, view, scores, style),
                    below=[verdict(scores), *style.below(view, measured)],
                )
            )
        rows.append(PanelRow(heading=view.slide_id, panels=panels))
    notes = [*style.notes, *([] if all(view.same_fold for view in views) else [_OTHER_FOLDS])]
    return sheet(style.title, notes, rows, style.legend)


def _draw_first(view: View, style: Style, axes: Axes) -> None:
    style.first(axes, view)
    outline(axes, view.field, view.lesions)
    scale_bar(axes, view.field)


def _draw(view: View, scores: PatchScores, style: Style, axes: Axes) -> None:
    style.paint(axes, view, scores)
    outline(axes, view.field, view.lesions)


def _named(trainings: tuple[Training, Training], style: Style) -> list[dict[str, str]]:
    return [{"folder": str(one.folder), "title": title} for one, title in zip(trainings, style.titles, strict=True)]


def _table(
    views: Sequence[View], numbers: Sequence[tuple[Numbers, ...]], trainings: tuple[Training, Training], style: Style
) -> list[dict[str, object]]:
    return [
        {
            "slide_id": view.slide_id,
            "training": str(training.folder),
            "model": scores.facts.model,
            "fold": training.fold_of[view.slide_id].name,
            "same_fold": view.same_fold,
            "class": scores.facts.classes[scores.shown],
            "probability": rounded(float(scores.probabilities[scores.shown])),
            "called": scores.facts.classes[scores.predicted],
            "patches": len(view.xy),
            "patches_in_lesion": int(view.in_lesion.sum()),
            **{name: rounded(value) if isinstance(value, float) else value for name, value in measured.items()},
        }
        for view, own in zip(views, numbers, strict=True)
        for training, scores, measured in zip(trainings, view.scores, own, strict=True)
    ]
