"""sammil segment: slides -> tissue masks."""

from pathlib import Path
from typing import Any

from sammil_cli import choices, console
from sammil_cli.config import SegmentSettings
from sammil_cli.slides.files import find_slides, identify, open_slide, read_mpp_overrides
from sammil_cli.stages.per_slide import Plan, Row, Task, limits_of, run_plan
from sammil_cli.stages.project import Project, RunOptions, check_only
from sammil_cli.storage.code import code_version
from sammil_cli.tissue.file import write_overlay, write_tissue
from sammil_cli.tissue.segment import TissueSpec, segment

CODE = ("storage", "slides", "tissue", "stages/segment.py")


def run(project: Project, settings: SegmentSettings, options: RunOptions) -> list[Row]:
    """Finds tissue on every slide of the slide folder; returns the process list."""
    rows = run_plan(plan(project, settings, options), options, limits_of(settings))
    _report_ignored(find_slides(project.slides).ignored)
    return rows


def plan(project: Project, settings: SegmentSettings, options: RunOptions) -> Plan:
    """What there is to do."""
    choices.load(choices.SEGMENTERS, settings.segmenter)
    spec = TissueSpec(
        segmenter=settings.segmenter,
        mpp=settings.tissue_mpp,
        threshold=settings.tissue_threshold,
        median_um=settings.tissue_median_um,
        close_um=settings.tissue_close_um,
        min_area_um2=settings.tissue_min_area_um2,
        min_hole_um2=settings.tissue_min_hole_um2,
        max_holes=settings.tissue_max_holes,
    )
    found = find_slides(project.slides)
    check_only(options.only, set(found.paths), str(project.slides))
    overrides = read_mpp_overrides(project.slides_table)
    shared = {"settings": spec.__dict__, "code": code_version(*CODE)}
    tasks = [
        Task(
            slide_id=slide_id,
            recipe={"slide": identify(path), "mpp": overrides.get(slide_id), **shared},
            arguments=(path, overrides.get(slide_id), spec),
        )
        for slide_id, path in found.paths.items()
        if options.only is None or slide_id in options.only
    ]
    listing = project.process_lists / "segment.csv"
    return Plan(step="segment", tasks=tasks, work=work, out=project.tissue, process_list=listing)


def _report_ignored(ignored: dict[str, int]) -> None:
    if ignored:
        counted = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))
        console.say(f"passed over, no slides: {counted}")


def work(folder: Path, record: dict[str, Any], path: Path, mpp: float | None, spec: TissueSpec) -> list[str]:
    """Segments one slide and writes its GeoJSON and overlay into `folder`."""
    with open_slide(path, mpp) as slide:
        record = {**record, "mpp_source": slide.mpp_source}
        mask, thumbnail = segment(slide, spec)
    write_tissue(folder / f"{path.stem}.geojson", mask, record)
    write_overlay(folder / f"{path.stem}.jpg", thumbnail, mask)
    return []
