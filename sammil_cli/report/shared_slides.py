"""What two runs can be compared on: the slides that both judge alike, and what sets the runs apart."""

from dataclasses import dataclass, replace

import numpy as np

from sammil_cli.report.metrics import Predictions


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The rows of both runs on the slides that both judge, in the classes and the patients of the first.

    `paired`: any such slide is there; else `first` and `second` are all rows of both. `same_patients`: both give these
    slides to the same patients. `said`: what differs, each in a sentence.
    """

    first: Predictions
    second: Predictions
    paired: bool
    same_patients: bool
    said: tuple[str, ...]


def shared_slides(first: Predictions, second: Predictions, name: str, reference: str) -> Shared:
    """The part of two runs that can be compared.

    Slides of one run only, and slides that the runs label otherwise, are left out. Where a slide has another patient in
    the second run, the patients of both count as one, so that nothing of a patient is taken for two.

    Args:
        second: in the classes of the first (`in_classes`). name, reference: of the second and the first run.
    """
    labels = [dict(zip(run.slides, run.labels.tolist(), strict=True)) for run in (first, second)]
    both = labels[0].keys() & labels[1].keys()
    said = []
    if not both:
        said.append(
            f"{name} and {reference} share no slide: nothing is paired, and the variances of both runs add up. A "
            "difference may lie in the cohorts as well as in the models"
        )
        return Shared(first=first, second=second, paired=False, same_patients=False, said=tuple(said))
    for run, slides in zip((reference, name), labels, strict=True):
        if lone := len(slides) - len(both):
            said.append(f"{lone} of {len(slides)} slides of {run} are left out: the other run does not judge them")
    other = sorted(slide for slide in both if labels[0][slide] != labels[1][slide])
    if other:
        said.append(
            f"{len(other)} of {len(both)} shared slides are left out: they have another label in {name}, such as "
            f"{other[0]!r}; judge both runs by one labels.csv to compare them all"
        )
    kept = both - set(other)
    parts = [run.rows(np.array([slide in kept for slide in run.slides], np.bool_)) for run in (first, second)]
    groups, same = _joined(*parts)
    if not same:
        said.append(
            f"{name} gives slides to other patients; patients that share a slide count as one, and nothing is shown "
            "per patient"
        )
        parts = [replace(part, patients=tuple(groups[slide] for slide in part.slides)) for part in parts]
    elif kept:
        named = dict(zip(parts[0].slides, parts[0].patients, strict=True))
        parts[1] = replace(parts[1], patients=tuple(named[slide] for slide in parts[1].slides))
    return Shared(first=parts[0], second=parts[1], paired=bool(kept), same_patients=same, said=tuple(said))


def folds_apart(first: Predictions, second: Predictions, name: str) -> list[str]:
    """What sets the folds and repeats of two runs on the same slides apart, each in a sentence."""
    counts = [len(np.unique(run.repeat)) for run in (first, second)]
    said = []
    if counts[0] != counts[1]:
        said.append(f"{name} has {counts[1]} repeats, the reference {counts[0]}: repeats are not paired")
    elif fold_of(first) != fold_of(second):
        said.append(f"{name} has other folds: the difference includes that chance, and repeats are not paired")
    return said


def fold_of(run: Predictions) -> dict[tuple[str, int], int]:
    """The fold of each slide in each repeat."""
    return {
        (slide, repeat): fold
        for slide, repeat, fold in zip(run.slides, run.repeat.tolist(), run.fold.tolist(), strict=True)
    }


def in_classes(run: Predictions, own: tuple[str, ...], wanted: tuple[str, ...]) -> Predictions:
    """The rows with the same classes in another order.

    Args:
        own: class names as the run numbers them. wanted: the same names in the order wanted.
    """
    number = np.array([wanted.index(name) for name in own], np.int64)
    return replace(
        run,
        labels=number[run.labels],
        predicted=number[run.predicted],
        probabilities=run.probabilities[:, [own.index(name) for name in wanted]],
    )


def _joined(first: Predictions, second: Predictions) -> tuple[dict[str, str], bool]:
    """Slide -> patient, with the patients of both runs joined where they share a slide; and whether none had to be."""
    of = [dict(zip(run.slides, run.patients, strict=True)) for run in (first, second)]
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def top(one: tuple[int, str]) -> tuple[int, str]:
        while (above := parent.setdefault(one, one)) != one:
            one = above
        return one

    for slide in sorted(of[0]):
        one, other = top((0, of[0][slide])), top((1, of[1][slide]))
        parent[max(one, other)] = min(one, other)
    groups = {slide: top((0, patient))[1] for slide, patient in of[0].items()}
    sizes = [len(set(one.values())) for one in (*of, groups)]
    return groups, sizes[0] == sizes[1] == sizes[2]
