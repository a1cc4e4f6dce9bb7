"""evidence, one slide: the table of patches that `visualize` wrote, the bag and its regions -> objects for QuPath."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import read_bag
from sammil_cli.regions.drawn_names import drawn_names
from sammil_cli.regions.file import read_regions
from sammil_cli.report.evidence import Evidence, write_evidence
from sammil_cli.report.patch_table import read_patch_table
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import BagPath, DrawingPath, RegionsPath, TissuePath
from sammil_cli.tissue.mask import read_tissue


@dataclass(frozen=True, kw_only=True)
class EvidenceJob:
    """`table`: of the slide's patches. `regions`, `tissue`: None where they are not here.

    `drawn`: the drawing that the regions were made of, None = they were not drawn. `packed`: as `.geojson.gz`.
    """

    bag: BagPath
    table: Path
    regions: RegionsPath | None
    tissue: TissuePath | None
    drawn: DrawingPath | None = None
    packed: bool = False


def work(folder: Path, record: Record, job: EvidenceJob) -> list[str]:
    """Writes one slide's evidence into `folder`.

    Raises:
        SlideError: `E_BAG`, the bag does not say where its patches lie; `E_DAMAGED`, the table is not that of the bag;
            `E_EDIT`, the drawing cannot be read.
    """
    bag, regions = read_bag(job.bag), read_regions(job.regions) if job.regions else None
    remarks = [] if job.tissue else ["no-offset: the corner of the scanned area is not known and taken to be 0, 0"]
    if regions is not None and len(regions) != len(bag.region_area):
        regions, remarks = None, [*remarks, "no-regions: the bag was made with other regions than those that lie here"]
    table = read_patch_table(job.table)
    if not np.array_equal(table.xy, bag.xy):
        lack = f"{job.table} is of other patches than {job.bag}"
        raise SlideError("E_DAMAGED", lack, remedy="delete it, and run the same command again", set_aside=False)
    offset = read_tissue(job.tissue).bounds_px[:2] if job.tissue else (0, 0)
    called = drawn_names(job.drawn, offset, regions) if job.drawn and regions is not None else {}
    found = Evidence(bag=bag, table=table, regions=regions, called=called)
    suffix = "geojson.gz" if job.packed else "geojson"
    write_evidence(folder / f"{job.bag.stem}.{suffix}", found, offset, record)
    return remarks
