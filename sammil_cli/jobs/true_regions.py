"""true regions, one slide: the regions of a proposer, and drawn lesions -> regions that end where these do."""

from dataclasses import dataclass
from pathlib import Path

from sammil_cli.jobs.placed_bag import PlacedBag
from sammil_cli.jobs.region_files import write_region_files
from sammil_cli.regions.annotations import read_annotations
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.true_regions import cut_in
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import DrawingPath, RegionsPath


@dataclass(frozen=True, kw_only=True)
class TrueRegionsJob:
    """`placed`: says where the tissue is; `drawing`: lesions of the slide, None = none are drawn; `outlines`: the
    suffix of their file.
    """

    regions: RegionsPath
    placed: PlacedBag
    drawing: DrawingPath | None
    outlines: str


def work(folder: Path, record: Record, job: TrueRegionsJob) -> list[str]:
    """Writes one slide's regions with its lesions cut in, their outlines and picture, into `folder`; returns remarks.

    Raises:
        SlideError: `E_EDIT` or `E_ANNOTATION`, see `regions.annotations`; or as `PlacedBag.read_tissue`.
    """
    tissue = job.placed.read_tissue()
    drawn, remarks = ((), []) if job.drawing is None else read_annotations(job.drawing, tissue)
    write_region_files(folder, cut_in(drawn, read_regions(job.regions)), tissue, job.outlines, record)
    return remarks
