"""What the page of `sammil predict` shows of verdicts, slides that were set aside, patients and pictures."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sammil_cli.bundles.ensemble import Verdict
from sammil_cli.bundles.models import Models
from sammil_cli.project.process_list import Row
from sammil_cli.project.remark_summary import worst_first
from sammil_cli.report.listing import Listing, listing
from sammil_cli.report.slide_rows import Picture, SlideRow, Trouble, pictures_in
from sammil_cli.report.verdicts_page import verdicts_page
from sammil_cli.stages.predict import IN_SAMPLE, shown_digits, stamp_of
from sammil_cli.stages.predicted_patients import PatientVerdict, note_on
from sammil_cli.training.thresholds import in_digits


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """Verdicts on slides and patients; `rows`: what became of every slide; `patient_of`: by slide id."""

    verdicts: Sequence[Verdict]
    rows: Sequence[Row]
    patients: Sequence[PatientVerdict]
    patient_of: Mapping[str, str]


def predicted_page(models: Models, judged: Judgements, out: Path, pictures: Path | None, evidence: Path) -> str:
    """The page.

    Args:
        out: the folder that it lies in. pictures, evidence: those of what was drawn; None = nothing was to be drawn.
    """
    facts, mark = models.folds[0].facts, stamp_of(models.folds)
    names = ", ".join(dict.fromkeys(fold.facts.model for fold in models.folds))
    notes = [
        f"{len(models.folds)} model(s) of {models.source}: {names}"
        + (f". Positive class: {facts.positive_class}." if facts.positive_class else "."),
        "A research tool, not a medical device.",
    ]
    if mark:
        notes.append(f"!Epoch and threshold were chosen on the slides that these models were tested on: {mark}.")
    if known := sum(verdict.in_sample is True for verdict in judged.verdicts):
        notes.append(f"!{known} slide(s) were seen in training by every model: no fair predictions of these.")
    if note := note_on(judged.patients):
        notes.append(note)
    troubles = [
        Trouble(slide_id=row.slide_id, code=row.code, message=row.message, remedy=row.remedy)
        for row in judged.rows
        if not row.done
    ]
    remarks = worst_first({row.slide_id: row.remarks for row in judged.rows})
    rows = [_row(one, judged.patient_of.get(one.slide_id, ""), remarks[one.slide_id]) for one in judged.verdicts]
    return verdicts_page(
        "sammil: predictions",
        notes,
        troubles,
        rows,
        _pictures(out, pictures, evidence, [row.name for row in rows]) if pictures else (),
        patients=_patients(judged.patients, facts.positive_class) if judged.patients else None,
        positive_class=facts.positive_class,
    )


def _row(verdict: Verdict, patient: str, remarks: Sequence[str]) -> SlideRow:
    probability, threshold = shown_digits(verdict, 3)
    shown = verdict.positive_class or verdict.predicted
    return SlideRow(
        name=verdict.slide_id,
        patient=patient,
        called=verdict.predicted,
        probability=probability[shown],
        threshold=threshold,
        more={
            "over models": f"{verdict.low[shown]:.3f}–{verdict.high[shown]:.3f}",
            "models": str(verdict.models),
            "in sample": IN_SAMPLE[verdict.in_sample][1],
        },
        remarks=remarks,
    )


def _patients(judged: Sequence[PatientVerdict], positive_class: str | None) -> Listing:
    rows = []
    for one in judged:
        classes, values = list(one.probability), np.array(list(one.probability.values()))
        texts, threshold = in_digits(values, one.threshold, classes.index(one.predicted), 3)
        rows.append(
            SlideRow(
                name=one.patient_id,
                slides=str(one.slides),
                called=one.predicted,
                probability=texts[classes.index(one.positive_class or one.predicted)],
                threshold=threshold,
                more={"threshold of": one.threshold_of or "–", "in sample": IN_SAMPLE[one.in_sample][1]},
            )
        )
    return listing(rows, positive_class, of="patients")


def _pictures(out: Path, folder: Path, evidence: Path, names: Sequence[str]) -> list[Picture]:
    """The pictures of slides of this call, each with its evidence for QuPath."""
    found = []
    for picture in pictures_in(folder, names, prefix=f"{os.path.relpath(folder, out)}/"):
        geojson = evidence / f"{picture.name}.geojson"
        more = {"for QuPath": os.path.relpath(geojson, out)} if geojson.is_file() else {}
        found += [replace(picture, files={**picture.files, **more})] if picture.name in set(names) else []
    return found
