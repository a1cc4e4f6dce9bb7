"""sam, one slide: pixels and tissue -> regions, their polygons, overlay and quality."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.regions.file import write_regions
from sammil_cli.regions.overlay import write_overlay
from sammil_cli.regions.polygons import write_region_polygons
from sammil_cli.regions.propose import Pictured, Proposer, View, propose_regions
from sammil_cli.regions.quality import flags, measure, quality_record
from sammil_cli.regions.region_map import Proposal, RegionMap
from sammil_cli.runner.spent import done, spending
from sammil_cli.runner.worker import own_device
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import DrawingPath, RegionsPath, SlidePath, TissuePath
from sammil_cli.storage.summed import write_of_slide
from sammil_cli.tissue.mask import TissueMask, read_tissue


@dataclass(frozen=True, kw_only=True)
class SamJob:
    """`drawing`: the annotations of a proposer that has INPUTS."""

    slide: SlidePath
    tissue: TissuePath
    drawing: DrawingPath | None
    settings: SamSettings
    device: str


def work(folder: Path, record: Record, job: SamJob) -> list[str]:
    """Writes one slide's regions, their polygons, overlay and quality into `folder`; returns remarks and flags."""
    return write_proposed(folder, record, job, read_tissue(job.tissue), make_proposer(job.settings, job.device))


def write_proposed(folder: Path, record: Record, job: SamJob, tissue: TissueMask, proposer: Proposer) -> list[str]:
    """What `work` does, with any proposer and tissue."""
    with open_slide(job.slide, tissue.slide_mpp, tissue.scene) as slide:
        record = {**record, "read_by": slide.read_by}
        return write_seen(folder, record, slide, tissue, proposer, job.settings, job.drawing)


def write_seen(
    folder: Path,
    record: Record,
    slide: Pictured,
    tissue: TissueMask,
    proposer: Proposer,
    settings: SamSettings,
    drawing: DrawingPath | None,
) -> list[str]:
    """What `work` does with an open slide, or what is drawn of one that is not here."""
    regions, picture = regions_of(slide, tissue, proposer, settings, drawing)
    write_overlay(folder / f"{tissue.slide_id}.png", picture, regions)
    return [*slide.remarks, *write_found(folder, record, regions, picture, tissue, settings)]


def regions_of(
    slide: Pictured, tissue: TissueMask, proposer: Proposer, settings: SamSettings, drawing: DrawingPath | None = None
) -> tuple[RegionMap, RGB]:
    """A slide's regions and the canvas as a picture, as the settings say; raises as `regions.propose`."""
    return propose_regions(
        _TimedSlide(slide),
        tissue,
        _TimedProposer(proposer),
        canvas_px=settings.sam_canvas_px,
        mpp=settings.sam_mpp,
        overlap=settings.sam_tile_overlap,
        drawing=drawing,
    )


class _TimedSlide:
    """A slide that counts the time in which it is read."""

    def __init__(self, slide: Pictured) -> None:
        self._slide, self.slide_id, self.mpp, self.remarks = slide, slide.slide_id, slide.mpp, slide.remarks

    def read_at(self, xy: tuple[int, int], side_px0: tuple[int, int], out_px: tuple[int, int]) -> RGB:
        """See `slides.slide.Slide.read_at`."""
        with spending("reading"):
            return self._slide.read_at(xy, side_px0, out_px)


class _TimedProposer:
    """A proposer that counts its pictures, and the time that it takes."""

    def __init__(self, proposer: Proposer) -> None:
        self._proposer, self.wider = proposer, getattr(proposer, "wider", False)
        self.weights_sha256, self.partition = proposer.weights_sha256, proposer.partition

    def propose(self, view: View) -> list[Proposal]:
        """See `regions.propose.Proposer`."""
        with spending("proposing regions"):
            found = self._proposer.propose(view)
        done("pictures", 1)
        return found


def write_found(
    folder: Path, record: Record, regions: RegionMap, picture: RGB, tissue: TissueMask, settings: SamSettings
) -> list[str]:
    """Writes regions, their polygons and quality; returns flags.

    Args:
        picture: (h, w, 3) their canvas, see `regions.quality.measure`.
    """
    advice: Mapping[str, str] = getattr(choices.load(choices.PROPOSERS, settings.proposer), "ADVICE", {})
    quality, name = measure(regions, picture, tissue), tissue.slide_id
    write_regions(RegionsPath(folder / f"{name}.h5"), regions, record)
    write_region_polygons(folder / f"{name}.{settings.region_polygons}", regions, tissue.bounds_px[:2], record)
    write_of_slide(folder / f"{name}.json", quality_record(quality, advice))
    return flags(quality, advice)


@lru_cache(maxsize=1)
def make_proposer(settings: SamSettings, device: str) -> Proposer:
    """One model per worker process, whatever the number of its slides."""
    module = choices.load(choices.PROPOSERS, settings.proposer)
    chosen = {name: getattr(settings, name) for name in module.SETTINGS}
    proposer: Proposer = module.make(chosen, own_device(device))
    return proposer
