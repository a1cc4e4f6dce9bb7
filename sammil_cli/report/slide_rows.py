"""The rows of the tables of slides and of patients on the pages: one for each, the most confident errors first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.abstention import cells_of
from sammil_cli.report.document import size_of_file
from sammil_cli.report.metrics import Predictions
from sammil_cli.training.thresholds import in_digits

Thresholds = Mapping[tuple[int, int], float | None]  # by (repeat, fold); None = the most probable class is called
WRONG, RIGHT = "wrong", "right"
# What may lie beside a picture, by what its name ends with.
_BESIDE = {".csv": "patches (CSV)", ".ome.tiff": "evidence (OME-TIFF)", ".ome.tif": "evidence (OME-TIFF)"}


@dataclass(frozen=True, kw_only=True)
class SlideRow:
    """A slide, or a patient, of a table; what is empty is not known, and a column that is empty throughout is left out.

    `probability` (and `threshold`): of the positive class, of more than two that of the class that is called.
    `outcome`: whether the decision is the truth. `more`: further columns, the same in all rows.
    """

    name: str
    patient: str = ""
    slides: str = ""
    truth: str = ""
    called: str = ""
    outcome: str = ""
    probability: str = ""
    threshold: str = ""
    fold: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @property
    def wrong(self) -> bool:
        """Whether any repeat calls it wrong."""
        return self.outcome.startswith(WRONG)

    def cell(self, key: str) -> str:
        """What stands in a column."""
        if key == "remarks":
            return "; ".join(self.remarks)
        return self.more[key] if key in self.more else str(getattr(self, key))


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A slide that could not be judged or drawn."""

    slide_id: str
    code: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture beside the page. `path`: from the page; `size`: width and height in px; `files`: label -> path."""

    name: str
    path: str
    size: tuple[int, int] | None
    files: Mapping[str, str]


def judged_rows(
    rows: Predictions,
    classes: Sequence[str],
    thresholds: Thresholds,
    remarks: Mapping[str, Sequence[str]],
    left_open: NDArray[np.bool_] | None = None,
) -> list[SlideRow]:
    """A row for each slide, or patient: wrong ones first, by how sure the models were, then the others by name.

    Args:
        rows: out-of-fold predictions, a row per slide and repeat. thresholds: of each fold. remarks: by slide.
        left_open: (r, C) classes that abstaining leaves open; None = it was not asked for.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(rows.slides):
        places.setdefault(name, []).append(place)
    found = []
    for name, those in places.items():
        row, sure = _row(rows, classes, thresholds, those)
        said = [*remarks.get(name, ())]
        if left_open is not None and (texts := _open(left_open, rows, classes, those)):
            said.append(f"left open: {'; '.join(texts)}")
        found.append(((not row.wrong, -sure if row.wrong else 0.0, name), row, said))
    return [replace(row, remarks=said) for _, row, said in sorted(found, key=lambda one: one[0])]


def _row(
    rows: Predictions, classes: Sequence[str], thresholds: Thresholds, those: Sequence[int]
) -> tuple[SlideRow, float]:
    """The row of a slide, and how sure its errors are: the mean distance from the threshold, 0 to 1."""
    calls = Counter(classes[rows.predicted[place]] for place in those)
    wrong = [place for place in those if rows.predicted[place] != rows.labels[place]]
    of = 1 if len(classes) == 2 else int(rows.predicted[those[0]])
    limits = [thresholds.get((int(rows.repeat[place]), int(rows.fold[place]))) for place in those]
    several = len(those) > 1
    probability, threshold = _numbers(rows, limits, those, of)
    row = SlideRow(
        name=rows.slides[those[0]],
        patient=rows.patients[those[0]],
        truth=classes[rows.labels[those[0]]],
        called=", ".join(f"{name} {count} of {len(those)}" for name, count in calls.items())
        if len(calls) > 1
        else next(iter(calls)),
        outcome=(f"{WRONG} {len(wrong)} of {len(those)}" if several else WRONG) if wrong else RIGHT,
        probability=probability,
        threshold=threshold,
        fold=", ".join(f"{rows.repeat[place]}.{rows.fold[place]}" for place in those),
    )
    return row, len(wrong) / len(those) + sum(_distance(rows, limits, those, place) for place in wrong) / len(those)


def _numbers(rows: Predictions, limits: Sequence[float | None], those: Sequence[int], of: int) -> tuple[str, str]:
    """Probability and threshold as text in which a single decision can be read; the means of several repeats."""
    if len(those) == 1:
        place = those[0]
        texts, threshold = in_digits(rows.probabilities[place], limits[0], int(rows.predicted[place]), 3)
        return texts[of], threshold
    given = [limit for limit in limits if limit is not None]
    return f"{rows.probabilities[those, of].mean():.3f}", f"{sum(given) / len(given):.3f}" if given else ""


def _distance(rows: Predictions, limits: Sequence[float | None], those: Sequence[int], place: int) -> float:
    """How far a decision lies from the next one: from the threshold, or as the probability of the class called."""
    limit = limits[those.index(place)]
    if limit is None:
        return float(rows.probabilities[place, rows.predicted[place]])
    return abs(float(rows.probabilities[place, 1]) - limit)


def _open(left_open: NDArray[np.bool_], rows: Predictions, classes: Sequence[str], those: Sequence[int]) -> list[str]:
    found = [cells_of(left_open[place], int(rows.predicted[place]), classes) for place in those]
    return list(dict.fromkeys(names or "no class fits" for names, abstained in found if abstained == "true"))


def pictures_in(folder: Path, names: Sequence[str], prefix: str = "") -> list[Picture]:
    """The pictures of a folder in the order of the names; those of other slides follow.

    Args:
        prefix: the folder as seen from the page, with a `/`; empty = the page lies in it.
    """
    there = {path.name.removesuffix(".png"): path for path in sorted(folder.glob("*.png"))}
    order = [*(name for name in names if name in there), *(name for name in there if name not in set(names))]
    return [
        Picture(
            name=name,
            path=f"{prefix}{name}.png",
            size=size_of_file(there[name]),
            files={
                label: f"{prefix}{name}{suffix}"
                for suffix, label in _BESIDE.items()
                if (folder / f"{name}{suffix}").is_file()
            },
        )
        for name in order
    ]
