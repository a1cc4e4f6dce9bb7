"""sam, one bag: its patches, with or without their slide -> regions, their polygons, overlay and quality."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path

import numpy as np
import shapely
from shapely import MultiPolygon

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.feature_view import look_at_features
from sammil_cli.features.grouping import check_placed
from sammil_cli.jobs.sam import make_proposer, write_found, write_seen
from sammil_cli.regions.overlay import write_outlines
from sammil_cli.regions.propose import FEATURES, seen_by
from sammil_cli.regions.region_map import build
from sammil_cli.slides.slide import Slide
from sammil_cli.slides.without_mpp import known_mpp, open_or_none
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import BagPath, DrawingPath, SlidePath, TissuePath
from sammil_cli.tissue.drawn import DrawnTissue
from sammil_cli.tissue.mask import TissueMask, read_tissue


@dataclass(frozen=True, kw_only=True)
class BagRegionsJob:
    """What a bag's regions are found in. `slide`, `tissue`, `drawing`: None where they are not here, or not needed.

    `mpp`, `scene`: what the user says of the slide, see `slides.table`.
    """

    bag: BagPath
    slide: SlidePath | None
    tissue: TissuePath | None
    drawing: DrawingPath | None
    mpp: float | None
    scene: int | None
    settings: SamSettings
    device: str


def work(folder: Path, record: Record, job: BagRegionsJob) -> list[str]:
    """Writes one bag's regions, their polygons, overlay and quality into `folder`; returns remarks and flags.

    Raises:
        SlideError: `E_INPUT`, the bag has no coordinates, or they lie outside of the slide; `E_MPP`, `sam_mpp` is asked
            for, and nobody knows the slide's; and what the proposer raises.
    """
    bag = read_checked(job.bag)
    check_placed(bag)
    with ExitStack() as stack:
        slide = _opened(job, bag, stack)
        tissue = _tissue(job, bag, slide)
        _check_inside(bag, tissue)
        if seen_by(choices.load(choices.PROPOSERS, job.settings.proposer)) == FEATURES:
            return _write_alike(folder, record, job, bag, tissue)
        if isnan(tissue.slide_mpp) and job.settings.sam_mpp is not None:
            raise SlideError(
                "E_MPP",
                f"nobody knows its µm per pixel, which sam_mpp {job.settings.sam_mpp:g} is measured in",
                remedy="give it in data/slides.csv (slide_id,mpp), or use sam_mpp: null",
            )
        seen = slide or DrawnTissue(tissue=tissue)
        proposer = make_proposer(job.settings, job.device)
        return write_seen(folder, record, seen, tissue, proposer, job.settings, job.drawing)


def _write_alike(folder: Path, record: Record, job: BagRegionsJob, bag: FeatureBag, tissue: TissueMask) -> list[str]:
    """What `work` does where the proposer looks at the features of the bag, and at nothing else."""
    canvas, view = look_at_features(bag, tissue.slide_mpp)
    regions = build(bag.slide_id, canvas, make_proposer(job.settings, job.device).propose(view))
    write_outlines(folder / f"{bag.slide_id}.png", view.image, regions)
    return write_found(folder, record, regions, view.image, tissue, job.settings)


def _opened(job: BagRegionsJob, bag: FeatureBag, stack: ExitStack) -> Slide | None:
    """The slide, if it is wanted; its mpp is NaN where neither the slide, nor the user, nor the bag knows it."""
    tissue = None if job.tissue is None else read_tissue(job.tissue)
    given, scene = (job.mpp, job.scene) if tissue is None else (tissue.slide_mpp, tissue.scene)
    slide, _ = open_or_none(job.slide, given, scene)
    if slide is None:
        return None
    stack.callback(slide.close)
    return replace(slide, mpp=known_mpp(slide, given) or _bag_mpp(bag))


def _tissue(job: BagRegionsJob, bag: FeatureBag, slide: Slide | None) -> TissueMask:
    """The tissue that was found on the slide; else what the patches cover together."""
    if job.tissue is not None:
        return read_tissue(job.tissue)
    x, y = bag.xy.astype(np.int64).T
    side = bag.encoder.patch_px_level0
    squares = shapely.union_all(shapely.box(x, y, x + side, y + side))
    size = (int(x.max()) + side, int(y.max()) + side) if slide is None else slide.size_px
    return TissueMask(
        slide_id=bag.slide_id,
        polygons=MultiPolygon([part for part in shapely.get_parts(squares) if part.geom_type == "Polygon"]),
        slide_mpp=(job.mpp or _bag_mpp(bag)) if slide is None else slide.mpp,
        slide_size_px=size,
        bounds_px=(0, 0, *size) if slide is None else slide.bounds_px,
        scene=job.scene if slide is None else slide.scene,
    )


def _bag_mpp(bag: FeatureBag) -> float:
    """µm per level-0 pixel as the bag has it; NaN where it does not say."""
    encoder = bag.encoder
    return encoder.patch_mpp * encoder.patch_px / encoder.patch_px_level0 if encoder.patch_px else nan


def _check_inside(bag: FeatureBag, tissue: TissueMask) -> None:
    """Refuses patches that begin outside of the slide: they are of another one.

    Raises:
        SlideError: `E_INPUT`.
    """
    width, height = tissue.slide_size_px
    outside = np.flatnonzero((bag.xy >= (width, height)).any(axis=1))
    if len(outside):
        x, y = bag.xy[outside[0]]
        raise SlideError(
            "E_INPUT",
            f"{len(outside)} of {len(bag.xy)} patches of its bag begin outside of the slide, which has {width} x "
            f"{height} px; the first at x={x}, y={y}",
            remedy="is this slide, or its tissue, another one's? give the one that the features were made of",
        )
