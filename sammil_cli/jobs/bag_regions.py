"""sam, one bag: its patches, with or without their slide -> regions, their polygons, overlay and quality."""

from contextlib import ExitStack
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.feature_view import look_at_features
from sammil_cli.features.grouping import check_placed
from sammil_cli.jobs.placed_bag import PlacedBag
from sammil_cli.jobs.sam import make_proposer, write_found, write_seen
from sammil_cli.regions.overlay import write_outlines
from sammil_cli.regions.propose import FEATURES, seen_by
from sammil_cli.regions.region_map import build
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.drawn import DrawnTissue
from sammil_cli.tissue.mask import TissueMask


@dataclass(frozen=True, kw_only=True)
class BagRegionsJob:
    """What a bag's regions are found in, and how. `drawing`: None where it is not here, or not needed."""

    placed: PlacedBag
    drawing: DrawingPath | None
    settings: SamSettings
    device: str


def work(folder: Path, record: Record, job: BagRegionsJob) -> list[str]:
    """Writes one bag's regions, their polygons, overlay and quality into `folder`; returns remarks and flags.

    Raises:
        SlideError: `E_INPUT`, the bag has no coordinates, or they lie outside of the slide; `E_MPP`, `sam_mpp` is asked
            for, and nobody knows the slide's; and what the proposer raises.
    """
    bag = read_checked(job.placed.bag)
    check_placed(bag)
    with ExitStack() as stack:
        slide = job.placed.open_slide(bag, stack)
        tissue = job.placed.tissue_of(bag, slide)
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
