"""sammil segment --tune: slides under many settings on one sheet, with numbers to choose by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sammil_cli import console
from sammil_cli.config import SegmentSettings
from sammil_cli.errors import InputError
from sammil_cli.jobs.segment import spec_of
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.report.contact_sheet import Cell, draw_sheet
from sammil_cli.report.tissue_trials import Rank, Trial, rank, try_specs
from sammil_cli.runner.executor import Call, open_executor
from sammil_cli.runner.per_slide import limits_of
from sammil_cli.slides.files import find_slides, open_slide
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.stages.segment import OWN_SETTINGS, own_settings
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.paths import DrawingPath, SlidePath
from sammil_cli.tissue.drawing_files import find_drawings
from sammil_cli.tissue.edits import read_polygons
from sammil_cli.tissue.flags import is_flagged
from sammil_cli.tissue.segment import look
from sammil_cli.tissue.spec import PRESETS, TissueSpec, setting_key

MOST_SLIDES = 12
_FEW_EDITS = 3
_HEADER = ("slide_id", "setting", "tissue_share", "pieces", "area_um2", "agreement", "edit_iou", "remarks")


def run(project: Project, settings: SegmentSettings, options: RunOptions) -> tuple[list[Trial], Path]:
    """Tries many settings on up to 12 slides; writes sheet and table beside the tissue folder, which stays as it is.

    Returns:
        All trials, and the sheet.

    Raises:
        InputError: no slides, a setting or table that is wrong, or not one slide that can be shown.
    """
    found = find_slides(project.slides)
    check_only(options.only, set(found.paths), str(project.slides))
    entries = read_slides_table(project.slides_table, OWN_SETTINGS)
    edits = {slide_id: path for slide_id, path in find_drawings(project.edits).items() if slide_id in found.paths}
    chosen = choose_slides(sorted(options.only or found.paths), set(edits))
    named = candidates(settings)

    def calls() -> Iterator[Call]:
        for slide_id in chosen:
            entry = entries.get(slide_id, SlideEntry())
            current = own_settings(settings, slide_id, entry, project.slides_table)
            specs = {name: spec_of(current if name == "current" else other) for name, other in named.items()}
            yield Call.to(slide_id, try_settings, found.paths[slide_id], entry, specs, edits.get(slide_id))

    trials: dict[str, list[Trial]] = {}
    with console.progress(len(chosen), "tune") as bar, open_executor(options, limits_of(settings)) as executor:
        for answer in executor.answers(calls()):
            bar.advance(answer.slide_id)
            if answer.error is None:
                trials[answer.slide_id] = answer.value
            else:
                console.say(f"left out: {answer.slide_id}  {answer.error.code}  {answer.error.message}")
    rows = [trials[slide_id] for slide_id in chosen if slide_id in trials]
    folder = project.tissue.parent / "tune"
    everything = [trial for row in rows for trial in row]
    if not rows:
        raise InputError(f"none of the slides in {project.slides} can be shown", remedy="see the reasons above")
    write_csv(folder / "tissue.csv", _HEADER, [_line(trial) for trial in everything])
    draw_sheet(folder / "tissue.png", list(named), [[_cell(trial) for trial in row] for row in rows])
    return everything, folder / "tissue.png"


def choose_slides(slide_ids: Sequence[str], edited: set[str]) -> list[str]:
    """Up to 12 slides, always the same ones: those with a drawing of the user's first, then by lot."""
    lot = [slide_ids[index] for index in np.random.default_rng(0).permutation(len(slide_ids))]
    lot.sort(key=lambda slide_id: slide_id not in edited)
    return sorted(lot[:MOST_SLIDES])


def candidates(settings: SegmentSettings) -> dict[str, SegmentSettings]:
    """The settings to compare, by name: the current ones, half and twice the threshold, other segmenters, presets."""
    key = "tissue_od_threshold" if settings.segmenter == "od" else "tissue_threshold"
    threshold, most = getattr(settings, key), 3.0 if key == "tissue_od_threshold" else 255
    named = {"current": settings}
    if settings.segmenter in ("saturation", "od"):
        for name, factor in (("half threshold", 0.5), ("twice threshold", 2)):
            named[name] = settings.model_copy(update={key: type(threshold)(min(threshold * factor, most))})
    for name in ("saturation", "otsu", "od"):
        named[name] = settings.model_copy(update={"segmenter": name})
    for name, values in PRESETS.items():
        named[name] = settings.model_copy(update={setting_key(field): value for field, value in values.items()})
    distinct: dict[TissueSpec, str] = {}
    for name, other in named.items():
        distinct.setdefault(spec_of(other), name)
    return {name: named[name] for name in distinct.values()}


def try_settings(
    path: SlidePath, entry: SlideEntry, specs: Mapping[str, TissueSpec], edit: DrawingPath | None
) -> list[Trial]:
    """Runs in the worker: one slide under each setting.

    Raises:
        SlideError: the slide cannot be opened or read, or `E_EDIT`.
    """
    with open_slide(path, entry.mpp, entry.scene) as slide:
        pictures = {wanted: look(slide, wanted) for wanted in {spec.mpp for spec in specs.values()}}
        drawn = None
        if edit is not None:
            polygons, _ = read_polygons(edit, slide_size_px=slide.size_px, bounds_px=slide.bounds_px)
            drawn = next(iter(pictures.values())).mask_of(polygons)
    return try_specs(pictures, specs, drawn)


def _cell(trial: Trial) -> Cell:
    share = f"{trial.tissue_share:.1%}" if trial.pieces else "no tissue"
    pieces = f"{trial.pieces} piece{'s' * (trial.pieces != 1)}" if trial.pieces else ""
    drawn = "" if trial.edit_iou is None else f"IoU {trial.edit_iou:.2f}"
    words = " ".join(sorted(note.split(":")[0] for note in trial.remarks if trial.pieces and is_flagged([note])))
    lines = ("  ".join(filter(None, (share, pieces, drawn))), words)
    return Cell(row=trial.slide_id, picture=trial.picture, lines=lines, warn=trial.doubtful)


def _line(trial: Trial) -> tuple[object, ...]:
    drawn = "" if trial.edit_iou is None else f"{trial.edit_iou:.4f}"
    facts = (f"{trial.tissue_share:.4f}", trial.pieces, f"{trial.area_um2:.0f}", f"{trial.agreement:.4f}", drawn)
    return (trial.slide_id, trial.setting, *facts, "; ".join(trial.remarks))


def advice(trials: Sequence[Trial], settings: SegmentSettings) -> list[str]:
    """The lines for params.yaml that the first-ranked setting takes, and those for data/slides.csv where another
    setting does better on a slide that the first-ranked one leaves doubtful."""
    named = candidates(settings)
    ranks = rank(trials)
    best = ranks[0].setting
    changed = _changes(settings, named[best])
    lines = [f"ranked first: {best}{_evidence(ranks[0])}"]
    lines += [
        f"ranked last, whatever its IoU: {one.setting}: all tissue or none on {one.all_or_none} of {one.slides} slides"
        for one in ranks
        if one.degenerate
    ]
    lines += ["for params.yaml:", *(f"  {key}: {value}" for key, value in changed.items())] if changed else []
    own: dict[str, dict[str, object]] = {}
    for slide_id in sorted({trial.slide_id for trial in trials}):
        group = [trial for trial in trials if trial.slide_id == slide_id]
        if next(trial for trial in group if trial.setting == best).doubtful:
            good = [trial for trial in group if not trial.doubtful]
            if good:
                other = max(good, key=lambda trial: (trial.edit_iou or 0.0, trial.agreement))
                own[slide_id] = _changes(named[best], named[other.setting])
    if own:
        columns = [key for key in OWN_SETTINGS if any(key in values for values in own.values())]
        lines += ["for data/slides.csv:", "  " + ",".join(["slide_id", *columns])]
        lines += [
            "  " + ",".join([slide_id, *(str(values.get(key, "")) for key in columns)])
            for slide_id, values in own.items()
        ]
    return lines


def _evidence(best: Rank) -> str:
    """How much the rank rests on, where it rests on drawings."""
    if not best.edits:
        return ""
    few = ": few; draw more before you trust it" if best.edits < _FEW_EDITS else ""
    return f" (IoU {_iou(best)} with the edits on {best.edits} of {best.slides} slides{few})"


def _iou(one: Rank) -> str:
    """Mean and standard deviation, where there are edits."""
    return f"{one.edit_iou:.2f}" + ("" if one.edit_iou_sd is None else f"±{one.edit_iou_sd:.2f}")


def _changes(before: SegmentSettings, after: SegmentSettings) -> dict[str, object]:
    return {key: getattr(after, key) for key in OWN_SETTINGS if getattr(after, key) != getattr(before, key)}


def report(trials: Sequence[Trial], settings: SegmentSettings, sheet: Path) -> None:
    """Prints the settings ranked, what to write where, and where the sheet is."""
    console.print_table(
        f"settings on {len({trial.slide_id for trial in trials})} slides, the best first (IoU: with your edits)",
        ("setting", "IoU (edits)", "all/none", "doubtful", "agree", "tissue %", "pieces"),
        [
            (
                one.setting,
                f"{_iou(one)} ({one.edits})" if one.edits else "-",
                one.all_or_none,
                one.doubtful,
                f"{one.agreement:.2f}",
                f"{100 * one.tissue_share:.0f} ({100 * one.least_share:.0f}–{100 * one.largest_share:.0f})",
                f"{one.pieces:g}",
            )
            for one in rank(trials)
        ],
    )
    for line in advice(trials, settings):
        console.say(line)
    console.say(f"tune: look at {sheet} (numbers: {sheet.with_suffix('.csv')})")


def as_record(trials: Sequence[Trial], settings: SegmentSettings, sheet: Path) -> dict[str, object]:
    """The same for programs."""
    ranks = [asdict(one) for one in rank(trials)]
    return {"sheet": str(sheet), "ranks": ranks, "advice": advice(trials, settings)}
