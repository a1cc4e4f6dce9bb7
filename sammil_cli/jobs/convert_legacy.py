"""convert-legacy, one slide: an older tool's files -> a feature bag or a patch grid, held against the slide."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from sammil_cli.features.bag import write_bag
from sammil_cli.jobs.slide_checks import Placed, SlideChecks, check, check_bag
from sammil_cli.legacy.bags import Converted, convert_slide, from_patch_list
from sammil_cli.legacy.grids import convert_grid
from sammil_cli.legacy.layout import Source
from sammil_cli.legacy.mat_bags import read_mat_bags
from sammil_cli.legacy.patch_lists import PatchList, read_patch_lists
from sammil_cli.patches.file import write_patches
from sammil_cli.runner.executor import Limits
from sammil_cli.slides.slide import Slide
from sammil_cli.slides.without_mpp import known_mpp, open_or_none
from sammil_cli.storage.files import Record, write_text
from sammil_cli.storage.paths import BagPath, PatchesPath, SlidePath


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks for; None = found by itself.

    `with_segments`, `with_coords`: whether they are needed. `grids`: coordinates only. `patch_px_level0`: patch side
    where the files do not say. `min_share`: see the setting membership_min_share. `encoder`: its name.
    `slides`: folder of the slides, None = no check against them. `checks`: how bags are held against their slides.
    `labels`, `splits`, `classes`: see `exchange.tables.read_tables`. `limits`: what one slide may take.
    """

    features: Path | None = None
    segments: Path | None = None
    coords: Path | None = None
    process_list: Path | None = None
    with_segments: bool = True
    with_coords: bool = True
    grids: bool = False
    patch_px_level0: int | None = None
    min_share: float = 0.0
    encoder: str | None = None
    slides: Path | None = None
    slides_table: Path = Path("data/slides.csv")
    checks: SlideChecks = field(default_factory=SlideChecks)
    labels: Path | None = None
    splits: Path | None = None
    classes: str | None = None
    limits: Limits = field(default_factory=Limits)

    def settings(self) -> dict[str, object]:
        """What of it counts for a slide's result."""
        names = ("grids", "patch_px_level0", "min_share", "with_coords", "encoder")
        encoder = self.checks.encoder.model_dump() if self.checks.encoder else None
        checks = (self.checks.patches, self.checks.features, encoder)
        return {**{name: getattr(self, name) for name in names}, "check": checks}


@dataclass(frozen=True, kw_only=True)
class ConvertJob:
    """One slide of an older run.

    `source`: its files, or the one that holds it among others: a pickle, or MATLAB's matrix. `grids`: coordinates only.
    `slide`, `mpp`, `scene`: its file, resolution and which of several scenes, if known. `tissue`: what the run says of
    its tissue.
    """

    slide_id: str
    source: Source | Path
    grids: bool = False
    slide: SlidePath | None
    mpp: float | None
    scene: int | None = None
    tissue: str = ""
    request: Request


def work(folder: Path, record: Record, job: ConvertJob) -> list[str]:
    """Converts one slide into `folder`, after holding it against the slide where that is there."""
    slide, remarks = open_or_none(job.slide, job.mpp, job.scene)
    try:
        if job.grids:
            remarks += _grid(folder, record, job, slide, remarks)
        else:
            converted = _bag(job, known_mpp(slide, job.mpp))
            coords = job.source.coords if isinstance(job.source, Source) else None
            remarks += [*converted.remarks, *_tissue(job), *check_bag(slide, converted.bag, coords, job.request.checks)]
            write_bag(BagPath(folder / f"{job.slide_id}.h5"), converted.bag, {**record, "remarks": remarks})
    finally:
        if slide is not None:
            slide.close()
    write_text(folder / f"{job.slide_id}.txt", "".join(f"{remark}\n" for remark in remarks))
    return remarks


def _bag(job: ConvertJob, mpp: float | None) -> Converted:
    asked = job.request
    if isinstance(job.source, Path):
        one = _lists(job.source)[job.slide_id]
        return from_patch_list(job.slide_id, one, mpp, asked.patch_px_level0, asked.encoder, asked.with_coords)
    return convert_slide(
        job.source,
        slide_mpp=mpp,
        patch_px_level0=asked.patch_px_level0,
        min_share=asked.min_share,
        with_coords=asked.with_coords,
        encoder=asked.encoder,
    )


def _grid(folder: Path, record: Record, job: ConvertJob, slide: Slide | None, before: list[str]) -> list[str]:
    if isinstance(job.source, Path):
        raise TypeError("patch lists hold no grids")
    grid, remarks = convert_grid(
        job.source,
        slide_mpp=known_mpp(slide, job.mpp),
        slide_size_px=None if slide is None else slide.size_px,
        bounds_px=None if slide is None else slide.bounds_px,
        patch_px_level0=job.request.patch_px_level0,
    )
    if slide is not None:
        grid = replace(grid, scene=slide.scene)
        placed = Placed(xy=grid.xy, level0_px=grid.patch_px_level0, patch_px=grid.patch_px, coords=job.source.coords)
        remarks += check(slide, placed, SlideChecks(patches=job.request.checks.patches))
    remarks += _tissue(job)
    write_patches(PatchesPath(folder / f"{job.slide_id}.h5"), grid, {**record, "remarks": [*before, *remarks]})
    return remarks


def _tissue(job: ConvertJob) -> list[str]:
    return [f"tissue was found with {job.tissue}"] if job.tissue else []


@lru_cache(maxsize=1)
def _lists(path: Path) -> dict[str, PatchList]:
    """The slides of a pickle or of MATLAB's files, read once per worker process."""
    return read_mat_bags(path).bags if path.suffix.lower() == ".mat" else read_patch_lists(path)
