"""The cohort's part of `sammil explain`: tables, a picture and a page of all slides that are explained."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from sammil_cli import console
from sammil_cli.cohort.cohort import Member
from sammil_cli.config import EvaluateSettings
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.explain_tables import bins_table, findings_table, first_regions_table, removal_table, with_sign
from sammil_cli.report.explained_cohort import Judged, by_area, findings, groups, mean_curve, removals
from sammil_cli.report.explained_slide import REGION_COLUMNS, orders_of, read_explained, shown
from sammil_cli.report.lesion_agreement import Agreement
from sammil_cli.report.page import write_tables
from sammil_cli.report.removal import SHARES
from sammil_cli.report.removal_figure import draw_removal
from sammil_cli.storage.files import read_csv, write_csv, write_json
from sammil_cli.training.model_facts import ModelFacts

_OF_SLIDE = ("slide_id", "patient_id", "label", "called", "of", "slide_probability", "threshold", "fold")
_LESIONS = (
    *("lesion_mm2", "lesion_patches", "patches", "evidence_auc", "attention_auc", "top_patch", "top_patch_by_chance"),
    *("top_region_lesion", "regions_in_lesion", "regions_touching"),
)


def write_report(
    out: Path, members: Sequence[Member], facts: ModelFacts, judged: EvaluateSettings, *, left_out: int
) -> Mapping[str, object]:
    """Writes the tables, the picture and the page; returns what `explain.json` holds.

    Args:
        members: the slides that are explained, in `out/slides`. left_out: slides that no fold tests.
    """
    level, draws = judged.interval, judged.bootstrap_draws
    slides = [
        Judged(
            slide=read_explained(out / "slides" / f"{member.slide_id}.json"),
            patient_id=member.patient_id,
            label=facts.classes[member.label],
        )
        for member in members
    ]
    firsts = _write_regions(out, slides)
    taken = removals(slides, level=level, draws=draws)
    _write_curves(out / "faithfulness.csv", slides)
    panels = [
        (
            f"{name} ({len(group)} slides)",
            {order: mean_curve(group, order) for order in orders_of([g.slide for g in group])},
        )
        for name, group in groups(slides)
    ]
    picture = draw_removal(panels)
    (out / "faithfulness.png").write_bytes(picture)
    drawn = [(one, one.slide.lesions) for one in slides if one.slide.lesions is not None]
    positive = facts.positive_class or "each class"
    found, bins = findings(drawn, level=level, draws=draws), by_area(drawn, level=level)
    _write_lesions(out / "lesions.csv", drawn)
    tables = [removal_table(taken, level=level)]
    if drawn:
        tables += [findings_table(found, positive, level=level), *([bins_table(bins, level=level)] if bins else [])]
    tables.append(first_regions_table(list(zip(slides, firsts, strict=True)), facts.positive_class, len(facts.classes)))
    remark = _remark(slides, drawn, facts, left_out)
    title = f"sammil: what explains {facts.model}'s verdicts"
    write_tables(out / "index.html", title, tables, {"faithfulness": picture}, remark, mark=facts.stamp)
    record = {
        "model": facts.model,
        "classes": list(facts.classes),
        "protocol": facts.protocol,
        "slides": len(slides),
        "patients": len({one.patient_id for one in slides}),
        "left_out": left_out,
        "interval": level,
        "faithfulness": [
            {
                "slides": one.called,
                "order": one.order,
                "n": one.slides,
                "patients": one.patients,
                "area": _cells(one.area),
            }
            for one in taken
        ],
        "lesions": [
            {
                "name": one.name,
                "n": one.slides,
                "patients": one.patients,
                **_cells(one.mean),
                "by_chance": one.by_chance,
            }
            for one in found
        ],
    }
    write_json(out / "explain.json", record)
    for one in taken[:3]:
        console.say(f"explain: {one.called}, {one.order} taken first: area {with_sign(one.area)} below random removal")
    for finding in found:
        console.say(f"explain: {finding.name}: {finding.mean.value:.3f} (by chance {finding.by_chance:.3f})")
    console.say(f"page: {out / 'index.html'} (regions.csv, faithfulness.csv, lesions.csv, explain.json beside it)")
    return record


def _write_regions(out: Path, slides: Sequence[Judged]) -> list[Mapping[str, str] | None]:
    """Writes the regions of all slides as one table; returns the first one of each, None where a slide has none."""
    rows: list[tuple[object, ...]] = []
    firsts: list[Mapping[str, str] | None] = []
    for one in slides:
        path, slide = out / "slides" / f"{one.slide.slide_id}.csv", one.slide
        regions = read_csv(path, REGION_COLUMNS) if path.is_file() else []
        head = (slide.slide_id, one.patient_id, one.label, slide.called, slide.of)
        said = (shown(slide.probability), shown(slide.threshold), slide.fold)
        rows += [(*head, *said, *(row[name] for name in REGION_COLUMNS)) for row in regions]
        firsts.append(regions[0] if regions else None)
    write_csv(out / "regions.csv", (*_OF_SLIDE, *REGION_COLUMNS), rows)
    return firsts


def _write_curves(path: Path, slides: Sequence[Judged]) -> None:
    """Writes the mean curve of each order in each group, and of each slide."""
    rows = []
    for name, group in [*groups(slides), *((one.slide.slide_id, [one]) for one in slides)]:
        for order in orders_of([one.slide for one in group]):
            own = sum(order in one.slide.curves for one in group)
            curve = mean_curve(group, order)
            rows += [(name, order, own, share, shown(p)) for share, p in zip(SHARES, curve.tolist(), strict=True)]
    write_csv(path, ("slides", "order", "n", "removed", "probability"), rows)


def _write_lesions(path: Path, drawn: Sequence[tuple[Judged, Agreement]]) -> None:
    rows = []
    for one, lesions in drawn:
        facts = vars(lesions) | {"patches": one.slide.patches}
        numbers = (_text(facts[name]) for name in _LESIONS)
        rows.append((one.slide.slide_id, one.patient_id, one.label, one.slide.called, *numbers))
    write_csv(path, ("slide_id", "patient_id", "label", "called", *_LESIONS), rows)


def _text(value: float | bool | None) -> object:
    """A cell: whole numbers and flags as they are, others to six digits, "" = not defined."""
    return shown(value) if value is None or isinstance(value, float) else int(value)


def _remark(
    slides: Sequence[Judged], drawn: Sequence[tuple[Judged, Agreement]], facts: ModelFacts, left_out: int
) -> str:
    """What a reader must know first."""
    said = [
        f"{len(slides)} slides, each explained by the fold that did not see its patient (of several repeats the "
        "first); probabilities are calibrated, evidence of patches is not."
    ]
    if left_out:
        said.append(f"{left_out} slide(s) are left out, since no fold tests them.")
    unplaced = sum(not one.slide.curves.keys() & {"regions"} for one in slides)
    if unplaced:
        said.append(f"{unplaced} slide(s) have no regions: patches alone are looked at.")
    lesions = sum(one.label == facts.positive_class for one in slides) if facts.positive_class else len(slides)
    if len(drawn) < lesions:
        what = f"of {facts.positive_class} " if facts.positive_class else ""
        said.append(f"{lesions - len(drawn)} of {lesions} slide(s) {what}have no lesion drawn, and do not count there.")
    if tiny := sum(not lesions.lesion_patches for _, lesions in drawn):
        said.append(f"On {tiny} slide(s) no patch is lesion by half or more, so that their AUC is not defined.")
    return " ".join(said)


def _cells(found: Estimate) -> dict[str, float | None]:
    """An estimate for JSON; None where it is not defined."""
    return {name: None if math.isnan(value) else round(value, 6) for name, value in vars(found).items()}
