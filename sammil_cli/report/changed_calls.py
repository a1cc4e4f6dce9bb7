"""The slides on which a run and the reference disagree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.report.metrics import Predictions
from sammil_cli.report.shared_slides import Shared
from sammil_cli.report.tables import Table
from sammil_cli.storage.files import write_csv

PUT_RIGHT, MADE_WRONG, STILL_WRONG = "put right", "made wrong", "wrong, another class"
_ORDER = (MADE_WRONG, PUT_RIGHT, STILL_WRONG, "")
_MOST = 10  # slides in a table; the file has them all


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one run says of a slide: the class that most repeats call it, and its mean calibrated probability."""

    called: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class SlideOfTwo:
    """A slide that two runs judge. Probabilities are of the class `of`: the positive one, of more than two the label.

    `change`: `PUT_RIGHT`, `MADE_WRONG`, `STILL_WRONG`; empty where both call it alike.
    """

    slide_id: str
    patient_id: str
    label: str
    of: str
    reference: Judged
    run: Judged

    @property
    def change(self) -> str:
        """What became of the slide."""
        if self.reference.called == self.run.called:
            return ""
        return {self.run.called: PUT_RIGHT, self.reference.called: MADE_WRONG}.get(self.label, STILL_WRONG)


def slides_of_two(shared: Shared, classes: Sequence[str]) -> list[SlideOfTwo]:
    """The slides that both runs judge: those made wrong first, then those put right, the largest change on top.

    Args:
        classes: names of both runs' classes, as they number them. No slide where the runs share none.
    """
    if not shared.paired:
        return []
    reference, run = _by_slide(shared.first), _by_slide(shared.second)
    found = []
    for slide, places in reference.items():
        label = int(shared.first.labels[places[0]])
        of = 1 if len(classes) == 2 else label
        found.append(
            SlideOfTwo(
                slide_id=slide,
                patient_id=shared.first.patients[places[0]],
                label=classes[label],
                of=classes[of],
                reference=_judged(shared.first, places, of, classes),
                run=_judged(shared.second, run[slide], of, classes),
            )
        )
    return sorted(found, key=lambda one: (_ORDER.index(one.change), -_moved(one), one.slide_id))


def counts_of(slides: Sequence[SlideOfTwo]) -> dict[str, int]:
    """How many slides were put right, made wrong, or are wrong in another way; for JSON."""
    counted = Counter(one.change for one in slides)
    return {name.replace(", ", "_").replace(" ", "_"): counted[name] for name in _ORDER if name}


def changed_table(reference: str, run: str, slides: Sequence[SlideOfTwo], path: Path) -> Table | None:
    """The slides on which two runs disagree, at most ten of them; None where they agree on all.

    Args:
        path: of the file that has all slides.
    """
    changed = [one for one in slides if one.change]
    if not changed:
        return None
    counted = Counter(one.change for one in changed)
    words = ", ".join(f"{counted[name]} {name}" for name in _ORDER if name and counted[name])
    of = f"P({slides[0].of})" if len({one.of for one in slides}) == 1 else "P(label)"
    more = f" The first {_MOST} of {len(changed)}." if len(changed) > _MOST else ""
    return Table(
        title=f"Where {reference} and {run} disagree: {words}, of {len(slides)} slides",
        header=("slide", "label", "called", of, "change"),
        rows=[
            (
                one.slide_id,
                one.label,
                f"{one.reference.called} → {one.run.called}",
                f"{one.reference.probability:.3f} → {one.run.probability:.3f}",
                one.change,
            )
            for one in changed[:_MOST]
        ],
        note=f"{reference} → {run}. Called: by most repeats; P: calibrated, mean of the repeats. Another seed changes "
        f"some calls, too.{more} All slides: {path}",
    )


def write_slides(path: Path, reference: str, runs: Sequence[tuple[str, Sequence[SlideOfTwo]]]) -> None:
    """Writes a row for each slide that a run and the reference judge, run by run."""
    header = (
        "reference",
        "run",
        "slide_id",
        "patient_id",
        "label",
        "called_reference",
        "called_run",
        "probability_of",
        "probability_reference",
        "probability_run",
        "change",
    )
    rows = [
        (
            reference,
            name,
            one.slide_id,
            one.patient_id,
            one.label,
            one.reference.called,
            one.run.called,
            one.of,
            f"{one.reference.probability:.6f}",
            f"{one.run.probability:.6f}",
            one.change,
        )
        for name, slides in runs
        for one in slides
    ]
    write_csv(path, header, rows)


def _by_slide(rows: Predictions) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, slide in enumerate(rows.slides):
        places.setdefault(slide, []).append(place)
    return places


def _judged(rows: Predictions, places: Sequence[int], of: int, classes: Sequence[str]) -> Judged:
    """Of classes that as many repeats call, the more probable one counts."""
    means = rows.probabilities[list(places)].mean(axis=0)
    calls = Counter(rows.predicted[list(places)].tolist())
    called = max(calls, key=lambda one: (calls[one], means[one]))
    return Judged(called=classes[called], probability=float(means[of]))


def _moved(one: SlideOfTwo) -> float:
    return abs(one.run.probability - one.reference.probability)
