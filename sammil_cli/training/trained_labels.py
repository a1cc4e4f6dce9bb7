"""The labels that trained folds are judged by, against those that they were trained on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.cohort.cohort import Member, read_labels
from sammil_cli.errors import InputError
from sammil_cli.training.fold import check_tested, labels_of_folds, read_folds

_CODE = "E_LABELS"
_NAMED = 3  # slides that a refusal names
_AGAIN = "train again: sammil train; or judge by the labels as they are, and have the report say so: --changed-labels"


@dataclass(frozen=True, kw_only=True)
class JudgedBy:
    """The labelled slides by id, and how many of the folds' slides have another label or patient than in training.

    `changed` is None where nothing says what they had.
    """

    members: Mapping[str, Member]
    changed: int | None


def read_judged_by(
    labels: Path, splits: Path, classes: Sequence[str], bags: Collection[str], *, changed_labels: bool
) -> JudgedBy:
    """Reads the labels as they are now. Rows of slides that are in no fold do not matter, nor does the file's form.

    Args:
        splits: what `fold.write_folds` wrote at training.
        classes: of the models.
        bags: the slides that have bags; a table of patients labels these.
        changed_labels: whether labels that changed since training are meant.

    Raises:
        InputError: nothing is tested; they changed and this is not meant; or a slide's class is none of the models'.
    """
    check_tested(read_folds(splits))
    cohort = read_labels(labels, classes, bags, others=True)
    now = {member.slide_id: (cohort.classes[member.label], member.patient_id) for member in cohort.members}
    then = labels_of_folds(splits)
    changed = None if then is None else [slide for slide in sorted(then) if slide in now and now[slide] != then[slide]]
    if not changed_labels:
        if then is None:
            raise InputError(
                f"{splits} does not hold the labels that these models were trained on (an earlier sammil "
                "wrote it, or another tool)",
                remedy=_AGAIN,
                code=_CODE,
            )
        if changed:
            raise InputError(f"{labels} {_differences(changed, then, now)}", remedy=_AGAIN, code=_CODE)
    for member in cohort.members:
        if member.label >= len(classes) and (then is None or member.slide_id in then):
            raise InputError(
                f"{labels}: the label {cohort.classes[member.label]!r} of slide {member.slide_id!r} is none of the "
                f"models' classes {', '.join(map(repr, classes))}",
                remedy="correct it, or train again: sammil train",
            )
    members = {member.slide_id: member for member in cohort.members if member.label < len(classes)}
    return JudgedBy(members=members, changed=None if changed is None else len(changed))


def _differences(
    changed: Sequence[str], then: Mapping[str, tuple[str, str]], now: Mapping[str, tuple[str, str]]
) -> str:
    """What is not as it was in training, in words."""
    said = []
    for place, what in enumerate(("label", "patient")):
        slides = [slide for slide in changed if then[slide][place] != now[slide][place]]
        if slides:
            named = [f"{slide} {now[slide][place]!r}, was {then[slide][place]!r}" for slide in slides[:_NAMED]]
            more = [f"and {len(slides) - _NAMED} more"] if len(slides) > _NAMED else []
            said.append(f"{len(slides)} of {len(then)} slides have another {what} now ({'; '.join([*named, *more])})")
    return f"is not what these models were trained on: {', '.join(said)}"
