"""The tables of `wsi-sam evaluate`: Dice and IoU by kind of prompt and patient; and what was published."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sammil_cli.prompting.dice import Overlap, Scores, mean_over_patients, too_few
from sammil_cli.prompting.field_reader import Sample
from sammil_cli.prompting.learned_from import LearnedFrom
from sammil_cli.report.intervals import Estimate
from sammil_cli.report.tables import Table

BOX = "box"
POINTS = (3, 5, 10)
KINDS = (BOX, *(f"{count} points" for count in POINTS))
_METRICS = {"dice": "Dice", "iou": "IoU"}
_PARTS = ("", "_difference")

# Liu et al., COMPAYL 2024, by the figures of their README (docs/methods.md §12).
_PUBLISHED_BOX = (
    ("SAM", "73.35", "86.06", "81.36", "72.86", "80.09"),
    ("SAM*", "61.22", "74.17", "72.88", "40.00", "62.35"),
    ("MedSAM", "64.71", "77.91", "75.24", "71.64", "74.93"),
    ("WSI-SAM", "77.50", "89.76", "84.30", "73.55", "82.54"),
)
_PUBLISHED_POINTS = (
    ("DCIS", "SAM", "71.16", "76.59", "80.18"),
    ("DCIS", "WSI-SAM", "72.48", "79.22", "83.93"),
    ("C16", "SAM", "75.38", "78.70", "82.67"),
    ("C16", "WSI-SAM", "76.34", "80.86", "84.32"),
)
_OTHER_SLIDES = "Other slides, other fields and other prompts than above: nothing here is to be compared with it."


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What came of all samples.

    `scores`: of a kind of prompt and a name, one per sample in their order. `names`: models, then what needs no model.
    `against`: the name that the others are compared with. `sources`: of tokens, what they were trained on. `remarks`:
    what else is to be said of all numbers.
    """

    samples: Sequence[Sample]
    names: Sequence[str]
    scores: Mapping[tuple[str, str], Sequence[Overlap]]
    against: str
    sources: Mapping[str, LearnedFrom]
    remarks: Sequence[str] = ()

    @property
    def patients(self) -> list[str]:
        """Of each sample."""
        return [sample.patient_id for sample in self.samples]

    @property
    def size(self) -> str:
        """In words."""
        slides = len({sample.slide_id for sample in self.samples})
        return f"{len(self.samples)} fields of {slides} slides of {len(set(self.patients))} patients"

    def of(self, kind: str, name: str, metric: str) -> Scores | None:
        """A metric of each sample; None where a name was not asked by this kind of prompt."""
        found = self.scores.get((kind, name))
        return None if found is None else np.array([getattr(one, metric) for one in found])

    def stamp(self, name: str) -> str:
        """What is to be said of every number of tokens that saw samples in training; empty where they saw none."""
        if name not in self.sources:
            return ""
        seen = Counter(self.sources[name].saw(sample) for sample in self.samples)
        if count := seen["learned from"]:
            return f"IN SAMPLE: learned from the patients of {count} of these {len(self.samples)} fields"
        if count := seen["chose the epoch"]:
            return f"epoch chosen on the patients of {count} of these {len(self.samples)} fields"
        return "training slides not known" if seen["not known"] else ""


def estimates(judged: Judged, kind: str, name: str, *, level: float, draws: int) -> dict[str, Estimate]:
    """`dice`, `iou`, and `dice_difference`, `iou_difference` to `judged.against` on the same draws of patients.

    Empty for a name that was not asked by this kind of prompt; the differences are left out of the reference itself.
    """
    found: dict[str, Estimate] = {}
    for metric in _METRICS:
        own, other = (judged.of(kind, each, metric) for each in (name, judged.against))
        if own is not None:
            found[metric] = mean_over_patients(own, judged.patients, level=level, draws=draws)
            if other is not None and name != judged.against:
                gap = mean_over_patients(own - other, judged.patients, level=level, draws=draws)
                found[f"{metric}_difference"] = gap
    return found


def make_tables(judged: Judged, *, level: float, draws: int) -> list[Table]:
    """A table for each kind of prompt, and the published figures."""
    header = (
        "who",
        *(f"{metric} [{level:.0%}]" for metric in _METRICS.values()),
        *(f"{metric} minus {judged.against}" for metric in _METRICS.values()),
    )
    stamps = {name: judged.stamp(name) for name in judged.names}
    tables = []
    for kind in KINDS:
        rows = []
        for name in judged.names:
            if found := estimates(judged, kind, name, level=level, draws=draws):
                cells = [_cell(found.get(metric + part), signs=bool(part)) for part in _PARTS for metric in _METRICS]
                rows.append((name, *cells, *([stamps[name]] if any(stamps.values()) else [])))
        tables.append(
            Table(
                title=f"Prompt: {kind} ({judged.size})",
                header=(*header, "") if any(stamps.values()) else header,
                rows=rows,
                note=_note(judged, level),
            )
        )
    return [*tables, *_published()]


def _note(judged: Judged, level: float) -> str:
    said = [
        "All × 100. Dice and IoU of the mask and the drawn area on HR, means over fields; box: tight, around all that "
        "is drawn in the field; points: inside of it, the fewer among the more. Intervals: patients drawn anew, each "
        "with all fields. Where the interval of a difference holds 0, these slides do not tell the two apart."
    ]
    if few := too_few(len(set(judged.patients)), level):
        said.append(few)
    if any(text.startswith("IN SAMPLE") for text in map(judged.stamp, judged.names)):
        said.append("IN SAMPLE: what was learned from is answered again; that is no estimate for other slides.")
    return " ".join([*said, *judged.remarks])


def _cell(estimate: Estimate | None, *, signs: bool) -> str:
    if estimate is None:
        return "–"
    form = "+.1f" if signs else ".1f"
    value, low, high = (format(100 * number, form) for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]" if estimate.low == estimate.low else value


def _published() -> list[Table]:
    note = (
        f"Liu et al., COMPAYL 2024, by the figures of their repository; C16 is CAMELYON16. {_OTHER_SLIDES} The table "
        "of boxes does not say which metric it shows; the figure of points says Dice, and Dice is what boxes are taken "
        "for here. What SAM* is was not to be found."
    )
    return [
        Table(
            title="As published: box",
            header=("who", "DCIS", "C16 IDC", "C16 ILC", "C16 DUC", "C16 mean"),
            rows=_PUBLISHED_BOX,
            note=note,
        ),
        Table(
            title="As published: points",
            header=("slides", "who", *(f"{count} points" for count in POINTS)),
            rows=_PUBLISHED_POINTS,
            note=note,
        ),
    ]
