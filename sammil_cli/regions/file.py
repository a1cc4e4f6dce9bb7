"""Regions on disk: HDF5 with run lengths."""

from sammil_cli.regions.region_map import Canvas, RegionMap
from sammil_cli.storage.files import Record
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5
from sammil_cli.storage.paths import RegionsPath

_LABEL_MAP_PX = 4096
_ARRAYS = ("runs", "offsets", "area_px", "box", "predicted_iou", "stability")
_SHAPES = {"runs": "k", "area_px": "m", "box": "m 4", "predicted_iou": "m", "stability": "m"}


def write_regions(path: RegionsPath, regions: RegionMap, provenance: Record) -> None:
    """Writes the arrays of `RegionMap`, areas in µm², the canvas, and a label map with no side above 4096 px."""
    canvas = regions.canvas
    step = canvas.step_to(_LABEL_MAP_PX)
    arrays = {name: getattr(regions, name) for name in _ARRAYS}
    arrays |= {"area_um2": regions.area_um2, "label_map": regions.labels(step=step)}
    facts = {
        "slide_id": regions.slide_id,
        "canvas_origin_px": canvas.origin_px,
        "canvas_downsample": canvas.downsample,
        "canvas_size_px": canvas.size_px,
        "canvas_mpp": canvas.mpp,
        "label_map_step": step,
    }
    write_hdf5(path, "regions", arrays, facts, provenance, compressed=("runs", "label_map"))


def read_regions(path: RegionsPath) -> RegionMap:
    """Reads what `write_regions` wrote; `InputError` where it is something else."""
    arrays, facts = read_hdf5(path, "regions", arrays=_ARRAYS, shapes=_SHAPES)
    x, y = (int(v) for v in facts["canvas_origin_px"])
    width, height = (int(v) for v in facts["canvas_size_px"])
    canvas = Canvas(
        origin_px=(x, y),
        downsample=float(facts["canvas_downsample"]),
        size_px=(width, height),
        mpp=float(facts["canvas_mpp"]),
    )
    return RegionMap(slide_id=facts["slide_id"], canvas=canvas, **{name: arrays[name] for name in _ARRAYS})
