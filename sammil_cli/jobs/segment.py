"""segment, one slide: pixels -> a tissue mask, its overlay and its artefact maps."""

from dataclasses import dataclass
from pathlib import Path

from sammil_cli.config import SegmentSettings
from sammil_cli.slides.files import open_slide
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import ArtefactsPath, DrawingPath, SlidePath, TissuePath
from sammil_cli.tissue.artefact_maps import write_artefacts
from sammil_cli.tissue.artefacts import measure_artefacts
from sammil_cli.tissue.edits import apply_drawing, read_drawing
from sammil_cli.tissue.flags import flags, tissue_share
from sammil_cli.tissue.mask import TissueMask, write_tissue
from sammil_cli.tissue.overlay import write_overlay
from sammil_cli.tissue.segment import Picture, find_tissue, look
from sammil_cli.tissue.spec import TissueSpec


@dataclass(frozen=True, kw_only=True)
class SegmentJob:
    """`mpp`, `scene`: what the user says of the slide, None = what the file says, and its largest scene; `drawing`:
    tissue that a person drew."""

    slide: SlidePath
    mpp: float | None
    scene: int | None
    drawing: DrawingPath | None
    settings: SegmentSettings


def work(folder: Path, record: Record, job: SegmentJob) -> list[str]:
    """Segments one slide and writes its GeoJSON, overlay and artefact maps into `folder`; returns remarks."""
    spec, mpp = spec_of(job.settings), job.settings.artefact_mpp
    with open_slide(job.slide, job.mpp, job.scene) as slide:
        record = {**record, "mpp_source": slide.mpp_source, "read_by": slide.read_by}
        picture = look(slide, spec.mpp)
        artefacts = measure_artefacts(slide, picture.thumbnail, mpp=mpp, pen=picture.pen)
    mask, remarks = _found(picture, spec) if job.drawing is None else _drawn(picture, spec, job.drawing)
    remarks = [*remarks, *slide.remarks]
    facts = {"tissue_share": round(tissue_share(mask), 6), "pieces": len(mask.polygons.geoms), "remarks": remarks}
    write_tissue(TissuePath(folder / f"{slide.slide_id}.geojson"), mask, {**record, **facts})
    write_overlay(folder / f"{slide.slide_id}.jpg", picture.thumbnail, mask)
    write_artefacts(ArtefactsPath(folder / f"{slide.slide_id}.h5"), artefacts, record)
    return remarks


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


def _found(picture: Picture, spec: TissueSpec) -> tuple[TissueMask, list[str]]:
    mask = find_tissue(picture, spec)
    return mask, flags(picture, mask, spec)


def _drawn(picture: Picture, spec: TissueSpec, path: DrawingPath) -> tuple[TissueMask, list[str]]:
    """The tissue as a person drew it; where only Ignore was drawn, the segmenter's without it."""
    drawing = read_drawing(path, slide_size_px=picture.slide_size_px, bounds_px=picture.bounds_px)
    included = find_tissue(picture, spec).polygons if drawing.include is None else drawing.include
    mask = picture.mask_of(apply_drawing(drawing, included, path))
    how = "taken from" if drawing.include is not None else "Ignore areas taken from"
    return mask, [f"edited: {how} {path.name}", *drawing.notices, *flags(picture, mask, None)]
