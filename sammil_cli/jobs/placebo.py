"""placebo, one slide: the regions of a proposer -> as many and as large, each where chance put it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from sammil_cli.jobs.placed_bag import PlacedBag
from sammil_cli.jobs.region_files import write_region_files
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.placebo import move_at_random
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import RegionsPath
from sammil_cli.storage.summed import write_of_slide


@dataclass(frozen=True, kw_only=True)
class PlaceboJob:
    """`placed`: says where the tissue is; `outlines`: the suffix of their file."""

    regions: RegionsPath
    placed: PlacedBag
    seed: int
    outlines: str


def work(folder: Path, record: Record, job: PlaceboJob) -> list[str]:
    """Writes one slide's moved regions, their outlines and picture, and what moving has kept, into `folder`.

    Raises:
        SlideError: see `PlacedBag.read_tissue`.
    """
    tissue = job.placed.read_tissue()
    regions, moved = move_at_random(read_regions(job.regions), tissue, job.seed)
    write_region_files(folder, regions, tissue, job.outlines, record)
    write_of_slide(folder / f"{job.regions.stem}.json", asdict(moved))
    return []
