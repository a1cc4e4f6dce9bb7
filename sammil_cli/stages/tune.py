"""sammil segment --tune: slides under many settings on one sheet, with numbers to choose by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli import console
from sammil_cli.config import SegmentSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.report.contact_sheet import Cell, draw_sheet
from sammil_cli.slides.files import find_slides, open_slide
from sammil_cli.slides.slide import RGB
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.stages.executor import Call, open_executor
from sammil_cli.stages.per_slide import limits_of
from sammil_cli.stages.project import Project, RunOptions, check_only
from sammil_cli.stages.segment import OWN_SETTINGS, own_settings, spec_of
from sammil_cli.storage.files import write_csv
from sammil_cli.tissue.edits import find_drawings, read_polygons
from sammil_cli.tissue.file import draw_outlines
from sammil_cli.tissue.flags import is_flagged, qc_notes, same_share, tissue_share
from sammil_cli.tissue.mask import TissueMask
from sammil_cli.tissue.segment import Picture, find_tissue, look
from sammil_cli.tissue.spec import PRESETS, TissueSpec, setting_key

MOST_SLIDES = 12
_CELL_PX = 260  # longest side of a slide on the sheet
_VEIL = (110, 130, 165)  # laid over what is no tissue
_CANVAS_PX = 512  # longest side of the canvas on which the settings vote
_HEADER = ("slide_id", "setting", "tissue_share", "pieces", "area_um2", "agreement", "edit_iou", "notes")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One slide under one setting.

    `agreement` is the intersection over union with what most settings call tissue; `edit_iou` that with the polygons
    that a person drew, None where there are none.
    """

    slide_id: str
    setting: str
    picture: RGB  # (h, w, 3), outlined
    tissue_share: float
    pieces: int
    area_um2: float
    agreement: float
    edit_iou: float | None
    notes: tuple[str, ...]

    @property
    def doubtful(self) -> bool:
        """Whether nothing was found, or the mask is flagged."""
        return self.pieces == 0 or is_flagged(self.notes)


def run(project: Project, settings: SegmentSettings, options: RunOptions) -> tuple[list[Trial], Path]:
    """Tries many settings on up to 12 slides; writes sheet and table beside the tissue folder, which stays as it is.

    Returns:
        All trials, and the sheet.
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
            arguments = (found.paths[slide_id], entry.mpp, specs, edits.get(slide_id))
            yield Call(slide_id=slide_id, function=(__name__, "try_settings"), arguments=arguments)

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
        return [], folder / "tissue.png"
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
    threshold = getattr(settings, key)
    named = {"current": settings}
    if settings.segmenter in ("saturation", "od"):
        for name, factor in (("half threshold", 0.5), ("twice threshold", 2)):
            named[name] = settings.model_copy(update={key: type(threshold)(threshold * factor)})
    for name in ("saturation", "otsu", "od"):
        named[name] = settings.model_copy(update={"segmenter": name})
    for name, values in PRESETS.items():
        named[name] = settings.model_copy(update={setting_key(field): value for field, value in values.items()})
    distinct: dict[TissueSpec, str] = {}
    for name, other in named.items():
        distinct.setdefault(spec_of(other), name)
    return {name: named[name] for name in distinct.values()}


def try_settings(path: Path, mpp: float | None, specs: Mapping[str, TissueSpec], edit: Path | None) -> list[Trial]:
    """Runs in the worker: one slide under each setting.

    Raises:
        SlideError: the slide cannot be opened or read, or `E_EDIT`.
    """
    with open_slide(path, mpp) as slide:
        pictures = {wanted: look(slide, wanted) for wanted in {spec.mpp for spec in specs.values()}}
        drawn = None
        if edit is not None:
            polygons, _ = read_polygons(edit, slide_size_px=slide.size_px, bounds_px=slide.bounds_px)
            drawn = next(iter(pictures.values())).mask_of(polygons)
    masks: dict[str, TissueMask | None] = {}
    for name, spec in specs.items():
        try:
            masks[name] = find_tissue(pictures[spec.mpp], spec)
        except SlideError:
            masks[name] = None
    votes = _painted(masks)
    most = np.mean(list(votes.values()), axis=0) > 0.5
    return [
        _trial(pictures[spec.mpp], name, masks[name], spec, drawn, _overlap(votes[name], most))
        for name, spec in specs.items()
    ]


def _painted(masks: Mapping[str, TissueMask | None]) -> dict[str, NDArray[np.bool_]]:
    known = next((mask for mask in masks.values() if mask is not None), None)
    if known is None:
        return {name: np.zeros((1, 1), np.bool_) for name in masks}
    width, height = known.slide_size_px
    downsample = max(1.0, max(width, height) / _CANVAS_PX)
    shape = (max(1, round(height / downsample)), max(1, round(width / downsample)))
    empty = np.zeros(shape, np.bool_)
    return {name: empty if mask is None else mask.raster((0, 0), downsample, shape) for name, mask in masks.items()}


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def _trial(
    picture: Picture, name: str, mask: TissueMask | None, spec: TissueSpec, drawn: TissueMask | None, agreement: float
) -> Trial:
    shown = _shown(picture, mask)
    edit_iou = None if drawn is None else 0.0
    if mask is None:
        return Trial(
            slide_id=picture.slide_id,
            setting=name,
            picture=shown,
            tissue_share=0.0,
            pieces=0,
            area_um2=0.0,
            agreement=agreement,
            edit_iou=edit_iou,
            notes=("no tissue",),
        )
    return Trial(
        slide_id=picture.slide_id,
        setting=name,
        picture=shown,
        tissue_share=tissue_share(mask),
        pieces=len(mask.polygons.geoms),
        area_um2=mask.area_um2,
        agreement=agreement,
        edit_iou=None if drawn is None else same_share(mask, drawn),
        notes=tuple(qc_notes(picture, mask, spec)),
    )


def _shown(picture: Picture, mask: TissueMask | None) -> RGB:
    """The scanned area, small, with the outline."""
    x, y, width, height = picture.bounds_px
    width_px = picture.slide_size_px[0]
    scale = min(1.0, _CELL_PX / max(width, height))
    whole = [max(1, round(side * scale)) for side in picture.slide_size_px]
    small = np.asarray(cv2.resize(picture.thumbnail, whole, interpolation=cv2.INTER_AREA), np.uint8)
    if mask is not None:
        tissue = mask.raster((0, 0), width_px / small.shape[1], small.shape[:2])
        veiled = small * 0.5 + np.array(_VEIL) * 0.5
        small = draw_outlines(np.where(tissue[..., None], small, veiled).astype(np.uint8), mask, 1)
    left, top = round(x * scale), round(y * scale)
    return small[top : top + max(1, round(height * scale)), left : left + max(1, round(width * scale))]


def _cell(trial: Trial) -> Cell:
    share = f"{trial.tissue_share:.1%}" if trial.pieces else "no tissue"
    pieces = f"{trial.pieces} piece{'s' * (trial.pieces != 1)}" if trial.pieces else ""
    drawn = "" if trial.edit_iou is None else f"IoU {trial.edit_iou:.2f}"
    words = " ".join(sorted(note.split(":")[0] for note in trial.notes if trial.pieces and is_flagged([note])))
    lines = ("  ".join(filter(None, (share, pieces, drawn))), words)
    return Cell(row=trial.slide_id, picture=trial.picture, lines=lines, warn=trial.doubtful)


def _line(trial: Trial) -> tuple[object, ...]:
    drawn = "" if trial.edit_iou is None else f"{trial.edit_iou:.4f}"
    facts = (f"{trial.tissue_share:.4f}", trial.pieces, f"{trial.area_um2:.0f}", f"{trial.agreement:.4f}", drawn)
    return (trial.slide_id, trial.setting, *facts, "; ".join(trial.notes))


@dataclass(frozen=True, kw_only=True)
class Rank:
    """A setting over all slides."""

    setting: str
    edit_iou: float | None  # mean over the slides with a drawing
    doubtful: int  # slides where nothing was found or the mask is flagged
    agreement: float  # mean
    tissue_share: float  # mean
    pieces: float  # median


def rank(trials: Sequence[Trial]) -> list[Rank]:
    """The settings, the best first: by the drawings where there are any, then by doubtful slides, then by agreement.

    Agreement is what the settings have in common, no truth: look at the sheet.
    """
    by_setting: dict[str, list[Trial]] = {}
    for trial in trials:
        by_setting.setdefault(trial.setting, []).append(trial)
    ranks = []
    for setting, group in by_setting.items():
        drawn = [trial.edit_iou for trial in group if trial.edit_iou is not None]
        ranks.append(
            Rank(
                setting=setting,
                edit_iou=mean(drawn) if drawn else None,
                doubtful=sum(trial.doubtful for trial in group),
                agreement=mean(trial.agreement for trial in group),
                tissue_share=mean(trial.tissue_share for trial in group),
                pieces=median(trial.pieces for trial in group),
            )
        )
    return sorted(ranks, key=lambda one: (-(one.edit_iou or 0.0), one.doubtful, -one.agreement))


def advice(trials: Sequence[Trial], settings: SegmentSettings) -> list[str]:
    """The lines for params.yaml that the first-ranked setting takes, and those for data/slides.csv where another
    setting does better on a slide that the first-ranked one leaves doubtful."""
    named = candidates(settings)
    best = rank(trials)[0].setting
    changed = _changes(settings, named[best])
    lines = [f"ranked first: {best}"]
    lines += ["for params.yaml:", *(f"  {key}: {value}" for key, value in changed.items())] if changed else []
    own: dict[str, dict[str, Any]] = {}
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


def _changes(before: SegmentSettings, after: SegmentSettings) -> dict[str, Any]:
    return {key: getattr(after, key) for key in OWN_SETTINGS if getattr(after, key) != getattr(before, key)}


def tune_tissue(
    project: Project, settings: SegmentSettings, options: RunOptions, *, as_json: bool, verbose: bool
) -> int:
    """Tries the settings, prints them ranked, what to write where and where the sheet is; returns the exit code."""
    console.set_up(verbose=verbose, quiet=as_json)
    trials, sheet = run(project, settings, options)
    if not trials:
        raise InputError(f"none of the slides in {project.slides} can be shown", remedy="see the reasons above")
    ranks = rank(trials)
    lines = advice(trials, settings)
    console.print_table(
        f"settings on {len({trial.slide_id for trial in trials})} slides, the best first (IoU: with your edits)",
        ("setting", "IoU", "doubtful", "agreement", "tissue", "pieces"),
        [
            (
                one.setting,
                "-" if one.edit_iou is None else f"{one.edit_iou:.3f}",
                one.doubtful,
                f"{one.agreement:.2f}",
                f"{one.tissue_share:.1%}",
                f"{one.pieces:g}",
            )
            for one in ranks
        ],
    )
    for line in lines:
        console.say(line)
    console.say(f"tune: look at {sheet} (numbers: {sheet.with_suffix('.csv')})")
    if as_json:
        console.print_json({"sheet": str(sheet), "ranks": [asdict(one) for one in ranks], "advice": lines})
    return 0
