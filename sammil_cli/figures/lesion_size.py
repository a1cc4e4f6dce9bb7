"""Sensitivity by lesion area: does a model miss the small lesions, as Appendix J of the paper fears?

The paper names no sizes. So the slides are put into bins of equal numbers, or into those that the user names.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from sammil_cli import console
from sammil_cli.errors import InputError, SammilError, SlideError, as_slide_error
from sammil_cli.figures.plot import plain, plot
from sammil_cli.figures.predictions import read_predictions
from sammil_cli.figures.runs import params_of
from sammil_cli.figures.sheet import BLUE, VERMILION
from sammil_cli.figures.sources import lesion_mm2
from sammil_cli.figures.written import list_slides, rounded, write_figure
from sammil_cli.patches.file import read_patches
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project
from sammil_cli.report.lesion_bins import Bin, Positives, bins_of, terciles
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.png import lettering, to_png
from sammil_cli.runner.earlier_files import lack_of
from sammil_cli.storage.paths import DrawingPath, PatchesPath
from sammil_cli.tissue.drawing_files import find_drawings

NAME = "lesion-size"
_UPPER_IN, _LOWER_IN, _BETWEEN_IN, _BOTTOM_IN = 3.0, 2.2, 0.25, 1.0


def run(
    project: Project, folders: Sequence[Path], edges: Sequence[float] | None, out: Path, *, level: float
) -> list[Row]:
    """Draws the figure and returns what became of each positive slide.

    Args:
        folders: trainings that `sammil evaluate` has judged, one or two.
        edges: mm² between the bins; None = three bins of equal numbers of slides.

    Raises:
        InputError: there is no positive class, no positive slide, or nothing was judged.
    """
    said = [(folder, read_predictions(folder)) for folder in folders]
    for folder, rows in said:
        if rows.positive_class is None:
            raise InputError(f"{folder} has no positive class: nothing is found or missed", remedy="see positive_class")
    classes = [str(rows.positive_class) for _, rows in said]
    if len(set(classes)) > 1:
        raise InputError(
            f"{folders[0]} finds {classes[0]}, and {folders[1]} {classes[1]}: their positive classes differ",
            remedy="set positive_class alike and train again",
        )
    wanted = sorted({slide for _, rows in said for slide, label in zip(rows.slides, rows.labels, strict=True) if label})
    areas, rows_of = _areas(project, wanted)
    if not areas:
        listed = list_slides(project.process_lists, NAME, rows_of, out)
        console.say(f"none of {len(wanted)} positive slide(s) has a lesion drawn in {project.lesions}: nothing to draw")
        return listed
    models = [(_name(folder), positives_of(rows, areas)) for folder, rows in said]
    inner = list(edges) if edges is not None else terciles(np.array(list(areas.values())))
    found = [(name, one, bins_of(one, inner, level=level)) for name, one in models]
    positive = classes[0]
    bins = [_cells(name, one) for name, _, own in found for one in own]
    slides = [
        {"training": name, "slide_id": s, "patient_id": p, "lesion_mm2": rounded(float(a)), "found": rounded(float(f))}
        for name, one, _ in found
        for s, p, a, f in zip(one.slides, one.patients, one.area, one.found, strict=True)
    ]
    left_out = [row.slide_id for row in rows_of if not row.done]
    record = {"figure": NAME, "as": "Appendix J", "positive_class": positive, "level": level}
    record |= {"bins": bins, "slides": slides, "left_out": left_out}
    write_figure(out, NAME, _picture(found, positive, level, len(left_out)), record, bins)
    return list_slides(project.process_lists, NAME, rows_of, out)


def _name(folder: Path) -> str:
    """The model and its folder; the folder alone without a run record, as of imported models."""
    return f"{params_of(folder).get('model')} ({folder})" if (folder / "record.json").is_file() else str(folder)


def read_edges(text: str) -> list[float]:
    """`0.1,1,10` as areas between bins, mm².

    Raises:
        InputError: they are no numbers, not above 0, or do not rise.
    """
    try:
        edges = [float(part) for part in text.split(",")]
    except ValueError:
        edges = []
    if not edges or not all(0 < edge < math.inf for edge in edges) or edges != sorted(set(edges)):
        raise InputError(f"--edges {text!r} are no rising areas above 0", remedy="such as: --edges 0.1,1,10")
    return edges


def _areas(project: Project, slides: Sequence[str]) -> tuple[dict[str, float], list[Row]]:
    """The area of the lesions of each slide that has any, mm², and a row for each slide."""
    drawings = find_drawings(project.lesions)
    areas, rows = {}, []
    with console.progress(len(slides), "areas of lesions") as bar:
        for slide_id in slides:
            try:
                areas[slide_id] = _area(project, slide_id, drawings.get(slide_id))
                rows.append(Row(slide_id=slide_id, status="done"))
            except SammilError as error:
                rows.append(refusal(slide_id, as_slide_error(error)))
            bar.advance(slide_id)
    return areas, rows


def _area(project: Project, slide_id: str, lesions: DrawingPath | None) -> float:
    grid = PatchesPath(project.patches / f"{slide_id}.h5")
    wanted = project.lesions / f"{slide_id}.geojson"
    if lesions is None:
        raise SlideError(
            "E_ANNOTATION", f"a positive slide without a drawing of its lesions: {wanted}", remedy="draw it in QuPath"
        )
    if not grid.is_file():
        raise lack_of(project, slide_id, grid, "patch")
    area = lesion_mm2(lesions, read_patches(grid).slide_mpp)
    if not area:
        raise SlideError(
            "E_ANNOTATION",
            f"a positive slide, and {lesions} has no area drawn on it",
            remedy="draw its lesions, or correct its label",
        )
    return area


def positives_of(rows: Predictions, areas: Mapping[str, float]) -> Positives:
    """The positive slides whose lesions are known, each once, in the order of their ids."""
    slides = sorted({slide for slide in rows.slides if slide in areas})
    at = {slide: [i for i, one in enumerate(rows.slides) if one == slide] for slide in slides}
    return Positives(
        slides=slides,
        patients=[rows.patients[at[slide][0]] for slide in slides],
        area=np.array([areas[slide] for slide in slides], np.float64),
        found=np.array([rows.predicted[at[slide]].mean() for slide in slides], np.float64),
        probability=np.array([rows.probabilities[at[slide], 1].mean() for slide in slides], np.float64),
    )


def _cells(name: str, one: Bin) -> dict[str, object]:
    return {
        "training": name,
        "from_mm2": rounded(one.low),
        "to_mm2": None if math.isinf(one.high) else rounded(one.high),
        "slides": one.slides,
        "patients": one.patients,
        "recall": rounded(one.recall.value),
        "low": rounded(one.recall.low),
        "high": rounded(one.recall.high),
    }


def _picture(found: Sequence[tuple[str, Positives, list[Bin]]], positive: str, level: float, left_out: int) -> bytes:
    notes = [
        f"Above: share of {positive} slides that are called {positive}, out of fold, by the area of their lesions, "
        f"with Wilson's {level:.0%} interval (trials: patients). Below: each slide; hollow = missed in some repeat."
    ]
    if left_out:
        notes.append(f"{left_out} {positive} slide(s) left out: no lesion drawn, or unreadable; the list names them.")
    inner = _UPPER_IN + _LOWER_IN + _BETWEEN_IN
    figure = plot("Sensitivity by lesion area (Appendix J)", notes, inner + _BOTTOM_IN)
    whole = figure.get_figheight()
    left, width = 0.07, 0.9
    lower = figure.add_axes((left, _BOTTOM_IN / whole, width, _LOWER_IN / whole))
    upper = figure.add_axes(
        (left, (_BOTTOM_IN + _LOWER_IN + _BETWEEN_IN) / whole, width, _UPPER_IN / whole), sharex=lower
    )
    everything = np.concatenate([one.area for _, one, _ in found])
    least, most = float(everything.min()) / 1.3, float(everything.max()) * 1.3
    colours, markers, sizes = (BLUE, VERMILION), ("o", "s"), (90, 26)  # one shows behind the other
    for number, (_, one, bins) in enumerate(found):
        nudge = (number - (len(found) - 1) / 2) * 0.05
        _draw_bins(upper, bins, (least, most), colours[number], markers[number], nudge)
        for value, full in ((one.found >= 1, colours[number]), (one.found < 1, "none")):
            lower.scatter(
                one.area[value],
                one.probability[value],
                s=sizes[number],
                marker=markers[number],
                facecolor=full,
                edgecolor=colours[number],
            )
    for axes, name in ((upper, "found (recall)"), (lower, f"P({lettering(positive, 16)})")):
        plain(axes)
        axes.set(xscale="log", xlim=(least, most), ylim=(-0.05, 1.3 if axes is upper else 1.08))
        axes.set_ylabel(name, fontsize=11)
    upper.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    lower.set_xticks(ticks_between(least, most))
    lower.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    lower.xaxis.set_minor_locator(NullLocator())
    upper.tick_params(labelbottom=False, which="both")
    lower.set_xlabel("area of lesions, mm²", fontsize=11)
    keys = [
        Line2D([], [], color=colours[i], marker=markers[i], linewidth=1.4, label=lettering(name, 40))
        for i, (name, _, _) in enumerate(found)
    ]
    figure.legend(handles=keys, loc="lower left", ncols=2, frameon=False, fontsize=9.5, bbox_to_anchor=(0.05, 0.0))
    return to_png(figure)


def ticks_between(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from `low` to `high`, for an axis of logarithms."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]


def _draw_bins(
    axes: Axes, bins: Sequence[Bin], limits: tuple[float, float], colour: str, marker: str, nudge: float
) -> None:
    """Each bin as a line over its areas, with its interval at the middle and the counts above."""
    for one in bins:
        low, high = max(one.low, limits[0]), min(one.high, limits[1])
        middle = math.sqrt(low * high) * (high / low) ** nudge
        value = one.recall
        axes.plot([low, high], [value.value] * 2, color=colour, linewidth=2, linestyle="--" if nudge > 0 else "-")
        axes.errorbar(
            [middle],
            [value.value],
            yerr=[[value.value - value.low], [value.high - value.value]],
            color=colour,
            marker=marker,
            markersize=7,
            capsize=4,
        )
        if nudge >= 0:
            for y, text in ((1.16, f"{one.slides} slides"), (1.06, f"{one.patients} patients")):
                axes.text(math.sqrt(low * high), y, text, ha="center", va="bottom", fontsize=9, color="0.25")
        axes.axvline(high, color="0.8", linewidth=0.8)
