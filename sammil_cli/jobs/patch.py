"""patch, one slide: a tissue mask -> its grid of patches. No slide is read."""

from dataclasses import dataclass
from pathlib import Path

from sammil_cli.config import PatchSettings
from sammil_cli.patches.file import write_patches
from sammil_cli.patches.grid import GridSpec, describe, flags, make_grid
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import ArtefactsPath, DrawingPath, PatchesPath, TissuePath
from sammil_cli.tissue.artefact_maps import read_artefacts
from sammil_cli.tissue.edits import read_polygons
from sammil_cli.tissue.mask import read_tissue


@dataclass(frozen=True, kw_only=True)
class PatchJob:
    """`roi`: region of interest, inside which alone patches lie."""

    tissue: TissuePath
    artefacts: ArtefactsPath
    roi: DrawingPath | None
    settings: PatchSettings


def work(folder: Path, record: Record, job: PatchJob) -> list[str]:
    """Writes one slide's grid into `folder`; remarks what each filter left, and tissue that no patch can take."""
    settings = job.settings
    mask, notices, region = read_tissue(job.tissue), list[str](), None
    if job.roi is not None:
        region, notices = read_polygons(job.roi, slide_size_px=mask.slide_size_px, bounds_px=mask.bounds_px)
    patches = make_grid(mask, spec_of(settings), roi=region, artefacts=read_artefacts(job.artefacts))
    write_patches(PatchesPath(folder / f"{job.tissue.stem}.h5"), patches, record)
    drawn = [f"roi: {notice.removeprefix('edit: ')}" for notice in notices]
    left = describe(patches.waterfall, patches.uncovered)
    return [left, *flags(patches.uncovered, settings.patch_edge), *drawn]


def spec_of(settings: PatchSettings) -> GridSpec:
    """The settings as plain values for the grid."""
    return GridSpec(
        patch_px=settings.patch_px,
        patch_mpp=settings.patch_mpp,
        overlap=settings.patch_overlap,
        edge=settings.patch_edge,
        min_tissue=settings.patch_min_tissue,
        limits={
            "blank": settings.patch_max_blank,
            "pen": settings.patch_max_pen,
            "dark": settings.patch_max_dark,
            "blur": settings.patch_max_blur,
        },
    )
