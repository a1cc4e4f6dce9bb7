"""The files of regions that no proposer made: arrays, outlines for QuPath, and a picture of them over the tissue."""

from pathlib import Path

from sammil_cli.regions.file import write_regions
from sammil_cli.regions.overlay import write_outlines, write_overlay
from sammil_cli.regions.polygons import write_region_polygons
from sammil_cli.regions.region_map import OVERVIEW_PX, RegionMap
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import RegionsPath
from sammil_cli.tissue.drawn import draw_tissue
from sammil_cli.tissue.mask import TissueMask

_COARSE_PX = 256  # of a canvas with a pixel or so for a patch: its borders would cover its regions


def write_region_files(folder: Path, regions: RegionMap, tissue: TissueMask, suffix: str, record: Record) -> None:
    """Writes `<slide>.h5`, the outlines and `<slide>.png`, as `sammil sam` does; no slide is read for it.

    Args:
        suffix: of the outlines, see the setting `region_polygons`.
    """
    name, canvas = regions.slide_id, regions.canvas
    write_regions(RegionsPath(folder / f"{name}.h5"), regions, record)
    write_region_polygons(folder / f"{name}.{suffix}", regions, tissue.bounds_px[:2], record)
    step = canvas.step_to(OVERVIEW_PX)
    width, height = (-(-side // step) for side in canvas.size_px)
    inside = tissue.raster(canvas.origin_px, canvas.downsample * step, (height, width))
    draw = write_outlines if max(canvas.size_px) <= _COARSE_PX else write_overlay
    draw(folder / f"{name}.png", draw_tissue(inside), regions)
