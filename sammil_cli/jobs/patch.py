"""patch, one slide: a tissue mask -> its grid of patches. No slide is read."""

from dataclasses import dataclass
from pathlib import Path

from sammil_cli.config import PatchSettings
from sammil_cli.patches.file import write_patches
from sammil_cli.patches.grid import describe, make_grid
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
    """Writes one slide's grid into `folder`; remarks what each filter left."""
    mask, notices, region = read_tissue(job.tissue), list[str](), None
    if job.roi is not None:
        region, notices = read_polygons(job.roi, slide_size_px=mask.slide_size_px, bounds_px=mask.bounds_px)
    patches = make_grid(
        mask,
        patch_px=job.settings.patch_px,
        patch_mpp=job.settings.patch_mpp,
        overlap=job.settings.patch_overlap,
        min_tissue=job.settings.patch_min_tissue,
        limits={
            "blank": job.settings.patch_max_blank,
            "pen": job.settings.patch_max_pen,
            "dark": job.settings.patch_max_dark,
            "blur": job.settings.patch_max_blur,
        },
        roi=region,
        artefacts=read_artefacts(job.artefacts),
    )
    write_patches(PatchesPath(folder / f"{job.tissue.stem}.h5"), patches, record)
    return [describe(patches.waterfall), *(f"roi: {notice.removeprefix('edit: ')}" for notice in notices)]
