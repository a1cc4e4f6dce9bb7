"""What the report lists one by one: slides, those that were set aside, patients."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sammil_cli.config import EvaluateSettings
from sammil_cli.project.project import Project
from sammil_cli.report.abstention import sets_out_of_fold
from sammil_cli.report.listing import Listing, listing
from sammil_cli.report.page import Lists
from sammil_cli.report.slide_rows import judged_rows
from sammil_cli.stages.judged_folds import Judged
from sammil_cli.stages.patients import JudgedPatients
from sammil_cli.stages.slide_remarks import flags_of, set_aside


def lists_of(project: Project, settings: EvaluateSettings, judged: Judged, of_patients: JudgedPatients | None) -> Lists:
    """The lists of the report page.

    Args:
        of_patients: None = patients are not listed.
    """
    rows, classes = judged.rows, judged.facts[0].classes
    thresholds = {(fact.repeat, fact.fold): fact.calibrated_threshold for fact in judged.facts}
    sets = None if settings.abstain is None else sets_out_of_fold(rows, settings.abstain)
    slides = judged_rows(rows, classes, thresholds, flags_of(project), sets)
    positive = rows.positive_class
    return Lists(
        slides=listing(slides, positive, linked={row.name for row in slides}),
        undone=set_aside(project, set(judged.slides)),
        patients=_patients(of_patients, classes, positive) if of_patients else None,
    )


def _patients(judged: JudgedPatients, classes: Sequence[str], positive_class: str | None) -> Listing:
    slides_of = dict(zip(judged.slides.slides, judged.slides.patients, strict=True))  # repeats judge a slide again
    slides = Counter(slides_of.values())
    rows = judged_rows(judged.rows, classes, judged.thresholds, {})
    shown = [replace(row, patient="", slides=str(slides[row.name])) for row in rows]
    return listing(shown, positive_class, of="patients")
