"""Fig. 8 of the paper: attention of a model trained with the consistency loss, beside one trained without."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sammil_cli.errors import InputError
from sammil_cli.figures.pair import Numbers, Style, View, run_pair
from sammil_cli.figures.runs import open_training, params_of
from sammil_cli.figures.sheet import greyed, outline_key
from sammil_cli.jobs.patch_scores import PatchScores
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project
from sammil_cli.regions.contrast import contrast
from sammil_cli.report.lesion_agreement import ranking
from sammil_cli.report.patch_paint import paint
from sammil_cli.report.scales import percentile_rank

NAME = "consistency"
_WITHOUT = "-S consistency_weight=0"
_LINES = 350  # borders are this part of the picture's longer side, so that they show when it is shrunk
_COLOURS = "cividis"  # made for colour-blind readers: brighter is more


def run(project: Project, slides: Sequence[str], training: Path, beside: Path, out: Path) -> list[Row]:
    """Draws the figure and returns what became of each slide.

    Args:
        slides: ids; none = the tested slides with the largest and the smallest lesion.
        training, beside: folders of `sammil train`, with and without the consistency loss.

    Raises:
        InputError: one of the two is missing, or they do not differ in the loss.
    """
    both = open_training(training, ""), open_training(beside, _WITHOUT)
    weights = [_weight(folder) for folder in (training, beside)]
    if not weights[0] > 0:
        raise InputError(
            f"{training} was trained without the consistency loss (consistency_weight: {weights[0]:g})",
            remedy="give a training with it: --run; or set consistency_weight above 0, then run: sammil train",
        )
    if weights[1] != 0:
        raise InputError(
            f"{beside} was trained with the consistency loss (consistency_weight: {weights[1]:g})",
            remedy=f"run: sammil train {_WITHOUT} --out {beside}",
        )
    style = Style(
        name=NAME,
        shown_as="Fig. 8",
        title="Attention with and without the consistency loss",
        notes=[
            "Attention of the fold that did not learn from the slide, as percentile within the slide. "
            "The loss asks for equal attention inside a region.",
            "Share between regions: of the variance of these percentiles, adjusted for the number of regions; "
            "1 = equal inside each region, 0 = regions make no difference.",
        ],
        titles=(f"with consistency (β = {weights[0]:g})", "without (β = 0)"),
        legend=[
            [outline_key("known lesion")],
            [Line2D([], [], color="black", linewidth=1, label="border of a region")],
            [Patch(facecolor=colormaps[_COLOURS](0.0), label="lowest attention of the slide")],
            [Patch(facecolor=colormaps[_COLOURS](1.0), label="highest")],
        ],
        paint=_paint,
        measure=_measure,
        below=_below,
        first=_first,
        first_title="slide and regions",
    )
    return run_pair(project, slides, both, style, out)


def _weight(folder: Path) -> float:
    params = params_of(folder)
    if params.get("model") != "sam-mil":
        raise InputError(
            f"{folder} holds the model {params.get('model')}, which has no consistency loss",
            remedy="give trainings of sam-mil: --run and --beside",
        )
    weight = params.get("consistency_weight")
    return float(weight) if isinstance(weight, int | float) else 0.0


def _paint(axes: Axes, view: View, scores: PatchScores) -> None:
    axes.imshow(greyed(view.field))
    heat = paint(view.labels.shape[:2], view.xy, view.side, percentile_rank(scores.attention))
    axes.imshow(heat, cmap=_COLOURS, vmin=0, vmax=1, interpolation="nearest", alpha=0.9)
    _borders(axes, view)


def _first(axes: Axes, view: View) -> None:
    axes.imshow(view.field.image)
    _borders(axes, view)


def _borders(axes: Axes, view: View) -> None:
    labels = view.labels
    border = np.zeros(labels.shape, np.uint8)
    border[:-1] |= labels[1:] != labels[:-1]
    border[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    width = max(1, round(max(labels.shape) / _LINES))
    ink = np.zeros((*labels.shape, 4))
    ink[cv2.dilate(border, np.ones((width, width), np.uint8)) > 0, 3] = 0.9
    axes.imshow(ink, interpolation="nearest")


def _measure(view: View, scores: PatchScores) -> Numbers:
    ranks = percentile_rank(scores.attention)
    return {
        "attention_between_regions": contrast(ranks[:, None], view.region),
        "attention_auc_of_lesion": ranking(scores.attention, view.in_lesion),
    }


def _below(view: View, measured: Numbers) -> list[str]:
    between, area = measured["attention_between_regions"], measured["attention_auc_of_lesion"]
    lines = [] if between is None else [f"share between regions {between:.2f}"]
    return lines + ([] if area is None else [f"attention finds lesion patches with AUC {area:.3f}"])
