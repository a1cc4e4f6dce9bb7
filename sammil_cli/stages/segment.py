"""sammil segment: slides -> tissue masks."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sammil_cli import choices, console
from sammil_cli.config import SegmentSettings, Tolerance, check
from sammil_cli.errors import InputError
from sammil_cli.slides.files import find_slides, identify, open_slide
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.stages.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.process_list import Row
from sammil_cli.stages.project import Project, RunOptions, check_only
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file
from sammil_cli.tissue.artefacts import measure_artefacts, write_artefacts
from sammil_cli.tissue.edits import apply_drawing, find_drawings, read_drawing
from sammil_cli.tissue.file import write_overlay, write_tissue
from sammil_cli.tissue.flags import qc_notes, tissue_share
from sammil_cli.tissue.mask import TissueMask
from sammil_cli.tissue.segment import Picture, find_tissue, look
from sammil_cli.tissue.spec import TissueSpec

CODE = ("storage", "slides", "tissue", "stages/segment.py")
# The settings that a column of data/slides.csv gives a slide of its own.
OWN_SETTINGS = tuple(key for key in SegmentSettings.model_fields if key not in Tolerance.model_fields)


def run(project: Project, settings: SegmentSettings, options: RunOptions) -> list[Row]:
    """Finds tissue on every slide of the slide folder; returns the process list."""
    rows = run_plan(plan(project, settings, options), options, limits_of(settings))
    found = find_slides(project.slides)
    _report_ignored(found.ignored)
    for warning in stray_drawings(project.edits, found.paths):
        console.say(warning)
    return rows


def plan(project: Project, settings: SegmentSettings, options: RunOptions) -> Plan:
    """What there is to do."""
    choices.load(choices.SEGMENTERS, settings.segmenter)
    found = find_slides(project.slides)
    check_only(options.only, set(found.paths), str(project.slides))
    entries = read_slides_table(project.slides_table, OWN_SETTINGS)
    edits = find_drawings(project.edits)
    code = code_version(*CODE)
    tasks = []
    for slide_id, path in found.paths.items():
        entry = entries.get(slide_id, SlideEntry())
        own = own_settings(settings, slide_id, entry, project.slides_table)
        if options.only is not None and slide_id not in options.only:
            continue
        spec, edit = spec_of(own), edits.get(slide_id)
        recipe = {
            "slide": identify(path),
            "mpp": entry.mpp,
            "settings": _that_matter(spec) | {"artefact_mpp": own.artefact_mpp},
            "edit": None if edit is None else sha256_file(edit),
            "code": code,
        }
        tasks.append(Task(slide_id=slide_id, recipe=recipe, arguments=(path, entry.mpp, spec, own.artefact_mpp, edit)))
    listing = project.process_lists / "segment.csv"
    return Plan(step="segment", tasks=tasks, work=work, out=project.tissue, process_list=listing)


def spec_of(settings: SegmentSettings) -> TissueSpec:
    """The settings as plain values for the step."""
    return TissueSpec(
        segmenter=settings.segmenter,
        mpp=settings.tissue_mpp,
        threshold=settings.tissue_threshold,
        od_threshold=settings.tissue_od_threshold,
        without_pen=settings.tissue_without_pen,
        without_borders=settings.tissue_without_borders,
        median_um=settings.tissue_median_um,
        close_um=settings.tissue_close_um,
        min_area_um2=settings.tissue_min_area_um2,
        min_hole_um2=settings.tissue_min_hole_um2,
        max_holes=settings.tissue_max_holes,
    )


def _that_matter(spec: TissueSpec) -> dict[str, Any]:
    """Without the thresholds of other segmenters: a change of those computes nothing anew."""
    thresholds = {setting for name in choices.names(choices.SEGMENTERS) for setting in _settings_of(name)}
    unused = thresholds - set(_settings_of(spec.segmenter))
    return {name: value for name, value in spec.__dict__.items() if name not in unused}


def _settings_of(segmenter: str) -> tuple[str, ...]:
    settings: tuple[str, ...] = choices.load(choices.SEGMENTERS, segmenter).SETTINGS
    return settings


def own_settings(settings: SegmentSettings, slide_id: str, entry: SlideEntry, table: Path) -> SegmentSettings:
    """The settings of one slide: those of params.yaml, with the slide's columns in `data/slides.csv` over them.

    Raises:
        InputError: a value of the wrong type or out of range; the message names table, slide and column.
    """
    if not entry.overrides:
        return settings
    where = f"{table}, slide {slide_id!r}"
    given = {key: _value(text) for key, text in entry.overrides.items()}
    own: SegmentSettings = check({**settings.model_dump(), **given}, where).stage("segment")
    try:
        choices.load(choices.SEGMENTERS, own.segmenter)
    except InputError as error:
        raise InputError(f"{where}: segmenter: {error.message}", remedy=error.remedy) from None
    return own


def _value(text: str) -> Any:
    """A cell as params.yaml would read it; what is no YAML stays text, which the check then refuses."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def stray_drawings(folder: Path, slides: Mapping[str, object]) -> list[str]:
    """A line for each file in `data/edits` (or `data/rois`) that belongs to no slide, with the nearest id."""
    lines = []
    for slide_id, path in find_drawings(folder).items():
        if slide_id not in slides:
            near = difflib.get_close_matches(slide_id, slides, 2, 0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            lines.append(f"passed over: {path}: there is no slide {slide_id!r}{hint}")
    return lines


def _report_ignored(ignored: dict[str, int]) -> None:
    if ignored:
        counted = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))
        console.say(f"passed over, no slides: {counted}")


def work(
    folder: Path,
    record: dict[str, Any],
    path: Path,
    mpp: float | None,
    spec: TissueSpec,
    artefact_mpp: float | None,
    edit: Path | None,
) -> list[str]:
    """Segments one slide and writes its GeoJSON, overlay and artefact maps into `folder`; returns the QC notes."""
    with open_slide(path, mpp) as slide:
        record = {**record, "mpp_source": slide.mpp_source}
        picture = look(slide, spec.mpp)
        mask, notes = _found(picture, spec) if edit is None else _drawn(picture, spec, edit)
        artefacts = measure_artefacts(slide, picture.thumbnail, mpp=artefact_mpp, pen=picture.pen)
    notes = [*notes, *slide.remarks]
    facts = {"tissue_share": round(tissue_share(mask), 6), "pieces": len(mask.polygons.geoms), "notes": notes}
    write_tissue(folder / f"{slide.slide_id}.geojson", mask, {**record, **facts})
    write_overlay(folder / f"{slide.slide_id}.jpg", picture.thumbnail, mask)
    write_artefacts(folder / f"{slide.slide_id}.h5", artefacts, record)
    return notes


def _found(picture: Picture, spec: TissueSpec) -> tuple[TissueMask, list[str]]:
    mask = find_tissue(picture, spec)
    return mask, qc_notes(picture, mask, spec)


def _drawn(picture: Picture, spec: TissueSpec, edit: Path) -> tuple[TissueMask, list[str]]:
    """The tissue as a person drew it; where only Ignore was drawn, the segmenter's without it."""
    drawing = read_drawing(edit, slide_size_px=picture.slide_size_px, bounds_px=picture.bounds_px)
    included = find_tissue(picture, spec).polygons if drawing.include is None else drawing.include
    mask = picture.mask_of(apply_drawing(drawing, included, edit))
    how = "taken from" if drawing.include is not None else "Ignore areas taken from"
    return mask, [f"edited: {how} {edit.name}", *drawing.notices, *qc_notes(picture, mask, None)]
