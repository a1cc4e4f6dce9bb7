"""Fig. 11 of the paper: which patches speak for tumour, by AB-MIL beside SAM-MIL on the same slides.

Both are drawn on one scale. In the released code they were not: SAM-MIL's attention went through the softmax twice
(docs/methods.md §10.7).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sammil_cli.errors import InputError
from sammil_cli.figures.pair import Numbers, Style, View, run_pair
from sammil_cli.figures.runs import Training, open_training
from sammil_cli.figures.sheet import outline_key
from sammil_cli.jobs.patch_scores import PatchScores
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project
from sammil_cli.report.lesion_agreement import ranking
from sammil_cli.report.paper_view import ATTENTION_FROM, EVIDENCE_ABOVE, paper_view
from sammil_cli.report.scales import min_max

NAME = "models"
_DOT_PT = 3.0


def run(project: Project, slides: Sequence[str], training: Path, beside: Path, out: Path) -> list[Row]:
    """Draws the figure and returns what became of each slide.

    Args:
        slides: ids; none = the tested slides with the largest and the smallest lesion.
        training, beside: folders of `sammil train`; the paper has SAM-MIL and AB-MIL.

    Raises:
        InputError: one of the two is missing, or they are of more than two classes or of other positive classes.
    """
    ours, other = open_training(training, ""), open_training(beside, "-S model=abmil")
    names = [_facts(one) for one in (other, ours)]
    if names[0][1] != names[1][1]:
        raise InputError(
            f"the positive class of {beside} is {names[0][1]}, that of {training} {names[1][1]}",
            remedy="set positive_class alike and train again",
        )
    style = Style(
        name=NAME,
        shown_as="Fig. 11",
        title=f"Patches that speak for {names[1][1]}: {names[0][0]} beside {names[1][0]}",
        notes=[
            "Each by the fold that did not learn from the slide. As in the paper's Fig. 11, both models on one scale: "
            f"cyan, evidence p = softmax(W(a·e)) > {EVIDENCE_ABOVE}; white with a dot, attention scaled from 0 to 1 is "
            f"{ATTENTION_FROM} or more. Ideally cyan fills the outlines and nothing else."
        ],
        titles=_titles(names, (beside, training)),
        legend=[
            [outline_key("known lesion")],
            [Patch(facecolor="cyan", edgecolor="0.3", label=f"evidence for {names[1][1]} > {EVIDENCE_ABOVE}")],
            [
                Patch(facecolor="white", edgecolor="0.3", label=f"attention, min-max scaled, ≥ {ATTENTION_FROM}"),
                Line2D([], [], linestyle="none", marker="o", markersize=_DOT_PT, color="black"),
            ],
        ],
        paint=_paint,
        measure=_measure,
        below=_below,
        first=_first,
        first_title="slide",
    )
    return run_pair(project, slides, (other, ours), style, out)


def _titles(names: Sequence[tuple[str, str]], folders: tuple[Path, Path]) -> tuple[str, str]:
    """The models' names; where they are equal, with their folders."""
    (one, _), (two, _) = names
    return (one, two) if one != two else (f"{one} ({folders[0]})", f"{two} ({folders[1]})")


def _facts(training: Training) -> tuple[str, str]:
    """The model and the positive class of a training."""
    facts = training.facts_of(next(iter(training.fold_of), ""))
    if facts.positive_class is None:
        raise InputError(
            f"{training.folder} has {len(facts.classes)} classes; the figure shows the evidence for one of two",
            remedy="look at the pictures of: sammil visualize",
        )
    return facts.model, facts.positive_class


def _first(axes: Axes, view: View) -> None:
    axes.imshow(view.field.image)


def _paint(axes: Axes, view: View, scores: PatchScores) -> None:
    evidence = scores.evidence[:, scores.shown]
    axes.imshow(paper_view(view.field.image, view.xy, view.side, scores.attention, evidence))
    # A dot as well: white and cyan look alike to some readers.
    middle = view.xy[min_max(scores.attention) >= ATTENTION_FROM] + (view.side - 1) / 2
    axes.plot(middle[:, 0], middle[:, 1], linestyle="none", marker="o", markersize=_DOT_PT, color="black")


def _measure(view: View, scores: PatchScores) -> Numbers:
    cyan = scores.evidence[:, scores.shown] > EVIDENCE_ABOVE
    found, wanted = int(cyan.sum()), int(view.in_lesion.sum())
    both = int((cyan & view.in_lesion).sum())
    return {
        "cyan": found,
        "white": int(np.count_nonzero(min_max(scores.attention) >= ATTENTION_FROM)),
        "cyan_in_lesion": both / found if found and wanted else None,
        "lesion_in_cyan": both / wanted if wanted else None,
        "attention_auc_of_lesion": ranking(scores.attention, view.in_lesion),
    }


def _below(view: View, measured: Numbers) -> list[str]:
    if measured["lesion_in_cyan"] is None:
        what = "no patch is lesion by half or more" if view.lesions else "no lesion drawn"
        return [f"{measured['cyan']} of {len(view.xy)} patches cyan; {what}"]
    inside = measured["cyan_in_lesion"]
    shares = f"{measured['lesion_in_cyan']:.0%} of lesion patches cyan"
    shares += "; no patch cyan" if inside is None else f"; {inside:.0%} of cyan in lesion"
    area = measured["attention_auc_of_lesion"]  # None where every patch is lesion
    return [shares, *([] if area is None else [f"attention finds lesion patches with AUC {area:.3f}"])]
